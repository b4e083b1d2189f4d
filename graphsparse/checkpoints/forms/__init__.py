"""The table of forms, and which of them a file is."""

from __future__ import annotations

from collections.abc import Mapping

from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.content import Content, tables_in
from graphsparse.checkpoints.forms.bitmask import BITMASK, BITMASK_24
from graphsparse.checkpoints.forms.bits import BITS
from graphsparse.checkpoints.forms.buffers import MODULE_MASK, NNCF, OPENLTH_MODEL, PARAMETRIZATION, PRUNE, WEIGHT_MASK
from graphsparse.checkpoints.forms.csr import CSR
from graphsparse.checkpoints.forms.form import LISTED_AS, Entry, Form, Payload, Reading
from graphsparse.checkpoints.forms.keras import JAXPRUNER, KERAS
from graphsparse.checkpoints.forms.listed import LISTED, RIGL
from graphsparse.checkpoints.forms.tables import NNI, OPENLTH
from graphsparse.checkpoints.forms.zeros import TORCH_SPARSE, ZEROS
from graphsparse.errors import CheckpointError

__all__ = ["FORMS", "Entry", "Form", "Payload", "Reading", "form_fitting", "form_named", "form_of"]

# Forms with signs of their own: a file that bears the signs of two is ambiguous.
_SIGNED = (
    BITS, PRUNE, PARAMETRIZATION, WEIGHT_MASK, MODULE_MASK, NNCF, OPENLTH_MODEL, NNI, RIGL, LISTED, KERAS,
    JAXPRUNER, BITMASK, BITMASK_24, TORCH_SPARSE, CSR,
)  # fmt: skip

# Forms that a file may be without a sign that only they bear: users name them where content cannot tell.
_NAMED = (NNI, LISTED, KERAS, JAXPRUNER, OPENLTH, ZEROS)

FORMS: Mapping[str, Form] = {form.name: form for form in (*_SIGNED, OPENLTH, ZEROS)}


def form_named(name: str) -> Form:
    """Returns the form of this name. Raises where there is none."""
    check(name in FORMS, "a form must have a known name", None, repr(name), f"use one of {', '.join(FORMS)}")
    return FORMS[name]


def form_fitting(name: str, content: Content) -> Form:
    """Returns the form of this name. Raises where there is none, its signs are missing, or another's are there."""
    form = form_named(name)
    others = [other.name for other in _SIGNED if other not in _NAMED and other.recognise(content)]
    listed = LISTED_AS in content.metadata  # written where a form has no place for signs: for single numbers
    fits = not others if form in _NAMED else form.name in others or listed
    check(fits, "the form that is named must be that of the file", content.place,
          f"{name!r} for a file with the signs of {', '.join(others) or 'none of the forms with signs'}",
          "leave form= out, so that the content decides")  # fmt: skip
    return form


def form_of(content: Content) -> Form:
    """Returns the form whose signs the content bears: one with signs of its own, else plain masks or plain weights.

    Raises:
        CheckpointError: the content bears the signs of several forms, or holds no tensors.
    """
    if BITS.recognise(content):  # says so itself
        return BITS
    found = [form for form in _SIGNED if form.recognise(content)]
    plain = [OPENLTH] if OPENLTH.recognise(content) else [ZEROS] if ZEROS.recognise(content) else []
    if not found or found == [NNI]:  # {"net": {"weight": mask}}: a module called net, or a wrapper around a state dict
        found += plain
    if len(found) == 1:
        return found[0]
    names, held = ", ".join(form.name for form in found), list(tables_in(content.raw))
    way_out = "save a state dict, or masks in one of the forms of docs/checkpoints.md"
    check(bool(found), "a checkpoint must hold tensors by name", content.place, _described(content.raw),
          f"choose an entry: key={held[0]!r}" if held else way_out)  # fmt: skip
    raise CheckpointError(
        "a file must be of one form", place=content.place, received=f"the signs of {names}",
        way_out=f"name the form that is meant, one of {names}",
    )  # fmt: skip


def _described(raw: object) -> str:
    if not isinstance(raw, Mapping):
        return type(raw).__name__
    return f"a table of {', '.join(map(str, list(raw)[:6]))}" if raw else "an empty table"
