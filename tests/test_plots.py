"""What pictures show, read back from their axes and compared with counts made another way."""

from __future__ import annotations

from itertools import pairwise

import matplotlib as mpl
import networkx
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import nn

import graphsparse as gs
from graphsparse import plots
from graphsparse.errors import ArgumentError, MaskError, TargetError
from graphsparse.plots import style

NAMES = ["first.weight", "second$_x.weight", "last.weight"]


@pytest.fixture(scope="module")
def graph():
    """5 > 4 > 3 > 2 with a hostile name; some connections dead, one unit constant, the last parameter wholly kept."""
    model = nn.Sequential()
    for name, ins, outs in (("first", 5, 4), ("second$_x", 4, 3), ("last", 3, 2)):
        model.add_module(name, nn.Linear(ins, outs, bias=name != "last"))
        model.add_module(f"relu{outs}", nn.ReLU())
    first = [[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]]
    second = [[1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1]]
    masks = dict(zip(NAMES, (torch.tensor(first) > 0, torch.tensor(second) > 0, torch.ones(2, 3) > 0)))
    return gs.export(model, torch.zeros(1, 5), masks)


@pytest.fixture()
def ax():
    before = set(pyplot.get_fignums())
    yield Figure().add_subplot()
    assert set(pyplot.get_fignums()) == before  # on axes that are given nothing else is opened


def by_label(ax) -> dict:
    return {line.get_label().partition(" (")[0]: line for line in (*ax.lines, *ax.collections)}


class TestDensity:
    def test_shares_of_kept_and_active(self, graph, ax):
        assert plots.density(graph, ax=ax) is ax
        rows, lines = gs.sparsity(graph).frame, by_label(ax)
        assert lines["kept"].get_xdata().tolist() == pytest.approx((rows["kept"] / rows["connections"]).tolist())
        alive = (rows["active"] / rows["connections"]).tolist()
        assert lines["active"].get_xdata().tolist() == pytest.approx(alive)
        assert [text.get_text() for text in ax.get_yticklabels()] == NAMES

    def test_nothing_at_all_is_a_cross(self, graph, ax):
        gone = graph.with_masks({NAMES[1]: torch.zeros(3, 4) > 0})
        plots.density(gs.sparsity(gone), ax=ax)
        lines = by_label(ax)
        assert np.isnan(lines["active"].get_xdata()).all() and lines["nothing"].get_ydata().tolist() == [0, 1, 2]
        assert np.isfinite(lines["kept"].get_xdata()).tolist() == [True, False, True]

    def test_several_side_by_side(self, graph, ax):
        sets = [graph.masks, {**graph.masks, NAMES[0]: np.ones((4, 5), bool)}]
        states = [{name: torch.from_numpy(np.asarray(mask)) for name, mask in each.items()} for each in sets]
        found = gs.compare({"before": states[0], "after": states[1]}, "chain", metrics=())
        plots.comparison(found, "kept", ax=ax)
        assert by_label(ax)["after"].get_xdata()[0] == 1 > by_label(ax)["before"].get_xdata()[0]


class TestNetwork:
    def test_every_kept_edge_is_a_line_from_unit_to_unit(self, graph, ax):
        plots.network(graph, ax=ax)
        drawn = {
            str(line.get_label()).partition(" (")[0]: line
            for line in ax.collections
            if isinstance(line, LineCollection)
        }
        active = sum(int(mask.sum()) for mask in gs.effective_masks(graph).values())
        kept = sum(graph.kept[name].count() for name in NAMES)
        assert (
            len(drawn["active"].get_segments()) == active and len(drawn["kept, dead"].get_segments()) == kept - active
        )
        assert all(end[0] - start[0] == 1 for line in drawn.values() for start, end in line.get_segments())

    def test_every_unit_is_a_dot_and_says_its_state(self, graph, ax):
        plots.network(graph, ax=ax)
        dots = {
            label: len(each.get_offsets())
            for label, each in by_label(ax).items()
            if not isinstance(each, LineCollection)
        }
        whole = gs.topology(graph, ["units", "constant"]).total
        assert sum(dots.values()) == graph.n_units and dots["alive"] == whole.loc["units", "active"]
        assert dots["constant"] == 2  # the two units whose masks are empty have biases

    def test_wires_are_no_connections(self, ax):
        model = nn.Sequential(
            nn.Conv2d(1, 1, 1, bias=False), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1, 1, bias=False)
        )
        graph = gs.export(model, torch.zeros(1, 1, 2, 2), {})
        plots.network(graph, ax=ax)
        counts = {
            label: len(each.get_segments()) for label, each in by_label(ax).items() if isinstance(each, LineCollection)
        }
        assert counts == {"wire": 4, "active": 5} and sum(counts.values()) == graph.to_networkx().number_of_edges()

    def test_too_many_edges_are_refused(self, graph):
        with pytest.raises(TargetError, match="at most 3 edges"):
            plots.network(graph, most=3)


