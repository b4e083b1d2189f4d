"""Dead units out: worked by hand, and against forward passes of the masked model."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import graphsparse as gs
from graphsparse import zoo
from graphsparse.zoo.networks import BasicBlock
from tests import families
from tests.compacting import assert_same, drawn, masked, masks_of, why
from tests.models import Random

TINY = torch.finfo(torch.float32).tiny


def chain(**settings) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(3, 4, **settings), nn.ReLU(), nn.Linear(4, 4, **settings), nn.ReLU(), nn.Linear(4, 2)
    )


def test_a_chain_worked_by_hand():
    """Unit 1 is starved with a positive bias, unit 2 starved with a negative one, unit 3 stranded; below, unit 0 is starved."""
    model = chain()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
        model[0].bias.copy_(torch.tensor([0.0, 2.0, -2.0, 0.0]))
        model[2].bias.copy_(torch.tensor([0.5, 0.0, 0.0, 0.0]))
    first, second = torch.ones(4, 3) > 0, torch.ones(4, 4) > 0
    first[1:3] = False
    second[:, 3] = second[0] = False
    found = gs.compact(model, torch.zeros(1, 3), {"0.weight": first, "2.weight": second})
    assert [tuple(parameter.shape) for parameter in found.model.parameters()] == [
        (1, 3),
        (1,),
        (3, 1),
        (3,),
        (2, 3),
        (2,),
    ]
    assert found.model[2].bias.tolist() == [2.0, 2.0, 2.0]  # relu(2) times 1; relu(-2) adds nothing
    assert found.model[4].bias.tolist() == [1.5, 1.5]  # relu(0.5) times 1
    assert [at.tolist() for at in found.unit_map["2.weight"]] == [[1, 2, 3], [0]]
    assert found.report.folded == {"2.bias": 3, "4.bias": 2}
    frame = found.report.frame.set_index("parameter")
    assert frame.loc["0.weight", ["units", "dead", "left", "masked"]].tolist() == [4, 3, 3, 0]
    assert frame["why"].tolist() == ["", "", ""] and found.report.difference == 0.0
    assert_same(
        masked(model, {"0.weight": first, "2.weight": second}), found.model, (torch.zeros(1, 3),), tolerance=1e-6
    )


def test_a_layer_without_a_bias_gets_one():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2, bias=False)).double()
    masks = {"0.weight": torch.tensor([[True, True], [False, False], [True, False]])}
    with torch.no_grad():
        model[0].bias.fill_(1.0)
    found = gs.compact(model, torch.zeros(1, 2).double(), masks)
    assert torch.equal(found.model[2].bias, model[2].weight[:, 1])
    assert_same(masked(model, masks), found.model, (torch.zeros(1, 2).double(),))
    assert found.expand()[2].bias is None
    with torch.no_grad():
        found.model[2].bias += 1  # training goes on
    assert torch.equal(found.expand()[2].bias, torch.ones(2).double())


@pytest.mark.parametrize(("padding", "mode", "channels"), [(1, "zeros", 4), (0, "zeros", 3), (1, "reflect", 3)])
def test_a_constant_stays_where_it_meets_zero_padding(padding, mode, channels):
    model = drawn(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=padding, padding_mode=mode)))
    masks = {"0.weight": torch.ones(4, 1, 3, 3) > 0}
    masks["0.weight"][2] = False
    with torch.no_grad():
        model[0].bias.fill_(1.0)
    x = torch.zeros(1, 1, 8, 8).double()
    found = gs.compact(model, x, masks)
    assert found.model[0].out_channels == found.model[2].in_channels == channels
    assert why(found) == ({"padding": 1} if channels == 4 else {})
    assert_same(masked(model, masks), found.model, (x,))


def test_a_layer_without_a_live_unit_becomes_its_constant():
    model = drawn(chain())
    masks = {"2.weight": torch.zeros(4, 4) > 0}
    found = gs.compact(model, torch.zeros(1, 3).double(), masks)
    assert all(parameter.numel() for parameter in found.model.parameters())
    assert [tuple(found.model[at].weight.shape) for at in (0, 2, 4)] == [(1, 3), (1, 1), (2, 1)]
    assert_same(masked(model, masks), found.model, (torch.zeros(1, 3).double(),))


@pytest.mark.parametrize("density", [0.3, 0.05, 0.01])
@pytest.mark.parametrize("name", ["lenet300100", "lenet5", "digits_mlp", "digits_conv"])
def test_small_networks_of_the_zoo(name, density):
    model, x = drawn(zoo.build(name)), torch.zeros(1, *zoo.input_shape(name)).double()
    masks = masks_of(model, density)
    found = gs.compact(model, x, masks)
    assert_same(masked(model, masks), found.model, (x,))
    assert found.report.difference is not None and found.report.difference < 1e-10
    if density == 0.01:
        assert found.report.after.parameters < 0.8 * found.report.before.parameters


def test_a_residual_network_by_whole_channels():
    """Channels leave inside blocks, and those of a stream that all of its blocks have lost."""
    blocks = [BasicBlock(16, 16, 1, batch_norm=True), BasicBlock(16, 24, 2, batch_norm=True)]
    model = drawn(nn.Sequential(nn.Conv2d(3, 16, 3), *blocks, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(24, 5)))
    masks = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() == 4:
            rows = torch.arange(len(parameter)) < len(parameter) // 8
            masks[name] = rows.reshape(-1, 1, 1, 1).expand(parameter.shape)
    with torch.no_grad():
        model[0].bias.zero_()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.zero_()
                module.running_mean.zero_()
    x = torch.zeros(1, 3, 10, 10).double()
    found = gs.compact(model, x, masks)
    assert found.model[0].out_channels == 2 and found.model[2].body.conv2.weight.shape == (3, 3, 3, 3)
    assert found.model[1].body.norm1.running_var.shape == (2,) and found.model[5].in_features == 3
    assert why(found) == {}
    assert_same(masked(model, masks), found.model, (x,))


@pytest.mark.parametrize("name", families.MODELS)
def test_convolutional_families(name):
    model, x = families.MODELS[name]
    model, x = drawn(model), x[:1].double()
    masks = masks_of(model, 0.3, rows=0.7)
    found = gs.compact(model, x, masks)
    assert_same(masked(model, masks), found.model, (x,))
    assert found.report.frame["dead"].sum() > 0


def test_groups_leave_as_a_whole_and_members_alike():
    """Group 1 is dead; of the others, member 2 is dead in both."""
    model = drawn(
        nn.Sequential(nn.Conv2d(2, 9, 1, bias=False), nn.Conv2d(9, 9, 1, groups=3, bias=False), nn.Conv2d(9, 2, 1))
    )
    first, second = torch.ones(9, 2, 1, 1) > 0, torch.ones(9, 3, 1, 1) > 0
    first[3:6] = False
    first[2] = first[8] = False
    second[1] = second[7] = False
    second[4] = False
    masks, x = {"0.weight": first, "1.weight": second}, torch.zeros(1, 2, 3, 3).double()
    found = gs.compact(model, x, masks)
    assert (found.model[1].groups, found.model[1].in_channels, found.model[1].out_channels) == (2, 4, 4)
    assert found.model[1].weight.shape == (4, 2, 1, 1) and why(found) == {}
    assert_same(masked(model, masks), found.model, (x,))


def test_what_one_reader_needs_is_masked_for_the_other():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.head = nn.Linear(3, 4, bias=False), nn.Linear(3, 4, bias=False), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(torch.relu(self.one(x)) + self.two(x))

    model = drawn(Skip())
    masks = {"one.weight": torch.ones(4, 3) > 0, "two.weight": torch.ones(4, 3) > 0}
    masks["one.weight"][:2] = masks["two.weight"][1:3] = False  # unit 1 is dead in both
    found = gs.compact(model, torch.zeros(1, 3).double(), masks)
    assert found.model.one.out_features == found.model.two.out_features == 3 and why(found) == {"tied": 2}
    assert torch.equal(found.model.one.weight[0], torch.zeros(3).double())
    assert_same(masked(model, masks), found.model, (torch.zeros(1, 3).double(),))


def test_tied_weights_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.up, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
            self.up.weight = self.down.weight

        def forward(self, x):
            return self.out(torch.relu(self.up(torch.relu(self.down(x)))))

    model = drawn(Tied())
    model.up.weight = model.down.weight
    masks = {"down.weight": torch.ones(6, 6) > 0, "out.weight": torch.ones(2, 6) > 0}
    masks["down.weight"][4] = False
    found = gs.compact(model, torch.zeros(1, 6).double(), masks)
    assert found.model.up.weight is found.model.down.weight
    assert_same(masked(model, masks), found.model, (torch.zeros(1, 6).double(),))


def test_code_that_takes_no_other_width_is_left_alone():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.three, self.head = (
                nn.Linear(3, 6),
                nn.Linear(6, 6),
                nn.Linear(6, 6),
                nn.Linear(6, 2),
            )

        def forward(self, x):
            x = torch.relu(self.one(x)).reshape(-1, 6)
            return self.head(torch.relu(self.three(torch.relu(self.two(x)) * 1.0)))

    model = drawn(Fixed())
    masks = {f"{name}.weight": torch.ones(6, 3 if name == "one" else 6) > 0 for name in ("one", "two", "three")}
    for mask in masks.values():
        mask[1:4] = False
    found = gs.compact(model, torch.zeros(1, 3).double(), masks)
    assert found.model.one.out_features == 6 and why(found) == {"code": 3}
    assert found.model.two.out_features == found.model.three.out_features == 3
    assert any("own code" in note for note in found.report.notes)
    assert_same(masked(model, masks), found.model, (torch.zeros(1, 3).double(),))


def test_numbers_that_the_model_holds_keep_their_channels():
    class Weighed(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.head = nn.Linear(3, 4), nn.Linear(4, 2)
            self.register_buffer("table", torch.arange(1.0, 5.0))

        def forward(self, x):
            return self.head(torch.relu(self.one(x)) * self.table)

    model = drawn(Weighed())
    masks = {"one.weight": (torch.arange(4) != 1)[:, None].expand(4, 3)}
    found = gs.compact(model, torch.zeros(1, 3).double(), masks)
    assert found.model.one.out_features == 4 and why(found) == {"numbers": 1}


@pytest.mark.parametrize("plan", [[73, 25, 51], [1, 49], [12, 60, 37, 2], [6, 85]])
def test_random_networks_with_skips_and_groups_without_verification(plan):
    """The analysis alone is right; nothing is left to the trial."""
    model, x = drawn(Random(plan)), torch.zeros(1, 4, 9, 9).double()
    masks = masks_of(model, 0.3, rows=0.6, seed=sum(plan))
    found = gs.compact(model, x, masks, verify=False)
    assert found.report.difference is None
    assert_same(masked(model, masks), found.model, (x,))


def test_channels_that_are_chosen_by_their_places_stay():
    class Places(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.head = nn.Linear(3, 6), nn.Linear(3, 6), nn.Linear(9, 2)

        def forward(self, x):
            return self.head(torch.cat([self.one(x)[:, ::2], self.two(x).roll(1, 1)], 1))

    model = drawn(Places())
    masks = {f"{name}.weight": (torch.arange(6) > 1)[:, None].expand(6, 3) for name in ("one", "two")}
    found = gs.compact(model, torch.zeros(1, 3).double(), masks, verify=False)
    assert found.model.one.out_features == found.model.two.out_features == 6 and why(found) == {"numbers": 6}
    assert_same(masked(model, masks), found.model, (torch.zeros(1, 3).double(),))


def test_widths_that_are_a_multiple():
    model, x = drawn(zoo.build("lenet300100")), torch.zeros(1, 1, 28, 28).double()
    masks = masks_of(model, 0.02)
    small, rounded = gs.compact(model, x, masks), gs.compact(model, x, masks, round_to=16)
    for module in (rounded.model.fc1, rounded.model.fc2):
        assert module.out_features % 16 == 0
    assert small.model.fc1.out_features <= rounded.model.fc1.out_features < small.model.fc1.out_features + 16
    assert rounded.report.rounding == rounded.report.after.parameters - small.report.after.parameters > 0
    assert why(rounded)["round_to"] > 0 and small.report.rounding == 0
    assert_same(masked(model, masks), rounded.model, (x,))


def test_subnormal_biases_are_zero():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([0.0, TINY]))
        model[2].weight.fill_(0.5)
        model[2].bias.zero_()
    found = gs.compact(model, torch.zeros(1, 2), {"0.weight": torch.tensor([[True, True], [False, False]])})
    assert model[2](torch.relu(model[0].bias)).item() == 0.5 * TINY != 0
    assert found.model[2].in_features == 1 and found.model[2].bias.item() == 0


def test_type_mode_and_gradients_are_kept():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).to(torch.bfloat16)
    model.train()
    model[3].eval()
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    masks = {"0.weight": (torch.arange(4) > 1)[:, None].expand(4, 3)}
    found = gs.compact(model, torch.zeros(1, 3, dtype=torch.bfloat16), masks)
    assert {parameter.dtype for parameter in found.model.parameters()} == {torch.bfloat16}
    assert found.model[0].out_features == found.model[1].num_features == len(found.model[1].running_mean) == 2
    assert [module.training for module in found.model.children()] == [True, True, True, False] and found.model.training
    assert not found.model[0].weight.requires_grad and found.model[3].weight.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    again = found.expand()
    assert [module.training for module in again.children()] == [True, True, True, False]


def test_there_and_back():
    model, x = drawn(zoo.build("digits_conv")), torch.zeros(1, 1, 8, 8).double()
    masks = masks_of(model, 0.05)
    found = gs.compact(model, x, masks)
    whole = masked(model, masks)
    again = found.expand()
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=1e-12, atol=1e-12)
    small = found.shrink({**whole.state_dict(), **masks})
    for name, parameter in found.model.named_parameters():
        assert small[name].shape == parameter.shape
    there = found.expand_tensors(found.shrink(masks))
    assert all(mask.dtype == torch.bool and bool((mask <= masks[name]).all()) for name, mask in there.items())
    assert all(torch.equal(found.shrink(there)[name], found.shrink(masks)[name]) for name in masks)
    for name, (*at,) in found.unit_map.items():
        if not name.endswith("bias") and name in whole.state_dict() and at:
            part = whole.state_dict()[name][torch.meshgrid(*at, indexing="ij")]
            assert torch.equal(part, found.model.state_dict()[name])


def test_the_state_of_an_optimiser_goes_along():
    """A step of the smaller model with the state that it was given is the step of the whole masked one."""
    model, x = drawn(nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))), torch.randn(5, 3).double()
    masks = {"0.weight": (torch.arange(6) % 2 > 0)[:, None].expand(6, 3)}
    with torch.no_grad():
        model[0].bias[::2] = 0
    whole = masked(model, masks)
    found = gs.compact(whole, x, None)

    def stepped(trained: nn.Module, state: dict) -> dict[str, torch.Tensor]:
        optimiser = torch.optim.Adam(trained.parameters(), lr=0.1)
        for name, parameter in trained.named_parameters():
            optimiser.state[parameter] = {key: found_[name].clone() for key, found_ in state.items()}
        trained(x).square().sum().backward()
        optimiser.step()
        return {name: parameter.detach() for name, parameter in trained.named_parameters()}

    state = {
        key: {n: torch.rand(p.shape).double() for n, p in whole.named_parameters()} for key in ("exp_avg", "exp_avg_sq")
    }
    state["step"] = {name: torch.tensor(3.0) for name, _ in whole.named_parameters()}
    small = {key: found.shrink(values) for key, values in state.items()}
    for name, tensor in found.shrink(stepped(whole, state)).items():
        torch.testing.assert_close(tensor, stepped(copy.deepcopy(found.model), small)[name])


def test_the_result_is_an_ordinary_model(tmp_path):
    model, x = drawn(zoo.build("digits_conv")), torch.randn(1, 1, 8, 8).double()
    found = gs.compact(model, x, masks_of(model, 0.05))
    program = torch.export.export(found.model.eval(), (x,))
    torch.testing.assert_close(program.module()(x), found.model(x))
    assert {type(module) for module in found.model.modules()} == {type(module) for module in model.modules()}
    assert list(found.model.state_dict()) == list(model.state_dict())
    torch.save(found.model.state_dict(), tmp_path / "small.pt")
    twin = copy.deepcopy(found.model)
    twin.load_state_dict(torch.load(tmp_path / "small.pt", weights_only=True))
    assert found.model(x).sum().backward() is None


def test_masks_are_read_off_the_model():
    model = drawn(chain())
    with torch.no_grad():
        model[0].bias[3] = 0
    mask = (torch.arange(4) < 3)[:, None].expand(4, 3)
    whole = masked(model, {"0.weight": mask})
    prune.custom_from_mask(model[0], "weight", mask)
    found = gs.compact(model, torch.zeros(1, 3).double())
    assert type(found.model[0].weight) is nn.Parameter and found.model[0].out_features == 3
    assert_same(whole, found.model, (torch.zeros(1, 3).double(),))


@pytest.mark.parametrize("verify", [False, True])
def test_a_constant_stays_where_a_function_reads_it_with_a_modules_weight(verify):
    """Unit 1 of both layers holds a constant. The module's bias could take over what it adds in one of two calls."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            x = torch.tanh(self.two(torch.tanh(self.one(x))))
            return self.head(nn.functional.linear(x, self.two.weight))

    model, x = drawn(Twice()), torch.zeros(1, 3).double()
    masks = {name: torch.ones_like(model.get_parameter(name)) > 0 for name in ("one.weight", "two.weight")}
    masks["one.weight"][1] = masks["two.weight"][1] = False
    found = gs.compact(model, x, masks, verify=verify)
    assert why(found) == {"bias": 2}
    assert_same(masked(model, masks), found.model, (x,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_whole_model_comes_back_to_the_last_bit(dtype):
    """Biases are rounded with the constants that they take over; the last layer's would be subnormal, and it has none."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 30), nn.ReLU(), nn.Linear(30, 20), nn.Linear(20, 2, bias=False)).to(dtype)
    with torch.no_grad():
        model[2].bias[0], model[3].weight[:, 0] = 1, torch.finfo(dtype).tiny / 2
    masks = {"0.weight": (torch.arange(30) < 10)[:, None].expand(30, 2), "2.weight": torch.ones(20, 30) > 0}
    masks["2.weight"][0] = False
    found = gs.compact(model, torch.zeros(1, 2).to(dtype), masks)
    whole, expected = found.expand().state_dict(), masked(model, masks).state_dict()
    assert found.folded.keys() == {"2.bias", "3.bias"} and whole.keys() == expected.keys()
    assert not found.model[3].bias.any() and all(torch.equal(whole[name], tensor) for name, tensor in expected.items())


def test_what_cannot_be_compacted_is_refused():
    model, x = chain(), torch.zeros(1, 3)
    with pytest.raises(gs.ArgumentError, match="round_to= must be a whole number from 1 on; received 0"):
        gs.compact(model, x, {}, 0)
    found = gs.compact(model, x, {})
    with pytest.raises(gs.MaskError, match="must go by the name of a parameter"):
        found.shrink({"7.weight": torch.zeros(2, 2)})
    with pytest.raises(
        gs.MaskError, match=r"must have the shape that the model's own has, at 0.weight; received \(2, 2\)"
    ):
        found.shrink({"0.weight": torch.zeros(2, 2)})


class OneKey(nn.Module):
    """Attention with heads of two features."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (layer(x).view(*x.shape[:2], -1, 2).transpose(1, 2) for layer in (self.q, self.k, self.v))
        return self.out(((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2))


def test_features_of_a_head_leave_together_where_attention_has_a_single_key():
    """A softmax of one entry is one, so queries and keys are dead; what is left of them must be heads again."""
    torch.manual_seed(0)
    found = gs.compact(OneKey(), torch.zeros(1, 1, 4), {})
    frame = found.report.frame.set_index("parameter")
    assert not frame["why"].str.contains("code").any() and frame.loc["q.weight", "dead"] == 4
