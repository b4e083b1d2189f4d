"""``graphsparse topology``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphsparse.cli import options, outputs
from graphsparse.cli.bars import bars
from graphsparse.cli.streams import answering, working
from graphsparse.errors import ModelError

if TYPE_CHECKING:
    from graphsparse.capture import Network
    from graphsparse.graph import LayeredGraph

EXAMPLES = """
Examples:

  graphsparse topology net.pt --model graphsparse.zoo:lenet5 --input 3x32x32

  graphsparse topology mlp.pt --model chain --metric liveness --metric minimum_cut

  graphsparse topology net.pt --model graphsparse.zoo:lenet5 --input 3x32x32 --metric expansion --encoding rolled

  graphsparse topology mlp.pt --model chain --json - --csv topology.csv
"""


def topology(
    checkpoint: options.Checkpoint,
    model: options.Model = None,
    example_inputs: options.Inputs = None,
    model_args: options.Arguments = None,
    metrics: options.Metrics = None,
    encoding: Annotated[
        str,
        typer.Option(
            "--encoding",
            metavar="NAME",
            help="How a layer's bipartite graph sees a kernel: channel (an edge where any tap is), rolled (a left unit per tap), unrolled.",
        ),
    ] = "channel",
    resolution: options.Resolution = None,
    norm_statistics: options.Statistics = False,
    sources: options.Sources = None,
    form: options.Form = None,
    key: options.Key = None,
    ignore: options.Ignore = None,
    prefix: options.Prefix = None,
    trust_sizes: options.TrustSizes = False,
    cache: options.Cache = True,
    select: options.Select = None,
    json: outputs.Json = None,
    csv: outputs.Csv = None,
    parquet: outputs.Parquet = None,
) -> None:
    """Topology statistics of a checkpoint, for what is kept and for what is active: in all, by layer, by parameter.

    The table shows what is found in all; JSON and CSV have every layer and parameter.

    Metrics of weights are undefined for a checkpoint of masks alone.
    """
    if model == "none":
        raise ModelError("topology must have a network", received="--model none", way_out="name the model")
    wanted = outputs.Outputs(json, csv, parquet).check()
    options.check_resolution(resolution)
    with working() as console, bars(console) as progress:
        from graphsparse.capture import export
        from graphsparse.checkpoints import Part
        from graphsparse.metrics.encodings import check_encoding
        from graphsparse.metrics.topology import check_metrics
        from graphsparse.metrics.topology import topology as run
        from graphsparse.networks.loading import load_network
        from graphsparse.reports.selection import select_places

        check_metrics(metrics or None)
        check_encoding(encoding)
        network = load_network(
            checkpoint, model, form=form, arguments=options.arguments(model_args),
            part=Part.of(key, ignore or (), prefix), trust_sizes=trust_sizes, cache=cache,
        ).with_inputs(options.examples(example_inputs))  # fmt: skip
        graph = export(network, resolution=resolution, norm_statistics=norm_statistics, sources=sources or None)
        found = run(
            graph, metrics or None, encoding=encoding, weights=_weights(network, graph), progress=progress("metrics")
        )
        found = select_places(found, select)
    wanted.write(found.to_json, lambda: found.frame)
    with answering() as out:
        if not wanted.answer(out, found.to_json, lambda: found.frame):
            from graphsparse.reports.topology import show

            show(checkpoint.name, found, (*network.notes, *graph.notes), out)


def _weights(network: Network, graph: LayeredGraph) -> Mapping[str, Any] | None:
    """The checkpoint's weights: none where it holds masks alone; None where the graph has them already."""
    if network.masks and not network.weights:
        return {}
    if graph.weights:
        return None
    return {name: network.weights[name] for name in graph.shapes if name in network.weights}
