"""Saliency scores against slow, literal computations; and the user's model as it was."""

from __future__ import annotations

import copy
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from graphsparse import zoo
from graphsparse.algebras import from_pairs
from graphsparse.capture import export, network_of
from graphsparse.capture.rules import RULES
from graphsparse.errors import GraphsparseError, MaskError, ModelError, TargetError, UnsupportedOperations
from graphsparse.passes.liveness import active_connections
from graphsparse.passes.paths import path_counts
from graphsparse.pruning import synflow as synflow_module
from graphsparse.pruning.losses import batch_loss, cross_entropy
from graphsparse.pruning.magnitude import lamp, lamp_scores, magnitude
from graphsparse.pruning.methods import METHODS, method_named, saliency
from graphsparse.pruning.quotas import quotas
from graphsparse.pruning.ranks import random_scores
from graphsparse.pruning.rounds import ranks_by_round, rounded, schedule
from graphsparse.pruning.sensitivity import grasp, iterative_snip, snip
from graphsparse.pruning.synflow import flow_of


def kernels_of(model):
    return [name for name, p in model.named_parameters() if p.dim() > 1]


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    pairs = [(torch.randn(8, 6, generator=generator), torch.randint(0, 3, (8,), generator=generator)) for _ in range(3)]
    return [(x.double(), y) for x, y in pairs]


