"""Masks kept while training: exact zeros in weights, gradients and state, and what must not change by it."""

from __future__ import annotations

import copy
import gc
import io
import warnings
import weakref

import pytest
import torch
import torch.utils.checkpoint
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters
from torch.nn.utils import prune
from torch.optim import optimizer as torch_optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import graphsparse as gs
from graphsparse.errors import GraphsparseError, MaskError, ModelError
from graphsparse.training.bypassed import MasksBypassed
from graphsparse.training.zeroing import zero

pytestmark = pytest.mark.filterwarnings("error::graphsparse.training.bypassed.MasksBypassed")
optim = torch.optim
OPTIMISERS = {
    "SGD": lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "SGD foreach": lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, foreach=True),
    "SGD fused": lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, fused=True),
    "Adam": lambda p: optim.Adam(p, 0.01, weight_decay=0.1, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, 0.01, weight_decay=0.1),
    "AdamW, decay above one": lambda p: optim.AdamW(p, 2.0, weight_decay=1.0),
    "AdamW foreach": lambda p: optim.AdamW(p, 0.01, foreach=True),
    "AdamW fused": lambda p: optim.AdamW(p, 0.01, fused=True),
    "AdamW with a tensor as rate": lambda p: optim.AdamW(p, torch.tensor(0.01)),
    "Adafactor": lambda p: optim.Adafactor(p, 0.1, weight_decay=0.1),
    "Adagrad": lambda p: optim.Adagrad(p, 0.1, initial_accumulator_value=0.1),
    "Adadelta": lambda p: optim.Adadelta(p),
    "Adamax": lambda p: optim.Adamax(p, 0.01),
    "ASGD": lambda p: optim.ASGD(p, 0.01),
    "NAdam": lambda p: optim.NAdam(p, 0.01),
    "RAdam": lambda p: optim.RAdam(p, 0.01),
    "RMSprop": lambda p: optim.RMSprop(p, 0.01, centered=True, momentum=0.9),
    "Rprop": lambda p: optim.Rprop(p, 0.01),
    "Muon": lambda p: optim.Muon([each for each in p if each.dim() == 2], 0.02),
    "LBFGS": lambda p: optim.LBFGS(p, 0.1, max_iter=4),
}
MIXES = {"Muon", "LBFGS", "Adafactor"}
"""What one gradient entry changes in others: there a mask after the fact is another training."""


def build(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3))


def masks_of(model: nn.Module, seed: int = 1) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {n: torch.rand(p.shape, generator=draw) < 0.4 for n, p in model.named_parameters() if p.dim() > 1}


def data(seed: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(6, 2, 4, 4, generator=draw).to(dtype), torch.randint(3, (6,), generator=draw)


def loss_of(model: nn.Module, seed: int) -> torch.Tensor:
    x, y = data(seed, next(model.parameters()).dtype)
    return nn.functional.cross_entropy(model(x).float(), y)


def step(model: nn.Module, optimizer: optim.Optimizer, seed: int) -> None:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model, seed)
        loss.backward()
        return loss

    optimizer.step(closure)


def assert_zero_bits(tensor: torch.Tensor, mask: torch.Tensor) -> None:
    """Not a bit is set where the mask drops: neither -0.0 nor NaN."""
    octets = tensor.detach().contiguous().view(torch.uint8).reshape(*tensor.shape, -1)
    assert not octets[~mask].any()


def assert_kept(model: nn.Module, masks: dict[str, torch.Tensor], optimizer: optim.Optimizer | None = None) -> None:
    """Weights, gradients and state of every masked parameter are zero where its mask drops."""
    for name, mask in masks.items():
        parameter = model.get_parameter(name)
        assert_zero_bits(parameter, mask)
        assert parameter.grad is None or not parameter.grad[~mask].any()
        for value in (optimizer.state.get(parameter, {}) if optimizer is not None else {}).values():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                assert not value[~mask].any()


