"""Lines over steps as SVG that is part of the page: readable without scripts, in light and dark, and in print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 520, 240, 58, 30, 30
INKS = (("--alive", ""), ("--starved", "7 3"), ("--stranded", "2 3"), ("--constant", "9 3 2 3"))
"""Colour and dashes of each line: they are told apart in grey."""


def lines(title: str, steps: Sequence[float], series: Mapping[str, Sequence[float | None]]) -> Markup:
    """A picture of values over steps, with words for those who do not see it. Values of None are gaps.

    The axis is logarithmic where positive values span more than a factor of ten.
    """
    from markupsafe import Markup, escape

    known = [value for values in series.values() for value in values if value is not None and math.isfinite(value)]
    place = _scale(known)
    across = _across(steps)
    parts = [_grid(known, place), _steps(steps, across)]
    for number, (name, values) in enumerate(series.items()):
        ink, dashes = INKS[number % len(INKS)]
        style = f'fill="none" style="stroke: var({ink})" stroke-width="2" stroke-dasharray="{dashes}"'
        parts += [f'<path d="{_path(steps, values, across, place)}" {style}/>', _key(number, str(escape(name)), style)]
    told = "; ".join(f"{name} {_ends(values)}" for name, values in series.items())
    label = escape(f"{title}, over {len(steps)} steps: {told}")
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" style="width: 100%; height: auto">'
        f"{''.join(parts)}</svg>"
    )  # every text in it is escaped above


def _scale(known: Sequence[float]):  # type: ignore[no-untyped-def]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    logarithmic = low > 0 and high > 10 * low
    turn = math.log10 if logarithmic else float
    low, high = (turn(low), turn(high)) if logarithmic else (min(0.0, low) if high <= 1 else low, high)
    high = high if high > low else low + 1
    return lambda value: HEIGHT - BOTTOM - (turn(value) - low) / (high - low) * (HEIGHT - BOTTOM - TOP)


def _across(steps: Sequence[float]):  # type: ignore[no-untyped-def]
    first, last = (steps[0], steps[-1]) if steps else (0, 1)
    return lambda step: LEFT + (step - first) / max(1, last - first) * (WIDTH - LEFT - 14)


def _path(steps, values, across, place) -> str:  # type: ignore[no-untyped-def]
    parts, pen = [], "M"
    for step, value in zip(steps, values, strict=True):
        if value is None or not math.isfinite(value):
            pen = "M"
            continue
        parts.append(f"{pen}{across(step):.1f} {place(value):.1f}")
        pen = "L"
    return " ".join(parts) + ("h.1" if parts and "L" not in " ".join(parts) else "")


def _grid(known, place) -> str:  # type: ignore[no-untyped-def]
    if not known:
        return ""
    low, high = min(known), max(known)
    spread = low > 0 and high > 10 * low
    values = [low * (high / low) ** (k / 3) if spread else low + (high - low) * k / 3 for k in range(4)]
    rule = '<line x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}" style="stroke: var(--line)"/>'
    text = '<text x="{0}" y="{1:.1f}" text-anchor="end" font-size="12" style="fill: var(--quiet)">{2:.3g}</text>'
    return "".join(
        rule.format(LEFT, WIDTH - 14, place(value)) + text.format(LEFT - 6, place(value) + 4, value)
        for value in dict.fromkeys(values)
    )


def _steps(steps: Sequence[float], across) -> str:  # type: ignore[no-untyped-def]
    shown = dict.fromkeys((steps[0], steps[len(steps) // 2], steps[-1])) if steps else ()
    return "".join(
        f'<text x="{across(step):.1f}" y="{HEIGHT - 10}" text-anchor="middle" font-size="12" style="fill: var(--quiet)">'
        f"{step:,}</text>" for step in shown
    )  # fmt: skip


def _key(number: int, name: str, style: str) -> str:
    x = LEFT + number * 200
    return (
        f'<line x1="{x}" x2="{x + 26}" y1="14" y2="14" {style}/>'
        f'<text x="{x + 32}" y="18" font-size="12" style="fill: var(--text)">{name}</text>'
    )


def _ends(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return f"from {known[0]:.4g} to {known[-1]:.4g}" if known else "not defined"