class Restless(nn.Module):
    """Every kind of state that a careless pruner disturbs, and every source of random draws."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.Linear(4 * 16, 6)
        self.head = nn.Linear(6, 3)
        self.frozen.requires_grad_(False)
        self.norm.eval()
        self.head.weight.grad = torch.ones(3, 6)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        x = functional.max_pool2d(functional.relu(self.norm(self.conv(x))), 2)
        x = self.drop(x) + 0 * random.random() + float(0 * np.random.rand())
        return self.head(torch.tanh(self.frozen(x.flatten(1))))


IMAGES = [(torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(k)), torch.arange(5) % 3) for k in range(2)]


def snapshot(model):
    """Everything that must not change, as values that compare with ==."""
    numbers = lambda tensor: None if tensor is None else (str(tensor.dtype), tensor.detach().numpy().tobytes())
    return {
        "state": {name: numbers(tensor) for name, tensor in model.state_dict().items()},
        "grads": {name: numbers(p.grad) for name, p in model.named_parameters()},
        "parameters": {name: (id(p), p.requires_grad) for name, p in model.named_parameters()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "calls": model.calls,
        "random": (numbers(torch.get_rng_state()), random.getstate(), np.random.get_state()[1].tobytes()),
        "gradients on": torch.is_grad_enabled(),
    }


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_as_it_was_and_the_seed_decides(method, training):
    torch.manual_seed(3)
    model = Restless().train(training)
    wanted = {"example_inputs": IMAGES[0][0], "data": IMAGES, "compression": 20, "seed": 5}
    if "rounds" in METHODS[method].options:
        wanted["rounds"] = 4
    with torch.no_grad():
        before = snapshot(model)
        first = saliency(method, model, kernels_of(model), **wanted)
        assert snapshot(model) == before
    torch.rand(3), random.random(), np.random.rand()
    second = saliency(method, model, kernels_of(model), **wanted)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            assert first[name].shape == tuple(parameter.shape) and first[name].dtype in (np.float32, np.float64)
            assert (first[name] == second[name]).all()


def test_snip_is_the_derivative_with_respect_to_a_connections_presence(tiny, batches):
    found = snip(tiny, kernels_of(tiny), batches)
    for name, index in [("0.weight", (2, 3)), ("2.weight", (0, 4)), ("4.weight", (2, 1))]:
        changed = copy.deepcopy(tiny)
        weight, losses = changed.get_parameter(name), []
        value, step = weight[index].item(), 1e-5
        for presence in (1 + step, 1 - step):
            weight.data[index] = value * presence
            losses.append(np.mean([functional.cross_entropy(changed(x), y).item() for x, y in batches]))
        assert found[name][index] == pytest.approx(abs(losses[0] - losses[1]) / (2 * step), rel=1e-5)


def test_snip_averages_gradients_before_it_takes_absolutes(tiny, batches):
    x, y = (torch.cat(parts) for parts in zip(*batches))
    together = snip(tiny, kernels_of(tiny), [(x, y)])
    apart = snip(tiny, kernels_of(tiny), iter(batches))
    assert all(np.allclose(together[name], apart[name], rtol=1e-8) for name in together)


@pytest.mark.parametrize("training", [True, False])
def test_snip_runs_in_the_mode_that_the_model_is_in(training):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 3)).double()
    model.train(training)
    x, y = IMAGES[0]
    found = snip(model, ["0.weight"], [(x, y)])["0.weight"]
    twin = copy.deepcopy(model)
    grad = torch.autograd.grad(functional.cross_entropy(twin(x.double()), y), twin[0].weight)[0]
    assert np.allclose(found, (grad * twin[0].weight).abs().detach().numpy())


def test_snip_in_the_models_own_precision(tiny, batches):
    model = tiny.float()
    exact, own = (snip(model, kernels_of(model), batches, dtype=dtype) for dtype in (torch.float64, None))
    assert all(np.allclose(exact[name], own[name], rtol=1e-3, atol=1e-6) for name in exact)


def test_grasp_against_the_whole_hessian(tiny, batches):
    names = kernels_of(tiny)
    shapes = [tiny.get_parameter(name).shape for name in names]
    flat = torch.cat([tiny.get_parameter(name).detach().ravel() for name in names])
    biases = {name: p.detach() for name, p in tiny.named_parameters() if name not in names}

    def loss(vector):
        parts = [part.reshape(shape) for part, shape in zip(vector.split([s.numel() for s in shapes]), shapes)]
        values = {**biases, **dict(zip(names, parts))}
        outputs = [(torch.func.functional_call(tiny, values, (x,)) / 200, y) for x, y in batches]
        return sum(functional.cross_entropy(out, y) for out, y in outputs) / len(outputs)

    hessian = torch.autograd.functional.hessian(loss, flat)
    expected = flat * (hessian @ torch.autograd.functional.jacobian(loss, flat))
    found = np.concatenate([values.ravel() for values in grasp(tiny, names, batches).values()])
    assert np.allclose(found, expected.numpy(), rtol=1e-6, atol=1e-16)


def test_grasp_keeps_what_carries_gradient(tiny, batches):
    """Shrinking the weight of greatest score lowers the norm of the gradient; shrinking that of least raises it."""
    scores = grasp(tiny, ["2.weight"], batches, temperature=1.0)["2.weight"]

    def norm(index):
        shrunk = copy.deepcopy(tiny)
        shrunk.get_parameter("2.weight").data[index] *= 1 - 1e-4
        loss = sum(functional.cross_entropy(shrunk(x), y) for x, y in batches) / len(batches)
        return torch.autograd.grad(loss, shrunk.get_parameter("2.weight"))[0].square().sum().item()

    assert scores.max() > 0 > scores.min()
    best, worst = (np.unravel_index(f(scores), scores.shape) for f in (np.argmax, np.argmin))
    plain = norm(np.s_[:0])
    assert norm(best) < plain < norm(worst)


def slow_lamp(values):
    flat = np.abs(values.ravel().astype(float))
    order = sorted(range(flat.size), key=lambda i: (-flat[i], i))
    scores = np.zeros(flat.size)
    for place, index in enumerate(order):
        below = sum(flat[other] ** 2 for other in order[: place + 1])
        scores[index] = flat[index] ** 2 / below if below else 0.0
    return scores.reshape(values.shape)


def test_lamp_by_definition():
    rng = np.random.default_rng(0)
    for values in (rng.standard_normal((8, 9)), rng.integers(-2, 3, (7, 5)), np.zeros((2, 2)), np.array([[3.0]])):
        for dtype in (np.float32, np.float64):
            assert np.allclose(lamp_scores(values.astype(dtype)), slow_lamp(values.astype(dtype)))
    assert lamp_scores(np.array([[1.0, -2.0]])).tolist() == [[0.2, 1.0]]


def test_lamp_under_masks_forgets_the_pruned():
    layer = nn.Linear(3, 1)
    layer.weight.data = torch.tensor([[1.0, 2.0, 5.0]])
    found = lamp(layer, ["weight"], {"weight": torch.tensor([[True, True, False]])})["weight"]
    assert found.tolist() == [[0.2, 1.0, -math.inf]]


def test_magnitude_and_masks_of_torch_prune():
    layer = nn.Linear(3, 2)
    layer.weight.data = torch.tensor([[1.0, -2.0, 0.5], [4.0, 3.0, -6.0]])
    prune.custom_from_mask(layer, "weight", torch.tensor([[1, 0, 1], [0, 1, 1]]))
    layer(torch.zeros(1, 3))
    assert magnitude(layer, ["weight"])["weight"].tolist() == [[1.0, 0.0, 0.5], [0.0, 3.0, 6.0]]
    data = [(torch.ones(4, 3), torch.tensor([0, 1, 1, 0]))]
    assert (snip(layer, ["weight"], data)["weight"] == 0).tolist() == [[False, True, False], [True, False, False]]
    assert hasattr(layer, "weight_orig") and len(layer._forward_pre_hooks) == 1


def test_half_precision_weights():
    layer = nn.Linear(3, 2).to(torch.bfloat16)
    assert magnitude(layer, ["weight"])["weight"].dtype == np.float32


# --- rounds -----------------------------------------------------------------------------------------------------------


def slow_rounds(score, shape, counts):
    """The masks after every round, one connection dropped at a time."""
    mask, after = np.ones(shape, bool), []
    for count in counts:
        values = rounded(score({"w": mask})["w"])
        while mask.sum() > count:
            left = np.flatnonzero(mask)
            mask.ravel()[left[np.lexsort((-left, values.ravel()[left]))[0]]] = False
        after.append(mask.copy())
    return after


@pytest.mark.parametrize("distinct", [3, 10**6])
def test_one_ranking_reproduces_every_round(distinct):
    weights = np.random.default_rng(0).integers(1, distinct, (9, 11)).astype(float)

    def score(masks):  # what is left changes what matters
        kept = weights * masks["w"]
        return {"w": kept * kept.sum(1, keepdims=True) / (1 + kept.sum(0, keepdims=True))}

    ranks = ranks_by_round(score, {"w": (9, 11)}, compression=33, rounds=7)["w"]
    counts = schedule(99, 3, 7)
    for mask, count in zip(slow_rounds(score, (9, 11), counts), counts):
        assert (ranks >= ranks[mask].min()).sum() == count == mask.sum()
        assert ((ranks >= ranks[mask].min()) == mask).all()


def test_a_schedule_decays_exponentially():
    assert schedule(1000, 1, 3) == [100, 10, 1]
    assert schedule(100, 0.2, 2) == [10, 1]
    assert schedule(50, 80, 2) == [50, 50]
    assert schedule(0, 1, 2) == [0, 0]


def test_rounds_start_from_masks_and_report():
    start, seen = np.random.default_rng(0).random((6, 6)) < 0.5, []
    weights = np.random.default_rng(1).random((6, 6))
    ranks = ranks_by_round(
        lambda masks: {"w": weights * masks["w"]}, {"w": (6, 6)}, 9, 3, {"w": start}, lambda *step: seen.append(step)
    )["w"]
    assert (np.isneginf(ranks) == ~start).all() and seen == [(1, 3), (2, 3), (3, 3)]
    assert (np.argsort(ranks[start]) == np.argsort(weights[start])).all()


def test_rounds_refuse():
    with pytest.raises(TargetError, match=r"at least 1; received 0\.5, 3"):
        ranks_by_round(lambda masks: masks, {"w": (2, 2)}, 0.5, 3)
    with pytest.raises(MaskError, match="a score must be a number, at w; received NaN"):
        ranks_by_round(lambda masks: {"w": np.full((2, 2), np.nan)}, {"w": (2, 2)}, 2, 1)


def test_iterative_snip_is_snip_over_and_over(tiny, batches):
    ranks = iterative_snip(tiny, kernels_of(tiny), batches, compression=10, rounds=6, batches_per_round=None)
    shapes = [tuple(tiny.get_parameter(name).shape) for name in ranks]
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    masks = {name: torch.ones(shape, dtype=torch.bool) for name, shape in zip(ranks, shapes)}
    flat_ranks = np.concatenate([values.ravel() for values in ranks.values()])
    for count in schedule(62, 6.2, 6):
        scores = snip(tiny, list(ranks), batches, masks=masks)
        flat = np.concatenate([values.ravel() for values in scores.values()])
        keep = np.zeros(62, bool)
        keep[np.argsort(-flat, kind="stable")[:count]] = True
        assert (keep == (flat_ranks >= np.sort(flat_ranks)[-count])).all()
        masks = {n: torch.from_numpy(part.reshape(s)) for n, s, part in zip(ranks, shapes, np.split(keep, ends))}


def test_iterative_snip_goes_round_the_batches(tiny, batches):
    once = [iterative_snip(tiny, kernels_of(tiny), batches, 10, rounds=4, seed=seed) for seed in (0, 0)]
    assert all((once[0][name] == once[1][name]).all() for name in once[0])
    from_iterator = iterative_snip(tiny, kernels_of(tiny), iter(batches), 10, rounds=4)
    assert all((once[0][name] == from_iterator[name]).all() for name in from_iterator)


def test_iterative_snip_of_a_loader_whose_length_is_not_known(tiny, batches):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(batches)

    loader = torch.utils.data.DataLoader(Stream(), batch_size=None)
    found, expected = (iterative_snip(tiny, kernels_of(tiny), data, 10, rounds=4) for data in (loader, batches))
    assert all((found[name] == expected[name]).all() for name in expected)


# --- SynFlow ----------------------------------------------------------------------------------------------------------


def one_round(model, inputs, masks=None, dtype=torch.float64, network=None):
    names = kernels_of(model)
    program, inner = synflow_module._apart(network or network_of(model, inputs), names, RULES)
    values = {name: p.detach().abs().to(dtype) for name, p in model.named_parameters() if name in names}
    if masks is not None:
        values = {name: value * masks[name] for name, value in values.items()}
    return synflow_module.flow_scores(program, inner, values)


class Plain(nn.Module):
    """A linear network with a skip, strides and two pools: SynFlow of it needs nothing but autograd."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.b = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.c = nn.Conv2d(4, 5, 3, stride=2, bias=False)
        self.d = nn.Linear(5, 3, bias=False)

    def forward(self, x):
        x = functional.avg_pool2d(self.a(x), 2)
        return self.d(self.c(x + self.b(x)).mean((2, 3)))


