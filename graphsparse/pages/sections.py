"""What a page is: a title and sections, each plain data with a template that shows it and a script that draws it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
