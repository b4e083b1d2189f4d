"""A whole run of checkpoints: `track`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphsparse.errors import CheckpointError, GraphsparseError, MaskError
from graphsparse.runs.folding import Folding
from graphsparse.runs.sidecar import Sidecar
from graphsparse.runs.snapshot import Snapshot
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
    """Say what became of a network from checkpoint to checkpoint. The network is captured once.

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
    """The snapshot of a step, found once more where somebody removed it from the sidecar meanwhile."""
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
