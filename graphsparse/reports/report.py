"""The report: what is said of a network, as a frame, a summary and notes, to be shown or written."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphsparse.checkpoints import OpenCheckpoint
from graphsparse.errors import MissingExtra
from graphsparse.graph import LayeredGraph
from graphsparse.measures.macs import macs_of
from graphsparse.measures.sparsity import COLUMNS, Sparsity, compression_of, sparsity, sparsity_of
from graphsparse.measures.tables import plain_rows, table, write_csv, written
from graphsparse.networks.loading import Progress
from graphsparse.reports.facts import Facts

if TYPE_CHECKING:
    from graphsparse.passes.curve import CompressionCurve

LISTED = 6  # names in a note; JSON has them all
MACS = ("macs", "kept_macs", "active_macs")
"""Multiplications with additions of one sample: of all connections, of those kept, of those active."""
WITHOUT_MODEL = ("shape", "connections", "kept", "direct")


@dataclass(frozen=True, eq=False, repr=False)
class Report(Facts):
    """How sparse a network is, to be shown and written.

    ``rows`` by parameter have the ``columns``; ``frame`` has the same with pandas. ``summary`` has the totals, and
    ``sparsity`` is None without a model. ``notes`` say what a reader should know: collapse, unused parameters, what is
    decided conservatively. ``coverage`` says how many operations each rule of capture took, and which were decided
    conservatively, where and why. ``inputs`` says what each input of the model was taken for. ``graph`` and ``network``
    are what was analysed (None without a model), ``origin`` where it comes from, ``verification`` what came out where
    outputs were compared.
    """

    def __repr__(self) -> str:
        found = self.sparsity or ", ".join(f"{key}={value}" for key, value in self.summary.items())
        return f"Report({self.title!r}, {len(self.rows)} parameters, {found})"

    def _repr_html_(self) -> str:
        from graphsparse.reports.page.build import part  # what only pages need is imported where one is made

        try:
            return part(self)
        except MissingExtra:
            found = self.sparsity
            lines = found.lines() if found else [f"{key}: {value}" for key, value in self.summary.items()]
            return table(self.title, [*lines, *self.notes], self.frame)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values; an infinite compression is None, since JSON has no infinity."""
        rows = [{"parameter": name, **_plain(row)} for name, row in self.rows.items()]
        found: dict[str, Any] = {"title": self.title, "summary": _plain(self.summary), "parameters": rows}
        if self.sparsity:
            found |= {"collapsed": list(self.sparsity.collapsed), "unused": list(self.sparsity.unused)}
        if self.inputs:
            found["inputs"] = [_plain(asdict(each)) for each in self.inputs]
        if self.coverage:
            calls = [dict(zip(("operation", "place", "reason"), call)) for call in self.coverage.conservative]
            found["coverage"] = {"operations": dict(self.coverage.rules), "conservative": calls}
        if self.verification:
            found["verification"] = _plain(asdict(self.verification))
        return {**found, "notes": list(self.notes)}

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as JSON text, also written to a file where a path is given."""
        return written(json.dumps(self.to_dict(), indent=2), path)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """The rows, one per parameter, as CSV text, also written to a file where a path is given."""
        return write_csv(self.frame, path, index=True)

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        command: str | None = None,
        curves: Mapping[str, CompressionCurve] | None = None,
    ) -> str:
        """The report as a page in one file, also written where a path is given. Needs the extra ``html``.

        ``command`` is what the page says was typed. ``curves``, as `graphsparse.compression_curve` gives them, by the
        name of their method, are shown in the place of that of the weights' magnitudes.
        """
        from graphsparse.pages.render import render
        from graphsparse.reports.page.build import page_of

        return written(render(page_of(self, command=command, curves=curves)), path)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return plain_rows([values])[0]


def report_of(title: str, graph: LayeredGraph, notes: tuple[str, ...] = ()) -> Report:
    """The report of a graph under its masks; ``notes`` come before those of the graph itself."""
    found, macs = sparsity(graph), macs_of(graph)
    rows = {name: {**row, **dict(zip(MACS, macs[name], strict=True))} for name, row in found.rows.items()}
    summary = {
        "resolution": graph.resolution,
        "norm_statistics": graph.norm_statistics,
        "connections": found.connections,
        "kept": found.kept,
        "active": found.active,
        "direct_sparsity": found.direct,
        "effective_sparsity": found.effective,
        "direct_compression": found.direct_compression,
        "effective_compression": found.effective_compression,
        "units": graph.n_units,
        "layers": len(graph.layers),
        "sources": len(graph.sources),
        "sinks": len(graph.sinks),
        **{column: sum(row[column] for row in rows.values()) for column in MACS},
    }
    told = (*_of_sparsity(found), *notes, *_of_graph(graph))
    return Report(title, rows, (*COLUMNS, *MACS), summary, told, found, graph.coverage, graph.inputs, graph)


def _of_sparsity(found: Sparsity) -> Iterator[str]:
    if not found.connected:
        yield f"Collapsed: no path from an input to an output is left. {_break(found)}"
    elif found.collapsed:
        yield f"Nothing is active in {_few(found.collapsed)}."
    if found.unused:
        yield f"Not used by the network, not counted: {_few(found.unused)}."


def _break(found: Sparsity) -> str:
    """Where the network comes apart: at parameters that keep nothing, else where the first feeds no unit that is reached."""
    empty = tuple(name for name, row in found.rows.items() if row["kept"] == 0 < row["connections"])
    if empty:
        return f"Nothing is kept in {_few(empty)}."
    first = next((name for name, row in found.rows.items() if row["starved"] == row["units"]), None)
    return "" if first is None else f"The inputs reach no unit that {first} feeds."


def _of_graph(graph: LayeredGraph) -> Iterator[str]:
    yield from graph.notes
    if graph.coverage.conservative:
        reasons = sorted({f"{operation}: {reason}" for operation, _, reason in graph.coverage.conservative})
        calls = len(graph.coverage.conservative)
        yield f"Decided on the safe side ({calls} call{'s' if calls > 1 else ''}): {'; '.join(reasons[:4])}."
    if graph.has_norm_statistics and not graph.norm_statistics:
        yield (
            "Statistics of layer, group or RMS normalisation are left out, as in the paper; norm_statistics=True "
            "(--norm-statistics) follows them."
        )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def report_without_model(checkpoint: OpenCheckpoint, progress: Progress | None = None) -> Report:
    """Direct sparsity by tensor, which needs no network; each tensor is read once."""
    rows: dict[str, dict[str, Any]] = {}
    read, total = 0, checkpoint.nbytes
    for name, mask, nbytes in checkpoint.packed_masks():
        connections, kept = math.prod(mask.shape), mask.count()
        values = mask.shape, connections, kept, sparsity_of(kept, connections)
        rows[name] = dict(zip(WITHOUT_MODEL, values, strict=True))
        read += nbytes
        if progress is not None:
            progress(read, total)
    connections, kept = (sum(row[column] for row in rows.values()) for column in ("connections", "kept"))
    summary = {"connections": connections, "kept": kept, "direct_sparsity": sparsity_of(kept, connections),
               "direct_compression": compression_of(kept, connections)}  # fmt: skip
    note = "Effective sparsity needs a model, which says how the tensors are connected: name one."
    title = Path(checkpoint.place).name
    return Report(title, rows, WITHOUT_MODEL, summary, (*checkpoint.told(), note))
