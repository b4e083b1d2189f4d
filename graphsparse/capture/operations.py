"""The operations that a program from a file may name: those with a rule, and those known to be pure and of bounded size.

What is not here is refused before torch sees the program: operations that open files, print, load libraries, run what
their operands say, write into tensors that are given for it, or come from a package of which nothing is known. The same
list says which constants are computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import torch

from graphsparse.capture.rules import RULES
from graphsparse.capture.rules.bodies import NAMES
from graphsparse.errors import UnsupportedOperations

_PURE = frozenset("""
    _assert_async _assert_scalar _assert_tensor_metadata _cdist_forward _local_scalar_dense
    _native_batch_norm_legit_functional _pad_circular _pad_enum _reshape_alias _unique2 _weight_norm
    _weight_norm_interface absolute addbmm addr affine_grid_generator alias_copy all any arange arccos arccosh arcsin
    arcsinh arctan arctan2 arctanh argmax argmin argsort atleast_1d atleast_2d atleast_3d bartlett_window bincount
    blackman_window block_diag broadcast_tensors broadcast_to bucketize cartesian_prod cdist clip column_stack concat
    concatenate corrcoef cosine_similarity count_nonzero cov cross cudnn_batch_norm cumulative_trapezoid diff dist
    divide dsplit dstack einsum empty empty_permuted empty_strided eq equal expand_copy eye fft_fft fft_fft2
    fft_fftfreq fft_fftn fft_fftshift fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_ihfft fft_irfft
    fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftfreq fft_rfftn float_power frexp full gcd ge ger greater
    greater_equal gru_cell gt hamming_window hann_window histc histogram hstack igamma igammac index_reduce inner
    is_floating_point is_nonzero is_same_size isclose isfinite isin isinf isnan isneginf isposinf isreal istft item
    kaiser_window kron lcm ldexp le less less_equal linalg_cross linalg_eigh linalg_inv_ex linalg_matmul
    linalg_matrix_norm linalg_norm linalg_qr linalg_slogdet linalg_solve linalg_svd linspace logdet logspace lstm_cell
    lt mH masked_select meshgrid miopen_batch_norm mse_loss multinomial multiply nanquantile narrow_copy
    native_batch_norm native_dropout ne negative nonzero nonzero_static normal not_equal numel ones outer
    pairwise_distance permute_copy poisson quantile rand randint randint_like randn randperm range reflection_pad1d
    reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d rnn_relu_cell rnn_tanh_cell
    row_stack scalar_tensor searchsorted select_copy signbit slice_copy slice_inverse slogdet special_erf special_expm1
    special_i0 special_log1p special_log_softmax special_ndtr special_sinc special_softmax special_xlogy split_copy
    stft subtract sum_to_size sym_constrain_range sym_constrain_range_for_size sym_is_contiguous sym_numel sym_size
    sym_storage_offset sym_stride t_copy take_along_dim tensordot transpose_copy trapezoid trapz tril_indices
    triu_indices true_divide unbind_copy unfold_copy uniform unique_consecutive unique_dim unsqueeze_copy vander vdot
    vstack xlogy zeros
""".split())  # fmt: skip
"""Operations of aten without a rule of their own that are computed, or taken apart by torch."""
_NUMBERS = {
    "_operator": "abs add and_ eq floordiv ge getitem gt le lshift lt mod mul ne neg not_ or_ pos pow rshift sub truediv xor",
    "math": "ceil floor sqrt trunc",
    "torch": "sym_float sym_int sym_ite sym_max sym_min sym_not sym_sqrt",
}
"""Python's arithmetic of sizes."""
FUNCTIONS = frozenset(f"{module}.{name}" for module, names in _NUMBERS.items() for name in names.split())
_PACKETS = frozenset(str(known).rpartition(".")[0] for known in RULES) | {f"aten.{name}" for name in _PURE}
"""Operations with all their overloads, as namespace.name."""
BODIES = frozenset(f"torch.ops.higher_order.{name}" for name in NAMES)


def check_operations(text: Mapping[str, Any], place: str) -> None:
    """Raise UnsupportedOperations, which names them, where a program has operations that are not on the list.

    ``text`` is the program in the form of torch._export.serde.schema; ``place`` is its file, for messages.
    """
    found = Counter(target for target in _targets(text["graph_module"]["graph"]) if not _is_listed(target))
    if found:
        named = [f"{target[:80]} ({count} call{'s' * (count > 1)})" for target, count in found.most_common(5)]
        raise UnsupportedOperations(
            "a program from a file must be made of operations that have a rule or are known to be harmless", place=place,
            received=", ".join(named) + (f" and {len(found) - 5} more" if len(found) > 5 else ""),
            way_out="name the model as package.module:factory",
        )  # fmt: skip


def is_computed(target: Any) -> bool:
    """Whether an operation of a captured program may be run on constants: one of the list, or a live model's own.

    A program from a file never names operations of other packages (`check_operations`); where a live model does, they are
    the user's own code, which the model runs anyway.
    """
    if isinstance(target, torch._ops.OpOverload):
        return target.namespace not in ("aten", "prims") or _is_listed(f"torch.ops.{target}")
    return f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', '')}" in FUNCTIONS


def _targets(graph: Mapping[str, Any]) -> Iterator[str]:
    """What the calls of a program name, and those of the programs inside it."""
    for node in graph["nodes"]:
        yield node["target"]
        for given in node["inputs"]:
            if "as_graph" in given["arg"]:
                yield from _targets(given["arg"]["as_graph"]["graph"])


@cache
def _is_listed(target: str) -> bool:
    if target in FUNCTIONS or target in BODIES:
        return True
    parts = target.split(".")
    if parts[:2] != ["torch", "ops"] or len(parts) != 5:
        return False
    _, _, namespace, name, overload = parts
    in_place = name.endswith("_") and not name.endswith("__")
    if f"{namespace}.{name}" not in _PACKETS and not (in_place and f"{namespace}.{name[:-1]}" in _PACKETS):
        return False
    operation = getattr(getattr(getattr(torch.ops, namespace), name, None), overload, None)
    return isinstance(operation, torch._ops.OpOverload) and not any(each.is_out for each in operation._schema.arguments)
