"""What takes long is said: loops that are compiled, and how far a capture is."""

from __future__ import annotations

import importlib
import io
import logging
import time

import numba
import torch
from rich.console import Console

import graphsparse as gs
from graphsparse.capture.walk import listening
from graphsparse.cli import bars
from graphsparse.kernels.compiling import ANNOUNCER, LINE

network_module = importlib.import_module("graphsparse.capture.network")


def compile_two_loops(monkeypatch, home: str = "graphsparse.kernels.new") -> None:
    monkeypatch.setattr(ANNOUNCER, "said", False)
    for offset in (1, 2):
        loop = lambda x, offset=offset: x + offset
        loop.__module__ = home
        assert numba.njit(loop)(3) == 3 + offset


def test_compiling_is_announced_once_and_to_a_terminal_alone(monkeypatch):
    for terminal, home, times in (
        (True, "graphsparse.kernels", 1),
        (False, "graphsparse.kernels", 0),
        (True, "other", 0),
    ):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=terminal, no_color=True, width=200)
        with bars.announcing(console):
            compile_two_loops(monkeypatch, home)
        assert screen.getvalue().count(LINE) == times


def test_compiling_is_logged_once(monkeypatch):
    log, told = logging.getLogger("graphsparse"), io.StringIO()
    handler, before = logging.StreamHandler(told), log.level
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        compile_two_loops(monkeypatch)
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
    assert told.getvalue() == f"INFO {LINE}\n"


def test_a_capture_that_takes_long_is_shown_in_a_terminal_alone(monkeypatch):
    for terminal, soon, shown in ((True, 0.01, True), (True, 60, False), (False, 0.01, False)):
        monkeypatch.setattr(bars, "SOON", soon)
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=terminal, no_color=True, width=200)
        trace = network_module.trace
        with monkeypatch.context() as slow, bars.bars(console):
            slow.setattr(network_module, "trace", lambda *a: (trace(*a), time.sleep(0.4))[0])
            gs.export(torch.nn.Linear(2, 1), torch.zeros(1, 2))
        said = screen.getvalue()
        assert ("tracing" in said) == shown and ("1/1" in said or not shown)


def test_a_capture_tells_how_far_it_is():
    told: dict[str, list[tuple[int, int]]] = {}
    with listening(lambda name: lambda *step: told.setdefault(name, []).append(step)):
        gs.export(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()), torch.zeros(1, 2))
    assert told["tracing"] == [(0, 1), (1, 1)]
    steps = told["reading operations"]
    assert steps == [(done, len(steps)) for done in range(1, len(steps) + 1)] and len(steps) > 3
