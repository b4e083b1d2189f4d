"""What people write by hand: functional weights, sharing, tying, transposing, parametrising, several inputs and outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch._higher_order_ops import scan
from torch._higher_order_ops.map import map as mapped
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

import graphsparse as gs
from graphsparse.errors import UnsupportedOperations
from graphsparse.passes.liveness import active_connections
from tests.judge import assert_exact, excess, gradient_masks, positive, random_masks

F = torch.nn.functional
rows = torch.zeros(2, 5, 4)


class Written(nn.Module):
    """Parameters by shape and a forward of one's own."""

    def __init__(self, forward, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.rand(shape)))
        self.written = forward

    def forward(self, *inputs):
        return self.written(self, *inputs)


FORWARDS = {
    "x @ W": (lambda m, x: torch.tanh(x @ m.w) @ m.v, {"w": (4, 6), "v": (6, 3)}),
    "W @ x": (lambda m, x: (m.v @ torch.tanh(m.w @ x.mT)).mT, {"w": (6, 4), "v": (3, 6)}),
    "linear by the transpose": (lambda m, x: F.linear(torch.tanh(F.linear(x, m.w.t())), m.v), {"w": (4, 6), "v": (3, 6)}),
    "einsum": (lambda m, x: torch.einsum("btf,fho->btho", x, m.w).tanh().flatten(2) @ m.v, {"w": (4, 2, 3), "v": (6, 3)}),
    "einsum with a permuted kernel": (lambda m, x: torch.einsum("bti,hio->bhto", x, m.w).tanh().sum(1) @ m.v, {"w": (2, 4, 3), "v": (3, 3)}),
    "a kernel per head": (lambda m, x: torch.einsum("bthd,hdo->btho", (x @ m.w).unflatten(-1, (2, 3)), m.v), {"w": (4, 6), "v": (2, 3, 2)}),
    "a kernel per position": (lambda m, x: torch.einsum("bti,tio->bto", x, m.w).tanh() @ m.v, {"w": (5, 4, 3), "v": (3, 3)}),
    "bmm by an expanded kernel": (lambda m, x: torch.bmm(torch.bmm(x, m.w.expand(x.size(0), -1, -1)), m.v.expand(x.size(0), -1, -1)), {"w": (4, 6), "v": (6, 3)}),
    "baddbmm": (lambda m, x: torch.baddbmm(m.bias, x, m.w.expand(x.size(0), -1, -1)) @ m.v, {"w": (4, 6), "v": (6, 3), "bias": (1,)}),
    "vector product": (lambda m, x: (x @ m.w) @ m.v, {"w": (4, 6), "v": (6,)}),
    "a slice of a kernel": (lambda m, x: F.linear(torch.tanh(F.linear(x, m.w[1:5, :4])), m.w[:, 1:5]), {"w": (6, 5)}),
    "one kernel in three": (lambda m, x: sum(torch.tanh(F.linear(x, part)) for part in m.w.chunk(3)) @ m.v, {"w": (9, 4), "v": (3, 3)}),
    "one kernel both ways": (lambda m, x: torch.tanh(x @ m.w) @ m.w.t(), {"w": (4, 3)}),
    "masked by a buffer": (lambda m, x: F.linear(torch.tanh(F.linear(x, m.w * torch.ones(6, 4).tril().double())), m.v), {"w": (6, 4), "v": (3, 6)}),
    "lower triangle": (lambda m, x: F.linear(torch.tanh(F.linear(x, m.w.tril())), m.v.triu(1)), {"w": (6, 4), "v": (3, 6)}),
    "convolution by a permuted kernel": (lambda m, x: F.conv1d(F.conv1d(x.mT, m.w.permute(2, 1, 0), padding=1), m.v), {"w": (3, 4, 6), "v": (3, 6, 1)}),
    "convolution by a flipped kernel": (lambda m, x: F.conv1d(F.conv1d(x.mT, m.w.flip(-1)), m.v), {"w": (6, 4, 3), "v": (3, 6, 1)}),
    "standardised kernel": (lambda m, x: F.conv1d(F.conv1d(x.mT, m.w * m.g / m.w.detach().norm()), m.v), {"w": (6, 4, 3), "v": (3, 6, 1), "g": (1,)}),
    "the same kernel twice": (lambda m, x: torch.tanh(torch.tanh(x @ m.w) @ m.w) @ m.v, {"w": (4, 4), "v": (4, 3)}),
    "nn.Bilinear": (lambda m, x: F.bilinear(x, torch.tanh(x), m.w) @ m.v, {"w": (3, 4, 4), "v": (3, 2)}),
    "gate of a parameter": (lambda m, x: (torch.sigmoid(m.g) * (x @ m.w)) @ m.v, {"w": (4, 6), "v": (6, 3), "g": (6,)}),
    "learned mixture": (lambda m, x: sum(p * (x @ w) for p, w in zip(torch.softmax(m.g, 0), (m.w, m.v), strict=True)), {"w": (4, 6), "v": (4, 6), "g": (2,)}),
    "kernels joined to one": (lambda m, x: torch.cat(F.linear(x, torch.cat([m.q, m.k, m.v])).tanh().chunk(3, -1)[::2], -1) @ m.o, {"q": (4, 4), "k": (4, 4), "v": (3, 4), "o": (7, 3)}),
    "kernels joined along the inputs": (lambda m, x: F.linear(torch.cat([x, x.tanh()], -1), torch.cat([m.w, m.v], 1)) @ m.o, {"w": (5, 4), "v": (5, 4), "o": (5, 3)}),
    "kernels on top of each other": (lambda m, x: torch.einsum("btf,hfo->btho", x, torch.stack([m.w, m.v])).tanh().flatten(2) @ m.o, {"w": (4, 3), "v": (4, 3), "o": (6, 3)}),
    "a part of joined kernels": (lambda m, x: F.linear(F.linear(x, torch.cat([m.w, m.v])[2:7].t().t()), m.o), {"w": (4, 4), "v": (4, 4), "o": (3, 5)}),
    "kernels added up": (lambda m, x: F.linear(F.linear(x, m.w + m.v), m.o), {"w": (5, 4), "v": (5, 4), "o": (3, 5)}),
    "joined kernels of a convolution": (lambda m, x: F.conv1d(F.conv1d(x.mT, torch.cat([m.w, m.v]), padding=1), m.o), {"w": (3, 4, 3), "v": (2, 4, 3), "o": (3, 5, 1)}),
    "a choice of two kernels": (lambda m, x: F.linear(F.linear(x, torch.where(torch.ones(6, 4).tril().bool(), m.w, m.u)), m.v), {"w": (6, 4), "u": (6, 4), "v": (3, 6)}),
    "a kernel among ones": (lambda m, x: F.linear(F.linear(x, torch.where(torch.ones(6, 4).tril().bool(), 1.0, m.w)), m.v), {"w": (6, 4), "v": (3, 6)}),
    "a kernel in a frame of ones": (lambda m, x: F.linear(F.linear(x, F.pad(m.w, (1, 1), value=1.0)), m.v), {"w": (6, 2), "v": (3, 6)}),
    "softmax of a kernel": (lambda m, x: F.linear(F.linear(x, m.w.softmax(-1)), m.v), {"w": (6, 4), "v": (3, 6)}),
    "a kernel plus one": (lambda m, x: F.linear(F.linear(x, m.w + 1), m.v), {"w": (6, 4), "v": (3, 6)}),
    "kernels along a diagonal": (lambda m, x: F.linear(F.linear(x, torch.block_diag(m.w, m.u)), m.v), {"w": (2, 3), "u": (4, 1), "v": (3, 6)}),
    "a zero state that decays": (lambda m, x: ((torch.exp(m.g) * torch.zeros(5, 6).double() * (x @ m.w)).tanh() + x @ m.u) @ m.v, {"g": (6,), "w": (4, 6), "u": (4, 6), "v": (6, 3)}),
    "shaped like a value": (lambda m, x: (x @ m.w * m.g.expand_as(x @ m.w).view_as(x @ m.w)) @ m.v, {"w": (4, 6), "g": (6,), "v": (6, 3)}),
    "decays behind a mask": (lambda m, x: (torch.exp(torch.cumsum(x @ m.a, 1)[:, None, :, 0].expand(-1, 5, -1).masked_fill(torch.ones(5, 5).triu(-1).bool(), -torch.inf)) @ (x @ m.w)).tanh() @ m.v, {"a": (4, 1), "w": (4, 6), "v": (6, 3)}),
    "a stack of one pattern": (lambda m, x: ((x @ m.w)[:, None] @ torch.eye(6, dtype=x.dtype)[:, :4].expand(3, 6, 4)).mean(1) @ m.v, {"w": (4, 6), "v": (4, 3)}),
    "a state that is zero at first": (lambda m, x: ((x @ m.w) @ torch.zeros(1, 6, 2, dtype=x.dtype) + x @ m.u) @ m.v, {"w": (4, 6), "u": (4, 2), "v": (2, 3)}),
    "vmap": (lambda m, x: torch.vmap(lambda row: torch.tanh(row @ m.w) @ m.v)(x), {"w": (4, 6), "v": (6, 3)}),
    "checkpointed": (lambda m, x: checkpoint(lambda x: torch.tanh(x @ m.w), x, use_reentrant=False) @ m.v, {"w": (4, 6), "v": (6, 3)}),
    "0-d output": (lambda m, x: ((x @ m.w).tanh() @ m.v).mean(), {"w": (4, 6), "v": (6, 3)}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORWARDS)
def test_functional_weights_are_exact(name):
    forward, shapes = FORWARDS[name]
    graph = assert_exact(Written(forward, **shapes), (rows,))
    assert graph.shapes == {n: s for n, s in shapes.items() if len(s) > 1 or n == "v"}  # type: ignore[attr-defined]


def test_one_module_used_twice_is_one_parameter():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(torch.tanh(self.inner(torch.tanh(self.inner(x)))))

    graph = assert_exact(Twice(), (rows,))
    assert list(graph.shapes) == ["inner.weight", "head.weight"]


def test_tied_weights_go_by_their_first_name():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.three = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
            self.three.weight = self.one.weight

        def forward(self, x):
            return self.three(torch.tanh(self.two(torch.tanh(self.one(x)))))

    graph = assert_exact(Tied(), (rows,))
    assert graph.aliases == {"three.weight": "one.weight"}
    assert graph.n_connections == 32


def test_rows_of_a_table_in_bags():
    class Bags(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.EmbeddingBag(6, 4, mode="sum"), nn.Parameter(torch.rand(4, 3))

        def forward(self, tokens):
            return torch.tanh(self.table(tokens)) @ self.head

    assert_exact(Bags(), (torch.arange(6).reshape(2, 3),))


def test_a_kernel_that_is_solved_for_is_a_matrix_that_the_model_computes():
    def forward(m, x):
        unit = torch.eye(4, dtype=x.dtype)
        return F.linear(x, torch.linalg.solve(unit + m.w, unit - m.w)) @ m.v

    graph = assert_exact(Written(forward, w=(4, 4), v=(4, 3)), (rows,))
    assert list(graph.shapes) == ["v"] and [reason for *_, reason in graph.coverage.conservative]


def test_distances_depend_on_both_rows():
    def forward(m, x):
        return torch.cdist(x @ m.w, m.prototypes) @ m.v

    graph = assert_exact(Written(forward, w=(4, 3), prototypes=(5, 3), v=(5, 2)), (rows,), densities=(0.6, 0.25))
    assert set(graph.shapes) == {"w", "v"}


def test_siamese_branches_and_several_inputs():
    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower, self.head = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), nn.Linear(3, 1)

        def forward(self, left, right, scale=None):
            return self.head((self.tower(left) - self.tower(right)) * scale)

    assert_exact(Siamese(), (torch.zeros(2, 4), torch.zeros(2, 4)), kwargs={"scale": torch.zeros(2, 1)})


def test_outputs_as_dict_and_tuple():
    class Several(nn.Module):
        def __init__(self, form):
            super().__init__()
            self.body, self.one, self.two, self.form = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(6, 3), form

        def forward(self, x):
            x = torch.tanh(self.body(x))
            return self.form(self.one(x), self.two(x))

    for form in (lambda a, b: {"a": a, "b": b}, lambda a, b: (a, [b, None, a > 0])):
        graph = assert_exact(Several(form), (rows,))
        assert len(graph.sinks) == 25


def test_an_input_wired_to_an_output():
    class Wired(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x), x

    graph = assert_exact(Wired(), (rows,))
    assert len(graph.sinks) == 35 and set(graph.sources) < set(graph.sinks)


def test_unused_parameters_are_reported():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(4, 3), nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return self.used(x)

    graph = assert_exact(Spare(), (rows,))
    assert graph.unused == ("spare.weight",)
    assert graph.n_connections == 12


def test_a_layer_that_sees_only_constants_counts_as_inactive():
    class Coordinates(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.layer = nn.Linear(2, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x + self.table(torch.arange(2, dtype=x.dtype)))

    graph = gs.export(Coordinates().double(), rows.double(), masks={})
    assert graph.n_connections == 20
    active = active_connections(graph)
    assert not active["table.weight"].any() and active["layer.weight"].all()


def _sequence(*layers):
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), *layers)


