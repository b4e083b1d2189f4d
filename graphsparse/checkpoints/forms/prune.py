"""torch.nn.utils.prune: ``X_orig`` and ``X_mask``, where both are there."""

from __future__ import annotations

from functools import partial

from graphsparse.checkpoints.archives.pending import Pending, ready
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import Form, Masks, Payload, Reading, Weights, masked_reading


def _pairs(content: Content) -> list[str]:
    """The parameters that have both keys. A lone ``X_mask`` is something else (a causal mask, an attention mask)."""
    names = (key.removesuffix("_orig") for key in content.tensors if key.endswith("_orig"))
    return [name for name in names if f"{name}_mask" in content.tensors]


def recognise(content: Content) -> bool:
    return bool(_pairs(content))


def read(content: Content, request: Request) -> Reading:
    return masked_reading(content, {name: (f"{name}_mask", f"{name}_orig") for name in _pairs(content)})


def write(masks: Masks, weights: Weights) -> Payload:
    """Writes the state dict of a model that torch.nn.utils.prune has pruned: masks in their weight's type."""
    tensors = {}
    for name, weight in weights.items():
        if name not in masks:
            tensors[name] = ready(weight)
            continue
        tensors[f"{name}_orig"] = ready(weight)
        tensors[f"{name}_mask"] = Pending(tuple(weight.shape), weight.dtype, partial(masks[name].to, weight.dtype))
    return Payload(tensors, {"format": "pt"})


PRUNE = Form(
    "prune",
    "torch.nn.utils.prune: X_orig and X_mask",
    recognise,
    read,
    write,
    ("torch", "safetensors"),
    needs_weights=True,
)
