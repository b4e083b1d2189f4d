"""A compacted model as files: weights, the map of units, a program, and for a transformers folder its configuration."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graphsparse.checkpoints import write_checkpoint
from graphsparse.checkpoints.atomic import replacing
from graphsparse.compaction.compacted import Compacted
from graphsparse.errors import CheckpointError, GraphsparseError, brief
from graphsparse.networks.configuration import CONFIG
from graphsparse.networks.models import named_tensors
from graphsparse.networks.pretrained import build_pretrained
from graphsparse.surgery.checking import Inputs

WIDTHS = (
    "intermediate_size", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "n_inner", "hidden_dim",
    "moe_intermediate_size", "shared_expert_intermediate_size",
)  # fmt: skip
"""The entries of a transformers configuration that say the widths of feed-forward layers, one for all layers."""
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".index.json")


def save(compacted: Compacted, folder: Path, inputs: Inputs) -> list[Path]:
    """Write ``model.safetensors``, ``map.json``, ``report.json`` and ``model.pt2`` into a folder, each in one step.

    ``inputs`` are what the program is exported for. Returns what was written.

    Raises:
        CheckpointError: the folder cannot be written; or torch cannot export the model.
    """
    contents = {
        "map.json": json.dumps(_map_of(compacted)).encode(), "report.json": compacted.report.to_json().encode(),
        "model.pt2": _program(compacted.model, inputs),
    }  # fmt: skip
    write_checkpoint(folder / "model.safetensors", _state(compacted.model), {}, form="zeros")
    for name, content in contents.items():
        _write(folder / name, content)
    return [folder / name for name in ("model.safetensors", *contents)]


def _map_of(compacted: Compacted) -> dict[str, dict[str, Any]]:
    """The map of units as plain lists: for each tensor its old shape, its new one, and the indices that each axis keeps.

    An axis that keeps all of its indices has null. A tensor with a new name has its old one as ``name``.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in named_tensors(compacted.masked)}
    found: dict[str, dict[str, Any]] = {}
    for name, index in compacted.unit_map.items():
        shape = shapes.get(compacted.names.get(name, name))
        kept = [None if shape and len(at) == shape[axis] else at.tolist() for axis, at in enumerate(index)]
        found[name] = {"shape": shape and list(shape), "new_shape": [len(at) for at in index], "kept": kept}
        if name in compacted.names:
            found[name]["name"] = compacted.names[name]
    return found


@contextmanager
def making(folder: Path) -> Iterator[None]:
    """Make a folder where it is not there. Where the block fails and the folder is new and empty, it is removed again.

    Raises CheckpointError where it cannot be made.
    """
    new = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            "a folder must be writable, inside a folder that is there", place=str(folder), received=error.strerror
        ) from error
    try:
        yield
    except BaseException:
        if new:
            with suppress(OSError):
                folder.rmdir()
        raise


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def _program(model: nn.Module, inputs: Inputs) -> bytes:
    """The model as an archive of torch.export, in evaluation mode."""
    buffer = io.BytesIO()
    training = {module: module.training for module in model.modules()}
    try:
        program = torch.export.export(model.eval(), inputs.args, dict(inputs.kwargs), strict=False)
        torch.export.save(program, buffer)
    except Exception as error:
        raise CheckpointError("a compacted model must be one that torch can export", received=brief(error)) from error
    finally:
        for module, mode in training.items():
            module.training = mode
    return buffer.getvalue()


def sayable(model: nn.Module, config: Mapping[str, Any]) -> list[str]:
    """The parameters whose widths a configuration does not say. They must stay as wide."""
    widths = set(_widths(config).values())
    known = widths | {2 * width for width in widths}  # two kernels in one, for gates
    kernels = {name: set(each.shape) for name, each in model.named_parameters() if each.dim() > 1}
    return [name for name, shape in kernels.items() if not known & shape]


def _widths(config: Mapping[str, Any]) -> dict[str, int]:
    """The widths that a configuration says; null is four times the stream's width, as in GPT-2."""
    stream = config.get("n_embd") or config.get("hidden_size")
    said = {key: config[key] for key in WIDTHS if key in config}
    found = {key: 4 * stream if held is None and type(stream) is int else held for key, held in said.items()}
    return {key: held for key, held in found.items() if type(held) is int}


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """A folder's configuration as its file has it. Call it after a model was built of it, which checks it."""
    return dict(json.loads((Path(folder) / CONFIG).read_text()))


def save_pretrained(compacted: Compacted, source: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Put the configuration beside a compacted model's weights, so that transformers loads the folder.

    Where the configuration cannot say the new widths, the whole masked model's weights and the old configuration are
    written instead. What else lies in the source folder (a tokenizer) is copied. Returns whether the small model is there.
    """
    place, config = Path(folder), read_config(source)
    smaller = {**config, **_new_widths(compacted, config)}
    fits = _fits(smaller, compacted.model)
    if not fits:
        write_checkpoint(place / "model.safetensors", _state(compacted.masked), {}, form="zeros")
    _write(place / CONFIG, json.dumps(smaller if fits else config, indent=2).encode())
    for path in sorted(Path(source).iterdir()):
        other = path.is_file() and path.name != CONFIG and not path.name.endswith(WEIGHTS)
        if other and not (place / path.name).exists():
            shutil.copyfile(path, place / path.name)
    return fits


def _new_widths(compacted: Compacted, config: Mapping[str, Any]) -> dict[str, int]:
    """The new width for each entry of the configuration, where all axes of the old width agree on one."""
    shapes = {name: tuple(tensor.shape) for name, tensor in named_tensors(compacted.masked)}
    axes = [(shapes[name][axis], len(at)) for name, index in compacted.unit_map.items() if name in shapes
            for axis, at in enumerate(index)]  # fmt: skip
    new = {key: {after for before, after in axes if after < before == old} for key, old in _widths(config).items()}
    return {key: sizes.pop() for key, sizes in new.items() if len(sizes) == 1}


def _fits(config: Mapping[str, Any], model: nn.Module) -> bool:
    """Whether transformers builds, of a configuration, a model whose tensors have the shapes that they have here."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / CONFIG).write_text(json.dumps(dict(config)))
        try:
            built, _ = build_pretrained(folder)
        except GraphsparseError:
            return False
    one, two = ({name: tensor.shape for name, tensor in each.state_dict().items()} for each in (built, model))
    return one == two
