"""The table of methods: every pruner of the study by name, each a way to score the connections of a model."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture import Network, network_of
from graphsparse.errors import ArgumentError, GraphsparseError, TargetError
from graphsparse.pruning.losses import Loss, cross_entropy
from graphsparse.pruning.magnitude import lamp, magnitude
from graphsparse.pruning.quotas import FAMILIES
from graphsparse.pruning.ranks import layer_ranks, quota_scores, random_ranks, random_scores, scores_in_order
from graphsparse.pruning.rounds import Progress
from graphsparse.pruning.scratch import Masks, Weights, check_numbers, without_pruned
from graphsparse.pruning.sensitivity import grasp, iterative_snip, snip
from graphsparse.pruning.synflow import synflow

Scores = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Request:
    """What a method may ask for, each by the name of its argument. `options` are those that it alone has."""

    model: Network
    parameters: Sequence[str]
    data: Iterable[Any] | None = None
    loss: Loss = cross_entropy
    masks: Masks | None = None
    seed: int = 0
    compression: float = 1.0
    progress: Progress | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters."""
        return Weights(self.model, self.parameters).shapes


@dataclass(frozen=True)
class Method:
    """How to score, and the keywords that only this method has: its options.

    ``runs_model``: whether it computes with the model; others read one weight after the other, from a file too.
    """

    score: Callable[[Request], Scores]
    options: tuple[str, ...] = ()
    runs_model: bool = True


def saliency(
    method: str,
    model: nn.Module | ExportedProgram | Network,
    parameters: Sequence[str],
    *,
    example_inputs: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    data: Iterable[Any] | None = None,
    loss: Loss = cross_entropy,
    masks: Masks | None = None,
    seed: int = 0,
    compression: float = 1.0,
    progress: Progress | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Score every connection of a model by a method: each sparsity has a threshold on these scores.

    Greater is kept longer; of equal scores the earlier connection (in the order of `parameters`, then in memory order) is
    meant to be kept longer. Plus infinity is never pruned, minus infinity is pruned already. The model, its buffers,
    gradients, training mode and every random state are afterwards as they were.

    Args:
        method: a name of `METHODS`; the parts may stand in either order and with a dash ("igq-random").
        parameters: names of the prunable kernels, in the order in which layers count as first and last.
        masks: where pruning starts; all is kept where None.
        compression: where methods that work in rounds end; their ranking is of use up to there.
        model, example_inputs, kwargs, data, loss, seed, progress, weights, options: as for `graphsparse.prune`.

    Returns:
        Float32 or float64 arrays in the kernels' shapes.

    Raises:
        TargetError: the method is unknown. GraphsparseError: it needs data, or the data does not fit.
        MaskError: a parameter or mask does not fit the model, or a score is not a number.

    Example:
        >>> scores = saliency("random/igq", nn.Linear(4, 2), ["weight"], seed=1)
        >>> int((scores["weight"] >= np.sort(scores["weight"], axis=None)[-3]).sum())
        3
    """
    entry = METHODS[method_named(method)]
    check_options(method, options, tuple(inspect.signature(saliency).parameters))
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise GraphsparseError("a seed must be a non-negative integer", received=repr(seed))
    network = network_of(model, example_inputs, kwargs, weights=weights)
    return _scores(
        entry, Request(network, list(parameters), data, loss, masks, int(seed), compression, progress, options)
    )


def check_options(method: str, options: Iterable[str], known: Sequence[str] = ()) -> None:
    """Raise ArgumentError where a method has no such option; ``known`` are the keywords that its caller has."""
    own = METHODS[method_named(method)].options
    for name in options:
        if name not in own:
            close = difflib.get_close_matches(name, [*own, *known], n=1)
            listed = f"its options are {', '.join(own)}" if own else "it has no options of its own"
            way_out = f"use {close[0]}" if close else listed
            raise ArgumentError(f"a keyword must be one that {method} has", received=name, way_out=way_out)


def method_named(name: str) -> str:
    """The name in `METHODS` of a method written in any of the ways people write it.

    Example:
        >>> method_named("igq-random"), method_named("snip/iterative"), method_named("magnitude/uniform+")
        ('random/igq', 'iterative_snip', 'magnitude/uniform_plus')
    """
    words = _words(name) if isinstance(name, str) else frozenset[str]()
    if words not in _BY_WORDS:
        raise TargetError(
            "a pruning method must have a known name", received=repr(name), way_out=f"use one of {', '.join(METHODS)}"
        )
    return _BY_WORDS[words]


def _words(name: str) -> frozenset[str]:
    plain = re.sub(r"uniform(\+|-plus)", "uniform_plus", name.strip().lower())
    return frozenset(re.split(r"[/\-\s]+", plain.replace("iterative_snip", "iterative/snip")))


def _scores(method: Method, request: Request) -> dict[str, np.ndarray]:
    """Numbers everywhere, minus infinity for what is pruned already."""
    return dict(check_numbers(without_pruned(method.score(request), request.masks)))


def _of(function: Callable[..., Scores], *, runs_model: bool = True) -> Method:
    """The method that a function is: of its arguments a request fills those that it has; the others are options."""
    names = inspect.signature(function).parameters

    def score(request: Request) -> Scores:
        filled = {name: getattr(request, name) for name in names if name in _FILLED}
        return function(**filled, **request.options)

    return Method(score, tuple(name for name in names if name not in _FILLED), runs_model)


def _random_order(request: Request) -> Scores:
    """Ranks; what is pruned already comes last, so that the family shares out what is left."""
    ranks = random_ranks(request.shapes, request.seed)
    if request.masks is None:
        return ranks
    return layer_ranks(without_pruned({name: -rank.astype(np.float64) for name, rank in ranks.items()}, request.masks))


def _magnitude_order(request: Request) -> Scores:
    return layer_ranks(_scores(_MAGNITUDE, request))


def _under_quotas(name: str, order: Callable[[Request], Scores]) -> dict[str, Method]:
    def score(family: str, request: Request) -> Scores:
        return quota_scores(family, order(request))

    return {f"{name}/{family}": Method(partial(score, family), runs_model=False) for family in FAMILIES}


def _random_under(method: Method) -> Method:
    return replace(method, score=lambda request: scores_in_order(_scores(method, request), _random_order(request)))


_FILLED = {each.name for each in fields(Request)} | {"shapes"}
_MAGNITUDE = _of(magnitude, runs_model=False)
_SNIP, _SYNFLOW = _of(snip), _of(synflow)
METHODS: dict[str, Method] = {
    "random": _of(random_scores, runs_model=False),
    **_under_quotas("random", _random_order),
    "random/snip": _random_under(_SNIP),
    "random/synflow": _random_under(_SYNFLOW),
    "magnitude": _MAGNITUDE,
    **_under_quotas("magnitude", _magnitude_order),
    "lamp": _of(lamp, runs_model=False),
    "snip": _SNIP,
    "iterative_snip": _of(iterative_snip),
    "grasp": _of(grasp),
    "synflow": _SYNFLOW,
}
"""Every pruner, by name. "random" and "magnitude" alone are global: one ranking of all connections."""
_BY_WORDS = {**{_words(name): name for name in METHODS}, _words("magnitude/global"): "magnitude"}
