"""Checkpoints read and written: forms, wrappers, prefixes, and files that are refused."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils import prune

import graphsparse as gs
from graphsparse.checkpoints import FORMS, read_checkpoint, write_checkpoint
from graphsparse.errors import CheckpointError, GraphsparseError, MaskError
from graphsparse.surgery.models import read_program

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), min_size=2, max_size=5), dtype=st.sampled_from(DTYPES), form=st.sampled_from(list(FORMS)),
    suffix=st.sampled_from(["pt", "safetensors"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_round_trip(tmp_path_factory, shape, dtype, form, suffix, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = (torch.rand(shape, generator=generator) + 0.5).to(dtype).transpose(0, 1)
    mask = torch.rand(weight.shape, generator=generator) < 0.5
    path = tmp_path_factory.mktemp("round") / f"net.{suffix}"
    write_checkpoint(path, {"a.weight": weight, "a.bias": torch.ones(3)}, {"a.weight": mask}, form=form)
    found = read_checkpoint(path)
    assert found.form == (form if form != "zeros" else "zeros")
    assert torch.equal(found.masks["a.weight"], mask) and set(found.masks) == {"a.weight"}
    expected = weight if form == "prune" else torch.where(mask, weight, 0)
    assert torch.equal(found.weights["a.weight"], expected.to(dtype)) and found.weights["a.weight"].dtype == dtype


def test_what_torch_prune_saves_is_read(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    prune.random_unstructured(model[0], "weight", amount=5)
    torch.save(model.state_dict(), tmp_path / "net.pth")
    found = read_checkpoint(tmp_path / "net.pth")
    assert found.form == "prune" and set(found.weights) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert torch.equal(found.masks["0.weight"], model[0].weight_mask.bool()) and bool(found.masks["1.weight"].all())


def test_only_both_marks_make_a_mask():
    found = read_checkpoint({"a.weight_orig": torch.ones(2, 2), "b.weight_mask": torch.zeros(2, 2)})
    assert found.form == "zeros" and set(found.weights) == {"a.weight_orig", "b.weight_mask"}


def test_the_safetensors_library_reads_what_is_written_and_the_other_way(tmp_path):
    tensors = {"a": torch.randn(3, 2), "b": torch.zeros(0, 4), "c": torch.ones((), dtype=torch.bfloat16)}
    write_checkpoint(tmp_path / "ours.safetensors", tensors, {}, form="zeros")
    assert all(torch.equal(load_file(tmp_path / "ours.safetensors")[n], t) for n, t in tensors.items())
    save_file(tensors, tmp_path / "theirs.safetensors")
    assert all(torch.equal(read_checkpoint(tmp_path / "theirs.safetensors").weights[n], t) for n, t in tensors.items())


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_wrappers_and_prefixes(wrapper, prefix):
    inner = {f"{prefix}fc.weight": torch.eye(2), f"{prefix}fc.bias": torch.ones(2)}
    masks = gs.read_masks(inner if wrapper is None else {wrapper: inner, "epoch": 3})
    assert set(masks) == {"fc.weight"} and torch.equal(masks["fc.weight"], torch.eye(2).bool())


def test_nan_and_infinity_are_kept():
    weight = torch.tensor([[float("nan"), 0.0], [-0.0, float("inf")]])
    assert gs.read_masks({"a.weight": weight})["a.weight"].tolist() == [[True, False], [False, True]]


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def bad_files(folder):
    """Files that must be refused, each with a word of the text that says why."""
    weights = {"a.weight": torch.ones(30, 30), "b.weight": torch.zeros(3)}
    torch.save(weights, folder / "good.pt")
    save_file(weights, folder / "good.safetensors")
    whole, safe = (folder / "good.pt").read_bytes(), (folder / "good.safetensors").read_bytes()
    yield "missing.pt", None, "No such file"
    yield "empty.pt", b"", "empty file"
    yield "text.pt", b"weights, weights, weights", "begins with"
    yield "short.pt", whole[: len(whole) // 2], "damaged"
    yield "short.safetensors", safe[:100], "header"
    yield "cut.safetensors", safe[:-8], "within the file"
    yield "long.safetensors", safe + b"12345678", "whole file"
    yield "huge.safetensors", (1 << 50).to_bytes(8, "little") + safe[8:], "header"
    yield "swapped.safetensors", safe[:8][::-1] + safe[8:], "little end first"
    yield "pickle.pt", pickle.dumps({"a": Canary(folder / "canary")}), "code execution"
    torch.save({"a": Canary(folder / "canary")}, folder / "zipped.pt")
    yield "zipped.pt", (folder / "zipped.pt").read_bytes(), "code execution"
    torch.save([1, 2, 3], folder / "list.pt")
    yield "list.pt", (folder / "list.pt").read_bytes(), "tensors by name"
    torch.save({"a.weight_orig": torch.ones(2, 2), "a.weight_mask": torch.ones(3, 2)}, folder / "fit.pt")
    yield "fit.pt", (folder / "fit.pt").read_bytes(), "weight's shape"
    torch.save({"a.weight_orig": torch.ones(2, 2), "a.weight_mask": torch.full((2, 2), float("nan"))}, folder / "nan.pt")
    yield "nan.pt", (folder / "nan.pt").read_bytes(), "0 and 1 alone"
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + bytes(300_000_000))
    yield "bomb.npz", (folder / "bomb.npz").read_bytes(), "unfolds"


def test_bad_files_are_refused_with_one_clear_error(tmp_path):
    for name, content, word in list(bad_files(tmp_path)):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(GraphsparseError) as error:
            read_checkpoint(path)
        assert word in str(error.value) and "\n" not in str(error.value), name
        assert not (tmp_path / "canary").exists(), name


def test_a_loop_of_links_is_refused(tmp_path):
    os.symlink(tmp_path / "b.pt", tmp_path / "a.pt")
    os.symlink(tmp_path / "a.pt", tmp_path / "b.pt")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_mutated_files_are_read_or_refused(tmp_path, suffix):
    path = tmp_path / f"net.{suffix}"
    write_checkpoint(path, {"a.weight": torch.randn(8, 8), "a.bias": torch.ones(8)}, {}, form="zeros")
    good, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        bad = bytearray(good)
        for at in rng.integers(0, min(len(bad), 600), rng.integers(1, 4)):
            bad[at] = rng.integers(0, 256)
        path.write_bytes(bytes(bad[: len(bad) - int(rng.integers(0, 2) * rng.integers(0, len(bad)))]))
        try:
            read_checkpoint(path)
        except GraphsparseError:
            refused += 1
    assert refused > 50


def test_programs_are_read_only_where_nothing_is_run(tmp_path):
    program = torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "good.pt2")
    assert set(read_program(str(tmp_path / "good.pt2")).state_dict) == {"weight", "bias"}
    with zipfile.ZipFile(tmp_path / "good.pt2") as good, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as bad:
        for name in good.namelist():
            content = good.read(name)
            if name.endswith("models/model.json"):
                content = content.replace(b"{", b'{"x": {"expr_str": "__import__(\\"os\\").getpid()"}, ', 1)
            bad.writestr(name, content)
    with pytest.raises(CheckpointError, match="code execution"):
        read_program(str(tmp_path / "bad.pt2"))


def test_writing_refuses_before_it_touches_the_file(tmp_path):
    path = tmp_path / "net.pt"
    path.write_bytes(b"old")
    with pytest.raises(MaskError, match="a mask has a weight of its shape, at a"):
        write_checkpoint(path, {"a": torch.ones(2, 2)}, {"a": torch.ones(3).bool()}, form="zeros")
    with pytest.raises(CheckpointError, match="a form is one of"):
        write_checkpoint(path, {"a": torch.ones(2, 2)}, {}, form="tar")
    with pytest.raises(CheckpointError, match="can be written there"):
        write_checkpoint(tmp_path / "no" / "net.pt", {}, {}, form="zeros")
    assert path.read_bytes() == b"old" and [file.name for file in tmp_path.iterdir()] == ["net.pt"]