@pytest.mark.parametrize("inside", ["new", "old", "spectral"])
def test_weight_norm_keeps_the_name_of_the_stored_kernel(inside):
    convolution = nn.Conv2d(4, 3, 3)
    if inside == "new":
        convolution, name = parametrizations.weight_norm(convolution), "parametrizations.weight.original1"
    elif inside == "old":
        convolution, name = torch.nn.utils.weight_norm(convolution), "weight_v"
    else:
        parametrizations.spectral_norm(convolution)
        name = "parametrizations.weight.original"
    model = positive(_sequence(convolution))
    x = torch.rand(1, 2, 5, 5).double()
    graph = gs.export(model, x, masks={})
    assert set(graph.shapes) == {"0.weight", f"2.{name}"}
    masks = random_masks(graph.shapes, 0.3)
    judge = gradient_masks(model, (x,), {"0.weight": masks["0.weight"]})
    active = active_connections(graph.with_masks({"0.weight": masks["0.weight"]}))
    assert np.array_equal(active["0.weight"], judge["0.weight"]) and judge["0.weight"].any()


def test_pruned_models_are_read_as_they_are():
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    prune.random_unstructured(model[0], "weight", 0.5)
    prune.ln_structured(model[2], "weight", 0.3, n=2, dim=1)
    graph = gs.export(model, torch.zeros(1, 4))
    assert set(graph.shapes) == {"0.weight", "2.weight"}
    assert np.array_equal(graph.masks["0.weight"].unpack(), model[0].weight_mask.numpy() != 0)
    assert hasattr(model[0], "weight_orig") and model(torch.zeros(1, 4)).shape == (1, 3)
    active = active_connections(graph)
    dead = graph.masks["2.weight"].unpack().sum(0) == 0
    assert dead.any() and not active["0.weight"][dead].any()


