"""``graphsparse curve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphsparse.cli import options
from graphsparse.cli.bars import bars
from graphsparse.cli.streams import answering, working
from graphsparse.cli.wording import one_line
from graphsparse.errors import TargetError

EXAMPLES = """
Examples:

  graphsparse curve mlp.pt --model chain --method magnitude --method lamp --plot c.png

  graphsparse curve mlp.pt --model chain --method random/igq --csv curve.csv
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
    example_inputs: options.Inputs = None,
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
        raise TargetError("a curve must go into a file", received="neither --csv nor --plot", way_out="name one")
    options.check_resolution(resolution)
    options.check_outputs(csv, plot)
    with working() as console, bars(console) as progress:
        from graphsparse.capture import export
        from graphsparse.checkpoints import Part
        from graphsparse.cli.scoring import network
        from graphsparse.passes.curve import compression_curve
        from graphsparse.pruning.methods import method_named, saliency
        from graphsparse.reports.curves import check_picture, frame_of, picture, write_csv, write_picture

        if plot is not None:
            check_picture(plot)
        named = {method: method_named(method) for method in methods}
        batches = options.batches(data)
        given = network(
            checkpoint, model, example_inputs, model_args, form, methods=methods,
            part=Part.of(key, ignore or (), prefix), trust_sizes=trust_sizes,
        )  # fmt: skip
        graph = export(given, resolution=resolution, norm_statistics=norm_statistics, sources=sources or None)
        curves = {}
        for method in named:
            scores = saliency(
                method, given, list(graph.shapes), data=batches,
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
        drawn = None if plot is None else picture(frame, plot, checkpoint.name)
    if csv is not None:
        write_csv(frame, csv)
    if plot is not None and drawn is not None:
        write_picture(drawn, plot)
    with answering() as out:
        line = "Written: " + ", ".join(str(path) for path in (csv, plot) if path is not None)
        out.print("\n".join(map(one_line, (*given.notes, line))), markup=False, highlight=False, soft_wrap=True)
