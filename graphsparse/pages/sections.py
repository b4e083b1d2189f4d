"""What a page is: a title and sections, each plain data with a template that shows it and a script that draws it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """A part of a page.

    ``key`` is the section's place on the page, ``title`` its heading. ``values`` are what the ``template`` shows, by default
    ``templates/<key>.html``; ``drawn`` is what the ``scripts`` (files of ``assets/``) draw: plain values that JSON knows.
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
