"""Whether a checkpoint fits a model: what either has that the other lacks, said of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch.export import ExportedProgram

from graphsparse.checkpoints import OpenCheckpoint
from graphsparse.checkpoints.names import shown, unknown
from graphsparse.errors import ModelError
from graphsparse.networks.models import Model, parameters_of

EXTRA = "not in the model"


def check_fit(model: Model, shapes: Mapping[str, Sequence[int]], place: str) -> None:
    own = _state_of(model)
    covered = _tied(model, list(shapes))
    missing, extra = [n for n in own if n not in covered], [n for n in shapes if n not in own]
    wrong = [
        f"{n} {tuple(shapes[n])} for {tuple(own[n].shape)}"
        for n in own
        if n in shapes and tuple(own[n].shape) != tuple(shapes[n])
    ]
    if missing or extra or wrong:
        raise misfit(place, {"missing": missing, EXTRA: extra, "of another shape": wrong})


def misfit(place: str, sides: Mapping[str, Sequence[str]]) -> ModelError:
    """The error of a checkpoint that is not its model's; ``sides`` are lists of names by what is wrong with them."""
    wrong = {what: names for what, names in sides.items() if names}
    too_much = wrong.get(EXTRA, ()) if len(wrong) == 1 else ()
    way_out = (
        f"leave it out: ignore={too_much[0]!r}" if too_much else "name the model that the checkpoint was saved from"
    )
    received = "; ".join(f"{what}: {shown(names)}" for what, names in wrong.items())
    return ModelError(
        "a checkpoint must have the tensors of its model", place=place, received=received, way_out=way_out
    )


def told(model: Model, masks: Iterable[str], strange: Sequence[str]) -> list[str]:
    """What does not match, on both sides."""
    notes, lacking = [], without_mask(model, masks)
    if lacking:
        notes.append(f"Without a mask in the file, counted as wholly kept: {shown(lacking)}.")
    if strange:
        notes.append(f"In the file, not in the model: {shown(strange)}.")
    return notes


def without_mask(model: Model, masks: Iterable[str]) -> list[str]:
    covered = _tied(model, list(masks))
    return [name for name, tensor in parameters_of(model).items() if tensor.dim() > 1 and name not in covered]


def strangers(model: Model, opened: OpenCheckpoint) -> list[str]:
    """The file's tensors that the model does not have, buffers and biases too."""
    own = _state_of(model)
    return list(dict.fromkeys([*unknown(opened.ignored), *(name for name in opened.others if name not in own)]))


def absent(model: Model, opened: OpenCheckpoint) -> list[str]:
    """The model's biases and scales that the file does not have."""
    covered = _tied(model, [*opened.entries, *opened.others])
    return [name for name, tensor in parameters_of(model).items() if tensor.dim() < 2 and name not in covered]


def _tied(model: Model, names: Iterable[str]) -> set[str]:
    """The names, and all others of the same parameters."""
    parameters = parameters_of(model)
    same = {id(parameters[name]) for name in names if name in parameters}
    return {*names, *(name for name, parameter in parameters.items() if id(parameter) in same)}


def _state_of(model: Model) -> Mapping[str, torch.Tensor]:
    return model.state_dict if isinstance(model, ExportedProgram) else model.state_dict()
