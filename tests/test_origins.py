"""What an operation does to a parameter when its row does not say: found by trying, or refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.capture.rules import RULES
from graphsparse.capture.table import Rule
from graphsparse.capture.tried import origins
from graphsparse.capture.values import Units
from graphsparse.errors import CaptureError
from graphsparse.passes.liveness import active_connections

aten = torch.ops.aten
MASK = torch.tensor([[True, False], [True, False], [False, False]])
FLIPPED = [(0, 4), (1, 4)]
"""The edges of ``x @ kernel.flip(-1)`` under the mask: units 0 to 2 are the input, 3 and 4 the output."""


def custom(name: str, compute):
    """A custom operation of one tensor, with the shape that it keeps."""

    def operation(x: torch.Tensor) -> torch.Tensor:
        return compute(x)

    made = torch.library.custom_op(f"origins::{name}", operation, mutates_args=())
    made.register_fake(torch.empty_like)
    return getattr(torch.ops.origins, name).default


def only_on_doubles(x: torch.Tensor) -> torch.Tensor:
    if x.dtype != torch.float64:
        raise RuntimeError("takes doubles alone")
    return x.flip(-1)


FLIP = custom("flip", lambda x: x.flip(-1))
SIGNS = custom("signs_turned", lambda x: -x.flip(-1).sign())
SORTED = custom("sorted", lambda x: x.sort(-1).values)
HALVED = custom("halved", lambda x: x / 2)
STRICT = custom("strict", only_on_doubles)


class Through(nn.Module):
    """The input times what a function makes of a kernel."""

    def __init__(self, function, shape=(3, 2)):
        super().__init__()
        self.function, self.kernel = function, nn.Parameter(torch.ones(shape))

    def forward(self, x):
        return x @ self.function(self.kernel)


def turned(call, value: Units) -> Units:
    return Units(call.ids(value).flip(-1))


def edges(graph: gs.LayeredGraph) -> list[tuple[int, int]]:
    return sorted(zip(*(each.tolist() for each in graph.adjacency().nonzero()), strict=True))


def graph_through(function, rules=None, mask=MASK) -> gs.LayeredGraph:
    return gs.export(Through(function), torch.zeros(1, 3), {"kernel": mask}, extra_rules=rules)


@pytest.mark.parametrize("rules", [None, {FLIP: turned, SIGNS: turned}, {FLIP: Rule(turned), SIGNS: Rule(turned)}])
@pytest.mark.parametrize("operation", [FLIP, SIGNS])
def test_a_mask_moves_with_its_parameter_though_no_row_says_so(operation, rules):
    assert edges(graph_through(lambda kernel: operation(kernel), rules)) == FLIPPED


def test_a_function_of_each_entry_keeps_the_mask_where_it_is():
    assert edges(graph_through(lambda kernel: HALVED(kernel))) == [(0, 3), (1, 3)]


def test_what_depends_on_several_entries_is_a_number_that_the_model_computes():
    graph = gs.export(Through(lambda kernel: SORTED(kernel)), torch.zeros(1, 3), {})
    assert not graph.shapes and graph.coverage.conservative[0][2].startswith("a matrix that the model computes")


def test_a_word_in_the_row_goes_before_trying():
    graph = graph_through(lambda kernel: FLIP(kernel), {FLIP: Rule(turned, weights="function")})
    assert edges(graph) == [(0, 3), (1, 3)]  # the row is wrong, and it is believed


def test_an_operation_that_cannot_be_tried_is_refused_with_the_word_that_is_missing():
    with pytest.raises(CaptureError) as error:
        graph_through(lambda kernel: STRICT(kernel), {STRICT: turned})
    assert "origins.strict.default must say what becomes of a parameter" in str(error.value)
    assert "RuntimeError: takes doubles alone" in str(error.value) and 'weights="moves"' in str(error.value)
    with pytest.raises(CaptureError, match="takes doubles alone"):
        graph_through(lambda kernel: STRICT(kernel))


def test_an_operation_of_a_stranger_is_not_tried_and_nothing_alive_is_called_dead():
    network = gs.network(Through(lambda kernel: HALVED(kernel)), torch.zeros(1, 3))
    graph = gs.export(replace(network, room=1e6), {"kernel": MASK})
    assert not graph.shapes and [unit for unit, _ in edges(graph)] == [0, 1, 2]


PERMUTATION = torch.tensor([[1, 0], [1, 0], [0, 1]])


@pytest.mark.parametrize(
    ("function", "place"),
    [
        (lambda kernel: kernel.gather(1, PERMUTATION), lambda mask: mask.gather(1, PERMUTATION)),
        (lambda kernel: torch.take_along_dim(kernel, PERMUTATION, 1), lambda mask: mask.gather(1, PERMUTATION)),
        (lambda kernel: kernel.take(torch.tensor([[5, 4], [3, 2], [1, 0]])), lambda mask: mask.flip(0, 1)),
        (lambda kernel: torch.select_scatter(kernel, kernel[0], 0, 2), lambda mask: mask[[0, 1, 0]]),
        (lambda kernel: torch.as_strided(kernel, (3, 2), (1, 3)), lambda mask: mask.reshape(2, 3).T),
    ],
    ids=["gather", "take_along_dim", "take", "select_scatter", "as_strided"],
)
def test_rows_of_the_table_that_say_nothing_read_the_mask_at_the_right_places(function, place):
    wanted = [(row, 3 + column) for row, column in place(MASK).nonzero().tolist()]
    assert edges(graph_through(function)) == wanted


@pytest.mark.parametrize(
    "function", [lambda k: k.sort(0).values, lambda k: k.cumsum(0), lambda k: k @ torch.ones(2, 2)]
)
def test_no_mask_is_read_where_entries_mix(function):
    graph = graph_through(function)
    assert not graph.shapes and [unit for unit, _ in edges(graph)] == [0, 1, 2]


def test_the_product_of_two_square_parameters_is_wholly_there():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))

        def forward(self, x):
            return x @ (self.left @ self.right)

    graph = gs.export(Product(), torch.zeros(1, 2), {"left": torch.eye(2) > 0})
    assert not graph.shapes and len(edges(graph)) == 2


def test_the_greater_of_two_parameters_is_there_where_one_of_them_is():
    class Greater(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))

        def forward(self, x):
            return x @ torch.maximum(self.left, self.right)

    graph = gs.export(Greater(), torch.zeros(1, 2), {"left": torch.zeros(2, 2) > 0})
    assert [unit for unit, _ in edges(graph)] == [0, 1]


FUNCTIONS = {
    "flip": lambda x: x.reshape(3, 5).flip(0),
    "cut": lambda x: x.reshape(3, 5).tril(),
    "turned and scaled": lambda x: -3 * x.reshape(3, 5).T,
    "repeated": lambda x: x.repeat(2),
    "tanh": torch.tanh,
    "running sum": lambda x: x.cumsum(0),
    "row sums": lambda x: x.reshape(3, 5).sum(1),
    "neighbours": lambda x: x[1:] * x[:-1],
    "one": lambda x: x[7],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_origins_are_those_of_the_jacobian(name):
    function = FUNCTIONS[name]
    found = origins(lambda x: function(x).reshape(-1), 15, torch.float64)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: function(x).reshape(-1), torch.rand(15, dtype=torch.float64)
    )
    reads = jacobian != 0
    assert not found.unsure.any()
    assert found.several.tolist() == (reads.sum(1) > 1).tolist()
    for row, place in zip(reads[~found.several], found.place[~found.several].tolist(), strict=True):
        assert row.nonzero().flatten().tolist() == ([place] if place >= 0 else [])


OF_ONE = [
    (),
    (0,),
    (1,),
    (0.5,),
    ([4],),
    (4,),
    (2, 0),
    (torch.full((4, 4), 2.0),),
    (0, torch.arange(16).reshape(4, 4) % 4),
]
MIXES = {aten.softmax.int, aten._safe_softmax.default, aten.log_softmax.int, aten.layer_norm.default,
         aten.group_norm.default, aten.rms_norm.default}  # fmt: skip
"""Functions of whole rows that leave each entry at its place."""


def test_operations_that_the_table_calls_functions_of_an_entry_are_that():
    tried = 0
    for operation in [key for key, row in RULES.items() if row.weights == "function" and key not in MIXES]:
        for further in OF_ONE:

            def run(x, operation=operation, further=further):
                return operation(x.reshape(4, 4), *further).reshape(-1)

            try:
                if run(torch.rand(16)).numel() != 16 or not run(torch.rand(16)).is_floating_point():
                    continue
            except (RuntimeError, TypeError, IndexError, AttributeError):  # of other arguments than these
                continue
            found = origins(run, 16, torch.float32)
            moved = (found.place != torch.arange(16)) & (found.place >= 0)
            assert not found.several.any() and not moved.any(), operation
            tried += 1
    assert tried > 80


def test_sizes_that_depend_on_a_parameter_are_refused():
    model = Through(lambda kernel: kernel.masked_select(kernel > 0).reshape(3, -1))
    with pytest.raises(CaptureError, match="sizes of values must not depend on the values of inputs or parameters"):
        gs.export(model, torch.zeros(1, 3))


def test_entries_that_a_mask_of_the_model_selects_are_connections():
    chosen = torch.eye(3, dtype=torch.bool)
    model = Through(lambda kernel: kernel.masked_select(chosen).diag(), (3, 3))
    graph = gs.export(model, torch.zeros(1, 3), {"kernel": torch.ones(3, 3, dtype=torch.bool)})
    assert np.array_equal(active_connections(graph)["kernel"], chosen.numpy())
