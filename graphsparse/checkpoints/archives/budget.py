"""What reading one file may cost: bytes of memory, counted before they are taken."""

from __future__ import annotations

from dataclasses import dataclass

from graphsparse.errors import CheckpointError

ALWAYS_ALLOWED = 48 << 20  # bytes; a small file may cost this much
TIMES_THE_FILE = 3  # with the masks that are read from it, memory stays within four times the file
TENSOR = 700  # bytes that a tensor takes beside its elements
_RULE = f"what a file holds must bear out its size: at most {TIMES_THE_FILE} times its bytes, as tensors and objects"
_WAY_OUT = "check where the file comes from; an honest one can be saved dense as safetensors"


@dataclass
class Budget:
    """The bytes that may still be spent on one file. It changes: everything that the file costs is counted in it.

    Attributes:
        left: bytes.
        place: the file, for messages.
    """

    left: int
    place: str

    @classmethod
    def of_file(cls, file_bytes: int, place: str) -> Budget:
        """The budget of a file of this size."""
        return cls(max(ALWAYS_ALLOWED, TIMES_THE_FILE * file_bytes), place)

    def spend(self, count: int) -> None:
        """Counts bytes that are about to be needed. Raises where they are more than the file may cost."""
        self.left -= count
        if self.left < 0:
            raise CheckpointError(_RULE, place=self.place, way_out=_WAY_OUT)
