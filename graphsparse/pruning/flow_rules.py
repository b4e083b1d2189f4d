"""What SynFlow makes of each operation: the linear, non-negative counterpart through which signals flow.

A rule is ``rule(call, *args, **kwargs)`` over the operation's own arguments: signals as `Flow`, tokens as `Known`, other
constants as tensors. An element-wise function with f(0) = 0 is the identity; any other is x + 1, for then a zero does not
stop the product that it enters. A maximum is a sum, since each operand may be the one that passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_map

from graphsparse.capture.values import Known
from graphsparse.pruning.flow import Call, Flow, Rule, aligned

aten = torch.ops.aten


def keep(call: Call, value: Flow, *args: Any, **kwargs: Any) -> Flow:
    """The signal itself."""
    return value


def move(call: Call, *args: Any, **kwargs: Any) -> Any:
    """The operation itself, where it moves, adds or averages operands: they come on one scale, constants as zero."""
    (plain_args, plain_kwargs), scale = aligned((args, kwargs))
    result = call.target(*plain_args, **plain_kwargs)
    return tree_map(
        lambda part: Flow(part, scale) if isinstance(part, torch.Tensor) and part.is_floating_point() else part, result
    )


def reshape(call: Call, value: Flow, *args: Any, **kwargs: Any) -> Flow:
    """Any view that keeps the order of elements; the copy may have other strides than the model's own tensor."""
    return Flow(value.value.reshape(call.shape), value.scale)


def pad(call: Call, value: Flow, sizes: Sequence[int], mode: Any = "constant", fill: float | None = None) -> Flow:
    """Padding with a constant adds no signal; reflection and repetition move it."""
    mode = mode if isinstance(mode, str) else "constant"
    return Flow(torch.nn.functional.pad(value.value, list(sizes), mode=mode), value.scale)


def choose(call: Call, condition: torch.Tensor, left: Any, right: Any) -> Flow:
    """What is chosen between a signal and a number carries the signal alone."""
    (a, b), scale = aligned((left, right))
    chosen = torch.where(condition, a if isinstance(left, Flow) else 0.0, b if isinstance(right, Flow) else 0.0)
    return Flow(chosen, scale)


def enlarge(call: Call, value: Flow, *args: Any, **kwargs: Any) -> Flow:
    """Cubic interpolation as linear, which has no negative weights."""
    return Flow(torch.nn.functional.interpolate(value.value, tuple(call.shape[-2:]), mode="bilinear"), value.scale)


def fill(call: Call, value: Flow, mask: torch.Tensor, *args: Any) -> Flow:
    """What is overwritten by a constant carries no signal."""
    return Flow(value.value.masked_fill(mask, 0.0), value.scale)


def function(call: Call, value: Flow, *args: Any, **kwargs: Any) -> Any:
    """A function of each element, by its value at zero; in a normalisation an inverse is a scale and taken as one."""
    at_zero = call.target(torch.zeros(1, dtype=torch.float64), *args, **kwargs)
    if call.in_norm and not bool(at_zero.isfinite()):
        return torch.ones_like(value.value.detach())
    return value if bool(at_zero == 0) else lifted(value)


def lifted(value: Flow) -> Flow:
    """x + 1, with x brought to moderate size first."""
    return Flow(value.rescaled().value + 1.0).rescaled()


def add(call: Call, left: Any, right: Any, alpha: float = 1) -> Flow:
    """The sum of the signals of two operands, differences included; a normalisation's mean is not subtracted."""
    if alpha == 0 or (call.in_norm and call.target in (aten.sub.Tensor, aten.sub.Scalar)):
        return left
    (a, b), scale = aligned((left, right))
    return Flow(torch.as_tensor(a) * _used(left) + torch.as_tensor(b) * _used(right), scale).rescaled()


def _used(operand: Any) -> float:
    return float(isinstance(operand, Flow))


def multiply(call: Call, left: Any, right: Any, *args: Any) -> Flow:
    """The product, of signals or with the absolute value of a constant."""
    return bilinear(call.target, left, right)


def divide(call: Call, left: Any, right: Any, **kwargs: Any) -> Any:
    """A divisor influences the quotient and is never zero, outside normalisations."""
    if isinstance(right, Flow):
        return left if call.in_norm else bilinear(aten.mul.Tensor, left, lifted(right))
    return bilinear(aten.div.Tensor, left, right)


def bilinear(target: Any, *operands: Any) -> Flow:
    """An operation linear in each of its operands: scales multiply."""
    flows = [operand for operand in operands if isinstance(operand, Flow)]
    plain = [operand.value if isinstance(operand, Flow) else abs(operand) for operand in operands]
    return Flow(target(*plain), sum(flow.scale for flow in flows)).rescaled()


def layer(call: Call, value: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any) -> Flow:
    """A linear layer or convolution, without its bias."""
    return bilinear(lambda x, w: call.target(x, w, None, *args, **kwargs), value, weight)


def add_product(call: Call, bias: Any, left: Any, right: Any, **kwargs: Any) -> Flow:
    """addmm and baddbmm: the product; a bias that is a signal is added."""
    product = bilinear(torch.matmul, left, right)
    return add(call, product, bias) if isinstance(bias, Flow) else product


