"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from graphsparse.cli.beside import CHECKPOINTS, FACTORY, NETWORK, TENSORS
from graphsparse.errors import ModelError

Text = str | None
Texts = list[str] | None
# a table: a line for what an option is, and one for its help
# fmt: off
Checkpoint = Annotated[Path, Argument(metavar="CHECKPOINT", show_default=False,
    help="A state dict (.pt, .pth, .bin, .safetensors), a .pt2 archive, or a transformers folder.")]
Checkpoints = Annotated[list[Path], Argument(metavar="CHECKPOINT...", show_default=False,
    help="State dicts (.pt, .pth, .bin, .safetensors), .pt2 archives, or transformers folders.")]
Model = Annotated[Text, Option("--model", metavar="MODEL",
    help="package.module:factory; a .pt2 file; a transformers folder; or 'chain': kernels that follow each other."), CHECKPOINTS]
Arguments = Annotated[Texts, Option("--model-arg", metavar="KEY=VALUE",
    help="Argument of the factory. Repeat for more."), FACTORY]
Inputs = Annotated[Texts, Option("--input", metavar="SHAPE",
    help="One sample, no batch axis: 1x28x28; int:16 for 16 tokens. Repeat for more."), NETWORK]
Resolution = Annotated[Text, Option("--resolution", metavar="NAME", show_default=False,
    help="unrolled: a unit per element (default); channel: per channel (default for a transformers folder)."), NETWORK]
Form = Annotated[Text, Option("--form", metavar="FORM",
    help="The checkpoint's form, where its content does not tell it."), CHECKPOINTS]
Key = Annotated[Text, Option("--key", metavar="NAME",
    help="The entry of the file to read: model_ema, or nets/G for one inside."), TENSORS]
Ignore = Annotated[Texts, Option("--ignore", metavar="PATTERN",
    help="Leave out names such as 'criterion.*'. Repeat."), TENSORS]
Prefix = Annotated[Text, Option("--prefix", metavar="TEXT",
    help="Take only names with this prefix, and remove it."), TENSORS]
TrustSizes = Annotated[bool, Option("--trust-sizes",
    help="Build the model of a config.json or .pt2 even if it is far larger than its file.")]
Cache = Annotated[bool, Option("--cache/--no-cache",
    help="Keep the captured graph of a folder for the next time.")]
Statistics = Annotated[bool, Option("--norm-statistics",
    help="Follow influence through normalisation statistics, too."), NETWORK]
Sources = Annotated[Texts, Option("--source", metavar="NAME",
    help="An input that is a source; all others are constants. Repeat for more."), NETWORK]
Metrics = Annotated[Texts, Option("--metric", metavar="NAME",
    help="A metric or a group: liveness, why, paths. Repeat for more.")]
Pattern = Annotated[Text, Option("--pattern", metavar="TEXT",
    help="Where a name has its step, as 'net_{step}.pt'; * stands for anything.")]
Select = Annotated[Texts, Option("--select", metavar="PATTERN",
    help="Show only parameters and layers with such names: 'layer*'. Repeat for more.")]
Data = Annotated[Path | None, Option("--data", metavar="FILE",
    help="An npz of arrays x (samples) and y (labels), for snip and grasp.")]
Seed = Annotated[int, Option("--seed", metavar="N",
    help="Decides random methods: same seed, same masks.")]
# fmt: on
Methods = (
    "random, magnitude, lamp, snip, iterative_snip, grasp, synflow; random/snip, random/synflow; "
    "random/ or magnitude/ with uniform, uniform_plus, erk, igq"
)
WRITTEN = (
    "zeros, prune, parametrization (.safetensors, .pt, .pth, .bin, .ckpt), sparse-bitmask (.safetensors); "
    "masks alone: bits (.safetensors), openlth (.pt, .pth, .bin, .ckpt), csr (.npz)."
)
"""The forms that are written and how their files end; help says it without an import of torch."""
BATCH = 128
LARGEST = 2**27  # elements of an input: 512 x 512 x 512


def examples(texts: Sequence[str] | None) -> tuple[Any, ...] | None:
    """Zeros of the given shapes with a batch axis of one; None where no shape is given."""
    if not texts:
        return None
    parsed = [_parsed(text) for text in texts]
    import torch  # late: half of the commands' time, and help needs none of it

    kinds = {"int": torch.int64, "float": torch.float32, "": torch.float32}
    return tuple(torch.zeros(1, *sizes, dtype=kinds[kind]) for kind, sizes in parsed)


def _parsed(text: str) -> tuple[str, list[int]]:
    kind, _, shape = text.rpartition(":")
    parts = shape.lower().split("x")
    if kind not in ("", "int", "float") or not all(re.fullmatch("0*[1-9][0-9]*", part) for part in parts):
        raise ModelError(
            "an input's shape must be whole numbers joined by x", place="--input", received=ascii(text[:60]),
            way_out="for example 3x32x32, or int:16 for tokens",
        )  # fmt: skip
    sizes = [int(part[-400:]) for part in parts[:60]]
    if len(parts) > 60 or math.prod(sizes) > LARGEST:
        raise ModelError(
            f"an input must have at most {LARGEST:,} elements and 60 axes", place="--input", received=text[:60],
            way_out="give the shape of one sample",
        )  # fmt: skip
    return kind, sizes


def arguments(texts: Sequence[str] | None) -> dict[str, Any]:
    """Keyword arguments from KEY=VALUE: numbers, True, False and None as Python writes them, else text."""
    found = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise ModelError(
                "a factory's argument must be KEY=VALUE", place="--model-arg", received=repr(text),
                way_out="for example width=64",
            )  # fmt: skip
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            found[key] = value
    return found


def batches(path: Path | None) -> list[tuple[Any, Any]] | None:
    """The samples x and labels y of an npz in batches; None without a file."""
    if path is None:
        return None
    from graphsparse.checkpoints.archives import numpy_file

    try:
        found = numpy_file.read_npz(path).content  # which trusts nothing that a file says of its sizes
    except Exception as error:  # any file may have been named
        raise _no_data(path, getattr(error, "received", None) or f"{type(error).__name__}: {error}") from error
    if not isinstance(found, dict) or not {"x", "y"} <= found.keys():
        raise _no_data(path, f"arrays {', '.join(found)}" if isinstance(found, dict) else f"{len(found)} arrays")
    x, y = found["x"], found["y"]
    if not x.dim() or not y.dim() or len(x) != len(y) or not len(x):
        raise _no_data(path, f"x {tuple(x.shape)}, y {tuple(y.shape)}")
    return list(zip(x.split(BATCH), y.split(BATCH)))


def _no_data(path: Path, received: object) -> ModelError:
    return ModelError(
        "data must be an npz with arrays of numbers x and y, one entry per sample in each", place=str(path),
        received=received, way_out="write it with numpy.savez(file, x=images, y=labels)",
    )  # fmt: skip
