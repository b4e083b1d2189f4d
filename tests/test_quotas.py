"""Quotas: shares of layers, against closed values and a literal search; and quota families as global scores."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphsparse.errors import TargetError
from graphsparse.pruning.quotas import FAMILIES, fewest_kept, quotas
from graphsparse.pruning.ranks import descending_order, layer_ranks, quota_scores, random_ranks, scores_in_order

LENET = [(300, 784), (100, 300), (10, 100)]
LENET5 = [(6, 3, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)]
REFERENCE = json.loads((Path(__file__).parent / "reference" / "vectors.json").read_text())

layer = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 5), st.integers(1, 5)),
)
shapes_of_layers = st.lists(layer, min_size=1, max_size=8)


def total(shapes):
    return sum(math.prod(shape) for shape in shapes)


def kept(shapes, sparsities):
    return math.fsum(math.prod(shape) * (1.0 - s) for shape, s in zip(shapes, sparsities))


@pytest.mark.parametrize(
    ("compression", "expected"), [(10, [0.935553, 0.649323, 0.058133]), (100, [0.995380, 0.964887, 0.478074])]
)
def test_igq_on_lenet(compression, expected):
    assert quotas("igq", LENET, 1 - 1 / compression) == pytest.approx(expected, abs=5e-7)


def test_erk_clips_and_solves_again_by_hand():
    # 26,620 of 266,200; the last layer wants 110 / 1594 of them, 1837, and has 1000: the rest is shared 1084 : 400
    found = quotas("erk", LENET, 0.9)
    assert found == pytest.approx([1 - 25620 * 1084 / 1484 / 235200, 1 - 25620 * 400 / 1484 / 30000, 0.0], abs=1e-12)


def test_uniform_plus_by_hand():
    # layers of 10, 100, 50 and 40 weights: the first is dense, the last keeps 8 where the others keep less than a fifth
    shapes = [(10, 1), (10, 10), (5, 10), (4, 10)]
    assert quotas("uniform_plus", shapes, 1 - 33 / 200) == pytest.approx([0.0, 0.9, 0.9, 0.8])
    assert quotas("uniform_plus", shapes, 1 - 105 / 200) == pytest.approx([0.0, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("case", REFERENCE["vectors"], ids=lambda c: f"{c['arch']}-{c['family']}-{c['compression']}")
def test_reference_vectors(case):
    shapes = REFERENCE["architectures"][case["arch"]]["shapes"]
    assert quotas(case["family"], shapes, 1 - 1 / case["compression"]) == pytest.approx(case["sparsities"], abs=1e-9)


@pytest.mark.parametrize("architecture", REFERENCE["architectures"])
@pytest.mark.parametrize("name", ["uniform", "erk", "igq"])
@pytest.mark.parametrize("wanted", [1, 2, 10, 1000, 0.02, 0.3, 0.6, 0.9, 1.0])
def test_kept_weights_add_up_at_every_compression(architecture, name, wanted):
    shapes = REFERENCE["architectures"][architecture]["shapes"]
    wanted = wanted * total(shapes) if isinstance(wanted, float) else wanted
    found = quotas(name, shapes, 1 - wanted / total(shapes))
    assert kept(shapes, found) == pytest.approx(wanted, rel=1e-6)
    assert min(found) >= 0 and max(found) <= 1


@settings(max_examples=100, deadline=None)
@given(shapes_of_layers, st.floats(0, 1, exclude_max=True), st.sampled_from(sorted(FAMILIES)))
def test_any_layers_any_sparsity(shapes, sparsity, name):
    highest = 1 - fewest_kept(name, shapes) / total(shapes)
    if sparsity > highest + 1e-9:
        with pytest.raises(TargetError):
            quotas(name, shapes, sparsity)
    elif sparsity < highest - 1e-9:
        found = quotas(name, shapes, sparsity)
        assert kept(shapes, found) == pytest.approx((1 - sparsity) * total(shapes), rel=1e-9, abs=1e-9)
        assert min(found) >= 0 and max(found) <= 1


def test_igq_force_lies_in_its_bracket():
    sizes = [math.prod(shape) for shape in LENET5]
    for compression in (1.5, 10, 1e3, 1e5):
        forces = [s / (1 - s) / n for s, n in zip(quotas("igq", LENET5, 1 - 1 / compression), sizes)]
        assert forces == pytest.approx([forces[0]] * 5, rel=1e-6)
        bracket = (compression - 1) / max(sizes), len(sizes) * compression / sum(sizes)
        assert bracket[0] <= forces[0] * (1 + 1e-9) and forces[0] <= bracket[1] * (1 + 1e-9)


def test_erk_equals_the_slow_water_filling():
    shapes, sizes = LENET5, [math.prod(shape) for shape in LENET5]
    for compression in (1.1, 1.5, 2, 2.9, 5, 30):
        low, high = 0.0, 1e6
        for _ in range(200):
            middle = (low + high) / 2
            enough = sum(min(n, middle * sum(shape)) for n, shape in zip(sizes, shapes)) > sum(sizes) / compression
            low, high = (low, middle) if enough else (middle, high)
        slow = [1 - min(1.0, low * sum(shape) / n) for n, shape in zip(sizes, shapes)]
        assert quotas("erk", shapes, 1 - 1 / compression) == pytest.approx(slow, abs=1e-9)


def test_refusals_tell_what_is_feasible():
    with pytest.raises(
        TargetError,
        match=r"uniform_plus quotas must be asked for 0 <= sparsity <= 0\.98999.*up to 99\.95.*received sparsity 0\.999",
    ):
        quotas("uniform_plus", LENET5, 0.999)
    for wrong in (1.0, -0.1, float("nan"), 2):
        with pytest.raises(TargetError, match="0 <= sparsity < 1 on these layers"):
            quotas("igq", LENET, wrong)
    with pytest.raises(TargetError, match="use one of uniform, uniform_plus, erk, igq"):
        quotas("fair", LENET, 0.5)
    with pytest.raises(TargetError, match="at least one layer"):
        quotas("igq", [], 0.5)
    with pytest.raises(TargetError, match="at least one layer"):
        quotas("igq", [(3, 0)], 0.5)


def counts_at(name, shapes, parameter):
    """Whole weights that a family keeps at its parameter (sparsity, 1 / scale, force), by its definition, rounded."""
    sizes = [math.prod(shape) for shape in shapes]
    uniform = [(1 - parameter) * n for n in sizes]
    amounts = {
        "uniform": uniform,
        "uniform_plus": [sizes[0], *uniform[1:-1], max(uniform[-1], 0.2 * sizes[-1])],
        "erk": [min(n, sum(shape) / parameter) for n, shape in zip(sizes, shapes)],
        "igq": [n / (1 + parameter * n) for n in sizes],
    }[name]
    return amounts


@settings(max_examples=100, deadline=None)
@given(
    st.lists(layer, min_size=2, max_size=6),
    st.sampled_from(sorted(FAMILIES)),
    st.floats(0.001, 0.999),
    st.integers(0, 99),
)
def test_a_threshold_of_the_scores_is_a_mask_of_the_family(shapes, name, parameter, seed):
    parameter = parameter * 5 if name in ("erk", "igq") else parameter
    ranks = random_ranks({str(i): shape for i, shape in enumerate(shapes)}, seed)
    scores = quota_scores(name, ranks)
    for (key, values), amount in zip(scores.items(), counts_at(name, shapes, parameter)):
        if abs(amount % 1 - 0.5) > 1e-6:  # a tie in rounding may go either way in floating point
            assert (values >= parameter).sum() == math.floor(amount + 0.5)
        in_order = values.ravel()[np.argsort(ranks[key], axis=None)]
        assert (in_order[1:] <= in_order[:-1]).all()


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("compression", [1.05, 1.5, 3, 10, 90])
def test_scores_follow_the_quotas_in_whole_weights(name, compression):
    shapes = LENET5
    wanted = round(total(shapes) / compression)
    scores = quota_scores(name, random_ranks({str(i): s for i, s in enumerate(shapes)}, 0))
    flat = np.concatenate([values.ravel() for values in scores.values()])
    border = np.sort(flat)[-wanted]
    above, tied = int((flat > border).sum()), int((flat == border).sum())
    assert above < wanted <= above + tied and tied <= len(shapes)
    for values, sparsity in zip(scores.values(), quotas(name, shapes, 1 - wanted / total(shapes))):
        exact = values.size * (1 - sparsity)
        assert (values > border).sum() - len(shapes) <= exact <= (values >= border).sum() + len(shapes)


def test_one_weight_is_one_weight():
    scores = quota_scores("igq", random_ranks({"small": (2, 3), "large": (5, 5)}, 0))
    flat = np.concatenate([values.ravel() for values in scores.values()])
    assert (flat == flat.max()).sum() == 1 and scores["large"].max() == flat.max()
    assert kept([(2, 3), (5, 5)], quotas("igq", [(2, 3), (5, 5)], 1 - 1 / 31)) == pytest.approx(1.0)


def test_uniform_plus_never_drops_its_floor():
    scores = quota_scores("uniform_plus", random_ranks({"a": (2, 5), "b": (5, 4), "c": (4, 5)}, 0))
    assert [int(np.isposinf(values).sum()) for values in scores.values()] == [10, 0, 4]


def test_scores_in_order_keep_each_layers_count_at_every_threshold():
    rng = np.random.default_rng(0)
    given_scores = {"a": rng.integers(0, 6, (4, 5)).astype(float), "b": rng.integers(0, 6, (3, 3)).astype(float)}
    ranks = random_ranks({"a": (4, 5), "b": (3, 3)}, 1)
    moved = scores_in_order(given_scores, ranks)
    for name, values in given_scores.items():
        assert sorted(values.ravel()) == sorted(moved[name].ravel())
        assert (np.diff(moved[name].ravel()[np.argsort(ranks[name], axis=None)]) <= 0).all()


def test_random_ranks_are_the_same_everywhere():
    ranks = random_ranks({"a": (300, 784), "b": (100, 300), "c": (10, 100)}, 7)
    flat = np.concatenate([values.ravel() for values in ranks.values()]).astype("<i8")
    assert (
        hashlib.sha256(flat.tobytes()).hexdigest() == "674efe35d0fe5111db2f4577470bf15dc75572329fae09b31ab6fdedf407afcc"
    )
    assert all((np.sort(values, axis=None) == np.arange(values.size)).all() for values in ranks.values())


def test_random_ranks_are_uniform():
    seen = np.zeros((4, 4))
    for seed in range(2000):
        seen[np.arange(4), random_ranks({"a": (4,)}, seed)["a"]] += 1
    assert (abs(seen - 500) < 5 * math.sqrt(2000 * 0.25 * 0.75)).all()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i8", "u1", "?"])
@pytest.mark.parametrize("distinct", [2, 5, 10**4])
def test_descending_order_is_a_stable_sort(dtype, distinct):
    values = (np.random.default_rng(0).integers(0, distinct, 3000) - (distinct // 2 if dtype[0] in "fi" else 0)).astype(
        dtype
    )
    assert (descending_order(values) == np.argsort(-values.astype(float), kind="stable")).all()


def test_descending_order_of_extremes():
    values = np.array([0.0, -0.0, 1e-320, -np.inf, np.inf, 1.0, -1e300, 0.0])
    assert descending_order(values).tolist() == [4, 5, 2, 0, 1, 7, 6, 3]


def test_layer_ranks_put_the_earlier_of_equals_first():
    ranks = layer_ranks({"a": np.array([[1.0, 3.0], [3.0, 2.0]])})
    assert ranks["a"].tolist() == [[3, 0], [1, 2]]
