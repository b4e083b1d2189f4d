"""The text of an exported program, rebuilt from a strict schema: what is not named here does not get through.

Each function takes a value of the JSON text and returns a clean copy, or raises `Unlike`. The schema has no place for
what torch could run, import or paste into the Python code that it generates: guards, operators as operands, script
objects, stack traces, names that are no identifiers. Open sizes become those of the example inputs, so no expression is
ever evaluated. The form: torch._export.serde.schema, major version 8.
"""

from __future__ import annotations

import keyword
import re
from typing import Any

import torch

from graphsparse.checkpoints.archives.program_values import (
    LONGEST_TEXT,
    Check,
    a,
    among,
    integer,
    listed,
    must,
    name,
    named,
    number,
    one_of,
    optional,
    path,
    record,
    size,
    text,
)

SCHEMA_MAJOR = 8
DIALECTS = {"ATEN", "TRAINING"}
# torch._export.serde.schema.ScalarType
DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
    7: torch.float32, 8: torch.float64, 10: torch.complex64, 11: torch.complex128, 12: torch.bool,
    13: torch.bfloat16, 28: torch.uint16, 29: torch.float8_e4m3fn, 30: torch.float8_e5m2,
    31: torch.float8_e4m3fnuz, 32: torch.float8_e5m2fnuz, 33: torch.float8_e8m0fnu, 34: torch.uint32,
    35: torch.uint64,
}  # fmt: skip
STRIDED = 7
_MEMORY_FORMATS = {1, 2, 3, 4}
_HIGHER_ORDER = "torch.ops.higher_order."
_STACK = re.compile(r"[\w .,:;/+\-@()\[\]<>']*")


def _none(_: Any) -> bool:
    return True


def _metadata(value: Any) -> dict[str, str]:
    """Of what is noted beside an operation, the modules that it stands in."""
    stack = a(dict)(value).get("nn_module_stack")
    known = type(stack) is str and len(stack) <= LONGEST_TEXT and _STACK.fullmatch(stack)
    return {"nn_module_stack": stack} if known and all(_three(each) for each in stack.split(";")) else {}


def _three(entry: str) -> bool:
    """Whether an entry is key, path and type; brackets hide commas from torch, which counts them."""
    balanced = entry.count("(") + entry.count("[") == entry.count(")") + entry.count("]")
    return balanced and len(re.sub(r"[(\[].*[)\]]", "", entry).split(",")) == 3


def _hint(kind: str, check: Check, otherwise: Any = None) -> Check:
    """What an open size, factor or choice is for the example inputs."""

    def take(value: Any) -> Any:
        hint = a(dict)(value).get("hint")
        if hint is None and otherwise is not None:
            return otherwise
        known = type(hint) is dict and kind in hint
        must(known, "the sizes of values must not depend on the values of inputs")
        return check(hint[kind])

    return take


def settled(kind: str, check: Check, otherwise: Any = None) -> Check:
    """A number that may be open: always a plain one afterwards."""
    arms = one_of({kind: check, "as_expr": _hint(kind, check, otherwise)})
    return lambda value: {kind: next(iter(arms(value).values()))}


def _of_name(**fields: Check) -> Check:
    return record({"name": name, **fields})


def _named_or(kind: str, check: Check) -> Check:
    return one_of({"as_name": name, kind: check})


def _device(value: Any) -> dict[str, Any]:
    """The processor, or the meta device; a program that was exported on another is analysed here."""
    kind = text(a(dict)(value).get("type"))
    return {"type": "meta" if kind == "meta" else "cpu", "index": None}


tensor = _of_name()
dtype = among(DTYPES)
layout = among({STRIDED})
whole = settled("as_int", size)
_axes = listed(whole, most=64)
tensor_meta = record({
    "dtype": dtype, "sizes": _axes, "requires_grad": a(bool), "device": _device, "strides": _axes,
    "storage_offset": whole, "layout": layout,
})  # fmt: skip
_maybe = one_of({"as_tensor": tensor, "as_none": _none})


def _inner(value: Any) -> dict[str, Any]:
    """A program that an operation takes as an operand."""
    return _of_name(graph=graph)(value)


