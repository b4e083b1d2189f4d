"""A real Chromium for pages: one for all tests, and pages that say nothing wrong and ask nobody."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
REQUIRED = os.environ.get("GRAPHSPARSE_BROWSER") == "required"
"""Whether a test that finds no browser fails, as in the project's own checks (`.ci/run`), or is skipped."""


def chromium() -> str:
    """The path of a Chromium. Skips the test where there is none, unless one is required."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None and REQUIRED:
        pytest.fail("a browser is required here: install Debian's package chromium")
    return found or pytest.skip("no Chromium here")


@contextmanager
def running() -> Iterator[Browser]:
    """A browser with a profile of its own."""
    path = chromium()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, file: Path, width: int = 1280, **settings: Any) -> Iterator[Page]:
    """A page in a window of its own. At the end: no error was thrown or printed, and nothing but the file was asked for."""
    context = browser.new_context(viewport={"width": width, "height": 844}, **settings)
    page, wrong, asked = context.new_page(), [], []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    yield page
    assert (wrong, asked) == ([], [file.as_uri()])
    context.close()


def until(page: Page, expression: str, argument: Any = None) -> None:
    """Wait until an expression is true. (Playwright's own way evaluates text inside the page, which its policy forbids.)"""
    for _ in range(500):
        if page.evaluate(expression, argument):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"never true: {expression}")


CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement, style = getComputedStyle(element);
    if (!node.textContent.trim() || !element.checkVisibility() || element.closest("script, style, .skip, option")) continue;
    const ink = numbers(element.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(element))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) faint.push([node.textContent.trim().slice(0, 40), (a + .05) / (b + .05)]);
  }
  return faint;
}"""
"""Texts whose contrast to what lies behind them is under 4.5, which is what WCAG asks of normal text."""
