"""Prune while training: any pruner, to an effective sparsity that grows."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture import Network, export
from graphsparse.errors import GraphsparseError
from graphsparse.measures.sparsity import sparsity
from graphsparse.pruning.prune import prune
from graphsparse.training.changes import Change
from graphsparse.training.kept_masks import KeptMasks
from graphsparse.training.live import LiveNetwork
from graphsparse.training.processes import processes_of
from graphsparse.training.schedules import Schedule

Tensors = dict[str, torch.Tensor]


class Gradual:
    """Prune a model that is being trained to the sparsities of a schedule; call `at` after every step.

    Each pruning starts from the masks so far, so nothing comes back. The target is the effective sparsity: what is dead is
    dropped and told, and its budget stays with what is alive.

    Args:
        handle: of `graphsparse.keep_masks`; ``keep_masks(model, {})`` begins with everything kept.
        network: of `graphsparse.network`, made of the module that is trained or of a copy of it.
        schedule: when, and how far.
        method: a pruner's name, as for `graphsparse.prune`.
        rewind_to: a step whose weights and buffers are taken again after each pruning; what optimisers remember is
            forgotten then (Frankle et al. 2020). 0 is the present state.
        options: further arguments of `graphsparse.prune`, as ``data=`` or ``effective=False``.

    Example:
        >>> import graphsparse as gs
        >>> _ = torch.manual_seed(0)
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)), torch.ones(4, 8)
        >>> optimizer, handle = torch.optim.SGD(model.parameters(), lr=0.1), gs.keep_masks(model, {})
        >>> pruner = Gradual(handle, gs.network(model, x), Schedule(0.75, end=4, every=2))
        >>> for step in range(5):
        ...     optimizer.zero_grad(); model(x).sum().backward(); optimizer.step()
        ...     change = pruner.at(step)
        >>> change.active, change.connections
        (20, 80)
    """

    def __init__(
        self, handle: KeptMasks, network: Network, schedule: Schedule, method: str = "magnitude", *,
        rewind_to: int | None = None, **options: Any,
    ):  # fmt: skip
        self.handle, self.schedule, self.method = handle, schedule, method
        self.rewind_to, self.options = rewind_to, options
        self._network = LiveNetwork(handle, network)
        self._early = self._copies() if rewind_to == 0 else None

    def at(self, step: int) -> Change | None:
        """What is to happen after this step; None where nothing is."""
        if step == self.rewind_to and self._early is None:
            self._early = self._copies()
        if not self.schedule.due(step):
            return None
        processes = processes_of(self.handle.model)
        network, masks = self._network.now(processes), self.handle.masks
        pruned = processes.agreed(lambda: self._pruned(network, masks, step))
        if pruned is None:
            return None
        chosen, change = pruned
        self.handle.set({**masks, **chosen})
        self._rewind()
        return change

    def _pruned(self, network: Network, masks: Tensors, step: int) -> tuple[Tensors, Change] | None:
        """New masks and what changes with them; None where the target is there already."""
        found, target = sparsity(export(network, masks)), self.schedule.sparsity(step)
        effective = self.options.get("effective", True)
        if (found.effective if effective else found.direct) >= target:
            return None
        chosen = prune(network, None, self.method, sparsity=target, masks=masks, **self.options)
        dropped = found.kept - chosen.active - sum(chosen.dropped.values())
        change = Change(step, chosen.connections, chosen.active, chosen.active, dropped, died=chosen.dropped)
        return dict(chosen), change

    def _tensors(self) -> Tensors:
        return self.handle.model.state_dict()

    def _copies(self) -> Tensors:
        return {name: tensor.clone() for name, tensor in self._tensors().items()}

    def _rewind(self) -> None:
        if self.rewind_to is None:
            return
        if self._early is None:
            raise GraphsparseError(
                "the step to rewind to must come before the first pruning",
                received=f"rewind_to={self.rewind_to}, pruning from step {self.schedule.begin}",
            )
        for name, tensor in self._tensors().items():
            tensor.copy_(self._early[name])
        self.handle.forget()
        self.handle.apply()
