"""Crafted .pt2 archives, each from an honest one by a description of what is changed."""

from __future__ import annotations

import io
import json
import pickle
import random
import re
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn
from torch._higher_order_ops.map import map as loop

MODEL, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"
CONSTANTS, INPUTS = "data/constants/model_constants_config.json", "data/sample_inputs/model.pt"
CANARY = "canary"
TOUCH = f"__import__('os').system('touch {CANARY}')"
UNDOTTED = f"getattr(__import__('os'),'system')('touch {CANARY}')"
Members = dict[str, bytes]


class Canary:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (CANARY, "w")


@cache
def _honest(dynamic: bool) -> tuple[tuple[str, bytes], ...]:
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
    shapes = ({0: torch.export.Dim("batch", min=2, max=64)},) if dynamic else None
    return members_of(torch.export.export(model, (torch.randn(2, 16),), dynamic_shapes=shapes))


def members_of(program: torch.export.ExportedProgram) -> tuple[tuple[str, bytes], ...]:
    """The members of a saved program, by their names inside the archive."""
    stream = io.BytesIO()
    torch.export.save(program, stream)
    with zipfile.ZipFile(stream) as archive:
        return tuple((name.partition("/")[2], archive.read(name)) for name in archive.namelist())


def honest(dynamic: bool = False) -> Members:
    """A small program: linear, relu, linear, of inputs (2, 16)."""
    return dict(_honest(dynamic))


def zipped(members: Members, root: str = "p", compress: tuple[str, ...] = ()) -> bytes:
    """An archive of these members, stored but for those of ``compress``."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{root}/{name}", data, zipfile.ZIP_DEFLATED if name in compress else zipfile.ZIP_STORED)
    return stream.getvalue()


def changed(change: Callable[[dict[str, Any]], Any], member: str = MODEL, dynamic: bool = False) -> Members:
    """The honest program, the JSON of one member changed in place."""
    members = honest(dynamic)
    content = json.loads(members[member])
    change(content)
    return {**members, member: json.dumps(content).encode()}


def graph_of(content: dict[str, Any]) -> dict[str, Any]:
    return content["graph_module"]["graph"]


def meta(*sizes: int, dtype: int = 7) -> dict[str, Any]:
    """What a program says of a contiguous tensor."""
    strides: list[int] = []
    step = 1
    for size in reversed(sizes):
        strides.insert(0, step)
        step *= size
    return {
        "dtype": dtype, "sizes": [{"as_int": n} for n in sizes], "strides": [{"as_int": n} for n in strides],
        "storage_offset": {"as_int": 0}, "requires_grad": False, "device": {"type": "cpu", "index": None}, "layout": 7,
    }  # fmt: skip


def operand(kind: str, value: Any, name: str = "") -> dict[str, Any]:
    return {"name": name, "arg": {kind: value}, "kind": 1}


def tensor(name: str) -> dict[str, Any]:
    return operand("as_tensor", {"name": name})


def call(target: str, inputs: list[dict[str, Any]], output: str) -> dict[str, Any]:
    return {
        "target": target, "inputs": inputs, "outputs": [{"as_tensor": {"name": output}}], "metadata": {},
        "is_hop_single_tensor_return": True,
    }  # fmt: skip


def with_calls(*calls: tuple[str, list[dict[str, Any]], tuple[int, ...]], used: bool = True) -> Members:
    """The honest program with calls before it whose results (named made_0, ...) reach the output by a sum."""

    def change(content: dict[str, Any]) -> None:
        graph = graph_of(content)
        for number, (target, inputs, shape) in enumerate(calls):
            graph["nodes"].insert(number, call(target, inputs, f"made_{number}"))
            graph["tensor_values"][f"made_{number}"] = meta(*shape)
        if used:
            last, made = graph["outputs"][0]["as_tensor"]["name"], f"made_{len(calls) - 1}"
            total = call("torch.ops.aten.sum.default", [{**tensor(made), "name": "self"}], "total")
            both = [{**tensor(last), "name": "self"}, {**tensor("total"), "name": "other"}]
            graph["nodes"] += [total, call("torch.ops.aten.add.Tensor", both, "sum_of_both")]
            graph["tensor_values"] |= {"total": meta(), "sum_of_both": graph["tensor_values"][last]}
            graph["outputs"] = [{"as_tensor": {"name": "sum_of_both"}}]
            specs = content["graph_module"]["signature"]["output_specs"]
            specs[0]["user_output"]["arg"]["as_tensor"]["name"] = "sum_of_both"

    return changed(change)


def value_renamed(old: str, new: str) -> Members:
    """The honest program of open sizes, one of its values under another name wherever it is named."""

    def walk(value: Any, key: str = "") -> Any:
        if isinstance(value, list):
            return [walk(each, key) for each in value]
        if not isinstance(value, dict):
            return value
        if value.get("name") == old and (key in ("as_tensor", "arg") or "target" in value):
            value = {**value, "name": new}
        return {
            new if key == "tensor_values" and each == old else each: walk(item, each) for each, item in value.items()
        }

    members = honest(dynamic=True)
    return {**members, MODEL: json.dumps(walk(json.loads(members[MODEL]))).encode()}


def renamed(old: str, new: str, *members: str, dynamic: bool = False) -> Members:
    """The honest program, a word replaced by another in some members' text."""
    old, new = json.dumps(old)[1:-1], json.dumps(new)[1:-1]
    found = honest(dynamic)
    return {**found, **{name: found[name].replace(old.encode(), new.encode()) for name in members or (MODEL,)}}


