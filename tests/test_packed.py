"""The sweep over bits gives what the sweep over elements gives, whichever way a kernel lies in its parameter."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import graphsparse as gs
from graphsparse import zoo
from graphsparse.algebras import OR_AND, WORDS
from graphsparse.checkpoints import open_checkpoint, pack_nonzero
from graphsparse.errors import ModelError
from graphsparse.kernels import threads
from graphsparse.kernels.masks import Mask, unpack
from graphsparse.networks.loading import load_network
from graphsparse.sweep import sweep

hf = pytest.importorskip("transformers")


def packed(masks: dict[str, torch.Tensor]) -> dict[str, Mask]:
    return {name: Mask(tuple(mask.shape), pack_nonzero(mask)) for name, mask in masks.items()}


def assert_same(graph: gs.LayeredGraph, masks: dict[str, torch.Tensor]) -> None:
    """States of all units, active connections and counts agree, connection for connection."""
    masked = graph.with_masks(packed(masks))
    for states in (None, True):
        bits, words = (sweep(masked, states=states, algebra=algebra) for algebra in (OR_AND, WORDS))
        np.testing.assert_array_equal(bits.signal, words.signal != 0)
        np.testing.assert_array_equal(bits.reaches, words.reaches != 0)
        if bits.state.nonzero is not None:
            np.testing.assert_array_equal(bits.nonzero, words.nonzero != 0)
    active = gs.effective_masks(masked)
    for name, found in words.connections().items():
        assert np.array_equal(active[name].numpy(), found != 0) and bits.count()[name] == int((found != 0).sum())
    assert gs.sparsity(masked).frame.equals(gs.sparsity(graph.with_masks(masks)).frame)


@settings(max_examples=30, deadline=None)
@given(shape=st.lists(st.integers(0, 5), max_size=4).map(tuple), wide=st.integers(1, 200), seed=st.integers(0, 9))
def test_packing_turns_back(shape, wide, seed):
    mask = torch.rand((*shape, wide), generator=torch.Generator().manual_seed(seed)) < 0.4
    held = Mask(tuple(mask.shape), pack_nonzero(mask))
    assert np.array_equal(held.unpack(), mask.numpy()) and held.count() == int(mask.sum())
    assert np.array_equal(unpack(held.words, tuple(mask.shape)), mask.numpy())


def drawn(graph: gs.LayeredGraph, density: float, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) < density for name, shape in graph.shapes.items()}


@settings(max_examples=15, deadline=None)
@given(
    widths=st.lists(st.sampled_from([1, 3, 63, 64, 65, 130]), min_size=2, max_size=5),
    density=st.sampled_from([0.5, 0.05, 0.01]),
    seed=st.integers(0, 99),
)
def test_chains_of_any_width(widths, density, seed):
    layers = [nn.Linear(a, b, bias=bool(b % 2)) for a, b in pairwise(widths)]
    graph = gs.export(nn.Sequential(*layers), torch.zeros(1, widths[0]), {})
    assert_same(graph, drawn(graph, density, seed))


class Mixed(nn.Module):
    """Grouped and plain convolutions, a kernel used twice, one stored inputs first, and one of which a part is used."""

    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv2d(6, 8, 3, groups=2)
        self.twice = nn.Conv2d(8, 8, 1)
        self.first = nn.Parameter(torch.randn(8, 70))
        self.part = nn.Parameter(torch.randn(5, 100))

    def forward(self, x):
        x = self.twice(torch.relu(self.twice(self.grouped(x)))).mean((2, 3))
        return (x @ self.first) @ self.part[:, :70].T


@pytest.mark.parametrize("resolution", ["channel", "unrolled"])
@pytest.mark.parametrize("density", [0.5, 0.1, 0.03])
def test_kernels_that_lie_in_every_way(resolution, density):
    graph = gs.export(Mixed(), torch.zeros(1, 6, 6, 6), {}, resolution=resolution)
    assert_same(graph, drawn(graph, density, 1))


class Parts(nn.Module):
    """Rows, columns, every other row, and one expert of many, all of odd sizes: lines that begin at any bit."""

    def __init__(self, narrow: int, wide: int):
        super().__init__()
        self.rows = nn.Parameter(torch.randn(3 * wide, narrow))
        self.experts = nn.Parameter(torch.randn(3, narrow, wide))
        self.turned = nn.Parameter(torch.randn(3, narrow, wide))
        self.strided = nn.Parameter(torch.randn(2 * wide, narrow))
        self.bias = nn.Parameter(torch.tensor([0.0, 1.0]).repeat(narrow)[:narrow])

    def forward(self, x):
        wide = len(self.rows) // 3
        x = functional.linear(x, self.rows[wide : 2 * wide]) * functional.linear(x, self.rows[2 * wide :])
        x = sum(functional.linear(torch.relu(x), self.experts[e], self.bias) for e in (0, 2))
        x = torch.relu(x) @ self.turned[1] + torch.relu(x) @ self.turned[2]
        return functional.linear(x, self.strided[::2].T)


@pytest.mark.parametrize(("narrow", "wide"), [(5, 13), (64, 3), (7, 64), (66, 131)])
@pytest.mark.parametrize("density", [0.5, 0.05])
def test_parts_of_a_parameter(narrow, wide, density):
    graph = gs.export(Parts(narrow, wide), torch.zeros(1, narrow), {}, resolution="channel")
    assert_same(graph, drawn(graph, density, narrow))


def test_threads_do_not_write_to_one_word(monkeypatch):
    monkeypatch.setenv("GRAPHSPARSE_THREADS", "4")
    monkeypatch.setattr("graphsparse.kernels.threads.SERIAL", 64)
    graph = gs.export(Parts(67, 129), torch.zeros(1, 67), {}, resolution="channel")
    for seed in range(5):
        assert_same(graph, drawn(graph, 0.1, seed))


class Tokens(nn.Sequential):
    """A table, a kernel stored outputs first, and the table once more."""

    def forward(self, x):
        return torch.relu(self[1](self[0](x))) @ self[0].weight.T


def test_whole_kernels_are_never_unpacked(monkeypatch):
    model = Tokens(nn.Embedding(80, 70), nn.Linear(70, 70))
    graph = gs.export(model, torch.zeros(1, 3, dtype=torch.int64), {}, resolution="channel")
    bits = graph.with_masks(packed(drawn(graph, 0.01, 0)))
    monkeypatch.setattr(Mask, "unpack", lambda self: pytest.fail("unpacked"))
    assert 0 < gs.sparsity(bits).active < gs.sparsity(bits).kept
    assert all(block.in_place for blocks in graph.kernels.values() for block in blocks)


TINY = {"hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 70}
FOLDERS = {
    "llama": ("LlamaForCausalLM", hf.LlamaConfig(**TINY, num_key_value_heads=1)),
    "llama-tied": ("LlamaForCausalLM", hf.LlamaConfig(**TINY, tie_word_embeddings=True)),
    "gpt2": ("GPT2LMHeadModel", hf.GPT2Config(n_embd=12, n_layer=2, n_head=2, vocab_size=70, n_positions=32)),
    "bert": ("BertForSequenceClassification", hf.BertConfig(**TINY, max_position_embeddings=32)),
    "t5": (
        "T5ForConditionalGeneration",
        hf.T5Config(d_model=12, d_kv=6, d_ff=20, num_layers=2, num_heads=2, vocab_size=70),
    ),
}


def saved(name: str, folder: Path, density: float = 0.3, shard: str = "4KB") -> nn.Module:
    """A tiny pruned model in a folder as transformers saves it, bfloat16, in shards."""
    torch.manual_seed(0)
    kind, config = FOLDERS[name]
    model = getattr(hf, kind)(config).bfloat16()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(torch.rand(parameter.shape) < density)
    model.save_pretrained(folder, max_shard_size=shard)
    return model


@pytest.mark.parametrize("name", list(FOLDERS))
def test_folders_give_what_the_live_model_gives(name, tmp_path):
    model, seen = saved(name, tmp_path), []
    assert list(tmp_path.glob("*.index.json"))
    report = gs.analyze(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert report.summary["resolution"] == "channel" and 0 < report.summary["active"] < report.summary["kept"]
    assert seen[-1][0] == seen[-1][1] and [done for done, _ in seen] == sorted(done for done, _ in seen)
    model.config.use_cache = False
    tokens = {"input_ids": torch.zeros(1, 16, dtype=torch.int64)}
    tokens |= {"decoder_input_ids": tokens["input_ids"]} if name == "t5" else {}
    live = gs.export(model.float().eval(), kwargs=tokens, resolution="channel")
    assert report.sparsity.frame.equals(gs.sparsity(live).frame)


def test_each_tensor_is_read_once_and_given_back(tmp_path, monkeypatch):
    saved("llama", tmp_path)
    released: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        "graphsparse.checkpoints.archives.mapped.MappedFile.release",
        lambda self, tensor: released.append(tuple(tensor.shape)),
    )
    opened = open_checkpoint(tmp_path)
    read = {name: (mask.count(), nbytes) for name, mask, nbytes in opened.packed_masks()}
    assert sorted(released) == sorted(opened.shapes.values())
    assert sum(nbytes for _, nbytes in read.values()) == opened.nbytes == sum(2 * int(np.prod(s)) for s in released)


def test_a_chain_is_analysed_without_its_weights(tmp_path):
    torch.manual_seed(0)
    chain = nn.Sequential(nn.Linear(30, 70), nn.ReLU(), nn.Linear(70, 9))
    with torch.no_grad():
        for layer in (chain[0], chain[2]):
            layer.weight.mul_(torch.rand(layer.weight.shape) < 0.05)
            layer.bias[::2] = 0
    torch.save(chain.state_dict(), tmp_path / "chain.pt")
    loaded = load_network(tmp_path / "chain.pt", "chain", weightless=True)
    assert all(parameter.is_meta for parameter in loaded.model.parameters())
    live = gs.sparsity(gs.export(chain, torch.zeros(1, 30)))
    report = gs.analyze(tmp_path / "chain.pt", "chain")
    assert report.sparsity.frame.reset_index(drop=True).equals(live.frame.reset_index(drop=True))


@pytest.mark.parametrize(
    ("name", "resolution"),
    [("lenet300100", "unrolled"), ("lenet5", "unrolled"), ("lenet5", "channel"), ("resnet18", "channel")],
)
def test_a_factory_is_built_without_weights_and_gives_the_same(tmp_path, name, resolution):
    torch.manual_seed(1)
    model = zoo.build(name)
    with torch.no_grad():
        for each, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape))
            parameter.mul_(
                torch.rand(parameter.shape) < (0.02 if parameter.dim() > 1 else 0.5 if "bias" in each else 0.9)
            )
    torch.save(model.state_dict(), tmp_path / "net.pt")
    inputs = (torch.zeros(1, *zoo.input_shape(name)),)
    spec = f"graphsparse.zoo:{name}"
    bare, whole = (load_network(tmp_path / "net.pt", spec, weightless=each) for each in (True, False))
    assert all(p.is_meta for p in bare.model.parameters()) and not any(p.is_meta for p in whole.model.parameters())
    one, two = (gs.sparsity(gs.export(each.with_inputs(inputs), resolution=resolution)) for each in (bare, whole))
    assert one.frame.equals(two.frame) and 0 < one.active < one.kept


FACTORIES = """
import torch
from torch import nn

