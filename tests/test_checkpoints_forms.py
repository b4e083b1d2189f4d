"""Forms of other libraries, each written here as that library writes it, its masks worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import graphsparse as gs
from graphsparse.checkpoints import FORMS, read_checkpoint
from graphsparse.errors import CheckpointError, MaskError

MASK = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
KEPT = [[True, False, True], [False, False, True]]
WEIGHT = torch.full((2, 3), 0.5)


def saved(folder, content, name="file.pth"):
    torch.save(content, folder / name)
    return folder / name


def test_the_table_says_what_its_forms_are():
    assert all(form.name == name and form.about for name, form in FORMS.items())
    assert {name for name, form in FORMS.items() if form.write} == {
        "zeros", "prune", "parametrization", "bits", "openlth", "csr", "sparse-bitmask",
    }  # fmt: skip


def test_weight_mask_of_synaptic_flow(tmp_path):
    state = {"1.weight": WEIGHT, "1.bias": torch.zeros(2), "1.weight_mask": MASK, "1.bias_mask": torch.tensor([1.0, 0.0]),
             "attention.causal_mask": torch.ones(3, 3)}  # fmt: skip
    found = read_checkpoint(saved(tmp_path, state))
    assert found.form == "weight-mask"
    assert found.masks["1.weight"].tolist() == KEPT and found.masks["1.bias"].tolist() == [True, False]
    assert torch.equal(found.weights["1.weight"], WEIGHT) and "1.weight_mask" not in found.weights


def test_module_mask_of_turboprune(tmp_path):
    state = {"model.conv1.weight": WEIGHT[:, :, None, None], "model.conv1.mask": MASK[:, :, None, None],
             "model.fc.weight": torch.eye(2)}  # fmt: skip
    found = read_checkpoint(saved(tmp_path, {f"_orig_mod.{name}": tensor for name, tensor in state.items()}))
    assert found.form == "module-mask" and found.masks["model.conv1.weight"][:, :, 0, 0].tolist() == KEPT
    assert found.masks["model.fc.weight"].tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("key", [
    "nncf_module.a.fc.pre_ops.0.op._binary_mask", "module.a.fc.pre_ops.1.op.binary_mask",
    "nncf_module.a.fc.pre_ops.0.op.weight_ctx._binary_mask", "__nncf_hooks.post_hooks.a:fc:weight__0.0.binary_mask",
])  # fmt: skip
def test_nncf(tmp_path, key):
    prefix = key.partition("a.fc")[0] if "hooks" not in key else ""
    state = {f"{prefix}a.fc.weight": WEIGHT, f"{prefix}a.fc.bias": torch.ones(2), key: MASK}
    found = read_checkpoint(saved(tmp_path, state))
    assert found.form == "nncf" and found.masks["a.fc.weight"].tolist() == KEPT and set(found.masks) == {"a.fc.weight"}


def test_logits_of_nncf_keep_what_is_positive(tmp_path):
    logits = torch.tensor([[0.1, -0.1, 4.6], [-2.0, 0.0, 1e-3]])  # sigmoid above a half
    key = "__nncf_hooks.post_hooks.fc:weight__0.0.mask"
    state = {"fc.weight": WEIGHT, key: logits}
    found = read_checkpoint(saved(tmp_path, state))
    assert found.form == "nncf" and found.masks["fc.weight"].tolist() == KEPT
    with pytest.raises(MaskError, match="a logit must be a number"):
        gs.read_masks({**state, key: torch.full((2, 3), float("nan"))})


def test_model_of_openlth(tmp_path):
    state = {
        "model.fc_layers.0.weight": WEIGHT,
        "model.fc_layers.0.bias": torch.zeros(2),
        "mask_fc_layers___0___weight": MASK,
    }
    found = read_checkpoint(saved(tmp_path, state))
    assert found.form == "openlth-model" and found.masks["fc_layers.0.weight"].tolist() == KEPT
    assert set(found.weights) == {"fc_layers.0.weight", "fc_layers.0.bias"}


def test_masks_of_openlth(tmp_path):
    found = read_checkpoint(
        saved(tmp_path, {"fc.weight": MASK.int(), "conv.weight": torch.ones(2, 1, 1, 1).int()}, "mask.pth")
    )
    assert found.form == "openlth" and found.masks["fc.weight"].tolist() == KEPT and not found.weights
    with pytest.raises(MaskError, match="0 and 1 alone, at fc.weight.*the first 2.*form='zeros'"):
        gs.read_masks({"fc.weight": MASK.int() * 2})
    assert gs.read_masks({"fc.weight": MASK.int() * 2}, form="zeros")["fc.weight"].tolist() == KEPT
    assert gs.read_masks({"fc.weight": MASK})["fc.weight"].tolist() == KEPT  # as floats the same, as plain weights


def test_masks_of_nni(tmp_path):
    table = {
        "conv1": {"weight": MASK, "bias": None},
        "fc": {"weight": MASK, "bias": torch.tensor([1.0, 0.0]), "_output_0": MASK},
    }
    found = read_checkpoint(saved(tmp_path, table))
    assert found.form == "nni"
    assert {name: mask.tolist() for name, mask in found.masks.items()} == {
        "conv1.weight": KEPT, "fc.weight": KEPT, "fc.bias": [True, False],
    }  # fmt: skip
    assert set(found.ignored) == {"conv1.bias", "fc._output_0"}
    with pytest.raises(CheckpointError, match="signs of nni"):  # a module called net, or a wrapper
        gs.read_masks({"net": {"weight": MASK, "bias": None}})
    assert list(gs.read_masks({"net": {"weight": WEIGHT}})) == ["weight"]
    assert list(gs.read_masks({"net": {"weight": MASK}}, form="nni")) == ["net.weight"]


PARAMETERS = {"a.weight": (4, 2), "a.bias": (4,), "b.weight": (2, 3), "c.weight": (3, 2)}


def test_masks_of_rigl(tmp_path):
    masks = [None, MASK.bool(), torch.eye(2).repeat(2, 1)[:3].bool()]
    path = saved(
        tmp_path,
        {"dense_allocation": 0.1, "S": [0, 0.5, 0.5], "backward_masks": masks, "_linear_layers_mask": [1, 1, 1]},
    )
    with pytest.raises(MaskError, match="a list of masks must come with the names of parameters.*by_order=True"):
        gs.read_masks(path)
    with pytest.raises(MaskError, match="by_order=True"):
        gs.read_masks(path, parameters=PARAMETERS)
    found = gs.read_masks(path, parameters=PARAMETERS, by_order=True)
    assert bool(found["a.weight"].all()) and found["a.weight"].shape == (4, 2)  # None: a dense layer
    assert found["b.weight"].tolist() == KEPT and found["c.weight"].sum() == 3
    later = gs.read_masks({"backward_masks": masks[1:]}, parameters=PARAMETERS, by_order=True)  # the first left out
    assert list(later) == ["b.weight", "c.weight"]
    with pytest.raises(MaskError, match=r"3 masks None, \(2, 3\), \(3, 2\) for 3 kernels"):
        gs.read_masks(path, parameters={**PARAMETERS, "c.weight": (2, 3)}, by_order=True)


def test_masks_of_rigl_beside_their_model(tmp_path):
    state = {
        "module.conv.weight": torch.ones(2, 3),
        "module.bn.weight": torch.ones(2),
        "module.fc.weight": torch.ones(2, 2),
    }
    path = saved(tmp_path, {"model": state, "pruner": {"backward_masks": [MASK.bool(), None]}, "epoch": 1})
    found = gs.read_masks(path, by_order=True)
    assert found["conv.weight"].tolist() == KEPT and bool(found["fc.weight"].all())


LAYERS = {"conv.weight": (5, 2, 3, 4), "conv.bias": (5,), "fc.weight": (2, 3)}


def test_lists_of_numpy_in_either_layout(tmp_path):
    rng = np.random.default_rng(0)
    conv, fc = rng.random((5, 2, 3, 4)) < 0.5, rng.random((2, 3)) < 0.5
    np.savez(tmp_path / "torch.npz", conv, fc)
    np.savez_compressed(tmp_path / "keras.npz", conv.transpose(2, 3, 1, 0).astype(np.float32), fc.T.astype(np.float32))
    for name in ("torch.npz", "keras.npz"):
        found = gs.read_masks(tmp_path / name, parameters=LAYERS, by_order=True)
        assert np.array_equal(found["conv.weight"], conv) and np.array_equal(found["fc.weight"], fc), name
    with pytest.raises(MaskError, match="must come with the names"):
        gs.read_masks(tmp_path / "torch.npz", parameters=LAYERS)
    with pytest.raises(MaskError, match="fit the model's kernels in order"):
        gs.read_masks(tmp_path / "torch.npz", parameters={**LAYERS, "fc.weight": (2, 4)}, by_order=True)


def test_a_list_that_fits_in_both_layouts_is_refused(tmp_path):
    mask = np.array([[1, 1], [0, 1]])
    np.save(tmp_path / "one.npy", mask)
    with pytest.raises(MaskError, match="must fit in one layout.*form='list' or form='keras'"):
        gs.read_masks(tmp_path / "one.npy", parameters={"w": (2, 2)}, by_order=True)
    for form, expected in (("list", mask), ("keras", mask.T)):
        found = gs.read_masks(tmp_path / "one.npy", parameters={"w": (2, 2)}, by_order=True, form=form)
        assert np.array_equal(found["w"], expected), form


def test_names_of_keras_and_flax(tmp_path):
    rng = np.random.default_rng(1)
    conv, fc, depthwise = rng.random((3, 3, 2, 5)) < 0.5, rng.random((3, 2)) < 0.5, rng.random((3, 3, 4, 2)) < 0.5
    np.savez(
        tmp_path / "net.npz",
        **{"net/conv/kernel:0": conv, "net/fc/kernel:0": fc, "net/d/depthwise_kernel:0": depthwise},
    )
    found = read_checkpoint(tmp_path / "net.npz")
    assert found.form == "keras"
    assert np.array_equal(found.masks["net.conv.weight"], conv.transpose(3, 2, 0, 1))
    assert np.array_equal(found.masks["net.fc.weight"], fc.T)
    assert np.array_equal(found.masks["net.d.weight"], depthwise.transpose(2, 3, 0, 1).reshape(8, 1, 3, 3))


def test_packed_masks_of_jaxpruner(tmp_path):
    """Flat and the first bit the highest: [1 0 1 0 0 1] is 0b10100100."""
    np.savez(tmp_path / "one.npz", **{"fc.weight": np.array([0b10100100], dtype=np.uint8)})
    with pytest.raises(MaskError, match="must come with the shapes"):
        gs.read_masks(tmp_path / "one.npz")
    assert gs.read_masks(tmp_path / "one.npz", parameters={"fc.weight": (2, 3)})["fc.weight"].tolist() == KEPT
    with pytest.raises(MaskError, match="one bit per entry"):
        gs.read_masks(tmp_path / "one.npz", parameters={"fc.weight": (4, 3)})
    with pytest.raises(MaskError, match="filled up with zeros"):
        gs.read_masks(tmp_path / "one.npz", parameters={"fc.weight": (5, 1)})
    kernel = np.random.default_rng(2).random((3, 3, 2, 5)) < 0.5
    np.savez(tmp_path / "flax.npz", **{"params/conv/kernel": np.packbits(kernel)})
    found = gs.read_masks(tmp_path / "flax.npz", parameters={"conv.weight": (5, 2, 3, 3)})
    assert np.array_equal(found["conv.weight"], kernel.transpose(3, 2, 0, 1))


def test_sparse_bitmask_by_hand(tmp_path):
    """Bits little-endian along the last axis: row [5 0 7] is 0b101, row [0 0 9] is 0b100."""
    save_file(
        {
            "fc.shape": torch.tensor([2, 3]), "fc.compressed": torch.tensor([5.0, 7.0, 9.0]).bfloat16(),
            "fc.bitmask": torch.tensor([[0b101], [0b100]], dtype=torch.uint8), "fc.row_offsets": torch.tensor([0, 2]),
            "old.weight.shape": torch.tensor([1, 2]), "old.weight.compressed": torch.tensor([3.0]),
            "old.weight.bitmask": torch.tensor([[0b10]], dtype=torch.uint8), "old.weight.row_offsets": torch.tensor([0]),
            "embed.weight": torch.eye(2), "fc.bias": torch.zeros(2),
        },
        tmp_path / "model.safetensors",
    )  # fmt: skip
    found = read_checkpoint(tmp_path / "model.safetensors")
    assert found.form == "sparse-bitmask"
    assert found.masks["fc.weight"].tolist() == KEPT and found.masks["old.weight"].tolist() == [[False, True]]
    assert (
        found.weights["fc.weight"].tolist() == [[5, 0, 7], [0, 0, 9]]
        and found.weights["fc.weight"].dtype == torch.bfloat16
    )
    assert set(found.weights) == {"fc.weight", "old.weight", "embed.weight", "fc.bias"}


@pytest.mark.parametrize("part, value, rule", [
    ("compressed", torch.tensor([5.0, 7.0]), "bits, values and row offsets must agree"),
    ("row_offsets", torch.tensor([0, 1]), "bits, values and row offsets must agree"),
    ("bitmask", torch.tensor([[0b101], [0b1000]], dtype=torch.uint8), "beyond a row's end must be 0"),
    ("bitmask", torch.tensor([[0b101]], dtype=torch.uint8), "one bit per entry"),
    ("shape", torch.tensor([1 << 40, 1 << 30]), "one bit per entry"),
    ("shape", torch.tensor([-2, 3]), "one bit per entry"),
])  # fmt: skip
def test_sparse_bitmask_parts_must_agree(part, value, rule):
    parts = {"shape": torch.tensor([2, 3]), "compressed": torch.tensor([5.0, 7.0, 9.0]),
             "bitmask": torch.tensor([[0b101], [0b100]], dtype=torch.uint8), "row_offsets": torch.tensor([0, 2])}  # fmt: skip
    with pytest.raises((MaskError, CheckpointError), match=rule):
        gs.read_masks({f"fc.{name}": tensor for name, tensor in {**parts, part: value}.items()})


def test_sparse_24_bitmask_by_hand():
    """Two bits of every four, also where a value is zero: that one is pruned."""
    state = {"fc.shape": torch.tensor([[2], [4]]), "fc.compressed": torch.tensor([[1.0, 2.0], [3.0, 0.0]]),
             "fc.bitmask": torch.tensor([[0b0101], [0b1010]], dtype=torch.uint8)}  # fmt: skip
    found = read_checkpoint(state)
    assert found.form == "sparse-24-bitmask"
    assert found.weights["fc.weight"].tolist() == [[1, 0, 2, 0], [0, 3, 0, 0]]
    assert found.masks["fc.weight"].tolist() == [[True, False, True, False], [False, True, False, False]]
    with pytest.raises(MaskError, match="two of every four"):
        gs.read_masks({**state, "fc.bitmask": torch.tensor([[0b0111], [0b1000]], dtype=torch.uint8)})


@pytest.mark.parametrize("convert", ["to_sparse_coo", "to_sparse_csr", "to_sparse_csc"])
def test_sparse_tensors_keep_what_is_stored(tmp_path, convert):
    dense = torch.tensor([[5.0, 0.0, 7.0], [0.0, 0.0, 9.0]])
    stored = getattr(dense, convert)()
    stored.values()[0] = 0 if convert != "to_sparse_coo" else stored.values()[0]  # a stored zero is kept
    found = read_checkpoint(saved(tmp_path, {"fc.weight": stored, "fc.bias": torch.ones(2)}))
    assert found.form == "torch-sparse" and found.masks["fc.weight"].tolist() == KEPT
    assert torch.equal(found.weights["fc.weight"], stored.to_dense())


def test_sparse_tensors_with_repeats_blocks_and_more_axes():
    repeated = torch.sparse_coo_tensor(torch.zeros(2, 300, dtype=torch.int64), torch.ones(300), (2, 2))
    assert gs.read_masks({"w": repeated})["w"].tolist() == [[True, False], [False, False]]
    blocked = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]]).to_sparse_bsr((2, 2))
    assert gs.read_masks({"w": blocked})["w"].sum() == 1  # of the stored block, what is not zero
    hybrid = torch.sparse_coo_tensor(torch.tensor([[1]]), torch.tensor([[0.0, 3.0]]), (3, 2))
    assert gs.read_masks({"w": hybrid})["w"].tolist() == [[False] * 2, [True] * 2, [False] * 2]


def test_sparse_indices_outside_the_shape_are_refused():
    beside = torch.sparse_coo_tensor(torch.tensor([[5], [1]]), torch.ones(1), (2, 3), check_invariants=False)
    with pytest.raises(CheckpointError, match="indices must lie in its shape"):
        gs.read_masks({"w": beside})
    rows = torch.sparse_csr_tensor(
        torch.tensor([0, 1, 2]), torch.tensor([0, 9]), torch.ones(2), (2, 3), check_invariants=False
    )
    with pytest.raises(CheckpointError, match="indices must lie in its shape"):
        gs.read_masks({"w": rows})


def test_bits_by_hand(tmp_path):
    """Row after row, the first entry the lowest bit: [1 0 1 0 0 1] is 0b100101."""
    from graphsparse.checkpoints import write_masks_file

    write_masks_file(tmp_path / "m.safetensors", {"fc.weight": MASK.bool()}, form="bits")
    data = (tmp_path / "m.safetensors").read_bytes()
    assert data[-1] == 0b100101
    (tmp_path / "m.safetensors").write_bytes(data[:-1] + bytes([0b100111]))
    with pytest.raises(MaskError, match="the bits that it was written with"):
        gs.read_masks(tmp_path / "m.safetensors")


def test_exported_programs(tmp_path):
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 2, bias=False)).eval()
    network[0].weight.data = WEIGHT * MASK
    network[2].weight.data = torch.ones(4)[::2].expand(2, 2)  # strides that repeat
    torch.export.save(torch.export.export(network, (torch.zeros(2, 3),)), tmp_path / "net.pt2")
    found = read_checkpoint(tmp_path / "net.pt2")
    assert found.form == "zeros" and found.masks["0.weight"].tolist() == KEPT
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in network.state_dict().items())


def test_quantised_tensors_are_read_by_their_values(tmp_path):
    quantised = torch.quantize_per_tensor(torch.tensor([[0.5, 0.0], [0.0, -1.0]]), 0.5, 3, torch.qint8)
    found = gs.read_masks(saved(tmp_path, {"fc.weight": quantised}))
    assert found["fc.weight"].tolist() == [[True, False], [False, True]]


def test_a_named_form_that_the_file_is_not():
    with pytest.raises(CheckpointError, match="must be that of the file.*received 'prune'"):
        gs.read_masks({"fc.bias": torch.ones(2)}, form="prune")
    for form in set(FORMS) - {"zeros", "prune"}:
        try:
            read_checkpoint({"fc.bias": torch.ones(2)}, form=form)
        except (MaskError, CheckpointError):
            continue
        assert form in ("openlth", "keras"), form  # a vector of ones is a table of masks, and an array of weights
