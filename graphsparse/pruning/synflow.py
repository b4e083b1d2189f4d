"""SynFlow: iterative synaptic flow pruning, without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture.parameters import Parameters
from graphsparse.capture.pruned import plain
from graphsparse.capture.rules import RULES, Rule
from graphsparse.capture.table import Apply, Table, with_extra
from graphsparse.capture.trace import functional, trace
from graphsparse.pruning.flow_reading import signals_through, synaptic_flow
from graphsparse.pruning.losses import gradients
from graphsparse.pruning.rounds import Progress, fall_in_rounds
from graphsparse.pruning.scratch import Masks, own_random_state, to_numpy, weights


def synflow(
    model: nn.Module,
    parameters: Sequence[str],
    example_inputs: Any,
    compression: float,
    *,
    kwargs: Mapping[str, Any] | None = None,
    rounds: int = 100,
    masks: Masks | None = None,
    dtype: torch.dtype = torch.float64,
    progress: Progress | None = None,
    extra_rules: Mapping[Any, Rule | Apply] | None = None,
) -> dict[str, np.ndarray]:
    """The round at which iterative synaptic flow pruning drops each connection, see `fall_in_rounds`.

    The saliency of a weight w is |w| dR/d|w|, with R the sum of all outputs of the network made linear: absolute
    kernels, inputs of one, no biases, sums for maxima. It is computed in a form that neither overflows nor underflows
    at any depth, see `graphsparse.pruning.flow`. The model is captured in evaluation mode and not touched.
    (Tanaka et al., "Pruning Neural Networks Without Any Data by Iteratively Conserving Synaptic Flow", NeurIPS 2020.)

    Args:
        parameters: names of the prunable kernels, as the graph has them.
        example_inputs: a tensor or tuple of tensors for the model's forward; only the shapes of floating ones matter.
        compression: what the last round leaves, as compression of all connections.
        kwargs: keyword arguments of the model's forward.
        rounds, masks, progress: see `fall_in_rounds`.
        extra_rules: rows for further operations, as in `graphsparse.export`; they say in ``flows`` how signals pass.
        dtype: of the computation; in double precision the number of threads does not show in the ranking.

    Raises:
        CaptureError: the model cannot be captured.
        UnsupportedOperations: operations that have no linear form here.
    """
    table = with_extra(RULES, extra_rules)
    program, names = _captured(model, parameters, example_inputs, kwargs or {}, table)
    device = next(iter(model.parameters())).device
    dense = {
        name: torch.from_numpy(values).abs().to(device, dtype) for name, values in weights(model, parameters).items()
    }

    def score(present: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        kernels = {n: w * torch.from_numpy(present[n]).to(device) for n, w in dense.items()}
        return flow_scores(program, names, kernels, table)

    return fall_in_rounds(
        score, {name: tuple(weight.shape) for name, weight in dense.items()}, compression, rounds, masks, progress
    )


def flow_scores(
    program: ExportedProgram, names: Mapping[str, str], kernels: Mapping[str, torch.Tensor], table: Table = RULES
) -> dict[str, np.ndarray]:
    """One round's saliencies: each kernel times its gradient of R, up to a common factor.

    `names` maps the program's parameters to the names of `kernels`.
    """
    leaves = {name: weight.detach().requires_grad_() for name, weight in kernels.items()}
    with torch.enable_grad():
        flow = synaptic_flow(program, {inner: leaves[name] for inner, name in names.items()}, table)
        found = gradients(flow, list(leaves.values()))
    return {name: to_numpy(leaf * grad, name) for (name, leaf), grad in zip(leaves.items(), found)}


def _captured(
    model: nn.Module,
    parameters: Sequence[str],
    example_inputs: Any,
    kwargs: Mapping[str, Any],
    table: Table = RULES,
) -> tuple[ExportedProgram, dict[str, str]]:
    """The program, and which of its parameters stand for which of the wanted: a tied one goes by its first name.

    Operations without a linear counterpart are taken apart in it, as far as torch can.
    """
    twin = plain(model).model
    inputs = example_inputs if isinstance(example_inputs, (tuple, list)) else (example_inputs,)
    with own_random_state(0):
        program = functional(trace(twin, tuple(inputs), kwargs, 0))
    first = Parameters.of_module(twin).canonical
    wanted = {first.get(name, name): name for name in parameters}
    inner = program.graph_signature.inputs_to_parameters.values()
    names = {name: wanted[first[name]] for name in inner if first.get(name) in wanted}
    values = dict(twin.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        ones = {name: torch.ones_like(values[name], dtype=torch.float64) for name in names}
        return signals_through(program, ones, table).program, names
