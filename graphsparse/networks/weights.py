"""A model without weights, built again with those of its checkpoint, where memory allows it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import torch

from graphsparse.capture import Network
from graphsparse.errors import ModelError
from graphsparse.networks.models import named_tensors, parameters_of

PER_PARAMETER = 28
"""Bytes that running a model takes for each parameter: itself in single precision; a copy, gradients and scores in double."""


def bytes_to_run(network: Network) -> int:
    """About how much memory a method that runs the model takes."""
    unique = {id(tensor): tensor.numel() for tensor in parameters_of(network.model).values()}
    return PER_PARAMETER * sum(unique.values())


def with_weights(network: Network) -> Network:
    """The same network on the CPU with the checkpoint's weights, ready to run; one tensor is read after the other.

    Raises ModelError where the checkpoint has no weights, or the model with them does not fit into memory.
    """
    needed, free = bytes_to_run(network), available_memory()
    if network.rebuild is None or not network.weights:
        raise ModelError(
            "a method that runs the model must have its weights", received="a model without weights and masks alone",
            way_out="name a checkpoint with weights",
        )  # fmt: skip
    if needed > free:
        raise ModelError(
            "a method that runs the model must have it in memory", received=f"about {size(needed)} needed, {size(free)} free",
            way_out="use random, magnitude or lamp, which read one weight after the other",
        )  # fmt: skip
    model, kwargs = network.rebuild(device="cpu")
    with torch.no_grad():
        for name, tensor in named_tensors(model):
            if name in network.weights:
                tensor.copy_(network.weights[name])
    given = network.kwargs if network.has_inputs else kwargs or {}
    inputs = {name: _with_values(value) for name, value in given.items()}
    return replace(network, model=model, kwargs=inputs, stand_in=False)


def _with_values(value: Any) -> Any:
    return torch.zeros(value.shape, dtype=value.dtype) if isinstance(value, torch.Tensor) and value.is_meta else value


def available_memory() -> int:
    """Bytes that this machine can give without swapping; a number beyond any memory where it does not tell."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 1 << 62


def size(count: int) -> str:
    """A number of bytes as people read it."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
