"""Masks in memory to effective masks: against the gradient method, counting non-zeros, networkx and igraph.

Run: python benchmarks/liveness.py   (some two minutes)
"""

from __future__ import annotations

from pathlib import Path

import igraph
import networkx
import numpy as np
import torch
from gradient import vgg_masks
from timing import medians, report
from torch import nn

import graphsparse as gs
from graphsparse import zoo

HERE = Path(__file__).parent


COMPRESSIONS = (1, 10, 100, 1000)


def drawn(graph: gs.LayeredGraph, compression: float) -> dict[str, torch.Tensor]:
    """Independent masks of one density."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=generator) < 1 / compression for name, shape in graph.shapes.items()}


def captured(name: str, resolution: str) -> gs.LayeredGraph:
    """A zoo network without masks."""
    return gs.export(zoo.build(name), torch.zeros(1, *zoo.input_shape(name)), {}, resolution=resolution)


def against_gradients() -> None:
    """VGG-19 unrolled against one float64 gradient; both must agree."""
    graph, rows = captured("vgg19", "unrolled"), []
    for compression in COMPRESSIONS:
        masks = drawn(graph, compression)
        ours, theirs = gs.effective_masks(graph.with_masks(masks)), vgg_masks(masks)
        agree = all(torch.equal(ours[name], theirs[name]) for name in masks)
        times = medians(
            {"ours": lambda: gs.effective_masks(graph.with_masks(masks)), "gradient": lambda: vgg_masks(masks)}, 5
        )
        rows.append({"compression": compression, "gradient ms": times["gradient"] * 1e3, "ours ms": times["ours"] * 1e3,
                     "times faster": times["gradient"] / times["ours"], "agree": agree})  # fmt: skip
    report("VGG-19, unrolled: masks to effective masks against one float64 gradient (goal 20x, aim 60x)", rows,
           HERE / "gradient.json")  # fmt: skip


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
                "ours": lambda: gs.effective_masks(graph.with_masks(masks)),
                "count": lambda: [np.count_nonzero(array) for array in arrays],
            })  # fmt: skip
            allowed = 3 * times["count"] + 5e-3
            rows.append({"network": name, "compression": compression, "count ms": times["count"] * 1e3,
                         "ours ms": times["ours"] * 1e3, "allowed ms": allowed * 1e3, "within": times["ours"] <= allowed})  # fmt: skip
    report("Channel resolution against np.count_nonzero (goal: 3x + 5 ms)", rows, HERE / "counting.json")


def against_graph_libraries() -> None:
    """VGG-19 unrolled: the sets of units below the sources and above the sinks, by networkx and igraph."""
    masked = (graph := captured("vgg19", "unrolled")).with_masks(drawn(graph, 200))
    n, nx_graph, ig_graph = masked.n_units, networkx.DiGraph(), masked.adjacency().tocoo()
    nx_graph.add_edges_from(zip(ig_graph.row.tolist(), ig_graph.col.tolist(), strict=True))
    nx_graph.add_edges_from([("in", int(s)) for s in masked.sources] + [(int(s), "out") for s in masked.sinks])
    pairs = np.stack([ig_graph.row, ig_graph.col], 1)
    ends = [(n, int(s)) for s in masked.sources] + [(int(s), n + 1) for s in masked.sinks]
    ig_graph = igraph.Graph(n=n + 2, edges=np.concatenate([pairs, np.array(ends)]), directed=True)
    times = medians({
        "ours": lambda: gs.effective_masks(masked),
        "networkx": lambda: (networkx.descendants(nx_graph, "in"), networkx.ancestors(nx_graph, "out")),
        "igraph": lambda: (ig_graph.subcomponent(n, "out"), ig_graph.subcomponent(n + 1, "in")),
    }, 3)  # fmt: skip
    rows = [{"edges": len(pairs), **{f"{name} ms": seconds * 1e3 for name, seconds in times.items()},
             "over networkx": times["networkx"] / times["ours"], "over igraph": times["igraph"] / times["ours"]}]  # fmt: skip
    report(
        "VGG-19, unrolled, compression 200, the same graph (goal 100x networkx, 20x igraph)",
        rows,
        HERE / "libraries.json",
    )


def building() -> None:
    """The explicit graph of ResNet-18 at compression 100, and capture."""
    graph = captured("resnet18", "unrolled")
    masked = graph.with_masks(drawn(graph, 100))
    edges = masked.adjacency().nnz
    times = medians({"adjacency": masked.adjacency, "capture": lambda: captured("resnet18", "unrolled")}, 3)
    rows = [{"edges": edges, "csr s": times["adjacency"], "million edges a second (goal 20)": edges / times["adjacency"] / 1e6,
             "capture s (goal 3)": times["capture"]}]  # fmt: skip
    report("ResNet-18, 64 x 64, unrolled: csr at compression 100, and capture", rows, HERE / "building.json")


if __name__ == "__main__":
    against_gradients()
    against_counting()
    against_graph_libraries()
    building()
