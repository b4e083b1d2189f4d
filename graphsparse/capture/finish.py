"""From a draft to a graph: needless layers are folded away, units are numbered without gaps, and layers get ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from graphsparse.blocks import Gate, KernelBlock, Lift, Scale, Stage, Wiring
from graphsparse.capture.draft import Draft, LayerDraft, as_ids
from graphsparse.kernels.rows import distinct_ids
from graphsparse.layers import Layer, feeding

FREE_ENTRIES = "the entries of a row are taken as free of each other: no row need hold both factors of a product"


def finished_layers(draft: Draft, sinks: np.ndarray) -> tuple[tuple[Layer, ...], np.ndarray, np.ndarray]:
    """Layers, sources and sinks in the graph's numbering (from 0 on, without gaps)."""
    drafts, same = _folded_copies(draft, sinks)
    drafts, sources = _fold_joined_inputs(draft, drafts, sinks)
    number = _renumbered(drafts, same)
    layers: list[Layer] = []
    owner = np.repeat(np.arange(len(drafts)), [each.stop - each.start for each in drafts])
    stop = 0
    for each, name in zip(drafts, _unique_names(drafts), strict=True):
        start, stop = stop, stop + each.stop - each.start
        blocks, stages = (tuple(_moved(part, number) for part in parts) for parts in (each.blocks, each.stages))
        rank = max((layers[i].rank + 1 for block in blocks for i in feeding(block, owner)), default=0)
        layers.append(Layer(name, each.operation, start, stop, rank, blocks, stages, each.module, each.matrices))
    return tuple(layers), number[sources], number[sinks]


def _folded_copies(draft: Draft, sinks: np.ndarray) -> tuple[list[LayerDraft], np.ndarray]:
    """Fold copies of units that nothing else reads into the units: the layers left, and which unit each unit now is.

    A bias or a scale is put on a copy of its units, since nobody knows yet who else will read them. Inputs keep theirs.
    """
    reads = _reads(draft)
    for outside in [sinks, *map(as_ids, draft.sources)]:
        reads[outside] += 1
    same, starts = np.arange(draft.count, dtype=np.int32), np.asarray([each.start - 1 for each in draft.layers])
    kept = []
    for each in draft.layers:
        copied = _one_wire_each(each)
        if copied is None or (reads[copied] > 1).any():
            kept.append(each)
            continue
        same[each.start - 1 : each.stop - 1] = same[copied]
        for stage in each.stages:
            for owner, part in _by_owner(replace(stage, units=same[stage.units]), starts):
                draft.layers[owner].stages.append(part)
    return kept, same


def _reads(draft: Draft) -> np.ndarray:
    """How often blocks read each unit."""
    reads = np.zeros(draft.count, np.int32)
    for block in (block for each in draft.layers for block in each.blocks):
        ids = block.sources.ravel()
        if _follow_each_other(ids):
            reads[ids[0] : ids[-1] + 1] += 1
            continue
        ids = ids if ids.size and ids.min() >= 0 else ids[ids >= 0]
        if ids.size:
            low, high = ids.min(), ids.max() + 1
            reads[low:high] += np.bincount(ids - low)
    return reads


def _follow_each_other(ids: np.ndarray) -> bool:
    """Whether ids are units without a gap, in order."""
    if not ids.size or ids[0] < 0 or ids[-1] - ids[0] != ids.size - 1:
        return False
    return bool((ids[1:] > ids[:-1]).all())


def _one_wire_each(layer: LayerDraft) -> np.ndarray | None:
    """What each unit of a layer is wired to, where it is wired to one unit and nothing else; else None."""
    if len(layer.blocks) != 1 or not isinstance(layer.blocks[0], Wiring):
        return None
    (wires,) = layer.blocks
    one_each = len(wires.targets) == layer.stop - layer.start and _follow_each_other(wires.targets)
    return wires.sources if one_each else None


