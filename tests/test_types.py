"""What editors and type checkers see of the public names."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from mypy import api

import graphsparse as gs
from graphsparse.pruning.methods import METHODS
from graphsparse.pruning.prune import Options

ROOT = Path(gs.__file__).parent.parent
SETTINGS = """
[mypy]
ignore_missing_imports = true
[mypy-torch.*,numpy.*,scipy.*,pandas.*,networkx.*,igraph.*,numba.*,llvmlite.*,safetensors.*,transformers.*]
follow_imports = skip
"""
PROGRAM = """
import graphsparse as gs
from graphsparse import algebras
{revealed}
gs.prune(None, None, "lamp", compresion=3)
gs.quotas("erk", [(2, 3)], sparsty=0.5)
gs.prune(None, None, "synflow", compression=3.0, rounds=10)
try:
    graph = gs.export(None)
except gs.MaskError as error:
    reveal_type(error.place)
reveal_type(algebras.MAX_MIN)
reveal_type(algebras.OR_AND)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> str:
    """What mypy says of a short program; the libraries' own types are left out, so that it takes seconds."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "mypy.ini").write_text(SETTINGS)
    revealed = "\n".join(f"reveal_type(gs.{name})" for name in gs.__all__)
    (folder / "program.py").write_text(PROGRAM.format(revealed=revealed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPYPATH", str(ROOT))
        files = [
            "--config-file",
            str(folder / "mypy.ini"),
            "--cache-dir",
            str(folder / "cache"),
            "--hide-error-context",
        ]
        said, problems, _ = api.run([*files, str(folder / "program.py")])
    assert not problems
    return "\n".join(line for line in said.splitlines() if "program.py" in line)


OF_LIBRARIES = {"biadjacency"}  # what it returns is SciPy's, whose types are left out here


@pytest.mark.parametrize("name", gs.__all__)
def test_a_public_name_has_its_own_type(report, name):
    line = 4 + gs.__all__.index(name)
    (seen,) = re.findall(rf"program\.py:{line}: note: Revealed type is \"(.*)\"", report)
    kind = getattr(gs, name)
    if isinstance(kind, ModuleType):
        assert seen == "types.ModuleType"
        return
    own = isinstance(kind, type) or name in OF_LIBRARIES or not seen.endswith("-> Any")
    assert seen.startswith("def (") and own


def test_a_misspelled_keyword_is_an_error(report):
    errors = [line.partition(" error: ")[2] for line in report.splitlines() if " error: " in line]
    assert [error.partition(";")[0] for error in errors] == [
        'Unexpected keyword argument "compresion" for "prune"  [call-arg]'.partition("  [")[0],
        'Unexpected keyword argument "sparsty" for "quotas"  [call-arg]'.partition("  [")[0],
    ]


def test_errors_and_algebras_have_types(report):
    assert re.findall(r"Revealed type is \"(.*)\"", report)[-3:] == [
        "str | None", "graphsparse.kernels.numbers.Numbers", "graphsparse.algebras.Algebra",
    ]  # fmt: skip


def test_the_keywords_that_a_type_checker_knows_are_those_that_methods_have():
    assert set(Options.__annotations__) == {option for method in METHODS.values() for option in method.options}
