"""A run over its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphsparse.errors import ArgumentError
from graphsparse.plots.style import COLOURS, DASHES, MARKERS, axes, legend, logarithmic, plainly, require

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

LABELS = {
    "direct_compression": "direct", "effective_compression": "effective", "overlap_before": "with the step before",
    "overlap_last": "with the last step", "anp": "units with a connection (ANP)", "itop": "connections ever kept (ITOP)",
    "units_died": "units died", "units_born": "units born", "live": "live units",
}  # fmt: skip
PANELS = (
    ("compression", ("direct_compression", "effective_compression"), "log"),
    ("overlap of masks", ("overlap_before", "overlap_last"), "linear"),
    ("share", ("anp", "itop"), "linear"),
    ("units", ("units_born", "units_died"), "linear"),
)
MANY = 30  # steps beyond which lines have no markers


def trajectory(
    found: Any,
    measures: str | Sequence[str] = ("direct_compression", "effective_compression"),
    *,
    by_parameter: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Measures over the steps of a run, in all or of each parameter.

    Args:
        found: what `graphsparse.track` gives, or its frame.
        measures: columns of the frame; one of them ``by_parameter``.
        by_parameter: a line per parameter instead of one of all.
        ax: the axes to draw on.

    Raises:
        ArgumentError: a column that the frame does not have, or several by parameter.
    """
    frame, names = _frame(found), [measures] if isinstance(measures, str) else list(measures)
    unknown = [name for name in names if name not in frame.columns]
    if unknown or (by_parameter and len(names) > 1):
        raise ArgumentError(
            "measures must be columns of the frame, one where there is a line per parameter",
            received=", ".join(unknown or names), way_out=f"take some of: {', '.join(frame.columns[4:])}",
        )  # fmt: skip
    scope = frame[frame["scope"] == ("parameter" if by_parameter else "all")]
    lines = {str(place): rows for place, rows in scope.groupby("place", sort=False)} if by_parameter else {"": scope}
    ax = axes(ax)
    for number, (label, rows, name) in enumerate(
        (place, rows, name) for place, rows in lines.items() for name in names
    ):
        values = rows[name].to_numpy(float)
        marker = MARKERS[number % len(MARKERS)] if len(rows) <= MANY else None
        ax.plot(
            rows["step"], np.where(np.isfinite(values), values, np.nan), color=COLOURS[number % len(COLOURS)],
            linestyle=DASHES[number % len(DASHES)], marker=marker, markersize=3.5, linewidth=1.5,
            label=label or LABELS.get(name, name.replace("_", " ")),
        )  # fmt: skip
    _mark_collapse(ax, frame)
    ax.set_xlabel("step")
    if len(names) == 1:
        ax.set_ylabel(LABELS.get(names[0], names[0].replace("_", " ")))
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
    frame = _frame(found)
    for number, (ax, (title, measures, scale)) in enumerate(zip(axs, PANELS)):
        trajectory(frame, measures, ax=ax)
        ax.set(ylabel=title, xlabel="step" if number > 1 else "")
        if scale == "log":
            logarithmic(ax, frame.loc[frame["scope"] == "all", list(measures)].to_numpy(float).ravel(), "y")
        if title in ("share", "overlap of masks"):
            ax.set_ylim(-0.03, 1.05)
    return list(axs)


def _frame(found: Any) -> pandas.DataFrame:
    return getattr(found, "frame", found)


def _mark_collapse(ax: Axes, frame: pandas.DataFrame) -> None:
    """A line at the first step at which the network has collapsed."""
    gone = frame[(frame["scope"] == "all") & frame["collapsed"].astype(bool)]
    if len(gone):
        ax.axvline(gone["step"].iloc[0], color="black", linestyle=":", linewidth=1.2, label="collapse")
