"""Whatever is typed or named: options, data and configurations end in an error of ours or in an answer."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import graphsparse as gs
from graphsparse.cli import options
from graphsparse.errors import GraphsparseError

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIZES = st.text("0123456789x:-+ .,eE\u0663\uff11intfloabq*()[]", max_size=24) | st.from_regex(
    r"(int:)?\d{1,3}(x\d{1,12}){0,5}", fullmatch=True
)


def refused_or(call: Any) -> Any:
    """What a call gives, or None where it ends in an error of ours; any other exception fails the test."""
    try:
        return call()
    except GraphsparseError as error:
        assert len(str(error)) < 4000
        return None


@settings(QUICK, max_examples=300)
@given(st.lists(SIZES, max_size=3))
def test_inputs(texts):
    found = refused_or(lambda: options.examples(texts))
    assert found is None or all(tensor.numel() <= 2**27 for tensor in found)


@settings(QUICK, max_examples=200)
@given(st.lists(st.text(max_size=20) | st.from_regex(r"\w{1,5}=[\w\[\]{}'\",.: -]{0,15}", fullmatch=True), max_size=3))
def test_arguments_of_factories(texts):
    found = refused_or(lambda: options.arguments(texts))
    assert found is None or all(isinstance(name, str) for name in found)


DTYPES = st.sampled_from(["f2", "f4", "f8", "i1", "u2", "i8", "?", "c8", "U3", "S2", "O", "M8[s]", "V4"])


@st.composite
def archives(draw) -> bytes:
    """An npz with arrays of any type and shape under any name, or bytes that are none."""
    if draw(st.booleans()) and draw(st.booleans()):
        return draw(st.binary(max_size=200))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in draw(st.lists(st.sampled_from(["x", "y", "z", "x/y", "../x", ""]), max_size=3, unique=True)):
            shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
            array = np.zeros(shape, np.dtype(draw(DTYPES)))
            content = io.BytesIO()
            np.save(content, array, allow_pickle=True)
            octets = content.getvalue()
            archive.writestr(
                f"{name}.npy", octets[: draw(st.integers(0, len(octets)))] if draw(st.booleans()) else octets
            )
    return out.getvalue()


class Judged(nn.Module):
    """A small network that SNIP can score: two layers, three classes."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize("method", ["snip", "grasp"])
@QUICK
@given(content=archives())
def test_data(tmp_path, method, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    torch.manual_seed(0)
    batches = refused_or(lambda: options.batches(path))
    if batches is not None:
        refused_or(lambda: gs.prune(Judged(), torch.zeros(1, 4), method, compression=2, data=batches))


CONFIGURATION: dict[str, Any] = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "intermediate_size": 12,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 20,
    "max_position_embeddings": 16,
}  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.integers(-3, 12), st.floats(), st.text(max_size=8),
    st.lists(st.integers(-2, 9), max_size=3), st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder as transformers saves it."""
    hf = pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("folder")
    torch.manual_seed(0)
    hf.LlamaForCausalLM(hf.LlamaConfig(**{k: v for k, v in CONFIGURATION.items() if k not in ("model_type", "architectures")})
                        ).save_pretrained(path)  # fmt: skip
    return path


@settings(QUICK, max_examples=25)
@given(changes=st.dictionaries(st.sampled_from([*CONFIGURATION, "rope_theta", "head_dim", "torch_dtype", "auto_map"]),
                               VALUES, min_size=1, max_size=2))  # fmt: skip
def test_configurations(folder, changes):
    (folder / "config.json").write_text(json.dumps({**CONFIGURATION, **changes}))
    refused_or(lambda: gs.analyze(folder))
