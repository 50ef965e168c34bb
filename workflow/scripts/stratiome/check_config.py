"""Say what is wrong with the text of config files, and where: `python -m stratiome.check_config my_cohort.yaml`.

Snakemake reads them before the workflow does, and tells neither the line of a mistake nor, of several files, which.
What the config asks for is checked when the workflow starts.

Exit codes: 0 = all can be read, 1 = some cannot, 2 = a wrong command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stratiome.config import ConfigError
from stratiome.sweep import merged
from stratiome.yaml_file import read_config


def results(files: Sequence[Path]) -> str:
    """Folder of the results of a config, or of a sweep; of several files, what a later one says counts."""
    whole: dict[str, Any] = {}
    for path in files:
        whole = merged(whole, read_config(path))
    return str(whole.get("results") or f"results/{whole.get('sweep', whole.get('cohort', ''))}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the files, print what is wrong, and return the exit code."""
    parser = argparse.ArgumentParser(prog="check_config", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("files", type=Path, nargs="+", help="config files, as they are given to the workflow")
    parser.add_argument("--results", action="store_true", help="print where the results go")
    asked = parser.parse_args(arguments)
    try:
        folder = results(asked.files)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    if asked.results:
        print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