class Dressed(Plain):
    """The same flow under batch norm, biases, activations, dropout, maxima and differences."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(3))
        self.norm = nn.BatchNorm2d(4)
        self.norm.bias.data.normal_()
        self.norm.running_mean.normal_()
        self.drop = nn.Dropout(0.3)
        self.b.bias = nn.Parameter(torch.randn(4))

    def forward(self, x):
        x = functional.max_pool2d(functional.gelu(self.norm(self.a(x))), 2)
        x = self.drop(x).relu_()
        return torch.tanh(self.d(self.c(functional.silu(x - self.b(x))).mean((2, 3))) + self.bias)


@pytest.mark.parametrize("kind", [Plain, Dressed])
def test_synflow_is_the_gradient_of_the_absolute_linear_network(kind):
    torch.manual_seed(0)
    model = kind().double()
    linear = Plain().double()
    for name in kernels_of(linear):
        linear.get_parameter(name).data = model.get_parameter(name).detach().abs()
    linear(torch.ones(1, 2, 12, 12, dtype=torch.float64)).sum().backward()
    found = one_round(model, torch.zeros(3, 2, 12, 12, dtype=torch.float64))
    expected = {name: (p * p.grad).detach().numpy() for name, p in linear.named_parameters()}
    factor = found["d.weight"].sum() / expected["d.weight"].sum()
    for name, values in expected.items():
        assert np.allclose(found[name], factor * values, rtol=1e-4 if kind is Dressed else 1e-10), name


@pytest.mark.parametrize("kind", [Plain, Dressed])
@pytest.mark.parametrize("density", [1.0, 0.5])
def test_synflow_is_the_sweep_of_weighted_paths(kind, density):
    """A connection's score is the total weight of the source-sink paths through it, up to a common factor."""
    torch.manual_seed(0)
    model, inputs = kind(), torch.zeros(1, 2, 12, 12)
    names = kernels_of(model)
    masks = {name: torch.rand_like(model.get_parameter(name)) < density for name in names}
    weights = {name: model.get_parameter(name).detach().abs().double().numpy() for name in names}
    paths = path_counts(export(model, inputs, masks), weights).connections()
    found = one_round(model, inputs, masks)
    factor = found["d.weight"].sum() / from_pairs(paths["d.weight"]).sum()
    for name in names:
        assert np.allclose(found[name], factor * from_pairs(paths[name]), rtol=1e-4 if kind is Dressed else 1e-10), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_synflow_neither_overflows_nor_underflows(dtype):
    """200 layers of width 512: R is about 1e280, beyond float32 by far; each layer's scores must add up to the same."""
    torch.manual_seed(0)
    shared = [nn.Linear(512, 512, bias=False) for _ in range(4)]
    model = nn.Sequential(nn.Linear(3, 512), *[shared[k % 4] if k % 50 else nn.Linear(512, 512) for k in range(198)])
    model.append(nn.Linear(512, 10))
    for layer in model:
        nn.init.kaiming_normal_(layer.weight)
    found = one_round(model, torch.zeros(1, 3), dtype=dtype)
    uses = {name: sum(layer.weight is model.get_parameter(name) for layer in model) for name in found}
    sums = [values.sum() / uses[name] for name, values in found.items()]
    assert np.allclose(sums, sums[0], rtol=1e-4) and math.isfinite(sums[0]) and sums[0] > 0
    assert all((values > 0).all() for values in found.values())


