"""A good file of every form, and damaged copies of it; `hostile.py` reads many of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from graphsparse.checkpoints import read_checkpoint, write_masks_file
from graphsparse.errors import GraphsparseError

SHAPES = {"first.weight": (12, 8), "first.bias": (12,), "last.weight": (4, 12), "last.bias": (4,)}
SLOWEST = 10.0  # seconds that one file may take, far above any honest one

Mutation = Callable[[bytearray, np.random.Generator], bytearray]


@dataclass(frozen=True)
class Outcome:
    """What became of the mutations of one form."""

    read: int
    refused: int
    slowest: float


def weights_and_masks(seed: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A small network's weights, none of them zero, and masks of its kernels."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.rand(shape, generator=generator) + 0.5 for name, shape in SHAPES.items()}
    masks = {name: torch.rand(w.shape, generator=generator) < 0.5 for name, w in weights.items() if w.dim() > 1}
    return weights, masks


def samples(folder: Path) -> dict[str, Path]:
    """Writes one good file of every form and every kind of file, and returns them by form."""
    weights, masks = weights_and_masks()
    found = {}
    for form, suffix in (
        ("zeros", "safetensors"), ("zeros", "pt"), ("prune", "pt"), ("parametrization", "safetensors"),
        ("bits", "safetensors"), ("openlth", "pth"), ("csr", "npz"), ("sparse-bitmask", "safetensors"),
    ):  # fmt: skip
        found[f"{form}-{suffix}"] = folder / f"{form}.{suffix}"
        write_masks_file(found[f"{form}-{suffix}"], masks, form=form, weights=weights)
    for name, content in _torch_contents(weights, masks).items():
        found[name] = folder / f"{name}.pth"
        torch.save(content, found[name])
    found["legacy"] = folder / "legacy.pt"
    torch.save(weights, found["legacy"], _use_new_zipfile_serialization=False)
    found.update(_numpy_files(folder, masks))
    found["pt2"] = folder / "program.pt2"
    network = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4))
    torch.export.save(torch.export.export(network, (torch.zeros(1, 8),)), found["pt2"])
    found["index"] = _shards(folder / "shards", weights)
    return found


def _torch_contents(weights: dict[str, torch.Tensor], masks: dict[str, torch.Tensor]) -> dict[str, object]:
    floats = {name: mask.float() for name, mask in masks.items()}
    return {
        "weight-mask": {**weights, **{f"{name}_mask": mask for name, mask in floats.items()}},
        "module-mask": {**weights, **{name.replace("weight", "mask"): mask for name, mask in floats.items()}},
        "nncf": {
            **weights,
            **{name.replace("weight", "pre_ops.0.op._binary_mask"): mask for name, mask in floats.items()},
        },
        "openlth-model": {
            **{f"model.{name}": weight for name, weight in weights.items()},
            **{f"mask_{name.replace('.', '___')}": mask for name, mask in floats.items()},
        },
        "nni": {name.removesuffix(".weight"): {"weight": mask, "bias": None} for name, mask in floats.items()},
        "rigl": {"backward_masks": [None, masks["last.weight"]], "step": 3},
        "coo": {name: (weights[name] * mask).to_sparse_coo() for name, mask in masks.items()},
        "csr-tensors": {name: (weights[name] * mask).to_sparse_csr() for name, mask in masks.items()},
        "wrapped": {"epoch": 3, "state_dict": {f"module.{name}": weight for name, weight in weights.items()}},
    }


def _numpy_files(folder: Path, masks: dict[str, torch.Tensor]) -> dict[str, Path]:
    arrays = [mask.numpy() for mask in masks.values()]
    names = ("list", "compressed", "keras", "jaxpruner")
    found = {name: folder / f"{name}.npz" for name in names} | {"npy": folder / "one.npy"}
    np.savez(found["list"], *arrays)
    np.savez_compressed(found["compressed"], *arrays)
    keras: dict[str, Any] = {name.replace(".weight", "/kernel"): mask.T for name, mask in zip(masks, arrays)}
    flat: dict[str, Any] = {name: np.packbits(mask) for name, mask in zip(masks, arrays)}
    np.savez(found["keras"], **keras)
    np.savez(found["jaxpruner"], **flat)
    np.save(found["npy"], arrays[-1].astype(np.int64))
    return found


def _shards(folder: Path, weights: dict[str, torch.Tensor]) -> Path:
    folder.mkdir()
    for name in weights:
        write_masks_file(
            folder / f"{name}.safetensors", {name: weights[name] > 0}, form="zeros", weights={name: weights[name]}
        )
    entries = ", ".join(f'"{name}": "{name}.safetensors"' for name in weights)
    index = folder / "model.safetensors.index.json"
    index.write_text(f'{{"metadata": {{}}, "weight_map": {{{entries}}}}}')
    return index


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """Anywhere, but mostly where headers and directories lie."""
    near = int(rng.integers(0, min(len(data), 2048)))
    places = np.array([near, len(data) - 1 - near, rng.integers(0, len(data))])
    return int(rng.choice(places, p=[0.45, 0.3, 0.25]))


def flip(data: bytearray, rng: np.random.Generator) -> bytearray:
    for _ in range(rng.integers(1, 4)):
        data[_place(data, rng)] ^= 1 << int(rng.integers(0, 8))
    return data


def overwrite(data: bytearray, rng: np.random.Generator) -> bytearray:
    at, length = _place(data, rng), int(rng.integers(1, 9))
    data[at : at + length] = rng.bytes(length)
    return data


def largest(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = _place(data, rng)
    data[at : at + 8] = b"\xff" * int(rng.integers(1, 9))
    return data


def truncate(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(0, len(data)))]


def cut_out(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = _place(data, rng)
    del data[at : at + int(rng.integers(1, 65))]
    return data


def repeat(data: bytearray, rng: np.random.Generator) -> bytearray:
    at, length = _place(data, rng), int(rng.integers(1, 65))
    return data[:at] + data[at : at + length] * int(rng.integers(2, 5)) + data[at + length :]


def swap_ends(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = _place(data, rng) // 8 * 8
    data[at : at + 8] = data[at : at + 8][::-1]
    return data


def change_digits(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Sizes and offsets in text: another digit, or many more of them."""
    digits = [at for at, octet in enumerate(data[:4096]) if chr(octet).isdigit()]
    if not digits:
        return flip(data, rng)
    at = int(rng.choice(digits))
    data[at : at + 1] = str(rng.integers(0, 10)).encode() * int(rng.choice([1, 1, 1, 8, 30]))
    return data


