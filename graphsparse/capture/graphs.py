"""From a model to its graph: the structure, which is read once, and the masks that are put on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import Node

from graphsparse.capture.draft import Draft, as_ids
from graphsparse.capture.finish import finished_layers, free_entries
from graphsparse.capture.inputs import inputs_of, names_of
from graphsparse.capture.lower import Lowering, lower
from graphsparse.capture.network import Network, Structure, network_of
from graphsparse.capture.nodes import operation_name, result_of
from graphsparse.capture.parameters import Parameters, nonzero_entries
from graphsparse.capture.rules import RULES
from graphsparse.capture.table import Apply, Rule, Table, row_of, with_extra
from graphsparse.errors import CaptureError, ModelError
from graphsparse.graph import Coverage, LayeredGraph, Use
from graphsparse.kernels.masks import Mask
from graphsparse.kernels.rows import distinct_ids

Way = tuple[str, bool, tuple[str, ...] | None, tuple[str, ...]]
"""How a program is read: resolution, whether statistics count, names of sources, keys of uses with own masks."""
Extra = Mapping[Any, Rule | Apply]
LAST = ("linear", "matmul", "mm", "bmm", "addmm", "baddbmm")
"""Products whose rows lie along the last axis of the result; those of others lie along its second axis."""


def export(
    model: nn.Module | ExportedProgram | Network,
    example_inputs: Any = None,
    masks: Mapping[str, Any] | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    resolution: str | None = None,
    norm_statistics: bool = False,
    extra_rules: Mapping[Any, Rule | Apply] | None = None,
    batch_axis: int | None = 0,
    sources: Iterable[str] | None = None,
) -> LayeredGraph:
    """Turn a model with masks into a sparse multipartite graph. The model is not changed.

    What a decoder of the transformers library caches for its next token is not an output (``use_cache`` is off).

    Args:
        model: a module, captured by torch.export in evaluation mode; an exported program, used as it is; or a network,
            which brings its inputs: ``export(network, masks)``.
        example_inputs: a tensor or tuple of tensors that ``model(*example_inputs)`` accepts; only shapes matter for
            floating inputs. An integer input is a source where the model computes with it (a timestep), tokens where
            it indexes the rows of a parameter, and a constant elsewhere (masks and positions); ``inputs`` of the graph
            says what each was taken for.
        masks: ``{parameter name: bool tensor}``, True = kept, by the names of ``model.named_parameters()``. Kernels
            without a mask are wholly kept. None reads them off the model: `torch.nn.utils.prune` and parametrisation
            masks where present, else the non-zero pattern of the weights (on the meta device: everything is kept). Where
            the model masks only some uses of a shared parameter, each use is swept under its own mask.
        kwargs: keyword arguments of the model's forward.
        resolution: "unrolled", one unit per element; or "channel", one per channel or feature, positions collapsed. By
            default "unrolled", or what the network says.
        norm_statistics: whether normalisation statistics carry influence (docs/semantics.md).
        extra_rules: rules for further operations, ``{aten overload: function or Rule}``; see `graphsparse.capture.rules`.
        batch_axis: the axis of every input that counts samples and makes no units; None where there is none. An input
            of one axis has one where it is as long as there are samples. Where the first axis is longer than one, runs
            with two samples check that they do not influence each other; where they do (steps of time in recurrent layers),
            it is the second axis, or none, and the reason in ``inputs`` says so.
        sources: the names of the inputs that are sources, all others being constants; nested ones by their paths, as
            ``batch.image``. By default as said under ``example_inputs``.

    Raises:
        CaptureError: torch.export cannot capture the model with these inputs; or a source is none of its inputs.
        UnsupportedOperations: operations without a rule, all of them, with counts and module paths.
        MaskError: a mask's name, shape or type does not fit.

    Definitions: Vysogorets and Kempe 2023, section 3; the graph: Cunegatti et al. 2024.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> graph = export(model, torch.zeros(1, 4, 4))
        >>> [len(layer) for layer in graph.layers], graph.n_connections
        ([16, 4, 2], 72)
    """
    if isinstance(model, Network) and masks is None:
        example_inputs, masks = None, example_inputs
    network = network_of(model, example_inputs, kwargs, batch_axis=batch_axis)
    resolution = _checked(network, resolution or network.resolution)
    parameters, found, uses = network.present()
    own = {_key(name): Use(parameters.canonical[name], name, m) for name, m in uses.items()} if masks is None else {}
    way: Way = (resolution, norm_statistics, names_of(sources), tuple(own))
    structure = None if extra_rules else network.structures.get(way)
    known = None if extra_rules or network.extra_rules or own else network.known
    if structure is None and known is not None:
        structure = known.find(way)
    if structure is None:
        structure = _read(network, parameters, own, way, extra_rules)
        if known is not None:
            known.keep(way, structure)
    if not extra_rules:
        network.structures[way] = structure
    swept = {*structure.graph.shapes, *structure.graph.modulators}
    graph = replace(
        structure.graph,
        weights=parameters.weights_of(structure.graph.shapes),
        modulators=_modulators(structure, parameters, given=masks is not None),
        uses={key: use for key, use in own.items() if use.parameter in swept},
    )
    return _under_own_masks(network, graph, parameters, found) if masks is None else graph.with_masks(masks)


def _checked(network: Network, resolution: str) -> str:
    if resolution not in ("unrolled", "channel"):
        raise CaptureError("resolution must be 'unrolled' or 'channel'", received=repr(resolution))
    if network.channel_only and resolution != "channel":
        raise ModelError(
            "a chain must not have convolutions: their padding and pooling are not known", received=f"resolution {resolution!r}",
            way_out="take resolution='channel', or name the model",
        )  # fmt: skip
    return resolution


def _key(use: str) -> str:
    """The key of the mask of one use of a shared parameter; no parameter has such a name."""
    return f"{use}, its own mask"


def _read(
    network: Network, parameters: Parameters, uses: Mapping[str, Use], way: Way, extra_rules: Extra | None
) -> Structure:
    """Read the network's program as units; uses that have masks of their own go by their own keys."""
    resolution, norm_statistics, sources, _ = way
    program, apart = network.captured(use.name for use in uses.values())
    table = with_extra(RULES, {**network.extra_rules, **(extra_rules or {})})
    inputs = inputs_of(program, network.samples_axis, sources)
    names = {**parameters.canonical, **{name: _key(use) for name, use in apart.items() if _key(use) in uses}}
    masked = {key: use.parameter for key, use in uses.items()}

    def start() -> Lowering:
        return Lowering(Draft(resolution, norm_statistics, masked, network.room), names, inputs)

    _, lowering = lower(program, table, start, parameters.model_name)
    joined = resolution == "channel"
    positions = _positions_of(program, table, parameters.canonical, inputs.samples) if joined else {}
    return _structure(lowering, parameters, positions)


