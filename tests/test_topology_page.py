"""The page of topology statistics: its tables are those of the metrics, its example runs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

from graphsparse.metrics.topology import TABLE

DOCS = Path(__file__).resolve().parent.parent / "docs"


def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("metrics_page", DOCS / "metrics.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_as_the_metrics_are():
    text = (DOCS / "topology.md").read_text()
    assert writer().page(text) == text, "write it anew: python docs/metrics.py"
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", text.partition("## The metrics")[2], re.MULTILINE)
    assert sorted(name for name, *_ in rows) == sorted(TABLE)
    assert all(len(cell) > 2 for row in rows for cell in row)


def test_the_example_runs():
    (example,) = re.findall(r"^```python\n(.*?)^```", (DOCS / "topology.md").read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    assert {"graph", "found"} <= names.keys()


def test_every_metric_has_a_first_sentence():
    for line in writer().tables().splitlines():
        assert not re.search(r"\w \| \||  \|", line), line
