"""Any pruner to a direct or an effective target, in one sweep; a ranking kept up to either."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.arrays import as_number
from graphsparse.capture import Network, export, network_of
from graphsparse.errors import TargetError
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.selection import nth_greatest
from graphsparse.kernels.threads import each
from graphsparse.passes.curve import compression_curve
from graphsparse.passes.liveness import active_connections
from graphsparse.passes.scores import effective_scores
from graphsparse.pruning.losses import Loss, cross_entropy
from graphsparse.pruning.methods import check_options, saliency
from graphsparse.pruning.rounds import flat, least, shaped

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Options(TypedDict, total=False):
    """What single methods take beyond the arguments of `prune`: a type checker then knows every keyword."""

    rounds: int
    batches_per_round: int | None
    temperature: float
    dtype: torch.dtype | None
    extra_rules: Mapping[Any, Any] | None


class PrunedMasks(dict[str, torch.Tensor]):
    """Effective masks by parameter, with counts.

    ``connections``, ``active``: how many there are and how many are left, all of them active. ``dropped``: by parameter,
    how many connections ranked high enough to be kept, were dead, and so were dropped.
    """

    def __init__(self, masks: Mapping[str, np.ndarray], dropped: Mapping[str, int]):
        super().__init__({name: torch.from_numpy(mask) for name, mask in masks.items()})
        self.connections = sum(mask.size for mask in masks.values())
        self.active = sum(int(np.count_nonzero(mask)) for mask in masks.values())
        self.dropped = {name: count for name, count in dropped.items() if count}

    @property
    def effective_compression(self) -> float:
        """connections / active."""
        return self.connections / self.active

    def __repr__(self) -> str:
        return (
            f"PrunedMasks({self.active:,} of {self.connections:,} connections active, compression "
            f"{self.effective_compression:.1f}x, {len(self)} parameters)"
        )


def prune(
    model: nn.Module | ExportedProgram | Network,
    example_inputs: Any = None,
    method: str = "magnitude",
    *,
    sparsity: float | None = None,
    compression: float | None = None,
    effective: bool = True,
    data: Iterable[Any] | None = None,
    seed: int = 0,
    loss: Loss = cross_entropy,
    kwargs: Mapping[str, Any] | None = None,
    masks: Mapping[str, Any] | None = None,
    resolution: str | None = None,
    norm_statistics: bool = False,
    sources: Iterable[str] | None = None,
    progress: Any = None,
    weights: Mapping[str, torch.Tensor] | None = None,
    **options: Unpack[Options],
) -> PrunedMasks:
    """Masks of a model at a target sparsity or compression; the model is not changed.

    With ``effective=True`` the target is the effective sparsity: the largest not above it (Vysogorets and Kempe 2023,
    section 4), found in one (max, min) sweep. With ``effective=False`` the best-scored connections are kept up to the
    direct target, and those of them that are dead are then dropped and counted. Either way the masks are effective ones.

    Args:
        model: a module with its weights; or a network, which brings its inputs: ``prune(network, "lamp")``.
        example_inputs: a tensor or tuple of tensors that ``model(*example_inputs)`` accepts.
        method: a pruner's name, as "random/igq", "synflow", "magnitude", "lamp"; see `graphsparse.pruning.methods`.
        sparsity, compression: the target, one of the two: a sparsity from 0 to below 1, or a compression of 1 or more.
        effective: whether the target counts the connections that are active, or all that are kept.
        data, loss: batches (x, y) and the loss, for SNIP and GraSP.
        seed: of random methods; the same seed gives the same masks on every machine.
        masks: where pruning starts; by default the masks that the model carries.
        kwargs, resolution, norm_statistics, sources: as for `graphsparse.export`.
        progress: called with (rounds done, rounds) by methods that work in rounds.
        weights: the values of the parameters by name, for a model on the meta device; read one at a time by random,
            magnitude and LAMP, which do not run the model.
        options: further arguments of the method's own function, as ``rounds=100`` for "synflow".

    Returns:
        ``{parameter name: bool tensor}`` on the CPU, True = kept, with ``.connections``, ``.active`` and ``.dropped``.

    Raises:
        TargetError: the target cannot be reached, and the text names what can; or the method is unknown.
        ArgumentError: the method has no such option.

    Example:
        >>> model = nn.Sequential(nn.Linear(16, 8, bias=False), nn.ReLU(), nn.Linear(8, 4, bias=False))
        >>> prune(model, torch.zeros(1, 16), "random/igq", compression=4)
        PrunedMasks(40 of 160 connections active, compression 4.0x, 2 parameters)
    """
    if isinstance(model, Network) and isinstance(example_inputs, str):
        example_inputs, method = None, example_inputs
    check_options(method, options, KEYWORDS)
    network = network_of(model, example_inputs, kwargs, weights=weights)
    graph = export(network, masks, resolution=resolution, norm_statistics=norm_statistics, sources=sources)
    wanted, target = wanted_connections(graph, sparsity, compression), asked(sparsity, compression)
    ranking = saliency(
        method, network, list(graph.shapes), data=data, loss=loss, seed=seed, progress=progress,
        masks={name: graph.masks[name].unpack() for name in graph.shapes if name in graph.masks},
        compression=graph.n_connections / wanted, **options,
    )  # fmt: skip
    if effective:
        active, threshold = active_at(graph, ranking, wanted, target)
        chosen = {name: ranking[name] >= threshold for name in active}
    else:
        chosen, active = _directly(graph, ranking, wanted, target)
    dead = (np.count_nonzero(chosen[name] & ~active[name] & graph.kept[name].unpack()) for name in active)
    return PrunedMasks(active, {name: int(count) for name, count in zip(active, dead)})


def _directly(
    graph: LayeredGraph, ranking: Mapping[str, np.ndarray], wanted: int, target: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The ``wanted`` best connections, of equal scores the earlier ones; and those of them that are active."""
    row = flat(np.where(graph.kept[name].unpack(), ranking[name], -np.inf) for name in graph.shapes)
    if int(np.count_nonzero(row > -np.inf)) < wanted:
        raise TargetError(
            "a target must not be below the sparsity that is there already", received=f"{wanted:,} connections wanted"
        )
    kept = shaped(~least(row, row.size - wanted), graph.shapes)
    active = active_connections(graph.with_masks({**graph.masks, **kept}))
    if not any(mask.any() for mask in active.values()):
        empty = [name for name, mask in kept.items() if not mask.any()]
        best = max(compression_curve(graph, ranking).frame.query("active > 0")["direct_compression"], default=1.0)
        raise TargetError(
            "the network must stay connected at this target", place=", ".join(empty[:3]) or None,
            received=f"direct {target}",
            way_out=f"the highest direct compression that leaves a path is {best:,.1f}",
        )  # fmt: skip
    return kept, active


