"""Pickles read as data: a small machine for the opcodes that torch.save writes.

Python's unpickler calls what a pickle names. This one has a vocabulary of names: a few stand for plain values, a few
for functions of ours that describe tensors. Every other name is refused, and so is every opcode that is not needed.
The memory of an opcode is counted before it is carried out, and its time is bounded by its bytes. So the length of the
pickle bounds both. Source: Python's pickletools.py describes the opcodes.
"""

from __future__ import annotations

import argparse
import pickle
import struct
from collections.abc import Callable
from typing import Any

from graphsparse.checkpoints.archives import pickle_machine as cost
from graphsparse.checkpoints.archives.pickle_machine import LONGEST_NAME, Function, Machine, Vocabulary, would_run
from graphsparse.checkpoints.checks import Budget

_LONGEST_NUMBER = 256  # bytes
_NAMESPACE = Function("argparse.Namespace")  # common in hyperparameters; its attributes are read as data
_MODULES = {"__builtin__": "builtins", "torch.tensor": "torch._tensor"}  # names of Python 2 and of older torch
Action = Callable[[Machine], None]
Read = Callable[[Machine], Any]


def read_pickle(data: memoryview, begin: int, vocabulary: Vocabulary, budget: Budget) -> tuple[Any, int]:
    """Returns the value of the pickle that begins at a byte offset, and the offset where it ends.

    Mappings become dict and sets become list. The only class is argparse.Namespace, which runs nothing.

    Raises:
        CheckpointError: it names something else, has an opcode that is not needed, or costs more than the budget.
        Exception: of any kind, where the pickle is damaged.
    """
    machine = Machine(data, begin, vocabulary, budget)
    while True:
        code = data[machine.at]
        machine.at += 1
        if code == pickle.STOP[0]:
            return machine.stack.pop(), machine.at
        if code not in _OPCODES:
            raise would_run(f"the opcode {code:#04x}", budget.place)
        _OPCODES[code](machine)


def _text(read: Read) -> Action:
    def push(machine: Machine) -> None:
        raw = machine.take(read(machine))
        machine.push(str(raw, "utf-8", "surrogatepass"), cost.TEXT + len(raw) * (1 if raw.isascii() else 4))

    return push


def _octets(read: Read) -> Action:
    def push(machine: Machine) -> None:
        length = read(machine)
        machine.budget.spend(cost.TEXT + length)
        machine.stack.append(machine.take(length))

    return push


def _long(read: Read) -> Action:
    def push(machine: Machine) -> None:
        length = read(machine)
        if not 0 <= length <= _LONGEST_NUMBER:
            raise ValueError(f"a number of {length} bytes")
        machine.push(int.from_bytes(machine.take(length), "little", signed=True), cost.NUMBER + length)

    return push


def _number(kind: struct.Struct) -> Read:
    return lambda machine: kind.unpack(machine.take(kind.size))[0]


def _constant(value: Any) -> Action:
    return lambda machine: machine.push(value, cost.POINTER)


def _global(machine: Machine) -> None:
    module, name = machine.line(), machine.line()
    _push_named(machine, module, name)


