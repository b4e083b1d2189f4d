"""What callbacks of trainers share: masks that are given early, and begin when the trainer has its model ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from graphsparse.capture import Network
from graphsparse.networks import network
from graphsparse.training.callbacks.loop import Loop, Scheduled
from graphsparse.training.keep import KeptMasks, keep_masks
from graphsparse.training.kept import unwrapped

MakeSchedule = Callable[[KeptMasks, Network], Scheduled]


def begun(
    model: nn.Module, masks: Mapping[str, Any], example_inputs: Any, schedule: MakeSchedule | None, **options: Any
) -> Loop:
    """Keep the masks of a model that is ready to be trained, whatever optimiser steps.

    ``example_inputs`` are as for `graphsparse.network`: a dict is keyword arguments. None: direct sparsity is logged alone.
    """
    model = unwrapped(model)
    handle = keep_masks(model, masks)
    if example_inputs is None:
        return Loop(handle, **options)
    named = isinstance(example_inputs, Mapping)
    found = network(model, None if named else example_inputs, kwargs=example_inputs if named else None)
    return Loop(handle, found, schedule(handle, found) if schedule is not None else None, **options)
