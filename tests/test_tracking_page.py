"""What docs/tracking.md shows is what the commands and functions say, on the run that its example leaves."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from graphsparse import cli

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "tracking.md").read_text()
COMMANDS = [command for command in re.findall(r"^\$ graphsparse (.*)$", PAGE, re.MULTILINE) if "main.pt" not in command]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["follow_a_run.py", str(place / "run")])
        runpy.run_path(str(ROOT / "examples" / "follow_a_run.py"))
    return place


def test_commands_say_what_the_page_shows(folder, monkeypatch, capsys):
    """Every line of a table's head, and every name and word of its rows; trained numbers may differ elsewhere."""
    monkeypatch.chdir(folder)
    for command in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            cli.main(shlex.split(command))
        assert not stop.value.code
        said = {" ".join(re.findall(r"[^\W\d][\w.]*", line)) for line in capsys.readouterr().out.splitlines()}
        shown = PAGE.partition(f"$ graphsparse {command}\n")[2].partition("```")[0].partition("$ ")[0].splitlines()
        words = {" ".join(re.findall(r"[^\W\d][\w.]*", line)) for line in shown if "cut by" not in line}
        assert words - {"..."} <= said
    assert {path.name for path in folder.iterdir()} >= {"run.kept", "run.parquet", "run.pdf", "density.svg", "mask.png"}


def test_blocks_of_python_run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    assert names["run"].steps == (0, 100, 200, 300, 400, 500, 600) and not names["run"].collapses
    assert list(names["found"].files) == ["A", "B", "C"]
