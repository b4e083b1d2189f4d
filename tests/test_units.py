"""Sets of unit ids, and distinct rows of them, against Python's own sets and dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graphsparse.capture.units import distinct_sets, unique_rows


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_sets_are_those_of_python(width):
    rows = torch.from_numpy(np.random.default_rng(width).integers(-1, 4, (200, width)))  # -1 a constant, 0 no unit
    found = distinct_sets(rows)
    told = [
        (frozenset(ids[ids > 0].tolist()), bool(constant))
        for ids, constant in zip(found.members, found.constant, strict=True)
    ]
    expected = [(frozenset(row[row > 0].tolist()), bool((row == -1).any())) for row in rows]
    assert [told[index] for index in found.index.tolist()] == expected
    assert len(told) == len(set(told)) or width == 1
    for ids, (members, _) in zip(found.members, told, strict=True):
        assert ids.tolist() == sorted(members, reverse=True) + [0] * (found.members.size(1) - len(members))


def test_rows_are_numbered_as_they_appear():
    rows = torch.from_numpy(np.random.default_rng(0).integers(-2, 3, (300, 3)))
    first, kind = unique_rows(rows)
    numbers: dict[tuple[int, ...], int] = {}
    assert kind.tolist() == [numbers.setdefault(tuple(row), len(numbers)) for row in rows.tolist()]
    assert [tuple(rows[index].tolist()) for index in first] == list(numbers)