def _stack_global(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str or len(module) + len(name) > LONGEST_NAME:
        raise ValueError("a name that is none")
    _push_named(machine, module, name)


def _push_named(machine: Machine, module: str, name: str) -> None:
    known = f"{_MODULES.get(module, module)}.{name}"
    if known in machine.vocabulary.values:
        machine.push(machine.vocabulary.values[known], cost.POINTER)
    elif known in machine.vocabulary.functions or known == _NAMESPACE.name:
        machine.push(Function(known), cost.NUMBER)
    else:
        raise would_run(known, machine.budget.place)


def _reduce(machine: Machine) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    name = function.name if type(function) is Function else type(function).__name__
    if type(function) is not Function or type(arguments) is not tuple or name not in machine.vocabulary.functions:
        raise would_run(f"a call of {name}", machine.budget.place)
    machine.push(machine.vocabulary.functions[name](*arguments), cost.NUMBER)


def _new_object(machine: Machine) -> None:
    arguments, kind = machine.stack.pop(), machine.stack.pop()
    if kind != _NAMESPACE or arguments != ():
        raise would_run(f"a new {kind.name if type(kind) is Function else type(kind).__name__}", machine.budget.place)
    machine.push(argparse.Namespace(), cost.NAMESPACE)


def _build(machine: Machine) -> None:
    """Sets attributes: the content of a namespace. Those of a dict (in the file an OrderedDict) are left out."""
    state = machine.stack.pop()
    target = machine.stack[-1]
    if type(target) is argparse.Namespace and type(state) is dict:
        machine.budget.spend(cost.ENTRY * (len(state) + 1))
        if not all(type(key) is str for key in state):
            raise ValueError("an attribute without a name")
        vars(target).update({key[:LONGEST_NAME]: value for key, value in state.items()})
    elif type(target) is not dict:
        raise would_run(f"a change of a {type(target).__name__}", machine.budget.place)


def _set_items(machine: Machine) -> None:
    items = machine.popped()
    for key, value in zip(items[::2], items[1::2], strict=True):
        machine.put(key, value)


def _set_item(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.put(key, value)


def _mark(machine: Machine) -> None:
    machine.budget.spend(cost.MARK)
    machine.marks.append(len(machine.stack))


def _tuple(machine: Machine) -> None:
    items = machine.popped()
    machine.push(tuple(items), cost.TUPLE + cost.ITEM * len(items))


def _tuple_of(count: int) -> Action:
    def push(machine: Machine) -> None:
        machine.budget.spend(cost.TUPLE)
        items = tuple(machine.stack[-count:])
        if len(items) != count:
            raise IndexError("a stack that is too short")
        machine.stack[-count:] = [items]

    return push


def _remember(read: Read) -> Action:
    def put(machine: Machine) -> None:
        place = read(machine)
        missing = place + 1 - len(machine.memo)
        machine.budget.spend(cost.ITEM * max(0, missing))
        machine.memo.extend([None] * missing)
        machine.memo[place] = machine.stack[-1]

    return put


def _recall(read: Read) -> Action:
    return lambda machine: machine.push(machine.memo[read(machine)], cost.POINTER)


def _protocol(machine: Machine) -> None:
    if machine.take(1)[0] > pickle.HIGHEST_PROTOCOL:
        raise ValueError("a pickle of a protocol to come")


_u8, _u16, _u32, _u64, _i32, _f64 = (_number(struct.Struct(kind)) for kind in ("<B", "<H", "<I", "<Q", "<i", ">d"))

_OPCODES: dict[int, Action] = {
    code[0]: action
    for code, action in {
        pickle.PROTO: _protocol,
        pickle.FRAME: lambda machine: machine.take(8) and None,
        pickle.GLOBAL: _global,
        pickle.STACK_GLOBAL: _stack_global,
        pickle.REDUCE: _reduce,
        pickle.NEWOBJ: _new_object,
        pickle.BUILD: _build,
        pickle.BINPERSID: lambda machine: machine.push(machine.vocabulary.storage(machine.stack.pop()), cost.POINTER),
        pickle.NONE: _constant(None),
        pickle.NEWTRUE: _constant(True),
        pickle.NEWFALSE: _constant(False),
        pickle.BININT1: lambda machine: machine.push(_u8(machine), cost.POINTER),
        pickle.BININT2: lambda machine: machine.push(_u16(machine), cost.NUMBER),
        pickle.BININT: lambda machine: machine.push(_i32(machine), cost.NUMBER),
        pickle.BINFLOAT: lambda machine: machine.push(_f64(machine), cost.NUMBER),
        pickle.LONG1: _long(_u8),
        pickle.LONG4: _long(_i32),
        pickle.SHORT_BINUNICODE: _text(_u8),
        pickle.BINUNICODE: _text(_u32),
        pickle.BINUNICODE8: _text(_u64),
        **dict.fromkeys((pickle.SHORT_BINSTRING, pickle.SHORT_BINBYTES), _octets(_u8)),
        pickle.BINBYTES: _octets(_u32),
        **dict.fromkeys((pickle.BINBYTES8, pickle.BYTEARRAY8), _octets(_u64)),
        pickle.MARK: _mark,
        pickle.EMPTY_TUPLE: _constant(()),
        pickle.TUPLE1: _tuple_of(1),
        pickle.TUPLE2: _tuple_of(2),
        pickle.TUPLE3: _tuple_of(3),
        pickle.TUPLE: _tuple,
        pickle.FROZENSET: _tuple,
        **dict.fromkeys((pickle.EMPTY_LIST, pickle.EMPTY_SET), lambda machine: machine.push([], cost.LIST)),
        pickle.APPEND: lambda machine: machine.extend([machine.stack.pop()]),
        **dict.fromkeys((pickle.APPENDS, pickle.ADDITEMS), lambda machine: machine.extend(machine.popped())),
        pickle.EMPTY_DICT: lambda machine: machine.push({}, cost.DICT),
        pickle.SETITEM: _set_item,
        pickle.SETITEMS: _set_items,
        pickle.BINPUT: _remember(_u8),
        pickle.LONG_BINPUT: _remember(_u32),
        pickle.MEMOIZE: _remember(lambda machine: len(machine.memo)),
        pickle.BINGET: _recall(_u8),
        pickle.LONG_BINGET: _recall(_u32),
    }.items()
}
