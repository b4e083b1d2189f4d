"""``graphsparse analyze``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphsparse.cli import options
from graphsparse.cli.bars import reading
from graphsparse.cli.streams import COMMAND, answering, complain, working
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
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the report as JSON; - for standard output.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as a page.")] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compare outputs before and after the dead connections are dropped."),
    ] = False,
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
    options.check_resolution(resolution)
    options.check_outputs(None if json == "-" else json, html)
    with working() as console, reading(console) as progress:
        from graphsparse.reports.analyze import analyze as run
        from graphsparse.reports.terminal import show

        report = run(
            checkpoint, model, options.examples(example_inputs), resolution=resolution, norm_statistics=norm_statistics,
            form=form, model_args=options.arguments(model_args), progress=progress, key=key, ignore=ignore or (),
            prefix=prefix, trust_sizes=trust_sizes, sources=sources or None, cache=cache,
            verify=verify,
        )  # fmt: skip
    if json is not None and json != "-":
        report.to_json(json)
    if html is not None:
        report.to_html(html, command=shlex.join(("graphsparse", *COMMAND.get())))
    with answering() as out:
        if json == "-":
            out.file.write(report.to_json() + "\n")
        else:
            show(report, out)
    if fail_under is not None:
        _check(report, fail_under)


def _check_limit(fail_under: float, model: str | None) -> None:
    if not fail_under >= 0:
        raise ModelError("a compression must be a number from 0", place="--fail-under", received=fail_under)
    if model == "none":
        raise ModelError(
            "--fail-under must have an effective compression to compare", received="--model none",
            way_out="name the model",
        )  # fmt: skip


def _check(report: Report, fail_under: float) -> None:
    reached = report.summary["effective_compression"]
    if not report.summary["active"]:  # infinitely compressed, but nobody wants that
        complain("nothing is active: the network has collapsed")
        raise typer.Exit(1)
    if reached < fail_under:
        complain(f"effective compression {reached:.2f} is under {fail_under:g}")
        raise typer.Exit(1)
