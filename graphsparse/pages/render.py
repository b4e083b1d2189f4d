"""A page as the text of one file: no network, no server, and names from files never read as markup."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphsparse.errors import needs_extra
from graphsparse.pages.sections import Page

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

HERE = Path(__file__).parent
LIBRARY, LICENCES = "vendor/d3.js", "vendor/LICENSES.txt"
_TURNING = dict.fromkeys((0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)
"""Marks that turn the direction of the text around them, so that a name would change what a sentence seems to say."""


def render(page: Page) -> str:
    """The page as HTML text. Needs the extra ``html``.

    A policy in the page allows its own scripts, by their digests, and nothing else. So a browser runs nothing that a
    name holds, and asks no server.
    """
    files = dict.fromkeys(name for section in page.sections for name in section.scripts)
    library = f"/*\n{_text(LICENCES)}*/\n{_text(LIBRARY)}"  # every copy of it must hold its licences
    own = [_text(f"assets/{name}") for name in ("core.js", *files)]
    scripts = [f"\n{script}\n" for script in (library, *own)] if files else []
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    text = _environment().get_template("page.html").render(
        page=page, scripts=scripts, digests=digests, style=_text("assets/style.css"),
        data=as_json({section.key: section.drawn for section in page.sections if section.drawn is not None}),
    )  # fmt: skip
    return f"{text}\n"


def render_part(template: str, values: Mapping[str, Any]) -> str:
    """A template by itself, for places that have room for no more than a part of a page."""
    return _environment().get_template(template).render(**values)


def as_json(value: Any) -> str:
    """JSON that may stand inside a script element: no text in it ends the element. Infinity and NaN are null.

    Example:
        >>> as_json({"</script>": float("inf")})
        '{"\\\\u003c/script\\\\u003e":null}'
    """
    text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {straight(str(key)): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, str):
        return straight(value)
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def straight(value: Any) -> Any:
    """A text without marks that turn its direction; anything else as it is.

    Example:
        >>> straight("fc\\u202e1.weight"), straight(3)
        ('fc\ufffd1.weight', 3)
    """
    return value.translate(_TURNING) if isinstance(value, str) else value


@cache
def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    with needs_extra("html", "a page needs Jinja2"):
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined, finalize=straight,
    )  # fmt: skip
    made.filters |= {each.__name__: each for each in (count, shape, fraction, times, share, shown, dotted)}
    return made


def dotted(name: str) -> Markup:
    """A name that a browser may break behind each dot; it is escaped."""
    from markupsafe import Markup

    return Markup(".<wbr>").join(name.split("."))


def count(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{int(value):,}"


def shape(sizes: Any) -> str:
    """Sizes as people write them."""
    return " × ".join(map(str, sizes)) or "one number"


def fraction(value: float) -> str:
    """A sparsity in four digits; almost everything is not everything.

    Example:
        >>> fraction(0.99999), fraction(1.0), fraction(0.5)
        ('0.9999', '1.0000', '0.5000')
    """
    return f"{min(value, 0.9999) if value < 1 else value:.4f}"


def times(value: float) -> str:
    """A compression."""
    return "infinite" if math.isinf(value) else f"{value:,.1f}×"


def share(value: float) -> str:
    """A share in percent; what is almost none or almost all is not said to be so.

    Example:
        >>> [share(each) for each in (0, 0.0001, 0.195, 0.9999, 1)]
        ['0 %', 'under 0.1 %', '19.5 %', 'over 99.9 %', '100 %']
    """
    if 0 < value < 0.001:
        return "under 0.1 %"
    if 0.999 < value < 1:
        return "over 99.9 %"
    return f"{100 * value:.{0 if value in (0, 1) else 1}f} %"


def shown(value: Any) -> str:
    """Any value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value))
    if isinstance(value, float):
        return "infinite" if math.isinf(value) else f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