def test_any_batch_size_gives_the_same_graph():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2))
    sizes = [[len(layer) for layer in gs.export(model, torch.zeros(batch, 2, 5, 5)).layers] for batch in (1, 2, 7)]
    assert sizes[0] == sizes[1] == sizes[2]


def test_a_batch_that_is_written_into_the_model_gives_the_same_graph():
    class Hard(nn.Module):
        def __init__(self, batch):
            super().__init__()
            self.conv, self.head, self.batch = nn.Conv2d(2, 3, 3), nn.Linear(9, 2), batch

        def forward(self, x):
            return self.head(self.conv(x).view(self.batch, 3, 9))

    graphs = [gs.export(Hard(batch), torch.zeros(batch, 2, 5, 5)) for batch in (1, 3)]
    assert [len(layer) for layer in graphs[0].layers] == [len(layer) for layer in graphs[1].layers]
    model, x = Hard(2), torch.zeros(2, 2, 5, 5)
    assert_exact(model, (x,))


def test_models_on_the_meta_device_need_no_weights():
    def build():
        return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Hardswish(), nn.Flatten(), nn.Linear(36, 3))

    with torch.device("meta"):
        empty = build()
    masks = random_masks({"0.weight": (4, 2, 3, 3), "4.weight": (3, 36)}, 0.3)
    there = active_connections(gs.export(build(), torch.zeros(1, 2, 5, 5), masks))
    for device in ("meta", "cpu"):
        graph = gs.export(empty, torch.zeros(1, 2, 5, 5, device=device), masks)
        found = active_connections(graph)
        assert all(np.array_equal(found[name], there[name]) for name in masks)


