"""The report in a real browser: quiet, complete, and readable on a phone."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from browsing import NEEDED, broken_rules, chromium, explored, opened, picture

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

pytestmark = NEEDED


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    import report_fixtures as fixtures
    from stratiome.report import run_page
    from stratiome.report.page import render
    from test_report_run import RULES, measured

    folder = tmp_path_factory.mktemp("report")
    found = {}
    for case in fixtures.CASES:
        path = folder / f"{case}.html"
        path.write_text(render(replace(fixtures.inputs(case), rules=RULES)), encoding="utf-8")
        found[case] = path.as_uri()
    path = folder / "run.html"
    path.write_text(run_page.render(measured()), encoding="utf-8")
    found["run"] = path.as_uri()
    path = folder / "public.html"
    path.write_text(render(replace(fixtures.inputs("demo"), public=True)), encoding="utf-8")
    found["public"] = path.as_uri()
    return found


@pytest.mark.parametrize("case", ["demo", "null", "survival_only", "public", "run"])
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
    assert page.locator(".verdict").count() == 5  # subgroups, omics, treatment, sites, groups of patients
    sizes = page.evaluate("[...document.querySelectorAll('svg')].map(s => [s.clientWidth, s.clientHeight])")
    assert len(sizes) > 15
    assert all(width > 100 and height > 50 for width, height in sizes)
    assert page.locator("article.verdict").first.bounding_box()["y"] < 400
    page.context.close()


@pytest.mark.parametrize("case", ["demo", "null", "survival_only", "run"])
@pytest.mark.parametrize("width", [320, 390, 820, 1280])
def test_page_never_scrolls_sideways(browser: Any, pages: dict[str, str], case: str, width: int) -> None:
    page, _, _ = opened(browser, pages[case], width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.context.close()


@pytest.mark.parametrize("case", ["demo", "run"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser: Any, pages: dict[str, str], scheme: str, case: str) -> None:
    """WCAG AA (4.5:1) for every piece of text of the page and of its figures against what is behind it."""
    page, _, _ = opened(browser, pages[case], scheme=scheme)
    low = page.evaluate("""() => {
          const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
          const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
              const light = c => { const f = c.slice(0, 3).map(v => linear(v / 255));
                               return .2126 * f[0] + .7152 * f[1] + .0722 * f[2] };
          const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
                                if (c.length === 3 || c[3] > 0) return c } return [255, 255, 255] };
          const found = [];
          const kinds = 'p, dt, dd, td, th, h1, h2, h3, a, span, li, summary, figcaption, caption, button, svg text';
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


@pytest.mark.parametrize("case", ["demo", "null", "public", "run"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Any, pages: dict[str, str], case: str, scheme: str) -> None:
    assert broken_rules(browser, pages[case], scheme=scheme) == []


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


@pytest.mark.parametrize(("case", "width", "scheme"), [("demo", 1280, "light"), ("public", 390, "dark")])
def test_every_chart_and_control_works_by_keyboard(
    browser: Any, pages: dict[str, str], case: str, width: int, scheme: str
) -> None:
    page, said, asked = opened(browser, pages[case], width, scheme)
    titles = explored(page)
    assert len(titles) >= 8
    assert len(set(titles)) == len(titles)
    assert (said, asked) == ([], [])
    page.locator(".explore > button").first.press("Enter")
    page.locator(".plot").first.scroll_into_view_if_needed()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture(page, f"chart-{case}-{width}-{scheme}")
    page.context.close()


def test_a_chart_tells_the_numbers_of_a_point(browser: Any, pages: dict[str, str]) -> None:
    page, _, _ = opened(browser, pages["demo"])
    place = page.locator(".explore", has=page.get_by_role("button", name="survival of the subgroups"))
    place.locator("> button").click()
    place.locator(".main-svg").first.wait_for()
    box = place.locator(".plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    place.locator(".hoverlayer text").first.wait_for()
    told = " ".join(place.locator(".hoverlayer text").all_text_contents())
    assert re.search(r"\d+ months", told)
    for group in (1, 2, 3):
        assert re.search(rf"Subgroup {group}: \d+\.\d % \(\d+\.\d % to \d+\.\d %\), \d+ at risk", told)
    page.context.close()


def test_without_scripts_there_are_pictures_and_no_buttons(browser: Any, pages: dict[str, str]) -> None:
    page, _, _ = opened(browser, pages["demo"], scripts=False)
    assert page.locator("figure svg").count() > 15
    assert not any(b.is_visible() for b in page.locator(".explore").all())
    page.context.close()


def test_charts_are_not_printed(browser: Any, pages: dict[str, str]) -> None:
    page, _, _ = opened(browser, pages["demo"])
    page.locator(".explore > button").first.click()
    page.locator(".plot .main-svg").first.wait_for()
    page.emulate_media(media="print")
    assert not any(e.is_visible() for e in page.locator(".explore").all())
    page.context.close()


def test_no_script_that_was_put_in_runs(browser: Any, pages: dict[str, str], tmp_path: Path) -> None:
    text = Path(pages["demo"].removeprefix("file://")).read_text(encoding="utf-8")
    planted = tmp_path / "planted.html"
    planted.write_text(text.replace("</main>", "<script>document.title = 'run'</script></main>"), encoding="utf-8")
    page, said, _ = opened(browser, planted.as_uri())
    assert page.title() != "run"
    assert any("Content Security Policy" in text for text in said)
    page.context.close()


def test_open_charts_are_as_accessible(browser: Any, pages: dict[str, str]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    context = browser.new_context(viewport={"width": 1280, "height": 900}, bypass_csp=True)
    page = context.new_page()
    page.goto(pages["demo"])
    for place in page.locator(".explore").all()[:3]:
        place.locator("> button").click()
        place.locator(".main-svg").first.wait_for()
    found = axe.Axe().run(page).response
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]] == []
    context.close()


def test_the_contents_name_the_parts_of_the_section_in_view(browser: Any, pages: dict[str, str]) -> None:
    page, _, _ = opened(browser, pages["demo"])
    part = page.locator(".toc a[href='#prognosis-calibration']")
    assert not part.is_visible()
    page.evaluate("document.querySelector('#prognosis').scrollIntoView({behavior: 'instant'})")
    part.wait_for(state="visible")
    part.press("Enter")
    assert page.evaluate("location.hash") == "#prognosis-calibration"
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    part.wait_for(state="hidden")
    page.locator(".toc a[href='#prognosis']").focus()
    part.wait_for(state="visible")
    page.context.close()


def test_a_narrow_page_names_its_parts_where_they_begin(browser: Any, pages: dict[str, str]) -> None:
    page, _, _ = opened(browser, pages["demo"], 390)
    assert page.locator("#prognosis .parts a[href='#prognosis-calibration']").is_visible()
    assert not page.locator(".toc a[href='#prognosis-calibration']").is_visible()
    page.context.close()
