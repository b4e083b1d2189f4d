"""When to prune while training, and how far: sparsities that grow with the steps."""

from __future__ import annotations

from dataclasses import dataclass

from graphsparse.errors import TargetError

SHAPES = ("cubic", "exponential", "linear", "one-shot")


@dataclass(frozen=True)
class Schedule:
    """A sparsity that grows from ``initial`` at step ``begin`` to ``final`` at step ``end``, pruned every ``every`` steps.

    Shapes: "cubic", much at first (Zhu and Gupta 2017); "exponential", the same part of what is left each time; "linear";
    "one-shot", all at ``begin``. With x from 0 to 1 between both steps and densities d = 1 - sparsity:

        cubic         final + (initial - final) (1 - x)^3
        exponential   1 - d_initial (d_final / d_initial)^x

    Raises TargetError where a number does not fit.

    Example:
        >>> schedule = Schedule(0.9, begin=100, end=200, every=50)
        >>> [(step, round(schedule.sparsity(step), 4)) for step in range(301) if schedule.due(step)]
        [(100, 0.0), (150, 0.7875), (200, 0.9)]
    """

    final: float
    begin: int = 0
    end: int = 0
    every: int = 100
    initial: float = 0.0
    shape: str = "cubic"

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise TargetError(
                "a schedule must have a known shape", received=self.shape, way_out=f"use {', '.join(SHAPES)}"
            )
        if not 0 <= self.initial <= self.final < 1:
            raise TargetError(
                "a schedule's sparsities must grow within 0 and 1", received=f"from {self.initial} to {self.final}"
            )
        if self.every < 1 or self.begin < 0 or (self.shape != "one-shot" and self.end <= self.begin):
            raise TargetError(
                "a schedule must end after it begins, and prune every one or more steps",
                received=f"begin {self.begin}, end {self.end}, every {self.every}",
            )

    def due(self, step: int) -> bool:
        """Whether to prune after this step."""
        if self.shape == "one-shot":
            return step == self.begin
        return self.begin <= step <= self.end and ((step - self.begin) % self.every == 0 or step == self.end)

    def sparsity(self, step: int) -> float:
        """The sparsity to reach after this step."""
        if self.shape == "one-shot":
            return self.initial if step < self.begin else self.final
        x = min(max((step - self.begin) / (self.end - self.begin), 0.0), 1.0)
        if self.shape == "exponential":
            return float(1 - (1 - self.initial) * ((1 - self.final) / (1 - self.initial)) ** x)
        left = (1 - x) ** (3 if self.shape == "cubic" else 1)
        return self.final + (self.initial - self.final) * left


def rounds(final: float, count: int, every: int, begin: int = 0) -> Schedule:
    """Iterative pruning: ``count`` rounds of ``every`` steps of training, each prunes the same part of what is left.

    The first round is pruned at step ``begin + every``. With ``rewind_to=`` of `Gradual` this is what Frankle and Carbin
    (2019) do.

    Example:
        >>> schedule = rounds(0.75, count=2, every=10)
        >>> [(step, schedule.sparsity(step)) for step in range(31) if schedule.due(step)]
        [(10, 0.5), (20, 0.75)]
    """
    density = (1 - final) ** (1 / count) if count > 0 else 1.0
    if count == 1:
        return Schedule(final, begin + every, shape="one-shot")
    return Schedule(final, begin + every, begin + count * every, every, 1 - density, "exponential")
