"""Unmodified models of the transformers library, tiny and random, against the gradients of torch."""

from __future__ import annotations

import os

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest

from graphsparse.capture.finish import FREE_ENTRIES
from tests.mixed import compare
from tests.transformer_models import EAGER, FAMILIES, ROUTED, STATISTICS, built


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ROUTED])
def test_family_is_exact(name):
    many, truly, graph = compare(built(name, "eager" if name in EAGER else "sdpa"), *FAMILIES[name][1:])
    assert many == 0, f"{many} too many, where {truly} are active"
    with_tokens = any(each.taken == "tokens" for each in graph.inputs)
    assert {reason for *_, reason in graph.coverage.conservative} == ({FREE_ENTRIES} if with_tokens else set())


@pytest.mark.parametrize("name", FAMILIES)
def test_family_is_exact_with_norm_statistics(name):
    """Experts too, all of which are chosen here."""
    many, truly, graph = compare(built(name, STATISTICS.get(name, "eager")), *FAMILIES[name][1:], statistics=True)
    assert many == 0, f"{many} too many, where {truly} are active"
    assert graph.has_norm_statistics


@pytest.mark.parametrize("name", ROUTED)
@pytest.mark.parametrize("chosen", [3, 1])
def test_experts_are_a_superset_and_say_so(name, chosen):
    """Nothing too many where every expert is chosen; where one of three is, up to what these inputs did not choose."""
    model = built(name, "sdpa")
    for module in model.modules():  # the router reads it when it is built
        if hasattr(module, "top_k"):
            module.top_k = chosen
    many, truly, graph = compare(model, *FAMILIES[name][1:])
    assert many == 0 if chosen == 3 else 0 < many < truly, f"{many} too many, where {truly} are active"
    assert any("expert" in reason for *_, reason in graph.coverage.conservative)
