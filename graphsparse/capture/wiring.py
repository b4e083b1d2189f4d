"""Units that are made of several others: one for each set of units, one for each sum of products."""

from __future__ import annotations

import numpy as np
import torch

from graphsparse.blocks import Gate, Lift, Wiring
from graphsparse.capture.draft import Draft, as_ids
from graphsparse.capture.units import CONSTANT, canonical, collapse, distinct_sets
from graphsparse.capture.values import Units
from graphsparse.kernels.rows import wires


def united(draft: Draft, ids: torch.Tensor) -> torch.Tensor:
    """The unit that depends on all of the last axis of ids, for each index of the others.

    It is the unit itself where there is one, else a new one for each distinct set.
    """
    (small,), _ = collapse(ids)
    rows = small.reshape(-1, small.size(-1))
    draft.fits(rows.numel())
    sets = distinct_sets(rows)
    result = sets.members[:, 0]  # sorted, largest first: 0 where the set is empty
    several = sets.members[:, 1] != 0 if sets.members.size(1) > 1 else torch.zeros(len(result), dtype=torch.bool)
    fresh = several | (sets.constant & (result != 0))
    if len(fresh) and bool(fresh.all()):
        result = _wired(draft, sets.members, sets.constant)
    else:
        result = torch.where(sets.constant & (result == 0), CONSTANT, result)
        if bool(fresh.any()):
            result[fresh] = _wired(draft, sets.members[fresh], sets.constant[fresh])
    return result[sets.index].reshape(small.shape[:-1]).expand(ids.shape[:-1])


def _wired(draft: Draft, members: torch.Tensor, constant: torch.Tensor) -> torch.Tensor:
    """A layer of one unit per row of members, lifted where the row holds a constant too."""
    draft.take(members.numel())
    layer, ids = draft.layer(len(members))
    layer.blocks.append(Wiring(*wires(members.contiguous().numpy(), layer.start)))
    if bool(constant.any()):
        layer.stages.append(Lift(as_ids(ids[constant])))
    return ids


def join(draft: Draft, ids: torch.Tensor) -> torch.Tensor:
    """One unit per row (rows, positions) of ids, for an operation that shares its weights over positions."""
    ids = canonical(ids)
    (small,), _ = collapse(ids)
    if small.size(1) == 1:
        return small.expand(len(ids), 1)
    key = (small.shape, small.contiguous().numpy().tobytes())
    if key not in draft.joined:
        before = len(draft.layers)
        draft.joined[key] = Units(united(draft, small)[:, None])
        for layer in draft.layers[before:]:
            layer.joins = True
    return draft.joined[key].ids.expand(len(ids), 1)


def gate(draft: Draft, lefts: torch.Tensor, rights: torch.Tensor, targets: torch.Tensor, count: int) -> torch.Tensor:
    """A layer of ``count`` sums of products; entry e adds lefts[e] * rights[e] to the unit targets[e]."""
    draft.take(len(lefts))
    layer, ids = draft.layer(count)
    if not bool((targets[1:] >= targets[:-1]).all()):
        order = targets.argsort(stable=True)
        lefts, rights, targets = lefts[order], rights[order], targets[order]
    layer.blocks.append(Gate(as_ids(lefts), as_ids(rights), as_ids(ids[targets])))
    return ids


def say_matrices(draft: Draft, since: int, products: torch.Tensor) -> None:
    """Say of the layers made ``since`` that their products, ids (..., rows, columns), are those of matrices, and of which."""
    lead = products.shape[:-2]
    which = torch.arange(lead.numel(), dtype=torch.int32).reshape(*lead, 1, 1).expand(products.shape).reshape(-1)
    flat = products.reshape(-1)
    for made in draft.layers[since:]:
        if any(isinstance(block, Gate) for block in made.blocks):
            here = (flat >= made.start) & (flat < made.stop)
            made.matrices = np.full(made.stop - made.start, -1, np.int32)
            made.matrices[(flat[here] - made.start).numpy()] = which[here].numpy()
