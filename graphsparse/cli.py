"""The command line: ``graphsparse analyze | convert | demo``. Exit status 0, 1 for a failed check, 2 for bad input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from graphsparse.errors import GraphsparseError, ModelError

app = typer.Typer(
    help="How sparse pruned networks really are: direct and effective sparsity of saved checkpoints.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

EXAMPLES = """
Examples:

  graphsparse analyze lenet.pt --model graphsparse.zoo:lenet300100 --input 1x28x28

  graphsparse analyze net.safetensors --model mypackage.models:build --input 3x224x224 --resolution channel --json out.json

  graphsparse analyze mlp.pt --model chain

  graphsparse analyze exported.pt2

  graphsparse analyze lenet.pt --model graphsparse.zoo:lenet300100 --input 1x28x28 --fail-under 50
"""


@app.callback()
def _root() -> None:
    """How sparse pruned networks really are."""


@app.command(epilog=EXAMPLES)
def analyze(
    checkpoint: Annotated[Path, typer.Argument(help="A state dict: .pt, .pth, .bin, .safetensors; or a .pt2 archive.")],
    model: Annotated[
        Optional[str],
        typer.Option(help="package.module:factory, a .pt2 file, 'chain' (kernels that follow each other), or 'none'."),
    ] = None,
    inputs: Annotated[
        Optional[list[str]],
        typer.Option("--input", help="Shape of one sample, like 1x28x28; int:16 for 16 tokens. Repeat for several inputs."),
    ] = None,
    resolution: Annotated[str, typer.Option(help="'unrolled': a unit per element; 'channel': a unit per channel.")] = "unrolled",
    norm_statistics: Annotated[bool, typer.Option(help="Let normalisation statistics carry influence.")] = False,
    form: Annotated[Optional[str], typer.Option(help="The checkpoint's form, if it should not be recognised.")] = None,
    json: Annotated[Optional[str], typer.Option(help="Write the report as JSON to this file; - for standard output.")] = None,
    html: Annotated[Optional[Path], typer.Option(help="Write the report as a page to this file.")] = None,
    fail_under: Annotated[
        Optional[float],
        typer.Option(metavar="EFFECTIVE_COMPRESSION", help="Exit with status 1 if the effective compression is below this."),
    ] = None,
) -> None:
    """Direct and effective sparsity of a checkpoint, by parameter and in total."""
    from graphsparse.reports.analyze import analyze as run
    from graphsparse.reports.terminal import show

    report = run(
        checkpoint, model, _examples(inputs), resolution=resolution, norm_statistics=norm_statistics, form=form
    )
    if json == "-":
        print(report.to_json())
    else:
        show(report)
    if json and json != "-":
        report.to_json(json)
    if html:
        report.to_html(html)
    if fail_under is not None:
        _check(report, fail_under)


def _check(report, fail_under: float) -> None:
    if report.sparsity is None:
        raise ModelError("--fail-under compares effective compressions", received="--model none")
    if report.sparsity.effective_compression < fail_under:
        reached = report.sparsity.effective_compression
        print(f"effective compression {reached:.2f} is under {fail_under:g}", file=sys.stderr)
        raise typer.Exit(1)


def _examples(inputs: list[str] | None):
    """Zeros of the given shapes with a batch axis of one; None where no shape is given."""
    if not inputs:
        return None
    import torch

    tensors = []
    for text in inputs:
        kind, _, sizes = text.rpartition(":")
        parts = sizes.lower().split("x")
        if kind not in ("", "int", "float") or not all(part.isdigit() and int(part) > 0 for part in parts):
            raise ModelError(
                "an input's shape is whole numbers joined by x", place="--input", received=repr(text),
                way_out="for example 3x32x32, or int:16 for tokens",
            )  # fmt: skip
        dtype = torch.int64 if kind == "int" else torch.float32
        tensors.append(torch.zeros(1, *map(int, parts), dtype=dtype))
    return tuple(tensors)


@app.command(epilog="Example:\n\n  graphsparse convert pruned.pt pruned.safetensors --to zeros")
def convert(
    source: Annotated[Path, typer.Argument(help="The checkpoint to read.")],
    target: Annotated[Path, typer.Argument(help="The file to write; replaced in one step.")],
    to: Annotated[str, typer.Option(help="The form to write: zeros, prune.")] = "zeros",
    form: Annotated[Optional[str], typer.Option(help="The form to read, if it should not be recognised.")] = None,
) -> None:
    """Write a checkpoint in another form; its masks stay what they are."""
    from graphsparse.checkpoints import read_checkpoint, write_checkpoint

    checkpoint = read_checkpoint(source, form=form)
    write_checkpoint(target, checkpoint.weights, checkpoint.masks, form=to)
    kept = sum(int(mask.sum()) for mask in checkpoint.masks.values())
    print(f"{source} ({checkpoint.form}) -> {target} ({to}): {len(checkpoint.masks)} masks, {kept:,} kept")


@app.command()
def demo() -> None:
    """Analyse a real pruned checkpoint, write its effective masks back, and compare predictions on real images."""
    from graphsparse.demo import run

    if not run(Console()):
        raise typer.Exit(1)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input is one line on standard error and exit status 2."""
    try:
        app(args=arguments, prog_name="graphsparse")
    except GraphsparseError as error:
        print(f"graphsparse: {error}", file=sys.stderr)
        raise SystemExit(2) from None
