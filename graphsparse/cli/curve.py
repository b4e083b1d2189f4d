"""``graphsparse curve``."""

from __future__ import annotations

from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphsparse.cli import options, outputs
from graphsparse.cli.bars import bars
from graphsparse.cli.streams import answering, working
from graphsparse.cli.wording import one_line
from graphsparse.errors import TargetError

if TYPE_CHECKING:
    import pandas

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
    json: outputs.Json = None,
    csv: outputs.Csv = None,
    parquet: outputs.Parquet = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw them: .png, .svg or .pdf.")] = None,
    points: Annotated[
        int, typer.Option(metavar="N", min=0, help="Points of each curve, even in log compression; 0 for all.")
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
    cache: options.Cache = True,
    data: options.Data = None,
    seed: options.Seed = 0,
) -> None:
    """Effective against direct compression at every threshold, for one method or several."""
    if all(path is None for path in (plot, json, csv, parquet)):
        raise TargetError(
            "a curve must go into a file", received="none of --plot, --csv, --json, --parquet", way_out="name one"
        )
    options.check_resolution(resolution)
    options.check_outputs(plot)
    wanted = outputs.Outputs(json, csv, parquet).check()
    with working() as console, bars(console) as progress:
        from graphsparse.capture import export
        from graphsparse.checkpoints import Part
        from graphsparse.cli.scoring import network
        from graphsparse.passes.curve import compression_curve
        from graphsparse.plots.saving import kind_of
        from graphsparse.pruning.methods import method_named, saliency
        from graphsparse.reports.curves import frame_of, picture, write_picture

        if plot is not None:
            kind_of(plot)
        named = {method: method_named(method) for method in methods}
        batches = options.batches(data)
        given = network(
            checkpoint, model, example_inputs, model_args, form, methods=methods,
            part=Part.of(key, ignore or (), prefix), trust_sizes=trust_sizes, cache=cache,
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
    wanted.write(partial(_json, frame), lambda: frame)
    if plot is not None and drawn is not None:
        write_picture(drawn, plot)
    with answering() as out:
        if not wanted.answer(out, partial(_json, frame), lambda: frame):
            line = "Written: " + ", ".join(str(path) for path in (csv, json, parquet, plot) if path is not None)
            out.print("\n".join(map(one_line, (*given.notes, line))), markup=False, highlight=False, soft_wrap=True)


def _json(frame: pandas.DataFrame) -> str:
    from graphsparse.measures.tables import plain_rows

    return dumps({"points": plain_rows(frame.to_dict("records"))}, indent=1)
