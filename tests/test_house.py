"""The rules of the house: the direction of imports, the public names, the text of errors."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import graphsparse as gs
from graphsparse import errors

HOUSE = Path(gs.__file__).parent
ORDER = [
    {"errors"}, {"semiring", "data"}, {"kernels"}, {"blocks"}, {"graph"}, {"adjacency", "handover"},
    {"passes", "capture", "checkpoints", "zoo"}, {"measures", "surgery"}, {"pruning"}, {"reports"}, {"sweeps"}, {"demo"},
    {"cli"}, {"__main__", "__init__"},
]  # fmt: skip
"""Each part may import itself and those before it. `graph` hands over to two parts of its own inside methods."""
WITH_TORCH = {"capture", "checkpoints", "surgery", "pruning", "zoo", "reports", "demo", "cli"}
HANDED_OVER = {("graph", "adjacency"), ("graph", "handover")}


def part_of(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} if node.module != "graphsparse" else {f"graphsparse.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", sorted(HOUSE.rglob("*.py")), ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_go_one_way(path):
    place = {part: number for number, parts in enumerate(ORDER) for part in parts}
    part = part_of(path)
    assert part in place, f"{part} has no place in the order"
    for name in imports(path):
        if name.startswith("graphsparse.") and (part, name.split(".")[1]) not in HANDED_OVER:
            other = name.split(".")[1]
            assert other == part or place[other] < place[part], f"{part} imports {other}"
        if name.split(".")[0] == "torch":
            assert part in WITH_TORCH, f"{part} imports torch"


def test_public_names():
    for name in ["LayeredGraph", "analyze", "effective_masks", "export", "read_masks", "sparsity", "write_masks"]:
        public = getattr(gs, name)
        assert name in gs.__all__ and public.__doc__
    assert list(inspect.signature(gs.export).parameters)[:6] == [
        "model", "example_inputs", "masks", "kwargs", "resolution", "norm_statistics",
    ]  # fmt: skip
    with pytest.raises(AttributeError, match="nope"):
        gs.nope  # noqa: B018


def test_importing_the_package_is_quick():
    done = subprocess.run([sys.executable, "-c", "import graphsparse, sys; print('torch' in sys.modules, 'numba' in sys.modules)"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.split() == ["False", "False"]


def test_an_error_says_rule_place_value_and_way_out():
    text = str(errors.MaskError("a rule", place="here", received=3, way_out="do this"))
    assert text == "a rule, at here; received 3. Way out: do this."
    family = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]
    assert all(issubclass(cls, errors.GraphsparseError) and issubclass(cls, ValueError) for cls in family)
