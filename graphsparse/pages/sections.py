"""What a page is: a title and sections, each plain data with a template that shows it and a script that draws it.

The first section has what a reader should know first: alerts, each a sentence with its number and a link to its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LEVELS = ("severe", "warning", "note")
LISTED = 5
"""Alerts of one kind that are shown; a sentence counts the others."""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    ``key`` is its place on the page, ``title`` its heading. The ``template``, by default ``templates/<key>.html``, shows
    ``values``. The ``scripts``, files of ``assets/``, draw what is ``drawn``: plain values that JSON knows.
    """

    key: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    drawn: Any = None
    scripts: tuple[str, ...] = ()
    template: str = ""


@dataclass(frozen=True)
class Page:
    """A ``title``, a line below it, and ``sections`` in the order in which they are shown."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Alert:
    """``level`` is one of `LEVELS`; ``place`` is a link on the page, or nothing."""

    level: str
    text: str
    place: str = ""


def alert_section(alerts: Iterable[Alert], calm: str) -> Section:
    """The alerts, the worst first; ``calm`` is said where there are none."""
    worst = sorted(alerts, key=lambda alert: LEVELS.index(alert.level))
    return Section("alerts", "Alerts", {"alerts": worst, "calm": calm})


def few(alerts: Sequence[Alert], rest: str, place: str) -> Iterator[Alert]:
    """The first alerts of a kind, and one that counts the others."""
    yield from alerts[:LISTED]
    if len(alerts) > LISTED:
        yield Alert(alerts[0].level, f"{len(alerts) - LISTED:,} more {rest}.", place)
