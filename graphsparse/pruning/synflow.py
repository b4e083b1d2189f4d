"""SynFlow: iterative synaptic flow pruning, without data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture.parameters import Parameters
from graphsparse.capture.pruned import plain
from graphsparse.capture.trace import decomposed, functional, trace
from graphsparse.errors import UnsupportedOperations
from graphsparse.pruning.flow import synaptic_flow
from graphsparse.pruning.flow_table import RULES
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
        dtype: of the computation; in double precision the number of threads does not show in the ranking.

    Raises:
        CaptureError: the model cannot be captured.
        UnsupportedOperations: operations that have no linear form here.
    """
    program, names = _captured(model, parameters, example_inputs, kwargs or {})
    device = next(iter(model.parameters())).device
    dense = {
        name: torch.from_numpy(values).abs().to(device, dtype) for name, values in weights(model, parameters).items()
    }

    def score(present: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return flow_scores(program, names, {n: w * torch.from_numpy(present[n]).to(device) for n, w in dense.items()})

    return fall_in_rounds(
        score, {name: tuple(weight.shape) for name, weight in dense.items()}, compression, rounds, masks, progress
    )


def flow_scores(
    program: ExportedProgram, names: Mapping[str, str], kernels: Mapping[str, torch.Tensor]
) -> dict[str, np.ndarray]:
    """One round's saliencies: each kernel times its gradient of R, up to a common factor.

    `names` maps the program's parameters to the names of `kernels`.
    """
    leaves = {name: weight.detach().requires_grad_() for name, weight in kernels.items()}
    with torch.enable_grad():
        flow = synaptic_flow(program, {inner: leaves[name] for inner, name in names.items()}, RULES)
        found = gradients(flow, list(leaves.values()))
    return {name: to_numpy(leaf * grad, name) for (name, leaf), grad in zip(leaves.items(), found)}


def _captured(
    model: nn.Module, parameters: Sequence[str], example_inputs: Any, kwargs: Mapping[str, Any]
) -> tuple[ExportedProgram, dict[str, str]]:
    """The program, and which of its parameters stand for which of the wanted: a tied one goes by its first name."""
    twin = plain(model).model
    inputs = example_inputs if isinstance(example_inputs, (tuple, list)) else (example_inputs,)
    with own_random_state(0):
        program = functional(trace(twin, tuple(inputs), kwargs, 0))
    first = Parameters.of_module(twin).canonical
    wanted = {first.get(name, name): name for name in parameters}
    inner = program.graph_signature.inputs_to_parameters.values()
    names = {name: wanted[first[name]] for name in inner if first.get(name) in wanted}
    return _supported(program, names, dict(twin.named_parameters(remove_duplicate=False))), names


def _supported(program: ExportedProgram, names: Iterable[str], values: Mapping[str, torch.Tensor]) -> ExportedProgram:
    """The program with operations that have no rule taken apart, as far as torch can; else what is missing is named."""
    while True:
        try:
            with torch.no_grad():
                synaptic_flow(
                    program, {name: torch.ones_like(values[name], dtype=torch.float32) for name in names}, RULES
                )
            return program
        except UnsupportedOperations:
            targets = {node.target for node in program.graph.nodes if node.op == "call_function"}
            apart = decomposed(program, targets - set(RULES))
            if apart is None or {node.target for node in apart.graph.nodes if node.op == "call_function"} == targets:
                raise
            program = apart
