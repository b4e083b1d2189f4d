"""Models of the transformers library, tiny and random."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest
from torch import nn
from torch.nn.utils import parametrize

from tests.mixed import RUNS, TINY, VOCAB, Called, smooth, tokens

hf = pytest.importorskip("transformers")


TEXT = {"input_ids": tokens}


def causal(name: str, *, sizes: Mapping[str, Any] = TINY, head: str = "", **settings: Any):
    """A decoder of the library by its name, without a cache."""

    def build(attention: str) -> nn.Module:
        config = getattr(hf, f"{name}Config")(**{**sizes, **settings}, attn_implementation=attention)
        return Called(getattr(hf, head or f"{name}ForCausalLM")(config), use_cache=False)

    return build


def masked(name: str, **settings: Any):
    def build(attention: str) -> nn.Module:
        config = getattr(hf, f"{name}Config")(**{**TINY, "pad_token_id": 0, **settings}, attn_implementation=attention)
        return Called(getattr(hf, f"{name}ForMaskedLM")(config))

    return build


GROUPED = {"num_key_value_heads": 1, "head_dim": 4}
DECODERS = {
    "gpt2": causal(
        "GPT2",
        head="GPT2LMHeadModel",
        sizes={},
        n_embd=8,
        n_layer=2,
        n_head=2,
        n_positions=16,
        vocab_size=VOCAB,
        bos_token_id=0,
        eos_token_id=0,
    ),
    "opt": causal("OPT", ffn_dim=10, word_embed_proj_dim=8, pad_token_id=1),
    "llama": causal("Llama", **GROUPED),
    "llama-tied": causal("Llama", num_key_value_heads=2, tie_word_embeddings=True),
    "mistral": causal("Mistral", **GROUPED, sliding_window=3),
    "qwen2": causal("Qwen2", num_key_value_heads=1),
    "qwen3": causal("Qwen3", **GROUPED),
    "gemma": causal("Gemma", **GROUPED),
    "gemma2": causal("Gemma2", **GROUPED, sliding_window=3),
    "gemma3": causal("Gemma3Text", head="Gemma3ForCausalLM", **GROUPED, sliding_window=3),
    "phi": causal("Phi", num_key_value_heads=2),
    "phi3": causal("Phi3", num_key_value_heads=2),
}
ENCODERS = {
    "bert": masked("Bert"),
    "roberta": masked("Roberta", max_position_embeddings=20),
    "distilbert": masked("DistilBert", dim=8, hidden_dim=10, n_heads=2, n_layers=2),
}


IMAGE = {"pixel_values": smooth(1, 3, 16, 16)}
SEEN = {
    "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 10, "image_size": 16,
    "patch_size": 8,
}  # fmt: skip


def classifier(name: str, output: str = "logits", head: str = "", **settings: Any):
    def build(attention: str) -> nn.Module:
        config = getattr(hf, f"{name}Config")(**settings, **({"attn_implementation": attention} if attention else {}))
        return Called(getattr(hf, head or f"{name}ForImageClassification")(config), output)

    return build


VISION = {
    "vit": (classifier("ViT", **SEEN), IMAGE, 3),
    "deit": (classifier("DeiT", **SEEN), IMAGE, 3),
    "clip": (classifier("CLIPVision", "last_hidden_state", "CLIPVisionModel", **SEEN), IMAGE, 3),
    "swin": (classifier("Swin", image_size=16, patch_size=2, embed_dim=4, depths=[2, 1], num_heads=[1, 2], window_size=4), IMAGE, 3),
    "swinv2": (classifier("Swinv2", image_size=16, patch_size=2, embed_dim=4, depths=[2, 1], num_heads=[1, 2], window_size=4), IMAGE, 3),
    "convnext": (classifier("ConvNext", hidden_sizes=[4, 6], depths=[1, 1], num_stages=2, patch_size=2), IMAGE, 3),
    "convnextv2": (classifier("ConvNextV2", hidden_sizes=[4, 6], depths=[1, 1], num_stages=2, patch_size=2), IMAGE, 3),
    "segformer": (classifier("Segformer", num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[4, 6], patch_sizes=[3, 3],
                             strides=[2, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=5), IMAGE, 3),
}  # fmt: skip


def unparametrised(model: nn.Module) -> nn.Module:
    """Kernels in place of their weight norm, whose length would make every entry of a kernel move every other."""
    for module in model.modules():
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
    return model


def whole(name: str, head: str, output: str = "logits", fixed: Mapping[str, Any] | None = None, **settings: Any):
    """Any other model of the library."""

    def build(attention: str) -> nn.Module:
        config = getattr(hf, f"{name}Config")(**settings, **({"attn_implementation": attention} if attention else {}))
        return Called(unparametrised(getattr(hf, head)(config)), output, **(fixed or {}))

    return build


BOTH = {"input_ids": tokens, "decoder_input_ids": tokens}
SMALL = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
         "encoder_ffn_dim": 10, "decoder_ffn_dim": 10, "vocab_size": VOCAB}  # fmt: skip
OTHERS = {
    "t5": (whole("T5", "T5ForConditionalGeneration", fixed={"use_cache": False}, vocab_size=VOCAB, d_model=8, d_kv=4, d_ff=10,
                 num_layers=1, num_heads=2, decoder_start_token_id=0), BOTH, 3),
    "bart": (whole("Bart", "BartForConditionalGeneration", fixed={"use_cache": False}, max_position_embeddings=16, pad_token_id=1,
                   decoder_start_token_id=2, **SMALL), BOTH, 3),
    "whisper": (whole("Whisper", "WhisperForConditionalGeneration", fixed={"use_cache": False}, num_mel_bins=4, max_source_positions=6,
                      max_target_positions=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, **SMALL),
                {"input_features": smooth(1, 4, 12), "decoder_input_ids": tokens}, 3),
    "wav2vec2": (whole("Wav2Vec2", "Wav2Vec2ForCTC", hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=10,
                       conv_dim=(4, 4), conv_stride=(3, 2), conv_kernel=(4, 3), num_feat_extract_layers=2, vocab_size=VOCAB,
                       num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2), {"input_values": smooth(1, 40)}, 3),
    "mamba": (whole("Mamba", "MambaForCausalLM", fixed={"use_cache": False}, vocab_size=VOCAB, hidden_size=6, state_size=3,
                    num_hidden_layers=1, expand=2, time_step_rank=2, conv_kernel=3), TEXT, 3),
    "mixtral": (whole("Mixtral", "MixtralForCausalLM", fixed={"use_cache": False}, num_key_value_heads=1, num_local_experts=3,
                      num_experts_per_tok=3, **TINY), TEXT, 3),
    "qwen-moe": (whole("Qwen2Moe", "Qwen2MoeForCausalLM", fixed={"use_cache": False}, num_key_value_heads=1, num_experts=3,
                       num_experts_per_tok=3, moe_intermediate_size=5, shared_expert_intermediate_size=6, **TINY), TEXT, 3),
}  # fmt: skip

FAMILIES = {**{name: (build, TEXT, RUNS) for name, build in {**DECODERS, **ENCODERS}.items()}, **VISION, **OTHERS}
ROUTED = ("mixtral", "qwen-moe")
STATISTICS = {"gpt2": "sdpa", "bert": "sdpa"}
OWN_ATTENTION = ("convnext", "convnextv2", "mamba", "swinv2")  # no choice of implementation
EAGER = ("gemma2", "t5", "gpt2", "bert", "swin")


def built(name: str, attention: str) -> nn.Module:
    return FAMILIES[name][0]("" if name in OWN_ATTENTION else attention)
