"""A checkpoint that is opened: its form is known and its names are matched, and nothing of it is read yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from graphsparse.checkpoints.archives import Archive, open_archive
from graphsparse.checkpoints.boundary import check, refusing
from graphsparse.checkpoints.checks import check_same_shape, count_not_finite, pack_nonzero, stored_values
from graphsparse.checkpoints.content import WHOLE, Content, Part, Request, look_into
from graphsparse.checkpoints.forms import Entry, Reading, form_fitting, form_of
from graphsparse.checkpoints.names import UNKNOWN, Shape, match, shown
from graphsparse.errors import CheckpointError, MaskError
from graphsparse.kernels.masks import Mask

Source = str | os.PathLike[str] | Mapping[str, Any] | Sequence[Any]
Translation = Callable[[Reading], Reading]


class LazyTensors(Mapping[str, torch.Tensor]):
    """Tensors by name, each made when it is asked for; ``place`` is the file, for messages."""

    def __init__(self, makers: Mapping[str, Callable[[], torch.Tensor]], place: str):
        self._makers, self._place = dict(makers), place

    def __getitem__(self, name: str) -> torch.Tensor:
        make = self._makers[name]
        with refusing(f"{name} in {self._place}"):
            return make()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True, eq=False)
class OpenCheckpoint:
    """A checkpoint whose form and names are known, and of which nothing is read yet.

    Attributes:
        archive: the file.
        form: the name of its form.
        entries: {parameter: its mask, unread}, in the file's order.
        others: {name: makes the tensor}, buffers and what else is no parameter.
        ignored: {name in the file: why it is no mask of a parameter}.
        missing: parameters of the model that the file has no mask for; empty where no model was given.
        notes: which of several state dicts was taken.
        not_finite: {parameter: how many of its entries are NaN or infinite}, filled as tensors are read.
    """

    archive: Archive
    form: str
    entries: Mapping[str, Entry]
    others: Mapping[str, Callable[[], torch.Tensor]]
    ignored: Mapping[str, str]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    not_finite: dict[str, int] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The file."""
        return self.archive.place

    @property
    def shapes(self) -> dict[str, Shape]:
        """{parameter: shape}, in the file's order."""
        return {name: entry.shape for name, entry in self.entries.items()}

    @property
    def all_shapes(self) -> dict[str, Shape]:
        """{parameter or buffer: shape} of all tensors, unread."""
        return {**{name: tuple(make().shape) for name, make in self.others.items()}, **self.shapes}

    @property
    def has_weights(self) -> bool:
        """Whether the file holds weights, not masks alone."""
        return any(entry.weight is not None for entry in self.entries.values())

    @property
    def weights(self) -> Mapping[str, torch.Tensor]:
        """{parameter or buffer: tensor}, each read when it is asked for; empty for a file of masks alone."""
        makers = {name: entry.weight for name, entry in self.entries.items() if entry.weight is not None}
        return LazyTensors({**makers, **self.others} if makers else {}, self.place)

    @property
    def by_zeros(self) -> frozenset[str]:
        """The parameters whose mask is only what is not zero in their weight."""
        return frozenset(name for name, entry in self.entries.items() if entry.by_zeros)

    @property
    def nbytes(self) -> int:
        """Bytes that ``packed_masks`` reads in all, for progress bars."""
        return sum(map(_nbytes, self.entries.values()))

    def told(self) -> tuple[str, ...]:
        """What a reader of the masks should know, once they are read."""
        return (*self.notes, *not_finite_note(self.not_finite))

    def words(self, name: str) -> np.ndarray:
        """The kept connections of one parameter as bits. Its tensors are read once, and their memory is given back.

        Raises:
            CheckpointError, MaskError: what the file holds there is damaged or no mask.
        """
        entry = self.entries[name]
        with refusing(f"{name} in {self.place}"):
            words = pack_nonzero(entry.pattern()) if entry.words is None else entry.words()
            count = sum(map(count_not_finite, entry.sources))  # while the tensors are in memory
        if count:
            self.not_finite[name] = count
        for tensor in entry.sources:
            self.archive.release(tensor)
        return words

    def packed_masks(self) -> Iterator[tuple[str, Mask, int]]:
        """Yields (parameter, its mask as bits, bytes read for it), one after the other; errors as for `words`."""
        for name, entry in self.entries.items():
            yield name, Mask(entry.shape, self.words(name)), _nbytes(entry)


