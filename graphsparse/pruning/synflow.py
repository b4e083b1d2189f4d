"""SynFlow: iterative synaptic flow pruning, without data.

A program is read as signals: every operation is replaced by its linear, non-negative counterpart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture import Network, network_of
from graphsparse.capture.nodes import is_norm, kind_of, place_of, result_of
from graphsparse.capture.rules import RULES
from graphsparse.capture.table import Apply, Table, with_extra
from graphsparse.capture.table import Rule as Row
from graphsparse.capture.values import Known
from graphsparse.capture.walk import REFUSED, Walk, read
from graphsparse.capture.weights import compute
from graphsparse.errors import GraphsparseError
from graphsparse.pruning import flow_rules as rules
from graphsparse.pruning.flow import Call, Flow, Rule, total
from graphsparse.pruning.losses import gradients
from graphsparse.pruning.rounds import Progress, ranks_by_round
from graphsparse.pruning.scratch import Masks, Model, Weights, own_random_state, to_numpy

FLOWS: Mapping[str, Rule] = {
    "keeps": rules.keep,
    "moves": rules.move,
    "reshapes": rules.reshape,
    "function": rules.function,
    "adds": rules.add,
    "multiplies": rules.multiply,
    "divides": rules.divide,
    "layer": rules.layer,
    "adds product": rules.add_product,
    "averages": rules.mean_over,
    "extremum": rules.extremum,
    "fills": rules.fill,
    "chooses": rules.choose,
    "pads": rules.pad,
    "enlarges": rules.enlarge,
    "softmax": rules.softmax,
    "attention": rules.attention,
    "normalises": rules.normalise,
    "batch norm": rules.batch_norm,
    "embedding": rules.embedding,
    **{f"maximum {n}d": rules.maximum_pool(n) for n in (1, 2, 3)},
    **{f"maximum {n}d, index": rules.with_index(rules.maximum_pool(n)) for n in (2, 3)},
    **{f"adaptive maximum {n}d": rules.adaptive_pool(n) for n in (1, 2, 3)},
}


def flow_of(row: Row) -> Rule | None:
    """The linear counterpart of an operation; None where there is none.

    What only moves parameters does the same to signals, so such a row need not say how it flows.
    """
    if callable(row.flows):
        return row.flows
    plain = row.weights if row.weights in ("keeps", "moves", "reshapes") else ""
    return FLOWS.get(row.flows or plain)


@dataclass(frozen=True, eq=False)
class Signals:
    """A reading in which inputs are one everywhere, kernels are signals too, and all other parameters are constants."""

    program: ExportedProgram
    kernels: Mapping[str, torch.Tensor]
    lack: ClassVar[str] = "have no linear form for SynFlow"
    way_out: ClassVar[str] = "Use another method, or give the operation a Rule(..., flows=...) in extra_rules."

    def knows(self, row: Row) -> bool:
        """Whether there is a linear counterpart."""
        return flow_of(row) is not None

    def parameter(self, name: str, example: torch.Tensor) -> Flow | Known:
        """A kernel as a signal, any other parameter as a constant."""
        found = self.kernels.get(name)
        return self.constant(self.program.state_dict[name]) if found is None else Flow(found)

    def constant(self, tensor: torch.Tensor) -> Known:
        """The tensor where the kernels are, and in their precision."""
        like = next(iter(self.kernels.values()))
        tensor = tensor.detach().to(like.device)
        return Known(tensor.to(like.dtype) if tensor.is_floating_point() else tensor)

    def given(self, name: str, example: Any) -> Any:
        """A floating input is one everywhere, integers are tokens."""
        if not isinstance(example, torch.Tensor):
            return example
        if example.is_floating_point():
            return Flow(next(iter(self.kernels.values())).new_ones(example.shape))
        return replace(self.constant(example), token=name)

    def call(self, node: Node, row: Row, args: tuple[Any, ...], kwargs: dict[str, Any], walk: Walk) -> Any:
        """Compute what no signal reaches, and integers; let signals through the operation's linear counterpart."""
        if not any(isinstance(leaf, (Flow, GraphModule)) for leaf in tree_leaves((args, kwargs))):
            return self._constants(compute(node, row, args, kwargs))
        if kind_of(node) != "number":
            as_known = tree_map(lambda leaf: Known(leaf.value) if isinstance(leaf, Flow) else leaf, (args, kwargs))
            return self._constants(compute(node, row, *as_known))
        flow = flow_of(row)
        if flow is None:
            return REFUSED
        plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
        call = Call(node.target, result_of(node)[0], is_norm(place_of(node)[1]))
        return self._constants(flow(call, *plain_args, **plain_kwargs))

    def _constants(self, made: Any) -> Any:
        """A result whose tensors are constants of this reading."""

        def constant(leaf: Any) -> Any:
            if isinstance(leaf, Known):
                return replace(self.constant(leaf.tensor), token=leaf.token)
            return self.constant(leaf) if isinstance(leaf, torch.Tensor) else leaf

        return tree_map(constant, made)


