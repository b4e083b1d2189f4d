"""One table: which rule SynFlow has for which operation."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.pruning import flow_pooling as pooling
from graphsparse.pruning import flow_rules as rules
from graphsparse.pruning.flow import Rule

aten = torch.ops.aten


def _found(names: str) -> list[Any]:
    """Overloads by name; an older torch lacks some."""
    pairs = [name.split(".") for name in names.split()]
    return [
        getattr(getattr(aten, name), overload)
        for name, overload in pairs
        if hasattr(aten, name) and hasattr(getattr(aten, name), overload)
    ]


def _defaults(names: str) -> list[Any]:
    return _found(" ".join(f"{name}.default" for name in names.split()))


KEEPS = """clone.default contiguous.default alias.default detach.default dropout.default lift_fresh_copy.default
    _to_copy.default to.dtype to.dtype_layout to.device type_as.default feature_dropout.default alpha_dropout.default
    prelu.default _prelu_kernel.default"""
SHAPES = """view.default reshape.default _unsafe_view.default flatten.using_ints unflatten.int view_as.default
    reshape_as.default ravel.default"""
MOVES = """transpose.int permute.default unsqueeze.default squeeze.default squeeze.dim squeeze.dims slice.Tensor
    select.int flip.default roll.default t.default chunk.default split.Tensor split_with_sizes.default unbind.int
    narrow.default pixel_shuffle.default pixel_unshuffle.default channel_shuffle.default unfold.default repeat.default
    tile.default movedim.int movedim.intlist swapaxes.default numpy_T.default mT.default repeat_interleave.self_int
    diagonal.default rot90.default tril.default triu.default native_channel_shuffle.default expand.default
    expand_as.default cat.default stack.default index_select.default index.Tensor gather.default im2col.default
    slice_scatter.default select_scatter.default index_put.default copy.default scatter.src where.self topk.default
    sort.default cumsum.default mean.default mean.dim sum.default sum.dim_IntList
    avg_pool1d.default avg_pool2d.default avg_pool3d.default adaptive_avg_pool1d.default adaptive_avg_pool2d.default
    adaptive_avg_pool3d.default _adaptive_avg_pool2d.default _adaptive_avg_pool3d.default upsample_nearest1d.vec
    upsample_nearest2d.vec upsample_nearest3d.vec upsample_bilinear2d.vec upsample_nearest2d.default
    upsample_bilinear2d.default upsample_linear1d.vec upsample_trilinear3d.vec"""
FUNCTIONS = """relu relu6 gelu silu mish tanh sigmoid hardsigmoid hardswish hardtanh leaky_relu elu selu celu softplus
    softshrink hardshrink tanhshrink log_sigmoid softsign threshold exp expm1 log log1p log2 log10 sqrt rsqrt reciprocal
    neg abs sin cos tan sinh cosh asinh atan asin acos erf erfc square sign clamp clamp_min clamp_max nan_to_num logit
    sgn positive special_expit rrelu exp2"""
REDUCTIONS = """amax.default amin.default max.default min.default logsumexp.default linalg_vector_norm.default std.dim
    var.dim std.correction var.correction std.default var.default norm.ScalarOpt_dim"""

RULES: dict[Any, Rule] = {
    **dict.fromkeys(_found(KEEPS), rules.keep),
    **dict.fromkeys(_found(SHAPES), rules.reshape),
    **dict.fromkeys(_found(MOVES), rules.move),
    **dict.fromkeys(_defaults(FUNCTIONS), rules.function),
    **dict.fromkeys(_found("pow.Tensor_Scalar add.Scalar sub.Scalar rsub.Scalar"), rules.function),
    **dict.fromkeys(_found("add.Tensor sub.Tensor rsub.Tensor maximum.default minimum.default"), rules.add),
    **dict.fromkeys(_found("mul.Tensor mul.Scalar mm.default bmm.default matmul.default"), rules.multiply),
    **dict.fromkeys(_found("div.Tensor div.Scalar"), rules.divide),
    **dict.fromkeys(_found(REDUCTIONS), rules.mean_over),
    **dict.fromkeys(_found("max.dim min.dim"), rules.extremum),
    **dict.fromkeys(_found("masked_fill.Scalar masked_fill.Tensor"), rules.fill),
    **dict.fromkeys(_found("where.ScalarOther where.ScalarSelf"), rules.choose),
    **dict.fromkeys(_found("upsample_bicubic2d.vec upsample_bicubic2d.default"), rules.enlarge),
    **dict.fromkeys(_found("pad.default constant_pad_nd.default"), rules.pad),
    **dict.fromkeys(_found("softmax.int _softmax.default log_softmax.int _log_softmax.default"), rules.softmax),
    **dict.fromkeys(_defaults("layer_norm rms_norm group_norm instance_norm"), rules.normalise),
    **{
        target: rules.without_bias(target)
        for target in _found(
            "linear.default conv1d.default conv2d.default conv3d.default conv1d.padding conv2d.padding conv3d.padding"
            " conv_transpose1d.default conv_transpose2d.input conv_transpose3d.input convolution.default"
        )
    },
    **dict.fromkeys(_found("addmm.default"), rules.bias_first(torch.mm)),
    **dict.fromkeys(_found("baddbmm.default"), rules.bias_first(torch.bmm)),
    **{getattr(aten, f"max_pool{n}d").default: pooling.maximum_pool(n) for n in (1, 2, 3)},
    **{
        getattr(aten, f"max_pool{n}d_with_indices").default: pooling.with_index(pooling.maximum_pool(n)) for n in (2, 3)
    },
    **{getattr(aten, f"adaptive_max_pool{n}d").default: pooling.adaptive_pool(n) for n in (1, 2, 3)},
    aten._native_batch_norm_legit_no_training.default: rules.batch_norm,
    aten.scaled_dot_product_attention.default: rules.attention,
    aten.embedding.default: rules.embedding,
}
