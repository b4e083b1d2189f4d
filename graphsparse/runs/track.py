"""A whole run of checkpoints: `track`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from graphsparse.errors import CheckpointError, GraphsparseError, MaskError
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask
from graphsparse.metrics.changes import ever
from graphsparse.runs.deaths import deaths
from graphsparse.runs.rows import Places, Row, change_row, changes_of, overlap_row, rows_of, scope_of
from graphsparse.runs.snapshot import Sidecar, Snapshot
from graphsparse.runs.steps import Step, Steps, steps_of
from graphsparse.runs.template import Template, Way, template
from graphsparse.runs.trajectory import Trajectory
from graphsparse.runs.workers import Outcome, Progress, outcome_of, outcomes

LISTED = 6


def track(
    source: Any,
    model: Any = None,
    example_inputs: Any = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    pattern: str | None = None,
    resolution: str | None = None,
    norm_statistics: bool = False,
    sources: Iterable[str] | None = None,
    form: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    key: str | None = None,
    ignore: str | Iterable[str] = (),
    prefix: str | None = None,
    trust_sizes: bool = False,
    cache: bool = False,
    sidecar: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    processes: bool = True,
    cluster: Any = None,
    causes: bool = True,
    progress: Progress | None = None,
) -> Trajectory:
    """Follow a network from checkpoint to checkpoint. It is captured once.

    Args:
        source: a folder with a checkpoint per step, paths, or ``{step: checkpoint, state dict or masks}``. The step is
            told from the name: ``step_000100.pt``, ``epoch=3-step=200.ckpt``, ``checkpoint-500/``.
        model, example_inputs, kwargs: as for `graphsparse.analyze`. A live module is not changed.
        resolution, norm_statistics, sources, form, model_args, key, ignore, prefix, trust_sizes, cache: as there.
        pattern: what the names are, where the number is not told rightly: ``"net_{step}.pt"``, with ``*`` for anything.
        sidecar: a folder in which what is found of each checkpoint is kept. A run that was stopped, or has grown, goes on
            from there; files that changed are read again. Without it, the masks of all steps are held in memory as bits.
        jobs: how many checkpoints are read at a time, -1 for one per core. processes: in processes, which take seconds to
            start and pay from some dozens of checkpoints on; else in threads.
        cluster: the address of a Dask scheduler (``"tcp://host:8786"``) or a ``dask.distributed.Client``, whose workers read
            them, without ``jobs``; they must see the same paths. Needs the extra ``dask``.
        causes: also find which masks cut the units that died: a sweep for each mask that drops something at a step.
        progress: called with (checkpoints done, checkpoints in all).

    Returns:
        `Trajectory`: ``.frame`` with a row per step and parameter, ``.totals``, ``.deaths`` of units, ``.collapses``,
        ``.skipped``. A checkpoint that cannot be read is skipped, and said.

    Raises:
        CheckpointError, ModelError, MaskError, CaptureError: no checkpoint can be read, with the way out.

    Example:
        >>> import torch
        >>> first, last = torch.ones(4, 3) > 0, torch.eye(4, 3) > 0
        >>> run = {0: {"a.weight": first, "b.weight": torch.ones(2, 4) > 0}, 100: {"a.weight": last, "b.weight": torch.ones(2, 4) > 0}}
        >>> found = track(run, "chain")
        >>> found.totals[["kept", "active", "died", "units_died"]].values.tolist()
        [[20, 20, 0, 0], [11, 9, 9, 1]]
        >>> found.deaths[["step", "unit", "lost", "cut_by"]].values.tolist()
        [[100, 3, 'sources', 'a.weight']]
    """
    run = steps_of(source, pattern)
    way = Way.of(resolution, norm_statistics, sources, form, model_args, key, ignore, prefix, trust_sizes, cache)
    found = _captured(run.steps, model, example_inputs, kwargs, way)
    kept = None if sidecar is None else Sidecar.of(sidecar, found)
    each = outcomes(run.steps, found, kept, jobs=jobs, processes=processes, cluster=cluster, progress=progress)
    title = Path(source).resolve().name if isinstance(source, (str, os.PathLike)) else f"{len(source)} checkpoints"
    return _folded(title, run, found, kept, each, causes)


def _captured(
    steps: Sequence[Step], model: Any, example_inputs: Any, kwargs: Mapping[str, Any] | None, way: Way
) -> Template:
    """The network of the first checkpoint that can be read."""
    first: GraphsparseError | None = None
    for step in steps:
        try:
            return template(step.source, model, example_inputs, kwargs, way)
        except (CheckpointError, MaskError) as error:
            first = first or error
    assert first is not None
    raise first


def _folded(
    title: str, run: Steps, found: Template, kept: Sidecar | None, each: Sequence[Outcome], causes: bool
) -> Trajectory:
    readable = [outcome for outcome in each if not outcome.error]
    if not readable:
        raise CheckpointError("a run must have a checkpoint that can be read", place=title, received=each[0].error)
    folding = Folding(found.base, _again(readable[-1], found, kept), causes)
    notes: dict[str, None] = {}
    for outcome in readable:
        now = _again(outcome, found, kept)
        folding.add(outcome.step, now)
        notes |= dict.fromkeys(now.notes)
    skipped = {outcome.step.name: outcome.error for outcome in each if outcome.error}
    said = tuple(_notes(run, notes, found))
    return Trajectory(title, tuple(folding.rows), tuple(folding.deaths), skipped, said)


def _again(outcome: Outcome, found: Template, kept: Sidecar | None) -> Snapshot:
    """The snapshot of a step. It is found once more where somebody has removed it from the sidecar."""
    snapshot = outcome.snapshot if outcome.entry is None or kept is None else kept.find(outcome.entry)
    snapshot = snapshot or outcome_of(outcome.step, found).snapshot
    if snapshot is None:
        raise CheckpointError(
            "checkpoints must stay while they are read", place=outcome.step.name, received="a file that has gone"
        )
    return snapshot


def _notes(run: Steps, notes: Iterable[str], found: Template) -> Iterator[str]:
    if run.left_out:
        names = ", ".join(run.left_out[:LISTED]) + (", ..." if len(run.left_out) > LISTED else "")
        yield f"Left out, their names tell no step: {names}."
    yield from notes
    if calls := len(found.base.coverage.conservative):
        yield f"Decided on the safe side in {calls} calls; graphsparse.analyze says which."


@dataclass(eq=False)
class Folding:
    """What is known of a run up to a step. ``rows`` and ``deaths`` grow; ``before`` and ``ever`` are of the step before."""

    base: LayeredGraph
    last: Snapshot
    causes: bool = True
    rows: list[Row] = field(default_factory=list)
    deaths: list[Row] = field(default_factory=list)
    before: Snapshot | None = None
    ever: tuple[dict[str, Mask] | None, dict[str, Mask] | None] = (None, None)

    def __post_init__(self) -> None:
        self.places = Places.of(self.base)
        self.names = tuple(self.base.shapes)
        self.died_last = np.full(self.base.n_units, -1)  # where each unit's last death stands among the deaths

    def add(self, step: Step, now: Snapshot) -> None:
        """Go on to the next checkpoint."""
        kept, active = (ever(of, part, self.names) for of, part in zip(self.ever, (now.kept, now.active)))
        found, since, cut = rows_of(now, self.places), self._since(now), self._deaths(step, now)
        to_last = changes_of(now, self.last, self.names)
        for place, row in found.items():
            names, connections = (place,) if place else self.names, max(1, row["connections"])
            self.rows.append({
                "step": step.number, "checkpoint": step.name, **scope_of(place), **row, **since(place),
                **overlap_row(to_last[place], "_last"),
                "itop": sum(kept[name].count() for name in names) / connections,
                "active_itop": sum(active[name].count() for name in names) / connections,
                "units_cut": cut[place],
            })  # fmt: skip
        self.before, self.ever = now, (kept, active)

    def _since(self, now: Snapshot) -> Callable[[str], Row]:
        """What changed since the step before, by place."""
        before = self.before
        if before is None:
            nothing = ("born", "died", "active_born", "active_died", "units_born", "units_died")
            return lambda place: {**dict.fromkeys(nothing, 0), "overlap_before": nan, "active_overlap_before": nan}
        found, units = changes_of(before, now, self.names), self.places.units
        return lambda place: {
            **change_row(found[place], before, now, units[place]), **overlap_row(found[place], "_before"),
        }  # fmt: skip

    def _deaths(self, step: Step, now: Snapshot) -> Counter[str]:
        """Note which units came back and which died. Returns how many each mask cuts, and under "" how many any does."""
        if self.before is None:
            return Counter()
        for unit in np.flatnonzero(now.live & ~self.before.live & (self.died_last >= 0)).tolist():
            self.deaths[self.died_last[unit]]["back"] = step.number
        found = deaths(self.base, self.before, now, self.causes)
        self.died_last[found.units] = len(self.deaths) + np.arange(len(found.units))
        self.deaths += [{"step": step.number, **row, "back": None} for row in found.rows(self.base)]
        return found.cut_counts()
