"""Which files of a run are its checkpoints, and in which order. Their names tell the steps."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from graphsparse.errors import CheckpointError

ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".npz", ".pt2")
"""How the names of files that may be checkpoints end."""
WORDS = ("step", "iter", "iteration", "checkpoint", "ckpt", "update", "epoch")
"""What stands before the number of a step, best first; else it is the last whole number of the name."""
Rule = Callable[[str], int | None]
"""The number of a step by the name of its file; None for a name without one."""


@dataclass(frozen=True)
class Step:
    """A checkpoint of a run: its ``number``, the ``name`` that reports use, and where it is read from."""

    number: int
    name: str
    source: Any


@dataclass(frozen=True)
class Steps:
    """The checkpoints of a run by rising number; ``left_out`` are names without a number."""

    steps: tuple[Step, ...]
    left_out: tuple[str, ...] = ()


def steps_of(source: Any, pattern: str | None = None) -> Steps:
    """The checkpoints of a run in the order of their steps.

    Args:
        source: a folder with a file or a subfolder per checkpoint; paths of checkpoints; or ``{step: checkpoint}``, whose
            checkpoints may also be state dicts or masks.
        pattern: the form of the names, with ``{step}`` for the number and ``*`` for anything: ``"net_{step}.pt"``. By
            default the number is the one after the word step, iteration, checkpoint, update or epoch, else the last one.

    Raises:
        CheckpointError: there are no checkpoints, or two of one step.

    Example:
        >>> [step.number for step in steps_of(["run/epoch=1-step=200.ckpt", "run/epoch=0-step=100.ckpt"]).steps]
        [100, 200]
    """
    if isinstance(source, Mapping):
        found = [_given(number, each) for number, each in source.items()]
        return Steps(_in_order(found, "the mapping"))
    place, paths = _listed(source)
    rule = _rule_of([path.name for path in paths]) if pattern is None else _rule(pattern)
    numbers = {path: rule(path.name) for path in paths}
    found = [Step(number, path.name, path) for path, number in numbers.items() if number is not None]
    if not found:
        raise CheckpointError(
            "a run must have checkpoints with a number in their names", place=place,
            received=", ".join(path.name for path in paths[:6]) or "no file that may be one",
            way_out="say where the number stands with pattern='name-{step}.pt'",
        )  # fmt: skip
    return Steps(_in_order(found, place), tuple(path.name for path, number in numbers.items() if number is None))


def _given(number: Any, source: Any) -> Step:
    name = Path(source).name if isinstance(source, (str, os.PathLike)) else f"step {number}"
    try:
        return Step(int(number), name, source)
    except (TypeError, ValueError) as error:
        raise CheckpointError("a step must be a whole number", place="the mapping", received=repr(number)) from error


def _in_order(found: Iterable[Step], place: str) -> tuple[Step, ...]:
    steps = sorted(found, key=lambda step: step.number)
    for one, other in pairwise(steps):
        if one.number == other.number:
            raise CheckpointError(
                "a step must have one checkpoint", place=place, received=f"{one.name} and {other.name} for {one.number}",
                way_out="name the files that are meant with pattern='name-{step}.pt'",
            )  # fmt: skip
    return tuple(steps)


def _listed(source: Any) -> tuple[str, list[Path]]:
    """What messages call the run, and the paths of its checkpoints."""
    if not isinstance(source, (str, os.PathLike)):
        return "the files", [Path(path) for path in source]
    folder = Path(source)
    if not folder.is_dir():
        raise CheckpointError(
            "a run must be a folder, or several files", place=str(source),
            received="one file" if folder.exists() else "nothing there", way_out="name the folder or all the files",
        )  # fmt: skip
    return str(source), sorted(path for path in folder.iterdir() if _is_checkpoint(path))


def _is_checkpoint(path: Path) -> bool:
    """Whether a path may be a checkpoint by its name: a file with such an ending, or a folder with such files."""
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return any(each.suffix in ENDINGS or each.name.endswith(".index.json") for each in path.iterdir())
    return path.suffix in ENDINGS


def _rule_of(names: list[str]) -> Rule:
    """How a number is read off a name: after the word that most names have; of several such words, after the best."""
    words = [re.compile(rf"(?<![a-z]){word}s?[-_=. ]*(\d+)", re.IGNORECASE) for word in WORDS]
    rules = [*(_matched(word.search) for word in words), _last]
    return max(rules, key=lambda rule: sum(rule(name) is not None for name in names))


def _matched(match: Callable[[str], re.Match[str] | None]) -> Rule:
    return lambda name: None if (found := match(name)) is None else int(found[1])


def _last(name: str) -> int | None:
    while name.endswith(ENDINGS):
        name = os.path.splitext(name)[0]
    found = re.findall(r"(?<![\d.])\d+(?!\.?\d)", name)
    return int(found[-1]) if found else None


def _rule(pattern: str) -> Rule:
    if pattern.count("{step}") != 1:
        raise CheckpointError(
            "a pattern must have {step} once, where the number stands", place="pattern", received=repr(pattern),
            way_out="for example 'net_{step}.pt', with * for anything",
        )  # fmt: skip
    parts = [re.escape(part).replace(r"\*", ".*") for part in pattern.split("{step}")]
    return _matched(re.compile(r"(\d+)".join(parts)).fullmatch)
