"""torch.nn.utils.parametrize: ``parametrizations.X.original`` with a mask in ``parametrizations.X.<i>.mask``.

torch.ao.pruning's sparsifiers write the same keys.
"""

from __future__ import annotations

import re

from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import (
    Form,
    Masked,
    Masks,
    Payload,
    Reading,
    Weights,
    masked_reading,
    masks_beside,
)
from graphsparse.errors import MaskError

_MASK = re.compile(r"^((?:.*\.)?)parametrizations\.([^.]+)\.\d+\.mask$")
_ORIGINAL = re.compile(r"^((?:.*\.)?)parametrizations\.([^.]+)\.original$")


def _masked(content: Content) -> Masked:
    """{parameter: (key of its mask, key of its weight)}; an original without a mask is a plain weight."""
    masked: dict[str, tuple[str, str | None]] = {}
    for key in content.tensors:
        found = _MASK.match(key)
        if not found:
            continue
        prefix, parameter = found.groups()
        original = f"{prefix}parametrizations.{parameter}.original"
        if prefix + parameter in masked:
            raise MaskError(
                "a parameter must have one mask", place=content.named(prefix + parameter), received="two parametrizations",
                way_out="multiply the masks and save one",
            )  # fmt: skip
        if original in content.tensors:
            masked[prefix + parameter] = (key, original)
    return masked


def read(content: Content, request: Request) -> Reading:
    reading = masked_reading(content, _masked(content))
    entries = {_ORIGINAL.sub(r"\1\2", name): entry for name, entry in reading.entries.items()}
    return Reading(entries, reading.others, reading.ignored)


def write(masks: Masks, weights: Weights) -> Payload:
    """Writes the state dict of a model whose masked parameters have one parametrization each, its buffer ``mask``."""
    return masks_beside(masks, weights, _keys)


def _keys(name: str) -> tuple[str, str]:
    module, dot, parameter = name.rpartition(".")
    prefix = f"{module}{dot}parametrizations.{parameter}"
    return f"{prefix}.0.mask", f"{prefix}.original"


PARAMETRIZATION = Form(
    "parametrization",
    "torch.nn.utils.parametrize, torch.ao.pruning: parametrizations.X.original and parametrizations.X.<i>.mask",
    _masked, read, write, ("torch", "safetensors"), needs_weights=True,
)  # fmt: skip
