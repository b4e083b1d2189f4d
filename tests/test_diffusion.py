"""Unmodified models of the diffusers library, tiny and random, against the gradients of torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import graphsparse as gs
from tests.judge import random_masks
from tests.mixed import VOCAB, compare_all, smooth

diffusers = pytest.importorskip("diffusers")


def timestep(run: int) -> torch.Tensor:
    """An integer, another one in each run."""
    return torch.tensor([31 * run + 3])


def label(run: int) -> torch.Tensor:
    """A class; see `tests.mixed` for what stands in its place."""
    return torch.tensor([1])


def places(count: int):
    """Positions in an image, the same in every run."""
    return lambda run: torch.arange(count * 3).reshape(count, 3)


UNET = {"sample_size": 4, "in_channels": 2, "block_out_channels": (4, 8), "layers_per_block": 1, "norm_num_groups": 2}
CROSS = {
    **UNET,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "cross_attention_dim": 6,
    "attention_head_dim": 2,
}
HEADS = {"num_attention_heads": 2, "in_channels": 2, "sample_size": 4, "patch_size": 2, "num_layers": 2}
NOISY = {"sample": smooth(1, 2, 4, 4), "timestep": timestep}
TEXT = {"encoder_hidden_states": smooth(1, 3, 6)}
POOLED = {"pooled_projections": smooth(1, 5)}
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "UNet2DConditionModel": (
        {**CROSS, "out_channels": 2, "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}, {**NOISY, **TEXT},
    ),
    "UNet2DModel": (
        {**UNET, "out_channels": 2, "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
         "up_block_types": ("AttnUpBlock2D", "UpBlock2D"), "attention_head_dim": 4}, NOISY,
    ),
    "ControlNetModel": (
        {**{name: value for name, value in CROSS.items() if name != "sample_size"},
         "conditioning_embedding_out_channels": (4, 4)}, {**NOISY, **TEXT, "controlnet_cond": smooth(1, 3, 8, 8)},
    ),
    "AutoencoderKL": (
        {**UNET, "sample_size": 8, "out_channels": 2, "latent_channels": 2, "down_block_types": ("DownEncoderBlock2D",) * 2,
         "up_block_types": ("UpDecoderBlock2D",) * 2}, {"sample": smooth(1, 2, 8, 8)},
    ),
    "DiTTransformer2DModel": (
        {**HEADS, "attention_head_dim": 4, "out_channels": 4, "norm_num_groups": 2, "num_embeds_ada_norm": VOCAB - 1},
        {"hidden_states": smooth(1, 2, 4, 4), "timestep": timestep, "class_labels": label},
    ),
    "SD3Transformer2DModel": (
        {**HEADS, "attention_head_dim": 4, "out_channels": 2, "joint_attention_dim": 6, "caption_projection_dim": 8,
         "pooled_projection_dim": 5, "pos_embed_max_size": 4},
        {"hidden_states": smooth(1, 2, 4, 4), "timestep": timestep, **TEXT, **POOLED},
    ),
    "FluxTransformer2DModel": (
        {"in_channels": 4, "patch_size": 1, "num_layers": 1, "num_single_layers": 1, "num_attention_heads": 2,
         "attention_head_dim": 8, "joint_attention_dim": 6, "pooled_projection_dim": 5, "axes_dims_rope": (4, 2, 2),
         "guidance_embeds": True},
        {"hidden_states": smooth(1, 4, 4), "timestep": smooth(1), "guidance": smooth(1), **TEXT, **POOLED,
         "img_ids": places(4), "txt_ids": places(3)},
    ),
}  # fmt: skip
TAKEN = {"class_labels": "tokens", "img_ids": "constant", "txt_ids": "constant"}


class Plain(nn.Module):
    """A model that returns tensors."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, **given):
        return self.model(**given, return_dict=False)


@pytest.mark.parametrize("name", MODELS)
def test_family_is_exact_without_norm_statistics_and_with(name):
    settings, inputs = MODELS[name]
    torch.manual_seed(0)
    model = Plain(getattr(diffusers, name)(**settings))
    for many, truly, graph in compare_all(model, inputs, (False, True)):
        assert many == 0, f"{many} too many, where {truly} are active"
        assert {each.name: each.taken for each in graph.inputs} == {name: TAKEN.get(name, "source") for name in inputs}
        assert graph.has_norm_statistics
        assert bool(graph.coverage.conservative) == ("class_labels" in inputs)


@pytest.mark.parametrize("name", MODELS)
def test_written_masks_leave_outputs_as_they_were_at_every_timestep(name):
    settings, inputs = MODELS[name]
    torch.manual_seed(0)
    model = Plain(getattr(diffusers, name)(**settings)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()  # some are zero at first, which would hide everything
    given = [{name: make(run) for name, make in inputs.items()} for run in range(3)]
    network = gs.network(model, (), kwargs=given[0])
    graph = gs.export(network, {}, norm_statistics=True)
    masks = random_masks(graph.shapes, 0.3)
    named = dict(model.named_parameters())
    with torch.no_grad():
        for kernel, mask in masks.items():
            named[kernel].mul_(mask)
        before = [torch.utils._pytree.tree_leaves(model(**each)) for each in given]
        effective = gs.effective_masks(graph.with_masks(masks))
        gs.write_masks(network, effective, norm_statistics=True)
        after = [torch.utils._pytree.tree_leaves(model(**each)) for each in given]
    assert sum(int(mask.sum()) for mask in effective.values()) > 0
    for one, other in zip(before, after, strict=True):
        for was, now in zip(one, other, strict=True):
            torch.testing.assert_close(now, was, rtol=1e-6, atol=1e-9)
