"""The page of a report in a real browser: it asks nobody, sorts, filters, links, and is read by everybody."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

import graphsparse as gs
from graphsparse import data
from graphsparse.cli import main
from graphsparse.reports.page.build import page_of
from tests.browser import CONTRAST, opened, running

HOSTILE = (
    "</script><script>window.harm=1</script>",
    '"><img src=x onerror="window.harm=1">',
    "{{ 7 * 7 }}",
    "<!--",
    "a&amp;b",
)
"""Names that would run or change the page if they were read as anything but text."""


@pytest.fixture(scope="module")
def browser():
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """The page of a real pruned network, made at the command line."""
    path = tmp_path_factory.mktemp("pages") / "digits.html"
    command = [str(data.path("digits-mlp-200x.pt")), "--model", "graphsparse.zoo:digits_mlp", "--input", "1x8x8"]
    with pytest.raises(SystemExit, match="0"):
        main(["analyze", *command, "--html", str(path), "--verify"])
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "hostile.html"
    tensors = {f"{name}.weight": torch.eye(4) for name in HOSTILE}
    gs.analyze(tensors, "chain").to_html(path, command=HOSTILE[0])
    return path


def column(page, number: int) -> list[str]:
    """The shown cells of a column of the table of layers."""
    return page.eval_on_selector_all(
        "#table tbody tr:not([hidden])", f"rows => rows.map(row => row.cells[{number}].textContent)"
    )


def test_a_page_has_its_sections_in_order_and_the_numbers_of_the_report(browser, digits):
    report = gs.analyze(data.path("digits-mlp-200x.pt"), "graphsparse.zoo:digits_mlp", torch.zeros(1, 1, 8, 8))
    with opened(browser, digits) as page:
        shown = page.eval_on_selector_all("main > section", "all => all.map(each => each.id)")
        assert shown == [section.key for section in page_of(report).sections]
        assert shown[:3] == ["alerts", "totals", "layers"] and shown[-2:] == ["coverage", "reproduction"]
        assert column(page, 0) == list(report.rows)
        assert column(page, 4) == [str(row["active"]) for row in report.rows.values()]
        assert "248.5×" in page.inner_text("#totals") and "200.0×" in page.inner_text("#totals")


def test_the_table_sorts_and_filters(browser, digits):
    with opened(browser, digits) as page:
        page.click("th[data-column=connections] button")
        assert column(page, 0) == ["fc2.weight", "fc1.weight", "fc3.weight"]
        assert page.get_attribute("th[data-column=connections]", "aria-sort") == "descending"
        page.click("th[data-column=connections] button")
        assert column(page, 0) == ["fc3.weight", "fc1.weight", "fc2.weight"]
        page.fill("#search", "FC1")
        assert column(page, 0) == ["fc1.weight"] and page.inner_text("#shown") == "1 of 3 rows"
        page.fill("#search", "")
        page.select_option("#filter", "collapsed")
        assert column(page, 0) == []
        page.select_option("#filter", "dead")
        assert len(column(page, 0)) == 3


def test_bars_and_table_choose_the_same_layer(browser, digits):
    with opened(browser, digits) as page:
        page.click("#table button:text-is('fc2.weight')")
        assert page.eval_on_selector_all("#bars .band", "all => all.map(each => each.matches('.chosen'))") == [
            False,
            True,
            False,
        ]
        page.locator("#bars .band").nth(2).click()
        assert page.inner_text("tr[aria-current] .name") == "fc3.weight"
        page.hover("#bars .band:first-child")
        assert "87 of 19,200 kept" in page.inner_text(".tip")


def test_a_link_to_a_layer_chooses_it(browser, digits):
    with opened(browser, digits) as page:
        page.evaluate("location.hash = '#layer-1'")
        page.wait_for_selector("#layer-1[aria-current=true]")


def test_everything_is_done_by_keyboard(browser, digits):
    with opened(browser, digits) as page:
        page.focus("#bars")
        page.keyboard.press("End")
        assert page.inner_text("tr[aria-current] .name") == "fc3.weight"
        page.keyboard.press("ArrowLeft")
        assert page.inner_text("tr[aria-current] .name") == "fc2.weight"
        page.focus("th[data-column=kept] button")
        page.keyboard.press("Enter")
        assert column(page, 3) == ["87", "82", "82"]
        page.focus("#layer-0 button")
        page.keyboard.press("Enter")
        assert page.inner_text("tr[aria-current] .name") == "fc1.weight"


def test_every_control_is_reached_by_tab_and_has_a_name(browser, digits):
    with opened(browser, digits) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        nameless = page.eval_on_selector_all(
            "button, input, select, [tabindex='0']",
            "all => all.filter(e => e.tabIndex < 0 || !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')))"
            ".map(e => e.outerHTML)",
        )
        assert nameless == []
        levels = page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map(e => Number(e.tagName[1]))")
        assert levels[0] == 1 and all(after - before <= 1 for before, after in itertools.pairwise(levels))
        assert page.eval_on_selector_all("th:not([scope])", "all => all.length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_in_light_and_dark(browser, digits, scheme):
    with opened(browser, digits, color_scheme=scheme) as page:
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
        assert page.evaluate(CONTRAST) == []


def test_a_phone_scrolls_down_alone(browser, digits, hostile):
    for file in (digits, hostile):
        with opened(browser, file, width=390) as page:
            assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_names_are_text_wherever_they_stand(browser, hostile):
    with opened(browser, hostile) as page:
        assert column(page, 0) == [f"{name}.weight" for name in HOSTILE]
        assert page.evaluate("window.harm") is None and page.locator("img").count() == 0
        assert HOSTILE[0] in page.inner_text("#reproduction pre")
        for number in range(len(HOSTILE)):
            page.locator("#bars .band").nth(number).click()
            assert page.inner_text("tr[aria-current] .name") == f"{HOSTILE[number]}.weight"


def test_a_script_that_is_not_the_pages_own_never_runs(browser, digits, tmp_path):
    """The page's policy, seen at work: even where markup came in, it would not run."""
    (tmp_path / "page.html").write_text(
        digits.read_text().replace("</main>", "</main><script>window.harm = 1</script>")
    )
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("window.harm") is None and page.locator("#bars svg").count() == 1
    context.close()


def test_it_is_read_without_scripts(browser, digits):
    with opened(browser, digits, java_script_enabled=False) as page:
        assert "fc2.weight" in page.inner_text("#table") and not page.is_visible("#search")


def test_without_a_model_there_is_what_needs_none(browser, tmp_path):
    path = tmp_path / "page.html"
    gs.analyze(data.path("digits-mlp-200x.pt"), "none").to_html(path)
    with opened(browser, path) as page:
        assert page.eval_on_selector_all("main > section", "all => all.map(e => e.id)") == [
            "alerts",
            "totals",
            "layers",
            "reproduction",
        ]
        assert "left out" in page.inner_text("header") and page.locator("#bars svg").count() == 1
