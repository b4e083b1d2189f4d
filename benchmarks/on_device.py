"""Liveness of masks that live on a GPU, swept there, against the paper's float64 gradient on the same device.

Run: python benchmarks/on_device.py     (a minute; without a GPU it runs on the CPU, and says so)
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from gradient import vgg_masks
from liveness import captured, drawn
from timing import medians, report

from graphsparse.training.on_device import DeviceSweep

HERE = Path(__file__).parent


def main() -> None:
    """VGG-19, unrolled, at four compressions."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    graph = captured("vgg19", "unrolled")
    swept, rows = DeviceSweep(graph, device), []
    replayed = DeviceSweep(graph, device, replay=True) if device == "cuda" else None

    def waited(masks: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if device == "cuda":
            torch.cuda.synchronize()
        return masks

    for compression in (1, 10, 100, 1000):
        masks = {name: torch.as_tensor(mask).to(device) for name, mask in drawn(graph, compression).items()}
        theirs = vgg_masks(masks)
        ways = {"ours": swept, **({"ours, replayed": replayed} if replayed else {})}
        times = medians({
            "gradient": lambda: waited(vgg_masks(masks)),
            **{way: partial(lambda each: waited(each.effective_masks(masks)), each) for way, each in ways.items()},
        }, 5)  # fmt: skip
        rows.append({
            "compression": compression, **{f"{way} ms": seconds * 1e3 for way, seconds in times.items()},
            "times faster": times["gradient"] / min(times[way] for way in ways),
            "agree": all(torch.equal(each.effective_masks(masks)[name], theirs[name]) for each in ways.values() for name in theirs),
        })  # fmt: skip
    where = torch.cuda.get_device_name() if device == "cuda" else "the CPU: no GPU at hand"
    report(
        f"VGG-19, unrolled: liveness swept on {where} (goal on a GPU: 10 times the gradient)",
        rows,
        HERE / "on_device.json",
    )


if __name__ == "__main__":
    main()
