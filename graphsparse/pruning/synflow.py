"""SynFlow: iterative synaptic flow pruning, without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from graphsparse.capture import Network, network_of
from graphsparse.capture.rules import RULES, Rule
from graphsparse.capture.table import Apply, Table, with_extra
from graphsparse.errors import GraphsparseError
from graphsparse.pruning.flow import Flow, total
from graphsparse.pruning.flow_reading import signals_through
from graphsparse.pruning.losses import gradients
from graphsparse.pruning.rounds import Progress, ranks_by_round
from graphsparse.pruning.scratch import Masks, Model, Weights, own_random_state, to_numpy


def synflow(
    model: Model,
    parameters: Sequence[str],
    compression: float = 1.0,
    *,
    rounds: int = 100,
    masks: Masks | None = None,
    dtype: torch.dtype = torch.float64,
    progress: Progress | None = None,
    extra_rules: Mapping[Any, Rule | Apply] | None = None,
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
        outputs = signals_through(program, {inner: leaves[name] for inner, name in names.items()}, table).outputs()
        flow = total([value for value in outputs if isinstance(value, Flow)])
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
        return signals_through(program, ones, table).program, names
