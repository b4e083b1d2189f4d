"""The directory of a zip file, believed only where it fits the file: no bombs, no two members in one place.

Readers of zip files differ in where they look for the directory: Python's takes the one before the end record and
allows bytes before the archive, torch's takes the offset that the end record gives. A file with two directories is
one archive for the one and another for the other. So a file must have one directory that both readers find.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from graphsparse.checkpoints.boundary import CUT_SHORT
from graphsparse.errors import CheckpointError

# What is compressed is unfolded in memory, beside the masks that are read from it: twice the file, and what costs
# little in any case, is read; more is refused before a member is.
LARGEST_RATIO = 2
ALWAYS_ALLOWED = 28 << 20
_PART = 1 << 20  # bytes read at a time
_MEMBER_COST = 700  # bytes of memory that a member's description takes
_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
# signature, disk, disk of the directory, members here, members in all, bytes of the directory, its offset, comment
_END = struct.Struct("<4sHHHHIIH")
# signature, bytes of the record, versions, disks, members here, members in all, bytes of the directory, its offset
_END_64 = struct.Struct("<4sQHHIIQQQQ")
_16, _32 = (1 << 16) - 1, (1 << 32) - 1  # "see the 64-bit record"
_ONE_DIRECTORY = "an archive must have one directory, and nothing before or after the archive"
_LOCATOR_64 = struct.Struct("<4sIQI")  # signature, disk, offset of the 64-bit end record, disks


def read_directory(path: Path, *, stored: bool) -> dict[str, zipfile.ZipInfo]:
    """Returns the members of a zip file by name, in the file's order.

    The file has one directory, the same for every reader: see `check_one_directory`.

    Args:
        path: the file.
        stored: whether every member must lie in the file uncompressed.

    Raises:
        CheckpointError: no zip file, truncated, several directories, bytes before the archive or after it, a name
            twice, members that overlap, are encrypted, are compressed where they may not be, or declare sizes that
            only a bomb has.
    """
    with path.open("rb") as file:
        return directory_of(file, str(path), stored=stored)


def directory_of(file: BinaryIO, place: str, *, stored: bool) -> dict[str, zipfile.ZipInfo]:
    """The same as `read_directory` for an open file, as for an archive inside another; ``place`` is for messages."""
    size, declared = file.seek(0, os.SEEK_END), check_one_directory(file, place)
    _check(declared * _MEMBER_COST <= max(ALWAYS_ALLOWED, 4 * size), "an archive's members must have content", place,
           f"{declared:,} members in {size:,} bytes")  # fmt: skip
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError, RuntimeError) as error:
        raise _cut_short(place, str(error)[:80]) from error
    _check(len(members) == declared, _ONE_DIRECTORY, place, f"{len(members)} members where {declared} are declared")
    named = {member.filename: member for member in members}
    # torch looks members up without regard to case
    distinct = {name.lower() for name in named} if stored else named.keys()
    _check(len(distinct) == len(members), "a name must appear once in an archive", place, "the same name twice")
    _check_sizes(members, size, place, stored)
    return named


def check_one_directory(file: BinaryIO, place: str) -> int:
    """Returns how many members an archive declares, where every reader of zip files finds the same directory.

    The end record is the file's last 22 bytes (no comment), a 64-bit one lies directly before it and says the same,
    and the directory lies directly before these, at the absolute offset that they give.

    Args:
        file: the archive, open for reading, its first byte the archive's first.
        place: the file, for messages.

    Raises:
        CheckpointError: no end record, two directories, or bytes before the archive or after it.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size - _LOCATOR_64.size - _END_64.size))
    tail = file.read()
    record, locator, record_64 = (
        tail[-_END.size :],
        tail[-_END.size - _LOCATOR_64.size : -_END.size],
        tail[: _END_64.size],
    )
    if len(record) < _END.size or record[:4] != b"PK\5\6":
        raise _cut_short(place, "no end record in the last 22 bytes")
    _, *disks, here, in_all, length, offset, comment = _END.unpack(record)
    end = size - _END.size
    if locator[:4] == b"PK\6\7":
        end -= _LOCATOR_64.size + _END_64.size
        _check(end >= 0 and record_64[:4] == b"PK\6\6", _ONE_DIRECTORY, place, "a second end record elsewhere")
        _, bytes_64, _, _, *disks_64, here_64, in_all_64, length_64, offset_64 = _END_64.unpack(record_64)
        short, long = (here, in_all, length, offset), (here_64, in_all_64, length_64, offset_64)
        same = all(a in (b, largest) for a, b, largest in zip(short, long, (_16, _16, _32, _32), strict=True))
        whole = bytes_64 == _END_64.size - 12 and _LOCATOR_64.unpack(locator)[1:] == (0, end, 1)
        _check(same and whole, _ONE_DIRECTORY, place, "two end records that differ")
        disks, (here, in_all, length, offset) = disks + disks_64, long
    _check(
        not any(disks) and not comment and here == in_all, _ONE_DIRECTORY, place, "an archive in pieces, or a comment"
    )
    _check(offset + length == end, _ONE_DIRECTORY, place, f"a directory at {offset:,} that ends before {end:,}")
    return in_all


