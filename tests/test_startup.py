"""What a command costs before its work: what it imports, and how seldom it looks for garbage."""

from __future__ import annotations

import gc
import subprocess
import sys

from graphsparse import data
from graphsparse.cli.collecting import seldom

NEVER = ("pandas", "igraph", "rich.progress", "jinja2", "transformers", "scipy.sparse.csgraph")
"""What takes long to import and no short command needs. SciPy's arrays and networkx come with numba and torch."""


def test_analyze_imports_no_library_that_it_does_not_use():
    command = [
        "analyze",
        str(data.path("digits-mlp-200x.pt")),
        "--model",
        "graphsparse.zoo:digits_mlp",
        "--input",
        "1x8x8",
    ]
    code = f"""if True:
        import atexit, sys
        from graphsparse.cli import main
        atexit.register(lambda: print("loaded:", *[name for name in {NEVER!r} if name in sys.modules]))
        main({command!r})
    """
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "202 of 50,200 active" in out
    assert out.splitlines()[-1] == "loaded:"


def test_garbage_is_collected_as_before_after_a_command():
    before = gc.get_threshold()
    with seldom():
        assert gc.get_threshold()[0] > 100 * before[0] and gc.isenabled()
    assert gc.get_threshold() == before
