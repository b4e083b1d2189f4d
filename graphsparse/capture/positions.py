"""At how many positions a kernel is applied, from the shapes of the captured program: channel resolution joins them."""

from __future__ import annotations

from collections.abc import Mapping

from torch.export import ExportedProgram
from torch.fx import Node

from graphsparse.capture.nodes import result_of
from graphsparse.capture.table import Table, row_of

LAST = ("linear", "matmul", "mm", "bmm", "addmm", "baddbmm")


def positions_of(
    program: ExportedProgram, table: Table, names: Mapping[str, str], samples: int | None
) -> dict[str, float]:
    """Positions of one sample for each parameter, all uses together; a use of a part counts for that part.

    ``names`` gives each captured parameter its first name. Parameters without a kernel operation are left out.
    """
    parameters = program.graph_signature.inputs_to_parameters
    found: dict[str, float] = {}
    for node in program.graph.nodes:
        at = row_of(table, node.target).kernel_at if node.op == "call_function" else None
        if at is None or len(node.args) <= at or not isinstance(node.args[at], Node):
            continue
        origin = _origin(node.args[at])
        if origin.name not in parameters:
            continue
        name = names[parameters[origin.name]]
        share = result_of(node.args[at])[0].numel() / max(1, result_of(origin)[0].numel())
        found[name] = found.get(name, 0) + share * _positions(node, at) / max(1, samples or 1)
    return found


def _origin(node: Node) -> Node:
    """The parameter that a view of one begins with."""
    while node.op == "call_function" and len(node.all_input_nodes) == 1:
        node = node.all_input_nodes[0]
    return node


def _positions(node: Node, at: int) -> float:
    """How many elements of one row of the kernel a call makes."""
    out = result_of(node)[0]
    name = getattr(getattr(node.target, "overloadpacket", node.target), "__name__", "")
    if name in LAST:
        return out.numel() / max(1, out[-1]) if out else 0
    read = node.args[0]
    if "transpose" in name and isinstance(read, Node):  # each element that is read is multiplied
        given = result_of(read)[0]
        return given.numel() / max(1, given[1])
    return out.numel() / max(1, out[1]) if len(out) > 1 else 0
