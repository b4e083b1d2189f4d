"""What a pickle is read with: a stack, a memo, the names that it may use, and the memory that each part takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphsparse.checkpoints.checks import Budget
from graphsparse.errors import CheckpointError

_WAY_OUT = "where you trust it, load it yourself and save its state dict, by torch.save or as safetensors"
LONGEST_NAME = 256  # of a module, a function or a class
_SAFE_INTEGER = 1 << 60  # smaller integers are their own hash: no file can make them collide
_RARE_KEYS = 4096  # keys whose hashes a file can make collide
_LONGEST_KEY = 16  # entries of a tuple that is a key
_LONGEST_TEXT = 1 << 12  # characters of a key: equal ones are compared whenever they meet
_SCALARS = {str, bytes, int, bool, float, type(None)}

# Bytes of memory that what an opcode makes takes, with its place in the container around it; and each item of it.
NUMBER, TEXT, TUPLE, LIST, DICT, NAMESPACE = 40, 72, 64, 112, 240, 400
ITEM, ENTRY, MARK, POINTER = 10, 72, 40, 8


@dataclass(frozen=True)
class Function:
    """A name in a pickle that one of our functions stands for."""

    name: str


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What a pickle may name.

    Attributes:
        values: {name: its plain value}.
        functions: {name: our function that is called for it}.
        storage: gives the value of a persistent id, a tuple.
    """

    values: Mapping[str, Any]
    functions: Mapping[str, Callable[..., Any]]
    storage: Callable[[Any], Any]


def would_run(what: str, place: str) -> CheckpointError:
    """The error for a pickle that asks for more than data."""
    rule = "a checkpoint must be readable without code execution"
    return CheckpointError(rule, place=place, received=f"a pickle that asks for {what}", way_out=_WAY_OUT)


def check_key(key: Any, place: str) -> None:
    """Raises CheckpointError where a key is, or holds, a very long text."""
    for each in key if type(key) is tuple else (key,):
        if type(each) in (str, bytes) and len(each) > _LONGEST_TEXT:
            raise CheckpointError("names must be short", place=place, received=f"one of {len(each):,} characters")


class Machine:
    """A stack, the places of its marks, and a memo."""

    def __init__(self, data: memoryview, begin: int, vocabulary: Vocabulary, budget: Budget):
        self.data, self.at, self.vocabulary, self.budget = data, begin, vocabulary, budget
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []
        self.rare_keys = 0

    def take(self, count: int) -> bytes:
        """The next bytes of the pickle."""
        taken = bytes(self.data[self.at : self.at + count])
        if len(taken) != count:
            raise EOFError("a pickle ends in its middle")
        self.at += count
        return taken

    def line(self) -> str:
        length = bytes(self.data[self.at : self.at + LONGEST_NAME]).find(b"\n")
        if length < 0:
            raise ValueError("a name without an end")
        return str(self.take(length + 1)[:-1], "utf-8")

    def push(self, value: Any, cost: int) -> None:
        self.budget.spend(cost)
        self.stack.append(value)

    def popped(self) -> list[Any]:
        """What lies above the last mark."""
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def put(self, key: Any, value: Any) -> None:
        """Put an entry into the dict on top. Keys whose hashes a stranger can make collide are few, and plain."""
        target = self.top(dict)
        self.budget.spend(ENTRY)
        if type(key) not in (str, bytes) and not (type(key) is int and abs(key) < _SAFE_INTEGER):
            self.rare_keys += 1
            scalars = key if type(key) is tuple and len(key) <= _LONGEST_KEY else (key,)
            if self.rare_keys > _RARE_KEYS or not all(type(each) in _SCALARS for each in scalars):
                rule = "keys must be names or numbers"
                raise CheckpointError(rule, place=self.budget.place, received=type(key).__name__)
        check_key(key, self.budget.place)
        target[key] = value

    def extend(self, items: list[Any]) -> None:
        """Append items to the list on top."""
        target = self.top(list)
        self.budget.spend(ITEM * (len(items) + 1))
        target.extend(items)

    def top(self, kind: type) -> Any:
        """What lies on top of the stack, which must be of this type."""
        if type(self.stack[-1]) is not kind:
            raise TypeError(f"something put into a {type(self.stack[-1]).__name__}")
        return self.stack[-1]
