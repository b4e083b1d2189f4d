"""Embeddings: tables read by index."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.arithmetic import pairwise
from graphsparse.capture.mechanics.lookup import look_up
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import canonical
from graphsparse.capture.values import Known, Units, Weight

aten = torch.ops.aten


def embedding(call: Call, weight: Weight | Known, indices: Known | Units, *rest: Any, **kwargs: Any) -> Units:
    """The row of each index; the other settings concern gradients alone."""
    return look_up(call, weight, indices)


def bag(call: Call, weight: Weight | Known, indices: Known | Units, offsets: Any, *rest: Any, **kwargs: Any) -> Units:
    """The sum, mean or maximum of some rows: any rows may come into any bag. Each row may have a weight of its own."""
    read = look_up(replace(call, shape=torch.Size([*indices.shape, weight.shape[1]])), weight, indices)
    made = Units(canonical(call.united_over(read.ids, 0)).expand(call.shape))
    factors = call.named([weight, indices, offsets, *rest], kwargs)["per_sample_weights"]
    if isinstance(factors, Units):
        made = pairwise(call, made, Units(call.united_over(factors.ids, None).reshape(())))
    return made


RULES: dict[Any, Rule] = {
    aten.embedding.default: Rule(embedding, weights="moves", flows="embedding"),
    **rows("_embedding_bag _embedding_bag_forward_only", Rule(bag)),
}
