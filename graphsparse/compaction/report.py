"""What a compaction did: what left, what stayed and why, and what it costs to run before and after."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from graphsparse.surgery.checking import Inputs, run

if TYPE_CHECKING:
    import pandas

REASONS = {
    "fixed": "an input or an output, whose width the caller knows",
    "tied": "tied to a unit that lives, by a sum, a product, a normalisation, a concatenation, a group, a head or a shared tensor",
    "last": "the last of its layer: no tensor may be empty",
    "padding": "holds a constant that is not the same at every position, as next to zero padding, or that a comparison changes",
    "bias": "holds a constant, and what reads it has no bias of its own that can take it over",
    "module": "in a module whose code wants equal widths: all layers of a recurrence have one hidden size, and nn.MultiheadAttention "
    "has as many channels in its heads as in its query",
    "compared": "read by a comparison, whose result the graph takes as a constant",
    "numbers": "beside numbers of the model that no mask covers, or along an axis that is not simply one of a tensor",
    "code": "the model's own code does not run, or gives other results, with another width here",
    "keep": "in a tensor that keep names",
    "alike": "stays so that layers of one name have the same width",
    "round_to": "stays so that widths are a multiple of round_to",
}
"""Why a dead unit stays, by the word that the report's table has for it."""


@dataclass(frozen=True)
class Cost:
    """``parameters``: entries of all parameters; ``macs``: multiplications with additions of one call on the example
    inputs, by torch's own counter; ``seconds``: the median of some calls."""

    parameters: int
    macs: int
    seconds: float


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What left and what stayed.

    ``frame``: a row for each kernel: ``parameter``, ``shape`` and ``new_shape``, ``units`` (rows), ``dead`` units, those
    that ``left``, those ``masked`` (dead, but they stay, as zeros or constants) and ``why``. ``folded``: (bias, how many
    entries took over a constant). ``difference``: the largest relative difference from the masked model that was found;
    None where it was not looked for. ``rounding``: how many parameters ``round_to`` costs. ``notes``: what to know.
    """

    frame: pandas.DataFrame
    before: Cost
    after: Cost
    folded: Mapping[str, int]
    difference: float | None
    rounding: int
    notes: tuple[str, ...]

    def to_json(self) -> str:
        """The report as JSON."""
        content = {
            "layers": self.frame.to_dict("records"), "before": asdict(self.before), "after": asdict(self.after),
            "folded": dict(self.folded), "difference": self.difference, "rounding": self.rounding,
            "notes": list(self.notes), "reasons": REASONS,
        }  # fmt: skip
        return json.dumps(content, indent=2)

    def __repr__(self) -> str:
        one, two = self.before, self.after
        rows = [
            ("parameters", f"{one.parameters:,}", f"{two.parameters:,}"),
            ("MACs", f"{one.macs:,}", f"{two.macs:,}"),
            ("milliseconds", f"{1e3 * one.seconds:.2f}", f"{1e3 * two.seconds:.2f}"),
        ]
        lines = [f"  {name:<13}{before:>16} -> {after:>14}" for name, before, after in rows]
        table = self.frame[["parameter", "shape", "new_shape", "units", "dead", "left", "masked", "why"]]
        used = [word for word in REASONS if any(word in each for each in table["why"])]
        said = [f"  {word}: {REASONS[word]}" for word in used]
        return "\n".join([table.to_string(index=False), "", *lines, *said, *(f"  {note}" for note in self.notes)])


def cost_of(model: nn.Module, inputs: Inputs) -> Cost:
    """Count and time a call of a model."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    counter = FlopCounterMode(display=False)
    try:
        for parameter in parameters:  # the counter asks for the gradients of what needs some
            parameter.requires_grad_(False)
        with counter:
            run(model, inputs)
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
    count = sum(parameter.numel() for parameter in model.parameters())
    return Cost(count, counter.get_total_flops() // 2, _seconds(model, inputs))


def _seconds(model: nn.Module, inputs: Inputs, calls: int = 5, limit: float = 2.0) -> float:
    """The median of some calls within a time limit, after one that is not counted; on a GPU each waits for its end."""
    on_gpu = any(parameter.is_cuda for parameter in model.parameters())
    found: list[float] = []
    while len(found) < 2 or (len(found) <= calls and sum(found) < limit):
        start = time.perf_counter()
        run(model, inputs)
        if on_gpu:
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return median(found[1:])
