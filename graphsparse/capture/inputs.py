"""What each input of a captured program is taken for: a source, tokens that index a table, or a constant.

A floating input is a source. An integer or boolean input is one where the model computes with it, as with a diffusion
model's timestep (see `graphsparse.capture.flows`); where it indexes the rows of a parameter, those rows are sources;
else it is a constant, as masks and positions are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_flatten_with_path

from graphsparse.capture.draft import Draft
from graphsparse.capture.flows import Flows
from graphsparse.capture.samples import batch_axis_of, batch_size
from graphsparse.capture.values import Known, Value
from graphsparse.errors import CaptureError
from graphsparse.graph import Input

MASK_OR_POSITION = re.compile(r"(^|[._])(masks?|positions?|pos|position_ids|pos_ids)$")
FLOATING, COMPUTED, NAMED = "a floating input", "the model computes with it", "named in sources"
ANY_ROW = "any row may come"
PASSIVE = "only compared, selected by or added to attention scores"
BY_NAME = "by its name a mask or positions"
LEFT_OUT, FIXED = "not named in sources", "no tensor: fixed when the model was captured"


@dataclass(frozen=True, eq=False)
class Given:
    """One input: ``node`` is its name in the program, ``name`` the one that people use."""

    node: str
    name: str
    example: Any

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor, and no number that was fixed."""
        return isinstance(self.example, torch.Tensor)

    @property
    def floating(self) -> bool:
        """Whether its elements are real or complex numbers."""
        return self.example.is_floating_point() or self.example.is_complex()

    @property
    def by_name(self) -> bool:
        """Whether it is a mask or positions, by its name."""
        return MASK_OR_POSITION.search(self.name) is not None


@dataclass(frozen=True, eq=False)
class Inputs:
    """All inputs of a program, and why some are sources and some constants; others are tokens if they index a table."""

    given: Mapping[str, Given]
    sources: Mapping[str, str]
    constants: Mapping[str, str]
    batch_axis: int | None

    def value(self, draft: Draft, node: str) -> Value | Any:
        """What the input is to the rules; its units are made here, one for each element of one sample."""
        given = self.given.get(node)
        if given is None or not given.is_tensor:
            return given and given.example
        example = given.example
        if node in self.sources:
            draft.place = (given.name, "input")
            return draft.source(given.name, example.shape, batch_axis_of(example, self.batch_axis, self.samples))
        if node not in self.constants:
            return Known.of(example, token=given.name)
        # the numbers of masks and positions are taken as they are, those of others are only an example
        any_content = not given.by_name and (given.floating or self.constants[node] == LEFT_OUT)
        return Known.of(example.to("meta") if any_content else example)

    @property
    def samples(self) -> int | None:
        """How many samples the example inputs have, where that is known."""
        return batch_size((each.example for each in self.given.values()), self.batch_axis)

    @property
    def counted(self) -> str:
        """Which axis counts samples, where it is not the first."""
        if self.batch_axis == 0:
            return ""
        return f"; axis {self.batch_axis} counts samples" if self.batch_axis else "; no axis counts samples"

    def taken(self, tables: Mapping[str, Sequence[str]]) -> tuple[Input, ...]:
        """What every input was taken for; ``tables`` are the parameters that each input was found to index."""
        found = []
        for node, given in self.given.items():
            shape, kind = (), type(given.example).__name__
            if given.is_tensor:
                shape, kind = tuple(given.example.shape), str(given.example.dtype).removeprefix("torch.")
            indexed = tuple(dict.fromkeys(tables.get(given.name, ())))
            if node in self.sources:
                way = "source", self.sources[node] + self.counted, indexed
            elif indexed and node not in self.constants:
                way = "tokens", ANY_ROW + self.counted, indexed
            else:
                way = "constant", self.constants.get(node, PASSIVE), ()
            found.append(Input(given.name, shape, kind, *way))
        return tuple(found)


