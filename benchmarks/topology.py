"""Topology of unrolled graphs: the csr, dominators, bridges, all metrics and their memory, against igraph and networkx.

Run: python benchmarks/topology.py [rounds]       (default 3; some five minutes, and 3 GB for igraph on 15 million edges)
Each library works in a process of its own, so that its memory can be told. igraph and networkx are given our edges.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from timing import report
from torch import nn

import graphsparse as gs
from graphsparse.metrics.bridges import Bridges
from graphsparse.metrics.edges import entering
from graphsparse.metrics.fragility import dominators_of
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.topology import TABLE

HERE = Path(__file__).parent
GROUPS = {"liveness", "one hop", "why", "regrowth", "paths", "degrees", "fragility"}
"""All but structure (motifs, communities) and spectra; rows beyond their own limit of edges (minimum cut, power laws) are
left out, as in a call that names no metric."""
ONCE_IGRAPH = 5_000_000
LARGEST_NETWORKX = 3_000_000  # edges: it takes minutes and some 400 bytes for each beyond


class Block(nn.Module):
    """Two 3x3 convolutions beside a skip."""

    def __init__(self, wide_in: int, wide_out: int, stride: int):
        super().__init__()
        one = nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False), nn.BatchNorm2d(wide_out), nn.ReLU()
        two = nn.Conv2d(wide_out, wide_out, 3, 1, 1, bias=False), nn.BatchNorm2d(wide_out)
        self.body, self.relu = nn.Sequential(*one, *two), nn.ReLU()
        wider = nn.Conv2d(wide_in, wide_out, 1, stride, bias=False), nn.BatchNorm2d(wide_out)
        self.skip = nn.Identity() if wide_in == wide_out else nn.Sequential(*wider)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.body(x) + self.skip(x))


def resnet20(width: int) -> nn.Module:
    """ResNet-20 for 32 x 32 images, with this many channels in its first third."""
    blocks, wide = [], width
    for place in range(9):
        wider = width * 2 ** (place // 3)
        blocks.append(Block(wide, wider, 1 + (wide != wider)))
        wide = wider
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 10)
    return nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), *blocks, *head)


def convolutions(width: int) -> nn.Module:
    """Six convolutions in three pairs, and three linear layers, for 64 x 64 images."""
    layers: list[nn.Module] = []
    wide = 3
    for wider in (width, 2 * width, 4 * width):
        for _ in range(2):
            layers += [nn.Conv2d(wide, wider, 3, 1, 1), nn.ReLU()]
            wide = wider
        layers.append(nn.MaxPool2d(2))
    head = nn.Linear(64 * wide, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    return nn.Sequential(*layers, nn.Flatten(), *head)


def graph_of(name: str) -> gs.LayeredGraph:
    """One of the graphs under random masks."""
    make, size, density = NETWORKS[name]
    graph, rng = gs.export(make(), torch.zeros(1, 3, size, size), {}), np.random.default_rng(0)
    return graph.with_masks({n: rng.random(shape, np.float32) < density for n, shape in graph.shapes.items()})


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, float]] = {
    "ResNet-20 at 98 %": (lambda: resnet20(24), 32, 0.02),
    "ResNet-20 at 90 %": (lambda: resnet20(24), 32, 0.1),
    "six convolutions at 98 %": (lambda: convolutions(72), 64, 0.02),
}


def timed(work: Callable[[], Any], rounds: int) -> float:
    """Median seconds of the processor: one thread, and others may use the machine."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return median(times)


def peak(work: Callable[[], Any]) -> float:
    """Bytes of memory beyond those in use before, at most at one time."""
    before = _status("VmRSS")
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the highest mark starts anew
    work()
    return _status("VmHWM") - before


def _status(field: str) -> float:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024.0 * int(next(line for line in lines if line.startswith(field)).split()[1])
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def ours(name: str, rounds: int) -> dict[str, float]:
    """What this package takes; its compiled loops are warm."""
    gs.topology(gs.export(convolutions(1), torch.zeros(1, 3, 64, 64)))
    start = time.process_time()
    graph = graph_of(name)
    found: dict[str, float] = {"capture": time.process_time() - start}
    edges = graph.adjacency()
    rows = [row for row in TABLE.values() if row.group in GROUPS and (row.limit is None or edges.nnz <= row.limit)]
    memory = peak(lambda: gs.topology(graph, [row.name for row in rows]))
    found |= {"edges": float(edges.nnz), "bytes": memory / edges.nnz, "csr": timed(graph.adjacency, 3 * rounds)}
    swept = Swept(graph)
    _ = swept.edges
    found["dominators"] = timed(lambda: _trees(swept), rounds)
    found["components and bridges"] = timed(lambda: Bridges.of(swept.edges["active"]), rounds)
    found["degrees"] = timed(lambda: (entering(swept.edges["active"]), Part(swept, "active").out_degrees), rounds)
    found["all"] = timed(lambda: gs.topology(graph, [row.name for row in rows]), rounds)
    return found


