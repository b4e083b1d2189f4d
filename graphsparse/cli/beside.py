"""What an option must stand beside to be read. One that says what is computed is refused where nothing reads it.

Seeds, data, caches and permissions may stand beside anything, so that one line serves every method and model. The annotation of an option holds its `Beside`, so that the rule stands where the option does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphsparse.errors import ModelError

Values = Mapping[str, Any]
"""{argument: value} of a command, all options of its groups among them."""
TABLES = (".csv", ".parquet")


@dataclass(frozen=True)
class Beside:
    """What reads an option; ``instead`` says what a command has in its place, and nothing where it has it."""

    what: str
    instead: Callable[[Values], str]


def check_read(parameters: Iterable[inspect.Parameter], values: Values) -> None:
    """Raises ModelError for an option that is given and that nothing reads."""
    for parameter in parameters:
        value = values.get(parameter.name, parameter.default)
        if value in (parameter.default, None, []):  # what was not given, or might as well not have been
            continue
        told: tuple[Any, ...] = getattr(parameter.annotation, "__metadata__", ())
        for rule in told[1:]:
            if instead := rule.instead(values):
                raise ModelError(
                    f"{_shown(told[0], parameter.name, value)} must stand beside {rule.what}", received=instead,
                    way_out="leave it out",
                )  # fmt: skip


def _shown(option: Any, name: str, value: object) -> str:
    """The option as it was typed."""
    named = (
        option.default,
        *(option.param_decls or ()),
    )  # in an annotation the first name stands where a default would
    yes, _, no = next((each for each in named if isinstance(each, str)), f"--{name.replace('_', '-')}").partition("/")
    return no if no and value is False else yes


def _source(values: Values) -> tuple[str | None, Path]:
    """The model that is named, and the first checkpoint."""
    files = values.get("checkpoints") or values.get("run") or [values["checkpoint"]]
    return values["model"], files[0]


def _table(values: Values) -> str:
    """The table that a picture of a run is drawn from."""
    files = values.get("checkpoints") or [Path()]
    of_run = values.get("kind") == "trajectory" and len(files) == 1 and files[0].suffix in TABLES
    return f"the table {files[0]}" if of_run else ""


def _kind(values: Values) -> str:
    """What the network is made of; nothing where only the checkpoints would tell."""
    model, file = _source(values)
    named = str(model or file)
    if model in ("none", "chain"):
        return model
    if named.endswith(".pt2"):
        return "program"
    if model is not None and ":" in model:
        return "factory"
    return "folder" if (Path(named) / "config.json").is_file() else ""


def _of(*kinds: str) -> Callable[[Values], str]:
    """What a command has where the network is of none of these kinds."""

    def instead(values: Values) -> str:
        model, file = _source(values)
        read = _kind(values) in (*kinds, "")
        return _table(values) or ("" if read else f"--model {model}" if model else str(file))

    return instead


def _tensors(values: Values) -> str:
    """A program that is read with its own weights: none of its tensors can be chosen."""
    model, file = _source(values) if "model" in values else (None, Path())  # convert reads any file as tensors
    return _table(values) or (f"{file}, a program" if "model" in values and not model and file.suffix == ".pt2" else "")


def only_kind(*kinds: str) -> Beside:
    """An option of some kinds of pictures."""
    return Beside(
        f"a picture of {' or '.join(kinds)}", lambda values: "" if values["kind"] in kinds else values["kind"]
    )


CHECKPOINTS = Beside("checkpoints", _table)
NETWORK = Beside("a network", _of("chain", "program", "factory", "folder"))
FACTORY = Beside("--model package.module:factory", _of("factory"))
TENSORS = Beside("a file of tensors", _tensors)
