"""``graphsparse export``."""

from __future__ import annotations

from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from graphsparse.cli import options, outputs
from graphsparse.cli.bars import bars
from graphsparse.cli.streams import answering, working
from graphsparse.errors import ModelError

EXAMPLES = """
Examples:

  graphsparse export mlp.pt --model chain --out mlp.graphml

  graphsparse export net.pt --model graphsparse.zoo:lenet5 --input 3x32x32 --out net.parquet

  graphsparse export my-llama/ --resolution channel --out layers.dot
"""


def export(
    checkpoint: options.Checkpoint,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", show_default=False,
            help="The file to write. Its ending says the form: .npz, .graphml, .gexf, .parquet (edges), .dot (layers).",
        ),
    ],
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
    force: Annotated[bool, typer.Option("--force", help="Write GraphML and GEXF of more than a million edges.")] = False,
    json: outputs.Json = None,
) -> None:  # fmt: skip
    """Write the graph of a checkpoint for other programs, with what is active marked.

    Python reads the .npz again: graphsparse.load_graph.
    """
    if model == "none":
        raise ModelError("export must have a network", received="--model none", way_out="name the model")
    options.check_resolution(resolution)
    options.check_outputs(out)
    wanted = outputs.Outputs(json).check()
    with working() as console, bars(console) as progress:
        from graphsparse.capture import export as graph_of
        from graphsparse.checkpoints import Part
        from graphsparse.exports.save import format_of, save_graph
        from graphsparse.networks.loading import load_network

        format_of(out)
        network = load_network(
            checkpoint, model, form=form, arguments=options.arguments(model_args),
            part=Part.of(key, ignore or (), prefix), trust_sizes=trust_sizes, cache=cache,
        ).with_inputs(options.examples(example_inputs))  # fmt: skip
        graph = graph_of(network, resolution=resolution, norm_statistics=norm_statistics, sources=sources or None)
        save_graph(graph, out, force=force, progress=progress("writing"))
    told = {"file": str(out), "layers": len(graph.layers), "units": graph.n_units, "connections": graph.n_connections}
    to_json = partial(dumps, told, indent=2)
    wanted.write(to_json)
    with answering() as said:
        if not wanted.answer(said, to_json):
            line = f"{out}: {told['layers']:,} layers, {told['units']:,} units"
            said.print(line, markup=False, highlight=False, soft_wrap=True)
