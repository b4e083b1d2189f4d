"""Layer-wise quotas: how a wanted sparsity is shared out among the layers, before anyone says which connections go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from graphsparse.arrays import as_number
from graphsparse.errors import TargetError

Shape = Sequence[int]
LAST_DENSITY = 0.2
"""`uniform_plus` keeps at least this share of the last layer (Gale, Elsen, Hooker 2019)."""


class Family(NamedTuple):
    """One family of quotas: layer densities for a number of kept weights, and the fewest weights that it can keep."""

    densities: Callable[[list[Shape], float], list[float]]
    fewest: Callable[[list[Shape]], float]


def quotas(name: str, shapes: Sequence[Shape], sparsity: float) -> list[float]:
    """Layer sparsities that together make `sparsity`, one for each kernel shape, in the order of `shapes`.

    Whatever the sparsity, each value lies in [0, 1] and the kept weights add up to (1 - sparsity) of all, exactly but
    for rounding in float64: `quotas` deals in fractions of weights, `quota_scores` in whole ones.

    - ``uniform``: the same sparsity everywhere.
    - ``uniform_plus``: the first layer dense, the last at most 0.8 sparse, one sparsity for the others
      (Gale, Elsen, Hooker, "The State of Sparsity in Deep Neural Networks", 2019).
    - ``erk``: density in proportion to sum(shape) / prod(shape); what exceeds 1 is clipped and the rest solved again
      (Evci et al., "Rigging the Lottery", ICML 2020).
    - ``igq``: ideal gas, a layer of n weights keeps n / (1 + F n) (Vysogorets and Kempe, JMLR 24(99), 2023, section 5).

    Args:
        name: one of `FAMILIES`.
        shapes: kernel shapes as torch has them, ``(out, in, *kernel)``.
        sparsity: in [0, 1), of all the weights together.

    Raises:
        TargetError: the name is unknown, or the family cannot reach the sparsity; the text says what it can reach.

    Example:
        >>> [round(s, 6) for s in quotas("igq", [(300, 784), (100, 300), (10, 100)], 0.9)]
        [0.935553, 0.649323, 0.058133]
    """
    family, shapes, sparsity = family_named(name), _listed(shapes), as_number("sparsity", sparsity, 0.9)
    total = sum(sizes_of(shapes))
    kept = total * (1.0 - sparsity) if 0.0 <= sparsity < 1.0 else math.nan
    if not kept >= family.fewest(shapes) * (1.0 - 1e-12):
        _refuse(name, shapes, sparsity)
    return [1.0 - density for density in family.densities(shapes, kept)]


def family_named(name: str) -> Family:
    """The family called `name`."""
    if name not in FAMILIES:
        raise TargetError(
            "quotas must have a known name", received=repr(name), way_out=f"use one of {', '.join(FAMILIES)}"
        )
    return FAMILIES[name]


def _listed(shapes: Sequence[Shape]) -> list[Shape]:
    try:
        return [tuple(shape) for shape in shapes]
    except TypeError as error:
        raise TargetError(
            "quotas must be asked for a list of kernel shapes", received=repr(shapes)[:80],
            way_out="for example shapes=[(300, 784), (10, 300)]",
        ) from error  # fmt: skip


def sizes_of(shapes: Sequence[Shape]) -> list[int]:
    """The number of weights in each kernel; an empty one is refused."""
    sizes = [math.prod(shape) for shape in shapes]
    if not sizes or min(sizes) < 1:
        raise TargetError(
            "quotas must have at least one layer, each with at least one weight", received=f"sizes {sizes}"
        )
    return sizes


def _refuse(name: str, shapes: list[Shape], sparsity: float) -> None:
    highest = 1.0 - family_named(name).fewest(shapes) / sum(sizes_of(shapes))
    bracket = f"0 <= sparsity <= {highest:.9g}" if highest < 1.0 else "0 <= sparsity < 1"
    compression = f" (compression up to {1.0 / (1.0 - highest):.6g})" if highest < 1.0 else ""
    raise TargetError(
        f"{name} quotas must be asked for {bracket}{compression} on these layers",
        received=f"sparsity {float(sparsity)!r}",
        way_out="ask for a sparsity in this range, or for other quotas",
    )


def _uniform(shapes: list[Shape], kept: float) -> list[float]:
    return [kept / sum(sizes_of(shapes))] * len(shapes)


def _uniform_plus(shapes: list[Shape], kept: float) -> list[float]:
    first, *others = sizes_of(shapes)
    density = _share(kept - first, sum(others))
    if density >= LAST_DENSITY or not others:
        return [1.0] + [density] * len(others)
    last = others.pop()
    density = _share(kept - first - LAST_DENSITY * last, sum(others))
    return [1.0] + [density] * len(others) + [LAST_DENSITY]


def _share(kept: float, size: int) -> float:
    return min(1.0, max(0.0, kept / size)) if size else 1.0


def _fewest_uniform_plus(shapes: list[Shape]) -> float:
    first, *others = sizes_of(shapes)
    return first + LAST_DENSITY * (others[-1] if others else 0)


def _erk(shapes: list[Shape], kept: float) -> list[float]:
    """Clipping only raises the share of the others, so what is clipped once stays clipped: one pass, densest first."""
    sizes, wants = sizes_of(shapes), [sum(shape) for shape in shapes]
    densities = [1.0] * len(sizes)
    open_want = float(sum(wants))
    by_density = sorted(range(len(sizes)), key=lambda layer: wants[layer] / sizes[layer], reverse=True)
    for place, layer in enumerate(by_density):
        if kept * wants[layer] <= open_want * sizes[layer]:
            for rest in by_density[place:]:
                densities[rest] = kept * wants[rest] / (open_want * sizes[rest])
            break
        kept -= sizes[layer]
        open_want -= wants[layer]
    return densities


def _igq(shapes: list[Shape], kept: float) -> list[float]:
    sizes = sizes_of(shapes)
    force = _solve_force(sizes, kept)
    return [1.0 / (1.0 + force * size) for size in sizes]


def _solve_force(sizes: list[int], kept: float) -> float:
    """Bisection down to neighbouring floats. The largest layer is the sparsest, which bounds the force from below; each
    layer keeps less than 1 / force, which bounds it from above."""
    compression = sum(sizes) / kept
    low, high = (compression - 1.0) / max(sizes), len(sizes) * compression / sum(sizes)
    while low < (middle := 0.5 * (low + high)) < high:
        if sum(size / (1.0 + middle * size) for size in sizes) > kept:
            low = middle
        else:
            high = middle
    return low


def _none(shapes: list[Shape]) -> float:
    return 0.0


FAMILIES = {
    "uniform": Family(_uniform, _none),
    "uniform_plus": Family(_uniform_plus, _fewest_uniform_plus),
    "erk": Family(_erk, _none),
    "igq": Family(_igq, _none),
}
"""Every family of quotas, by name. `graphsparse.pruning.ranks` holds the same families as global scores."""