def open_checkpoint(
    source: Source,
    *,
    form: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    by_order: bool = False,
    translate: Translation | None = None,
    part: Part = WHOLE,
) -> OpenCheckpoint:
    """Opens a checkpoint of any form for reading its masks one by one; arguments and errors as for ``read_checkpoint``.

    ``translate`` turns the tensors that the file has into those that the model has today (other names, merged ones).

    Example:
        >>> checkpoint = open_checkpoint({"fc.weight": torch.tensor([[0.5, 0.0], [0.0, 0.0]])})
        >>> {name: packed.count() for name, packed, _ in checkpoint.packed_masks()}
        {'fc.weight': 1}
    """
    request = Request(None if parameters is None else shapes_of(parameters), by_order, named=form is not None)
    with refusing(place_of(source)):
        archive = opened(source)
        content = look_into(archive, part)
        chosen = form_of(content) if form is None else form_fitting(form, content)
        reading = chosen.read(content, request)
        rule, way_out = (
            f"a file read as {chosen.name} must hold masks in that form",
            "give all of the state dict, kernels too",
        )
        way_out = "leave form= out, so that the content decides" if request.named else way_out
        check(bool(reading.entries), rule, content.place, "none", way_out, MaskError)
        return _matched(archive, content, chosen.name, request, translate(reading) if translate else reading)


def opened(source: Source) -> Archive:
    """Returns the archive of a path, or of content that is already in memory."""
    if isinstance(source, str | os.PathLike):
        return open_archive(source)
    if isinstance(source, Mapping | Sequence) and not isinstance(source, bytes | bytearray):
        return Archive(place_of(source), source)
    raise CheckpointError(
        "a checkpoint must be a path, a mapping of names to tensors, or a list", received=type(source).__name__,
        way_out="give model.state_dict() for a module",
    )  # fmt: skip


def place_of(source: Source) -> str:
    """How messages call a source."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "the state dict"


def _matched(archive: Archive, content: Content, form: str, request: Request, reading: Reading) -> OpenCheckpoint:
    """What a form finds, under the names that the model gives its parameters."""
    parameters, own = request.parameters, reading.entries.keys()
    if parameters is None:
        return OpenCheckpoint(archive, form, reading.entries, reading.others, reading.ignored, (), content.notes)
    rename: Callable[[str], str] = str
    found = {name: name for name in own}
    if not reading.ordered:
        shapes = {name: entry.shape for name, entry in reading.entries.items()}
        found, rename = match(shapes, parameters, by_order=request.by_order)
    entries = {parameter: reading.entries[name] for name, parameter in found.items()}
    for name, entry in entries.items():
        check_same_shape(entry.shape, parameters[name], f"{name} in {content.place}", own=entry.weight is None)
    others = {rename(name): make for name, make in reading.others.items()}
    ignored = {rename(name): why for name, why in reading.ignored.items()}
    for name in (name for name in own if name not in found):
        ignored[name] = UNKNOWN
        make = reading.entries[name].weight
        if make is not None:
            others[name] = make
    missing = tuple(name for name in parameters if name not in entries)
    return OpenCheckpoint(archive, form, entries, others, ignored, missing, content.notes)


def shapes_of(parameters: Mapping[str, Any]) -> dict[str, Shape]:
    """{name: shape} of shapes, or of anything that has one."""
    return {name: tuple(int(size) for size in getattr(value, "shape", value)) for name, value in parameters.items()}


def not_finite_note(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Which weights are NaN or infinite, and how many entries of each; nothing where there are none."""
    names = [f"{name} ({count:,})" for name, count in counts.items()]
    return (f"NaN or infinite, counted as kept: {shown(names)}.",) if names else ()


def _nbytes(entry: Entry) -> int:
    """How many bytes the values of an entry's tensors take."""
    stored = map(stored_values, entry.sources)
    return sum(values.numel() * values.element_size() for values in stored)
