"""What `test_second_device` runs in a process of its own: the library on a device that is not the CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.export.passes import move_to_device_pass
from torch.nn import functional
from torch.nn.utils import prune as torch_prune

import graphsparse as gs
from graphsparse.passes.liveness import active_connections
from graphsparse.training.callbacks.loop import Loop
from graphsparse.training.dynamic import Dynamic
from graphsparse.training.gradual import Gradual
from graphsparse.training.on_device import DeviceSweep
from graphsparse.training.recorded import Recorded
from graphsparse.training.schedules import Schedule
from tests.families import MODELS
from tests.recording import recording
from tests.second_device import FAR, Devices, Far, waits
from tests.small_graphs import graphs

OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "adam": torch.optim.Adam,
    "adamw": lambda p: torch.optim.AdamW(p, foreach=True),
    "rmsprop": torch.optim.RMSprop,
    "adafactor": torch.optim.Adafactor,
    "lbfgs": torch.optim.LBFGS,
}
METHODS = ["random", "magnitude", "lamp", "snip", "grasp", "synflow"]


@pytest.fixture(autouse=True)
def two_devices() -> Iterator[None]:
    with Devices():
        yield


def built() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10), nn.ReLU(), nn.Linear(10, 3)
    )  # fmt: skip


def drawn(shapes: dict[str, Any], density: float = 0.3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=generator) < density for name, shape in shapes.items()}


def kernels(model: nn.Module) -> dict[str, Any]:
    return {name: p.shape for name, p in model.named_parameters() if p.dim() > 1}


X, Y = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0, 1])


def far(masks: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: mask.to(FAR) for name, mask in masks.items()}


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = functional.cross_entropy(model(x), y)
        found.backward()
        return found

    optimizer.step(loss)


def same(one: nn.Module, other: nn.Module) -> None:
    for (name, tensor), there in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(there.cpu(), tensor.cpu(), rtol=1e-4, atol=1e-5, msg=name)


def test_the_device_refuses_what_a_gpu_does_and_counts_what_it_waits_for():
    here, there = torch.ones(3), torch.ones(3).to(FAR)
    assert isinstance(there, Far) and there.device == FAR and (there + 1).device == FAR and (there * 2).cpu()[0] == 2
    with pytest.raises(RuntimeError, match="all tensors must be on one device"):
        here + there
    with pytest.raises(RuntimeError, match="all tensors must be on one device"):
        here[there > 0]
    with waits() as waited:
        there.add_(1).sum()
        assert not waited
        there.sum().item()
        there.cpu()
        there[torch.tensor([0])]
        assert len(waited) == 3


def agree(graph: gs.LayeredGraph) -> None:
    masks, swept = (
        far({name: torch.from_numpy(graph.kept[name].unpack()) for name in graph.shapes}),
        DeviceSweep(graph, FAR),
    )
    found, expected = swept.effective_masks(masks), active_connections(graph)
    for name in graph.shapes:
        assert found[name].device == FAR and torch.equal(found[name].cpu(), torch.from_numpy(expected[name])), name
    assert swept.sparsity(masks).rows == gs.sparsity(graph).rows
    held = len(swept.algebra._held)
    with waits() as waited:
        swept.effective_masks(masks)
        assert not waited  # the indices of the graph are there since the first sweep
        swept.sparsity(masks)
        assert len(waited) <= 3  # the counts, and what reaches units from either side
    assert len(swept.algebra._held) == held


def test_sweeps_of_small_graphs():
    for graph in list(graphs())[::4]:
        agree(graph)


@pytest.mark.parametrize("name", ["mobilenet", "unet-bilinear", "conv1d"])
def test_sweeps_of_families(name):
    model, example = MODELS[name]
    graph = gs.export(model, example, {})
    agree(graph.with_masks(drawn(graph.shapes, 0.4)))


def test_a_sweep_recorded_once_is_replayed_with_new_masks():
    """Also with masks of other parameters than those of the recording; results of earlier calls stay."""
    model, example = MODELS["mobilenet"]
    for graph in (gs.export(model, example, {}), *list(graphs())[::40]):
        some, earlier = dict(list(graph.shapes.items())[::2]), []
        with waits() as waited, recording(lambda: len(waited)):
            swept = DeviceSweep(graph, FAR, replay=True)
            for seed, shapes in enumerate((graph.shapes, some, graph.shapes, some, graph.shapes)):
                masks = drawn(shapes, 0.2 + 0.2 * (seed % 3))
                expected = graph.with_masks({**{n: m.unpack() for n, m in graph.kept.items()}, **masks})
                earlier.append((expected, swept.effective_masks(far(masks))))
                assert swept.sparsity(far(masks)).rows == gs.sparsity(expected).rows
            assert len(swept._recorded) == 2
        for expected, found in earlier:
            for name, mask in active_connections(expected).items():
                assert torch.equal(found[name].cpu(), torch.from_numpy(mask)), name


def test_what_waits_for_the_device_cannot_be_recorded():
    x = torch.ones(3).to(FAR)
    with waits() as waited, recording(lambda: len(waited)):
        doubled = Recorded(lambda inputs: inputs[0] * 2, [x])
        assert doubled([x + 1]).tolist() == [4, 4, 4]
        with pytest.raises(RuntimeError, match="not permitted"):
            Recorded(lambda inputs: inputs[0] * inputs[0].sum().item(), [x])


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_training_with_masks_is_what_it_is_on_the_cpu_and_waits_for_nothing_of_ours(kind):
    near, waited = built(), {}
    masks, there = drawn(kernels(near)), copy.deepcopy(near).to(FAR)
    plain = copy.deepcopy(there)
    x, y, optimizers = X.to(FAR), Y.to(FAR), {}
    gs.keep_masks(near, masks, optimizer := OPTIMISERS[kind](near.parameters()))
    for model in (there, plain):
        optimizers[model] = OPTIMISERS[kind](model.parameters())
    handle = gs.keep_masks(there, masks, optimizers[there])
    for _ in range(3):
        step(near, optimizer, X, Y)
        for model in (there, plain):
            with waits() as found:
                step(model, optimizers[model], x, y)
                waited[model] = list(found)
    same(near, there)
    assert all(mask.device == FAR and torch.equal(mask.cpu(), masks[name]) for name, mask in handle.masks.items())
    assert not any(there.get_parameter(name).cpu()[~mask].any() for name, mask in masks.items())
    if kind != "lbfgs":  # its line of steps depends on the weights
        assert waited[there] == waited[plain]


def test_norms_scaled_gradients_and_new_masks():
    model = built().to(FAR)
    masks, optimizer = drawn(kernels(model)), torch.optim.Adam(model.parameters())
    handle = gs.keep_masks(model, masks, optimizer)
    functional.cross_entropy(model(X.to(FAR)), Y.to(FAR)).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    assert norm.device == FAR and norm.item() > 0.1
    optimizer.step()
    handle.set({name: ~mask for name, mask in masks.items()})
    step(model, optimizer, X.to(FAR), Y.to(FAR))
    assert not any(model.get_parameter(name).cpu()[mask].any() for name, mask in masks.items())
    state = copy.deepcopy(handle.state_dict())
    handle.load_state_dict(state)
    handle.remove()


@pytest.mark.parametrize("change", ["gradual", "SET", "RigL"])
def test_schedules(change):
    model = built().to(FAR)
    network, optimizer = gs.network(model, X.to(FAR)), torch.optim.SGD(model.parameters(), 0.1)
    handle = gs.keep_masks(model, {} if change == "gradual" else drawn(kernels(model)), optimizer)
    schedule: Any = (
        Gradual(handle, network, Schedule(final=0.8, begin=0, end=4, every=2))
        if change == "gradual"
        else Dynamic(handle, network, every=2, end=10, grow="random" if change == "SET" else "gradient")
    )
    loop = Loop(handle, network, schedule, every=1)
    before = sum(int(mask.sum()) for mask in handle.masks.values())
    for at in range(5):
        numbers = loop.at(at)
        step(model, optimizer, X.to(FAR), Y.to(FAR))
    assert loop.changes and loop.sweep is not None and loop.sweep.algebra.device == FAR
    found = gs.sparsity(gs.export(network, handle.masks))
    assert (numbers["sparsity/direct"], numbers["sparsity/effective"]) == (found.direct, found.effective)
    if change == "gradual":
        assert abs(found.effective - 0.8) < 0.01
    else:
        assert found.kept <= before
    assert all(
        mask.device == FAR and not model.get_parameter(name).cpu()[~mask.cpu()].any()
        for name, mask in handle.masks.items()
    )


class Attends(nn.Module):
    """Tokens, positions, a causal mask that is made on the device, and a table of numbers that the model holds."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(11, 8), nn.Embedding(6, 8)
        self.ways = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.register_buffer("factors", torch.linspace(0, 1, 8))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        at = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.words(tokens) + self.places(at)
        q, k, v = (way(x) for way in self.ways)
        hidden = torch.full((len(at), len(at)), float("-inf"), device=tokens.device).triu(1)
        weights = torch.softmax(q @ k.transpose(1, 2) + hidden, -1)
        return self.head(self.norm(weights @ v) * self.factors)


