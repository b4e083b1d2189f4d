"""One family of errors and the shape of their text: the rule, the place, the value received, the way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST = 400  # characters of a place or a value in a message: a name in a file may have millions
SIZES = "give trust_sizes=True if you know where it comes from, or export it with a smaller input"
"""The way out where a program asks for more than its file bears out."""


def shortened(text: str, longest: int = _LONGEST) -> str:
    """The text, without its middle where it is too long.

    Example:
        >>> shortened("encoder.layers.0.attention.weight", 16)
        'encoder...weight'
    """
    if len(text) <= longest:
        return text
    end = (longest - 3) // 2
    return f"{text[: longest - 3 - end]}...{text[-end:]}"


def brief(error: Exception, longest: int = 160) -> str:
    """What an error of another library is and says, in its first line.

    Example:
        >>> brief(RuntimeError("no such size\\nand where"))
        'RuntimeError: no such size'
    """
    lines = str(error).strip().splitlines() or ["no reason"]
    return f"{type(error).__name__}: {lines[0].strip()[:longest]}"


class GraphsparseError(ValueError):
    """Bad input, said once and completely.

    The text is one line: ``rule, at place; received value. Way out.`` Parts that do not apply are left out.

    Example:
        >>> str(GraphsparseError("a mask must have the shape of its parameter", place="fc1.weight", received="(3, 4)",
        ...                      way_out="give a mask of shape (4, 3)"))
        'a mask must have the shape of its parameter, at fc1.weight; received (3, 4). Way out: give a mask of shape (4, 3).'
    """

    def __init__(self, rule: str, *, place: str | None = None, received: object = None, way_out: str | None = None):
        self.rule, self.place, self.received, self.way_out = rule, place, received, way_out
        super().__init__(self._text())

    def _text(self) -> str:
        text = self.rule
        if self.place is not None:
            text += f", at {shortened(self.place)}"
        if self.received is not None:
            text += f"; received {shortened(str(self.received))}"
        if self.way_out is not None:
            text += f". Way out: {self.way_out}."
        return text


class CaptureError(GraphsparseError):
    """The model cannot be captured with these example inputs."""


class UnsupportedOperations(CaptureError):
    """Operations of the model that have no rule, all of them at once with counts and places."""


class MaskError(GraphsparseError):
    """A mask or score does not belong to the graph: its name, shape, type or values."""


class CheckpointError(GraphsparseError):
    """A file cannot be read or written: its form, its content, or what reading it would run."""


class ModelError(GraphsparseError):
    """A model is named in a form that cannot be resolved, or does not fit its checkpoint."""


class TargetError(GraphsparseError):
    """A wanted sparsity, compression or quota cannot be reached; the text says what can."""


class ArgumentError(GraphsparseError, TypeError):
    """A keyword argument that the function does not have; the text names the closest one that it has."""


class MissingExtra(GraphsparseError):
    """A feature needs an optional package that is not installed; the text names the extra."""


@contextmanager
def needs_extra(name: str, rule: str) -> Iterator[None]:
    """Around the import of an optional package: where it is missing, MissingExtra states the rule and names the extra."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra(rule, way_out=f"pip install 'graphsparse[{name}]'") from error
