"""``graphsparse convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphsparse.cli import options

EXAMPLES = """
Examples:

  graphsparse convert pruned.pt pruned.safetensors --to zeros

  graphsparse convert mask.pth pruned.pt --to prune --weights dense.pt
"""


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", show_default=False, help="The checkpoint to read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", show_default=False, help="The file to write, in one step.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="FORM",
            show_default=False,
            help="zeros, prune, parametrization, sparse-bitmask; or masks alone: bits, openlth, csr.",
        ),
    ],
    form: options.Form = None,
    key: options.Key = None,
    ignore: options.Ignore = None,
    prefix: options.Prefix = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The weights, where IN holds masks alone and OUT is to hold both."),
    ] = None,
) -> None:
    """Write a checkpoint in another form; its masks stay what they are."""
    from graphsparse.checkpoints import Part
    from graphsparse.checkpoints import convert as run

    part = Part.of(key, ignore or (), prefix)
    checkpoint = run(source, target, to, form=form, weights=weights, part=part)
    kept = sum(int(mask.sum()) for mask in checkpoint.masks.values())
    print(f"{source} ({checkpoint.form}) -> {target} ({to}): {len(checkpoint.masks)} masks, {kept:,} kept")
    for note in checkpoint.notes:
        print(note)
    if checkpoint.ignored:
        print(f"Not masks: {', '.join(list(checkpoint.ignored)[:6])}{', ...' if len(checkpoint.ignored) > 6 else ''}.")
