"""``graphsparse topology``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphsparse.cli import options
from graphsparse.cli.bars import bars
from graphsparse.cli.streams import answering, working
from graphsparse.errors import ModelError

EXAMPLES = """
Examples:

  graphsparse topology net.pt --model graphsparse.zoo:lenet5 --input 3x32x32

  graphsparse topology mlp.pt --model chain --metric liveness --metric minimum_cut

  graphsparse topology mlp.pt --model chain --json - --csv topology.csv
"""


def topology(
    checkpoint: options.Checkpoint,
    model: options.Model = None,
    example_inputs: options.Inputs = None,
    model_args: options.Arguments = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="A metric or a group: liveness, why, paths. Repeat for more."),
    ] = None,
    resolution: options.Resolution = None,
    norm_statistics: options.Statistics = False,
    sources: options.Sources = None,
    form: options.Form = None,
    key: options.Key = None,
    ignore: options.Ignore = None,
    prefix: options.Prefix = None,
    trust_sizes: options.TrustSizes = False,
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write all as JSON; - for standard output.")] = None,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="Write all as CSV; - for standard output.")] = None,
) -> None:
    """Topology statistics of a checkpoint, for what is kept and for what is active: in all, by layer, by parameter.

    The table shows what is found in all; JSON and CSV have every layer and parameter.
    """
    if model == "none":
        raise ModelError("topology must have a network", received="--model none", way_out="name the model")
    if json == "-" and csv == "-":
        raise ModelError(
            "standard output must be for one of --json and --csv", received="- for both", way_out="name a file"
        )
    options.check_resolution(resolution)
    options.check_outputs(*(None if path == "-" else path for path in (json, csv)))
    with working() as console, bars(console) as progress:
        from graphsparse.capture import export
        from graphsparse.checkpoints import Part
        from graphsparse.metrics.topology import check_metrics
        from graphsparse.metrics.topology import topology as run
        from graphsparse.networks.loading import load_network

        check_metrics(metrics or None)
        network = load_network(
            checkpoint, model, form=form, arguments=options.arguments(model_args),
            part=Part.of(key, ignore or (), prefix), trust_sizes=trust_sizes,
        ).with_inputs(options.examples(example_inputs))  # fmt: skip
        graph = export(network, resolution=resolution, norm_statistics=norm_statistics, sources=sources or None)
        found = run(graph, metrics or None, progress=progress("metrics"))
    texts = {path: text for path, text in ((json, found.to_json), (csv, found.to_csv)) if path is not None}
    for path, text in texts.items():
        if path != "-":
            _write(path, text())
    with answering() as out:
        if "-" in texts:
            out.file.write(texts["-"]().rstrip("\n") + "\n")
        else:
            from graphsparse.reports.topology import show

            show(checkpoint.name, found, (*network.notes, *graph.notes), out)


def _write(path: str, text: str) -> None:
    from graphsparse.checkpoints.atomic import replacing

    with replacing(Path(path)) as file:
        file.write((text.rstrip("\n") + "\n").encode())
