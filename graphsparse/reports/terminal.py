"""Reports as tables in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from graphsparse.reports.report import MACS, Report

COUNTS = ("connections", "kept", "active", "units", "starved", "stranded", *MACS)
SPARED = ("kept_macs", "macs", "active_macs", "shape", "units", "connections", "direct", "stranded", "starved", "kept")
"""What a narrow terminal does without, in this order; the JSON and the frame have it all."""
PIPE_WIDTH = 1000
USUAL_WIDTH = 80
MANY = 500
"""Rows up to which a table is drawn; the columns of longer ones are set one below the other, a thousand times faster."""
NAME_WIDTH = 12
"""What a name gets at least; longer ones are folded."""


def show(report: Report, console: Console | None = None) -> None:
    """Print a report, as wide as the terminal; a pipe or file gets every column, unbroken."""
    console = wide(console or Console())
    if len(report.rows) > MANY:
        console.file.write(long_table(report, console.width))
    else:
        _draw(report, console)
    console.print(Group(*totals(report), *_macs(report), *_inputs(report)))
    for note in report.notes:
        console.print(Text(f"  {printable(note)}", style="yellow"))


def _draw(report: Report, console: Console) -> None:
    shown, width = _fitting(report, console)
    if width > console.width:  # a terminal narrower than any table breaks the lines itself
        type(console)(file=console.file, width=width, force_terminal=console.is_terminal).print(shown)
    else:
        console.print(shown)


def long_table(report: Report, width: int) -> str:
    """The table of a report as text, with as many columns as fit; what is wider, the terminal breaks."""
    columns = list(report.columns)
    rows = [
        [printable(str(name)), *(_cell(each, row[each]).plain for each in columns)] for name, row in report.rows.items()
    ]
    cells = dict(
        zip(["parameter", *columns], ([title, *column] for title, column in zip(["parameter", *columns], zip(*rows))))
    )
    widths = {name: max(map(len, column)) for name, column in cells.items()}
    for spared in SPARED:
        if (
            sum(widths.values()) + 2 * len(widths) > width
            and spared in widths
            and (spared != "kept" or "active" in widths)
        ):
            del widths[spared]
    left = ("parameter", "shape")
    lines = ["  ".join(f"{cell:{'<' if name in left else '>'}{widths[name]}}" for name, cell in zip(widths, line)).rstrip()
             for line in zip(*(cells[name] for name in widths))]  # fmt: skip
    return "\n".join(["", printable(report.title), "", *(f" {line}" for line in lines), "", ""])


def wide(console: Console) -> Console:
    """The console itself where it is a terminal that has a width, else one to the same file that breaks no lines."""
    if console.is_terminal and console.width > 0:
        return console
    return type(console)(file=console.file, width=USUAL_WIDTH if console.is_terminal else PIPE_WIDTH)


def table(report: Report, without: tuple[str, ...] = (), name_width: int | None = None) -> Table:
    """A row per parameter; its columns are those of the frame. Names longer than their width are folded."""
    columns = [column for column in report.columns if column not in without]
    result = Table(
        title=Text(printable(report.title), style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    result.add_column("parameter", overflow="fold", min_width=NAME_WIDTH, width=name_width)
    for column in columns:
        result.add_column(column, justify="left" if column == "shape" else "right", no_wrap=True)
    for name, row in report.rows.items():
        result.add_row(Text(printable(str(name))), *(_cell(column, row[column]) for column in columns))
    return result


def _fitting(report: Report, console: Console) -> tuple[Table, int]:
    """The table with as many columns as fit, and how wide it is; names are folded where no other column can go."""
    spared = [column for column in SPARED if column != "kept" or "active" in report.columns]
    for count in range(len(spared) + 1):
        without = tuple(spared[:count])
        widest = _width(table(report, without), console)
        if widest <= console.width:
            return table(report, without), widest
    folded = _width(table(report, without, NAME_WIDTH), console)
    room = max(NAME_WIDTH, NAME_WIDTH + console.width - folded)
    return table(report, without, room), folded - NAME_WIDTH + room


def _width(shown: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(width=PIPE_WIDTH), shown).maximum


def totals(report: Report) -> Iterator[Text]:
    """Two lines that say it all."""
    summary = report.summary
    digits = len(f"{summary['kept']:,}")
    for kind, verb in (("direct", "kept"), ("effective", "active")):
        if verb in summary:
            yield Text(
                f"  {kind:<9} {summary[verb]:>{digits},} of {summary['connections']:,} {verb:<6}  "
                f"sparsity {summary[f'{kind}_sparsity']:.6f}  compression {times(summary[f'{kind}_compression'])}"
            )


def _macs(report: Report) -> Iterator[Text]:
    """A line on the multiplications of one sample."""
    if all(column in report.summary for column in MACS):
        dense, kept, active = (report.summary[column] for column in MACS)
        yield Text(f"  {'MACs':<9} {active:,} of active connections, {kept:,} of kept ones, {dense:,} of all")


def _inputs(report: Report) -> Iterator[Text]:
    """A line for each input: what it was taken for, and why."""
    for number, each in enumerate(report.inputs):
        yield Text(f"  {'' if number else 'inputs':<9} {printable(str(each))}")


def times(compression: float) -> str:
    """A compression as people say it."""
    return "infinite" if math.isinf(compression) else f"{compression:,.1f}x"


def printable(text: str) -> str:
    """The text without control characters: names come from files."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _cell(column: str, value: object) -> Text:
    if column == "shape":
        return Text("x".join(map(str, value)))  # type: ignore[call-overload]
    if column in COUNTS:
        return Text(f"{int(value):,}")  # type: ignore[call-overload]
    number = float(value)  # type: ignore[arg-type]
    return Text(f"{min(number, 0.9999) if number < 1 else number:.4f}")  # 1.0000 means that nothing is left