def names_of(sources: Iterable[str] | str | None) -> tuple[str, ...] | None:
    """The names of inputs, also of one alone. Raises CaptureError where one is no text."""
    if sources is None or isinstance(sources, str):
        return None if sources is None else (sources,)
    names = tuple(sources) if isinstance(sources, Iterable) else (sources,)
    if not all(isinstance(name, str) for name in names):
        raise CaptureError(
            "sources must be names of the model's inputs", received=repr(sources)[:60], way_out="give sources=['x']"
        )
    return names


def inputs_of(program: ExportedProgram, batch_axis: int | None, sources: tuple[str, ...] | None = None) -> Inputs:
    """Decide what every input of a program is; ``sources`` names those that are sources, all others are constants then.

    Raises CaptureError, which lists the inputs, where a name is that of none.
    """
    given = {each.node: each for each in _given(program)}
    if sources is None:
        return Inputs(given, *_by_use(program, given), batch_axis)
    chosen = _chosen(given, sources)
    flows = Flows(program)
    integers = [node for node in chosen if not given[node].floating]
    indices = {node for node in integers if flows.indexes(node) and not flows.computed_with(node)}
    constants = {node: LEFT_OUT if each.is_tensor else FIXED for node, each in given.items() if node not in chosen}
    return Inputs(given, {node: NAMED for node in chosen if node not in indices}, constants, batch_axis)


def _by_use(program: ExportedProgram, given: Mapping[str, Given]) -> tuple[dict[str, str], dict[str, str]]:
    """The inputs that are sources, and those that are constants, each with its reason; the others may be tokens."""
    flows = Flows(program)
    sources, constants = {}, {}
    for node, each in given.items():
        if not each.is_tensor:
            constants[node] = FIXED
        elif each.floating and not (each.by_name and flows.read(node) and not flows.computed_with(node)):
            sources[node] = FLOATING
        elif each.floating:
            constants[node] = PASSIVE
        elif each.by_name:
            constants[node] = BY_NAME if flows.computed_with(node) or flows.indexes(node) else PASSIVE
        elif flows.computed_with(node):
            sources[node] = COMPUTED
    return sources, constants


def _chosen(given: Mapping[str, Given], names: Sequence[str]) -> set[str]:
    """The inputs of these names; a name of a tuple or dict of inputs stands for all of them."""
    tensors = {node: each.name for node, each in given.items() if each.is_tensor}
    found = {name: {n for n, full in tensors.items() if full == name or full.startswith(f"{name}.")} for name in names}
    missing = [name for name in names if not found[name]]
    if missing or not names:
        raise CaptureError(
            "sources must be inputs of the model", received=", ".join(map(repr, missing)) or "no name",
            way_out=f"name some of: {', '.join(tensors.values())}",
        )  # fmt: skip
    return set().union(*found.values())


def _given(program: ExportedProgram) -> list[Given]:
    """The program's inputs in the order of its arguments; nested ones go by their paths, as ``batch.image.0``."""
    signature = [spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]
    leaves, _ = tree_flatten_with_path(program.example_inputs or ((), {}))
    return [
        Given(node, _path(node, [_key(step) for step in path]), example)
        for node, (path, example) in zip(signature, leaves, strict=False)
        if example is not None
    ]


def _path(node: str, keys: list[str]) -> str:
    """The name of an input: that of the argument, which the program's own name begins with, and the path inside it."""
    _, first, *inside = keys
    if not inside:
        return first if not first.isdecimal() else node
    suffix = "_" + "_".join(re.sub(r"\W", "_", key) for key in inside)
    argument = first if not first.isdecimal() else node.lower().removesuffix(suffix.lower()) and node[: -len(suffix)]
    return ".".join([argument or node, *inside])


def _key(step: Any) -> str:
    return next((str(getattr(step, name)) for name in ("key", "idx", "name") if hasattr(step, name)), str(step))
