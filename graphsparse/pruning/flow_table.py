"""SynFlow's side of the table of operations: the linear counterparts, by the names that rows give them (`Rule.flows`)."""

from __future__ import annotations

from collections.abc import Mapping

from graphsparse.capture.table import Rule as Row
from graphsparse.pruning import flow_pooling as pooling
from graphsparse.pruning import flow_rules as rules
from graphsparse.pruning.flow import Rule

FLOWS: Mapping[str, Rule] = {
    "keeps": rules.keep,
    "moves": rules.move,
    "reshapes": rules.reshape,
    "function": rules.function,
    "adds": rules.add,
    "multiplies": rules.multiply,
    "divides": rules.divide,
    "layer": rules.layer,
    "adds product": rules.add_product,
    "averages": rules.mean_over,
    "extremum": rules.extremum,
    "fills": rules.fill,
    "chooses": rules.choose,
    "pads": rules.pad,
    "enlarges": rules.enlarge,
    "softmax": rules.softmax,
    "attention": rules.attention,
    "normalises": rules.normalise,
    "batch norm": rules.batch_norm,
    "embedding": rules.embedding,
    **{f"maximum {n}d": pooling.maximum_pool(n) for n in (1, 2, 3)},
    **{f"maximum {n}d, index": pooling.with_index(pooling.maximum_pool(n)) for n in (2, 3)},
    **{f"adaptive maximum {n}d": pooling.adaptive_pool(n) for n in (1, 2, 3)},
}


def flow_of(row: Row) -> Rule | None:
    """The linear counterpart of an operation; None where there is none.

    What only moves parameters does the same to signals, so such a row need not say how it flows.
    """
    if callable(row.flows):
        return row.flows
    plain = row.weights if row.weights in ("keeps", "moves", "reshapes") else ""
    return FLOWS.get(row.flows or plain)
