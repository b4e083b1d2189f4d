"""What pages show, before it is drawn: pictures, degrees, reasons, the flow and its fine levels, what is fragile."""

from __future__ import annotations

import base64
import html
import json
import re
from itertools import pairwise

import networkx
import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse import data, zoo
from graphsparse.metrics.parts import Swept
from graphsparse.pages import render
from graphsparse.pages.render import as_json
from graphsparse.reports.page import alerts, curve, details, fine, flow, fragility, pairs
from graphsparse.reports.page.build import page_of
from graphsparse.reports.report import report_of
from tests.models import Residual

LETTERS = details.ALPHABET.tobytes().decode()


def mlp(widths: tuple[int, ...], density: float, seed: int, bias: bool = False):
    """A graph of linear layers under random masks."""
    rng = np.random.default_rng(seed)
    layers = [nn.Linear(a, b, bias=bias) for a, b in pairwise(widths)]
    masks = {f"{n}.weight": rng.random((b, a)) < density for n, (a, b) in enumerate(pairwise(widths))}
    return gs.export(nn.Sequential(*layers), torch.zeros(1, widths[0]), masks)


def residual(density: float, seed: int):
    rng = np.random.default_rng(seed)
    model = Residual()
    masks = {name: rng.random(tuple(p.shape)) < density for name, p in model.named_parameters() if p.dim() > 1}
    return gs.export(model, (torch.zeros(1, 2, 7, 7), torch.zeros(1, 5)), masks)


def levels(text: str, rows: int, columns: int) -> np.ndarray:
    return np.asarray([LETTERS.index(letter) for letter in text]).reshape(rows, columns)


@pytest.mark.parametrize("shape", [(7, 5), (40, 90), (1, 300)])
def test_a_picture_has_the_density_of_each_cell(shape):
    rng = np.random.default_rng(0)
    kept = rng.random(shape) < 0.3
    active = kept & (rng.random(shape) < 0.5)
    found = details.picture(kept, active, 16)
    down, across = found["down"], found["across"]
    assert (down, across) == tuple(min(size, 16) for size in shape)
    rows, columns = (np.linspace(0, size, cells + 1).astype(int) for size, cells in zip(shape, (down, across)))
    for part, mask in (("kept", kept), ("active", active)):
        cells = np.asarray([[mask[a:b, c:d].mean() for c, d in pairwise(columns)] for a, b in pairwise(rows)])
        shares = cells / found["plain"]["most"]
        assert np.allclose(levels(found["plain"][part], down, across), np.ceil(63 * shares))
        assert ((levels(found["plain"][part], down, across) > 0) == (cells > 0)).all()


def test_by_degree_the_fullest_rows_and_columns_come_first():
    kept = np.zeros((4, 4), bool)
    kept[2] = kept[:, 3] = True
    found = details.picture(kept, kept, 16)["sorted"]
    assert (levels(found["kept"], 4, 4) > 0).tolist() == [[True] * 4] + [[True, False, False, False]] * 3


def test_a_distribution_counts_every_unit_once():
    rng = np.random.default_rng(0)
    for high in (1, 5, 30, 5000):
        both = [rng.integers(0, high, 200), rng.integers(0, high, 200)]
        found = details.distribution(both)
        for part, degrees in zip(("kept", "active"), both):
            slow = [int(((degrees >= a) & (degrees <= b)).sum()) for a, b in zip(found["from"], found["to"])]
            assert found[part] == slow and sum(slow) == 200
        assert found["from"][0] == found["to"][0] == 0 and len(found["from"]) <= details.BINS + 2


def test_details_count_dead_rows_and_columns():
    graph = mlp((6, 8, 4), 0.3, 3)
    swept = Swept(graph)
    for name, found in zip(graph.shapes, details.details(swept), strict=True):
        for part in ("kept", "active"):
            mask = swept.masks[part][name].unpack()
            assert found["dead"]["in"][part] == (~mask.any(1)).sum()
            assert found["dead"]["out"][part] == (~mask.any(0)).sum()