class TestDegrees:
    @pytest.mark.parametrize("layer", [None, "second$_x"])
    def test_shares_of_units(self, graph, ax, layer):
        plots.degrees(graph, layer=layer, ax=ax)
        drawn, network = by_label(ax), graph.to_networkx()
        for label, degree, ends in (
            ("kept, into a unit", network.in_degree, graph.sources), ("kept, out of a unit", network.out_degree, graph.sinks),
        ):  # fmt: skip
            chosen = next((range(each.start, each.stop) for each in graph.layers if each.name == layer), network.nodes)
            counts = [degree[unit] for unit in chosen if unit not in ends]
            pairs = zip(drawn[label].get_xdata(), drawn[label].get_ydata())
            assert {int(d): share for d, share in pairs} == pytest.approx(
                {d: sum(count >= d for count in counts) / len(counts) for d in set(counts) - {0}}
            )

    def test_an_axis_is_logarithmic_where_it_spans_more_than_a_factor_of_ten(self, graph, ax):
        plots.degrees(graph, ax=ax)
        assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "linear")
        kept = torch.rand(30, 40, generator=torch.Generator().manual_seed(0)) < torch.linspace(0.02, 1, 30)[:, None]
        plots.degrees(gs.export(nn.Linear(40, 30), torch.zeros(1, 40), {"weight": kept}), ax=ax)
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")

    def test_no_such_layer(self, graph, ax):
        with pytest.raises(MaskError, match="a layer must be one of the graph, at nope"):
            plots.degrees(graph, layer="nope", ax=ax)


