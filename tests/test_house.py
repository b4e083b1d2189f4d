"""The rules of the house: the direction of imports, the public names, the text of errors."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import graphsparse as gs
from graphsparse import errors

HOUSE = Path(gs.__file__).parent
ORDER = [
    {"errors"}, {"arrays", "data"}, {"kernels"}, {"algebras"}, {"blocks"}, {"layers"},
    {"adjacency", "captured", "given_masks"}, {"graph"}, {"graph_file"}, {"graph_store"},
    {"sweep"},
    {"passes", "capture", "checkpoints", "zoo"}, {"exports", "measures", "effective", "networks"}, {"surgery"}, {"metrics", "pruning"}, {"training"}, {"compaction"}, {"pages"}, {"runs"}, {"plots"}, {"reports"}, {"demo"},
    {"cli"}, {"__main__", "__init__"},
]  # fmt: skip
"""Each part may import itself and those before it."""
WITH_TORCH = {
    "capture", "checkpoints", "cli", "compaction", "demo", "effective", "networks", "pruning", "reports", "runs", "surgery",
    "training", "zoo",
}  # fmt: skip


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


FAMILIES = sorted((HOUSE / "capture" / "rules").glob("[a-z]*.py"))


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_no_family_of_rules_imports_another(path):
    package = "graphsparse.capture.rules"
    assert not [name for name in imports(path) if name == package or name.startswith(f"{package}.")]


PUBLIC = {
    "analyze", "compact", "compare", "compression_curve", "effective_masks", "effective_scores",
    "expected_effective", "explain", "export", "keep_masks", "LayeredGraph", "load_graph", "merge_lora", "Network",
    "network", "prune", "quotas", "read_masks", "save_graph", "sparsity", "sparsity_of", "topology", "track",
    "write_masks", "biadjacency", "compare_masks", "plots",
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


def arrows() -> dict[str, set[str]]:
    """Which module imports which: at its top, inside functions, and for type checkers alone."""
    names = {".".join(path.relative_to(HOUSE.parent).with_suffix("").parts): path for path in HOUSE.rglob("*.py")}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    found: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= {module if module in names else node.module for module in inner} & names.keys()
            elif isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names} & names.keys()
    return {name: found[name] - {name} for name in found}


def test_no_module_imports_itself_over_others():
    """No circle, not even one that only a type checker or an import inside a function closes."""
    left = arrows()
    while True:
        imported = {name for others in left.values() for name in others}
        ends = {name for name, others in left.items() if not others & left.keys() or name not in imported}
        if not ends:
            break
        left = {name: others for name, others in left.items() if name not in ends}
    assert not left, f"among these modules there is a circle: {sorted(left)}"


LOOKED_UP = {
    "graphsparse": "public names, each imported when it is first asked for",
    "graphsparse.graph": "to_networkx and to_igraph, which sweep, as methods of a graph",
}
"""Modules that look up others of the package by name, which no arrow shows, and what for."""


def test_modules_are_looked_up_by_name_only_where_a_reason_is_given():
    names = set(arrows())
    found = set()
    for path in HOUSE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        own = ".".join(path.relative_to(HOUSE.parent).with_suffix("").parts).removesuffix(".__init__")
        if any(
            isinstance(node, ast.Name | ast.Attribute) and "import_module" in ast.unparse(node)
            for node in ast.walk(tree)
        ):
            found |= {own for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value in names}
    assert found == LOOKED_UP.keys()


HEART = ("algebras", "blocks", "layers", "graph", "sweep")


def lines_of_code(path: Path) -> int:
    """Lines that hold code: neither blank, nor only a comment, nor part of a docstring."""
    text = path.read_text()
    texts = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr) and is_text(node.value)]
    prose = {line for node in texts for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    nothing = tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in nothing]
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - prose)


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_the_heart_is_read_in_one_go():
    counts = {name: lines_of_code(HOUSE / f"{name}.py") for name in HEART}
    assert sum(counts.values()) < 450, counts


@pytest.mark.parametrize("name", [name for name in gs.__all__ if inspect.isfunction(getattr(gs, name))])
def test_every_argument_of_a_public_function_has_a_type(name):
    signature = inspect.signature(getattr(gs, name))
    untyped = [each.name for each in signature.parameters.values() if each.annotation is each.empty]
    assert not untyped and signature.return_annotation is not signature.empty


ROOT = HOUSE.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACES = re.compile(r"`((?:graphsparse|docs|tests|benchmarks|examples|data|capture|kernels|networks|rules)/[\w./-]*)`")
DOTTED = re.compile(r"`(graphsparse(?:\.\w+)+)`")
FOLDERS = (ROOT, HOUSE)


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name in one, or an attribute of such."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        held: object = found
        for name in parts[cut:]:
            held = getattr(held, name, None)
        return held is not None
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_refer_to_what_is_there(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert not [link for link in links if link and not (page.parent / link).exists()]
    named = PLACES.findall(text)
    assert not [place for place in named if not any((folder / place).exists() for folder in FOLDERS)]
    assert not [name for name in DOTTED.findall(text) if not resolves(name)]


def test_comments_and_docstrings_refer_to_what_is_there():
    dead = []
    for path in sorted(HOUSE.rglob("*.py")):
        text = path.read_text()
        dead += [(path.name, name) for name in sorted(set(DOTTED.findall(text))) if not resolves(name)]
        named = set(re.findall(r"\b((?:docs|tests|benchmarks)/[\w./]+\.(?:md|py))\b", text))
        dead += [(path.name, place) for place in sorted(named) if not (ROOT / place).exists()]
    assert not dead


def test_headings_that_code_names_are_in_the_semantics():
    headings = set(re.findall(r"^## (.*)$", (ROOT / "docs" / "semantics.md").read_text(), re.MULTILINE))
    for path in [*HOUSE.rglob("*.py"), *ROOT.glob("tests/*.py")]:
        for heading in re.findall(r"docs/semantics\.md`?, ([A-Z][a-z ]+)", path.read_text()):
            assert heading in headings, f"{path.name} names {heading}"


WITHOUT_MUST = {
    'f"{len(walk.refused)} of {total} operations': "counts what has no rule; the lines below name it",
    '"a picture needs': "an optional package is missing: there is nothing that the asker did wrong",
    '"a page needs': "the same",
    '"a parquet file needs': "the same",
    '"a cluster needs': "the same",
    '"a folder with a config.json needs': "the same",
}
"""Rules of errors that do not say what must be, by how they begin, each with the reason."""


def rules_of(path: Path) -> list[str]:
    """The text of each rule that an error of this file gets as it stands; texts that are computed elsewhere are left out."""
    text = path.read_text()
    family = {name for name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)}
    found = []
    for node in ast.walk(ast.parse(text)):
        named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in family
        parts = ast.walk(node.args[0]) if isinstance(node, ast.Call) and named and node.args else ()
        if isinstance(node, ast.Call) and any(is_text(part) or isinstance(part, ast.JoinedStr) for part in parts):
            found.append(ast.get_source_segment(text, node.args[0]) or "")
    return found


@pytest.mark.parametrize("part", sorted({part_of(path) for path in HOUSE.rglob("*.py")} - {"errors"}))
def test_the_rule_of_an_error_says_what_must_be(part):
    rules = [rule for path in HOUSE.rglob("*.py") if part_of(path) == part for rule in rules_of(path)]
    assert not [rule for rule in rules if " must " not in rule and not rule.startswith(tuple(WITHOUT_MUST))]


def test_no_test_imports_a_test():
    """What several tests share stands in a module of its own: models, families, judges, crafted files."""
    for path in Path(__file__).parent.rglob("*.py"):
        assert not [name for name in imports(path) if name.startswith("tests.") and ".test_" in name], path.name
