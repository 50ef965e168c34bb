"""The report on paper: short, no page nearly empty, nothing torn from its title."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from browsing import NEEDED, chromium

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

pytestmark = NEEDED

MOST_PAGES = 60
"""Pages of the print of the small cohort."""
LEAST = 0.45
"""Share of each page but the last that is filled."""
MILLIMETRE = 72 / 25.4
HEAD, FOOT = 16 * MILLIMETRE, (297 - 17) * MILLIMETRE
"""Where text begins and ends on A4, in points."""

Word = tuple[str, float, float]


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """The page of the small cohort, nothing of it opened."""
    import report_fixtures as fixtures
    from stratiome.report.page import render

    with chromium() as browser:
        made = browser.new_page()
        made.set_content(render(fixtures.inputs("demo")))
        yield made


@pytest.fixture(scope="module")
def printed(page: Any, tmp_path_factory: pytest.TempPathFactory) -> list[list[Word]]:
    """Words of each page of the print, each with its upper and lower end in points."""
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext (poppler) on this machine")
    return words(page, tmp_path_factory.mktemp("print") / "page.pdf")


def words(page: Any, path: Path) -> list[list[Word]]:
    page.pdf(path=path, format="A4", print_background=True)
    text = subprocess.run(["pdftotext", "-bbox", path, "-"], capture_output=True, text=True, check=True).stdout
    word = re.compile(r'<word xMin="[^"]*" yMin="([^"]*)" xMax="[^"]*" yMax="([^"]*)">([^<]*)</word>')
    return [[(unescape(w[3]), float(w[1]), float(w[2])) for w in word.finditer(p)] for p in text.split("<page ")[1:]]


def between(page: list[Word], top: float, bottom: float) -> str:
    return " ".join(text for text, upper, lower in page if top <= upper and lower <= bottom)


def test_a_print_is_short_and_has_no_empty_pages(printed: list[list[Word]]) -> None:
    assert len(printed) <= MOST_PAGES
    ends = [max(lower for _, upper, lower in page if upper >= HEAD and lower <= FOOT + 2) for page in printed]
    filled = [(end - HEAD) / (FOOT - HEAD) for end in ends]
    assert {i: round(f, 2) for i, f in enumerate(filled[:-1], 1) if f < LEAST} == {}


def test_a_print_has_numbers_of_pages_and_its_title_in_the_margins(printed: list[list[Word]]) -> None:
    end = 297 * MILLIMETRE
    assert [between(p, FOOT, end) for p in printed] == [f"{i} / {len(printed)}" for i in range(1, len(printed) + 1)]
    titles = {between(p, 0, HEAD) for p in printed[1:]}
    assert len(titles) == 1
    assert titles.pop()
    assert not between(printed[0], 0, HEAD)


def test_a_print_begins_with_the_contents_and_says_what_it_leaves_out(printed: list[list[Word]]) -> None:
    first, whole = (" ".join(text for page in part for text, _, _ in page) for part in (printed[:1], printed))
    assert "Calibration: do predicted risks come true?" in first
    assert "Software versions (in the page, not printed; open it there to have it printed)" in whole
    assert "Explore:" not in whole
    assert "Single out" not in whole


def test_no_heading_or_title_ends_a_page(page: Any, printed: list[list[Word]]) -> None:
    titles = page.locator("h2, h3, h4, figure .title, caption").evaluate_all(
        "all => all.map(e => e.textContent.trim())"
    )
    ends = [between(p, HEAD, FOOT + 2) for p in printed]
    assert [title for title in map(" ".join, map(str.split, titles)) if any(end.endswith(title) for end in ends)] == []
