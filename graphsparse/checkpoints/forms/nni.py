"""NNI: {module: {"weight": mask, "bias": mask or None}}; masks of a module's inputs and outputs are listed, not read."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from graphsparse.checkpoints.checks import comparable, in_parts
from graphsparse.checkpoints.content import WRAPPERS, Content, Request
from graphsparse.checkpoints.forms.form import Form, Reading, mask_entry
from graphsparse.checkpoints.names import strip_wrappers

_ACTIVATIONS = ("_input_", "_output_")


def _table(content: Content) -> dict[str, torch.Tensor | None]:
    """{module.target: mask} where the content is modules of targets, else empty."""
    raw = content.raw
    if not isinstance(raw, Mapping) or not raw:
        return {}
    table = {}
    for module, targets in raw.items():
        if not isinstance(module, str) or not isinstance(targets, Mapping) or not targets:
            return {}
        if not all(mask is None or isinstance(mask, torch.Tensor) for mask in targets.values()):
            return {}
        if any("." in str(target) for target in targets):  # a state dict, and module is what it is called
            return {}
        table.update({f"{module}.{target}" if module else str(target): mask for target, mask in targets.items()})
    return table


def recognise(content: Content) -> bool:
    masks = {name: mask for name, mask in _table(content).items() if mask is not None}
    if not masks:
        return False
    # {"model": {"weight": ...}} is a wrapped state dict unless what it holds are masks
    return not content.raw.keys() & set(WRAPPERS) or all(_is_binary(mask) for mask in masks.values())


def read(content: Content, request: Request) -> Reading:
    table = _table(content)
    plain = strip_wrappers(table)
    entries, ignored = {}, dict(content.ignored)
    for name, mask in table.items():
        if name.rpartition(".")[2].startswith(_ACTIVATIONS):
            ignored[name] = "the mask of an activation"
        elif mask is None:
            ignored[name] = "not pruned"
        else:
            entries[plain[name]] = mask_entry(mask, content, name)
    return Reading(entries, {}, {name: why for name, why in ignored.items() if name in table})


def _is_binary(mask: torch.Tensor) -> bool:
    return all(bool(((part == 0) | (part == 1)).all()) for part in map(comparable, in_parts(mask)))


NNI = Form("nni", "NNI: {module: {weight, bias}}", recognise, read)
