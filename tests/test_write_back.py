"""Masks written back: what the network computes stays what it was."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

import graphsparse as gs
from graphsparse import data, zoo
from graphsparse.checkpoints import read_checkpoint
from graphsparse.errors import MaskError
from graphsparse.networks.filling import load_model


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 9), nn.Sigmoid(), nn.Linear(9, 4))


def convolutional(padding: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=padding), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=padding), nn.ReLU(),
        nn.AvgPool2d(2), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3),
    )  # fmt: skip


def pruned(model: nn.Module, example: torch.Tensor, density: float, seed: int) -> nn.Module:
    """The model in evaluation mode with random biases and batch norm states, and zeros in its kernels."""
    model(example)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.dim() > 1:
                tensor.mul_(torch.rand(tensor.shape, generator=generator) < density)
            elif tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return model.eval()


def assert_unchanged(model: nn.Module, example: torch.Tensor, **options) -> gs.surgery.Written:
    inputs = torch.randn(20, *example.shape[1:], generator=torch.Generator().manual_seed(1))
    before = model(inputs)
    written = gs.write_masks(model, gs.effective_masks(gs.export(model, example)), example_inputs=example, **options)
    torch.testing.assert_close(model(inputs), before, rtol=1e-4, atol=1e-5)
    return written


class OfPair(nn.Module):
    """Two tensors in one argument."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 1)

    def forward(self, pair):
        return self.second(self.first(pair[0] + pair[1]))


class Tied(nn.Module):
    """A constant goes through one use of a weight, whose other use has a mask."""

    def __init__(self):
        super().__init__()
        self.constant, self.masked, self.whole = (nn.Linear(4, 4) for _ in range(3))
        self.out = nn.Linear(4, 3)
        self.whole.weight = self.masked.weight
        prune.custom_from_mask(self.masked, "weight", torch.eye(4))
        nn.init.zeros_(self.constant.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.whole(torch.relu(self.constant(x))))) + self.masked(x)[:, :3]


def test_constants_are_measured_under_the_mask_of_each_use():
    model = Tied().eval()
    with torch.no_grad():
        for bias in (model.constant.bias, model.whole.bias):
            bias.fill_(3.0)
    written = assert_unchanged(model, torch.ones(2, 4))
    assert {name for name, _, _ in written.folded} == {"out.bias"}


def test_constants_are_measured_where_inputs_stand_inside_a_tuple():
    model, given = OfPair(), ((torch.rand(1, 2), torch.rand(1, 2)),)
    with torch.no_grad():
        model.first.weight[0] = 0
    written = gs.write_masks(model, gs.effective_masks(gs.export(model, given)), example_inputs=given)
    assert [name for name, _, _ in written.folded] == ["second.bias"] and not written.kept


MODELS = {
    "perceptron": (perceptron, (1, 6)),
    "padded": (lambda: convolutional(1), (1, 1, 8, 8)),
    "unpadded": (lambda: convolutional(0), (1, 1, 8, 8)),
}


@pytest.mark.parametrize("form", ["prune", "zeros"])
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_do_not_change(name, fold, form):
    factory, shape = MODELS[name]
    folded = kept = 0
    for seed, density in enumerate((0.5, 0.25, 0.12)):
        model = pruned(factory(), torch.zeros(2, *shape[1:]), density, seed)
        written = assert_unchanged(model, torch.zeros(shape), form=form, fold_constants=fold)
        folded, kept = folded + len(written.folded), kept + sum(written.kept.values())
        found = gs.export(model, torch.zeros(shape))
        assert all(torch.equal(torch.from_numpy(found.masks[n].unpack()), written.masks[n]) for n in written.masks)
    assert bool(folded) == fold and bool(kept) == (not fold or name == "padded")


@settings(max_examples=15, deadline=None)
@given(density=st.floats(0.1, 0.7), seed=st.integers(0, 10_000))
def test_random_perceptrons(density, seed):
    assert_unchanged(pruned(perceptron(), torch.zeros(2, 6), density, seed), torch.zeros(1, 6))


def test_dropping_without_folding_would_change_the_outputs():
    """The check that the tests above can fail: the same masks without the folding."""
    model = pruned(perceptron(), torch.zeros(2, 6), 0.25, 1)
    inputs, masks = torch.randn(20, 6), gs.effective_masks(gs.export(model, torch.zeros(1, 6)))
    plain = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])
    assert not torch.allclose(plain(inputs), model(inputs), atol=1e-3)


