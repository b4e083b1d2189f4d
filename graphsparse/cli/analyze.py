"""``graphsparse analyze``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphsparse.cli import options
from graphsparse.cli.bars import reading
from graphsparse.errors import ModelError

if TYPE_CHECKING:
    from graphsparse.reports.report import Report

EXAMPLES = """
Examples:

  graphsparse analyze net.pt --model graphsparse.zoo:lenet5 --input 3x32x32

  graphsparse analyze net.pt --model nets:build --model-arg width=64 --input 8

  graphsparse analyze mlp.safetensors --model chain --json -

  graphsparse analyze exported.pt2 --resolution channel --html report.html

  graphsparse analyze mlp.pt --model chain --fail-under 50

  graphsparse analyze my-llama/ --resolution channel
"""


def analyze(
    checkpoint: options.Checkpoint,
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
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the report as JSON; - for standard output.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page.")] = None,
    fail_under: Annotated[
        float | None,
        typer.Option(metavar="X", help="Status 1 if the effective compression is below this, or nothing is active."),
    ] = None,
) -> None:
    """Direct and effective sparsity of a checkpoint, by parameter and in total.

    With --model none: direct sparsity of each tensor, without a network.
    """
    if fail_under is not None:
        _check_limit(fail_under, model)
    from graphsparse.reports.analyze import analyze as run
    from graphsparse.reports.terminal import show

    with reading() as progress:
        report = run(
            checkpoint, model, options.examples(inputs), resolution=resolution, norm_statistics=norm_statistics,
            form=form, model_args=options.arguments(model_args), progress=progress, key=key, ignore=ignore or (),
            prefix=prefix, trust_sizes=trust_sizes, sources=sources or None,
        )  # fmt: skip
    if json and json != "-":
        report.to_json(json)
    if html:
        report.to_html(html)
    if json == "-":
        print(report.to_json())
    else:
        show(report)
    if fail_under is not None:
        _check(report, fail_under)


def _check_limit(fail_under: float, model: str | None) -> None:
    if not fail_under >= 0:
        raise ModelError("a compression is a number from 0", place="--fail-under", received=fail_under)
    if model == "none":
        raise ModelError(
            "--fail-under compares effective compressions", received="--model none", way_out="name the model"
        )


def _check(report: Report, fail_under: float) -> None:
    reached = report.summary["effective_compression"]
    if not report.summary["active"]:  # infinitely compressed, but nobody wants that
        print("nothing is active: the network has collapsed", file=sys.stderr)
        raise typer.Exit(1)
    if reached < fail_under:
        print(f"effective compression {reached:.2f} is under {fail_under:g}", file=sys.stderr)
        raise typer.Exit(1)