MUTATIONS: tuple[Mutation, ...] = (
    flip, flip, overwrite, largest, truncate, cut_out, repeat, swap_ends, change_digits,
)  # fmt: skip


def mutants(good: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yields ``count`` damaged copies, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(good)
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            data = MUTATIONS[rng.integers(len(MUTATIONS))](data, rng) if data else data
        yield bytes(data)


def read_mutant(path: Path) -> bool:
    """Whether a file was read; an error of the package is False, and anything else comes through."""
    try:
        checkpoint = read_checkpoint(path, parameters=SHAPES, by_order=True)
        for name, mask in checkpoint.masks.items():
            assert mask.dtype == torch.bool and tuple(mask.shape) == SHAPES[name], name
        for weight in checkpoint.weights.values():
            weight.numel()
    except GraphsparseError as error:
        assert str(error).isprintable(), str(error)
        return False
    return True


def fuzz(path: Path, count: int, seed: int) -> Outcome:
    """Reads ``count`` mutants of a good file, which is left as it was unless one fails."""
    good, read, slowest = path.read_bytes(), 0, 0.0
    for data in mutants(good, count, seed):
        path.write_bytes(data)
        start = time.perf_counter()
        read += read_mutant(path)
        slowest = max(slowest, time.perf_counter() - start)
        assert slowest < SLOWEST, f"{slowest:.1f} s"
    path.write_bytes(good)
    return Outcome(read, count - read, slowest)
