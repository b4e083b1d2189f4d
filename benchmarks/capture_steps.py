"""Capture of networks that take many steps: recurrent layers, pooled attention over video, hybrids with scans.

Each in a process of its own; seconds are those of `graphsparse.export` after a first small network.
Run: python benchmarks/capture_steps.py [name ...]     (all: about two minutes)
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import transformers
from timing import report
from torch import nn

import graphsparse as gs

HERE = Path(__file__).parent
transformers.logging.set_verbosity_error()


class Last(nn.Module):
    """A recurrent layer's outputs at every step."""

    def __init__(self, cells: nn.RNNBase):
        super().__init__()
        self.cells = cells

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cells(x)[0]


def lstm(steps: int) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """An LSTM of 64 units over so many steps."""
    return Last(nn.LSTM(32, 64, batch_first=True)), (torch.zeros(1, steps, 32),), {}


class Mixing(nn.Module):
    """Sequencer's block: bidirectional LSTMs over rows and over columns, then two fully connected layers."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.rows = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.columns = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.joined, self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width), nn.Linear(4 * hidden, width)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, height, width, channels = x.shape
        normed = self.first(x)
        rows = self.rows(normed.reshape(n * height, width, channels))[0].reshape(n, height, width, -1)
        turned = normed.transpose(1, 2).reshape(n * width, height, channels)
        columns = self.columns(turned)[0].reshape(n, width, height, -1).transpose(1, 2)
        x = x + self.second(torch.cat([columns, rows], -1))
        return x + self.mlp(self.joined(x))


class Down(nn.Module):
    """A quarter of the positions."""

    def __init__(self, width: int, to: int, step: int):
        super().__init__()
        self.patches = nn.Conv2d(width, to, step, step)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.patches(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def sequencer() -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """Sequencer2D-S's shape (Tatsunami and Taki 2022): 32 x 32 and 16 x 16 positions, 18 blocks, 28 million parameters."""
    stages = [nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Flatten(0, 1)), _Patches(7, 192)]
    stages += [Mixing(192, 48) for _ in range(4)] + [Down(192, 384, 2)]
    stages += [Mixing(384, 96) for _ in range(14)]
    return nn.Sequential(*stages, _Mean(), nn.Linear(384, 1000)), (torch.zeros(1, 3, 224, 224),), {}


class _Patches(nn.Module):
    def __init__(self, step: int, width: int):
        super().__init__()
        self.patches = nn.Conv2d(3, width, step, step)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.patches(x).permute(0, 2, 3, 1)


class _Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((1, 2))


