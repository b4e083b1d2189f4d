"""Ways to make zeros of masked weights: what `keep_masks` does after every step, beside others.

Run: python benchmarks/zeroing.py [cpu] [cuda]     (a few seconds; without names, wherever this machine can)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from timing import medians, report
from training import DENSITY, Step, clock_of, device_name

from graphsparse.training.zeroing import zero


def choices(device: str) -> list[dict[str, Any]]:
    """Ways to make zeros in one kernel of 2.4 million weights."""
    weight = torch.randn(512, 512, 3, 3, device=device)
    mask = torch.rand(weight.shape, device=device) < DENSITY
    dropped, integers, floats, octets, none = ~mask, mask.int(), mask.float(), mask.to(torch.int8), weight.new_zeros(())
    bits = weight.view(torch.int32)
    ways: dict[str, tuple[Step, float, bool]] = {
        "multiply bits, integer mask (ours)": (lambda: zero([(weight, integers)]), 4, True),
        "multiply bits, mask of bytes": (lambda: (bits.mul_(octets), None)[1], 1, True),
        "multiply bits, bool mask": (lambda: (bits.mul_(mask), None)[1], 1, True),
        "multiply floats (keeps NaN, makes -0.0)": (lambda: torch._foreach_mul_([weight], [floats]), 4, False),
        "masked_fill_, bool mask": (lambda: (weight.masked_fill_(dropped, 0.0), None)[1], 1, True),
        "where, bool mask": (lambda: (torch.where(mask, weight, none, out=weight), None)[1], 1, True),
    }

    def after_all(run: Step) -> Step:
        def wait() -> None:
            run()
            torch.cuda.synchronize()

        return wait

    def waited(run: Step) -> Step:
        return run if device == "cpu" else after_all(run)

    times = medians({name: waited(run) for name, (run, _, _) in ways.items()}, 15, clock_of(device))
    return [
        {"device": device_name(device), "way": name, "ms": seconds * 1e3, "bytes per weight": ways[name][1],
         "exact zeros": ways[name][2]}
        for name, seconds in times.items()
    ]  # fmt: skip


def main(devices: list[str]) -> None:
    """The table, for each of the devices."""
    rows = [row for device in devices for row in choices(device)]
    report("Zeros in 2.4 million weights", rows, Path(__file__).parent / "zeroing.json")


if __name__ == "__main__":
    torch.manual_seed(0)
    main(sys.argv[1:] or ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