@pytest.mark.parametrize("gain", [1e-30, 1e30])
def test_synflow_does_not_depend_on_the_scale_of_a_layer(gain):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    before = one_round(model, torch.zeros(1, 4))
    for name in kernels_of(model):
        model.get_parameter(name).data *= gain
    after = one_round(model, torch.zeros(1, 4))
    factor = after["0.weight"].sum() / before["0.weight"].sum()
    assert all(np.allclose(after[name], factor * before[name], rtol=1e-5) for name in before)


ZOO = [("lenet300100", 0.01), ("lenet5", 0.03), ("digits_conv", 0.01), ("vgg19", 0.002), ("resnet18", 0.002)]


@pytest.mark.parametrize(("name", "density"), ZOO)
def test_synflow_scores_are_positive_on_the_active_connections_and_nowhere_else(name, density):
    model = zoo.build(name)
    network = network_of(model, torch.zeros(1, *zoo.input_shape(name)))  # captured once
    generator = torch.Generator().manual_seed(1)
    kernels = {n: p for n, p in model.named_parameters() if p.dim() > 1}
    share = {n: max(density, 40 / p.numel()) for n, p in kernels.items()}
    masks = {n: torch.rand(p.shape, generator=generator) < share[n] for n, p in kernels.items()}
    active = active_connections(export(network, masks))
    found = one_round(model, None, masks, network=network)
    assert 0 < sum(a.sum() for a in active.values()) < sum(int(m.sum()) for m in masks.values())
    for kernel, values in found.items():
        assert ((values > 0) == active[kernel]).all(), kernel