def mean_over(call: Call, value: Flow, *args: Any, **kwargs: Any) -> Flow:
    """Maxima, norms and deviations depend on all they are taken over: the mean stands for them."""
    axes = next((a for a in args if isinstance(a, (list, tuple)) and a), None)
    if axes is None:
        axes = list(range(value.value.dim()))
        if len(call.shape) == len(axes):
            axes = [axis for axis in axes if call.shape[axis] != value.value.shape[axis]]
    return Flow(value.value.mean(list(axes), keepdim=True).reshape(call.shape), value.scale)


def extremum(call: Call, value: Flow, dim: int, keepdim: bool = False) -> tuple[Flow, None]:
    """The extremum along one axis; its index is no signal."""
    return Flow(value.value.mean(dim, keepdim=keepdim), value.scale), None


def batch_norm(
    call: Call, value: Flow, weight: Any, bias: Any, mean: Any, variance: Any, momentum: float, eps: float
) -> tuple[Any, ...]:
    """At inference: one scale a channel."""
    factor = (variance + eps).rsqrt() * (1.0 if weight is None else weight.abs())
    shape = [-1] + [1] * (value.value.dim() - 2)
    return Flow(value.value * factor.reshape(shape), value.scale).rescaled(), None, None


def normalise(call: Call, value: Flow, *args: Any, **kwargs: Any) -> Flow:
    """Statistics are no connections: the signal is brought to unit size and scaled by the normalisation's weight."""
    weight = next((a for a in args if isinstance(a, torch.Tensor)), None)
    signal = Flow(value.rescaled().value)
    if weight is None:
        return signal
    by_channel = call.target in (aten.group_norm.default, aten.instance_norm.default)
    if by_channel or weight.shape != value.value.shape[value.value.dim() - weight.dim() :]:
        weight = weight.reshape(-1, *[1] * (value.value.dim() - 2))
    return Flow(signal.value * weight.abs()).rescaled()


def softmax(call: Call, value: Flow, dim: int, *args: Any, **kwargs: Any) -> Flow:
    """Never zero, and every entry moves every other along the axis."""
    signal = value.rescaled().value
    return Flow(signal + signal.mean(dim, keepdim=True) + 1.0).rescaled()


def attention(
    call: Call, query: Any, key: Any, value: Any, mask: Any = None, dropout: float = 0.0, causal: bool = False,
    **kwargs: Any,
) -> Flow:  # fmt: skip
    """softmax(query key') value, masked; grouped heads are repeated."""
    if kwargs.get("enable_gqa"):
        repeat = query.value.size(-3) // key.value.size(-3)
        key, value = (Flow(v.value.repeat_interleave(repeat, -3), v.scale) for v in (key, value))
    weights = softmax(call, bilinear(lambda q, k: q @ k.transpose(-1, -2), query, key), -1).value
    if causal:
        weights = weights.tril()
    if isinstance(mask, torch.Tensor):
        weights = weights * (mask if mask.dtype == torch.bool else ~mask.isneginf())
    return bilinear(torch.matmul, Flow(weights), value)


def embedding(call: Call, table: Flow, indices: Any, *args: Any, **kwargs: Any) -> Any:
    """Every row is a source of one; a table read at constant indices is a constant."""
    if not isinstance(indices, Known):
        return table.value.detach()[indices]
    return Flow(table.value.sum(0).expand(*indices.tensor.shape, -1), table.scale).rescaled()


def maximum_pool(axes: int) -> Rule:
    """The sum over each window, as a convolution by ones: it has every stride, padding, dilation and rounding."""
    convolve = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[axes - 1]

    def rule(
        call: Call, value: Flow, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, *args: Any
    ) -> Any:
        sizes, out = value.value.shape[-axes:], call.shape[-axes:]
        kernel, padding, dilation = (_per_axis(v, axes) for v in (kernel, padding, dilation))
        stride = _per_axis(stride, axes) if stride else kernel
        needed = [(o - 1) * s + d * (k - 1) + 1 for o, s, d, k in zip(out, stride, dilation, kernel)]
        ends = [max(0, n - size - p) for n, size, p in zip(needed, sizes, padding)]
        borders = [side for pair in reversed(list(zip(padding, ends))) for side in pair]
        padded = torch.nn.functional.pad(value.value.reshape(-1, 1, *sizes), borders)
        pooled = convolve(padded, padded.new_ones(1, 1, *kernel), stride=stride, dilation=dilation)
        for axis, extent in enumerate(out):
            pooled = pooled.narrow(axis + 2, 0, extent)
        return Flow(pooled.reshape(call.shape), value.scale).rescaled()

    return rule


def adaptive_pool(axes: int) -> Rule:
    """Adaptive maximum pooling as adaptive averaging."""
    average = (aten.adaptive_avg_pool1d, aten.adaptive_avg_pool2d, aten.adaptive_avg_pool3d)[axes - 1]
    return lambda call, value, size: (Flow(average(value.value, size), value.scale), None)


def with_index(rule: Rule) -> Rule:
    """The same rule for an operation that also returns where the maximum stood."""
    return lambda call, *args, **kwargs: (rule(call, *args, **kwargs), None)


def _per_axis(value: Any, axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else list(value) * (axes if len(value) == 1 else 1)
