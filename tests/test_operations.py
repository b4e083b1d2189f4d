"""Every rule by itself: a layer in front, the operation, a layer behind; active connections against torch's gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import graphsparse as gs
from tests.judge import assert_exact

F = torch.nn.functional


class Between(nn.Module):
    """One operation between two layers; ``front`` makes as many values as the operation takes."""

    def __init__(self, operation, front: nn.ModuleList, example: torch.Tensor):
        super().__init__()
        self.front, self.operation = front.double(), operation
        with torch.no_grad():
            width = self._middle(example).size(1)
        self.back = nn.Linear(width, 3)

    def _middle(self, x):
        made = self.operation(*(layer(x) for layer in self.front))
        made = made if isinstance(made, tuple) else (made,)
        return torch.cat([part.flatten(1) for part in made], 1)

    def forward(self, x):
        return self.back(self._middle(x))


def between(operation, kind: str) -> tuple[nn.Module, torch.Tensor]:
    example = {"rows": torch.rand(2, 5, 4), "image": torch.rand(2, 2, 6, 6), "signal": torch.rand(2, 2, 10),
               "volume": torch.rand(2, 2, 4, 4, 4)}[kind]  # fmt: skip
    layer = {"rows": lambda: nn.Linear(4, 6), "image": lambda: nn.Conv2d(2, 4, 3, padding=1),
             "signal": lambda: nn.Conv1d(2, 4, 3, padding=1), "volume": lambda: nn.Conv3d(2, 4, 3, padding=1)}[kind]  # fmt: skip
    takes = operation.__code__.co_argcount
    example = example.double()
    return Between(operation, nn.ModuleList(layer() for _ in range(takes)), example), example


index = torch.tensor([3, 0, 3, 5])
ROWS = {
    "relu": lambda x: F.relu(x),
    "sigmoid": lambda x: torch.sigmoid(x),
    "tanh": lambda x: torch.tanh(x),
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "softplus": lambda x: F.softplus(x),
    "elu": lambda x: F.elu(x),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "hardtanh": lambda x: F.hardtanh(x, -9, 99),
    "threshold": lambda x: F.threshold(x, -1.0, 3.0),
    "pow": lambda x: x**2,
    "pow of a number": lambda x: 1.5**x,
    "pow of both": lambda a, b: (a + 2) ** (b + 2),
    "exp, log1p": lambda x: torch.log1p(torch.exp(x)),
    "cos": lambda x: torch.cos(0.1 * x + 0.3),
    "clamp": lambda x: x.clamp(-5, 99),
    "clamp by tensors": lambda x: x.clamp(torch.full((6,), -5.0).double(), torch.arange(6).double() + 99),
    "add a number": lambda x: x + 1,
    "add known numbers": lambda x: x + torch.tensor([0.0, 1.0, 0.0, 2.0, 0.0, 3.0]),
    "multiply by known numbers": lambda x: x * torch.tensor([0.0, 1.0, 0.0, 2.0, 0.0, 3.0]),
    "rsub": lambda x: 1 - x,
    "in place": lambda x: x.clone().add_(1).mul_(2).relu_(),
    "product": lambda a, b: a * b,
    "product with a gate": lambda a, b: a * torch.sigmoid(b),
    "product with itself": lambda a: a * a,
    "product over positions": lambda a, b: a[:, :1] * b,
    "division": lambda a, b: a / (b + 1),
    "addcmul": lambda a, b, c: torch.addcmul(a, b, c, value=2),
    "addcdiv": lambda a, b, c: torch.addcdiv(a, b, c + 1),
    "lerp": lambda a, b: torch.lerp(a, b, 0.3),
    "hypot": lambda a, b: torch.hypot(a + 1, b + 1),
    "atan2": lambda a, b: torch.atan2(a + 1, b + 1),
    "logaddexp": lambda a, b: torch.logaddexp(a, b),
    "maximum": lambda a, b: torch.maximum(a, b),
    "glu": lambda x: F.glu(x, -1),
    "sum": lambda x: x.sum(1),
    "sum of all features": lambda x: x.sum((1, 2), keepdim=True).expand(-1, 5, 6),
    "mean": lambda x: x.mean(-1),
    "norm": lambda x: (x + 1).norm(dim=-1),
    "var": lambda x: (x * x).var(1),
    "std_mean": lambda x: torch.std_mean(x * x + torch.arange(6), -1),
    "prod": lambda x: x.prod(1),
    "logsumexp": lambda x: torch.logsumexp(x, 1),
    "amax": lambda x: torch.amax(x, 1),
    "max and its index": lambda x: x.max(1)[0],
    "cumsum": lambda x: x.cumsum(1),
    "cumsum over features": lambda x: torch.cumsum(x, -1),
    "diff": lambda x: torch.diff(x * x, dim=1),
    "transpose, reshape": lambda x: x.transpose(1, 2).reshape(-1, 10, 3),
    "flip": lambda x: x.flip(1)[:, 1:],
    "roll": lambda x: torch.roll(x, (1, 2), (1, 2))[:, ::2],
    "cat, stack": lambda a, b: torch.stack([torch.cat([a, b], 1), torch.cat([b, a], 1)], 1)[..., 2:4],
    "chunk": lambda x: x.chunk(2, -1)[0] + x.chunk(2, -1)[1],
    "unbind of repeats": lambda x: tuple(torch.sigmoid(p) * p for p in x.unsqueeze(1).expand(-1, 2, -1, -1).unbind(1)),
    "split": lambda x: x.split([1, 2, 3], -1)[2],
    "repeat": lambda x: x.repeat(1, 2, 1) * torch.arange(10).reshape(10, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, -1)[..., 1:6],
    "repeat_interleave by counts": lambda x: x.repeat_interleave(torch.tensor([1, 0, 2, 0, 1, 0]), -1),
    "unfold": lambda x: x.unfold(1, 2, 2),
    "tril": lambda x: x[:, :, :5].tril(),
    "diagonal": lambda x: x[:, :, :5].diagonal(dim1=1, dim2=2),
    "pad": lambda x: F.pad(x, (1, 1))[..., :4],
    "reflection": lambda x: F.pad(x, (2, 0), mode="reflect")[..., :3],
    "constant padding": lambda x: torch.sigmoid(F.pad(x, (1, 1), value=2.0)) * F.pad(x, (0, 2), value=2.0),
    "index": lambda x: x[:, [4, 0, 0], index[:3]],
    "index_select": lambda x: x.index_select(-1, index),
    "gather": lambda x: x.gather(-1, index.expand(2, 5, 4)[: x.size(0)]),
    "scatter": lambda a, b: a.scatter(-1, torch.tensor([1, 4]).expand(a.size(0), 5, 2), b[..., :2]),
    "scatter_add": lambda a, b: a.scatter_add(-1, torch.tensor([1, 4, 1]).expand(a.size(0), 5, 3), b[..., :3]),
    "scatter a number": lambda a: a.scatter(-1, torch.tensor([1, 4]).expand(a.size(0), 5, 2), 0.0),
    "scatter_reduce": lambda a, b: a.scatter_reduce(-1, torch.tensor([1, 4, 1]).expand(a.size(0), 5, 3), b[..., :3], "sum"),
    "index_add": lambda a, b: a.index_add(2, torch.tensor([0, 2, 0]), b[..., :3]),
    "index_copy": lambda a, b: a.index_copy(2, torch.tensor([0, 2]), b[..., :2]),
    "index_put": lambda a, b: a.index_put((torch.arange(a.size(0))[:, None], torch.tensor([1, 2])), b[:, :2]),
    "slice written to": lambda a, b: _written(a, b),
    "select_scatter": lambda a, b: a.select_scatter(b[:, 2], 1, 3),
    "where": lambda a, b: torch.where(torch.tensor([True, False] * 3), a, b),
    "where with a number": lambda a: torch.where(torch.tensor([True, False] * 3), a, 0.0),
    "masked_fill": lambda a: a.masked_fill(torch.tensor([True, False] * 3), 0.0),
    "masked_fill with a number": lambda a, b: a.masked_fill(torch.tensor([True, False] * 3), 2.0) * b,
    "zeros_like, ones_like": lambda a, b: a * torch.zeros_like(b) + b * torch.ones_like(a),
    "full_like": lambda a, b: a * torch.full_like(b, 0.5),
    "complex": lambda x: torch.view_as_real(torch.view_as_complex(x.reshape(-1, 5, 3, 2)) * torch.polar(torch.ones(3), torch.arange(3.0) + 0.5)),
    "matrix of numbers": lambda x: x @ torch.eye(6, 4).double(),
    "matrix of numbers first": lambda x: torch.tril(torch.ones(3, 5)).double() @ x,
    "round, sign": lambda x: x + 0 * x.round(),
    "comparison": lambda a, b: a + (b > 0).double(),
    "dropout": lambda x: F.dropout(x, 0.5, False),
    "alpha dropout": lambda x: F.alpha_dropout(x, 0.5, False),
    "masked by a comparison": lambda x: x * (torch.arange(6) % 2 == 0),
    "einsum of values": lambda a, b: torch.einsum("btf,bsf->bts", a, b),
    "bmm": lambda a, b: torch.bmm(a, b.mT),
    "outer": lambda a, b: a.unsqueeze(-1) * b.unsqueeze(-2),
    "prelu": lambda x: F.prelu(x, torch.tensor(0.2).double()),
    "cosine": lambda x: torch.ops.aten.square(x),
    "meshgrid": lambda x: torch.meshgrid(x[0, 0], x[0, 1], indexing="ij")[0].unsqueeze(0).expand(x.size(0), -1, -1),
}  # fmt: skip
IMAGES = {
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max_pool2d ceil": lambda x: F.max_pool2d(x, 4, 3, ceil_mode=True),
    "avg_pool2d": lambda x: F.avg_pool2d(x, (2, 3), 2, (1, 0), ceil_mode=True),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (4, 1)),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, 4),
    "lp_pool2d": lambda x: F.lp_pool2d(x + 1, 2, 2),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2)[:, :, ::3],
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2)[:, ::3],
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2)[:, 1:3],
    "unfold": lambda x: F.unfold(x, 2, padding=1, stride=2)[:, 3:7],
    "fold": lambda x: F.fold(x.reshape(-1, 4, 36)[:, :, :25], (6, 6), 2)[:, :, ::2],
    "nearest": lambda x: F.interpolate(x, (4, 9), mode="nearest")[..., ::2],
    "nearest-exact": lambda x: F.interpolate(x, scale_factor=0.5, mode="nearest-exact"),
    "bilinear": lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear")[..., 3],
    "bilinear aligned": lambda x: F.interpolate(x, (11, 4), mode="bilinear", align_corners=True)[..., 1],
    "bilinear antialias": lambda x: F.interpolate(x, (3, 3), mode="bilinear", antialias=True)[..., 1],
    "bicubic": lambda x: F.interpolate(x, (9, 7), mode="bicubic")[..., 1],
    "area": lambda x: F.interpolate(x, (4, 4), mode="area")[..., 1],
    "grid_sample at known places": lambda x: _sampled(x),
    "replicate": lambda x: F.pad(x, (2, 1, 0, 3), mode="replicate")[..., ::3],
    "circular": lambda x: F.pad(x, (2, 1, 0, 3), mode="circular")[..., ::3],
    "crop by negative padding": lambda x: F.pad(x, (-1, -2, 0, -1)),
    "blur by a known kernel": lambda x: F.conv2d(x, torch.tensor([[1.0, 0, 1]]).double().expand(4, 1, 1, 3), stride=2, groups=4),
    "mixing by a known kernel": lambda x: F.conv2d(x, torch.eye(4)[:3, :, None, None].double()),
    "local response": lambda x: F.local_response_norm(x, 2),
    "rot90": lambda x: torch.rot90(x, 1, (2, 3))[:, :, 2],
    "squeeze and excite": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "coordinates": lambda x: torch.cat([x, torch.linspace(0, 1, 6).double().expand(x.size(0), 1, 6, 6)], 1),
}  # fmt: skip
SIGNALS = {
    "max_pool1d": lambda x: F.max_pool1d(x, 3, 2),
    "avg_pool1d": lambda x: F.avg_pool1d(x, 3, 2, 1),
    "adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x, 4),
    "linear": lambda x: F.interpolate(x, 7, mode="linear")[..., 2:4],
    "nearest1d": lambda x: F.interpolate(x, 7)[..., 2:4],
    "frames": lambda x: x.unfold(-1, 4, 3)[:, :, 1],
    "fft": lambda x: torch.view_as_real(torch.fft.rfft(x))[:, :, 1:3],
}
VOLUMES = {
    "max_pool3d": lambda x: F.max_pool3d(x, 2),
    "avg_pool3d": lambda x: F.avg_pool3d(x, 2, 1)[..., 1],
    "adaptive_avg_pool3d": lambda x: F.adaptive_avg_pool3d(x, (1, 3, 2))[..., 1],
    "trilinear": lambda x: F.interpolate(x, (5, 3, 4), mode="trilinear")[..., 1],
    "nearest3d": lambda x: F.interpolate(x, scale_factor=2)[..., 1],
}


def _written(a, b):
    a = a.clone()
    a[:, 1:3] = b[:, :2]
    a[:, :, 0] = 0
    a[:, 4, 2:4] += b[:, 0, 2:4]
    return a


def _sampled(x):
    grid = F.affine_grid(torch.tensor([[[0.5, 0.1, 0.0], [0.0, 0.6, 0.2]]]).double(), (1, 4, 3, 4), align_corners=False)
    return F.grid_sample(x[:1], grid, align_corners=False).expand(x.size(0), -1, -1, -1)


CASES = [(kind, name, table[name]) for kind, table in
         (("rows", ROWS), ("image", IMAGES), ("signal", SIGNALS), ("volume", VOLUMES)) for name in table]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "operation"), CASES, ids=[f"{kind}-{name}" for kind, name, _ in CASES])
def test_operation_is_exact(kind, name, operation):
    model, example = between(operation, kind)
    graph = assert_exact(model, (example,), densities=(0.5, 0.15), seeds=(0, 1))
    assert graph.coverage.conservative == ()


ALONG = {
    "sort": lambda x: x.sort(0).values,
    "msort": lambda x: torch.msort(x),
    "topk": lambda x: x.topk(2, dim=0).values,
    "topk by name": lambda x: torch.topk(x, k=2, dim=0, largest=False).values,
}


@pytest.mark.parametrize("name", ALONG)
def test_a_sort_joins_the_axis_that_it_sorts(name):
    """Conservative, so not among those above: each result depends on its column, and on no other."""

    class Sorted(nn.Module):
        def forward(self, x):
            return ALONG[name](x)

    graph = gs.export(Sorted(), torch.zeros(3, 2), batch_axis=None)
    found = graph.adjacency().toarray()[:6, 6:]
    columns = {frozenset(found[:, unit].nonzero()[0] % 2) for unit in range(found.shape[1])}
    assert columns == {frozenset({0}), frozenset({1})} and found.sum() == 6
