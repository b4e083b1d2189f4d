"""What each input is taken for: sources, tokens of a table, constants; by use, by name, or as the caller says."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse import cli
from graphsparse.errors import CaptureError
from graphsparse.passes.liveness import active_connections
from tests.mixed import TINY, compare, smooth

F = nn.functional


def taken(graph: gs.LayeredGraph) -> dict[str, str]:
    return {each.name: each.taken for each in graph.inputs}


def waves(t: torch.Tensor, width: int = 6) -> torch.Tensor:
    """Sines and cosines of a number, as diffusion models embed their timestep."""
    angles = t[:, None].float() * torch.exp(-torch.arange(width // 2))
    return torch.cat([angles.sin(), angles.cos()], -1).double()


class Timed(nn.Module):
    """A network that adds what it makes of a number ``t`` to what it makes of ``x``."""

    def __init__(self, embed=waves, width: int = 6):
        super().__init__()
        self.embed = embed
        self.time, self.body, self.head = (nn.Linear(n, 5, bias=False) for n in (width, 4, 5))
        self.register_buffer("table", 0.1 + torch.rand(50, width).double())

    def forward(self, x, t):
        made = self.embed(self, t) if self.embed is not waves else waves(t.reshape(-1))
        return self.head(F.silu(self.body(x) + self.time(made)))


FORMS = {
    "waves": lambda m, t: waves(t),
    "looked up in plain numbers": lambda m, t: m.table[t],
    "chosen from plain numbers": lambda m, t: m.table.index_select(0, t),
    "gathered from plain numbers": lambda m, t: m.table.gather(0, t[:, None].expand(1, 6)),
    "one of many": lambda m, t: F.one_hot(t % 6, 6).double(),
    "integers on the way": lambda m, t: ((t * 3 + 1) // 2 % 40).unsqueeze(-1).expand(-1, 6).double() / 7 + 1,
    "bits": lambda m, t: ((t[:, None] >> torch.arange(6)) & 1).double(),
    "another type of integers": lambda m, t: torch.stack([t.to(torch.int32).clamp(0, 99).long()] * 6, -1).double(),
    "digits as a row": lambda m, t: torch.cat([t[:, None], t[:, None] + 1, t.new_zeros(1, 4)], 1).double(),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_integer_that_is_computed_with_is_a_source(form):
    numbers = {"x": smooth(1, 4), "t": lambda run: torch.tensor([[3, 36, 21, 12, 0, 47, 5, 30][run]])}
    torch.manual_seed(0)
    many, truly, graph = compare(Timed(FORMS[form]), numbers, 8)
    assert taken(graph) == {"x": "source", "t": "source"} and len(graph.sources) == 5
    # bits and digits that are zero for every number, or never change, may be too many
    assert many == 0 or form in ("one of many", "bits", "digits as a row"), f"{many} too many, where {truly} are active"


@pytest.mark.parametrize("t", [torch.tensor(3), torch.tensor([3]), torch.tensor([0]), torch.tensor([True])])
def test_any_number_is_one_unit(t):
    graph = gs.export(Timed(), (torch.zeros(1, 4), t), {})
    assert taken(graph)["t"] == "source" and len(graph.sources) == 5
    assert active_connections(graph)["time.weight"].all()


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
def test_the_batch_makes_no_units(resolution):
    one, two = (gs.export(Timed(), (torch.zeros(n, 4), torch.arange(n)), {}, resolution=resolution) for n in (1, 2))
    assert (one.n_units, len(one.sources), len(one.sinks)) == (two.n_units, len(two.sources), len(two.sinks))


def test_the_batch_may_stand_elsewhere():
    class Last(Timed):
        def forward(self, x, t):
            return super().forward(x.mT, t).mT

    graph = gs.export(Last(), (torch.zeros(4, 2), torch.arange(2)), {}, batch_axis=1)
    assert len(graph.sources) == 5 and len(graph.sinks) == 5


class Whole(Timed):
    """Two samples are wanted, so that the model cannot be captured with one."""

    def forward(self, x, t):
        return super().forward(x.reshape(2, 4), t)


def test_the_batch_makes_no_units_where_all_of_it_is_captured():
    graph = gs.export(Whole(), (torch.zeros(2, 4), torch.arange(2)), {})
    assert len(graph.sources) == 5 and len(graph.sinks) == 5


def test_every_element_of_a_row_is_a_unit():
    graph = gs.export(Timed(lambda m, t: t.double()), (torch.zeros(1, 4), torch.zeros(1, 6, dtype=torch.int64)), {})
    assert len(graph.sources) == 10


def test_a_number_of_python_is_a_constant():
    graph = gs.export(Timed(lambda m, t: waves(torch.full((1,), t))), (torch.zeros(1, 4), 7), {})
    assert taken(graph)["t"] == "constant" and "fixed" in graph.inputs[1].reason
    assert not active_connections(graph)["time.weight"].any()


class Attention(nn.Module):
    """One head; ``act`` says what it does with a further input, before or after the scores are made."""

    def __init__(self, act, inner: bool):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(4, 4, bias=False) for _ in range(4))
        self.act, self.inner = act, inner

    def scores(self, x, given):
        q, k = self.q(x), self.k(x)
        if self.inner:
            return self.act(q, given) @ self.act(k, given).mT
        return self.act(q @ k.mT, given)

    def attend(self, x, given):
        return self.out(self.scores(x, given).softmax(-1) @ self.v(x))


class Other(Attention):
    """The further input has a name that says nothing."""

    def forward(self, x, given):
        return self.attend(x, given)


class Masked(Attention):
    """The further input is named a mask."""

    def forward(self, x, attention_mask):
        return self.attend(x, attention_mask)


def turned(q, places):
    """Rotary positions: pairs of features are turned by an angle that grows with the place."""
    angle = places[..., None].to(q.dtype) * torch.tensor([1.0, 0.1], dtype=q.dtype)
    cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)
    return q * cos + torch.cat([-q[..., 2:], q[..., :2]], -1) * sin


LENGTH = 3
PASSIVE = {
    "rotary": (turned, True, torch.arange(LENGTH)[None]),
    "compared": (lambda s, m: s.masked_fill((m == 0)[:, None], -torch.inf), False, torch.ones(1, LENGTH, dtype=torch.int64)),
    "selected by": (lambda s, m: torch.where(m[:, None], s, -1e9), False, torch.ones(1, LENGTH, dtype=torch.bool)),
    "added": (lambda s, m: s + (1.0 - m[:, None].to(s.dtype)) * -1e9, False, torch.ones(1, LENGTH, dtype=torch.int64)),
    "linear biases": (lambda s, m: s + (m.cumsum(-1) - 1)[:, None] * 0.5, False, torch.ones(1, LENGTH, dtype=torch.int64)),
}  # fmt: skip


@pytest.mark.parametrize("kind", PASSIVE)
@pytest.mark.parametrize("model", [Other, Masked])
def test_masks_and_positions_are_constants(kind, model):
    act, inner, given = PASSIVE[kind]
    graph = gs.export(model(act, inner), (torch.zeros(1, LENGTH, 4), given), {})
    assert list(taken(graph).values()) == ["source", "constant"] and len(graph.sources) == 4 * LENGTH
    assert graph.inputs[1].reason == "only compared, selected by or added to attention scores"
    assert not graph.coverage.conservative


def test_a_number_that_reaches_scores_through_a_kernel_is_a_source():
    class Query(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k = nn.Linear(6, 4, bias=False), nn.Linear(4, 4, bias=False)

        def forward(self, x, t):
            return (self.q(waves(t))[:, None] @ self.k(x).mT).softmax(-1) @ x

    graph = gs.export(Query().double(), (torch.zeros(1, 3, 4).double(), torch.tensor([2])), {})
    assert taken(graph) == {"x": "source", "t": "source"} and active_connections(graph)["q.weight"].all()


def test_a_softmax_that_is_no_attention_hides_nothing():
    model = Timed(lambda m, t: waves(t).softmax(-1))
    graph = gs.export(model, (torch.zeros(1, 4), torch.tensor([2])), {})
    assert taken(graph)["t"] == "source" and active_connections(graph)["time.weight"].all()


class Pooled(nn.Module):
    """The mean of the rows that a mask leaves; ``name`` is the mask's."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 3), nn.Linear(3, 2)

    def pool(self, x, mask):
        weights = mask[..., None].to(x.dtype)
        return self.head((self.body(x) * weights).sum(1) / weights.sum(1))