def _cut_short(place: str, received: str) -> CheckpointError:
    return CheckpointError("a zip archive must end in its directory", place=place, received=received, way_out=CUT_SHORT)


def _check_sizes(members: list[zipfile.ZipInfo], size: int, path: str, stored: bool) -> None:
    first = min((member.header_offset for member in members), default=0)
    _check(first == 0, _ONE_DIRECTORY, path, f"{first:,} bytes before the archive")
    reached = 0
    for member in sorted(members, key=lambda each: each.header_offset):
        name = f"{member.filename} in {path}"
        plain = member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size
        _check(plain or not stored, "tensors must lie uncompressed in a torch file", name, "a compressed member")
        _check(not member.flag_bits & 1, "an archive must not be encrypted", name, "an encrypted member")
        begin, end = member.header_offset, member.header_offset + _LOCAL_HEADER.size + member.compress_size
        _check(
            reached <= begin and end <= size, "members must lie one after another, within the file", name, f"{begin}"
        )
        reached = end
    declared = sum(member.file_size for member in members)
    _check(
        declared <= max(ALWAYS_ALLOWED, LARGEST_RATIO * size),
        f"an archive must unfold to at most {LARGEST_RATIO} times its size",
        path,
        f"{declared:,} bytes declared in a file of {size:,}",
    )


def _check(holds: bool, rule: str, place: object, received: str) -> None:
    if not holds:
        way_out = "save it again with torch.save or numpy.savez, or as safetensors"
        raise CheckpointError(rule, place=str(place), received=received, way_out=way_out)


def check_sums(path: Path) -> None:
    """Reads every member that lies uncompressed in a zip file, and compares its check sum with the directory's.

    A check sum of 0 is none: torch writes so after ``torch.serialization.set_crc32_options(False)``.

    Raises:
        CheckpointError: they differ.
    """
    members = read_directory(path, stored=True)
    with path.open("rb") as file:
        for name, member in members.items():
            file.seek(member.header_offset)
            file.seek(data_offset(file.read(_LOCAL_HEADER.size), member))
            found, left = 0, member.file_size
            while left and (part := file.read(min(left, _PART))):
                found, left = zlib.crc32(part, found), left - len(part)
            _check(found == member.CRC or not member.CRC, "a member must have the check sum of its bytes", f"{name} in {path}",
                   "another one: the file is damaged")  # fmt: skip


def data_offset(head: bytes, member: zipfile.ZipInfo) -> int:
    """Where in the file a member's bytes begin, from the 30 bytes of its local header."""
    if len(head) < _LOCAL_HEADER.size:
        raise CheckpointError("an archive's members must have headers", place=member.filename)
    signature, *_, name_length, extra_length = _LOCAL_HEADER.unpack(head)
    if signature != b"PK\x03\x04":
        raise CheckpointError("an archive's members must have headers", place=member.filename, received=repr(signature))
    return member.header_offset + _LOCAL_HEADER.size + name_length + extra_length
