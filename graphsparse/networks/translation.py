"""Tensors as transformers' files hold them, turned into those that its models have today, by transformers' own table.

Many of its models save the names of older versions (ViT among them), and a tensor for each expert where the model has
one for all. It translates when it loads; here the masks go the same way, unread until their turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from graphsparse.checkpoints.checks import nonzero
from graphsparse.checkpoints.forms import Entry, Reading
from graphsparse.errors import CheckpointError

MOVING = {"Chunk", "Concatenate", "Interleave", "MergeModulelist", "Split", "SplitModulelist", "Transpose"}
"""Operations of the table that only move elements, so that they move masks too. Others leave their tensors untranslated."""

Make = Callable[[], torch.Tensor]


def translation(model: Any) -> Callable[[Reading], Reading] | None:
    """How files of a model of transformers are read; None for other models, and before transformers 5, which has no table."""
    if not type(model).__module__.startswith("transformers."):
        return None
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key
    except ImportError:
        return None
    steps = get_model_conversion_mapping(model)
    table = _Table(
        model,
        tuple(step for step in steps if isinstance(step, WeightRenaming)),
        tuple(step for step in steps if isinstance(step, WeightConverter) and _only_moves(step)),
        dot_natural_key,
    )
    return partial(_translated, table=table)


def _only_moves(converter: Any) -> bool:
    return all(type(operation).__name__ in MOVING for operation in converter.operations)


@dataclass(frozen=True, eq=False)
class _Table:
    """The model, its steps of the table, and the order in which names are taken: numbers by value."""

    model: Any
    renamings: tuple[Any, ...]
    converters: tuple[Any, ...]
    order: Callable[[str], Any]

    def place_of(self, name: str, own: Mapping[str, Any]) -> tuple[str, Any, str | None]:
        """(name today, the converter that makes it or None, which of its sources this is)."""
        new = name
        for step in self.renamings:
            new = step.rename_source_key(new)[0]
        for converter in self.converters:
            target, pattern = converter.rename_source_key(new)
            if pattern is not None:
                return self._prefixed(target, own), converter, pattern
        new = self._prefixed(new, own)
        return (name if name in own and new not in own else new), None, None

    def _prefixed(self, name: str, own: Mapping[str, Any]) -> str:
        """The name with or without the part that a model has beside its heads, whichever the model has."""
        part = f"{self.model.base_model_prefix}."
        if name in own or part == ".":
            return name
        return next((n for n in (name.removeprefix(part), part + name) if n in own), name)


@dataclass(frozen=True, eq=False)
class _Merge:
    """The tensors of a file that one converter turns into one or several of the model: {source: names}."""

    converter: Any
    sources: dict[str, list[str]]


def _translated(reading: Reading, table: _Table) -> Reading:
    own = table.model.state_dict()
    found: dict[str, str] = {}
    merges: dict[str, _Merge] = {}
    names = {*reading.entries, *reading.others}
    for name in sorted(names, key=table.order):  # some steps go by what they have seen, in this order
        target, converter, pattern = table.place_of(name, own)
        if converter is None or pattern is None:
            found[name] = target
        else:
            merge = merges.setdefault(target, _Merge(converter, {}))
            merge.sources.setdefault(pattern, []).append(name)
    _check_distinct(found)
    entries = {found[name]: entry for name, entry in reading.entries.items() if name in found}
    others = {found[name]: make for name, make in reading.others.items() if name in found}
    for target, merge in merges.items():
        if all(name in reading.entries for each in merge.sources.values() for name in each):
            entries.update(_merged_entries(target, merge, reading.entries, table.model))
        else:
            others.update(_merged_others(target, merge, reading, table.model))
    ignored = {found.get(name, name): why for name, why in reading.ignored.items()}
    return replace(reading, entries=entries, others=others, ignored=ignored)


def _check_distinct(found: Mapping[str, str]) -> None:
    names: dict[str, str] = {}
    for name, new in found.items():
        if new in names:
            raise CheckpointError(
                "a tensor must be there once, by its old or its new name", place=new, received=f"{names[new]} and {name}",
                way_out="save the model again with transformers",
            )  # fmt: skip
        names[new] = name


def _merged_entries(target: str, merge: _Merge, entries: Mapping[str, Entry], model: Any) -> dict[str, Entry]:
    """One entry for each tensor that the model has; their shapes are found without reading."""
    names = [name for each in merge.sources.values() for name in each]
    shapes = _run(merge, target, model, lambda name: torch.empty(entries[name].shape, device="meta"))
    sources = tuple(tensor for name in names for tensor in entries[name].sources)
    makers = {name: make for name in names if (make := entries[name].weight) is not None}

    def pattern(result: str) -> torch.Tensor:
        return _run(merge, target, model, lambda name: nonzero(entries[name].pattern()))[result]

    def weight(result: str) -> torch.Tensor:
        return _run(merge, target, model, lambda name: makers[name]())[result]

    return {
        result: Entry(
            tuple(shape.shape),
            partial(pattern, result),
            sources,
            partial(weight, result) if len(makers) == len(names) else None,
        )
        for result, shape in shapes.items()
    }


def _merged_others(target: str, merge: _Merge, reading: Reading, model: Any) -> dict[str, Make]:
    def made(name: str) -> torch.Tensor:
        make = reading.others.get(name) or reading.entries[name].weight
        return reading.entries[name].pattern() if make is None else make()

    return {
        result: partial(lambda key: _run(merge, target, model, made)[key], result)
        for result in _run(merge, target, model, made)
    }


def _run(merge: _Merge, target: str, model: Any, made: Callable[[str], torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the converter makes of the tensors, by the model's names."""
    converter = deepcopy(merge.converter)  # it collects what it is given, as transformers' own loading does with a copy
    for pattern, names in merge.sources.items():
        for name in names:
            converter.add_tensor(target, name, pattern, made(name))
    return converter.convert(target, model=model, config=model.config)
