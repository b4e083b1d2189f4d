"""Masks and weights of any file, under the names that the model gives its parameters."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from graphsparse.checkpoints.archives import Archive, open_archive
from graphsparse.checkpoints.boundary import refusing
from graphsparse.checkpoints.checks import check_same_shape, count_not_finite
from graphsparse.checkpoints.content import WHOLE, Content, Part, Request, look_into
from graphsparse.checkpoints.forms import Entry, Form, Reading, form_fitting, form_of
from graphsparse.checkpoints.names import UNKNOWN, Matching, Shape, match, shown, unknown
from graphsparse.checkpoints.packing import pack_nonzero
from graphsparse.errors import CheckpointError, MaskError
from graphsparse.kernels.masks import unpack
from graphsparse.kernels.threads import each

Source = str | os.PathLike[str] | Mapping[str, Any] | Sequence[Any]
Translation = Callable[[Reading], Reading]


class PartialMatch(UserWarning):
    """A file's masks and a model's parameters match in part; the text lists both sides."""


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
class Plan:
    """A file whose form is known and whose names are matched; no mask of it is read yet.

    Attributes:
        archive: the file.
        form: its form.
        entries: {parameter: its mask, unread}, in the file's order.
        others: {name: makes the tensor}, buffers and what else is no parameter.
        ignored: {name in the file: why it is no mask of a parameter}.
        missing: parameters of the model that the file has no mask for; empty where no model was given.
        notes: which of several state dicts was taken.
        not_finite: {parameter: how many of its entries are NaN or infinite}, filled as tensors are read.
    """

    archive: Archive
    form: Form
    entries: Mapping[str, Entry]
    others: Mapping[str, Callable[[], torch.Tensor]]
    ignored: Mapping[str, str]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()
    not_finite: dict[str, int] = field(default_factory=dict)

    def told(self) -> tuple[str, ...]:
        """What a reader of the masks should know, once they are read."""
        return (*self.notes, *not_finite_note(self.not_finite))

    @property
    def by_zeros(self) -> frozenset[str]:
        """The parameters whose mask is only what is not zero in their weight."""
        return frozenset(name for name, entry in self.entries.items() if entry.by_zeros)


def not_finite_note(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Which weights are NaN or infinite, and how many entries of each; nothing where there are none."""
    if not counts:
        return ()
    return (f"NaN or infinite, counted as kept: {shown([f'{name} ({count:,})' for name, count in counts.items()])}.",)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file says of a network's connections.

    Attributes:
        place: the file.
        form: the form that it was read in.
        masks: {parameter: bool tensor}, True = kept.
        weights: {parameter or buffer: tensor} without any pruning reparametrisation, made when asked for (so that the
            weights of a large file are not all in memory); empty for a file of masks alone. A weight of ``prune``
            and its kin is the unpruned original.
        ignored: {name in the file: why it is no mask of a parameter}.
        missing: parameters of the model that the file has no mask for; empty where no model was given.
        notes: which of several state dicts was taken.
        by_zeros: the parameters whose mask is only what is not zero in their weight.
    """

    place: str
    form: str
    masks: Mapping[str, torch.Tensor]
    weights: Mapping[str, torch.Tensor]
    ignored: Mapping[str, str]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = ()
    by_zeros: frozenset[str] = frozenset()


def read_checkpoint(
    source: Source,
    *,
    form: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    by_order: bool = False,
    part: Part = WHOLE,
) -> Checkpoint:
    """Returns the masks of a checkpoint, with what was left out on both sides. Nothing in the file is executed.

    Args:
        source: a file, a folder, an index of shards, or the content itself: a state dict, a table or list of masks.
        form: the form to read it in (``FORMS`` lists them); by default it is told from the content.
        parameters: the model's parameters, {name: shape, or anything with a ``shape``}; then names are matched
            (equal; or equal but for ``module.``, ``_orig_mod.`` or one common prefix) and shapes are checked.
        by_order: match by order where the file has no names, or none in common; all shapes must fit.
        part: which of the file's tensors are meant.

    Raises:
        CheckpointError: the file is damaged, of no form or of several, or could be read only by running code.
        MaskError: a mask holds other values than 0 and 1, or fits no weight; or no name is a parameter's.

    Example:
        >>> checkpoint = read_checkpoint({"fc.weight_orig": torch.ones(1, 2), "fc.weight_mask": torch.tensor([[1.0, 0.0]])})
        >>> checkpoint.form, checkpoint.masks
        ('prune', {'fc.weight': tensor([[ True, False]])})
    """
    return read_planned(plan_reading(source, form=form, parameters=parameters, by_order=by_order, part=part))


def read_planned(plan: Plan) -> Checkpoint:
    """Returns the masks of a plan; errors as for ``read_checkpoint``."""
    masks = _read_masks(plan)
    makers = {name: entry.weight for name, entry in plan.entries.items() if entry.weight is not None}
    return Checkpoint(
        plan.archive.place,
        plan.form.name,
        masks,
        LazyTensors({**makers, **plan.others}, plan.archive.place),
        MappingProxyType(dict(plan.ignored)),
        plan.missing,
        plan.told(),
        plan.by_zeros,
    )


def read_masks(
    path_or_mapping: Source,
    *,
    form: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    by_order: bool = False,
    key: str | None = None,
    ignore: str | Iterable[str] = (),
    prefix: str | None = None,
) -> dict[str, torch.Tensor]:
    """Returns {parameter: bool tensor, True = kept} of a checkpoint in any form.

    Args:
        path_or_mapping, form, parameters, by_order: as for ``read_checkpoint``.
        key: the entry of the file that is meant, where it holds several models (``"model_ema"``, ``"nets/G"``).
        ignore: patterns of names to leave out, as ``"criterion.*"``; one or several.
        prefix: take only the names that begin so, and leave that beginning out (``"net."``).

    Names are those of ``model.named_parameters()`` without any pruning reparametrisation. Where a model's parameters
    are given and the match is not complete, a ``PartialMatch`` warning lists both sides; where nothing matches, an
    error does.

    Example:
        >>> read_masks({"fc.weight": torch.tensor([[0.5, 0.0]])})
        {'fc.weight': tensor([[ True, False]])}
    """
    part = Part.of(key, ignore, prefix)
    checkpoint = read_checkpoint(path_or_mapping, form=form, parameters=parameters, by_order=by_order, part=part)
    tell_partial(checkpoint, parameters)
    return dict(checkpoint.masks)


def tell_partial(checkpoint: Checkpoint | Plan, parameters: Mapping[str, Any] | None) -> None:
    """Warns where masks of the file fit no parameter, or kernels of the model have no mask."""
    if parameters is None:
        return
    shapes = _shapes(parameters)
    kernels = [name for name in checkpoint.missing if len(shapes[name]) > 1]
    strange = unknown(checkpoint.ignored)
    if not kernels and not strange:
        return
    parts = []
    if strange:
        parts.append(f"the file's {shown(strange)} are no parameters of the model")
    if kernels:
        parts.append(f"the model's {shown(kernels)} have no mask in the file")
    warnings.warn("; ".join(parts), PartialMatch, stacklevel=3)


def plan_reading(
    source: Source,
    *,
    form: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    by_order: bool = False,
    translate: Translation | None = None,
    part: Part = WHOLE,
) -> Plan:
    """Returns what ``read_checkpoint`` would read, before it is read. Arguments and errors as there.

    ``translate`` turns the tensors that the file has into those that the model has today (other names, merged ones).
    """
    request = Request(None if parameters is None else _shapes(parameters), by_order, named=form is not None)
    with refusing(place_of(source)):
        archive = opened(source)
        content = look_into(archive, part)
        chosen = form_of(content) if form is None else form_fitting(form, content)
        reading = chosen.read(content, request)
        return _planned(archive, content, chosen, request, translate(reading) if translate else reading)


def opened(source: Source) -> Archive:
    """Returns the archive of a path, or of content that is already in memory."""
    if isinstance(source, str | os.PathLike):
        return open_archive(source)
    if isinstance(source, Mapping | Sequence) and not isinstance(source, bytes | bytearray):
        return Archive(place_of(source), "mapping", source)
    raise CheckpointError(
        "a checkpoint must be a path, a mapping of names to tensors, or a list", received=type(source).__name__,
        way_out="give model.state_dict() for a module",
    )  # fmt: skip


def place_of(source: Source) -> str:
    """How messages call a source."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "the state dict"


