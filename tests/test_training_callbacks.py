"""Masks in trainers: a plain loop, Lightning beside its own pruning, and the Trainer of transformers."""

from __future__ import annotations

import copy
import importlib
import io
import logging
import re
import sys
import warnings

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelPruning
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import graphsparse as gs
from graphsparse.errors import GraphsparseError, MissingExtra
from graphsparse.training.callbacks.lightning import LightningMasks
from graphsparse.training.callbacks.loop import Collapsed, Loop
from graphsparse.training.callbacks.transformers import TransformersMasks
from graphsparse.training.dynamic import Dynamic
from graphsparse.training.gradual import Gradual
from graphsparse.training.kept_masks import KeptMasks
from graphsparse.training.schedules import Schedule

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
QUIET = {
    "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1,
}  # fmt: skip


def build() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 2))


def masks_of(model: nn.Module, density: float = 0.4) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return {n: torch.rand(p.shape, generator=draw) < density for n, p in model.named_parameters() if p.dim() > 1}


def sparsities(model: nn.Module, masks: dict[str, torch.Tensor]) -> dict[str, float]:
    found = gs.sparsity(gs.export(model, X[:1], masks))
    return {"sparsity/direct": found.direct, "sparsity/effective": found.effective}


class Module(pl.LightningModule):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def training_step(self, batch, index):
        return self.model(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 0.01)


def test_a_plain_loop_logs_both_sparsities_by_layer_and_in_total():
    model, logged = build(), []
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    handle = gs.keep_masks(model, masks_of(model), optimizer)
    loop = Loop(
        handle, gs.network(model, X[:1]), every=2, by_layer=True, log=lambda numbers, at: logged.append((at, numbers))
    )
    for step in range(1, 5):
        model(X).sum().backward()
        optimizer.step()
        loop.at(step)
    assert [step for step, _ in logged] == [2, 4]
    rows = gs.sparsity(gs.export(model, X[:1], masks_of(model))).rows
    expected = {f"sparsity/{kind}/{name}": row[kind] for name, row in rows.items() for kind in ("direct", "effective")}
    assert logged[-1][1] == {**sparsities(model, masks_of(model)), **expected}
    direct = Loop(handle, by_layer=True).measure()
    assert direct == {name: number for name, number in logged[-1][1].items() if "effective" not in name}


def test_a_schedule_is_told_and_its_dead_are_logged():
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    handle, network = gs.keep_masks(model, masks_of(model, 0.3), optimizer), gs.network(model, X[:1])
    loop = Loop(handle, network, Dynamic(handle, network, every=3, end=9, grow="random"), every=100)
    logged = [loop.at(step) for step in range(1, 7)]
    assert [bool(numbers) for numbers in logged] == [False, False, True, False, False, True]
    assert [numbers["sparsity/died"] for numbers in logged if numbers] == [
        sum(change.died.values()) for change in loop.changes
    ]
    assert sum(loop.changes[0].died.values()) > 0


@pytest.mark.parametrize("on_collapse", ["warn", "stop"])
def test_a_collapse_is_said_once_and_names_the_layer(on_collapse):
    model = build()
    masks = {**masks_of(model), "2.weight": torch.zeros(5, 8) > 0}
    loop = Loop(gs.keep_masks(model, masks), gs.network(model, X[:1]), every=1, on_collapse=on_collapse)
    with pytest.warns(Collapsed, match=r"no active connection is left in 2\.weight, 0\.weight, 4\.weight") as said:
        loop.at(1)
        loop.at(2)
    assert len(said) == 1 and loop.stop == (on_collapse == "stop") and "2.weight" in loop.collapsed


def test_settings_that_do_not_fit_are_refused():
    model = build()
    handle = gs.keep_masks(model, masks_of(model))
    with pytest.raises(GraphsparseError, match="on_collapse must be"):
        Loop(handle, on_collapse="cry")
    with pytest.raises(GraphsparseError, match="a schedule must have a network"):
        Loop(handle, None, Gradual(handle, gs.network(model, X[:1]), Schedule(0.5, end=3)))
    for callback in (LightningMasks, TransformersMasks):
        with pytest.raises(GraphsparseError, match="a schedule must have example inputs"):
            callback(schedule=lambda handle, network: Gradual(handle, network, Schedule(0.5, end=3)))


