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
COLUMNS = {"kept": "kept", "active": "active", "direct": "direct_compression", "effective": "effective_compression"}


def magnitudes(report: Facts) -> Mapping[str, np.ndarray] | None:
    """The absolute weights of what is kept, minus infinity where dropped.

    None where the weights are not at hand, or too many, or one of them is NaN, which has no rank.
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
    if not curves and (connections := report.graph.n_connections) > LARGEST:
        text = (
            f"Left out: the network has {count(connections)} connections, more than {count(LARGEST)}. The command "
            "graphsparse curve --method magnitude --plot curve.svg draws it, given time and memory; "
            "to_html(curves={name: graphsparse.compression_curve(graph, scores)}) puts it here."
        )
        return Section("curve", "Compression curve", {"missing": text})
    drawn = {name: line for name, curve in (curves or {}).items() if (line := _line(curve))["direct"]}
    if not drawn:
        return None
    point = {key: report.summary[name] for key, name in COLUMNS.items() if key != "kept"}
    tables = {name: list(zip(*line.values()))[:: max(1, len(line["kept"]) // ROWS)] for name, line in drawn.items()}
    values = {"tables": tables, "point": point, "names": list(drawn), "missing": ""}
    return Section("curve", "Compression curve", values, {"lines": drawn, "point": point}, ("curve.js",))


def _line(curve: CompressionCurve) -> dict[str, Any]:
    """The points of a curve at which something is active, the least compressed first."""
    frame = frame_of({"": curve}, POINTS)
    frame = frame[frame["active"] > 0].iloc[::-1]
    return {key: frame[name].tolist() for key, name in COLUMNS.items()}
