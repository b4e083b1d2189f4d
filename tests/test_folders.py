"""Folders as transformers saves them: what their names, ties and missing tensors lead to, and what is held in memory."""

from __future__ import annotations

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import graphsparse as gs
from graphsparse import cli
from graphsparse.checkpoints.archives.mapped import MappedFile
from graphsparse.errors import CheckpointError, MaskError, ModelError
from graphsparse.networks.pretrained import _sealed

hf = pytest.importorskip("transformers")

TINY = {"hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**TINY, "vocab_size": 70, "max_position_embeddings": 32}
MIXTURE = {**TEXT, "num_key_value_heads": 1, "num_local_experts": 11, "num_experts_per_tok": 2}
IMAGE = {**TINY, "image_size": 16, "patch_size": 4}
TOKENS = {"input_ids": torch.zeros(1, 16, dtype=torch.int64)}
PIXELS = {"pixel_values": torch.zeros(1, 3, 16, 16)}


def thinned(model: nn.Module) -> nn.Module:
    """Kernels, biases and scales alike lose entries, so that starved, constant and cut units all occur."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            density = 0.3 if parameter.dim() > 1 else 0.5 if name.endswith("bias") else 0.9
            parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
            parameter.mul_(torch.rand(parameter.shape, generator=generator) < density)
    return model.eval()


def saved(model: nn.Module, folder: Path) -> nn.Module:
    thinned(model).save_pretrained(folder, max_shard_size="8KB")
    return model


def live(model: nn.Module, inputs: dict[str, torch.Tensor]) -> gs.LayeredGraph:
    model.config.use_cache = False
    return gs.export(model, kwargs=inputs, resolution="channel")


def rewritten(folder: Path, change) -> None:
    """The folder's tensors in one file, after ``change`` of their table."""
    tensors = {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}
    for file in [*folder.glob("*.safetensors"), *folder.glob("*.index.json")]:
        file.unlink()
    save_file(change(tensors), folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("name", "config", "inputs"),
    [
        ("BertForMaskedLM", hf.BertConfig(**TEXT), TOKENS),
        ("OPTForCausalLM", hf.OPTConfig(**TEXT, ffn_dim=20, word_embed_proj_dim=12), TOKENS),
        ("ViTForImageClassification", hf.ViTConfig(**IMAGE), PIXELS),
        ("GPTNeoXForCausalLM", hf.GPTNeoXConfig(**TEXT), TOKENS),
        ("MixtralForCausalLM", hf.MixtralConfig(**MIXTURE), TOKENS),
    ],
)
def test_biases_scales_and_older_names_are_read_as_the_live_model_has_them(tmp_path, name, config, inputs):
    """transformers itself saves the last three under names of older versions, the last with a tensor for each expert."""
    model = saved(getattr(hf, name)(config), tmp_path)
    report = gs.analyze(tmp_path)
    assert report.sparsity.frame.equals(gs.sparsity(live(model, inputs)).frame)
    assert 0 < report.summary["active"] < report.summary["kept"]


def test_a_tied_head_may_be_missing_or_there_twice(tmp_path):
    config = hf.LlamaConfig(**TEXT, tie_word_embeddings=True)
    model = saved(hf.LlamaForCausalLM(config), tmp_path)
    names = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    assert "lm_head.weight" not in names
    frame = gs.analyze(tmp_path).sparsity.frame
    rewritten(tmp_path, lambda t: {**t, "lm_head.weight": t["model.embed_tokens.weight"].clone()})
    assert gs.analyze(tmp_path).sparsity.frame.equals(frame) and "lm_head.weight" not in frame.index
    assert frame.equals(gs.sparsity(live(model, TOKENS)).frame)


def test_an_untied_head_that_is_missing_is_named(tmp_path):
    saved(hf.LlamaForCausalLM(hf.LlamaConfig(**TEXT, tie_word_embeddings=False)), tmp_path)
    rewritten(
        tmp_path, lambda t: {n: v for n, v in t.items() if n != "lm_head.weight"} | {"head.weight": t["lm_head.weight"]}
    )
    with pytest.raises(ModelError, match=r"missing: lm_head\.weight; not in the model: head\.weight"):
        gs.analyze(tmp_path)


def test_what_does_not_match_is_told_on_both_sides(tmp_path):
    saved(hf.BertForMaskedLM(hf.BertConfig(**TEXT)), tmp_path)
    gone = "bert.encoder.layer.1.output.dense.bias"

    def change(tensors):
        rest = {name: tensor for name, tensor in tensors.items() if name != gone}
        return {**rest, "cls.seq_relationship.weight": torch.ones(2, 12), "cls.seq_relationship.bias": torch.ones(2)}

    rewritten(tmp_path, change)
    notes = gs.analyze(tmp_path).notes
    assert "In the file, not in the model: cls.seq_relationship.weight, cls.seq_relationship.bias." in notes
    assert f"Not in the file, taken as not zero: {gone}." in notes


def test_a_prefix_that_differs_differs_for_biases_too(tmp_path):
    model = saved(hf.BertModel(hf.BertConfig(**TEXT)), tmp_path)
    rewritten(tmp_path, lambda tensors: {f"bert.{name}": tensor for name, tensor in tensors.items()})
    report = gs.analyze(tmp_path)
    assert report.sparsity.frame.equals(gs.sparsity(live(model, TOKENS)).frame)
    assert not [note for note in report.notes if "not in the model" in note]


def test_experts_that_are_missing_or_there_twice(tmp_path):
    saved(hf.MixtralForCausalLM(hf.MixtralConfig(**MIXTURE)), tmp_path)
    last = "model.layers.1.block_sparse_moe.experts.10.w2.weight"
    rewritten(tmp_path, lambda tensors: {name: tensor for name, tensor in tensors.items() if name != last})
    with pytest.raises(MaskError, match=r"layers\.1\.mlp\.experts\.down_proj.*\(10, 12, 20\) for \(11, 12, 20\)"):
        gs.analyze(tmp_path)
    gate = "model.layers.0.block_sparse_moe.gate.weight"
    rewritten(
        tmp_path, lambda t: {**t, last: torch.ones(12, 20), gate.replace("block_sparse_moe", "mlp"): t[gate].clone()}
    )
    with pytest.raises(CheckpointError, match="by its old or its new name"):
        gs.analyze(tmp_path)


def test_one_tensor_is_in_memory_at_a_time(tmp_path, monkeypatch):
    """Between two tensors everything that was looked at is given back: bytes looked at less bytes given back."""
    saved(hf.LlamaForCausalLM(hf.LlamaConfig(**TEXT)), tmp_path)
    held, most = {}, [0]
    real_pack, real_release = gs.checkpoints.opening.pack_nonzero, MappedFile.release  # type: ignore[attr-defined]

    def pack(tensor):
        held[tensor.data_ptr()] = tensor.nbytes
        most[0] = max(most[0], sum(held.values()))
        return real_pack(tensor)

    def release(self, tensor):
        held.pop(tensor.data_ptr(), None)
        real_release(self, tensor)

    monkeypatch.setattr("graphsparse.checkpoints.opening.pack_nonzero", pack)
    monkeypatch.setattr(MappedFile, "release", release)
    report = gs.analyze(tmp_path)
    largest = max(t.nbytes for file in tmp_path.glob("*.safetensors") for t in load_file(file).values())
    assert not held and most[0] == largest and report.summary["kept"] > 0


def pruned(folder: Path, capsys, method: str, *options: str) -> str:
    out = folder.parent / "pruned.safetensors"
    with pytest.raises(SystemExit) as status:
        cli.main(["prune", str(folder), "--method", method, "--compression", "6", "--out", str(out), *options])
    printed = capsys.readouterr()
    assert not status.value.code, printed.err
    return printed.out


@pytest.mark.parametrize(
    ("name", "config", "inputs"),
    [
        ("LlamaForCausalLM", hf.LlamaConfig(**TEXT, tie_word_embeddings=True), TOKENS),
        ("ViTForImageClassification", hf.ViTConfig(**IMAGE), PIXELS),
    ],
)
def test_a_folder_is_pruned_with_its_own_weights_as_the_live_model_is(tmp_path, capsys, name, config, inputs):
    """random, magnitude and LAMP read one weight after the other; what is written fits the folder's model again."""
    folder = tmp_path / "model"
    model = saved(getattr(hf, name)(config), folder)
    model.config.use_cache = False
    for method in ("random/igq", "magnitude", "lamp"):
        capsys.readouterr()
        assert "effective" in pruned(folder, capsys, method)
        expected = gs.prune(model, None, method, compression=6, kwargs=inputs, resolution="channel")
        report = gs.analyze(tmp_path / "pruned.safetensors", str(folder))
        assert report.summary["kept"] == report.summary["active"] == expected.active
        masks = gs.read_masks(tmp_path / "pruned.safetensors")
        assert all(torch.equal(masks[each], mask) for each, mask in expected.items())


def test_a_method_that_runs_the_model_loads_the_weights_and_says_what_it_takes(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "model"
    model = saved(hf.LlamaForCausalLM(hf.LlamaConfig(**TEXT, tie_word_embeddings=False)), folder)
    model.config.use_cache = False
    capsys.readouterr()
    x, y = torch.arange(32).reshape(2, 16), torch.arange(32, 64).reshape(2, 16)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    said = pruned(folder, capsys, "snip", "--data", str(tmp_path / "data.npz"))
    assert "snip runs the model: its weights were loaded, which takes about 0.1 MB." in said
    expected = gs.prune(model, (), "snip", compression=6, kwargs=TOKENS, resolution="channel", data=[(x, y)])
    masks = gs.read_masks(tmp_path / "pruned.safetensors")
    assert all(torch.equal(masks[each], mask) for each, mask in expected.items())
    monkeypatch.setattr("graphsparse.networks.filling.available_memory", lambda: 1000)
    with pytest.raises(SystemExit) as status:
        cli.main(["prune", str(folder), "--method", "synflow", "--compression", "6", "--out", str(tmp_path / "no.pt")])
    printed = capsys.readouterr()
    assert status.value.code == 2 and "use random, magnitude or lamp" in printed.err and printed.err.count("\n") == 1


def test_curves_of_a_folder(tmp_path, capsys):
    saved(hf.ViTForImageClassification(hf.ViTConfig(**IMAGE)), tmp_path / "model")
    with pytest.raises(SystemExit) as status:
        cli.main(
            [
                "curve",
                str(tmp_path / "model"),
                "--method",
                "lamp",
                "--method",
                "magnitude",
                "--csv",
                str(tmp_path / "c.csv"),
            ]
        )
    assert not status.value.code, capsys.readouterr().err
    assert {"lamp", "magnitude"} == {line.split(",")[0] for line in (tmp_path / "c.csv").read_text().splitlines()[1:]}


def test_sizes_that_are_trusted_are_built(tmp_path):
    """A model of many more modules than its file bears out: all its tensors are missing, and that is what is said then."""
    saved(hf.LlamaForCausalLM(hf.LlamaConfig(**TEXT)), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 300}))
    with pytest.raises(ModelError, match=r"size of the tensors beside it.*trust_sizes"):
        gs.analyze(tmp_path)
    with pytest.raises(ModelError, match=r"missing: model\.layers\.2\."):
        gs.analyze(tmp_path, trust_sizes=True)


@pytest.mark.parametrize(
    "kind, config",
    [
        ("GPT2LMHeadModel", {"n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 20}),
        ("RobertaModel", {**TEXT, "num_hidden_layers": 1, "max_position_embeddings": 4, "pad_token_id": 1}),
    ],
)
def test_a_sample_fits_into_a_short_table_of_positions(tmp_path, kind, config):
    made = getattr(hf, kind)
    model = thinned(made(made.config_class(**config, bos_token_id=0, eos_token_id=0)))
    model.save_pretrained(tmp_path)
    read = gs.export(gs.network(str(tmp_path)))
    by_hand = live(model, {"input_ids": torch.zeros(1, 2, dtype=torch.int64)})
    assert gs.sparsity(read).active == gs.sparsity(by_hand).active


def test_nothing_is_asked_fetched_or_started_while_a_model_is_built():
    with _sealed():
        for words, act in (
            ("start a program", lambda: os.system("true")),
            ("use the network", lambda: socket.getaddrinfo("a", 1)),
        ):
            with pytest.raises(ModelError, match=f"nothing there may {words}"):
                act()
        elsewhere = ThreadPoolExecutor(1).submit(os.system, "true")
        assert elsewhere.result() == 0
    assert os.system("true") == 0
