"""The shipped data: sizes, licence, the digits themselves, and what each checkpoint holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from graphsparse import data, zoo
from graphsparse.errors import CheckpointError

KEPT = {
    "digits-mlp-50x.pt": 1004, "digits-mlp-200x.pt": 251, "digits-conv-50x.safetensors": 1124, "digits-conv-200x.pt": 281,
}  # fmt: skip
"""Connections over compression: 50,200 of the fully connected network, 56,224 of the convolutional one."""

WITH_MASKS = {"digits-mlp-50x.pt", "digits-conv-200x.pt"}
ACCURATE = {"digits-mlp-50x.pt": 0.884, "digits-mlp-200x.pt": 0.826, "digits-conv-50x.safetensors": 0.918}
"""Of data/README.md. The fourth has collapsed and is kept as the example of it."""


def stored(name: str) -> dict[str, torch.Tensor]:
    path = data.path(name)
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


def resolved(name: str) -> dict[str, torch.Tensor]:
    """The state dict with every X_orig times its X_mask, by hand."""
    state = stored(name)
    for key in [key for key in state if key.endswith("_orig")]:
        state[key[:-5]] = state.pop(key) * state.pop(key[:-5] + "_mask")
    return state


def test_digits_are_those_of_scikit_learn():
    source = pytest.importorskip("sklearn.datasets").load_digits()
    parts = [data.digits(part) for part in ("train", "test")]
    images, labels = (np.concatenate(pair) for pair in zip(*parts, strict=True))
    np.testing.assert_array_equal(images[:, 0] * 16, source.images)
    np.testing.assert_array_equal(labels, source.target)


def test_digits_have_the_split_shapes_and_types_that_are_promised():
    for part, count in (("train", 1297), ("test", 500)):
        images, labels = data.digits(part)
        assert (
            images.shape == (count, 1, 8, 8) and images.dtype == np.float32 and (images.min(), images.max()) == (0, 1)
        )
        assert labels.shape == (count,) and labels.dtype == np.int64 and set(labels) == set(range(10))


@pytest.mark.parametrize("name", list(KEPT))
def test_a_checkpoint_keeps_what_its_compression_says(name):
    kernels = [tensor for tensor in resolved(name).values() if tensor.dim() > 1]
    assert sum(int(kernel.count_nonzero()) for kernel in kernels) == KEPT[name]


@pytest.mark.parametrize("name", list(KEPT))
def test_a_checkpoint_carries_its_mask_in_the_form_that_the_readme_names(name):
    masks = [key for key in stored(name) if key.endswith("_mask")]
    assert bool(masks) == (name in WITH_MASKS)
    if masks:  # the masked weights are still there under the mask: only the mask tells
        assert all(bool((stored(name)[key[:-5] + "_orig"][stored(name)[key] == 0] != 0).any()) for key in masks)


@pytest.mark.parametrize("name", list(KEPT))
def test_a_checkpoint_fits_its_network_and_has_the_accuracy_of_the_readme(name):
    model = zoo.build(data.CHECKPOINTS[name]).eval()
    model.load_state_dict(resolved(name))
    images, labels = map(torch.from_numpy, data.digits("test"))
    with torch.no_grad():
        accuracy = float((model(images).argmax(1) == labels).double().mean())
    assert accuracy == pytest.approx(ACCURATE.get(name, 0.1), abs=0.005)


@pytest.mark.parametrize("name", list(KEPT))
def test_shifts_are_there_so_that_constants_are_something_to_fold(name):
    shifts = [tensor for key, tensor in stored(name).items() if key.endswith("bias")]
    assert shifts and all(bool(shift.any()) for shift in shifts)


def test_no_file_is_larger_than_a_megabyte_and_the_readme_says_where_all_come_from():
    folder = data.path("README.md").parent
    text = (folder / "README.md").read_text()
    assert max(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    assert "CC BY 4.0" in text and "10.24432/C50P49" in text and all(name in text for name in [*KEPT, "digits.npz"])


def test_a_missing_file_is_refused_with_the_way_out():
    with pytest.raises(CheckpointError, match=r"received 'nothing.pt'. Way out: install graphsparse with pip"):
        data.path("nothing.pt")


@pytest.mark.parametrize("share", ["share", "lib/site/share"], ids=["recorded", "target"])
def test_an_installed_file_is_found_where_the_installer_put_it(tmp_path, share):
    """Far from any checkout: a package folder whose record, as pip writes it, names the file in share/graphsparse."""
    site, shared = tmp_path / "lib" / "site", tmp_path / share / "graphsparse"
    info = site / "graphsparse-0.1.0.dist-info"
    for folder in (site / "graphsparse", shared, info):
        folder.mkdir(parents=True)
    for module in ("data.py", "errors.py"):
        (site / "graphsparse" / module).write_bytes((Path(data.__file__).parent / module).read_bytes())
    (site / "graphsparse" / "__init__.py").touch()
    (shared / "digits.npz").write_bytes(b"here")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: graphsparse\nVersion: 0.1.0\n")
    (info / "RECORD").write_text("graphsparse/__init__.py,,\n../../share/graphsparse/digits.npz,,\n")
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); from graphsparse import data; print(data.path('digits.npz'))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert Path(done.stdout.strip()) == (shared / "digits.npz").resolve()