class Held(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.register_buffer("mask", torch.tensor([1.0, 0.0, 1.0]), persistent=False)

    def forward(self, x):
        return self.fc(x) * self.mask

def held():
    return Held()

def counted():
    return nn.Linear(3, int(torch.ones(3).sum().item()))

def plain():
    return nn.Sequential(nn.Linear(3, 3))
"""


@pytest.mark.parametrize(("factory", "prefix"), [("held", "fc."), ("counted", "")])
def test_a_factory_whose_values_matter_keeps_them(tmp_path, monkeypatch, factory, prefix):
    """A buffer that cuts a unit, and a size that is computed: on the meta device both would be lost."""
    (tmp_path / "valued_nets.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    torch.save({f"{prefix}weight": torch.ones(3, 3), f"{prefix}bias": torch.ones(3)}, "net.pt")
    loaded = load_network("net.pt", f"valued_nets:{factory}", weightless=True)
    assert not any(parameter.is_meta for parameter in loaded.model.parameters())
    report = gs.analyze("net.pt", f"valued_nets:{factory}", torch.zeros(1, 3))
    assert report.summary["active"] == (6 if factory == "held" else 9)


def test_a_bare_factory_lists_both_sides_too(tmp_path, monkeypatch):
    (tmp_path / "bare_nets.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    torch.save({"0.weight": torch.ones(3, 3), "1.weight": torch.ones(2, 2), "1.bias": torch.ones(2)}, "net.pt")
    with pytest.raises(ModelError, match=r"missing: 0\.bias; not in the model: 1\.bias, 1\.weight"):
        gs.analyze("net.pt", "bare_nets:plain", torch.zeros(1, 3))
    masks = {"0.weight": torch.eye(3) > 0}
    torch.save(masks, "masks.pt")  # masks alone: what the fresh model's biases are is part of the answer
    assert gs.analyze("masks.pt", "bare_nets:plain", torch.zeros(1, 3)).summary["kept"] == 3


def test_without_a_model_direct_sparsity_alone(tmp_path):
    torch.save({"w": torch.eye(3), "w.bias": torch.zeros(3)}, tmp_path / "w.pt")
    seen: list[tuple[int, int]] = []
    report = gs.analyze(tmp_path / "w.pt", "none", progress=lambda *at: seen.append(at))
    assert report.summary["kept"] == 3 and report.summary["connections"] == 9 and report.sparsity is None
    assert seen == [(36, 36)] and "Effective sparsity needs a model" in report.notes[0]


def test_loops_inside_the_pool_stay_on_their_thread(monkeypatch):
    """Each of more tasks than threads would otherwise wait for threads that the others hold."""
    monkeypatch.setattr("graphsparse.kernels.threads.SERIAL", 64)
    mask = Mask.whole((1000, 64))
    assert threads.each(lambda _: mask.count(), range(64), 10**9) == [64_000] * 64