class ByMask(Pooled):
    def forward(self, x, padding_mask):
        return self.pool(x, padding_mask)


class ByStrength(Pooled):
    def forward(self, x, strength):
        return self.pool(x, strength)


def test_a_mask_that_is_multiplied_is_known_by_its_name():
    inputs = torch.zeros(1, 3, 4), torch.ones(1, 3, dtype=torch.int64)
    mask, strength = gs.export(ByMask(), inputs, {}).inputs[1], gs.export(ByStrength(), inputs, {}).inputs[1]
    assert (mask.taken, mask.reason) == ("constant", "by its name a mask or positions")
    assert (strength.taken, strength.reason) == ("source", "the model computes with it")


def test_a_floating_mask_of_scores_is_a_constant_and_any_other_floating_input_a_source():
    def act(scores, given):
        return scores + given

    inputs = torch.zeros(1, LENGTH, 4), torch.zeros(LENGTH, LENGTH)
    assert taken(gs.export(Masked(act, False), inputs, {})) == {"x": "source", "attention_mask": "constant"}
    assert taken(gs.export(Other(act, False), inputs, {})) == {"x": "source", "given": "source"}


def test_what_a_floating_mask_hides_is_hidden():
    causal = torch.full((LENGTH, LENGTH), -torch.inf).triu(1)
    x = torch.zeros(1, LENGTH, 4)
    whole, masked = (
        gs.export(Masked(lambda scores, given: scores + given, False), (x, mask), {})
        for mask in (torch.zeros_like(causal), causal)
    )
    assert masked.adjacency().nnz < whole.adjacency().nnz


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.places, self.head = nn.Embedding(7, 4), nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, words, position_ids):
        return self.head(self.table(words) + self.places(position_ids))


