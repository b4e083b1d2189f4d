"""Keep masked weights at zero while a model is trained: `keep_masks`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from graphsparse.errors import ModelError
from graphsparse.training.kept_masks import KeptMasks


def keep_masks(model: nn.Module, masks: Mapping[str, Any], optimizer: Any = None) -> KeptMasks:
    """From here on a weight that its mask drops is exactly zero after every optimiser step.

    So are its gradient and what the optimiser remembers of it: neither weight decay nor momentum brings it back, and norms
    for clipping count kept weights alone. Parameters stay plain parameters under their names; ``state_dict``, ``deepcopy``,
    ``torch.compile`` and averaged copies work as before. docs/training.md shows trainers, several processes and schedules.

    Args:
        model: a module with its weights; also one that is compiled, or spread by DistributedDataParallel or
            ``fully_shard``. Every process must be given the same masks.
        masks: ``{parameter name: bool tensor}`` in the parameters' shapes, True = kept, by the names of the module
            itself. Tied parameters have one mask, under any of their names.
        optimizer: one, or a list of them, or the wrapper of a trainer. None: whatever optimiser of torch steps, now or
            later, where it holds these parameters.

    Returns:
        A handle: ``.masks``, ``.set(masks)``, ``.apply()``, ``.remove()``; a context manager.

    Raises:
        MaskError: a name, shape or type does not fit; masks of one parameter under two names differ.
        ModelError: the model is no module.
        GraphsparseError: an optimizer is none, or holds none of the masked parameters.

    What changes weights without a step that graphsparse sees (an optimiser with copies of the weights, a checkpoint that
    is loaded) is found in the next backward pass and said in a warning, `MasksBypassed`.

    Example:
        >>> import torch
        >>> model = nn.Linear(2, 1, bias=False)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        >>> handle = keep_masks(model, {"weight": torch.tensor([[True, False]])}, optimizer)
        >>> model(torch.ones(3, 2)).sum().backward()
        >>> model.weight.grad
        tensor([[3., 0.]])
        >>> optimizer.step(); model.weight[0, 1].item()
        0.0
    """
    if not isinstance(model, nn.Module):
        raise ModelError(
            "a model that is trained must be a torch.nn.Module", received=type(model).__name__,
            way_out="give the module itself; a network has it as network.model",
        )  # fmt: skip
    return KeptMasks(model, masks, optimizer)
