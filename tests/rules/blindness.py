"""Cohorts of files through the scripts of the rules up to the features, and what of a run is learned.

The scripts are called as `job.run` calls them, without a Snakemake process per rule: with files and the sections of the
config. So the whole of the way from files to features is gone through, at a tenth of the time.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from safetensors import safe_open
from threadpoolctl import threadpool_limits

import build_features
import check_identity
import check_quality
import design_resamples
import ingest_cohort
from stratiome.config import Config, FeatureConfig
from stratiome.features.block import FeatureSet, read_features
from stratiome.plan import clinical_file, omic_files, plan, sample_files

WITHOUT_GAPS = ("counts", "mirna")
"""Kinds of which no value may be missing."""


@dataclass(frozen=True)
class Run:
    """One analysis of files, written to a folder of its own.

    Attributes
    ----------
    config
        The analysis.
    folder
        Where results are written, laid out as by the workflow.
    """

    config: Config
    folder: Path

    def ingest(self) -> None:
        """Rule `ingest_cohort`."""
        tables = ("clinical", "outcome", "outcome_counts", "overlap", "notes")
        self._make(
            ingest_cohort,
            clinical_file=str(clinical_file(self.config)),
            omic_files=[str(path) for path in omic_files(self.config).values()],
            other_files=[],
            cohort_file=self.path("cohort/cohort.h5mu"),
            flow=self.path("cohort/patient_flow.parquet"),
            inputs_file=self.path("cohort/inputs.json"),
            analysis=self.config.for_reading(),
            controls=self.path("cohort/negative_controls.parquet"),
            negative_controls={},
            **{name: self.path(f"cohort/{name}.parquet") for name in tables},
        )

    def split(self, sites: dict[str, list[str]]) -> None:
        """Rule `design_resamples`."""
        self._make(
            design_resamples,
            clinical=self.path("cohort/clinical.parquet"),
            outcome=self.path("cohort/outcome.parquet"),
            resample_table=self.path("cohort/resamples.parquet"),
            resample_summary=self.path("cohort/resample_summary.parquet"),
            resamples=self.config.resamples,
            site=self.config.site,
            strata=self.config.treated_columns(),
            seed=self.config.seed,
            sites=sites,
            patient_id=self.config.data.patient_id,
            show_ids=False,
        )

    def measure_quality(self) -> None:
        """Rule `check_quality`."""
        self._make(
            check_quality,
            cohort_file=self.path("cohort/cohort.h5mu"),
            tables=[self.path(f"quality/{name}.parquet") for name in self.config.omics],
            bars=self.path("quality/bars.parquet"),
            summary=self.path("quality/summary.parquet"),
        )

    def check(self) -> None:
        """Rule `check_identity`, which holds the gate."""
        tables = ("identity", "identity_summary", "batches", "missingness", "treatments")
        self._make(
            check_identity,
            cohort_file=self.path("cohort/cohort.h5mu"),
            clinical=self.path("cohort/clinical.parquet"),
            outcome=self.path("cohort/outcome.parquet"),
            samples=[str(path) for path in sample_files(self.config).values()],
            gate=self.path("quality/checks/gate"),
            analysis=self.config.for_checks(),
            **{name: self.path(f"quality/checks/{name}.parquet") for name in tables},
        )

    def build(self, resample: str) -> None:
        """Rule `build_features`."""
        self._make(
            build_features,
            cohort_file=self.path("cohort/cohort.h5mu"),
            resample_table=self.path("cohort/resamples.parquet"),
            feature_file=self.path(f"resamples/{resample}/features.h5mu"),
            transforms=self.path(f"resamples/{resample}/transforms.safetensors"),
            summary=self.path(f"resamples/{resample}/features.parquet"),
            features=self.config.features,
            site=self.config.site,
            resample=resample,
        )

    def with_features(self, **features: object) -> Run:
        """The same cohort and splits with other settings of the features, to build in a folder of its own."""
        folder = self.folder / "_".join(["features", *sorted(features)])
        if not folder.exists():
            folder.mkdir()
            (folder / "cohort").symlink_to(self.folder / "cohort")
        settings = FeatureConfig.model_validate(features)
        return Run(self.config.model_copy(update={"features": settings}), folder)

    def path(self, name: str) -> str:
        """Path of a result, its folder made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(path)

    def features(self, resample: str) -> FeatureSet:
        """What `build` made."""
        return read_features(self.path(f"resamples/{resample}/features.h5mu"))

    def held_out(self, resample: str) -> list[str]:
        """Patients whom a resample holds out."""
        table = pl.read_parquet(self.path("cohort/resamples.parquet"))
        return table.filter((pl.col("resample") == resample) & (pl.col("role") == "test"))["patient_id"].to_list()

    @staticmethod
    def _make(script, **arguments) -> None:
        with threadpool_limits(1):  # as jobs do: sums depend on the number of threads
            script.main(**arguments)


