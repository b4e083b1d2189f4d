"""The alerts of a report: what is collapsed, out of line, unused, not finite, decided conservatively."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from graphsparse.pages.render import count, share
from graphsparse.pages.sections import Alert, Section, alert_section, few
from graphsparse.reports.facts import Facts

OUT_OF_LINE, AT_LEAST, ALWAYS = 3.0, 0.1, 0.5
"""How many median distances from the median are out of line; the least share that is worth an alert; and the share that
always is, unless most layers have it."""
PLACES = {"Decided on the safe side": "#coverage", "Verified on": "#verification"}
"""Where notes that begin so are told in full."""
SHARES = {
    "starved": ("units", "units are starved: no input reaches them"),
    "stranded": ("units", "units are stranded: they reach no output"),
    "dead": ("kept", "kept connections are dead"),
}
"""What is counted, of what, and what is said of it."""


def section(report: Facts, single_points: Sequence[Alert] = ()) -> Section:
    """The alerts of a report, the worst first."""
    alerts = [*_collapsed(report), *single_points, *_out_of_line(report), *_told(report)]
    return alert_section(alerts, "None: every layer has active connections, and no share is out of line.")


def _collapsed(report: Facts) -> Iterator[Alert]:
    places, found = places_of(report.rows), report.sparsity
    if found is None:
        return
    if not found.connected:
        yield Alert("severe", report.notes[0], "#layers")
    alerts = [
        Alert("severe", f"{name}: nothing of its {count(report.rows[name]['connections'])} connections is active; "
              f"{count(report.rows[name]['kept'])} are kept.", places[name])
        for name in found.collapsed
    ]  # fmt: skip
    yield from few(alerts, "layers have collapsed", "#layers")


def _out_of_line(report: Facts) -> Iterator[Alert]:
    """Layers whose share of starved or stranded units, or of dead connections, is far above that of the others."""
    if report.sparsity is None:
        return
    rows = {name: {**row, "dead": row["kept"] - row["active"]} for name, row in report.rows.items() if row["active"]}
    for column, (of, text) in SHARES.items():
        shares = {name: row[column] / row[of] for name, row in rows.items() if row[of]}
        usual, limit = _usual(list(shares.values()))
        alerts = [
            Alert("warning", f"{name}: {count(rows[name][column])} of {count(rows[name][of])} {text} ({share(value)}; "
                  f"the median of all layers is {share(usual)}).", places_of(report.rows)[name])
            for name, value in sorted(shares.items(), key=lambda item: -item[1])
            if value > limit
        ]  # fmt: skip
        yield from few(alerts, f"layers are out of line: {text}", "#layers")


def _usual(shares: Sequence[float]) -> tuple[float, float]:
    """The median, and the share above which one is out of line."""
    usual = median(shares) if shares else 0.0
    spread = median(abs(value - usual) for value in shares) if shares else 0.0
    limit = max(AT_LEAST, usual + OUT_OF_LINE * max(spread, 0.01))
    return usual, limit if usual >= ALWAYS else min(limit, ALWAYS)


def _told(report: Facts) -> Iterator[Alert]:
    """The report's own notes; what is conservative and what is not finite is a warning."""
    for note in report.notes:
        if note.startswith(("Collapsed:", "Nothing is active in")):
            continue  # said above, layer by layer
        level = "warning" if note.startswith(("NaN or infinite", "Not used by")) else "note"
        yield Alert(level, note, next((place for start, place in PLACES.items() if note.startswith(start)), ""))


def places_of(rows: Mapping[str, Any]) -> dict[str, str]:
    """The link to each parameter's row."""
    return {name: f"#layer-{number}" for number, name in enumerate(rows)}
