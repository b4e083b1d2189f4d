"""NNCF: a binary mask in an operation that NNCF hung before the layer, or in its hooks.

Up to 2.x the layer holds it, ``<module>.pre_ops.<i>.op._binary_mask`` (``binary_mask`` in first versions), movement
sparsity one per parameter, ``...op.weight_ctx._binary_mask``. From 2.17 the model holds hooks,
``__nncf_hooks.post_hooks.<parameter with : for .>__<port>.<i>.binary_mask``; regularisation-based pruning keeps
logits there, ``mask``, of which the positive ones are kept.
"""

from __future__ import annotations

import re

import torch

from graphsparse.checkpoints.checks import check_same_shape
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import Entry, Form, Reading, masked_reading
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
    keys = _keys(content)
    tensors = content.tensors
    binary = {name: (key, name if name in tensors else None) for name, (key, logits) in keys.items() if not logits}
    reading = masked_reading(content, binary)
    logit_entries = {name: _logit_entry(content, name, key) for name, (key, logits) in keys.items() if logits}
    entries = {**reading.entries, **logit_entries}
    own = [name for name in entries if _OWN_KEYS.search(name) and name not in keys]
    plain = {name.removeprefix(_WRAPPER): entry for name, entry in entries.items() if name not in own}
    others = {name: make for name, make in reading.others.items() if not _OWN_KEYS.search(name)}
    return Reading(plain, others, {**reading.ignored, **dict.fromkeys(own, "part of an operation of NNCF")})


def _logit_entry(content: Content, name: str, key: str) -> Entry:
    logits, weight = content.tensors[key], content.tensors.get(name)
    content.unfolding.add(logits.shape, content.named(key))
    if weight is not None:
        check_same_shape(logits.shape, weight.shape, content.named(key))

    def pattern() -> torch.Tensor:
        if bool(logits.isnan().any()):
            raise MaskError("a logit must be a number", place=content.named(key), received="NaN")
        return logits > 0

    sources = (logits,) if weight is None else (logits, weight)
    return Entry(tuple(logits.shape), pattern, sources, None if weight is None else (lambda: weight))


NNCF = Form("nncf", "NNCF: binary_mask in pre_ops or in hooks", _keys, read)
