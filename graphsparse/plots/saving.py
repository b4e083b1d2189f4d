"""Pictures as files, in one step, with fonts that papers take."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

from graphsparse.checkpoints.atomic import replacing
from graphsparse.errors import TargetError
from graphsparse.plots.style import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".svg", ".pdf")
SETTINGS: Any = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "graphsparse"}
"""TrueType fonts in PDF (publishers refuse type 3) and text as text in SVG; the same picture gives the same bytes."""
UNDATED = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def kind_of(path: str | os.PathLike[str]) -> str:
    """The kind of picture that a name ends in. Raises TargetError for one that is not .png, .svg or .pdf."""
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in ENDINGS:
        raise TargetError(
            "the name of a picture must end in " + ", ".join(ENDINGS), place=str(path), received=repr(ending)
        )
    return ending[1:]


def picture(drawn: Axes | Figure, kind: str, dpi: int = 300) -> bytes:
    """What is drawn as the content of a file of this kind: "png", "svg" or "pdf"."""
    require()
    import matplotlib

    figure = drawn.figure if hasattr(drawn, "lines") and hasattr(drawn, "get_xlim") else drawn
    content = io.BytesIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(content, format=kind, dpi=dpi, metadata=UNDATED[kind])  # type: ignore[union-attr]
    return content.getvalue()


def save(drawn: Axes | Figure, path: str | os.PathLike[str], dpi: int = 300) -> None:
    """Write what is drawn as PNG, SVG or PDF, in one step.

    Raises:
        TargetError: the name ends in something else. CheckpointError: the file cannot be written.
    """
    content = picture(drawn, kind_of(path), dpi)
    with replacing(path) as file:
        file.write(content)