def _structure(lowering: Lowering, parameters: Parameters, positions: Mapping[str, float]) -> Structure:
    draft, usage, tensors = lowering.draft, lowering.draft.usage, parameters.tensors
    layers, sources, sinks = finished_layers(draft, distinct_ids([as_ids(ids.reshape(-1)) for ids in lowering.sinks]))
    unused = tuple(name for name, each in tensors.items() if each.dim() > 1 and name not in usage.read)
    elsewhere = {*usage.kernels, *usage.modulators, *unused}
    graph = LayeredGraph(
        layers=layers,
        sources=sources,
        sinks=sinks,
        shapes={name: tuple(each.shape) for name, each in tensors.items() if name in usage.kernels},
        modulators={name: Mask.whole(tensors[name].shape) for name in sorted(usage.modulators)},
        constants={name: tuple(each.shape) for name, each in tensors.items() if name not in elsewhere},
        aliases={alias: name for alias, name in parameters.canonical.items() if alias != name},
        unused=unused,
        resolution=draft.resolution,
        norm_statistics=draft.norm_statistics,
        has_norm_statistics=draft.has_norm_statistics,
        coverage=Coverage(dict(lowering.used), (*draft.conservative, *free_entries(draft))),
        inputs=lowering.inputs.taken(usage.tables),
        positions=positions,
    )
    return Structure(graph, frozenset(usage.scales))


