"""What all pictures share: colours, dashes and markers that are told apart in grey, and axes to draw on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graphsparse.errors import needs_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLACK, BLUE, ORANGE, GREEN = "#1a1a1a", "#0072b2", "#e69f00", "#009e73"
RED, PURPLE, SKY, GREY = "#d55e00", "#cc79a7", "#56b4e9", "#8c8c8c"
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK, GREY)
"""Okabe and Ito's colours, so ordered that neighbours differ in lightness."""
DASHES: tuple[Any, ...] = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), "-", "--")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
KEPT, ACTIVE, DEAD, FAINT = ORANGE, BLUE, RED, "#d9d9d9"
"""What is kept and what is active, in every picture; what is dead, and what is only there to guide the eye."""
SIZE = (6.0, 3.8)
"""Inches of a new picture: the width of a page's text."""


def axes(ax: Axes | None, size: tuple[float, float] = SIZE) -> Axes:
    """The axes to draw on: those given, else new ones.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    if ax is not None:
        return ax
    require()
    from matplotlib import pyplot

    return pyplot.subplots(figsize=size, layout="constrained")[1]


def require() -> None:
    """Raises MissingExtra where nothing can be drawn."""
    with needs_extra("plots", "a picture needs matplotlib"):
        import matplotlib  # noqa: F401


def line(number: int) -> dict[str, Any]:
    """The colour and the dash of one line among several."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def plainly(ax: Axes, *, grid: str = "both") -> None:
    """Fewer lines: no frame above and at the right, a faint grid behind what is drawn."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, axis=grid, color=FAINT, linewidth=0.6)  # type: ignore[arg-type]
    ax.set_axisbelow(True)


def logarithmic(ax: Axes, values: Iterable[float], which: Literal["x", "y"]) -> None:
    """A logarithmic axis where values span more than a factor of ten; one of a narrower span has plain numbers."""
    from matplotlib.ticker import MaxNLocator

    found = np.asarray([value for value in values if np.isfinite(value) and value > 0])
    if found.size and found.max() > 10 * found.min():
        ax.set(**{f"{which}scale": "log"})
        return
    whole = bool(found.size) and bool((found == found.round()).all())
    (ax.xaxis if which == "x" else ax.yaxis).set_major_locator(MaxNLocator(6, integer=whole))


def legend(ax: Axes, **options: Any) -> None:
    """A legend without a frame; names are shown as they are."""
    made = ax.legend(frameon=False, **options)
    for text in made.get_texts():
        text.set_parse_math(False)
