"""A proof by trial: a network's outputs before and after its dead connections are dropped."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from graphsparse.capture import Network, export
from graphsparse.effective import effective_masks
from graphsparse.errors import ModelError
from graphsparse.graph import LayeredGraph
from graphsparse.networks.weights import with_weights
from graphsparse.surgery import write_masks
from graphsparse.surgery.write import masked_copy

TRIALS = 3


@dataclass(frozen=True)
class Verification:
    """What came out of the comparison, in double precision.

    ``largest`` is the greatest absolute difference of any output, ``greatest_output`` the greatest absolute output.
    ``trials`` random inputs were tried. ``dropped`` dead connections were set to zero; ``kept_for_constants`` stay, since
    no bias can take over what they carry; ``folded`` constants went into biases. ``same_masks``: the masks were those of
    the report, not others that were found with the statistics of normalisation.
    """

    largest: float
    greatest_output: float
    trials: int
    dropped: int
    kept_for_constants: int
    folded: int
    same_masks: bool = True

    def __str__(self) -> str:
        return (
            f"Verified on {self.trials} random inputs: with {self.dropped:,} dead connections dropped, outputs differ by at most "
            f"{self.largest:.2g}; the greatest output is {self.greatest_output:.3g}."
        )

    @property
    def relative(self) -> float:
        """The difference in units of the greatest output."""
        return self.largest / self.greatest_output if self.greatest_output else self.largest


@torch.no_grad()
def verify_outputs(network: Network, graph: LayeredGraph, trials: int = TRIALS, seed: int = 0) -> Verification:
    """Drop the dead connections of a copy of a network, and compare its outputs with those of the network itself.

    Both compute in double precision, in evaluation mode, on inputs drawn from a normal distribution and tokens drawn from all
    rows of their table; other integers are those of the network. Where the model has statistics of normalisation, masks are found with them.

    Raises:
        ModelError: the network has no weights, or is no module.
    """
    network = with_weights(network) if network.is_meta else network
    if isinstance(network.model, ExportedProgram) or not network.has_inputs:
        raise ModelError(
            "a network must be a module with inputs for its outputs to be compared", place=network.title,
            received="an exported program" if network.has_inputs else "no inputs",
            way_out="name the model by package.module:factory, with --input",
        )  # fmt: skip
    same = graph.norm_statistics or not graph.has_norm_statistics
    graph = graph if same else export(network, resolution=graph.resolution, norm_statistics=True)
    before = masked_copy(network.model, graph).eval()
    after = copy.deepcopy(before)
    masks = effective_masks(graph)
    written = write_masks(
        after, masks, example_inputs=_doubled(network.inputs), kwargs=_doubled(dict(network.kwargs)), form="zeros",
        norm_statistics=graph.norm_statistics,
    )  # fmt: skip
    dropped = sum(graph.kept[name].count() - int(written.masks[name].sum()) for name in masks)
    largest, greatest = _compared(before, after, network, graph, trials, seed)
    return Verification(largest, greatest, trials, dropped, sum(written.kept.values()), len(written.folded), same)


def _compared(
    before: nn.Module, after: nn.Module, network: Network, graph: LayeredGraph, trials: int, seed: int
) -> tuple[float, float]:
    """The greatest difference of any output, and the greatest output."""
    generator = torch.Generator().manual_seed(seed)
    largest = greatest = 0.0
    for _ in range(trials):
        args, kwargs = _drawn((network.inputs or (), dict(network.kwargs)), graph, generator)
        first, second = (_outputs(model(*args, **kwargs)) for model in (before, after))
        for one, other in zip(first, second, strict=True):
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
            leaves[place] = torch.randn(leaf.shape, dtype=torch.float64, generator=generator)
        elif rows:
            leaves[place] = torch.randint(min(rows), leaf.shape, dtype=leaf.dtype, generator=generator)
    return tree_unflatten(leaves, form)


def _outputs(result: Any) -> list[torch.Tensor]:
    result = dict(result) if isinstance(result, Mapping) else result
    return [each.double() for each in tree_leaves(result) if isinstance(each, torch.Tensor) and each.numel()]


def _doubled(values: Any) -> Any:
    return tree_map(
        lambda each: each.double() if isinstance(each, torch.Tensor) and each.is_floating_point() else each, values
    )
