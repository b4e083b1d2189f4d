"""Tables of masks alone: OpenLTH's {parameter: mask}, NNI's {module: {"weight": mask, "bias": mask or None}}."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch

from graphsparse.checkpoints.archives.pending import Pending
from graphsparse.checkpoints.checks import comparable, in_parts
from graphsparse.checkpoints.content import WRAPPERS, Content, Request
from graphsparse.checkpoints.forms.form import Form, Masks, Payload, Reading, Weights, mask_entry
from graphsparse.checkpoints.names import strip_wrappers

_MASK_TYPES = {torch.bool, torch.uint8, torch.int32, torch.int64, torch.int16}


def _of_integers(content: Content) -> bool:
    """Whether every tensor is of a type that no weight has, whatever its values. A table of floating zeros and ones
    is read as weights instead: the masks of its kernels are the same, and it may be weights."""
    return bool(content.tensors) and all(tensor.dtype in _MASK_TYPES for tensor in content.tensors.values())


def _read_table(content: Content, request: Request) -> Reading:
    entries = {name: mask_entry(mask, content, name) for name, mask in content.tensors.items()}
    return Reading(entries, {}, content.ignored)


def _write_table(masks: Masks, weights: Weights) -> Payload:
    """Writes the masks as 32-bit integers of 0 and 1, as OpenLTH does."""
    kind = torch.int32
    return Payload({name: Pending(tuple(mask.shape), kind, partial(mask.to, kind)) for name, mask in masks.items()})


OPENLTH = Form(
    "openlth", "OpenLTH's mask.pth: {parameter: zeros and ones}", _of_integers, _read_table, _write_table, ("torch",)
)


def _by_module(content: Content) -> dict[str, torch.Tensor | None]:
    """{module.target: mask} where the content is modules of targets, else empty."""
    raw = content.raw
    table: dict[str, torch.Tensor | None] = {}
    for module, targets in raw.items() if isinstance(raw, Mapping) else ():
        if not isinstance(module, str) or not isinstance(targets, Mapping) or not targets:
            return {}
        masks = all(mask is None or isinstance(mask, torch.Tensor) for mask in targets.values())
        if not masks or any("." in str(target) for target in targets):  # a state dict, which is called module
            return {}
        table.update({f"{module}.{target}" if module else str(target): mask for target, mask in targets.items()})
    return table


def _of_modules(content: Content) -> bool:
    masks = [mask for mask in _by_module(content).values() if mask is not None]
    if not masks:
        return False
    # {"model": {"weight": ...}} is a wrapped state dict unless what it holds are masks
    return not content.raw.keys() & set(WRAPPERS) or all(_is_binary(mask) for mask in masks)


def _read_modules(content: Content, request: Request) -> Reading:
    """Reads the masks of parameters; those of a module's inputs and outputs are listed, not read."""
    table = _by_module(content)
    plain = strip_wrappers(table)
    entries, ignored = {}, {name: why for name, why in content.ignored.items() if name in table}
    for name, mask in table.items():
        if name.rpartition(".")[2].startswith(("_input_", "_output_")):
            ignored[name] = "the mask of an activation"
        elif mask is None:
            ignored[name] = "not pruned"
        else:
            entries[plain[name]] = mask_entry(mask, content, name)
    return Reading(entries, {}, ignored)


def _is_binary(mask: torch.Tensor) -> bool:
    return all(bool(((part == 0) | (part == 1)).all()) for part in map(comparable, in_parts(mask)))


NNI = Form("nni", "NNI: {module: {weight, bias}}", _of_modules, _read_modules)