def fit(module: pl.LightningModule, callback: pl.Callback, folder, epochs: int = 2, **options) -> pl.Trainer:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="lightning|torch")
        trainer = pl.Trainer(
            max_epochs=epochs, callbacks=[callback], default_root_dir=folder, **{"logger": False, **QUIET, **options}
        )
        trainer.fit(module, DataLoader(X, batch_size=6))
    return trainer


def test_lightning_keeps_masks_logs_them_and_puts_them_into_checkpoints(tmp_path):
    model = build()
    masks = masks_of(model)
    callback = LightningMasks(masks, part="model", example_inputs=X[:1], every=2)
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    trainer = fit(Module(model), callback, tmp_path, accumulate_grad_batches=2, logger=logger)
    assert trainer.global_step == 4
    assert all(not model.get_parameter(name)[~mask].any() for name, mask in masks.items())
    for name, number in sparsities(model, masks).items():
        assert float(trainer.callback_metrics[name]) == pytest.approx(number)
    text = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text()
    assert "sparsity/effective" in text.splitlines()[0] and len(text.splitlines()) > 2
    other = LightningMasks(part="model")
    [saved] = (tmp_path / "lightning_logs" / "version_0" / "checkpoints").glob("*.ckpt")
    state = torch.load(saved, weights_only=False)["callbacks"]
    other.load_state_dict(next(each for name, each in state.items() if "LightningMasks" in name))
    assert all(torch.equal(other.masks[name], mask) for name, mask in masks.items())


def test_lightning_prunes_by_a_schedule_and_stops_at_a_collapse(tmp_path):
    model, changes = build(), []

    def schedule(handle, network):
        made = Gradual(handle, network, Schedule(0.6, begin=2, end=6, every=2))
        changes.append(made)
        return made

    trainer = fit(Module(model), LightningMasks(part="model", example_inputs=X[:1], schedule=schedule), tmp_path)
    assert trainer.global_step == 8
    assert float(trainer.callback_metrics["sparsity/effective"]) == pytest.approx(0.6, abs=0.05)
    nothing = {"2.weight": torch.zeros(5, 8) > 0}
    stopping = LightningMasks(nothing, part="model", example_inputs=X[:1], every=1, on_collapse="stop")
    with pytest.warns(Collapsed, match=r"left in 2\.weight, 0\.weight"):
        trainer = fit(Module(build()), stopping, tmp_path)
    assert trainer.global_step == 1


