"""A proof by trial: a network's outputs before and after its dead connections are dropped."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from graphsparse.capture import Network, export
from graphsparse.capture.running import Runnable
from graphsparse.effective import effective_masks
from graphsparse.errors import ModelError
from graphsparse.graph import LayeredGraph
from graphsparse.networks.filling import with_weights
from graphsparse.surgery import write_masks
from graphsparse.surgery.constants import carrying
from graphsparse.surgery.write import Written, masked_copy

TRIALS = 3
Run = Callable[[Any], Any]
"""Outputs of the inputs that `_drawn` gives."""


@dataclass(frozen=True)
class Verification:
    """What came out of the comparison, in double precision.

    ``largest`` is the greatest absolute difference of any output, ``greatest_output`` the greatest absolute output, on
    ``trials`` random inputs. ``dropped`` dead connections were set to zero. ``kept_for_constants`` stay, since no bias
    can take over what they carry, or outputs see them though no path leads there (`graphsparse.surgery.needed`); ``folded``
    constants went into biases. ``same_masks`` is False where the masks had to be found anew, with the statistics of
    normalisation.
    """

    largest: float
    greatest_output: float
    trials: int
    dropped: int
    kept_for_constants: int
    folded: int
    same_masks: bool = True

    def __str__(self) -> str:
        stay = "dead connection stays" if self.kept_for_constants == 1 else "dead connections stay"
        kept = f" {self.kept_for_constants:,} {stay}, for the constants that they carry or since outputs see them."
        return (
            f"Verified on {self.trials} random inputs: with {self.dropped:,} dead connections dropped, outputs differ by "
            f"at most {self.largest:.2g}; the greatest output is {self.greatest_output:.3g}."
            + (kept if self.kept_for_constants else "")
        )

    @property
    def relative(self) -> float:
        """The difference in units of the greatest output."""
        return self.largest / self.greatest_output if self.greatest_output else self.largest


@torch.no_grad()
def verify_outputs(network: Network, graph: LayeredGraph, trials: int = TRIALS, seed: int = 0) -> Verification:
    """Drop the dead connections of a copy of a network, and compare its outputs with those of the network itself.

    Both compute in double precision and in evaluation mode. Inputs are drawn from a normal distribution, tokens from
    all rows of their table; other integers are those of the network. Masks are found with the statistics of
    normalisation, if the model has some. In an exported program connections that carry a constant stay.

    Raises:
        ModelError: the network has no weights, or its inputs are not known.
        CaptureError: an operation of a program cannot be run in double precision.
    """
    program = isinstance(network.model, ExportedProgram)
    network = with_weights(network) if network.is_meta and not (program and network.weights) else network
    if not network.has_inputs:
        raise ModelError(
            "a network must have inputs for its outputs to be compared", place=network.title, received="no inputs",
            way_out="give example_inputs=",
        )  # fmt: skip
    same = graph.norm_statistics or not graph.has_norm_statistics
    graph = graph if same else export(network, resolution=graph.resolution, norm_statistics=True)
    before, after, written = _of_program(network, graph) if program else _of_module(network, graph)
    dropped = sum(graph.kept[name].count() - int(mask.sum()) for name, mask in written.masks.items())
    given = (network.inputs or (), dict(network.kwargs))
    example = tree_leaves(given) if program else given
    largest, greatest = _compared(before, after, example, graph, trials, seed)
    return Verification(largest, greatest, trials, dropped, sum(written.kept.values()), len(written.folded), same)


def _of_module(network: Network, graph: LayeredGraph) -> tuple[Run, Run, Written]:
    """A module's copies before and after, and what was written to the second."""
    assert isinstance(network.model, nn.Module), "programs are run call by call"
    first = masked_copy(network.model, graph).eval()
    second = copy.deepcopy(first)
    written = write_masks(
        second, effective_masks(graph), example_inputs=_doubled(network.inputs), kwargs=_doubled(dict(network.kwargs)),
        form="zeros", norm_statistics=graph.norm_statistics,
    )  # fmt: skip
    return (lambda given: first(*given[0], **given[1])), (lambda given: second(*given[0], **given[1])), written


def _of_program(network: Network, graph: LayeredGraph) -> tuple[Run, Run, Written]:
    """A program with its masked weights, and with those of them that are alive or carry a constant."""
    masks = effective_masks(graph)
    carried = carrying(graph, graph.checked(masks))
    after = {name: mask | carried[name] if name in carried else mask for name, mask in masks.items()}
    kept = {name: torch.from_numpy(mask.unpack()) for name, mask in graph.kept.items()}
    runs = [Runnable(network.program, _masked(network, graph, {**kept, **each})) for each in ({}, after)]
    first, second = ((lambda given, run=run: run(*given)) for run in runs)
    return first, second, Written(after, (), {name: int(mask.sum()) for name, mask in carried.items()})


def _masked(network: Network, graph: LayeredGraph, masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A program's tensors, those that a mask belongs to as zeros where it drops."""
    held = {name: network.weights.get(name, tensor) for name, tensor in network.state.items()}
    own = {name: masks[graph.aliases.get(name, name)] for name in held if graph.aliases.get(name, name) in masks}
    return {
        name: torch.where(own[name].to(each.device), each, 0) if name in own else each for name, each in held.items()
    }


def _compared(
    before: Run, after: Run, example: Any, graph: LayeredGraph, trials: int, seed: int
) -> tuple[float, float]:
    """The greatest difference of any output, and the greatest output."""
    generator = torch.Generator().manual_seed(seed)
    largest = greatest = 0.0
    for _ in range(trials):
        given = _drawn(example, graph, generator)
        copied = tree_map_only(torch.Tensor, torch.Tensor.clone, given)  # a model may write into its inputs
        first, second = before(copied), after(given)
        for one, other in zip(_outputs(first), _outputs(second), strict=True):
            largest = max(largest, float((one - other).abs().max()))
            greatest = max(greatest, float(one.abs().max()))
    return largest if not math.isnan(largest) else math.inf, greatest


def _drawn(inputs: Any, graph: LayeredGraph, generator: torch.Generator) -> Any:
    """Inputs of the same shapes: numbers from a normal distribution, tokens from all rows of their table."""
    leaves, form = tree_flatten(inputs)
    tensors = [place for place, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    told = graph.inputs if len(graph.inputs) == len(tensors) else [None] * len(tensors)
    for place, each in zip(tensors, told):
        leaf = leaves[place]
        rows = [graph.shapes[table][0] for table in each.tables if table in graph.shapes] if each else []
        if leaf.is_floating_point():
            leaves[place] = torch.randn(leaf.shape, dtype=torch.float64, generator=generator).to(leaf.device)
        elif rows:
            made = torch.randint(min(rows), leaf.shape, dtype=leaf.dtype, generator=generator)
            leaves[place] = made.to(leaf.device)
    return tree_unflatten(leaves, form)


def _outputs(result: Any) -> list[torch.Tensor]:
    result = dict(result) if isinstance(result, Mapping) else result
    return [each.double() for each in tree_leaves(result) if isinstance(each, torch.Tensor) and each.numel()]


def _doubled(values: Any) -> Any:
    return tree_map_only(torch.Tensor, lambda each: each.double() if each.is_floating_point() else each, values)
