"""``graphsparse prune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from graphsparse.cli import options

EXAMPLES = """
Examples:

  graphsparse prune mlp.pt --model chain --compression 50 --out pruned.pt

  graphsparse prune net.pt --model nets:build --input 3x32x32 --method igq-random --effective --compression 500 --out pruned.safetensors

  graphsparse prune mlp.pt --model chain --method snip --data train.npz --direct --sparsity 0.95 --out pruned.pt --to prune
"""


def prune(
    checkpoint: options.Checkpoint,
    out: Annotated[
        Path, typer.Option(metavar="FILE", show_default=False, help="The pruned checkpoint, written in one step.")
    ],
    method: Annotated[str, typer.Option(metavar="NAME", help=options.Methods)] = "magnitude",
    compression: Annotated[
        float | None, typer.Option(metavar="X", help="Target: connections / connections left.")
    ] = None,
    sparsity: Annotated[float | None, typer.Option(metavar="S", help="Target: share of connections to drop.")] = None,
    effective: Annotated[bool, typer.Option("--effective/--direct", help="What the target counts.")] = True,
    to: Annotated[str, typer.Option(metavar="FORM", help="The form to write.")] = "zeros",
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
    """Prune a checkpoint to a direct or an effective target; what is written holds no dead connection."""
    from graphsparse.checkpoints import Part, write_checkpoint
    from graphsparse.cli.bars import bars
    from graphsparse.cli.scoring import network
    from graphsparse.pruning.prune import prune as run
    from graphsparse.reports.report import report_of
    from graphsparse.reports.terminal import show
    from graphsparse.surgery.places import under_every_name

    console = Console()
    given = network(
        checkpoint, model, inputs, model_args, form, resolution, norm_statistics, methods=[method],
        part=Part.of(key, ignore or (), prefix), trust_sizes=trust_sizes, sources=sources,
    )  # fmt: skip
    with bars(console) as progress:
        masks = run(
            given.model, given.args, method, sparsity=sparsity, compression=compression, effective=effective,
            data=options.batches(data), seed=seed, kwargs=given.kwargs, graph=given.graph, progress=progress(method),
            weights=given.weights,
        )  # fmt: skip
    write_checkpoint(out, given.weights, under_every_name(masks, given.graph, given.weights, to), form=to)
    show(report_of(f"{checkpoint.name}, {method}", given.graph.with_masks({**given.graph.masks, **masks})), console)
    for note in given.notes:
        print(note)
    if masks.dropped:
        print(f"{sum(masks.dropped.values()):,} connections that rank as high are dead and were dropped.")
    print(f"Written: {out} ({to}).")
