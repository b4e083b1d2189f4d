"""Metrics of liveness, one hop, reasons and regrowth against every path of small graphs, closed forms and by hand."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import networkx
import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.blocks import Gate, Scale
from graphsparse.errors import ArgumentError, GraphsparseError
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.reasons import cut_connections
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


def cut_by_hand(graph):
    """`cut_connections` by searching from each dead connection at each of its places, over sets of units."""
    found, kept = sweep(graph, states=True), {name: graph.kept[name].unpack().reshape(-1) for name in graph.shapes}
    active = {name: mask.unpack().reshape(-1) for name, mask in sweep(graph, graph.kept).connections().items()}
    dropped = [step for step in steps(graph, dropped=True) if step[2] and not kept[step[2]][step[3]]]
    ways = [step for step in steps(graph, dropped=True) if not step[2] or kept[step[2]][step[3]]]
    gates = [
        pair
        for layer in graph.layers
        for block in layer.blocks
        if isinstance(block, Gate)
        for pair in zip(block.lefts.tolist(), block.rights.tolist(), block.targets.tolist())
    ]
    into, out, order = {}, {}, {name: n for n, name in enumerate(graph.shapes)}
    for source, target, *_ in ways:
        into.setdefault(target, set()).add(source)
        out.setdefault(source, set()).add(target)
    for left, right, target in gates:
        for one, two in ((left, right), (right, left)):
            out.setdefault(one, set()).add(target)
            if not into.get(target):
                into.setdefault(("both", target), set()).add(one)

    def search(unit, onwards, dead):
        seen, todo = set(), [unit]
        while todo:
            unit = todo.pop()
            if unit >= 0 and unit not in seen:
                seen.add(unit)
                todo += [] if unit in graph.cut else [each for each in onwards(unit) if each >= 0 and not dead[each]]
        return seen

    def cutters(units, place):
        scales = {
            s.parameter
            for layer in graph.layers
            for s in layer.stages
            if isinstance(s, Scale) and units in s.cut(graph.kept)
        }
        names = scales or {step[2] for step in dropped if step[place] == units}
        return ", ".join(sorted(names, key=lambda name: order.get(name, 0)))

    def from_sources(unit):
        return min(search(unit, lambda u: into.get(u) or into.get(("both", u), ()), found.signal))

    counts = Counter()
    for name, size in ((name, mask.size) for name, mask in kept.items()):
        for entry in (entry for entry in range(size) if kept[name][entry] and not active[name][entry]):
            places = [step for step in ways if step[2:] == (name, entry)]
            if not places:
                counts[name, "nowhere", "", ""] += 1
                continue
            source, target = next((s[:2] for s in places if found.signal[s[0]]), places[0][:2])
            if not found.signal[source]:
                end = from_sources(source)
                counts[name, "sources", graph.layer_of(end).name, cutters(end, 1)] += 1
                continue
            end = max(search(target, lambda u: out.get(u, ()), found.reaches))
            zero = [b if a == end else a for a, b, t in gates if end in (a, b) and found.reaches[t]]
            by = cutters(from_sources(zero[0]), 1) if zero else cutters(end, 0)
            counts[name, "sinks", graph.layer_of(end).name, by] += 1
    return counts


def test_who_cut_each_connection():
    """Every dead kept connection is counted once, at the layer and for the parameters that a search finds."""
    seen = Counter()
    for graph in list(graphs())[::3]:
        table = cut_connections(graph)
        assert {tuple(row[:-1]): row[-1] for row in table.values.tolist()} == cut_by_hand(graph)
        found = gs.topology(graph, ["why", "remaining"])
        names = ["cut_from_sources", "cut_from_sinks", "acting_nowhere"]
        kept, active = found.total.loc["remaining", ["kept", "active"]]
        assert found.total.loc[names, "kept"].sum() == kept - active and not found.total.loc[names, "active"].any()
        for side, name in (("sources", names[0]), ("sinks", names[1])):
            rows = table[table["side"] == side]
            assert found.layers[name, "kept"].sum() == rows["connections"].sum()
            for parameter in graph.shapes:
                mine = [parameter in by.split(", ") for by in rows["cut_by"]]
                assert found.parameters[name, "kept"][parameter] == rows["connections"][mine].sum()
        seen.update(table.groupby("side")["connections"].sum().to_dict())
    assert seen["sources"] > 8 and seen["sinks"] > 20


def test_who_cut_a_connection_as_explain_says_it():
    """In a chain the way of a connection ends beside the first layer that its cone, by `explain`, does not reach."""
    net, seen = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(4))), 0
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        masks = {name: torch.rand(4, 4, generator=generator) < 0.3 for name, _ in net.named_parameters()}
        graph = gs.export(net, torch.zeros(1, 4), masks)
        counts = Counter()
        for name, mask in masks.items():
            for index in mask.nonzero().tolist():
                why = gs.explain(graph, name, index)
                if not why.alive:
                    (side, empty) = why.sides[0].side, [layer.name for layer in graph.layers].index(why.sides[0].layer)
                    counts[name, side, f"{empty if side == 'sources' else empty - 1}.weight"] += 1
        table = cut_connections(graph).groupby(["parameter", "side", "cut_by"])["connections"].sum()
        assert table.to_dict() == counts
        seen += len(counts)
    assert seen > 8


class Product(nn.Module):
    """Two operands of products from two kernels."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(2, 3, bias=False), nn.Linear(2, 3, bias=False), nn.Linear(3, 1, bias=False)

    def forward(self, x):
        return self.c(self.a(x) * self.b(x))


