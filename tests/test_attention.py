"""Attention by hand: what a dead feature of q, k, v or a mask does, how many units it takes, and torch as judge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.blocks import Gate
from tests.judge import assert_exact

F = torch.nn.functional


class Attention(nn.Module):
    """Two heads of two features; ``whole`` uses torch's own operation, else it is written out."""

    def __init__(self, whole: bool = True, causal: bool = False, groups: int = 2):
        super().__init__()
        self.q, self.k, self.v = (
            nn.Linear(3, 4, bias=False),
            nn.Linear(3, 2 * groups, bias=False),
            nn.Linear(3, 2 * groups, bias=False),
        )
        self.out = nn.Linear(4, 3, bias=False)
        self.whole, self.causal, self.groups = whole, causal, groups

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = (f(x).view(b, t, -1, 2).transpose(1, 2) for f in (self.q, self.k, self.v))
        if self.whole:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=self.groups == 1)
        else:
            k, v = k.expand(b, 2, t, 2), v.expand(b, 2, t, 2)
            scores = q @ k.transpose(-2, -1) / 2**0.5
            if self.causal:
                scores = scores.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), float("-inf"))
            mixed = F.dropout(F.softmax(scores, -1), 0.1, self.training) @ v
        return self.out(mixed.transpose(1, 2).reshape(b, t, 4))


FORMS = [(whole, causal, groups) for whole in (True, False) for causal in (False, True) for groups in (2, 1)]
TOKENS = torch.zeros(2, 4, 3)


def active(model: nn.Module, masks: dict, resolution: str, example: torch.Tensor = TOKENS) -> dict[str, torch.Tensor]:
    whole = {name: torch.ones(p.shape, dtype=torch.bool) for name, p in model.named_parameters()}
    return gs.effective_masks(gs.export(model, example, {**whole, **masks}, resolution=resolution))


def without(shape: tuple[int, int], rows: list[int]) -> torch.Tensor:
    mask = torch.ones(shape, dtype=torch.bool)
    mask[rows] = False
    return mask


@pytest.mark.parametrize(("whole", "causal", "groups"), FORMS)
def test_every_form_agrees_with_torch(whole, causal, groups):
    assert_exact(Attention(whole, causal, groups), (TOKENS,))


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@pytest.mark.parametrize("whole", [True, False])
def test_dead_value_kills_its_slice_of_the_output_kernel(whole, resolution):
    found = active(Attention(whole), {"v.weight": without((4, 3), [2, 3])}, resolution)
    assert not found["out.weight"][:, 2:].any() and found["out.weight"][:, :2].all()
    assert not found["q.weight"][2:].any() and not found["k.weight"][2:].any(), "the scores of a head without values"
    assert found["q.weight"][:2].all()


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@pytest.mark.parametrize("whole", [True, False])
def test_dead_query_feature_kills_its_partner(whole, resolution):
    found = active(Attention(whole), {"q.weight": without((4, 3), [1])}, resolution)
    np.testing.assert_array_equal(found["k.weight"].any(1).numpy(), [True, False, True, True])
    assert found["v.weight"].all() and found["out.weight"].all()


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@pytest.mark.parametrize("whole", [True, False])
def test_values_flow_where_all_scores_are_dead(whole, resolution):
    found = active(Attention(whole), {"q.weight": torch.zeros(4, 3, dtype=torch.bool)}, resolution)
    assert not found["k.weight"].any()
    assert found["v.weight"].all() and found["out.weight"].all()


@pytest.mark.parametrize("whole", [True, False])
def test_softmax_over_one_entry_is_constant(whole):
    found = active(Attention(whole), {}, "unrolled", torch.zeros(1, 1, 3))
    assert not found["q.weight"].any() and not found["k.weight"].any()
    assert found["v.weight"].all() and found["out.weight"].all()


@pytest.mark.parametrize("whole", [True, False])
def test_one_gate_per_head_and_feature_in_channel_resolution(whole):
    graph = gs.export(Attention(whole, causal=True), TOKENS, resolution="channel")
    gates = [block for layer in graph.layers for block in layer.blocks if isinstance(block, Gate)]
    assert [len(gate.targets) for gate in gates] == [4, 4]  # scores: 2 heads by 2 features; values: the same


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_gates_grow_linearly_with_tokens(whole, causal):
    def gates(tokens: int) -> int:
        graph = gs.export(Attention(whole, causal), torch.zeros(1, tokens, 3))
        return sum(len(block.targets) for layer in graph.layers for block in layer.blocks if isinstance(block, Gate))

    assert gates(48) - gates(32) == gates(32) - gates(16) > 0


