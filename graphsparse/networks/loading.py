"""A checkpoint's network: a model with the checkpoint's masks, and with its weights where they are wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graphsparse.capture import Network, network_of
from graphsparse.capture.sharing import Shared
from graphsparse.checkpoints import WHOLE, Checkpoint, OpenCheckpoint, Part, open_checkpoint, read_checkpoint
from graphsparse.checkpoints.boundary import refusing
from graphsparse.checkpoints.checks import nonzero
from graphsparse.checkpoints.content import look_into
from graphsparse.checkpoints.names import shown, unknown
from graphsparse.checkpoints.opening import opened as archive_of
from graphsparse.checkpoints.opening import place_of
from graphsparse.errors import ModelError
from graphsparse.kernels.masks import Mask
from graphsparse.networks.chain import build_chain
from graphsparse.networks.filling import by_parameter, load_model, zeroed
from graphsparse.networks.fitting import absent, check_fit, misfit, strangers, told, without_mask
from graphsparse.networks.known import Known, Watched, known_of
from graphsparse.networks.models import (
    Model,
    checked,
    is_factory,
    make_bare,
    named_model,
    parameters_of,
    read_program,
)
from graphsparse.networks.pretrained import ANY_SIZE, Beside, build_pretrained, is_pretrained
from graphsparse.networks.translation import translation

Progress = Callable[[int, int], None]


def load_network(
    source: Any,
    model: Any = None,
    *,
    form: str | None = None,
    by_order: bool = False,
    arguments: Mapping[str, Any] | None = None,
    weightless: bool = False,
    progress: Progress | None = None,
    part: Part = WHOLE,
    trust_sizes: bool = False,
    cache: bool = False,
) -> Network:
    """A checkpoint's network: the given model, or, without one, what the checkpoint itself says it is.

    Args:
        source: a file, folder or state dict; weights, masks, or both. A ``.pt2`` archive and a transformers folder need
            no model.
        model: a module, a program, or a name of one (see `graphsparse.networks.models`), or "chain".
        form, by_order: as for `graphsparse.checkpoints.read_checkpoint`.
        arguments: keyword arguments of the factory.
        weightless: weights are not wanted, only masks. Then a chain, and a factory's model where that is safe, is built
            on the meta device; as for every model there, each tensor is read once and held as bits, so that a checkpoint
            may be larger than memory.
        progress: called with (bytes read, bytes in all) where tensors are read one by one.
        part: which of the file's tensors are meant.
        trust_sizes: build the model of a ``config.json`` or a ``.pt2`` archive however much larger than the file it is.
        cache: keep what a folder's network is read as in the user's cache, and find it there again. Its model is then not
            built before it has to be captured.

    Raises:
        ModelError: the name leads to no model, or model and checkpoint do not fit; both sides are listed.
        CheckpointError, MaskError: a file is damaged, would have to run code, or its masks are none.
    """
    if model is None and is_pretrained(source):
        model = str(source)
    if model is None:
        if isinstance(source, (str, os.PathLike)) and not os.path.exists(source):
            open_checkpoint(source)  # what is wrong with a file that is not there is not that its model is not named
        if isinstance(source, (str, os.PathLike)) and str(source).endswith(".pt2"):
            if form not in (None, "zeros"):
                raise ModelError(
                    "the weights of a .pt2 archive must be read as zeros", place=str(source), received=f"form {form!r}",
                    way_out="leave form= out",
                )  # fmt: skip
            return replace(network_of(read_program(str(source), trust_sizes)), title=title_of(source))
        raise ModelError(
            "the network must be known for effective sparsity, not only its tensors",
            place=place_of(source), received="no model",
            way_out="name it: package.module:factory, a .pt2 file, 'chain', or 'none' for direct sparsity alone",
        )  # fmt: skip
    model = checked(model, place_of(source))
    found = _found(source, model, form, by_order, arguments or {}, weightless, progress, part, trust_sizes, cache)
    folder = is_pretrained(model)
    return replace(found, title=title_of(source), resolution="channel" if folder else found.resolution)


def _found(
    source: Any,
    model: Any,
    form: str | None,
    by_order: bool,
    arguments: Mapping[str, Any],
    weightless: bool,
    progress: Progress | None,
    part: Part,
    trust_sizes: bool,
    cache: bool,
) -> Network:
    """The network of a checkpoint and a model."""
    opening = partial(open_checkpoint, source, form=form, part=part)
    if isinstance(model, str) and model == "chain":
        return (
            _bare_chain(opening(), progress) if weightless else _chained(read_checkpoint(source, form=form, part=part))
        )
    if isinstance(model, str) and weightless and is_factory(model):
        bare = make_bare(model, arguments)
        opened = None if bare is None else _opened(opening, bare, by_order)
        if bare is not None and opened is not None and opened.has_weights:
            check_fit(bare, opened.all_shapes, opened.place)
            return _on_meta(bare, opened, progress)
    if isinstance(model, str) and is_pretrained(model):
        options = {"form": form, "by_order": by_order, "trust_sizes": trust_sizes}
        known = known_of(model, source, part, options) if cache else None
        rebuild = partial(build_pretrained, model, ANY_SIZE if trust_sizes else _beside(source, part))
        return _of_folder(rebuild, known, opening, by_order, progress)
    if isinstance(model, str):
        model, _ = named_model(model, arguments or {}, trust_sizes=trust_sizes)
    parameters = parameters_of(model)
    if any(tensor.is_meta for tensor in parameters.values()):
        return _on_meta(model, _opened(opening, model, by_order), progress)
    return load_model(model, read_checkpoint(source, form=form, by_order=by_order, parameters=parameters, part=part))


def _opened(
    opening: Callable[..., OpenCheckpoint], model: Model, by_order: bool, translate: Any = None
) -> OpenCheckpoint:
    translate = translate or translation(model)
    return opening(by_order=by_order, parameters=parameters_of(model), translate=translate)


def _of_folder(
    rebuild: Callable[..., tuple[nn.Module, dict[str, Any] | None]],
    known: Known | None,
    opening: Callable[..., OpenCheckpoint],
    by_order: bool,
    progress: Progress | None,
) -> Network:
    """The network of a transformers folder; a model of the same names and shapes stands in for a model that is known."""
    stand_in, inputs = None if known is None else known.stand_in(), None
    if stand_in is not None:
        found = _on_meta(stand_in, _opened(opening, stand_in, by_order), progress)
    else:
        model, inputs = rebuild()
        watched = Watched(translation(model))
        found = _on_meta(model, _opened(opening, model, by_order, watched), progress)
        known = None if known is None or watched.changed else known.of_model(model)
    return replace(found, rebuild=rebuild, kwargs=inputs or {}, stand_in=stand_in is not None, known=known)


def _beside(source: Any, part: Part) -> Beside:
    """How many tensors a checkpoint has, and their longest axis, unread."""
    with refusing(place_of(source)):
        tensors = look_into(archive_of(source), part).tensors.values()
    return Beside(len(tensors), max((max(tensor.shape, default=1) for tensor in tensors), default=1))


def _on_meta(model: Model, opened: OpenCheckpoint, progress: Progress | None) -> Network:
    """A model without weights under the masks of a checkpoint, as bits."""
    lacking = without_mask(model, opened.shapes)
    if lacking:
        raise misfit(opened.place, {"missing": lacking, "not in the model": unknown(opened.ignored)})
    notes = told(model, opened.shapes, strangers(model, opened))
    if opened.has_weights and (lost := absent(model, opened)):
        notes.append(f"Not in the file, taken as not zero: {shown(lost)}.")
    masks, zeros = stream(opened, progress), _by_zeros(opened)
    found = by_parameter(model, masks, zeros) if opened.has_weights else Shared(masks, {})
    return replace(
        network_of(model), masks=found.masks, weights=opened.weights, notes=(*opened.told(), *notes),
        uses=found.uses, by_zeros=zeros,
    )  # fmt: skip


def _by_zeros(opened: OpenCheckpoint) -> frozenset[str]:
    """What `stream` reads off the zeros of weights, not off masks."""
    return opened.by_zeros | set(opened.others)


def stream(opened: OpenCheckpoint, progress: Progress | None = None) -> dict[str, Any]:
    """The masks of a checkpoint as bits, each tensor read once; and which entries of its biases and scales are not zero."""
    masks: dict[str, Any] = {}
    read, total = 0, opened.nbytes
    for name, mask, nbytes in opened.packed_masks():
        masks[name], read = mask, read + nbytes
        if progress is not None:
            progress(read, total)
    for name, make in opened.others.items():
        tensor = make()
        if tensor.dim() < 2 and tensor.is_floating_point():
            masks[name] = Mask.of(nonzero(tensor).numpy())
    return masks


def title_of(source: Any) -> str:
    """What a report calls a checkpoint."""
    return "state dict" if isinstance(source, Mapping) else Path(str(source)).name


def _chained(checkpoint: Checkpoint) -> Network:
    tensors = (
        zeroed(checkpoint, checkpoint.masks, {})
        if checkpoint.weights
        else {name: mask.float() for name, mask in checkpoint.masks.items()}
    )
    chained = build_chain(tensors, checkpoint.place)
    masks = {} if checkpoint.form == "zeros" else {n: Mask.of(mask.numpy()) for n, mask in checkpoint.masks.items()}
    return replace(
        chained, masks=masks, weights=checkpoint.weights, by_zeros=checkpoint.by_zeros,
        notes=(*checkpoint.notes, *chained.notes),
    )  # fmt: skip


def _bare_chain(opened: OpenCheckpoint, progress: Progress | None) -> Network:
    """A chain on the meta device, by the shapes of a checkpoint's kernels and biases."""
    tensors = {name: make() for name, make in opened.others.items()}
    tensors.update({name: torch.empty(tensors[name].shape, device="meta") for name in tensors if name.endswith("bias")})
    kernels = {
        name: torch.empty(entry.shape, device="meta") if len(entry.shape) > 1 else entry.pattern()
        for name, entry in opened.entries.items()
    }
    chained = build_chain({**kernels, **tensors}, opened.place)
    return replace(
        chained, masks=stream(opened, progress), by_zeros=_by_zeros(opened),
        notes=(*opened.told(), *chained.notes),
    )  # fmt: skip