class TestMask:
    def test_colours_are_what_entries_are(self, graph, ax):
        plots.mask(graph, NAMES[1], ax=ax)
        image, kept = ax.images[0].get_array(), graph.kept[NAMES[1]].unpack()
        active = gs.effective_masks(graph)[NAMES[1]].numpy()
        expected = np.ones((3, 4, 3))
        expected[kept], expected[active] = to_rgb(style.KEPT), to_rgb(style.ACTIVE)
        assert (kept & ~active).any() and np.allclose(image, expected)

    def test_by_degree(self, graph, ax):
        plots.mask(graph, NAMES[1], order="degree", ax=ax)
        kept = (np.asarray(ax.images[0].get_array()) < 1).any(2)
        assert (np.diff(kept.sum(0)) <= 0).all() and (np.diff(kept.sum(1)) <= 0).all()

    def test_of_a_large_one_a_single_entry_is_seen(self, ax):
        kept = torch.zeros(30, 2000) > 0
        kept[7, 1500] = True
        plots.mask(gs.export(nn.Linear(2000, 30), torch.zeros(1, 2000), {"weight": kept}), "weight", ax=ax)
        image = np.asarray(ax.images[0].get_array())
        assert image.shape[:2] == (30, 256) and np.allclose(image[7, 1500 * 256 // 2000], to_rgb(style.ACTIVE))
        assert (image < 1).any(2).sum() == 1

    @pytest.mark.parametrize(
        ("name", "order", "error"), [("no", "degree", MaskError), ("last.weight", "x", ArgumentError)]
    )
    def test_bad_input(self, graph, ax, name, order, error):
        with pytest.raises(error, match="must"):
            plots.mask(graph, name, order=order, ax=ax)


class TestPaths:
    def test_counts_are_those_of_all_paths(self, graph, ax):
        """Every path of the graph, listed one by one."""
        network, through = graph.to_networkx(), {}
        for source in graph.sources:
            for path in networkx.all_simple_paths(network, source, list(graph.sinks)):
                for edge in pairwise(path):
                    through[edge] = through.get(edge, 0) + 1
        plots.paths(graph, bins=7, ax=ax)
        logs = np.log10(list(through.values()))
        edges = [patch.get_x() for patch in ax.patches] + [ax.patches[-1].get_x() + ax.patches[-1].get_width()]
        assert [patch.get_height() for patch in ax.patches] == np.histogram(logs, edges)[0].tolist()
        assert ax.get_title().startswith(f"{len(logs)} active connections")

    def test_a_collapsed_network_has_none(self, graph, ax):
        plots.paths(graph.with_masks({NAMES[2]: torch.zeros(2, 3) > 0}), ax=ax)
        assert not ax.patches and ax.get_title().startswith("0 active connections")


def test_curves_and_a_point(graph, ax):
    scores = {name: np.arange(1.0, 1 + np.prod(shape)).reshape(shape) for name, shape in graph.shapes.items()}
    curve = gs.compression_curve(graph.with_masks({}), scores)
    plots.curve({"by place": curve}, point=gs.sparsity(graph), ax=ax)
    lines, frame = by_label(ax), curve.frame[curve.frame["active"] > 0]
    assert lines["by place"].get_ydata().tolist() == frame["effective_compression"].tolist()
    assert lines["this network"].get_xdata() == [gs.sparsity(graph).direct_compression]
    assert list(lines["no dead connections"].get_xdata()) == list(lines["no dead connections"].get_ydata())


class TestTrajectory:
    @pytest.fixture()
    def found(self):
        one, none = torch.ones(4, 4) > 0, torch.zeros(4, 4) > 0
        return gs.track(
            {step: {"a.weight": one, "b.weight": none if step == 20 else one} for step in (0, 10, 20)}, "chain"
        )

    def test_lines_are_columns(self, found, ax):
        plots.trajectory(found, ["live", "itop"], ax=ax)
        lines = by_label(ax)
        assert lines["live units"].get_xdata().tolist() == [0, 10, 20]
        assert lines["live units"].get_ydata().tolist() == found.totals["live"].tolist()
        assert lines["collapse"].get_xdata() == [20, 20]

    def test_a_line_per_parameter_from_the_frame_alone(self, found, ax):
        plots.trajectory(found.frame, "fan_in", by_parameter=True, ax=ax)
        assert by_label(ax)["b.weight"].get_ydata().tolist() == [4, 4, 0]

    def test_what_is_no_column_is_said(self, found, ax):
        with pytest.raises(ArgumentError, match="received size"):
            plots.trajectory(found, "size", ax=ax)

    def test_panels(self, found):
        axs = Figure().subplots(2, 2).ravel()
        titles = [ax.get_ylabel() for ax in plots.trajectory_panels(found, axs)]
        assert titles == ["compression", "overlap of masks", "share", "units"]
        assert all(len(ax.lines) >= 2 for ax in axs)


class TestStyle:
    @staticmethod
    def lightness(colour: str) -> float:
        return float(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)))

    def test_what_is_kept_and_what_is_active_differ_in_grey(self):
        assert self.lightness(style.KEPT) - self.lightness(style.ACTIVE) > 0.2
        ways = {(str(dash), marker) for dash, marker in zip(style.DASHES, style.MARKERS)}
        assert len(ways) == len(style.COLOURS) == len(style.DASHES) == len(style.MARKERS)

    def test_saved_twice_is_the_same_and_settings_stay(self, graph, tmp_path):
        before = dict(mpl.rcParams)
        for name in ("a.svg", "b.svg", "a.pdf", "b.pdf", "a.png"):
            plots.save(plots.density(graph, ax=Figure().add_subplot()), tmp_path / name)
        assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
        assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
        assert "second$_x.weight</text>" in (tmp_path / "a.svg").read_text() and dict(mpl.rcParams) == before

    def test_a_new_picture_is_one_to_show(self, graph):
        ax = plots.density(graph)
        assert pyplot.fignum_exists(ax.figure.number)
        pyplot.close(ax.figure)

    @pytest.mark.parametrize(
        "draw", [plots.density, plots.network, lambda graph: plots.mask(graph, next(iter(graph.shapes)))]
    )
    def test_without_matplotlib_the_extra_is_named(self, graph, monkeypatch, draw):
        modules = __import__("sys").modules
        for name in [name for name in modules if name.startswith("matplotlib.")]:
            monkeypatch.delitem(modules, name)
        monkeypatch.setitem(modules, "matplotlib", None)
        with pytest.raises(gs.MissingExtra, match=r"pip install 'graphsparse\[plots\]'"):
            draw(graph)
