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
    """

    name: str
    view: torch.Tensor
    transformed: bool = False

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
