"""What is said of a network, as values: what reports show and pages are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from graphsparse.graph import Coverage, Input, LayeredGraph
from graphsparse.measures.rows import Rows, as_frame
from graphsparse.measures.sparsity import Sparsity
from graphsparse.pages.reproduction import Origin

if TYPE_CHECKING:
    import pandas

    from graphsparse.capture import Network
    from graphsparse.reports.verify import Verification


@dataclass(frozen=True, eq=False, repr=False)
class Facts:
    """How sparse a network is: ``sparsity`` (None without a model), ``rows`` by parameter, a ``summary``.

    ``columns`` are those of the rows; ``frame`` is the same as a pandas frame. ``notes`` say what a reader should know: collapse,
    unused parameters, what is decided conservatively. ``coverage`` says how many operations each rule of capture took, and
    which were decided conservatively, where and why. ``inputs`` says what each input of the model was taken for. ``graph``
    and ``network`` are what was analysed (None without a model), ``origin`` where it comes from, ``verification`` what came
    out where outputs were compared.
    """

    title: str
    rows: Rows
    columns: tuple[str, ...]
    summary: dict[str, Any]
    notes: tuple[str, ...] = ()
    sparsity: Sparsity | None = None
    coverage: Coverage | None = None
    inputs: tuple[Input, ...] = ()
    graph: LayeredGraph | None = None
    network: Network | None = None
    origin: Origin = field(default_factory=Origin)
    verification: Verification | None = None

    @cached_property
    def frame(self) -> pandas.DataFrame:
        """A row per parameter."""
        return as_frame(self.rows, self.columns)
