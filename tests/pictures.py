"""Take the pictures of the README anew, from the results of the demo: `python tests/pictures.py results/demo`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import browsing
from conftest import ROOT

WIDTH = 1280


def first_screen(page: Any) -> None:
    """The answers, as the report opens."""
    page.screenshot(path=str(ROOT / "resources/report.png"), clip={"x": 0, "y": 0, "width": WIDTH, "height": 1290})


def chart(page: Any) -> None:
    """Survival of the held-out subgroups, opened to read values off."""
    place = page.locator(".explore", has=page.get_by_role("button", name="survival of the subgroups"))
    place.locator("> button").click()
    place.locator(".main-svg").first.wait_for()
    box = place.locator(".plot").bounding_box()
    page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.3 * box["height"])
    place.locator(".hoverlayer text").first.wait_for()
    place.screenshot(path=str(ROOT / "resources/gallery/chart.png"))


def figure(page: Any, title: str, name: str) -> None:
    """A figure with its title and caption."""
    page.locator("figure", has=page.locator(".title", has_text=title)).first.screenshot(
        path=str(ROOT / f"resources/gallery/{name}.png")
    )


def main() -> None:
    """Write all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    report = parser.parse_args().results.resolve() / "report.html"
    (ROOT / "resources/gallery").mkdir(parents=True, exist_ok=True)
    with browsing.chromium() as browser:
        page, _, _ = browsing.opened(browser, report.as_uri(), WIDTH)
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = false })")
        first_screen(page)
        figure(page, "Effect in each subgroup", "treatment")
        figure(page, "Calibration at", "calibration")
        figure(page, "From the files to the report", "rules")
        chart(page)


if __name__ == "__main__":
    main()
