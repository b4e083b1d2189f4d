"""Masks as pictures: how much of each cell of a grid is kept, and how much of that is active, as short text."""

from __future__ import annotations

from typing import Any

import numpy as np

ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
"""A letter for each of 64 levels: A is none of a cell, the last one the fullest cell of the picture."""
BUDGET, EACH, LARGEST, SMALLEST = 800_000, 8_000, 128, 16
"""Letters for all pictures of a page, letters more for each, and the sides of a picture."""
PARTS, ORDERS = 2, 2


def side_for(pictures: int) -> int:
    """The side of a page's pictures, in cells: fewer where there are many."""
    letters = BUDGET / max(pictures, 1) + EACH
    return int(np.clip(np.sqrt(letters / (PARTS * ORDERS)), SMALLEST, LARGEST))


def picture(kept: np.ndarray, active: np.ndarray, side: int) -> dict[str, Any]:
    """A mask (rows, columns) of what is kept and of what is active, in its own order and by degree.

    ``rows`` and ``columns`` are sizes, ``down`` and ``across`` cells; ``plain`` and ``sorted`` hold the levels of both, row
    after row, ``most`` the density of the fullest cell. By degree: rows and columns with the most kept connections first.
    """
    rows, columns = kept.shape
    found = {"rows": rows, "columns": columns, "down": min(rows, side), "across": min(columns, side)}
    if not kept.size:
        return {**found, "plain": None, "sorted": None}
    by_row, by_column = np.argsort(-kept.sum(1), kind="stable"), np.argsort(-kept.sum(0), kind="stable")
    ordered = _levels(kept[by_row][:, by_column], active[by_row][:, by_column], side)
    return {**found, "plain": _levels(kept, active, side), "sorted": ordered}


def _levels(kept: np.ndarray, active: np.ndarray, side: int) -> dict[str, Any]:
    densities = [density(array, side) for array in (kept, active)]
    most = float(densities[0].max())
    texts = [encoded(each / most if most else each) for each in densities]
    return {"most": most, "kept": texts[0], "active": texts[1]}


def density(matrix: np.ndarray, side: int) -> np.ndarray:
    """The share of each cell that is set, for at most ``side`` cells down and across; cells differ by one row or column.

    Example:
        >>> density(np.eye(4, dtype=bool), 2).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    down, across = (np.linspace(0, size, min(size, side) + 1).astype(np.int64) for size in matrix.shape)
    sums = np.add.reduceat(matrix, down[:-1], axis=0, dtype=np.int32)
    sums = np.add.reduceat(sums, across[:-1], axis=1)
    return sums / (np.diff(down)[:, None] * np.diff(across))


def encoded(shares: np.ndarray) -> str:
    """Shares from 0 to 1 as letters; what is more than nothing is never the letter of nothing.

    Example:
        >>> encoded(np.array([0, 1e-9, 1]))
        'AB/'
    """
    return ALPHABET[np.ceil(shares * (len(ALPHABET) - 1)).astype(np.int64)].tobytes().decode()
