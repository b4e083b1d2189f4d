"""What modules know of the widths of their tensors: the attributes that follow when tensors get smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
KERNELS = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
UNKNOWN = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, nn.Bilinear)
"""Modules whose code ties widths to each other in ways that a cut does not follow: they stay as wide as they are."""
HEADS = ("num_heads", "n_heads", "n_head", "heads", "num_attention_heads", "num_key_value_heads")
WIDTHS = ("all_head_size", "inner_dim", "attn_dim", "split_size", "inner_size")
Attributes = Callable[[Any, int | None], Mapping[str, Any]]
"""The attributes of a module by its tensors' shapes, and its groups where their number changed."""


def _linear(module: Any, groups: int | None) -> dict[str, Any]:
    return {"out_features": module.weight.shape[0], "in_features": module.weight.shape[1]}


def _convolution(module: Any, groups: int | None) -> dict[str, Any]:
    count = groups or module.groups
    return {"out_channels": module.weight.shape[0], "in_channels": module.weight.shape[1] * count, "groups": count}


def _transposed(module: Any, groups: int | None) -> dict[str, Any]:
    count = groups or module.groups
    return {"in_channels": module.weight.shape[0], "out_channels": module.weight.shape[1] * count, "groups": count}


def _norm(module: Any, groups: int | None) -> dict[str, Any]:
    held = module.running_mean if module.weight is None else module.weight
    return {} if held is None else {"num_features": held.shape[0]}


def _group_norm(module: Any, groups: int | None) -> dict[str, Any]:
    if module.weight is None:
        return {}
    channels = module.weight.shape[0]
    return {"num_groups": channels * module.num_groups // module.num_channels, "num_channels": channels}


def _layer_norm(module: Any, groups: int | None) -> dict[str, Any]:
    return {} if module.weight is None else {"normalized_shape": tuple(module.weight.shape)}


def _embedding(module: Any, groups: int | None) -> dict[str, Any]:
    return {"num_embeddings": module.weight.shape[0], "embedding_dim": module.weight.shape[1]}


def _turned_linear(module: Any, groups: int | None) -> dict[str, Any]:
    return {"nx": module.weight.shape[0], "nf": module.weight.shape[1]}


def _per_channel(module: Any, groups: int | None) -> dict[str, Any]:
    return {"num_parameters": module.weight.shape[0]}


_BATCH_NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d
_ATTRIBUTES: tuple[tuple[tuple[type, ...], Attributes], ...] = (
    ((nn.Linear,), _linear), (CONVOLUTIONS, _convolution), (TRANSPOSED, _transposed), (_BATCH_NORMS, _norm),
    ((nn.GroupNorm,), _group_norm), ((nn.LayerNorm, nn.RMSNorm), _layer_norm), ((nn.Embedding, nn.EmbeddingBag), _embedding),
    ((nn.PReLU,), _per_channel),
)  # fmt: skip


def is_turned_linear(module: nn.Module) -> bool:
    """Whether a module is the transformers library's Conv1D: a linear layer whose weight is (inputs, outputs)."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def is_kernel(module: nn.Module) -> bool:
    """Whether a module applies one kernel, its weight, and can take a bias."""
    return type(module) in KERNELS or is_turned_linear(module)


def set_widths(model: nn.Module, groups: Mapping[str, int], sizes: Mapping[str, Iterable[tuple[int, int]]]) -> None:
    """Set the attributes of all modules by their tensors' shapes.

    ``groups``: of each convolution whose number of groups changed, how many it has. ``sizes``: by module path, the
    widths before and after of the values that the module makes, for counts of heads that a module keeps of its own.
    """
    for path, module in model.named_modules():
        for attributes in _attributes_of(module):
            for name, value in attributes(module, groups.get(path)).items():
                setattr(module, name, value)
        changed = dict(sizes.get(path, ()))
        for name in (*HEADS, *WIDTHS):
            held = vars(module).get(name)
            if type(held) is int and held in changed:
                setattr(module, name, changed[held])


def _attributes_of(module: nn.Module) -> list[Attributes]:
    if is_turned_linear(module):
        return [_turned_linear]
    return [attributes for kinds, attributes in _ATTRIBUTES if isinstance(module, kinds)]


def unknown_parameters(model: nn.Module) -> set[str]:
    """The parameters of modules that stay as wide as they are."""
    return {
        f"{path}.{name}".strip(".")
        for path, module in model.named_modules()
        if isinstance(module, UNKNOWN)
        for name, _ in module.named_parameters()
    }
