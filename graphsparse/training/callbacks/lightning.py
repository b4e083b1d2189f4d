"""Masks in Lightning: a callback for `lightning.pytorch.Trainer`. Extra: ``lightning``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from graphsparse.capture import Network
from graphsparse.errors import needs_extra
from graphsparse.training.callbacks.loop import MakeSchedule, Trained

with needs_extra("lightning", "the extra lightning must be installed for this callback"):
    from lightning.pytorch import Callback, LightningModule, Trainer


class LightningMasks(Trained, Callback):
    """Keep masks while Lightning trains, and log direct and effective sparsity to its loggers.

    Masks go into Lightning's checkpoints with the callback's state, and come back with them.

    Args:
        masks: by the names of the trained module's parameters; none for a schedule that begins with everything kept.
        part: the module inside the LightningModule whose parameters the masks name, as "model"; all of it by default.
        example_inputs: what that module's forward takes, for effective sparsity; a dict is keyword arguments.
        network: in place of them, for a model that is sharded: of `graphsparse.network`, made of a copy before that.
        schedule: makes a schedule once the model is ready: ``lambda handle, network: Gradual(handle, network, ...)``.
        every, by_layer, on_collapse: as for `graphsparse.training.callbacks.loop.Loop`. "stop" ends the training.

    Raises MissingExtra when this file is imported without Lightning.
    """

    def __init__(
        self, masks: Mapping[str, Any] | None = None, *, part: str = "", example_inputs: Any = None,
        network: Network | None = None, schedule: MakeSchedule | None = None, every: int = 100, by_layer: bool = False, on_collapse: str = "warn",
    ):  # fmt: skip
        super().__init__(
            masks, example_inputs, network, schedule, every=every, by_layer=by_layer, on_collapse=on_collapse
        )
        self.part, self._step = part, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = trainer.global_step
        self._log(trainer, self._begin(pl_module.get_submodule(self.part)).measure())

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self.loop is None or trainer.global_step == self._step:
            return  # gradients are being accumulated
        self._step = trainer.global_step
        self._log(trainer, self.loop.at(self._step))
        trainer.should_stop = trainer.should_stop or self.loop.stop

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end()

    def state_dict(self) -> dict[str, Any]:
        return {"masks": self.loop.handle.masks if self.loop is not None else self.masks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.masks = state_dict["masks"]

    def _log(self, trainer: Trainer, numbers: Mapping[str, float]) -> None:
        for logger in trainer.loggers if numbers else ():
            logger.log_metrics(dict(numbers), trainer.global_step)
        trainer.callback_metrics.update({name: torch.tensor(number) for name, number in numbers.items()})
