"""How large a finished report is, and how soon a browser shows it.

    python tests/benchmarks/report_opening.py results/metabric [--runs 5]

Times are of Chromium without a cache, from a file; the first chart is timed from the press of its button.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import browsing

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def opened(browser, address: str) -> tuple[float, float]:
    """Milliseconds to the first paint, and from the press of a button to its chart."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address)
    paint = float(page.evaluate(PAINT))
    asked = page.locator(".explore > button").first
    asked.scroll_into_view_if_needed()
    start = time.perf_counter()
    asked.click()
    page.locator(".plot .main-svg").first.wait_for()
    chart = 1000 * (time.perf_counter() - start)
    context.close()
    return paint, chart


def sheets(browser, address: str) -> int:
    """Pages of the print."""
    page = browser.new_page()
    page.goto(address)
    printed = page.pdf(format="A4", print_background=True, prefer_css_page_size=True)
    page.close()
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", printed))


def main() -> None:
    """Print a row for each page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    print("| page | MB | first paint, ms (median, worst) | first chart, ms (median, worst) | pages of A4 |")
    print("| --- | --- | --- | --- | --- |")
    with browsing.chromium() as browser:
        for name in ("report.html", "report_public.html"):
            path = (given.results / name).resolve()
            paints, charts = zip(*(opened(browser, path.as_uri()) for _ in range(given.runs)), strict=True)
            told = [f"{statistics.median(t):,.0f}, {max(t):,.0f}" for t in (paints, charts)]
            size = path.stat().st_size / 1e6
            print(f"| {name} | {size:.1f} | {told[0]} | {told[1]} | {sheets(browser, path.as_uri())} |")


if __name__ == "__main__":
    main()