def _plain(value: Any) -> Any:
    """A constant as its tensor; tokens stay what they are."""
    return value.tensor if isinstance(value, Known) and value.token is None else value


def synflow(
    model: Model,
    parameters: Sequence[str],
    compression: float = 1.0,
    *,
    rounds: int = 100,
    masks: Masks | None = None,
    dtype: torch.dtype = torch.float64,
    progress: Progress | None = None,
    extra_rules: Mapping[Any, Row | Apply] | None = None,
) -> dict[str, np.ndarray]:
    """The round at which iterative synaptic flow pruning drops each connection, see `ranks_by_round`.

    The saliency of a weight w is |w| dR/d|w|. R is the sum of all outputs of the network made linear: absolute kernels,
    inputs of one, no biases, sums for maxima. It neither overflows nor underflows at any depth, see
    `graphsparse.pruning.flow`. The model is captured in evaluation mode and not touched.
    On networks of kernels, fixed wiring and fresh normalisation a score is also weight x F x B of the (+, x) sweep, the
    total weight of the paths through a connection (`graphsparse.passes.paths.path_counts`); the tests hold the two
    together. The rounds use torch: its products are four to seven times as fast as the sweep's exact pairs, and it also
    reads what is no sum of paths (attention, further normalisation).
    (Tanaka et al., "Pruning Neural Networks Without Any Data by Iteratively Conserving Synaptic Flow", NeurIPS 2020.)

    Args:
        model: a network with its inputs, of which only the shapes of floating ones matter.
        parameters: names of the prunable kernels, as the graph has them.
        compression: what the last round leaves, as compression of all connections.
        rounds, masks, progress: see `ranks_by_round`.
        dtype: of the computation; in double precision the number of threads does not show in the ranking.
        extra_rules: rows for further operations, as in `graphsparse.export`; they say in ``flows`` how signals pass.

    Raises:
        GraphsparseError: the network has no inputs. CaptureError: the model cannot be captured.
        UnsupportedOperations: operations that have no linear form here.
    """
    network = network_of(model)
    if not network.has_inputs:
        raise GraphsparseError(
            "example inputs must be given to SynFlow, which captures the model", received="no inputs",
            way_out="give example_inputs=",
        )  # fmt: skip
    table = with_extra(RULES, {**network.extra_rules, **(extra_rules or {})})
    program, names = _apart(network, parameters, table)
    device = next(network.runnable.parameters()).device
    weights = Weights(network, parameters)
    dense = {name: torch.from_numpy(value).abs().to(device, dtype) for name, value in weights.items()}

    def score(present: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        kernels = {n: w * torch.from_numpy(present[n]).to(device) for n, w in dense.items()}
        return flow_scores(program, names, kernels, table)

    return ranks_by_round(score, weights.shapes, compression, rounds, masks, progress)


def flow_scores(
    program: ExportedProgram, names: Mapping[str, str], kernels: Mapping[str, torch.Tensor], table: Table = RULES
) -> dict[str, np.ndarray]:
    """One round's saliencies: each kernel times its gradient of R, up to a common factor.

    `names` maps the program's parameters to the names of `kernels`.
    """
    leaves = {name: weight.detach().requires_grad_() for name, weight in kernels.items()}
    with torch.enable_grad():
        walk, _ = read(program, table, lambda program: Signals(program, {n: leaves[name] for n, name in names.items()}))
        flow = total([value for value in walk.outputs() if isinstance(value, Flow)])
        found = gradients(flow, list(leaves.values()))
    return {name: to_numpy(leaf * grad, name) for (name, leaf), grad in zip(leaves.items(), found)}


def _apart(network: Network, parameters: Sequence[str], table: Table) -> tuple[ExportedProgram, dict[str, str]]:
    """The program, and which of its parameters stand for which of the wanted: a tied one goes by its first name.

    Operations without a linear counterpart are taken apart in it, as far as torch can.
    """
    with own_random_state(0):
        program = network.program
    known = network.parameters
    wanted = {known.canonical.get(name, name): name for name in parameters}
    inner = program.graph_signature.inputs_to_parameters.values()
    names = {name: wanted[known.canonical[name]] for name in inner if known.canonical.get(name) in wanted}
    with torch.no_grad():
        ones = {name: torch.ones_like(known.tensors[known.canonical[name]], dtype=torch.float64) for name in names}
        walk, _ = read(program, table, lambda program: Signals(program, ones))
        return walk.program, names
