"""What a value of the captured program is to the graph: units, a parameter, or a constant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

NEVER = -1
"""The entry of an element that is zero whatever the parameter holds."""


@dataclass(frozen=True, eq=False)
class Units:
    """A floating value: ``ids`` says which unit each element is (see `graphsparse.capture.units`)."""

    ids: torch.Tensor

    @property
    def shape(self) -> torch.Size:
        return self.ids.shape

    def moved(self, move: Callable[[torch.Tensor], torch.Tensor]) -> Units:
        """The value after an operation that only moves its elements."""
        return Units(move(self.ids))


@dataclass(frozen=True, eq=False)
class Masked(Units):
    """A value that is minus infinity where ``hidden`` (bool, of its shape) holds: there its exponential is zero."""

    hidden: torch.Tensor


@dataclass(frozen=True, eq=False)
class Weight:
    """A parameter, or a view of one: ``view`` is a meta tensor whose offset and strides say where the view lies.

    ``transformed``: its entries are functions of the stored ones at the same place (weight norm, standardisation).
    ``entries``: the flat index of each element in the stored parameter, where a copy was made that no strides describe.
    ``lifted``: numbers that the model computes are added to it, so that no element is surely zero.
    ``joint``: where several parameters were put together, the name of each, and for each place of the whole its flat
    index in that parameter, or NEVER; they are added up. ``entries`` then count the places of the whole.
    """

    name: str
    view: torch.Tensor
    transformed: bool = False
    entries: torch.Tensor | None = None
    joint: tuple[tuple[str, torch.Tensor], ...] | None = None
    lifted: bool = False

    @property
    def layout(self) -> torch.Tensor:
        """What moving operations are applied to: the view, or the entries where there are some."""
        return self.view if self.entries is None else self.entries

    @property
    def shape(self) -> torch.Size:
        return self.view.shape

    @property
    def index(self) -> torch.Tensor:
        """The flat index in the stored parameter of each element, or NEVER."""
        if self.entries is not None:
            return self.entries
        index = torch.full((), int(self.view.storage_offset()), dtype=torch.int64)
        for axis, (size, stride) in enumerate(zip(self.view.shape, self.view.stride(), strict=True)):
            shape = [1] * self.view.dim()
            shape[axis] = size
            index = index + (torch.arange(size) * stride).reshape(shape)
        return index.reshape(self.view.shape)

    def moved(self, move: Callable[[torch.Tensor], torch.Tensor]) -> Weight:
        """The weight after an operation that only moves its elements."""
        view = move(self.view)
        copied = self.entries is None and not view._is_view()
        return replace(self, view=view, entries=None if self.entries is None and not copied else move(self.index))

    def stored(self, layout: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        """The parameters that a layout of this weight reads, each by its name with a layout of its own."""
        if self.joint is None:
            yield self.name, layout
            return
        for name, places in self.joint:
            entries = torch.where(layout == NEVER, NEVER, places[layout])
            if bool((entries != NEVER).any()):
                yield name, entries


@dataclass(frozen=True, eq=False)
class Known:
    """A value that no input moves: computed as it is, or on the meta device where its content is not known.

    ``token``: the value is an integer input itself, so any index may come in its place.
    """

    tensor: torch.Tensor
    token: str | None = None

    @classmethod
    def of_shape(cls, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Known:
        """A value of which only the shape is known."""
        return cls(torch.empty(tuple(shape), dtype=dtype, device="meta"))

    @classmethod
    def of(cls, tensor: torch.Tensor, token: str | None = None) -> Known:
        """A tensor of the model or of its inputs, brought to the host, where graphs are made."""
        return cls(tensor if tensor.is_meta else tensor.cpu(), token)

    @property
    def shape(self) -> torch.Size:
        return self.tensor.shape

    @property
    def known(self) -> bool:
        """Whether the content is known and not only the shape."""
        return not self.tensor.is_meta

    def moved(self, move: Callable[[torch.Tensor], torch.Tensor]) -> Known:
        """The value after an operation that only moves its elements."""
        return Known(move(self.tensor), self.token)


def unknown(value: Any) -> Any:
    """A number of unknown size in place of a tensor; what is no tensor is left as it is."""
    return Known.of_shape(value.shape, value.dtype) if isinstance(value, torch.Tensor) else value


Value = Units | Weight | Known

Axes = int | Sequence[int] | None
"""What an operation takes as the axes that it goes over: one, several, or all of them where it is None."""

Sizes = int | Sequence[int]
"""What an operation takes as a size for each of its axes, or one for all."""