def test_an_operand_whose_other_one_is_zero():
    """Product 1 is stopped by its right operand: b.weight cuts the left one's two connections, and what reads the product."""
    masks = {"a.weight": torch.ones(3, 2) > 0, "b.weight": torch.tensor([[1, 1], [0, 0], [1, 1]]) > 0}
    table = cut_connections(gs.export(Product(), torch.zeros(1, 2), masks))
    assert table.values.tolist() == [
        ["a.weight", "sinks", "a", "b.weight", 2],
        ["c.weight", "sources", "b", "b.weight", 1],
    ]


def test_the_layer_that_cuts_by_hand():
    """4 > 4 > 4 > 2: nothing of the second kernel: the first's kept connections end in "0", the third's begin in "1"."""
    net = nn.Sequential(*(nn.Linear(4, n, bias=False) for n in (4, 4, 2)))
    masks = {"0.weight": torch.eye(4) > 0, "1.weight": torch.zeros(4, 4) > 0, "2.weight": torch.ones(2, 4) > 0}
    found = gs.topology(gs.export(net, torch.zeros(1, 4), masks), ["why"])
    assert found.layers["cut_from_sinks", "kept"].to_dict() == {"input": 0, "0": 4, "1": 0, "2": 0}
    assert found.layers["cut_from_sources", "kept"].to_dict() == {"input": 0, "0": 0, "1": 8, "2": 0}
    assert found.parameters["cut_from_sources", "kept"].to_dict() == {"0.weight": 0, "1.weight": 8, "2.weight": 0}


class Forked(nn.Module):
    """Two kernels read what the first one makes; a third has a tap that reads padding alone."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(2, 2, bias=False) for _ in range(3))
        self.tap = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        x = self.a(x)
        return self.b(x) + self.c(x), self.tap(x[:, None, :1])


def test_several_kernels_that_cut_together_and_one_that_reads_padding_alone():
    masks = {"b.weight": torch.eye(2) > 2, "c.weight": torch.eye(2) > 2, "tap.weight": torch.tensor([[[1, 0, 1]]]) > 0}
    table = cut_connections(gs.export(Forked(), torch.zeros(1, 2), masks))
    assert table[["parameter", "side", "cut_by", "connections"]].values.tolist() == [
        ["a.weight", "sinks", "b.weight, c.weight", 2],
        ["a.weight", "sinks", "b.weight, c.weight, tap.weight", 2],
        ["tap.weight", "nowhere", "", 2],
    ]


def test_a_masked_scale_cuts():
    """The scale of unit 1 is masked: it cuts what leads to the unit, and what leads away."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2), nn.Linear(2, 1, bias=False)).eval()
    masks = {"1.weight": torch.tensor([True, False]), "1.bias": torch.tensor([True, False])}
    graph = gs.export(net, torch.zeros(1, 2), masks)
    table = cut_connections(graph)
    assert table[["parameter", "side", "cut_by", "connections"]].values.tolist() == [
        ["0.weight", "sinks", "1.weight", 2],
        ["2.weight", "sources", "1.weight", 1],
    ]
    rows = gs.topology(graph, ["cut_from_sinks"])["cut_from_sinks"].set_index("place")
    assert rows.loc["1.weight", ["kept", "active"]].tolist() == [2, 0] and not rows["undefined"].any()


def test_layers_of_one_name_have_counts_of_their_own():
    """4 > 4 > 4 > 2 with nothing of the second kernel, as by hand above."""
    net = nn.Sequential(*(nn.Linear(4, n, bias=False) for n in (4, 4, 2)))
    graph = gs.export(net, torch.zeros(1, 4), {"0.weight": torch.eye(4) > 0, "1.weight": torch.zeros(4, 4) > 0})
    found = gs.topology(replace(graph, layers=tuple(replace(layer, name="one") for layer in graph.layers)), ["why"])
    assert found.layers["cut_from_sinks", "kept"].tolist() == [0, 4, 0, 0]
    assert found.layers["cut_from_sources", "kept"].tolist() == [0, 0, 8, 0]


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
    with pytest.raises(ArgumentError, match="must be one of those that were found"):
        gs.topology(graph, ["units"])["paths"]
    with pytest.raises(GraphsparseError, match="must be one that export gives"):
        gs.topology(nn.Linear(1, 1))


