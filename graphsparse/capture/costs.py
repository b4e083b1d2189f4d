"""What a program from a file costs, counted before anything is made, against what the file bears out.

Counted are elements of values, entries of the tables that say what each result reads, steps, calls, and constants, which
are computed. What a graph takes is counted while it is made (`graphsparse.capture.draft.Draft.take`).
"""

from __future__ import annotations

import operator
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod, sqrt
from typing import Any

import torch

from graphsparse.capture.nodes import tensors_in
from graphsparse.errors import SIZES, CaptureError

Tensors = Sequence[torch.Tensor]
_LARGEST_POWER = 64
_CALLS_OF_A_CELL = 8  # for each step of a recurrent layer
RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
UNITS = 1 << 24, 4
"""Units and links of a graph, entries of tables: how many any file may ask for, and how many for each of its bytes."""
_LIMITS = {
    "elements in one value": (1 << 24, 16),
    "elements in all values": (1 << 26, 32),
    "entries of tables": UNITS,
    "steps": (1 << 31, 1 << 12),  # products and sums
    "steps for constants": (1 << 31, 1 << 8),
    "bytes of constants": (1 << 26, 4),
    "calls": (1 << 17, 1 / 64),
}
"""The same for what a program computes."""


def allowed(file_bytes: float, always: float, times: float) -> float:
    """How much a file of so many bytes may ask for."""
    return always + times * file_bytes


@dataclass
class Costs:
    """What a program costs so far. Each method counts more, and raises CaptureError beyond what the file bears out."""

    file_bytes: float
    counts: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def value(self, tensor: torch.Tensor) -> None:
        """Count a value."""
        if not all(type(size) is int for size in tensor.shape):
            raise CaptureError("the sizes of values must not depend on the values of inputs")
        count = prod(tensor.shape)
        self._check("elements in one value", count)
        self.add("elements in all values", count)

    def call(self, name: str, read: Tensors, made: Tensors, args: Any, constant: bool, times: int) -> None:
        """Count a call that is made so many times; ``constant``: it is computed."""
        work = times * _work(name, read, made, args)
        self.add("steps", work)
        self.add("entries of tables", times * _tables(name, read, made, args))
        if constant:
            self.add("bytes of constants", sum(each.nbytes for each in made if not each._is_view()))
            self.add("steps for constants", work)

    def add(self, what: str, count: float) -> None:
        """Count more of one of the limited things. The body of a loop is called once for each row."""
        self.counts[what] += count
        self._check(what, self.counts[what])

    def _check(self, what: str, count: float) -> None:
        if count > allowed(self.file_bytes, *_LIMITS[what]):
            raise CaptureError(
                "what a program computes must be of a size that its file bears out", received=f"{count:,.0f} {what}",
                way_out=SIZES,
            )  # fmt: skip


def _work(name: str, read: Tensors, made: Tensors, args: Any) -> float:
    """About how many steps a call takes: entries read and written, and the products or windows between them."""
    inputs, outputs = [each.numel() for each in read], sum(each.numel() for each in made)
    work = float(sum(inputs) + outputs)
    if name.startswith("conv") and len(read) > 1:
        return work + outputs * read[1].numel() / max(1, min(read[1].shape[:2], default=1))
    if name in RECURRENT:
        return work + prod(read[0].shape[:-1]) * sum(each.numel() for each in _kernels(args))
    if "pool" in name or name in ("unfold", "im2col"):
        return work + outputs * _window(name, args)
    if name.startswith("linalg_") or name in _CUBIC:
        return work + 10 * max(inputs, default=0) ** 1.5
    products = sqrt(prod(map(float, inputs[:3])) * outputs) if len(inputs) > 1 and name in _PRODUCTS else 0
    return work + products


def _tables(name: str, read: Tensors, made: Tensors, args: Any) -> float:
    """Entries of the tables that say what each result of a call reads."""
    if name.startswith("conv") and len(read) > 1:
        return sum(prod(read[1].shape[2:]) * prod(each.shape[2:]) for each in made)
    if name in RECURRENT:
        return prod(read[0].shape[:-1]) * sum(each.shape[0] for each in _kernels(args))
    if "scaled_dot_product" in name and len(read) > 1:
        return prod(read[0].shape[:-1]) * read[1].shape[-2]
    if "pool" in name:
        return sum(each.numel() for each in made) * _window(name, args)
    return 0


def _window(name: str, args: Sequence[Any]) -> int:
    """How many elements a pooled result reads. One size may stand for all axes; adaptive pooling reads each once."""
    axes = re.search("pool([123])d", name)
    if "adaptive" in name or len(args) < 2:
        return 1
    sizes = args[1] if isinstance(args[1], (list, tuple)) else [args[1]]
    return prod(map(abs, sizes)) ** (int(axes[1]) if axes and len(sizes) == 1 else 1)


def _kernels(args: Sequence[Any]) -> list[torch.Tensor]:
    """The matrices of a recurrent layer: two or three for each layer and direction, whether it has biases or not."""
    return [each for each in tensors_in(args[2:]) if each.dim() == 2]


_CUBIC = {"inverse", "logdet", "slogdet", "cov", "corrcoef"}
_PRODUCTS = {
    "mm", "bmm", "matmul", "linear", "addmm", "baddbmm", "addbmm", "einsum", "tensordot", "outer", "cdist", "_cdist_forward",
    "linalg_matmul", "bilinear", "mv", "inner", "kron", "scaled_dot_product_attention", "isin",
}  # fmt: skip


def calls_of(name: str, target: Any, args: Sequence[Any]) -> int:
    """How many calls a call becomes. Raises where arithmetic of sizes has no bound."""
    if target in (operator.pow, operator.lshift):
        known = all(type(each) in (int, float, bool) for each in args)
        if not known or not abs(args[1]) <= _LARGEST_POWER:
            raise CaptureError("an exponent must be a small number", received=str(args[1])[:40])
    if name in RECURRENT and len(args) > 2 and isinstance(args[0], torch.Tensor) and args[0].dim():
        cells = max(1, len(_kernels(args)) // 2)
        return _CALLS_OF_A_CELL * cells * (max(args[0].shape[:2]) if args[0].dim() > 2 else args[0].shape[0])
    return 1
