"""Rows of a table as sources: where taking their entries as free of each other can call too much alive."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphsparse.blocks import Gate
from graphsparse.capture.draft import Draft, LayerDraft, as_ids

FREE_ENTRIES = "the entries of a row are taken as free of each other: no row need hold both factors of a product"


def free_entries(draft: Draft) -> tuple[tuple[str, str, str], ...]:
    """Each table whose rows reach both factors of a product of activations, as (operation, module, reason)."""
    if not any(isinstance(block, Gate) for layer in draft.layers for block in layer.blocks):
        return ()
    found = [place for place, rows in draft.usage.rows if _multiplied(draft.layers, as_ids(rows))]
    return tuple(("embedding", place, FREE_ENTRIES) for place in dict.fromkeys(found))


def _multiplied(layers: Iterable[LayerDraft], rows: np.ndarray) -> bool:
    """Whether both factors of some product depend on the rows. Every connection is taken as kept."""
    reached = np.zeros(max(layer.stop for layer in layers) + 1, bool)  # the last two places: a constant, no unit
    reached[rows] = True
    for layer in layers:
        for block in layer.blocks:
            if isinstance(block, Gate) and bool((reached[block.lefts] & reached[block.rights]).any()):
                return True
            reached[layer.start - 1 : layer.stop - 1] |= bool(reached[block.sources].any())
    return False
