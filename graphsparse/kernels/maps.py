"""Bits of units as maps, one row of words per channel: read from the words of all units, moved by taps, written back.

The words of all units hold ``n`` bits: one per unit, then that of the constant and that of no unit, which is never set.
"""

from __future__ import annotations

import numpy as np

from graphsparse.kernels.compiling import compiled, inlined


@inlined
def bits_at(words, bit):
    """The 64 bits from a bit on, which may lie outside the words; what lies outside is 0."""
    w, shift = bit >> 6, np.uint64(bit & 63)
    low = words[w] >> shift if 0 <= w < words.size else np.uint64(0)
    if shift and -1 <= w < words.size - 1:
        low |= words[w + 1] << (np.uint64(64) - shift)
    return low


@inlined
def put_bits(words, bit, value):
    """Set the bits of a value from a bit on."""
    w, shift = bit >> 6, np.uint64(bit & 63)
    words[w] |= value << shift
    if shift:
        rest = value >> (np.uint64(64) - shift)
        if rest:
            words[w + 1] |= rest


@inlined
def tail(size, w):
    """The bits of word w that belong to a row of ``size`` bits."""
    left = size - 64 * w
    return ~np.uint64(0) if left >= 64 else (np.uint64(1) << np.uint64(left)) - np.uint64(1)


@inlined
def is_set(words, bit):
    """Whether a bit is set, as a uint64 of 0 or 1."""
    return (words[bit >> 6] >> np.uint64(bit & 63)) & np.uint64(1)


@compiled
def read(units, n, ids, starts, maps):
    """``maps[i]`` = the bits of the units ``ids[i]``; returns whether any is set."""
    size, some = ids.shape[1], np.uint64(0)
    for i in range(ids.shape[0]):
        if starts[i] >= 0:
            for w in range(maps.shape[1]):
                maps[i, w] = bits_at(units, starts[i] + 64 * w) & tail(size, w)
                some |= maps[i, w]
            continue
        for w in range(maps.shape[1]):
            word = np.uint64(0)
            for q in range(64 * w, min(64 * w + 64, size)):
                unit = ids[i, q]
                word |= is_set(units, unit if unit >= 0 else n + unit) << np.uint64(q & 63)
            maps[i, w] = word
            some |= word
    return some != 0


@compiled
def write(units, ids, starts, maps):
    """Set the bits of the units ``ids[i]`` that ``maps[i]`` has set."""
    for i in range(ids.shape[0]):
        for w in range(maps.shape[1]):
            word = maps[i, w]
            if word == 0:
                continue
            if starts[i] >= 0:
                put_bits(units, starts[i] + 64 * w, word)
                continue
            for q in range(64 * w, min(64 * w + 64, ids.shape[1])):
                if (word >> np.uint64(q & 63)) & np.uint64(1) and ids[i, q] >= 0:
                    put_bits(units, np.int64(ids[i, q]), np.uint64(1))


@compiled
def move(maps, table, shifts, valid, size, moved):
    """``moved[i * taps + k]`` = what tap k reads of map i at each output position."""
    taps = table.shape[0]
    if shifts.size and maps.shape[1] == 1 and moved.shape[1] == 1:
        for i in range(maps.shape[0]):
            word = maps[i, 0]
            for k in range(taps):
                moved[i * taps + k, 0] = _shifted(word, np.int64(shifts[k])) & valid[k, 0]
        return
    ends = _padding(shifts)
    padded = np.zeros(maps.shape[1] + 2 * ends, np.uint64)
    for i in range(maps.shape[0]):
        some, every = np.uint64(0), True
        for w in range(maps.shape[1]):
            word = maps[i, w]
            padded[ends + w] = word
            some |= word
            every &= word == tail(size, w)
        for k in range(taps):
            out = moved[i * taps + k]
            if some == 0:
                out[:] = np.uint64(0)
            elif every:
                for w in range(out.size):  # an assignment of arrays takes three seconds to compile
                    out[w] = valid[k, w]
            elif shifts.size:
                _shift(padded, ends + (shifts[k] >> 6), shifts[k] & 63, valid[k], out)
            else:
                _pick(maps[i], table[k], out)


@inlined
def _padding(shifts):
    """How many words of zeros stand before and after a row, so that no shift reads beyond them."""
    farthest = 0
    for k in range(shifts.size):
        farthest = max(farthest, abs(shifts[k]))
    return (farthest >> 6) + 2


@inlined
def _shift(padded, first, distance, seen, out):
    """``out`` = the seen bits of the padded row from a bit of word ``first`` on; its words one after the other."""
    low, high = np.uint64(distance), np.uint64(63 - distance)
    line, after = padded[first : first + out.size], padded[first + 1 : first + 1 + out.size]
    for w in range(out.size):
        out[w] = ((line[w] >> low) | ((after[w] << np.uint64(1)) << high)) & seen[w]


