"""Compression curves as one frame, and as one picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from graphsparse.passes.curve import CompressionCurve
from graphsparse.plots.curves import curve
from graphsparse.plots.saving import save
from graphsparse.plots.style import require

if TYPE_CHECKING:
    import pandas


def frame_of(curves: Mapping[str, CompressionCurve], points: int = 400) -> pandas.DataFrame:
    """The curves below each other, with their names in the column "method".

    Of a curve with more than ``points`` thresholds about as many stay: the first, the last, and others at even steps of
    log compression. 0 leaves all.
    """
    import pandas

    frames = {}
    for name, each in curves.items():
        frame = each.frame
        if 0 < points < len(frame):
            kept = frame["kept"].to_numpy()  # rises
            rows = np.searchsorted(kept, np.geomspace(max(kept[0], 1), kept[-1], points)).clip(0, len(kept) - 1)
            frame = frame.iloc[np.unique(np.r_[0, rows, len(kept) - 1])]
        frames[name] = frame
    return pandas.concat(frames, names=["method"]).reset_index(level="method").reset_index(drop=True)


def draw(frame: pandas.DataFrame, path: str | os.PathLike[str], title: str = "") -> None:
    """Draw effective against direct compression into a file, both logarithmic, a line per method.

    Needs the extra ``plots``. Raises TargetError for a path that does not end in .png, .svg or .pdf.
    """
    require()
    from matplotlib.figure import Figure

    axes = curve(frame, ax=Figure(figsize=(5.4, 4.4), layout="constrained").add_subplot())
    axes.set_title(title, parse_math=False)  # a file's name, dollar signs and all
    save(axes, path)
