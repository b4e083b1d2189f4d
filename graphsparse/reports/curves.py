"""Compression curves as one frame and one picture."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from graphsparse.checkpoints.atomic import replacing
from graphsparse.errors import MissingExtra, TargetError
from graphsparse.passes.curve import CompressionCurve

if TYPE_CHECKING:
    import pandas

PICTURES = (".png", ".svg", ".pdf")


def frame_of(curves: Mapping[str, CompressionCurve], points: int = 400) -> pandas.DataFrame:
    """The curves below each other, with their names in the column "method".

    Where a curve has more than ``points`` thresholds (0: take all), those next to points that lie evenly in log
    compression stay, first and last among them.
    """
    import pandas

    frames = {name: _thinned(curve.frame, points) for name, curve in curves.items()}
    return pandas.concat(frames, names=["method"]).reset_index(level="method").reset_index(drop=True)


def _thinned(frame: pandas.DataFrame, points: int) -> pandas.DataFrame:
    if points <= 0 or len(frame) <= points:
        return frame
    kept = frame["kept"].to_numpy()  # rises
    wanted = np.geomspace(max(kept[0], 1), kept[-1], points)
    rows = np.searchsorted(kept, wanted).clip(0, len(kept) - 1)
    return frame.iloc[np.unique(np.r_[0, rows, len(kept) - 1])]


def write_csv(frame: pandas.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write the curves as CSV, in one step."""
    with replacing(path) as file:
        file.write(frame.to_csv(index=False).encode())


def check_picture(path: str | os.PathLike[str]) -> str:
    """The kind of picture that a name ends in. Raises TargetError for one that is not .png, .svg or .pdf."""
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in PICTURES:
        raise TargetError(
            "the name of a picture must end in " + ", ".join(PICTURES), place=str(path), received=repr(ending)
        )
    return ending[1:]


def draw(frame: pandas.DataFrame, path: str | os.PathLike[str], title: str = "") -> None:
    """Write a `picture`, in one step."""
    write_picture(picture(frame, path, title), path)


def write_picture(drawn: bytes, path: str | os.PathLike[str]) -> None:
    """Write a picture that is drawn already."""
    with replacing(path) as file:
        file.write(drawn)


def picture(frame: pandas.DataFrame, path: str | os.PathLike[str], title: str = "") -> bytes:
    """Draw effective against direct compression, both logarithmic, a line per method; above the diagonal is dead.

    Needs the extra ``plots``. Raises TargetError for a path that does not end in .png, .svg or .pdf.
    """
    kind = check_picture(path)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("a picture needs matplotlib", way_out="pip install 'graphsparse[plots]'") from error
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for method, curve in frame.groupby("method", sort=False):
        alive = curve[curve["active"] > 0]
        axes.plot(alive["direct_compression"], alive["effective_compression"], label=str(method))
    ends = [frame["direct_compression"].min(), frame.loc[frame["active"] > 0, "direct_compression"].max()]
    axes.plot(ends, ends, color="0.6", linestyle=":", label="no dead connections")
    axes.set(xscale="log", yscale="log", xlabel="direct compression", ylabel="effective compression")
    axes.set_title(title, parse_math=False)  # a file's name, dollar signs and all
    axes.legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, dpi=150)
    return drawn.getvalue()