def _read_masks(plan: Plan) -> dict[str, torch.Tensor]:
    """All masks in the file's order; bits are read and checked side by side, for a check sum goes by one core."""
    packed = [(name, entry) for name, entry in plan.entries.items() if entry.words is not None]
    work = sum(math.prod(entry.shape) // 8 for _, entry in packed)
    words = dict(each(lambda item: (item[0], read_words(item[1], item[0], plan)), packed, work))
    masks = {}
    for name, entry in plan.entries.items():
        bits = words.pop(name) if name in words else read_words(entry, name, plan)
        with refusing(f"{name} in {plan.archive.place}"):
            masks[name] = torch.from_numpy(unpack(bits, entry.shape))
    return masks


def _leave(entry: Entry, name: str, plan: Plan) -> None:
    """Look for what is not finite while the tensors are at hand, and give the file's pages back."""
    with refusing(f"{name} in {plan.archive.place}"):
        count = sum(count_not_finite(tensor) for tensor in entry.sources)
    if count:
        plan.not_finite[name] = count
    for tensor in entry.sources:
        plan.archive.release(tensor)


def read_words(entry: Entry, name: str, plan: Plan) -> np.ndarray:
    """Returns the kept connections of one parameter as bits, and gives the file's pages back.

    Raises:
        CheckpointError, MaskError: what the file holds there is damaged or no mask.
    """
    with refusing(f"{name} in {plan.archive.place}"):
        words = pack_nonzero(entry.pattern()) if entry.words is None else entry.words()
    _leave(entry, name, plan)
    return words


def _planned(archive: Archive, content: Content, form: Form, request: Request, reading: Reading) -> Plan:
    if not reading.entries:
        raise MaskError(
            f"a file read as {form.name} must hold masks in that form", place=content.place, received="none",
            way_out="leave form= out, so that the content decides" if request.named else "give all of the state dict, kernels too",
        )  # fmt: skip
    parameters = request.parameters
    if parameters is None:
        return Plan(archive, form, reading.entries, reading.others, reading.ignored, (), content.notes)
    own = reading.entries.keys()
    if reading.ordered:
        matching = Matching({name: name for name in own}, (), tuple(name for name in parameters if name not in own))
    else:
        matching = match({name: reading.entries[name].shape for name in own}, parameters, by_order=request.by_order)
    entries = {parameter: reading.entries[name] for name, parameter in matching.found.items()}
    for name, entry in entries.items():
        check_same_shape(entry.shape, parameters[name], f"{name} in {content.place}", own=entry.weight is None)
    others = {matching.rename(name): make for name, make in reading.others.items()}
    ignored = {matching.rename(name): why for name, why in reading.ignored.items()}
    for name in matching.unknown:
        ignored[name] = UNKNOWN
        make = reading.entries[name].weight
        if make is not None:
            others[name] = make
    return Plan(archive, form, entries, others, ignored, matching.missing, content.notes)


def _shapes(parameters: Mapping[str, Any]) -> dict[str, Shape]:
    return {name: tuple(int(size) for size in getattr(value, "shape", value)) for name, value in parameters.items()}
