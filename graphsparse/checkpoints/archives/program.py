"""Whether torch.export.load may be called on an archive: it unpickles and evaluates what a stranger wrote.

It loads tensors marked as pickled, script objects, and sample inputs that torch's safe unpickler refuses, with the
unsafe one; it hands every symbolic size to sympy, which evaluates it; and running the program calls whatever its nodes
name. An archive that would need any of this is refused here, before torch sees it.
"""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graphsparse.checkpoints.archives.exported import is_exported, member_bytes, unpickle_tensors
from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.checkpoints.archives.mapped import MappedFile
from graphsparse.checkpoints.archives.zip_directory import read_directory
from graphsparse.errors import CheckpointError

_SYMBOL = re.compile(r"^[a-z]{1,4}\d+$|^(int_)?oo$|^(True|False)$")
_FUNCTIONS = {
    "Abs", "Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Eq", "FloatPow", "FloatTrueDiv", "FloorDiv",
    "FloorToInt", "Ge", "Gt", "Identity", "IntTrueDiv", "Integer", "LShift", "Le", "Lt", "Max", "Min", "Mod",
    "ModularIndexing", "Mul", "Ne", "Not", "Or", "Pow", "PowByNatural", "PythonMod", "RShift", "RoundDecimal",
    "RoundToInt", "Symbol", "ToFloat", "TruncToFloat", "TruncToInt", "Where", "ceiling", "floor",
}  # fmt: skip
_TARGET = re.compile(
    r"^(torch\.ops\.\w+\.\w+(\.\w+)?|torch\.sym_\w+|"
    r"(_operator|math)\.(add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_|xor|getitem|"
    r"lshift|rshift|ceil|floor|trunc|sqrt))?$"
)
_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Call, ast.Name, ast.Constant, ast.Load, ast.keyword,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
_POWERS = {"FloatPow", "LShift", "Pow", "PowByNatural"}
_LARGEST_POWER = 64


def check_program(path: Path) -> None:
    """Raises where torch.export.load, or running what it loads, could run code that the archive brings.

    Raises:
        CheckpointError: it could, or the file is damaged or no archive of torch.export.
    """
    members = read_directory(path, stored=True)
    if not is_exported(members):
        raise CheckpointError("a program is an archive of torch.export.save", place=str(path))
    file = MappedFile(path)
    for name, member in members.items():
        if re.search(r"(custom_obj|opaque|\.so$|\.pkl$)", name) or "/aotinductor/" in name:
            raise _would_run(path, f"a member {name}")
        if name.endswith(".json"):
            _check_text(read_object(member_bytes(file, member), f"{name} in {path}"), file, members, name)
        elif name.endswith(".pt") and member.file_size:
            unpickle_tensors(member_bytes(file, member), f"{name} in {path}")


def _check_text(content: dict[str, Any], file: MappedFile, members: Mapping[str, zipfile.ZipInfo], name: str) -> None:
    """Checks one JSON member: its expressions, its calls, and the pickles that it lists."""
    for table in _tables(content):
        expression, target = table.get("expr_str"), table.get("target")
        if "expr_str" in table and not (isinstance(expression, str) and _is_arithmetic(expression)):
            raise _would_run(file.path, f"the expression {str(expression)[:60]!r}")
        if isinstance(target, str) and "inputs" in table and not _TARGET.match(target):
            raise _would_run(file.path, f"a call of {target[:60]!r}")
        if table.get("use_pickle"):
            member = members.get(f"{name.rpartition('/')[0]}/{table.get('path_name')}")
            if member is None:
                raise CheckpointError("a listed tensor is in the archive", place=f"{name} in {file.path}")
            unpickle_tensors(member_bytes(file, member), f"{member.filename} in {file.path}")


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON text, however deep, without recursion."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)


def _is_arithmetic(text: str) -> bool:
    """Whether an expression is numbers, symbols and the functions that torch writes, and nothing that could be more."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    nodes = list(ast.walk(tree))
    return len(text) < 10_000 and all(isinstance(node, _NODES) and _is_harmless(node) for node in nodes)


def _is_harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        return name in _FUNCTIONS and (name not in _POWERS or (len(node.args) == 2 and _is_small(node.args[1])))
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) or (isinstance(node.value, str) and bool(_SYMBOL.match(node.value)))
    if isinstance(node, ast.BinOp):
        return not isinstance(node.op, ast.Pow | ast.LShift) or _is_small(node.right)
    return not isinstance(node, ast.Name) or bool(_SYMBOL.match(node.id)) or node.id in _FUNCTIONS


def _is_small(exponent: ast.AST) -> bool:
    """Whether an exponent is a small number as it stands: 9**9**9 is code that never ends."""
    if isinstance(exponent, ast.Call) and len(exponent.args) == 1:
        exponent = exponent.args[0]  # Integer(2)
    if isinstance(exponent, ast.UnaryOp):
        exponent = exponent.operand
    return (
        isinstance(exponent, ast.Constant)
        and isinstance(exponent.value, int | float)
        and abs(exponent.value) <= _LARGEST_POWER
    )


def _would_run(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        "a checkpoint is never read with code execution", place=str(path), received=what,
        way_out="export the program again without it, or name the model as package.module:factory",
    )  # fmt: skip
