"""Graphs as files: read back by this package, networkx, pyarrow and NumPy; refused where they are damaged."""

from __future__ import annotations

import builtins
import json
import re
import zipfile
from dataclasses import replace
from hashlib import sha256

import networkx
import numpy as np
import pytest
import torch
from pyarrow import parquet
from scipy import sparse
from torch import nn
from torch.nn.utils import prune

import graphsparse as gs
from graphsparse import cli
from graphsparse.checkpoints.archives.numpy_file import read_npz
from graphsparse.exports import save
from tests.small_graphs import Shared, edges_on_paths, graphs


@pytest.fixture(scope="module")
def some() -> list[gs.LayeredGraph]:
    """Skips, products, shared kernels and convolutions, in both resolutions."""
    return list(graphs())[8:24]


def assert_same_numbers(a: gs.LayeredGraph, b: gs.LayeredGraph) -> None:
    assert [repr(layer) for layer in a.layers] == [repr(layer) for layer in b.layers]
    assert (a.adjacency() != b.adjacency()).nnz == 0
    assert a.shapes == b.shapes and a.inputs == b.inputs and a.aliases == b.aliases and a.notes == b.notes
    mine, others = gs.effective_masks(a), gs.effective_masks(b)
    assert all(torch.equal(mine[name], others[name]) for name in mine) and mine.keys() == others.keys()
    for name, weight in a.weights.items():
        np.testing.assert_array_equal(weight, b.weights[name])


def test_what_is_active_is_marked(some):
    """Against every path, one by one."""
    active = 0
    for graph in some:
        drawn, expected = graph.to_networkx(), edges_on_paths(graph)
        assert {(u, v) for u, v, marked in drawn.edges(data="active") if marked} == expected
        live = {u for u, marked in drawn.nodes(data="active") if marked}
        assert {unit for edge in expected for unit in edge} <= live
        handed = graph.to_igraph()
        assert {e.tuple for e in handed.es if e["active"]} == expected
        assert {v.index for v in handed.vs if v["active"]} == live
        active += len(expected)
    assert active > 100


def test_npz_there_and_back(some, tmp_path):
    for graph in some:
        gs.save_graph(graph, tmp_path / "a.npz")
        assert_same_numbers(graph, gs.load_graph(tmp_path / "a.npz"))


def test_a_shared_parameter_with_a_mask_of_one_use_comes_back(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 3, bias=False))
    model[2].weight = model[0].weight
    prune.custom_from_mask(model[2], "weight", torch.eye(3))
    graph = gs.export(model, torch.zeros(1, 3))
    assert graph.uses
    gs.save_graph(graph, tmp_path / "a.npz")
    assert_same_numbers(graph, gs.load_graph(tmp_path / "a.npz"))


def test_the_blocks_of_an_npz_are_csr_for_everybody(some, tmp_path):
    for graph in some[:4]:
        gs.save_graph(graph, tmp_path / "a.npz")
        arrays = np.load(tmp_path / "a.npz")
        blocks = json.loads(arrays["contents"].tobytes())["blocks"]
        assert len(blocks) == len(graph.edges)
        for block, edge in zip(blocks, graph.edges, strict=True):
            indices, indptr = arrays[block["indices"]], arrays[block["indptr"]]
            matrix = sparse.csr_array((np.ones(len(indices), bool), indices, indptr), block["shape"])
            assert (matrix != edge.matrix).nnz == 0
            assert (block["source"], block["target"], block["parameter"]) == (edge.source.name, edge.target.name, edge.parameter)  # fmt: skip


@pytest.mark.parametrize(("ending", "read"), [("graphml", networkx.read_graphml), ("gexf", networkx.read_gexf)])
def test_networkx_reads_markup(some, tmp_path, ending, read):
    for graph in some:
        gs.save_graph(graph, tmp_path / f"a.{ending}")
        found, expected = read(tmp_path / f"a.{ending}", node_type=int), graph.to_networkx()
        assert (
            found.is_directed() and set(found.nodes) == set(expected.nodes) and set(found.edges) == set(expected.edges)
        )
        for unit, data in expected.nodes(data=True):
            assert {key: found.nodes[unit][key] for key in data} == data
        for u, v, data in expected.edges(data=True):
            assert {key: found.edges[u, v].get(key) for key in data} == data


HOSTILE_NAME = 'a"b<c>&\\\u0001\ud800\n.weight'


@pytest.fixture(scope="module")
def oddly_named() -> gs.LayeredGraph:
    graph = gs.export(nn.Linear(3, 2, bias=False), torch.zeros(1, 3), {"weight": torch.eye(2, 3) > 0})
    layers = tuple(replace(layer, name=HOSTILE_NAME) for layer in graph.layers)
    return replace(graph, layers=layers, weights={"weight": np.asarray([[np.nan, 1, 1], [1, -np.inf, 1]])})