def test_subgraphs_are_inlined():
    class Guarded(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x):
            with torch.no_grad():
                y = torch.tanh(self.one(x))
            with torch.enable_grad():
                z = self.two(y)
            return z, y.sum()

    masks = random_masks({"one.weight": (6, 4), "two.weight": (3, 6)}, 0.3)
    graph = gs.export(Guarded(), torch.zeros(1, 4), masks)
    plain = gs.export(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), torch.zeros(1, 4), {
        "0.weight": masks["one.weight"], "2.weight": masks["two.weight"]})  # fmt: skip
    assert np.array_equal(active_connections(graph)["two.weight"], active_connections(plain)["2.weight"])


def test_coverage_counts_the_rules():
    graph = gs.export(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), torch.zeros(1, 4))
    assert dict(graph.coverage.rules) == {"linear": 2, "tanh": 1}
    assert graph.coverage.conservative == ()


CONSERVATIVE = {
    "where": lambda a, b: torch.where(a > 1, a, b),
    "topk": lambda a, b: a.topk(2, -1)[0] + b[..., :2],
    "sort": lambda a, b: a.sort(-1)[0] * b,
    "gather": lambda a, b: a.gather(-1, b.argsort(-1)),
    "scatter": lambda a, b: a.scatter(-1, b.argsort(-1)[..., :2], b[..., :2]),
    "index": lambda a, b: a[:, b[0].sum(-1).argsort()],
}


