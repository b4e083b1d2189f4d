"""torch.nn.utils.prune: ``X_orig`` and ``X_mask``, where both are there."""

from __future__ import annotations

from graphsparse.checkpoints.content import Content
from graphsparse.checkpoints.forms.form import Masked, Masks, Payload, Weights, masked_form, masks_beside


def _keys(name: str) -> tuple[str, str]:
    return f"{name}_mask", f"{name}_orig"


def _masked(content: Content) -> Masked:
    """The parameters that have both keys. A lone ``X_mask`` is something else (a causal mask, an attention mask)."""
    names = (key.removesuffix("_orig") for key in content.tensors if key.endswith("_orig"))
    return {name: _keys(name) for name in names if f"{name}_mask" in content.tensors}


def write(masks: Masks, weights: Weights) -> Payload:
    """Writes the state dict of a model that torch.nn.utils.prune has pruned: masks in their weight's type."""
    return masks_beside(masks, weights, _keys)


PRUNE = masked_form(
    "prune", "torch.nn.utils.prune: X_orig and X_mask", _masked,
    write=write, containers=("torch", "safetensors"), needs_weights=True,
)  # fmt: skip
