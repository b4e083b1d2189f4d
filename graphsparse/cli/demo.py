"""``graphsparse demo``."""

from __future__ import annotations

import typer

from graphsparse.cli.streams import answering, working

EXAMPLES = """
graphsparse demo
"""


def demo() -> None:
    """Analyse a real pruned checkpoint, write its effective masks back, and compare predictions on real images."""
    with answering() as out, working():
        from graphsparse.demo import run

        same = run(out)
    if not same:
        raise typer.Exit(1)
