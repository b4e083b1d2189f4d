"""The scripts of examples/ run as they are and say what they are to say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SAID = {
    "analyze_a_checkpoint.py": "direct compression 200x, effective 249x",
    "follow_a_run.py": "7 checkpoints, ",
    "many_random_masks.py": "by the closed form: 252.8",
    "paths_through_units.py": "paths through one connection",
    "prune_to_an_effective_target.py": "active 2662 of 266200",
    "train_with_masks.py": "weights are exactly zero",
    "take_dead_units_out.py": "outputs differ by 0.0",
}
ALL = """
import runpy, sys
for path in sys.argv[1:]:
    print("EXAMPLE", path)
    sys.argv = [path]
    runpy.run_path(path, run_name="__main__")
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, str]:
    """What each script prints; all of them run in one process, since the imports are most of the time."""
    settings = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    paths = [str(path) for path in sorted(EXAMPLES.glob("*.py"))]
    done = subprocess.run(
        [sys.executable, "-c", ALL, *paths], cwd=tmp_path_factory.mktemp("elsewhere"), env=settings,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    parts = [part.split("\n", 1) for part in done.stdout.split("EXAMPLE ")[1:]]
    return {Path(path).name: text for path, text in parts}


def test_every_script_is_run(said):
    assert said.keys() == SAID.keys() == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("name", SAID)
def test_an_example_says_what_it_is_to_say(said, name):
    assert SAID[name] in said[name]
