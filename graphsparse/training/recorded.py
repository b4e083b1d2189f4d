"""A function of tensors on a GPU, recorded once as a CUDA graph and replayed: no operation is started from Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_map_only


class Recorded:
    """A function recorded with some inputs, which later inputs of the same shapes replace.

    It must read nothing from the device and copy nothing to it, once it has run. The memory of one run is held.
    """

    def __init__(self, function: Callable[[Sequence[torch.Tensor]], Any], inputs: Sequence[torch.Tensor]):
        self.device, self.inputs = inputs[0].device, [each.clone() for each in inputs]
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device):
            before, beside = torch.cuda.current_stream(), torch.cuda.Stream()
            beside.wait_stream(before)
            with torch.cuda.stream(beside):  # what is copied once is copied now, and libraries choose their kernels
                function(self.inputs)
            before.wait_stream(beside)
            with torch.cuda.graph(self.graph):
                self.results = function(self.inputs)

    def __call__(self, inputs: Sequence[torch.Tensor]) -> Any:
        """What the function gives for these inputs, in tensors that a later call leaves as they are."""
        torch._foreach_copy_(self.inputs, list(inputs))
        self.graph.replay()
        return tree_map_only(torch.Tensor, torch.clone, self.results)
