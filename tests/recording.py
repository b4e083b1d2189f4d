"""CUDA graphs on any machine: operations are written down as they run, and run again in the memory that they had.

As on a GPU, a replay reads and writes the tensors of the recording, whatever they hold by then, and what waits for the
device cannot be recorded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Graph:
    """Stands in for `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, Any, list[torch.Tensor]]] = []

    def replay(self) -> None:
        """Run all operations again."""
        for operation, args, kwargs, before in self.operations:
            again = [each for each in tree_leaves(operation(*args, **kwargs)) if isinstance(each, torch.Tensor)]
            for result, now in zip(before, again, strict=True):
                if result.data_ptr() != now.data_ptr():
                    result.copy_(now)


class _Recording(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        results = [each for each in tree_leaves(result) if isinstance(each, torch.Tensor)]
        self.graph.operations.append((func, args, kwargs or {}, results))
        return result


@contextlib.contextmanager
def recording(waits: Callable[[], int]) -> Iterator[None]:
    """Within, torch records in this way; ``waits`` counts how often the host has waited for the device."""

    @contextlib.contextmanager
    def graph(graph: Graph) -> Iterator[None]:
        before = waits()
        with _Recording(graph):
            yield
        if waits() > before:
            raise RuntimeError("operation not permitted when stream is capturing")

    stream = SimpleNamespace(wait_stream=lambda other: None)
    parts = {
        "CUDAGraph": Graph, "graph": graph, "is_available": lambda: True, "current_stream": lambda: stream,
        "Stream": lambda: stream, "stream": contextlib.nullcontext, "device": contextlib.nullcontext,
    }  # fmt: skip
    before = {name: getattr(torch.cuda, name) for name in parts}
    for name, part in parts.items():
        setattr(torch.cuda, name, part)
    try:
        yield
    finally:
        for name, part in before.items():
            setattr(torch.cuda, name, part)
