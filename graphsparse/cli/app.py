"""The commands, and the options that all of them have."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import cache, wraps
from typing import Annotated, Any

import typer

import graphsparse
from graphsparse.cli import streams
from graphsparse.cli.analyze import analyze
from graphsparse.cli.beside import check_read
from graphsparse.cli.compact import compact
from graphsparse.cli.compare import compare
from graphsparse.cli.convert import convert
from graphsparse.cli.curve import curve
from graphsparse.cli.demo import demo
from graphsparse.cli.export import export
from graphsparse.cli.groups import flat
from graphsparse.cli.plot import plot
from graphsparse.cli.prune import prune
from graphsparse.cli.topology import topology
from graphsparse.cli.track import track
from graphsparse.cli.wording import Unforeseen
from graphsparse.errors import ModelError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _loud(value: bool) -> None:
    if value:
        streams.LOUD.set(True)


def _version(value: bool) -> None:
    if value:
        print(f"graphsparse {graphsparse.__version__}")
        raise typer.Exit


Traceback = Annotated[bool, typer.Option("--traceback", callback=_loud, is_eager=True,
    help="Show the trace of an error, and what libraries print.")]  # fmt: skip


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    traceback: Traceback = False,
) -> None:
    """How sparse pruned networks really are: direct and effective sparsity of saved checkpoints."""


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the option --traceback; what click would answer in its own way reaches `main` as it is."""

    parameters, grouped = flat(command)

    @wraps(command)
    def run(traceback: bool = False, **values: Any) -> None:
        check_read(parameters, values)
        try:
            command(**grouped(values))
        except SystemExit as error:
            raise ModelError("a model's code must not end the program", received=f"exit status {error.code}") from error
        except (EOFError, OSError, KeyboardInterrupt) as error:
            raise Unforeseen from error

    last = inspect.Parameter("traceback", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Traceback)
    run.__signature__ = inspect.Signature([*parameters, last])  # type: ignore[attr-defined]
    return run


@cache
def tree() -> Any:
    """All commands as click has them. Made once: that takes as long as a short command's own work."""
    return typer.main.get_command(app)


def options() -> dict[str, str]:
    """The option of each argument, over all commands: their parameters have the names of the library's arguments."""
    commands = tree().commands.values()
    found = {parameter.name: parameter.opts[0] for command in commands for parameter in command.params}
    return {name: option for name, option in found.items() if option.startswith("--")}


def _epilog(examples: str) -> str:
    """The examples of a command at the end of its help: a paragraph each, so that they are not run together."""
    lines = examples.strip().splitlines()
    return "\n\n  ".join(["\nExamples:" if len(lines) > 1 else "\nExample:", *lines])


for command in (analyze, topology, compare, track, prune, compact, curve, plot, convert, export, demo):
    app.command(epilog=_epilog(sys.modules[command.__module__].EXAMPLES))(guarded(command))
