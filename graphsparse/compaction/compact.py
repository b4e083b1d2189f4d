"""Dead units out: a smaller dense model that computes what the masked one does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from graphsparse.capture import Network, export, network_of
from graphsparse.compaction.compacted import Compacted
from graphsparse.compaction.cut import Cut
from graphsparse.compaction.experts import Fewer, attempts, mixtures_of, without
from graphsparse.compaction.plan import fitting, plan_of, unit_map
from graphsparse.compaction.report import cost_of
from graphsparse.compaction.summary import summary
from graphsparse.compaction.tensors import Index, masked_twin
from graphsparse.compaction.trials import Trials
from graphsparse.errors import ArgumentError, ModelError


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
        model: a module, or the network of one.
        example_inputs, kwargs: what the model's forward takes, as for `graphsparse.export`.
        masks: ``{parameter name: bool tensor}``, True = kept; None reads them off the model.
        round_to: let so many dead units stay that the rows and columns of every kernel are a multiple of this.
        resolution: "unrolled", where a unit is dead if it is at every position; or "channel". By default as for `export`.
        verify: run both models on several inputs, in double precision where the model allows it. Parts of the cut after
            which outputs differ by more than 1e-10 of the largest, or the model's own code does not run, are taken back.
            Without it, the model's code must take its widths from its tensors and attributes, not from fixed numbers.
        keep: names of parameters whose widths stay, or patterns as "head.*".
        alike: let layers whose names differ by a number alone have the same widths, as the configuration of a
            transformers model says them.

    Raises:
        ModelError: the model is an exported program, whose code has its widths written into it.
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
    network = network_of(model, example_inputs, kwargs)
    _check(network, round_to)
    graph = export(network, masks, resolution="channel")
    twin = masked_twin(network, graph)
    plain = network.of_copy(twin, same_names=not graph.uses)
    trials = Trials.of(plain, plan_of(plain, resolution or network.resolution, keep))
    trials, fewer = _fewer(plain, trials, resolution or network.resolution, keep, verify and not alike)
    cut = trials.folded(trials.plan.cut)
    exact = unit_map(cut, trials.twin, trials.plan.names)
    cut = (cut.alike() if alike else cut).round_to(round_to)
    worst = None
    if verify:
        cut, worst = trials.verified(cut)
    training = {path: module.training for path, module in network.runnable.named_modules()}
    return _finished(trials, fewer, twin, cut, worst, training, exact)


def _fewer(
    plain: Network, trials: Trials, resolution: str, keep: Iterable[str], wanted: bool
) -> tuple[Trials, Fewer | None]:
    """The trials of the model without the experts that can leave as a whole, where a trial shows that they can."""
    found = mixtures_of(trials.twin, trials.plan, fitting(keep, trials.plan.names)) if wanted else []
    found = [each for each in found if all(trials.same(made) for made in attempts(trials.double, each))]
    if not found:
        return trials, None
    fewer = without(trials.twin, found)
    network = plain.of_copy(fewer.model, same_names=False)
    fresh = Trials.of(network, plan_of(network, resolution, keep))
    fresh.notes += [str(each) for each in found]
    fresh.expected = trials.expected
    return fresh, fewer


def _check(network: Network, round_to: int) -> None:
    if not isinstance(network.model, nn.Module):
        raise ModelError(
            "a model to be compacted must be a torch.nn.Module", received="an exported program",
            way_out="give the module itself, or its package.module:factory: a program has its widths written into it",
        )  # fmt: skip
    if type(round_to) is not int or round_to < 1:
        raise ArgumentError("round_to= must be a whole number from 1 on", received=repr(round_to))


def _finished(
    trials: Trials, fewer: Fewer | None, twin: nn.Module, cut: Cut, worst: float | None, training: Mapping[str, bool],
    exact: Index,
) -> Compacted:  # fmt: skip
    """The result in the model's own types, with its report."""
    before = cost_of(twin.eval(), trials.example)
    made, folded = trials.built(trials.twin, cut)
    after = cost_of(made.eval(), trials.example)
    for path, module in made.named_modules():
        module.training = training.get(path, module.training)
    report = summary(trials, cut, worst, (before, after), folded, exact)
    index = unit_map(cut, trials.twin, trials.plan.names)
    names: Mapping[str, str] = {}
    if fewer is not None:
        whole = fewer.index
        index = {
            name: tuple(old[at] for old, at in zip(whole[name], each, strict=True)) for name, each in index.items()
        }
        names = {name: old for name, old in fewer.names.items() if name != old}
    for name in folded:
        index.setdefault(name, (trials.rows_left(name.rpartition(".")[0], cut),))
    return Compacted(made, index, report, twin, folded, names)
