"""The table of forms, and which of them a file is."""

from __future__ import annotations

from collections.abc import Mapping

from graphsparse.checkpoints.content import Content, tables_in
from graphsparse.checkpoints.forms.bitmask import BITMASK
from graphsparse.checkpoints.forms.bitmask24 import BITMASK_24
from graphsparse.checkpoints.forms.bits import BITS
from graphsparse.checkpoints.forms.csr import CSR
from graphsparse.checkpoints.forms.form import LISTED_AS, Entry, Form, Payload, Reading
from graphsparse.checkpoints.forms.jaxpruner import JAXPRUNER
from graphsparse.checkpoints.forms.keras import KERAS
from graphsparse.checkpoints.forms.listed import LISTED
from graphsparse.checkpoints.forms.module_mask import MODULE_MASK
from graphsparse.checkpoints.forms.nncf import NNCF
from graphsparse.checkpoints.forms.nni import NNI
from graphsparse.checkpoints.forms.openlth import OPENLTH, OPENLTH_MODEL
from graphsparse.checkpoints.forms.parametrization import PARAMETRIZATION
from graphsparse.checkpoints.forms.prune import PRUNE
from graphsparse.checkpoints.forms.rigl import RIGL
from graphsparse.checkpoints.forms.torch_sparse import TORCH_SPARSE
from graphsparse.checkpoints.forms.weight_mask import WEIGHT_MASK
from graphsparse.checkpoints.forms.zeros import ZEROS
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
    """Returns the form of this name.

    Raises:
        CheckpointError: there is none.
    """
    if name not in FORMS:
        raise CheckpointError(
            "a form must have a known name", received=repr(name), way_out=f"use one of {', '.join(FORMS)}"
        )
    return FORMS[name]


def form_fitting(name: str, content: Content) -> Form:
    """Returns the form of this name, for content that may be of it.

    Raises:
        CheckpointError: there is no such form, its signs are missing, or the content bears those of another.
    """
    form = form_named(name)
    others = [other.name for other in _SIGNED if other not in _NAMED and other.recognise(content)]
    listed = LISTED_AS in content.metadata  # written where a form has no place for signs: for single numbers
    if others if form in _NAMED else form.name not in others and not listed:
        raise CheckpointError(
            "the form that is named must be that of the file", place=content.place,
            received=f"{name!r} for a file with the signs of {', '.join(others) or 'none of the forms with signs'}",
            way_out="leave form= out, so that the content decides",
        )  # fmt: skip
    return form


def form_of(content: Content) -> Form:
    """Returns the form whose signs the content bears: the special ones first, then plain masks or plain weights.

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
    if not found:
        held = tables_in(content.raw)
        raise CheckpointError(
            "a checkpoint must hold tensors by name", place=content.place, received=_described(content),
            way_out=f"choose an entry: key={held[0]!r}" if held else "save a state dict, or masks in one of the forms of docs/checkpoints.md",
        )  # fmt: skip
    names = ", ".join(form.name for form in found)
    raise CheckpointError(
        "a file must be of one form", place=content.place, received=f"the signs of {names}",
        way_out=f"name the form that is meant, one of {names}",
    )  # fmt: skip


def _described(content: Content) -> str:
    raw = content.raw
    if isinstance(raw, Mapping):
        return f"a table of {', '.join(map(str, list(raw)[:6]))}" if raw else "an empty table"
    return f"{type(raw).__name__}"
