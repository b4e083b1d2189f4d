"""Checkpoints of Llama shapes: file to effective sparsity against reading and counting with torch; memory; masks on disk.

Run: python benchmarks/checkpoints.py [billions ...]     (default 0.3 1.1; also 3 and 7 where the disk allows)
Everything is generated with a seed in a temporary folder and deleted after.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from timing import medians, report
from torch import nn

import graphsparse as gs
from graphsparse.checkpoints import open_checkpoint, pack_nonzero, write_masks_file
from graphsparse.kernels.masks import Mask
from graphsparse.networks.loading import stream
from graphsparse.networks.models import parameters_of
from graphsparse.networks.pretrained import build_pretrained

HERE = Path(__file__).parent
transformers.logging.set_verbosity_error()


SIZES = {  # hidden, intermediate, layers, heads, heads of keys and values
    0.3: (1024, 2816, 20, 16, 4), 1.1: (2048, 5632, 22, 32, 4), 3.0: (3200, 8640, 26, 32, 32), 7.0: (4096, 11008, 32, 32, 32),
}  # fmt: skip
SHARD = 1 << 30


def generate(folder: Path, billions: float, zeros: float) -> None:
    """A folder as transformers saves it, bfloat16, so large a share of every kernel zero."""
    hidden, intermediate, layers, heads, few = SIZES[billions]
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "vocab_size": 32000,
        "intermediate_size": intermediate, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": few,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    model, _ = build_pretrained(folder)
    generator, shard, index, held = torch.Generator().manual_seed(0), {}, {}, 0
    for name, parameter in model.named_parameters():
        shard[name] = _drawn(tuple(parameter.shape), zeros, generator)
        index[name] = f"model-{held // SHARD}.safetensors"
        before, held = held // SHARD, held + 2 * parameter.numel()
        if held // SHARD > before:
            save_file(shard, folder / index[name])
            shard = {}
    if shard:
        save_file(shard, folder / f"model-{held // SHARD}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def _drawn(shape: tuple[int, ...], zeros: float, generator: torch.Generator) -> torch.Tensor:
    if len(shape) < 2:
        return torch.ones(shape, dtype=torch.bfloat16)
    tensor = torch.empty(shape, dtype=torch.bfloat16).bernoulli_(1 - zeros, generator=generator)
    return tensor.mul_(0.02)


def count_with_torch(folder: Path) -> int:
    """The same tensors, read through the format's own library and counted."""
    kept = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            names = file.keys()
            for name in names:
                kept += int(torch.count_nonzero(file.get_tensor(name)))
    return kept


def captured(folder: Path) -> tuple[gs.LayeredGraph, Any]:
    """The graph of the folder's network, and its parameters."""
    model, inputs = build_pretrained(folder)
    return gs.export(model, masks={}, kwargs=inputs, resolution="channel"), parameters_of(model)


def analysed(folder: Path, graph: gs.LayeredGraph, parameters: Any) -> gs.LayeredGraph:
    """From the file to effective sparsity."""
    masked = graph.with_masks(stream(open_checkpoint(folder, parameters=parameters)))
    gs.sparsity(masked)
    return masked


