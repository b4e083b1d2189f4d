"""Where the numbers of an integer input go: into what the model computes, or only into choices and attention scores.

An input is computed with where its numbers reach an output, or a kernel, by any other way than these:
- a comparison, whose result is true or false;
- a choice: the condition of a where, the index of an element or of a row of a parameter;
- the scores of attention, with no kernel on the way: an additive mask, or the rotation of queries and keys by positions.
"""

from __future__ import annotations

from functools import cache

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves

from graphsparse.capture.mechanics.counting import tells
from graphsparse.capture.nodes import kind_of, needed, reached
from graphsparse.capture.rules import RULES, attention, pointwise

aten = torch.ops.aten
SHAPE_ONLY = {*pointwise.LIKE, aten.sym_size.int, aten.sym_size.default}
TABLES = {
    aten.embedding.default: 1, aten.index.Tensor: 1, aten._unsafe_index.Tensor: 1, aten.take.default: 1,
    aten.gather.default: 2, aten.index_select.default: 2,
}  # fmt: skip
"""Operations that read a table, and where their index stands."""
CONDITIONS = {
    aten.where.self: 0, aten.where.ScalarOther: 0, aten.where.ScalarSelf: 0, aten.where.Scalar: 0,
    aten.masked_fill.Scalar: 1, aten.masked_fill.Tensor: 1, aten.index_put.default: 1, aten._unsafe_index_put.default: 1,
    aten.scatter.src: 2, aten.scatter.value: 2, aten.scatter.reduce: 2, aten.scatter_add.default: 2,
    aten.scatter_reduce.two: 2, aten.index_add.default: 2, aten.index_copy.default: 2, aten.index_fill.int_Scalar: 2,
    aten.index_fill.int_Tensor: 2, aten.masked_scatter.default: 1, aten.masked_select.default: 1,
}  # fmt: skip
"""Operations that choose or place elements, and where what says which stands."""
TAKES_KERNEL = {key for key, row in RULES.items() if row.kernel_at is not None}
STEPS = {*CONDITIONS, *(key for key, row in RULES.items() if row.waits is not None or row.weights == "reshapes")}
PRODUCTS = {aten.matmul.default, aten.bmm.default, aten.baddbmm.default, aten.einsum.default}


class Flows:
    """The ways of a program's inputs through its calls."""

    def __init__(self, program: ExportedProgram):
        signature = program.graph_signature
        self.module = program.graph_module
        self.nodes = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
        self.wanted = {*needed(program.graph), program.graph.output_node()}
        inputs = [self.nodes[name] for name in signature.user_inputs if name in self.nodes]
        parameters = [self.nodes[name] for name in signature.inputs_to_parameters]
        self.by_inputs = set(reached(inputs, lambda node: node.users))
        self.by_parameters = set(reached(parameters, lambda node: node.users))
        self._walked = cache(self._walk)

    def read(self, name: str) -> bool:
        """Whether an output depends on anything that reads the input."""
        return any(user in self.wanted for user in self.nodes[name].users)

    def computed_with(self, name: str) -> bool:
        """Whether the numbers of an input go into what the model computes."""
        return self._walked(name)[0]

    def indexes(self, name: str) -> bool:
        """Whether an input indexes rows of a parameter."""
        return self._walked(name)[1]

    def _walk(self, name: str) -> tuple[bool, bool]:
        """Whether an input is computed with, and whether it indexes a parameter."""
        numbers = reached([self.nodes[name]], lambda node: [user for user in node.users if self._goes_on(node, user)])
        read = [(node, user) for node in numbers for user in node.users if user in self.wanted]
        shown = any(user.op == "output" and kind_of(node) == "number" for node, user in read)
        computed = shown or any(self._is_kernel_of(*each) for each in read)
        return computed, any(self._looks_up(*each) and each[1].args[0] in self.by_parameters for each in read)

    def _is_kernel_of(self, node: Node, user: Node) -> bool:
        """Whether the call applies a kernel to the number, itself or in a program of its own."""
        if user.target in TAKES_KERNEL:
            return any(other is not node and self._is_parameter(other) for other in user.all_input_nodes)
        bodies = [leaf for leaf in tree_leaves(user.args) if isinstance(leaf, Node) and leaf.op == "get_attr"]
        programs = [getattr(self.module, str(leaf.target), None) for leaf in bodies]
        inner = [each for body in programs if isinstance(body, GraphModule) for each in body.modules()]
        calls = {node.target for each in inner if isinstance(each, GraphModule) for node in each.graph.nodes}
        return not calls.isdisjoint(TAKES_KERNEL)

    def _goes_on(self, node: Node, user: Node) -> bool:
        """Whether the result of a call still depends on the number."""
        if user not in self.wanted or user.op == "output" or user.target in SHAPE_ONLY or not tells(node, user):
            return False
        if user.target in CONDITIONS and _stands_at(node, user, CONDITIONS[user.target]):
            return False
        if self._looks_up(node, user):  # a table of plain numbers is a function of the index
            return user.args[0] not in self.by_inputs and user.args[0] not in self.by_parameters
        if user.target in attention.ATTENTION:
            return len(user.args) > 2 and user.args[2] is node
        return not (user.target in attention.SOFTMAX and self._is_scores(node))

    def _looks_up(self, node: Node, user: Node) -> bool:
        return user.target in TABLES and _stands_at(node, user, TABLES[user.target])

    def _is_parameter(self, node: Node) -> bool:
        """Whether a value is made of parameters alone."""
        return node in self.by_parameters and node not in self.by_inputs

    def _is_scores(self, node: Node) -> bool:
        """Whether a value is a product of two activations, but for what may stand before attention's softmax."""
        found = reached([node], lambda each: each.all_input_nodes if each.target in STEPS else ())
        products = [each for each in found if each.target in PRODUCTS]
        return any(not any(map(self._is_parameter, each.all_input_nodes)) for each in products)


def _stands_at(node: Node, user: Node, at: int) -> bool:
    return len(user.args) > at and any(leaf is node for leaf in tree_leaves(user.args[at]))
