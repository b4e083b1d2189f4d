"""The judge of whole models: torch's gradients, with every token a mixture of all of them, and through moved elements only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

import graphsparse as gs
from graphsparse.graph import LayeredGraph
from graphsparse.passes.liveness import active_connections
from tests.judge import Smooth, positive, random_masks, without_normalisation

VOCAB, LENGTH, RUNS = 9, 5, 3
DENSITIES = (0.6, 0.35, 0.15)
KERNEL_MODULES = ("Linear", "Conv1d", "Conv2d", "Conv3d", "Conv1D", "NonDynamicallyQuantizableLinear")


class Mixed(Smooth):
    """Every token is a mixture of all of them: sources are independent units, which the rows of a table read by one token are not."""

    def __init__(self, run: int):
        super().__init__()
        self.generator = torch.Generator().manual_seed(run)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is nn.functional.embedding and len(args[1]) == VOCAB:
            indices, weight = args[:2]
            return (0.2 + torch.rand(*indices.shape, VOCAB, generator=self.generator, dtype=torch.float64)) @ weight
        if getattr(function, "__name__", "") == "_grouped_mm":  # torch's own takes no float64
            return by_expert(*args, **(kwargs or {}))
        return super().__torch_function__(function, types, args, kwargs)


def by_expert(rows: torch.Tensor, weight: torch.Tensor, *, offs: torch.Tensor, **rest: Any) -> torch.Tensor:
    """Each expert's rows times its matrix."""
    starts = [0, *offs.tolist()]
    return torch.cat([rows[a:b] @ matrix for a, b, matrix in zip(starts, starts[1:], weight, strict=False)])


class Called(nn.Module):
    """A model called with some keyword arguments fixed, returning one named output."""

    def __init__(self, model: nn.Module, output: str = "logits", **fixed: Any):
        super().__init__()
        self.model, self.output, self.fixed = model, output, fixed

    def forward(self, **given):
        return getattr(self.model(**given, **self.fixed), self.output)


def tokens(run: int) -> torch.Tensor:
    """A sequence of tokens; see `Mixed` for what stands in their place."""
    return (torch.arange(LENGTH) * 2 % VOCAB)[None]


def smooth(*shape: int) -> Callable[[int], torch.Tensor]:
    """Positive numbers, others in each run."""
    return lambda run: 0.2 + torch.rand(shape, generator=torch.Generator().manual_seed(run), dtype=torch.float64)


def readied(model: nn.Module) -> nn.Module:
    """Positive weights without biases."""
    model = positive(model, scale=0.5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    return model


def judged(
    model: nn.Module, inputs: Mapping[str, Callable], masks: Mapping[str, torch.Tensor], runs: int, statistics: bool
):
    """Which kept weights have a gradient that is not zero in any run, through elements that inputs move."""
    model = model if statistics else without_normalisation(model)
    for module in model.modules():
        if type(module) is nn.Identity:  # some models ask a norm for its weight's type
            module.weight = torch.ones(1, dtype=torch.float64)
    named = dict(model.named_parameters())
    stored = {name: parameter.detach().clone() for name, parameter in named.items()}
    with torch.no_grad():
        for name, mask in masks.items():
            named[name].mul_(mask)
    active = {name: np.zeros(tuple(mask.shape), bool) for name, mask in masks.items()}
    moved = moved_by(model, inputs, runs)
    for run in range(runs):
        model.zero_grad(set_to_none=True)
        with through(model, moved):
            loss_of(model, inputs, run).backward()
        for name, mask in masks.items():
            if named[name].grad is not None:
                active[name] |= ((named[name].grad != 0) & mask).numpy()
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(stored[name])
    return active


def loss_of(model: nn.Module, inputs: Mapping[str, Callable], run: int) -> torch.Tensor:
    """All outputs, each with its own weight."""
    with Mixed(run):
        outputs = model(**{name: make(run) for name, make in inputs.items()})
    generator = torch.Generator().manual_seed(run)
    leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]
    return sum(  # type: ignore[return-value]
        (leaf * (0.5 + torch.rand(leaf.shape, generator=generator, dtype=torch.float64))).sum() for leaf in leaves
    )


