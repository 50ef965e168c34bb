"""Check every number of a report against the tables of its run: `python -m stratiome.check_report results/<cohort>`.

Exit codes: 0 = all agree, 1 = some do not, or the report cannot be checked, 2 = a wrong command.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stratiome.report.check import check

PAGES = ("report.html", "report_public.html")
KEPT = "report_numbers.json"
OF_SWEEP = ("summary.html",), "summary_numbers.json"
"""Pages of a sweep, and the file that tells where their numbers come from."""
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
        except (OSError, ValueError, KeyError) as error:
            told = f"{page}: cannot be checked ({error}). Suggestion: run the workflow again; it makes what lacks"
            print(told, file=sys.stderr)
            return 1
        print(f"{page}: {traced:,} numbers from tables, {prose:,} of prose; {len(faults):,} do not agree")
        for fault in faults[:SHOWN]:
            print(f"  - {fault}", file=sys.stderr)
        wrong += len(faults)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
