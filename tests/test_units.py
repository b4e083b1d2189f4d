"""Sets of unit ids, and distinct rows of them, against Python's own sets and dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graphsparse.blocks import Gate, Wiring
from graphsparse.capture.units import distinct_sets, unique_rows
from graphsparse.kernels.rows import distinct_rows, rising, wires
from graphsparse.layers import feeding


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_sets_are_those_of_python(width):
    rows = torch.from_numpy(np.random.default_rng(width).integers(-1, 4, (200, width)))  # -1 a constant, 0 no unit
    found = distinct_sets(rows)
    told = [
        (frozenset(ids[ids > 0].tolist()), bool(constant))
        for ids, constant in zip(found.members, found.constant, strict=True)
    ]
    expected = [(frozenset(row[row > 0].tolist()), bool((row == -1).any())) for row in rows]
    assert [told[index] for index in torch.arange(len(told))[found.index].tolist()] == expected
    assert len(told) == len(set(told)) or width == 1
    for ids, (members, _) in zip(found.members, told, strict=True):
        assert ids.tolist() == sorted(members, reverse=True) + [0] * (found.members.size(1) - len(members))


@pytest.mark.parametrize("width", [1, 2, 3])
def test_rising_rows_are_sets_each(width):
    rows = torch.arange(1, 13).reshape(-1, width)
    rows[1] = rows[1].flip(0)
    found = distinct_sets(rows)
    assert found.index == slice(None) and not found.constant.any()
    assert found.members.tolist() == [sorted(row, reverse=True) for row in rows.tolist()]


def test_rows_that_rise_are_found_to_be_distinct():
    rows = np.array(np.meshgrid([1, 4, 5], [3, 8], [2, 7], indexing="ij")).reshape(3, -1).T
    assert rising(rows) and rising(rows[:, ::-1]) and rising(rows[:0]) and rising(rows[:1])
    assert not rising(rows[[0, 1, 1, 2]]) and not rising(rows[[0, 2, 0]]) and not rising(rows[:2, :0])
    assert distinct_rows(np.ascontiguousarray(rows))[1].tolist() == list(range(12))


def test_wires_lead_from_each_member_to_the_unit_of_its_row():
    members = np.random.default_rng(0).integers(0, 3, (50, 3)) * np.arange(1, 151).reshape(50, 3)
    sources, targets = wires(members, 200)
    expected = [(unit - 1, 199 + row) for row, units in enumerate(members.tolist()) for unit in units if unit]
    assert list(zip(sources.tolist(), targets.tolist(), strict=True)) == expected


def test_a_block_is_fed_by_the_layers_of_its_units():
    owner = np.repeat(np.arange(5), 4)
    ids = np.array([-2, 17, -1, 5, 6], np.int32)
    assert feeding(Wiring(ids, np.zeros(5, np.int32)), owner) == [1, 4]
    assert feeding(Gate(ids, np.full(5, 9, np.int32), np.zeros(5, np.int32)), owner) == [1, 2, 4]
    assert feeding(Wiring(np.array([-1, -2], np.int32), np.zeros(2, np.int32)), owner) == []


def test_rows_are_numbered_as_they_appear():
    rows = torch.from_numpy(np.random.default_rng(0).integers(-2, 3, (300, 3)))
    first, kind = unique_rows(rows)
    numbers: dict[tuple[int, ...], int] = {}
    assert kind.tolist() == [numbers.setdefault(tuple(row), len(numbers)) for row in rows.tolist()]
    assert [tuple(rows[index].tolist()) for index in first] == list(numbers)