@pytest.mark.parametrize("named", [True, False], ids=["named", "any"])
@pytest.mark.parametrize("kind", OPTIMISERS)
def test_zeros_stay_under_every_optimiser(kind, named):
    model = build()
    optimizer, masks = OPTIMISERS[kind](list(model.parameters())), masks_of(model)
    for seed in range(2):  # momentum from before the masks
        step(model, optimizer, seed)
    with gs.keep_masks(model, masks, optimizer if named else None):
        for seed in range(2, 6):
            before = [p.detach().clone() for p in model.parameters()]
            step(model, optimizer, seed)
            assert_kept(model, masks, optimizer)
            assert any(not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("kind", sorted(OPTIMISERS.keys() - MIXES - {"ASGD", "Rprop", "Adamax"}))
def test_what_is_kept_trains_as_in_a_loop_that_masks_by_hand(kind):
    ours, theirs = build(), build()
    masks = masks_of(ours)
    optimizer, by_hand = (OPTIMISERS[kind](list(each.parameters())) for each in (ours, theirs))
    gs.keep_masks(ours, masks, optimizer)

    def mask_by_hand():
        for name, mask in masks.items():
            parameter = theirs.get_parameter(name)
            parameter.data = torch.where(mask, parameter.data, 0.0)
            if parameter.grad is not None:
                parameter.grad = torch.where(mask, parameter.grad, 0.0)

    mask_by_hand()
    for seed in range(4):
        step(ours, optimizer, seed)
        loss_of(theirs, seed).backward()
        mask_by_hand()
        by_hand.step()
        by_hand.zero_grad()
        mask_by_hand()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128]
)
def test_not_a_number_and_minus_zero_become_plain_zero(dtype):
    weird = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 1.5, -2.0]).to(dtype)
    model = nn.Module()
    model.w = nn.Parameter(torch.stack([weird, weird]))
    mask = torch.tensor([[True] * 6, [False] * 6])
    handle = gs.keep_masks(model, {"w": mask})
    assert_zero_bits(model.w, mask)
    assert torch.equal(model.w[0].detach().nan_to_num(7), weird.nan_to_num(7))
    assert torch.equal(handle.masks["w"], mask)


def test_masks_lie_in_memory_as_their_parameters_do():
    model = build()
    model[0].weight.data = model[0].weight.data.to(memory_format=torch.channels_last)
    handle = gs.keep_masks(model, masks_of(model))
    kept = handle._kept["0.weight"]
    assert kept.mask.stride() == kept.parameter.stride() and not kept.mask.is_contiguous()
    assert_kept(model, masks_of(model))


def test_a_sparse_gradient_of_an_embedding_is_masked():
    model = nn.Embedding(5, 3, sparse=True)
    mask = torch.rand(5, 3) < 0.5
    optimizer = optim.SparseAdam(list(model.parameters()), 0.1)
    gs.keep_masks(model, {"weight": mask}, optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.tensor([1, 1, 3])).square().sum().add(model(torch.tensor([1])).sum()).backward()
        assert model.weight.grad.is_sparse and not model.weight.grad.to_dense()[~mask].any()
        optimizer.step()
        assert_zero_bits(model.weight, mask)


def test_norms_for_clipping_are_those_of_what_is_kept_over_accumulated_gradients():
    ours, theirs = build(), build()
    masks = masks_of(ours)
    gs.keep_masks(ours, masks)
    zero((theirs.get_parameter(name), mask.int()) for name, mask in masks.items())
    for seed in range(3):
        loss_of(ours, seed).backward()
        loss_of(theirs, seed).backward()
    whole = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1e9)
    for name, mask in masks.items():
        theirs.get_parameter(name).grad.mul_(mask)
    expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1e9)
    found = torch.nn.utils.clip_grad_norm_(ours.parameters(), 1e9)
    assert torch.allclose(found, expected) and found < whole


def test_gradients_and_weights_are_each_masked_once_in_one_call(monkeypatch):
    model, calls, multiply = build(), [], torch._foreach_mul_
    optimizer, masks = optim.SGD(model.parameters(), 0.1), masks_of(model)
    gs.keep_masks(model, masks, optimizer)
    monkeypatch.setattr(torch, "_foreach_mul_", lambda these, by: calls.append(len(these)) or multiply(these, by))
    for seed in range(2):
        calls.clear()
        loss_of(model, seed).backward()
        assert calls == [len(masks)] and not any(model.get_parameter(n).grad[~mask].any() for n, mask in masks.items())
        optimizer.step()
        assert calls == 2 * [len(masks)]


