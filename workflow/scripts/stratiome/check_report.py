"""Check every number of a report against the tables of its run: `python -m stratiome.check_report results/<cohort>`.

Exit codes: 0 = all agree, 1 = some do not, or the report cannot be checked, 2 = a wrong command.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from stratiome.report.check import Artefacts, Fault, check
from stratiome.report.check_figures import compare_rows

PAGES = ("report.html", "report_public.html")
KEPT = "report_numbers.json"
OF_SWEEP = ("summary.html",), "summary_numbers.json"
"""Pages of a sweep, and the file that tells where their numbers come from."""
FIGURES, SHARED = "figures", "figures_public"
SHOWN = 20
"""Faults that are printed."""


def main(arguments: list[str] | None = None) -> int:
    """Print what was compared and return the exit code."""
    parser = argparse.ArgumentParser(prog="check_report", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("results", type=Path, help="folder of the results, with report.html, or of a sweep")
    folder = parser.parse_args(arguments).results
    wrong = 0
    pages, kept = OF_SWEEP if (folder / OF_SWEEP[1]).is_file() else (PAGES, KEPT)
    for page in (folder / name for name in pages):
        try:
            traced, prose, faults = check(page, folder / kept)
        except (OSError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
            told = f"{page}: cannot be checked ({error}). Suggestion: run the workflow again; it makes what lacks"
            print(told, file=sys.stderr)
            return 1
        print(f"{page}: {traced:,} numbers from tables, {prose:,} of prose; {len(faults):,} do not agree")
        wrong += _say(faults)
    for name in (FIGURES, SHARED):
        if (folder / name).is_dir():
            try:
                wrong += _figures(folder, name, folder / kept)
            except (OSError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
                told = f"{folder / name}: cannot be checked ({error!r}). Suggestion: make the report again"
                print(told, file=sys.stderr)
                return 1
    return 1 if wrong else 0


def _figures(folder: Path, name: str, kept: Path) -> int:
    """Compare the rows of the figures of a folder, and return how many numbers do not agree."""
    said = json.loads(kept.read_text(encoding="utf-8"))
    least = int(said["min_cell"]) if name == SHARED else None
    found = compare_rows(folder / name, Artefacts(folder, said["tables"]), least)
    aside = [
        f"{found.merged:,} merged into steps of several events, each found at an earlier step" * bool(found.merged),
        f"{found.withheld:,} withheld" * bool(found.withheld),
        f"{found.elsewhere:,} rows of no table" * bool(found.elsewhere),
    ]
    told = "; ".join([f"{found.values:,} numbers of rows compared", *(a for a in aside if a)])
    print(f"{folder / name}: {told}; {len(found.faults):,} do not agree")
    return _say(found.faults)


def _say(faults: Sequence[Fault]) -> int:
    for fault in faults[:SHOWN]:
        print(f"  - {fault}", file=sys.stderr)
    return len(faults)


if __name__ == "__main__":
    sys.exit(main())