class Twice(nn.Module):
    """A network whose two hidden layers are one."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


def test_lightnings_own_pruning_and_ours_on_one_run(tmp_path):
    """Theirs counts a tied weight twice and what is dead as kept; the log is of masks, so biases that are zero are none."""
    torch.manual_seed(0)
    module = Module(Twice())
    theirs = ModelPruning(
        "l1_unstructured", parameter_names=["weight"], amount=0.9, verbose=1, make_pruning_permanent=False
    )
    said, logger = io.StringIO(), logging.getLogger("lightning.pytorch.callbacks.pruning")
    handler, level = logging.StreamHandler(said), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        fit(module, theirs, tmp_path, epochs=1)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    [(zeros, entries)] = re.findall(r"-> (\d+)/(\d+)", said.getvalue())
    ours = gs.sparsity(gs.export(module.model, X[:1]))
    assert int(entries) == 36 + 36 + 12 and ours.connections == 36 + 12
    assert int(zeros) / int(entries) != pytest.approx(ours.direct, abs=1e-3)
    assert ours.effective > 1 - (int(entries) - int(zeros)) / int(entries)


class Words(Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, at):
        draw = torch.Generator().manual_seed(at)
        return {"input_ids": torch.randint(20, (6,), generator=draw), "labels": torch.tensor(at % 2)}


def trainer_of(folder, **options) -> Trainer:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=8, num_labels=2,
    )  # fmt: skip
    settings = TrainingArguments(
        str(folder), per_device_train_batch_size=4, use_cpu=True, report_to=[], disable_tqdm=True, save_steps=4,
        logging_steps=2, learning_rate=0.01, **{"num_train_epochs": 1, **options},
    )  # fmt: skip
    return Trainer(BertForSequenceClassification(config), settings, train_dataset=Words())


def test_the_trainer_of_transformers_keeps_masks_logs_and_saves_them(tmp_path):
    trainer = trainer_of(tmp_path, gradient_accumulation_steps=2, num_train_epochs=2)
    model = trainer.model
    masks = {name: mask for name, mask in masks_of(model, 0.5).items() if "encoder" in name}
    inputs = {"input_ids": torch.zeros(1, 6, dtype=torch.long)}
    TransformersMasks(masks, example_inputs=inputs, every=2).attach(trainer)
    trainer.train()
    assert all(not model.get_parameter(name)[~mask].any() for name, mask in masks.items())
    found = gs.sparsity(gs.export(model, None, masks, kwargs=inputs))
    logged = [row for row in trainer.state.log_history if "sparsity/effective" in row]
    assert [row["step"] for row in logged] == [0, 2, 4]
    assert logged[-1]["sparsity/effective"] == pytest.approx(found.effective)
    read = gs.read_masks(tmp_path / "checkpoint-4" / "masks.safetensors")
    assert all(torch.equal(read[name], mask) for name, mask in masks.items())


def test_every_process_gathers_the_masks_that_the_first_one_saves(tmp_path, monkeypatch):
    trainer, asked, masks = trainer_of(tmp_path, max_steps=4), [], vars(KeptMasks)["masks"].fget
    monkeypatch.setattr(KeptMasks, "masks", property(lambda handle: asked.append(handle) or masks(handle)))
    callback = TransformersMasks({"classifier.weight": torch.eye(2, 8) > 0}, every=99).attach(trainer)
    trainer.state.is_world_process_zero = False
    callback._begin(trainer.model)
    asked.clear()
    callback.on_save(trainer.args, trainer.state, trainer.control)
    assert len(asked) == 1 and not list(tmp_path.rglob("masks.safetensors"))


def test_a_network_of_a_copy_takes_the_place_of_example_inputs(tmp_path):
    model, changes = build(), []
    copied = gs.network(copy.deepcopy(model), X[:1])

    def schedule(handle, network):
        assert network is copied
        changes.append(Gradual(handle, network, Schedule(0.6, begin=2, end=6, every=2)))
        return changes[-1]

    trainer = fit(Module(model), LightningMasks(part="model", network=copied, schedule=schedule), tmp_path)
    found = gs.sparsity(gs.export(model, X[:1], {n: p != 0 for n, p in model.named_parameters() if p.dim() > 1}))
    assert found.effective == pytest.approx(0.6, abs=0.05) and len(changes) == 1
    assert float(trainer.callback_metrics["sparsity/effective"]) == pytest.approx(found.effective)


def test_the_trainer_of_transformers_stops_at_a_collapse(tmp_path):
    trainer = trainer_of(tmp_path)
    name = "classifier.weight"
    callback = TransformersMasks(
        {name: torch.zeros(2, 8) > 0}, example_inputs={"input_ids": torch.zeros(1, 6, dtype=torch.long)},
        every=1, on_collapse="stop",
    )  # fmt: skip
    trainer.add_callback(callback)
    with pytest.warns(Collapsed, match=r"left in classifier\.weight, .* and \d+ more"):
        trainer.train()
    assert trainer.state.global_step == 1 and any("sparsity/direct" in row for row in trainer.state.log_history)


@pytest.mark.parametrize("library", ["lightning", "transformers"])
def test_a_callback_without_its_library_names_the_extra(monkeypatch, library):
    for name in [library, *(each for each in sys.modules if each.startswith(f"{library}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"graphsparse.training.callbacks.{library}", raising=False)
    with pytest.raises(MissingExtra, match=rf"Way out: pip install 'graphsparse\[{library}\]'"):
        importlib.import_module(f"graphsparse.training.callbacks.{library}")