def test_odd_names_and_numbers(oddly_named, tmp_path):
    for ending, read in (("graphml", networkx.read_graphml), ("gexf", networkx.read_gexf)):
        gs.save_graph(oddly_named, tmp_path / f"a.{ending}")
        found = read(tmp_path / f"a.{ending}", node_type=int)
        assert found.nodes[0]["name"] == 'a"b<c>&\\\\x01\\ud800\\n.weight'
        assert np.isnan(found.edges[0, 3]["weight"]) and found.edges[1, 4]["weight"] == -np.inf
    gs.save_graph(oddly_named, tmp_path / "a.npz")
    assert gs.load_graph(tmp_path / "a.npz").layers[0].name == HOSTILE_NAME
    gs.save_graph(oddly_named, tmp_path / "a.parquet")
    assert parquet.read_table(tmp_path / "a.parquet").num_rows == 2


def test_parquet(some, tmp_path):
    for graph in some:
        gs.save_graph(graph, tmp_path / "a.parquet")
        rows = parquet.read_table(tmp_path / "a.parquet").to_pylist()
        found = {(row["source"], row["target"]): row for row in rows}
        drawn = graph.to_networkx()
        assert found.keys() == set(drawn.edges) and len(rows) == len(found)
        for (u, v), row in found.items():
            assert {key: row[key] for key in ("weight", "parameter", "active")} == drawn.edges[u, v]
            assert row["layer"] == drawn.nodes[v]["name"]


def parsed(text: str) -> tuple[dict[int, str], dict[tuple[int, int], list[str]]]:
    """Labels of nodes and edges; every line is one statement, and a label is one quoted string."""
    label = r'\[label="((?:[^"\\]|\\.)*)"(?:, style=dashed)?\];'
    lines = text.splitlines()
    assert lines[0] == "digraph {" and lines[-1] == "}"
    nodes, edges = {}, {}
    for line in lines[3:-1]:
        node, edge = re.fullmatch(rf"  (\d+) {label}", line), re.fullmatch(rf"  (\d+) -> (\d+) {label}", line)
        assert node or edge, line
        if node:
            nodes[int(node[1])] = node[2]
        elif edge:
            edges.setdefault((int(edge[1]), int(edge[2])), []).append(edge[3])
    return nodes, edges


def test_dot_has_layers_and_counts(tmp_path):
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    masks = {"0.weight": [[True, True], [False, True]], "1.weight": [[True, False]]}
    gs.save_graph(gs.export(net, torch.zeros(1, 2), masks), tmp_path / "a.dot")
    nodes, edges = parsed((tmp_path / "a.dot").read_text())
    assert [label.rsplit(r"\n", 1)[1] for label in nodes.values()] == [
        "2 of 2 units active", "1 of 2 units active", "1 of 1 units active",
    ]  # fmt: skip
    assert edges == {(0, 1): [r"0.weight\n2 of 3 active"], (1, 2): [r"1.weight\n1 of 1 active"]}


def test_dot_of_every_kind_and_of_odd_names(some, oddly_named, tmp_path):
    for graph in (*some, oddly_named):
        gs.save_graph(graph, tmp_path / "a.dot")
        nodes, edges = parsed((tmp_path / "a.dot").read_text())
        assert len(nodes) == len(graph.layers) and sum(map(len, edges.values())) == len(graph.edges)
    assert nodes[0].startswith(r"a\"b<c>&\\\\x01\\ud800\\n.weight\n")


@pytest.mark.parametrize("ending", ["graphml", "gexf"])
def test_large_markup_is_refused_unless_forced(some, tmp_path, monkeypatch, ending):
    monkeypatch.setattr(save, "LARGEST_TEXT", 3)
    path = tmp_path / f"a.{ending}"
    path.write_text("as it was")
    with pytest.raises(gs.CheckpointError, match=r"at most 3 edges.*give force=True"):
        gs.save_graph(some[0], path)
    assert path.read_text() == "as it was"
    gs.save_graph(some[0], path, force=True)
    gs.save_graph(some[0], tmp_path / "a.parquet")
    assert path.stat().st_size > 1000


def test_a_failure_leaves_what_was_there(some, tmp_path, monkeypatch):
    path = tmp_path / "a.graphml"
    path.write_text("as it was")
    monkeypatch.setattr(gs.LayeredGraph, "layers", property(lambda graph: 1 / 0), raising=False)
    with pytest.raises(ZeroDivisionError):
        gs.save_graph(some[0], path, force=True)
    assert path.read_text() == "as it was" and [each.name for each in tmp_path.iterdir()] == ["a.graphml"]