def test_synflow_leaves_no_gap():
    model, inputs = zoo.build("lenet300100"), torch.zeros(1, 1, 28, 28)
    ranks = saliency("synflow", model, kernels_of(model), example_inputs=inputs, compression=2662)
    graph = export(model, inputs, {})
    flat = np.concatenate([values.ravel() for values in ranks.values()])
    for compression in (10, 100, 1000, 2662):
        kept = round(flat.size / compression)
        masks = {name: torch.from_numpy(values >= np.sort(flat)[-kept]) for name, values in ranks.items()}
        direct = sum(int(mask.sum()) for mask in masks.values())
        active = sum(int(a.sum()) for a in active_connections(graph.with_masks(masks)).values())
        assert direct >= active >= 0.995 * direct - 1


class Talker(nn.Module):
    """Tokens, positions, attention with a residual, two hand-written norms and a tied head."""

    def __init__(self, vocabulary=11, width=8):
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(16, width)
        self.RootNorm = RootNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width)
        self.up, self.gate, self.down = nn.Linear(width, 12), nn.Linear(width, 12), nn.Linear(12, width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        x = self.table(tokens) + self.places(torch.arange(tokens.shape[1]))
        y = self.RootNorm(x)
        q, k, v = (f(y).unflatten(-1, (2, 4)).transpose(1, 2) for f in (self.q, self.k, self.v))
        x = x + self.o(functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        y = self.norm(x)
        return self.head(x + self.down(functional.silu(self.gate(y)) * self.up(y)))


class RootNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def test_synflow_of_a_transformer_with_tied_weights():
    torch.manual_seed(0)
    model = Talker()
    names = [name for name in kernels_of(model) if name != "places.weight"]
    assert "head.weight" not in names
    found = saliency(
        "synflow", model, names, example_inputs=torch.zeros(1, 5, dtype=torch.long), compression=5, rounds=3
    )
    flat = np.concatenate([values.ravel() for values in found.values()])
    assert np.isfinite(flat).all() and len(np.unique(flat)) > 0.9 * flat.size
    scores = one_round(model, torch.zeros(1, 5, dtype=torch.long))
    assert all((scores[name] > 0).all() for name in names), "every kernel of a dense model carries flow"
    assert (scores["places.weight"] == 0).all(), "positions are constants"


class SpreadNorm(nn.Module):
    def forward(self, x):
        return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)


class InverseNorm(nn.Module):
    def forward(self, x):
        return (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, keepdim=True) + 1e-6)


