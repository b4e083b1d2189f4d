"""Masks in memory to effective masks: against the gradient method, counting non-zeros, networkx and igraph.

Run: OMP_NUM_THREADS=1 GRAPHSPARSE_THREADS=1 python benchmarks/liveness.py   (some two minutes), for one thread each; without
the two variables for all threads each, which has files of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import igraph
import networkx
import numpy as np
import torch
from gradient import vgg_masks
from scipy import sparse
from scipy.sparse import csgraph
from timing import medians, report
from torch import nn

import graphsparse as gs
from graphsparse import zoo
from graphsparse.sweep import sweep

HERE = Path(__file__).parent


COMPRESSIONS = (1, 10, 100, 1000)


def results(name: str) -> Path:
    """The file for a table."""
    return HERE / (f"{name}.json" if os.environ.get("GRAPHSPARSE_THREADS") == "1" else f"{name}_all_threads.json")


def drawn(graph: gs.LayeredGraph, compression: float) -> dict[str, torch.Tensor]:
    """Independent masks of one density."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=generator) < 1 / compression for name, shape in graph.shapes.items()}


def captured(name: str, resolution: str) -> gs.LayeredGraph:
    """A zoo network without masks."""
    return gs.export(zoo.build(name), torch.zeros(1, *zoo.input_shape(name)), {}, resolution=resolution)


def against_gradients() -> None:
    """VGG-19 unrolled against copies of the masks and one float64 gradient; both must agree."""
    graph, rows = captured("vgg19", "unrolled"), []
    for compression in COMPRESSIONS:
        masks = drawn(graph, compression)
        arrays = [mask.numpy() for mask in masks.values()]
        bits = graph.with_masks(masks)
        ours, theirs = gs.effective_masks(bits), vgg_masks(masks)
        agree = all(torch.equal(ours[name], theirs[name]) for name in masks)
        times = medians({
            "copy": lambda: [array.copy() for array in arrays],
            "ours": lambda: gs.effective_masks(graph.with_masks(masks)),
            "bits": lambda: sweep(bits).connections(),
            "gradient": lambda: vgg_masks(masks),
        }, 9)  # fmt: skip
        rows.append({"compression": compression, "copy ms": times["copy"] * 1e3, "gradient ms": times["gradient"] * 1e3,
                     "ours ms": times["ours"] * 1e3, "bits ms": times["bits"] * 1e3,
                     "copies": times["ours"] / times["copy"], "copies as bits": times["bits"] / times["copy"],
                     "times faster than the gradient": times["gradient"] / times["ours"], "agree": agree})  # fmt: skip
    report("VGG-19, unrolled: masks to effective masks, bools in and out and as bits (goals: 3 copies, 1 copy, 40 times)",
           rows, results("gradient"))  # fmt: skip


def against_counting() -> None:
    """Channel resolution against counting the same masks' bytes."""
    with torch.device("meta"):
        chain = nn.Sequential(*[nn.Linear(4096, 4096, bias=False) for _ in range(8)])
    graphs = {
        "VGG-19": captured("vgg19", "channel"),
        "ResNet-18": captured("resnet18", "channel"),
        "8 x 4096 x 4096": gs.export(chain, torch.zeros(1, 4096, device="meta"), {}, resolution="channel"),
    }
    rows = []
    for name, graph in graphs.items():
        for compression in COMPRESSIONS:
            masks = drawn(graph, compression)
            arrays = [mask.numpy() for mask in masks.values()]
            times = medians({
                "ours": lambda: gs.sparsity(graph.with_masks(masks)),
                "count": lambda: [np.count_nonzero(array) for array in arrays],
            })  # fmt: skip
            allowed = 2 * times["count"] + (2e-3 if name != "8 x 4096 x 4096" else 0)
            rows.append({"network": name, "compression": compression, "count ms": times["count"] * 1e3,
                         "ours ms": times["ours"] * 1e3, "allowed ms": allowed * 1e3, "within": times["ours"] <= allowed})  # fmt: skip
    report(
        "Channel resolution: gs.sparsity against np.count_nonzero (goal: 2x, + 2 ms for the networks)",
        rows,
        results("counting"),
    )


def against_graph_libraries() -> None:
    """VGG-19 unrolled: the units below the sources and above the sinks, by every library that is installed.

    Each library has its graph ready, with a source above all sources and a sink below all sinks, and searches both ways.
    """
    masked = (graph := captured("vgg19", "unrolled")).with_masks(drawn(graph, 200))
    n, matrix = masked.n_units, masked.adjacency()
    ends = [(n, int(s)) for s in masked.sources] + [(int(s), n + 1) for s in masked.sinks]
    coo = matrix.tocoo()
    rows, columns = (np.concatenate([a, b]) for a, b in zip((coo.row, coo.col), np.array(ends).T, strict=True))
    whole = sparse.coo_array((np.ones(len(rows), bool), (rows, columns)), (n + 2, n + 2)).tocsr()
    searches = {"ours": lambda: gs.effective_masks(masked), **library_searches(whole, n)}
    times = medians(searches, 3)
    found = [
        {"library": name, "ms": seconds * 1e3, "in ours": seconds / times["ours"]} for name, seconds in times.items()
    ]
    report(f"VGG-19, unrolled, compression 200, the same graph of {matrix.nnz:,} edges (goal: ahead of every one by 3)",
           found, results("libraries"))  # fmt: skip