class Pooled(nn.Module):
    """MViT v2's attention: queries, keys and values pooled by strided convolutions over time and space, residual queries."""

    def __init__(self, width: int, to: int, heads: int, size: tuple[int, int, int], q: int, kv: int):
        super().__init__()
        self.heads, self.size, self.each = heads, size, to // heads
        self.first, self.qkv, self.project = nn.LayerNorm(width), nn.Linear(width, 3 * to), nn.Linear(to, to)
        self.pools = nn.ModuleList(
            nn.Conv3d(self.each, self.each, 3, (1, s, s), 1, groups=self.each, bias=False) for s in (q, kv, kv)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(self.each) for _ in range(3))
        self.skip = nn.Linear(width, to) if to != width else nn.Identity()
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)) if q > 1 else None
        t, h, w = size
        self.after = (t, h // q, w // q)
        kept = (t, -(-h // kv), -(-w // kv))
        self.places = nn.ParameterList(
            nn.Parameter(torch.randn(a + b - 1, self.each)) for a, b in zip(self.after, kept, strict=True)
        )
        for axis, (a, b) in enumerate(zip(self.after, kept, strict=True)):
            self.register_buffer(f"apart{axis}", torch.arange(a)[:, None] - torch.arange(b)[None] + b - 1)
        self.second = nn.LayerNorm(to)
        self.mlp = nn.Sequential(nn.Linear(to, 4 * to), nn.GELU(), nn.Linear(4 * to, to))

    def _pooled(self, x: torch.Tensor, which: int) -> tuple[torch.Tensor, tuple[int, ...]]:
        first, x = x[:, :, :1], x[:, :, 1:]
        n = x.size(0)
        x = x.reshape(n * self.heads, *self.size, self.each).permute(0, 4, 1, 2, 3)
        x = self.pools[which](x)
        size = tuple(x.shape[2:])
        x = x.flatten(2).transpose(1, 2).reshape(n, self.heads, -1, self.each)
        return self.norms[which](torch.cat([first, x], 2)), size

    def _relative(self, q: torch.Tensor, kept: tuple[int, ...]) -> torch.Tensor:
        q = q[:, :, 1:].reshape(q.size(0), self.heads, *self.after, self.each)
        t = torch.einsum("bythwc,tkc->bythwk", q, self.places[0][self.apart0])
        h = torch.einsum("bythwc,hkc->bythwk", q, self.places[1][self.apart1])
        w = torch.einsum("bythwc,wkc->bythwk", q, self.places[2][self.apart2])
        made = t[..., :, None, None] + h[..., None, :, None] + w[..., None, None, :]
        return nn.functional.pad(made.flatten(5).flatten(2, 4), (1, 0, 1, 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, _ = x.shape
        normed = self.first(x)
        q, k, v = self.qkv(normed).reshape(n, tokens, 3, self.heads, self.each).permute(2, 0, 3, 1, 4)
        (q, _), (k, kept), (v, _) = self._pooled(q, 0), self._pooled(k, 1), self._pooled(v, 2)
        scores = (q * self.each**-0.5) @ k.transpose(2, 3) + self._relative(q, kept)
        out = scores.softmax(-1) @ v
        out = torch.cat([out[:, :, :1], out[:, :, 1:] + q[:, :, 1:]], 2)
        out = self.project(out.transpose(1, 2).flatten(2))
        x = self._skipped(self.skip(normed) if isinstance(self.skip, nn.Linear) else x) + out
        return x + self.mlp(self.second(x))

    def _skipped(self, x: torch.Tensor) -> torch.Tensor:
        if self.pool is None:
            return x
        first, rest = x[:, :1], x[:, 1:]
        rest = self.pool(rest.transpose(1, 2).reshape(len(x), -1, *self.size)).flatten(2).transpose(1, 2)
        return torch.cat([first, rest], 1)


class Video(nn.Module):
    """MViT v2 S's shape (Li and others 2022): 16 blocks over 16 x 224 x 224."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.cls = nn.Conv3d(3, 96, (3, 7, 7), (2, 4, 4), (1, 3, 3)), nn.Parameter(torch.randn(1, 1, 96))
        width, heads, side, kv = 96, 1, 56, 8
        blocks = []
        for block in range(16):
            grows = block in (1, 3, 14)
            to, q = (2 * width, 2) if grows else (width, 1)
            heads, kv = (2 * heads, kv // 2) if grows else (heads, kv)
            blocks.append(Pooled(width, to, heads, (8, side, side), q, kv * q if grows else kv))
            width, side = to, side // q
        self.blocks, self.norm, self.head = nn.Sequential(*blocks), nn.LayerNorm(width), nn.Linear(width, 400)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        return self.head(self.norm(self.blocks(x))[:, 0])


def video() -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """A video network with pooled attention."""
    return Video(), (torch.zeros(1, 3, 16, 224, 224),), {}


def hybrid(kind: str, **settings: Any) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
    """A tiny network of the transformers library with two layers and eight tokens."""
    config = transformers.AutoConfig.for_model(kind, **settings)
    config.use_cache = False
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return model, (), {"input_ids": torch.arange(8)[None]}


TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
EXPERTS = {
    "moe_intermediate_size": 16, "num_local_experts": 4, "num_experts_per_tok": 2, "kv_lora_rank": 16, "v_head_dim": 8,
    "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "num_key_value_heads": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
NETWORKS: dict[str, tuple[Callable[[], tuple[nn.Module, tuple[Any, ...], dict[str, Any]]], str, float | None]] = {
    "LSTM, 200 steps": (lambda: lstm(200), "unrolled", 1),
    "LSTM, 1000 steps": (lambda: lstm(1000), "unrolled", None),
    "Sequencer2D-S, 224 x 224": (sequencer, "channel", 5),
    "MViT v2 S, 16 x 224 x 224": (video, "channel", 20),
    "falcon_h1, tiny": (
        lambda: hybrid("falcon_h1", **TINY, num_key_value_heads=2, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8,
                       mamba_n_groups=1, mamba_d_state=16), "channel", 15),
    "kimi_linear, tiny": (
        lambda: hybrid("kimi_linear", **TINY, **EXPERTS, layer_types=["linear_attention", "full_attention"],
                       linear_num_heads=32, linear_head_dim=8), "channel", 15),
    "bailing_hybrid, tiny": (
        lambda: hybrid("bailing_hybrid", **TINY, **EXPERTS, layer_types=["linear_attention", "full_attention"],
                       head_dim=8, n_group=1, topk_group=1, first_k_dense_replace=1), "channel", 15),
}  # fmt: skip


def measure(name: str) -> dict[str, Any]:
    """A row: what, units, layers, seconds, the goal."""
    gs.export(nn.Linear(1, 1), torch.zeros(1, 1))  # what torch.export imports and compiles at its first use
    make, resolution, goal = NETWORKS[name]
    model, args, kwargs = make()
    start = perf_counter()
    graph = gs.export(model.eval(), args, masks={}, kwargs=kwargs, resolution=resolution)
    seconds = perf_counter() - start
    return {
        "network": name, "resolution": resolution, "million connections": graph.n_connections / 1e6, "units": graph.n_units,
        "layers": len(graph.layers), "seconds": seconds, "goal": "" if goal is None else goal,
    }  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(sys.argv[2])))
    else:
        rows = []
        for name in sys.argv[1:] or NETWORKS:
            ran = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True, check=True)
            rows.append(json.loads(ran.stdout.splitlines()[-1]))
        report("Capture that grows with the network, seconds", rows, HERE / "capture_steps.json")
