"""Recurrent layers as whole operations against torch's own decomposition of them into steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.capture import Rule
from graphsparse.capture.decomposing import decomposed
from tests.judge import assert_exact

aten = torch.ops.aten
STEPS = {op: Rule(None) for op in (aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input)}
"""No rule for the whole operation: torch takes it apart."""
KINDS: dict[str, tuple[type, dict]] = {
    "lstm": (nn.LSTM, {}), "gru": (nn.GRU, {}), "rnn": (nn.RNN, {}), "relu": (nn.RNN, {"nonlinearity": "relu"}),
    "projected": (nn.LSTM, {"proj_size": 2}),
}  # fmt: skip
FORMS: dict[str, dict] = {
    "plain": {}, "no biases": {"batch_first": True, "bias": False},
    "all": {"num_layers": 2, "bidirectional": True, "batch_first": True, "bias": False},
    "both ways": {"num_layers": 2, "bidirectional": True},
}  # fmt: skip


class Around(nn.Module):
    """A layer in front, recurrent cells of several kinds side by side, a layer behind their outputs or their last states."""

    def __init__(self, *kinds: str, last: bool = False, **form):
        super().__init__()
        cells = {kind: KINDS[kind][0](3, 4, **KINDS[kind][1], **form) for kind in kinds}
        self.front, self.cells, self.last = nn.Linear(4, 3, bias=False), nn.ModuleDict(cells), last
        self.backs = nn.ModuleDict({kind: nn.LazyLinear(2) for kind in kinds})

    def forward(self, x, *states):
        made, left = [], list(states)
        for kind, cells in self.cells.items():
            given = [left.pop(0) for _ in range(2 if kind in ("lstm", "projected") else 1) if left]
            outputs, last = cells(self.front(x), *((tuple(given) if len(given) == 2 else given[0],) if given else ()))
            last = [state.transpose(0, 1).flatten(1) for state in (last if isinstance(last, tuple) else (last,))]
            made.append(self.backs[kind](torch.cat(last, 1) if self.last else outputs))
        return torch.cat(made, -1)


def built(*kinds: str, **settings) -> tuple[Around, torch.Tensor]:
    """The model, and a sample: of three steps, so that one has a step on either side; where layers follow each other of two."""
    model, steps = Around(*kinds, **settings), 2 if settings.get("num_layers") else 3
    x = torch.randn(1, steps, 4) if settings.get("batch_first") else torch.randn(steps, 1, 4)
    model(x)
    return model, x


def assert_same(model: nn.Module, args, **settings) -> gs.LayeredGraph:
    """The whole operation and its steps, in both resolutions: the same names, counts and effective masks."""
    whole = gs.network(model, args, **settings)
    apart = decomposed(whole.program, STEPS)  # once for both resolutions: it takes torch longer than all else here
    steps = gs.network(apart, batch_axis=settings.get("batch_axis", 0))
    graphs = [[gs.export(each, {}, resolution=name) for each in (whole, steps)] for name in ("channel", "unrolled")]
    for pair in graphs:
        assert_same_graphs(*pair)
    return graphs[-1][0]


def assert_same_graphs(whole: gs.LayeredGraph, steps: gs.LayeredGraph) -> None:
    """The same names, and the same counts and effective masks under random masks."""
    assert whole.n_units < steps.n_units, "the whole operation was taken apart"
    assert (whole.shapes, set(whole.modulators)) == (steps.shapes, set(steps.modulators))
    generator = torch.Generator().manual_seed(0)
    shapes = {**whole.shapes, **{name: kept.shape for name, kept in whole.modulators.items()}}
    found = set()
    for density in (0.15, 0.3, 0.6) * 2:
        masks = {name: torch.rand(tuple(s), generator=generator) < density for name, s in shapes.items()}
        one, other = (gs.effective_masks(each.with_masks(masks)) for each in (whole, steps))
        for name in other:
            assert torch.equal(one[name], other[name]), name
        counts = [gs.sparsity(each.with_masks(masks)) for each in (whole, steps)]
        assert counts[0].kept == counts[1].kept and counts[0].active == counts[1].active
        found.add(counts[0].active)
    assert len(found) > 1


@pytest.mark.parametrize("form", FORMS)
def test_whole_operation_is_its_steps(form):
    model, x = built(*KINDS, **FORMS[form])
    assert_same(model, x, batch_axis=0 if FORMS[form].get("batch_first") else 1)


def test_last_states_are_those_of_the_steps():
    model, x = built(*KINDS, last=True, **FORMS["all"])
    assert_same(model, x)


def test_samples_that_are_positions():
    """Cells that run over the rows of an image: their batch is not the model's."""
    model, _ = built(*KINDS, bidirectional=True)
    assert_same(model, torch.randn(3, 2, 4), batch_axis=None)


