"""Capture of a 7-billion-parameter Llama shape on the meta device, in channel resolution: time and memory by layers.

Run: python benchmarks/capture_llama.py [layers ...]     (default 2 4 8 16 32; under a minute)
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import transformers
from timing import report
from transformers import LlamaConfig, LlamaForCausalLM

import graphsparse as gs

HERE = Path(__file__).parent
transformers.logging.set_verbosity_error()


def model(layers: int) -> torch.nn.Module:
    """Llama 7B's shape with so many layers, without its weights."""
    config = LlamaConfig(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=layers, num_attention_heads=32, vocab_size=32000,
        use_cache=False,
    )  # fmt: skip
    with torch.device("meta"):
        return LlamaForCausalLM(config)


def measure(layers: int, tokens: int = 16) -> dict[str, Any]:
    """A row: layers, connections, seconds for capture and lowering, peak memory of the process, imports included."""
    gs.export(torch.nn.Linear(1, 1), torch.zeros(1, 1))  # what torch.export imports and compiles at its first use
    network, ids = model(layers), torch.arange(tokens)[None]
    start = perf_counter()
    graph = gs.export(network, (), masks={}, kwargs={"input_ids": ids}, resolution="channel")
    seconds = perf_counter() - start
    return {
        "layers": layers, "billion connections": graph.n_connections / 1e9, "units": graph.n_units, "seconds": seconds,
        "ms per layer": 1e3 * seconds / layers, "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]))))
    else:
        rows = []
        for layers in sys.argv[1:] or ["2", "4", "8", "16", "32"]:
            ran = subprocess.run(
                [sys.executable, __file__, "--one", layers], capture_output=True, text=True, check=True
            )
            rows.append(json.loads(ran.stdout.splitlines()[-1]))
        report(
            "Llama 7B's shape on the meta device: captured and lowered (goal: 60 s, 4 GB)", rows, HERE / "capture.json"
        )
