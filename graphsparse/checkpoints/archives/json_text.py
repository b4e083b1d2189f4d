"""JSON from a stranger: no key twice, no depth without end, the top an object."""

from __future__ import annotations

import json
from typing import Any

from graphsparse.checkpoints.archives.budget import Budget
from graphsparse.errors import CheckpointError

_SPAN_ABOUT = 80
_COSTS = {b"{": 250, b"[": 90, b",": 40, b":": 72}  # bytes that Python takes for what begins with these


def read_object(text: bytes, place: str, budget: Budget | None = None) -> dict[str, Any]:
    """Returns the JSON object in the text; ``budget``: of the file that it is part of, else the text is the file.

    Raises:
        CheckpointError: the text is no JSON object, a key appears twice in one object, or there are more objects than
            the budget has room for.
    """
    (budget or Budget.of_file(len(text), place)).spend(
        2 * len(text) + sum(cost * text.count(mark) for mark, cost in _COSTS.items())
    )
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=lambda pairs: _object(pairs, place))
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            "a header must be JSON text", place=place, received=str(error)[:_SPAN_ABOUT],
            way_out="download the file again",
        ) from error  # fmt: skip
    if not isinstance(value, dict):
        raise CheckpointError("a header must be a JSON object", place=place, received=type(value).__name__)
    return value


def read_names(text: bytes, place: str) -> list[str]:
    """Returns the JSON list of names in the text."""
    names = read_object(b'{"names": ' + text + b"}", place).get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError("a list of names must hold names only", place=place, received=type(names).__name__)
    return names


def _object(pairs: list[tuple[str, Any]], place: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise CheckpointError(
                "a name must appear once", place=place, received=f"{key!r} twice", way_out="write the file again"
            )
        found[key] = value
    return found
