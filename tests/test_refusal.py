"""What capture refuses, and the words it does it with."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.capture import rules
from graphsparse.capture.rules.pointwise import function
from graphsparse.capture.values import Units
from graphsparse.errors import CaptureError, MaskError, UnsupportedOperations
from graphsparse.passes.liveness import active_connections


@torch.library.custom_op("graphsparse_tests::twist", mutates_args=())
def twist(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@twist.register_fake
def _(x):
    return torch.empty_like(x)


@torch.library.custom_op("graphsparse_tests::bend", mutates_args=())
def bend(x: torch.Tensor) -> torch.Tensor:
    return x + 2


@bend.register_fake
def _(x):
    return torch.empty_like(x)


class Twist(nn.Module):
    def forward(self, x):
        return twist(x)


class Bend(nn.Module):
    def forward(self, x):
        return bend(twist(x))


def model() -> nn.Module:
    features = nn.Sequential(nn.Linear(4, 4), Twist(), nn.Linear(4, 4), Twist())
    return nn.Sequential(features, Bend(), nn.Linear(4, 2))


def test_all_operations_without_a_rule_are_refused_at_once():
    with pytest.raises(UnsupportedOperations) as raised:
        gs.export(model(), torch.zeros(1, 4))
    lines = str(raised.value).splitlines()
    assert lines[0] == "2 of 3 operations have no rule"
    assert re.fullmatch(r"    graphsparse_tests\.twist\.default  3 calls  at 0\.1 and 2 more", lines[1])
    assert re.fullmatch(r"    graphsparse_tests\.bend\.default   1 call   at 1", lines[2])
    assert lines[3] == ("  Add one, as docs/CONTRIBUTING.md shows (An operation), and give it as extra_rules.")
    assert len(lines) == 4


def test_extra_rules_take_what_the_table_does_not_hold():
    twisted, bent = torch.ops.graphsparse_tests.twist.default, torch.ops.graphsparse_tests.bend.default
    seen = []

    def rule(call, value):
        seen.append(call.place)
        return value

    before = dict(rules.RULES)
    graph = gs.export(model(), torch.zeros(1, 4), masks={}, extra_rules={twisted: rule, bent: function})
    assert seen == ["0.1", "0.3", "1"]
    assert graph.coverage.rules == {"linear": 3, "twist": 3, "bend": 1}
    assert all(active.all() for active in active_connections(graph).values())
    assert before == dict(rules.RULES)


def test_an_operation_applied_to_constants_alone_is_computed():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            return self.layer(x) * twist(torch.tensor([0.0, 1.0]))

    active = active_connections(gs.export(Constant(), torch.zeros(1, 4), masks={}))
    assert active["layer.weight"].tolist() == [[False] * 4, [True] * 4]


def test_wrong_shapes_are_one_sentence():
    with pytest.raises(CaptureError) as raised:
        gs.export(nn.Sequential(nn.Linear(4, 2)), torch.zeros(1, 5))
    text = str(raised.value)
    assert text.startswith(
        "the example inputs must be ones that the model's forward accepts, at Sequential; received inputs of shape (1, 5)"
    )
    assert text.endswith("Way out: give example_inputs=, of the shapes and types that the model's forward takes.")
    assert "\n" not in text


def test_inputs_of_a_wrong_shape_are_known_however_torch_words_it():
    model, heard = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)), torch.zeros(1, 1, 4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CaptureError, match=r"forward accepts.*running_mean should contain 1 elements not 6\. Way out"):
        gs.export(model, heard)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_missing_inputs_are_one_sentence():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(CaptureError, match="must be ones that the model's forward accepts"):
        gs.export(Two(), torch.zeros(1, 5))


def test_control_flow_by_values_is_one_sentence():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else self.layer(-x)

    with pytest.raises(CaptureError) as raised:
        gs.export(Branching(), torch.zeros(1, 4))
    text = str(raised.value)
    assert text.startswith("the model's control flow must not depend on the values of its inputs, at Branching")
    assert "torch.where or torch.cond" in text and "\n" not in text


def test_outputs_that_no_input_moves_are_refused():
    class Deaf(nn.Module):
        def forward(self, x):
            return (x > 0).long()

    with pytest.raises(CaptureError, match="at least one floating tensor that depends on its inputs"):
        gs.export(Deaf(), torch.zeros(1, 4))
    with pytest.raises(CaptureError, match="at least one floating tensor that depends on its inputs"):
        gs.export(nn.Sequential(nn.Linear(4, 1), nn.Softmax(-1)), torch.zeros(1, 4))


@pytest.mark.parametrize("model", [nn.Linear(3, 2), nn.Conv1d(4, 2, 1)])
def test_an_empty_batch_is_refused(model):
    with pytest.raises(CaptureError, match=r"must hold at least one sample, at .*; received \(0, 4, 3\)"):
        gs.export(model, torch.zeros(0, 4, 3))


def test_an_unknown_resolution_is_refused():
    with pytest.raises(CaptureError, match="'unrolled' or 'channel'; received 'pixel'"):
        gs.export(nn.Linear(4, 2), torch.zeros(1, 4), resolution="pixel")


@pytest.mark.parametrize(
    ("masks", "text"),
    [
        ({"weigth": torch.ones(2, 4).bool()}, "names of model.named_parameters"),
        ({"weight": torch.ones(4, 2).bool()}, "shape of its parameter"),
        ({"weight": torch.full((2, 4), 0.5)}, "boolean"),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks, text):
    with pytest.raises(MaskError, match=text):
        gs.export(nn.Linear(4, 2), torch.zeros(1, 4), masks)


def test_a_program_with_open_sizes_is_captured_at_those_of_its_example():
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
                                torch.nn.Linear(3, 2))  # fmt: skip
    x = torch.zeros(2, 2, 8, 8)
    sizes = {
        "input": {
            0: torch.export.Dim("batch"),
            2: torch.export.Dim("height", min=4),
            3: torch.export.Dim("width", min=4),
        }
    }
    program = torch.export.export(model, (x,), dynamic_shapes=sizes)
    ours, plain = gs.export(program), gs.export(model, x)
    assert [len(layer) for layer in ours.layers] == [len(layer) for layer in plain.layers]
    assert dict(ours.shapes) == dict(plain.shapes)


class Ragged(torch.nn.Module):
    """As many rows as the input has positive ones."""

    def forward(self, x):
        return x[x[:, 0] > 0] * 2


def test_sizes_that_depend_on_values_are_refused_in_a_sentence():
    with pytest.raises(CaptureError, match="must not depend on the values of"):
        gs.export(Ragged(), torch.ones(3, 2), {})


@pytest.mark.parametrize(
    ("made", "received"),
    [(lambda v: Units(v.ids[:, :2]), r"\(1, 2\)"), (lambda v: v.ids, "Tensor"), (lambda v: None, "NoneType")],
    ids=["too narrow", "ids alone", "nothing"],
)
def test_a_rule_that_returns_something_else_is_named(made, received):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    of_tanh = {torch.ops.aten.tanh.default: lambda call, value: made(value)}
    with pytest.raises(
        gs.CaptureError, match=rf"the rule of aten.tanh.default must return a value of shape \(1, 4\), at 1.*{received}"
    ):
        gs.export(model, torch.zeros(1, 3), {}, extra_rules=of_tanh)