@pytest.mark.parametrize("name", CONSERVATIVE)
def test_choices_by_value_are_conservative_and_say_so(name):
    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.LazyLinear(2)

        def forward(self, x):
            return self.head(CONSERVATIVE[name](self.one(x), self.two(x)))

    model = Choosing()
    model(rows)
    too_many, truly, graph = excess(model, (rows,), densities=(0.6, 0.25))
    assert truly > 0 and graph.coverage.conservative
    assert {operation for operation, _, _ in graph.coverage.conservative} <= {
        "where",
        "topk",
        "sort",
        "gather",
        "scatter",
        "index",
    }


def test_ones_at_chosen_places_are_wholly_unknown():
    """Numbers written to places that the input chooses: all may be there, whatever the memory of the places holds."""
    forward = lambda m, x: (
        (torch.zeros_like(x @ m.one).scatter(-1, (x @ m.one).topk(2).indices, 1.0) * (x @ m.one)) @ m.two
    )
    graph = gs.export(Written(forward, one=(4, 6), two=(6, 3)), torch.zeros(1, 4), {})
    assert all(mask.all() for mask in gs.effective_masks(graph).values())


class Tables(nn.Module):
    """Tokens on their way to a table: hashed into buckets, shifted behind a start, filled where a mask says so."""

    def __init__(self):
        super().__init__()
        self.hashed, self.shifted, self.filled, self.places = (nn.Embedding(n, 3) for n in (6, 9, 9, 12))
        self.out = nn.Linear(3, 2, bias=False)

    def forward(self, tokens, mask):
        start = torch.zeros_like(tokens[:, :1])
        shifted = torch.cat([start, tokens[:, :-1]], 1)
        filled = torch.where(tokens > 4, torch.full_like(tokens, 2), tokens).masked_fill(tokens == 1, 0)
        places = torch.cumsum(mask, 1) * mask + 1
        parts = self.hashed((tokens * 31 + 7) % 6), self.shifted(shifted), self.filled(filled), self.places(places)
        return self.out(sum(parts))


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
def test_tokens_stay_tokens_and_positions_are_constants(resolution):
    model, tokens = Tables(), torch.tensor([[3, 1, 4, 7]])
    graph = gs.export(model, (tokens, torch.ones_like(tokens)), {}, resolution=resolution)
    active = active_connections(graph)
    assert set(active) == {
        "hashed.weight",
        "shifted.weight",
        "filled.weight",
        "out.weight",
    }  # places are no connections
    assert all(mask.all() for mask in active.values())


class Chosen(nn.Module):
    """A bias for each of several experts, of which the input chooses one."""

    def __init__(self):
        super().__init__()
        self.gate, self.body = nn.Linear(4, 3), nn.Linear(4, 5, bias=False)
        self.biases = nn.Parameter(torch.ones(3, 5))
        self.out = nn.Linear(5, 2, bias=False)

    def forward(self, x):
        return self.out(self.body(x) + self.biases[self.gate(x).argmax(-1)])


def test_rows_of_a_parameter_that_the_input_chooses_are_constants():
    graph = gs.export(Chosen(), torch.zeros(1, 4), {})
    assert set(graph.shapes) == {"gate.weight", "body.weight", "out.weight"}
    active = active_connections(graph)
    assert active["body.weight"].all() and active["out.weight"].all() and not active["gate.weight"].any()


