"""NNCF: a binary mask in an operation that NNCF puts before the layer, or in its hooks.

Up to 2.16 the layer holds it: ``<module>.pre_ops.<i>.op._binary_mask``, in the first versions ``binary_mask``. Movement
sparsity has one per parameter: ``...op.weight_ctx._binary_mask``. From 2.17 the model holds hooks:
``__nncf_hooks.post_hooks.<parameter with : for .>__<port>.<i>.binary_mask``. Regularisation-based pruning has logits
there, ``mask``: connections with positive ones are kept.
"""

from __future__ import annotations

import re

import torch

from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import Form, Reading, mask_entry, masked_reading
from graphsparse.errors import MaskError

_OPERATION = re.compile(r"^((?:.*\.)?)pre_ops\.\d+\.op\.(?:(weight|bias)_ctx\.)?_?binary_mask$")
_HOOK = re.compile(r"^(?:.*\.)?__nncf_hooks\.post_hooks\.([^.]+)__\d+\.\d+\.(binary_mask|mask)$")
_OWN_KEYS = re.compile(r"(^|\.)(pre_ops\.\d+\.op|post_ops\.\d+|__nncf_hooks|_nncf)(\.|$)")
_WRAPPER = "nncf_module."


def _keys(content: Content) -> dict[str, tuple[str, bool]]:
    """{parameter as the file names it: (key of its mask, whether it holds logits)}."""
    keys = {}
    for key in content.tensors:
        if found := _OPERATION.match(key):
            keys[f"{found[1]}{found[2] or 'weight'}"] = (key, False)
        elif found := _HOOK.match(key):
            keys[found[1].replace(":", ".")] = (key, found[2] == "mask")
    return keys


def read(content: Content, request: Request) -> Reading:
    keys, tensors = _keys(content), content.tensors
    binary = {name: (key, name if name in tensors else None) for name, (key, logits) in keys.items() if not logits}
    reading = masked_reading(content, binary)
    entries = dict(reading.entries)
    for name, (key, logits) in keys.items():
        if logits:
            entries[name] = mask_entry(tensors[key], content, key, tensors.get(name), _positive)
    own = [name for name in entries if _OWN_KEYS.search(name) and name not in keys]
    plain = {name.removeprefix(_WRAPPER): entry for name, entry in entries.items() if name not in own}
    others = {name: make for name, make in reading.others.items() if not _OWN_KEYS.search(name)}
    return Reading(plain, others, {**reading.ignored, **dict.fromkeys(own, "part of an operation of NNCF")})


def _positive(logits: torch.Tensor, place: str) -> torch.Tensor:
    check(not bool(logits.isnan().any()), "a logit must be a number", place, "NaN", None, MaskError)
    return logits > 0


NNCF = Form("nncf", "NNCF: binary_mask in pre_ops or in hooks", _keys, read)
