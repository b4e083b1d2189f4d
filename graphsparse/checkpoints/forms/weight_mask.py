"""Synaptic-Flow and ShrinkBench: buffers ``weight_mask`` and ``bias_mask`` beside ``weight`` and ``bias``."""

from __future__ import annotations

from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import Form, Reading, masked_reading

_PARAMETERS = ("weight", "bias")


def _masked(content: Content) -> dict[str, tuple[str, str | None]]:
    names = (key.removesuffix("_mask") for key in content.tensors if key.endswith("_mask"))
    return {
        name: (f"{name}_mask", name)
        for name in names
        if name.rpartition(".")[2] in _PARAMETERS and name in content.tensors
    }


def recognise(content: Content) -> bool:
    return bool(_masked(content))


def read(content: Content, request: Request) -> Reading:
    return masked_reading(content, _masked(content))


WEIGHT_MASK = Form(
    "weight-mask", "Synaptic-Flow, ShrinkBench: buffers weight_mask and bias_mask beside the weight", recognise, read
)