def test_the_mean_of_a_scalar():
    graph = gs.export(Written(lambda m, x: (x @ m.w).sum().mean() * 2, w=(4, 3)), rows.float(), {})
    assert active_connections(graph)["w"].all()


def test_a_variance_that_is_told_how_to_count_is_over_all():
    graph = gs.export(Written(lambda m, x: (x @ m.w).var(False), w=(4, 3)), rows.float(), {})
    assert active_connections(graph)["w"].all()


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@pytest.mark.parametrize("product", [lambda m, x: m.one(x) @ m.w, lambda m, x: F.linear(m.one(x), m.w.T)])
def test_a_kernel_without_inputs_connects_nothing(product, resolution):
    model = Written(product, w=(0, 3))
    model.one = nn.Linear(4, 0)
    graph = gs.export(model, torch.rand(2, 5, 4), {}, resolution=resolution)
    assert graph.n_connections == 0 and len(graph.sinks) == (15 if resolution == "unrolled" else 3)


def test_biases_joined_with_zeros_lift_their_own_outputs():
    """As in BEiT, which has no bias for keys: a factor that is always zero ends its partner's kernel."""

    def forward(m, x):
        factor = F.linear(x, m.g, torch.cat([m.q, torch.zeros(2), m.v]))
        return F.linear(x, m.w) * factor

    model = Written(forward, w=(5, 4), g=(5, 4), q=(2,), v=(1,))
    masks = {"g": torch.zeros(5, 4, dtype=torch.bool)}
    active = active_connections(gs.export(model, rows, masks))
    assert active["w"].any(1).tolist() == [True, True, False, False, True]
    masks["q"] = torch.tensor([True, False])
    active = active_connections(gs.export(model, rows, masks))
    assert active["w"].any(1).tolist() == [True, False, False, False, True]


class Steps(nn.Module):
    """One body over the rows of the input, by an operation that takes a program or by a loop of Python's."""

    def __init__(self, carried: bool, written: bool):
        super().__init__()
        self.carried, self.written = carried, written
        self.inner, self.head = nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False)

    def step(self, state, row):
        return torch.tanh(self.inner(state) + row), state + row

    def forward(self, batch):
        x = batch[0]
        if self.written:
            state, rows = x[0], []
            for row in x[1:]:
                state, made = self.step(state, row) if self.carried else (state, self.inner(row).tanh())
                rows.append(made)
            return self.head(torch.stack(rows)), state
        if self.carried:
            state, rows = scan(lambda state, row: self.step(state, row), x[0], x[1:], dim=0)
            return self.head(rows), state
        return self.head(mapped(lambda row: self.inner(row).tanh(), x[1:])), x[0]


@pytest.mark.parametrize("carried", [False, True])
def test_a_body_over_rows_is_the_loop_that_it_stands_for(carried):
    written = assert_exact(Steps(carried, True), (rows[:1],))
    graph = gs.export(Steps(carried, False), rows[:1].float(), {})
    for seed in range(3):
        masks = random_masks(written.shapes, 0.3, seed)
        one, other = (active_connections(g.with_masks(masks)) for g in (written, graph))
        assert all(np.array_equal(one[name], other[name]) for name in masks)
    assert not graph.coverage.conservative


def test_either_branch_may_be_taken():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.yes, self.no, self.head = (nn.Linear(4, n, bias=False) for n in (4, 4, 2))

        def forward(self, x):
            return self.head(torch.cond(x.sum() > 0, self.yes, lambda x: self.no(x).relu(), (x,)))

    masks = {"yes.weight": torch.eye(4, dtype=torch.bool), "no.weight": torch.zeros(4, 4, dtype=torch.bool)}
    masks["no.weight"][0, 1] = masks["no.weight"][1, 0] = True
    masks["head.weight"] = torch.tensor([[True, False, False, True], [True, False, False, False]])
    graph = gs.export(Branches(), rows, masks)
    active = active_connections(graph)
    assert active["yes.weight"].sum() == 2 and active["no.weight"].sum() == 1
    assert active["head.weight"].sum() == 3
    assert [reason for *_, reason in graph.coverage.conservative] == ["either branch may be taken"]


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_a_low_rank_update_is_wholly_not_zero(kind):
    """What is added to a kernel connects where its own mask does not; the factors are no connections."""
    if kind == "linear":
        model = Written(
            lambda m, x: F.linear(F.linear(x, m.w + m.b @ m.a), m.o), w=(5, 4), b=(5, 2), a=(2, 4), o=(3, 5)
        )
    else:
        model = Written(lambda m, x: F.conv1d(F.conv1d(x.mT, m.w + (m.b @ m.a)[..., None]), m.o), w=(5, 4, 1), b=(5, 2), a=(2, 4), o=(3, 5, 1))  # fmt: skip
    shapes = {"w": model.w.shape, "o": model.o.shape}
    masks = random_masks(shapes, 0.3, 1)
    judge = gradient_masks(model.double(), (rows.double(),), masks)
    graph = gs.export(model.float(), rows.float(), masks)
    active = active_connections(graph)
    assert set(graph.shapes) == set(shapes)
    assert all((judge[name] <= active[name]).all() for name in shapes) and active["o"].sum() == masks["o"].sum()
    assert "computes" in graph.coverage.conservative[0][-1] or "computed" in graph.coverage.conservative[0][-1]


