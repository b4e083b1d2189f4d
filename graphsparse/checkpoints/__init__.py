"""Masks and weights in files: any form that people have, read without running code; the seven that are written."""

from graphsparse.checkpoints.archives.program import StoredProgram, open_program
from graphsparse.checkpoints.checks import pack_nonzero
from graphsparse.checkpoints.content import WHOLE, Part
from graphsparse.checkpoints.forms import FORMS
from graphsparse.checkpoints.forms.zeros import ReadsAsPruned
from graphsparse.checkpoints.opening import OpenCheckpoint, open_checkpoint
from graphsparse.checkpoints.reading import Checkpoint, PartialMatch, read_checkpoint, read_masks
from graphsparse.checkpoints.writing import (
    check_target,
    convert,
    endings,
    write_checkpoint,
    write_masks_file,
    written_forms,
)

__all__ = [
    "FORMS", "WHOLE", "Checkpoint", "OpenCheckpoint", "Part", "PartialMatch", "ReadsAsPruned", "StoredProgram",
    "check_target", "convert", "endings", "open_checkpoint", "open_program", "pack_nonzero", "read_checkpoint",
    "read_masks", "write_checkpoint", "write_masks_file", "written_forms",
]  # fmt: skip
