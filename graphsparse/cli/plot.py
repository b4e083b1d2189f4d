"""``graphsparse plot``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphsparse.cli import options
from graphsparse.cli.bars import bars
from graphsparse.cli.groups import GraphOptions
from graphsparse.cli.streams import answering, working
from graphsparse.cli.wording import one_line
from graphsparse.errors import TargetError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = """
Examples:

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


@dataclass(frozen=True)
class Asked:
    """What is to be drawn of what."""

    kind: str
    files: list[Path]
    parameter: str | None
    order: str
    given: GraphOptions
    pattern: str | None
    progress: Callable[[int, int], None]


def plot(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="; ".join(f"{kind}: {what}" for kind, what in KINDS.items()) + ".")
    ],
    checkpoints: options.Checkpoints,
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", show_default=False, help="The picture: .png, .svg or .pdf.")],
    parameter: Annotated[str | None, typer.Option(metavar="NAME", help="The parameter whose mask is drawn.")] = None,
    order: Annotated[
        str, typer.Option(metavar="NAME", help="Rows and columns of a mask: 'as it is', or by 'degree'.")
    ] = "as it is",
    inches: Annotated[str | None, typer.Option(metavar="WxH", help="Width and height of the picture: 5.5x3.")] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="What stands above the picture.")] = None,
    pattern: options.Pattern = None,
    given: GraphOptions,
) -> None:
    """Draw a picture of checkpoints for a paper. `graphsparse curve --plot` draws compression curves."""
    _check(kind, checkpoints, parameter)
    size = None if inches is None else _size(inches)
    given.check("a picture")
    options.check_outputs(out)
    with working() as console, bars(console) as progress:
        from graphsparse.checkpoints.atomic import replacing
        from graphsparse.plots.saving import kind_of, picture

        ending = kind_of(out)
        figure = _drawn(Asked(kind, checkpoints, parameter, order, given, pattern, progress("checkpoints")))
        if size is not None:
            figure.set_size_inches(*size)
        if title is not None:
            figure.suptitle(title, fontsize=10, parse_math=False)
        content = picture(figure, ending)
        with replacing(out) as file:
            file.write(content)
    with answering() as answer:
        answer.print(one_line(f"Written: {out}"), markup=False, highlight=False, soft_wrap=True)


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


def _drawn(asked: Asked) -> Figure:
    from matplotlib import pyplot

    from graphsparse import plots

    pyplot.switch_backend("agg")
    if asked.kind == "trajectory":
        return plots.trajectory_panels(_run(asked))[0].figure  # type: ignore[return-value]
    if asked.kind == "comparison":
        from graphsparse.runs.compare import compare

        found = compare(asked.files, **asked.given.arguments, metrics=(), progress=asked.progress)
        return plots.comparison(found).figure  # type: ignore[return-value]
    graph = asked.given.graph(asked.given.network(asked.files[0], weightless=True))
    draw: dict[str, Callable[[], Any]] = {
        "density": lambda: plots.density(graph),
        "degrees": lambda: plots.degrees(graph),
        "network": lambda: plots.network(graph),
        "paths": lambda: plots.paths(graph),
        "mask": lambda: plots.mask(graph, str(asked.parameter), order=asked.order),  # type: ignore[arg-type]
    }
    return draw[asked.kind]().figure


def _run(asked: Asked) -> Any:
    """The trajectory of a run, or the frame of one that was written."""
    first = asked.files[0]
    if len(asked.files) == 1 and first.suffix in (".csv", ".parquet"):
        return _frame(first)
    from graphsparse.runs.track import track

    source = first if len(asked.files) == 1 else asked.files
    return track(source, causes=False, progress=asked.progress, pattern=asked.pattern, **asked.given.arguments)


def _frame(path: Path) -> Any:
    import pandas

    from graphsparse.measures.tables import check_parquet
    from graphsparse.runs.trajectory import COLUMNS

    if path.suffix == ".parquet":
        check_parquet()
    try:
        found = pandas.read_csv(path) if path.suffix == ".csv" else pandas.read_parquet(path, engine="pyarrow")
        missing = [name for name in COLUMNS if name not in found.columns]
    except (OSError, ValueError) as error:
        missing = [str(error).splitlines()[0]]
    if missing:
        raise TargetError(
            "a table of a run must be one that track wrote",
            place=str(path),
            received=f"without {', '.join(missing[:3])}",
        )
    return found
