"""``graphsparse plot``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from graphsparse.cli import options, outputs
from graphsparse.cli.bars import bars
from graphsparse.cli.beside import CHECKPOINTS, TABLES, only_kind
from graphsparse.cli.groups import GraphOptions
from graphsparse.cli.streams import answering, working
from graphsparse.cli.wording import one_line
from graphsparse.errors import TargetError, brief

EXAMPLES = """
graphsparse plot density net.pt --model graphsparse.zoo:lenet5 --input 3x32x32 --out density.pdf
graphsparse plot mask mlp.pt --model chain --parameter fc1.weight --order degree --out mask.png
graphsparse plot comparison a.pt b.pt --model chain --out ab.svg
graphsparse plot trajectory run.parquet --out run.pdf
"""
KINDS = {
    "density": "what is kept and what is active, by parameter",
    "degrees": "degree distributions",
    "network": "units and edges",
    "mask": "one parameter (--parameter)",
    "paths": "paths through connections",
    "comparison": "several checkpoints, by parameter",
    "trajectory": "a run: its folder, its files, or the CSV or parquet that track wrote",
}


def plot(
    kind: Annotated[str, Argument(metavar="KIND",
        help="; ".join(f"{kind}: {what}" for kind, what in KINDS.items()) + ".")],
    checkpoints: options.Checkpoints,
    *,
    out: Annotated[Path, Option(metavar="FILE", show_default=False, help="The picture: .png, .svg or .pdf.")],
    parameter: Annotated[str | None, Option(metavar="NAME",
        help="The parameter whose mask is drawn."), only_kind("mask")] = None,
    order: Annotated[str, Option(metavar="NAME",
        help="Rows and columns of a mask: 'as it is', or by 'degree'."), only_kind("mask")] = "as it is",
    inches: Annotated[str | None, Option(metavar="WxH", help="Width and height of the picture: 5.5x3.")] = None,
    title: Annotated[str | None, Option(metavar="TEXT", help="What stands above the picture.")] = None,
    pattern: Annotated[options.Pattern, only_kind("trajectory"), CHECKPOINTS] = None,
    given: GraphOptions,
) -> None:  # fmt: skip
    """Draw a picture of checkpoints for a paper. `graphsparse curve --plot` draws compression curves."""
    _check(kind, checkpoints, parameter)
    size = None if inches is None else _size(inches)
    given.check("a picture")
    outputs.Outputs().check(out)
    with working() as console, bars(console) as progress:
        from graphsparse import plots
        from graphsparse.plots.saving import kind_of, save
        from graphsparse.plots.style import require
        from graphsparse.runs.compare import compare

        kind_of(out)
        require()
        from matplotlib import pyplot

        pyplot.switch_backend("agg")
        shared = {**given.arguments, "progress": progress("checkpoints")}
        if kind == "trajectory":
            drawn = plots.trajectory_panels(_run(checkpoints, pattern, shared))[0]
        elif kind == "comparison":
            drawn = plots.comparison(compare(checkpoints, metrics=(), **shared))
        else:  # the other kinds are functions of a graph
            graph = given.graph(given.network(checkpoints[0], weightless=True))
            drawn = getattr(plots, kind)(graph, **({"parameter": parameter, "order": order} if kind == "mask" else {}))
        figure: Any = drawn.figure
        if size is not None:
            figure.set_size_inches(*size)
        if title is not None:
            figure.suptitle(title, fontsize=10, parse_math=False)
        save(figure, out)
    with answering() as answer:
        outputs.say([one_line(f"Written: {out}")], answer)


def _check(kind: str, files: list[Path], parameter: str | None) -> None:
    if kind not in KINDS:
        raise TargetError(
            "a picture must be of a kind that is known", received=repr(kind), way_out=f"name one of {', '.join(KINDS)}"
        )
    if kind not in ("comparison", "trajectory") and len(files) > 1:
        raise TargetError(f"a picture of {kind} must be of one checkpoint", received=f"{len(files)} files")
    if kind == "mask" and parameter is None:
        raise TargetError("a picture of a mask must have a parameter", way_out="name it with --parameter")


def _size(text: str) -> tuple[float, float]:
    found = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)x(\d{1,3}(?:\.\d+)?)", text)
    if found is None or not all(0.5 <= float(side) <= 100 for side in found.groups()):
        raise TargetError(
            "the size of a picture must be two numbers of inches from 0.5 to 100, joined by x", place="--inches",
            received=repr(text), way_out="for example 5.5x3",
        )  # fmt: skip
    return float(found[1]), float(found[2])


def _run(files: list[Path], pattern: str | None, shared: dict[str, Any]) -> Any:
    """The trajectory of a run, or the table of one that track wrote."""
    path = files[0]
    if len(files) > 1 or path.suffix not in TABLES:
        from graphsparse.runs.track import track

        return track(files if len(files) > 1 else path, causes=False, pattern=pattern, **shared)
    import pandas

    from graphsparse.measures.tables import check_parquet
    from graphsparse.runs.trajectory import COLUMNS

    if path.suffix == ".parquet":
        check_parquet()
    try:
        found = pandas.read_csv(path) if path.suffix == ".csv" else pandas.read_parquet(path, engine="pyarrow")
        missing = [name for name in COLUMNS if name not in found.columns]
        wrong = f"without {', '.join(missing[:3])}" if missing else "" if len(found) else "without rows"
        for name in () if missing else set(COLUMNS) - {"checkpoint", "scope", "place"}:
            pandas.to_numeric(found[name])
    except (OSError, ValueError, TypeError) as error:
        wrong = brief(error)
    if wrong:
        raise TargetError("a table of a run must be one that track wrote", place=str(path), received=wrong)
    return found
