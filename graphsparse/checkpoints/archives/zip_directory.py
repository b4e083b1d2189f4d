"""The members of a zip file, believed only where they fit the file: no bombs, no two members in one place.

Readers of zip files differ in where they look for the directory: Python's takes the one before the end record and
allows bytes before the archive, torch's takes the offset that the end record gives. A file with two directories is
one archive for the one and another for the other. So a file must have one directory that both readers find.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from graphsparse.checkpoints.archives.mapped import Octets
from graphsparse.checkpoints.boundary import DAMAGED, check
from graphsparse.errors import CheckpointError

# What is compressed is unfolded in memory, beside the masks that are read from it: twice the file, and what costs
# little in any case, is read; more is refused before a member is.
LARGEST_RATIO = 2
ALWAYS_ALLOWED = 28 << 20
_MEMBER_COST = 700  # bytes of memory that a member's description takes
_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
# signature, disk, disk of the directory, members here, members in all, bytes of the directory, its offset, comment
_END = struct.Struct("<4sHHHHIIH")
# signature, bytes of the record, versions, disks, members here, members in all, bytes of the directory, its offset
_END_64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR_64 = struct.Struct("<4sIQI")  # signature, disk, offset of the 64-bit end record, disks
_16, _32 = (1 << 16) - 1, (1 << 32) - 1  # "see the 64-bit record"
_ONE_DIRECTORY = "an archive must have one directory, and nothing before or after the archive"

_check = partial(check, way_out="save it again with torch.save or numpy.savez, or as safetensors")


@dataclass(frozen=True, eq=False)
class Members:
    """The members of a zip archive, by name in the file's order, and the bytes that they lie in."""

    octets: Octets
    table: Mapping[str, zipfile.ZipInfo]

    @classmethod
    def of(cls, octets: Octets, *, stored: bool) -> Members:
        """The members of these bytes, which are one archive with one directory: see `_declared`.

        Args:
            octets: the archive, a file or a part of one.
            stored: whether every member must lie there uncompressed.

        Raises:
            CheckpointError: no zip file, truncated, several directories, bytes before the archive or after it, a name
                twice, members that overlap, are encrypted, are compressed where they may not be, or declare sizes
                that only a bomb has.
        """
        place, declared = octets.place, _declared(octets)
        few, received = max(ALWAYS_ALLOWED, 4 * octets.size), f"{declared:,} members in {octets.size:,} bytes"
        _check(declared * _MEMBER_COST <= few, "an archive's members must have content", place, received)
        try:
            with zipfile.ZipFile(octets.stream()) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, struct.error, NotImplementedError, RuntimeError) as error:
            raise _cut_short(place, str(error)[:80]) from error
        _check(len(members) == declared, _ONE_DIRECTORY, place, f"{len(members)} members where {declared} are declared")
        named = {member.filename: member for member in members}
        # torch looks members up without regard to case
        distinct = {name.lower() for name in named} if stored else named.keys()
        _check(len(distinct) == len(members), "a name must appear once in an archive", place, "the same name twice")
        _check_sizes(members, octets.size, place, stored)
        return cls(octets, named)

    def within(self, name: str) -> str:
        """A member's name, for messages."""
        return f"{name} in {self.octets.place}"

    def span(self, name: str) -> tuple[int, int]:
        """Where a member's bytes begin and end. Raises where it has no local header, or ends beyond the file."""
        member = self.table[name]
        head = self.octets.bytes(member.header_offset, member.header_offset + _LOCAL_HEADER.size)
        headed = len(head) == _LOCAL_HEADER.size and head[:4] == b"PK\3\4"
        check(headed, "an archive's members must have headers", self.within(name), repr(head[:4]))
        *_, name_length, extra_length = _LOCAL_HEADER.unpack(head)
        begin = member.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        end, size = begin + member.file_size, self.octets.size
        check(end <= size, "members must lie within their archive", self.within(name), f"{end:,} bytes of {size:,}")
        return begin, end

    def bytes(self, name: str) -> bytes:
        """A member's bytes, of one that is stored."""
        return self.octets.bytes(*self.span(name))


