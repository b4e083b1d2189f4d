"""Small models with heads of attention of every kind, and with mixtures of experts of every form."""

from __future__ import annotations

import torch
from torch import nn


def _positive(values: torch.Tensor) -> torch.Tensor:
    return nn.functional.elu(values) + 1


def _retention(q, k, v):
    state, results = torch.zeros(1, q.shape[1], q.shape[-1], v.shape[-1]), []
    for t in range(q.shape[2]):
        now = k[:, :, t : t + 1].mT @ v[:, :, t : t + 1]
        results.append(q[:, :, t : t + 1] @ (state + 0.5 * now))
        state = state * 0.9 + now
    return torch.cat(results, 2)


def _chunked(q, k, v):
    """Windows of two positions, on the leading axes."""
    q, k, v = (each.unflatten(2, (-1, 2)) for each in (q, k, v))
    return (torch.softmax(q @ k.mT, -1) @ v).flatten(2, 3)


MIXED = {
    "softmax": lambda q, k, v: torch.softmax(q @ k.mT, -1) @ v,
    "one operation": nn.functional.scaled_dot_product_attention,
    "linear": lambda q, k, v: _positive(q) @ (_positive(k).mT @ v) / (_positive(q) @ _positive(k).sum(-2).unsqueeze(-1)),
    "einsum": lambda q, k, v: torch.einsum("bhtd,bhde->bhte", q, torch.einsum("bhtd,bhte->bhde", k, v)),
    "sigmoid": lambda q, k, v: torch.sigmoid(q @ k.mT) @ v,
    "parallel retention": lambda q, k, v: (q @ k.mT * 0.9).tril() @ v,
    "recurrent retention": _retention,
    "gated": lambda q, k, v: (q @ (k * torch.sigmoid(q)).mT).tril() @ v,
    "windows": _chunked,
}  # fmt: skip


class Attention(nn.Module):
    """Four heads of two features, mixed in one of the ways of `MIXED`; queries may share keys and values."""

    def __init__(self, kind: str, groups: int = 4):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 2 * groups), nn.Linear(8, 2 * groups)
        self.o, self.groups, self.kind = nn.Linear(8, 3), groups, kind

    def forward(self, x):
        q, k, v = (part(x).unflatten(-1, (-1, 2)).transpose(1, 2) for part in (self.q, self.k, self.v))
        k, v = (each.repeat_interleave(4 // self.groups, 1) for each in (k, v))
        return self.o(MIXED[self.kind](q, k, v).transpose(1, 2).flatten(2))


class FastPath(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.o = nn.MultiheadAttention(8, 4, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.o(self.mix(x, x, x, need_weights=False)[0])


class InOneModule(nn.Module):
    """Two attentions that no module of their own holds; the second has no kernel for values."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(8, 8) for _ in range(6))

    def forward(self, x):
        q, k, v, o, q2, k2 = (lambda x, part=part: part(x).unflatten(-1, (4, 2)).transpose(1, 2) for part in self.parts)
        x = x + o((torch.softmax(q(x) @ k(x).mT, -1) @ v(x)).transpose(1, 2).flatten(2)).transpose(1, 2).flatten(2)
        return torch.softmax(q2(x) @ k2(x).mT, -1) @ x.unflatten(-1, (4, 2)).transpose(1, 2)


class ListedHeads(nn.Module):
    """Two heads whose kernels are modules in lists: they look like experts, but are not added."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.ModuleList(nn.Linear(8, 2) for _ in range(2)) for _ in range(3))

    def forward(self, x):
        heads = [torch.softmax(q(x) @ k(x).mT, -1) @ v(x) for q, k, v in zip(self.q, self.k, self.v)]
        return torch.cat(heads, -1)


class Gated(nn.Module):
    """An expert."""

    def __init__(self):
        super().__init__()
        self.w1, self.w2, self.w3 = (nn.Linear(4, 4, bias=False) for _ in range(3))

    def forward(self, x):
        return self.w2(nn.functional.silu(self.w1(x)) * self.w3(x))


class Mixture(nn.Module):
    """Three experts in modules; ``kind`` says how their results are put together."""

    def __init__(self, kind: str):
        super().__init__()
        self.router, self.kind = nn.Linear(4, 3), kind
        self.experts = nn.ModuleList(Gated() for _ in range(3))

    def forward(self, x):
        p, experts = torch.softmax(self.router(x), -1), list(enumerate(self.experts))
        if self.kind == "joined":
            return torch.einsum("bte,bted->btd", p, torch.stack([expert(x) for _, expert in experts], -2))
        if self.kind == "routed inputs":
            return sum(expert(x * p[..., n : n + 1]) for n, expert in experts)
        if self.kind == "ensemble":
            return sum(expert(x) for _, expert in experts)
        best, chosen = torch.topk(p, 2, -1)
        result = x if self.kind == "one after the other" else torch.zeros_like(x)
        for n, expert in experts:
            share = (best * (chosen == n)).sum(-1, keepdim=True) if self.kind == "best" else p[..., n : n + 1]
            result = result + share * expert(result if self.kind == "one after the other" else x)
        return result


MIXTURES = ("all", "best", "joined", "routed inputs")
NO_MIXTURES = ("ensemble", "one after the other")


class Stacked(nn.Module):
    """Three experts whose kernels are stacked in parameters; the router's share goes to their inputs or their results."""

    def __init__(self, first: bool):
        super().__init__()
        self.up, self.down = nn.Parameter(torch.randn(3, 4, 6)), nn.Parameter(torch.randn(3, 3, 4))
        self.shift, self.router, self.first = nn.Parameter(torch.randn(3, 6)), nn.Linear(4, 3), first

    def forward(self, x):
        shares, each = torch.sigmoid(self.router(x)).T.unsqueeze(-1), x.repeat(3, 1).view(3, -1, 4)
        one, two = (torch.bmm(each * shares if self.first else each, self.up) + self.shift[:, None]).chunk(2, -1)
        made = torch.bmm(one * torch.sigmoid(two), self.down)
        return (made if self.first else made * shares).sum(0)
