"""Which connections are active and which units starved or stranded: the sweep in the algebra (or, and)."""

from __future__ import annotations

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.sweep import sweep


def active_connections(graph: LayeredGraph) -> dict[str, np.ndarray]:
    """The active connections of every parameter, bool in the parameter's shape."""
    return {name: mask.unpack() for name, mask in sweep(graph, graph.kept).connections().items()}
