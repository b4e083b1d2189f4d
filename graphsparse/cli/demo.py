"""``graphsparse demo``."""

from __future__ import annotations

import typer
from rich.console import Console

EXAMPLES = """
Example:

  graphsparse demo
"""


def demo() -> None:
    """Analyse a real pruned checkpoint, write its effective masks back, and compare predictions on real images."""
    from graphsparse.demo import run

    if not run(Console()):
        raise typer.Exit(1)
