"""Masks written to a live model or to a file, so that the network computes what it did before."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.arrays import as_mask, by_name
from graphsparse.capture import Network, export, network_of
from graphsparse.capture.parameters import separate, unmasked
from graphsparse.checkpoints import read_checkpoint, write_checkpoint
from graphsparse.errors import MaskError, ModelError
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask
from graphsparse.networks.filling import load_model, with_weights
from graphsparse.surgery.checking import Inputs, several
from graphsparse.surgery.constants import Folding, carrying, fold
from graphsparse.surgery.needed import needed
from graphsparse.surgery.places import on_tied_tensors, put_on_module, under_every_name
from graphsparse.sweep import sweep


@dataclass(frozen=True, eq=False, repr=False)
class Written:
    """What was written.

    ``masks``: the masks as they are now, with the connections that had to stay. ``folded``: (bias, index, amount) for
    every unit whose bias took over a constant. ``kept``: how many inactive connections stay, by parameter. No bias can
    take over the constants that these carry (there is none, or it is next to zero padding), or biases were to stay; or a
    trial showed that outputs see them though no path leads there: by a comparison, an index, the norm of a kernel.
    """

    masks: dict[str, torch.Tensor]
    folded: tuple[tuple[str, int, float], ...]
    kept: dict[str, int]

    def __repr__(self) -> str:
        kept, entries = (sum(int(count(mask)) for mask in self.masks.values()) for count in (torch.sum, torch.numel))
        return (
            f"Written({len(self.masks)} masks, {kept:,} of {entries:,} kept, {len(self.folded)} constants folded into "
            f"biases, {sum(self.kept.values()):,} connections kept that outputs see)"
        )


def write_masks(
    target: nn.Module | Network | str | os.PathLike[str],
    masks: Mapping[str, torch.Tensor],
    *,
    example_inputs: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    model: nn.Module | Network | None = None,
    weights: Any = None,
    form: str | None = None,
    fold_constants: bool = True,
    norm_statistics: bool = False,
) -> Written:
    """Write masks back. Effective masks leave what the network computes unchanged, on any input, up to rounding.

    A dropped connection may have carried a constant to a live unit. The unit's bias takes the constant over; where it
    cannot, the connection is kept and listed. With ``fold_constants=False`` biases stay, and all such connections are kept
    and listed.

    Args:
        target: a module, or the module of a network, changed in place; or a file, replaced in one step.
        masks: ``{parameter name: bool tensor}``, as from `effective_masks`.
        example_inputs, kwargs: what the model's forward takes, to find constants.
        model: for a file, the model of its weights, or a network, which brings weights and inputs; without it the masks
            are written as they are, and nothing is said about constants, so then ``fold_constants=False`` is needed.
        weights: for a file, where the weights come from (a checkpoint or state dict); by default the model, else the
            target itself.
        form: "prune" (torch.nn.utils.prune; the default for a module) or "zeros" (the default for a file); for a file
            any other of `graphsparse.checkpoints.written_forms` too.
        norm_statistics: masks were found with it; models with layer, group or RMS normalisation need that.

    Raises:
        MaskError: a mask does not fit, or the promise cannot be kept; nothing is changed then.
        ModelError: what is to hold the masks is neither a module nor a file, or the model of a file none.

    Example:
        >>> import graphsparse as gs
        >>> model, x = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False)), torch.zeros(1, 2)
        >>> masks = {"0.weight": [[True, True], [False, True]], "1.weight": [[True, False]]}
        >>> written = write_masks(model, gs.effective_masks(gs.export(model, x, masks)), example_inputs=x)
        >>> model[0].weight_mask
        tensor([[1., 1.],
                [0., 0.]])
    """
    masks = {name: torch.from_numpy(as_mask(name, mask)) for name, mask in by_name(masks, "masks").items()}
    if isinstance(target, (nn.Module, Network)):
        network = network_of(target, example_inputs, kwargs)
        return _to_module(network, masks, form or "prune", fold_constants, norm_statistics)
    _check_file(target, model)
    form = form or "zeros"
    if model is None:
        return _as_they_are(target, masks, weights, form, fold_constants)
    network, state = _of_file(model, example_inputs, kwargs, weights)
    graph, folding, written = _planned(network, masks, fold_constants, norm_statistics)
    tensors = {name: tensor.clone() for name, tensor in state.items()}
    for name, amount in folding.biases.items():
        _add(tensors[name], amount)
    write_checkpoint(target, tensors, under_every_name(written.masks, graph, tensors, form), form=form)
    return written


def _check_file(target: Any, model: Any) -> None:
    """Raises ModelError where the target is no file, or the model of its weights none."""
    if not isinstance(target, (str, os.PathLike)):
        raise ModelError(
            "masks must be written to a module or to a file", received=type(target).__name__,
            way_out="write_masks(path, masks, weights=state) makes a file of a state dict",
        )  # fmt: skip
    if model is not None and not isinstance(model, (nn.Module, Network)):
        raise ModelError(
            "the model of a file's weights must be a module or a network", received=type(model).__name__,
            way_out="give the module itself, or graphsparse.network(checkpoint, inputs, model=name)",
        )  # fmt: skip


def _to_module(
    network: Network, masks: dict[str, torch.Tensor], form: str, fold_constants: bool, norm_statistics: bool
) -> Written:
    """Put masks on the live module of a network."""
    if form not in ("prune", "zeros"):
        raise MaskError("masks must be put on a module as 'prune' or 'zeros'", received=repr(form))
    if isinstance(network.model, ExportedProgram) or network.is_meta or network.masks:
        raise MaskError(
            "masks must be put on a live module", place=network.title, received="the network of a file",
            way_out="write a file: write_masks(path, masks, model=network)",
        )  # fmt: skip
    graph, folding, written = _planned(network, masks, fold_constants, norm_statistics)
    put_on_module(network.model, written.masks, graph, form)
    for name, amount in folding.biases.items():
        path, _, leaf = name.rpartition(".")
        module = network.model.get_submodule(path)
        original = getattr(module, f"{leaf}_orig", None)
        _add(getattr(module, leaf) if original is None else original, amount)
    return written


def _as_they_are(target: Any, masks: dict[str, torch.Tensor], weights: Any, form: str, fold_constants: bool) -> Written:
    """Write masks to a file without a look at what they change."""
    if fold_constants:
        raise MaskError(
            "the model must be run to find constants", place=str(target), received="no model",
            way_out="give model= and example_inputs=, or fold_constants=False to write the masks as they are",
        )  # fmt: skip
    checkpoint = read_checkpoint(weights if weights is not None else target)
    masks = on_tied_tensors(masks, checkpoint.weights)
    write_checkpoint(target, checkpoint.weights, masks, form=form)
    return Written(masks, (), {})


def _of_file(
    model: nn.Module | Network, example_inputs: Any, kwargs: Mapping[str, Any] | None, weights: Any
) -> tuple[Network, Mapping[str, torch.Tensor]]:
    """The network whose masks are written to a file, and all tensors of the file."""
    if isinstance(model, Network):
        network = network_of(model, example_inputs, kwargs, weights=weights)
        return (with_weights(network) if network.is_meta else network), network.state
    checkpoint = read_checkpoint(weights if weights is not None else model.state_dict())
    network = load_model(copy.deepcopy(unmasked(model).model), checkpoint)
    return network.with_inputs(example_inputs, kwargs), checkpoint.weights


def _planned(
    network: Network, masks: dict[str, torch.Tensor], fold_constants: bool, norm_statistics: bool
) -> tuple[LayeredGraph, Folding, Written]:
    """The graph under the network's present masks, what dropped constants ask for, and what is to be written.

    Nothing is changed yet.
    """
    if not network.has_inputs:
        raise MaskError(
            "the model must be run to find constants", place=network.title, received="no example_inputs",
            way_out="give example_inputs= as for export",
        )  # fmt: skip
    graph = export(network, resolution="unrolled", norm_statistics=norm_statistics)
    if graph.has_norm_statistics and not norm_statistics:
        raise MaskError(
            "a model with layer, group or RMS normalisation must get masks that were found with its statistics",
            received="masks found with norm_statistics=False",
            way_out="export with norm_statistics=True, take effective_masks of that graph, and pass norm_statistics=True here",
        )
    given = graph.checked(masks)
    found = carrying(graph, given)
    folding = Folding(keep=found)
    unseen = _without_a_path(graph, given)
    if unseen or found and fold_constants:
        model = masked_copy(network.runnable, graph)
        inputs = several(model, Inputs(network.inputs or (), network.kwargs).double(), network.samples_axis)
        if found and fold_constants:
            folding = fold(model, inputs, found, {use.parameter for use in graph.uses.values()})
        folding = folding.keeping(needed(model, inputs, unseen, folding))
    final = {graph.aliases.get(name, name): mask for name, mask in masks.items()}
    final.update({name: final[name] | mask for name, mask in folding.keep.items() if name in final})
    units = [
        (name, int(i), amount[i].item()) for name, amount in folding.biases.items() for i in amount.nonzero()[:, 0]
    ]
    kept = {name: int(mask.sum()) for name, mask in folding.keep.items()}
    return graph, folding, Written(final, tuple(units), kept)


def _without_a_path(graph: LayeredGraph, masks: Mapping[str, Mask]) -> dict[str, torch.Tensor]:
    """What masks drop of each parameter, none of it active; nothing where they prune what is active too."""
    lost = {name: graph.kept[name].without(mask) for name, mask in masks.items() if name in graph.shapes}
    active = sweep(graph, graph.kept).connections()
    if any(mask.both(active[name]).count() for name, mask in lost.items()):
        return {}
    return {name: torch.from_numpy(mask.unpack()) for name, mask in lost.items() if mask.count()}


@torch.no_grad()
def masked_copy(model: nn.Module, graph: LayeredGraph) -> nn.Module:
    """A plain float64 copy with the present masks applied, to each use its own."""
    twin = copy.deepcopy(unmasked(model).model).double()
    keys = {use.name: key for key, use in graph.uses.items()}
    own = {name: keys[use] for name, use in separate(twin, keys).items()}
    for name, parameter in twin.named_parameters():
        mask = graph.kept.get(own.get(name, graph.aliases.get(name, name)))
        if mask is not None:
            dropped = torch.from_numpy(~mask.unpack()).to(parameter.device)
            parameter.data = parameter.masked_fill(dropped, 0.0)  # uses of one parameter share its memory
    return twin


@torch.no_grad()
def _add(bias: torch.Tensor, amount: torch.Tensor) -> None:
    """Add float64 amounts to a bias of any type, on any device."""
    bias.copy_(bias.double() + amount.to(bias.device))
