"""TurboPrune: a buffer ``mask`` in the module of its ``weight``."""

from __future__ import annotations

from graphsparse.checkpoints.content import Content
from graphsparse.checkpoints.forms.form import Masked, masked_form


def _masked(content: Content) -> Masked:
    modules = (key.removesuffix("mask") for key in content.tensors if key.rpartition(".")[2] == "mask")
    return {f"{m}weight": (f"{m}mask", f"{m}weight") for m in modules if f"{m}weight" in content.tensors}


MODULE_MASK = masked_form("module-mask", "TurboPrune: a buffer mask beside the weight", _masked)
