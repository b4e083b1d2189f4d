"""What a reader should know first: each alert a sentence with its number and a link to its place on the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from graphsparse.pages.render import count
from graphsparse.pages.sections import Section

LEVELS = ("severe", "warning", "note")
LISTED = 5
"""Alerts of one kind that are shown; a sentence counts the others."""


@dataclass(frozen=True)
class Alert:
    """``level`` is one of `LEVELS`; ``place`` is a link on the page, or nothing."""

    level: str
    text: str
    place: str = ""


def section(alerts: Iterable[Alert], calm: str) -> Section:
    """The alerts, the worst first; ``calm`` is said where there are none."""
    worst = sorted(alerts, key=lambda alert: LEVELS.index(alert.level))
    return Section("alerts", "Alerts", {"alerts": worst, "calm": calm})


def few(alerts: Sequence[Alert], rest: str, place: str) -> Iterator[Alert]:
    """The first alerts of a kind, and one that counts the others."""
    yield from alerts[:LISTED]
    if len(alerts) > LISTED:
        yield Alert(alerts[0].level, f"{count(len(alerts) - LISTED)} more {rest}.", place)
