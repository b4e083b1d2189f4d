"""Layers: the parts of the multipartite graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphsparse.blocks import Block, Gate, Stage
from graphsparse.kernels.rows import owners


@dataclass(frozen=True, eq=False)
class Layer:
    """The units that one operation makes: ids ``start`` to ``stop - 1``.

    ``blocks`` bring values to the units from earlier layers; ``stages`` then lift or scale units, in order. ``rank`` is
    the length of the longest path of layers from an input, ``module`` the path of the operation's module. Products of
    matrices of activations have ``matrices``, int32 (units,): which matrix each unit is in, for example of which head.
    """

    name: str
    operation: str
    start: int
    stop: int
    rank: int
    blocks: tuple[Block, ...] = ()
    stages: tuple[Stage, ...] = ()
    module: str = ""
    matrices: np.ndarray | None = None

    def __len__(self) -> int:
        return self.stop - self.start

    def __repr__(self) -> str:
        return f"Layer({self.name!r}, {self.operation!r}, units={self.start}:{self.stop}, rank={self.rank})"


def feeding(block: Block, owner: np.ndarray) -> list[int]:
    """The indices of the layers that a block reads, ascending; ``owner`` gives the layer of each unit."""
    read = (block.lefts, block.rights) if isinstance(block, Gate) else (block.sources,)
    return sorted({layer for ids in read for layer in owners(ids, owner)})
