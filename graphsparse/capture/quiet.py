"""How other libraries are called: one thread at a time, without a word, and with no random number used up."""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from functools import partial
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx import config
from torch.fx._lazy_graph_module import _use_lazy_graph_module

_TURN = threading.RLock()
"""One thread at a time has what belongs to the process: torch.export, the level of logging, warnings and sys.stderr."""

if hasattr(os, "register_at_fork"):  # a child would wait for ever for a thread that it does not have
    os.register_at_fork(before=_TURN.acquire, after_in_parent=_TURN.release, after_in_child=_TURN.release)

aten = torch.ops.aten
_RECURRENT = (aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input)
_KEYS = (torch._C.DispatchKey.CompositeImplicitAutograd, torch._C.DispatchKey.Autograd)


class _Muted:
    """A stream that drops what one thread writes and hands on what all others write."""

    def __init__(self, stream: Any):
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() == self._thread or self._stream is None:
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what torch and transformers log, warn and print inside the block; the error that they raise says it again.

    Blocks of several threads run one after the other, so each finds logging and warnings as the one before found them.
    """
    with _TURN:
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            with warnings.catch_warnings(), redirect_stderr(_Muted(sys.stderr)):
                warnings.simplefilter("ignore")
                yield
        finally:
            logging.disable(before)


@contextmanager
def same_random_state() -> Iterator[None]:
    """Whatever draws random numbers inside the block, the global generators are afterwards as they were."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def tracing(apart: Container[Any] = ()) -> Iterator[None]:
    """While torch traces, a program becomes code only when it is run, and calls do not note which line made them.

    Both take almost half of the time of a trace. Recurrent layers give the shapes of their results at once: torch runs
    each step to find them, 50 ms a step. Not so operations in ``apart``, which are about to be taken apart.
    """
    with quiet(), torch.no_grad(), _use_lazy_graph_module(True), ExitStack() as afterwards:
        afterwards.callback(setattr, config, "do_not_emit_stack_traces", config.do_not_emit_stack_traces)
        config.do_not_emit_stack_traces = True
        for each in _RECURRENT:
            by_steps = {key: each.py_kernels[key] for key in _KEYS if key in each.py_kernels and each not in apart}
            afterwards.callback(each._dispatch_cache.clear)
            afterwards.callback(each.py_kernels.update, by_steps)
            each.py_kernels.update({key: partial(_shapes, kernel) for key, kernel in by_steps.items()})
            each._dispatch_cache.clear()
        yield


def _shapes(by_steps: Callable[..., Any], value: torch.Tensor, states: Any, *settings: Any) -> Any:
    """Outputs and last states without content, laid out in memory as torch's; real tensors go by steps."""
    starts = list(states) if isinstance(states, (list, tuple)) else [states]
    *_, bidirectional, batch_first = settings
    if not isinstance(value, FakeTensor) or len(settings) != 7:
        return by_steps(value, states, *settings)
    shape = (value.size(1), value.size(0)) if batch_first else (value.size(0), value.size(1))
    outputs = value.new_empty(*shape, starts[0].size(-1) * (1 + bidirectional))
    return outputs.transpose(0, 1) if batch_first else outputs, *(start.new_empty(start.shape) for start in starts)