def first_run(raw: dict, folder: Path) -> tuple[Run, dict[str, list[str]]]:
    """Read and split a cohort as it is; returns the sites of the resamples as well."""
    config, splits = plan(raw | {"results": str(folder)}, "config")
    run = Run(config, folder)
    run.ingest()
    run.split(splits.sites)
    return run, splits.sites


def run_on_noise(first: Run, resample: str, folder: Path, seed: int = 0) -> Run:
    """The same cohort read with noise in place of all that is known of the held-out patients of a resample."""
    data = copy_files(first.config, folder / "data")
    overwrite(first.config, data, first.held_out(resample), np.random.default_rng(seed))
    run = Run(_moved(first.config, data), folder)
    run.ingest()
    # Folds are stratified by outcome and treatment, which are noise now: who is held out stays as it was.
    shutil.copyfile(first.path("cohort/resamples.parquet"), run.path("cohort/resamples.parquet"))
    return run


def run_on_other_times(first: Run, sites: dict[str, list[str]], folder: Path, seed: int = 0) -> Run:
    """The same cohort read and split with follow-up times permuted among the dead, and among the living."""
    data = copy_files(first.config, folder / "data")
    permute_times(first.config, data, np.random.default_rng(seed))
    run = Run(_moved(first.config, data), folder)
    run.ingest()
    run.split(sites)
    return run


def run_on_shuffled(first: Run, sites: dict[str, list[str]], folder: Path, seed: int = 0) -> Run:
    """The same cohort read and split with rows and columns shuffled, omics in another order and sites renamed."""
    data = copy_files(first.config, folder / "data")
    renamed = shuffle(first.config, data, np.random.default_rng(seed))
    moved = _moved(first.config, data)
    omics = dict(reversed(moved.data.omics.items()))
    run = Run(moved.model_copy(update={"data": moved.data.model_copy(update={"omics": omics})}), folder)
    run.ingest()
    run.split({name: [renamed[s] for s in members] for name, members in sites.items()})
    return run


def _moved(config: Config, data: Path) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"folder": str(data)})})


def copy_files(config: Config, data: Path) -> Path:
    """Copy the files that a config names into another folder, and return it."""
    data.mkdir(parents=True)
    for path in (clinical_file(config), *omic_files(config).values(), *sample_files(config).values()):
        shutil.copyfile(path, data / path.name)
    return data


def overwrite(config: Config, data: Path, patients: list[str], rng: np.random.Generator) -> None:
    """Put noise in place of everything that files say of some patients, each matrix in its unit."""
    key = config.data.patient_id
    table = _read_clinical(config, data)
    here = table[key].is_in(patients)
    columns = [_overwritten(table[c], here, c == config.site, rng) for c in table.columns if c != key]
    _write_clinical(table.with_columns(columns), config, data)
    for omic in config.data.omics.values():
        matrix = pl.read_parquet(data / omic.path)
        rows = np.flatnonzero(matrix[key].is_in(patients).to_numpy())
        values = matrix.drop(key).to_numpy().astype(np.float64)
        values[rows] = _noise(values, len(rows), omic.kind not in WITHOUT_GAPS, rng)
        cells = pl.DataFrame(values, schema=matrix.drop(key).columns, orient="row").fill_nan(None)
        matrix.select(key).hstack(cells).write_parquet(data / omic.path)


