"""A cohort with known truth, in memory or as files; files are written in pieces, so that memory stays flat.

Every block of patients and every omic has a random stream of its own, a child of the seed; parameters of the
population have others. So the numbers depend on the settings and the seed alone, not on how files are cut.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import polars as pl

from stratiome.cohort.errors import CohortError
from stratiome.cohort.simulate_genome import swap_rows
from stratiome.cohort.simulate_omics import OmicParameters, make_omics, make_values
from stratiome.cohort.simulate_patients import (
    BLOCK,
    Patients,
    Population,
    make_patients,
    make_population,
    true_survival,
)
from stratiome.config import SimulateConfig
from stratiome.tables import PlantedSwaps, Truth, from_rows, order, write_table

if TYPE_CHECKING:
    import pyarrow

logger = logging.getLogger(__name__)

CELLS_AT_ONCE = 40_000_000
"""Largest piece of a matrix held in memory (160 MB as 4-byte numbers)."""


@dataclass(frozen=True)
class SimulatedCohort:
    """A cohort in memory, equal to what `write_cohort` writes.

    Attributes
    ----------
    clinical
        One row per patient: patient_id, site, age, sex, stage, marker, treatment (absent without one), subtype,
        os_months, os_event, cause (0 censored, 1 disease, 2 other), dss_event.
    omics
        Omic name -> patient_id and one column per feature, rows of the patients who have the omic, null = missing.
    truth
        Contract `tables.Truth`.
    signatures
        Omic name -> shape `(n_subgroups, n_features)`, the planted shifts in within-subgroup SDs of each feature
        (of the liability for mutations and of arms for copy number; without what an omic takes from another one).
    swaps
        Contract `tables.PlantedSwaps`.
    """

    clinical: pl.DataFrame
    omics: dict[str, pl.DataFrame]
    truth: pl.DataFrame
    signatures: dict[str, np.ndarray]
    swaps: pl.DataFrame


def simulate(settings: SimulateConfig, seed: int, *, time_grid: np.ndarray) -> SimulatedCohort:
    """Simulate a cohort in memory.

    Parameters
    ----------
    settings
        What to simulate.
    seed
        Seed of everything.
    time_grid
        Shape `(n_times,)`, months at which the true survival is kept.

    Raises
    ------
    CohortError
        If the settings contradict one another.
    """
    population, omics = _parameters(settings, seed)
    patients = make_patients(population, 0, settings.patients)
    return SimulatedCohort(
        clinical=_clinical_frame(population, patients),
        omics={o.name: pl.DataFrame(_omic_table(population, o, j, patients)) for j, o in enumerate(omics)},
        truth=_truth_frame(population, patients, time_grid),
        signatures={o.name: o.effect * o.signature.astype(np.float64) for o in omics},
        swaps=from_rows(_swaps(population, omics, patients), PlantedSwaps),
    )


def write_cohort(
    settings: SimulateConfig, seed: int, folder: str | Path, *, time_grid: np.ndarray, chunk: int = 20_000
) -> None:
    """Simulate a cohort into `clinical.tsv`, `truth.parquet` and `<omic>.parquet` of a folder.

    Where swaps are planted, `swaps.parquet` says who was exchanged with whom.

    Parameters
    ----------
    settings
        What to simulate.
    seed
        Seed of everything.
    folder
        Folder to write to; made if absent.
    time_grid
        Shape `(n_times,)`, months at which the true survival is kept.
    chunk
        Most patients held in memory at once, in whole blocks of 128; changes the row groups, never a number.

    Raises
    ------
    CohortError
        If the settings contradict one another.
    """
    folder = Path(folder)
    write_files(
        settings,
        seed,
        clinical=folder / "clinical.tsv",
        truth=folder / "truth.parquet",
        omics={name: folder / f"{name}.parquet" for name in settings.omics},
        time_grid=time_grid,
        swaps=folder / "swaps.parquet" if any(o.swapped for o in settings.omics.values()) else None,
        chunk=chunk,
    )


def write_files(
    settings: SimulateConfig,
    seed: int,
    *,
    clinical: Path,
    truth: Path,
    omics: dict[str, Path],
    time_grid: np.ndarray,
    swaps: Path | None = None,
    chunk: int = 20_000,
) -> None:
    """Simulate a cohort into given files; see `write_cohort`. A run that fails leaves no file behind."""
    population, parameters = _parameters(settings, seed)
    files = [clinical, truth, *([swaps] if swaps else []), *(omics[o.name] for o in parameters)]
    if len(set(files)) < len(files):
        raise CohortError(
            "`data.simulate.omics`: an omic cannot be called `truth` or `swaps`. Suggestion: give it another name"
        )
    swapped: list[dict[str, Any]] = []
    with ExitStack() as stack:
        table = stack.enter_context(_text(clinical))
        rows = stack.enter_context(_parquet(truth, dictionary=True))
        matrices = [stack.enter_context(_parquet(omics[o.name])) for o in parameters]
        for start, stop in _pieces(0, settings.patients, chunk):
            patients = make_patients(population, start, stop)
            _clinical_frame(population, patients).write_csv(table, separator="\t", include_header=start == 0)
            rows.append(_truth_frame(population, patients, time_grid).to_arrow(compat_level=pl.CompatLevel.oldest()))
            swapped += _swaps(population, parameters, patients)
            for j, (omic, matrix) in enumerate(zip(parameters, matrices, strict=True)):
                for left, right in _pieces(start, stop, CELLS_AT_ONCE // omic.signature.shape[1]):
                    matrix.append(_omic_table(population, omic, j, _part(patients, left, right)))
            logger.info("%d of %d patients simulated", stop, settings.patients)
    if swaps is not None:
        write_table(from_rows(swapped, PlantedSwaps), swaps, PlantedSwaps)


def _parameters(settings: SimulateConfig, seed: int) -> tuple[Population, list[OmicParameters]]:
    if not settings.omics:
        raise CohortError("`data.simulate.omics` is empty. Suggestion: name at least one omic, or leave the key out")
    population = make_population(settings, seed)
    return population, make_omics(population)


def _pieces(start: int, stop: int, rows: int) -> Iterator[tuple[int, int]]:
    """Ends of pieces of whole blocks of at most `rows` patients (at least one block)."""
    step = max(rows // BLOCK, 1) * BLOCK
    for left in range(start, stop, step):
        yield left, min(left + step, stop)


def _part(patients: Patients, start: int, stop: int) -> Patients:
    rows = slice(start - patients.first, stop - patients.first)
    arrays = {n: getattr(patients, n)[rows] for n in Patients.__dataclass_fields__ if n != "first"}
    return Patients(first=start, **arrays)


def _ids(population: Population, patients: Patients) -> list[str]:
    # Padded, so that sorting by text keeps the order.
    width = max(5, len(str(population.settings.patients)))
    return [f"SIM{patients.first + i:0{width}d}" for i in range(1, len(patients.subgroup) + 1)]


def _clinical_frame(population: Population, patients: Patients) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "patient_id": _ids(population, patients),
        "site": [f"site_{s + 1}" for s in patients.site],
        "age": patients.age,
        "sex": np.where(patients.female, "female", "male").tolist(),
        "stage": patients.stage.astype(np.int64),
        "marker": pl.Series(patients.marker, nan_to_null=True),
        "treatment": patients.treated,
        "subtype": [chr(ord("A") + k) for k in patients.label],
        "os_months": patients.time,
        "os_event": (patients.cause > 0).astype(np.int64),
        "cause": patients.cause.astype(np.int64),
        "dss_event": (patients.cause == 1).astype(np.int64),
    }
    if not population.treated_at_all:
        del columns["treatment"]
    return pl.DataFrame(columns)


def _truth_frame(population: Population, patients: Patients, time_grid: np.ndarray) -> pl.DataFrame:
    times = np.asarray(time_grid, dtype=np.float64)
    n, repeats = len(patients.subgroup), len(times)
    propensity = pl.Series(np.repeat(patients.propensity, repeats))
    if not population.treated_at_all:
        propensity = pl.Series([None] * (n * repeats), dtype=pl.Float64)
    frame = pl.DataFrame(
        {
            "patient_id": pl.Series(_ids(population, patients)).gather(np.repeat(np.arange(n), repeats)),
            "subgroup": np.repeat(patients.subgroup + 1, repeats).astype(np.int64),
            "propensity": propensity,
            "time_months": np.tile(times, n),
            "survival_untreated": true_survival(population, patients, times, 0).ravel(),
            "survival_treated": true_survival(population, patients, times, 1).ravel(),
        }
    )
    return Truth.validate(order(frame, Truth), lazy=True)


def _omic_table(population: Population, omic: OmicParameters, position: int, patients: Patients) -> pyarrow.Table:
    import pyarrow as pa

    has = patients.has[:, position]
    given = swap_rows(population.seed, omic.name_key, omic.swapped, patients, has)
    values = np.asfortranarray(make_values(population, omic, patients)[given[has]])
    ids = [i for i, yes in zip(_ids(population, patients), has, strict=True) if yes]
    columns = [pa.array(ids, pa.large_string())]
    columns += [pa.array(column, from_pandas=True) for column in values.T]  # from_pandas: NaN becomes null
    return pa.Table.from_arrays(columns, names=["patient_id", *omic.features])


def _swaps(population: Population, omics: list[OmicParameters], patients: Patients) -> list[dict[str, Any]]:
    """Rows of contract `PlantedSwaps`."""
    ids = _ids(population, patients)
    rows = []
    for j, omic in enumerate(omics):
        given = swap_rows(population.seed, omic.name_key, omic.swapped, patients, patients.has[:, j])
        changed = np.flatnonzero(given != np.arange(len(given)))
        rows += [{"patient_id": ids[i], "omic": omic.name, "partner": ids[given[i]]} for i in changed]
    return rows


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when all went well, and is removed when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _text(path: Path) -> Iterator[IO[bytes]]:
    with _replacing(path) as partial, partial.open("wb") as file:
        yield file


@contextmanager
def _parquet(path: Path, *, dictionary: bool = False) -> Iterator[_Parquet]:
    with _replacing(path) as partial:
        writer = _Parquet(partial, dictionary)
        try:
            yield writer
        finally:
            writer.close()


class _Parquet:
    """Appends tables of one schema to a parquet file, each as one row group."""

    def __init__(self, path: Path, dictionary: bool) -> None:
        self.path = path
        self.dictionary = dictionary
        self.writer: Any = None

    def append(self, table: pyarrow.Table) -> None:
        import pyarrow.parquet as pq

        if self.writer is None:
            self.writer = pq.ParquetWriter(
                self.path, table.schema, compression="zstd", use_dictionary=self.dictionary, write_statistics=False
            )
        self.writer.write_table(table, row_group_size=max(table.num_rows, 1))

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
