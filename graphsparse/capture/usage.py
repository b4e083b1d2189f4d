"""How a program uses its parameters, as capture finds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch


@dataclass
class Usage:
    """Names of parameters by what the program does with them.

    Args:
        apart: the parameter of each use that has a mask of its own, by the mask's key.
        kernels: those that have connections.
        modulators: biases and scales, which have none.
        scales: those of the modulators that are scales.
        read: all that a call of the program reads.
        tables: those that each input indexes.
        rows: the rows of those as sources, each with the module that reads the table.
    """

    apart: Mapping[str, str] = field(default_factory=dict)
    kernels: set[str] = field(default_factory=set)
    modulators: set[str] = field(default_factory=set)
    scales: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    tables: dict[str, list[str]] = field(default_factory=dict)
    rows: list[tuple[str, torch.Tensor]] = field(default_factory=list)

    def parameter_of(self, weight: str) -> str:
        """The parameter that a weight counts for: where the use has a mask of its own, the weight has the mask's key."""
        return self.apart.get(weight, weight)
