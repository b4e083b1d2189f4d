"""TurboPrune: a buffer ``mask`` in the module of its ``weight``."""

from __future__ import annotations

from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import Form, Reading, masked_reading


def _masked(content: Content) -> dict[str, tuple[str, str | None]]:
    modules = (key.removesuffix("mask") for key in content.tensors if key.rpartition(".")[2] == "mask")
    return {f"{m}weight": (f"{m}mask", f"{m}weight") for m in modules if f"{m}weight" in content.tensors}


def recognise(content: Content) -> bool:
    return bool(_masked(content))


def read(content: Content, request: Request) -> Reading:
    return masked_reading(content, _masked(content))


MODULE_MASK = Form("module-mask", "TurboPrune: a buffer mask beside the weight", recognise, read)