@pytest.mark.parametrize("bias", [False, True])
def test_reasons_are_those_that_explain_gives(bias):
    graph = mlp((5, 9, 9, 4), 0.2, 1 + bias, bias)
    swept = Swept(graph)
    told = details.reasons(swept)
    assert any(told.values())
    for name, sentences in told.items():
        lost = np.argwhere(swept.masks["kept"][name].unpack() & ~swept.masks["active"][name].unpack())
        assert bool(sentences) == bool(len(lost))
        if not sentences:
            continue
        sides = [{side.side for side in gs.explain(graph, name, tuple(index)).sides} for index in lost.tolist()]
        numbers = {
            "start at": sum("sources" in each for each in sides),
            "end at": sum("sinks" in each for each in sides),
        }
        numbers["of them lack both"] = sum(len(each) == 2 for each in sides)
        assert sentences[0].startswith(f"{len(lost)} kept")
        for text, number in numbers.items():
            said = re.search(rf"(\d+) {text}", sentences[0])
            assert (int(said[1]) if said else 0) == number
        assert len(sentences) == 1 + len(set().union(*sides)) and all("no way to the" in text for text in sentences[1:])


def test_taps_and_positions_may_be_why_too():
    graph = residual(0.1, 1)
    told = details.reasons(Swept(graph))
    for name, row in gs.sparsity(graph).rows.items():
        lost = row["kept"] - row["active"]
        assert told[name] == [] if not lost else told[name][0].startswith(f"{lost} kept connections are dead")


def test_the_flow_counts_every_unit_and_every_connection():
    for graph in (mlp((5, 9, 9, 4), 0.3, 1, bias=True), residual(0.2, 0)):
        swept = Swept(graph)
        found = flow.section(swept).drawn
        assert np.sum(found["states"], 1).tolist() == [len(layer) for layer in graph.layers]
        topology = gs.topology(graph, ["units", "starved", "constant"]).layers
        alive = topology["units", "active"].tolist()
        assert [row[0] for row in found["states"]] == alive
        starved = np.asarray(found["states"])[:, 1:3].sum(1)
        assert starved.tolist() == topology["starved", "kept"].tolist()
        assert [row[1] for row in found["states"]] == topology["constant", "kept"].tolist() and starved.any()
        ranks = [layer.rank for layer in graph.layers]
        assert all(found["columns"][a] < found["columns"][b] for a, b, *_ in found["edges"])
        assert [found["columns"][n] for n in np.argsort(ranks, kind="stable")] == sorted(found["columns"])


def test_edges_of_the_flow_add_up_to_the_rows_of_the_report():
    graph = mlp((5, 9, 9, 4), 0.3, 1)
    rows = gs.sparsity(graph).rows.values()
    assert [edge[2:] for edge in flow.section(Swept(graph)).drawn["edges"]] == [
        ("connections", row["kept"], row["active"]) for row in rows
    ]


def unpacked(text: str) -> list[int]:
    numbers, value, place = [], 0, 0
    for byte in base64.b64decode(text):
        value |= (byte & 127) << place
        place += 7
        if byte < 128:
            numbers.append(value)
            value = place = 0
    return numbers


def drawn(level: dict) -> tuple[dict[tuple[int, int], int], dict[tuple[tuple[int, int], tuple[int, int]], bool]]:
    """The nodes (layer, position) with their states, and the edges between them with whether they are active."""
    triples = np.asarray(unpacked(level["nodes"])).reshape(-1, 3)
    nodes, layer, at = [], -1, 0
    for step, move, state in triples.tolist():
        at = move if step or layer < 0 else at + move
        layer = max(layer, 0) + step
        nodes.append(((layer, at), state))
    edges, values = {}, iter(unpacked(level["reach"]))
    for (source, _), leaving in zip(nodes, unpacked(level["leaving"]), strict=True):
        target = 0
        for _ in range(leaving):
            value = next(values)
            target += value // 2
            edges[source, nodes[target][0]] = bool(value % 2)
    return dict(nodes), edges


