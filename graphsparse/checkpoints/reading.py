"""Masks and weights of any file, under the names that the model gives its parameters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from graphsparse.checkpoints.boundary import refusing
from graphsparse.checkpoints.content import WHOLE, Part
from graphsparse.checkpoints.names import shown, unknown
from graphsparse.checkpoints.opening import OpenCheckpoint, Source, open_checkpoint, shapes_of
from graphsparse.kernels.masks import unpack
from graphsparse.kernels.threads import each


class PartialMatch(UserWarning):
    """A file's masks and a model's parameters match in part; the text lists both sides."""


@dataclass(frozen=True, eq=False)
class Checkpoint(OpenCheckpoint):
    """A checkpoint whose masks are read.

    Its ``weights`` are without any pruning reparametrisation, and made when asked for, so that the weights of a large
    file are not all in memory. A weight of ``prune`` and its kin is the unpruned original.

    Attributes:
        masks: {parameter: bool tensor}, True = kept.
    """

    masks: Mapping[str, torch.Tensor] = field(default_factory=dict)


def read_checkpoint(
    source: Source,
    *,
    form: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    by_order: bool = False,
    part: Part = WHOLE,
) -> Checkpoint:
    """Returns the masks of a checkpoint, with what was left out on both sides. Nothing in the file is executed.

    Args:
        source: a file, a folder, an index of shards, or the content itself: a state dict, a table or list of masks.
        form: the form to read it in (``FORMS`` lists them); by default it is told from the content.
        parameters: the model's parameters, {name: shape, or anything with a ``shape``}; then names are matched
            (equal; or equal but for ``module.``, ``_orig_mod.`` or one common prefix) and shapes are checked.
        by_order: match by order where the file has no names, or none in common; all shapes must fit.
        part: which of the file's tensors are meant.

    Raises:
        CheckpointError: the file is damaged, of no form or of several, or could be read only by running code.
        MaskError: a mask holds other values than 0 and 1, or fits no weight; or no name is a parameter's.

    Example:
        >>> checkpoint = read_checkpoint({"fc.weight_orig": torch.ones(1, 2), "fc.weight_mask": torch.tensor([[1.0, 0.0]])})
        >>> checkpoint.form, checkpoint.masks
        ('prune', {'fc.weight': tensor([[ True, False]])})
    """
    return read_opened(open_checkpoint(source, form=form, parameters=parameters, by_order=by_order, part=part))


def read_opened(checkpoint: OpenCheckpoint) -> Checkpoint:
    """Returns an opened checkpoint with its masks, in the file's order; errors as for ``read_checkpoint``.

    Bits are read on several threads, since one core computes each check sum.
    """
    packed = [name for name, entry in checkpoint.entries.items() if entry.words is not None]
    work = sum(math.prod(checkpoint.entries[name].shape) // 8 for name in packed)
    words = dict(each(lambda name: (name, checkpoint.words(name)), packed, work))
    masks = {}
    for name, entry in checkpoint.entries.items():
        bits = words.pop(name) if name in words else checkpoint.words(name)
        with refusing(f"{name} in {checkpoint.place}"):
            masks[name] = torch.from_numpy(unpack(bits, entry.shape))
    return Checkpoint(**{**vars(checkpoint), "notes": checkpoint.told(), "not_finite": {}}, masks=masks)


def read_masks(
    path_or_mapping: Source,
    *,
    form: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    by_order: bool = False,
    key: str | None = None,
    ignore: str | Iterable[str] = (),
    prefix: str | None = None,
) -> dict[str, torch.Tensor]:
    """Returns {parameter: bool tensor, True = kept} of a checkpoint in any form.

    Args:
        path_or_mapping, form, parameters, by_order: as for ``read_checkpoint``.
        key: the entry of the file that is meant, where it holds several models (``"model_ema"``, ``"nets/G"``).
        ignore: patterns of names to leave out, as ``"criterion.*"``; one or several.
        prefix: take only the names that begin so, and leave that beginning out (``"net."``).

    Names are those of ``model.named_parameters()`` without any pruning reparametrisation. Where a model's parameters
    are given and the match is not complete, a ``PartialMatch`` warning lists both sides; where nothing matches, an
    error does.

    Example:
        >>> read_masks({"fc.weight": torch.tensor([[0.5, 0.0]])})
        {'fc.weight': tensor([[ True, False]])}
    """
    part = Part.of(key, ignore, prefix)
    checkpoint = read_checkpoint(path_or_mapping, form=form, parameters=parameters, by_order=by_order, part=part)
    tell_partial(checkpoint, parameters)
    return dict(checkpoint.masks)


def tell_partial(checkpoint: Checkpoint | OpenCheckpoint, parameters: Mapping[str, Any] | None) -> None:
    """Warns where masks of the file fit no parameter, or kernels of the model have no mask."""
    if parameters is None:
        return
    shapes = shapes_of(parameters)
    kernels = [name for name in checkpoint.missing if len(shapes[name]) > 1]
    strange = unknown(checkpoint.ignored)
    if not kernels and not strange:
        return
    parts = [f"the file's {shown(strange)} are no parameters of the model"] if strange else []
    parts += [f"the model's {shown(kernels)} have no mask in the file"] if kernels else []
    warnings.warn("; ".join(parts), PartialMatch, stacklevel=3)