def full(*sizes: int, value: float = 1.0) -> tuple[str, list[dict[str, Any]], tuple[int, ...]]:
    """A call that makes a constant."""
    inputs = [operand("as_ints", list(sizes), "size"), operand("as_float", value, "fill_value")]
    return "torch.ops.aten.full.default", inputs, sizes


def saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def two_directories(seen: Members, hidden: Members) -> bytes:
    """One file that is ``seen`` to readers that allow bytes before an archive, and ``hidden`` to those that do not."""
    first, second = zipped(hidden), zipped(seen)
    (length, offset), (length_2, offset_2) = (struct.unpack("<II", data[-10:-2]) for data in (first, second))
    assert length == length_2 and offset >= offset_2
    entries, at = bytearray(second[offset_2 : offset_2 + length]), 0
    while at < length:  # offsets are taken to be from the end of what lies before
        entries[at + 42 : at + 46] = struct.pack(
            "<I", struct.unpack("<I", entries[at + 42 : at + 46])[0] + offset - offset_2
        )
        sizes = struct.unpack("<HHH", entries[at + 28 : at + 34])
        at += 46 + sum(sizes)
    return first[: offset + length] + second[:offset_2] + bytes(entries) + first[-22:]


def pickled_weight(path: str, good: str, evil: str) -> Members:
    """A weight that is to be unpickled: a tensor at one place, code at another."""

    def change(content: dict[str, Any]) -> None:
        content["config"]["0.weight"] |= {"use_pickle": True, "path_name": path}

    members = changed(change, WEIGHTS)
    stream = io.BytesIO()
    torch.save(Canary(), stream)
    return {**members, good: saved(torch.zeros(8, 16)), evil: stream.getvalue()}


def expression(text: str) -> Callable[[dict[str, Any]], None]:
    """A change that makes the input's batch size an expression."""

    def change(content: dict[str, Any]) -> None:
        graph_of(content)["tensor_values"]["input"]["sizes"][0] = {"as_expr": {"expr_str": text, "hint": {"as_int": 2}}}

    return change


def _guards(content: dict[str, Any]) -> None:
    content["guards_code"] = [f"{TOUCH} == 0"]