class Gated(nn.Module):
    """A gate that is never shut: sigmoid of zero is not zero."""

    def __init__(self):
        super().__init__()
        self.gate, self.value = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)

    def forward(self, x):
        return torch.sigmoid(self.gate(x)) * self.value(x)


@pytest.mark.parametrize("middle", [SpreadNorm, InverseNorm, Gated, lambda: nn.LayerNorm(6), lambda: nn.Softmax(-1)])
def test_synflow_flows_where_the_graph_does(middle):
    """Dead units stay dead through a normalisation as if it were not there, gates let through where they should, softmax joins all."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), middle(), nn.Linear(6, 4))
    masks = {name: torch.rand(model.get_parameter(name).shape) < 0.2 for name in kernels_of(model)}
    masks |= {name: torch.arange(36).reshape(6, 6) > 30 for name in masks if "gate" in name}
    masks |= {name: torch.eye(6, dtype=torch.bool) for name in masks if "value" in name}
    found = one_round(model, torch.zeros(1, 5), masks)
    model[1] = nn.Identity() if "Norm" in type(model[1]).__name__ else model[1]
    active = active_connections(export(model, torch.zeros(1, 5), masks))
    assert sum(a.sum() for a in active.values()) > 0
    for name in found:
        assert ((found[name] > 0) == active[name]).all(), name


def test_synflow_reads_every_row_of_a_table():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(7, 3)
            self.fc = nn.Linear(3, 2)

        def forward(self, tokens):
            return self.fc(self.table(tokens))

    model = Reader()
    found = one_round(model, torch.tensor([[1, 1, 4]]))
    expected = (model.table.weight * model.fc.weight.abs().sum(0)).abs().detach().numpy()
    assert np.allclose(found["table.weight"] / found["table.weight"].sum(), expected / expected.sum())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 1},
        {"padding": 1},
        {"dilation": 2},
        {"ceil_mode": True},
        {"stride": 2, "dilation": 2, "ceil_mode": True},
    ],
    ids=str,
)
def test_synflow_pools_maxima_as_sums_whatever_their_windows(options):
    """One corner of the pooled map is read; taps of a kernel as wide as the map show which positions it pools."""
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 1, 7, padding=3, bias=False)
    model = nn.Sequential(conv, nn.MaxPool2d(2, **options), nn.Flatten(), nn.LazyLinear(1))
    model(torch.zeros(1, 1, 7, 7))
    corner = torch.zeros(model[3].weight.shape, dtype=torch.bool)
    corner[0, 0 if "ceil_mode" not in options else -1] = True
    masks = {"0.weight": torch.ones(1, 1, 7, 7, dtype=torch.bool), "3.weight": corner}
    found = one_round(model, torch.zeros(1, 1, 7, 7), masks)
    active = active_connections(export(model, torch.zeros(1, 1, 7, 7), masks))
    assert 0 < active["0.weight"].sum() < 49
    assert all(((found[name] > 0) == active[name]).all() for name in found)


def test_synflow_refuses_what_it_cannot_make_linear():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return torch.cumprod(self.fc(x), -1)

    with pytest.raises(UnsupportedOperations, match=r"1 of \d+ operations have no linear form for SynFlow"):
        saliency("synflow", Odd(), ["fc.weight"], example_inputs=torch.zeros(1, 4), compression=2)


def test_every_linear_form_that_a_row_names_exists():
    missing = [str(key) for key, row in RULES.items() if isinstance(row.flows, str) and row.flows and not flow_of(row)]
    assert not missing


def test_synflow_takes_further_rules():
    class Running(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return torch.cumprod(self.fc(x), -1)

    operation = torch.ops.aten.cumprod.default
    rule = replace(RULES[operation], flows="keeps")
    example = torch.zeros(1, 4)
    scores = synflow_module.synflow(
        network_of(Running(), example), ["fc.weight"], 2, rounds=2, extra_rules={operation: rule}
    )
    assert scores["fc.weight"].shape == (4, 4)


@pytest.mark.parametrize("method", ["snip", "grasp", "iterative_snip", "synflow"])
def test_the_number_of_threads_does_not_show(method):
    model = zoo.build("digits_conv")
    generator = torch.Generator().manual_seed(0)
    data = [(torch.randn(16, 1, 8, 8, generator=generator), torch.arange(16) % 10)]
    wanted = {"example_inputs": data[0][0], "data": data, "compression": 50}
    wanted |= {"rounds": 5} if "rounds" in METHODS[method].options else {}
    orders, threads = [], torch.get_num_threads()
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            scores = saliency(method, model, kernels_of(model), **wanted)
            orders.append(np.argsort(-np.concatenate([v.ravel() for v in scores.values()]), kind="stable"))
    finally:
        torch.set_num_threads(threads)
    kept = orders[0].size // 50
    assert set(orders[0][:kept]) == set(orders[1][:kept])


# --- the table --------------------------------------------------------------------------------------------------------


def test_every_method_has_a_name_that_people_write():
    spelled = {
        "igq-random": "random/igq", "random/igq": "random/igq", "magnitude/uniform+": "magnitude/uniform_plus",
        "uniform-plus-random": "random/uniform_plus", "magnitude/global": "magnitude",
        "snip/iterative": "iterative_snip",
        "iterative-snip": "iterative_snip", "synflow-random": "random/synflow", "LAMP": "lamp",
        "uniform_plus/random": "random/uniform_plus",
    }  # fmt: skip
    assert {name: method_named(name) for name in spelled} == spelled
    assert all(method_named(name) == name for name in METHODS)
    with pytest.raises(TargetError, match=r"known name; received 'fancy'\. Way out: use one of random, random/uniform"):
        method_named("fancy")


def counts(scores, threshold):
    return [int((values >= threshold).sum()) for values in scores.values()]


@pytest.mark.parametrize("order", ["random", "magnitude"])
def test_quotas_under_both_orders(order):
    model = zoo.build("lenet300100")
    names = kernels_of(model)
    scores = saliency(f"{order}/igq", model, names, seed=2)
    shapes = [values.shape for values in scores.values()]
    force = 1 / quotas("igq", shapes, 0.99).__getitem__(0)
    sparsities = quotas("igq", shapes, 0.99)
    force = sparsities[0] / (1 - sparsities[0]) / math.prod(shapes[0])
    expected = [round(math.prod(shape) * (1 - s)) for shape, s in zip(shapes, sparsities)]
    assert counts(scores, force) == expected == [1087, 1053, 522]
    if order == "magnitude":
        for name, values in scores.items():
            sizes = model.get_parameter(name).detach().abs().numpy()
            assert sizes[values >= force].min() >= sizes[values < force].max()


@pytest.mark.parametrize("method", ["snip", "synflow"])
def test_random_under_found_sparsities(method, tiny, batches):
    wanted = {"example_inputs": batches[0][0], "data": batches, "compression": 10}
    found = saliency(method, tiny, kernels_of(tiny), **wanted)
    moved = saliency(f"random/{method}", tiny, kernels_of(tiny), seed=1, **wanted)
    for threshold in np.unique(np.concatenate([v.ravel() for v in found.values()]))[::5]:
        assert counts(found, threshold) == counts(moved, threshold)
    assert any((found[name] != moved[name]).any() for name in found)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_pruned_stays_pruned(method, tiny, batches):
    generator = torch.Generator().manual_seed(0)
    masks = {name: torch.rand(tiny.get_parameter(name).shape, generator=generator) < 0.6 for name in kernels_of(tiny)}
    wanted = {"example_inputs": batches[0][0], "data": batches, "compression": 10, "masks": masks}
    scores = saliency(method, tiny, kernels_of(tiny), **wanted)
    assert all((np.isneginf(scores[name]) == ~masks[name].numpy()).all() for name in scores)


def test_random_scores_are_the_same_everywhere():
    found = random_scores({"a": (2, 2)}, seed=7)["a"]
    assert found == pytest.approx(np.array([[0.62509547, 0.8972138], [0.77568569, 0.22520719]]), abs=1e-8)
    large = random_scores({"a": (200, 300)}, seed=0)["a"]
    assert large.min() >= 0 and large.max() < 1 and abs(large.mean() - 0.5) < 0.01


def test_random_methods_need_shapes_alone():
    with torch.device("meta"):
        model = nn.Linear(4, 3)
    assert saliency("random/erk", model, ["weight"])["weight"].shape == (3, 4)
    with pytest.raises(ModelError, match="meta device"):
        saliency("magnitude", model, ["weight"])


def test_refusals(tiny, batches):
    names = kernels_of(tiny)
    with pytest.raises(GraphsparseError, match="data must be given"):
        saliency("snip", tiny, names)
    with pytest.raises(GraphsparseError, match="at least one batch"):
        saliency("grasp", tiny, names, data=[])
    with pytest.raises(GraphsparseError, match="at least one batch"):
        saliency("iterative_snip", tiny, names, data=[], compression=2)
    with pytest.raises(GraphsparseError, match=r"pairs \(x, y\); received Tensor"):
        saliency("snip", tiny, names, data=[torch.zeros(2, 6)])
    with pytest.raises(GraphsparseError, match="give example_inputs"):
        saliency("synflow", tiny, names, compression=2)
    with pytest.raises(GraphsparseError, match="seed must be a non-negative integer; received -1"):
        saliency("random", tiny, names, seed=-1)
    with pytest.raises(MaskError, match=r"no parameter 7\.weight"):
        saliency("snip", tiny, [*names, "7.weight"], data=batches)
    with pytest.raises(MaskError, match=r"the shape of its parameter, at 0.weight; received \(2, 2\)"):
        saliency("lamp", tiny, names, masks={"0.weight": torch.ones(2, 2, dtype=torch.bool)})
    tiny.get_parameter("2.weight").data[0, 0] = math.nan
    for method in ("magnitude", "magnitude/igq", "lamp"):
        with pytest.raises(MaskError, match=r"a score must be a number, at 2\.weight; received NaN"):
            saliency(method, tiny, names)


# --- losses -----------------------------------------------------------------------------------------------------------


def test_cross_entropy_finds_the_axis_of_the_classes():
    logits, targets = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    assert torch.isclose(
        cross_entropy(logits, targets), functional.cross_entropy(logits.reshape(10, 7), targets.reshape(10))
    )
    maps, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    assert torch.isclose(cross_entropy(maps, labels), functional.cross_entropy(maps, labels))


def test_batches_as_arguments_and_logits():
    class Output:
        def __init__(self, logits):
            self.logits = logits

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 3)

        def forward(self, a, b):
            return Output(self.fc(a + b))

    model, a, b, y = Model(), torch.randn(4, 2), torch.randn(4, 2), torch.tensor([0, 1, 2, 0])
    expected = functional.cross_entropy(model.fc(a + b) / 2, y)
    for x in ((a, b), [a, b], {"a": a, "b": b}):
        assert torch.isclose(batch_loss(model, (x, y), cross_entropy, temperature=2.0), expected)
