"""Orders inside layers, and quota families as global scores: the family's parameter at which a weight falls.

Masks that only shrink as a parameter grows are one global ranking. Let j be the place of a weight in the order of its layer
(0 is kept longest) and n the layer's size: a quota of x weights, rounded, keeps the weight while x >= j + 1/2. So no family
needs a bisection over masks:

- ``uniform`` keeps d n. It falls at the sparsity 1 - d = 1 - (j + 1/2) / n.
- ``uniform_plus`` is the same, with the first layer and the first fifth of the last one never falling (infinite score).
- ``erk`` keeps min(n, e sum(shape)): solving again what is clipped is exactly this minimum, and since j + 1/2 < n the
  minimum never decides. It falls at 1 / e = sum(shape) / (j + 1/2).
- ``igq`` keeps n / (1 + F n). It falls at the force F = 1 / (j + 1/2) - 1 / n, which is positive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from graphsparse.kernels.compiling import compiled
from graphsparse.kernels.threads import each
from graphsparse.pruning.quotas import LAST_DENSITY, Shape, family_named, sizes_of

Arrays = Mapping[str, np.ndarray]


def quota_scores(name: str, ranks: Arrays) -> dict[str, np.ndarray]:
    """Scores whose thresholds give the masks of the quota family `name`, each of them and no others.

    Layer sparsities follow `graphsparse.pruning.quotas.quotas`, in whole weights. Where several layers lose a weight at the
    same parameter their scores tie. What the family never prunes has an infinite score.

    Args:
        name: one of `graphsparse.pruning.quotas.FAMILIES`.
        ranks: the order inside each kernel, an integer array in its shape, 0 to be kept longest: `layer_ranks` of any
            saliency, or `random_ranks`.

    Returns:
        Float64 arrays under the same names, in the same shapes.

    Raises:
        TargetError: the name is unknown.

    Example:
        >>> quota_scores("igq", {"fc.weight": np.array([[0, 2], [3, 1]])})["fc.weight"].round(2)
        array([[1.75, 0.15],
               [0.04, 0.42]])
    """
    family_named(name)
    shapes = [np.shape(rank) for rank in ranks.values()]
    levels = _LEVELS[name](shapes)
    return {key: level[rank] for (key, rank), level in zip(ranks.items(), levels)}


def scores_in_order(scores: Arrays, ranks: Arrays) -> dict[str, np.ndarray]:
    """The same scores in each layer, in the order of `ranks`: every threshold keeps as many weights of a layer as before.

    ``scores_in_order(snip_scores, random_ranks(...))`` is random/snip: random under SNIP's layer sparsities.
    """
    return {name: np.sort(values, axis=None)[::-1][ranks[name]] for name, values in scores.items()}


def layer_ranks(scores: Arrays) -> dict[str, np.ndarray]:
    """Each weight's place inside its layer, 0 for the greatest score; of equal scores the earlier place goes first."""

    def rank(values: np.ndarray) -> np.ndarray:
        places = np.empty(values.size, np.int64)
        places[descending_order(values)] = np.arange(values.size)
        return places.reshape(values.shape)

    return dict(zip(scores, each(rank, scores.values(), sum(values.nbytes for values in scores.values()))))


def random_ranks(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, np.ndarray]:
    """A random order of each layer, see `random_scores`."""
    return {name: _permutation(words).reshape(shape) for name, shape, words in _random_words(shapes, seed)}


def random_scores(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, np.ndarray]:
    """Uniform random scores in [0, 1), float64: the same for the same seed on every machine, with any threads.

    A kernel's scores depend on the seed and its position in `shapes` alone. They are read off the raw words of NumPy's
    PCG64, a stream that NumPy promises to keep.

    Example:
        >>> random_scores({"fc.weight": (1, 2)}, seed=0)["fc.weight"].shape
        (1, 2)
    """
    words_by_layer = _random_words(shapes, seed)
    return {name: ((words >> np.uint64(11)) * 2.0**-53).reshape(shape) for name, shape, words in words_by_layer}


def _random_words(shapes: Mapping[str, Sequence[int]], seed: int) -> Iterator[tuple[str, tuple[int, ...], np.ndarray]]:
    """Each layer's name and shape, and a random 64-bit word for each of its places, flat."""
    for layer, (name, shape) in enumerate(shapes.items()):
        words = np.random.PCG64([seed, layer]).random_raw(math.prod(shape))
        yield name, tuple(shape), np.asarray(words, np.uint64)


@compiled
def _permutation(words: np.ndarray) -> np.ndarray:
    """Fisher and Yates' shuffle of 0 to n - 1, one given word a step, so that it is the same everywhere for ever."""
    order = np.arange(words.size)
    for last in range(words.size - 1, 0, -1):
        place = np.int64((words[last] >> np.uint64(11)) * 2.0**-53 * (last + 1))
        order[last], order[place] = order[place], order[last]
    return order


def descending_order(values: np.ndarray) -> np.ndarray:
    """Flat positions from the greatest value to the least, equal values by position.

    Values become 32-bit words that sort like them (two for float64), each with its position behind it in one 64-bit key: a
    plain sort of integers gives the order several times sooner than a stable argsort.
    """
    first, *others = _ascending_words(np.ravel(values))
    order = _order_by_word(first)
    for word in others:
        order = order[_order_by_word(word[order])]
    return order


def _order_by_word(words: np.ndarray) -> np.ndarray:
    """Positions by descending 32-bit word, equal words by position."""
    keys = (~words).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(keys.size, dtype=np.uint64)
    keys.sort()
    keys &= np.uint64(0xFFFFFFFF)
    return keys.view(np.int64)


def _ascending_words(values: np.ndarray) -> list[np.ndarray]:
    """Unsigned 32-bit words, the least significant first, that compare as the values do; both zeros are one."""
    if values.dtype.kind == "f" and values.dtype.itemsize <= 4:
        return [_monotone_bits(values.astype(np.float32), np.uint32)]
    bits = _monotone_bits(values.astype(np.float64), np.uint64)
    return [bits.astype(np.uint32), (bits >> np.uint64(32)).astype(np.uint32)]


def _monotone_bits(values: np.ndarray, word: type[np.unsignedinteger]) -> np.ndarray:
    bits = (values + values.dtype.type(0)).view(word)
    sign = word(1 << (8 * bits.itemsize - 1))
    return np.where(bits & sign, ~bits, bits | sign)


def _uniform(shapes: Sequence[Shape]) -> list[np.ndarray]:
    return [1.0 - _halves(size) / size for size in sizes_of(shapes)]


def _uniform_plus(shapes: Sequence[Shape]) -> list[np.ndarray]:
    levels = _uniform(shapes)
    last = levels[-1].size
    levels[-1][_halves(last) <= LAST_DENSITY * last] = np.inf
    levels[0][:] = np.inf
    return levels


def _erk(shapes: Sequence[Shape]) -> list[np.ndarray]:
    return [sum(shape) / _halves(size) for shape, size in zip(shapes, sizes_of(shapes))]


def _igq(shapes: Sequence[Shape]) -> list[np.ndarray]:
    levels = [1.0 / _halves(size) for size in sizes_of(shapes)]
    for level in levels:
        level -= 1.0 / level.size
    return levels


def _halves(size: int) -> np.ndarray:
    return np.arange(0.5, size)


_LEVELS: dict[str, Callable[[Sequence[Shape]], list[np.ndarray]]] = {
    "uniform": _uniform,
    "uniform_plus": _uniform_plus,
    "erk": _erk,
    "igq": _igq,
}
