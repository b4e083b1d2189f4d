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
from graphsparse.capture.parameters import Shared
from graphsparse.checkpoints import WHOLE, Checkpoint, OpenCheckpoint, Part, open_checkpoint, read_checkpoint
from graphsparse.checkpoints.boundary import refusing
from graphsparse.checkpoints.checks import nonzero
from graphsparse.checkpoints.content import look_into
from graphsparse.checkpoints.opening import Translation, place_of
from graphsparse.checkpoints.opening import opened as archive_of
from graphsparse.errors import ModelError
from graphsparse.kernels.masks import Mask
from graphsparse.networks.chain import build_chain
from graphsparse.networks.filling import (
    by_parameter,
    check_fit,
    check_masked,
    differences,
    load_model,
    strangers,
    zeroed,
)
from graphsparse.networks.known import Known, Watched, known_of
from graphsparse.networks.models import Model, checked, make_bare, make_model, parameters_of, read_program
from graphsparse.networks.pretrained import ANY_SIZE, Beside, build_pretrained, is_pretrained
from graphsparse.networks.translation import translation

Progress = Callable[[int, int], None]
Opening = Callable[..., OpenCheckpoint]


def load_network(
    source: Any,
    model: Any = None,
    *,
    form: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    weightless: bool = False,
    progress: Progress | None = None,
    part: Part = WHOLE,
    trust_sizes: bool = False,
    cache: bool = False,
) -> Network:
    """A checkpoint's network: that of the given model, or without one that which the checkpoint itself describes.

    Args:
        source: a file, folder or state dict; weights, masks, or both. A ``.pt2`` archive and a transformers folder need
            no model.
        model: a module, a program, or a name of one (see `graphsparse.networks.models`), or "chain".
        form: as for `graphsparse.checkpoints.read_checkpoint`.
        arguments: keyword arguments of the factory.
        weightless: weights are not wanted, only masks. Then a chain is built on the meta device, and so is a factory's
            model where that is safe. For every model there each tensor is read once and held as bits, so that a
            checkpoint may be larger than memory.
        progress: called with (bytes read, bytes in all) where tensors are read one by one.
        part: which of the file's tensors are meant.
        trust_sizes: build the model of a ``config.json`` or a ``.pt2`` archive however much larger than the file it is.
        cache: keep what a folder's network is read as in the user's cache, and find it there again. The model is then
            built only when it has to be captured.

    Raises:
        ModelError: the name leads to no model, or model and checkpoint do not fit; both sides are listed.
        CheckpointError, MaskError: a file is damaged, would have to run code, or its masks are none.
    """
    if model is None and is_pretrained(source):
        model = source
    if model is None:
        return replace(_of_program(source, form, trust_sizes), title=title_of(source))
    model = checked(model, place_of(source))
    opening = partial(open_checkpoint, source, form=form, part=part)
    reading = partial(read_checkpoint, source, form=form, part=part)
    if model == "chain":
        found = _bare_chain(opening(), progress) if weightless else _chained(reading())
    elif is_pretrained(model):
        known = known_of(model, source, part, {"form": form, "trust_sizes": trust_sizes}) if cache else None
        rebuild = partial(build_pretrained, model, ANY_SIZE if trust_sizes else _beside(source, part))
        found = replace(_of_folder(rebuild, known, opening, progress), resolution="channel")
    else:
        found = _of_model(model, arguments or {}, weightless, trust_sizes, opening, reading, progress)
    return replace(found, title=title_of(source))


def _of_program(source: Any, form: str | None, trust_sizes: bool) -> Network:
    """The network of a ``.pt2`` archive, which is its own model. Raises ModelError for any other source."""
    is_path = isinstance(source, (str, os.PathLike))
    if is_path and not os.path.exists(source):
        open_checkpoint(source)  # raises what is wrong: the file is not there, rather than its model not named
    if not is_path or not str(source).endswith(".pt2"):
        raise ModelError(
            "the network must be known for effective sparsity, not only its tensors",
            place=place_of(source), received="no model",
            way_out="give model=, which is package.module:factory, a .pt2 file, chain, or none for direct sparsity alone",
        )  # fmt: skip
    if form not in (None, "zeros"):
        raise ModelError(
            "the weights of a .pt2 archive must be read as zeros", place=str(source), received=f"form {form!r}",
            way_out="leave form= out",
        )  # fmt: skip
    return network_of(read_program(str(source), trust_sizes))


