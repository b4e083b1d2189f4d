"""Softmax, and attention as one operation: softmax(query @ key.T + mask) @ value.

A softmax is never zero, and moved wherever any entry along its axis is.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.matrices import terms
from graphsparse.capture.mechanics.waiting import Parts, Scores, as_mask, weights_of
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import CONSTANT, NOTHING, canonical
from graphsparse.capture.values import Known, Units

aten = torch.ops.aten


def softmax(single: int, call: Call, value: Units, dim: int, *rest: Any, **kwargs: Any) -> Units:
    """One unit per row, the axis repeated; ``single`` where the axis has a single entry, whose softmax is known."""
    axis = dim % max(1, len(value.shape))
    alone = not value.shape or value.shape[axis] == 1
    if isinstance(value, Scores) and axis == len(value.shape) - 1 and not (alone and single == NOTHING):
        return Units(weights_of(call, value.parts))  # of a single key too: it ties the features of each head
    if alone:
        return Units(torch.full((), single).expand(call.shape))
    return Units(call.lift(Units(call.united_over(value.ids, axis))).ids.expand(call.shape))


def attend(call: Call, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Units:
    """softmax(query @ key.T + mask) @ value of tensors (..., heads, positions, features), in the forms of all devices.

    Keys and values may have fewer heads, each of which serves as many heads of the queries.
    """
    given = call.named([query, key, value, *args], kwargs)
    mask = given.get("attn_mask", given.get("attn_bias"))
    q, k, v = (call.ids(each) for each in (query, key, value))
    if given.get("enable_gqa"):
        k, v = (canonical(ids.repeat_interleave(q.size(-3) // ids.size(-3), -3)) for ids in (k, v))
    parts = Parts(q, k.mT)
    if given["is_causal"]:
        parts = parts.masked(torch.ones(q.size(-2), k.size(-2), dtype=torch.bool).tril())
    if isinstance(mask, Known) and mask.known:
        parts = parts.masked(as_mask(mask.tensor))
    elif isinstance(mask, Units):
        parts = parts.plus(mask.ids)
    return Units(terms(call, weights_of(call, parts), v).expand(call.shape))


ON_DEVICES = """
    _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_efficient_attention _scaled_dot_product_attention_math
"""
PLAIN, LOGARITHM = partial(softmax, CONSTANT), partial(softmax, NOTHING)
SOFTMAX: dict[Any, Rule] = {
    **rows("softmax.int _softmax", Rule(PLAIN, weights="function", flows="softmax")),
    aten._safe_softmax.default: Rule(PLAIN, weights="function"),
    **rows("log_softmax.int _log_softmax", Rule(LOGARITHM, weights="function", flows="softmax")),
}
ATTENTION: dict[Any, Rule] = {
    aten.scaled_dot_product_attention.default: Rule(attend, flows="attention"),
    **rows(ON_DEVICES, Rule(attend)),
}
RULES: dict[Any, Rule] = {**SOFTMAX, **ATTENTION}
