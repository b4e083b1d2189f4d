"""Dead units out: a smaller dense model that computes what the masked one does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
import pandas
import torch
from torch import nn

from graphsparse.capture import Network, export, network_of
from graphsparse.compaction.compacted import Compacted
from graphsparse.compaction.cut import Cut
from graphsparse.compaction.experts import Fewer, attempts, mixtures_of, without
from graphsparse.compaction.plan import Plan, fitting, plan_of, unit_map
from graphsparse.compaction.programs import as_model
from graphsparse.compaction.report import Cost, Report, cost_of
from graphsparse.compaction.tensors import Index, copy_modes, masked_twin
from graphsparse.compaction.trials import LOOSE, Trials
from graphsparse.errors import ArgumentError


def compact(
    model: nn.Module | Network,
    example_inputs: Any = None,
    masks: Mapping[str, Any] | None = None,
    round_to: int = 1,
    *,
    kwargs: Mapping[str, Any] | None = None,
    resolution: str | None = None,
    verify: bool = True,
    keep: Iterable[str] = (),
    alike: bool = False,
) -> Compacted:
    """Take dead units out of a masked model: a smaller dense model of the same modules that computes the same.

    Units that no input moves or that no output sees leave every tensor; the constants that they hold go into biases. What
    cannot leave stays as it is under the masks, and the report says which units and why. The model is not changed.

    Args:
        model: a module, an exported program, or the network of one.
        example_inputs, kwargs: what the model's forward takes, as for `graphsparse.export`.
        masks: ``{parameter name: bool tensor}``, True = kept; None reads them off the model.
        round_to: keep dead units until the rows and columns of every kernel are a multiple of this.
        resolution: "unrolled", where a unit is dead if it is at every position; or "channel". By default as for `export`.
        verify: run both models on several inputs, in double precision where the model allows it. A part of the cut is
            taken back if outputs then differ by more than 1e-10 of the largest, or the model's own code does not run.
            Without it, the model's code must take its widths from its tensors and attributes, not from fixed numbers.
        keep: names of parameters whose widths stay, or patterns as "head.*".
        alike: give layers whose names differ by a number alone the same widths, since the configuration of a
            transformers model says one width for all of them.

    Raises:
        ArgumentError: ``round_to`` is no whole number from 1 on.
        CaptureError, MaskError: as for `graphsparse.export`; or a name in ``keep`` fits no parameter.

    Example:
        >>> import torch, graphsparse as gs
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> masks = {"0.weight": (torch.arange(8) < 3)[:, None].expand(8, 4)}
        >>> gs.compact(model, torch.zeros(1, 4), masks).model
        Sequential(
          (0): Linear(in_features=4, out_features=3, bias=True)
          (1): ReLU()
          (2): Linear(in_features=3, out_features=2, bias=True)
        )
    """
    if type(round_to) is not int or round_to < 1:
        raise ArgumentError("round_to= must be a whole number from 1 on", received=repr(round_to))
    network = network_of(model, example_inputs, kwargs)
    resolution = resolution or network.resolution
    graph = export(network, masks, resolution="channel")
    source = network.runnable if isinstance(network.model, nn.Module) else as_model(network.model)
    twin = masked_twin(source, graph)
    plain = network.of_copy(twin, same_names=not graph.uses)
    trials, fewer = Trials.of(plain, plan_of(plain, resolution, keep)), None
    if verify and not alike:
        trials, fewer = _fewer(plain, trials, resolution, keep)
    cut = trials.folded(trials.plan.cut)
    exact = unit_map(trials.plan, cut)
    cut = (cut.alike() if alike else cut).round_to(round_to)
    cut, worst = trials.verified(cut) if verify else (cut, None)
    before = cost_of(twin.eval(), trials.example)
    made, folded = trials.built(trials.twin, cut)
    after = cost_of(made.eval(), trials.example)
    copy_modes(source, made)
    index = unit_map(trials.plan, cut)
    report = _report(trials, cut, worst, (before, after), folded, index, exact)
    names: Mapping[str, str] = {}
    if fewer is not None:
        index = {
            name: tuple(old[at] for old, at in zip(fewer.index[name], each, strict=True))
            for name, each in index.items()
        }
        names = {name: old for name, old in fewer.names.items() if name != old}
    for name in folded:
        index.setdefault(name, (trials.rows_left(name.rpartition(".")[0], cut),))
    return Compacted(made, index, report, twin, folded, names)


def _fewer(plain: Network, trials: Trials, resolution: str, keep: Iterable[str]) -> tuple[Trials, Fewer | None]:
    """The trials of the model without those experts that leave as a whole; of the same model where none can."""
    found = mixtures_of(trials.twin, trials.plan, fitting(keep, trials.plan.names))
    found = [each for each in found if all(trials.same(made) for made in attempts(trials.double, each))]
    if not found:
        return trials, None
    fewer = without(trials.twin, found)
    network = plain.of_copy(fewer.model, same_names=False)
    fresh = Trials.of(network, plan_of(network, resolution, keep))
    fresh.notes += [str(each) for each in found]
    fresh.expected = trials.expected
    return fresh, fewer


def _report(
    trials: Trials, cut: Cut, worst: float | None, costs: tuple[Cost, Cost], folded: Mapping[str, torch.Tensor],
    index: Index, exact: Index,
) -> Report:  # fmt: skip
    """The report; ``index`` are the indices that stay, ``exact`` those that would without ``round_to`` and ``alike``."""
    rows = list(_rows(trials.plan, cut, index))
    kept = [sum(prod(map(len, of[name])) for name, _ in trials.twin.named_parameters()) for of in (index, exact)]
    counts = {name: int((amount != 0).sum()) for name, amount in folded.items()}
    notes = [*trials.notes]
    if trials.tolerance == LOOSE:
        notes.append(
            "The model does not run in double precision: constants stay where they are, and outputs were compared in its own."
        )
    if any("code" in row["why"] for row in rows):
        notes.append("Parts of the model stay as wide as they were: its own code does not take other widths there.")
    return Report(pandas.DataFrame(rows), *costs, counts, worst, kept[0] - kept[1], tuple(notes))


def _rows(plan: Plan, cut: Cut, index: Index) -> Iterator[dict[str, Any]]:
    """A row for each kernel, in program order. A unit of a kernel that is used several times is alive in any use."""
    uses: dict[str, list[int]] = {}
    for number, use in enumerate(plan.kernels):
        same = uses.setdefault(use.name, [number])
        alike = plan.kernels[same[0]].rows.shape == use.rows.shape  # a tied table has rows along either axis
        if alike and same[0] != number:
            same.append(number)
    for name, numbers in uses.items():
        live = np.any([plan.life.live[number] for number in numbers], axis=0)
        bundles = np.stack([plan.kernels[number].rows[~live] for number in numbers])
        stay = cut.stays[bundles].any(0)
        first = np.take_along_axis(bundles, cut.stays[bundles].argmax(0)[None], 0)[0]
        why = Counter(cut.reasons.get(int(bundle), "tied") for bundle in first[stay])
        yield {
            "parameter": name, "shape": "x".join(map(str, cut.ties.shapes[name])),
            "new_shape": "x".join(str(len(at)) for at in index[name]), "units": live.size, "dead": int((~live).sum()),
            "left": int((~stay).sum()), "masked": int(stay.sum()),
            "why": ", ".join(f"{reason} {count}" for reason, count in sorted(why.items())),
        }  # fmt: skip