def test_tokens_are_rows_and_positions_are_constants_though_they_index_a_table():
    given = torch.tensor([[1, 2, 3]]), torch.arange(3)[None]
    graph = gs.export(Words(), given, {})
    words, positions = graph.inputs
    assert (words.taken, words.tables) == ("tokens", ("table.weight",)) and len(graph.sources) == 7
    assert (positions.taken, positions.reason) == ("constant", "by its name a mask or positions")
    assert str(words) == "words: tokens of table.weight (any row may come)"
    assert set(graph.shapes) == {"table.weight", "head.weight"}


class Both(nn.Module):
    """A number that indexes a table and is computed with too."""

    def __init__(self):
        super().__init__()
        self.table, self.time, self.head = nn.Embedding(9, 5), nn.Linear(6, 5, bias=False), nn.Linear(5, 2, bias=False)

    def forward(self, t):
        return self.head(self.table(t) + self.time(waves(t)))


def test_a_number_may_index_a_table_and_be_computed_with():
    graph = gs.export(Both().double(), torch.tensor([3]), {})
    assert taken(graph) == {"t": "source"} and len(graph.sources) == 10
    assert all(mask.all() for mask in active_connections(graph).values())


class Rows(nn.Module):
    """A table that is a parameter, indexed without nn.Embedding."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Parameter(torch.ones(6, 4)), nn.Linear(4, 2)

    def forward(self, label):
        return self.head(self.table[label])


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
def test_a_parameter_may_be_a_table(resolution):
    graph = gs.export(Rows(), torch.tensor([3]), {}, resolution=resolution)
    assert graph.inputs[0].tables == ("table",) and active_connections(graph)["table"].shape == (6, 4)
    assert active_connections(graph)["table"].all()


def test_a_number_inside_a_branch_is_a_source():
    class Branch(Timed):
        def forward(self, x, t):
            made = torch.cond(x.sum() > 0, lambda a: a.double() + 1, lambda a: a.double() * 2, (t,))
            return self.head(self.body(x) + self.time(made[:, None].expand(-1, 6)))

    graph = gs.export(Branch().double(), (torch.ones(1, 4).double(), torch.tensor([3])), {})
    assert taken(graph)["t"] == "source" and active_connections(graph)["time.weight"].all()


class TestChosen:
    model = Timed()
    given = torch.zeros(1, 4), torch.tensor([0])

    def active(self, **options):
        graph = gs.export(self.model, self.given, {}, **options)
        return taken(graph), {name: bool(mask.any()) for name, mask in active_connections(graph).items()}

    def test_the_named_are_sources_and_all_others_constants(self):
        x, only_x = self.active(sources=["x"])
        t, only_t = self.active(sources=("t",))
        assert x == {"x": "source", "t": "constant"} and t == {"x": "constant", "t": "source"}
        assert only_x == {"time.weight": False, "body.weight": True, "head.weight": True}
        assert only_t == {"time.weight": True, "body.weight": False, "head.weight": True}

    def test_one_name_may_stand_alone(self):
        assert self.active(sources="t") == self.active(sources=["t"])

    def test_a_constant_may_hold_any_number(self):
        """The zeros of an example do not make what they are multiplied with zero."""

        class Scaled(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Linear(4, 3)

            def forward(self, x, scale, steps):
                return self.body(x) * scale * steps

        given = torch.ones(1, 4), torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64)
        assert active_connections(gs.export(Scaled(), given, {}, sources=["x"]))["body.weight"].all()

    def test_tokens_and_positions_may_be_chosen(self):
        given = torch.tensor([[1, 2, 3]]), torch.arange(3)[None]
        words = gs.export(Words(), given, {}, sources=["words"])
        both = gs.export(Words(), given, {}, sources=["words", "position_ids"])
        assert taken(words) == {"words": "tokens", "position_ids": "constant"} and len(words.sources) == 7
        assert taken(both) == {"words": "tokens", "position_ids": "tokens"} and len(both.sources) == 16
        act, inner, places = PASSIVE["rotary"]
        turned_by = gs.export(Other(act, inner), (torch.zeros(1, LENGTH, 4), places), {}, sources=["given", "x"])
        assert taken(turned_by) == {"x": "source", "given": "source"}

    @pytest.mark.parametrize("sources", [["nope"], [], ["x", "time"], ["y.0"]])
    def test_a_name_that_is_none_is_one_line_that_lists_the_inputs(self, sources):
        with pytest.raises(CaptureError, match="sources must be inputs of the model.*name some of: x, t") as caught:
            self.active(sources=sources)
        assert "\n" not in str(caught.value)

    def test_nested_inputs_go_by_their_paths(self):
        class Nested(nn.Module):
            def __init__(self):
                super().__init__()
                self.one, self.two, self.three = (nn.Linear(2, 2) for _ in range(3))

            def forward(self, input, batch, *, extra=None):
                return self.one(input) + self.two(batch["my image"][0]) + self.three(extra.pop("deep"))

        x = torch.zeros(1, 2)
        args, kwargs = (x, {"my image": (x,)}), {"extra": {"deep": x}}
        whole = partial(gs.export, Nested(), args, {}, kwargs=kwargs)
        assert [each.name for each in whole().inputs] == ["input", "batch.my image.0", "extra.deep"]
        for name, parameter in {"batch": "two", "batch.my image.0": "two", "extra.deep": "three"}.items():
            alive = {name: bool(mask.any()) for name, mask in active_connections(whole(sources=[name])).items()}
            assert alive == {f"{each}.weight": each == parameter for each in ("one", "two", "three")}


class Gated(nn.Module):
    """The product of two functions of one token."""

    def __init__(self):
        super().__init__()
        self.table, self.left, self.right, self.head = (
            nn.Embedding(3, 2),
            *(nn.Linear(2, 1, bias=False) for _ in "ab"),
            nn.Linear(1, 1, bias=False),
        )

    def forward(self, words, x=None):
        rows = self.table(words)
        return self.head(self.left(rows) * self.right(rows if x is None else x))


def test_entries_of_rows_are_taken_as_free_and_that_is_listed():
    """No row holds both factors: the gradient is zero for every token, the graph is a superset and says so."""
    model = Gated()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
        model.table.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        model.left.weight.copy_(torch.tensor([[1.0, 0.0]]))
        model.right.weight.copy_(torch.tensor([[0.0, 1.0]]))
    words = torch.arange(3)[:, None]
    assert not model(words).any()
    graph = gs.export(model, words[:1])
    assert active_connections(graph)["head.weight"].all()
    (call,) = graph.coverage.conservative
    assert call[:2] == ("embedding", "table") and "no row need hold both factors" in call[2]


def test_nothing_is_listed_where_tokens_are_but_one_factor_or_none():
    words, x = torch.tensor([[0]]), torch.ones(1, 1, 2)
    assert not gs.export(Gated(), (words, x), {}).coverage.conservative
    given = torch.tensor([[1, 2, 3]]), torch.arange(3)[None]
    assert not gs.export(Words(), given, {}).coverage.conservative


def test_positions_and_masks_of_a_decoder_are_constants():
    hf = pytest.importorskip("transformers")
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**TINY, use_cache=False))
    words = torch.tensor([[1, 2, 3, 4]])
    given = {"input_ids": words, "attention_mask": torch.ones_like(words), "position_ids": torch.arange(4)[None]}
    alone, whole = gs.export(model, kwargs={"input_ids": words}), gs.export(model, kwargs=given)
    assert taken(whole) == {"input_ids": "tokens", "attention_mask": "constant", "position_ids": "constant"}
    assert whole.inputs[0].tables == ("model.embed_tokens.weight",)
    assert (alone.n_units, len(alone.sources)) == (whole.n_units, len(whole.sources))
    (call,) = whole.coverage.conservative
    assert call[1] == "model.embed_tokens"


LINES = """
  inputs    x: source (a floating input)
            t: source (the model computes with it)
