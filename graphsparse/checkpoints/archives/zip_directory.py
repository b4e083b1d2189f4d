"""The directory of a zip file, believed only where it fits the file: no bombs, no two members in one place."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from graphsparse.errors import CheckpointError

# Honest masks compress well, a bomb compresses better: up to 200 times is an archive, beyond that (and beyond what
# costs nothing) it is refused before a member is read.
LARGEST_RATIO = 200
ALWAYS_ALLOWED = 1 << 25
_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")


def read_directory(path: Path, *, stored: bool) -> dict[str, zipfile.ZipInfo]:
    """Returns the members of a zip file by name, in the file's order.

    Args:
        path: the file.
        stored: whether every member must lie in the file uncompressed.

    Raises:
        CheckpointError: no zip file, truncated, a name twice, members that overlap, are encrypted, are compressed
            where they may not be, or declare sizes that only a bomb has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(
            "a zip archive ends in its directory",
            place=str(path),
            received=str(error)[:80],
            way_out="the file is damaged or cut short: copy or download it again",
        ) from error
    size = path.stat().st_size
    named = {member.filename: member for member in members}
    _check(len(named) == len(members), "a name appears once in an archive", path, "the same name twice")
    _check_sizes(members, size, path, stored)
    return named


def _check_sizes(members: list[zipfile.ZipInfo], size: int, path: Path, stored: bool) -> None:
    reached = 0
    for member in sorted(members, key=lambda each: each.header_offset):
        name = f"{member.filename} in {path}"
        plain = member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size
        _check(plain or not stored, "tensors lie uncompressed in a torch file", name, "a compressed member")
        _check(not member.flag_bits & 1, "an archive is not encrypted", name, "an encrypted member")
        begin, end = member.header_offset, member.header_offset + _LOCAL_HEADER.size + member.compress_size
        _check(reached <= begin and end <= size, "members lie one after another, within the file", name, f"{begin}")
        reached = end
    declared = sum(member.file_size for member in members)
    _check(
        declared <= max(ALWAYS_ALLOWED, LARGEST_RATIO * size),
        f"an archive unfolds to at most {LARGEST_RATIO} times its size",
        path,
        f"{declared:,} bytes declared in a file of {size:,}",
    )


def _check(holds: bool, rule: str, place: object, received: str) -> None:
    if not holds:
        way_out = "save it again with torch.save or numpy.savez, or as safetensors"
        raise CheckpointError(rule, place=str(place), received=received, way_out=way_out)


def data_offset(head: bytes, member: zipfile.ZipInfo) -> int:
    """Where in the file a member's bytes begin, from the 30 bytes of its local header."""
    if len(head) < _LOCAL_HEADER.size:
        raise CheckpointError("an archive's members have headers", place=member.filename)
    signature, *_, name_length, extra_length = _LOCAL_HEADER.unpack(head)
    if signature != b"PK\x03\x04":
        raise CheckpointError("an archive's members have headers", place=member.filename, received=repr(signature))
    return member.header_offset + _LOCAL_HEADER.size + name_length + extra_length