def test_a_backward_pass_that_an_error_ended_does_not_count():
    model, masks = build(), masks_of(build())
    gs.keep_masks(model, masks)

    def fail(_: torch.Tensor) -> None:
        raise RuntimeError("in the middle")

    x, y = data(0)
    early = model[1](model[0](x))
    early.register_hook(fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        nn.functional.cross_entropy(model[2:](early), y).backward()
    model.zero_grad()
    loss_of(model, 1).backward()
    assert all(model.get_parameter(n).grad[mask].any() for n, mask in masks.items())
    assert not any(model.get_parameter(n).grad[~mask].any() for n, mask in masks.items())


def test_gradients_are_masked_under_checkpoints_that_run_a_backward_pass_inside():
    model, masks = build(), masks_of(build())
    gs.keep_masks(model, masks)
    x, y = data(0)
    early = torch.utils.checkpoint.checkpoint(model[:3], x.requires_grad_(), use_reentrant=True)
    nn.functional.cross_entropy(model[3:](early), y).backward()
    assert all(model.get_parameter(n).grad[mask].any() for n, mask in masks.items())
    assert not any(model.get_parameter(n).grad[~mask].any() for n, mask in masks.items())


@pytest.mark.parametrize("in_place", [True, False])
def test_noise_on_gradients_after_the_backward_pass_reaches_neither_weights_nor_state(in_place):
    model = build()
    optimizer, masks = optim.Adam(model.parameters(), 0.01), masks_of(model)
    gs.keep_masks(model, masks, optimizer)
    for seed in range(3):
        loss_of(model, seed).backward()
        for parameter in model.parameters():
            if in_place:
                parameter.grad.add_(torch.randn_like(parameter))
            else:
                parameter.grad = parameter.grad + torch.randn_like(parameter)
        optimizer.step()
        assert_kept(model, masks, optimizer)


def test_a_step_that_a_scaler_skips_leaves_zeros_and_moves_nothing():
    model = build()
    optimizer, masks = optim.AdamW(model.parameters(), 0.01), masks_of(model)
    gs.keep_masks(model, masks, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for seed, spoiled in enumerate([False, True, False]):
        optimizer.zero_grad()
        before = copy.deepcopy(model.state_dict())
        scaler.scale(loss_of(model, seed) * (float("inf") if spoiled else 1)).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        same = all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
        assert same == spoiled
        for name, mask in masks.items():
            assert_zero_bits(model.get_parameter(name), mask)


@pytest.mark.parametrize("ours_first", [True, False])
def test_optimisers_that_step_inside_the_backward_pass(ours_first):
    model = build()
    masks = masks_of(model)
    optimisers = {p: optim.AdamW([p], 0.01) for p in model.parameters()}

    def step_now(parameter):
        optimisers[parameter].step()
        optimisers[parameter].zero_grad()

    if ours_first:
        gs.keep_masks(model, masks)
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step_now)
    if not ours_first:
        gs.keep_masks(model, masks)
    for seed in range(3):
        before = model[3].weight.detach().clone()
        loss_of(model, seed).backward()
        for optimizer in optimisers.values():
            assert_kept(model, masks, optimizer)
        assert not torch.equal(before, model[3].weight)


@pytest.mark.parametrize("named", [True, False], ids=["named", "any"])
def test_a_compiled_model_and_a_compiled_step_are_compiled_once(named):
    def compiled_and_broken(masked: bool) -> tuple[list[tuple[int, int]], int]:
        torch._dynamo.reset()
        counters.clear()
        model = build()
        optimizer, masks = optim.AdamW(model.parameters(), 0.01), masks_of(model)
        forward, stepping = (CompileCounterWithBackend("eager") for _ in range(2))
        compiled = torch.compile(model, backend=forward, fullgraph=True)
        if masked:
            gs.keep_masks(compiled, masks, optimizer if named else None)
        run = torch.compile(lambda: optimizer.step(), backend=stepping)
        counts = []
        for seed in range(4):
            optimizer.zero_grad()
            loss_of(compiled, seed).backward()
            run()
            counts.append((forward.frame_count, stepping.frame_count))
            if masked:
                assert_kept(model, masks, optimizer)
        return counts, sum(counters["graph_break"].values())

    ours, our_breaks = compiled_and_broken(masked=True)
    theirs, their_breaks = compiled_and_broken(masked=False)
    assert len(set(ours)) == 1 and ours[0][0] == theirs[0][0] == 1
    assert our_breaks == their_breaks  # torch itself breaks the graph around a step


def test_new_masks_do_not_compile_anew():
    torch._dynamo.reset()
    model = build()
    optimizer = optim.SGD(model.parameters(), 0.1)
    handle = gs.keep_masks(model, masks_of(model), optimizer)
    stepping = CompileCounterWithBackend("eager")
    run = torch.compile(lambda: optimizer.step(), backend=stepping)
    counts = []
    for seed in range(3):
        optimizer.zero_grad()
        loss_of(model, seed).backward()
        run()
        handle.set(masks_of(model, seed))
        assert_kept(model, masks_of(model, seed))
        counts.append(stepping.frame_count)
    assert len(set(counts)) == 1


@pytest.mark.parametrize("named", [True, False], ids=["named", "any"])
def test_a_step_that_was_compiled_before_learns_of_masks_and_of_their_end(named):
    torch._dynamo.reset()
    model = build()
    optimizer, masks = optim.AdamW(model.parameters(), 0.01), masks_of(model)
    run = torch.compile(lambda: optimizer.step(), backend="eager")

    def compiled_step(seed: int) -> None:
        optimizer.zero_grad()
        loss_of(model, seed).backward()
        run()

    compiled_step(0)
    handle = gs.keep_masks(model, masks, optimizer if named else None)
    compiled_step(1)
    assert_kept(model, masks, optimizer)
    handle.remove()
    compiled_step(2)
    assert all(model.get_parameter(name)[~mask].any() for name, mask in masks.items())


def test_nothing_else_of_the_model_changes():
    model, plain = build(), build()
    masks = masks_of(model)
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    gs.keep_masks(model, masks, optimizer)
    averages = [AveragedModel(model), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))]
    for seed in range(3):
        step(model, optimizer, seed)
        for each in averages:
            each.update_parameters(model)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert [n for n, _ in model.named_buffers()] == [] and type(model[0].weight) is nn.Parameter
    for each in averages:
        assert_kept(each.module, masks)
    twin = copy.deepcopy(model)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (twin, torch.load(file, weights_only=False)):
        other_optimizer = optim.SGD(other.parameters(), 0.1)
        step(other, other_optimizer, 9)
        assert other[3].weight[~masks["3.weight"]].any()  # a copy is free
    assert_kept(model, masks)
    copy.deepcopy(optimizer)


