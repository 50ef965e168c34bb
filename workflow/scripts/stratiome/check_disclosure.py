"""Look for what a report to share gives away: `python -m stratiome.check_disclosure results/<cohort>`.

Exit codes: 0 = nothing found, 1 = something is given away, or the page cannot be checked, 2 = a wrong command.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import polars as pl

from stratiome.report import disclosure_figures
from stratiome.report.check import Artefacts
from stratiome.report.disclosure_check import findable, leaks

PAGE, FIGURES = "report_public.html", "figures_public"
OF_SWEEP = "summary_numbers.json"
"""File that the results of a sweep have."""
SHOWN = 8
"""Findings of each kind that are printed."""


def main(arguments: list[str] | None = None) -> int:
    """Print what was found and return the exit code."""
    parser = argparse.ArgumentParser(prog="check_disclosure", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("results", type=Path, help=f"folder of the results, with {PAGE} and {FIGURES}")
    folder = parser.parse_args(arguments).results
    if (folder / OF_SWEEP).is_file():
        analyses = sorted(page.parent for page in folder.glob(f"*/*/{PAGE}"))
        print(f"{folder}: a sweep; its {len(analyses):,} analyses that have a page are looked at, the summary is not")
        return max((main([str(one)]) for one in analyses), default=1)
    try:
        page = (folder / PAGE).read_text(encoding="utf-8")
        said = json.loads((folder / "report_numbers.json").read_text(encoding="utf-8"))
        ids = pl.read_parquet(folder / "cohort" / "clinical.parquet", columns=["patient_id"])["patient_id"].to_list()
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        min_cell = int(manifest["config"]["audit"]["min_cell"])
        drawn = len(list((folder / FIGURES).iterdir()))
    except (OSError, ValueError, KeyError) as error:
        print(f"{folder}: cannot be checked ({error}). Suggestion: run the workflow to its end first", file=sys.stderr)
        return 1
    artefacts = Artefacts(folder, said["tables"])
    found = leaks(page, ids, min_cell, artefacts, artefacts.table)
    found += disclosure_figures.leaks(folder / FIGURES, disclosure_figures.Shared(page, ids, min_cell, artefacts))
    unknown = len(ids) - len(findable(map(str, ids)))
    aside = f"; {unknown:,} identifiers look like counts or short words and were not looked for" if unknown else ""
    print(f"{folder / PAGE} and {drawn:,} files of {FIGURES}: {len(found):,} findings{aside}")
    for kind in dict.fromkeys(leak.kind for leak in found):
        same = [leak for leak in found if leak.kind == kind]
        for leak in same[:SHOWN]:
            print(f"  - {leak}", file=sys.stderr)
        if len(same) > SHOWN:
            print(f"  - {kind}: {len(same) - SHOWN:,} more", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
