"""Several checkpoints of one network side by side: `compare`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from math import nan
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np

from graphsparse.errors import ArgumentError
from graphsparse.graph import LayeredGraph
from graphsparse.metrics.comparison import TABLE as PAIRS
from graphsparse.metrics.comparison import compare_masks
from graphsparse.metrics.topology import check_metrics, topology
from graphsparse.runs.comparison import UNITS, CheckpointComparison
from graphsparse.runs.deaths import Deaths, deaths, within_layers
from graphsparse.runs.rows import Places, Row, change_row, changes_of, overlap_row, rows_of, scope_of
from graphsparse.runs.snapshot import Snapshot, snapshot_of
from graphsparse.runs.template import Way, template
from graphsparse.runs.workers import Progress

METRICS = (
    "starved_of_units", "stranded_of_units", "constant_of_units", "connected_units_of_prunable_units",
    "dead_rows_of_rows", "dead_columns_of_columns", "log10_paths", "shortest_path", "longest_path",
)  # fmt: skip
"""Metrics of topology that are compared by default: none of them makes a matrix."""


def compare(
    checkpoints: Sequence[Any] | Mapping[str, Any],
    model: Any = None,
    example_inputs: Any = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    metrics: Iterable[str] | None = METRICS,
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
    progress: Progress | None = None,
) -> CheckpointComparison:
    """Put two or more checkpoints of one network side by side. The network is captured once.

    Args:
        checkpoints: paths, state dicts or masks, which are called A, B, C and so on; or ``{name: checkpoint}``.
        model, example_inputs, kwargs: as for `graphsparse.analyze`. A live module is not changed.
        resolution, norm_statistics, sources, form, model_args, key, ignore, prefix, trust_sizes, cache: as there.
        metrics: metrics and groups of `graphsparse.topology` to find of each, and metrics of `graphsparse.compare_masks`
            to find of A and each other one; None for every one, ``()`` for none.
        progress: called with (checkpoints done, checkpoints in all).

    Returns:
        `CheckpointComparison`: ``.totals`` and ``.parameters`` side by side, ``.units`` that died or came to life,
        ``.overlaps`` of masks, ``.topology``, and ``.holds("B.active < 0.9 * A.active")`` for checks.

    Raises:
        ArgumentError: less than two checkpoints, or more than 26 without names.
        CheckpointError, ModelError, MaskError, CaptureError: bad input, with the way out.

    Example:
        >>> import torch
        >>> whole = {"a.weight": torch.ones(3, 2) > 0, "b.weight": torch.ones(1, 3) > 0}
        >>> found = compare([whole, {**whole, "b.weight": torch.tensor([[True, False, True]])}], "chain")
        >>> found.totals.loc[["kept", "active", "died", "active_died"]].values.tolist()
        [[9, 8], [9, 6], [0, 1], [0, 3]]
        >>> found.holds("B.active < 0.9 * A.active")
        True
    """
    named = _named(checkpoints)
    wanted, of_pairs = _sorted_out(metrics)
    way = Way.of(resolution, norm_statistics, sources, form, model_args, key, ignore, prefix, trust_sizes, cache)
    found = template(next(iter(named.values())), model, example_inputs, kwargs, way)
    snapshots: dict[str, Snapshot] = {}
    metric_rows: list[Row] = []
    for name, source in named.items():
        graph, notes = found.graph_of(source)
        snapshots[name] = snapshot_of(graph, notes)
        metric_rows += _metric_rows(name, graph, wanted)
        if progress is not None:
            progress(len(snapshots), len(named))
    metric_rows += _pair_rows(found.base, snapshots, of_pairs)
    files = {n: str(Path(each)) if isinstance(each, (str, os.PathLike)) else n for n, each in named.items()}
    return _side_by_side(files, found.base, snapshots, tuple(metric_rows))


def _named(given: Any) -> dict[str, Any]:
    if isinstance(given, (str, os.PathLike)) or not isinstance(given, (Mapping, Sequence)):
        given = [given]
    if len(given) < 2:
        raise ArgumentError(
            "a comparison must have two checkpoints or more", received=len(given), way_out="name another"
        )
    if isinstance(given, Mapping):
        return {str(name): source for name, source in given.items()}
    if len(given) > len(ascii_uppercase):
        raise ArgumentError(
            "a comparison must have at most 26 checkpoints without names", received=len(given),
            way_out="take graphsparse.track for a run of checkpoints, or give {name: checkpoint}",
        )  # fmt: skip
    return dict(zip(ascii_uppercase, given))


def _metric_rows(name: str, graph: LayeredGraph, metrics: list[str] | None) -> Iterator[Row]:
    if metrics == []:
        return
    for metric, row in topology(graph, metrics).total.iterrows():
        yield {"metric": metric, "checkpoint": name, "kept": float(row["kept"]), "active": float(row["active"])}


def _sorted_out(metrics: Iterable[str] | None) -> tuple[list[str] | None, list[str]]:
    """The metrics of one checkpoint, where None means all of them; and the metrics of two."""
    if metrics is None:
        return None, list(PAIRS)
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    wanted = [name for name in names if name not in PAIRS]
    check_metrics(wanted)
    return wanted, [name for name in names if name in PAIRS]


def _pair_rows(base: LayeredGraph, snapshots: Mapping[str, Snapshot], metrics: list[str]) -> Iterator[Row]:
    """Metrics of the first checkpoint with each other one. Of the first with itself they are not defined."""
    if not metrics:
        return
    sets = {name: {key: now.kept[key] for key in (*base.shapes, *base.modulators)} for name, now in snapshots.items()}
    for metric in metrics:
        yield {"metric": metric, "checkpoint": next(iter(sets)), "kept": nan, "active": nan}
    for (_, name, metric), row in compare_masks(base, sets, metrics, pairs="first").total.iterrows():
        yield {"metric": metric, "checkpoint": name, "kept": float(row["kept"]), "active": float(row["active"])}


def _side_by_side(
    files: dict[str, str], base: LayeredGraph, snapshots: Mapping[str, Snapshot], metric_rows: tuple[Row, ...]
) -> CheckpointComparison:
    places, first = Places.of(base), next(iter(snapshots.values()))
    rows: list[Row] = []
    units: list[Row] = []
    for name, now in snapshots.items():
        gone = deaths(base, first, now)
        rows += _rows(name, base, places, first, now, gone)
        units += _units(name, base, first, now, gone)
    notes = dict.fromkeys(f"{name}: {note}" for name, now in snapshots.items() for note in now.notes)
    return CheckpointComparison(
        files, tuple(rows), tuple(units), tuple(_overlaps(base, snapshots)), metric_rows, tuple(notes)
    )


def _rows(name: str, base: LayeredGraph, places: Places, first: Snapshot, now: Snapshot, gone: Deaths) -> Iterator[Row]:
    found, cut = changes_of(first, now, base.shapes), gone.cut_counts()
    for place, row in rows_of(now, places).items():
        yield {
            "checkpoint": name, **scope_of(place), **row, **change_row(found[place], first, now, places.units[place]),
            "units_cut": cut[place], **overlap_row(found[place]),
        }  # fmt: skip


def _units(name: str, base: LayeredGraph, first: Snapshot, now: Snapshot, gone: Deaths) -> Iterator[Row]:
    blank = dict.fromkeys(UNITS, "") | {"checkpoint": name}
    for row in gone.rows(base):
        yield blank | row | {"change": "died"}
    for row in within_layers(base, np.flatnonzero(now.live & ~first.live)):
        yield blank | row | {"change": "came to life"}


def _overlaps(base: LayeredGraph, snapshots: Mapping[str, Snapshot]) -> Iterator[Row]:
    for one, other in combinations(snapshots, 2):
        kept, active = changes_of(snapshots[one], snapshots[other], base.shapes)[""]
        yield {"one": one, "other": other, "kept": kept.overlap, "active": active.overlap}
