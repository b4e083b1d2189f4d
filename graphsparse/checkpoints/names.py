"""Names of parameters: without what wrappers add, and matched against a model's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from graphsparse.errors import MaskError, shortened

Shape = tuple[int, ...]

# Parts of a dotted name that torch.compile, FSDP and activation checkpointing add, wherever they wrap a module.
_WRAPPERS = re.compile(r"\.(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.|$)")
# DataParallel wraps the whole model: it is on every name, or it is the model's own. The pattern always matches.
_DATA_PARALLEL = re.compile(r"(?:module\.)*")
_DEEPEST_PREFIX = 32  # parts of a name under which a whole model may be a part of another
_SHOWN, _LONGEST_SHOWN = 4, 80

UNKNOWN = "no parameter of the model"


def strip_wrappers(names: Iterable[str]) -> dict[str, str]:
    """Returns {name: the name without what DataParallel, torch.compile, FSDP and checkpointing add}.

    Example:
        >>> strip_wrappers(["module._orig_mod.fc.weight"])
        {'module._orig_mod.fc.weight': 'fc.weight'}
    """
    plain = {name: _WRAPPERS.sub("", f".{name}")[1:] for name in names}
    shared = min((len(_DATA_PARALLEL.match(short)[0]) for short in plain.values()), default=0)  # type: ignore[index]
    return {name: short[shared:] for name, short in plain.items()}


def match(
    shapes: Mapping[str, Shape], parameters: Mapping[str, Shape], *, by_order: bool = False
) -> tuple[dict[str, str], Callable[[str], str]]:
    """Returns which names are which parameters: equal names, equal but for wrappers, or but for one prefix.

    Args:
        shapes: {name in the file: shape}.
        parameters: {name in the model: shape}.
        by_order: where no name matches, take both in order; all shapes must fit.

    Returns:
        {name in the file: parameter}, in the file's order; and what gives the name in the model of any other tensor of
        the file (buffers, biases), by the same rule.

    Raises:
        MaskError: nothing matches, or not in order.
    """
    own = {short: name for name, short in strip_wrappers(parameters).items()}
    short_names = strip_wrappers(shapes)
    found = {name: name if name in parameters else own.get(short) for name, short in short_names.items()}
    rename: Callable[[str], str] = partial(_renamed, own=own)
    if not any(found.values()):
        found, rename = _without_prefix(short_names, own)
    if not any(found.values()) and by_order:
        found = dict(zip(shapes, in_order(list(shapes.values()), parameters), strict=True))
    if not any(found.values()):
        raise _no_match(shapes, parameters)
    return {name: parameter for name, parameter in found.items() if parameter is not None}, rename


def in_order(shapes: Sequence[Shape | None], parameters: Mapping[str, Shape]) -> list[str]:
    """Returns the parameters that a list without names means, in order; None in the list fits any shape.

    The list may stand for all parameters, for the kernels alone (rank 2 and more), or for the kernels after the
    first (which several pruners leave dense).

    Raises:
        MaskError: none of these has as many entries, all of fitting shape.
    """
    kernels = [name for name, shape in parameters.items() if len(shape) > 1]
    for names in (kernels, list(parameters), kernels[1:]):
        if len(names) == len(shapes) and all(
            shape is None or tuple(shape) == tuple(parameters[name]) for shape, name in zip(shapes, names, strict=True)
        ):
            return names
    own = shown([tuple(parameters[name]) for name in kernels])
    raise MaskError(
        "masks without names must fit the model's kernels in order, every one",
        received=f"{len(shapes)} masks {shown(shapes)} for {len(kernels)} kernels {own}",
        way_out="give the model that the masks were made for, or a file that names them",
    )  # fmt: skip


def shown(items: Sequence[object]) -> str:
    """The first few of many, for a message."""
    text = ", ".join(shortened(str(item), _LONGEST_SHOWN) for item in items[:_SHOWN])
    return text + (f", ... ({len(items)} in all)" if len(items) > _SHOWN else "")


def _without_prefix(
    short_names: Mapping[str, str], own: Mapping[str, str]
) -> tuple[dict[str, str | None], Callable[[str], str]]:
    """Matches names that differ by a beginning that all of one side share, as when a model is a part of another."""
    best: dict[str, str | None] = dict.fromkeys(short_names)
    rename, most = partial(_renamed, own=own), 0
    prefixes = [(prefix, "") for prefix in _leading_parts(short_names.values())]
    for less, more in [*prefixes, *(("", prefix) for prefix in _leading_parts(own))]:
        found = {name: own.get(more + short.removeprefix(less)) for name, short in short_names.items()}
        count = sum(parameter is not None for parameter in found.values())
        if count > most:
            best, rename, most = found, partial(_renamed, own=own, less=less, more=more), count
    return best, rename


def _renamed(name: str, own: Mapping[str, str], less: str = "", more: str = "") -> str:
    short = more + name.removeprefix(less)
    return own.get(short, short)


def _leading_parts(names: Iterable[str]) -> list[str]:
    """The beginnings, dot included, that all the names share, up to a depth that no model has."""
    every = list(names)
    *first, _ = every[0].split(".", _DEEPEST_PREFIX) if every else [""]
    prefixes = [".".join(first[:depth]) + "." for depth in range(1, len(first) + 1)]
    return [prefix for prefix in prefixes if all(name.startswith(prefix) for name in every)]


def _no_match(shapes: Mapping[str, Shape], parameters: Mapping[str, Shape]) -> MaskError:
    try:
        in_order(list(shapes.values()), parameters)
        way_out = "in order all shapes fit: ask for by_order=True if the order is right"
    except MaskError:
        prefix = _prefix_that_fits(shapes, parameters)
        way_out = f"take one part: prefix={prefix!r}" if prefix else "give the model that the file was made for"
    both = f"the file has {shown(list(shapes))}, the model {shown(list(parameters))}"
    received = f"none of {len(shapes)} in common; {both}"
    return MaskError("a file's names must be the model's", received=received, way_out=way_out)


def _prefix_that_fits(names: Iterable[str], parameters: Mapping[str, Shape]) -> str | None:
    """The first part without which some of the names are the model's."""
    parts = (name.partition(".") for name in names)
    return next((f"{first}." for first, _, rest in parts if rest in parameters), None)


def unknown(ignored: Mapping[str, str]) -> list[str]:
    """The names that a reading ignored since they are no parameters of the model."""
    return [name for name, why in ignored.items() if why == UNKNOWN]
