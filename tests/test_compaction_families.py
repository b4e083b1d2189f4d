"""Dead units out of transformers and their like: heads, experts, gates, tied tables; against forward passes."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import graphsparse as gs
from graphsparse import cli, zoo
from graphsparse.compaction.saving import sayable
from tests.compacting import assert_same, drawn, masked, masks_of, why
from tests.mixed import TINY, tokens
from tests.transformer_models import FAMILIES, built, causal

transformers = pytest.importorskip("transformers")


class Attention(nn.Module):
    """Multi-head attention written by hand, with a count of heads that its code reads."""

    def __init__(self, width: int = 12, heads: int = 3):
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) * self.head_dim**-0.5
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def test_a_head_leaves_as_a_whole():
    """Nothing reads head 1; of head 2 one feature of the values is dead, which stays beside its neighbours."""
    model, x = drawn(nn.Sequential(nn.Linear(5, 12), Attention(), nn.Linear(12, 2))), torch.zeros(1, 4, 5).double()
    masks = {"1.proj.weight": torch.ones(12, 12) > 0}
    masks["1.proj.weight"][:, 4:9] = False
    found = gs.compact(model, x, masks)
    assert found.model[1].num_heads == 2 and found.model[1].qkv.weight.shape == (24, 12)
    assert found.model[1].proj.weight.shape == (12, 8) and why(found) == {"tied": 1}
    assert found.unit_map["1.qkv.weight"][0].tolist() == [*range(4), *range(8, 16), *range(20, 28), *range(32, 36)]
    assert_same(masked(model, masks), found.model, (x,))


@pytest.mark.parametrize("name", ["gpt2", "llama-tied", "phi3", "bert", "t5", "vit"])
def test_transformers(name):
    model = drawn(built(name, "eager"))
    given = {key: make(0) for key, make in FAMILIES[name][1].items()}  # type: ignore[attr-defined]
    masks = masks_of(model, 0.4, rows=0.6)
    found = gs.compact(model, (), masks, kwargs=given)
    assert_same(masked(model, masks), found.model, (), given)
    assert found.report.frame["left"].sum() > 0 and found.report.difference <= 1e-10


def test_experts():
    """Stacked kernels lose the same units of every expert; in single precision, since their product has no other form."""
    build = causal("Mixtral", sizes={**TINY, "intermediate_size": 16}, num_key_value_heads=1, num_local_experts=3)
    model = drawn(build("eager")).float()
    masks = {
        name: (torch.arange(32) >= 8).reshape(1, -1, 1).expand(parameter.shape)
        for name, parameter in model.named_parameters()
        if name.endswith("gate_up_proj")
    }
    given = {"input_ids": tokens(0)}
    found = gs.compact(model, (), masks, kwargs=given)
    shapes = {name.rsplit(".", 1)[1]: tuple(p.shape) for name, p in found.model.named_parameters() if p.dim() == 3}
    assert shapes == {"gate_up_proj": (3, 16, 8), "down_proj": (3, 8, 8)}
    assert any("double precision" in note for note in found.report.notes)
    assert_same(masked(model, masks), found.model, (), given, tolerance=1e-5)


def test_parameters_that_are_to_keep_their_widths():
    model, x = drawn(zoo.build("lenet300100")), torch.zeros(1, 1, 28, 28).double()
    masks = masks_of(model, 0.01)
    found = gs.compact(model, x, masks, keep=["fc1.*"])
    assert found.model.fc1.out_features == 300 and found.model.fc2.out_features < 100 and why(found)["keep"] > 100
    assert_same(masked(model, masks), found.model, (x,))
    with pytest.raises(gs.MaskError, match=r"keep= must hold names of parameters.*received nope"):
        gs.compact(model, x, masks, keep=["nope"])


def test_layers_alike():
    blocks = [nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)) for _ in range(2)]
    model, x = drawn(nn.Sequential(*blocks)), torch.zeros(1, 4).double()
    masks = {f"{at}.0.weight": (torch.arange(8) < 3 + 2 * at)[:, None].expand(8, 4) for at in (0, 1)}
    found = gs.compact(model, x, masks, alike=True)
    assert found.model[0][0].out_features == found.model[1][0].out_features == 5 and why(found) == {"alike": 2}
    assert_same(masked(model, masks), found.model, (x,))


def run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as stop:
        cli.main(["compact", *arguments])
    return stop.value.code


def saved(folder, model, zeros: dict[str, int]) -> nn.Module:
    """A folder whose feed-forward layers lost rows: so many of those whose names end so."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            for end, count in zeros.items():
                if name.endswith(end):
                    parameter[:count] = 0
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return model


