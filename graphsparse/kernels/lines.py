"""Lines of a mask's bits against what lies along them, 64 connections a step.

A kernel lies in its parameter as lines of neighbouring entries: its rows, or its columns where it is the parameter's
transpose. A line is one end of its connections; the entries along it are the other ends. Here kernels act at one
position, so an end is a bit; `line_maps` has those that act at many.

Loops count from the start of a slice: only where an index cannot be negative does a loop vectorise.
"""

from __future__ import annotations

import numpy as np

from graphsparse.kernels.compiling import compiled, inlined
from graphsparse.kernels.layout import Lines
from graphsparse.kernels.maps import bits_at, is_set, put_bits, tail
from graphsparse.kernels.masks import ones

WIDTH = len(Lines._fields)
"""Where `Kernel.laid` says how many words a map has."""


@inlined
def lines_of(laid):
    return Lines(laid[0], laid[1], laid[2], laid[3], laid[4], laid[5])


@inlined
def start_of(lines, g, i):
    """The entry at which line i of group g begins."""
    return lines.offset + g * lines.group_step + i * lines.step


@inlined
def place_of(lines, i):
    """The group of line i of all groups, its place in the group, and the entry at which it begins."""
    g = i // lines.count if lines.groups > 1 else np.int64(0)  # a division takes as long as a short line
    return g, i - g * lines.count, start_of(lines, g, i - g * lines.count)


@inlined
def next_common(words, start, along, w):
    """The first word from w on in which the words from bit ``start`` on and ``along`` have a bit in common."""
    if start & 63:
        while w < along.size and bits_at(words, start + 64 * w) & along[w] == 0:
            w += 1
        return w
    rest, k = along[w:], 0
    line = words[(start >> 6) + w : (start >> 6) + along.size]
    while k + 8 <= rest.size:
        some = np.uint64(0)
        for j in range(8):
            some |= line[k + j] & rest[k + j]
        if some:
            break
        k += 8
    while k < rest.size and line[k] & rest[k] == 0:
        k += 1
    return w + k


@inlined
def meets(words, start, along):
    """Whether the words from bit ``start`` on and ``along`` have a bit in common."""
    return next_common(words, start, along, np.int64(0)) < along.size


@compiled
def meet(words, laid, along, found, first, last):
    """Bit i of ``found[g]`` = whether line i of group g keeps a connection to a set bit of ``along[g]``; the words first
    to last of all rows of ``found``."""
    lines, width = lines_of(laid), found.shape[1]
    for slot in range(first, last):
        g, w, bits = slot // width, slot % width, np.uint64(0)
        for i in range(64 * w, min(64 * w + 64, lines.count)):
            bits |= np.uint64(meets(words, start_of(lines, g, i), along[g])) << np.uint64(i & 63)
        found[g, w] = bits


@compiled
def gather(words, laid, ends, into, first, last):
    """Words first to last of each row ``into[g]`` |= the lines whose bit of ``ends[g]`` is set."""
    lines = lines_of(laid)
    for g in range(lines.groups):
        gather_group(words, lines, g, ends[g], into[g, first:last], first)


@inlined
def gather_group(words, lines, g, ends, row, first):
    """``row`` |= the words from word ``first`` on of a group's lines whose bit is set; left when every bit is set."""
    unseen = 0
    for i in range(lines.count):
        if not is_set(ends, i):
            continue
        if unseen == 8:  # looking costs as much as a line
            if _filled(row, lines.length - 64 * first):
                break
            unseen = 0
        unseen += 1
        _join(row, words, start_of(lines, g, i) + 64 * first)
    if row.size:
        row[row.size - 1] &= tail(lines.length - 64 * first, row.size - 1)


@inlined
def _join(row, words, start):
    """``row`` |= the words from bit ``start`` on."""
    if start & 63 or (start >> 6) + row.size > words.size:
        for w in range(row.size):
            row[w] |= bits_at(words, start + 64 * w)
    else:
        line = words[start >> 6 : (start >> 6) + row.size]
        for w in range(row.size):
            row[w] |= line[w]


@inlined
def _filled(row, size):
    for w in range(row.size):
        if ~row[w] & tail(size, w):
            return False
    return True


@compiled
def mark(words, laid, ends, along, out, first, last):
    """How many connections lines first to last keep from set bits of ``ends`` to set bits of ``along``.

    They are set in ``out`` too, unless it is empty.
    """
    lines, total = lines_of(laid), np.int64(0)
    for i in range(first, last):
        g, place, start = place_of(lines, i)
        if is_set(ends[g], place):
            total += mark_common(words, start, along[g], out)
    return total


@inlined
def mark_common(words, start, along, out):
    """How many bits the words from bit ``start`` on and ``along`` have in common; sets them in ``out`` unless it is empty."""
    total = np.int64(0)
    if start & 63:
        for w in range(along.size):
            kept = bits_at(words, start + 64 * w) & along[w]
            total += ones(kept)
            if out.size:
                put_bits(out, start + 64 * w, kept)
        return total
    line = words[start >> 6 : (start >> 6) + along.size]
    for w in range(along.size):
        total += ones(line[w] & along[w])
    if out.size:
        into = out[start >> 6 : (start >> 6) + along.size]
        for w in range(along.size):
            into[w] |= line[w] & along[w]
    return total
