"""What modules know of the widths of their tensors: the attributes that follow when tensors get smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
KERNELS = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
HEADS = ("num_heads", "n_heads", "n_head", "heads", "num_attention_heads", "num_key_value_heads")
WIDTHS = ("all_head_size", "inner_dim", "attn_dim", "split_size", "inner_size")
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, *INSTANCE_NORMS)
SIZES: tuple[tuple[tuple[type, ...], Mapping[str, tuple[str, int]]], ...] = (
    ((nn.Linear,), {"out_features": ("weight", 0), "in_features": ("weight", 1)}),
    ((nn.Embedding, nn.EmbeddingBag), {"num_embeddings": ("weight", 0), "embedding_dim": ("weight", 1)}),
    ((nn.PReLU,), {"num_parameters": ("weight", 0)}),
    ((nn.Bilinear,), {"out_features": ("weight", 0), "in1_features": ("weight", 1), "in2_features": ("weight", 2)}),
    ((nn.RNNCellBase,), {"input_size": ("weight_ih", 1), "hidden_size": ("weight_hh", 1)}),
)
"""Attributes that are the size of a tensor along an axis, by the kinds of modules that have them."""


def _convolution(module: Any) -> dict[str, Any]:
    names = ("in_channels", "out_channels") if module.transposed else ("out_channels", "in_channels")
    return dict(zip(names, (module.weight.shape[0], module.weight.shape[1] * module.groups)))


def _norm(module: Any) -> dict[str, Any]:
    held = module.running_mean if module.weight is None else module.weight
    return {} if held is None else {"num_features": held.shape[0]}


def _group_norm(module: Any) -> dict[str, Any]:
    if module.weight is None:
        return {}
    channels = module.weight.shape[0]
    return {"num_groups": channels * module.num_groups // module.num_channels, "num_channels": channels}


def _layer_norm(module: Any) -> dict[str, Any]:
    return {} if module.weight is None else {"normalized_shape": tuple(module.weight.shape)}


def _attention(module: Any) -> dict[str, Any]:
    width = module.out_proj.weight.shape[1]
    packed = module.in_proj_weight is not None
    sides = (width, width) if packed else (module.k_proj_weight.shape[1], module.v_proj_weight.shape[1])
    return {"embed_dim": width, "kdim": sides[0], "vdim": sides[1], "num_heads": width // module.head_dim}


def _recurrent(module: Any) -> dict[str, Any]:
    module._init_flat_weights()  # its list of the same parameters
    state, cell = module.weight_hh_l0.shape[1], getattr(module, "weight_hr_l0", None)
    sizes = {"hidden_size": state} if cell is None else {"hidden_size": cell.shape[1], "proj_size": state}
    return {"input_size": module.weight_ih_l0.shape[1], **sizes}


ATTRIBUTES: tuple[tuple[tuple[type, ...], Callable[[Any], Mapping[str, Any]]], ...] = (
    ((*CONVOLUTIONS, *TRANSPOSED), _convolution), (BATCH_NORMS, _norm), ((nn.GroupNorm,), _group_norm),
    ((nn.LayerNorm, nn.RMSNorm), _layer_norm), ((nn.MultiheadAttention,), _attention), ((nn.RNNBase,), _recurrent),
)  # fmt: skip
"""What else the shapes of a module's tensors say of its attributes."""


def is_turned_linear(module: nn.Module) -> bool:
    """Whether a module is the transformers library's Conv1D: a linear layer whose weight is (inputs, outputs)."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def is_kernel(module: nn.Module) -> bool:
    """Whether a module applies its weight as one kernel and can take a bias."""
    return type(module) in KERNELS or is_turned_linear(module)


def set_widths(model: nn.Module, groups: Mapping[str, int], sizes: Mapping[str, Iterable[tuple[int, int]]]) -> None:
    """Set the attributes of all modules by their tensors' shapes.

    ``groups``: how many each convolution has whose number of groups changed, by path. ``sizes``: by path the widths of the
    values that a module makes, before and after; they say the new counts of heads that a module keeps as attributes.
    """
    for path, module in model.named_modules():
        if path in groups and isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
            module.groups = groups[path]
        changed = dict(sizes.get(path, ()))
        for name, value in {**_attributes(module), **_without_tensors(module, changed)}.items():
            setattr(module, name, value)
        for name in (*HEADS, *WIDTHS):
            held = vars(module).get(name)
            if type(held) is int and held in changed:
                setattr(module, name, changed[held])


def _attributes(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module that the shapes of its tensors say."""
    if is_turned_linear(module):
        return {"nx": module.weight.shape[0], "nf": module.weight.shape[1]}  # type: ignore[index]
    found: dict[str, Any] = {}
    for kinds, sizes in SIZES:
        if isinstance(module, kinds):
            found |= {name: getattr(module, tensor).shape[axis] for name, (tensor, axis) in sizes.items()}
    for others, attributes in ATTRIBUTES:
        if isinstance(module, others):
            found |= attributes(module)
    return found


def _without_tensors(module: Any, changed: Mapping[int, int]) -> dict[str, int]:
    """The attributes of a normalisation without tensors, by groups or instances; the widths of its values say them."""
    counted: dict[Any, str] = {nn.GroupNorm: "num_channels", **dict.fromkeys(INSTANCE_NORMS, "num_features")}
    name = next((name for kind, name in counted.items() if isinstance(module, kind)), None)
    if name is None or any(True for _ in (*module.parameters(), *module.buffers())):
        return {}
    before = getattr(module, name)
    after = changed.get(before, before)
    return {name: after} | ({"num_groups": after * module.num_groups // before} if name == "num_channels" else {})


def equal_widths(model: nn.Module) -> list[list[tuple[str, int]]]:
    """Groups of axes of parameters, as (name, axis), that must be equally long for a module's code.

    All layers and directions of a recurrence have one hidden size. The heads of nn.MultiheadAttention together have as
    many channels as its query, and as the key and value that it adds.
    """
    found: list[list[tuple[str, int]]] = []
    for path, module in model.named_modules():
        if isinstance(module, nn.RNNBase):
            names = [name for name, _ in module.named_parameters()]
            for part in ("weight_hh", "weight_hr"):
                found.append([(f"{path}.{name}".lstrip("."), 1) for name in names if name.startswith(part)])
        elif isinstance(module, nn.MultiheadAttention):
            query = "q_proj_weight" if module.in_proj_weight is None else "in_proj_weight"
            axes = [(query, 1), ("out_proj.weight", 1)]
            axes += [("bias_k", 2), ("bias_v", 2)] if module.bias_k is not None else []
            found.append([(f"{path}.{name}".lstrip("."), axis) for name, axis in axes])
    return [axes for axes in found if axes]


def longer_axes(model: nn.Module) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """Pairs of axes of parameters, as (name, axis), of which the first must be longer: a projected LSTM's hidden state."""
    found = [f"{path}.weight_hr_l0".lstrip(".") for path, module in model.named_modules()
             if isinstance(module, nn.LSTM) and module.proj_size]  # fmt: skip
    return [((name, 1), (name, 0)) for name in found]
