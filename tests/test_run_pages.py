"""Pages of a run and of checkpoints side by side, in a real browser: numbers, names that are text, phones, dark and print."""

from __future__ import annotations

import re

import pytest
import torch

import graphsparse as gs
from graphsparse.pages.lines import axis_of, lines
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
    side = gs.compare([run[0], {**run[100], HOSTILE: torch.eye(4) * torch.tensor([0, 1, 1, 1]) > 0}, run[200]], "chain")
    text = found.to_html(folder / "run.html", command="graphsparse track <run>")
    assert (folder / "run.html").read_text() == text
    assert side.to_html(folder / "side.html") == side.to_html()
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
        head, *deaths = cells(page, "deaths")
        assert sum(int(row[head.index("units")]) for row in deaths) == len(found.deaths)
        assert ["100", "sources", HOSTILE] not in deaths and {row[-1] for row in deaths} == {"0-3"}
        alerts = page.inner_text("#alerts")
        assert "From step 200 on nothing is active in the network." in alerts and "Skipped:" in alerts
        assert "graphsparse track <run>" in page.inner_text("#reproduction")


def test_a_picture_says_its_values_in_words_and_draws_them(browser, found, pages):
    with opened(browser, pages / "run.html") as page:
        labels = page.evaluate("[...document.querySelectorAll('svg[role=img]')].map((each) => each.ariaLabel)")
        assert len(labels) == 6 and labels[1].startswith("Overlap of masks, over 3 steps: with the step before from ")
        box = "[...document.querySelectorAll('#pictures path')].map((p) => p.getBBox()).map((b) => [b.x, b.width])"
        assert all(x >= 0 and x + width <= 520 for x, width in page.evaluate(box))


def test_side_by_side(browser, run, pages):
    with opened(browser, pages / "side.html") as page:
        rows = {row[0]: row[1:] for row in cells(page, "checkpoints")}
        assert rows["measure"] == ["A", "B", "C", "B - A", "C - A"]
        assert rows["kept"] == ["32", "19", "16", "-13", "-16"] and rows["active"] == ["32", "15", "0", "-17", "-32"]
        assert rows["effective compression"] == ["1.0×", "2.1×", "infinite", "+1.1×", "+infinite"]
        head, *parameters = cells(page, "parameters")
        assert [row[0] for row in parameters] == [HOSTILE, "b.weight"]
        assert parameters[0][head.index("direct A") : head.index("effective A")] == [
            "0", "0.8125", "0", "+0.8125", "0",
        ]  # fmt: skip
        assert [row[0] for row in cells(page, "overlaps")[1:]] == ["A and B", "A and C", "B and C"]
        assert "C: nothing is active." in page.inner_text("#alerts")


def names(page, section: str) -> list[str]:
    return page.eval_on_selector_all(
        f"#{section} .sortable tbody tr:not([hidden])", "rows => rows.map((row) => row.cells[0].textContent)"
    )


def test_tables_sort_search_and_filter(browser, pages):
    with opened(browser, pages / "run.html") as page:
        page.click("#steps th[data-column=active] button")
        assert names(page, "steps") == ["0", "100", "200"]
        page.click("#steps th[data-column=active] button")
        assert names(page, "steps") == ["200", "100", "0"]
        page.focus("#steps th[data-column=effective_compression] button")
        page.keyboard.press("Enter")  # infinite is more than any number, undefined less than none: it comes last
        assert names(page, "steps") == ["200", "100", "0"]
        page.click("#steps th[data-column=overlap_before] button")
        assert names(page, "steps")[-1] == "0"
        page.click("#steps th[data-column=overlap_before] button")
        assert names(page, "steps")[-1] == "0"
        page.fill("#parameters-search", "IMG")
        assert names(page, "parameters") == [HOSTILE]
        assert page.inner_text("#parameters-shown") == "1 of 2 rows"
    with opened(browser, pages / "side.html") as page:
        page.select_option("#units-kind", "C")
        assert set(page.eval_on_selector_all("#units tr:not([hidden])", "a => a.map((r) => r.cells[1].textContent)")) == {
            "checkpoint", "C",
        }  # fmt: skip
        page.fill("#units-search", "nobody")
        assert names(page, "units") == [] and page.inner_text("#units-shown").startswith("0 of ")
        page.select_option("#parameters-kind", "collapsed in C")
        assert len(names(page, "parameters")) == 2
        page.fill("#checkpoints-search", "compression")
        assert names(page, "checkpoints") == ["direct compression", "effective compression"]


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