def chunked(m, x):
    """A product over positions that are filled up with zeros to a round number, as scans by chunks have them."""
    left, right = (F.pad(x @ kernel, (0, 0, 0, 27)) for kernel in (m.q, m.k))
    return (torch.tanh(left @ right.mT) @ F.pad(x @ m.v, (0, 0, 0, 27)))[:, :5].tanh() @ m.o


CHUNKED = {"q": (4, 3), "k": (4, 3), "v": (4, 6), "o": (6, 2)}


def test_zeros_that_fill_a_product_up_are_no_terms(monkeypatch):
    monkeypatch.setattr("graphsparse.capture.mechanics.matrices.MOST_TERMS", 200)
    graph = assert_exact(Written(chunked, **CHUNKED), (rows,))
    assert not graph.coverage.conservative


def test_a_product_of_too_many_terms_is_a_superset_and_says_so(monkeypatch):
    monkeypatch.setattr("graphsparse.capture.mechanics.matrices.MOST_TERMS", 20)
    many, truly, graph = excess(Written(chunked, **CHUNKED), (rows,))
    assert many < 0.3 * truly
    assert {reason for *_, reason in graph.coverage.conservative} == {
        "more than 20 million products of activations: positions are joined"
    }


@pytest.mark.parametrize("filled", [False, True])
def test_a_scale_of_what_was_chosen_leaves_what_it_was_chosen_from(filled):
    half = torch.tensor([True, False] * 3)

    def forward(m, x):
        whole = x @ m.w
        chosen = whole.masked_fill(~half, 0.0) if filled else torch.where(half, whole, torch.zeros(6))
        return (chosen * m.g + whole) @ m.v

    graph = gs.export(
        Written(forward, w=(4, 6), g=(6,), v=(6, 3)), rows.float(), {"g": torch.zeros(6, dtype=torch.bool)}
    )
    assert all(mask.all() for mask in active_connections(graph).values())


class Inside(nn.Module):
    """An operation in one of two branches."""

    def __init__(self, operation):
        super().__init__()
        self.operation = operation
        self.yes, self.no, self.head = (nn.Linear(4, n, bias=False) for n in (4, 4, 2))

    def forward(self, x):
        return self.head(
            torch.cond(x.sum() > 0, lambda x: self.operation(self.yes(x)), lambda x: self.no(x).relu(), (x,))
        )


def test_a_composite_in_a_branch_is_taken_apart_and_one_without_a_rule_is_named():
    graph = gs.export(Inside(lambda y: torch.einsum("bti->bti", y) * 2), rows.float(), {})
    assert list(graph.shapes) == ["yes.weight", "no.weight", "head.weight"]
    with pytest.raises(UnsupportedOperations, match="1 of . operations have no rule\n.*histc"):
        gs.export(Inside(lambda y: torch.histc(y).sum() * y), rows.float(), {})


@pytest.mark.parametrize("inplace", [False, True])
def test_what_is_computed_for_nothing_is_unused_however_the_program_is_captured(inplace):
    """A pooler that nobody asks for. In-place operations make torch trace the program once more, which drops it."""

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.pooler = nn.Linear(4, 3), nn.Linear(3, 3)
            self.act = nn.ReLU(inplace)

        def forward(self, x):
            y = self.act(self.body(x))
            self.pooler(y).tanh()
            return y

    graph = gs.export(Pooled(), rows.float(), {})
    assert list(graph.shapes) == ["body.weight"] and graph.unused == ("pooler.weight",)
