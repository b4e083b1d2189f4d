"""Graphs as files, by the file's ending; and the one form that is read back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from graphsparse.checkpoints.atomic import check_writable, replacing
from graphsparse.errors import ArgumentError, CheckpointError
from graphsparse.exports.edges import Progress, silent
from graphsparse.exports.libraries import write_parquet
from graphsparse.exports.markup import write_dot, write_gexf, write_graphml
from graphsparse.exports.npz import read_graph, write_graph
from graphsparse.graph import LayeredGraph, checked_graph

LARGEST_TEXT = 1_000_000
"""More edges are written as GraphML and GEXF only with ``force``: each takes some 150 bytes, and far more in their readers."""


Write = Callable[[BinaryIO, LayeredGraph, Progress], None]
FORMATS: dict[str, Write] = {
    ".npz": write_graph, ".graphml": write_graphml, ".gexf": write_gexf, ".parquet": write_parquet, ".dot": write_dot,
}  # fmt: skip


def save_graph(
    graph: LayeredGraph, path: str | os.PathLike[str], *, force: bool = False, progress: Progress | None = None
) -> None:
    """Write a graph to a file, whose ending says the form; a file that is there is replaced in one step.

    ``.npz`` holds everything, with every block as a csr matrix, and `load_graph` reads it. ``.graphml``, ``.gexf`` and
    ``.parquet`` have every edge with its weight, its parameter and whether it is active. ``.dot`` has the layers, and
    how many edges are kept and active between them.

    Args:
        graph: as `graphsparse.export` gives it.
        path: the file.
        force: write GraphML and GEXF of more than a million edges, too.
        progress: called with (layers or blocks done, those in all).

    Raises:
        ArgumentError: no path. CheckpointError: another ending, too many edges, or a file that cannot be written.
        MissingExtra: Parquet without pyarrow.

    Example:
        >>> import tempfile, torch, graphsparse as gs
        >>> graph = gs.export(torch.nn.Linear(3, 2), torch.zeros(1, 3), {"weight": torch.eye(2, 3) > 0})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gs.save_graph(graph, f"{folder}/net.npz")
        ...     gs.sparsity(gs.load_graph(f"{folder}/net.npz")).active
        2
    """
    write, is_text = format_of(path), Path(path).suffix.lower() in (".graphml", ".gexf")
    check_writable(path)
    if is_text and not force and (count := checked_graph(graph).adjacency().nnz) > LARGEST_TEXT:
        raise CheckpointError(
            f"GraphML and GEXF must have at most {LARGEST_TEXT:,} edges", place=os.fspath(path), received=f"{count:,}",
            way_out="write .npz or .parquet, or give force=True",
        )  # fmt: skip
    with replacing(path) as file:
        write(file, checked_graph(graph), progress or silent)


def load_graph(path: str | os.PathLike[str]) -> LayeredGraph:
    """Read a graph that `save_graph` wrote as npz: its layers, masks, weights and inputs. Nothing of the file is run.

    Raises:
        ArgumentError: no path. CheckpointError: no such file, or one that is damaged or of another kind.
    """
    if not _checked(path).is_file():
        raise CheckpointError(
            "a file of a graph must be there", place=os.fspath(path), way_out="name an npz of save_graph"
        )
    return read_graph(Path(path))


def format_of(path: str | os.PathLike[str]) -> Write:
    """What writes a file of this ending. Raises CheckpointError for another ending."""
    ending = _checked(path).suffix.lower()
    if ending not in FORMATS:
        raise CheckpointError(
            "the file of a graph must end in the name of its form", place=os.fspath(path), received=ending or "no ending",
            way_out=f"end it in {', '.join(FORMATS)}",
        )  # fmt: skip
    return FORMATS[ending]


def _checked(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentError(
            "a path must be text or a path", place="path", received=repr(path), way_out="give 'net.npz'"
        )
    return Path(path)
