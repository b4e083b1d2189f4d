"""``graphsparse convert``."""

from __future__ import annotations

from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from graphsparse.cli import options, outputs
from graphsparse.cli.beside import Beside
from graphsparse.cli.streams import warned, working
from graphsparse.cli.wording import one_line

EXAMPLES = """
graphsparse convert pruned.pt pruned.safetensors --to zeros
graphsparse convert mask.pth pruned.pt --to prune --weights dense.pt
"""
WHOLE = Beside(
    "a form that can hold weights",
    lambda values: f"--to {values['to']}" if values["to"] in ("bits", "openlth") else "",
)


def convert(
    source: Annotated[Path, Argument(metavar="IN", show_default=False, help="The checkpoint to read.")],
    target: Annotated[Path, Argument(metavar="OUT", show_default=False, help="The file to write, in one step.")],
    to: Annotated[str, Option(metavar="FORM", show_default=False, help=options.WRITTEN)],
    form: options.Form = None,
    key: options.Key = None,
    ignore: options.Ignore = None,
    prefix: options.Prefix = None,
    weights: Annotated[Path | None, Option(metavar="FILE",
        help="The weights, where IN holds masks alone and OUT is to hold both."), WHOLE] = None,
    json: outputs.Json = None,
) -> None:  # fmt: skip
    """Write a checkpoint in another form; its masks stay what they are."""
    wanted = outputs.Outputs(json).check()
    with working(), warned() as notes:
        from graphsparse.checkpoints import Part, check_target
        from graphsparse.checkpoints import convert as run

        check_target(target, to)
        checkpoint = run(source, target, to, form=form, weights=weights, part=Part.of(key, ignore or (), prefix))
    kept = sum(int(mask.sum()) for mask in checkpoint.masks.values())
    told = {
        "source": str(source), "form": checkpoint.form, "target": str(target), "to": to, "masks": len(checkpoint.masks),
        "kept": kept, "notes": [*checkpoint.notes, *notes], "ignored": dict(checkpoint.ignored),
    }  # fmt: skip
    done = f"{source} ({checkpoint.form}) -> {target} ({to}): {len(checkpoint.masks)} masks, {kept:,} kept"
    lines = [done, *checkpoint.notes, *notes]
    if checkpoint.ignored:
        names = list(checkpoint.ignored)
        lines.append(f"Without a mask: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}.")
    wanted.deliver(partial(dumps, told, indent=2), partial(outputs.say, map(one_line, lines)))