def test_a_shared_module_folds_only_one_and_the_same_constant():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.shared, self.head = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(torch.relu(self.shared(torch.relu(self.shared(torch.relu(self.first(x)))))))

    for seed in range(5):
        assert_unchanged(pruned(Twice(), torch.zeros(2, 3), 0.35, seed), torch.zeros(1, 3))


@pytest.mark.parametrize("checkpoint", list(data.CHECKPOINTS))
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_real_checkpoints_to_files(checkpoint, suffix, tmp_path):
    factory = data.CHECKPOINTS[checkpoint]
    example, images = torch.zeros(1, *zoo.input_shape(factory)), torch.from_numpy(data.digits("test")[0])
    before = load_model(zoo.build(factory), read_checkpoint(data.path(checkpoint))).model.eval()
    masks, target = gs.effective_masks(gs.export(before, example)), tmp_path / f"out.{suffix}"
    written = gs.write_masks(target, masks, weights=data.path(checkpoint), model=before, example_inputs=example)
    after = load_model(zoo.build(factory), read_checkpoint(target)).model.eval()
    with torch.no_grad():
        first, second = before(images), after(images)
    # a batch norm over a channel that training saw constant has a variance of zero, and multiplies rounding by 300
    torch.testing.assert_close(second, first, rtol=1e-5, atol=1e-3 if checkpoint == "digits-conv-200x.pt" else 1e-4)
    assert torch.equal(second.argmax(1), first.argmax(1))
    again = gs.read_masks(target)
    assert all(torch.equal(again[name], written.masks[name]) for name in written.masks)


@pytest.mark.parametrize("form", ["prune", "zeros"])
def test_live_masks_are_torchs_own(form):
    model = pruned(perceptron(), torch.zeros(2, 6), 0.4, 0)
    masks = gs.effective_masks(gs.export(model, torch.zeros(1, 6)))
    gs.write_masks(model, masks, example_inputs=torch.zeros(1, 6), form=form)
    assert prune.is_pruned(model) == (form == "prune")
    assert all(torch.equal(gs.read_masks(model.state_dict())[name], mask) for name, mask in masks.items())


def test_errors_change_nothing(tmp_path):
    model, file = perceptron(), tmp_path / "net.pt"
    torch.save(model.state_dict(), file)
    before = file.read_bytes()
    for arguments in ({"masks": {"0.weight": torch.ones(2, 2).bool()}, "fold_constants": False}, {"masks": {}},
                      {"masks": {}, "form": "nope"}):  # fmt: skip
        with pytest.raises(MaskError):
            gs.write_masks(file, **arguments)
        assert file.read_bytes() == before
    with pytest.raises(MaskError, match="example_inputs"):
        gs.write_masks(model, {})


def test_a_killed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "net.safetensors"
    gs.write_masks(file, {}, weights={"a.weight": torch.ones(4, 4)}, fold_constants=False)
    before = file.read_bytes()
    script = textwrap.dedent(f"""
        import os, signal, torch, graphsparse as gs
        real = os.fsync
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        gs.write_masks({str(file)!r}, {{}}, weights={{"a.weight": torch.zeros(500, 500)}}, fold_constants=False)
    """)
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert file.read_bytes() == before


class Chosen(nn.Module):
    """What a layer computes is only compared."""

    def __init__(self):
        super().__init__()
        self.gate, self.one, self.two = (nn.Linear(4, 3) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(self.gate(x) > 0, self.one(x), self.two(x))


class Codebook(nn.Module):
    """The nearest of some codes, by an index that the model computes."""

    def __init__(self):
        super().__init__()
        self.encode, self.codes = nn.Linear(4, 3), nn.Embedding(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.encode(x)
        return made + self.codes((made @ self.codes.weight.T).argmax(-1))


class Scaled(nn.Module):
    """A kernel divided by its own largest entry, behind dead units."""

    def __init__(self):
        super().__init__()
        self.before, self.layer = nn.Linear(4, 5, bias=False), nn.Linear(5, 3)
        with torch.no_grad():
            self.before.weight[1:3] = 0
            self.layer.weight[:, 1] = 3.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.layer.weight
        return nn.functional.linear(self.before(x), weight / weight.abs().max(), self.layer.bias)


@pytest.mark.parametrize(
    ("kind", "kept"),
    [(Chosen, {"gate.weight": 12}), (Codebook, {"codes.weight": 15}), (Scaled, {"layer.weight": 6})],
)
def test_what_outputs_see_without_a_path_stays(kind, kept):
    torch.manual_seed(0)
    written = assert_unchanged(kind().eval(), torch.zeros(1, 4))
    assert written.kept == kept
