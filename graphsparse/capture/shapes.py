"""The shapes of what recurrent layers give, without their steps: torch runs each step to find them, 50 ms a step."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

aten = torch.ops.aten
RECURRENT = (aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input)
KEYS = (torch._C.DispatchKey.CompositeImplicitAutograd, torch._C.DispatchKey.Autograd)


@contextmanager
def told_shapes(apart: Container[Any] = ()) -> Iterator[None]:
    """While torch traces, recurrent layers on tensors without content give their shapes at once; not those in ``apart``."""
    told = [each for each in RECURRENT if each not in apart and all(key in each.py_kernels for key in KEYS)]
    saved = {each: dict(each.py_kernels) for each in told}
    for each in told:
        each.py_kernels.update({key: partial(_shapes, each.py_kernels[key]) for key in KEYS})
        each._dispatch_cache.clear()
    try:
        yield
    finally:
        for each in told:
            each.py_kernels.clear()
            each.py_kernels.update(saved[each])
            each._dispatch_cache.clear()


def _shapes(by_steps: Callable[..., Any], value: torch.Tensor, states: Any, *settings: Any) -> Any:
    """Outputs and last states without content, laid out in memory as torch's; real tensors go by steps."""
    starts = list(states) if isinstance(states, (list, tuple)) else [states]
    *_, bidirectional, batch_first = settings
    if not isinstance(value, FakeTensor) or len(settings) != 7:
        return by_steps(value, states, *settings)
    shape = (value.size(1), value.size(0)) if batch_first else (value.size(0), value.size(1))
    outputs = value.new_empty(*shape, starts[0].size(-1) * (1 + bidirectional))
    return outputs.transpose(0, 1) if batch_first else outputs, *(start.new_empty(start.shape) for start in starts)
