"""JSON from a stranger: no key twice, no depth without end, the top an object."""

from __future__ import annotations

import json
from typing import Any

from graphsparse.errors import CheckpointError

_SPAN_ABOUT = 80


def read_object(text: bytes, place: str) -> dict[str, Any]:
    """Returns the JSON object in the text.

    Raises:
        CheckpointError: the text is no JSON object, or a key appears twice in one object.
    """
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=lambda pairs: _object(pairs, place))
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            "a header is JSON text", place=place, received=str(error)[:_SPAN_ABOUT], way_out="download the file again"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError("a header is a JSON object", place=place, received=type(value).__name__)
    return value


def read_names(text: bytes, place: str) -> list[str]:
    """Returns the JSON list of names in the text."""
    names = read_object(b'{"names": ' + text + b"}", place).get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError("a list of names is a list of names", place=place, received=type(names).__name__)
    return names


def _object(pairs: list[tuple[str, Any]], place: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise CheckpointError(
                "a name appears once", place=place, received=f"{key!r} twice", way_out="write the file again"
            )
        found[key] = value
    return found
