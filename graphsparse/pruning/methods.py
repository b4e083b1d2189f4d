"""The table of methods: every pruner of the study by name, each a way to score the connections of a model."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture import Network, network_of
from graphsparse.errors import ArgumentError, GraphsparseError, TargetError
from graphsparse.pruning.grasp import grasp
from graphsparse.pruning.lamp import lamp
from graphsparse.pruning.losses import Loss, cross_entropy
from graphsparse.pruning.magnitude import magnitude
from graphsparse.pruning.quotas import FAMILIES
from graphsparse.pruning.random import random_scores
from graphsparse.pruning.ranks import layer_ranks, quota_scores, random_ranks, scores_in_order
from graphsparse.pruning.rounds import Progress
from graphsparse.pruning.scratch import Masks, Stored, check_numbers, shapes_of, without_pruned
from graphsparse.pruning.snip import iterative_snip, snip
from graphsparse.pruning.synflow import synflow

Scores = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Request:
    """What a method may look at. `options` go to the method itself: ``rounds=``, ``temperature=``, ``dtype=``."""

    network: Network
    parameters: Sequence[str]
    data: Iterable[Any] | None = None
    loss: Loss = cross_entropy
    masks: Masks | None = None
    seed: int = 0
    compression: float = 1.0
    progress: Progress | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> nn.Module:
        """The network's model, which runs."""
        return self.network.runnable

    @property
    def stored(self) -> Stored:
        """The values of parameters that the model itself does not have."""
        return self.network.weights


@dataclass(frozen=True)
class Method:
    """How to score; whether it needs data, and whether it works in rounds towards a compression.

    ``options``: the keywords that its own function has beyond those of every method. ``runs_model``: whether it computes
    with the model; others read one weight after the other, from a file too.
    """

    score: Callable[[Request], Scores]
    needs_data: bool = False
    in_rounds: bool = False
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
    weights: Stored | None = None,
    **options: Any,
) -> Scores:
    """Score every connection of a model by a method: the masks of every sparsity are the thresholds of these scores.

    Greater is kept longer; of equal scores the earlier connection (in the order of `parameters`, then in memory order)
    is meant to be kept longer. Plus infinity is never to be pruned, minus infinity is pruned already. The model, its
    buffers, gradients, training mode and every random state are afterwards as they were.

    Args:
        method: a name of `METHODS`; the parts may stand in either order and with a dash ("igq-random").
        model: a module, an exported program, or a network, which brings its inputs and weights.
        parameters: names of the prunable kernels, in the order in which layers count as first and last.
        example_inputs, kwargs: arguments of the model's forward, for SynFlow.
        data: batches (x, y), for SNIP and GraSP.
        loss: of outputs and targets; cross entropy by default.
        masks: where pruning starts; all is kept where None.
        seed: any non-negative integer; it decides random methods alone and the random draws of a running model.
        compression: where methods that work in rounds end; their ranking is of use up to there.
        progress: called with (rounds done, rounds) by methods that work in rounds.
        weights: the values of the parameters, for a model on the meta device; read one at a time. For methods that do
            not run the model: random, magnitude and LAMP.
        options: further arguments of the method's own function.

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
    request = Request(network, list(parameters), data, loss, masks, int(seed), compression, progress, options)
    return dict(check_numbers(entry.score(request)))


def check_options(method: str, options: Iterable[str], known: Sequence[str] = ()) -> None:
    """Raise ArgumentError where a method has no such option; ``known`` are the keywords that its caller has."""
    own = METHODS[method_named(method)].options
    for name in options:
        if name not in own:
            close = difflib.get_close_matches(name, [*own, *known], n=1)
            listed = f"its options are {', '.join(own)}" if own else "it has no options of its own"
            raise ArgumentError(
                f"a keyword must be one that {method} has", received=name,
                way_out=f"use {close[0]}" if close else listed,
            )  # fmt: skip


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


def _random(request: Request) -> Scores:
    return without_pruned(random_scores(shapes_of(request.model, request.parameters), request.seed), request.masks)


def _magnitude(request: Request) -> Scores:
    return without_pruned(magnitude(request.model, request.parameters, request.stored), request.masks)


def _lamp(request: Request) -> Scores:
    return lamp(request.model, request.parameters, request.masks, request.stored)


def _on_data(function: Callable[..., Scores]) -> Callable[[Request], Scores]:
    def score(r: Request) -> Scores:
        return function(r.model, r.parameters, r.data, loss=r.loss, masks=r.masks, seed=r.seed, **r.options)

    return score


def _iterative_snip(r: Request) -> Scores:
    ends: dict[str, Any] = {"compression": r.compression, "progress": r.progress, **r.options}
    return iterative_snip(r.model, r.parameters, r.data, loss=r.loss, masks=r.masks, seed=r.seed, **ends)


def _synflow(r: Request) -> Scores:
    if not r.network.has_inputs:
        raise GraphsparseError(
            "example inputs must be given to SynFlow, which captures the model",
            received="no inputs",
            way_out="give example_inputs=",
        )
    ends: dict[str, Any] = {"compression": r.compression, "progress": r.progress, **r.options}
    return synflow(r.network, r.parameters, masks=r.masks, **ends)


def _random_order(request: Request) -> Scores:
    """Ranks; what is pruned already comes last, so that the family shares out what is left."""
    ranks = random_ranks(shapes_of(request.model, request.parameters), request.seed)
    if request.masks is None:
        return ranks
    return layer_ranks(without_pruned({name: -rank.astype(np.float64) for name, rank in ranks.items()}, request.masks))


def _magnitude_order(request: Request) -> Scores:
    return layer_ranks(check_numbers(_magnitude(request)))


def _under_quota(family: str, order: Callable[[Request], Scores]) -> Method:
    return Method(lambda request: without_pruned(quota_scores(family, order(request)), request.masks), runs_model=False)


def _random_under(method: Method) -> Method:
    def score(request: Request) -> Scores:
        return scores_in_order(check_numbers(method.score(request)), _random_order(request))

    return Method(score, method.needs_data, method.in_rounds, method.options)


def _options(function: Callable[..., Scores]) -> tuple[str, ...]:
    """The keywords of a method's function that no field of a request fills."""
    filled = {each.name for each in fields(Request)} | {"kwargs"}
    parameters = inspect.signature(function).parameters.values()
    return tuple(each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.name not in filled)


_SNIP = Method(_on_data(snip), needs_data=True, options=_options(snip))
_SYNFLOW = Method(_synflow, in_rounds=True, options=_options(synflow))
METHODS: dict[str, Method] = {
    "random": Method(_random, runs_model=False),
    **{f"random/{family}": _under_quota(family, _random_order) for family in FAMILIES},
    "random/snip": _random_under(_SNIP),
    "random/synflow": _random_under(_SYNFLOW),
    "magnitude": Method(_magnitude, runs_model=False),
    **{f"magnitude/{family}": _under_quota(family, _magnitude_order) for family in FAMILIES},
    "lamp": Method(_lamp, runs_model=False),
    "snip": _SNIP,
    "iterative_snip": Method(_iterative_snip, needs_data=True, in_rounds=True, options=_options(iterative_snip)),
    "grasp": Method(_on_data(grasp), needs_data=True, options=_options(grasp)),
    "synflow": _SYNFLOW,
}
"""Every pruner, by name. "random" and "magnitude" alone are global: one ranking of all connections."""
_BY_WORDS = {**{_words(name): name for name in METHODS}, _words("magnitude/global"): "magnitude"}
