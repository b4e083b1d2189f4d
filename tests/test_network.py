"""One network: captured once, whatever is done with it, and the same numbers as without it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

import graphsparse as gs
from graphsparse import cli
from graphsparse.capture.rules import Rule
from graphsparse.checkpoints import read_checkpoint
from graphsparse.errors import ArgumentError, CaptureError, MaskError, ModelError, UnsupportedOperations
from graphsparse.networks.loading import load_network

X = torch.zeros(1, 6)


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


class Tied(nn.Module):
    """Two modules share one weight."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x).relu())


@pytest.fixture
def captures(monkeypatch):
    """The calls of torch.export.export so far."""
    calls, export = [], torch.export.export

    def counted(*args, **kwargs):
        calls.append(args)
        return export(*args, **kwargs)

    monkeypatch.setattr(torch.export, "export", counted)
    return calls


def same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_notebook_captures_once(captures):
    model, inputs = mlp(), torch.randn(4, 6)
    network = gs.network(model, X)
    assert len(captures) == 1
    for resolution in ("unrolled", "channel"):
        gs.export(network, resolution=resolution, norm_statistics=True)
    graph = gs.export(network, {"0.weight": torch.rand(8, 6) < 0.5})
    assert graph.masks["0.weight"].count() < 48
    ranked = gs.prune(network, "synflow", compression=4)
    masks = gs.prune(network, method="magnitude", compression=2)
    gs.write_masks(network, masks)
    report = gs.analyze(network)
    assert report.summary["kept"] == report.summary["active"] == sum(int(mask.sum()) for mask in masks.values())
    assert len(captures) == 1
    same(ranked, gs.prune(mlp(), X, "synflow", compression=4))
    same(masks, gs.prune(mlp(), X, "magnitude", compression=2))
    assert model(inputs).isfinite().all()


@pytest.mark.parametrize("method", ["synflow", "random/synflow", "magnitude", "random/igq"])
@pytest.mark.parametrize("named", ["chain", "factory", "program"])
def test_the_command_line_captures_once(tmp_path, capsys, captures, method, named):
    model = mlp()
    torch.save(model.state_dict(), tmp_path / "net.pt")
    arguments = {"chain": [str(tmp_path / "net.pt"), "--model", "chain"]}
    arguments["factory"] = [str(tmp_path / "net.pt"), "--model", f"{__name__}:mlp", "--input", "6"]
    if named == "program":
        torch.export.save(torch.export.export(model, (X,)), tmp_path / "net.pt2")
    arguments["program"] = [str(tmp_path / "net.pt2")]
    del captures[:]
    with pytest.raises(SystemExit) as status:
        cli.main(
            ["prune", *arguments[named], "--method", method, "--compression", "3", "--out", str(tmp_path / "out.pt")]
        )
    assert not status.value.code, capsys.readouterr().err
    assert len(captures) == (named != "program")
    expected = gs.prune(model, X, method, compression=3)
    same(gs.read_masks(tmp_path / "out.pt"), dict(expected))


@pytest.mark.parametrize("method", ["snip", "lamp"])
def test_a_folder_is_captured_once_with_its_weights_or_without(tmp_path, capsys, captures, method, monkeypatch):
    hf = pytest.importorskip("transformers")
    monkeypatch.setenv("GRAPHSPARSE_CACHE", str(tmp_path / "cache"))
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**sizes, vocab_size=50, num_key_value_heads=2)).eval()
    model.save_pretrained(tmp_path / "model")
    out = str(tmp_path / "out.safetensors")
    x = torch.arange(32).reshape(2, 16)
    np.savez(tmp_path / "data.npz", x=x, y=x)
    data = ["--data", str(tmp_path / "data.npz")] if method == "snip" else []
    with pytest.raises(SystemExit) as status:
        cli.main(["prune", str(tmp_path / "model"), "--method", method, "--compression", "3", "--out", out, *data])
    assert not status.value.code, capsys.readouterr().err
    assert len(captures) == 1
    network = gs.network(tmp_path / "model", weights=True)
    assert not network.is_meta and network.resolution == "channel"
    same(gs.read_masks(out), dict(gs.prune(network, method, compression=3, data=[(x, x)])))
    assert len(captures) == 2
    bare = gs.network(tmp_path / "model")
    assert bare.is_meta and gs.analyze(bare).summary["resolution"] == "channel"


def test_every_kind_of_source_gives_a_network(tmp_path):
    model = mlp()
    torch.save(model.state_dict(), tmp_path / "net.pt")
    program = torch.export.export(model, (X,))
    torch.export.save(program, tmp_path / "net.pt2")
    networks = {
        "module": gs.network(model, X),
        "program": gs.network(program),
        "file of a program": gs.network(tmp_path / "net.pt2"),
        "file and factory": gs.network(tmp_path / "net.pt", X, model=f"{__name__}:mlp"),
        "file and module": gs.network(tmp_path / "net.pt", X, model=mlp()),
        "state dict and chain": gs.network(model.state_dict(), model="chain"),
    }
    expected = gs.prune(model, X, "synflow", compression=3)
    for what, network in networks.items():
        assert isinstance(network.program, torch.export.ExportedProgram), what
        assert set(network.parameters.tensors) == set(model.state_dict()), what
        found = gs.prune(network, "synflow", compression=3)
        same(found, expected)
        written = gs.write_masks(tmp_path / "out.pt", found, model=network)
        kept = {name: mask.sum() for name, mask in written.masks.items()}
        assert kept == {name: mask.sum() for name, mask in read_checkpoint(tmp_path / "out.pt").masks.items()} | kept