def whole(billions: float, zeros: float) -> dict[str, Any]:
    """One row: times side by side, capture beside them, and the peak of memory in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, billions, zeros)
        start = time.perf_counter()
        graph, parameters = captured(folder)
        capture = time.perf_counter() - start
        ours: Callable[[], Any] = partial(analysed, folder, graph, parameters)
        times = medians({"ours": ours, "torch": lambda: count_with_torch(folder)}, 5 if billions < 2 else 3)
        found = gs.sparsity(ours())
        memory = json.loads(subprocess.check_output([sys.executable, __file__, "--memory", str(folder)]))
        file_gb = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e9
        largest = max(2 * parameter.numel() for parameter in parameters.values())
    allowed = largest + found.connections / 8 + 300e6
    return {
        "billions": billions, "zeros": zeros, "GB": file_gb, "ours s": times["ours"], "read and count s": times["torch"],
        "ratio": times["ours"] / times["torch"], "capture s": capture,
        "ratio with capture": (times["ours"] + capture) / times["torch"], "ours GB/s": file_gb / times["ours"],
        "effective": found.effective, "peak MB": memory["peak"] / 1e6, "allowed MB": allowed / 1e6,
    }  # fmt: skip


def memory_of(folder: Path) -> None:
    """Print the peak of memory of an analysis above what the interpreter has with its imports.

    Everything resident counts, pages of the mapped files too. Linux keeps the peak; writing 5 to clear_refs resets it.
    """
    captured(_tiny())  # imports and compiled loops
    base = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    graph, parameters = captured(folder)
    analysed(folder, graph, parameters)
    print(json.dumps({"peak": _resident("VmHWM") - base}))


def _tiny() -> Path:
    folder = Path(tempfile.mkdtemp())
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "vocab_size": 32,
              "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _resident(field: str) -> int:
    """Bytes of the process in memory, mapped files included: now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def masks_on_disk() -> None:
    """A masks-only file against torch.save of bool masks."""
    generator, rows = torch.Generator().manual_seed(0), []
    masks = {f"{n}.weight": torch.rand(4096, 4096, generator=generator) < 0.1 for n in range(8)}
    with tempfile.TemporaryDirectory() as name:
        bits, bools = Path(name) / "masks.safetensors", Path(name) / "masks.pt"
        write_masks_file(bits, masks, form="bits")
        torch.save(masks, bools)
        times = medians({
            "bits": lambda: gs.read_masks(bits),
            "packed": lambda: list(open_checkpoint(bits).packed_masks()),
            "bools": lambda: torch.load(bools, weights_only=True),
        })  # fmt: skip
        sizes = {"bits": bits.stat().st_size, "bools": bools.stat().st_size}
    rows.append({"bits MB": sizes["bits"] / 1e6, "torch.save MB": sizes["bools"] / 1e6, "share": sizes["bits"] / sizes["bools"],
                 "read bits ms": times["bits"] * 1e3, "stay packed ms": times["packed"] * 1e3,
                 "torch.load ms": times["bools"] * 1e3})  # fmt: skip
    report("Eight masks of 4096 x 4096 on disk (goal: 1/8, and faster to read)", rows, HERE / "masks_on_disk.json")


def sweep_on_bits() -> None:
    """The boolean sweep over packed masks against counting the bytes."""
    with torch.device("meta"):
        chain = nn.Sequential(*[nn.Linear(4096, 4096, bias=False) for _ in range(8)])
    graph, rows = gs.export(chain, torch.zeros(1, 4096, device="meta"), {}, resolution="channel"), []
    for compression in (2, 10, 100, 1000):
        generator = torch.Generator().manual_seed(0)
        masks = {name: torch.rand(shape, generator=generator) < 1 / compression for name, shape in graph.shapes.items()}
        held = graph.with_masks({n: Mask(tuple(m.shape), pack_nonzero(m)) for n, m in masks.items()})
        arrays = [mask.numpy() for mask in masks.values()]
        times = medians({"ours": partial(gs.sparsity, held), "count": partial(_count_all, arrays)})
        rows.append({"compression": compression, "ours ms": times["ours"] * 1e3, "count_nonzero ms": times["count"] * 1e3,
                     "ratio": times["ours"] / times["count"]})  # fmt: skip
    report(
        "Eight kernels of 4096 x 4096 as bits: sweep and counts (goal: 2x np.count_nonzero)", rows, HERE / "bits.json"
    )


def _count_all(arrays: list[np.ndarray]) -> int:
    return sum(int(np.count_nonzero(array)) for array in arrays)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        memory_of(Path(sys.argv[2]))
    else:
        masks_on_disk()
        sweep_on_bits()
        sizes = [float(text) for text in sys.argv[1:]] or [0.3, 1.1]
        rows = [whole(size, zeros) for size in sizes for zeros in ((0.5, 0.9) if size == 1.1 else (0.9,))]
        report("Llama shapes, bfloat16 shards: file to effective sparsity (goal 1.5x)", rows, HERE / "checkpoints.json")
