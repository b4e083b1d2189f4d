"""The totals: direct and effective side by side, with what each word means in one line."""

from __future__ import annotations

from graphsparse.pages.render import count, fraction, share, times
from graphsparse.pages.sections import Section
from graphsparse.reports.facts import Facts


def section(report: Facts) -> Section:
    """The totals of a report; without a model there is nothing effective."""
    summary = report.summary
    effective = "active" in summary
    rows = [
        ("connections", count(summary["connections"]), count(summary["connections"]),
         "Entries of prunable kernels: weights of linear, convolution and embedding operations."),
        ("left", count(summary["kept"]), count(summary["active"]) if effective else "",
         "Direct: kept, its mask does not remove it. Effective: active, kept and on a path from an input to an output."),
        ("sparsity", fraction(summary["direct_sparsity"]), fraction(summary["effective_sparsity"]) if effective else "",
         "1 - left / connections."),
        ("compression", times(summary["direct_compression"]),
         times(summary["effective_compression"]) if effective else "", "connections / left."),
    ]  # fmt: skip
    return Section("totals", "Totals", {"rows": rows, "tiles": _tiles(report), "effective": effective})


def _tiles(report: Facts) -> list[tuple[str, str, str]]:
    """The numbers that people quote: name, value, and what stands below it."""
    summary = report.summary
    tiles = [("Direct compression", times(summary["direct_compression"]), f"{count(summary['kept'])} kept")]
    if "active" not in summary:
        return tiles
    dead = summary["kept"] - summary["active"]
    return [
        ("Effective compression", times(summary["effective_compression"]), f"{count(summary['active'])} active"),
        *tiles,
        ("Kept, but dead", count(dead), f"{share(dead / summary['kept'] if summary['kept'] else 0.0)} of what is kept"),
        ("Units", count(summary["units"]), f"{summary['resolution']}, {count(summary['layers'])} layers"),
    ]