def test_a_folder_of_transformers_loads_again(tmp_path, capsys):
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**TINY, "intermediate_size": 12}))
    saved(tmp_path / "llama", model, {"0.mlp.gate_proj.weight": 5, "1.mlp.up_proj.weight": 7, "q_proj.weight": 4})
    assert run(str(tmp_path / "llama"), "--out", str(tmp_path / "small")) == 0
    assert "loads with transformers" in capsys.readouterr().out
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert again.config.intermediate_size == 7 and (tmp_path / "small" / "tokenizer.json").exists()
    given = torch.tensor([[1, 5, 2, 7]])
    torch.testing.assert_close(again(given).logits, model.eval()(given).logits)


def test_a_configuration_that_cannot_say_it_gets_the_masked_model(tmp_path, capsys):
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    model = transformers.T5ForConditionalGeneration(config)  # the feed-forward layers are as wide as the stream
    saved(tmp_path / "t5", model, {"encoder.block.0.layer.1.DenseReluDense.wi.weight": 3})
    assert run(str(tmp_path / "t5"), "--out", str(tmp_path / "small")) == 0
    assert "cannot say the new widths" in capsys.readouterr().out
    again = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "small")
    given = {"input_ids": torch.tensor([[1, 5]]), "decoder_input_ids": torch.tensor([[2]])}
    torch.testing.assert_close(again(**given).logits, model.eval()(**given).logits)


def test_the_command_writes_weights_a_map_and_a_program(tmp_path, capsys):
    model = drawn(zoo.build("digits_mlp")).float()
    masks = masks_of(model, 0.01)
    torch.save(masked(model, masks).state_dict(), tmp_path / "net.pt")
    command = [str(tmp_path / "net.pt"), "--model", "graphsparse.zoo:digits_mlp", "--input", "1x8x8"]
    assert run(*command, "--out", str(tmp_path / "small"), "--round-to", "4") == 0
    assert "new_shape" in capsys.readouterr().out
    tensors, kept = (
        load_file(tmp_path / "small" / "model.safetensors"),
        json.loads((tmp_path / "small" / "map.json").read_text()),
    )
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == {
        n: each["new_shape"] for n, each in kept.items()
    }
    rows, columns = kept["fc2.weight"]["kept"]
    part = masked(model, masks).state_dict()["fc2.weight"][rows][:, columns]
    assert torch.equal(part, tensors["fc2.weight"]) and len(rows) % 4 == len(columns) % 4 == 0
    x = torch.randn(1, 1, 8, 8)
    program = torch.export.load(tmp_path / "small" / "model.pt2").module()
    torch.testing.assert_close(program(x), copy.deepcopy(masked(model, masks))(x))
    report = json.loads((tmp_path / "small" / "report.json").read_text())
    assert report["after"]["parameters"] == sum(tensor.numel() for tensor in tensors.values())
    torch.export.save(torch.export.export(masked(model, masks), (x,)), tmp_path / "net.pt2")
    assert run(str(tmp_path / "net.pt2"), "--out", str(tmp_path / "smaller"), "--round-to", "4") == 0
    again = load_file(tmp_path / "smaller" / "model.safetensors")
    assert again.keys() == tensors.keys() and all(torch.equal(again[name], tensors[name]) for name in tensors)
    torch.testing.assert_close(torch.export.load(tmp_path / "smaller" / "model.pt2").module()(x), program(x))
    (tmp_path / "taken").write_text("")
    assert run(*command, "--out", str(tmp_path / "taken")) == 2
    assert "a folder must be writable" in capsys.readouterr().err


def test_a_width_that_a_configuration_leaves_open():
    """GPT-2's null is four times the stream's width; a width that nothing says is kept."""
    model = nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 8), nn.Linear(8, 24))
    assert sayable(model, {"n_embd": 8, "n_inner": None}) == ["2.weight"]
    assert sayable(model, {"n_embd": 8}) == ["0.weight", "1.weight", "2.weight"]
