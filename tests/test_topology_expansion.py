"""Metrics of expansion against dense eigenvalues and networkx, published definitions step by step, and closed forms."""

from __future__ import annotations

from collections import Counter
from itertools import islice, product

import networkx
import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

import graphsparse as gs
from graphsparse.metrics.encodings import ENCODINGS, NOT_FINITE
from graphsparse.metrics.expansion import expansion_of, whole_spectrum
from graphsparse.metrics.spectra import laplacian_radius, symmetric, three_eigenvalues, two_singular_values
from tests.small_graphs import edges_on_paths, graphs


def eigenvalues(biadjacency: np.ndarray) -> np.ndarray:
    """Absolute eigenvalues of the symmetric adjacency of a bipartite graph, falling."""
    n, m = biadjacency.shape
    whole = np.block([[np.zeros((n, n)), biadjacency], [biadjacency.T, np.zeros((m, m))]])
    return np.sort(np.abs(np.linalg.eigvalsh(whole)))[::-1]


def by_definition(dense: np.ndarray) -> dict[str, float]:
    """Gap, bound and third eigenvalue of a bipartite graph, units without an edge left out."""
    left, right = dense.sum(1), dense.sum(0)
    bound = np.sqrt(left[left > 0].mean() - 1) + np.sqrt(right[right > 0].mean() - 1)
    third = np.append(eigenvalues(dense), [0, 0])[2]
    low = min(left[left > 0].mean(), right[right > 0].mean())
    return {"bound": bound, "third": third, "gap": bound - third, "low": low}


def same(found: float, expected: float) -> None:
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True)


PLAIN = [
    "first_eigenvalue", "third_eigenvalue", "spectral_gap", "laplacian_radius", "ramanujan_bound", "ramanujan_gap",
    "normalised_ramanujan_gap", "published_ramanujan_gap",
]  # fmt: skip


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_spectra_of_parameters(encoding):
    seen = Counter()
    rows = [*PLAIN, "regular_subgraphs"]
    for graph in islice(graphs(gated=False), 0, None, 2):
        if encoding == "unrolled" and graph.resolution == "channel":
            continue
        found = gs.topology(graph, rows, encoding=encoding).parameters
        for name, part in product(graph.shapes, ("kept", "active")):
            dense = gs.biadjacency(graph, name, encoding, part=part).toarray().astype(float)
            row = found.loc[name].xs(part, level="part")
            if not dense.any():
                assert row.drop("regular_subgraphs").isna().all()
                seen["empty"] += 1
                continue
            values, expected = eigenvalues(dense), by_definition(dense)
            same(row["first_eigenvalue"], values[0])
            same(row["third_eigenvalue"], expected["third"])
            same(row["spectral_gap"], values[0] - expected["third"])
            drawn = networkx.bipartite.from_biadjacency_matrix(sparse.csr_array(dense))
            same(row["laplacian_radius"], networkx.laplacian_spectrum(drawn, weight=None).max())
            same(row["ramanujan_bound"], expected["bound"])
            same(row["ramanujan_gap"], expected["gap"])
            same(row["normalised_ramanujan_gap"], expected["gap"] / expected["bound"] if expected["bound"] else np.nan)
            same(row["published_ramanujan_gap"], expected["gap"] if expected["low"] >= 3 else np.nan)
            seen["third"] += expected["third"] > 0.1
            seen["published"] += expected["low"] >= 3
    assert min(seen["empty"], seen["third"], seen["published"]) > 1


