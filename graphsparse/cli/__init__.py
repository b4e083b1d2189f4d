"""The command line: one file a command. Exit status 0; 1 for a failed check; 2 for bad input, said in one line."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from graphsparse.cli.analyze import analyze
from graphsparse.cli.convert import convert
from graphsparse.cli.curve import curve
from graphsparse.cli.demo import demo
from graphsparse.cli.prune import prune
from graphsparse.errors import GraphsparseError

UsageError: Any = typer.BadParameter.__mro__[1]  # click's, wherever this version of typer keeps it
BROKEN_PIPE, INTERRUPTED = 1, 130  # as rich leaves where nobody reads on; as shells report the signal

app = typer.Typer(
    help="How sparse pruned networks really are: direct and effective sparsity of saved checkpoints.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for command in (analyze, prune, curve, convert, demo):
    app.command(epilog=sys.modules[command.__module__].EXAMPLES)(command)


@app.callback()
def _root() -> None:
    """How sparse pruned networks really are: direct and effective sparsity of saved checkpoints."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. Bad input is one line on standard error and status 2, never a traceback."""
    try:
        status = app(args=arguments, prog_name="graphsparse", standalone_mode=False)
        sys.stdout.flush()
    except GraphsparseError as error:
        status = _refused(str(error))
    except UsageError as error:
        status = (
            _refused(error.format_message()) if error.format_message() else 2
        )  # help was asked for by saying nothing
    except typer.Abort:
        status = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more at the end
        status = BROKEN_PIPE
    raise SystemExit(status or 0)


def _refused(text: str) -> int:
    shown = "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
    print(f"graphsparse: {shown}", file=sys.stderr)
    return 2
