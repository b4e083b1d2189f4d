"""Attention, whole or written out: what may stand between a product of activations and its softmax lets it wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.rules import movement
from graphsparse.capture.rules.matrices import terms
from graphsparse.capture.rules.softmax import weights_of
from graphsparse.capture.scores import Parts, Scores, as_mask
from graphsparse.capture.units import CONSTANT, NOTHING, canonical
from graphsparse.capture.values import Known, Units, Weight

aten = torch.ops.aten


def product(call: Call, left: Units, right: Units) -> Units:
    """left @ right of two activations: at once where a row is one unit, as after softmax; else it waits."""
    a = left.ids.unsqueeze(0) if len(left.shape) == 1 else left.ids
    b = right.ids.unsqueeze(-1) if len(right.shape) == 1 else right.ids
    scores = Scores(Parts(a, b), lambda parts: _made(call, parts))
    if len(left.shape) > 1 and len(right.shape) > 1 and not _softened(a):
        return scores
    ids = scores.ids.squeeze(-2) if len(left.shape) == 1 else scores.ids
    return Units(ids.squeeze(-1) if len(right.shape) == 1 else ids)


def _softened(ids: torch.Tensor) -> bool:
    """Whether rows are one unit each."""
    return ids.stride(-1) == 0 or bool(((ids == ids.amax(-1, keepdim=True)) | (ids == NOTHING)).all())


def _made(call: Call, parts: Parts) -> torch.Tensor:
    """The ids of a product that does not go into a softmax."""
    ids = terms(call, parts.left, parts.right)
    if parts.added:
        ids = call.union([Units(ids), *(Units(each) for each in parts.added)]).ids
    if parts.allowed is None:
        return ids.expand(parts.shape)
    return torch.where(parts.allowed, ids, CONSTANT).expand(parts.shape)  # what hides an entry is a number


def attend(
    call: Call,
    query,
    key,
    value,
    mask=None,
    dropout: float = 0.0,
    is_causal: bool = False,
    *,
    scale=None,
    enable_gqa: bool = False,
):
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


def attend_with_rest(call: Call, *args, **kwargs):
    """The forms of a device: the output first, then what only a backward pass needs."""
    keep = {name: value for name, value in kwargs.items() if name in ("scale", "is_causal")}
    dropout, causal = (args[4], args[5]) if len(args) > 5 else (0.0, False)
    mask = kwargs.get("attn_mask", kwargs.get("attn_bias"))
    query, key, value = args[:3]
    return attend(call, query, key, value, mask, dropout, keep.get("is_causal", causal)), None


def waiting(rules: Mapping[Any, Callable[..., Any]]) -> dict[Any, Callable[..., Any]]:
    """The rules, of which some let scores wait on."""
    return {**rules, **{target: _either(rules[target], step) for target, step in STEPS.items() if target in rules}}


def _either(rule: Callable[..., Any], step: Callable[..., Parts | None]) -> Callable[..., Any]:
    """``step`` where a call reads scores and the step applies, else the rule, which reads their ids."""

    def chosen(call: Call, *args, **kwargs):
        scores = next((a for a in args if isinstance(a, Scores)), None)
        parts = None if scores is None else step(call, scores.parts, *args, **kwargs)
        return rule(call, *args, **kwargs) if scores is None or parts is None else scores.but(parts)

    return chosen


def _kept(call: Call, parts: Parts, value, *rest, **kwargs) -> Parts | None:
    """A copy, or a function with f(0) = 0 of each score."""
    return parts


def _scaled(call: Call, parts: Parts, left, right, **kwargs) -> Parts | None:
    """Times or divided by numbers that are nowhere zero, or by a parameter that is no plain scale."""
    if isinstance(right, Scores):
        left, right = right, left
    if isinstance(right, Weight) and not right.transformed:
        whole = not parts.added and right.shape[-2:].numel() == 1  # a temperature of each head: the query's as well
        return replace(parts, left=call.draft.scale(Units(parts.left), right).ids) if whole else None
    if isinstance(right, Units):
        return None
    return (
        parts
        if torch.broadcast_shapes(parts.shape, call.ids(right).shape) == parts.shape
        and bool((call.ids(right) != NOTHING).all())
        else None
    )


def _shifted(call: Call, parts: Parts, left, right, *, alpha=1) -> Parts | None:
    """Plus a mask, a bias per position, or other scores."""
    other = right if isinstance(left, Scores) else left
    if isinstance(other, Known) and other.known:
        hiding = as_mask(other.tensor) if other.tensor.is_floating_point() else torch.ones((), dtype=torch.bool)
        shown = parts if bool(hiding.all()) else parts.masked(torch.atleast_2d(hiding))
        return shown.plus(call.ids(other)) if bool((other.tensor[hiding.expand(other.shape)] != 0).any()) else shown
    return parts.plus(call.ids(other)) if parts.shape == call.shape else None


def _filled(call: Call, parts: Parts, value, mask, filling) -> Parts | None:
    """masked_fill with a number so low that softmax makes it zero."""
    return _masked(parts, mask, filling, hide=True) if isinstance(value, Scores) else None


def _chosen(call: Call, parts: Parts, condition, chosen, other) -> Parts | None:
    """where() between scores and such a number."""
    if isinstance(condition, Scores):
        return None
    return (
        _masked(parts, condition, other, False)
        if isinstance(chosen, Scores)
        else _masked(parts, condition, chosen, True)
    )


def _masked(parts: Parts, mask, filling, hide: bool) -> Parts | None:
    number = filling.tensor if isinstance(filling, Known) and filling.known else filling
    if isinstance(number, torch.Tensor):
        number = float(number.max()) if number.numel() else 0.0
    if not isinstance(number, (int, float)) or number > -1e4 or not (isinstance(mask, Known) and mask.known):
        return None
    return parts.masked(~mask.tensor if hide else mask.tensor)


def _viewed(call: Call, parts: Parts, value, *rest, **kwargs) -> Parts | None:
    """A view that leaves the last two axes."""
    if len(call.shape) < 2 or call.shape[-2:] != parts.shape[-2:] or len(parts.shape) < 2:
        return None
    lead = call.shape[:-2]
    return parts.on_lead(lambda part: canonical(part.reshape(*lead, *part.shape[-2:])))


STEPS: Mapping[Any, Callable[..., Parts | None]] = {
    **dict.fromkeys([target for target in movement.KEEPS], _kept),
    aten.tanh.default: _kept,
    **dict.fromkeys([aten.mul.Tensor, aten.mul.Scalar, aten.div.Tensor, aten.div.Scalar], _scaled),
    **dict.fromkeys([aten.add.Tensor, aten.sub.Tensor], _shifted),
    aten.masked_fill.Scalar: _filled,
    aten.masked_fill.Tensor: _filled,
    **dict.fromkeys([aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf], _chosen),
    **dict.fromkeys(
        [aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.unsqueeze.default], _viewed
    ),
}
RULES = {
    aten.scaled_dot_product_attention.default: attend,
    **{getattr(aten, name).default: attend_with_rest for name in (
        "_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention", "_scaled_dot_product_attention_math")},
}  # fmt: skip
