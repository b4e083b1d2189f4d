"""Heads and experts that are dead: of every kind of attention, and of every form of mixture."""

import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from tests.mixing_models import (
    MIXED,
    MIXTURES,
    NO_MIXTURES,
    Attention,
    FastPath,
    InOneModule,
    ListedHeads,
    Mixture,
    Stacked,
)
from tests.small_graphs import graphs

HEADS = ["heads", "dead_heads", "dead_heads_of_heads"]
EXPERTS = ["experts", "dead_experts", "dead_experts_of_experts"]


def whole(model):
    return {name: torch.ones(p.shape) > 0 for name, p in model.named_parameters()}


def numbers(graph, names=HEADS, part="kept"):
    return gs.topology(graph, names).total.loc[names, part].tolist()


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@pytest.mark.parametrize("kind", [*MIXED, "fast path"])
def test_dead_heads(kind, resolution):
    """Head 1 is read by nothing; what head 3 reads as values is zero."""
    model = FastPath() if kind == "fast path" else Attention(kind)
    masks = whole(model)
    graph = gs.export(model, torch.zeros(1, 4, 8), masks, resolution=resolution)
    assert numbers(graph) == [4, 0, 0]
    read, values = ("mix.out_proj.weight", "mix.in_proj_") if kind == "fast path" else ("o.weight", "v.")
    masks[read][:, 2:4] = False
    assert numbers(graph.with_masks(masks)) == [4, 1, 0.25]
    for name in ("weight", "bias"):
        masks[values + name][-2:] = False
    assert numbers(graph.with_masks(masks)) == [4, 2, 0.5]
    if kind in ("softmax", "linear"):
        assert heads_that_move(model, masks) == [True, False, True, False]


def heads_that_move(model, masks):
    """Of each head, whether an input moves an output by way of its features, which gradients find."""
    seen = []
    model = Attention(model.kind).double()
    for name, parameter in model.named_parameters():
        parameter.data.mul_(masks[name])
    model.o.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.randn(1, 4, 8, dtype=torch.double, requires_grad=True)
    out = model(x).square().sum()
    (reached,) = torch.autograd.grad(out, seen[0], retain_graph=True)
    moved = [
        torch.autograd.grad(seen[0][..., 2 * h : 2 * h + 2].square().sum(), x, retain_graph=True)[0] for h in range(4)
    ]
    return [bool(m.any() and reached[..., 2 * h : 2 * h + 2].any()) for h, m in enumerate(moved)]


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@pytest.mark.parametrize("kind", ["softmax", "one operation", "linear", "recurrent retention"])
@pytest.mark.parametrize("groups", [1, 2])
def test_heads_that_share_keys_and_values(groups, kind, resolution):
    model = Attention(kind, groups)
    masks = whole(model)
    masks["v.weight"][-2:] = masks["v.bias"][-2:] = False
    graph = gs.export(model, torch.zeros(1, 4, 8), masks, resolution=resolution)
    assert numbers(graph) == [4, 4 / groups, 1 / groups], "all heads that share the last group die"


def test_each_attention_has_its_own_heads():
    """Inline attentions are told apart by their kernels; kernels in lists are heads, not experts."""
    assert numbers(gs.export(InOneModule(), torch.zeros(1, 3, 8), {}))[0] == 8
    graph = gs.export(ListedHeads(), torch.zeros(1, 3, 8), {})
    assert numbers(graph)[0] == 2 and np.isnan(numbers(graph, EXPERTS)).all()


