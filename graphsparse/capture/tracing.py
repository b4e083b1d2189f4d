"""How torch traces here: without a word, without gradients, and without what nobody reads afterwards."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx import config
from torch.fx._lazy_graph_module import _use_lazy_graph_module

from graphsparse.capture.quiet import quiet
from graphsparse.capture.shapes import told_shapes


@contextmanager
def tracing(apart: Container[Any] = ()) -> Iterator[None]:
    """While torch traces, a program is code only when it is run, and calls do not note which line made them.

    Both take almost half of the time of a trace. Operations that are to be taken ``apart`` say no shapes of their own.
    """
    with quiet(), torch.no_grad(), told_shapes(apart), _use_lazy_graph_module(True):
        before, config.do_not_emit_stack_traces = config.do_not_emit_stack_traces, True
        try:
            yield
        finally:
            config.do_not_emit_stack_traces = before
