"""What an opened file is, however its bytes are laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


def _nothing(*_: Any) -> None:
    """Nothing is mapped, or nothing has a check sum."""


@dataclass(frozen=True, eq=False)
class Archive:
    """A file's tensors, mapped and not yet read, as the file nests them.

    Attributes:
        place: the file, for messages.
        content: a mapping or list of tensors, as nested in the file.
        metadata: text that the file carries beside its tensors.
        file_bytes: size of the file or files on disk; None for content that came from no file.
        release: gives a tensor's pages of memory back to the system; the tensor stays valid.
        check_sums: reads all of the file and compares its check sums, where it has some that are not compared yet.
    """

    place: str
    content: Any
    metadata: Mapping[str, str] = field(default_factory=dict)
    file_bytes: int | None = None
    release: Callable[[Any], None] = _nothing
    check_sums: Callable[[], None] = _nothing
