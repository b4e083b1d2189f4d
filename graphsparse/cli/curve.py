"""``graphsparse curve``."""

from __future__ import annotations

from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated

from typer import Option

from graphsparse.cli import options, outputs
from graphsparse.cli.bars import bars
from graphsparse.cli.groups import GraphOptions
from graphsparse.cli.streams import working
from graphsparse.cli.wording import one_line
from graphsparse.errors import TargetError

EXAMPLES = """
graphsparse curve mlp.pt --model chain --method magnitude --method lamp --plot c.png
graphsparse curve mlp.pt --model chain --method random/igq --csv curve.csv
"""


def curve(
    checkpoint: options.Checkpoint,
    *,
    methods: Annotated[list[str], Option("--method", metavar="NAME", help=f"Repeat to compare. {options.Methods}")],
    wanted: outputs.Outputs,
    plot: Annotated[Path | None, Option(metavar="FILE", help="Draw them: .png, .svg or .pdf.")] = None,
    points: Annotated[int, Option(metavar="N", min=0,
        help="Points of each curve, evenly spaced in log compression; 0: all.")] = 400,
    compression: Annotated[float, Option(metavar="X", help="The compression at which methods in rounds end.")] = 1000.0,
    given: GraphOptions,
    data: options.Data = None,
    seed: options.Seed = 0,
) -> None:  # fmt: skip
    """Effective against direct compression at every threshold, for one method or several."""
    if all(path is None for path in (plot, wanted.json, wanted.csv, wanted.parquet)):
        raise TargetError(
            "a curve must go into a file", received="none of --plot, --csv, --json, --parquet", way_out="name one"
        )
    given.check()
    wanted.check(plot)
    with working() as console, bars(console) as progress:
        from graphsparse.measures.tables import plain_rows
        from graphsparse.passes.curve import compression_curve
        from graphsparse.plots.saving import kind_of
        from graphsparse.pruning.methods import saliency
        from graphsparse.reports.curves import draw, frame_of

        if plot is not None:
            kind_of(plot)
        batches = options.batches(data)
        loaded = given.scored(checkpoint, methods)
        graph = given.graph(loaded)
        curves = {}
        for method in dict.fromkeys(methods):
            scores = saliency(
                method, loaded, list(graph.shapes), data=batches,
                masks={name: mask.unpack() for name, mask in graph.masks.items()}, seed=seed, compression=compression,
                progress=progress(method),
            )  # fmt: skip
            curves[method] = compression_curve(graph, scores)
        frame = frame_of(curves, points)
        if not frame["active"].any():
            raise TargetError(
                "a curve must be of a network in which something is active", place=str(checkpoint),
                received="a collapsed network", way_out="start from a checkpoint that is pruned less",
            )  # fmt: skip
        if plot is not None:
            draw(frame, plot, checkpoint.name)
    written = ", ".join(str(path) for path in (wanted.csv, wanted.json, wanted.parquet, plot) if path is not None)
    lines = map(one_line, (*loaded.notes, f"Written: {written}"))
    told = {"points": plain_rows(frame.to_dict("records"))}
    wanted.deliver(partial(dumps, told, indent=1), partial(outputs.say, lines), lambda: frame)