def _trees(swept: Swept) -> None:
    found = dominators_of(swept)
    _ = found.retained_by_units


def their_edges(name: str) -> tuple[int, np.ndarray]:
    """How many units, and the edges of the active part with a root before all sources and an end behind all sinks."""
    swept = Swept(graph_of(name))
    graph, active = swept.graph, swept.edges["active"].tocoo()
    root, end = graph.n_units, graph.n_units + 1
    first, last = (np.unique(units[swept.live[units]]) for units in (graph.sources, graph.sinks))
    sources = np.concatenate([active.row, np.full(len(first), root), last])
    targets = np.concatenate([active.col, first, np.full(len(last), end)])
    return graph.n_units + 2, np.stack([sources, targets], 1).astype(np.int64)


def with_igraph(name: str, rounds: int) -> dict[str, float]:
    """What igraph takes, once beyond five million edges; filling the graph is told apart."""
    import igraph

    units, edges = their_edges(name)
    rounds = 1 if len(edges) > ONCE_IGRAPH else rounds
    graphs: list[Any] = []
    memory = peak(lambda: graphs.append(igraph.Graph(n=units, edges=edges, directed=True)))
    graph = graphs[0]
    return {
        "bytes": memory / len(edges), "fill": timed(lambda: igraph.Graph(n=units, edges=edges, directed=True), rounds),
        "dominators": timed(lambda: (graph.dominator(units - 2, mode="out"), graph.dominator(units - 1, mode="in")), rounds),
        "components and bridges": timed(lambda: (graph.connected_components("weak"), graph.bridges(), graph.articulation_points()), rounds),
        "degrees": timed(lambda: (graph.indegree(), graph.outdegree()), rounds),
    }  # fmt: skip


def with_networkx(name: str, rounds: int) -> dict[str, float]:
    """What networkx takes, once for each; filling the graph is told apart."""
    import networkx

    units, edges = their_edges(name)
    graph = networkx.DiGraph()

    def fill() -> None:
        graph.add_nodes_from(range(units))
        graph.add_edges_from(edges.tolist())

    start = time.process_time()
    memory = peak(fill)
    return {
        "fill": time.process_time() - start, "bytes": memory / len(edges),
        "dominators": timed(lambda: (networkx.immediate_dominators(graph, units - 2),
                                     networkx.immediate_dominators(graph.reverse(copy=False), units - 1)), 1),
        "degrees": timed(lambda: (dict(graph.in_degree), dict(graph.out_degree)), 1),
    }  # fmt: skip


LIBRARIES = {"ours": ours, "igraph": with_igraph, "networkx": with_networkx}


def child(library: str, name: str, rounds: int) -> dict[str, float]:
    """What a library takes, in a process of its own with one thread."""
    settings = {**os.environ, "GRAPHSPARSE_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(rounds), library, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=settings)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def row(name: str, rounds: int) -> dict[str, Any]:
    """Everything of one graph, side by side."""
    mine, igraph = child("ours", name, rounds), child("igraph", name, rounds)
    networkx = child("networkx", name, rounds) if mine["edges"] <= LARGEST_NETWORKX else {}
    csr = mine["csr"]
    found: dict[str, Any] = {
        "graph": name, "edges": int(mine["edges"]), "capture s": mine["capture"], "csr s": csr,
        "million edges a second (goal 20)": mine["edges"] / csr / 1e6,
        "all metrics s": mine["all"], "all / csr (goal 10)": mine["all"] / csr,
        "all / capture and csr (goal 10)": mine["all"] / (mine["capture"] + csr),
        "bytes per edge (goal 40)": mine["bytes"], "dominators / csr (goal 3)": mine["dominators"] / csr,
    }  # fmt: skip
    for work in ("fill", "dominators", "components and bridges", "degrees", "bytes"):
        for library, times in (("ours", mine), ("igraph", igraph), ("networkx", networkx)):
            if (work, library) not in {("fill", "ours"), ("bytes", "ours")}:
                unit = "bytes per edge" if work == "bytes" else f"{work} s"
                found[f"{unit}, {library}"] = times.get(work, "-")
    return found


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    if len(sys.argv) > 3:
        print(json.dumps(LIBRARIES[sys.argv[2]](sys.argv[3], rounds)))
    else:
        os.environ["GRAPHSPARSE_THREADS"] = "1"
        title = "Unrolled graphs of about 2, 10 and 16 million edges: all metrics but motifs, communities and spectra, in seconds of one processor"
        report(title, [row(name, rounds) for name in NETWORKS], HERE / "topology.json")
