"""Capture of a 7-billion-parameter Llama shape on the meta device, in channel resolution: time and memory by layers.

Run: python benchmarks/capture_llama.py [layers ...]     (default 2 4 8 16 32)
"""

from __future__ import annotations

import resource
import sys
from time import perf_counter

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import graphsparse as gs


def model(layers: int) -> torch.nn.Module:
    """Llama 7B's shape with so many layers, without its weights."""
    config = LlamaConfig(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=layers, num_attention_heads=32, vocab_size=32000,
        use_cache=False,
    )  # fmt: skip
    with torch.device("meta"):
        return LlamaForCausalLM(config)


def measure(layers: int, tokens: int = 16) -> str:
    """A line: layers, seconds for capture and lowering, peak memory of the process so far, connections."""
    network = model(layers)
    ids = torch.arange(tokens)[None]
    start = perf_counter()
    graph = gs.export(network, (), masks={}, kwargs={"input_ids": ids}, resolution="channel")
    seconds = perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{layers:6} layers  {seconds:7.2f} s  {peak:6.2f} GiB  {graph.n_units:9} units  {graph.n_connections:13} connections"


if __name__ == "__main__":
    for count in [int(argument) for argument in sys.argv[1:]] or [2, 4, 8, 16, 32]:
        print(measure(count), flush=True)
