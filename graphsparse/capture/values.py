"""What a value of the captured program is to the graph: units, a parameter, or a constant."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Units:
    """A floating value: ``ids`` says which unit each element is (see `graphsparse.capture.units`).

    ``exclusive``: no other value of the program holds these units, so a bias or a scale may be put on them in place.
    """

    ids: torch.Tensor
    exclusive: bool = False

    @property
    def shape(self) -> torch.Size:
        return self.ids.shape


@dataclass(frozen=True, eq=False)
class Weight:
    """A parameter, or a view of one: ``view`` is a meta tensor whose offset and strides say where the view lies.

    ``transformed``: its entries are functions of the stored ones at the same place (weight norm, standardisation).
    ``entries``: the flat index of each element in the stored parameter, where a copy was made that no strides describe.
    """

    name: str
    view: torch.Tensor
    transformed: bool = False
    entries: torch.Tensor | None = None

    @property
    def layout(self) -> torch.Tensor:
        """What moving operations are applied to: the view, or the entries where there are some."""
        return self.view if self.entries is None else self.entries

    @property
    def shape(self) -> torch.Size:
        return self.view.shape


@dataclass(frozen=True, eq=False)
class Known:
    """A value that no input moves: computed as it is, or on the meta device where its content is not known.

    ``token``: the value is an integer input itself, so any index may come in its place.
    """

    tensor: torch.Tensor
    token: str | None = None

    @property
    def shape(self) -> torch.Size:
        return self.tensor.shape

    @property
    def known(self) -> bool:
        """Whether the content is known and not only the shape."""
        return not self.tensor.is_meta


Value = Units | Weight | Known
