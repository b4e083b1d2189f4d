"""Metrics of liveness, one hop, reasons and regrowth against every path of small graphs, closed forms and by hand."""

from __future__ import annotations

import re

import networkx
import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.errors import ArgumentError, GraphsparseError
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.regrowth import distances_to_life, regrowable
from graphsparse.metrics.topology import TABLE
from graphsparse.sweep import sweep
from tests.small_graphs import edges_on_paths, graphs, paths, steps


def total(graph: gs.LayeredGraph, name: str, part: str = "kept") -> float:
    return gs.topology(graph, [name]).total.loc[name, part]


def test_active_edges_are_those_of_all_paths():
    seen = 0
    for graph in graphs():
        rows, columns = Part(Swept(graph), "active").edges.nonzero()
        expected = edges_on_paths(graph)
        assert set(zip(rows.tolist(), columns.tolist())) == expected
        assert total(graph, "edges", "active") == len(expected)
        seen += bool(expected)
    assert seen > 5


def test_units_of_liveness():
    for graph in graphs(gated=False):
        drawn = graph.to_networkx()
        reached = set().union(*({s} | networkx.descendants(drawn, s) for s in graph.sources.tolist()))
        reaching = set().union(*({t} | networkx.ancestors(drawn, t) for t in graph.sinks.tolist()))
        found = gs.topology(graph, ["liveness"])
        values = found.total["kept"]
        assert values["starved"] == graph.n_units - len(reached)
        assert values["stranded"] == graph.n_units - len(reaching)
        assert found.total.loc["units", "active"] == len(reached & reaching)
        assert found.total.loc[["starved", "stranded", "constant"], "active"].tolist() == [0, 0, 0]
        for layer, starved in zip(graph.layers, found.layers["starved", "kept"], strict=True):
            assert starved == len(set(range(layer.start, layer.stop)) - reached)
        state = sweep(graph, states=True)
        assert values["constant"] == sum(a and not b for a, b in zip(state.nonzero, state.signal))


def test_connected_units():
    for graph in graphs():
        every = {unit for u, v, name, _ in steps(graph, dropped=True) if name for unit in (u, v)}
        kept = {unit for u, v, name, _ in steps(graph) if name for unit in (u, v)}
        active = {unit for path in paths(graph) for u, v, name, _ in path if name for unit in (u, v)}
        row = gs.topology(graph, ["connected_units_of_prunable_units"]).total.iloc[0]
        assert (row["kept"], row["active"]) == (len(kept) / len(every), len(active) / len(every))


def test_dead_rows_and_columns():
    for graph in graphs():
        masks: dict[str, dict] = {
            "kept": {n: graph.kept[n].unpack() for n in graph.shapes},
            "active": gs.effective_masks(graph),
        }
        found = gs.topology(graph, ["dead_rows", "dead_columns", "remaining"]).parameters
        for part, by_name in masks.items():
            for name, mask in by_name.items():
                mask = np.asarray(mask).reshape(*mask.shape[:2], -1)
                assert found.loc[name, ("dead_rows", part)] == (~mask.any((1, 2))).sum()
                assert found.loc[name, ("dead_columns", part)] == (~mask.any((0, 2))).sum()
                assert found.loc[name, ("remaining", part)] == mask.sum()


def test_dead_channels():
    """Of three channels of four positions: one reads nothing, one is read at no position, one lives at a single one."""
    net = nn.Sequential(nn.Conv2d(1, 3, 2, bias=False), nn.Flatten(), nn.Linear(12, 2, bias=False))
    first, last = torch.ones(3, 1, 2, 2) > 0, torch.zeros(2, 12) > 0
    first[0], last[:, :4], last[1, 11] = False, True, True
    graph = gs.export(net, torch.zeros(1, 1, 3, 3), {"0.weight": first, "2.weight": last})
    found = gs.topology(graph, ["channels", "dead_channels", "units"]).layers
    assert found["channels", "kept"].tolist() == [0, 3, 2] and found["dead_channels", "kept"].tolist() == [0, 2, 1]
    assert found["units", "active"].tolist() == [4, 1, 1]


