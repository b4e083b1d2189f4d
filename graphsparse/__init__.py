"""graphsparse: how sparse pruned networks really are.

A pruned network is a graph: units are nodes, kept weights are edges. A kept weight on no path from an input to an output
does nothing; effective sparsity counts it as removed. Start with `analyze`, or with `export` and `sparsity`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; a running program imports each name when it first asks for it
    from graphsparse import plots as plots
    from graphsparse.capture import Network as Network
    from graphsparse.capture import export as export
    from graphsparse.checkpoints import read_masks as read_masks
    from graphsparse.compaction.compact import compact as compact
    from graphsparse.effective import effective_masks as effective_masks
    from graphsparse.effective import effective_scores as effective_scores
    from graphsparse.errors import ArgumentError as ArgumentError
    from graphsparse.errors import CaptureError as CaptureError
    from graphsparse.errors import CheckpointError as CheckpointError
    from graphsparse.errors import GraphsparseError as GraphsparseError
    from graphsparse.errors import MaskError as MaskError
    from graphsparse.errors import MissingExtra as MissingExtra
    from graphsparse.errors import ModelError as ModelError
    from graphsparse.errors import TargetError as TargetError
    from graphsparse.errors import UnsupportedOperations as UnsupportedOperations
    from graphsparse.exports.save import load_graph as load_graph
    from graphsparse.exports.save import save_graph as save_graph
    from graphsparse.graph import LayeredGraph as LayeredGraph
    from graphsparse.measures.batch import sparsity_of as sparsity_of
    from graphsparse.measures.expected import expected_effective as expected_effective
    from graphsparse.measures.sparsity import sparsity as sparsity
    from graphsparse.metrics.comparison import compare_masks as compare_masks
    from graphsparse.metrics.encodings import biadjacency as biadjacency
    from graphsparse.metrics.explain import explain as explain
    from graphsparse.metrics.topology import topology as topology
    from graphsparse.networks import network as network
    from graphsparse.passes.curve import compression_curve as compression_curve
    from graphsparse.pruning.prune import prune as prune
    from graphsparse.pruning.quotas import quotas as quotas
    from graphsparse.reports.analyze import analyze as analyze
    from graphsparse.runs.compare import compare as compare
    from graphsparse.runs.track import track as track
    from graphsparse.surgery import write_masks as write_masks
    from graphsparse.training.keep import keep_masks as keep_masks
    from graphsparse.training.lora import merge_lora as merge_lora

__version__ = "0.1.0"

_NAMES = {
    "graphsparse.capture": "Network export",
    "graphsparse.checkpoints": "read_masks",
    "graphsparse.compaction.compact": "compact",
    "graphsparse.effective": "effective_masks effective_scores",
    "graphsparse.errors": "ArgumentError CaptureError CheckpointError GraphsparseError MaskError MissingExtra ModelError "
    "TargetError UnsupportedOperations",
    "graphsparse.exports.save": "load_graph save_graph",
    "graphsparse.graph": "LayeredGraph",
    "graphsparse.measures.batch": "sparsity_of",
    "graphsparse.measures.expected": "expected_effective",
    "graphsparse.measures.sparsity": "sparsity",
    "graphsparse.metrics.comparison": "compare_masks",
    "graphsparse.metrics.encodings": "biadjacency",
    "graphsparse.metrics.explain": "explain",
    "graphsparse.metrics.topology": "topology",
    "graphsparse.networks": "network",
    "graphsparse.passes.curve": "compression_curve",
    "graphsparse.plots": "plots",
    "graphsparse.pruning.prune": "prune",
    "graphsparse.pruning.quotas": "quotas",
    "graphsparse.reports.analyze": "analyze",
    "graphsparse.runs.compare": "compare",
    "graphsparse.runs.track": "track",
    "graphsparse.surgery": "write_masks",
    "graphsparse.training.keep": "keep_masks",
    "graphsparse.training.lora": "merge_lora",
}
"""The public names of each module, which is imported when the first of them is asked for: ``import graphsparse`` is quick."""

_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        home = import_module(_HOMES[name])
        return home if _HOMES[name] == f"graphsparse.{name}" else getattr(home, name)
    raise AttributeError(f"module 'graphsparse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
