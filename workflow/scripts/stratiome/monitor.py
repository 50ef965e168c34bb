"""What a scheduler asks of a batch: `python -m stratiome.monitor results/<batch>/monitor/drift.parquet`.

In place of the table, the config of the batch will do, whose `results` folder holds it.

Exit codes: 0 = nothing drifted, 10 = inputs, missingness, scores or subgroups drifted, 20 = the outcome drifted, 30 =
both. 1 and 2 are failures: a table that cannot be read or in which nothing could be tested, and a wrong command.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import polars as pl
import yaml

from stratiome import tables
from stratiome.cohort.manifest import sha256
from stratiome.config import ConfigError, check_config
from stratiome.plan import clinical_file, omic_files

FAILED, INPUTS, OUTCOME = 1, 10, 20


def exit_code(drift: pl.DataFrame) -> int:
    """Exit code of a table of contract `Drift`, in which something was tested."""
    outcome = pl.col("part") == "outcome"
    flagged = drift.filter("flagged")
    return INPUTS * (flagged.filter(~outcome).height > 0) + OUTCOME * (flagged.filter(outcome).height > 0)


def said(drift: pl.DataFrame) -> str:
    """One line: what drifted, and whether the outcome was judged."""
    parts = drift.filter("flagged")["part"].value_counts().sort("count", "part", descending=[True, False])
    found = ", ".join(f"{part} ({n} of {drift.filter(part=part).height})" for part, n in parts.iter_rows())
    judged = drift.filter(pl.col("part") == "outcome", pl.col("p_value").is_not_null()).height > 0
    return (f"drifted: {found}" if found else "nothing drifted") + ("" if judged else "; the outcome was not judged")


def main(arguments: list[str] | None = None) -> int:
    """Print what drifted and return the exit code."""
    parser = argparse.ArgumentParser(prog="monitor", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("drift", type=Path, help="drift.parquet of the batch, or its config")
    path = parser.parse_args(arguments).drift
    try:
        path = _table(path)
        drift = tables.read_table(path, tables.Drift)
    except (OSError, ValueError, pl.exceptions.PolarsError, yaml.YAMLError) as error:
        told = str(error)
        print(told if told.startswith(str(path)) else f"{path}: {told}", file=sys.stderr)
        return FAILED
    if not drift["p_value"].count():
        print(f"{path}: nothing could be tested. Suggestion: wait for more patients", file=sys.stderr)
        return FAILED
    print(f"{path}: {said(drift)}")
    return exit_code(drift)


def _table(path: Path) -> Path:
    """The table of a config; a table stays what it is."""
    if path.suffix not in (".yaml", ".yml", ".json"):
        return path
    config, problems = check_config(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    if config is None:
        raise ConfigError(problems, str(path))
    results = Path(config.results_folder)
    table = results / "monitor" / "drift.parquet"
    again = "Suggestion: run the target `monitor` with this config first"
    if not table.is_file():
        raise ConfigError([f"{table} is not there. {again}"], str(path))
    older = [p for p in (results / "cohort/inputs.json", results / "applied/patients.parquet") if not _before(p, table)]
    if older:
        raise ConfigError([f"{table} is older than the last run, which did not come to its end. {again}"], str(path))
    if config.data.from_files:
        read = {one["name"]: one["sha256"] for one in json.loads((results / "cohort/inputs.json").read_bytes())}
        given = {"clinical": clinical_file(config)} | omic_files(config)
        changed = [str(p) for name, p in given.items() if not p.is_file() or sha256(p) != read.get(name)]
        if changed:
            raise ConfigError([f"{table} was made of other data than {changed[0]}. {again}"], str(path))
    return table


def _before(path: Path, table: Path) -> bool:
    """Whether a file that the table is made of is there, and older than it."""
    return path.is_file() and path.stat().st_mtime <= table.stat().st_mtime


if __name__ == "__main__":
    sys.exit(main())
