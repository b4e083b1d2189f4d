"""Where the digits and the pruned checkpoints of ``data/`` lie, in a checkout and in an installed package."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np

from graphsparse.errors import CheckpointError

CHECKPOINTS = {
    "digits-mlp-50x.pt": "digits_mlp",
    "digits-mlp-200x.pt": "digits_mlp",
    "digits-conv-50x.safetensors": "digits_conv",
    "digits-conv-200x.pt": "digits_conv",
}
"""The checkpoints, each with the name of its network in ``graphsparse.zoo``."""


def path(name: str) -> Path:
    """Where a file of ``data/`` lies: beside the package in a checkout, else where the installer put it.

    Raises CheckpointError if it is in neither place. The installer's record is asked, since schemes differ
    (virtual environment, ``--user``, ``--prefix``); ``--target`` moves files beside the package after recording them.

    Example:
        >>> path("digits.npz").name
        'digits.npz'
    """
    beside = Path(__file__).resolve().parents[1]
    for candidate in (beside / "data" / name, beside / "share" / "graphsparse" / name, *_installed(name)):
        if candidate.is_file():
            return candidate
    raise CheckpointError(
        "the demo's files must be there: they come with the package", place="data", received=repr(name),
        way_out="install graphsparse with pip, or run from a checkout that has data/",
    )  # fmt: skip


def digits(part: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Read the handwritten digits: images (n, 1, 8, 8), float32 from 0 to 1, and labels (n,), int64.

    ``part`` is "train" (1,297 images) or "test" (500). Source and licence: ``data/README.md``.

    Example:
        >>> images, labels = digits("test")
        >>> images.shape, labels.shape
        ((500, 1, 8, 8), (500,))
    """
    with np.load(path("digits.npz")) as archive:
        images, labels = archive[f"{part}_images"], archive[f"{part}_labels"]
    return images[:, None].astype(np.float32) / 16, labels.astype(np.int64)


def _installed(name: str) -> list[Path]:
    try:
        files = metadata.files("graphsparse") or []
    except metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())).resolve() for file in files if file.parts[-3:] == ("share", "graphsparse", name)]