"""


def test_the_report_lists_every_input(tmp_path, capsys):
    report = gs.analyze(Timed(), example_inputs=(torch.zeros(1, 4), torch.tensor([3])))
    found = json.loads(report.to_json())["inputs"]
    assert found[1] == {"name": "t", "shape": [1], "kind": "int64", "taken": "source",
                        "reason": "the model computes with it", "tables": []}  # fmt: skip
    report.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<h3>Inputs</h3>" in page and "the model computes with it" in page


MODULE = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.time, self.body, self.head = nn.Linear(2, 3), nn.Linear(4, 3), nn.Linear(3, 2)
    def forward(self, x, t):
        t = t.reshape(-1, 1).float()
        return self.head(self.body(x) + self.time(torch.cat([t.sin(), t.cos()], 1)))
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A checkpoint, and a module that the command line finds."""
    (tmp_path / "timed_nets.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import timed_nets

    model = timed_nets.Net()
    torch.save(model.state_dict(), tmp_path / "net.pt")
    program = torch.export.export(model, (torch.ones(1, 4), torch.tensor([1])))
    torch.export.save(program, tmp_path / "net.pt2")
    return ["net.pt", "--model", "timed_nets:Net", "--input", "4", "--input", "int:1"]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


class TestCommandLine:
    def test_analyze(self, net, capsys):
        status, out, _ = run(capsys, "analyze", *net)
        assert status == 0 and LINES.strip("\n") in out and "24 of 24 active" in out
        for checkpoint in (net, ["net.pt2"]):
            status, out, _ = run(capsys, "analyze", *checkpoint, "--source", "x", "--json", "-")
            report = json.loads(out)
            assert [each["taken"] for each in report["inputs"]] == ["source", "constant"]
            assert report["summary"]["active"] == 18 and report["inputs"][1]["reason"] == "not named in sources"

    def test_prune_and_curve(self, net, capsys):
        status, out, _ = run(capsys, "prune", *net, "--sparsity", "0.25", "--out", "o.pt", "--source", "x")
        assert status == 0 and " 18 of 24 active" in out
        status, _, err = run(capsys, "prune", *net, "--sparsity", "0", "--out", "o.pt", "--source", "x")
        assert status == 2 and len(err.splitlines()) == 1
        for chosen, active in ([], 24), (["--source", "x"], 18), (["--source", "x", "--source", "t"], 24):
            status, *_ = run(capsys, "curve", *net, "--method", "magnitude", "--csv", "c.csv", "--points", "0", *chosen)
            from pandas import read_csv

            assert status == 0 and read_csv("c.csv")["active"].max() == active

    @pytest.mark.parametrize("command", [["analyze"], ["prune", "--sparsity", "0.5", "--out", "o.pt"],
                                         ["curve", "--method", "magnitude", "--csv", "c.csv"]])  # fmt: skip
    def test_a_name_that_is_none_is_one_line(self, net, capsys, command):
        status, _, err = run(capsys, command[0], *net, *command[1:], "--source", "y")
        assert status == 2 and "name some of: x, t" in err and len(err.splitlines()) == 1