def test_regular_subgraphs():
    """Means over groups of left units of one degree, ours over all, the published one over those that its code takes."""
    seen = 0
    for seed in range(6):
        torch.manual_seed(seed)
        mask = torch.rand(24, 30) < (0.05, 0.1, 0.2, 0.35, 0.5, 0.8)[seed]
        graph = gs.export(nn.Linear(30, 24), torch.zeros(1, 30), {"weight": mask})
        dense = mask.T.numpy().astype(float)
        weights = np.abs(graph.weights["weight"].T * dense).astype(float)
        degrees = Counter(dense.sum(1).astype(int).tolist())
        groups = [dense.sum(1) == degree for degree in degrees if degree > 0]
        each = [(by_definition(dense[rows]), rows) for rows in groups]
        taken = [(found, rows) for found, rows in each if rows.sum() >= 3 and found["low"] >= 3]
        weighted_gap = lambda rows: eigenvalues(weights[rows])[0] - np.append(eigenvalues(weights[rows]), [0, 0])[2]
        mean = lambda values: np.mean(values) if len(values) else np.nan
        row = gs.topology(graph, ["expansion"]).parameters.iloc[0].xs("kept", level="part")
        assert row["regular_subgraphs"] == len(groups)
        same(row["mean_gap_of_regular_subgraphs"], mean([found["gap"] for found, _ in each]))
        ratios = [found["gap"] / found["bound"] for found, _ in each if found["bound"]]
        same(row["mean_normalised_gap_of_regular_subgraphs"], mean(ratios))
        same(row["published_mean_gap_of_regular_subgraphs"], mean([found["gap"] for found, _ in taken]))
        same(row["weighted_spectral_gap"], weighted_gap(np.ones(30, bool)))
        same(row["mean_weighted_gap_of_regular_subgraphs"], mean([weighted_gap(rows) for _, rows in each]))
        published = row["published_mean_weighted_gap_of_regular_subgraphs"]
        same(published, mean([weighted_gap(rows) for _, rows in taken]))
        seen += len(taken) > 0
    assert 0 < seen < 6


def test_spectra_of_the_whole_graph():
    for graph in islice(graphs(), 0, None, 3):
        found = gs.topology(graph, ["spectral_gap", "first_eigenvalue", "third_eigenvalue", "laplacian_radius",
                                    "weighted_spectral_gap"]).total  # fmt: skip
        for part in ("kept", "active"):
            drawn = graph.to_networkx()
            if part == "active":
                drawn = drawn.edge_subgraph(edges_on_paths(graph))
            if not drawn.edges:
                assert np.isnan(found.loc["spectral_gap", part])
                continue
            for each in drawn.edges.values():
                each["weight"] = abs(each["weight"])
            plain, weighted = (
                np.sort(np.abs(networkx.adjacency_spectrum(drawn.to_undirected(), weight)))[::-1]
                for weight in (None, "weight")
            )
            same(found.loc["first_eigenvalue", part], plain[0])
            same(found.loc["third_eigenvalue", part], np.append(plain, 0)[2])
            same(found.loc["spectral_gap", part], plain[0] - np.append(plain, 0)[2])
            same(found.loc["weighted_spectral_gap", part], weighted[0] - np.append(weighted, 0)[2])
            radius = networkx.laplacian_spectrum(drawn.to_undirected(), weight=None).max()
            same(found.loc["laplacian_radius", part], radius)
            same(whole_spectrum(graph, part)[1], plain[1])


def plane(q: int) -> np.ndarray:
    """Points and lines of the projective plane over the integers modulo a prime q: a Ramanujan graph."""
    points = [(1, a, b) for a in range(q) for b in range(q)] + [(0, 1, a) for a in range(q)] + [(0, 0, 1)]
    return (np.asarray(points) @ np.asarray(points).T % q == 0).astype(float)


def test_closed_forms():
    complete = sparse.csr_array(np.ones((7, 28)))
    same(two_singular_values(complete)[0], 14)
    assert two_singular_values(complete)[1] == 0
    same(laplacian_radius(symmetric(complete)), 35)
    path = sparse.csr_array(np.eye(6) + np.eye(6, k=1))  # twelve units in a row
    for n, found in enumerate(two_singular_values(path), 1):
        same(found, 2 * np.cos(np.pi * n / 13))
    same(laplacian_radius(symmetric(path)), 2 + 2 * np.cos(np.pi / 12))
    expander = expansion_of(sparse.csr_array(plane(5)))
    same(expander.first, 6)
    same(expander.third, 5**0.5)
    same(expander.gap, 5**0.5)
    matching = expansion_of(sparse.csr_array(np.eye(9)))
    assert (matching.first, matching.third, matching.bound) == (1, 1, 0)
    cycle = sparse.csr_array(np.roll(np.eye(9), 1, 1) + np.roll(np.eye(9), -1, 1))
    for found, expected in zip(three_eigenvalues(cycle), (2, 2 * np.cos(np.pi / 9), 2 * np.cos(np.pi / 9))):
        same(found, expected)


