"""JSON from a stranger: no key twice, no depth without end, the top an object."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from graphsparse.checkpoints.boundary import DAMAGED, check
from graphsparse.checkpoints.checks import TIMES_A_HEADER, Budget
from graphsparse.errors import CheckpointError

_COSTS = {b"{": 250, b"[": 90, b",": 40, b":": 72}  # bytes that Python takes for what begins with these


def read_object(text: bytes, place: str, budget: Budget | None = None) -> dict[str, Any]:
    """Returns the JSON object in the text.

    Args:
        text: the JSON text.
        place: the file, for messages.
        budget: that of the file that the text is part of; None where the text is the file.

    Raises:
        CheckpointError: the text is no JSON object, a key appears twice in one object, or there are more objects than
            the budget has room for.
    """
    cost = 2 * len(text) + sum(cost * text.count(mark) for mark, cost in _COSTS.items())
    (budget or Budget.of_file(len(text), place, TIMES_A_HEADER)).spend(cost)

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
            raise CheckpointError("a name must appear once", place=place, received=f"{twice!r} twice", way_out=DAMAGED)
        return found

    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=distinct)
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        rule = "a header must be JSON text"
        raise CheckpointError(rule, place=place, received=str(error)[:80], way_out=DAMAGED) from error
    check(isinstance(value, dict), "a header must be a JSON object", place, type(value).__name__)
    return value