def _of_model(
    model: str | Model,
    arguments: Mapping[str, Any],
    weightless: bool,
    trust_sizes: bool,
    opening: Opening,
    reading: Callable[..., Checkpoint],
    progress: Progress | None,
) -> Network:
    """The network of a checkpoint and a module, a program, or the name of one."""
    if isinstance(model, str) and model.endswith(".pt2"):
        model = read_program(model, trust_sizes)
    elif isinstance(model, str):
        bare = make_bare(model, arguments) if weightless else None
        if bare is not None and (opened := _opened(opening, bare)).has_weights:
            check_fit(bare, opened.all_shapes, opened.place)
            return _on_meta(bare, opened, progress)
        model = make_model(model, arguments)
    parameters = parameters_of(model)
    if any(tensor.is_meta for tensor in parameters.values()):
        return _on_meta(model, _opened(opening, model), progress)
    return load_model(model, reading(parameters=parameters))


def _opened(opening: Opening, model: Model, translate: Translation | None = None) -> OpenCheckpoint:
    return opening(parameters=parameters_of(model), translate=translate or translation(model))


def _of_folder(
    rebuild: Callable[..., tuple[nn.Module, dict[str, Any] | None]],
    known: Known | None,
    opening: Opening,
    progress: Progress | None,
) -> Network:
    """The network of a transformers folder. If it is known, a model of its names and shapes stands in for its own."""
    stand_in, inputs = None if known is None else known.stand_in(), None
    if stand_in is not None:
        found = _on_meta(stand_in, _opened(opening, stand_in), progress)
    else:
        model, inputs = rebuild()
        watched = Watched(translation(model))
        found = _on_meta(model, _opened(opening, model, watched), progress)
        known = None if known is None or watched.changed else known.of_model(model)
    return replace(found, rebuild=rebuild, kwargs=inputs or {}, stand_in=stand_in is not None, known=known)


def _beside(source: Any, part: Part) -> Beside:
    """How many tensors a checkpoint has, and their longest axis, unread."""
    with refusing(place_of(source)):
        tensors = look_into(archive_of(source), part).tensors.values()
    return Beside(len(tensors), max((max(tensor.shape, default=1) for tensor in tensors), default=1))


def _on_meta(model: Model, opened: OpenCheckpoint, progress: Progress | None) -> Network:
    """A model without weights under the masks of a checkpoint, as bits."""
    check_masked(model, opened.shapes, opened.ignored, opened.place)
    biases = [*opened.entries, *opened.others] if opened.has_weights else None
    notes = differences(model, opened.shapes, strangers(model, opened.ignored, opened.others), biases)
    masks, zeros = stream(opened, progress), _by_zeros(opened)
    found = by_parameter(model, masks, zeros) if opened.has_weights else Shared(masks, {})
    return replace(
        network_of(model), masks=found.masks, weights=opened.weights, notes=(*opened.told(), *notes),
        uses=found.uses, by_zeros=zeros,
    )  # fmt: skip


def _by_zeros(opened: OpenCheckpoint) -> frozenset[str]:
    """The names whose masks `stream` reads off zeros: no mask of the file says them."""
    return opened.by_zeros | set(opened.others)


def stream(opened: OpenCheckpoint, progress: Progress | None = None) -> dict[str, Any]:
    """The masks of a checkpoint as bits; of biases and scales, which entries are not zero. Each tensor is read once."""
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
    tensors = zeroed(checkpoint, checkpoint.masks, {}) or {
        name: mask.float() for name, mask in checkpoint.masks.items()
    }
    chained = build_chain(tensors, checkpoint.place)
    masks = {} if checkpoint.form == "zeros" else {n: Mask.of(mask.numpy()) for n, mask in checkpoint.masks.items()}
    return replace(
        chained, masks=masks, weights=checkpoint.weights, by_zeros=checkpoint.by_zeros,
        notes=(*checkpoint.notes, *chained.notes),
    )  # fmt: skip


def _bare_chain(opened: OpenCheckpoint, progress: Progress | None) -> Network:
    """A chain on the meta device: kernels and biases have shapes, and other tensors their values."""
    tensors = {
        name: torch.empty(entry.shape, device="meta") if len(entry.shape) > 1 else entry.pattern()
        for name, entry in opened.entries.items()
    }
    for name, make in opened.others.items():
        tensors[name] = torch.empty(make().shape, device="meta") if name.endswith("bias") else make()
    chained = build_chain(tensors, opened.place)
    return replace(
        chained, masks=stream(opened, progress), by_zeros=_by_zeros(opened),
        notes=(*opened.told(), *chained.notes),
    )  # fmt: skip
