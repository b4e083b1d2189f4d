"""Pickles read as data: a small machine for the opcodes that torch.save writes.

Python's unpickler calls what a pickle names. This one has a vocabulary of names: a few stand for plain values, a few
for functions of ours that describe tensors; every other name is refused, and so is every opcode that is not needed.
Each opcode's cost in memory is counted before it is carried out, and no opcode takes longer than its bytes are many,
so time and memory are bounded by the length of the pickle.
Source: the opcodes are described in pickletools.py of Python's library.
"""

from __future__ import annotations

import argparse
import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphsparse.checkpoints.archives.budget import Budget
from graphsparse.errors import CheckpointError

WAY_OUT = (
    "where you trust it, load it yourself and save torch.save(model.state_dict(), ...) or a safetensors file of it"
)

_LONGEST_NAME = 256  # of a module, a function or a class
_LONGEST_NUMBER = 256  # bytes
_SAFE_INTEGER = 1 << 60  # integers below hash to themselves: nobody can make them collide
_RARE_KEYS = 4096  # keys whose hashes can be made to collide
_LONGEST_KEY = 16  # entries of a tuple that is a key

# Bytes that Python takes for what an opcode makes, with its place in the container around it; and for each item of it.
_NUMBER, _TEXT, _TUPLE, _LIST, _DICT, _NAMESPACE_COST = 40, 72, 64, 112, 240, 400
_ITEM, _ENTRY, _MARK, _POINTER = 10, 72, 40, 8