def _by_owner(stage: Stage, starts: np.ndarray) -> Iterator[tuple[int, Stage]]:
    """A stage in parts of one layer each; ``starts`` are the first units of the layers."""
    units = stage.units
    if not units.size:
        return
    first, last = np.searchsorted(starts, [units.min(), units.max()], side="right") - 1
    if first == last:
        yield int(first), stage
        return
    owner = np.searchsorted(starts, units, side="right") - 1
    for index in np.flatnonzero(np.bincount(owner)):
        use = owner == index
        entries = {} if stage.entries is None else {"entries": stage.entries[use]}
        yield int(index), replace(stage, units=units[use], **entries)


def _fold_joined_inputs(
    draft: Draft, drafts: list[LayerDraft], sinks: np.ndarray
) -> tuple[list[LayerDraft], np.ndarray]:
    """In channel resolution an image that only convolutions read has a source per channel, not per element."""
    sources = distinct_ids([as_ids(ids) for ids in draft.sources])
    for layer in [each for each in drafts if each.operation == "input"]:
        readers = [each for each in drafts if any(_inside(layer, block.sources).any() for block in each.blocks)]
        if len(readers) != 1 or not readers[0].joins or _inside(layer, sinks).any():
            continue
        (reader,) = readers
        if len(reader.blocks) != 1 or not _inside(layer, reader.blocks[0].sources).all():
            continue
        drafts.remove(layer)
        reader.blocks, reader.name, reader.operation = [], layer.name, "input"
        joined = np.arange(reader.start - 1, reader.stop - 1)
        sources = np.union1d(sources[~_inside(layer, sources)], joined)
    return drafts, sources


def _inside(layer: LayerDraft, ids: np.ndarray) -> np.ndarray:
    """Which of the graph's ids are units of a layer."""
    return (ids >= layer.start - 1) & (ids < layer.stop - 1)


def _renumbered(drafts: list[LayerDraft], same: np.ndarray) -> np.ndarray:
    """New ids by old ids; the last two places hold the constant and the missing unit, which keep theirs."""
    number = np.full(len(same) + 2, -1, np.int32)
    number[-2] = -2
    left = np.concatenate([same[:0], *(np.arange(each.start - 1, each.stop - 1) for each in drafts)])
    number[left] = np.arange(len(left))
    number[:-2] = number[same]
    return number


def _moved(part: Any, number: np.ndarray) -> Any:
    """A block or stage in the new ids."""
    if isinstance(part, (Lift, Scale)):
        return replace(part, units=number[part.units])
    if isinstance(part, KernelBlock):
        return replace(part, sources=number[part.sources], targets=number[part.targets])
    ids = (part.lefts, part.rights) if isinstance(part, Gate) else (part.sources,)
    return type(part)(*(number[each] for each in (*ids, part.targets)))


def _unique_names(drafts: list[LayerDraft]) -> list[str]:
    """Module paths, with the operation and a number where a module makes several layers."""
    layers = Counter(each.name for each in drafts)
    plain = [each.name if layers[each.name] == 1 else f"{each.name}.{each.operation}" for each in drafts]
    repeated, numbers = Counter(plain), {name: count(1) for name in plain}
    return [name if repeated[name] == 1 else f"{name}.{next(numbers[name])}" for name in plain]


def free_entries(draft: Draft) -> tuple[tuple[str, str, str], ...]:
    """Each table whose rows reach both factors of a product of activations, as (operation, module, reason)."""
    found = [place for place, rows in draft.usage.rows if _multiplied(draft, as_ids(rows))]
    return tuple(("embedding", place, FREE_ENTRIES) for place in dict.fromkeys(found))


def _multiplied(draft: Draft, rows: np.ndarray) -> bool:
    """Whether both factors of some product depend on the rows. Every connection is taken as kept."""
    reached = np.zeros(draft.count + 2, bool)  # the last two places: a constant, no unit
    reached[rows] = True
    for layer in draft.layers:
        for block in layer.blocks:
            if isinstance(block, Gate) and bool((reached[block.lefts] & reached[block.rights]).any()):
                return True
            reached[layer.start - 1 : layer.stop - 1] |= bool(reached[block.sources].any())
    return False
