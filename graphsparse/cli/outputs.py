"""Where results go, in the same words for every command: --json, --csv, --parquet."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from graphsparse.cli.streams import COMMAND, answering
from graphsparse.errors import ModelError

if TYPE_CHECKING:
    import pandas
    from rich.console import Console

Json = Annotated[str | None, Option("--json", metavar="FILE", help="Write everything as JSON; - for standard output.")]
Csv = Annotated[str | None, Option("--csv", metavar="FILE", help="Write the table as CSV; - for standard output.")]
Parquet = Annotated[Path | None, Option("--parquet", metavar="FILE", help="Write the table as parquet. Needs pyarrow.")]
Html = Annotated[Path | None, Option("--html", metavar="FILE", help="Write the report as a page.")]
OUTPUT = "-"


@dataclass(frozen=True)
class Outputs:
    """The files that are asked for; "-" is standard output, which then holds nothing else."""

    json: Json = None
    csv: Csv = None
    parquet: Parquet = None

    def and_by_ending(self, out: Path | None) -> Outputs:
        """With a further file, whose ending says what is written into it.

        Raises ModelError for another ending, and where that form has a file already.
        """
        if out is None:
            return self
        form = out.suffix.removeprefix(".")
        if form not in ("parquet", "csv", "json"):
            raise ModelError(
                "a table must have one of the endings .parquet, .csv, .json", place="--out", received=out.name,
                way_out=f"name it {out.stem}.parquet",
            )  # fmt: skip
        if getattr(self, form) is not None:
            raise ModelError("a form must have one file", received=f"--out {out} and --{form}", way_out="leave one out")
        given: dict[str, Any] = {form: out if form == "parquet" else str(out)}
        return replace(self, **given)

    def check(self, *others: Path | None) -> Outputs:
        """Raises before the work what writing would raise after it. ``others`` are further files to be written."""
        if self.json == self.csv == OUTPUT:
            raise ModelError(
                "standard output must be for one of --json and --csv", received="- for both", way_out="name a file"
            )
        texts = [path for path in (self.json, self.csv) if path != OUTPUT]
        paths = [path for path in (*texts, self.parquet, *others) if path is not None]
        if OUTPUT in map(str, paths):
            raise ModelError(
                "what goes to standard output must be of --json or --csv", received="- for another file",
                way_out="name a file",
            )  # fmt: skip
        if paths:
            from graphsparse.checkpoints.atomic import check_writable
            from graphsparse.measures.tables import check_parquet

            for path in paths:
                check_writable(path)
            if self.parquet is not None:
                check_parquet()
        return self

    def deliver(
        self,
        json: Callable[[], str],
        show: Callable[[Console], None],
        frame: Callable[[], pandas.DataFrame] | None = None,
    ) -> None:
        """Write the files that are asked for. Then answer: what is for standard output, else what ``show`` prints."""
        from graphsparse.measures.tables import write_csv, write_parquet, written

        if self.json not in (None, OUTPUT):
            written(json(), self.json)
        if frame is not None and self.csv not in (None, OUTPUT):
            write_csv(frame(), self.csv)
        if frame is not None and self.parquet is not None:
            write_parquet(frame(), self.parquet)
        with answering() as out:
            if self.json == OUTPUT:
                out.file.write(json().rstrip("\n") + "\n")
            elif self.csv == OUTPUT and frame is not None:
                out.file.write(frame().to_csv(index=False))
            else:
                show(out)


def say(lines: Iterable[str], out: Console) -> None:
    """Print lines as they stand: nothing in them is markup, and the terminal alone breaks them."""
    out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def typed() -> str:
    """The command as it was typed."""
    return shlex.join(("graphsparse", *COMMAND.get()))
