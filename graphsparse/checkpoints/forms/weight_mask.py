"""Synaptic-Flow and ShrinkBench: buffers ``weight_mask`` and ``bias_mask`` beside ``weight`` and ``bias``."""

from __future__ import annotations

from graphsparse.checkpoints.content import Content
from graphsparse.checkpoints.forms.form import Masked, masked_form


def _masked(content: Content) -> Masked:
    names = (key.removesuffix("_mask") for key in content.tensors if key.endswith(("weight_mask", "bias_mask")))
    own = (name for name in names if name.rpartition(".")[2] in ("weight", "bias") and name in content.tensors)
    return {name: (f"{name}_mask", name) for name in own}


WEIGHT_MASK = masked_form(
    "weight-mask", "Synaptic-Flow, ShrinkBench: buffers weight_mask and bias_mask beside the weight", _masked
)