def test_one_hop():
    for graph in graphs():
        drawn, sources, sinks = graph.to_networkx(), set(graph.sources.tolist()), set(graph.sinks.tolist())
        ins, outs = dict(drawn.in_degree), dict(drawn.out_degree)
        ends = {u for u in drawn if ins[u] and not outs[u] and u not in sinks}
        begins = {u for u in drawn if outs[u] and not ins[u] and u not in sources}
        removable = {(u, v) for u, v in drawn.edges if v in ends or u in begins}
        inactive = set(drawn.edges) - edges_on_paths(graph)
        values = gs.topology(graph, ["one hop"]).total["kept"]
        assert values["no_output_edge"] == len(ends) and values["no_input_edge"] == len(begins)
        assert values["disconnected"] == sum(not ins[u] and not outs[u] for u in drawn)
        assert values["removable_in"] == sum(ins[u] for u in ends)
        assert values["removable_out"] == sum(outs[u] for u in begins)
        assert values["removable_one_hop"] == len(removable)
        assert values["inactive_edges"] == len(inactive)
        assert values["inactive_beyond_one_hop"] == len(inactive - removable)


def test_every_dead_edge_has_one_reason():
    seen = np.zeros(2)
    for graph in graphs():
        found = gs.topology(graph, ["why", "inactive_edges"]).total["kept"]
        names = ["cut_from_sources", "cut_from_sinks", "stopped_at_a_product"]
        assert found[names].sum() == found["inactive_edges"]
        seen += found[names[:2]].to_numpy() > 0
    assert (seen > 0).all()


class Product(nn.Module):
    """Two operands of products from two kernels."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(2, 3, bias=False), nn.Linear(2, 3, bias=False), nn.Linear(3, 1, bias=False)

    def forward(self, x):
        return self.c(self.a(x) * self.b(x))


def test_an_operand_whose_other_one_is_zero():
    """Product 1 is stopped by its right operand. So the left one's two connections die at "a", its own at "b"."""
    masks = {"a.weight": torch.ones(3, 2) > 0, "b.weight": torch.tensor([[1, 1], [0, 0], [1, 1]]) > 0}
    found = gs.topology(gs.export(Product(), torch.zeros(1, 2), masks), ["why", "inactive_edges"])
    by_layer = lambda name: found.layers[name, "kept"].to_dict()
    assert by_layer("stopped_at_a_product") == {"x": 0, "a": 0, "b": 0, "mul": 1, "c": 0}
    assert by_layer("cut_from_sources") == {"x": 0, "a": 0, "b": 2, "mul": 0, "c": 0}, "b to mul, and mul to c"
    assert by_layer("cut_from_sinks") == {"x": 0, "a": 2, "b": 0, "mul": 0, "c": 0}
    assert found.total["kept"]["inactive_edges"] == 5


def test_the_layer_that_cuts_by_hand():
    """4 > 4 > 4 > 2: nothing of the second kernel: the first's kept connections end in "0", the third's begin in "1"."""
    net = nn.Sequential(*(nn.Linear(4, n, bias=False) for n in (4, 4, 2)))
    masks = {"0.weight": torch.eye(4) > 0, "1.weight": torch.zeros(4, 4) > 0, "2.weight": torch.ones(2, 4) > 0}
    found = gs.topology(gs.export(net, torch.zeros(1, 4), masks), ["why"]).layers
    assert found["cut_from_sinks", "kept"].to_dict() == {"input": 0, "0": 4, "1": 0, "2": 0}
    assert found["cut_from_sources", "kept"].to_dict() == {"input": 0, "0": 0, "1": 8, "2": 0}


def test_regrowable_connections():
    """Each dropped connection comes back alone; shared ones and operands of one product may need more than one look."""
    seen = 0
    for graph in graphs(gated=False, shared=False):
        masks = {name: graph.kept[name].unpack() for name in graph.kept}
        for name, found in regrowable(graph).items():
            expected = np.zeros(found.shape, bool)
            for index in zip(*np.nonzero(~masks[name])):
                more = masks[name].copy()
                more[index] = True
                again = graph.with_masks({**masks, name: more})
                expected[index] = bool(np.asarray(gs.effective_masks(again)[name])[index])
            np.testing.assert_array_equal(found, expected)
            seen += expected.sum()
        assert total(graph, "active_if_alone") == sum(found.sum() for found in regrowable(graph).values())
    assert seen > 20


def test_regrowable_connections_are_active_once_back():
    for graph in graphs():
        masks = {name: graph.kept[name].unpack() for name in graph.kept}
        for name, found in regrowable(graph).items():
            assert not (found & masks[name]).any()
            for index in list(zip(*np.nonzero(found)))[:6]:
                more = masks[name].copy()
                more[index] = True
                assert np.asarray(gs.effective_masks(graph.with_masks({**masks, name: more}))[name])[index]