@pytest.mark.parametrize("statistics", [False, True])
def test_a_model_there_is_captured_as_it_is_here(statistics):
    for model, example in (MODELS["resnet"], (built(), X), (Attends(), torch.tensor([[1, 4, 2, 7, 9]]))):
        here = gs.export(copy.deepcopy(model), example, norm_statistics=statistics)
        if isinstance(model, Attends):  # torch captures no table that is a tensor of our own type
            with torch.utils._python_dispatch._disable_current_modes():
                program = torch.export.export(model.eval(), (example,))
            there = gs.export(move_to_device_pass(program, FAR), norm_statistics=statistics)
        else:
            there = gs.export(copy.deepcopy(model).to(FAR), example.to(FAR), norm_statistics=statistics)
        assert there.shapes == here.shapes and there.n_units == here.n_units
        masks = drawn(here.shapes)
        assert gs.sparsity(there.with_masks(far(masks))).rows == gs.sparsity(here.with_masks(masks)).rows


def test_outputs_before_and_after_are_compared_there():
    model, masks = built().eval().to(FAR), drawn(kernels(built()), 0.05)
    for name, mask in masks.items():
        torch_prune.custom_from_mask(model.get_submodule(name.removesuffix(".weight")), "weight", mask.to(FAR))
    verification = gs.analyze(model, X.to(FAR), norm_statistics=True, verify=True).verification
    assert verification.dropped > 0 and verification.largest < 1e-12
    with torch.utils._python_dispatch._disable_current_modes():
        program = torch.export.export(Attends().eval(), (torch.tensor([[1, 4, 2, 7, 9]]),))
    assert gs.analyze(move_to_device_pass(program, FAR), verify=True).verification.largest < 1e-12


