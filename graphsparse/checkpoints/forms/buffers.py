"""State dicts with masks in them: each stands beside its weight, under a key of its own."""

from __future__ import annotations

import re
from functools import partial

import torch

from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import (
    Form,
    Masked,
    Reading,
    mask_entry,
    masked_form,
    masked_reading,
    masks_beside,
    renamed,
)
from graphsparse.errors import MaskError


def _prune_keys(name: str) -> tuple[str, str]:
    return f"{name}_mask", f"{name}_orig"


def _pruned(content: Content) -> Masked:
    """The parameters that have both keys. A lone ``X_mask`` is something else (a causal mask, an attention mask)."""
    names = (key.removesuffix("_orig") for key in content.tensors if key.endswith("_orig"))
    return {name: _prune_keys(name) for name in names if f"{name}_mask" in content.tensors}


PRUNE = masked_form(
    "prune", "torch.nn.utils.prune: X_orig and X_mask", _pruned,
    write=partial(masks_beside, keys=_prune_keys), containers=("torch", "safetensors"), needs_weights=True,
)  # fmt: skip


_MASK = re.compile(r"^((?:.*\.)?)parametrizations\.([^.]+)\.\d+\.mask$", re.DOTALL)
_ORIGINAL = re.compile(r"^((?:.*\.)?)parametrizations\.([^.]+)\.original$", re.DOTALL)


def _parametrization_keys(name: str) -> tuple[str, str]:
    module, dot, parameter = name.rpartition(".")
    prefix = f"{module}{dot}parametrizations.{parameter}"
    return f"{prefix}.0.mask", f"{prefix}.original"


def _parametrized(content: Content) -> Masked:
    """The parameters whose original has a mask; an original without one is a plain weight."""
    masked: dict[str, tuple[str, str | None]] = {}
    for key in content.tensors:
        if found := _MASK.match(key):
            name, original = found[1] + found[2], f"{found[1]}parametrizations.{found[2]}.original"
            check(name not in masked, "a parameter must have one mask", content.named(name), "two parametrizations",
                  "multiply the masks and save one", MaskError)  # fmt: skip
            if original in content.tensors:
                masked[name] = key, original
    return masked


PARAMETRIZATION = masked_form(
    "parametrization",
    "torch.nn.utils.parametrize, torch.ao.pruning: parametrizations.X.original and parametrizations.X.<i>.mask",
    _parametrized, partial(_ORIGINAL.sub, r"\1\2"),
    write=partial(masks_beside, keys=_parametrization_keys), containers=("torch", "safetensors"), needs_weights=True,
)  # fmt: skip


def _with_buffers(content: Content) -> Masked:
    weights = (name for name in content.tensors if name.rpartition(".")[2] in ("weight", "bias"))
    return {name: (f"{name}_mask", name) for name in weights if f"{name}_mask" in content.tensors}


WEIGHT_MASK = masked_form(
    "weight-mask", "Synaptic-Flow, ShrinkBench: buffers weight_mask and bias_mask beside the weight", _with_buffers
)


def _with_module_masks(content: Content) -> Masked:
    modules = (key.removesuffix("mask") for key in content.tensors if key.rpartition(".")[2] == "mask")
    return {f"{m}weight": (f"{m}mask", f"{m}weight") for m in modules if f"{m}weight" in content.tensors}


MODULE_MASK = masked_form("module-mask", "TurboPrune: a buffer mask beside the weight", _with_module_masks)


_PREFIX = "mask_"
_MODEL = "model."  # OpenLTH's PrunedModel holds the model under this name; the masks name parameters without it


def _openlth_buffers(content: Content) -> Masked:
    masked: dict[str, tuple[str, str | None]] = {}
    for key in content.tensors:
        name = key.removeprefix(_PREFIX).replace("___", ".")
        weight = next((each for each in (_MODEL + name, name) if each in content.tensors), None)
        if key.startswith(_PREFIX) and "." not in key and weight is not None:
            masked[name] = (key, weight)
    return masked


def _read_openlth(content: Content, request: Request) -> Reading:
    masked = _openlth_buffers(content)
    reading = masked_reading(content, masked)
    inner = any(weight is not None and weight.startswith(_MODEL) for _, weight in masked.values())
    return renamed(reading, lambda name: name.removeprefix(_MODEL)) if inner else reading


OPENLTH_MODEL = Form(
    "openlth-model", "OpenLTH's pruned model: buffers mask_<parameter with ___ for .>", _openlth_buffers, _read_openlth
)

# NNCF has a binary mask in an operation that it puts before the layer, or in its hooks. Up to 2.16 the layer holds it:
# ``<module>.pre_ops.<i>.op._binary_mask``, in the first versions ``binary_mask``. Movement sparsity has one per
# parameter: ``...op.weight_ctx._binary_mask``. From 2.17 the model has hooks,
# ``__nncf_hooks.post_hooks.<parameter with : for .>__<port>.<i>.binary_mask``. Regularisation-based pruning has logits
# there, ``mask``: connections with positive ones are kept.
_OPERATION = re.compile(r"^((?:.*\.)?)pre_ops\.\d+\.op\.(?:(weight|bias)_ctx\.)?_?binary_mask$")
_HOOK = re.compile(r"^(?:.*\.)?__nncf_hooks\.post_hooks\.([^.]+)__\d+\.\d+\.(binary_mask|mask)$")
_OWN_KEYS = re.compile(r"(^|\.)(pre_ops\.\d+\.op|post_ops\.\d+|__nncf_hooks|_nncf)(\.|$)")
_WRAPPER = "nncf_module."


def _nncf_keys(content: Content) -> dict[str, tuple[str, bool]]:
    """{parameter as the file names it: (key of its mask, whether it holds logits)}."""
    keys = {}
    for key in content.tensors:
        if found := _OPERATION.match(key):
            keys[f"{found[1]}{found[2] or 'weight'}"] = (key, False)
        elif found := _HOOK.match(key):
            keys[found[1].replace(":", ".")] = (key, found[2] == "mask")
    return keys


def _read_nncf(content: Content, request: Request) -> Reading:
    keys, tensors = _nncf_keys(content), content.tensors
    binary = {name: (key, name if name in tensors else None) for name, (key, logits) in keys.items() if not logits}
    reading = masked_reading(content, binary)
    entries = dict(reading.entries)
    for name, (key, logits) in keys.items():
        if logits:
            entries[name] = mask_entry(tensors[key], content, key, tensors.get(name), _positive)
    parts = (name for name in entries if _OWN_KEYS.search(name) and name not in keys)
    own = dict.fromkeys(parts, "part of an operation of NNCF")
    plain = {name.removeprefix(_WRAPPER): entry for name, entry in entries.items() if name not in own}
    others = {name: make for name, make in reading.others.items() if not _OWN_KEYS.search(name)}
    return Reading(plain, others, {**reading.ignored, **own})


def _positive(logits: torch.Tensor, place: str) -> torch.Tensor:
    check(not bool(logits.isnan().any()), "a logit must be a number", place, "NaN", None, MaskError)
    return logits > 0


NNCF = Form("nncf", "NNCF: binary_mask in pre_ops or in hooks", _nncf_keys, _read_nncf)
