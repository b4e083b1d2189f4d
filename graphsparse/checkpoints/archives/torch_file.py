"""Files of torch.save: the zip form, mapped and unread; the old form from before torch 1.6, read whole."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch

from graphsparse.checkpoints.archives.archive import Archive
from graphsparse.checkpoints.archives.pending import Pending
from graphsparse.checkpoints.archives.zip_directory import read_directory
from graphsparse.errors import CheckpointError

_SAFE_WAY_OUT = (
    "where you trust it, load it yourself and save torch.save(model.state_dict(), ...) or a safetensors file of it"
)

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def read(path: Path) -> Archive:
    """Returns what torch.save wrote, as nested; tensors of the zip form stay unread until they are used.

    Nothing in the file is run: torch's own unpickler of tensors and plain containers reads it
    (``weights_only=True``), and everything else is refused.

    Raises:
        CheckpointError: the file is damaged, a bomb, or asks for code to be run.
    """
    zipped = zipfile.is_zipfile(path)
    if zipped:
        _check_no_program(read_directory(path, stored=False), path)
        read_directory(path, stored=True)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # a stranger's bytes make torch raise anything
        raise refusal(error, str(path)) from error
    return Archive(str(path), "torch", content, {}, path.stat().st_size)


def write(file: BinaryIO, tensors: Mapping[str, Pending], metadata: Mapping[str, str]) -> None:
    """Writes the tensors as one state dict (the form has no place for metadata)."""
    torch.save({name: pending.tensor().contiguous() for name, pending in tensors.items()}, file)


def _check_no_program(members: Mapping[str, zipfile.ZipInfo], path: Path) -> None:
    if any(re.search(r"(^|/)(constants\.pkl|code/)", name) for name in members):
        raise CheckpointError(
            "a checkpoint holds tensors, not a program", place=str(path), received="a TorchScript archive",
            way_out="save torch.jit.load(...).state_dict() of it with torch.save",
        )  # fmt: skip


def refusal(error: Exception, place: str) -> CheckpointError:
    """The error of this package for what torch's safe unpickler raised."""
    text = str(error)
    if "weights_only" in text or "Weights only" in text:
        wanted, cause = _GLOBAL.search(text), text.partition("WeightsUnpickler error:")[2].strip()
        received = f"a pickle that asks for {wanted[1]}" if wanted else cause.partition("\n")[0][:80] or None
        return CheckpointError(
            "a checkpoint is never unpickled with code execution", place=place, received=received, way_out=_SAFE_WAY_OUT
        )
    reason = f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"[:160]
    return CheckpointError(
        "a torch checkpoint reads as torch.save wrote it", place=place, received=reason,
        way_out="the file is damaged or cut short: copy or download it again",
    )  # fmt: skip
