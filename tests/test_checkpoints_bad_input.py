"""Files that must be refused: one clear error each, of one line, nothing run, nothing written, memory bounded."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import graphsparse as gs
from graphsparse import cli
from graphsparse.checkpoints import open_checkpoint, read_checkpoint, write_masks_file
from graphsparse.checkpoints.archives import zip_directory
from graphsparse.errors import CheckpointError, GraphsparseError

WEIGHTS = {"a.weight": torch.ones(30, 30), "b.weight": torch.zeros(3)}


class Canary:
    """A pickle of it opens a file for writing when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def torch_bytes(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def safetensors_bytes(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def npz_bytes(*, compressed=False, **arrays):
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def npy_bytes(header):
    text = (header + "\n").encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def f32(shape, begin, end):
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def damaged_files(folder):
    """(name, bytes, a word of the error)"""
    save_file(WEIGHTS, folder / "good.safetensors")
    whole, safe = torch_bytes(WEIGHTS), (folder / "good.safetensors").read_bytes()
    (folder / "good.safetensors").unlink()
    yield "empty.pt", b"", "empty file"
    yield "text.pt", b"weights, weights, weights", "begins with"
    yield "short.pt", whole[: len(whole) // 2], "cut short"
    yield "one.pt", whole[:30], "cut short"
    yield "short.safetensors", safe[:100], "header"
    yield "seven.safetensors", safe[:7], "8 bytes"
    yield "cut.safetensors", safe[:-8], "within the file"
    yield "long.safetensors", safe + b"12345678", "whole file"
    yield "huge.safetensors", (1 << 50).to_bytes(8, "little") + safe[8:], "a header must fit in its file"
    yield "swapped.safetensors", safe[:8][::-1] + safe[8:], "little end first"
    yield (
        "twice.safetensors",
        safetensors_bytes(b'{"a": %b, "a": %b}' % ((json.dumps(f32([1], 0, 4)).encode(),) * 2), b"1234"),
        "twice",
    )
    yield "hole.safetensors", safetensors_bytes({"a": f32([1], 4, 8)}, b"12345678"), "end to end"
    yield (
        "overlap.safetensors",
        safetensors_bytes({"a": f32([2], 0, 8), "b": f32([1], 4, 8)}, b"12345678"),
        "end to end",
    )
    yield "overflow.safetensors", safetensors_bytes({"a": f32([1 << 40, 1 << 40], 0, 8)}, b"12345678"), "as many bytes"
    yield "wraps.safetensors", safetensors_bytes({"a": f32([1 << 32, 1 << 32, 4], 0, 0)}), "as many bytes"
    yield "negative.safetensors", safetensors_bytes({"a": f32([-1], 0, 4)}, b"1234"), "whole numbers"
    yield "float.safetensors", safetensors_bytes({"a": f32([1.0], 0, 4)}, b"1234"), "whole numbers"
    yield "type.safetensors", safetensors_bytes({"a": {**f32([1], 0, 4), "dtype": "F33"}}, b"1234"), "dtype"
    yield "parts.safetensors", safetensors_bytes({"a": {"dtype": "F32"}}), "a dtype, a shape"
    yield "list.safetensors", safetensors_bytes(b'{"__metadata__": [1]}'), "must map text to text"
    yield "deep.safetensors", safetensors_bytes(b'{"a": ' + b"[" * 100_000), "JSON"
    yield "digits.safetensors", safetensors_bytes(b'{"a": ' + b"9" * 100_000 + b"}"), "JSON"
    yield "none.safetensors", safetensors_bytes({}), "tensors by name"
    yield "control.safetensors", safetensors_bytes({"a\n\x1b[31m\ud800": f32([-1], 0, 4)}), r"a\n\x1b[31m\ud800"
    yield "list.pt", torch_bytes([1, 2, 3]), "tensors by name"
    yield "number.pt", torch_bytes(3), "tensors by name"
    yield "old.pt", torch_bytes(WEIGHTS, _use_new_zipfile_serialization=False)[:-50], "damaged"


def masks_that_are_none(folder):
    weight = torch.ones(2, 2)
    prune = lambda mask: torch_bytes({"a.weight_orig": weight, "a.weight_mask": mask})
    yield "fit.pt", prune(torch.ones(3, 2)), "a weight of its shape"
    yield "nan.pt", prune(torch.full((2, 2), float("nan"))), "0 and 1 alone"
    yield "two.pt", prune(torch.tensor([[0.0, 2.0], [1.0, 1.0]])), "1 other values, the first 2.0"
    yield "half.pt", torch_bytes({"a.weight": weight, "a.mask": weight / 2}), "0 and 1 alone"
    yield "openlth.pth", torch_bytes({"a.weight": torch.tensor([[0, 7]])}), "the first 7"
    save_file({"a.weight_orig": weight, "a.weight_mask": torch.ones(2, 2, dtype=torch.bool)}, folder / "b.safetensors")
    data = (folder / "b.safetensors").read_bytes()
    yield "b.safetensors", data[:-1] + b"\x05", "the first 5"  # a bool that is five


def code(folder):
    canary = Canary(folder / "canary")
    yield "pickle.pt", pickle.dumps({"a": canary}), "code execution"
    yield "protocol2.pt", pickle.dumps({"a": canary}, protocol=2), "code execution"
    yield "zipped.pt", torch_bytes({"a": canary}), "io.open"
    yield "old.pt", torch_bytes({"a": canary}, _use_new_zipfile_serialization=False), "code execution"
    yield "module.pt", torch_bytes(nn.Linear(2, 2)), "asks for torch.nn.modules.linear.Linear"
    objects = io.BytesIO()
    np.savez(objects, a=np.array([canary, None], dtype=object))
    yield "objects.npz", objects.getvalue(), "Python objects"
    script = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), script)
    yield "script.pt", script.getvalue(), "TorchScript"


def bombs(folder):
    """Small files that ask for much."""
    with zipfile.ZipFile(folder / "bomb", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(
            "a.npy", npy_bytes("{'descr': '|u1', 'fortran_order': False, 'shape': (300000000,), }") + bytes(300_000_000)
        )
    yield "bomb.npz", (folder / "bomb").read_bytes(), "must unfold to at most"
    with zipfile.ZipFile(folder / "bomb", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in zipfile.ZipFile(io.BytesIO(torch_bytes({"a": torch.zeros(1000)}))).namelist():
            archive.writestr(name, bytes(10_000_000))
    yield "bomb.pt", (folder / "bomb").read_bytes(), "must unfold to at most"
    with (
        zipfile.ZipFile(folder / "bomb", "w", zipfile.ZIP_DEFLATED) as archive,
        zipfile.ZipFile(io.BytesIO(torch_bytes({"a": torch.zeros(1000, 1000)}))) as whole,
    ):
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
    yield "squeezed.pt", (folder / "bomb").read_bytes(), "uncompressed"
    (folder / "bomb").unlink()
    yield (
        "claims.npy",
        npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"),
        "as many bytes",
    )
    yield "strides.pt", torch_bytes({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}), "bear out"
    sparse = torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (1 << 20, 1 << 20))
    yield "sparse.pt", torch_bytes({"a": sparse}), "bear out"
    csr = {"indptr": np.zeros((1 << 16) + 1, np.int32), "indices": np.zeros(0, np.int32), "data": np.zeros(0, bool)}
    yield (
        "csr.npz",
        npz_bytes(**{f"a.{n}": v for n, v in csr.items()}, **{"a.shape": np.array([1 << 16, 1 << 40])}),
        "bear out",
    )
    about = {
        "a": {"shape": [1 << 40, 0, 1 << 40], "kept": 0, "crc32": 0},
        "b": {"shape": [1 << 62], "kept": 0, "crc32": 0},
    }
    header = {name: {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for name in about}
    mark = {"format": "graphsparse-masks", "masks": json.dumps(about)}
    yield "bits.safetensors", safetensors_bytes({"__metadata__": mark, **header}), "one bit per entry"
    nested: object = [torch.ones(1)] * 50
    for _ in range(30):
        nested = [nested] * 50
    yield "nested.pt", torch_bytes({"a": nested}), "tensors by name"
    members = io.BytesIO()
    with zipfile.ZipFile(members, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a.npy", b"")
        archive.writestr("a.npy", b"")
    yield "same.npz", members.getvalue(), "a name must appear once"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What a function above yields, made once. The files of `code` would leave their mark in the folder that ends empty."""
    folder = tmp_path_factory.mktemp("made")

    @cache
    def rows(files):
        found = list(files(folder))
        for file in folder.iterdir():
            file.unlink()
        return found

    yield rows
    assert not list(folder.iterdir())


@pytest.mark.parametrize("files", [damaged_files, masks_that_are_none, code, bombs])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:.*torch.jit", "ignore:`torch.jit")
def test_one_clear_error_each(tmp_path, made, files):
    for name, content, word in made(files):
        path = tmp_path / name
        path.write_bytes(content)
        for read in (read_checkpoint, lambda file: list(open_checkpoint(file).packed_masks())):
            with pytest.raises(GraphsparseError) as error:
                read(path)
            assert word in str(error.value) and str(error.value).isprintable(), f"{name}: {error.value}"
        assert [file.name for file in tmp_path.iterdir()] == [name] and path.read_bytes() == content
        path.unlink()


LIMITED = """
import resource, sys, warnings
from graphsparse.checkpoints import read_checkpoint
from graphsparse.errors import GraphsparseError
warnings.simplefilter("ignore")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (160 << 20), used + (160 << 20)))
for path in sys.argv[1:]:
    try:
        read_checkpoint(path)
    except GraphsparseError as error:
        assert "MemoryError" not in str(error), error
    else:
        raise AssertionError(path)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures memory as Linux tells it")
def test_bombs_cost_no_memory(tmp_path, made):
    paths = []
    for name, content, _ in made(bombs):
        (tmp_path / name).write_bytes(content)
        paths.append(str(tmp_path / name))
    done = subprocess.run([sys.executable, "-c", LIMITED, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_paths_that_lead_nowhere(tmp_path):
    os.symlink(tmp_path / "b.pt", tmp_path / "a.pt")
    os.symlink(tmp_path / "a.pt", tmp_path / "b.pt")
    os.mkfifo(tmp_path / "pipe")
    for path, word in ((tmp_path / "a.pt", "symbolic links"), (tmp_path / "no.pt", "No such file"), ("a\0b", "null"),
                       (tmp_path / "pipe", "a file or a folder"), (tmp_path / ("x" * 300), "name too long")):  # fmt: skip
        with pytest.raises(CheckpointError, match=word):
            read_checkpoint(path)
    with pytest.raises(CheckpointError, match="received int.*state_dict"):
        read_checkpoint(3)


def test_an_npz_that_is_cut_short_while_it_is_read_is_refused(tmp_path, monkeypatch):
    """By the end of the map that it once was, the system killed the process."""
    path, whole = tmp_path / "net.npz", zip_directory._declared

    def cut_after_the_end_record(octets):
        declared = whole(octets)
        os.truncate(path, 4096)
        return declared

    monkeypatch.setattr(zip_directory, "_declared", cut_after_the_end_record)
    for read in (read_checkpoint, gs.load_graph):
        np.savez(path, **{f"{i}.weight": np.ones((40, 40)) for i in range(20)})
        with pytest.raises(CheckpointError, match="damaged or cut short"):
            read(path)


def sharded(folder, index):
    folder.mkdir(exist_ok=True)
    save_file({"a.weight": torch.eye(2)}, folder / "one.safetensors")
    save_file({"b.weight": torch.ones(2, 2)}, folder / "two.safetensors")
    text = index if isinstance(index, str) else json.dumps({"metadata": {}, "weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text)
    return folder


INDEX = {"a.weight": "one.safetensors", "b.weight": "two.safetensors"}


BAD_INDICES = [
    ({**INDEX, "c.weight": "three.safetensors", "d.weight": "four.safetensors"}, "2 of 4 missing: three.safetensors, four"),
    ({**INDEX, "c.weight": "one.safetensors"}, "a tensor must be in the file that the index names, at c.weight"),
    ({**INDEX, "a.weight": "../one.safetensors"}, "files of its own folder"),
    ({**INDEX, "a.weight": "/etc/passwd"}, "files of its own folder"),
    ({**INDEX, "a.weight": "sub/one.safetensors"}, "files of its own folder"),
    ({**INDEX, "a.weight": "..\\one.safetensors"}, "files of its own folder"),
    ({**INDEX, "a.weight": "one.safetensors\0"}, "files of its own folder"),
    ({**INDEX, "a.weight": 3}, "files of its own folder"),
    ({**INDEX, "a.weight": "model.safetensors.index.json"}, "a checkpoint must be safetensors"),
    ('{"weight_map": {"a.weight": "one.safetensors", "a.weight": "two.safetensors"}}', "'a.weight' twice"),
    ('{"weight_map": {}}', "must have a weight_map"),
    ('{"weights": 1}', "must have a weight_map"),
    ('{"weight_map"', "JSON"),
]  # fmt: skip


@pytest.mark.parametrize("index, word", BAD_INDICES)
def test_bad_indices(tmp_path, index, word):
    with pytest.raises(CheckpointError, match=word) as error:
        read_checkpoint(sharded(tmp_path / "net", index))
    assert str(error.value).isprintable()


def test_a_shard_that_links_to_itself(tmp_path):
    folder = sharded(tmp_path / "net", INDEX)
    (folder / "two.safetensors").unlink()
    (folder / "two.safetensors").symlink_to(folder / "two.safetensors")
    with pytest.raises(CheckpointError, match="1 of 2 missing"):
        read_checkpoint(folder)


def test_folders_with_no_checkpoint_or_several(tmp_path):
    with pytest.raises(CheckpointError, match="a folder must hold a checkpoint"):
        read_checkpoint(tmp_path)
    save_file(WEIGHTS, tmp_path / "one.safetensors")
    assert read_checkpoint(tmp_path).place == str(tmp_path / "one.safetensors")
    save_file(WEIGHTS, tmp_path / "two.safetensors")
    with pytest.raises(CheckpointError, match=r"one\.safetensors, two\.safetensors.*index\.json"):
        read_checkpoint(tmp_path)


def test_a_name_twice_once_wrappers_are_stripped():
    with pytest.raises(CheckpointError, match="a name must appear once, wrappers stripped"):
        read_checkpoint({"a._orig_mod.weight": torch.ones(2, 2), "a.weight": torch.ones(2, 2)})


def test_a_file_is_told_by_content_whatever_its_first_bytes_say(tmp_path):
    """A safetensors header of 640 bytes begins like a pickle of protocol 2."""
    name = "a" * 573
    header = json.dumps({name: f32([1, 1], 0, 4)}).encode()
    (tmp_path / "x").write_bytes(safetensors_bytes(header + b" " * (0x280 - len(header)), b"1234"))
    assert (tmp_path / "x").read_bytes()[:2] == b"\x80\x02" and list(read_checkpoint(tmp_path / "x").masks) == [name]


def program(folder, change):
    """An exported program, its members changed."""
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(3, 2),)), folder / "good.pt2")
    with zipfile.ZipFile(folder / "good.pt2") as good, zipfile.ZipFile(folder / "net.pt2", "w") as changed:
        for name in good.namelist():
            changed.writestr(name, change(name, good.read(name)))
    return folder / "net.pt2"


def test_exported_weights_that_do_not_fit_their_bytes(tmp_path):
    for old, new, word in (
        (
            b'"sizes": [{"as_int": 2}, {"as_int": 2}]',
            b'"sizes": [{"as_int": 2}, {"as_int": 3}]',
            "must lie within its bytes",
        ),
        (b'"strides": [{"as_int": 2}', b'"strides": [{"as_int": 1000000000000}', "must lie within its bytes"),
        (
            b'"sizes": [{"as_int": 2}, {"as_int": 2}]',
            b'"sizes": [{"as_int": 99999999}, {"as_int": 99999999}]',
            "bear out",
        ),
        (
            b'"sizes": [{"as_int": 2}, {"as_int": 2}]',
            b'"sizes": [' + b", ".join([b'{"as_int": 4611686018427387904}'] * 300) + b"]",
            "at most 64 entries",
        ),
        (b'"dtype": 7', b'"dtype": 99', "must be one that is known"),
        (b'"path_name": "weight_0"', b'"path_name": "weight_9"', "must be in the archive"),
        (b'"path_name": "weight_0"', b'"path_name": "/weight_0"', "must be an identifier"),
        (b'"use_pickle": false', b'"use_pickle": true', "code execution"),
        (b'"sizes": [{"as_int": 2}, {"as_int": 2}]', b'"sizes": [{"as_expr": 2}, 7]', "must list its tensors"),
    ):

        def change(name, data, old=old, new=new):
            return data.replace(old, new) if name.endswith("weights_config.json") else data

        with pytest.raises(CheckpointError, match=word):
            read_checkpoint(program(tmp_path, change))


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(CheckpointError, match="No space left"):
        write_masks_file(tmp_path / "m.safetensors", {"a": torch.ones(3).bool()}, form="bits")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("files", [damaged_files, masks_that_are_none, code, bombs])
@pytest.mark.parametrize("model", ["none", "chain"])
@pytest.mark.filterwarnings("ignore")
def test_at_the_command_line_one_line_and_status_2(tmp_path, capsys, made, files, model):
    for name, content, _ in made(files):
        path, out = tmp_path / name, tmp_path / "out.safetensors"
        path.write_bytes(content)
        for command in (["analyze", str(path), "--model", model], ["convert", str(path), str(out), "--to", "bits"]):
            with pytest.raises(SystemExit) as status:
                cli.main(command)
            printed = capsys.readouterr()
            assert status.value.code == 2 and not printed.out, f"{name}: {printed}"
            assert printed.err.startswith("graphsparse: ") and printed.err.count("\n") == 1, f"{name}: {printed.err}"
        assert [file.name for file in tmp_path.iterdir()] == [name] and path.read_bytes() == content
        path.unlink()


def links_and_pieces(folder):
    """(what to name, a word of the error): a checkpoint that is several files, or none."""
    os.symlink(folder / "b.pt", folder / "a.pt")
    os.symlink(folder / "a.pt", folder / "b.pt")
    yield folder / "a.pt", "symbolic links"
    for number, (index, word) in enumerate(BAD_INDICES):
        yield sharded(folder / f"net{number}", index), word
    yield sharded(folder / "gone", INDEX), "1 of 2 missing: two.safetensors"
    (folder / "gone" / "two.safetensors").unlink()
    cut = sharded(folder / "cut", INDEX)
    (cut / "two.safetensors").write_bytes((cut / "two.safetensors").read_bytes()[:-8])
    yield cut, "within the file"
    write_masks_file(folder / "flipped.safetensors", {"a": torch.ones(64, dtype=torch.bool)}, form="bits")
    whole = bytearray((folder / "flipped.safetensors").read_bytes())
    whole[-3] ^= 4
    (folder / "flipped.safetensors").write_bytes(whole)
    yield folder / "flipped.safetensors", "the bits that it was written with"


def all_files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("model", ["none", "chain"])
@pytest.mark.filterwarnings("ignore")
def test_links_and_pieces_at_the_command_line(tmp_path, capsys, model):
    cases = list(links_and_pieces(tmp_path))
    before, out = all_files(tmp_path), tmp_path / "out.safetensors"
    for path, word in cases:
        for command in (["analyze", str(path), "--model", model], ["convert", str(path), str(out), "--to", "bits"]):
            with pytest.raises(SystemExit) as status:
                cli.main(command)
            printed = capsys.readouterr()
            assert status.value.code == 2 and not printed.out, f"{path}: {printed}"
            assert printed.err.startswith("graphsparse: ") and printed.err.count("\n") == 1, f"{path}: {printed.err}"
            assert re.search(word, printed.err), printed.err
    assert all_files(tmp_path) == before


TINY_LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "intermediate_size": 8,
    "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 16,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "a folder must hold a checkpoint"),
        (lambda folder: (folder / "config.json").write_text("{"), "a config.json must describe a model"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 9), "safetensors"),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({**TINY_LLAMA, "hidden_size": 16})),
            "must have the shape that it has in the model",
        ),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({**TINY_LLAMA, "num_hidden_layers": 2})),
            "missing: ",
        ),
    ],
)
def test_folders_of_transformers_at_the_command_line(tmp_path, capsys, change, word):
    transformers = pytest.importorskip("transformers")
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**TINY_LLAMA)).save_pretrained(tmp_path)
    change(tmp_path)
    before = all_files(tmp_path)
    capsys.readouterr()
    with pytest.raises(SystemExit) as status:
        cli.main(["analyze", str(tmp_path)])
    printed = capsys.readouterr()
    assert status.value.code == 2 and not printed.out and word in printed.err
    assert printed.err.startswith("graphsparse: ") and printed.err.count("\n") == 1, printed.err
    assert all_files(tmp_path) == before
