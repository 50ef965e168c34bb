"""What a job of each rule needs, as measured, for a cohort whose size is told from the heads of its files."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stratiome.cohort.annotated import SUFFIXES
from stratiome.cohort.source import SEPARATORS, table_suffix
from stratiome.config import Config
from stratiome.plan import clinical_file, omic_files

PACKED = 4
"""Bytes of text that one byte of a gzip file stands for, about."""

SAMPLE = 2**16
"""Bytes of a text file from which the length of a line is told."""


SPARE = 1.5
"""Memory asked for, in multiples of what was measured."""

BESIDE_MB = 600
"""More of it for the two Snakemakes that stand around a job on a cluster, and are counted with it."""

SLOWER = 6
"""Run time asked for, in multiples of what was measured: processors, file systems and settings differ."""

LEAST_MINUTES = 10
"""Least run time that a job asks for."""


@dataclass(frozen=True)
class Need:
    """What the jobs of a rule used when they were measured, as linear functions of the size of the cohort.

    Attributes
    ----------
    memory_mib
        Peak memory (MiB) of a cohort of no size.
    bytes_per_value
        More of it for each value of the matrices.
    kib_per_patient
        More of it for each patient.
    seconds
        Wall time (s) of a cohort of no size.
    us_per_value
        More of it (microseconds) for each value.
    ms_per_patient
        More of it (milliseconds) for each patient.
    """

    memory_mib: float
    bytes_per_value: float
    kib_per_patient: float
    seconds: float
    us_per_value: float
    ms_per_patient: float

    def memory_mb(self, size: CohortSize, attempt: int = 1) -> int:
        """Memory to ask for (MB, in hundreds); each further attempt asks for twice as much."""
        measured = self.memory_mib + self.bytes_per_value * size.values / 2**20
        measured += self.kib_per_patient * size.patients / 2**10
        return math.ceil((BESIDE_MB + SPARE * measured) * 2 ** (attempt - 1) / 100) * 100

    def minutes(self, size: CohortSize, attempt: int = 1) -> int:
        """Run time to ask for (minutes); each further attempt asks for twice as much."""
        measured = self.seconds + self.us_per_value * size.values / 1e6 + self.ms_per_patient * size.patients / 1e3
        return math.ceil(max(LEAST_MINUTES, SLOWER * measured / 60) * 2 ** (attempt - 1))


def read_needs(path: Path) -> dict[str, Need]:
    """What was measured, by rule, from the table that the benchmark of needs writes."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    names = Need.__dataclass_fields__
    return {row["rule"]: Need(**{name: float(row[name]) for name in names}) for row in rows}


@dataclass(frozen=True)
class CohortSize:
    """Size of a cohort.

    Attributes
    ----------
    patients
        Rows of the clinical table.
    values
        Cells of all matrices together: patients times features, summed over omics.
    """

    patients: int
    values: int


def cohort_size(config: Config) -> CohortSize:
    """Size of the cohort of a config; what cannot be told from a file counts as nothing.

    Text is not read to its end: its cells follow from the columns of its head and the length of its first lines.
    """
    planned = config.data.simulate
    if planned is not None:
        return CohortSize(planned.patients, planned.patients * sum(o.features for o in planned.omics.values()))
    patients = _shape(clinical_file(config))[0]
    return CohortSize(patients, sum(rows * columns for rows, columns in map(_shape, omic_files(config).values())))


def _shape(path: Path) -> tuple[int, int]:
    """Rows and columns of a table, about; zeros for a file that is not there or cannot be read."""
    try:
        if path.suffix.lower() in SUFFIXES:
            return 1, _annotated_cells(path)
        if table_suffix(path) == ".parquet":
            table = pl.scan_parquet(path)
            return int(table.select(pl.len()).collect().item()), len(table.collect_schema())
        return _text_shape(path)
    except (OSError, ValueError, KeyError, pl.exceptions.PolarsError):
        return 0, 0


def _annotated_cells(path: Path) -> int:
    import h5py

    with h5py.File(path) as file:
        stored = [file["mod"][name] for name in file["mod"]] if "mod" in file else [file]
        found = [one["X"] for one in stored if "X" in one]
        shapes = [x.shape if isinstance(x, h5py.Dataset) else tuple(x.attrs["shape"]) for x in found]
        return int(sum(rows * columns for rows, columns in shapes))


def _text_shape(path: Path) -> tuple[int, int]:
    import gzip

    packed = path.suffix.lower() == ".gz"
    separator = SEPARATORS[table_suffix(path)]
    with gzip.open(path) if packed else path.open("rb") as file:
        lines = file.read(SAMPLE).split(b"\n")
    lines = [line for line in lines if line and not line.startswith(b"#")]
    body = lines[1:] or lines
    length = sum(map(len, body)) / len(body) + 1 if body else 1.0
    columns = lines[0].count(separator.encode()) + 1 if lines else 0
    return round(path.stat().st_size * (PACKED if packed else 1) / length), columns
