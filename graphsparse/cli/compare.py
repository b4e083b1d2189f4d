"""``graphsparse compare``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer
from typer import Option

from graphsparse.cli import options, outputs
from graphsparse.cli.bars import bars
from graphsparse.cli.groups import GraphOptions
from graphsparse.cli.streams import complain, working

EXAMPLES = """
graphsparse compare before.pt after.pt --model graphsparse.zoo:lenet5 --input 3x32x32
graphsparse compare a.pt b.pt c.pt --model chain --metric minimum_cut --json -
graphsparse compare main.pt new.pt --model chain --fail-if "B.active < 0.9 * A.active"
"""


def compare(
    checkpoints: options.Checkpoints,
    *,
    given: GraphOptions,
    metrics: options.Metrics = None,
    select: options.Select = None,
    wanted: outputs.Outputs,
    html: outputs.Html = None,
    fail_if: Annotated[list[str] | None, Option(metavar="CONDITION",
        help="Status 1 if it holds, as 'B.effective_compression < 0.9 * A.effective_compression': a measure of a "
        "checkpoint, of the last one without a letter; + - * / and or not. Repeat for more.")] = None,
) -> None:  # fmt: skip
    """Put checkpoints of one network side by side, called A, B, C: sparsity, overlap, what died and came to life, topology."""
    given.check("a comparison")
    wanted.check(html)
    with working() as console, bars(console) as progress:
        from graphsparse.reports.selection import select_rows
        from graphsparse.reports.tables import show_comparison
        from graphsparse.runs.compare import METRICS
        from graphsparse.runs.compare import compare as run

        found = run(checkpoints, **given.arguments, metrics=metrics or METRICS, progress=progress("checkpoints"))
        failed = [condition for condition in fail_if or () if found.holds(condition)]
        shown = select_rows(found, select)
    if html is not None:
        shown.to_html(html, command=outputs.typed())
    wanted.deliver(shown.to_json, partial(show_comparison, shown), lambda: shown.frame)
    for condition in failed:
        complain(f"this holds: {condition}")
    if failed:
        raise typer.Exit(1)
