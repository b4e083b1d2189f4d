"""Checkpoints side by side, compared with one analysis per file and with sets; and conditions, with Python's own answers."""

from __future__ import annotations

import json
import math
from itertools import combinations

import numpy as np
import pandas
import pytest
import torch

import graphsparse as gs
from graphsparse.errors import ArgumentError
from graphsparse.runs.conditions import holds
from graphsparse.sweep import sweep
from tests.dynamic_training import Small, train

X = torch.zeros(1, 1, 8, 8)
NAMES = ["fc1.weight", "fc2.weight", "fc3.weight"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    saved = train(tmp_path_factory.mktemp("run"), updates=6)
    return [saved[0], saved[2], saved[6]]


@pytest.fixture(scope="module")
def found(files):
    return gs.compare(files, Small(), X)


@pytest.fixture(scope="module")
def graphs(files):
    made = {}
    for letter, path in zip("ABC", files):
        model = Small()
        model.load_state_dict(torch.load(path, weights_only=True))
        made[letter] = gs.export(model, X)
    return made


def kept_of(graph):
    return {(name, n) for name in NAMES for n in np.flatnonzero(graph.kept[name].unpack())}


def active_of(graph):
    return {(name, n) for name, mask in gs.effective_masks(graph).items() for n in np.flatnonzero(mask.numpy())}


def live_of(graph):
    swept = sweep(graph)
    return set(np.flatnonzero(swept.signal & swept.reaches))


class TestComparison:
    def test_numbers_are_those_of_each_file(self, found, graphs):
        for letter, graph in graphs.items():
            alone = gs.sparsity(graph)
            of = found.totals[letter]
            assert (of["kept"], of["active"], of["effective_compression"]) == (
                alone.kept,
                alone.active,
                alone.effective_compression,
            )
            for measure in ("kept", "active", "direct", "effective", "units", "starved", "stranded"):
                assert found.parameters[measure, letter].tolist() == alone.frame[measure].tolist()

    def test_what_changed_since_a(self, found, graphs):
        a = graphs["A"]
        for letter, graph in graphs.items():
            of = found.totals[letter]
            assert (of["born"], of["died"]) == (len(kept_of(graph) - kept_of(a)), len(kept_of(a) - kept_of(graph)))
            assert (of["active_born"], of["active_died"]) == (
                len(active_of(graph) - active_of(a)),
                len(active_of(a) - active_of(graph)),
            )
            assert (of["units_born"], of["units_died"]) == (
                len(live_of(graph) - live_of(a)),
                len(live_of(a) - live_of(graph)),
            )
        assert found.totals["C"]["units_died"] > 0 and found.totals["A"]["overlap"] == 1

    def test_overlaps_of_every_two(self, found, graphs):
        for one, other in combinations("ABC", 2):
            for part, of in (("kept", kept_of), ("active", active_of)):
                a, b = of(graphs[one]), of(graphs[other])
                assert found.overlaps.loc[(one, other), part] == pytest.approx(len(a & b) / len(a | b))

    def test_units_that_died_and_came_to_life(self, found, graphs):
        layers = {layer.name: layer.start for layer in graphs["A"].layers}
        for letter in "BC":
            rows = found.units[found.units["checkpoint"] == letter]
            ids = {
                change: {layers[row.layer] + row.unit for row in part.itertuples()}
                for change, part in rows.groupby("change")
            }
            assert ids["died"] == live_of(graphs["A"]) - live_of(graphs[letter])
            assert ids["came to life"] == live_of(graphs[letter]) - live_of(graphs["A"])
        assert {*found.units["lost"]} <= {"", "sources", "sinks", "sources and sinks"}

    def test_topology_is_that_of_each_file(self, found, graphs):
        for letter, graph in graphs.items():
            alone = gs.topology(graph, list(found.topology.index)).total
            for part in ("kept", "active"):
                assert np.array_equal(
                    found.topology[letter, part], alone.loc[found.topology.index, part], equal_nan=True
                )
        assert "log10_paths" in found.topology.index

    def test_names_and_metrics_can_be_chosen(self, files):
        found = gs.compare({"before": files[0], "after": files[1]}, Small(), X, metrics=["minimum_cut"])
        assert list(found.totals.columns) == ["before", "after"] and list(found.topology.index) == ["minimum_cut"]
        assert found.holds("before.minimum_cut >= 0 and after.active_minimum_cut >= 0")
        assert gs.compare(files[:2], Small(), X, metrics=()).topology.empty

    def test_metrics_of_two_are_of_a_and_each_other(self, files, graphs):
        found = gs.compare(files, Small(), X, metrics=["intersection_over_union", "topological_distance", "starved"])
        masks = {letter: {name: graph.kept[name].unpack() for name in NAMES} for letter, graph in graphs.items()}
        alone = gs.compare_masks(graphs["A"], masks, ["topological_distance"]).total
        for letter in "BC":
            ours = found.topology.loc["topological_distance", letter]
            assert ours.tolist() == alone.loc[("A", letter, "topological_distance"), ["kept", "active"]].tolist()
            iou = found.topology.loc["intersection_over_union", letter]
            assert iou.tolist() == pytest.approx(found.overlaps.loc[("A", letter)].tolist())
        assert found.topology.loc["topological_distance", "A"].isna().all() and "starved" in found.topology.index
        with pytest.raises(ArgumentError, match="must be defined"):
            found.holds("A.topological_distance < 1")

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            (["a.pt"], "a comparison must have two checkpoints or more; received 1"),
            (["a.pt"] * 27, "at most 26 checkpoints without names"),
        ],
    )
    def test_too_few_and_too_many(self, given, text):
        with pytest.raises(ArgumentError, match=text):
            gs.compare(given, "chain")

    def test_another_network_is_refused(self, files):
        with pytest.raises(gs.GraphsparseError, match="must"):
            gs.compare([files[0], {"fc1.weight": torch.ones(24, 63)}], Small(), X)

    def test_files(self, found, tmp_path):
        found.to_parquet(tmp_path / "c.parquet")
        found.to_csv(tmp_path / "c.csv")
        assert (
            pandas.read_parquet(tmp_path / "c.parquet").shape == pandas.read_csv(tmp_path / "c.csv").shape == (12, 29)
        )
        plain = json.loads(found.to_json())
        assert sum(row["units"] for row in plain["units"]) == len(found.units)
        assert "A: " in repr(found) and "<table" in found._repr_html_()


