"""Recurrent layers as whole operations. Forms that are not laid out here are taken apart, step by step, by torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics import cells
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import tidy
from graphsparse.capture.values import Known, Units, Weight
from graphsparse.capture.walk import REFUSED

aten = torch.ops.aten


def recurrent(
    cell: cells.Cell, call: Call, value: Any, states: Any, parameters: Sequence[Any], has_biases: bool, layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> Any:  # fmt: skip
    """A cell over sequences (steps, batch, features): the outputs, and the last states (layers, batch, features)."""
    starts = list(states) if isinstance(states, (list, tuple)) else [states]
    every = len(parameters) // (layers * (1 + bidirectional))
    found = [_kernels(parameters[at : at + every], has_biases) for at in range(0, len(parameters), every)]
    kernels = [each for each in found if each is not None]
    if len(kernels) < len(found) or not all(map(_is_plain, starts)):
        return REFUSED
    ids = call.ids(value).expand(value.shape)
    values = ids.transpose(0, 1) if batch_first else ids
    steps, batch = values.shape[:2]
    begin = [call.ids(start).expand(start.shape) for start in starts]
    ends: list[list[torch.Tensor]] = [[] for _ in starts]
    for layer in range(layers):
        made = []
        for backwards in [False, True][: 1 + bidirectional]:
            at = layer * (1 + bidirectional) + backwards
            start = tuple(cells.starting(each[at]) for each in begin)
            outputs, last = cells.run(cell, cells.Sequence(call, values, kernels[at]), start, steps, backwards)
            made.append(outputs)
            for end, state in zip(ends, last, strict=True):
                end.append(cells.as_units(state).t().expand(batch, -1))
        width = max(each.size(1) for each in made)
        values = torch.cat([each.expand(-1, width, -1) for each in made], 2) if bidirectional else made[0]
    out = values.expand(steps, batch, -1)
    return Units(out.transpose(0, 1) if batch_first else out), *(Units(tidy(torch.stack(end))) for end in ends)


def _kernels(parameters: Sequence[Any], has_biases: bool) -> cells.Kernels | None:
    """The parameters of one direction of a layer in torch's order; None where one is not a parameter as it is stored."""
    inputs, hidden, *rest = parameters
    biases = rest[:2] if has_biases else [None, None]
    projection = rest[2 * has_biases :]
    plain = all(isinstance(each, Weight) and not each.lifted for each in parameters)
    if not plain or any(bias.transformed for bias in biases if bias is not None):
        return None
    return cells.Kernels(inputs, hidden, *biases, *projection)


def _is_plain(start: Any) -> bool:
    """Whether an initial state is units, or numbers that are all zero or all not zero."""
    if isinstance(start, Known) and start.known:
        zero = start.tensor == 0
        return bool(zero.all()) or not bool(zero.any())
    return isinstance(start, (Units, Known))


RULES: dict[Any, Rule] = {
    aten.lstm.input: Rule(partial(recurrent, cells.lstm)),
    aten.gru.input: Rule(partial(recurrent, cells.gru)),
    **rows("rnn_tanh.input rnn_relu.input", Rule(partial(recurrent, cells.plain))),
}