def _modulators(structure: Structure, parameters: Parameters, *, given: bool) -> dict[str, Mask]:
    """Biases and scales, which are no connections: what holds of them where no mask says otherwise.

    A bias entry that is exactly zero adds nothing, so it lifts nothing: what the function computes is the judge. A
    scale that is exactly zero cuts its unit only where masks are read off the model (docs/semantics.md: network
    slimming), since with given masks a fresh model's zero-initialised scales are yet to be trained.
    """
    whole = structure.scales if given else frozenset[str]()
    return {
        name: mask if name in whole else Mask.of(nonzero_entries(parameters.tensors[name]))
        for name, mask in structure.graph.modulators.items()
    }


def _under_own_masks(
    network: Network, graph: LayeredGraph, parameters: Parameters, found: Mapping[str, torch.Tensor]
) -> LayeredGraph:
    """The graph under the masks that the model carries, else where its weights are not zero; then the checkpoint's own.

    Zeros of a bias, a scale or a table are no masks of it.
    """
    known = {name: parameters.tensors[name] for name in graph.shapes}
    patterns = {name: nonzero_entries(tensor) for name, tensor in known.items() if not tensor.is_meta}
    present = graph.checked({**patterns, **{name: mask.numpy() for name, mask in found.items()}})
    named = {**graph.constants, **graph.modulators, **graph.shapes}
    own = {name: mask for name, mask in network.masks.items() if graph.aliases.get(name, name) in named}
    zeros = {name for name in network.by_zeros if graph.aliases.get(name, name) not in graph.shapes}
    masks = graph.checked({name: mask for name, mask in own.items() if name not in zeros})
    read = graph.checked({name: mask for name, mask in own.items() if name in zeros})
    modulators = {name: pattern for name, pattern in read.items() if name in graph.modulators}
    return replace(graph, masks={**present, **masks}, modulators={**graph.modulators, **modulators})


def _positions_of(
    program: ExportedProgram, table: Table, names: Mapping[str, str], samples: int | None
) -> dict[str, float]:
    """How many positions of a sample each kernel is applied at, all uses together; a use of a part counts for that part.

    Channel resolution joins positions, so the program's shapes say it. ``names`` are the first names of parameters.
    """
    parameters = program.graph_signature.inputs_to_parameters
    found: dict[str, float] = {}
    for node in program.graph.nodes:
        at = row_of(table, node.target).kernel_at if node.op == "call_function" else None
        if at is None or len(node.args) <= at or not isinstance(node.args[at], Node):
            continue
        origin = node.args[at]
        while origin.op == "call_function" and len(origin.all_input_nodes) == 1:  # a view of a parameter begins with it
            origin = origin.all_input_nodes[0]
        if origin.name not in parameters:
            continue
        name = names[parameters[origin.name]]
        share = result_of(node.args[at])[0].numel() / max(1, result_of(origin)[0].numel())
        found[name] = found.get(name, 0) + share * _positions(node) / max(1, samples or 1)
    return found


def _positions(node: Node) -> float:
    """How many elements of one row of the kernel a call makes."""
    out, name, read = result_of(node)[0], operation_name(node.target), node.args[0]
    if name in LAST:
        return out.numel() / max(1, out[-1]) if out else 0
    if "transpose" in name and isinstance(read, Node):  # each element that is read is multiplied
        out = result_of(read)[0]
    return out.numel() / max(1, out[1]) if len(out) > 1 else 0
