"""From a draft to a graph: unread input layers fold into what joins them, and ranks are set."""

from __future__ import annotations

from collections import Counter

import numpy as np

from graphsparse.blocks import Gate, KernelBlock, Lift, Scale, Wiring
from graphsparse.capture.draft import Draft, LayerDraft, as_ids
from graphsparse.layers import Layer, feeding


def read_ids(block) -> np.ndarray:
    """The ids that a block reads."""
    return np.concatenate([block.lefts, block.rights]) if isinstance(block, Gate) else block.sources


def finished_layers(draft: Draft, sinks: np.ndarray) -> tuple[tuple[Layer, ...], np.ndarray, np.ndarray]:
    """Layers, sources and sinks in the graph's numbering (from 0 on, without gaps)."""
    drafts, sources = _fold_joined_inputs(draft, sinks)
    number = _renumbered(drafts, draft.mark)
    names = _unique_names(drafts)
    ranks: list[int] = []
    layers: list[Layer] = []
    owner = np.repeat(np.arange(len(drafts)), [each.stop - each.start for each in drafts])
    start = 0
    for each, name in zip(drafts, names, strict=True):
        blocks = tuple(_moved(block, number) for block in each.blocks)
        rank = max((ranks[i] + 1 for block in blocks for i in feeding(block, owner)), default=0)
        stages = tuple(_moved(stage, number) for stage in each.stages)
        stop = start + each.stop - each.start
        layers.append(Layer(name, each.operation, start, stop, rank, blocks, stages))
        ranks.append(rank)
        start = stop
    return tuple(layers), number[sources], number[sinks]


def _fold_joined_inputs(draft: Draft, sinks: np.ndarray) -> tuple[list[LayerDraft], np.ndarray]:
    """In channel resolution an image that only convolutions read has a source per channel, not per element."""
    sources = (
        np.unique(np.concatenate([as_ids(ids) for ids in draft.sources])) if draft.sources else np.empty(0, np.int64)
    )
    drafts = list(draft.layers)
    for layer in [each for each in drafts if each.operation == "input"]:
        inside = lambda ids, layer=layer: (ids >= layer.start - 1) & (ids < layer.stop - 1)
        readers = [each for each in drafts if any(inside(read_ids(block)).any() for block in each.blocks)]
        if len(readers) != 1 or not readers[0].joins or inside(sinks).any():
            continue
        (reader,) = readers
        if len(reader.blocks) != 1 or not inside(read_ids(reader.blocks[0])).all():
            continue
        drafts.remove(layer)
        reader.blocks, reader.name, reader.operation = [], layer.name, "input"
        joined = np.arange(reader.start - 1, reader.stop - 1)
        sources = np.union1d(sources[~inside(sources)], joined)
    return drafts, sources


def _renumbered(drafts: list[LayerDraft], mark: int) -> np.ndarray:
    """New ids by old ids; the last two places hold the constant and the missing unit, which keep theirs."""
    number = np.full(mark + 1, -1, np.int32)
    number[-2] = -2
    start = 0
    for each in drafts:
        count = each.stop - each.start
        number[each.start - 1 : each.stop - 1] = np.arange(start, start + count)
        start += count
    return number


def _moved(part, number: np.ndarray):
    if isinstance(part, KernelBlock):
        return KernelBlock(part.parameter, part.view, number[part.sources], number[part.targets], part.taps, part.mask)
    if isinstance(part, Wiring):
        return Wiring(number[part.sources], number[part.targets])
    if isinstance(part, Gate):
        return Gate(number[part.lefts], number[part.rights], number[part.targets])
    if isinstance(part, Scale):
        return Scale(number[part.units], part.parameter, part.entries)
    assert isinstance(part, Lift)
    return Lift(number[part.units], part.parameter, part.entries)


def _unique_names(drafts: list[LayerDraft]) -> list[str]:
    """Module paths, with the operation and a number where a module makes several layers."""
    counts = Counter(each.name for each in drafts)
    plain = [each.name if counts[each.name] == 1 else f"{each.name}.{each.operation}" for each in drafts]
    repeated, seen = Counter(plain), Counter[str]()
    names = []
    for name in plain:
        seen[name] += 1
        names.append(name if repeated[name] == 1 else f"{name}.{seen[name]}")
    return names