def test_endings_and_missing_files(some, tmp_path):
    with pytest.raises(gs.CheckpointError, match=r"received \.txt.*\.npz, \.graphml, \.gexf, \.parquet, \.dot"):
        gs.save_graph(some[0], tmp_path / "a.txt")
    with pytest.raises(gs.CheckpointError, match="must be there"):
        gs.load_graph(tmp_path / "none.npz")
    with pytest.raises(gs.GraphsparseError, match="a graph must be one that export gives"):
        gs.save_graph(nn.Linear(2, 2), tmp_path / "a.npz")


@pytest.mark.parametrize(("package", "ending"), [("igraph", None), ("pyarrow", "parquet")])
def test_a_missing_extra_is_named(some, tmp_path, monkeypatch, package, ending):
    real = builtins.__import__

    def without(name, *arguments, **kwargs):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *arguments, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(gs.MissingExtra, match=rf"graphsparse\[{ending or package}\]"):
        gs.save_graph(some[0], tmp_path / f"a.{ending}") if ending else some[0].to_igraph()
    assert not list(tmp_path.iterdir())


def test_igraph_is_no_requirement():
    from configparser import ConfigParser
    from pathlib import Path

    found = ConfigParser()
    found.read(Path(gs.__file__).parent.parent / "setup.cfg")
    assert "igraph" not in found["options"]["install_requires"]
    assert "igraph" in found["options.extras_require"]["igraph"]


class Hostile:
    """A whole npz, one array of which is changed."""

    def __init__(self, folder):
        self.path = folder / "a.npz"
        graph = gs.export(Shared(True), torch.zeros(1, 3), {"first.weight": torch.rand(4, 3) < 0.7})
        gs.save_graph(graph, self.path)
        self.arrays = dict(np.load(self.path))

    def contents(self, change) -> None:
        found = json.loads(self.arrays["contents"].tobytes())
        change(found)
        self.write(contents=np.frombuffer(json.dumps(found).encode(), np.uint8))

    def write(self, **changed) -> None:
        arrays = {name: array for name, array in {**self.arrays, **changed}.items() if array is not None}
        np.savez(self.path, **arrays)

    def structure(self, change) -> None:
        """Another structure under a digest that fits it."""
        text, body = self.arrays["structure"].tobytes()[65:].split(b"\n", 1)
        found = json.loads(text)
        change(found)
        signed = json.dumps(found).encode() + b"\n" + body
        self.write(structure=np.frombuffer(sha256(signed).hexdigest().encode() + b"\n" + signed, np.uint8))


def kernel_of(structure: dict) -> list:
    return next(block for layer in structure["layers"] for block in layer["blocks"] if block[0] == "kernel")


