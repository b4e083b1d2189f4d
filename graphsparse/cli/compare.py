"""``graphsparse compare``."""

from __future__ import annotations

from typing import Annotated

import typer

from graphsparse.cli import options, outputs
from graphsparse.cli.bars import bars
from graphsparse.cli.streams import answering, complain, working
from graphsparse.errors import ModelError

EXAMPLES = """
Examples:

  graphsparse compare before.pt after.pt --model graphsparse.zoo:lenet5 --input 3x32x32

  graphsparse compare a.pt b.pt c.pt --model chain --metric minimum_cut --json -

  graphsparse compare main.pt new.pt --model chain --fail-if "B.active < 0.9 * A.active"
"""


def compare(
    checkpoints: options.Checkpoints,
    model: options.Model = None,
    example_inputs: options.Inputs = None,
    model_args: options.Arguments = None,
    metrics: options.Metrics = None,
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
    html: outputs.Html = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Status 1 if it holds, as 'B.effective_compression < 0.9 * A.effective_compression': a measure of a "
            "checkpoint, of the last one without a letter; + - * / and or not. Repeat for more.",
        ),
    ] = None,
) -> None:
    """Put checkpoints of one network side by side, called A, B, C: sparsity, overlap, what died and came to life, topology."""
    if model == "none":
        raise ModelError("a comparison must have a network", received="--model none", way_out="name the model")
    wanted = outputs.Outputs(json, csv, parquet).check()
    options.check_resolution(resolution)
    options.check_outputs(html)
    with working() as console, bars(console) as progress:
        from graphsparse.reports.selection import select_rows
        from graphsparse.reports.tables import show_comparison
        from graphsparse.runs.compare import METRICS
        from graphsparse.runs.compare import compare as run

        found = run(
            checkpoints, model, options.examples(example_inputs), metrics=metrics or METRICS, resolution=resolution,
            norm_statistics=norm_statistics, sources=sources or None, form=form, model_args=options.arguments(model_args),
            key=key, ignore=ignore or (), prefix=prefix, trust_sizes=trust_sizes, cache=cache, progress=progress("checkpoints"),
        )  # fmt: skip
        failed = [condition for condition in fail_if or () if found.holds(condition)]
        shown = select_rows(found, select)
    wanted.write(shown.to_json, lambda: shown.frame)
    if html is not None:
        shown.to_html(html, command=outputs.typed())
    with answering() as out:
        if not wanted.answer(out, shown.to_json, lambda: shown.frame):
            show_comparison(shown, out)
    for condition in failed:
        complain(f"this holds: {condition}")
    if failed:
        raise typer.Exit(1)