def wanted_connections(graph: LayeredGraph, sparsity: float | None, compression: float | None) -> int:
    """How many connections a target leaves: the fewest that do not go beyond it."""
    if (sparsity is None) == (compression is None):
        raise TargetError(
            "a target must be a sparsity or a compression, one of them",
            received="neither" if sparsity is None else f"sparsity {sparsity} and compression {compression}",
            way_out="give sparsity= or compression=",
        )
    if sparsity is not None and not 0 <= as_number("sparsity", sparsity, 0.9) < 1:
        raise TargetError("a sparsity must be from 0 to below 1", received=sparsity)
    if compression is not None and not 1 <= as_number("compression", compression, 10) < np.inf:
        raise TargetError("a compression must be 1 or more, and finite", received=compression)
    density = 1 - float(sparsity) if sparsity is not None else 1 / float(compression or 1)
    return max(1, int(np.ceil(density * graph.n_connections - 1e-6)))


def asked(sparsity: float | None, compression: float | None) -> str:
    """A target in the words in which it was given."""
    return f"sparsity {float(sparsity or 0):.12g}" if compression is None else f"compression {float(compression):,.12g}"


def active_at(
    graph: LayeredGraph, scores: Mapping[str, np.ndarray], wanted: int, target: str | None = None
) -> tuple[dict[str, np.ndarray], np.floating]:
    """The highest threshold at which at least ``wanted`` connections are active, and their masks: nothing dead in them.

    Connections whose effective scores are equal come alive together, so the count is exact to such a group. ``target``
    is what was asked for, in words.

    Raises:
        TargetError: fewer are active even with everything kept; or so few are wanted that the network would already be
            disconnected, and the text names the highest compression that can be reached.
    """
    effective = effective_scores(graph, scores)
    arrays, total = list(effective.values()), graph.n_connections
    threshold = nth_greatest(arrays, min(wanted, total))
    if threshold == -np.inf:  # what is never active came into the count
        alive = sum(int(np.count_nonzero(array > -np.inf)) for array in arrays)
        raise TargetError(
            "a target must not be below the sparsity that is there already",
            received=target or f"{wanted:,} active connections wanted",
            way_out=f"at most {alive:,} of {total:,} can be active",
        )
    masks = each(lambda array: array >= threshold, arrays, sum(array.nbytes for array in arrays))
    active = sum(int(np.count_nonzero(mask)) for mask in masks)
    if active > wanted and not any((array > threshold).any() for array in arrays):
        raise TargetError(
            "the network must stay connected until the target is reached",
            received=target or f"compression {total / wanted:,.1f}",
            way_out=f"the highest effective compression of this ranking is {total / active:,.1f} "
            f"({active:,} connections)",
        )
    return dict(zip(effective, masks)), threshold


KEYWORDS = tuple(inspect.signature(prune).parameters)