class Linear(nn.Module):
    """Attention without a softmax: products of keys and values over positions, and of queries with those."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(3, 4, bias=False) for _ in range(3))
        self.out = nn.Linear(4, 2, bias=False)

    def forward(self, x):
        return self.out(self.q(x) @ (self.k(x).transpose(1, 2) @ self.v(x)))


class Biased(nn.Module):
    """Torch's own layer with a bias by position, whose averaged weights are an output as well."""

    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 2, bias=False, batch_first=True)
        self.bias = nn.Parameter(torch.ones(2, 4, 4))
        self.head = nn.Linear(4, 2, bias=False)

    def forward(self, x):
        mixed, weights = self.inner(x, x, x, attn_mask=self.bias)
        return self.head(mixed)


@pytest.mark.parametrize(("model", "width"), [(Linear(), 3), (Biased(), 4)], ids=["linear", "biased"])
def test_other_products_agree_with_torch(model, width):
    assert_exact(model, (torch.zeros(1, 4, width),))


class Norms(nn.Module):
    """Every normalisation that has statistics, and one written out by hand."""

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.first, self.norm, self.last = nn.Conv1d(3, 4, 1, bias=False), norm, nn.Conv1d(4, 2, 1, bias=False)

    def forward(self, x):
        return self.last(self.norm(self.first(x)))


class RootNorm(nn.Module):
    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class CentredNorm(nn.Module):
    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        return (x - mean) / torch.sqrt((x - mean).pow(2).mean(-1, keepdim=True) + 1e-6)


NORMS = {
    "layer": nn.LayerNorm(5), "rms": nn.RMSNorm(5), "group": nn.GroupNorm(2, 4), "instance": nn.InstanceNorm1d(4, affine=True),
    "batch": nn.BatchNorm1d(4, track_running_stats=False), "root": RootNorm(), "centred": CentredNorm(),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_norm_passes_units_through(name):
    graph = gs.export(Norms(NORMS[name]), torch.zeros(1, 3, 5))
    masks = {"first.weight": without((4, 3), [0, 1, 2]), "last.weight": torch.ones(2, 4, dtype=torch.bool)}
    found = gs.effective_masks(graph.with_masks({name: mask.unsqueeze(-1) for name, mask in masks.items()}))
    assert graph.has_norm_statistics
    np.testing.assert_array_equal(found["last.weight"][0, :, 0].numpy(), [False, False, False, True])


def test_statistics_of_a_group_influence_the_group_alone():
    graph = gs.export(Norms(nn.GroupNorm(2, 4)), torch.zeros(1, 3, 5), norm_statistics=True)
    last = torch.zeros(2, 4, 1, dtype=torch.bool)
    last[0, 0] = True  # reads channel 0, whose group is channels 0 and 1
    found = gs.effective_masks(
        graph.with_masks({"first.weight": torch.ones(4, 3, 1, dtype=torch.bool), "last.weight": last})
    )
    np.testing.assert_array_equal(found["first.weight"].any(1)[:, 0].numpy(), [True, True, False, False])


ON_DEVICES = {
    "flash": lambda q, k, v: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True)[0],
    "math": lambda q, k, v: torch.ops.aten._scaled_dot_product_attention_math(q, k, v, None, 0.0, True)[0],
    "math, a mask": lambda q, k, v: torch.ops.aten._scaled_dot_product_attention_math(
        q, k, v, torch.ones(4, 4, dtype=torch.bool).tril()
    )[0],
}


@pytest.mark.parametrize("form", ON_DEVICES)
def test_the_forms_of_devices_see_what_the_operation_sees(form):
    class OnDevice(Attention):
        def forward(self, x):
            b, t, _ = x.shape
            q, k, v = (f(x).view(b, t, -1, 2).transpose(1, 2) for f in (self.q, self.k, self.v))
            return self.out(ON_DEVICES[form](q, k, v).transpose(1, 2).reshape(b, t, 4))

    torch.manual_seed(0)
    ours, theirs = (gs.export(model, TOKENS, {}) for model in (OnDevice(), Attention(causal=True)))
    assert ours.n_units == theirs.n_units and (ours.adjacency() != theirs.adjacency()).nnz == 0
