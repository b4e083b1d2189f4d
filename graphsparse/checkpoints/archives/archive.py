"""What an opened file is, whichever way its bytes are laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


def _keep(tensor: torch.Tensor) -> None:
    """Nothing is mapped, so there is nothing to let go."""


def _nothing() -> None:
    """The kind of file has no check sums."""


@dataclass(frozen=True, eq=False)
class Archive:
    """A file's tensors, mapped and not yet read, as the file nests them.

    Attributes:
        place: the file, for messages.
        content: a mapping or list of tensors, as nested in the file.
        metadata: text that the file carries beside its tensors.
        file_bytes: size of the file or files on disk; None when there is none.
        release: gives a tensor's pages of memory back to the system; the tensor stays valid.
        check_sums: reads all of the file and compares its check sums, where its kind has some that nobody has looked at.
    """

    place: str
    content: Any
    metadata: Mapping[str, str] = field(default_factory=dict)
    file_bytes: int | None = None
    release: Callable[[torch.Tensor], None] = _keep
    check_sums: Callable[[], None] = _nothing
