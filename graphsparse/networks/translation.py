"""Tensors of transformers' files turned into those that its models have today, by transformers' own table.

Many of its models save names of older versions (ViT among them), or a tensor for each expert where the model has one for
all. The library translates them when it loads a file. Here masks are translated the same way, and read when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from graphsparse.checkpoints.checks import nonzero
from graphsparse.checkpoints.forms import Entry, Reading
from graphsparse.errors import CheckpointError

MOVING = {"Chunk", "Concatenate", "Interleave", "MergeModulelist", "Split", "SplitModulelist", "Transpose"}
"""Operations of the table that only move elements, so that they move masks too. Tensors of others stay untranslated."""

Make = Callable[[], torch.Tensor]


def translation(model: Any) -> Callable[[Reading], Reading] | None:
    """How files of a model of transformers are read; None for other models, and where transformers is older than 5."""
    if not type(model).__module__.startswith("transformers."):
        return None
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key
    except ImportError:
        return None
    steps = get_model_conversion_mapping(model)
    renamings = tuple(step for step in steps if isinstance(step, WeightRenaming))
    moving = tuple(
        step for step in steps
        if isinstance(step, WeightConverter) and all(type(each).__name__ in MOVING for each in step.operations)
    )  # fmt: skip
    return _Table(model, renamings, moving, dot_natural_key)


@dataclass(frozen=True, eq=False)
class _Table:
    """The steps of the table for a model, and the order in which names are taken: numbers by value."""

    model: Any
    renamings: tuple[Any, ...]
    converters: tuple[Any, ...]
    order: Callable[[str], Any]

    def __call__(self, reading: Reading) -> Reading:
        """What the file holds, by the names and in the shapes that the model has today."""
        own = self.model.state_dict()
        found: dict[str, str] = {}
        merges: dict[str, _Merge] = {}
        names = {*reading.entries, *reading.others}
        for name in sorted(names, key=self.order):  # some steps go by what they have seen, in this order
            target, converter, pattern = self._place_of(name, own)
            if converter is None or pattern is None:
                found[name] = target
            else:
                merge = merges.setdefault(target, _Merge(target, converter, self.model))
                merge.sources.setdefault(pattern, []).append(name)
        _check_distinct(found)
        entries = {found[name]: entry for name, entry in reading.entries.items() if name in found}
        others = {found[name]: make for name, make in reading.others.items() if name in found}
        for merge in merges.values():
            if all(name in reading.entries for name in merge.names):
                entries.update(_merged_entries(merge, reading.entries))
            else:
                others.update(_merged_others(merge, reading))
        ignored = {found.get(name, name): why for name, why in reading.ignored.items()}
        return replace(reading, entries=entries, others=others, ignored=ignored)

    def _place_of(self, name: str, own: Mapping[str, Any]) -> tuple[str, Any, str | None]:
        """The name today; and, where a converter makes it, that converter and the pattern of this source."""
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
        """The name with or without the part that holds all of a model but its heads, whichever the model has."""
        part = f"{self.model.base_model_prefix}."
        if name in own or part == ".":
            return name
        return next((n for n in (name.removeprefix(part), part + name) if n in own), name)


@dataclass(frozen=True, eq=False)
class _Merge:
    """The tensors of a file of which one converter makes one or several of the model; ``sources`` are names by pattern."""

    target: str
    converter: Any
    model: Any
    sources: dict[str, list[str]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of all sources."""
        return [name for names in self.sources.values() for name in names]

    def run(self, made: Callable[[str], torch.Tensor]) -> dict[str, torch.Tensor]:
        """What the converter makes of the tensors, by the model's names."""
        converter = deepcopy(self.converter)  # it collects what it is given; transformers itself takes a copy, too
        for pattern, names in self.sources.items():
            for name in names:
                converter.add_tensor(self.target, name, pattern, made(name))
        return converter.convert(self.target, model=self.model, config=self.model.config)

    def later(self, made: Callable[[str], torch.Tensor], result: str) -> Make:
        """What makes one of the results when it is asked for."""
        return lambda: self.run(made)[result]


def _check_distinct(found: Mapping[str, str]) -> None:
    names: dict[str, str] = {}
    for name, new in found.items():
        if new in names:
            raise CheckpointError(
                "a tensor must be there once, by its old or its new name", place=new, received=f"{names[new]} and {name}",
                way_out="save the model again with transformers",
            )  # fmt: skip
        names[new] = name


def _merged_entries(merge: _Merge, entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """One entry for each tensor that the model has; their shapes are found without reading."""
    shapes = merge.run(lambda name: torch.empty(entries[name].shape, device="meta"))
    sources = tuple(tensor for name in merge.names for tensor in entries[name].sources)
    makers = {name: make for name in merge.names if (make := entries[name].weight) is not None}
    whole = len(makers) == len(merge.names)

    def pattern(name: str) -> torch.Tensor:
        return nonzero(entries[name].pattern())

    def weight(name: str) -> torch.Tensor:
        return makers[name]()

    return {
        result: Entry(
            tuple(tensor.shape), merge.later(pattern, result), sources, merge.later(weight, result) if whole else None
        )
        for result, tensor in shapes.items()
    }


def _merged_others(merge: _Merge, reading: Reading) -> dict[str, Make]:
    def made(name: str) -> torch.Tensor:
        make = reading.others.get(name) or reading.entries[name].weight
        return reading.entries[name].pattern() if make is None else make()

    return {result: merge.later(made, result) for result in merge.run(made)}