@pytest.mark.parametrize("batch_axis", [1, None])
def test_states_that_are_inputs(batch_axis):
    model, _ = built(*KINDS, num_layers=2)
    states = [torch.randn(2, 2, size) for size in (4, 4, 4, 4, 4, 2, 4)]
    assert_same(model, (torch.randn(2, 2, 4), *states), batch_axis=batch_axis)


class FromNumbers(nn.Module):
    """Initial states that the model holds as numbers or learns."""

    def __init__(self, cells: nn.RNNBase, start: torch.Tensor):
        super().__init__()
        self.cells, self.start = cells, start

    def forward(self, x):
        state = self.start.expand(-1, x.size(1), -1)
        return self.cells(x, (state, state) if isinstance(self.cells, nn.LSTM) else state)[0]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_states_that_are_numbers(kind):
    assert_same(FromNumbers(kind(3, 4), torch.ones(1, 1, 4)), torch.randn(3, 2, 3), batch_axis=1)


@pytest.mark.parametrize("start", [torch.tensor([[[1.0, 0.0, 2.0, 0.0]]]), nn.Parameter(torch.ones(1, 1, 4))])
def test_states_of_other_kinds_are_taken_apart(start):
    model = FromNumbers(nn.LSTM(3, 4), start)
    whole = gs.export(model, torch.randn(3, 1, 3), batch_axis=1)
    assert whole.coverage.rules["mul"] and "lstm" not in whole.coverage.rules
    assert whole.n_units == gs.export(model, torch.randn(3, 1, 3), batch_axis=1, extra_rules=STEPS).n_units


def test_gradients_agree():
    model, x = built(*KINDS, **FORMS["all"])
    assert_exact(model, (x,))


def test_units_of_a_step_do_not_depend_on_how_many_there_are():
    model, _ = built("lstm", batch_first=True)
    units = [gs.export(model, torch.zeros(1, steps, 4)).n_units for steps in (10, 20, 30)]
    assert units[2] - units[1] == units[1] - units[0] == 10 * (4 + 3 + 16 + 16 + 4 + 4 + 2)


def test_sequences_of_one_step_are_one_operation():
    model, _ = built("gru", "lstm")
    whole = assert_same(model, torch.randn(1, 1, 4), batch_axis=1)
    assert (whole.coverage.rules["gru"], whole.coverage.rules["lstm"]) == (1, 1)


def test_weights_that_are_functions_of_parameters():
    """A kernel that the model normalises, cut out of a larger parameter."""

    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.hidden, self.scale = (nn.Parameter(torch.randn(*s)) for s in ((8, 3), (4, 8), (4, 1)))

        def forward(self, x):
            kernels = [self.inputs[2:6], torch.tanh(self.hidden)[:, 2:6]]
            return torch.rnn_tanh(x, x.new_zeros(1, x.size(1), 4), kernels, False, 1, 0.0, False, False, False)[0]

    assert_same(Cut(), torch.randn(3, 1, 3), batch_axis=1)


def test_shapes_are_said_only_while_torch_traces():
    model, _ = built("lstm", batch_first=True)
    kernels = {op: dict(op.py_kernels) for op in STEPS}
    gs.export(model, torch.zeros(1, 4, 4))
    assert kernels == {op: op.py_kernels for op in STEPS}


def test_results_are_laid_out_in_memory_as_torch_does():
    """A model may view a result that is not transposed."""

    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.cells = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x):
            outputs, (hidden, _) = self.cells(x)
            return outputs.transpose(0, 1).view(-1, 4), hidden.view(-1)

    assert_same(Viewing(), torch.randn(1, 3, 3))


def test_synflow_takes_them_apart():
    model, x = built("lstm", batch_first=True)
    masks = gs.prune(model, x[:1], "synflow", compression=2, effective=False)
    assert not masks["cells.lstm.weight_hh_l0"].all()
