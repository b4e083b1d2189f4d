"""Adapters on a masked base: zeros of the base stay when they are merged."""

from __future__ import annotations

import copy

import peft
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

import graphsparse as gs
from graphsparse.errors import GraphsparseError, MaskError
from graphsparse.training.callbacks.transformers import TransformersMasks
from graphsparse.training.lora import lora_sparsity

KINDS = {
    "linear": lambda: (nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), torch.randn(4, 6), ["0", "2"]),
    "convolution": lambda: (nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 2)), torch.randn(2, 2, 5, 5), ["0", "2"]),
    "embedding": lambda: (nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 2)), torch.arange(6)[None], ["0", "1"]),
}  # fmt: skip


def masked_base(kind: str) -> tuple[nn.Module, torch.Tensor, list[str], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    model, x, targets = KINDS[kind]()
    masks = {name: torch.rand(p.shape) < 0.4 for name, p in model.named_parameters() if p.dim() > 1}
    for name, mask in masks.items():
        model.get_parameter(name).data.mul_(mask)
    return model, x, targets, masks


def trained(model: nn.Module, x: torch.Tensor) -> None:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 0.05)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("given", [True, False], ids=["masks", "zeros"])
@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"use_rslora": True}], ids=["lora", "dora", "rslora"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_merge_is_pefts_own_where_the_base_has_a_weight_and_zero_elsewhere(kind, options, given):
    model, x, targets, masks = masked_base(kind)
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False, **options)
    )
    trained(adapted, x)
    dense = copy.deepcopy(adapted).merge_and_unload()
    found = lora_sparsity(adapted, x, masks if given else None)
    whole = gs.merge_lora(adapted, masks if given else None)
    merged = whole.model
    assert (
        all(torch.equal(whole.masks[name], mask) for name, mask in masks.items()) and whole.masks.keys() == masks.keys()
    )
    assert [name for name, _ in merged.named_parameters()] == [name for name, _ in dense.named_parameters()]
    for name, parameter in merged.named_parameters():
        expected = (
            torch.where(masks[name], dense.get_parameter(name), 0.0) if name in masks else dense.get_parameter(name)
        )
        assert torch.equal(parameter, expected)
    for name, mask in masks.items():
        assert dense.get_parameter(name)[~mask].any()  # their merge fills the zeros
    assert found.kept == sum(int(mask.sum()) for mask in masks.values())
    assert found.active == gs.sparsity(gs.export(merged, x)).active


def test_a_trainer_reports_the_sparsity_after_merging(tmp_path):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2, use_cache=False
    )
    base = LlamaForCausalLM(config)
    masks = {n: torch.rand(p.shape) < 0.3 for n, p in base.named_parameters() if p.dim() > 1 and "layers" in n}
    for name, mask in masks.items():
        base.get_parameter(name).data.mul_(mask)
    adapted = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj", "up_proj"]))
    rows = [{"input_ids": torch.arange(6) + at, "labels": torch.arange(6) + at} for at in range(8)]
    settings = TrainingArguments(
        str(tmp_path), per_device_train_batch_size=4, use_cpu=True, report_to=[], disable_tqdm=True, num_train_epochs=2,
        save_strategy="no", learning_rate=0.1,
    )  # fmt: skip
    trainer = Trainer(adapted, settings, train_dataset=rows)
    inputs = {"input_ids": torch.zeros(1, 6, dtype=torch.long)}
    TransformersMasks(masks, example_inputs=inputs, every=2).attach(trainer)
    trainer.train()
    reported = [row for row in trainer.state.log_history if "sparsity/effective" in row][-1]
    merged = gs.merge_lora(adapted).model
    assert all(not merged.get_parameter(name)[~mask].any() for name, mask in masks.items())
    found = gs.sparsity(gs.export(merged, None, kwargs=inputs))
    assert (reported["sparsity/direct"], reported["sparsity/effective"]) == (found.direct, found.effective)


def test_bad_input_is_one_line_and_leaves_the_model():
    model, x, targets, masks = masked_base("linear")
    with pytest.raises(GraphsparseError, match="a model to merge must be one of PEFT"):
        gs.merge_lora(model)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False))
    before = adapted(x)
    with pytest.raises(MaskError, match="shape of its parameter"):
        gs.merge_lora(adapted, {"0.weight": torch.ones(2, 2) > 0})
    assert torch.equal(adapted(x), before)