def _out_spec(kind: str, context: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        leaf: dict = {"type": None, "context": None, "children_spec": []}
        spec = [1, {"type": kind, "context": context, "children_spec": [leaf]}]
        content["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps(spec)

    return change


def _argument_names(content: dict[str, Any]) -> None:
    content["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = [f"x={TOUCH}"]


DEFAULTDICT = {"default_factory_module": "evil_module", "default_factory_name": "x", "dict_context": ["a"]}
SYSTEM = [operand("as_operator", "torch.os.system"), operand("as_string", f"touch {CANARY}")]
HIGHER = "torch.ops.higher_order."
FILE = [operand("as_string", CANARY, "filename"), operand("as_bool", True, "shared"), operand("as_int", 3, "size")]


def hidden_expression(name: str) -> Members:
    """A program where torch looks for one and a check of the honest name does not."""
    return {**honest(), name: changed(expression(f"{TOUCH} or 2"))[MODEL]}


def padded(members: Members, count: int = 200_000) -> Members:
    """The same with a longer text, so that it is the longer archive of two with the same names."""
    return {**members, MODEL: members[MODEL] + b" " * count}


def left_out() -> dict[str, bytes]:
    """Archives whose attack is in a part that is never looked at: what is left is an honest program."""
    nines = "9"
    for _ in range(40):
        nines = f"({nines}**64)"
    made = {
        "guards of a program of open sizes": changed(_guards, dynamic=True),
        "guards of a program of fixed sizes": changed(_guards),
        "a size that is code": changed(expression(f"{TOUCH} or 2")),
        "a power of powers": changed(expression(nines)),
        "an old state dict beside the weights": honest() | {"data/weights/model.pt": saved({"x": Canary()})},
    }
    return {name: zipped(members) for name, members in made.items()}


def runs_code() -> dict[str, bytes]:
    """Archives that made torch.export.load, or what follows it, run code, write files or import modules."""
    made = {
        "os.system as the operand of wrap": with_calls((HIGHER + "wrap", SYSTEM, (3,))),
        "os.system as the operand of foreach_map": with_calls((HIGHER + "foreach_map", SYSTEM, (3,))),
        "os.system as the operand of a call": with_calls((HIGHER + "dynamo_bypassing_wrapper", SYSTEM, (3,))),
        "os.system as the body of a setting": with_calls(
            (HIGHER + "wrap_with_set_grad_enabled", [operand("as_bool", False), *SYSTEM], (3,))),
        "a pickled weight at an absolute path": pickled_weight("/evil", "data/weights//evil", "/evil"),
        "a pickled weight": pickled_weight("evil", "data/weights/x", "data/weights/evil"),
        "a pickled weight among others": pickled_weight("../evil", "data/weights/../evil", "data/evil"),
        "a pickled constant": changed(lambda content: content["config"].update(
            x={"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}), CONSTANTS)
            | {"data/constants/opaque_obj_0": pickle.dumps(Canary())},
        "pickled example inputs": honest() | {INPUTS: saved((([Canary()],), {}))},
        "a program under another ending": hidden_expression("models/model.JSON"),
        "a program under a longer name": hidden_expression("models/modelwords"),
        "outputs that import a module": changed(_out_spec("collections.defaultdict", DEFAULTDICT)),
        "outputs that have one name twice": changed(_out_spec("builtins.dict", '["a", "a"]')),
        "a file made by an operation": with_calls(("torch.ops.aten.from_file.default", FILE, (3,))),
        "a file made by an operation in vain": with_calls(
            ("torch.ops.aten.from_file.default", FILE, (3,)), used=False),
        "a name that is code": value_renamed("relu", f"relu = ({TOUCH}, 1)[1]; relu"),
        "an input's name that is code": value_renamed("input", f"input={TOUCH}"),
        "an argument's name that is code": changed(_argument_names, dynamic=True),
        "a parameter's name that is code": renamed(
            "0.weight", f"x\",0)or({UNDOTTED})or str(\"", MODEL, WEIGHTS, dynamic=True),
        "an operation's argument that is code": with_calls(
            (HIGHER + "wrap_with_set_grad_enabled", [{"name": f"x={TOUCH}, y", "arg": {"as_int": 1}, "kind": 2}], (3,))),
    }  # fmt: skip
    archives = {name: zipped(members) for name, members in made.items()}
    archives["two directories"] = two_directories(honest(), padded(changed(expression(f"{TOUCH} or 2"))))
    return archives


def crashes() -> dict[str, bytes]:
    """Archives whose claims contradict what they hold, or are none."""

    def claim(name: str, *sizes: int, dtype: int = 7) -> Callable[[dict[str, Any]], None]:
        return lambda content: graph_of(content)["tensor_values"].update({name: meta(*sizes, dtype=dtype)})

    def claims(*every: Callable[[dict[str, Any]], None]) -> Members:
        return changed(lambda content: [each(content) for each in every])

    huge = {"sizes": [{"as_int": 1 << 45}, {"as_int": 16}], "strides": [{"as_int": 0}, {"as_int": 0}]}
    broken = {
        "a weight that is claimed longer": claims(claim("p_0_weight", 8, 1_600_000), claim("input", 1, 1_600_000)),
        "a weight that is claimed a little longer": claims(claim("p_0_weight", 8, 17), claim("input", 2, 17)),
        "a weight that is claimed shorter": claims(claim("p_0_weight", 8, 15)),
        "a weight of another type": claims(claim("p_0_weight", 8, 16, dtype=8)),
        "a bias that is claimed longer": claims(claim("p_0_bias", 800)),
        "a result that is claimed larger": claims(claim("linear", 2, 8_000_000)),
        "a result of another type": claims(claim("relu", 2, 8, dtype=5)),
        "an input that is claimed larger": claims(claim("input", 2_000_000, 16)),
        "sizes of 2^45": claims(claim("input", 1 << 45, 16)),
        "example inputs of 2^45": honest() | {INPUTS: saved(((torch.zeros(1, 1).expand(1 << 45, 16),), {}))},
        "a weight of 2^45": changed(lambda c: c["config"]["0.weight"]["tensor_meta"].update(huge), WEIGHTS),
        "a negative size": claims(claim("linear", -2, 8)),
        "an operation on itself": renamed("torch.ops.aten.relu.default", "torch.ops.aten.linear.default"),
        "a schema to come": changed(lambda content: content["schema_version"].update(major=99)),
        "no graph": changed(lambda content: content.update(graph_module={})),
        "no text": honest() | {MODEL: b"{"},
        "a text of brackets": honest() | {MODEL: b'{"graph_module":' + b"[" * 100_000},
        "a list of inputs": honest() | {INPUTS: saved([torch.zeros(2, 16)])},
        "a tensor for inputs": honest() | {INPUTS: saved(torch.zeros(2, 16))},
        "three inputs": honest() | {INPUTS: saved(((torch.zeros(2, 16),) * 3, {}))},
        "inputs by code": honest() | {INPUTS: saved(((torch.zeros(2, 16),), {f"x={TOUCH}": 1}))},
        "inputs of another shape": honest() | {INPUTS: saved(((torch.zeros(2, 17),), {}))},
        "an unknown dialect": changed(lambda content: content.update(verifiers=["EDGE"])),
        "an unknown operation": renamed("torch.ops.aten.relu.default", "torch.ops.nowhere.nothing.default"),
        "a function of Python": renamed("torch.ops.aten.relu.default", "torch.save"),
        "a loaded library": renamed("torch.ops.aten.relu.default", "torch.ops.load_library"),
        "a write into another tensor": renamed("torch.ops.aten.relu.default", "torch.ops.aten.relu.out"),
        "numbers big end first": honest() | {"byteorder": b"big"},
    }
    kinds = {
        "a text": operand("as_string", "x"),
        "numbers": operand("as_ints", [1, 2]),
        "tensors": operand("as_tensors", []),
    }
    for target in (
        "cond",
        "map_impl",
        "scan",
        "wrap_with_autocast",
        "wrap_with_set_grad_enabled",
        "while_loop",
        "wrap",
    ):
        for kind, given in list(kinds.items())[: 1 if target in ("while_loop", "wrap") else 3]:
            broken[f"{target} of {kind}"] = with_calls((HIGHER + target, [given] * 4, (3,)))
    return {name: zipped(members) for name, members in broken.items()}


class Loops(nn.Module):
    """A loop over rows inside a loop over rows."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return loop(lambda row: loop(lambda each: each * 2, row), value)


def nested_loops(size: int) -> Members:
    """Loops over an input of size x size that takes four bytes in the file."""
    program = torch.export.export(Loops(), (torch.zeros(1, 1).expand(size, size),))
    return dict(members_of(program))


def bombs() -> dict[str, bytes]:
    """Archives that are small and ask for much."""

    def power(content: dict[str, Any]) -> None:
        graph, last = graph_of(content), operand("as_int", 1 << 62, "a")
        for number in range(8):
            node = call("_operator.pow", [last, operand("as_int", 1 << 20, "b")], "x")
            graph["nodes"].insert(number, {**node, "outputs": [{"as_sym_int": {"as_name": f"n_{number}"}}]})
            graph["sym_int_values"][f"n_{number}"] = {"as_int": 1}
            last = operand("as_sym_int", {"as_name": f"n_{number}"}, "a")

    shared: Any = [1]
    for _ in range(60):
        shared = [shared, shared]
    deflated = io.BytesIO()
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _zip_members(saved(((torch.zeros(1 << 25),), {}))).items():
            archive.writestr(name, data)
    product = [operand("as_tensor", {"name": "made_0"}, "self"), operand("as_tensor", {"name": "made_0"}, "mat2")]
    kernel = [operand("as_tensor", {"name": "made_0"}, "input"), operand("as_tensor", {"name": "made_0"}, "weight"),
              operand("as_none", True, "bias"), operand("as_ints", [1, 1], "stride"),
              operand("as_ints", [1000, 1000], "padding")]  # fmt: skip
    made = {
        "a power of powers by calls": changed(power),
        "a constant of 30,000 x 30,000": with_calls(full(30_000, 30_000)),
        "a constant of 2^45": with_calls(full(1 << 45)),
        "a constant that is used in vain": with_calls(full(30_000, 30_000), used=False),
        "many constants": with_calls(*[full(3000, 3000, value=n) for n in range(60)]),
        "a product of constants": with_calls(full(4000, 4000), ("torch.ops.aten.mm.default", product, (4000, 4000))),
        "a convolution of constants": with_calls(
            full(1, 1, 2001, 2001), ("torch.ops.aten.conv2d.default", kernel, (1, 1, 2001, 2001))),
        "inputs that refer to themselves": honest() | {INPUTS: saved(((torch.zeros(2, 16), shared), {}))},
        "nested deflated members": honest() | {INPUTS: deflated.getvalue()},
        "loops inside loops": nested_loops(2000),
        "a text of empty lists": honest() | {MODEL: b'{"graph_module": [' + b"[]," * 4_000_000 + b"[]]}"},
        "a deep structure": changed(lambda content: content["graph_module"]["module_call_graph"][0]["signature"].update(
            out_spec="[1, " + '{"type": "builtins.list", "context": null, "children_spec": [' * 20_000)),
    }  # fmt: skip
    archives = {name: zipped(members) for name, members in made.items()}
    archives["a deflated program"] = zipped(padded(honest(), 1 << 28), compress=(MODEL,))
    return archives


class Calls(nn.Module):
    """A layer over what a function makes of an input."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor], layer: nn.Module):
        super().__init__()
        self.change, self.layer = change, layer

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return self.layer(self.change(value))


def described(layer: nn.Module, *sizes: int, change: Callable[[torch.Tensor], torch.Tensor] = lambda x: x) -> bytes:
    """A program over an input of these sizes that takes four bytes in the file."""
    program = torch.export.export(Calls(change, layer), (torch.zeros(1).expand(1, *sizes),))
    return zipped(dict(members_of(program)))


def lengthened(layer: nn.Module, steps: int, samples: int = 1) -> bytes:
    """A program of a recurrent layer over a longer input than it was captured with: torch takes long to capture one."""
    members = dict(members_of(torch.export.export(layer, (torch.zeros(17, 19, 1),))))
    text = json.dumps(json.loads(members[MODEL]))
    for short, long in ((17, steps), (19, samples)):
        text = re.sub(rf"\b{short}\b", str(long), text)
    inputs = saved(((torch.zeros(1, 1, 1).expand(steps, samples, 1),), {}))
    return zipped({**members, MODEL: text.encode(), INPUTS: inputs})


def a_long_kernel() -> bytes:
    """A program whose graph is a little larger than its file bears out."""
    return described(nn.Conv1d(1, 1, 999), 1, 20_000)


def large_graphs() -> dict[str, bytes]:
    """Archives of some 10 KB that describe graphs of gigabytes, each by another operation."""
    one, attend = nn.Conv1d(1, 1, 1), nn.functional.scaled_dot_product_attention
    made = {
        "a channel of many elements": described(nn.Conv1d(1, 64, 1), 1, 1 << 20),
        "a long window": described(nn.Conv1d(1, 1, 999), 1, 1 << 16),
        "a wide window": described(nn.Conv2d(1, 1, 49), 1, 900, 900),
        "a window in one number": described(one, 1, 200, 200, change=lambda x: torch.max_pool2d(x, 99, 1).flatten(2)),
        "a pooling of long windows": described(one, 1, 1 << 16, change=lambda x: torch.max_pool1d(x, 2001, 1)),
        "products of activations": described(nn.Conv1d(260, 1, 1), 260, 260, change=lambda x: x @ x.mT),
        "attention of many positions": described(nn.Linear(2, 2), 30_000, 2, change=lambda x: attend(x, x, x, is_causal=True)),
        "running sums": described(one, 1, 1 << 20, change=lambda x: x.cumsum(-1)),
        "values between others": described(
            nn.Conv2d(1, 1, 1), 1, 150, 150, change=lambda x: nn.functional.interpolate(x, scale_factor=16, mode="bicubic")),
        "steps of a recurrent layer without biases": lengthened(nn.LSTM(1, 8, 2, bias=False, bidirectional=True), 4500),
        "samples of a recurrent layer": lengthened(nn.GRU(1, 16), 1000, 1000),
        "steps of a layer": described(nn.Conv1d(32, 32, 299), 32, 40_000),
    }  # fmt: skip
    return made


def _zip_members(data: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


VALUES: list = [
    None,
    True,
    -1,
    0,
    1,
    7,
    1 << 20,
    1 << 45,
    1 << 70,
    0.5,
    1e308,
    "",
    "x",
    "input",
    "as_int",
    [],
    {},
    [[]],
    {"as_int": 3},
]
"""What a mutation puts in the place of something else."""


def mutated(content: Any, choice: random.Random) -> Any:
    """A JSON value with one to three places deleted, doubled, swapped with another place or replaced."""
    content = json.loads(json.dumps(content))
    for _ in range(choice.randint(1, 3)):
        holders = [each for each in _holders(content) if each]
        if not holders:
            break
        holder = choice.choice(holders)
        key = choice.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        other = choice.choice(holders)
        taken = other[choice.choice(list(other) if isinstance(other, dict) else range(len(other)))]
        kind = choice.randrange(4)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            holder[key] = choice.choice(VALUES)
        elif kind == 2 and isinstance(holder, list):
            holder.append(holder[key])
        else:
            holder[key] = json.loads(json.dumps(taken))
    return content


def _holders(content: Any) -> list[Any]:
    """Every object and list of a JSON value."""
    found, waiting = [], [content]
    while waiting:
        each = waiting.pop()
        if isinstance(each, (dict, list)):
            found.append(each)
            waiting.extend(each.values() if isinstance(each, dict) else each)
    return found
