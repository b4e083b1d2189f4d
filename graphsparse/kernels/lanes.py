"""Non-zeros of small elements as bits, as many of them at once as a machine word holds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from graphsparse.kernels.algebra import compiled, load_word


class Lanes(NamedTuple):
    """How the elements that share one 64-bit load are tested and gathered; every field is a word but the last."""

    high: np.uint64  # the top bit of every lane
    shift: np.uint64  # brings the top bits down to the bottom of their lanes
    gather: np.uint64  # a product with it collects the bits in the top of the word, free of carries
    width: int  # elements in a load


def _lanes(item_bytes: int) -> Lanes:
    bits, width = 8 * item_bytes, 8 // item_bytes
    high = sum(1 << (bits * lane + bits - 1) for lane in range(width))
    gather = sum(1 << (64 - width + lane - bits * lane) for lane in range(width))
    return Lanes(np.uint64(high), np.uint64(bits - 1), np.uint64(gather), width)


LANES = {item_bytes: _lanes(item_bytes) for item_bytes in (1, 2, 4, 8)}
"""By the bytes of an element."""


@compiled
def pack_lanes(octets, packed, first, last, high, shift, gather, width, sign_counts):
    """Packs 64 elements a word, several elements a load: adding the largest value carries into a lane's top bit
    unless the lane is zero, and one product gathers those bits."""
    low = ~high
    down = np.uint64(64 - width)
    loads_per_word = 64 // width
    for word in range(first, last):
        bits = np.uint64(0)
        for k in range(loads_per_word):
            load = load_word(octets, (word * loads_per_word + k) * 8)
            alive = (load & low) + low
            if sign_counts:
                alive |= load
            bits |= ((((alive & high) >> shift) * gather) >> down) << np.uint64(k * width)
        packed[word] = bits
