"""``graphsparse analyze``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from graphsparse.cli import options, outputs
from graphsparse.cli.bars import reading
from graphsparse.cli.groups import GraphOptions
from graphsparse.cli.streams import complain, working
from graphsparse.cli.wording import BAD_INPUT, one_line
from graphsparse.errors import ModelError

if TYPE_CHECKING:
    from graphsparse.reports.report import Report
    from graphsparse.reports.several import Reports

EXAMPLES = """
graphsparse analyze net.pt --model graphsparse.zoo:lenet5 --input 3x32x32
graphsparse analyze net.pt --model nets:build --model-arg width=64 --input 8
graphsparse analyze mlp.safetensors --model chain --json -
graphsparse analyze exported.pt2 --resolution channel --html report.html
graphsparse analyze mlp.pt --model chain --fail-under 50
graphsparse analyze my-llama/ --resolution channel
graphsparse analyze seed0.pt seed1.pt seed2.pt --model chain --csv seeds.csv
"""


def analyze(
    checkpoints: options.Checkpoints,
    *,
    given: GraphOptions,
    select: options.Select = None,
    wanted: outputs.Outputs,
    html: outputs.Html = None,
    verify: Annotated[bool, Option("--verify",
        help="Compare outputs before and after the dead connections are dropped.")] = False,
    fail_under: Annotated[float | None, Option(metavar="X",
        help="Status 1 if the effective compression is below this, or nothing is active.")] = None,
) -> None:  # fmt: skip
    """Direct and effective sparsity of a checkpoint, by parameter and in total; of several, a row for each.

    With --model none: direct sparsity of each tensor, without a network.
    """
    if fail_under is not None and not fail_under >= 0:
        raise ModelError("a compression must be a number from 0", place="--fail-under", received=fail_under)
    given.check("" if fail_under is None else "--fail-under")
    wanted.check(html)
    if html is not None and len(checkpoints) > 1:
        raise ModelError(
            "a page must be of one checkpoint", place="--html", received=f"{len(checkpoints)} checkpoints",
            way_out="make one of each",
        )  # fmt: skip
    with working() as console, reading(console) as progress:
        from graphsparse.reports.analyze import analyze as run
        from graphsparse.reports.several import report_each
        from graphsparse.reports.terminal import show_reports

        alone = partial(run, **given.arguments, verify=verify)
        found = report_each(checkpoints, alone, progress)
        shown = found.selected(select)
    if html is not None and found.only is not None:
        found.only.to_html(html, command=outputs.typed())
    wanted.deliver(shown.to_json, partial(show_reports, shown), shown.table)
    _end(found, fail_under)


def _end(found: Reports, fail_under: float | None) -> None:
    """Says which checks fail, and ends with the status that this gives."""
    failures = {} if fail_under is None else {n: _failure(each, fail_under) for n, each in found.reports.items()}
    failed = [text if found.only else f"{name}: {text}" for name, text in failures.items() if text]
    for text in (*failed, *(f"graphsparse: skipped: {one_line(error)}" for error in found.errors.values())):
        complain(text)
    if failed or found.errors:
        raise typer.Exit(BAD_INPUT if found.errors else 1)


def _failure(report: Report, fail_under: float) -> str:
    reached = report.summary["effective_compression"]
    if not report.summary["active"]:  # infinitely compressed, but nobody wants that
        return "nothing is active: the network has collapsed"
    return "" if reached >= fail_under else f"effective compression {reached:.2f} is under {fail_under:g}"
