"""What is said of a network, as values: what reports show and pages are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from graphsparse.graph import Coverage, Input, LayeredGraph
from graphsparse.measures.sparsity import Sparsity
from graphsparse.measures.tables import Rows, as_frame
from graphsparse.pages.reproduction import Origin

if TYPE_CHECKING:
    import pandas

    from graphsparse.capture import Network
    from graphsparse.reports.verify import Verification


@dataclass(frozen=True, eq=False, repr=False)
class Facts:
    """How sparse a network is. `graphsparse.reports.report.Report` shows it, and says what each field is."""

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
