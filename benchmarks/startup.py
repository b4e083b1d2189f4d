"""Whole commands, each in a process of its own: what starting costs, and what is kept between runs saves.

Run: python benchmarks/startup.py [rounds]       (default 5; the folder of 1.1 billion parameters takes 2 GB for the time)
Compiled loops are warm but for the rows "first run ever", which start with an empty folder of machine code.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from checkpoints import count_with_torch, generate
from timing import report

from graphsparse import data

HERE = Path(__file__).parent
EXPORT = """
import torch, torch.export
from torch import nn
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
torch.export.export(net, (torch.zeros(1, 1, 8, 8),), strict=False)
"""
COUNT = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
from pathlib import Path
from {count_with_torch.__module__} import count_with_torch
count_with_torch(Path(sys.argv[1]))
"""
VIT = """
import torch, graphsparse as gs
from torch import nn
from graphsparse.reports.analyze import analyze
class Vit(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, stride=8)
        layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True, activation="gelu")
        self.layers, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 10)
    def forward(self, x):
        return self.head(self.layers(self.patches(x).flatten(2).transpose(1, 2)).mean(1))
analyze(Vit().eval(), torch.zeros(1, 3, 32, 32))
"""
DIGITS = [str(data.path("digits-mlp-200x.pt")), "--model", "graphsparse.zoo:digits_mlp", "--input", "1x8x8"]


def analyze(*arguments: str) -> list[str]:
    """The command line that analyses."""
    return [sys.executable, "-m", "graphsparse", "analyze", *arguments]


def timed(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds of the processor (user and system) and of the clock that a process takes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, clock


def in_turn(contenders: Mapping[str, tuple[list[str], Mapping[str, str]]], rounds: int) -> list[dict[str, Any]]:
    """A row for each contender, each run once in every round; the first is what the others are compared with."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            times[name].append(timed(*contender))
    medians = {name: [statistics.median(each) for each in zip(*found, strict=True)] for name, found in times.items()}
    first = next(iter(medians.values()))
    return [
        {"command": name, "processor s": processor, "clock s": clock, "times the first": processor / first[0]}
        for name, (processor, clock) in medians.items()
    ]


def small(rounds: int) -> list[dict[str, Any]]:
    """A small file, with its loops compiled before and in an empty folder."""
    python = sys.executable
    rows = in_turn(
        {"import torch, one export": ([python, "-c", EXPORT], {}), "analyze digits": (analyze(*DIGITS), {})}, rounds
    )
    for name, command in (("analyze digits", analyze(*DIGITS)), ("a small vision transformer", [python, "-c", VIT])):
        found = []
        for _ in range(2):
            with tempfile.TemporaryDirectory() as empty:
                found.append(timed(command, {"NUMBA_CACHE_DIR": empty}))
        processor, clock = min(found)
        ratio = processor / rows[0]["processor s"]
        rows.append(
            {"command": f"{name}, first run ever", "processor s": processor, "clock s": clock, "times the first": ratio}
        )
    return rows


def folder(rounds: int) -> list[dict[str, Any]]:
    """A transformers folder of 1.1 billion parameters."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as cache:
        place = Path(name)
        generate(place, 1.1, 0.9)
        kept = {"GRAPHSPARSE_CACHE": cache}
        timed(analyze(name), kept)
        return in_turn({
            "read and count with torch": ([sys.executable, "-c", COUNT, name], {}),
            "analyze the folder": (analyze(name, "--no-cache"), {}),
            "analyze it again": (analyze(name), kept),
        }, rounds)  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    timed(analyze(*DIGITS), {})
    report(
        "Whole commands (goals: 1.25 times the first; folder 6 s, again 3 s)",
        [*small(rounds), *folder(rounds)],
        HERE / "startup.json",
    )
