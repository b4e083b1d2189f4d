"""The newest results as one page: benchmarks/README.md from the JSON that each benchmark writes.

Run: python benchmarks/tables.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEAD = """# Benchmarks

Each script prints tables and writes JSON beside itself, with the machine and versions; `tables.py` makes this page of
them. Contenders run in turn within one run; numbers are medians. Goals are in the titles; what falls short of one is
left in the table as it is.

| script | takes | what |
|---|---|---|
| `liveness.py` | three minutes, for one thread and for all | masks to effective masks, against copies, gradients, counting and graph libraries; many masks at once |
| `agreement.py` | three minutes | 100,000 random masks of 1,000 random networks, swept in four ways |
| `on_device.py` | a minute | liveness of masks that live on a GPU, swept there, against the gradient |
| `sweeps.py` | a minute | ViT-B/16 and ResNet-50 against a forward pass |
| `topology.py` | ten minutes | topology of unrolled graphs, with its memory, against igraph and networkx |
| `capture_llama.py` | a minute | a 7-billion-parameter shape without its weights |
| `capture_steps.py` | two minutes, MViT five more | networks of many steps: recurrent layers, video, hybrids |
| `prune.py` | four minutes | pruning to an effective target against the paper's bisection, the curve, LAMP |
| `training.py` | five minutes | a training step with masks against one without, on the CPU and, where there is one, the GPU |
| `zeroing.py` | a few seconds | ways to make zeros of masked weights |
| `compaction.py` | half an hour | dead units out: sizes and times before and after, beside Torch-Pruning |
| `compaction_families.py` | ten minutes | outputs of compacted models of every family of the tests |
| `startup.py` | three minutes | whole commands: imports, capture, compiled loops, what is kept on disk |
| `headline.py` | a minute | the paper's kind of numbers, by simulation |
| `pruners.py` | half an hour | every pruner on every network at compressions 10 to 100,000 |
| `checkpoints.py` | six minutes with `0.3 1.1 3 7` | files larger than one would like, generated and deleted |
| `hostile.py` | a quarter of an hour on two cores | crafted and damaged files that attack the readers |
"""
SCRIPTS = {
    "agreement.py": ("agreement",),
    "liveness.py": ("gradient", "gradient_all_threads", "counting", "counting_all_threads", "libraries", "libraries_all_threads", "many_masks", "many_masks_all_threads", "building"), "sweeps.py": ("sweeps",), "topology.py": ("topology",),
    "capture_llama.py": ("capture",), "capture_steps.py": ("capture_steps",),
    "prune.py": ("bisection", "sorting", "igq", "size"),
    "compaction.py": ("compaction",), "compaction_families.py": ("compaction_families",),
    "headline.py": ("headline", "synflow"), "checkpoints.py": ("checkpoints", "masks_on_disk", "bits"),
    "pruners.py": ("pruners",), "training.py": ("training", "training_memory", "looks"), "zeroing.py": ("zeroing",), "on_device.py": ("on_device",),
    "startup.py": ("startup",), "hostile.py": ("hostile",),
}  # fmt: skip


def cell(value: Any) -> str:
    """A number in three digits, never in powers of ten."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def section(name: str) -> str:
    """One table under its title, with the machine."""
    found = json.loads((HERE / f"{name}.json").read_text())
    machine, rows = found["machine"], found["rows"]
    versions = ", ".join(f"{part} {machine[part]}" for part in ("torch", "numpy", "scipy"))
    lines = [
        f"### {found['title']}", "", f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, threads: {machine.get('threads', 'all')}, Python {machine['python']}, {versions}.",
        "", "| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0]),
        *("| " + " | ".join(map(cell, row.values())) + " |" for row in rows), "",
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    parts = [HEAD]
    for script, names in SCRIPTS.items():
        parts += [f"## {script}\n", *map(section, names)]
    (HERE / "README.md").write_text("\n".join(parts))
