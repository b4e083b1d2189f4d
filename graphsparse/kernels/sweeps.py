"""One kernel block of a sweep: gather its columns, run the rows, scatter back.

Shapes: ``values`` (groups, rows, columns), bytes or floats; ``vector`` (units + 2,) of the same kind, its last two
elements the constant and the missing unit; ``sources`` (groups, channels, size) and ``targets``
(groups, rows, positions) unit ids; columns = channels * taps.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from graphsparse.kernels import flat, maps
from graphsparse.kernels.columns import (
    Taps,
    empty_flat,
    empty_maps,
    gather,
    gather_flat,
    scatter,
    scatter_flat,
)
from graphsparse.kernels.threads import over

CACHE_LINE = 64


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1])


@lru_cache(maxsize=256)
def _own(positions: int) -> Taps:
    """The taps with which a map reads itself."""
    return Taps.of(np.arange(positions, dtype=np.int32)[None], positions)


def _ceiling(grouped: np.ndarray, positions: int) -> np.ndarray:
    """The sum of the maps of each group (groups, count, width)."""
    ceiling = empty_maps(len(grouped), positions, grouped.dtype)
    maps.ceilings(grouped, ceiling)
    return ceiling


def forwards(values, vector, sources, taps: Taps, targets) -> None:
    """Add to the targets what their kept connections bring from the sources."""
    rows, out = _rows(values), _rows(targets)
    groups = sources.shape[0]
    if taps.positions == 1:
        x = gather_flat(vector, _rows(sources), taps).reshape(groups, -1)
        y = empty_flat((len(rows),), vector.dtype)
        over(len(rows), rows.nbytes, lambda first, last: flat.forwards(rows, x, y, first, last))
        scatter_flat(y, out, _own(1), vector)
        return
    x = gather(vector, _rows(sources), taps)
    y, x = empty_maps(len(rows), taps.positions, vector.dtype), x.reshape(groups, -1, x.shape[1])
    ceiling = _ceiling(x, taps.positions)
    over(len(rows), max(rows.nbytes, x.nbytes), lambda first, last: maps.forwards(rows, x, ceiling, y, first, last))
    scatter(y, out, _own(taps.positions), vector)


def backwards(values, vector, sources, taps: Taps, targets) -> None:
    """Add to the sources what their kept connections bring from the targets."""
    rows, out, units = _rows(values), _rows(targets), _rows(sources)
    shape = (sources.shape[0], values.shape[2])
    if taps.positions == 1:
        x, y = empty_flat(shape, vector.dtype), vector[out[:, 0]]
        over(shape[1], rows.nbytes, lambda first, last: flat.backwards(rows, y, x, first, last), CACHE_LINE)
        scatter_flat(x.ravel(), units, taps, vector)
        return
    y = gather(vector, out, _own(taps.positions))
    ceiling = _ceiling(y.reshape(shape[0], -1, y.shape[1]), taps.positions)
    x = empty_maps(shape[0] * shape[1], taps.positions, vector.dtype)
    grouped = x.reshape(*shape, -1)
    over(
        shape[1],
        max(rows.nbytes, x.nbytes),
        lambda first, last: maps.backwards(rows, y, ceiling, grouped, first, last),
        CACHE_LINE,
    )
    scatter(x, units, taps, vector)


def connections(values, signal, reach, sources, taps: Taps, targets) -> np.ndarray:
    """What each connection carries from a source to a sink: ``values`` times its origin times its target."""
    rows, out, units = _rows(values), _rows(targets), _rows(sources)
    groups = sources.shape[0]
    result = np.empty_like(rows)
    if taps.positions == 1:
        x, y = gather_flat(signal, units, taps).reshape(groups, -1), reach[out[:, 0]]
        over(len(rows), rows.nbytes, lambda first, last: flat.connections(rows, x, y, result, first, last))
        return result.reshape(values.shape)
    x, y = gather(signal, units, taps), gather(reach, out, _own(taps.positions))
    anywhere = np.empty(len(x), rows.dtype)
    maps.totals(x, anywhere)
    x, anywhere = x.reshape(groups, -1, x.shape[1]), anywhere.reshape(groups, -1)
    ceiling = _ceiling(x, taps.positions)
    over(
        len(rows),
        max(rows.nbytes, x.nbytes),
        lambda first, last: maps.connections(rows, x, anywhere, ceiling, y, result, first, last),
    )
    return result.reshape(values.shape)
