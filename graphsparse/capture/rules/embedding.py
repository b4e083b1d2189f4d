"""Embeddings: tables read by index."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.lookup import look_up
from graphsparse.capture.table import Rule
from graphsparse.capture.values import Known, Units, Weight

aten = torch.ops.aten


def embedding(call: Call, weight: Weight | Known, indices: Known | Units, *rest: Any, **kwargs: Any) -> Units:
    """The row of each index; the other settings concern gradients alone."""
    return look_up(call, weight, indices)


RULES: dict[Any, Rule] = {aten.embedding.default: Rule(embedding, weights="moves", flows="embedding")}