def _overwritten(column: pl.Series, here: pl.Series, is_site: bool, rng: np.random.Generator) -> pl.Series:
    """Values of anybody in the chosen rows, in the site a place that nobody else comes from as well."""
    known = np.array(column.to_list() + ["nowhere"] * is_site * len(column), dtype=object)
    drawn = pl.Series(column.name, rng.choice(known, len(column)).tolist(), dtype=pl.String)
    return drawn.zip_with(here, column)


def _noise(values: np.ndarray, n: int, gaps: bool, rng: np.random.Generator) -> np.ndarray:
    """Profiles of anybody with features shuffled, so that no check of units or libraries has a reason to refuse them.

    In kinds that may have gaps, every other feature is missing in all of these patients.
    """
    profiles = rng.permuted(values[rng.integers(0, len(values), n)], axis=1)
    if gaps:
        profiles[:, ::2] = np.nan
    return profiles


def permute_times(config: Config, data: Path, rng: np.random.Generator) -> None:
    """Permute follow-up times within classes of the event, which are all that folds know of the outcome."""
    endpoint, table = config.endpoint, _read_clinical(config, data)
    times = table[endpoint.time].to_numpy().copy()
    known = table.select(pl.col(endpoint.time, endpoint.event).cast(pl.Float64, strict=False))
    for event in (0, 1):
        rows = np.flatnonzero((known[endpoint.time] > 0) & (known[endpoint.event] == event))
        times[rows] = times[rng.permutation(rows)]
    _write_clinical(table.with_columns(pl.Series(endpoint.time, times, dtype=pl.String)), config, data)


def shuffle(config: Config, data: Path, rng: np.random.Generator) -> dict[str, str]:
    """Shuffle rows and columns of every file and rename the sites; returns the new name of each."""
    clinical, site = _read_clinical(config, data), str(config.site)
    names = clinical[site].drop_nulls().unique().sort().to_list()
    renamed = dict(zip(names, [f"hospital {i}" for i in rng.permutation(len(names))], strict=True))
    clinical = clinical.with_columns(pl.col(site).replace_strict(renamed, default=None))
    _write_clinical(_shuffled(clinical, rng), config, data)
    for omic in config.data.omics.values():
        _shuffled(pl.read_parquet(data / omic.path), rng).write_parquet(data / omic.path)
    return renamed


def _shuffled(table: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    columns = [table.columns[j] for j in rng.permutation(table.width)]
    return table.select(columns)[rng.permutation(table.height)]


def _read_clinical(config: Config, data: Path) -> pl.DataFrame:
    """The clinical table as text, so that what is not touched is written as it was."""
    return pl.read_csv(data / str(config.data.clinical), separator="\t", infer_schema_length=0)


def _write_clinical(table: pl.DataFrame, config: Config, data: Path) -> None:
    table.write_csv(data / str(config.data.clinical), separator="\t")


def learned(run: Run, resample: str) -> dict[str, bytes]:
    """Everything that a resample learned on its training patients, and their features, by name."""
    found = {
        name: Path(run.path(f"resamples/{resample}/{name}")).read_bytes()
        for name in ("transforms.safetensors", "features.parquet")
    }
    with safe_open(run.path(f"resamples/{resample}/transforms.safetensors"), "numpy") as file:
        found |= {name: file.get_tensor(name).tobytes() for name in sorted(file.keys())}
        found["names"] = file.metadata()["names"].encode()
    features = run.features(resample)
    found["patients"] = repr((features.patient_ids, features.roles.tolist())).encode()
    for block in features.blocks:
        found[f"{block.name}: training patients"] = block.values[features.train].tobytes()
    return found


def differing(a: dict[str, bytes], b: dict[str, bytes]) -> list[str]:
    """Names of what is not the same to the byte."""
    return [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]


def changed(a: Run, b: Run, resample: str) -> dict[str, float]:
    """Share of the held-out patients with an omic of whom a feature has another value in both runs, by omic."""
    one, other = a.features(resample), b.features(resample)
    found = {}
    for x, y in zip(one.blocks, other.blocks, strict=True):
        moved = (np.abs(x.values - y.values) > 0).any(axis=1)  # a gap in either is no change of value
        here = x.present & y.present & (one.roles == "test")
        if here.any():
            found[x.name] = float(moved[here].mean())
    return found
