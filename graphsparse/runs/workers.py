"""The checkpoints of a run read side by side: in threads, in processes, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from graphsparse.errors import ArgumentError, GraphsparseError, brief, needs_extra
from graphsparse.runs.snapshot import Sidecar, Snapshot
from graphsparse.runs.snapshot import snapshot_of as snapshot_of
from graphsparse.runs.steps import Step
from graphsparse.runs.template import Template

Progress = Callable[[int, int], None]
PATIENCE = "10s"  # for a scheduler to answer


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a step: its snapshot, or the file in the sidecar that holds it, or why it cannot be read."""

    step: Step
    snapshot: Snapshot | None = None
    entry: Path | None = None
    error: str = ""


def outcome_of(step: Step, template: Template, sidecar: Sidecar | None = None) -> Outcome:
    """Find what is kept and alive in one checkpoint, or look it up in the sidecar. Every process runs this function."""
    try:
        entry = None if sidecar is None or isinstance(step.source, dict) else sidecar.entry(step.source)
        if sidecar is None or entry is None:
            return Outcome(step, snapshot_of(*template.graph_of(step.source)))
        if sidecar.find(entry) is None:
            sidecar.keep(entry, snapshot_of(*template.graph_of(step.source)), step.name)
        return Outcome(step, entry=entry)
    except GraphsparseError as error:
        return Outcome(step, error=str(error))


def outcomes(
    steps: Sequence[Step],
    template: Template,
    sidecar: Sidecar | None,
    *,
    jobs: int = 1,
    processes: bool = True,
    cluster: Any = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """What becomes of each step, in their order.

    Args:
        jobs: how many at a time. processes: in processes of their own instead of threads.
        cluster: a ``dask.distributed.Client``, or the address of its scheduler. Its workers read the checkpoints, by the
            paths that are given here; it alone decides how many at a time.
        progress: called with (steps done, steps in all).

    Raises:
        ArgumentError: ``jobs`` is 0, or stands beside a cluster; or no scheduler answers. MissingExtra: no dask.
    """
    if jobs == 0:
        raise ArgumentError("jobs must not be 0", received=jobs, way_out="give 1, or -1 for a job per core")
    if jobs != 1 and cluster is not None:
        raise ArgumentError(
            "cluster= must stand without jobs=, since the cluster has workers of its own", received=f"{jobs} jobs",
            way_out="leave jobs= out, or cluster=",
        )  # fmt: skip
    work = partial(outcome_of, template=template, sidecar=sidecar)
    found: dict[int, Outcome] = {}
    for each in _on_cluster(work, steps, cluster) if cluster is not None else _here(work, steps, jobs, processes):
        found[each.step.number] = each
        if progress is not None:
            progress(len(found), len(steps))
    return [found[step.number] for step in steps]


def _here(work: Callable[[Step], Outcome], steps: Sequence[Step], jobs: int, processes: bool) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(work, steps)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(jobs, backend="loky" if processes else "threading", return_as="generator_unordered")
    yield from parallel(delayed(work)(step) for step in steps)


def _on_cluster(work: Callable[[Step], Outcome], steps: Sequence[Step], cluster: Any) -> Iterator[Outcome]:
    with _client(cluster) as client:
        from dask.distributed import as_completed

        shared = client.scatter(work, broadcast=True)
        futures = [client.submit(_call, shared, step, pure=False) for step in steps]
        for future in as_completed(futures):
            yield future.result()


def _call(work: Callable[[Step], Outcome], step: Step) -> Outcome:
    return work(step)


@contextmanager
def _client(cluster: Any) -> Iterator[Any]:
    """A client of the scheduler with this address, which is closed in the end; or the client that is given, left open."""
    with needs_extra("dask", "a cluster needs dask"):
        from dask.distributed import Client
    if not isinstance(cluster, str):
        yield cluster
        return
    try:
        client = Client(cluster, timeout=PATIENCE)
    except (OSError, ValueError, TypeError) as error:
        raise ArgumentError(
            "a cluster must be the address of a Dask scheduler", place=cluster,
            received="no answer" if isinstance(error, OSError) else brief(error),
            way_out="for example tcp://host:8786",
        ) from error  # fmt: skip
    with client:
        yield client
