"""The loss of a model on batches of data, as the pruners that look at data need it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from graphsparse.errors import GraphsparseError, brief

Loss = Callable[[Any, Any], torch.Tensor]


def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy with class indices or probabilities.

    Classes are on axis 1, as in torch; on the last axis where the targets have all axes but that: outputs (batch, tokens,
    classes) fit targets (batch, tokens).
    """
    if outputs.dim() > 2 and targets.shape == outputs.shape[:-1]:
        outputs = outputs.movedim(-1, 1)
    return nn.functional.cross_entropy(outputs, targets)


def batch_loss(model: nn.Module, batch: Any, loss: Loss, temperature: float = 1.0) -> torch.Tensor:
    """The loss of one batch (x, y), the outputs divided by `temperature`.

    x is a tensor, a tuple or list of positional arguments, or a mapping of keyword arguments. Tensors go to the model's
    device, floating ones in its type. Outputs with an attribute ``logits`` (as transformers models return) give those.
    """
    if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
        raise GraphsparseError(
            "data must yield pairs (x, y)", received=type(batch).__name__, way_out="zip inputs and targets"
        )
    x, y = _placed(batch, next(model.parameters()))
    try:
        outputs = model(**x) if isinstance(x, Mapping) else model(*x) if isinstance(x, (tuple, list)) else model(x)
        outputs = getattr(outputs, "logits", outputs)
        return loss(outputs / temperature if temperature != 1.0 else outputs, y)
    except Exception as error:  # the user's model and data
        raise GraphsparseError(
            "a batch of data must be one that the model and the loss take", place="data",
            received=f"x {_described(x)}, y {_described(y)}; {brief(error)}",
            way_out="give data=, with inputs x as the model takes them and a label in y for each",
        ) from error  # fmt: skip


def _described(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__


def mean_gradients(
    model: nn.Module, kernels: list[torch.Tensor], batches: Iterable[Any], loss: Loss, temperature: float = 1.0
) -> list[torch.Tensor]:
    """Gradients of the loss with respect to the kernels, averaged over the batches; zero for an unused kernel."""
    return mean_over(batches, kernels, lambda batch: gradients(batch_loss(model, batch, loss, temperature), kernels))


def mean_over(
    batches: Iterable[Any], kernels: list[torch.Tensor], found: Callable[[Any], list[torch.Tensor]]
) -> list[torch.Tensor]:
    """The mean over the batches of what is found for each kernel on a batch."""
    sums, count = [torch.zeros_like(kernel) for kernel in kernels], 0
    for count, batch in enumerate(batches, 1):
        for total, part in zip(sums, found(batch)):
            total += part
    if count == 0:
        raise GraphsparseError(
            "data must yield at least one batch", received="none", way_out="give data=, with inputs x and labels y"
        )
    return [total / count for total in sums]


def gradients(value: torch.Tensor, kernels: list[torch.Tensor], keep: bool = False) -> list[torch.Tensor]:
    """Gradients of a scalar, zero where it does not depend on a kernel; with `keep`, to be differentiated again."""
    if not value.requires_grad:
        return [torch.zeros_like(kernel) for kernel in kernels]
    found = torch.autograd.grad(value, kernels, create_graph=keep, allow_unused=True)
    return [torch.zeros_like(kernel) if grad is None else grad for kernel, grad in zip(kernels, found)]


def repeatable(data: Iterable[Any] | None) -> Iterable[Any]:
    """Data that can be gone through several times: an iterator is read into memory."""
    if data is None:
        raise GraphsparseError(
            "data must be given to this method", received="none", way_out="give data=, with inputs x and labels y"
        )
    try:
        return list(data) if iter(data) is data else data
    except TypeError as error:
        raise GraphsparseError(
            "data must yield pairs (x, y)", received=type(data).__name__,
            way_out="give a list of batches or a DataLoader",
        ) from error  # fmt: skip


def endless(data: Iterable[Any]) -> Iterator[Any]:
    """The batches over and over, in whatever order each pass gives them; it ends where a pass gives none."""
    for batches in repeat(data):
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            return


def _placed(batch: Any, like: torch.Tensor) -> Any:
    def place(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return leaf.to(like.device, like.dtype if leaf.is_floating_point() else leaf.dtype)

    return tree_map(place, batch)
