"""Pages of a run and of checkpoints side by side, in a real browser: numbers, names that are text, phones, dark and print."""

from __future__ import annotations

import re

import pytest
import torch

import graphsparse as gs
from graphsparse.reports.page.lines import axis_of, lines
from graphsparse.reports.page.runs import comparison_page, trajectory_page
from tests.browser import CONTRAST, opened, running

HOSTILE = "a</script><img src=x onerror=alert(1)>.weight"


@pytest.fixture(scope="module")
def browser():
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def run():
    one, none = torch.ones(4, 4) > 0, torch.zeros(4, 4) > 0
    steps = {0: (one, one), 100: (torch.eye(4) > 0, one), 200: (one, none)}
    return {step: {HOSTILE: first, "b.weight": second} for step, (first, second) in steps.items()}


@pytest.fixture(scope="module")
def found(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "net.pt").write_bytes(b"")
    return gs.track({**run, 150: folder / "net.pt"}, "chain")


@pytest.fixture(scope="module")
def pages(run, found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    side = gs.compare([run[0], run[100], run[200]], "chain")
    text = found.to_html(folder / "run.html", command="graphsparse track <run>")
    assert (folder / "run.html").read_text() == text == trajectory_page(found, "graphsparse track <run>")
    assert side.to_html(folder / "side.html") == comparison_page(side)
    return folder


def cells(page, section: str) -> list[list[str]]:
    expression = (
        f"[...document.querySelectorAll('#{section} tr')].map((row) => [...row.cells].map((c) => c.textContent))"
    )
    return page.evaluate(expression)


def test_a_run_has_its_numbers(browser, found, pages):
    with opened(browser, pages / "run.html") as page:
        head, *rows = cells(page, "steps")
        assert [row[0] for row in rows] == ["0", "100", "200"]
        assert [row[head.index("active")] for row in rows] == [str(each) for each in found.totals["active"]]
        assert [row[head.index("effective compression")] for row in rows][-1] == "infinite"
        _, *deaths = cells(page, "deaths")
        assert sum(int(row[-1]) for row in deaths) == len(found.deaths)
        alerts = page.inner_text("#alerts")
        assert "From step 200 on nothing is active in the network." in alerts and "Skipped:" in alerts
        assert "graphsparse track <run>" in page.inner_text("#reproduction")


def test_a_picture_says_its_values_in_words_and_draws_them(browser, found, pages):
    with opened(browser, pages / "run.html") as page:
        labels = page.evaluate("[...document.querySelectorAll('svg[role=img]')].map((each) => each.ariaLabel)")
        assert len(labels) == 4 and labels[1].startswith("Overlap of masks, over 3 steps: with the step before from ")
        box = "[...document.querySelectorAll('#pictures path')].map((p) => p.getBBox()).map((b) => [b.x, b.width])"
        assert all(x >= 0 and x + width <= 520 for x, width in page.evaluate(box))


def test_side_by_side(browser, run, pages):
    with opened(browser, pages / "side.html") as page:
        rows = {row[0]: row[1:] for row in cells(page, "checkpoints")}
        assert (
            rows["measure"] == ["A", "B", "C"]
            and rows["kept"] == ["32", "20", "16"]
            and rows["active"] == ["32", "20", "0"]
        )
        assert [row[0] for row in cells(page, "overlaps")[1:]] == ["A and B", "A and C", "B and C"]
        assert "C has collapsed" in page.inner_text("#alerts")


@pytest.mark.parametrize("name", ["run", "side"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_readable_on_a_phone_and_names_are_text(browser, pages, name, scheme):
    with opened(browser, pages / f"{name}.html", width=390, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert HOSTILE in page.inner_text("#parameters") and page.evaluate("document.images.length") == 0
        assert page.evaluate(CONTRAST) == []


def test_a_line_has_gaps_and_a_logarithmic_axis_where_it_is_wide():
    text = str(lines("x <y>", [0, 1, 2, 3], {"a & b": [1.0, None, 100.0, 1000.0]}))
    path = re.search(r'<path d="([^"]*)"', text)
    assert path is not None and [part[0] for part in path[1].split(" ") if part[0] in "ML"] == ["M", "M", "L"]
    heights = [float(each) for each in re.findall(r"[\d.]+ ([\d.]+)", path[1].replace("h.1", ""))]
    assert (heights[0] - heights[1]) == pytest.approx(2 * (heights[1] - heights[2]), abs=0.3)
    assert "x &lt;y&gt;" in text and "a &amp; b" in text and "<y>" not in text


@pytest.mark.parametrize(
    ("known", "marks"),
    [
        ([5.0, 21.1, 7171.4], (1, 10, 100, 1000, 10_000)),
        ([0.0007, 1.0], (0, 0.5, 1)),
        ([0.0, 259.0], (0, 100, 200, 300)),
        ([3.0, 3.0], (0, 1, 2, 3)),
        ([-2.0, 2.0], (-2, -1, 0, 1, 2)),
        ([0.0, 0.0], (0, 0.5)),
        ([], (0, 0.5, 1)),
        ([1.0, 1e12], (1, 1e3, 1e6, 1e9, 1e12)),
    ],
)
def test_an_axis_has_round_marks_that_hold_all_values(known, marks):
    axis = axis_of(known)
    assert axis.marks == pytest.approx(marks) and (axis.low, axis.high) == (axis.marks[0], axis.marks[-1])
    assert all(axis.low <= value <= axis.high for value in known)
    assert axis.place(axis.low) > axis.place(axis.high) >= 0
