"""``graphsparse track``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from graphsparse.cli import options, outputs
from graphsparse.cli.bars import bars
from graphsparse.cli.groups import GraphOptions
from graphsparse.cli.streams import complain, working
from graphsparse.cli.wording import BAD_INPUT, one_line

EXAMPLES = """
graphsparse track run/ --model graphsparse.zoo:lenet5 --input 3x32x32 --out run.parquet --html run.html
graphsparse track run/ --model chain --sidecar run.kept --jobs -1 --csv run.csv --deaths deaths.csv
graphsparse track run/net_*.pt --model chain --pattern 'net_{step}.pt'
"""


def track(
    run: Annotated[list[Path], Argument(metavar="RUN", show_default=False,
        help="A folder with a checkpoint per step, or the files.")],
    *,
    given: GraphOptions,
    pattern: options.Pattern = None,
    sidecar: Annotated[Path | None, Option(metavar="FOLDER",
        help="Keep what is found of each checkpoint there, and go on from it next time.")] = None,
    jobs: Annotated[int, Option(metavar="N", help="Checkpoints read at a time; -1 for one per core.")] = 1,
    processes: Annotated[bool, Option("--processes/--threads", help="Run jobs as processes or threads.")] = True,
    cluster: Annotated[str | None, Option(metavar="ADDRESS",
        help="Read them on the cluster of this Dask scheduler.")] = None,
    causes: Annotated[bool, Option("--causes/--no-causes", help="Find which masks cut units that died.")] = True,
    select: options.Select = None,
    out: Annotated[Path | None, Option(metavar="FILE",
        help="Write the table; its ending says the form: .parquet, .csv, .json.")] = None,
    wanted: outputs.Outputs,
    html: outputs.Html = None,
    deaths: Annotated[Path | None, Option(metavar="FILE",
        help="Write a row per unit that died as CSV: when, and which masks cut it.")] = None,
) -> None:  # fmt: skip
    """Follow a network through all checkpoints of a run: sparsity, births and deaths, overlap, collapse, step by step.

    A checkpoint that cannot be read is named and skipped; the exit status is then 2.
    """
    given.check("a trajectory")
    wanted = wanted.and_by_ending(out).check(html, deaths)
    with working() as console, bars(console) as progress:
        from graphsparse.measures.tables import write_csv
        from graphsparse.reports.selection import select_rows
        from graphsparse.reports.tables import show_trajectory
        from graphsparse.runs.track import track as follow

        found = follow(
            run[0] if len(run) == 1 else run, **given.arguments, pattern=pattern, sidecar=sidecar, jobs=jobs,
            processes=processes, cluster=cluster, causes=causes, progress=progress("checkpoints"),
        )  # fmt: skip
        shown = select_rows(found, select)
    if html is not None:
        shown.to_html(html, command=outputs.typed())
    if deaths is not None:
        write_csv(found.deaths, deaths)
    wanted.deliver(shown.to_json, partial(show_trajectory, shown), lambda: shown.frame)
    for error in found.skipped.values():
        complain(one_line(f"graphsparse: skipped: {error}"))
    if found.skipped:
        raise typer.Exit(BAD_INPUT)
