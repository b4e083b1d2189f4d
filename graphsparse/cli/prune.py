"""``graphsparse prune``."""

from __future__ import annotations

from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from graphsparse.cli import options, outputs
from graphsparse.cli.bars import bars
from graphsparse.cli.groups import GraphOptions
from graphsparse.cli.streams import warned, working
from graphsparse.cli.wording import one_line

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES = """
graphsparse prune mlp.pt --model chain --compression 50 --out pruned.pt
graphsparse prune net.pt --model nets:build --input 3x32x32 --method random/igq --effective --compression 500 --out pruned.safetensors
graphsparse prune mlp.pt --model chain --method snip --data train.npz --direct --sparsity 0.95 --out pruned.pt --to prune
"""


def prune(
    checkpoint: options.Checkpoint,
    *,
    out: Annotated[Path, Option(metavar="FILE", show_default=False,
        help="The pruned checkpoint, written in one step.")],
    method: Annotated[str, Option(metavar="NAME", help=options.Methods)] = "magnitude",
    compression: Annotated[float | None, Option(metavar="X",
        help="Target: connections / connections left.")] = None,
    sparsity: Annotated[float | None, Option(metavar="S", help="Target: share of connections to drop.")] = None,
    effective: Annotated[bool, Option("--effective/--direct", help="Whether the target counts active or kept ones.")] = True,
    to: Annotated[str, Option(metavar="FORM", help=options.WRITTEN)] = "zeros",
    given: GraphOptions,
    data: options.Data = None,
    seed: options.Seed = 0,
    select: options.Select = None,
    wanted: outputs.Outputs,
) -> None:  # fmt: skip
    """Prune a checkpoint to a direct or an effective target; what is written holds no dead connection."""
    given.check()
    wanted.check()
    with working() as console, bars(console) as progress:
        from graphsparse.checkpoints import check_target, write_checkpoint
        from graphsparse.pruning.prune import prune as run
        from graphsparse.reports.report import report_of
        from graphsparse.reports.several import Reports
        from graphsparse.reports.terminal import show_reports
        from graphsparse.surgery.places import under_every_name

        check_target(out, to)
        batches = options.batches(data)
        loaded = given.scored(checkpoint, [method])
        masks = run(
            loaded, method=method, sparsity=sparsity, compression=compression, effective=effective, data=batches,
            seed=seed, progress=progress(method), **given.graph_arguments,
        )  # fmt: skip
        graph = given.graph(loaded)
        report = report_of(f"{checkpoint.name}, {method}", graph.with_masks({**graph.masks, **masks}))
        tensors = loaded.state
        named = under_every_name(masks, graph, tensors, to)
        dropped, shown = sum(masks.dropped.values()), Reports({str(checkpoint): report}, {}).selected(select)
    with warned() as notes:
        write_checkpoint(out, tensors, named, form=to)

    told = {"written": str(out), "form": to, "dropped": dropped, "reads_as_pruned": notes}

    def tell(answer: Console) -> None:
        show_reports(shown, answer)
        ranked = [f"{dropped:,} connections that rank as high are dead and were dropped."] if dropped else []
        outputs.say(map(one_line, [*loaded.notes, *notes, *ranked, f"Written: {out} ({to})."]), answer)

    wanted.deliver(lambda: dumps({**loads(shown.to_json()), **told}, indent=2), tell, shown.table)