def test_heads_stay_with_a_graph_that_is_saved(tmp_path):
    graph = gs.export(Attention("linear"), torch.zeros(1, 4, 8), {})
    gs.save_graph(graph, tmp_path / "net.npz")
    assert numbers(gs.load_graph(tmp_path / "net.npz")) == [4, 0, 0]


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@pytest.mark.parametrize("kind", MIXTURES)
def test_dead_experts_in_modules(kind, resolution):
    """Expert 0 loses its last kernel, and with it the way to the sinks; of expert 1 one kernel is left, which nothing feeds."""
    model = nn.Sequential(nn.Linear(4, 4), Mixture(kind), nn.Linear(4, 2))
    masks = whole(model)
    graph = gs.export(model, torch.zeros(1, 2, 4), masks, resolution=resolution)
    assert numbers(graph, EXPERTS) == [3, 0, 0]
    masks["1.experts.0.w2.weight"][:] = False
    masks["1.experts.1.w1.weight"][:] = masks["1.experts.1.w3.weight"][:] = False
    found = gs.topology(graph.with_masks(masks), EXPERTS)
    assert found.total.loc["dead_experts", ["kept", "active"]].tolist() == [0, 2]
    assert found.parameters["dead_experts", "kept"].sum() == 3 and found.parameters["dead_experts", "active"].sum() == 6
    assert found.parameters["experts", "kept"].notna().sum() == 9 and np.isnan(
        found.parameters["experts", "kept"]["0.weight"]
    )


@pytest.mark.parametrize("kind", NO_MIXTURES)
def test_modules_that_are_no_experts(kind):
    assert np.isnan(numbers(gs.export(Mixture(kind), torch.zeros(1, 2, 4), {}), EXPERTS)).all()


@pytest.mark.parametrize("first", [True, False])
def test_dead_experts_in_stacks(first):
    masks = whole(Stacked(first))
    masks["down"][1] = False
    found = gs.topology(gs.export(Stacked(first), torch.zeros(2, 4), masks), EXPERTS)
    assert found.total.loc["experts"].tolist()[2:4] == [3, 3]
    assert found.total.loc["dead_experts"].tolist()[2:4] == [0, 1], "what feeds it is kept, and dead"
    assert found.parameters["dead_experts", "kept"].to_dict() == {
        "up": 0,
        "down": 1,
        "router.weight": pytest.approx(np.nan, nan_ok=True),
    }


@pytest.mark.parametrize(
    "name, attention", [("gpt2", "eager"), ("llama", "sdpa"), ("qwen-moe", "eager"), ("t5", "eager")]
)
def test_heads_and_experts_of_transformers(name, attention):
    """Models with two heads in each attention; with three experts of two kernels in each of two layers."""
    models = pytest.importorskip("tests.transformer_models")
    model = models.built(name, attention).double()
    inputs = {key: value(0) for key, value in models.FAMILIES[name][1].items()}
    graph = gs.export(model, kwargs=inputs, masks={})
    dead = {
        n: np.ones(shape, bool) for n, shape in graph.shapes.items() if n.endswith("layers.1.mlp.experts.down_proj")
    }
    for mask in dead.values():
        mask[1:] = False
        mask[1, 0, 0] = True
    found = gs.topology(graph.with_masks(dead), ["heads", "dead_heads", "experts", "dead_experts"])
    assert found.total.loc["heads", "kept"] == (6 if name == "t5" else 4) and found.total.loc["dead_heads", "kept"] == 0
    if name != "qwen-moe":
        assert found.total.loc[["experts", "dead_experts"], "kept"].isna().all()
        return
    assert found.total.loc["experts"].tolist()[2:4] == [6, 6]
    assert found.total.loc["dead_experts"].tolist()[2:4] == [0, 1], "what feeds the expert's last matrix dies with it"
    assert found.parameters["dead_experts"].dropna().sum().tolist() == [1, 2]
    assert found.parameters["dead_experts", "kept"].isna().sum() == len(graph.shapes) - 4


def test_heads_that_are_not_known():
    """Products that are no attention: a gated unit, a recurrent cell."""
    gated = next(graph for graph in graphs() if graph.gated)
    cell = gs.export(nn.LSTM(2, 3), torch.zeros(2, 1, 2), {})
    for graph in (gated, cell):
        found = gs.topology(graph, ["liveness"]).total
        assert found.loc[["heads", "dead_heads"], "kept"].isna().all()
        assert found.loc["heads", "undefined"].startswith("no attention is found")
        assert found.loc["experts", "undefined"].startswith("no experts are found")
