"""What callbacks of trainers share: masks that are given early, and begin when the trainer has its model ready."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from graphsparse.capture import Network
from graphsparse.networks import network
from graphsparse.training.callbacks.loop import Loop, Scheduled
from graphsparse.training.keep import keep_masks
from graphsparse.training.kept import unwrapped
from graphsparse.training.kept_masks import KeptMasks
from graphsparse.training.lora import base_names, is_adapted, merge_lora

MakeSchedule = Callable[[KeptMasks, Network], Scheduled]


def begun(
    model: nn.Module, masks: Mapping[str, Any], example_inputs: Any, schedule: MakeSchedule | None, **options: Any
) -> Loop:
    """Keep the masks of a model that is ready to be trained, whatever optimiser steps.

    Of a model with PEFT's adapters the masks are the base's, by its names, and the sparsity is that after `merge_lora`.

    ``example_inputs`` are as for `graphsparse.network`: a dict is keyword arguments. None: direct sparsity is logged alone.
    """
    model = unwrapped(model)
    inside = base_names(model)
    handle = keep_masks(model, {inside.get(name, name): mask for name, mask in masks.items()})
    names = {there: name for name, there in inside.items()}
    if example_inputs is None:
        return Loop(handle, names=names, **options)
    named = isinstance(example_inputs, Mapping)
    plain = merge_lora(copy.deepcopy(model), masks).model if is_adapted(model) else model
    found = network(plain, None if named else example_inputs, kwargs=example_inputs if named else None)
    return Loop(handle, found, schedule(handle, found) if schedule is not None else None, names=names, **options)