def kernels(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if type(module).__name__ in KERNEL_MODULES]


def moved_by(model: nn.Module, inputs: Mapping[str, Callable], runs: int) -> list[torch.Tensor]:
    """For each call of a layer, which elements of what it reads differ between any two runs."""
    first: list[torch.Tensor] = []
    moved: list[torch.Tensor] = []
    for run in range(runs):
        seen: list[torch.Tensor] = []
        hooks = [
            m.register_forward_pre_hook(lambda m, given, to=seen: to.append(given[0].detach().clone()))
            for m in kernels(model)
        ]
        with torch.no_grad():
            loss_of(model, inputs, run)
        for hook in hooks:
            hook.remove()
        first = first or seen
        differs = [one != two for one, two in zip(first, seen, strict=True)]
        moved = [a | b for a, b in zip(moved, differs, strict=True)] if moved else differs
    return moved


@contextmanager
def through(model: nn.Module, moved: list[torch.Tensor]):
    """Weights have gradients only through elements that inputs move; what layers compute stays."""
    calls = iter(moved)

    def only(module: nn.Module, given: tuple, result: torch.Tensor) -> torch.Tensor:
        part = given[0] * next(calls)
        still = {name: parameter.detach() for name, parameter in module.named_parameters()}
        whole = type(module).forward
        with replaced(module, still):
            rest = whole(module, given[0]) - whole(module, part)
        return rest + whole(module, part)

    hooks = [module.register_forward_hook(only) for module in kernels(model)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def replaced(module: nn.Module, tensors: Mapping[str, torch.Tensor]):
    """The module's parameters are other tensors for a while."""
    own = dict(module._parameters)
    for name in own:
        module._parameters[name] = tensors.get(name)  # type: ignore[assignment]
    try:
        yield
    finally:
        module._parameters.update(own)


def compare(
    model: nn.Module, inputs: Mapping[str, Callable], runs: int = RUNS, statistics: bool = False, **options: Any
) -> tuple[int, int, LayeredGraph]:
    """Connections too many, and how many torch finds; none may be missed, and channel resolution contains unrolled."""
    return next(compare_all(model, inputs, (statistics,), runs, **options))


def compare_all(
    model: nn.Module, inputs: Mapping[str, Callable], statistics: tuple[bool, ...], runs: int = RUNS, **options: Any
) -> Iterator[tuple[int, int, LayeredGraph]]:
    """As `compare`, once for each value of ``statistics``: the model is captured once for all of them."""
    model = readied(model)
    network = gs.network(model, (), kwargs={name: make(0) for name, make in inputs.items()})
    for each in statistics:
        yield _compare(network, model, inputs, runs, each, **options)


def _compare(
    network: gs.Network, model: nn.Module, inputs: Mapping[str, Callable], runs: int, statistics: bool, **options: Any
) -> tuple[int, int, LayeredGraph]:
    options["norm_statistics"] = statistics
    graph, coarse = (gs.export(network, {}, resolution=r, **options) for r in ("unrolled", "channel"))
    assert dict(graph.shapes) == dict(coarse.shapes)
    many = truly = 0
    for seed, density in enumerate(DENSITIES):
        masks = random_masks(graph.shapes, density, seed)
        judge = judged(model, inputs, masks, runs, statistics)
        found, above = active_connections(graph.with_masks(masks)), active_connections(coarse.with_masks(masks))
        for name in masks:
            missed, hidden = int((judge[name] & ~found[name]).sum()), int((found[name] & ~above[name]).sum())
            assert missed == 0, f"{name}: {missed} of {int(judge[name].sum())} missed at density {density}"
            assert hidden == 0, f"{name}: channel resolution misses {hidden} of unrolled's at density {density}"
            many += int((found[name] & ~judge[name]).sum())
            truly += int(judge[name].sum())
    assert truly > 0, "torch finds nothing active: the test shows nothing"
    return many, truly, graph


TINY = {
    "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 10, "vocab_size": VOCAB,
    "max_position_embeddings": 16, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