@pytest.mark.parametrize("density", [0.002, 0.02, 0.3])
def test_large_graphs_by_lanczos(density):
    """Beyond what is made dense; two runs agree bit for bit, and two alike components have no gap."""
    matrix = sparse.random_array((650, 900), density=density, format="csr", rng=np.random.default_rng(1))
    expected = np.linalg.svd(matrix.toarray(), compute_uv=False)
    for found, value in zip(two_singular_values(matrix), expected):
        assert found == pytest.approx(value, rel=1e-7)
    assert two_singular_values(matrix) == two_singular_values(matrix)
    twice = sparse.block_diag([matrix, matrix], format="csr")
    assert two_singular_values(twice) == (two_singular_values(matrix)[0],) * 2
    skipping = abs(matrix[:650, :650] + matrix[:650, :650].T)
    values = np.sort(np.abs(np.linalg.eigvalsh(skipping.toarray())))[::-1]
    for found, value in zip(three_eigenvalues(skipping), values):
        assert found == pytest.approx(value, rel=1e-7)
    pattern = (skipping > 0).astype(float)
    pattern.setdiag(0)
    pattern.eliminate_zeros()
    laplacian = np.diag(pattern.sum(1)) - pattern.toarray()
    assert laplacian_radius(pattern) == pytest.approx(np.linalg.eigvalsh(laplacian).max(), rel=1e-7)


def test_two_runs_agree_bit_for_bit():
    torch.manual_seed(0)
    graph = gs.export(nn.Linear(800, 700), torch.zeros(1, 800), {"weight": torch.rand(700, 800) < 0.02})
    first, second = (gs.topology(graph, ["expansion"]).frame for _ in range(2))
    assert first.equals(second)


def test_weights_are_the_graphs_or_given():
    graph = gs.export(nn.Linear(3, 2, bias=False), torch.zeros(1, 3), {})
    row = lambda **given: gs.topology(graph, ["weighted_spectral_gap"], **given).total.loc["weighted_spectral_gap"]
    known = graph.weights["weight"]
    values = np.linalg.svd(np.abs(known), compute_uv=False)
    same(row()["kept"], values[0] - values[1])
    same(row(weights={"weight": torch.tensor([[3.0, 0, 0], [0, -2, 0]])})["kept"], 1)
    for given, reason in (({}, "the weights are not known"), ({"weight": known * np.nan}, NOT_FINITE)):
        assert np.isnan(row(weights=given)["kept"]) and row(weights=given)["undefined"] == reason


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("encoding", ["channel", "rolled", "unrolled"])
def test_weights_at_the_ends_of_what_floats_hold(encoding):
    """The least number is a weight as any other; a square that no float holds makes undefined what needs squares."""
    layer, x = nn.Conv2d(2, 3, 2, bias=False).double(), torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    graph, metrics = gs.export(layer, x, {}), ["strength", "weighted_spectral_gap", "neural_persistence"]
    found = lambda scale: gs.topology(
        graph, metrics, encoding=encoding, weights={"weight": np.full((3, 2, 2, 2), scale)}
    )
    least, one, huge, most = (
        found(scale)["neural_persistence"]["kept"].iloc[-1] for scale in (5e-324, 1.0, 1e200, 1.7e308)
    )
    assert np.isnan([huge, most]).all()
    if encoding != "channel":  # whose norm of such a slice is 0
        assert least == pytest.approx(one)
    large = found(1.7e308)
    assert large["strength"]["kept"].tolist() == [np.inf]
    assert large["weighted_spectral_gap"]["undefined"].str.contains("1e140 or more").all()


def test_unrolled_and_rolled_kernels_differ():
    """One 2x2 kernel over 4x4 inputs: rolled a star of four edges, by channel one edge, unrolled every unit but few."""
    graph = gs.export(nn.Conv2d(1, 1, 2, bias=False), torch.zeros(1, 1, 4, 4), {})
    for encoding, degree in (("rolled", 4), ("channel", 1)):
        found = gs.topology(graph, ["first_eigenvalue"], encoding=encoding).parameters
        same(found.loc["weight", ("first_eigenvalue", "kept")], degree**0.5)
    with pytest.raises(gs.ArgumentError, match="an encoding must be one of"):
        gs.topology(graph, encoding="flat")


def test_a_graph_above_the_limit_says_whom_to_ask(monkeypatch):
    monkeypatch.setattr("graphsparse.metrics.expansion.LARGEST", 5)
    graph = gs.export(nn.Linear(3, 2, bias=False), torch.zeros(1, 3), {})
    found = gs.topology(graph, ["expansion"])
    for name in ("spectral_gap", "laplacian_radius", "weighted_spectral_gap"):
        assert (
            np.isnan(found.total.loc[name, "kept"]) and "edges: ask graphsparse." in found.total.loc[name, "undefined"]
        )
        assert np.isfinite(found.parameters.loc["weight", (name, "kept")])
