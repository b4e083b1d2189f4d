"""``graphsparse export``."""

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

EXAMPLES = """
graphsparse export mlp.pt --model chain --out mlp.graphml
graphsparse export net.pt --model graphsparse.zoo:lenet5 --input 3x32x32 --out net.parquet
graphsparse export my-llama/ --resolution channel --out layers.dot
"""


def export(
    checkpoint: options.Checkpoint,
    *,
    out: Annotated[Path, Option("--out", metavar="FILE", show_default=False,
        help="The file to write. Its ending says the form: .npz, .graphml, .gexf, .parquet (edges), .dot (layers).")],
    given: GraphOptions,
    force: Annotated[bool, Option("--force",
        help="Write GraphML and GEXF of more than a million edges.")] = False,
    json: outputs.Json = None,
) -> None:  # fmt: skip
    """Write the graph of a checkpoint for other programs, with what is active marked.

    In Python, graphsparse.load_graph reads the .npz again.
    """
    given.check("export")
    wanted = outputs.Outputs(json).check(out)
    with working() as console, bars(console) as progress:
        from graphsparse.exports.save import format_of, save_graph

        format_of(out)
        graph = given.graph(given.network(checkpoint))
        save_graph(graph, out, force=force, progress=progress("writing"))
    told = {"file": str(out), "layers": len(graph.layers), "units": graph.n_units, "connections": graph.n_connections}
    line = f"Written: {out} ({told['layers']:,} layers, {told['units']:,} units)."
    wanted.deliver(partial(dumps, told, indent=2), partial(outputs.say, [line]))
