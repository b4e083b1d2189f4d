"""Operations in simpler ones, each in its place, against torch's own trace of the whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.fx import config

import graphsparse as gs
from graphsparse.capture import decomposing
from graphsparse.capture.decomposing import decomposed
from graphsparse.capture.nodes import needed
from graphsparse.capture.quiet import tracing

aten = torch.ops.aten


class Mixed(nn.Module):
    """Products by einsum, inside and as outputs; an operation with two results; calls that stay."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Parameter(torch.randn(3, 6))

    def forward(self, x):
        y = torch.einsum("bi,oi->bo", self.first(x), self.second)
        values, _ = torch.aminmax(y, dim=1)
        low, high = torch.aminmax(y, dim=0)
        return torch.einsum("bi,bj->bij", y, y), nn.functional.elu(y), low + high + values.sum()


def captured():
    torch.manual_seed(0)
    return torch.export.export(Mixed().eval(), (torch.zeros(2, 4),), strict=False)


def calls(program):
    return sorted(str(node.target) for node in needed(program.graph) if node.op == "call_function")


def test_parts_stand_in_place_of_their_call_as_in_a_trace_of_the_whole(monkeypatch):
    program, x = captured(), torch.randn(2, 4)
    found = decomposed(program, [aten.einsum.default])
    monkeypatch.setattr(decomposing, "_with_parts", lambda *_: None)
    whole = decomposed(program, [aten.einsum.default])
    assert calls(found) == calls(whole)
    assert "aten.einsum.default" in calls(program) and "aten.einsum.default" not in calls(found)
    assert all(map(torch.equal, found.module()(x), program.module()(x)))


def test_results_of_a_call_and_outputs_are_those_of_its_parts():
    program, x = captured(), torch.randn(2, 4)
    found = decomposed(program, [aten.einsum.default, aten.elu.default, aten.aminmax.default])
    assert not {"aten.elu.default", "aten.aminmax.default"} & set(calls(found))
    assert all(torch.allclose(*pair) for pair in zip(found.module()(x), program.module()(x), strict=True))
    (output,) = found.graph.output_node().args
    assert [spec.arg.name for spec in found.graph_signature.output_specs] == [node.name for node in output]


def test_parts_stand_in_the_module_of_their_call():
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Mixed()

        def forward(self, x):
            return self.inner(x)

    program = torch.export.export(Inner().eval(), (torch.zeros(2, 4),), strict=False)
    places = {
        list(node.meta["nn_module_stack"].values())[-1][0]
        for node in decomposed(program, [aten.einsum.default]).graph.nodes
        if node.op == "call_function" and "bmm" in str(node.target)
    }
    assert places == {"inner"}


def test_nothing_is_taken_apart_that_torch_has_no_parts_of():
    assert decomposed(captured(), [aten.bmm.default]) is None


def test_a_captured_program_runs_and_torch_is_as_it_was():
    model, x = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.randn(1, 3)
    before = config.do_not_emit_stack_traces
    program = gs.network(model, x).program
    assert torch.equal(program.module()(x), model(x)) and "relu" in program.graph_module.code
    with pytest.raises(ZeroDivisionError), tracing():
        assert config.do_not_emit_stack_traces
        raise ZeroDivisionError
    assert config.do_not_emit_stack_traces is before


def test_an_input_may_have_a_name_that_code_does_not_allow():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 3)

        def forward(this, self, **given):
            return torch.einsum("bi,oi->bo", self, this.body.weight) * given["input"] + given["input_1"]

    scales = {"input": torch.zeros(1, 3), "input_1": torch.zeros(1, 3)}
    graph = gs.export(Named(), torch.zeros(1, 4), kwargs=scales)
    assert [each.name for each in graph.inputs] == ["self", "input", "input_1"] and graph.n_connections == 12


def test_a_model_may_return_what_is_no_tensor():
    class Several(Mixed):
        def forward(self, x):
            return *super().forward(x), None, 3

    assert gs.export(Several(), torch.zeros(2, 4)).n_connections == 24 + 18
    program = torch.export.export(Several().eval(), (torch.zeros(2, 4),), strict=False)
    *tensors, nothing, number = decomposed(program, [aten.einsum.default]).module()(torch.ones(2, 4))
    assert len(tensors) == 3 and nothing is None and number == 3
