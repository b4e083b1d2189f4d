"""Recurrent layers: each step of a cell over a sequence is a few layers of units, and all steps share index arrays.

Units are arrays (rows, batch) of the graph's ids; a batch of one stands for all samples where they are the same units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch

from graphsparse.blocks import CONSTANT, NO_UNIT, Gate, KernelBlock, Lift, Wiring
from graphsparse.capture.call import Call
from graphsparse.capture.draft import LayerDraft, as_ids
from graphsparse.capture.units import canonical, collapse
from graphsparse.capture.values import Weight
from graphsparse.capture.wiring import KernelPart, dense, entries, join, parts
from graphsparse.kernels.layout import Taps

State = tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Kernels:
    """The parameters of one direction of one layer: for the inputs, the hidden state, and a projection of that state."""

    inputs: Weight
    hidden: Weight
    input_bias: Weight | None = None
    hidden_bias: Weight | None = None
    projection: Weight | None = None


@dataclass(frozen=True, eq=False)
class Sequence:
    """One direction of one layer over ``values``, (steps, batch, inputs) in capture's ids. What all steps share is made once."""

    call: Call
    values: torch.Tensor
    kernels: Kernels

    @cached_property
    def given(self) -> np.ndarray:
        """What the inputs bring to each step, (rows, steps, batch): one layer for all steps."""
        small, weight = distinct(self.values), self.kernels.inputs
        sources = small.permute(2, 0, 1).reshape(1, small.size(2), -1)
        made = dense(self.call.draft, sources, weight, weight.layout.unsqueeze(0), self.kernels.input_bias)[0]
        return as_ids(made).reshape(-1, *(small.shape[:2] if made.size(1) > 1 else (1, 1)))

    @cached_property
    def hidden(self) -> list[KernelPart]:
        """The kernel of the hidden state."""
        return parts(self.call.draft, self.kernels.hidden, self.kernels.hidden.layout.unsqueeze(0))

    @cached_property
    def projection(self) -> list[KernelPart]:
        """The kernel that projects the hidden state."""
        weight = self.kernels.projection
        return [] if weight is None else parts(self.call.draft, weight, weight.layout.unsqueeze(0))

    @cached_property
    def bias(self) -> list[tuple[np.ndarray, str, np.ndarray]]:
        """The bias of the hidden state, as (rows that it lifts, key of its mask, entries)."""
        bias = self.kernels.hidden_bias
        found = [] if bias is None else entries(self.call.draft, bias, bias.index)
        return [(there.numpy(), name, entries) for there, name, entries in found]

    def at(self, step: int) -> np.ndarray:
        """What the inputs bring to one step, (rows, batch)."""
        return self.given[:, step if self.given.shape[1] > 1 else 0]

    def sums(self, step: int, hidden: np.ndarray, added: int, *never_zero: slice) -> np.ndarray:
        """What the hidden state brings to each row of the cell; the inputs are added to the first ``added`` rows.

        ``never_zero`` are the rows whose function is not zero at zero.
        """
        given = self.at(step)
        sources = self.joined(hidden)
        width = max(sources.shape[1], given.shape[1])
        layer, ids = self.layer(len(given), width)
        layer.blocks += _kernel(self.hidden, sources, ids)
        layer.blocks.append(_wires(given[:added], ids[:added]))
        layer.stages += [Lift(ids[rows].ravel(), name, np.repeat(entries, width)) for rows, name, entries in self.bias]
        if never_zero:
            layer.stages.append(Lift(np.concatenate([ids[rows].ravel() for rows in never_zero])))
        return ids

    def projected(self, hidden: np.ndarray) -> np.ndarray:
        """The hidden state after its projection, if there is one."""
        if self.kernels.projection is None:
            return hidden
        sources = self.joined(hidden)
        layer, ids = self.layer(self.kernels.projection.shape[0], sources.shape[1])
        layer.blocks += _kernel(self.projection, sources, ids)
        return ids

    def joined(self, ids: np.ndarray) -> np.ndarray:
        """What a kernel reads: in channel resolution one unit for all samples."""
        if self.call.unrolled or ids.shape[1] == 1:
            return ids
        return as_ids(join(self.call.draft, as_units(ids))[:, :1])

    def layer(self, rows: int, width: int) -> tuple[LayerDraft, np.ndarray]:
        """A layer and its ids (rows, width)."""
        layer, _ = self.call.draft.layer(rows * width)
        return layer, np.arange(layer.start - 1, layer.stop - 1, dtype=np.int32).reshape(rows, width)

    def products(self, *pairs: tuple[np.ndarray, np.ndarray], added: np.ndarray | None = None) -> np.ndarray:
        """A layer of the sums of some products, and of what is added to them."""
        shape = np.broadcast_shapes(*(each.shape for pair in pairs for each in pair))
        layer, ids = self.layer(*shape)
        lefts, rights = (np.stack([np.broadcast_to(pair[side], shape) for pair in pairs], -1) for side in (0, 1))
        there = (lefts != NO_UNIT) & (rights != NO_UNIT)
        targets = np.broadcast_to(ids[..., None], lefts.shape)
        layer.blocks.append(Gate(lefts[there], rights[there], targets[there]))
        if added is not None:
            layer.blocks.append(_wires(added, ids))
        return ids

    def union(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """A layer of the sums of two values."""
        layer, ids = self.layer(*np.broadcast_shapes(first.shape, second.shape))
        layer.blocks += [_wires(first, ids), _wires(second, ids)]
        constant = (np.broadcast_to(first, ids.shape) == CONSTANT) | (np.broadcast_to(second, ids.shape) == CONSTANT)
        if constant.any():
            layer.stages.append(Lift(ids[constant]))
        return ids


Cell = Callable[[Sequence, int, State], State]


def lstm(sequence: Sequence, step: int, state: State) -> State:
    """One step of a long short-term memory: the hidden state after its projection, and the cell's."""
    hidden, cell = state
    n = len(cell)
    rows = sequence.sums(step, hidden, 4 * n, slice(2 * n), slice(3 * n, None))
    entered, kept, new, out = rows.reshape(4, n, -1)
    cell = sequence.products((entered, new), (kept, cell))
    return sequence.projected(sequence.products((out, cell))), cell


def gru(sequence: Sequence, step: int, state: State) -> State:
    """One step of a gated recurrent unit: (hidden - new) * kept + new, with new = tanh(given + reset * brought)."""
    (hidden,) = state
    n = len(hidden)
    reset, kept, brought = sequence.sums(step, hidden, 2 * n, slice(2 * n)).reshape(3, n, -1)
    new = sequence.products((brought, reset), added=sequence.at(step)[2 * n :])
    return (sequence.products((sequence.union(hidden, new), kept), added=new),)


def plain(sequence: Sequence, step: int, state: State) -> State:
    """One step of a plain recurrent cell, whose function is zero at zero."""
    return (sequence.sums(step, state[0], len(sequence.given)),)


def run(cell: Cell, sequence: Sequence, start: State, steps: int, backwards: bool) -> tuple[torch.Tensor, State]:
    """The hidden units (steps, batch, rows) in capture's ids, in the order of the inputs, and the last state."""
    state, made = start, []
    for step in reversed(range(steps)) if backwards else range(steps):
        state = cell(sequence, step, state)
        made.append(state[0])
    made = made[::-1] if backwards else made
    width = max(each.shape[1] for each in made)
    whole = np.stack([np.broadcast_to(each, (len(each), width)) for each in made])
    return as_units(whole).transpose(1, 2), state


def as_units(ids: np.ndarray) -> torch.Tensor:
    """The graph's ids as capture's."""
    return torch.from_numpy(ids.astype(np.int64)) + 1


def distinct(values: torch.Tensor) -> torch.Tensor:
    """Ids of features along the last axis with one index of every other axis along which they repeat."""
    (small,), _ = collapse(values.movedim(-1, 0))
    return small.expand(values.size(-1), *small.shape[1:]).movedim(0, -1)


def starting(ids: torch.Tensor) -> np.ndarray:
    """A state (batch, rows) in capture's ids as (rows, batch) in the graph's."""
    return as_ids(distinct(canonical(ids)).t()).astype(np.int32)


def _kernel(parts: list[KernelPart], sources: np.ndarray, targets: np.ndarray) -> Iterator[KernelBlock]:
    """The blocks of a kernel from (channels, 1 or batch) to (rows, batch)."""
    taps = _taps(sources.shape[1], targets.shape[1])
    return (part.between(sources[None], targets[None], taps) for part in parts)


@cache
def _taps(size: int, positions: int) -> Taps:
    """Each position reads its own unit of a channel, or all read the only one."""
    return Taps.of((np.arange(positions) if size > 1 else np.zeros(positions))[None], size)


def _wires(sources: np.ndarray, targets: np.ndarray) -> Wiring:
    """A wire to each target from its source, where there is one."""
    sources = np.broadcast_to(sources, targets.shape)
    there = sources >= 0
    return Wiring(sources[there], targets[there])
