"""The report of a compaction, put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas
import torch
from torch import nn

from graphsparse.compaction.cut import Cut
from graphsparse.compaction.plan import rows_of, unit_map
from graphsparse.compaction.report import Cost, Report
from graphsparse.compaction.tensors import Index, named_tensors
from graphsparse.compaction.trials import LOOSE, Trials


def summary(
    trials: Trials,
    cut: Cut,
    worst: float | None,
    costs: tuple[Cost, Cost],
    folded: Mapping[str, torch.Tensor],
    exact: Index,
) -> Report:
    shapes = {name: tuple(tensor.shape) for name, tensor in named_tensors(trials.twin)}
    index = unit_map(cut, trials.twin, trials.plan.names)
    rows = [
        {
            "parameter": row.parameter, "shape": "x".join(map(str, shapes[row.parameter])),
            "new_shape": "x".join(str(len(at)) for at in index[row.parameter]), "units": row.units, "dead": row.dead,
            "left": row.left, "masked": row.dead - row.left,
            "why": ", ".join(f"{reason} {count}" for reason, count in sorted(row.why.items())),
        }
        for row in rows_of(trials.plan, cut)
    ]  # fmt: skip
    rounding = _entries(index, trials.twin) - _entries(exact, trials.twin)
    counts = {name: int((amount != 0).sum()) for name, amount in folded.items()}
    return Report(pandas.DataFrame(rows), *costs, counts, worst, rounding, tuple(_notes(trials, rows)))


def _entries(index: Index, model: nn.Module) -> int:
    """How many entries all parameters have."""
    return sum(int(np.prod([len(at) for at in index[name]])) for name, _ in model.named_parameters())


def _notes(trials: Trials, rows: list[dict[str, Any]]) -> list[str]:
    notes = [*trials.notes]
    if trials.tolerance == LOOSE:
        notes.append(
            "The model does not run in double precision: constants stay where they are, and outputs were compared in its own."
        )
    if any("code" in row["why"] for row in rows):
        notes.append("Parts of the model stay as wide as they were: its own code does not take other widths there.")
    return notes