@inlined
def _shifted(word, distance):
    """The word whose bit p is bit p + distance of the given one."""
    if distance >= 64 or distance <= -64:
        return np.uint64(0)
    return word >> np.uint64(distance) if distance >= 0 else word << np.uint64(-distance)


@inlined
def _pick(row, places, out):
    out[:] = np.uint64(0)
    for p in range(places.size):
        if places[p] >= 0:
            out[p >> 6] |= is_set(row, np.int64(places[p])) << np.uint64(p & 63)


@compiled
def move_back(moved, table, shifts, valid, maps):
    """``maps[i]`` |= at each position what the taps that read it hold."""
    taps = table.shape[0]
    if shifts.size and maps.shape[1] == 1 and moved.shape[1] == 1:
        for i in range(maps.shape[0]):
            word = maps[i, 0]
            for k in range(taps):
                word |= _shifted(moved[i * taps + k, 0] & valid[k, 0], -shifts[k])
            maps[i, 0] = word
        return
    ends, width = _padding(shifts), max(maps.shape[1], moved.shape[1])
    seen, back, every = np.zeros(width + 2 * ends, np.uint64), np.empty(width, np.uint64), np.full(width, ~np.uint64(0))
    for i in range(maps.shape[0]):
        for k in range(taps):
            some = np.uint64(0)
            for w in range(moved.shape[1]):
                word = moved[i * taps + k, w] & valid[k, w]
                seen[ends + w] = word
                some |= word
            if some == 0:
                continue
            if shifts.size:
                _shift(seen, ends + (-shifts[k] >> 6), -shifts[k] & 63, every, back)
                for w in range(maps.shape[1]):
                    maps[i, w] |= back[w]
            else:
                for p in range(table.shape[1]):
                    if table[k, p] >= 0 and is_set(seen, 64 * ends + p):
                        put_bits(maps[i], np.int64(table[k, p]), np.uint64(1))


@compiled
def write_back(units, ids, starts, moved, table, shifts, valid):
    """Set the bits of the units ``ids[i]`` that the taps which read them hold in ``moved``."""
    maps = np.zeros((ids.shape[0], (ids.shape[1] + 63) >> 6), np.uint64)
    move_back(moved, table, shifts, valid, maps)
    write(units, ids, starts, maps)


@compiled
def join(units, n, sources, targets):
    """Set the bits of the targets whose source's bit is set, wire by wire in order; a target may be no unit."""
    at, word = 0, units[0]  # neighbouring wires mostly write to one word, which stays at hand
    for e in range(sources.size):
        target = np.int64(targets[e])
        if target < 0:
            continue
        if target >> 6 != at:
            units[at] = word
            at = target >> 6
            word = units[at]
        source = sources[e] if sources[e] >= 0 else n + sources[e]
        bit = is_set(units, np.int64(source)) if source >> 6 != at else (word >> np.uint64(source & 63)) & np.uint64(1)
        word |= bit << np.uint64(target & 63)
    units[at] = word


@compiled
def gate(signal, nonzero, n, lefts, rights, targets):
    """Products: not zero where both operands are not zero, signal where one is signal and the other not zero."""
    for e in range(targets.size):
        a = lefts[e] if lefts[e] >= 0 else n + lefts[e]
        b = rights[e] if rights[e] >= 0 else n + rights[e]
        t, there, other = targets[e], is_set(nonzero, a), is_set(nonzero, b)
        nonzero[t >> 6] |= (there & other) << np.uint64(t & 63)
        signal[t >> 6] |= ((is_set(signal, a) & other) | (there & is_set(signal, b))) << np.uint64(t & 63)


@compiled
def gate_back(reach, nonzero, n, lefts, rights, targets):
    """An operand of a product reaches a sink if the product does and the other operand is not zero."""
    for e in range(targets.size):
        a, b, reached = lefts[e], rights[e], is_set(reach, np.int64(targets[e]))
        if a >= 0:
            reach[a >> 6] |= (reached & is_set(nonzero, b if b >= 0 else n + b)) << np.uint64(a & 63)
        if b >= 0:
            reach[b >> 6] |= (reached & is_set(nonzero, a if a >= 0 else n + a)) << np.uint64(b & 63)


@compiled
def put(units, n, ids, value):
    """Set or clear the bits of units."""
    for e in range(ids.size):
        unit = ids[e] if ids[e] >= 0 else n + ids[e]
        bit = np.uint64(1) << np.uint64(unit & 63)
        if value:
            units[unit >> 6] |= bit
        else:
            units[unit >> 6] &= ~bit