VALUES = {"A": {"active": 100.0, "kept": 200.0, "odd": math.nan}, "B": {"active": 80.0, "kept": 120.0, "odd": math.inf}}


class Dotted:
    def __init__(self, values):
        self.__dict__.update(values)


class TestConditions:
    @pytest.mark.parametrize(
        "text",
        [
            "active < 0.9 * A.active", "B.active < 0.9 * A.active", "B.active > 0.9 * A.active", "kept - active >= 40",
            "A.active / A.kept == 0.5", "active != 80", "not active < 100", "active < 100 and kept < 100",
            "active < 100 or kept < 100", "50 < active <= 80", "-active < -79.5", "(active + 1) * 2 > 162", "odd > kept",
        ],
    )  # fmt: skip
    def test_says_what_python_says(self, text):
        names = {**{name: Dotted(values) for name, values in VALUES.items()}, **VALUES["B"]}
        assert holds(text, VALUES) == eval(text, {"__builtins__": {}}, names)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("actve < 3", "must name a measure, at the condition; received actve. Way out: did you mean active"),
            ("D.active < 3", "one of the checkpoints, at the condition; received D. Way out: the checkpoints are A, B"),
            ("active", "must compare measures"),
            ("active <", "must compare measures"),
            ("__import__('os').system('true') < 1", "received __import__"),
            ("A.active.real < 1", "received A.active.real"),
            ("active ** 99 < 1", "received active \\*\\* 99"),
            ("'a' < 'b'", "received 'a'"),
            ("(active < 3) + 1 > 0", "as a number"),
            ("active and kept < 3", "which is no comparison"),
            ("active < True", "received True"),
            ("active / 0 < 1", "a division by 0"),
            ("A.odd < 1", "must be defined, at A.odd < 1; received A.odd undefined"),
            ("active in (1, 2)", "must compare"),
            ("(" * 400 + "1" + ")" * 400, "must compare"),
            ("-" * 450 + "1 < 2", "^(?!.*Recursion)"),
        ],
    )
    def test_what_is_no_condition_is_refused(self, text, said):
        if text.startswith("-"):
            assert holds(text, VALUES)
            return
        with pytest.raises(ArgumentError, match=said):
            holds(text, VALUES)
