"""docs/CONTRIBUTING.md, followed literally in a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import graphsparse as gs

ROOT = Path(gs.__file__).parent.parent
PAGE = (ROOT / "docs" / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"^```(python|diff)\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SECTIONS = ("operation", "form of checkpoint", "pruner", "algebra", "metric")


def change(path: Path, lines: list[str]) -> None:
    """Add the lines with + between the others, which must stand in the file exactly once."""
    before, after = (
        "".join(line[1:] + "\n" for line in lines if line[0] in signs) for signs in (" ", " +")
    )  # fmt: skip
    text = path.read_text()
    assert text.count(before) == 1, f"{path.name} has {text.count(before)} times:\n{before}"
    path.write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    """What pytest says of each test of the page, after all its steps."""
    copy = tmp_path_factory.mktemp("contributor")
    shutil.copytree(ROOT / "graphsparse", copy / "graphsparse")  # with the machine code that is kept beside it
    (copy / "tests").mkdir()
    for kind, name, text in BLOCKS:
        if kind == "diff":
            change(copy / name, text.splitlines())
        else:
            assert not (copy / name).exists()
            (copy / name).write_text(text)
    (copy / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "--color=no", "-p", "no:xdist", "tests"],
        cwd=copy, env={**os.environ, "PYTHONPATH": str(copy), "PYTEST_ADDOPTS": ""}, capture_output=True, text=True,
    )  # fmt: skip
    found = dict(re.findall(r"^tests/(\w+\.py)::.* (PASSED|FAILED|ERROR) ", done.stdout, re.MULTILINE))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    return found


def test_the_page_has_an_example_of_each_thing_that_can_be_added():
    for name in SECTIONS:
        assert re.search(rf"^## An? {name}$", PAGE, re.MULTILINE)
    assert len(re.findall(r"^```(?:python|diff)$", PAGE, re.MULTILINE)) == len(BLOCKS)


@pytest.mark.parametrize("name", [Path(name).name for _, name, _ in BLOCKS if name.startswith("tests/")])
def test_whoever_follows_the_page_arrives(outcomes, name):
    assert outcomes[name] == "PASSED"