class Distance(Tied):
    """Its last operation has no row: torch takes it apart, and then wants every parameter to be an nn.Parameter still."""

    def forward(self, x):
        return nn.functional.huber_loss(super().forward(x), torch.zeros_like(x), reduction="none")


def test_a_program_keeps_its_kinds_of_tensors_under_a_checkpoint():
    model = Distance().eval()
    torch_prune.random_unstructured(model.first, "weight", 0.5)
    torch_prune.remove(model.first, "weight")
    model.second.weight = model.first.weight
    program = torch.export.export(Distance().eval(), (X,))
    network = gs.network(model.state_dict(), model=program)
    found, expected = gs.sparsity(gs.export(network)), gs.sparsity(gs.export(model, X))
    assert (found.kept, found.active) == (expected.kept, expected.active) and 0 < expected.active < 36
    assert network.model.state_dict["first.weight"] is network.model.state_dict["second.weight"]


def test_a_network_of_a_file_keeps_its_masks_and_its_function(tmp_path):
    model, inputs = mlp(), torch.randn(5, 6)
    for layer in (model[0], model[2], model[4]):
        torch_prune.random_unstructured(layer, "weight", 0.7)
    torch.save(model.state_dict(), tmp_path / "net.pt")
    network = gs.network(tmp_path / "net.pt", X, model=mlp())
    graph = gs.export(network)
    same(gs.effective_masks(graph), gs.effective_masks(gs.export(model, X)))
    assert gs.analyze(network).to_dict() == gs.analyze(tmp_path / "net.pt", mlp(), X).to_dict()
    gs.write_masks(tmp_path / "out.pt", gs.effective_masks(graph), model=network)
    again = load_network(tmp_path / "out.pt", mlp()).model.eval()
    torch.testing.assert_close(again(inputs), model(inputs))
    with pytest.raises(MaskError, match="live module.*model=network"):
        gs.write_masks(network, gs.effective_masks(graph))


def test_what_a_live_module_holds_is_read_when_it_is_asked_for():
    model, inputs = mlp(), torch.randn(5, 6)
    network = gs.network(model, X)
    first = gs.export(network)
    with torch.no_grad():
        model[0].weight[:4] = 0
        model[0].bias[:4] = 0
    again = gs.export(network)
    assert gs.sparsity(again).frame.equals(gs.sparsity(gs.export(model, X)).frame)
    assert gs.sparsity(again).active < gs.sparsity(first).active
    model[2].weight.data = torch.zeros(8, 8)
    assert gs.sparsity(gs.export(network)).active == 0
    expected = model(inputs)
    for form in ("prune", "zeros"):  # constants are folded once, since the masks of the first call are there by then
        gs.write_masks(network, gs.effective_masks(gs.export(network)), form=form)
        torch.testing.assert_close(model(inputs), expected)


def test_uses_of_a_shared_parameter_keep_masks_of_their_own(captures):
    model = Tied()
    network = gs.network(model, X)
    torch_prune.random_unstructured(model.second, "weight", 0.5)
    graph, alone = gs.export(network), gs.export(model, X)
    assert len(graph.uses) == 1
    same(gs.effective_masks(graph), gs.effective_masks(alone))
    apart = gs.network(model, X)
    del captures[:]
    for masks in (None, {"first.weight": torch.rand(6, 6) < 0.5}):
        same(gs.effective_masks(gs.export(apart, masks)), gs.effective_masks(gs.export(model, X, masks)))
    assert len(captures) == 2  # both of the model, none of the network
    same(gs.prune(apart, "synflow", compression=2), gs.prune(model, X, "synflow", compression=2))


def test_ways_to_read_a_program_do_not_mix():
    model = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 3)).eval()
    network = gs.network(model, X)
    for statistics in (False, True, False):
        for resolution in ("unrolled", "channel"):
            options = {"norm_statistics": statistics, "resolution": resolution}
            masks = {"0.weight": torch.rand(6, 6) < 0.3, "1.weight": torch.rand(6) < 0.5}
            for given in (None, masks):
                found, expected = gs.export(network, given, **options), gs.export(model, X, given, **options)
                assert gs.sparsity(found).frame.equals(gs.sparsity(expected).frame)
                assert found.resolution == resolution and found.norm_statistics == statistics


class Bessel(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.second(torch.special.bessel_j0(self.first(x)))


def test_rules_of_a_network_reach_everything():
    rules = {torch.ops.aten.special_bessel_j0.default: Rule(lambda call, x: x, flows=lambda call, x: x)}
    with pytest.raises(UnsupportedOperations):
        gs.export(gs.network(Bessel(), X))
    network = gs.network(Bessel(), X, extra_rules=rules)
    assert gs.analyze(network).summary["active"] == 54
    assert gs.prune(network, "synflow", compression=2).active <= 27


def test_what_is_given_twice_or_wrong_is_said():
    network = gs.network(mlp(), X)
    for call in (
        lambda: gs.export(network, {}, kwargs={"x": X}),
        lambda: gs.export(network, X, {}),
        lambda: gs.prune(network, X, "magnitude", compression=2),
        lambda: gs.prune(network, "magnitude", compression=2, weights={}),
        lambda: gs.export(network, batch_axis=1),
        lambda: gs.write_masks(network, {}, example_inputs=X),
    ):
        with pytest.raises(ArgumentError, match="give it to graphsparse.network"):
            call()
    with pytest.raises(MaskError):
        gs.export(network, X)
    with pytest.raises(ModelError):
        gs.analyze(network, "chain")
    with pytest.raises(CaptureError, match=r"torch\.nn\.Module"):
        gs.prune(mlp, X, "magnitude", compression=2)
    assert json.dumps(repr(network)) == '"Network(Sequential, 6 parameters)"'
