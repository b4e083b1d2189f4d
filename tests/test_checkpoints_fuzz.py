"""Damaged copies of good files of every form: read, or refused with one printable line; never anything else."""

from __future__ import annotations

import pytest

from benchmarks.mutations import fuzz, read_mutant, samples

COUNT = 300  # of each form; benchmarks/hostile.py runs 1,000,000 in all


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return samples(tmp_path_factory.mktemp("good"))


NAMES = [
    "zeros-safetensors", "zeros-pt", "prune-pt", "parametrization-safetensors", "bits-safetensors", "openlth-pth",
    "csr-npz", "sparse-bitmask-safetensors", "weight-mask", "module-mask", "nncf", "openlth-model", "nni", "rigl", "coo",
    "csr-tensors", "wrapped", "legacy", "list", "compressed", "keras", "jaxpruner", "npy", "pt2", "index",
]  # fmt: skip


def test_every_sample_is_here(files):
    assert sorted(files) == sorted(NAMES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_mutations(files, name):
    path = files[name]
    assert read_mutant(path), "the good file is read"
    beside = sorted(file.name for file in path.parent.iterdir())
    outcome = fuzz(path, COUNT, seed=NAMES.index(name))
    assert outcome.read + outcome.refused == COUNT and outcome.refused > COUNT // 2
    assert sorted(file.name for file in path.parent.iterdir()) == beside and read_mutant(path)