PLAIN: dict[str, Check] = {
    "as_none": _none, "as_tensor": tensor, "as_int": integer, "as_float": number, "as_bool": a(bool), "as_string": text,
    "as_sym_int": _named_or("as_int", integer),
}  # fmt: skip
argument = one_of({
    **PLAIN, "as_tensors": listed(tensor), "as_ints": listed(integer), "as_floats": listed(number),
    "as_bools": listed(a(bool)), "as_strings": listed(text), "as_sym_ints": listed(_named_or("as_int", integer)),
    "as_scalar_type": dtype, "as_memory_format": among(_MEMORY_FORMATS), "as_layout": layout, "as_device": _device,
    "as_sym_bool": _named_or("as_bool", a(bool)), "as_sym_bools": listed(_named_or("as_bool", a(bool))),
    "as_sym_float": _named_or("as_float", number), "as_sym_floats": listed(_named_or("as_float", number)),
    "as_optional_tensor": _maybe, "as_optional_tensors": listed(_maybe), "as_nested_tensors": listed(listed(tensor)),
    "as_complex": record({"real": number, "imag": number}), "as_graph": _inner,
})  # fmt: skip
_given = record({"name": lambda value: value if value == "" or keyword.iskeyword(a(str)(value)) else name(value),
                 "arg": argument}, {"kind": optional(among({1, 2}))})  # fmt: skip


def node(value: Any) -> dict[str, Any]:
    """One call. Operations on programs take their operands by place, and they alone take programs."""
    made = record(
        {"target": text, "inputs": listed(_given), "outputs": listed(argument), "metadata": _metadata},
        {"is_hop_single_tensor_return": optional(a(bool)), "name": optional(name)},
    )(value)
    higher = made["target"].startswith(_HIGHER_ORDER)
    for given in made["inputs"]:
        program_given, placed = "as_graph" in given["arg"], not given["name"] or given.get("kind") == 1
        must(higher or not program_given, "a program must be an operand of an operation on programs", made["target"])
        must(placed or not higher, "an operation on programs must take its operands by place", given["name"])
    return made


def graph(value: Any) -> dict[str, Any]:
    made = record(
        {"inputs": listed(one_of(PLAIN)), "outputs": listed(argument), "nodes": listed(node),
         "tensor_values": named(tensor_meta), "sym_int_values": named(settled("as_int", integer)),
         "sym_bool_values": named(settled("as_bool", a(bool), True))},
        {"is_single_tensor_return": a(bool), "sym_float_values": named(settled("as_float", number, 1.0))},
    )(value)  # fmt: skip
    return {**made, "custom_obj_values": {}}


_input = one_of({
    "user_input": record({"arg": one_of(PLAIN)}),
    "parameter": record({"arg": tensor, "parameter_name": path}),
    "buffer": record({"arg": tensor, "buffer_name": path, "persistent": a(bool)}),
    "tensor_constant": record({"arg": tensor, "tensor_constant_name": path}),
    "constant_input": _of_name(value=one_of({
        "as_none": _none, "as_int": integer, "as_float": number, "as_string": text, "as_bool": a(bool)})),
})  # fmt: skip
_output = one_of({
    "user_output": record({"arg": one_of(PLAIN)}),
    "buffer_mutation": record({"arg": tensor, "buffer_name": path}),
    "user_input_mutation": record({"arg": tensor, "user_input_name": name}),
    "parameter_mutation": record({"arg": tensor, "parameter_name": path}),
})  # fmt: skip
signature = record({"input_specs": listed(_input), "output_specs": listed(_output)})
call_signature = record({"in_spec": a(str), "out_spec": a(str)}, {"forward_arg_names": optional(listed(name))})
_call = record({"fqn": a(str)}, {"signature": optional(call_signature)})
program = record(
    {"graph_module": record({"graph": graph, "signature": signature, "module_call_graph": listed(_call)}),
     "schema_version": record({"major": among({SCHEMA_MAJOR}), "minor": size})},
    {"verifiers": listed(among(DIALECTS)), "torch_version": text},
)  # fmt: skip
payload = record({"path_name": name, "is_param": a(bool), "use_pickle": a(bool), "tensor_meta": optional(tensor_meta)})
payloads = record({"config": lambda value: {path(key): payload(item) for key, item in a(dict)(value).items()}})
