"""Gradients of masked parameters: masked where a backward pass ends, and collected before for those who ask."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch.autograd import Variable

from graphsparse.training.bypassed import look
from graphsparse.training.kept import Kept, gathered, local
from graphsparse.training.zeroing import zero


class Gradients:
    """Listens to gradients, and masks all of a backward pass in one call, before norms for clipping are taken."""

    def __init__(self) -> None:
        self._come: dict[str, Kept] = {}
        self._task = -1
        self._collecting = self._warned = False

    def listen(self, each: Kept) -> None:
        """Mask the gradients of this parameter from now on."""
        each.hook = each.parameter.register_post_accumulate_grad_hook(partial(self._on_gradient, each))

    def collect(self) -> None:
        """Keep a copy of gradients from now on, before they are masked, until `collected`."""
        self._collecting = True

    def collected(self, kept: Iterable[Kept]) -> dict[str, torch.Tensor]:
        """The gradients since `collect`, summed over backward passes; those of parameters that are spread are gathered."""
        self._collecting, found = False, {}
        for each in kept:
            if each.dense is not None:
                found[each.name], each.dense = gathered(each.dense, each.parameter), None
        return found

    def _on_gradient(self, each: Kept, parameter: torch.Tensor) -> None:
        if torch.compiler.is_compiling():
            zero_gradients([each])
            return
        self._come[each.name] = each
        task = torch._C._current_graph_task_id()
        if task != self._task:  # the first one of this pass; what is left of one that an error ended goes with it
            self._task = task
            queue = Variable._execution_engine.queue_callback
            queue(lambda: queue(self._at_end))  # after what others have queued: DistributedDataParallel's averages

    @torch.no_grad()
    def _at_end(self) -> None:
        come, self._come = [each for each in self._come.values() if each.parameter.grad is not None], {}
        if self._collecting:
            for each in come:
                each.collect()
        zero_gradients(come)
        for each in come:
            each.has_been_masked()
            self._warned = look(each, self._warned)


def zero_gradients(kept: Iterable[Kept]) -> None:
    """Mask the gradients of parameters that have one."""
    zero((local(gradient), each.here) for each in kept if (gradient := each.parameter.grad) is not None)
