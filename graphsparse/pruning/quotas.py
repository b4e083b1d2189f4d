"""Layer-wise quotas: how a wanted sparsity is shared out among the layers, before anyone says which connections go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from graphsparse.arrays import as_number
from graphsparse.errors import TargetError

Shape = Sequence[int]
Densities = Callable[[list[Shape], float], list[float]]
"""Layer densities for the kernels' shapes and a number of kept weights; at 0 the fewest that a family can keep."""
LAST_DENSITY = 0.2
"""`uniform_plus` keeps at least this share of the last layer (Gale, Elsen, Hooker 2019)."""


def quotas(name: str, shapes: Sequence[Shape], sparsity: float) -> list[float]:
    """Layer sparsities that together make `sparsity`, one for each kernel shape, in the order of `shapes`.

    Each lies in [0, 1]. The kept weights add up to (1 - sparsity) of all, in fractions of weights, but for the rounding of
    float64.

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
    densities, shapes, sparsity = family_named(name), _listed(shapes), as_number("sparsity", sparsity, 0.9)
    total, fewest = sum(sizes_of(shapes)), fewest_kept(name, shapes)
    kept = total * (1.0 - sparsity) if 0.0 <= sparsity < 1.0 else math.nan
    if not kept >= fewest * (1.0 - 1e-12):
        reachable = (
            f"0 <= sparsity <= {1.0 - fewest / total:.9g} (compression up to {total / fewest:.6g})" if fewest else ""
        )
        raise TargetError(
            f"{name} quotas must be asked for {reachable or '0 <= sparsity < 1'} on these layers",
            received=f"sparsity {float(sparsity)!r}", way_out="ask for a sparsity in this range, or for other quotas",
        )  # fmt: skip
    return [1.0 - density for density in densities(shapes, kept)]


def family_named(name: str) -> Densities:
    """The family called `name`."""
    if name not in FAMILIES:
        raise TargetError(
            "quotas must have a known name", received=repr(name), way_out=f"use one of {', '.join(FAMILIES)}"
        )
    return FAMILIES[name]


def fewest_kept(name: str, shapes: Sequence[Shape]) -> float:
    """The fewest weights that a family can keep."""
    densities = family_named(name)(list(shapes), 0.0)
    return sum(density * size for density, size in zip(densities, sizes_of(shapes)))


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
    """Bisection of the force down to neighbouring floats.

    The largest layer is the sparsest, which bounds the force from below; each layer keeps less than 1 / force, which
    bounds it from above.
    """
    sizes = sizes_of(shapes)
    if kept == 0:
        return [0.0] * len(sizes)
    compression = sum(sizes) / kept
    low, high = (compression - 1.0) / max(sizes), len(sizes) / kept
    while low < (middle := 0.5 * (low + high)) < high:
        if sum(size / (1.0 + middle * size) for size in sizes) > kept:
            low = middle
        else:
            high = middle
    return [1.0 / (1.0 + low * size) for size in sizes]


FAMILIES: dict[str, Densities] = {"uniform": _uniform, "uniform_plus": _uniform_plus, "erk": _erk, "igq": _igq}
"""Every family of quotas, by name. `graphsparse.pruning.ranks` holds the same families as global scores."""