def test_a_handle_changes_masks_and_ends():
    model = build()
    optimizer, first = optim.Adam(model.parameters(), 0.01), masks_of(model)
    second = {name: mask.roll(1, -1) for name, mask in first.items() if name != "5.weight"}
    handle = gs.keep_masks(model, first, optimizer)
    step(model, optimizer, 0)
    handle.set(second)
    assert handle.masks.keys() == second.keys()
    assert all(torch.equal(handle.masks[name], mask) for name, mask in second.items())
    assert_kept(model, second, optimizer)
    step(model, optimizer, 1)
    assert_kept(model, second, optimizer)
    assert model[3].weight[second["3.weight"] & ~first["3.weight"]].any()  # what came back trains
    assert model[5].weight[~first["5.weight"]].any()
    handle.remove()
    step(model, optimizer, 2)
    assert model[3].weight[~second["3.weight"]].any()


def test_masks_go_into_a_checkpoint_and_come_back():
    model = build()
    handle = gs.keep_masks(model, masks_of(model))
    state = copy.deepcopy(handle.state_dict())
    handle.set(masks_of(model, 5))
    handle.load_state_dict(state)
    assert all(torch.equal(handle.masks[name], mask) for name, mask in masks_of(model).items())


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(x))


def test_tied_weights_have_one_mask():
    model, mask = Tied(), torch.eye(4) > 0
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    handle = gs.keep_masks(model, {"b.weight": mask}, optimizer)
    model(torch.randn(3, 4)).sum().backward()
    optimizer.step()
    assert_zero_bits(model.a.weight, mask)
    assert list(handle.masks) == ["a.weight"]
    handle.set({"b.weight": mask, "a.weight": mask})
    assert list(handle.masks) == ["a.weight"]
    with pytest.raises(MaskError, match=r"must agree, at a\.weight and b\.weight"):
        handle.set({"a.weight": mask, "b.weight": ~mask})


def test_parameters_are_found_by_name_when_they_are_used():
    model = build()
    masks = masks_of(model)
    gs.keep_masks(model, masks)
    model[3].weight = nn.Parameter(torch.randn(5, 16))
    model[5] = nn.Linear(5, 3)
    model.double()
    optimizer = optim.AdamW(model.parameters(), 0.01)
    for seed in range(2):
        step(model, optimizer, seed)
        assert_kept(model, masks, optimizer)
    model[3].weight = nn.Parameter(torch.randn(4, 16).double())
    with pytest.raises(MaskError, match=r"must keep its shape, at 3\.weight; received \(4, 16\) after \(5, 16\)"):
        optimizer.step()


def test_only_optimisers_with_masked_parameters_are_touched():
    model, other = build(), build(1)
    gs.keep_masks(model, masks_of(model))
    stranger = optim.SGD(other.parameters(), 0.1)
    before = [p._version for p in model.parameters()]
    step(other, stranger, 0)
    assert [p._version for p in model.parameters()] == before
    assert all(p.detach().ne(0).all() for p in other.parameters())