def library_searches(whole: sparse.csr_array, n: int) -> dict[str, Callable[[], object]]:
    """A search forwards from unit n and backwards from unit n + 1 in each library that can be imported."""
    coo, back = whole.tocoo(), whole.T.tocsr()
    pairs = np.stack([coo.row, coo.col], 1)
    nx_graph, ig_graph = networkx.DiGraph(), igraph.Graph(n=n + 2, edges=pairs, directed=True)
    nx_graph.add_edges_from(pairs.tolist())
    found: dict[str, Callable[[], object]] = {
        "networkx": lambda: (networkx.descendants(nx_graph, n), networkx.ancestors(nx_graph, n + 1)),
        "igraph": lambda: (ig_graph.subcomponent(n, "out"), ig_graph.subcomponent(n + 1, "in")),
        "SciPy": lambda: (
            csgraph.breadth_first_order(whole, n, return_predecessors=False),
            csgraph.breadth_first_order(back, n + 1, return_predecessors=False),
        ),
    }
    with suppress(ImportError):
        import rustworkx

        rx_graph, rx_back = rustworkx.PyDiGraph(), rustworkx.PyDiGraph()
        for each, edges in ((rx_graph, pairs), (rx_back, pairs[:, ::-1])):
            each.add_nodes_from(range(n + 2))
            each.add_edges_from_no_data([tuple(edge) for edge in edges.tolist()])
        found["rustworkx"] = lambda: (rustworkx.descendants(rx_graph, n), rustworkx.ancestors(rx_graph, n + 1))
    with suppress(ImportError):
        import networkit

        networkit.setNumberOfThreads(1)
        nk_graph, nk_back = (
            networkit.GraphFromCoo((each.row, each.col), n=n + 2, directed=True) for each in (coo, back.tocoo())
        )
        found["networkit"] = lambda: (
            networkit.distance.BFS(nk_graph, n, storePaths=False).run(),
            networkit.distance.BFS(nk_back, n + 1, storePaths=False).run(),
        )
    with suppress(ImportError):
        import graphblas

        gb_graph, gb_back = graphblas.io.from_scipy_sparse(whole), graphblas.io.from_scipy_sparse(back)
        found["SuiteSparse GraphBLAS"] = lambda: (blas_search(gb_graph, n), blas_search(gb_back, n + 1))
    return found


def blas_search(matrix: Any, start: int) -> Any:
    """The units below one, hop by hop: a product with the frontier, masked by what was reached before."""
    import graphblas

    reached = graphblas.Vector(bool, matrix.nrows)
    frontier = graphblas.Vector(bool, matrix.nrows)
    frontier[start] = reached[start] = True
    while frontier.nvals:
        frontier(~reached.S, replace=True) << graphblas.semiring.any_pair(frontier @ matrix)
        reached(frontier.S) << True
    return reached


def many_masks() -> None:
    """Masks a second, many at once against one at a time; making the masks is not counted."""
    mlp = nn.Sequential(*(nn.Linear(32, 32, bias=False) for _ in range(4)))
    cases = {
        "LeNet-300-100, compression 100 (goal 20x)": (captured("lenet300100", "unrolled"), 100, 10_000, 20),
        "4 layers of 32 units, compression 4 (goal 500,000 a second)": (gs.export(mlp, torch.zeros(1, 32), {}), 4, 64_000, 200),
        "VGG-16, compression 100, channel (goal 5x)": (captured("vgg16", "channel"), 100, 64, 4),
        "VGG-16, compression 100, unrolled (goal 5x)": (captured("vgg16", "unrolled"), 100, 64, 4),
    }  # fmt: skip
    rows, rng = [], np.random.default_rng(0)
    for name, (graph, compression, count, one_by_one) in cases.items():
        words = {n: random_words(rng, (-(-count // 64), *shape), compression) for n, shape in graph.shapes.items()}
        single = [
            {n: (w[0] >> np.uint64(bit % 64) & np.uint64(1)).astype(bool) for n, w in words.items()}
            for bit in range(one_by_one)
        ]
        times = medians({
            "at once": lambda: gs.sparsity_of(graph, words),
            "one at a time": lambda: [gs.sparsity(graph.with_masks(each)) for each in single],
        }, 3)  # fmt: skip
        at_once, alone = count / times["at once"], len(single) / times["one at a time"]
        rows.append({"network": name, "masks": count, "a second, at once": at_once, "one at a time": alone,
                     "times": at_once / alone})  # fmt: skip
    report("Direct and effective counts of many masks of one network, masks as words", rows, results("many_masks"))


def random_words(rng: np.random.Generator, shape: tuple[int, ...], compression: int) -> np.ndarray:
    """Words whose bits are set with probability 1 / compression."""
    words = np.zeros(shape, np.uint64)
    for bit in range(64):
        words |= (rng.random(shape, np.float32) < 1 / compression).astype(np.uint64) << np.uint64(bit)
    return words


def building() -> None:
    """The explicit graph of ResNet-18 at compression 100, and capture."""
    graph = captured("resnet18", "unrolled")
    masked = graph.with_masks(drawn(graph, 100))
    edges = masked.adjacency().nnz
    times = medians({"adjacency": masked.adjacency, "capture": lambda: captured("resnet18", "unrolled")}, 3)
    rows = [{"edges": edges, "csr s": times["adjacency"], "million edges a second (goal 20)": edges / times["adjacency"] / 1e6,
             "capture s (goal 3)": times["capture"]}]  # fmt: skip
    report("ResNet-18, 64 x 64, unrolled: csr at compression 100, and capture", rows, results("building"))


if __name__ == "__main__":
    against_gradients()
    against_counting()
    against_graph_libraries()
    many_masks()
    building()
