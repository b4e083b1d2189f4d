"""The trials of a cut: what is left is built and run beside the masked model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule

from graphsparse.capture import Network
from graphsparse.compaction.constants import Reader, fold, measure, read_elsewhere, readers_of
from graphsparse.compaction.cut import Cut
from graphsparse.compaction.experts import unread
from graphsparse.compaction.modules import set_widths
from graphsparse.compaction.plan import Plan, groups_left, sizes_left, unit_map
from graphsparse.compaction.programs import resize, takes_any_batch
from graphsparse.compaction.tensors import Lines, in_double, remade, shaken, taken, with_constants
from graphsparse.errors import ModelError, brief
from graphsparse.surgery.checking import TOLERANCE, Inputs, run, several, worst_difference

LOOSE = 1e-3  # where a model does not run in double precision
MOST_TRIALS = 400


@dataclass(eq=False)
class Trials:
    """What a cut is tried on: the masked model in double precision, several inputs, and what it gives for them.

    ``twin`` is the masked model in its own types, ``example`` its example inputs; ``notes`` are for the report.
    """

    plan: Plan
    twin: nn.Module
    double: nn.Module
    readers: list[Reader]
    inputs: list[Inputs]
    expected: list[list[torch.Tensor]]
    tolerance: float
    example: Inputs
    notes: list[str]
    count: int = 0

    @classmethod
    def of(cls, network: Network, plan: Plan) -> Trials:
        """Run the masked model, in double precision where that is possible, and note what dead units hold."""
        twin = network.runnable
        example = Inputs(network.inputs or (), dict(network.kwargs))
        double, given, tolerance = in_double(twin), example.double(), TOLERANCE
        try:
            run(double, given)
        except Exception:  # operations without a form in double precision: constants cannot be measured exactly
            double, given, tolerance = remade(twin, lambda _, tensor: tensor.clone()).eval(), example, LOOSE
            try:
                run(double, given)
            except Exception as error:
                raise ModelError(
                    "a model to be compacted must run on its example inputs", received=brief(error),
                    way_out="give example_inputs that the model takes, of its own type and on its device",
                ) from error  # fmt: skip
        readers, stuck = readers_of(double, plan.names, plan.kernels, plan.bundles, plan.life)
        plan.cut.keep(stuck, "bias")
        if tolerance == LOOSE:
            plan.cut.keep(np.flatnonzero(plan.life.constant), "bias")
        inputs = several(double, given, network.samples_axis if takes_any_batch(double) else None)
        measure(double, readers, inputs)
        elsewhere = read_elsewhere(readers, len(inputs))
        plan.cut.keep(elsewhere[plan.life.constant[elsewhere]], "bias")
        expected = [run(double, each) for each in inputs]
        return cls(plan, twin, double, readers, inputs, expected, tolerance, example, list(unread(plan, twin)))

    def folded(self, cut: Cut) -> Cut:
        """The cut without those constants that no bias can take over."""
        cut = cut.copy()
        fold(self.readers, cut)
        return cut

    def built(self, source: nn.Module, cut: Cut) -> tuple[nn.Module, dict[str, torch.Tensor]]:
        """The smaller model of a masked one; and by name what was added to its biases, in double precision."""
        amounts = fold(self.readers, cut)
        index = unit_map(self.plan, cut)
        made = remade(source, lambda name, tensor: _own(tensor, index[name]))
        groups = groups_left(self.plan, cut)
        set_widths(made, {name.rpartition(".")[0]: count for name, count in groups.items()}, sizes_left(cut))
        if isinstance(made, GraphModule):
            resize(made, self.plan.bundles, cut.stays)
        return made, {
            f"{path}.bias".lstrip("."): self._take_over(made, path, amount, cut) for path, amount in amounts.items()
        }

    def _take_over(self, made: nn.Module, path: str, amount: torch.Tensor, cut: Cut) -> torch.Tensor:
        """Add constants to a module's bias, or give it one."""
        module = made.get_submodule(path)
        rows = self.rows_left(path, cut)
        added = amount[rows]
        weight: Any = module.weight
        bias: Any = getattr(module, "bias", None)
        held = weight.new_zeros(len(added)) if bias is None else bias
        grad = (weight if bias is None else bias).requires_grad
        module.bias = nn.Parameter(with_constants(held.detach(), added), requires_grad=grad)
        return added

    def rows_left(self, path: str, cut: Cut) -> torch.Tensor:
        """Which outputs of a kernel's module stay, as indices."""
        name = self.plan.names[f"{path}.weight".lstrip(".")]
        use = next(use for use in self.plan.kernels if use.name == name)
        return torch.from_numpy(np.flatnonzero(cut.stays[use.rows].ravel()))

    def verified(self, cut: Cut) -> tuple[Cut, float]:
        """As much of the cut as leaves outputs as they were, and the largest difference."""
        cut = self._unseen(cut)
        worst, said = self._tried(cut)
        if worst <= self.tolerance:
            return cut, worst
        self.notes += [f"With other widths everywhere the model's code says: {said}"] if said else []
        cut = self._accepted(cut)
        return cut, self._tried(cut)[0]

    def same(self, model: nn.Module) -> bool:
        """Whether a model in double precision gives what the masked one does."""
        return worst_difference(model, self.expected, self.inputs)[0] <= self.tolerance

    def _unseen(self, cut: Cut) -> Cut:
        """The cut without rows that outputs do see, by a comparison: wild numbers in them change outputs."""
        lines = _unseen_rows(self.plan, cut)
        if not lines or all(map(self.same, shaken(self.double, lines))):
            return cut
        compared = {n: line for n, line in lines.items() if not all(map(self.same, shaken(self.double, {n: line})))}
        for made in shaken(self.double, compared):  # constants that a comparison changes are none
            measure(made, self.readers, self.inputs)
        cut = cut.copy()
        for use in cut.ties.uses:
            axis, at = compared.get(use.name, (-1, np.empty(0)))
            if axis == use.axis:
                cut.keep(use.bundles[:, np.isin(use.at, at)], "compared")
        return self.folded(cut)

    def _tried(self, cut: Cut) -> tuple[float, str]:
        self.count += 1
        made, _ = self.built(self.double, cut)
        return worst_difference(made, self.expected, self.inputs)

    def _accepted(self, cut: Cut) -> Cut:
        """As many parts of a cut as can leave together, found by halves."""
        accepted = [np.empty(0, np.int64)]

        def only(parts: list[np.ndarray]) -> Cut:
            some = cut.copy()
            some.keep(np.setdiff1d(cut.leaving(), np.concatenate(parts)), "code")
            return some.settle()

        def extend(parts: list[np.ndarray]) -> None:
            if not parts or self.count > MOST_TRIALS:
                return
            if self._tried(only(accepted + parts))[0] <= self.tolerance:
                accepted.extend(parts)
            elif len(parts) > 1:
                middle = len(parts) // 2
                extend(parts[:middle])
                extend(parts[middle:])

        extend(cut.parts())
        return only(accepted)