def test_loaded_state_of_an_optimiser_is_masked():
    model = build()
    optimizer, masks = optim.Adam(model.parameters(), 0.01), masks_of(model)
    step(model, optimizer, 0)
    state = copy.deepcopy(optimizer.state_dict())
    gs.keep_masks(model, masks, optimizer)
    optimizer.load_state_dict(state)
    assert_kept(model, masks, optimizer)


@pytest.mark.parametrize("through_data", [False, True])
def test_an_optimiser_with_copies_of_the_weights_is_found_and_said_once(through_data):
    model = build()
    masters = [p.detach().clone().requires_grad_() for p in model.parameters()]
    optimizer = optim.SGD(masters, 0.1)
    handle = gs.keep_masks(model, masks_of(model))

    def master_step():
        for mine, master in zip(model.parameters(), masters, strict=True):
            master.grad, mine.grad = mine.grad, None
        optimizer.step()
        with torch.no_grad():
            for mine, master in zip(model.parameters(), masters, strict=True):
                (mine.data if through_data else mine).copy_(master)  # torch counts no changes through .data

    loss_of(model, 0).backward()
    master_step()
    with pytest.warns(MasksBypassed, match=r"\d\.weight: \d+ weights .* not zero.*handle\.apply\(\)") as said:
        for seed in range(1, 4):
            loss_of(model, seed).backward()
            master_step()
    assert len(said) == 1
    handle.apply()
    assert_kept(model, masks_of(model))


def test_weights_that_are_loaded_are_looked_at_and_clean_ones_are_not_said():
    model, masks = build(), masks_of(build())
    handle = gs.keep_masks(model, masks)
    clean, dense = copy.deepcopy(model.state_dict()), build(3).state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("error", MasksBypassed)
        model.load_state_dict(clean)
        loss_of(model, 0).backward()
    model.load_state_dict(dense)
    with pytest.warns(MasksBypassed):
        loss_of(model, 0).backward()
    model.load_state_dict(dense)
    handle.apply()
    assert_kept(model, masks)


def test_weights_that_are_clipped_at_each_step_are_not_looked_at_each_time(monkeypatch):
    model, looks, count = build(), [], torch.count_nonzero
    masks = dict(list(masks_of(model).items())[:1])
    optimizer = optim.SGD(model.parameters(), 0.1)
    gs.keep_masks(model, masks, optimizer)
    monkeypatch.setattr(torch, "count_nonzero", lambda *given: looks.append(given) or count(*given))
    for seed in range(40):
        loss_of(model, seed).backward()
        optimizer.step()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.clamp_(-1, 1)  # a change that torch counts, and that brings nothing back
    assert 0 < len(looks) < 10  # each waits for the device


def test_hooks_end_with_the_model():
    gc.collect()  # models of other tests
    before = len(torch_optimizer._global_optimizer_post_hooks)
    model = build()
    handle = gs.keep_masks(model, masks_of(model))
    assert len(torch_optimizer._global_optimizer_post_hooks) == before + 1
    ended = weakref.ref(model)
    del model
    gc.collect()
    assert ended() is None and len(torch_optimizer._global_optimizer_post_hooks) == before
    with pytest.raises(GraphsparseError, match="the model must still be there"):
        handle.set({})


def test_bad_input_is_one_line():
    model = build()
    x = optim.SGD(build(1).parameters(), 0.1)
    for masks, text in (
        ({"nope": torch.ones(1) > 0}, r"names of model.named_parameters\(\), at nope"),
        ({"3.weight": torch.ones(2, 2) > 0}, r"shape of its parameter, at 3\.weight; received \(2, 2\)"),
        ({"3.weight": torch.rand(5, 16)}, "a mask must be boolean"),
        ([], "masks must be a mapping"),
    ):
        with pytest.raises(MaskError, match=text):
            gs.keep_masks(model, masks)
    with pytest.raises(GraphsparseError, match="an optimizer must hold a parameter that has a mask, at SGD"):
        gs.keep_masks(model, masks_of(model), x)
    with pytest.raises(GraphsparseError, match="an optimizer must be one of torch.optim"):
        gs.keep_masks(model, masks_of(model), "adam")
    for none in (gs.network(model, data(0)[0]), 3, build):
        with pytest.raises(ModelError, match="a model that is trained must be a torch.nn.Module"):
            gs.keep_masks(none, masks_of(model))
    prune.random_unstructured(model[3], "weight", 0.5)
    with pytest.raises(MaskError, match=r"prune\.remove"):
        gs.keep_masks(model, {"3.weight": torch.ones(5, 16) > 0})
    assert model[0].weight.detach().ne(0).all()  # nothing was changed
