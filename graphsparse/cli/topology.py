"""``graphsparse topology``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from graphsparse.cli import options, outputs
from graphsparse.cli.bars import bars
from graphsparse.cli.groups import GraphOptions
from graphsparse.cli.streams import working

if TYPE_CHECKING:
    from graphsparse.capture import Network
    from graphsparse.graph import LayeredGraph

EXAMPLES = """
graphsparse topology net.pt --model graphsparse.zoo:lenet5 --input 3x32x32
graphsparse topology mlp.pt --model chain --metric liveness --metric minimum_cut
graphsparse topology net.pt --model graphsparse.zoo:lenet5 --input 3x32x32 --metric expansion --encoding rolled
graphsparse topology mlp.pt --model chain --json - --csv topology.csv
"""


def topology(
    checkpoint: options.Checkpoint,
    *,
    given: GraphOptions,
    metrics: options.Metrics = None,
    encoding: Annotated[str, Option("--encoding", metavar="NAME",
        help="How a layer's bipartite graph sees a kernel: channel (an edge where any tap is), "
        "rolled (a left unit per tap), unrolled.")] = "channel",
    select: options.Select = None,
    wanted: outputs.Outputs,
) -> None:  # fmt: skip
    """Topology statistics of a checkpoint, for what is kept and for what is active: in all, by layer, by parameter.

    The table shows what is found in all; JSON and CSV have every layer and parameter.

    Metrics of weights are undefined for a checkpoint of masks alone.
    """
    given.check("topology")
    wanted.check()
    with working() as console, bars(console) as progress:
        from graphsparse.metrics.encodings import check_encoding
        from graphsparse.metrics.topology import check_metrics
        from graphsparse.metrics.topology import topology as run
        from graphsparse.reports.selection import select_places
        from graphsparse.reports.tables import show_topology

        check_metrics(metrics or None)
        check_encoding(encoding)
        network = given.network(checkpoint)
        graph = given.graph(network)
        weights = _weights(network, graph)
        every = run(graph, metrics or None, encoding=encoding, weights=weights, progress=progress("metrics"))
        found = select_places(every, select)
    shown = partial(show_topology, checkpoint.name, found, (*network.notes, *graph.notes))
    wanted.deliver(found.to_json, shown, lambda: found.frame)


def _weights(network: Network, graph: LayeredGraph) -> Mapping[str, Any] | None:
    """The checkpoint's weights: none where it holds masks alone; None where the graph has them already."""
    if network.masks and not network.weights:
        return {}
    if graph.weights:
        return None
    return {name: network.weights[name] for name in graph.shapes if name in network.weights}