def _unseen_rows(plan: Plan, cut: Cut) -> Lines:
    """The rows of kernels that leave, that no output sees, and that are not zero.

    A zero is the same for every comparison. And two zeros may hide each other, as the two sides of a gate do.
    """
    seen = np.append(np.zeros(plan.bundles.count, bool), True)
    for use, each in zip(plan.kernels, plan.life.seen, strict=True):
        seen[use.rows[each]] = True
    found: dict[str, tuple[int, np.ndarray]] = {}
    for use, filled in zip(plan.kernels, plan.life.filled, strict=True):
        rows = next((one for one in use.axes if np.array_equal(one.bundles.ravel(), use.rows.ravel())), None)
        if rows is not None:
            at = rows.at[~(seen | cut.stays)[rows.bundles].any(0) & filled.reshape(rows.bundles.shape).any(0)]
            axis, before = found.get(use.name, (rows.axis, at))
            found[use.name] = axis, np.intersect1d(before, at) if axis == rows.axis else at[:0]  # a tied table
    return {name: (axis, at) for name, (axis, at) in found.items() if len(at)}


def _own(tensor: torch.Tensor, index: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The part of a tensor that stays, with memory of its own."""
    part = taken(tensor, index)
    return part.clone() if part is tensor else part.contiguous()
