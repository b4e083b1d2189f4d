"""A captured graph on disk: read back as it was written, refused where it is damaged, found again by analyze."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse import cli, graph_store, zoo
from graphsparse.checkpoints import Part
from graphsparse.graph_file import graph_from_bytes, graph_to_bytes
from graphsparse.measures.sparsity import sparsity
from graphsparse.networks import known
from graphsparse.networks.filling import with_weights
from graphsparse.networks.known import known_of
from graphsparse.networks.loading import load_network

network_module = importlib.import_module("graphsparse.capture.network")


class Attending(nn.Module):
    """Products, softmax, scales, shifts, a table and a tied kernel: every kind of block and stage."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(12, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.gate, self.up, self.down = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(6, 8, bias=False)
        self.head = nn.Linear(8, 12, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        x = self.table(tokens)
        x = self.norm(x + self.attention(x, x, x, need_weights=False)[0])
        return self.head(x + self.down(torch.sigmoid(self.gate(x)) * self.up(x)))


class Branches(nn.Module):
    """Groups, strides, padding, a transposed convolution, a flip and a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3), nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.recurrent = nn.GRU(4, 5, batch_first=True)

    def forward(self, x):
        x = self.two(self.one(x)).flip(1)
        return self.recurrent(x.mean(2).transpose(1, 2))[0]


NETWORKS = {
    **{name: (lambda name=name: zoo.build(name), torch.zeros(1, *zoo.input_shape(name))) for name in ("lenet5", "digits_mlp", "digits_conv")},
    "attending": (Attending, torch.zeros(1, 4, dtype=torch.int64)),
    "branches": (Branches, torch.zeros(1, 3, 8, 8)),
}  # fmt: skip


@pytest.fixture(scope="module", params=[f"{name}-{r}" for name in NETWORKS for r in ("channel", "unrolled")])
def graph(request):
    name, _, resolution = request.param.rpartition("-")
    make, example = NETWORKS[name]
    torch.manual_seed(0)
    return gs.export(make(), example, {}, resolution=resolution)


def test_a_graph_is_read_as_it_was_written(graph):
    content = graph_to_bytes(graph, {"said": ["of it"]})
    read, about = graph_from_bytes(bytearray(content))
    assert about == {"said": ["of it"]} and graph_to_bytes(read, about) == content
    assert (read.aliases, read.unused, read.inputs) == (graph.aliases, graph.unused, graph.inputs)
    assert (read.shapes, read.constants) == (graph.shapes, graph.constants)
    assert read.coverage.rules == graph.coverage.rules and read.coverage.conservative == graph.coverage.conservative
    generator = torch.Generator().manual_seed(1)
    masks = {name: torch.rand(shape, generator=generator) < 0.3 for name, shape in graph.shapes.items()}
    one, other = (sparsity(each.with_masks(masks)) for each in (graph, read))
    assert one.rows == other.rows and one.connected == other.connected
    assert (read.adjacency() != graph.adjacency()).nnz == 0
    arrays = [array for layer in read.layers for block in layer.blocks for array in vars(block).values()]
    assert all(
        a.flags.writeable and a.flags.c_contiguous and a.flags.aligned for a in arrays if isinstance(a, np.ndarray)
    )


def test_every_damaged_byte_is_noticed(graph):
    content = graph_to_bytes(graph)
    for place in range(0, len(content), max(1, len(content) // 40)):
        damaged = bytearray(content)
        damaged[place] ^= 1
        with pytest.raises(ValueError):
            graph_from_bytes(damaged)
    for end in (0, 1, 64, 65, 66, len(content) // 2, len(content) - 1):
        with pytest.raises(ValueError):
            graph_from_bytes(content[:end])


def forged(content: bytes, change) -> bytes:
    """The file with another header, and the digest that fits it."""
    _, text, body = content.split(b"\n", 2)
    header = json.loads(text)
    change(header)
    rest = json.dumps(header).encode() + b"\n" + body
    return sha256(rest).hexdigest().encode() + b"\n" + rest


def kernel_of(header):
    return next(block for layer in header["layers"] for block in layer["blocks"] if block[0] == "kernel")


FORGERIES = {
    "fewer units than ids": lambda h: h["layers"][-1].update(stop=h["layers"][-1]["stop"] - 1),
    "a gap between layers": lambda h: h["layers"][1].update(start=h["layers"][1]["start"] + 1),
    "an array beyond the end": lambda h: h["arrays"].__setitem__(0, [1 << 40, "int32", [4]]),
    "an array of negative length": lambda h: h["arrays"].__setitem__(0, [0, "int32", [-4, -1]]),
    "an array of objects": lambda h: h["arrays"].__setitem__(0, [0, "object", [1]]),
    "a view beyond the parameter": lambda h: kernel_of(h)[2].__setitem__(0, 1),
    "a negative stride": lambda h: kernel_of(h)[2][2].__setitem__(0, -1),
    "a smaller parameter": lambda h: h["shapes"][0][1].__setitem__(0, 1),
    "an unknown parameter": lambda h: kernel_of(h).__setitem__(1, "nobody"),
    "rows without units": lambda h: kernel_of(h).__setitem__(4, kernel_of(h)[3]),
    "another kind of block": lambda h: kernel_of(h).__setitem__(0, "wires"),
    "taps of another size": lambda h: kernel_of(h)[5].__setitem__(1, 1 << 20),
    "no layers": lambda h: h.update(layers=[]),
    "no list": lambda h: h.update(layers=7),
    "no sinks": lambda h: h.pop("sinks"),
    "a modulator of another shape": lambda h: h["modulators"][0][1].__setitem__(0, 1 << 30),
}


@pytest.fixture(scope="module")
def lenet() -> bytes:
    return graph_to_bytes(gs.export(zoo.build("lenet5"), torch.zeros(1, *zoo.input_shape("lenet5")), {}))


@pytest.mark.parametrize("name", FORGERIES)
def test_what_does_not_fit_is_refused_though_its_digest_fits(name, lenet):
    content = lenet
    assert graph_from_bytes(forged(content, lambda header: None))
    with pytest.raises(ValueError):
        graph_from_bytes(forged(content, FORGERIES[name]))


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GRAPHSPARSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_least_recently_used_graphs_go(cache, monkeypatch):
    small = gs.export(nn.Linear(3, 2), torch.zeros(1, 3), {})
    size = len(graph_to_bytes(small, {"key": "a"}))
    monkeypatch.setattr(graph_store, "MOST", 3 * size)
    for second, key in enumerate("abc"):
        graph_store.keep(key, small, {})
        os.utime(cache / f"{key}.graph", (second, second))
    assert graph_store.find("a") and graph_store.find("c")  # b is the one that nobody asked for
    graph_store.keep("d", small, {})
    assert [key for key in "abcd" if graph_store.find(key)] == ["a", "c", "d"]
    monkeypatch.setattr(graph_store, "LARGEST", size - 1)
    graph_store.keep("e", small, {})
    assert graph_store.find("e") is None and not list(cache.glob("*.part"))


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("GRAPHSPARSE_CACHE", str(tmp_path / "file" / "cache"))
    graph_store.keep("a", gs.export(nn.Linear(3, 2), torch.zeros(1, 3), {}), {})
    assert graph_store.find("a") is None


def llama(folder: Path, **changed) -> Path:
    """A small folder of transformers with pruned weights."""
    transformers = pytest.importorskip("transformers")
    settings = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4,
                "num_key_value_heads": 2, "vocab_size": 32, **changed}  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(torch.rand_like(parameter) < 0.2)
    model.save_pretrained(folder)
    return folder


def test_a_folder_is_captured_once(cache, tmp_path, monkeypatch):
    captures = []
    trace = network_module.trace
    monkeypatch.setattr(network_module, "trace", lambda *a, **k: captures.append(1) or trace(*a, **k))
    folder = llama(tmp_path / "llama", tie_word_embeddings=True)
    plain = gs.analyze(folder).to_json()
    assert not cache.exists()
    reports = [gs.analyze(folder, cache=True).to_json() for _ in range(3)]
    assert reports == [plain] * 3 and len(captures) == 2
    # another option, another configuration, other tensors: captured again
    gs.analyze(folder, cache=True, norm_statistics=True)
    other = llama(tmp_path / "other", tie_word_embeddings=False)
    assert gs.analyze(other, cache=True).to_json() == gs.analyze(other).to_json()
    assert len(captures) == 5
    # a damaged file is made anew
    for path in cache.glob("*.graph"):
        path.write_bytes(path.read_bytes()[:-1])
    assert gs.analyze(folder, cache=True).to_json() == plain and len(captures) == 6
    assert gs.analyze(folder, cache=True).to_json() == plain and len(captures) == 6


def test_a_change_of_the_package_or_of_a_library_is_another_key(tmp_path, monkeypatch):
    folder = llama(tmp_path / "llama")
    key = known_of(folder, folder, Part(), {}).key
    assert key == known_of(folder, folder, Part(), {}).key
    monkeypatch.setattr(known, "version", lambda name: "0")
    libraries = known_of(folder, folder, Part(), {}).key
    monkeypatch.setattr(graph_store, "_code", lambda: "")
    assert len({key, libraries, known_of(folder, folder, Part(), {}).key}) == 3
    assert known_of(tmp_path, folder, Part(), {}) is None


COMMANDS = {
    "analyze": ["{0}"],
    "topology": ["{0}", "--metric", "liveness"],
    "compare": ["{0}", "{1}", "--metric", "minimum_cut"],
    "track": ["{0}", "{1}"],
    "export": ["{0}", "--out", "{out}.npz"],
    "plot": ["density", "{0}", "--out", "{out}.png"],
    "prune": ["{0}", "--compression", "20", "--out", "{out}.safetensors"],
    "curve": ["{0}", "--method", "magnitude", "--csv", "{out}.csv"],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    place = tmp_path_factory.mktemp("run")
    return [llama(place / f"checkpoint-{step}") for step in (1, 2)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_finds_what_was_captured_before(command, folders, cache, tmp_path, monkeypatch, capsys):
    captures, trace = [], network_module.trace
    monkeypatch.setattr(network_module, "trace", lambda *a, **k: captures.append(1) or trace(*a, **k))

    def said(*further: str) -> tuple[str, int]:
        before, typed = len(captures), [each.format(*folders, out=tmp_path / "out") for each in COMMANDS[command]]
        with pytest.raises(SystemExit) as end:
            cli.main([command, *typed, *further])
        assert end.value.code == 0, capsys.readouterr().err
        return capsys.readouterr().out, len(captures) - before

    plain, count = said("--no-cache")
    assert count == 1 and not cache.exists()
    assert said() == (plain, 1)
    assert said() == (plain, 0)


def test_a_folder_that_is_known_is_built_when_it_is_captured_in_another_way(cache, tmp_path):
    folder = llama(tmp_path / "llama")
    gs.analyze(folder, cache=True)
    known_before = load_network(folder, cache=True)
    assert known_before.stand_in and not known_before.kwargs
    found = gs.export(known_before, resolution="unrolled")
    plain = gs.export(load_network(folder), resolution="unrolled")
    assert gs.sparsity(found).active == gs.sparsity(plain).active and found.n_units == plain.n_units
    assert known_before.program.graph_signature.user_inputs == load_network(folder).program.graph_signature.user_inputs


def test_methods_that_run_the_model_find_its_inputs_where_it_is_known(cache, tmp_path):
    folder = llama(tmp_path / "llama")
    gs.analyze(folder, cache=True)
    ready = with_weights(load_network(folder, cache=True))
    assert not ready.stand_in and list(ready.kwargs) == ["input_ids"]
    plain = with_weights(load_network(folder))
    with torch.no_grad():
        assert torch.equal(ready.runnable(**ready.kwargs).logits, plain.runnable(**plain.kwargs).logits)


def test_what_is_kept_is_data_alone(cache, tmp_path):
    gs.analyze(llama(tmp_path / "llama"), cache=True)
    kept = list(cache.iterdir())
    assert len(kept) == 2 and all(path.suffix == ".graph" for path in kept)
    for path in kept:
        digest, header, _ = path.read_bytes().split(b"\n", 2)
        assert len(digest) == 64 and json.loads(header)["about"]


def rewritten(path: Path, change) -> None:
    path.write_bytes(forged(path.read_bytes(), change))


def test_a_file_under_the_name_of_another_is_none(cache):
    graph_store.keep("a", gs.export(nn.Linear(3, 2), torch.zeros(1, 3), {}), {"of": "a"})
    assert graph_store.find("a")[1] == {"of": "a"}
    (cache / "a.graph").rename(cache / "b.graph")
    assert graph_store.find("b") is None


def test_without_a_home_nothing_is_found(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("GRAPHSPARSE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert graph_store.find("a") is None
    graph_store.keep("a", gs.export(nn.Linear(3, 2), torch.zeros(1, 3), {}), {})


def smaller_modulator(header) -> None:
    """Every scale as if its parameter were twice as long, with the room that this takes."""
    for each in header["modulators"]:
        each[1][0] *= 2
        header["arrays"][each[2]][2] = [-(-each[1][0] // 64)]


KEPT_FORGERIES = {
    "modules without end": lambda h: h["about"]["buffers"].append([".".join("a" * 100_000), [1]]),
    "a function as a type": lambda h: h["about"]["parameters"][0].__setitem__(2, "load"),
    "a parameter of another name": lambda h: h["shapes"][0].__setitem__(0, "nobody"),
    "a table of another shape": lambda h: h["shapes"][0][1].__setitem__(0, 33),
    "a longer scale": smaller_modulator,
    "a scale that is none": lambda h: h["about"].update(scales=["nobody"]),
}


@pytest.fixture(scope="module")
def known_folder(tmp_path_factory) -> tuple[Path, Path, str]:
    """A folder, a cache that knows it, and its report."""
    place = tmp_path_factory.mktemp("known")
    folder = llama(place / "llama")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHSPARSE_CACHE", str(place / "cache"))
        return folder, place / "cache", gs.analyze(folder, cache=True).to_json()


@pytest.mark.parametrize("name", KEPT_FORGERIES)
def test_what_is_kept_of_another_model_is_captured_anew(name, known_folder, cache, monkeypatch):
    folder, kept, plain = known_folder
    shutil.copytree(kept, cache)
    captures, trace = [], network_module.trace
    monkeypatch.setattr(network_module, "trace", lambda *a, **k: captures.append(1) or trace(*a, **k))
    of_model = name in ("modules without end", "a function as a type")
    for path in cache.glob("*.graph"):
        if ("parameters" in json.loads(path.read_bytes().split(b"\n", 2)[1])["about"]) == of_model:
            rewritten(path, KEPT_FORGERIES[name])
    modules = []
    monkeypatch.setattr(
        nn.Module, "add_module", lambda self, *a, add=nn.Module.add_module: modules.append(1) or add(self, *a)
    )
    assert gs.analyze(folder, cache=True).to_json() == plain
    assert len(captures) == (not of_model) and len(modules) < 1000
