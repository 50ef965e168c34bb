"""The report in a real browser: quiet, complete, and readable on a phone."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    import report_fixtures as fixtures
    from stratiome.report.page import render

    folder = tmp_path_factory.mktemp("report")
    found = {}
    for case in fixtures.CASES:
        path = folder / f"{case}.html"
        path.write_text(render(fixtures.inputs(case)), encoding="utf-8")
        found[case] = path.as_uri()
    path = folder / "public.html"
    path.write_text(render(replace(fixtures.inputs("demo"), public=True)), encoding="utf-8")
    found["public"] = path.as_uri()
    return found


def opened(browser: Any, address: str, width: int = 1280, scheme: str = "light") -> tuple[Any, list[str], list[str]]:
    """A page, what it said on the console, and what it asked for beside itself."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    return page, said, [a for a in asked if a != address and not a.startswith("data:")]


@pytest.mark.parametrize("case", ["demo", "null", "survival_only", "public"])
def test_quiet_and_self_contained(browser: Any, pages: dict[str, str], case: str) -> None:
    page, said, asked = opened(browser, pages[case])
    assert said == []
    assert asked == []
    page.context.close()


def test_all_sections_and_figures_are_seen(browser: Any, pages: dict[str, str]) -> None:
    page, _, _ = opened(browser, pages["demo"])
    for anchor in (
        "verdicts",
        "cohort",
        "quality",
        "subgroups",
        "prognosis",
        "treatment",
        "travel",
        "limitations",
        "truth",
        "methods",
        "guidelines",
        "provenance",
    ):
        assert page.locator(f"section#{anchor}").is_visible()
        assert page.locator(f"nav a[href='#{anchor}']").is_visible()
    assert page.locator(".verdict").count() == 4
    sizes = page.evaluate("[...document.querySelectorAll('svg')].map(s => [s.clientWidth, s.clientHeight])")
    assert len(sizes) > 15
    assert all(width > 100 and height > 50 for width, height in sizes)
    assert page.locator("article.verdict").first.bounding_box()["y"] < 400
    page.context.close()


@pytest.mark.parametrize("case", ["demo", "null", "survival_only"])
@pytest.mark.parametrize("width", [320, 390, 820, 1280])
def test_page_never_scrolls_sideways(browser: Any, pages: dict[str, str], case: str, width: int) -> None:
    page, _, _ = opened(browser, pages[case], width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser: Any, pages: dict[str, str], scheme: str) -> None:
    """WCAG AA (4.5:1) for every piece of text of the page and of its figures against what is behind it."""
    page, _, _ = opened(browser, pages["demo"], scheme=scheme)
    low = page.evaluate("""() => {
          const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
          const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
              const light = c => { const f = c.slice(0, 3).map(v => linear(v / 255));
                               return .2126 * f[0] + .7152 * f[1] + .0722 * f[2] };
          const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
                                if (c.length === 3 || c[3] > 0) return c } return [255, 255, 255] };
          const found = [];
          const kinds = 'p, dt, dd, td, th, h1, h2, h3, a, span, li, summary, figcaption, caption, svg text';
              for (const e of document.querySelectorAll(kinds)) {
            if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
            const style = getComputedStyle(e);
            const a = light(rgb(e.closest('svg') ? style.fill : style.color)), b = light(behind(e));
            const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
            if (ratio < 4.5) found.push(e.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
          }
          return found }""")
    assert low == []
    page.context.close()


@pytest.mark.parametrize("case", ["demo", "null", "public"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, pages: dict[str, str], case: str, scheme: str) -> None:
    """WCAG rules and good practice as the axe engine checks them, everything unfolded."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(pages[case])
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    found = axe.Axe().run(page).response
    assert len(found["passes"]) > 30
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]] == []
    context.close()


def test_links_lead_to_their_sections_by_keyboard(browser: Any, pages: dict[str, str]) -> None:
    page, _, _ = opened(browser, pages["demo"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.locator("nav a[href='#treatment']").press("Enter")
    assert page.evaluate("location.hash") == "#treatment"
    page.context.close()


def test_a_subgroup_is_singled_out_by_keyboard(browser: Any, pages: dict[str, str]) -> None:
    page, said, _ = opened(browser, pages["demo"])
    page.add_style_tag(content=".dots { transition: none !important; }")

    def seen(group: int) -> list[float]:
        get = "marks => marks.map(m => Number(getComputedStyle(m).opacity))"
        return page.locator(f".explorer .dots.g{group}").evaluate_all(get)

    assert min(seen(1) + seen(2) + seen(3)) > 0.5
    page.locator(".choose input").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert min(seen(2)) > 0.5
    assert max(seen(1) + seen(3)) < 0.1
    titles = page.locator(".explorer title").evaluate_all("all => all.map(t => t.textContent)")
    assert set(titles) <= {
        *(f"{kind} {g}" for kind in ("Subgroup", "Planted subgroup") for g in (1, 2, 3)),
        "Unassigned",
    }
    assert said == []
    page.context.close()