@pytest.mark.parametrize("made", [lambda: mlp((5, 9, 9, 4), 0.3, 1), lambda: residual(0.2, 0)])
def test_units_and_edges_are_those_of_the_adjacency(made):
    graph = made()
    swept = Swept(graph)
    nodes, edges = drawn(fine.units(swept, flow.states_of(swept)))
    start = [layer.start for layer in graph.layers]
    found = {(start[a] + i, start[b] + j): alive for ((a, i), (b, j)), alive in edges.items()}
    matrix = graph.adjacency().tocoo()
    assert set(found) == set(zip(matrix.row.tolist(), matrix.col.tolist()))
    states = flow.states_of(swept)
    assert all(states[start[layer] + at] == state for (layer, at), state in nodes.items())
    assert found == {(u, v): bool(swept.liveness.signal[u] and swept.liveness.reaches[v]) for u, v in found}


@pytest.mark.parametrize("table", [0, 10**6])
def test_each_pair_is_there_once_and_alive_if_one_of_its_kind_is(monkeypatch, table):
    monkeypatch.setattr(pairs, "TABLE", table)
    rng = np.random.default_rng(0)
    sources, targets, alive = rng.integers(5, 400, 300), rng.integers(7, 400, 300), rng.random(300) < 0.4
    sources[:100], targets[:100] = sources[100:200], targets[100:200]
    slow: dict[tuple[int, int], bool] = {}
    for source, target, one in zip(sources.tolist(), targets.tolist(), alive.tolist()):
        slow[source, target] = slow.get((source, target), False) or one
    found = pairs.Pairs(sources, targets, alive).once()
    assert len(found) == len(slow) < 300
    assert dict(zip(zip(found.sources.tolist(), found.targets.tolist()), found.alive.tolist())) == slow


