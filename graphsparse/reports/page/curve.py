"""The compression curve of a ranking, with the point of this checkpoint on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphsparse.errors import MaskError
from graphsparse.pages.render import count
from graphsparse.pages.sections import Section
from graphsparse.passes.curve import CompressionCurve, compression_curve
from graphsparse.pruning.methods import saliency
from graphsparse.reports.curves import frame_of
from graphsparse.reports.facts import Facts

LARGEST = 100_000_000
"""Connections up to which a page ranks weights by itself."""
POINTS, ROWS = 240, 12
"""Points of a line, rows of its table."""


def magnitudes(report: Facts) -> Mapping[str, np.ndarray] | None:
    """The absolute weights of what is kept, where weights are at hand and not too many; minus infinity where dropped.

    None too where a weight is NaN, which has no rank.
    """
    graph, network = report.graph, report.network
    if graph is None or network is None or not graph.shapes or graph.n_connections > LARGEST:
        return None
    if network.is_meta and not all(name in network.weights for name in graph.shapes):
        return None
    masks = {name: graph.kept[name].unpack() for name in graph.shapes}
    try:
        return saliency("magnitude", network, list(graph.shapes), masks=masks)
    except MaskError:
        return None


def section(
    report: Facts, curves: Mapping[str, CompressionCurve] | None, ranking: Mapping[str, np.ndarray] | None
) -> Section | None:
    """The curves that are given, else that of the weights' magnitudes; nothing where there is neither."""
    if report.graph is None:
        return None
    if not curves and ranking is not None:
        curves = {"magnitude": compression_curve(report.graph, ranking)}
    if not curves:
        return _too_large(report.graph.n_connections) if report.graph.n_connections > LARGEST else None
    drawn = {name: _line(curve) for name, curve in curves.items()}
    drawn = {name: line for name, line in drawn.items() if line["direct"]}
    if not drawn:
        return None
    summary = report.summary
    point = {
        "direct": summary["direct_compression"],
        "effective": summary["effective_compression"],
        "active": summary["active"],
    }
    tables = {name: [row for row in zip(line["kept"], line["active"], line["direct"], line["effective"])][:: max(1, len(line["kept"]) // ROWS)]
              for name, line in drawn.items()}  # fmt: skip
    values = {"tables": tables, "point": point, "names": list(drawn), "missing": ""}
    return Section("curve", "Compression curve", values, {"lines": drawn, "point": point}, ("curve.js",))


def _too_large(connections: int) -> Section:
    """What stands in the place of a curve that would take long."""
    text = (
        f"Left out: the network has {count(connections)} connections, more than {count(LARGEST)}. The command "
        "graphsparse curve --method magnitude --plot curve.svg draws it, given time and memory; "
        "to_html(curves={name: graphsparse.compression_curve(graph, scores)}) puts it here."
    )
    return Section("curve", "Compression curve", {"missing": text})


def _line(curve: CompressionCurve) -> dict[str, Any]:
    """The points of a curve at which something is active, the least compressed first."""
    frame = frame_of({"": curve}, POINTS)
    frame = frame[frame["active"] > 0].iloc[::-1]
    columns = {"kept": "kept", "active": "active", "direct": "direct_compression", "effective": "effective_compression"}
    return {short: frame[name].tolist() for short, name in columns.items()}