def test_distances():
    for graph in graphs():
        distances = distances_to_life(graph)
        every = np.concatenate([each.ravel() for each in distances.values()])
        finite = every[(every > 0) & np.isfinite(every)]
        row = gs.topology(graph, ["regrowth"]).total["active"]
        assert row["greatest_distance_to_life"] == finite.max() and row["mean_distance_to_life"] == finite.mean()
        assert row["beyond_revival"] == np.isinf(every).sum() and row["dead"] == (every > 0).sum()
        for name, each in distances.items():
            np.testing.assert_array_equal(each == 0, np.asarray(gs.effective_masks(graph)[name]))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 0), (3, 1, 1), (3, 2, 1), (2, 2, 0), (5, 3, 2), (1, 2, 0)]
)
def test_edges_of_an_unrolled_convolution(kernel, stride, padding):
    """The sum over kept taps of the positions at which the tap meets a real input element."""
    size, model = 7, nn.Conv2d(2, 3, kernel, stride, padding, bias=False)
    mask = torch.rand(model.weight.shape, generator=torch.Generator().manual_seed(kernel)) < 0.6
    places = range((size + 2 * padding - kernel) // stride + 1)
    meets = [sum(0 <= place * stride - padding + tap < size for place in places) for tap in range(kernel)]
    expected = sum(meets[y] * meets[x] for _, _, y, x in mask.nonzero().tolist())
    assert total(gs.export(model, torch.zeros(1, 2, size, size), {"weight": mask}), "edges") == expected


ORDERED = re.compile("modularity|communities|groups_of|most_of|whole_runs|whole_square")
UNORDERED = [name for name in TABLE if not ORDERED.match(name)]
"""The metrics that do not speak of neighbouring units, and no communities, which a search through units in their order finds."""


class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.a(x))
        return self.c(torch.relu(self.b(x)) + x)


def test_a_permutation_of_hidden_units_changes_nothing():
    torch.manual_seed(1)
    one, two, order = Hidden(), Hidden(), torch.randperm(8)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.mul_(torch.rand(parameter.shape) < 0.4)
        state = one.state_dict()
        state["a.weight"], state["a.bias"] = state["a.weight"][order], state["a.bias"][order]
        state["b.weight"], state["b.bias"] = state["b.weight"][order][:, order], state["b.bias"][order]
        state["c.weight"] = state["c.weight"][:, order]
        two.load_state_dict(state)
    first, second = (gs.topology(gs.export(model, torch.zeros(1, 6)), UNORDERED) for model in (one, two))
    for scope in ("total", "layers", "parameters"):
        a, b = (getattr(each, scope).select_dtypes("number").to_numpy() for each in (first, second))
        np.testing.assert_allclose(a, b, rtol=1e-9)
    # the layer of a minimum cut is one choice of several in general; here it is the same


def test_nothing_kept_is_no_error_and_every_undefined_value_has_a_reason():
    for model, shape in ((Hidden(), (1, 6)), (nn.Conv2d(1, 2, 3), (1, 1, 4, 4))):
        graph = gs.export(model, torch.zeros(shape), {})
        nothing = graph.with_masks({name: np.zeros(s, bool) for name, s in graph.shapes.items()})
        one = {name: np.zeros(s, bool) for name, s in graph.shapes.items()}
        next(iter(one.values())).reshape(-1)[0] = True
        for each in (nothing, graph.with_masks(one), graph):
            frame = gs.topology(each).frame
            undefined = frame[["kept", "active"]].isna().any(axis=1)
            assert (frame.loc[undefined, "undefined"] != "").all() and (frame.loc[~undefined, "undefined"] == "").all()
            assert set(frame["metric"]) == set(TABLE)
        assert np.isnan(total(nothing, "log10_paths")) and total(nothing, "paths") == 0


def test_the_table_and_what_it_answers():
    graph = next(graphs())
    found = gs.topology(graph)
    assert repr(found).startswith(f"Topology({len(TABLE)} metrics") and len(repr(found)) < 120
    assert found["starved"]["place"].tolist() == ["", *(layer.name for layer in graph.layers)]
    assert len(found.to_dict()["metrics"]) == len(found.frame) and "NaN" not in found.to_json()
    assert found.to_csv().splitlines()[0] == "metric,group,unit,scope,place,kept,active,undefined"
    assert "<table" in found._repr_html_()
    assert list(found.parameters.index) == list(graph.shapes)
    for row in TABLE.values():
        assert "Cost" in row.definition and row.unit and row.group, row


def test_bad_questions():
    graph = next(graphs())
    with pytest.raises(ArgumentError, match=r"received starvd.*did you mean starved\?"):
        gs.topology(graph, ["starvd"])
    with pytest.raises(ArgumentError, match="must be one of the table"):
        gs.topology(graph, ["units"])["paths"]
    with pytest.raises(GraphsparseError, match="must be one that export gives"):
        gs.topology(nn.Linear(1, 1))
