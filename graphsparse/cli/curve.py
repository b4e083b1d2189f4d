"""``graphsparse curve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from graphsparse.cli import options
from graphsparse.errors import TargetError

EXAMPLES = """
Examples:

  graphsparse curve mlp.pt --model chain --method magnitude --method lamp --plot c.png

  graphsparse curve mlp.pt --model chain --method igq-random --csv curve.csv
"""


def curve(
    checkpoint: options.Checkpoint,
    methods: Annotated[
        list[str], typer.Option("--method", metavar="NAME", help=f"Repeat to compare. {options.Methods}")
    ],
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the curves as CSV.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw them: .png, .svg or .pdf.")] = None,
    points: Annotated[
        int, typer.Option(metavar="N", help="Points of each curve, even in log compression; 0 for all.")
    ] = 400,
    compression: Annotated[float, typer.Option(metavar="X", help="Where methods that work in rounds end.")] = 1000.0,
    model: options.Model = None,
    inputs: options.Inputs = None,
    model_args: options.Arguments = None,
    resolution: options.Resolution = None,
    norm_statistics: options.Statistics = False,
    sources: options.Sources = None,
    form: options.Form = None,
    key: options.Key = None,
    ignore: options.Ignore = None,
    prefix: options.Prefix = None,
    trust_sizes: options.TrustSizes = False,
    data: options.Data = None,
    seed: options.Seed = 0,
) -> None:
    """Effective against direct compression at every threshold, for one method or several."""
    if csv is None and plot is None:
        raise TargetError("a curve goes into a file", received="neither --csv nor --plot", way_out="name one")
    from graphsparse.checkpoints import Part
    from graphsparse.cli.bars import bars
    from graphsparse.cli.scoring import network
    from graphsparse.passes.curve import compression_curve
    from graphsparse.pruning.methods import saliency
    from graphsparse.reports.curves import draw, frame_of

    given = network(
        checkpoint, model, inputs, model_args, form, resolution, norm_statistics, methods=methods,
        part=Part.of(key, ignore or (), prefix), trust_sizes=trust_sizes, sources=sources,
    )  # fmt: skip
    curves = {}
    with bars(Console()) as progress:
        for method in dict.fromkeys(methods):
            scores = saliency(
                method, given.model, list(given.graph.shapes), example_inputs=given.args, kwargs=given.kwargs,
                data=options.batches(data), masks={n: mask.unpack() for n, mask in given.graph.masks.items()}, seed=seed, compression=compression,
                progress=progress(method), weights=given.weights,
            )  # fmt: skip
            curves[method] = compression_curve(given.graph, scores)
    frame = frame_of(curves, points)
    if not frame["active"].any():
        raise TargetError(
            "a curve is drawn of a network in which something is active", place=str(checkpoint),
            received="a collapsed network", way_out="start from a checkpoint that is pruned less",
        )  # fmt: skip
    if csv:
        frame.to_csv(csv, index=False)
    if plot:
        draw(frame, plot, checkpoint.name)
    for note in given.notes:
        print(note)
    print("Written: " + ", ".join(str(path) for path in (csv, plot) if path))
