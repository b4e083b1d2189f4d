"""Masks in the Trainer of transformers, and through it in accelerate. Extra: ``transformers``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphsparse.capture import Network
from graphsparse.checkpoints import write_masks_file
from graphsparse.errors import needs_extra
from graphsparse.training.callbacks.loop import MakeSchedule, Trained

with needs_extra("transformers", "the extra transformers must be installed for this callback"):
    from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

FILE = "masks.safetensors"


class TransformersMasks(Trained, TrainerCallback):
    """Keep masks while transformers' Trainer trains, and log direct and effective sparsity.

    ``TransformersMasks(masks, ...).attach(trainer)`` logs through the trainer: to its history, and to whatever it reports
    to (TensorBoard, W&B). Beside each checkpoint the masks are written as bits (``masks.safetensors``); to go on from
    one give ``graphsparse.read_masks(checkpoint / "masks.safetensors")``.

    Args:
        masks: by the names of the model's parameters; none for a schedule that begins with everything kept.
        example_inputs: what the model's forward takes, for effective sparsity; a dict is keyword arguments.
        network: in place of them, for a model that is sharded: of `graphsparse.network`, made of a copy before that.
        schedule: makes a schedule once the model is ready: ``lambda handle, network: Gradual(handle, network, ...)``.
        every, by_layer, on_collapse: as for `graphsparse.training.callbacks.loop.Loop`. "stop" ends the training.

    Raises MissingExtra when this file is imported without transformers.
    """

    def __init__(
        self, masks: Mapping[str, Any] | None = None, *, example_inputs: Any = None,
        network: Network | None = None, schedule: MakeSchedule | None = None, every: int = 100, by_layer: bool = False, on_collapse: str = "warn",
    ):  # fmt: skip
        super().__init__(
            masks, example_inputs, network, schedule, every=every, by_layer=by_layer, on_collapse=on_collapse
        )
        self.trainer: Trainer | None = None

    def attach(self, trainer: Trainer) -> TransformersMasks:
        """Add the callback to a trainer and log through it."""
        self.trainer = trainer
        trainer.add_callback(self)
        return self

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        self._log(state, self._begin(model).measure())

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.loop is not None:
            self._log(state, self.loop.at(state.global_step))
            control.should_training_stop = control.should_training_stop or self.loop.stop

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.loop is None:
            return
        masks = self.loop.handle.masks  # of all processes, which gather them together
        folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        if state.is_world_process_zero and folder.is_dir():
            write_masks_file(folder / FILE, masks, form="bits")

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._end()

    def _log(self, state: TrainerState, numbers: dict[str, float]) -> None:
        if numbers and self.trainer is not None:
            self.trainer.log(numbers)
        elif numbers:
            state.log_history.append({**numbers, "step": state.global_step})
