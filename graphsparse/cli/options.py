"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from graphsparse.errors import ModelError

Checkpoint = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT", show_default=False,
        help="A state dict (.pt, .pth, .bin, .safetensors), a .pt2 archive, or a transformers folder.",
    ),
]  # fmt: skip
Model = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="MODEL",
        help="package.module:factory; a .pt2 file; a transformers folder; or 'chain': kernels that follow each other.",
    ),
]  # fmt: skip
Arguments = Annotated[
    list[str] | None, typer.Option("--model-arg", metavar="KEY=VALUE", help="Argument of the factory. Repeat for more.")
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="SHAPE", help="One sample: 1x28x28; int:16 for 16 tokens. Repeat for more inputs."),
]
Resolution = Annotated[
    str | None,
    typer.Option(
        "--resolution", metavar="NAME", show_default=False,
        help="unrolled: a unit per element (default); channel: per channel (default for a transformers folder).",
    ),
]  # fmt: skip
Form = Annotated[
    str | None, typer.Option("--form", metavar="FORM", help="The checkpoint's form, if not to be recognised.")
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="NAME", help="The entry of the file that is meant: model_ema, or nets/G for one inside."
    ),
]
Ignore = Annotated[
    list[str] | None, typer.Option("--ignore", metavar="PATTERN", help="Leave out names such as 'criterion.*'. Repeat.")
]
Prefix = Annotated[
    str | None, typer.Option("--prefix", metavar="TEXT", help="Take only names that begin so, without that beginning.")
]
TrustSizes = Annotated[
    bool,
    typer.Option("--trust-sizes", help="Build a config.json's model even where it is far larger than its tensors."),
]
Statistics = Annotated[bool, typer.Option("--norm-statistics", help="Let normalisation statistics carry influence.")]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="NAME", help="An input that is a source, all others constants. Repeat for more."),
]
Methods = "random, magnitude, lamp, snip, iterative_snip, grasp, synflow; random/snip, random/synflow; random or magnitude under uniform, uniform_plus, erk, igq"
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="FILE", help="An npz of arrays x and y, for snip and grasp; whole samples."),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Decides random methods: same seed, same masks.")]
BATCH = 128


def examples(texts: Sequence[str] | None) -> tuple[Any, ...] | None:
    """Zeros of the given shapes with a batch axis of one; None where no shape is given."""
    if not texts:
        return None
    import torch  # late: half of the commands' time, and help needs none of it

    tensors = []
    for text in texts:
        kind, _, sizes = text.rpartition(":")
        parts = sizes.lower().split("x")
        if kind not in ("", "int", "float") or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise ModelError(
                "an input's shape is whole numbers joined by x", place="--input", received=repr(text),
                way_out="for example 3x32x32, or int:16 for tokens",
            )  # fmt: skip
        tensors.append(torch.zeros(1, *map(int, parts), dtype=torch.int64 if kind == "int" else torch.float32))
    return tuple(tensors)


def arguments(texts: Sequence[str] | None) -> dict[str, Any]:
    """Keyword arguments from KEY=VALUE: numbers, True, False and None as Python writes them, else text."""
    found = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise ModelError(
                "a factory's argument is KEY=VALUE", place="--model-arg", received=repr(text), way_out="e.g. width=64"
            )
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            found[key] = value
    return found


def batches(path: Path | None) -> list[tuple[Any, Any]] | None:
    """The samples x and labels y of an npz in batches; None without a file."""
    if path is None:
        return None
    import numpy as np
    import torch

    try:
        with np.load(path, allow_pickle=False) as archive:
            x, y = torch.from_numpy(archive["x"]), torch.from_numpy(archive["y"])
    except Exception as error:  # any file may have been named
        raise ModelError(
            "data is an npz with arrays x and y", place=str(path), received=f"{type(error).__name__}: {error}",
            way_out="numpy.savez(file, x=images, y=labels)",
        ) from error  # fmt: skip
    return list(zip(x.split(BATCH), y.split(BATCH)))
