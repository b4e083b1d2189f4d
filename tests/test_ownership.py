"""A value owns its units, so that a scale may be put on them in place, only where no other value holds them: for every rule."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch.utils._pytree import tree_leaves

import graphsparse as gs
from graphsparse.capture.values import Units
from tests.test_families import MODELS
from tests.test_handwritten import FORWARDS, Written, rows
from tests.test_transformers import DECODERS, ENCODERS, built, tokens

lower = importlib.import_module("graphsparse.capture.lower")  # the package has a function of that name


@pytest.fixture(autouse=True)
def watched(monkeypatch):
    """Every call of a rule is looked at: what it gives as its own was in no value that others may read too."""
    by_rule = lower._by_rule

    def looked_at(rule, call, args, kwargs):
        held = [_units(v) for v in tree_leaves((args, kwargs)) if type(v) is Units and not v.exclusive]
        result = by_rule(rule, call, args, kwargs)
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if type(value) is Units and value.exclusive and held:
                assert not torch.isin(_units(value), torch.cat(held)).any(), f"{call.target} at {call.place}"
        return result

    monkeypatch.setattr(lower, "_by_rule", looked_at)


def _units(value: Units) -> torch.Tensor:
    return value.ids[value.ids > 0].unique()


@pytest.mark.parametrize("name", FORWARDS)
def test_written_by_hand(name):
    forward, shapes = FORWARDS[name]
    gs.export(Written(forward, **shapes).double(), rows.double(), {})


@pytest.mark.parametrize("name", MODELS)
def test_convolutional(name):
    model, image = MODELS[name]
    gs.export(model, image[:1], {})


@pytest.mark.parametrize("name", [*DECODERS, *ENCODERS])
def test_transformers(name):
    pytest.importorskip("transformers")
    gs.export(built(name, "eager"), (), {}, kwargs={"input_ids": tokens(0)})


def test_a_choice_read_beside_what_it_was_chosen_from():
    half = torch.tensor([True, False] * 3)

    def forward(m, x):
        whole = x @ m.w
        return torch.where(half, whole, 0.0) * m.g + whole.masked_fill(half, 0.0).flip(-1) * m.g

    gs.export(Written(forward, w=(4, 6), g=(6,)), rows, {})
