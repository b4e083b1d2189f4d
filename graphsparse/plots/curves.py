"""Lines: effective against direct compression over a ranking, and measures over the steps of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphsparse.errors import ArgumentError
from graphsparse.plots.style import BLACK, GREY, MARKERS, RED, axes, legend, line, logarithmic, plainly, require

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

LABELS = {
    "direct_compression": "direct", "effective_compression": "effective", "overlap_before": "with the step before",
    "overlap_last": "with the last step", "anp": "units with a connection (ANP)", "itop": "connections ever kept (ITOP)",
    "units_died": "units died", "units_born": "units born", "live": "live units",
}  # fmt: skip
PANELS = (
    ("compression", ("direct_compression", "effective_compression")),
    ("overlap of masks", ("overlap_before", "overlap_last")),
    ("share", ("anp", "itop")),
    ("units", ("units_born", "units_died")),
)
MANY = 30  # steps beyond which lines have no markers


def curve(curves: Any, *, point: Any = None, ax: Axes | None = None) -> Axes:
    """Effective against direct compression, both logarithmic, a line per method; above the diagonal is what is dead.

    Args:
        curves: what `graphsparse.compression_curve` gives, several by name, or a frame with the column "method".
        point: a network to mark: what `graphsparse.sparsity` gives.
    """
    frames = {name: frame[frame["active"] > 0] for name, frame in _frames(curves).items()}
    ax = axes(ax, (4.6, 4.0))
    for number, (name, frame) in enumerate(frames.items()):
        ax.plot(frame["direct_compression"], frame["effective_compression"], label=name, linewidth=1.8, **line(number))
    columns = [frame["direct_compression"] for frame in frames.values() if len(frame)]
    ends = [min(column.min() for column in columns), max(column.max() for column in columns)] if columns else [1, 10]
    ax.plot(ends, ends, color=GREY, linestyle=(0, (1, 2)), linewidth=1.2, label="no dead connections", zorder=1)
    if point is not None:
        at = point.direct_compression, point.effective_compression
        ax.plot(*at, "*", color=RED, markersize=12, label="this network")
    ax.set(xscale="log", yscale="log", xlabel="direct compression", ylabel="effective compression")
    plainly(ax)
    legend(ax, loc="lower right", fontsize=8)
    return ax


def _frames(curves: Any) -> dict[str, pandas.DataFrame]:
    if isinstance(curves, Mapping):
        return {str(name): each.frame for name, each in curves.items()}
    if hasattr(curves, "groupby"):
        return {str(name): frame for name, frame in curves.groupby("method", sort=False)}
    return {"network": curves.frame}


def trajectory(
    found: Any, measures: str | Sequence[str] = ("direct_compression", "effective_compression"), *,
    by_parameter: bool = False, ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Measures over the steps of a run, in all or of each parameter.

    Args:
        found: what `graphsparse.track` gives, or its frame.
        measures: columns of the frame; one of them ``by_parameter``.
        by_parameter: a line per parameter instead of one of all.

    Raises:
        ArgumentError: a column that the frame does not have, or several by parameter.
    """
    frame, names = getattr(found, "frame", found), [measures] if isinstance(measures, str) else list(measures)
    unknown = [name for name in names if name not in frame.columns]
    if unknown or (by_parameter and len(names) > 1):
        raise ArgumentError(
            "measures must be columns of the frame, one where there is a line per parameter",
            received=", ".join(unknown or names), way_out=f"take some of: {', '.join(frame.columns[4:])}",
        )  # fmt: skip
    labels = {name: LABELS.get(name, name.replace("_", " ")) for name in names}
    scope = frame[frame["scope"] == ("parameter" if by_parameter else "all")]
    lines = [(labels[name], scope, name) for name in names]
    if by_parameter:
        lines = [(str(place), rows, names[0]) for place, rows in scope.groupby("place", sort=False)]
    ax = axes(ax)
    for number, (label, rows, name) in enumerate(lines):
        values = rows[name].to_numpy(float)
        marker = MARKERS[number % len(MARKERS)] if len(rows) <= MANY else None
        ax.plot(
            rows["step"], np.where(np.isfinite(values), values, np.nan), marker=marker, markersize=3.5, linewidth=1.5,
            label=label, **line(number),
        )  # fmt: skip
    gone = frame[(frame["scope"] == "all") & frame["collapsed"].astype(bool)]
    if len(gone):
        ax.axvline(gone["step"].iloc[0], color=BLACK, linestyle=":", linewidth=1.2, label="collapse")
    ax.set_xlabel("step")
    if len(names) == 1:
        ax.set_ylabel(labels[names[0]])
    plainly(ax)
    if by_parameter or len(names) > 1:
        legend(ax, fontsize=8)
    return ax


def trajectory_panels(found: Any, axs: Sequence[Axes] | None = None) -> list[Axes]:
    """Four pictures of a run: compression, overlap of masks, ANP and ITOP, units born and dead.

    ``axs``: four axes to draw on. Arguments and errors else as `trajectory`.
    """
    if axs is None:
        require()
        from matplotlib import pyplot

        axs = list(pyplot.subplots(2, 2, figsize=(7.2, 5.0), layout="constrained", sharex=True)[1].ravel())
    frame = getattr(found, "frame", found)
    for number, (ax, (title, measures)) in enumerate(zip(axs, PANELS)):
        trajectory(frame, measures, ax=ax)
        ax.set(ylabel=title, xlabel="step" if number > 1 else "")
        if title == "compression":
            logarithmic(ax, frame.loc[frame["scope"] == "all", list(measures)].to_numpy(float).ravel(), "y")
        if title in ("share", "overlap of masks"):
            ax.set_ylim(-0.03, 1.05)
    return list(axs)
