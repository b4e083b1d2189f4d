"""Expected effective sparsity: exact enumeration, simulation, and the unrolled boolean truth for convolutions."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from graphsparse.errors import GraphsparseError
from graphsparse.measures.expected import chain_of, expected_effective, simulate_effective, spatial_reads
from graphsparse.pruning.quotas import quotas

LENET = [784, 300, 100, 10]
REFERENCE = json.loads((Path(__file__).parent / "reference" / "vectors.json").read_text())


def test_lenet_at_uniform_compression_100():
    assert expected_effective(LENET, [0.01] * 3) == pytest.approx(252.757, abs=1e-3)
    active = simulate_effective(LENET, [0.01] * 3, draws=2000, seed=0)
    assert abs(active.mean() - 252.757) < 4 * active.std() / 2000**0.5


def enumerated(widths, densities):
    """The mean over all masks of a tiny chain, each with its probability, connections tested path by path."""
    edges = [
        (layer, i, j) for layer, (a, b) in enumerate(itertools.pairwise(widths)) for i in range(a) for j in range(b)
    ]
    mean = 0.0
    for bits in itertools.product([False, True], repeat=len(edges)):
        chosen = {edge for edge, bit in zip(edges, bits) if bit}
        odds = np.prod([densities[layer] if bit else 1 - densities[layer] for (layer, _, _), bit in zip(edges, bits)])
        active = set()
        for path in itertools.product(*map(range, widths)):
            steps = [(layer, path[layer], path[layer + 1]) for layer in range(len(widths) - 1)]
            if chosen.issuperset(steps):
                active.update(steps)
        mean += odds * len(active)
    return mean


@pytest.mark.parametrize(
    ("widths", "densities"),
    [([3, 2], [0.3]), ([2, 3, 2], [0.3, 0.6]), ([2, 2, 2, 2], [0.5, 0.4, 0.7]), ([1, 3, 2, 1], [0.9, 0.2, 0.5])],
)
def test_exact_up_to_three_kernels(widths, densities):
    assert expected_effective(widths, densities) == pytest.approx(enumerated(widths, densities), rel=1e-12)


def test_simulation_agrees_with_enumeration():
    active = simulate_effective([2, 3, 2], [0.3, 0.6], draws=5000, seed=1)
    assert abs(active.mean() - enumerated([2, 3, 2], [0.3, 0.6])) < 4 * active.std() / 5000**0.5


@pytest.mark.parametrize("name", ["uniform", "erk", "igq"])
def test_fixed_counts_stay_near_the_independent_mean(name):
    densities = [1 - s for s in quotas(name, [(300, 784), (100, 300), (10, 100)], 0.99)]
    active = simulate_effective(LENET, densities, draws=300, seed=2, fixed=True)
    assert active.mean() == pytest.approx(expected_effective(LENET, densities), rel=0.05)


def test_the_seed_decides_the_draws():
    first, again, other = (simulate_effective([20, 20, 5], [0.1, 0.2], 50, seed) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()


def test_extremes():
    assert expected_effective(LENET, [1.0] * 3) == 266200
    assert expected_effective(LENET, [1.0, 0.0, 1.0]) == 0
    assert (simulate_effective([5, 4, 3], [1.0, 1.0], 3) == 32).all()


def test_widths_and_shapes_say_the_same():
    shapes = [(300, 784), (100, 300), (10, 100)]
    assert chain_of(LENET) == chain_of(shapes) == [(784, 300, 1), (300, 100, 1), (100, 10, 1)]
    assert chain_of([(6, 3, 5, 5), (10, 6 * 4)]) == [(3, 6, 25), (6, 10, 4)]


def test_spatial_reads_by_hand():
    convolution, dense = spatial_reads([(1, 1, 2), (1, 2)], (4,), pool=1, padding=0, stride=2)
    assert convolution[:, :, 0].tolist() == [[0, 2], [1, 3]]
    assert dense[:, 0, 0].tolist() == [0, 1]
    _, pooled = spatial_reads([(1, 1, 1), (1, 2)], (4,), pool=2)
    assert pooled[:, 0].tolist() == [[0, 1], [2, 3]]
    padded = spatial_reads([(1, 1, 3, 3)], (2, 2), padding=1)[0]
    assert padded[4, :, 0].tolist() == [0, 1, 2, 3] and padded[0, :, 0].tolist() == [-1, -1, -1, 0]


def unrolled_active(masks, reads):
    """Active taps of one draw, unit by unit: the slow boolean truth."""
    reached = [np.ones((masks[0].shape[1], int(reads[0].max()) + 1), bool)]
    sees = []
    for mask, table in zip(masks, reads):
        padded = np.concatenate([reached[-1], np.zeros((len(reached[-1]), 1), bool)], 1)
        sees.append(padded[:, table].any(-1))  # channel, tap, position
        reached.append(np.einsum("oit,itp->op", mask.astype(int), sees[-1].astype(int)) > 0)
    back, count = np.ones_like(reached[-1]), 0
    for layer in range(len(masks) - 1, -1, -1):
        mask, table = masks[layer], reads[layer]
        count += int((mask & (np.einsum("itp,op->oit", sees[layer].astype(int), back.astype(int)) > 0)).sum())
        joined = np.einsum("oit,op->itp", mask.astype(int), back.astype(int)) > 0
        earlier = np.zeros((mask.shape[1], reached[layer].shape[1] + 1), bool)
        for i, t, p in zip(*np.nonzero(joined)):
            earlier[i, table[t, p]] = True
        back = earlier[:, :-1]
    return count


def convolutional_chain():
    shapes = [(12, 3, 3, 3), (12, 12, 3, 3), (12, 12, 3, 3), (10, 48)]
    return shapes, spatial_reads(shapes, (4, 4), padding=1, pool=[1, 2, 1])


@pytest.mark.parametrize(("density", "accuracy"), [(0.02, 0.35), (0.05, 0.05), (0.1, 0.02)])
def test_mean_field_of_a_convolutional_chain(density, accuracy):
    """Best where several channels live; near the collapse few decide all, and a mean field is an upper value."""
    shapes, reads = convolutional_chain()
    rng, layers = np.random.default_rng(0), chain_of(shapes)
    draws = [
        unrolled_active([rng.random((out, inputs, taps)) < density for inputs, out, taps in layers], reads)
        for _ in range(250)
    ]
    found = expected_effective(shapes, [density] * 4, reads)
    assert found == pytest.approx(np.mean(draws), rel=accuracy)
    assert abs(found - np.mean(draws)) < abs(expected_effective(shapes, [density] * 4) - np.mean(draws))


def test_positions_matter_where_maps_are_small():
    shapes, reads = convolutional_chain()
    assert expected_effective(shapes, [0.02] * 4, reads) < 0.97 * expected_effective(shapes, [0.02] * 4)
    assert expected_effective(shapes, [1.0] * 4, reads) == sum(np.prod(shape) for shape in shapes)


GEOMETRY = {
    "lenet5": {"padding": 0, "pool": 2},
    "vgg16": {"padding": 1, "pool": [1, 2, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 2]},
    "vgg19": {"padding": 1, "pool": [1, 2, 1, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 2]},
}


WELL_ALIVE = [case for case in REFERENCE["vectors"] if case["arch"] in GEOMETRY and sum(case["unrolled"]) > 4000]


@pytest.mark.parametrize("case", WELL_ALIVE, ids=lambda c: f"{c['arch']}-{c['family']}-{c['compression']}")
def test_mean_field_of_the_papers_networks(case):
    architecture = REFERENCE["architectures"][case["arch"]]
    reads = spatial_reads(architecture["shapes"], architecture["input"][1:], **GEOMETRY[case["arch"]])
    densities = [1 - s for s in case["sparsities"]]
    assert expected_effective(architecture["shapes"], densities, reads) == pytest.approx(
        sum(case["unrolled"]), rel=0.07
    )
    assert expected_effective(architecture["shapes"], densities) == pytest.approx(sum(case["channel"]), rel=0.02)


def test_refusals():
    with pytest.raises(GraphsparseError, match="each kernel must have one density"):
        expected_effective(LENET, [0.1])
    with pytest.raises(GraphsparseError, match="between 0 and 1"):
        expected_effective(LENET, [0.1, 1.2, 0.1])
    with pytest.raises(GraphsparseError, match="must read the one before, at kernel 1; received"):
        expected_effective([(6, 3, 5, 5), (8, 1, 3, 3)], [0.1, 0.1])
