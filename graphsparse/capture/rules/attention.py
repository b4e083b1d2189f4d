"""Attention as one operation: softmax(query @ key.T + mask) @ value."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.matrices import terms
from graphsparse.capture.mechanics.waiting import Parts, as_mask, weights_of
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import canonical
from graphsparse.capture.values import Known, Units

aten = torch.ops.aten


def attend(
    call: Call, query: Any, key: Any, value: Any, mask: Any = None, dropout: float = 0.0, is_causal: bool = False, *,
    enable_gqa: bool = False, **scale: Any,
) -> Any:  # fmt: skip
    """softmax(query @ key.T + mask) @ value, heads on the axis before the last two; grouped where they are fewer."""
    heads = query.shape[-3] if len(query.shape) > 2 else 1
    q, k, v = (call.ids(each) for each in (query, key, value))
    if enable_gqa:
        k, v = repeated(k, heads), repeated(v, heads)
    parts = Parts(q, k.mT)
    if is_causal:
        parts = parts.masked(torch.ones(q.size(-2), k.size(-2), dtype=torch.bool).tril())
    if isinstance(mask, Known) and mask.known:
        parts = parts.masked(as_mask(mask.tensor))
    elif isinstance(mask, Units):
        parts = parts.plus(mask.ids)
    return Units(terms(call, weights_of(call, parts), v).expand(call.shape))


def repeated(ids: torch.Tensor, heads: int) -> torch.Tensor:
    """Grouped queries: each head of ids (..., heads, positions, features) as often as queries share it."""
    return canonical(ids.repeat_interleave(heads // ids.size(-3), -3))


def attend_with_rest(call: Call, *args: Any, **kwargs: Any) -> Any:
    """The forms of a device, which also return what only a backward pass needs."""
    given = call.named(args, kwargs)
    mask, grouped = given.get("attn_mask", given.get("attn_bias")), given.get("enable_gqa", False)
    query, key, value = args[:3]
    return attend(call, query, key, value, mask, is_causal=given["is_causal"], enable_gqa=grouped)


ON_DEVICES = """
    _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu
    _scaled_dot_product_efficient_attention _scaled_dot_product_attention_math
""".split()
RULES: dict[Any, Rule] = {
    aten.scaled_dot_product_attention.default: Rule(attend, flows="attention"),
    **rows([getattr(aten, name).default for name in ON_DEVICES], Rule(attend_with_rest)),
}
