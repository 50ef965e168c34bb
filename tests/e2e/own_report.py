"""Snakemake's own report of a run: made without network, looked at as a user does."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from conftest import snakemake

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
OFFLINE = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
"""A network on which nothing answers."""


def unpacked(folder: Path, config: Path) -> Path:
    """Make `report.zip` of the run in a folder, and unpack it."""
    done = snakemake("--report", "report.zip", "--configfile", str(config), cwd=folder, env=OFFLINE)
    assert done.returncode == 0, done.stderr[-4000:]
    with zipfile.ZipFile(folder / "report.zip") as packed:
        packed.extractall(folder / "unpacked")
    return folder / "unpacked" / "report"


def seen(page: Path, category: str, figure: str) -> tuple[str, list[str], list[str]]:
    """What a browser shows of a figure and says of it, what it asked the network for, and its errors.

    Parameters
    ----------
    page
        The report.
    category, figure
        What is clicked on.
    """
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    errors: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(page.as_uri())
        tab.get_by_text(category, exact=True).first.click()
        tab.get_by_text("svg", exact=True).click()
        row = tab.get_by_role("row").filter(has_text=figure)
        row.get_by_role("button").or_(row.locator("a")).last.click()
        tab.wait_for_timeout(500)
        told = tab.inner_text("body")
        browser.close()
    return told, [a for a in asked if not a.startswith(("file:", "data:", "blob:"))], errors
