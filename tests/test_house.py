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
    {"errors"}, {"arrays", "data"}, {"kernels"}, {"algebras"}, {"blocks"}, {"layers"}, {"adjacency", "libraries"}, {"graph"},
    {"graph_file"}, {"graph_store"},
    {"sweep"},
    {"passes", "capture", "checkpoints", "zoo"}, {"measures", "surgery"}, {"pruning"}, {"reports"}, {"sweeps"}, {"demo"},
    {"cli"}, {"__main__", "__init__"},
]  # fmt: skip
"""Each part may import itself and those before it."""
WITH_TORCH = {"capture", "checkpoints", "surgery", "pruning", "zoo", "reports", "demo", "cli"}


def part_of(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= (
                {node.module} if node.module != "graphsparse" else {f"graphsparse.{alias.name}" for alias in node.names}
            )
    return found


@pytest.mark.parametrize("path", sorted(HOUSE.rglob("*.py")), ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_go_one_way(path):
    place = {part: number for number, parts in enumerate(ORDER) for part in parts}
    part = part_of(path)
    assert part in place, f"{part} has no place in the order"
    for name in imports(path):
        if name.startswith("graphsparse."):
            other = name.split(".")[1]
            assert other == part or place[other] < place[part], f"{part} imports {other}"
        if name.split(".")[0] == "torch":
            assert part in WITH_TORCH, f"{part} imports torch"


PUBLIC = {
    "LayeredGraph", "analyze", "compression_curve", "effective_masks", "effective_scores", "expected_effective", "export",
    "prune", "quotas", "read_masks", "sparsity", "sparsity_of", "write_masks",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PUBLIC | set(gs.__all__)))
def test_public_names_are_there_and_documented(name):
    assert name in gs.__all__ and name in dir(gs)
    assert inspect.getdoc(getattr(gs, name))


def test_signatures_that_stay():
    def parameters(function) -> list[str]:
        return list(inspect.signature(function).parameters)

    assert parameters(gs.export)[:6] == ["model", "example_inputs", "masks", "kwargs", "resolution", "norm_statistics"]
    assert parameters(gs.analyze)[:3] == ["source", "model", "example_inputs"]
    pruning = ["model", "example_inputs", "method", "sparsity", "compression", "effective", "data", "seed"]
    assert parameters(gs.prune)[:8] == pruning
    assert parameters(gs.quotas) == ["name", "shapes", "sparsity"]
    with pytest.raises(AttributeError, match="nope"):
        gs.nope  # noqa: B018


@pytest.mark.parametrize("module", ["graphsparse", "graphsparse.cli"])
def test_importing_is_quick(module):
    slow = "torch", "numba", "pandas", "networkx", "matplotlib", "transformers"
    code = f"import {module}, sys; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_part_is_a_package():
    folders = {path.parent for path in HOUSE.rglob("*.py")}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_an_error_says_rule_place_value_and_way_out():
    text = str(errors.MaskError("a rule", place="here", received=3, way_out="do this"))
    assert text == "a rule, at here; received 3. Way out: do this."
    family = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]
    assert all(issubclass(cls, errors.GraphsparseError) and issubclass(cls, ValueError) for cls in family)