def chain():
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    return gs.export(net, torch.zeros(1, 4), {"0.weight": torch.ones(3, 4) > 0})


@pytest.mark.parametrize("wrong", [5, 1.5, True, b"paths", [5], [None], [["paths"]], object()])
@pytest.mark.parametrize("ask", [gs.topology, lambda graph, metrics: gs.compare_masks(graph, [{}, {}], metrics)])
def test_metrics_that_are_no_names(ask, wrong):
    with pytest.raises(
        ArgumentError, match="^metrics must be names of metrics or of groups, at metrics; received .* Way out: give one"
    ):
        ask(chain(), wrong)


@pytest.mark.parametrize(
    "ask, text",
    [
        (lambda g: gs.topology(g, ["strandde"]), "did you mean stranded\\?"),
        (lambda g: gs.topology(g, ["units"])["paths"], "one of those that were found, at metric; received paths"),
        (lambda g: gs.topology(g, ["units"])[["units"]], "one of those that were found"),
        (lambda g: gs.topology(g, ["units"]).to_csv("/no/such/folder/t.csv"), "no such folder|can be written"),
        (lambda g: gs.compare_masks(g, 5), "two mask sets or more .* received 5"),
        (lambda g: gs.compare_masks(g, [{}, {}], ["only_in_on"]), "did you mean"),
        (lambda g: gs.biadjacency(g, "0.weigth"), "at 0.weigth; .* did you mean 0.weight\\?"),
        (lambda g: gs.biadjacency(g, 5), "a parameter must be one with connections, at 5"),
        (lambda g: gs.biadjacency(g, ["0.weight"]), "a parameter must be one with connections"),
        (lambda g: gs.biadjacency(g, "0.weight", None), "an encoding must be one of .* received None"),
        (lambda g: gs.explain(g, "1.weigh", 0), "did you mean 1.weight\\?"),
        (lambda g: gs.explain(g, None, 0), "a parameter must be one with connections, at None"),
        (lambda g: gs.explain(g, "0.weight", (0, 4)), "an index must be of a connection"),
        (lambda g: gs.explain(g, "0.weight", -13), "an index must be of a connection"),
        (lambda g: gs.explain(g, "0.weight", 1.0), "an index must be of a connection"),
        (lambda g: gs.explain(g, "0.weight", ()), "an index must be of a connection"),
        (lambda g: gs.explain(g, "inptu", unit=0), "did you mean input\\?"),
        (lambda g: gs.explain(g, "0", unit=1.5), "received unit 1.5. Way out: give a whole number from 0 to 2"),
        (lambda g: gs.explain(g, "0", unit=-1), "received unit -1"),
        (lambda g: gs.explain(g, "0", (0, 0), unit=1), "index or unit must be given, not both"),
        (lambda g: gs.save_graph(g, 5), "a path must be text or a path, at path; received 5"),
        (lambda g: gs.save_graph(g, b"a.npz"), "a path must be text or a path"),
        (lambda g: gs.load_graph(None), "a path must be text or a path"),
    ],
)
def test_odd_arguments(ask, text):
    with pytest.raises(GraphsparseError, match=text):
        ask(chain())


def test_units_are_numbers_of_any_whole_kind():
    assert str(gs.explain(chain(), "0", unit=np.int64(1))) == str(gs.explain(chain(), "0", unit=1))


def test_no_rows_by_parameter_are_an_empty_table():
    found = gs.topology(chain(), ["units"])
    assert found.parameters.empty and found.parameters.columns.names == ["metric", "part"] and len(found.layers) == 3


def test_fractions_stand_beside_their_counts():
    """Each is the quotient of the two counts in its name, in every scope, and NaN with a reason where that is not defined."""
    names = list(TABLE)
    fractions = {name: row.beside for name, row in TABLE.items() if row.beside}
    assert len(fractions) > 25 and all(names.index(name) > names.index(count) for name, count in fractions.items())
    cheap = [
        name for name, row in TABLE.items() if row.group in ("liveness", "one hop", "why", "regrowth", "fragility")
    ]
    for graph in list(graphs())[::17]:
        rows = gs.topology(graph, cheap).frame.to_dict("records")
        found = {(row["metric"], row["scope"], row["place"]): row for row in rows}
        for (name, *where), row in found.items():
            if name not in fractions:
                continue
            of = name.removeprefix(f"{fractions[name]}_of_")
            above, below = (found[(each, *where)] for each in (fractions[name], of))
            for part in ("kept", "active"):
                if below[part] and not np.isnan(above[part]):
                    assert row[part] == above[part] / below[part]
                else:
                    assert np.isnan(row[part]) and row["undefined"]
