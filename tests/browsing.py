"""A headless Chromium that looks at pages of the workflow: what tests in several folders share.

Pictures land in `.artefacts/` (or the folder that `STRATIOME_ARTEFACTS` names), where CI keeps them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
NEEDED = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ARTEFACTS = Path(os.environ.get("STRATIOME_ARTEFACTS", ROOT / ".artefacts"))


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser."""
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


def opened(
    browser: Any, address: str, width: int = 1280, scheme: str = "light", scripts: bool = True
) -> tuple[Any, list[str], list[str]]:
    """A page with everything unfolded, what it said on the console, and what it asked for beside itself."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
    )
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    if scripts:
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    return page, said, [a for a in asked if a != address and not a.startswith("data:")]


def broken_rules(browser: Any, address: str, width: int = 1280, scheme: str = "light") -> list[tuple[str, str]]:
    """Rules of WCAG and of good practice that the axe engine finds broken, everything unfolded, each with a place."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    found = axe.Axe().run(page).response
    assert len(found["passes"]) > 30
    context.close()
    return [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]]


def explored(page: Any) -> list[str]:
    """Open every chart of a page, and try each of its controls once.

    Returns
    -------
    list of str
        Titles of the charts.
    """
    titles = []
    for place in page.locator(".explore").all():
        asked = place.locator("> button")
        titles.append(asked.inner_text())
        asked.press("Enter")
        place.locator(".main-svg").first.wait_for()
        assert asked.get_attribute("aria-expanded") == "true"
        _try_controls(page, place)
        asked.press("Enter")
        assert asked.get_attribute("aria-expanded") == "false"
        assert not place.locator(".board").is_visible()
    return titles


def _try_controls(page: Any, place: Any) -> None:
    lines = place.locator(".scatterlayer .trace")
    before = lines.count()
    for box in place.locator("input").all():
        box.press("Space")
        assert not box.is_checked()
        _until(page, lambda: lines.count() < before)
        box.press("Space")
        _until(page, lambda: lines.count() == before)
    span = "p => p.querySelector('.plot')._fullLayout.xaxis.range"
    start = place.evaluate(span)
    for name, wider in (("Zoom in", -1), ("Zoom out", 1), ("Zoom out", 1)):
        from_, to = place.evaluate(span)
        place.get_by_role("button", name=name).press("Enter")
        _until(page, lambda w=wider, a=from_, b=to: w * (_width(place.evaluate(span)) - (b - a)) > 0)
    place.get_by_role("button", name="Whole").press("Enter")
    _until(page, lambda: place.evaluate(span) == pytest.approx(start, abs=1e-6))


def _width(ends: list[float]) -> float:
    return ends[1] - ends[0]


def _until(page: Any, holds: Any, most_ms: int = 5000) -> None:
    for _ in range(most_ms // 50):
        if holds():
            return
        page.wait_for_timeout(50)
    assert holds()


def picture(page: Any, name: str, full: bool = False) -> Path:
    """Keep what a page looks like."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    path = ARTEFACTS / f"{name}.png"
    page.screenshot(path=str(path), full_page=full)
    return path


def printed(page: Any, name: str) -> Path:
    """Keep what a page looks like on paper."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    path = ARTEFACTS / f"{name}.pdf"
    page.pdf(path=str(path), format="A4", print_background=True, prefer_css_page_size=True)
    return path
