"""Reports of one checkpoint or of several: one capture where they are of one network."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphsparse.errors import GraphsparseError
from graphsparse.networks.loading import Progress
from graphsparse.reports.report import Report, report_of
from graphsparse.reports.selection import chosen

if TYPE_CHECKING:
    import pandas

    from graphsparse.runs.template import Template


@dataclass(frozen=True, eq=False)
class Reports:
    """Reports by file, and ``errors``: why others have none."""

    reports: Mapping[str, Report]
    errors: Mapping[str, str]

    @property
    def only(self) -> Report | None:
        """The report, where there is one file and no other was asked for."""
        return next(iter(self.reports.values())) if len(self.reports) == 1 and not self.errors else None

    def table(self) -> pandas.DataFrame:
        """A row per file and parameter; without the file where there is one."""
        import pandas

        frames = [report.frame.reset_index().assign(checkpoint=name) for name, report in self.reports.items()]
        found = pandas.concat(frames, ignore_index=True)
        found["shape"] = ["x".join(map(str, shape)) for shape in found["shape"]]
        names = found.pop("checkpoint")
        return found if self.only else pandas.concat([names, found], axis=1)

    def to_json(self) -> str:
        """The report as JSON; of several a list with the file of each."""
        if self.only:
            return self.only.to_json()
        found = [{"checkpoint": name, **report.to_dict()} for name, report in self.reports.items()]
        return json.dumps({"reports": found, "errors": dict(self.errors)}, indent=1)

    def selected(self, patterns: Sequence[str] | None) -> Reports:
        """The same with the rows of some parameters."""
        found = {}
        for file, report in self.reports.items():
            names = chosen(report.rows, patterns)
            found[file] = replace(report, rows={name: row for name, row in report.rows.items() if name in names})
        return replace(self, reports=found)


def report_each(files: Sequence[Path], alone: partial[Report], progress: Progress) -> Reports:
    """A report of each file; ``alone`` is `graphsparse.analyze` with the arguments that all share.

    A model that is named is captured once for all. What is wrong with a file is raised where no other has a report.
    """
    if len(files) == 1:
        return Reports({str(files[0]): alone(files[0], progress=progress)}, {})
    found: dict[str, Report] = {}
    errors: dict[str, str] = {}
    shared: Template | None = None
    for number, file in enumerate(files):
        try:
            shared = shared or _captured(file, alone.keywords)
            found[str(file)] = _on(shared, file, alone)
        except GraphsparseError as error:
            errors[str(file)] = str(error)
        progress(number + 1, len(files))
    if not found:
        return Reports({str(files[0]): alone(files[0])}, {})  # which says what is wrong
    return Reports(found, errors)


def _captured(file: Path, given: Mapping[str, Any]) -> Template | None:
    """The network of a file that others may share: of a named model, unless outputs, so weights, are compared."""
    if given["model"] in (None, "none") or given["verify"]:
        return None
    from graphsparse.runs.template import Way, template

    way = Way.of(**{name: given[name] for name in inspect.signature(Way.of).parameters})
    return template(file, given["model"], given["example_inputs"], None, way)


def _on(shared: Template | None, file: Path, alone: partial[Report]) -> Report:
    """A report on the structure that is captured; by itself without one, and where the file is of another network."""
    if shared is not None:
        with suppress(GraphsparseError):
            graph, notes = shared.graph_of(file)
            return report_of(file.name, graph, notes)
    return alone(file)
