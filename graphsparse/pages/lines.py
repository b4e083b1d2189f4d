"""Lines over steps as SVG that is part of the page: readable without scripts, in light and dark, and in print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM = 520, 215, 58, 14, 30
INKS = ("--alive", "--starved", "--stranded", "--constant", "--dead")
DASHES = ("", "7 3", "2 3", "9 3 2 3")
"""Colours and dashes of the lines: they are told apart in grey."""
LETTER, KEY = 8.6, 44
"""About how wide a letter of a key is, and what stands beside its name."""


@dataclass(frozen=True)
class Axis:
    """The values of an axis from bottom to top, and those that have a mark; all are round numbers."""

    low: float
    high: float
    logarithmic: bool
    marks: tuple[float, ...]

    def place(self, value: float) -> float:
        """How far down the picture a value stands."""
        low, high, value = (math.log10(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM)


def axis_of(known: Sequence[float]) -> Axis:
    """The axis of some values: logarithmic where they are 1 or more and span a factor of ten, else linear."""
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if low >= 1 and high >= 10 * low:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        every = -(-(last - first) // 5)
        powers = range(first, last + every, every)
        return Axis(10.0**first, 10.0 ** powers[-1], True, tuple(10.0**power for power in powers))
    low = min(0.0, low)
    step = _round_step((high - low or 1.0) / 4)
    first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    return Axis(first * step, last * step, False, tuple(k * step for k in range(first, last + 1)))


def _round_step(least: float) -> float:
    """The least of 1, 2, 5, 10, ... times a power of ten that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= least * (1 - 1e-9))


def lines(
    title: str, steps: Sequence[float], series: Mapping[str, Sequence[float | None]], along: str = "steps"
) -> Markup:
    """A picture of values over steps, with words for those who do not see it. Values of None are gaps."""
    from markupsafe import Markup, escape

    known = [value for values in series.values() for value in values if value is not None and math.isfinite(value)]
    axis, (keys, top) = axis_of(known), _keys(list(series))
    parts = [*map(_mark, axis.marks, map(axis.place, axis.marks)), _steps(steps)]
    for number, (name, values) in enumerate(series.items()):
        ink, dashes = INKS[number % len(INKS)], DASHES[number % len(DASHES)]
        style = f'fill="none" style="stroke: var({ink})" stroke-width="2" stroke-dasharray="{dashes}"'
        parts += [f'<path d="{_path(steps, values, axis)}" {style}/>', _key(*keys[number], str(escape(name)), style)]
    told = "; ".join(f"{name} {_ends(values)}" for name, values in series.items())
    label = escape(f"{title}, over {len(steps)} {along}: {told}")
    return Markup(
        f'<svg class="lines" viewBox="0 {-top} {WIDTH} {HEIGHT + top}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )  # every text in it is escaped above


def _keys(names: Sequence[str]) -> tuple[list[tuple[float, float]], float]:
    """Where the key of each line stands above the picture, and how much room all of them take."""
    places, x, row = [], float(LEFT), 0
    for name in names:
        wide = KEY + LETTER * len(name)
        if x > LEFT and x + wide > WIDTH:
            x, row = LEFT, row + 1
        places.append((x, row))
        x += wide
    return [(x, 18.0 * (above - row) - 14) for x, above in places], 18.0 * (row + 1) + 12


def _across(step: float, steps: Sequence[float]) -> float:
    """How far to the right a step stands."""
    return LEFT + (step - steps[0]) / max(1, steps[-1] - steps[0]) * (WIDTH - LEFT - RIGHT)


def _path(steps: Sequence[float], values: Sequence[float | None], axis: Axis) -> str:
    parts, pen = [], "M"
    for step, value in zip(steps, values, strict=True):
        if value is None or not math.isfinite(value):
            pen = "M"
            continue
        parts.append(f"{pen}{_across(step, steps):.1f} {axis.place(value):.1f}")
        pen = "L"
    return " ".join(parts) + ("h.1" if parts and "L" not in " ".join(parts) else "")


def _mark(value: float, down: float) -> str:
    """A rule across the picture, with its value."""
    shown = f"{value:,.0f}" if value == round(value) else f"{value:.6g}"
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down:.1f}" y2="{down:.1f}" style="stroke: var(--line)"/>'
        f'<text x="{LEFT - 6}" y="{down + 4:.1f}" text-anchor="end" style="fill: var(--quiet)">{shown}</text>'
    )


def _steps(steps: Sequence[float]) -> str:
    """The first step, one in the middle and the last; those at the ends stand inside the picture."""
    ends = dict.fromkeys((steps[len(steps) // 2], steps[0], steps[-1])) if steps else ()
    anchor = {steps[-1]: "end", steps[0]: "start"} if len(steps) > 1 else {}
    return "".join(
        f'<text x="{_across(step, steps):.1f}" y="{HEIGHT - 10}" text-anchor="{anchor.get(step, "middle")}" '
        f'style="fill: var(--quiet)">{step:,}</text>' for step in ends
    )  # fmt: skip


def _key(x: float, y: float, name: str, style: str) -> str:
    return (
        f'<line x1="{x}" x2="{x + 26}" y1="{y - 4}" y2="{y - 4}" {style}/>'
        f'<text x="{x + 32}" y="{y}" style="fill: var(--text)">{name}</text>'
    )


def _ends(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return f"from {known[0]:.4g} to {known[-1]:.4g}" if known else "not defined"
