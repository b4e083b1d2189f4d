"""Times side by side: each contender in turn, several rounds, medians; a table on the terminal and JSON beside it."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy
import scipy
import torch


def medians(
    contenders: Mapping[str, Callable[[], Any]], rounds: int = 7, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each contender, called in turn so that a busy machine slows all of them alike.

    ``clock``: with ``time.process_time`` the seconds are those of the processor.
    """
    for contender in contenders.values():
        contender()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            start = clock()
            contender()
            times[name].append(clock() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return {
        "cpu": name, "cores": os.cpu_count(), "threads": os.environ.get("GRAPHSPARSE_THREADS", "all"), "date": date.today().isoformat(), "python": platform.python_version(),
        "torch": torch.__version__, "numpy": numpy.__version__, "scipy": scipy.__version__,
    }  # fmt: skip


def report(title: str, rows: list[dict[str, Any]], path: Path) -> None:
    """Print rows as a Markdown table and write them with the machine as JSON."""
    columns = list(rows[0])
    print(f"\n{title}\n")
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    path.write_text(json.dumps({"title": title, "machine": machine(), "rows": rows}, indent=2) + "\n")
