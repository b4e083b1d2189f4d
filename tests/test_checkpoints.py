"""Checkpoints read and written: every form that is written, wrappers, prefixes, and files in other libraries' hands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy import sparse
from torch import nn
from torch.nn.utils import parametrize, prune

import graphsparse as gs
from graphsparse.checkpoints import (
    FORMS,
    PartialMatch,
    convert,
    open_checkpoint,
    read_checkpoint,
    write_checkpoint,
    write_masks_file,
    written_forms,
)
from graphsparse.checkpoints.writing import endings
from graphsparse.errors import CheckpointError, MaskError

DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.bool, torch.float8_e4m3fn,
]  # fmt: skip
SUFFIXES = {"bits": ["safetensors"], "openlth": ["pth"], "csr": ["npz"], "sparse-bitmask": ["safetensors"]}
KEEPS_WEIGHTS = {"zeros", "prune", "parametrization", "sparse-bitmask", "csr"}


def random_weight(shape, dtype, rng):
    """No entry zero, so that what is pruned is known; laid out against the grain where there are axes to swap."""
    values = torch.from_numpy(rng.integers(1, 4, shape)).to(torch.float32)
    values = values * torch.from_numpy(rng.choice([-1, 1], shape)).to(torch.float32) if dtype != torch.bool else values
    return values.to(dtype).transpose(0, -1) if len(shape) else values.to(dtype)


def random_mask(shape, rng):
    """Laid out the other way round, so that from two axes on it is not contiguous."""
    turned = torch.from_numpy(np.asarray(rng.random(shape[::-1]) < 0.5))
    return turned.permute(*reversed(range(len(shape)))) if shape else turned


@pytest.mark.parametrize("form", written_forms())
@settings(max_examples=60, deadline=None)
@given(shape=st.lists(st.integers(0, 5), max_size=5), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 999))
def test_round_trip_of_every_rank_and_type(tmp_path_factory, form, shape, dtype, seed):
    rng = np.random.default_rng(seed)
    weight = random_weight(shape, dtype, rng)
    mask = random_mask(tuple(weight.shape), rng)
    folder = tmp_path_factory.mktemp("round")
    # zeros say in the file's metadata what is masked; without, vectors and bools are not taken for weights
    told = form == "zeros" and (len(shape) < 2 or dtype == torch.bool)
    for suffix in SUFFIXES.get(form, ["safetensors"] if told else ["safetensors", "pt"]):
        path = folder / f"net.{suffix}"
        weights = {"a.weight": weight, "a.bias": torch.ones(3)}
        write_masks_file(path, {"a.weight": mask}, form=form, weights=weights)
        found = read_checkpoint(path, form=form if dtype == torch.bool else None)
        assert found.form == form or (form == "sparse-bitmask" and not shape)  # rank 0 has no axis to pack
        assert set(found.masks) == {"a.weight"} and torch.equal(found.masks["a.weight"], mask)
        opened = open_checkpoint(path, form=form if dtype == torch.bool else None)
        ((name, bits, _),) = opened.packed_masks()
        assert name == "a.weight" and bits.shape == tuple(mask.shape) and bits.count() == int(mask.sum())
        assert np.array_equal(bits.unpack(), mask.numpy())
        if form in KEEPS_WEIGHTS and dtype != torch.bool:
            check_weight(found.weights["a.weight"], weight, mask, form)
        assert [file.name for file in folder.iterdir()] == [path.name]
        path.unlink()


def check_weight(found, weight, mask, form):
    kept_whole = form in ("prune", "parametrization")
    expected = weight.float() if kept_whole else torch.where(mask, weight.float(), 0.0)
    assert torch.equal(found.float(), expected)
    if form != "csr":  # numpy lacks bfloat16 and float8
        assert found.dtype == weight.dtype


@pytest.mark.parametrize("form", written_forms())
def test_several_layers_and_names(tmp_path, form):
    weights = {"0.weight": torch.randn(6, 4), "0.bias": torch.zeros(6), "block.1.weight": torch.randn(3, 6, 2, 2),
               "norm.running_mean": torch.zeros(3), "norm.num_batches_tracked": torch.tensor(0)}  # fmt: skip
    masks = {name: torch.rand(w.shape) < 0.4 for name, w in weights.items() if w.dim() > 1}
    path = tmp_path / "net"  # no ending: the form's usual container
    write_masks_file(path, masks, form=form, weights=weights)
    found = read_checkpoint(path)
    assert list(found.masks) == list(masks) and all(torch.equal(found.masks[n], m) for n, m in masks.items())
    if FORMS[form].needs_weights:
        assert set(found.weights) == set(weights)
        assert torch.equal(found.weights["norm.num_batches_tracked"], torch.tensor(0))
        assert "norm.running_mean" in found.ignored


NAMES = [
    "a/b.weight", "../up.weight", "/root.weight", "ü漢😀.weight", "n" * 200 + ".weight", "a b'\"\\.weight", "two\nlines.weight",
    ".".join("abc" * 30), "_orig_mod.x.weight", "y._orig_mod.weight",
]  # fmt: skip


@pytest.mark.parametrize("form", written_forms())
def test_odd_names_and_shapes_are_read_as_they_were_written(tmp_path, form):
    masks = {name: torch.rand(3, 2) < 0.5 for name in NAMES} | {
        "none.weight": torch.zeros(0, 4, dtype=torch.bool), "thin.weight": torch.zeros(4, 0, dtype=torch.bool),
        "deep.weight": torch.rand(*[1] * 30, 2) < 0.5,
    }  # fmt: skip
    path = tmp_path / "net"
    write_masks_file(path, masks, form=form, weights={name: mask + 1.0 for name, mask in masks.items()})
    found = read_checkpoint(path).masks
    plain = {name.replace("_orig_mod.", ""): mask for name, mask in masks.items()}
    assert found.keys() == plain.keys() and all(torch.equal(found[name], mask) for name, mask in plain.items())


@pytest.mark.parametrize("form", written_forms())
def test_many_small_masks_are_read_whatever_a_small_file_may_cost(tmp_path, monkeypatch, form):
    """Files of a hundred masks, held to what files of a million times as many are held to."""
    monkeypatch.setattr("graphsparse.checkpoints.checks._BYTES_ALLOWED", 0)
    masks = {f"{i}.weight": torch.ones(1, 1, dtype=torch.bool) for i in range(100)}
    for ending in endings(form):
        path = tmp_path / f"net{ending}"
        write_masks_file(path, masks, form=form, weights={name: torch.ones(1, 1) for name in masks})
        assert read_checkpoint(path).masks == masks


@pytest.mark.parametrize(
    "names", [["module.a.weight", "module.b.weight"], ["_orig_mod.a.weight", "_orig_mod.b.weight"]]
)
def test_bits_may_have_the_names_of_wrappers_and_be_read_in_part(tmp_path, names):
    masks = {name: torch.rand(3, 4) < 0.5 for name in names}
    write_masks_file(tmp_path / "bits.safetensors", masks, form="bits")
    found = gs.read_masks(tmp_path / "bits.safetensors")
    assert list(found) == ["a.weight", "b.weight"] and all(map(torch.equal, found.values(), masks.values()))
    only = gs.read_masks(tmp_path / "bits.safetensors", prefix="b.")
    assert list(only) == ["weight"] and torch.equal(only["weight"], masks[names[1]])


def test_a_header_that_could_not_be_read_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("graphsparse.checkpoints.archives.safetensors._LARGEST_HEADER", 1000)
    for name, rule in (("__metadata__", "another name in safetensors"), ("n" * 1000, "at most 1,000 bytes")):
        with pytest.raises(CheckpointError, match=rule):
            write_masks_file(tmp_path / "net.safetensors", {name: torch.ones(1, 1)}, form="bits")
    assert not list(tmp_path.iterdir())


def test_masks_alone_are_an_eighth(tmp_path):
    masks = {f"{i}.weight": torch.rand(300, 301) < 0.1 for i in range(4)}
    torch.save(masks, tmp_path / "bools.pt")
    write_masks_file(tmp_path / "bits.safetensors", masks, form="bits")
    header = 8 + int.from_bytes((tmp_path / "bits.safetensors").read_bytes()[:8], "little")
    entries = sum(-(-mask.numel() // 8) for mask in masks.values())
    assert (tmp_path / "bits.safetensors").stat().st_size == header + entries
    assert 8 * entries <= (tmp_path / "bools.pt").stat().st_size
    assert all(t.dtype == torch.uint8 for t in load_file(tmp_path / "bits.safetensors").values())


def test_the_safetensors_library_reads_what_is_written_and_the_other_way(tmp_path):
    tensors = {"a": torch.randn(3, 2), "b": torch.zeros(0, 4), "c": torch.ones((), dtype=torch.bfloat16),
               "d": torch.randn(4, 3).T, "e": torch.ones(5, dtype=torch.float8_e5m2)}  # fmt: skip
    write_checkpoint(tmp_path / "ours.safetensors", tensors, {}, form="zeros")
    theirs = load_file(tmp_path / "ours.safetensors")
    assert all(torch.equal(theirs[n].float(), t.float()) and theirs[n].dtype == t.dtype for n, t in tensors.items())
    save_file({n: t.contiguous() for n, t in tensors.items()}, tmp_path / "theirs.safetensors", {"about": "a test"})
    found = read_checkpoint(tmp_path / "theirs.safetensors").weights
    assert all(torch.equal(found[n].float(), t.float()) for n, t in tensors.items())


def test_scipy_reads_a_csr_block(tmp_path):
    weight, mask = torch.randn(5, 3, 2), torch.rand(5, 3, 2) < 0.5
    write_masks_file(tmp_path / "net.npz", {"a.weight": mask}, form="csr", weights={"a.weight": weight})
    block = np.load(tmp_path / "net.npz")
    table = sparse.csr_array(
        (block["a.weight.data"], block["a.weight.indices"], block["a.weight.indptr"]), shape=(5, 6)
    )
    assert np.array_equal(table.toarray(), torch.where(mask, weight, 0).reshape(5, 6).numpy())


def test_what_torch_prune_saves_is_read_and_what_is_written_loads(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    prune.random_unstructured(model[0], "weight", amount=5)
    prune.random_unstructured(model[0], "bias", amount=1)
    torch.save(model.state_dict(), tmp_path / "net.pth")
    found = read_checkpoint(tmp_path / "net.pth")
    assert found.form == "prune" and set(found.weights) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert torch.equal(found.masks["0.weight"], model[0].weight_mask.bool()) and bool(found.masks["1.weight"].all())
    assert torch.equal(found.masks["0.bias"], model[0].bias_mask.bool()) and "1.bias" not in found.masks
    write_checkpoint(
        tmp_path / "again.pt", found.weights, {n: found.masks[n] for n in ("0.weight", "0.bias")}, form="prune"
    )
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    assert model.load_state_dict(again, strict=True) and torch.equal(again["0.weight_mask"], model[0].weight_mask)


class Masked(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, x):
        return x * self.mask


def test_what_parametrize_saves_is_read_and_what_is_written_loads(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), nn.Conv2d(2, 2, 3))
    masks = {"0.weight": torch.rand(3, 4) < 0.5, "1.weight": torch.rand(2, 2, 3, 3) < 0.5}
    for name, mask in masks.items():
        parametrize.register_parametrization(model[int(name[0])], "weight", Masked(mask.float()))
    torch.save(model.state_dict(), tmp_path / "net.pt")
    found = read_checkpoint(tmp_path / "net.pt")
    assert found.form == "parametrization" and all(torch.equal(found.masks[n], m) for n, m in masks.items())
    assert set(found.weights) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    write_checkpoint(tmp_path / "again.pt", found.weights, masks, form="parametrization")
    assert model.load_state_dict(torch.load(tmp_path / "again.pt", weights_only=True), strict=True)


def test_only_both_marks_make_a_mask():
    found = read_checkpoint({"a.weight_orig": torch.ones(2, 2), "b.weight_mask": torch.zeros(2, 2)})
    assert found.form == "zeros" and set(found.weights) == {"a.weight_orig", "b.weight_mask"}


def test_a_mask_may_be_any_parametrization_of_several_but_only_one():
    original = {"fc.parametrizations.weight.original": torch.ones(2, 2)}
    second = {"fc.parametrizations.weight.1.mask": torch.eye(2)}
    assert torch.equal(gs.read_masks({**original, **second})["fc.weight"], torch.eye(2).bool())
    with pytest.raises(MaskError, match="a parameter must have one mask"):
        gs.read_masks({**original, **second, "fc.parametrizations.weight.0.mask": torch.ones(2, 2)})


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_pieces_with_an_index(tmp_path, suffix):
    """Both kinds that transformers has written: pytorch_model.bin.index.json and model.safetensors.index.json."""
    weights = {"a.weight": torch.eye(3), "b.weight": torch.tensor([[0.0, 2.0, 0.0]]).half(), "b.bias": torch.zeros(1)}
    save = torch.save if suffix == "bin" else lambda tensors, path: save_file(tensors, path, {"format": "pt"})
    files = {name: f"model-{number}.{suffix}" for number, name in enumerate(weights)}
    for name, file in files.items():
        save({name: weights[name]}, tmp_path / file)
    (tmp_path / f"model.{suffix}.index.json").write_text(
        json.dumps({"metadata": {"total_size": 0}, "weight_map": files})
    )
    for source in (tmp_path, tmp_path / f"model.{suffix}.index.json"):
        found = read_checkpoint(source)
        assert {name: mask.sum().item() for name, mask in found.masks.items()} == {"a.weight": 3, "b.weight": 1}
        assert all(torch.equal(found.weights[name], weight) for name, weight in weights.items())


def test_the_order_of_the_file_is_kept():
    state = {"a.weight": torch.ones(2, 2), "b.weight_orig": torch.ones(2, 2), "b.weight_mask": torch.eye(2),
             "c.weight": torch.ones(2, 2)}  # fmt: skip
    assert list(gs.read_masks(state)) == ["a.weight", "b.weight", "c.weight"]


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_wrappers_and_prefixes(wrapper, prefix):
    inner = {f"{prefix}fc.weight": torch.eye(2), f"{prefix}fc.bias": torch.ones(2)}
    masks = gs.read_masks(inner if wrapper is None else {wrapper: inner, "epoch": 3})
    assert set(masks) == {"fc.weight"} and torch.equal(masks["fc.weight"], torch.eye(2).bool())


def test_wrappers_within_wrappers_and_two_side_by_side():
    state = {"module.fc.weight": torch.eye(2), "module.bn.running_mean": torch.zeros(2)}
    assert set(gs.read_masks({"model": {"state_dict": state}, "args": {"lr": 1.0}})) == {"fc.weight"}
    with pytest.raises(CheckpointError, match="one state dict.*model and net"):
        gs.read_masks({"model": state, "net": state})


def test_an_entry_beside_the_model_may_be_called_by_a_number():
    assert set(gs.read_masks({"model": {"fc.weight": torch.eye(2)}, 0: {"a": torch.eye(3)}})) == {"fc.weight"}


def test_a_prefix_that_some_names_lack_belongs_to_the_model():
    masks = gs.read_masks(
        {"module.fc.weight": torch.eye(2), "head.weight": torch.eye(2), "a._orig_mod.weight": torch.eye(2)}
    )
    assert set(masks) == {"module.fc.weight", "head.weight", "a.weight"}


def test_nan_and_infinity_are_kept():
    weight = torch.tensor([[float("nan"), 0.0], [-0.0, float("inf")]])
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e5m2):
        found = gs.read_masks({"a.weight": weight.to(dtype)})["a.weight"]
        assert found.tolist() == [[True, False], [False, True]], dtype


def test_vectors_are_masked_by_zeros_only_where_that_prunes():
    """A scale that has zeros is pruned there (network slimming); biases and buffers hold numbers like any other."""
    state = {"bn.weight": torch.tensor([1.0, 0.0]), "ln.weight": torch.ones(2), "fc.bias": torch.zeros(2),
             "bn.running_mean": torch.zeros(2), "ids": torch.arange(3), "fc.weight": torch.eye(2)}  # fmt: skip
    found = read_checkpoint(state)
    assert {name: mask.tolist() for name, mask in found.masks.items()} == {
        "bn.weight": [True, False], "fc.weight": [[True, False], [False, True]],
    }  # fmt: skip
    assert set(found.ignored) == {"ln.weight", "fc.bias", "bn.running_mean", "ids"} and set(found.weights) == set(state)


PARAMETERS = {"fc1.weight": (3, 4), "fc1.bias": (3,), "fc2.weight": (2, 3)}


def test_names_are_matched_and_both_sides_are_told():
    masks = {"fc1.weight": torch.ones(3, 4, dtype=torch.bool), "stranger.weight": torch.ones(1, 1, dtype=torch.bool)}
    with pytest.warns(PartialMatch, match=r"stranger\.weight are no parameters.*fc2\.weight have no mask"):
        assert set(gs.read_masks(masks, parameters=PARAMETERS)) == {"fc1.weight"}
    found = read_checkpoint(masks, parameters=PARAMETERS)
    assert found.missing == ("fc1.bias", "fc2.weight") and set(found.ignored) == {"stranger.weight"}


def test_nothing_in_common_is_an_error_and_order_is_offered_not_taken():
    masks = {"a": torch.ones(3, 4, dtype=torch.bool), "b": torch.zeros(2, 3, dtype=torch.bool)}
    with pytest.raises(MaskError, match=r"none of 2 in common; the file has a, b.*by_order=True"):
        gs.read_masks(masks, parameters=PARAMETERS)
    assert list(gs.read_masks(masks, parameters=PARAMETERS, by_order=True)) == ["fc1.weight", "fc2.weight"]
    with pytest.raises(MaskError, match="in order, every one"):
        gs.read_masks({"a": masks["a"], "b": torch.ones(3, 2)}, parameters=PARAMETERS, by_order=True)


def test_one_shared_prefix_may_differ():
    masks = {f"model.encoder.{name}": torch.ones(shape, dtype=torch.bool) for name, shape in PARAMETERS.items()}
    assert set(gs.read_masks(masks, parameters=PARAMETERS)) == set(PARAMETERS)
    longer = {f"bert.{name}": shape for name, shape in PARAMETERS.items()}
    short = {name: torch.ones(shape, dtype=torch.bool) for name, shape in PARAMETERS.items()}
    assert set(gs.read_masks(short, parameters=longer)) == set(longer)


def test_a_matched_mask_fits_its_parameter():
    with pytest.raises(
        MaskError, match=r"a mask must have a weight of its shape, at fc1\.weight.*\(4, 3\) for \(3, 4\)"
    ):
        gs.read_masks({"fc1.weight": torch.ones(4, 3, dtype=torch.bool)}, parameters=PARAMETERS)
    with pytest.raises(
        MaskError, match=r"shape that it has in the model, at fc1\.weight.*\(4, 3\) for \(3, 4\).*saved from"
    ):
        gs.read_masks({"fc1.weight": torch.ones(4, 3)}, parameters=PARAMETERS)


def test_ambiguous_content_names_its_candidates():
    state = {"a.weight_orig": torch.ones(2, 2), "a.weight_mask": torch.eye(2),
             "b.weight": torch.ones(2, 2), "b.mask": torch.ones(2, 2)}  # fmt: skip
    with pytest.raises(CheckpointError, match="the signs of prune, module-mask"):
        gs.read_masks(state)
    assert torch.equal(gs.read_masks(state, form="prune")["a.weight"], torch.eye(2).bool())
    with pytest.raises(CheckpointError, match="a form must have a known name; received 'tar'"):
        gs.read_masks(state, form="tar")


@pytest.mark.parametrize("to", written_forms())
@pytest.mark.parametrize("first", [form for form in written_forms() if FORMS[form].needs_weights])
def test_convert_between_forms(tmp_path, first, to):
    weights = {"a.weight": torch.rand(4, 6) + 1, "b.weight": torch.rand(2, 4, 3, 3) + 1, "a.bias": torch.rand(4)}
    masks = {name: torch.rand(w.shape) < 0.5 for name, w in weights.items() if w.dim() > 1}
    write_masks_file(tmp_path / "first", masks, form=first, weights=weights)
    assert convert(tmp_path / "first", tmp_path / "second", to).form == first
    found = read_checkpoint(tmp_path / "second")
    assert found.form == to and all(torch.equal(found.masks[n], m) for n, m in masks.items())
    if FORMS[to].needs_weights:
        assert all(
            torch.equal(torch.where(masks[n], found.weights[n], 0), torch.where(m, weights[n], 0))
            for n, m in masks.items()
        )


def test_convert_of_masks_alone_takes_weights_from_elsewhere(tmp_path):
    weights, mask = {"a.weight": torch.rand(4, 6) + 1}, torch.rand(4, 6) < 0.5
    write_masks_file(tmp_path / "bits", {"a.weight": mask}, form="bits")
    with pytest.raises(MaskError, match="must hold the weights too"):
        convert(tmp_path / "bits", tmp_path / "out.pt", "prune")
    convert(tmp_path / "bits", tmp_path / "out.pt", "prune", weights=weights)
    assert torch.equal(read_checkpoint(tmp_path / "out.pt").weights["a.weight"], weights["a.weight"])


def test_a_kept_zero_is_told_where_the_form_cannot_say_it(tmp_path):
    weights, masks = {"a.weight": torch.tensor([[0.0, 1.0]])}, {"a.weight": torch.ones(1, 2, dtype=torch.bool)}
    with pytest.warns(UserWarning, match=r"a\.weight: 1 kept connections are exactly zero"):
        write_masks_file(tmp_path / "net.pt", masks, form="zeros", weights=weights)
    for form in ("prune", "sparse-bitmask", "csr", "bits"):
        write_masks_file(tmp_path / form, masks, form=form, weights=weights)
        assert bool(read_checkpoint(tmp_path / form).masks["a.weight"].all()), form


def test_writing_refuses_before_it_touches_the_file(tmp_path):
    path = tmp_path / "net.pt"
    path.write_bytes(b"old")
    with pytest.raises(MaskError, match="a mask must have a weight of its shape, at a"):
        write_checkpoint(path, {"a": torch.ones(2, 2)}, {"a": torch.ones(3).bool()}, form="zeros")
    with pytest.raises(MaskError, match="a mask must have a weight of its shape, at b; received no such weight"):
        write_checkpoint(path, {"a": torch.ones(2, 2)}, {"b": torch.ones(3).bool()}, form="zeros")
    with pytest.raises(MaskError, match="0 and 1 alone"):
        write_masks_file(path, {"a": torch.tensor([0.5, 1.0])}, form="openlth")
    with pytest.raises(CheckpointError, match="must be one that is written; received 'tar'"):
        write_checkpoint(path, {"a": torch.ones(2, 2)}, {}, form="tar")
    with pytest.raises(CheckpointError, match="must be one that is written; received 'nni', which is only read"):
        write_checkpoint(path, {"a": torch.ones(2, 2)}, {}, form="nni")
    with pytest.raises(CheckpointError, match=r"must end as its form does.*end the name in \.safetensors"):
        write_masks_file(path, {"a": torch.ones(2).bool()}, form="bits")
    with pytest.raises(CheckpointError, match="must be one that can be written"):
        write_checkpoint(tmp_path / "no" / "net.pt", {}, {}, form="zeros")
    with pytest.raises(CheckpointError, match="must be one that can be written"):
        write_checkpoint(tmp_path, {}, {}, form="zeros")
    assert path.read_bytes() == b"old" and [file.name for file in tmp_path.iterdir()] == ["net.pt"]


def test_a_written_file_keeps_links_and_permissions(tmp_path):
    target, link = tmp_path / "real.pt", tmp_path / "link.pt"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_checkpoint(link, {"a": torch.ones(2, 2)}, {}, form="zeros")
    assert (
        link.is_symlink() and target.stat().st_mode & 0o777 == 0o640 and set(read_checkpoint(target).weights) == {"a"}
    )


WRITERS = """
import os, sys, torch
from graphsparse.checkpoints import write_masks_file
torch.set_num_threads(1)
masks = {f"{i}.weight": torch.rand(512, 512) < 0.5 for i in range(24)}
weights = {name: torch.full(mask.shape, 2.0) for name, mask in masks.items()}
for line in sys.stdin:
    child = os.fork()
    while not child:
        write_masks_file(line.strip(), masks, form="zeros", weights=weights)
    print(child, flush=True)
    os.wait()
    print("gone", flush=True)
"""


@pytest.fixture(scope="module")
def writers():
    """A process that forks one that writes to a path for ever; says its number, and when it is gone."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", WRITERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.09])
def test_a_killed_write_leaves_a_whole_file(writers, tmp_path, delay):
    path = tmp_path / "net.safetensors"
    write_checkpoint(path, {"old.weight": torch.ones(2, 2)}, {}, form="zeros")
    print(path, file=writers.stdin, flush=True)
    child = int(writers.stdout.readline())
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    assert writers.stdout.readline() == "gone\n"
    weights = read_checkpoint(path).weights
    assert set(weights) == {"old.weight"} or (
        len(weights) == 24 and all(bool((w * (w - 2) == 0).all()) for w in weights.values())
    )
