"""The page of a report in a real browser: it asks nobody, sorts, filters, links, and is read by everybody."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse import data
from graphsparse.cli import main
from graphsparse.reports.page.build import page_of
from tests.browser import CONTRAST, opened, running, until

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
        "#layers .sortable tbody tr:not([hidden])", f"rows => rows.map(row => row.cells[{number}].textContent)"
    )


def test_a_page_has_its_sections_in_order_and_the_numbers_of_the_report(browser, digits):
    report = gs.analyze(data.path("digits-mlp-200x.pt"), "graphsparse.zoo:digits_mlp", torch.zeros(1, 1, 8, 8))
    with opened(browser, digits) as page:
        shown = page.eval_on_selector_all("main > section", "all => all.map(each => each.id)")
        assert shown == [section.key for section in page_of(report).sections]
        assert shown[:3] == ["alerts", "totals", "layers"] and shown[-2:] == ["coverage", "reproduction"]
        assert column(page, 0) == list(report.rows)
        assert column(page, 4) == [str(row["active"]) for row in report.rows.values()]
        assert page.inner_text("#reproduction pre").startswith("graphsparse analyze ") and page.inner_text(
            "#reproduction pre"
        ).endswith("--verify")
        assert "248.5×" in page.inner_text("#totals") and "200.0×" in page.inner_text("#totals")


def test_the_table_sorts_and_filters(browser, digits):
    with opened(browser, digits) as page:
        page.click("th[data-column=connections] button")
        assert column(page, 0) == ["fc2.weight", "fc1.weight", "fc3.weight"]
        assert page.get_attribute("th[data-column=connections]", "aria-sort") == "descending"
        page.click("th[data-column=connections] button")
        assert column(page, 0) == ["fc3.weight", "fc1.weight", "fc2.weight"]
        page.fill("#layers-search", "FC1")
        assert column(page, 0) == ["fc1.weight"] and page.inner_text("#layers-shown") == "1 of 3 rows"
        page.fill("#layers-search", "")
        page.select_option("#layers-kind", "collapsed")
        assert column(page, 0) == []
        page.select_option("#layers-kind", "with dead connections")
        assert len(column(page, 0)) == 3


def test_bars_and_table_choose_the_same_layer(browser, digits):
    with opened(browser, digits) as page:
        page.click("#layer-1 button")
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
        assert "fc2.weight" in page.inner_text("#layers .sortable") and not page.is_visible("#layers-search")


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


def test_a_layer_shows_its_mask_its_degrees_and_why(browser, digits):
    with opened(browser, digits) as page:
        page.click("#layer-1 button")
        detail = page.locator("#detail")
        assert detail.locator("h3").inner_text() == "fc2.weight"
        assert (
            "13 kept connections are dead" in detail.inner_text()
            and "cut by the masks of fc1.weight" in detail.inner_text()
        )
        sums = "tables => tables.map(t => [1, 2].map(n => [...t.tBodies[0].rows].reduce((s, r) => s + Number(r.cells[n].textContent), 0)))"
        assert page.eval_on_selector_all("#detail table", sums) == [[100, 100], [300, 300]]
        assert "300 columns" in detail.inner_text() and "100 rows" in detail.locator("canvas").get_attribute(
            "aria-label"
        )


PIXELS = """canvas => {
  const copy = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  [copy.canvas.width, copy.canvas.height] = [canvas.width, canvas.height];
  copy.drawImage(canvas, 0, 0);
  const {data} = copy.getImageData(0, 0, canvas.width, canvas.height), found = [];
  for (let n = 0; n < data.length; n += 4) found.push([...data.slice(n, n + 3)].join(" "));
  return found;
}"""


PICTURE = "canvas => canvas.toDataURL()"
SEVERE = """canvas => {
  const copy = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  [copy.canvas.width, copy.canvas.height] = [canvas.width, canvas.height];
  copy.drawImage(canvas, 0, 0);
  const {data} = copy.getImageData(0, 0, canvas.width, canvas.height);
  for (let n = 0; n < data.length; n += 4) if (data[n] === 179 && data[n + 1] === 38 && data[n + 2] === 30) return true;
  return false;
}"""
"""Whether a canvas has a pixel of the colour that marks what is fragile, which nothing else on it has."""
WARM = SEVERE.replace("data[n] === 179 && data[n + 1] === 38 && data[n + 2] === 30", "data[n] > data[n + 2] + 60")
"""Whether a canvas has a pixel that is far more red than blue: an edge that is kept and not active."""


def test_a_mask_is_drawn_cell_by_cell_and_by_degree(browser, digits):
    report = gs.analyze(data.path("digits-mlp-200x.pt"), "graphsparse.zoo:digits_mlp", torch.zeros(1, 1, 8, 8))
    kept = report.graph.kept["fc3.weight"].unpack()
    active = gs.effective_masks(report.graph)["fc3.weight"].numpy()
    with opened(browser, digits) as page:
        page.click("#layer-2 button")
        pixels = page.eval_on_selector("#detail canvas", PIXELS)
        ground, alive, dead = (pixels[int(mask.ravel().argmax())] for mask in (~kept, active, kept & ~active))
        assert len({ground, alive, dead}) == 3 and dead == "213 94 0" and alive == "0 114 178"
        wanted = [alive if a else dead if k else ground for k, a in zip(kept.ravel(), active.ravel())]
        assert pixels == wanted
        page.click("#detail [data-order=sorted]")
        rows, columns = (-kept.sum(1)).argsort(kind="stable"), (-kept.sum(0)).argsort(kind="stable")
        after = page.eval_on_selector("#detail canvas", PIXELS)
        assert after == [wanted[row * kept.shape[1] + column] for row in rows for column in columns]
        page.emulate_media(color_scheme="dark")
        until(page, f"first => ({PIXELS})(document.querySelector('#detail canvas'))[0] !== first", after[0])


def test_the_curve_has_its_line_and_the_checkpoints_point(browser, digits):
    with opened(browser, digits) as page:
        assert page.locator("#curve path.curve").count() == 1 and page.locator("#curve circle.point").count() == 1
        assert "200× direct, 249× effective" in page.locator("#curve svg").inner_html()
        assert page.locator("#curve table tr").count() > 10


def test_the_flow_goes_from_layers_to_channels_to_units(browser, digits):
    with opened(browser, digits) as page:
        assert page.locator("#flow .node").count() == 4 and page.locator("#flow path.line").count() == 3
        assert page.locator("#flow [data-level=modules]").count() == 0  # each layer is a module of its own
        page.click("#flow [data-level=units]")
        page.wait_for_selector("#flow canvas[data-drawn=yes]")
        canvas = page.locator("#flow canvas")
        assert canvas.evaluate(WARM)
        assert canvas.get_attribute("data-edges") == "251" and "202 active" in page.inner_text("#flow-said")
        before = canvas.evaluate(PICTURE)
        page.click("#flow [data-zoom=in]")
        page.wait_for_selector("#flow canvas[data-drawn=yes]")
        assert canvas.evaluate(PICTURE) != before
        page.click("#flow [data-zoom=fit]")
        page.wait_for_selector("#flow canvas[data-drawn=yes]")
        assert canvas.evaluate(PICTURE) == before
        page.click("#flow [data-level=layers]")
        page.click("#flow .node >> nth=2")
        assert page.inner_text("tr[aria-current] .name") == "fc2.weight" and "100 units" in page.inner_text(
            "#flow-chosen"
        )


def test_the_wheel_scrolls_the_page_and_zooms_with_ctrl(browser, digits):
    with opened(browser, digits) as page:
        page.locator("#flow-picture").scroll_into_view_if_needed()
        box = page.locator("#flow-picture").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        before, at = page.get_attribute("#flow svg > g", "transform"), page.evaluate("scrollY")
        page.mouse.wheel(0, 60)
        until(page, "at => scrollY > at", at)
        assert page.get_attribute("#flow svg > g", "transform") == before
        page.keyboard.down("Control")
        page.mouse.wheel(0, -200)
        until(page, "was => document.querySelector('#flow svg > g').getAttribute('transform') !== was", before)


def swipe(page, across: float, down: float, fingers: int) -> None:
    """Fingers that start on the middle of the flow and move together, in small steps."""
    box, touch = page.locator("#flow-picture").bounding_box(), page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for step in range(9):
        points = [{"x": x + 40 * n + across * step / 8, "y": y + down * step / 8, "id": n} for n in range(fingers)]
        kind = "touchMove" if step else "touchStart"
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_timeout(20)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.mark.parametrize("level", ["layers", "units"])
def test_one_finger_moves_what_is_zoomed_in_and_two_scroll_the_page(browser, digits, level):
    with opened(browser, digits, width=390, has_touch=True, is_mobile=True) as page:
        page.tap(f"#flow [data-level={level}]")
        page.evaluate("document.getElementById('flow').scrollIntoView()")
        picture = lambda: page.locator("#flow canvas, #flow svg").evaluate(
            "each => each.matches('canvas') ? each.toDataURL() : each.firstChild.getAttribute('transform').replace(/\\.\\d+/g, '')"
        )
        still, at = picture(), page.evaluate("scrollY")
        swipe(page, 0, -80, fingers=1)
        until(page, "at => scrollY > at + 40", at)
        assert picture() == still

        def other(than: str) -> str:  # what is drawn once it is drawn: twice the same, and not what it was
            found = [picture()]
            while len(found) < 100 and (found[-1] == than or found[-2:-1] != found[-1:]):
                page.wait_for_timeout(50)
                found.append(picture())
            return found[-1]

        page.tap("#flow [data-zoom=in]")
        zoomed = other(than=still)
        page.evaluate("document.getElementById('flow-picture').scrollIntoView({block: 'center'})")
        page.wait_for_timeout(300)  # the page may still move from the swipe before
        at = page.evaluate("scrollY")
        swipe(page, 50, -30, fingers=1)
        still = other(than=zoomed)
        assert still != zoomed and page.evaluate("scrollY") == at
        swipe(page, 0, 80, fingers=2)
        assert picture() == still and page.evaluate("scrollY") == at - 80


def test_what_is_fragile_is_drawn_on_the_flow(browser, digits):
    with opened(browser, digits) as page:
        assert page.locator("#flow path.marked").count() == 0
        page.click("[data-show=path]")
        assert page.locator("#flow path.marked").count() == 3
        page.click("#flow [data-level=units]")
        page.wait_for_selector("#flow canvas[data-drawn=yes]")
        assert page.locator("#flow canvas").evaluate(SEVERE)
        page.click("#flow-fragile [data-fragile=none]")
        page.wait_for_selector("#flow canvas[data-drawn=yes]")
        assert not page.locator("#flow canvas").evaluate(SEVERE)


@pytest.fixture(scope="module")
def deep(tmp_path_factory) -> Path:
    """A network of 50 layers in 5 modules, so that the flow begins with modules."""
    block = lambda: nn.Sequential(*(layer for _ in range(10) for layer in (nn.Linear(6, 6), nn.ReLU())))
    model = nn.Sequential(*(nn.Sequential(block()) for _ in range(5)))
    path = tmp_path_factory.mktemp("pages") / "deep.html"
    gs.analyze(model, torch.zeros(1, 6)).to_html(path)
    return path


def test_a_module_opens_into_its_layers_by_keyboard(browser, deep):
    with opened(browser, deep) as page:
        assert page.locator("#flow .node").count() == 6
        page.focus("#flow-picture")
        for _ in range(2):
            page.keyboard.press("ArrowRight")
        assert page.inner_text("#flow-chosen").startswith("0.0") and "60 units" in page.inner_text("#flow-chosen")
        page.keyboard.press("Enter")
        assert page.locator("#flow .node").count() == 10 and "The 10 layers of 0.0" in page.inner_text("#flow-said")
        page.click("#flow-said button")
        assert page.locator("#flow .node").count() == 51
        transform = page.get_attribute("#flow svg > g", "transform")
        page.focus("#flow-picture")
        page.keyboard.press("+")
        assert page.get_attribute("#flow svg > g", "transform") != transform
        page.click("#flow [data-level=units]")
        page.wait_for_selector("#flow canvas[data-drawn=yes]")
        assert not page.locator("#flow canvas").evaluate(WARM)  # everything is active


def drawn(page) -> tuple[int, int]:
    """Points and edges of a canvas, once it is drawn."""
    page.wait_for_selector("#flow canvas[data-drawn=yes]")
    points, edges = (int(page.get_attribute("#flow canvas", f"data-{part}") or 0) for part in ("points", "edges"))
    return points, edges


def test_channels_and_units_of_one_module_and_of_one_layer_are_opened(browser, deep):
    """Each module has 10 layers of 6 units, all joined: what leads into it, and the layer before it."""
    with opened(browser, deep) as page:
        page.click("#flow .node >> nth=2")
        assert page.locator("#flow-chosen button").all_inner_texts() == [
            "Open its layers", "Open its channels", "Open its units",
        ]  # fmt: skip
        page.click("text=Open its channels")
        assert drawn(page) == (66, 360)
        assert "What leads into 1.0: 66 channels" in page.inner_text("#flow-said")
        assert page.get_attribute("#flow canvas", "aria-label").startswith("1.0: 66 channels and 360 edges")
        page.click("#flow [data-level=units]")
        assert drawn(page) == (66, 360)
        page.click("#flow-said button")
        assert drawn(page) == (306, 1800)
        page.click("#flow [data-level=modules]")
        page.click("#flow .node >> nth=2")
        page.keyboard.press("Tab")
        page.focus("#flow-picture")
        for key in ("Enter", "ArrowRight", "ArrowRight", "Enter"):  # the module, its third layer, its channels
            page.keyboard.press(key)
        assert drawn(page) == (12, 36) and "What leads into 1.0.4: 12 channels" in page.inner_text("#flow-said")
        before = page.locator("#flow canvas").evaluate(PICTURE)
        page.keyboard.press("ArrowDown")
        until(page, "was => document.querySelector('#flow canvas').toDataURL() !== was", before)
        page.keyboard.press("Escape")
        assert "The 10 layers of 1.0" in page.inner_text("#flow-said")
        page.keyboard.press("Escape")
        assert page.locator("#flow .node").count() == 6 and page.locator("#flow-said button").count() == 0


def test_a_flow_that_is_wider_than_a_phone_is_scrolled_to_what_is_chosen(browser, deep):
    with opened(browser, deep, width=390) as page:
        page.click("#flow [data-level=layers]")
        page.focus("#flow-picture")
        for _ in range(40):
            page.keyboard.press("ArrowRight")
        seen = page.locator("#flow .node.chosen .frame").bounding_box()
        assert 0 < seen["x"] < 390 and page.evaluate("document.getElementById('flow-picture').scrollLeft") > 100
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_graph_at_the_limit_is_drawn_unit_by_unit(browser, tmp_path):
    """10^5 edges; one more and it says why not. The page itself is there at once: it draws piece by piece."""
    gs.analyze({"a.weight": torch.ones(250, 400)}, "chain").to_html(tmp_path / "at.html")
    gs.analyze({"a.weight": torch.ones(250, 400), "b.weight": torch.eye(250)[:1]}, "chain").to_html(
        tmp_path / "over.html"
    )
    with opened(browser, tmp_path / "at.html") as page:
        page.click("#flow [data-level=units]")
        assert page.get_attribute("#flow canvas", "data-drawn") == "no"
        page.wait_for_selector("#flow canvas[data-drawn=yes]")
        assert page.get_attribute("#flow canvas", "data-edges") == "100000"
        page.click("#flow [data-level=layers]")
    with opened(browser, tmp_path / "over.html") as page:
        assert page.locator("#flow [data-level=units]").count() == 0
        assert "100,001 edges, more than 100,000" in page.inner_text("#flow")


def test_print_is_light_and_without_what_only_a_screen_can_use(browser, digits):
    with opened(browser, digits, color_scheme="dark") as page:
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert (
            not page.is_visible("nav") and not page.is_visible("#layers-search") and page.is_visible("#detail canvas")
        )
        assert page.evaluate("getComputedStyle(document.querySelector('.tall')).overflowY") == "visible"
        assert page.evaluate(CONTRAST) == []


def test_outputs_before_and_after_are_told(browser, digits):
    with opened(browser, digits) as page:
        assert re.search(
            r"49 dead connections were dropped .* differ by at most \d\.\de-1\d", page.inner_text("#coverage")
        )


def test_every_picture_has_words_and_every_link_a_place(browser, digits, deep):
    for file in (digits, deep):
        with opened(browser, file) as page:
            wordless = "all => all.filter(e => !e.getAttribute('aria-label') && !e.closest('[aria-label]')).map(e => e.outerHTML.slice(0, 80))"
            assert page.eval_on_selector_all("svg, canvas", wordless) == []
            links = page.eval_on_selector_all("a[href^='#']", "all => all.map(e => e.getAttribute('href').slice(1))")
            assert links and not [link for link in links if page.locator(f"[id='{link}']").count() != 1]


def test_a_page_is_read_from_a_name_that_needs_quoting(browser, tmp_path):
    path = tmp_path / "a page#1?.html"
    gs.analyze({"a.weight": torch.zeros(3, 0).reshape(3, 0), "b.weight": torch.ones(2, 2)}, "none").to_html(path)
    with opened(browser, path) as page:
        assert column(page, 0) == ["a.weight", "b.weight"]
