"""Checkpoints larger than memory: what is in them without reading, and tensor by tensor with pages given back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from graphsparse.checkpoints.boundary import refusing
from graphsparse.checkpoints.content import WHOLE, Part, look_into
from graphsparse.checkpoints.names import Shape
from graphsparse.checkpoints.reading import LazyTensors, Plan, Source, Translation, opened, plan_reading, read_words
from graphsparse.kernels.masks import Mask


class TensorInfo(NamedTuple):
    """What a file says of a tensor before it is read."""

    shape: Shape
    dtype: torch.dtype
    nbytes: int


@dataclass(frozen=True, eq=False)
class OpenCheckpoint:
    """A checkpoint whose form and names are known, and of which nothing is read yet.

    Attributes:
        plan: the form, the parameters and what was left out.
    """

    plan: Plan

    @property
    def form(self) -> str:
        return self.plan.form.name

    @property
    def shapes(self) -> dict[str, Shape]:
        """{parameter: shape}, in the file's order."""
        return {name: entry.shape for name, entry in self.plan.entries.items()}

    @property
    def place(self) -> str:
        """The file."""
        return self.plan.archive.place

    @property
    def all_shapes(self) -> dict[str, Shape]:
        """{parameter or buffer: shape} of all tensors, unread."""
        return {**{name: tuple(make().shape) for name, make in self.plan.others.items()}, **self.shapes}

    @property
    def has_weights(self) -> bool:
        """Whether the file holds weights, not masks alone."""
        return any(entry.weight is not None for entry in self.plan.entries.values())

    @property
    def weights(self) -> Mapping[str, torch.Tensor]:
        """{parameter or buffer: tensor}, each read when it is asked for; empty for a file of masks alone."""
        makers = {name: entry.weight for name, entry in self.plan.entries.items() if entry.weight is not None}
        return LazyTensors({**makers, **self.plan.others} if makers else {}, self.place)

    @property
    def ignored(self) -> Mapping[str, str]:
        return self.plan.ignored

    @property
    def missing(self) -> tuple[str, ...]:
        return self.plan.missing

    @property
    def nbytes(self) -> int:
        """Bytes that ``packed_masks`` reads in all, for progress bars."""
        return sum(_nbytes(*entry.sources) for entry in self.plan.entries.values())

    def packed_masks(self) -> Iterator[tuple[str, Mask, int]]:
        """Yields (parameter, its mask as bits, bytes read for it), each tensor read once and its memory given back.

        Raises:
            CheckpointError, MaskError: what the file holds there is damaged or no mask.
        """
        for name, entry in self.plan.entries.items():
            yield name, Mask(entry.shape, read_words(entry, name, self.plan)), _nbytes(*entry.sources)


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
    return OpenCheckpoint(
        plan_reading(source, form=form, parameters=parameters, by_order=by_order, translate=translate, part=part)
    )


def list_tensors(path: str | os.PathLike[str]) -> dict[str, TensorInfo]:
    """Returns {name: shape, dtype and size} of a file's tensors as it names them, wrappers stripped, unread."""
    with refusing(os.fspath(path)):
        content = look_into(opened(path))
    return {name: TensorInfo(tuple(t.shape), t.dtype, _nbytes(t)) for name, t in content.tensors.items()}


def tensors(path: str | os.PathLike[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields (name, tensor) of a file, unread until it is used; its memory is given back when the next is asked for."""
    with refusing(os.fspath(path)):
        archive = opened(path)
        content = look_into(archive)
    for name, tensor in content.tensors.items():
        yield name, tensor
        archive.release(tensor)


def _nbytes(*tensors: torch.Tensor) -> int:
    return sum(t.numel() * t.element_size() if t.layout == torch.strided else _sparse_nbytes(t) for t in tensors)


def _sparse_nbytes(tensor: torch.Tensor) -> int:
    values = tensor._values() if tensor.layout == torch.sparse_coo else tensor.values()
    return values.numel() * values.element_size()
