"""``graphsparse compact``."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Option

from graphsparse.cli import options, outputs
from graphsparse.cli.bars import bars
from graphsparse.cli.groups import NetworkOptions
from graphsparse.cli.streams import working

EXAMPLES = """
graphsparse compact net.pt --model nets:build --input 3x32x32 --out small
graphsparse compact mlp.pt --model chain --round-to 8 --out small
graphsparse compact net.pt2 --out small
graphsparse compact my-llama/ --out my-smaller-llama
"""


def compact(
    checkpoint: options.Checkpoint,
    *,
    out: Annotated[Path, Option(metavar="DIR", show_default=False,
        help="The folder for model.safetensors, map.json (old index of each new row and column), report.json and "
        "model.pt2; of a transformers folder config.json too.")],
    given: NetworkOptions,
    round_to: Annotated[int, Option(metavar="N", help="Let widths be multiples of N.")] = 1,
    keep: Annotated[list[str] | None, Option(metavar="PATTERN",
        help="Parameters that keep their widths: 'head.*'. Repeat for more.")] = None,
    verify: Annotated[bool, Option("--verify/--no-verify",
        help="Run both models and take back what changes outputs.")] = True,
    json: outputs.Json = None,
) -> None:  # fmt: skip
    """Take dead units out of a checkpoint: a smaller dense model that computes what the masked one does.

    A transformers config.json holds the widths of feed-forward layers (intermediate_size and the like) and no others.
    Where it cannot describe the smaller model, the folder gets the masked weights.
    """  # fmt: skip
    given.check()
    wanted = outputs.Outputs(json).check()
    with working() as console, bars(console), ExitStack() as undone:
        from graphsparse.compaction.compact import compact as run
        from graphsparse.compaction.saving import making, read_config, save, save_pretrained, sayable
        from graphsparse.networks.pretrained import is_pretrained
        from graphsparse.surgery.checking import Inputs

        undone.enter_context(making(out))
        loaded = given.scored(checkpoint, ["snip"])  # which runs the model, so that weights are there
        source = given.model if given.model is not None and is_pretrained(given.model) else checkpoint
        folder = is_pretrained(source)
        fixed = sayable(loaded.runnable, read_config(source)) if folder else []
        found = run(
            loaded, round_to=round_to, resolution=given.resolution, verify=verify, keep=[*(keep or ()), *fixed],
            alike=folder,
        )  # fmt: skip
        written = save(found, out, Inputs(loaded.inputs or (), loaded.kwargs))
        loads = save_pretrained(found, source, out) if folder else True
    lines = [checkpoint.name, "", repr(found.report), "", f"Written: {', '.join(map(str, written))}."]
    if folder:
        masked = "Its config.json cannot say the new widths: model.safetensors holds the whole masked model."
        lines.append(f"{out} loads with transformers." if loads else masked)
    wanted.deliver(found.report.to_json, partial(outputs.say, lines))
