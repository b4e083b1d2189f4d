"""Dead units out of torch's own modules that hold several kernels: recurrences, multi-head attention, bilinear layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import graphsparse as gs
from tests.compacting import assert_same, drawn, masked, why


def full(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: torch.ones(p.shape) > 0 for name, p in model.named_parameters() if p.dim() > 1}


class Recurrent(nn.Module):
    def __init__(self, kind, **settings):
        super().__init__()
        self.first, self.steps = nn.Linear(3, 5), kind(5, 6, batch_first=True, **settings)
        width = settings.get("proj_size") or 6
        self.head = nn.Linear(width * (1 + settings.get("bidirectional", False)), 2)

    def forward(self, x):
        return self.head(self.steps(torch.relu(self.first(x)))[0])


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (nn.LSTM, {"num_layers": 2, "bidirectional": True}), (nn.LSTM, {"proj_size": 4, "num_layers": 2}),
        (nn.GRU, {"num_layers": 2}), (nn.GRU, {"bidirectional": True, "bias": False}), (nn.RNN, {}),
    ],
)  # fmt: skip
def test_hidden_units_of_a_recurrence_leave(kind, settings):
    """Nobody reads units 1 and 4 of any layer; unit 2 of the first layer is lost too, which the hidden size keeps."""
    model, x = drawn(Recurrent(kind, **settings)), torch.zeros(1, 4, 3).double()
    masks = full(model)
    lost, width = ([2], 4) if "proj_size" in settings else ([1, 4], 6)
    for name, mask in masks.items():
        if "weight_hh" in name:
            mask[:, lost] = False
        elif "weight_hr" in name:
            mask[:, [1, 4]] = False
        elif "weight_ih_l1" in name or name == "head.weight":
            for unit in [*lost, *([0] if "weight_ih_l1" in name else [])]:
                mask[:, unit::width] = False
    found = gs.compact(model, x, masks, verify=False)
    steps = found.model.steps
    assert (steps.hidden_size, steps.weight_hh_l0.shape[1]) == (4, width - len(lost))
    assert steps.input_size == 5 and found.model.head.in_features == model.head.in_features // width * (
        width - len(lost)
    )
    for made in (found.model, found.expand()):
        assert_same(masked(model, masks), made, (x,))
    found.model(torch.randn(2, 4, 3).double()).sum().backward()
    assert all(parameter.grad is not None for parameter in found.model.parameters())


def test_a_cell_and_its_initial_state():
    """A learned first state is cut with the units. Unit 3 has no readers."""

    class Stepped(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.start, self.head = nn.GRUCell(3, 5), nn.Parameter(torch.ones(1, 5)), nn.Linear(5, 2)

        def forward(self, x):
            state = self.start.expand(len(x), -1)
            for step in range(3):
                state = self.cell(x[:, step], state)
            return self.head(state)

    model, x = drawn(Stepped()), torch.zeros(1, 3, 3).double()
    masks = full(model)
    for name in ("cell.weight_hh", "head.weight"):
        masks[name][:, 3] = False
    found = gs.compact(model, x, masks)
    assert found.model.cell.hidden_size == 4 and found.model.start.shape == (1, 4) and why(found) == {}
    assert_same(masked(model, masks), found.model, (x,))


class Attending(nn.Module):
    def __init__(self, heads=3, memory=None):
        super().__init__()
        sides = {} if memory is None else {"kdim": memory, "vdim": memory}
        self.first, self.second = nn.Linear(5, 12, bias=False), nn.Linear(5, memory or 12, bias=False)
        self.attention, self.head = nn.MultiheadAttention(12, heads, batch_first=True, **sides), nn.Linear(12, 2)
        self.crossed = memory is not None

    def forward(self, x):
        query = torch.tanh(self.first(x))
        other = torch.tanh(self.second(x)) if self.crossed else query
        return self.head(torch.relu(self.attention(query, other, other, need_weights=False)[0]))


@pytest.mark.parametrize(("heads", "memory"), [(3, None), (4, None), (3, 7)])
@pytest.mark.parametrize("lost", ["as many", "more", "none"])
def test_heads_of_torch_leave_with_as_many_channels_of_the_query(heads, memory, lost):
    """Nobody reads head 1. Its module takes as many channels from the query as its heads have."""
    model, x, size = drawn(Attending(heads, memory)), torch.zeros(1, 4, 5).double(), 12 // heads
    masks = full(model)
    masks["attention.out_proj.weight"][:, size : 2 * size] = False
    masks["head.weight"][:, 5] = False
    masks["first.weight"][: {"as many": size, "more": size + 1, "none": 0}[lost]] = False
    if memory:
        masks["second.weight"][2] = False
    found = gs.compact(model, x, masks, verify=False)
    attention, width = found.model.attention, 12 if lost == "none" else 12 - size
    assert (attention.embed_dim, attention.num_heads) == (width, width // size)
    assert (
        attention.kdim == attention.vdim == (width if memory is None else 6) and attention.out_proj.out_features == 11
    )
    stayed = {"as many": 0, "more": 1, "none": 3 * size}[lost]
    assert why(found).get("module", 0) == stayed
    for made in (found.model, found.expand()):
        assert_same(masked(model, masks), made, (x,))


def test_units_of_a_bilinear_layer_leave():
    """Of the left side unit 1 is zero and unit 5 unread; unit 3 is a constant, whose products depend on the right side."""

    class Paired(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 6), nn.Linear(3, 5)
            self.pair, self.head = nn.Bilinear(6, 5, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(torch.tanh(self.pair(torch.tanh(self.one(x)), torch.tanh(self.two(x)))))

    model, x = drawn(Paired()), torch.zeros(1, 3).double()
    with torch.no_grad():
        model.one.bias[1] = 0
    masks = full(model)
    masks["one.weight"][[1, 3]] = False
    masks["pair.weight"][:, 5] = masks["pair.weight"][:, :, 3] = masks["pair.weight"][2] = masks["head.weight"][
        :, 4
    ] = False
    found = gs.compact(model, x, masks, verify=False)
    pair = found.model.pair
    assert (pair.in1_features, pair.in2_features, pair.out_features) == (4, 4, 3) and why(found) == {"bias": 1}
    assert [at.tolist() for at in found.unit_map["pair.weight"]] == [[0, 1, 3], [0, 2, 3, 4], [0, 1, 2, 4]]
    for made in (found.model, found.expand()):
        assert_same(masked(model, masks), made, (x,))


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("verify", [False, True])
def test_a_key_and_a_value_that_attention_adds_follow_its_width(verify, zero):
    """Nobody reads head 1. Of head 0 nobody reads channel 0, but bias_k and bias_v are as wide as all heads."""

    class Added(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.head = nn.Linear(5, 12, bias=False), nn.Linear(12, 2)
            self.attention = nn.MultiheadAttention(
                12, 3, kdim=5, vdim=5, add_bias_kv=True, add_zero_attn=zero, batch_first=True
            )

        def forward(self, x):
            return self.head(self.attention(torch.tanh(self.query(x)), x, x, need_weights=False)[0])

    model, x = drawn(Added()), torch.zeros(1, 4, 5).double()
    masks = {name: mask for name, mask in full(model).items() if "bias" not in name}
    masks["attention.out_proj.weight"][:, 4:8] = masks["query.weight"][:4] = masks["head.weight"][:, 3] = False
    found = gs.compact(model, x, masks, verify=verify)
    attention = found.model.attention
    assert (attention.embed_dim, attention.num_heads, attention.out_proj.out_features) == (8, 2, 11)
    assert attention.bias_k.shape == attention.bias_v.shape == (1, 1, 8) and why(found) == {}
    assert_same(masked(model, masks), found.model, (x,))


@pytest.mark.parametrize("verify", [False, True])
def test_a_class_token_follows_the_width_of_its_stream(verify):
    """Features 3 to 5 of all patches are zero. The token holds a number in 3."""

    class Token(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.head = nn.Linear(4, 6, bias=False), nn.Linear(6, 3)
            self.token = nn.Parameter(torch.zeros(1, 1, 6))

        def forward(self, x):
            return self.head(torch.cat([self.token.expand(len(x), -1, -1), self.patches(x)], 1))

    model, x = drawn(Token()), torch.zeros(1, 3, 4).double()
    with torch.no_grad():
        model.token[..., 4:] = 0
    masks = {"patches.weight": (torch.arange(6) < 3)[:, None].expand(6, 4)}
    found = gs.compact(model, x, masks, verify=verify)
    assert found.unit_map["token"][2].tolist() == [0, 1, 2, 3] and why(found) == {"padding": 1}
    assert_same(masked(model, masks), found.model, (x,))


@pytest.mark.parametrize(
    ("norm", "attributes"),
    [
        (nn.GroupNorm(4, 8, affine=False), {"num_groups": 3, "num_channels": 6}),
        (nn.InstanceNorm2d(8), {"num_features": 6}), (nn.BatchNorm2d(8, affine=False), {"num_features": 6}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verify", [False, True])
def test_normalisation_without_weights_follows_its_channels(norm, attributes, verify):
    """Nobody reads channels 2 and 3, a whole group."""
    model = drawn(nn.Sequential(nn.Conv2d(2, 8, 3), norm, nn.ReLU(), nn.Conv2d(8, 3, 1)))
    x, masks = torch.zeros(1, 2, 6, 6).double(), full(model)
    masks["3.weight"][:, 2:4] = False
    found = gs.compact(model, x, masks, verify=verify)
    assert {name: getattr(found.model[1], name) for name in attributes} == attributes and why(found) == {}
    assert_same(masked(model, masks), found.model, (x,))


class Sizes(nn.Module):
    """Sizes as numbers: views, splits, slices, norms, groups, a table that is read twice."""

    def __init__(self):
        super().__init__()
        self.one, self.norm, self.two = nn.Conv2d(2, 8, 3), nn.GroupNorm(4, 8), nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.wide, self.scale, self.gated = nn.Linear(6, 10, bias=False), nn.LayerNorm(6), nn.Linear(5, 9)
        self.token = nn.Parameter(torch.zeros(1, 1, 6))
        self.heads, self.head = nn.Linear(9, 12), nn.Linear(12, 2)

    def forward(self, x):
        x = self.scale(self.two(torch.relu(self.norm(self.one(x)))).flatten(2).transpose(1, 2))
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1).reshape(len(x), 65, 6)
        value, gate = self.wide(x).split(5, -1)
        x = torch.relu(self.gated(value * torch.sigmoid(gate)))
        x = torch.cat([x[..., 4:], x[..., :4]], -1)
        x = self.heads(x).unflatten(-1, (3, 4)).transpose(1, 2).reshape(len(x), 3, -1, 4).mean(2)
        return self.head(x.reshape(len(x), 12))


@pytest.mark.parametrize(("apart", "samples"), [(False, 1), (False, 3), (True, 1)])
def test_a_program_is_cut_like_its_module(apart, samples):
    model, x = drawn(Sizes()), torch.randn(samples, 2, 6, 6).double()
    with torch.no_grad():
        model.one.bias.zero_()
        model.norm.bias.zero_()
    rows = {"one": [0, 1, 4, 5], "wide": [0, 2, 4, 5, 7, 9], "gated": [1, 4, 5, 7, 8], "heads": [0, 3, 4, 7, 8, 11]}
    masks = {f"{name}.weight": torch.zeros_like(model.get_parameter(f"{name}.weight")) > 0 for name in rows}
    for name, kept in rows.items():
        masks[f"{name}.weight"][kept] = True
    program = torch.export.export(model, (x,))
    found = gs.compact(program.run_decompositions() if apart else program, masks=masks)
    assert found.report.difference is not None and why(found).keys() <= {"tied", "bias", "fixed"}
    shapes = {name: tuple(tensor.shape) for name, tensor in found.model.state_dict().items()}
    assert shapes["one.weight"] == (4, 2, 3, 3) and shapes["wide.weight"][0] == 6
    if not apart:
        assert shapes["gated.weight"] == (5, 3) and shapes["heads.weight"] == (6, 5) and shapes["head.weight"] == (2, 6)
        assert found.model.norm.weight.shape == (4,) and why(found) == {}
    small = torch.export.export(found.model, (x,)).module()
    torch.testing.assert_close(small(x), masked(model, masks)(x), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.expand()(x), masked(model, masks)(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("verify", [False, True])
def test_channels_that_become_one_image_leave_together(verify):
    """Images 0 and 2 have one channel of four that lives, and image 1 none."""
    model = drawn(nn.Sequential(nn.Conv2d(2, 12, 1, bias=False), nn.PixelShuffle(2), nn.Flatten(), nn.Linear(108, 2)))
    masks = {"0.weight": (torch.arange(12) % 8 == 0).reshape(12, 1, 1, 1).expand(12, 2, 1, 1)}
    found = gs.compact(model, torch.zeros(1, 2, 3, 3).double(), masks, verify=verify)
    assert found.unit_map["0.weight"][0].tolist() == [0, 1, 2, 3, 8, 9, 10, 11] and why(found) == {"tied": 6}
    assert_same(masked(model, masks), found.model, (torch.zeros(1, 2, 3, 3).double(),))


@pytest.mark.parametrize("verify", [False, True])
def test_a_projected_state_stays_longer_than_its_projection(verify):
    """One hidden unit of four lives, and two projected ones: torch takes no projection to as many units or more."""

    class Projected(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps, self.head = nn.LSTM(3, 4, batch_first=True, proj_size=2), nn.Linear(2, 2)

        def forward(self, x):
            return self.head(self.steps(x)[0])

    model, x = drawn(Projected()), torch.zeros(1, 5, 3).double()
    masks = {"steps.weight_hr_l0": (torch.arange(4) == 2).expand(2, 4)}
    found = gs.compact(model, x, masks, verify=verify)
    assert (found.model.steps.hidden_size, found.model.steps.proj_size) == (3, 2) and why(found).keys() == {"module"}
    assert_same(masked(model, masks), found.model, (x,))