BROKEN = {
    "more units than bytes": lambda h: h.structure(lambda s: s["layers"][-1].update(stop=10**13)),
    "a bias of terabytes": lambda h: h.structure(lambda s: s["modulators"][0].__setitem__(1, [10**7, 10**7])),
    "a parameter of terabytes": lambda h: h.structure(lambda s: s["shapes"][0].__setitem__(1, [10**7, 10**7])),
    "a kernel that repeats its parameter": lambda h: h.structure(
        lambda s: kernel_of(s)[2].__setitem__(1, [1, 10**6, 10**6])
    ),
    "a unit that is none": lambda h: h.structure(lambda s: s.update(sources=len(s["arrays"]))),
    "no contents": lambda h: h.write(contents=None),
    "no structure": lambda h: h.write(structure=None),
    "damaged structure": lambda h: h.write(structure=h.arrays["structure"][:-3]),
    "no text": lambda h: h.write(contents=np.arange(7.0)),
    "another version": lambda h: h.contents(lambda c: c.update(version=2)),
    "a list": lambda h: h.write(contents=np.frombuffer(b"[1]", np.uint8)),
    "deep": lambda h: h.write(contents=np.frombuffer(b"[" * 90000, np.uint8)),
    "no mask": lambda h: h.contents(lambda c: c.update(masks=[])),
    "a mask of another shape": lambda h: h.contents(lambda c: c["masks"][0].__setitem__(1, [9, 9])),
    "a mask of a stranger": lambda h: h.contents(lambda c: c["masks"][0].__setitem__(0, "nobody")),
    "short words": lambda h: h.write(mask_0=np.zeros(0, np.uint64)),
    "words of floats": lambda h: h.write(mask_0=np.zeros(1)),
    "weights of another shape": lambda h: h.write(weight_0=np.zeros((2, 2))),
    "a mask that is not there": lambda h: h.contents(lambda c: c["masks"][0].__setitem__(2, "nothing")),
    "swept under nothing": lambda h: h.contents(lambda c: c.update(swept_under=[])),
    "swept under another": lambda h: h.contents(lambda c: c["swept_under"].__setitem__(0, "last.weight")),
    "a use of a stranger": lambda h: h.contents(lambda c: c.update(uses=[["k", "nobody", "n", "mask_0"]])),
    "more uses than arrays": lambda h: h.contents(
        lambda c: c.update(uses=[[f"k{n}", "first.weight", "n", "mask_0"] for n in range(1000)])
    ),
    "a name twice": lambda h: h.write(
        contents=np.frombuffer(h.arrays["contents"].tobytes().replace(b"{", b'{"version": 2, ', 1), np.uint8)
    ),
    "objects": lambda h: np.savez(h.path, contents=np.asarray([{}], object)),
    "no zip": lambda h: h.path.write_bytes(b"PK\x03\x04 and no more"),
    "cut short": lambda h: h.path.write_bytes(h.path.read_bytes()[:900]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_hostile_file_gets_one_error(name, tmp_path):
    hostile = Hostile(tmp_path)
    gs.load_graph(hostile.path)
    BROKEN[name](hostile)
    with pytest.raises(gs.CheckpointError) as caught:
        gs.load_graph(hostile.path)
    assert str(caught.value).isprintable()


def test_contents_that_cost_far_more_than_their_bytes_are_refused_unread(tmp_path):
    hostile = Hostile(tmp_path)
    hostile.write(contents=np.frombuffer(b'{"masks": [' + b"[]," * 700_000 + b"0]}", np.uint8))
    with pytest.raises(gs.CheckpointError, match="bear out its size"):
        gs.load_graph(hostile.path)


def test_bits_beyond_the_last_entry_do_not_count(tmp_path):
    hostile = Hostile(tmp_path)
    before = gs.sparsity(gs.load_graph(hostile.path)).kept
    hostile.write(mask_0=hostile.arrays["mask_0"] | ~np.uint64(0) << np.uint64(63))
    assert gs.sparsity(gs.load_graph(hostile.path)).kept == before


def test_an_npz_is_stored_uncompressed_and_alike(some, tmp_path):
    gs.save_graph(some[0], tmp_path / "a.npz")
    gs.save_graph(some[0], tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert {each.compress_type for each in zipfile.ZipFile(tmp_path / "a.npz").infolist()} == {zipfile.ZIP_STORED}
    assert "structure" in read_npz(tmp_path / "a.npz").content


@pytest.mark.parametrize("ending", save.FORMATS)
def test_progress_is_told(some, tmp_path, ending):
    said: list[tuple[int, int]] = []
    gs.save_graph(some[0], tmp_path / f"a{ending}", progress=lambda done, total: said.append((done, total)))
    assert len({total for _, total in said}) == 1 and said == sorted(said) and len(said) == said[0][1] > 2


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(["export", *arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


@pytest.fixture()
def net(tmp_path):
    torch.save({"a.weight": torch.eye(4, 3), "b.weight": torch.ones(2, 4)}, tmp_path / "net.pt")
    return str(tmp_path / "net.pt")


@pytest.mark.parametrize("ending", ["npz", "graphml", "gexf", "parquet", "dot"])
def test_the_command_writes_every_form(capsys, net, tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    status, out, err = run(capsys, net, "--model", "chain", "--out", str(path))
    assert status == 0 and not err and "3 layers, 9 units" in out and path.stat().st_size > 100
    if ending == "npz":
        assert gs.sparsity(gs.load_graph(path)).kept == 11


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--model", "none", "--out", "a.npz"], "export must have a network"),
        (["--model", "chain", "--out", "a.txt"], "received .txt"),
        (["--model", "chain"], "--out"),
        (["--model", "chain", "--out", "no/such/folder.npz"], "no/such"),
    ],
)
def test_bad_input_is_one_line(capsys, net, arguments, text):
    status, out, err = run(capsys, net, *arguments)
    assert status == 2 and not out and text in err and len(err.splitlines()) == 1


def test_the_command_refuses_large_markup_without_force(capsys, net, tmp_path, monkeypatch):
    monkeypatch.setattr(save, "LARGEST_TEXT", 3)
    arguments = net, "--model", "chain", "--out", str(tmp_path / "a.gexf")
    status, _, err = run(capsys, *arguments)
    assert status == 2 and "--force" in err and len(err.splitlines()) == 1
    assert run(capsys, *arguments, "--force")[0] == 0
