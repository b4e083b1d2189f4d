"""Dynamic sparse training: drop what is small, grow elsewhere, and give the budget of the dead to the living."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, pi

import numpy as np
import torch

from graphsparse.capture import Network, export
from graphsparse.effective import effective_masks
from graphsparse.errors import GraphsparseError
from graphsparse.graph import LayeredGraph
from graphsparse.metrics.regrowth import regrowable
from graphsparse.training.changes import Change
from graphsparse.training.kept_masks import KeptMasks
from graphsparse.training.live import LiveNetwork
from graphsparse.training.processes import processes_of

Tensors = dict[str, torch.Tensor]


class Dynamic:
    """Drop the smallest weights of each parameter every so many steps, and grow as many connections; call `at` each step.

    They grow at random (SET, Mocanu et al. 2018) or where the gradient of the step is largest (RigL, Evci et al. 2020).
    Each parameter gets back what it dropped by size. With ``only_live`` only connections grow that are active at once, and
    what is dead is dropped and told. The budget of the dead, and what a parameter has no place for, go to the best places
    of the whole network. So all that is kept is active. What finds no place grows at a later change; ``owed`` says how
    much that is. A unit without any connection stays dead.

    Args:
        handle: of `graphsparse.keep_masks`, with masks.
        network: of `graphsparse.network`, made of the module that is trained or of a copy of it.
        every: steps between two changes.
        end: the step after which masks stay.
        fraction: of the kept connections how many are dropped at first; it falls by a cosine to 0 at ``end``.
        grow: "gradient" or "random".
        only_live: see above. False is the methods as they were published.
        seed: of random growth.

    Raises:
        GraphsparseError: a setting does not fit.

    Example:
        >>> import graphsparse as gs
        >>> _ = torch.manual_seed(0)
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)), torch.ones(4, 8)
        >>> optimizer, network = torch.optim.SGD(model.parameters(), lr=0.1), gs.network(model, x)
        >>> handle = gs.keep_masks(model, gs.prune(network, "random", compression=4), optimizer)
        >>> growing = Dynamic(handle, network, every=2, end=10, grow="random")
        >>> for step in range(1, 3):
        ...     optimizer.zero_grad(); model(x).sum().backward(); optimizer.step()
        ...     change = growing.at(step)
        >>> change.kept == change.active == 20
        True
    """

    def __init__(
        self, handle: KeptMasks, network: Network, *, every: int = 100, end: int, fraction: float = 0.3,
        grow: str = "gradient", only_live: bool = True, seed: int = 0,
    ):  # fmt: skip
        if grow not in ("gradient", "random"):
            raise GraphsparseError("what grows must be chosen by 'gradient' or at 'random'", received=repr(grow))
        if not 0 < fraction < 1 or every < 1:
            raise GraphsparseError(
                "fraction must be between 0 and 1, and every 1 or more", received=f"{fraction} and {every}"
            )
        self.handle, self.every, self.end = handle, every, end
        self.fraction, self.grow, self.only_live, self.seed = fraction, grow, only_live, seed
        self.owed = 0
        self._network = LiveNetwork(handle, network)
        self._prepare(0)

    def due(self, step: int) -> bool:
        """Whether masks change after this step."""
        return 0 < step <= self.end and step % self.every == 0

    def at(self, step: int) -> Change | None:
        """What is to happen after this step; None where nothing is."""
        change = self._change(step) if self.due(step) else None
        self._prepare(step)
        return change

    def _prepare(self, step: int) -> None:
        if self.grow == "gradient" and self.due(step + 1):
            self.handle.collect()

    def _change(self, step: int) -> Change:
        processes = processes_of(self.handle.model)
        network, masks = self._network.now(processes), self.handle.masks
        gradients = processes.averaged(self.handle.collected(), masks) if self.grow == "gradient" else {}
        found, self.owed, change = processes.agreed(lambda: self._moved(step, network, masks, gradients))
        self.handle.set(found)
        return change

    def _moved(self, step: int, network: Network, masks: Tensors, gradients: Tensors) -> tuple[Tensors, int, Change]:
        """New masks, what is owed by then, and what changes."""
        graph, weights = export(network, {}), network.parameters.tensors
        before = {name: mask.cpu() for name, mask in masks.items() if name in graph.shapes}
        scores = self._scores(step, before, gradients)
        share = self.fraction * (1 + cos(pi * step / self.end)) / 2
        counts = {name: int(mask.sum()) for name, mask in before.items()}
        budget = {name: int(share * count) for name, count in counts.items()}
        left = {name: _best(m, weights[name].cpu().abs(), counts[name] - budget[name]) for name, m in before.items()}
        graph = graph.with_masks({**masks, **left})
        alive, died = effective_masks(graph), dict[str, int]()
        if not any(mask.any() for mask in alive.values()):
            return masks, self.owed, _told(step, graph.with_masks({**masks, **before}), collapsed=True)
        if self.only_live:
            died = {name: int((left[name] & ~alive[name]).sum()) for name in left}
            left = {name: alive[name] for name in left}
        after, owed = self._grown(graph, left, scores, budget, self.owed + sum(died.values()))
        grown = sum(int((after[name] & ~left[name]).sum()) for name in after)
        change = _told(step, graph.with_masks({**masks, **after}), sum(budget.values()), grown, died)
        return {**masks, **after}, owed, change

    def _grown(
        self, graph: LayeredGraph, left: Tensors, scores: Tensors, budget: dict[str, int], pool: int
    ) -> tuple[Tensors, int]:
        """Masks with what grows, and what found no place.

        What has grown may bring units to life, and so make places for what is still to grow.
        """
        after = dict(left)
        while True:
            places = {name: ~mask for name, mask in after.items()}
            if self.only_live:
                live = regrowable(graph.with_masks({**graph.masks, **after}))
                places = {name: torch.from_numpy(live[name]) for name in after}
            after, owed = _placed(after, places, scores, budget, pool)
            if owed == 0 or owed == pool + sum(budget.values()):
                return after, owed
            pool, budget = owed, dict.fromkeys(budget, 0)

    def _scores(self, step: int, masks: Tensors, gradients: Tensors) -> Tensors:
        if self.grow == "gradient":
            missing = [name for name in masks if name not in gradients]
            if missing:
                raise GraphsparseError(
                    "growth by gradient must follow a backward pass", place=", ".join(missing[:3]),
                    received="no gradient in this step", way_out='call at(step) after every step; or grow="random"',
                )  # fmt: skip
            return {name: gradients[name].abs().cpu() for name in masks}
        rng = np.random.default_rng([self.seed, step])
        return {name: torch.from_numpy(rng.random(tuple(mask.shape), np.float32)) for name, mask in masks.items()}


def _placed(masks: Tensors, places: Tensors, scores: Tensors, budget: dict[str, int], pool: int) -> tuple[Tensors, int]:
    """Masks with each parameter's budget at its own best places, then the pool at the best of all; and what found none."""
    own = {name: _best(places[name], scores[name], budget[name]) for name in masks}
    pool += sum(budget[name] - int(chosen.sum()) for name, chosen in own.items())
    free = torch.cat([(places[name] & ~chosen).reshape(-1) for name, chosen in own.items()])
    ranks = torch.cat([scores[name].reshape(-1).float() for name in own])
    best = _best(free, ranks, pool)
    parts = best.split([mask.numel() for mask in masks.values()])
    after = {n: mask | own[n] | part.reshape(mask.shape) for (n, mask), part in zip(masks.items(), parts, strict=True)}
    return after, pool - int(best.sum())


def _best(places: torch.Tensor, scores: torch.Tensor, count: int) -> torch.Tensor:
    """Up to ``count`` of these places, those with the highest scores."""
    at = places.reshape(-1).nonzero().squeeze(1)
    best = scores.reshape(-1)[at].float().topk(min(count, len(at))).indices
    chosen = torch.zeros(places.numel(), dtype=torch.bool)
    chosen[at[best]] = True
    return chosen.reshape(places.shape)


def _told(
    step: int, graph: LayeredGraph, dropped: int = 0, grown: int = 0, died: Mapping[str, int] | None = None,
    collapsed: bool = False,
) -> Change:  # fmt: skip
    kept = sum(graph.kept[name].count() for name in graph.shapes)
    active = sum(int(mask.sum()) for mask in effective_masks(graph).values())
    told = {name: count for name, count in (died or {}).items() if count}
    return Change(step, graph.n_connections, kept, active, dropped, grown, told, collapsed)