@dataclass(frozen=True)
class Function:
    """A name in a pickle that stands for a function of ours."""

    name: str


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What a pickle may name.

    Attributes:
        values: {name: the plain value that it stands for}.
        functions: {name: the function that is called in its stead}.
        storage: what a persistent id, a tuple, stands for.
    """

    values: Mapping[str, Any]
    functions: Mapping[str, Callable[..., Any]]
    storage: Callable[[Any], Any]


def read_pickle(data: memoryview, begin: int, vocabulary: Vocabulary, budget: Budget) -> tuple[Any, int]:
    """Returns the value of the pickle that begins at a byte offset, and the offset where it ends.

    Mappings become dict, sets list, everything else what it is; of classes only argparse.Namespace, which runs nothing.

    Raises:
        CheckpointError: it names something else, has an opcode that is not needed, or costs more than the budget.
        Exception: of any kind, where the pickle is damaged.
    """
    return _Machine(data, begin, vocabulary, budget).run()


def would_run(what: str, place: str) -> CheckpointError:
    """The error for a pickle that wants more than data."""
    rule = "a checkpoint must be readable without code execution"
    return CheckpointError(rule, place=place, received=f"a pickle that asks for {what}", way_out=WAY_OUT)


class _Machine:
    """A stack, the places of its marks, and a memo."""

    def __init__(self, data: memoryview, begin: int, vocabulary: Vocabulary, budget: Budget):
        self.data, self.at, self.vocabulary, self.budget = data, begin, vocabulary, budget
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []
        self.rare_keys = 0

    def run(self) -> tuple[Any, int]:
        while True:
            code = self.data[self.at]
            self.at += 1
            if code == pickle.STOP[0]:
                return self.stack.pop(), self.at
            if code not in _OPCODES:
                raise would_run(f"the opcode {code:#04x}", self.budget.place)
            _OPCODES[code](self)

    def take(self, count: int) -> bytes:
        """The next bytes of the pickle."""
        taken = bytes(self.data[self.at : self.at + count])
        if len(taken) != count:
            raise EOFError("a pickle ends in its middle")
        self.at += count
        return taken

    def number(self, kind: struct.Struct) -> Any:
        return kind.unpack(self.take(kind.size))[0]

    def line(self) -> str:
        length = bytes(self.data[self.at : self.at + _LONGEST_NAME]).find(b"\n")
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


def _text(read: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    def push(machine: _Machine) -> None:
        raw = machine.take(read(machine))
        machine.push(str(raw, "utf-8", "surrogatepass"), _TEXT + len(raw) * (1 if raw.isascii() else 4))

    return push


def _octets(read: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    def push(machine: _Machine) -> None:
        length = read(machine)
        machine.budget.spend(_TEXT + length)
        machine.stack.append(machine.take(length))

    return push


def _long(read: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    def push(machine: _Machine) -> None:
        length = read(machine)
        if not 0 <= length <= _LONGEST_NUMBER:
            raise ValueError(f"a number of {length} bytes")
        machine.push(int.from_bytes(machine.take(length), "little", signed=True), _NUMBER + length)

    return push


def _counted(kind: struct.Struct) -> Callable[[_Machine], int]:
    return lambda machine: machine.number(kind)


def _constant(value: Any) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(value, _POINTER)


def _global(machine: _Machine) -> None:
    module, name = machine.line(), machine.line()
    _push_named(machine, module, name)


def _stack_global(machine: _Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str or len(module) + len(name) > _LONGEST_NAME:
        raise ValueError("a name that is none")
    _push_named(machine, module, name)


def _push_named(machine: _Machine, module: str, name: str) -> None:
    known = f"{_MODULES.get(module, module)}.{name}"
    if known in machine.vocabulary.values:
        machine.push(machine.vocabulary.values[known], _POINTER)
    elif known in machine.vocabulary.functions or known == _NAMESPACE.name:
        machine.push(Function(known), _NUMBER)
    else:
        raise would_run(known, machine.budget.place)


def _reduce(machine: _Machine) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    name = function.name if type(function) is Function else type(function).__name__
    if type(function) is not Function or type(arguments) is not tuple or name not in machine.vocabulary.functions:
        raise would_run(f"a call of {name}", machine.budget.place)
    machine.push(machine.vocabulary.functions[name](*arguments), _NUMBER)


def _new_object(machine: _Machine) -> None:
    arguments, kind = machine.stack.pop(), machine.stack.pop()
    if kind != _NAMESPACE or arguments != ():
        raise would_run(f"a new {kind.name if type(kind) is Function else type(kind).__name__}", machine.budget.place)
    machine.push(argparse.Namespace(), _NAMESPACE_COST)


def _build(machine: _Machine) -> None:
    """Attributes: of a namespace they are its content, of a dict (an OrderedDict, in the file) nobody asks for them."""
    state = machine.stack.pop()
    target = machine.stack[-1]
    if type(target) is argparse.Namespace and type(state) is dict:
        machine.budget.spend(_ENTRY * (len(state) + 1))
        vars(target).update({str(key)[:_LONGEST_NAME]: value for key, value in state.items()})
    elif type(target) is not dict:
        raise would_run(f"a change of a {type(target).__name__}", machine.budget.place)


def _set_items(machine: _Machine) -> None:
    items = machine.popped()
    if len(items) % 2:
        raise ValueError("a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        _put(machine, key, value)


def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _put(machine, key, value)


def _put(machine: _Machine, key: Any, value: Any) -> None:
    target = machine.stack[-1]
    if type(target) is not dict:
        raise TypeError(f"an entry put into a {type(target).__name__}")
    machine.budget.spend(_ENTRY)
    if type(key) not in (str, bytes) and not (type(key) is int and abs(key) < _SAFE_INTEGER):
        machine.rare_keys += 1
        scalars = key if type(key) is tuple and len(key) <= _LONGEST_KEY else (key,)
        if machine.rare_keys > _RARE_KEYS or not all(type(each) in _SCALARS for each in scalars):
            raise CheckpointError(
                "keys must be names or numbers", place=machine.budget.place, received=type(key).__name__
            )
    target[key] = value


def _append(machine: _Machine) -> None:
    item = machine.stack.pop()
    _list(machine, 1).append(item)


def _extend(machine: _Machine) -> None:
    items = machine.popped()
    _list(machine, len(items)).extend(items)


def _list(machine: _Machine, more: int) -> list[Any]:
    target = machine.stack[-1]
    if type(target) is not list:
        raise TypeError(f"an item appended to a {type(target).__name__}")
    machine.budget.spend(_ITEM * (more + 1))
    return target


def _mark(machine: _Machine) -> None:
    machine.budget.spend(_MARK)
    machine.marks.append(len(machine.stack))


def _tuple(machine: _Machine) -> None:
    items = machine.popped()
    machine.push(tuple(items), _TUPLE + _ITEM * len(items))


def _tuple_of(count: int) -> Callable[[_Machine], None]:
    def push(machine: _Machine) -> None:
        machine.budget.spend(_TUPLE)
        items = tuple(machine.stack[-count:])
        if len(items) != count:
            raise IndexError("a stack that is too short")
        machine.stack[-count:] = [items]

    return push


def _remember(read: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    def put(machine: _Machine) -> None:
        place = read(machine)
        missing = place + 1 - len(machine.memo)
        machine.budget.spend(_ITEM * max(0, missing))
        machine.memo.extend([None] * missing)
        machine.memo[place] = machine.stack[-1]

    return put


def _recall(read: Callable[[_Machine], int]) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.memo[read(machine)], _POINTER)


def _protocol(machine: _Machine) -> None:
    if machine.take(1)[0] > pickle.HIGHEST_PROTOCOL:
        raise ValueError("a pickle of a protocol to come")


_NAMESPACE = Function("argparse.Namespace")  # common in hyperparameters; its attributes are read as data
_MODULES = {"__builtin__": "builtins", "torch.tensor": "torch._tensor"}  # names of Python 2 and of older torch
_SCALARS = {str, bytes, int, bool, float, type(None)}
_U8, _U16, _U32, _U64 = (struct.Struct(kind) for kind in ("<B", "<H", "<I", "<Q"))
_I32, _F64 = struct.Struct("<i"), struct.Struct(">d")

_OPCODES: dict[int, Callable[[_Machine], None]] = {
    code[0]: action
    for code, action in {
        pickle.PROTO: _protocol,
        pickle.FRAME: lambda machine: machine.take(8) and None,
        pickle.GLOBAL: _global,
        pickle.STACK_GLOBAL: _stack_global,
        pickle.REDUCE: _reduce,
        pickle.NEWOBJ: _new_object,
        pickle.BUILD: _build,
        pickle.BINPERSID: lambda machine: machine.push(machine.vocabulary.storage(machine.stack.pop()), _POINTER),
        pickle.NONE: _constant(None),
        pickle.NEWTRUE: _constant(True),
        pickle.NEWFALSE: _constant(False),
        pickle.BININT1: lambda machine: machine.push(machine.number(_U8), _POINTER),
        pickle.BININT2: lambda machine: machine.push(machine.number(_U16), _NUMBER),
        pickle.BININT: lambda machine: machine.push(machine.number(_I32), _NUMBER),
        pickle.BINFLOAT: lambda machine: machine.push(machine.number(_F64), _NUMBER),
        pickle.LONG1: _long(_counted(_U8)),
        pickle.LONG4: _long(_counted(_I32)),
        pickle.SHORT_BINUNICODE: _text(_counted(_U8)),
        pickle.BINUNICODE: _text(_counted(_U32)),
        pickle.BINUNICODE8: _text(_counted(_U64)),
        pickle.SHORT_BINSTRING: _octets(_counted(_U8)),
        pickle.SHORT_BINBYTES: _octets(_counted(_U8)),
        pickle.BINBYTES: _octets(_counted(_U32)),
        pickle.BINBYTES8: _octets(_counted(_U64)),
        pickle.BYTEARRAY8: _octets(_counted(_U64)),
        pickle.MARK: _mark,
        pickle.EMPTY_TUPLE: _constant(()),
        pickle.TUPLE1: _tuple_of(1),
        pickle.TUPLE2: _tuple_of(2),
        pickle.TUPLE3: _tuple_of(3),
        pickle.TUPLE: _tuple,
        pickle.FROZENSET: _tuple,
        pickle.EMPTY_LIST: lambda machine: machine.push([], _LIST),
        pickle.EMPTY_SET: lambda machine: machine.push([], _LIST),
        pickle.APPEND: _append,
        pickle.APPENDS: _extend,
        pickle.ADDITEMS: _extend,
        pickle.EMPTY_DICT: lambda machine: machine.push({}, _DICT),
        pickle.SETITEM: _set_item,
        pickle.SETITEMS: _set_items,
        pickle.BINPUT: _remember(_counted(_U8)),
        pickle.LONG_BINPUT: _remember(_counted(_U32)),
        pickle.MEMOIZE: _remember(lambda machine: len(machine.memo)),
        pickle.BINGET: _recall(_counted(_U8)),
        pickle.LONG_BINGET: _recall(_counted(_U32)),
    }.items()
}