def test_masks_that_a_model_carries_there():
    model = built().to(FAR)
    masks = drawn(kernels(model))
    for name, mask in masks.items():
        torch_prune.custom_from_mask(model.get_submodule(name.removesuffix(".weight")), "weight", mask.to(FAR))
    assert gs.sparsity(gs.export(model, X.to(FAR))).rows == gs.sparsity(gs.export(built(), X, masks)).rows
    assert gs.analyze(model, X.to(FAR)).sparsity.kept == sum(int(mask.sum()) for mask in masks.values())


@pytest.mark.parametrize("method", METHODS)
def test_pruning_a_model_there_is_pruning_it_here(method):
    losses = {"loss": functional.cross_entropy} if method in ("snip", "grasp") else {}
    here = gs.prune(built(), X, method, compression=10, **({"data": [(X, Y)], **losses} if losses else {}))
    data = {"data": [(X.to(FAR), Y.to(FAR))], **losses} if losses else {}
    there = gs.prune(built().to(FAR), X.to(FAR), method, compression=10, **data)
    assert all(torch.equal(mask, there[name].cpu()) for name, mask in here.items())


@pytest.mark.parametrize("fold", [True, False])
def test_masks_are_written_back_there(fold):
    near = built().eval()
    there = copy.deepcopy(near).to(FAR)
    graph = gs.export(near, X, drawn(kernels(near), 0.05))
    masks = gs.effective_masks(graph)
    gs.write_masks(near, masks, example_inputs=X, fold_constants=fold)
    gs.write_masks(there, far(masks), example_inputs=X.to(FAR), fold_constants=fold)
    same(near, there)


def test_a_model_is_compacted_there():
    near = built().eval()
    there, masks = copy.deepcopy(near).to(FAR), drawn(kernels(near), 0.05)
    here, found = gs.compact(near, X, masks), gs.compact(there, X.to(FAR), far(masks))
    assert {p.device for p in found.model.parameters()} == {FAR}
    assert found.report.after.parameters == here.report.after.parameters < here.report.before.parameters
    same(here.model, found.model)
    same(here.expand(), found.expand())
    assert torch.equal(there.state_dict()["0.weight"].cpu(), near.state_dict()["0.weight"])