def test_channels_are_the_quotient_of_the_units(monkeypatch):
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(16, 3)
    )
    masks = {name: rng.random(tuple(p.shape)) < 0.15 for name, p in model.named_parameters() if p.dim() > 1}
    graph = gs.export(model, torch.zeros(1, 2, 8, 8), masks)
    swept = Swept(graph)
    positions = [len(layer) // channels for layer, channels in zip(graph.layers, (2, 6, 6, 4, 3), strict=True)]
    start = [layer.start for layer in graph.layers]
    node = lambda unit: (int(graph.owner[unit]), (int(unit) - start[graph.owner[unit]]) // positions[graph.owner[unit]])
    for matrix, part in ((swept.edges["kept"].tocoo(), "kept"), (swept.edges["active"].tocoo(), "active")):
        wanted = {(node(u), node(v)) for u, v in zip(matrix.row, matrix.col)}
        nodes, edges = drawn(fine.channels(swept, flow.states_of(swept)))
        assert {pair for pair, alive in edges.items() if alive or part == "kept"} == wanted
    monkeypatch.setattr(fine, "BINNED", 12)
    level = fine.channels(swept, flow.states_of(swept))
    per = level["per"]
    assert level["edges"] <= 12 and max(per) > 1
    assert set(drawn(level)[1]) == {((a, i // per[a]), (b, j // per[b])) for (a, i), (b, j) in edges}


def test_more_edges_than_the_limit_are_said_and_not_drawn(monkeypatch):
    graph = mlp((20, 10), 1.0, 0)
    swept = Swept(graph)
    monkeypatch.setattr(fine, "EDGES", 200)
    assert fine.units(swept, flow.states_of(swept))["edges"] == 200
    monkeypatch.setattr(fine, "EDGES", 199)
    assert "200 edges, more than 199" in fine.units(swept, flow.states_of(swept))
    monkeypatch.setattr(fine, "EDGES", 9)
    assert "up to 200 edges, more than 9" in fine.units(swept, flow.states_of(swept))


@pytest.mark.parametrize("seed", range(3))
def test_the_widest_path_is_a_path_and_the_widest(seed):
    graph = mlp((5, 8, 8, 3), 0.5, seed)
    rng = np.random.default_rng(seed)
    weights = {name: rng.random(shape) for name, shape in graph.shapes.items()}
    found = {each.key: each for each in fragility.fragility(Swept(graph), weights).findings}["path"]
    best = 0.0
    G = graph.to_networkx()
    for u, v, attributes in G.edges(data=True):
        attributes["size"] = weights[attributes["parameter"]][v - graph.layer_of(v).start, u - graph.layer_of(u).start]
    for source in graph.sources.tolist():
        for sink in graph.sinks.tolist():
            for path in networkx.all_simple_edge_paths(G, source, sink):
                best = max(best, min(G.edges[edge]["size"] for edge in path))
    sizes = [G.edges[pair]["size"] for pair in found.pairs]
    assert min(sizes) == pytest.approx(best) and f"{best:.4g}" in found.text
    assert found.pairs[0][0] in graph.sources and found.pairs[-1][1] in graph.sinks
    assert all(before[1] == after[0] for before, after in pairwise(found.pairs))


def test_the_cut_and_a_single_point_of_failure():
    masks = {"0.weight": np.ones((3, 4), bool), "1.weight": np.zeros((3, 3), bool), "2.weight": np.ones((2, 3), bool)}
    masks["1.weight"][1, 1] = masks["1.weight"][1, 0] = True
    layers = [nn.Linear(4, 3, bias=False), nn.Linear(3, 3, bias=False), nn.Linear(3, 2, bias=False)]
    graph = gs.export(nn.Sequential(*layers), torch.zeros(1, 4), masks)
    found = fragility.fragility(Swept(graph))
    assert [alert.text for alert in found.alerts] == ["Every path from an input to an output goes through unit 1[1]."]
    cut = found.findings[0]
    assert (
        cut.text.startswith("2 connections are the fewest")
        and len(cut.pairs) == 2
        and cut.rows in ([("1", "2")], [("2", "2")])
    )
    assert set(found.on_flow(graph)) == {"cut", "retained"}
    page = page_of(gs.analyze({name: torch.from_numpy(mask).float() for name, mask in masks.items()}, "chain"))
    texts = [alert.text for alert in page.sections[0].values["alerts"]]
    assert any("goes through unit" in text for text in texts)


def test_what_is_too_large_or_collapsed_has_no_fragility(monkeypatch):
    assert "no path" in fragility.fragility(Swept(mlp((4, 3, 2), 0.0, 0))).missing
    monkeypatch.setattr(fragility, "LARGEST", 10)
    assert "18 edges, more than 10" in fragility.fragility(Swept(mlp((4, 3, 2), 1.0, 0))).missing


def test_alerts_come_by_weight_with_their_numbers():
    tensors = {"a.weight": torch.ones(8, 4), "b.weight": torch.zeros(3, 8), "c.weight": torch.ones(2, 3)}
    tensors["a.weight"][0, 0] = torch.nan
    found = alerts.section(gs.analyze(tensors, "chain")).values["alerts"]
    assert [alert.level for alert in found] == sorted(
        (alert.level for alert in found), key=["severe", "warning", "note"].index
    )
    texts = {alert.text: alert.place for alert in found if alert.level == "severe"}
    assert (
        next(iter(texts)).startswith("Collapsed")
        and texts["b.weight: nothing of its 24 connections is active; 0 are kept."] == "#layer-1"
    )
    assert any(alert.text.startswith("NaN or infinite") and alert.level == "warning" for alert in found)


def test_a_layer_that_is_out_of_line_is_named_and_others_are_not():
    tensors = {f"{n}.weight": torch.ones(20, 20) for n in range(5)}
    tensors["2.weight"][:8] = 0
    found = alerts.section(gs.analyze(tensors, "chain")).values["alerts"]
    told = [alert.text for alert in found if alert.level == "warning"]
    assert any(text.startswith("2.weight: 8 of 20 units are starved") for text in told)
    assert not any(text.startswith(("0.weight", "4.weight")) for text in told)
    many = {f"{n}.weight": torch.eye(4) * (n != 0) for n in range(12)}
    texts = [alert.text for alert in alerts.section(gs.analyze(many, "chain")).values["alerts"]]
    assert "7 more layers have collapsed." in texts


def test_the_curve_begins_at_the_checkpoint():
    report = gs.analyze(data.path("digits-mlp-200x.pt"), "graphsparse.zoo:digits_mlp", torch.zeros(1, 1, 8, 8))
    found = curve.section(report, None, curve.magnitudes(report)).drawn
    line = found["lines"]["magnitude"]
    assert (line["kept"][0], line["active"][0]) == (report.summary["kept"], report.summary["active"])
    assert line["direct"][0] == found["point"]["direct"] and line["effective"] == sorted(line["effective"])
    masks_alone = gs.analyze(
        {"0.weight": torch.eye(3) > 0}, nn.Sequential(nn.Linear(3, 3)).to("meta"), torch.zeros(1, 3, device="meta")
    )
    assert curve.magnitudes(masks_alone) is None
    given = gs.compression_curve(
        report.graph, {name: np.random.default_rng(0).random(shape) for name, shape in report.graph.shapes.items()}
    )
    assert list(curve.section(report, {"mine": given}, None).drawn["lines"]) == ["mine"]


def test_a_curve_that_is_left_out_says_so_and_how_to_make_one(monkeypatch):
    report = gs.analyze({"a.weight": torch.eye(4), "b.weight": torch.ones(2, 4)}, "chain")
    monkeypatch.setattr(curve, "LARGEST", 23)
    assert curve.magnitudes(report) is None
    missing = curve.section(report, None, None).values["missing"]
    assert "24 connections, more than 23" in missing and "graphsparse curve --method magnitude" in missing
    assert missing in html.unescape(report.to_html())
    given = gs.compression_curve(report.graph, {name: np.ones(shape) for name, shape in report.graph.shapes.items()})
    assert curve.section(report, {"mine": given}, None).values["names"] == ["mine"]


def test_a_page_of_vgg19_stays_small():
    model, generator = zoo.build("vgg19"), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= torch.rand(parameter.shape, generator=generator) < (0.01 if parameter.dim() > 1 else 2)
    assert 500_000 < len(gs.analyze(model, torch.zeros(1, 3, 32, 32)).to_html()) < 2_000_000


def test_a_page_of_as_many_kernels_as_a_llama_of_32_layers_stays_small():
    """Its size is that of its pictures, which have the same number of cells whatever the widths."""
    graph = mlp((64,) * (32 * 7 + 2 + 1), 0.3, 0)
    assert 1_500_000 < len(report_of("wide", graph).to_html()) < 5_000_000


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 0.0])
def test_weights_that_have_no_rank_leave_the_curve_out(weight):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight[:] = weight
    shown = [section.key for section in page_of(gs.analyze(model, torch.zeros(1, 4))).sections]
    assert "flow" in shown and "fragility" in shown and ("curve" in shown) == (weight == float("inf"))


def test_a_network_without_parameters_has_a_page():
    assert "<h1>ReLU</h1>" in gs.analyze(nn.ReLU(), torch.zeros(1, 3)).to_html()


def test_a_page_holds_the_licences_of_what_it_holds():
    page = gs.analyze({"a.weight": torch.eye(3)}, "none").to_html()
    licences = (render.HERE / render.LICENCES).read_text()
    assert licences in page and licences.count("d3-scale ") == 1 and "*/" not in licences and "<" not in licences


def test_json_in_a_page_never_ends_its_script():
    text = as_json({"</script><!--": [float("inf"), float("nan"), np.int64(3), ("&",)]})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"</script><!--": [None, None, 3, ["&"]]}


def test_a_notebook_shows_totals_alerts_and_the_ends_of_the_table(monkeypatch):
    report = gs.analyze({f"{n}.weight": torch.eye(4) * (n != 1) for n in range(30)}, "chain")
    shown = report._repr_html_()
    assert "0.weight" in shown and "29.weight" in shown and "15.weight" not in shown and "severe" in shown
    assert "<script" not in shown and shown.count("<tr") == 5 + 12 + 2

    def missing():
        raise gs.MissingExtra("a page needs Jinja2")

    monkeypatch.setattr(render, "_environment", missing)
    assert "0.weight" in report._repr_html_()
    with pytest.raises(gs.MissingExtra):
        report.to_html()


def test_marks_that_turn_text_are_not_in_a_page():
    """They would change what the sentence around a name seems to say."""
    turning = "a\u202eb\u2066c\u200f"

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module(turning, nn.Linear(3, 2))

        def forward(self, x):
            return getattr(self, turning)(x)

    report, state = gs.analyze(Turned(), torch.zeros(1, 3)), Turned().state_dict()
    both = gs.compare([state, state], Turned(), torch.zeros(1, 3))
    for text in (report.to_html(), report._repr_html_(), both.to_html()):
        assert "b\N{REPLACEMENT CHARACTER}c" in text and not set(turning) - set("abc") & set(text)
        assert "\\u202e" not in text