def check_sums(octets: Octets) -> None:
    """Reads every member of a zip archive without compression, and compares its check sum with the directory's.

    Raises where they differ. A check sum of 0 is none: torch writes it after
    ``torch.serialization.set_crc32_options(False)``.
    """
    members = Members.of(octets, stored=True)
    for name, member in members.table.items():
        same = not member.CRC or zlib.crc32(octets.view(*members.span(name))) == member.CRC
        received = "another one: the file is damaged"
        _check(same, "a member must have the check sum of its bytes", members.within(name), received)


def _declared(octets: Octets) -> int:
    """How many members an archive declares, where every reader of zip files finds the same directory.

    The end record is the last 22 bytes (no comment), a 64-bit one lies directly before it and says the same, and the
    directory lies directly before these, at the absolute offset that they give. Raises where it is not so.
    """
    end, place = octets.size - _END.size, octets.place
    record = octets.bytes(max(0, end), octets.size)
    if len(record) < _END.size or record[:4] != b"PK\5\6":
        raise _cut_short(place, "no end record in the last 22 bytes")
    _, *disks, here, in_all, length, offset, comment = _END.unpack(record)
    locator = octets.bytes(max(0, end - _LOCATOR_64.size), end)
    if locator[:4] == b"PK\6\7":
        end -= _LOCATOR_64.size + _END_64.size
        record_64 = octets.bytes(max(0, end), max(0, end) + _END_64.size)
        _check(end >= 0 and record_64[:4] == b"PK\6\6", _ONE_DIRECTORY, place, "a second end record elsewhere")
        _, bytes_64, _, _, *disks_64, here_64, in_all_64, length_64, offset_64 = _END_64.unpack(record_64)
        short, long = (here, in_all, length, offset), (here_64, in_all_64, length_64, offset_64)
        same = all(a in (b, largest) for a, b, largest in zip(short, long, (_16, _16, _32, _32), strict=True))
        whole = bytes_64 == _END_64.size - 12 and _LOCATOR_64.unpack(locator)[1:] == (0, end, 1)
        _check(same and whole, _ONE_DIRECTORY, place, "two end records that differ")
        disks, (here, in_all, length, offset) = disks + disks_64, long
    in_one = not any(disks) and not comment and here == in_all
    _check(in_one, _ONE_DIRECTORY, place, "an archive in pieces, or a comment")
    _check(offset + length == end, _ONE_DIRECTORY, place, f"a directory at {offset:,} that ends before {end:,}")
    return in_all


def _cut_short(place: str, received: str) -> CheckpointError:
    return CheckpointError("a zip archive must end in its directory", place=place, received=received, way_out=DAMAGED)


def _check_sizes(members: list[zipfile.ZipInfo], size: int, place: str, stored: bool) -> None:
    first = min((member.header_offset for member in members), default=0)
    _check(first == 0, _ONE_DIRECTORY, place, f"{first:,} bytes before the archive")
    reached = 0
    for member in sorted(members, key=lambda each: each.header_offset):
        name = f"{member.filename} in {place}"
        plain = member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size
        _check(plain or not stored, "tensors must lie uncompressed in a torch file", name, "a compressed member")
        _check(not member.flag_bits & 1, "an archive must not be encrypted", name, "an encrypted member")
        begin, end = member.header_offset, member.header_offset + _LOCAL_HEADER.size + member.compress_size
        apart = reached <= begin and end <= size
        _check(apart, "members must lie one after another, within the file", name, f"{begin}")
        reached = end
    declared = sum(member.file_size for member in members)
    _check(declared <= max(ALWAYS_ALLOWED, LARGEST_RATIO * size),
           f"an archive must unfold to at most {LARGEST_RATIO} times its size", place,
           f"{declared:,} bytes declared in a file of {size:,}")  # fmt: skip
