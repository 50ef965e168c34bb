"""Hash tests over the real workflow: what must not matter does not matter, to the byte.

Outcome blindness: with outcomes permuted, quality, features, latent model and subgroups are the same files.
Test blindness: with noise in the held-out rows, everything fitted is the same file.
"""

from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest

from small import run, write_small

pytestmark = [pytest.mark.e2e]

FITTED = (
    "transforms.safetensors",
    "latent.safetensors",
    "latent.json",
    "training.parquet",
    "mixture.json",
    "selection.parquet",
    "stability.parquet",
)
FEATURES = {"adjust_scale": True, "protect": ["age"]}
FITTED_ON_OUTCOME = ("prognosis/coefficients.parquet", "prognosis/models.parquet", "treatment/curves.parquet")


def _targets(resample, names):
    return [f"results/resamples/{resample}/{name}" for name in names]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_small(folder)
    return folder


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory) -> Path:
    names = (*FITTED, "subgroups.parquet", "latent.h5ad", "features.h5mu")
    targets = (
        _targets("full", names)
        + _targets("cv-1-1", (*names, *FITTED_ON_OUTCOME))
        + ["results/quality/summary.parquet", "results/quality/checks/gate"]
    )
    return run(tmp_path_factory.mktemp("plain"), data, *targets, features=FEATURES)


def _copy(data: Path, folder: Path) -> Path:
    folder.mkdir()
    for file in data.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def _same(a: Path, b: Path, names: list[str]) -> None:
    different = [n for n in names if (a / n).read_bytes() != (b / n).read_bytes()]
    assert different == []


def _permute_outcome(folder: Path, within_event: bool) -> None:
    table = pl.read_csv(folder / "clinical.tsv", separator="\t")
    rng = np.random.default_rng(0)
    order = np.arange(table.height)
    groups = [np.flatnonzero(table["os_event"].to_numpy() == e) for e in (0, 1)] if within_event else [order.copy()]
    for group in groups:
        order[group] = rng.permutation(group)
    columns = ["os_months", "os_event"]
    shuffled = table.select(columns)[order]
    assert not shuffled.equals(table.select(columns))
    table.with_columns(shuffled).write_csv(folder / "clinical.tsv", separator="\t")


def test_outcomes_change_nothing_up_to_the_subgroups(data, plain, tmp_path):
    permuted = _copy(data, tmp_path / "data")
    _permute_outcome(permuted, within_event=False)
    names = [f"resamples/full/{n}" for n in (*FITTED, "subgroups.parquet", "latent.h5ad", "features.h5mu")]
    names += ["quality/summary.parquet", "quality/rna.parquet", "quality/protein.parquet", "quality/mutation.parquet"]
    names += ["quality/checks/gate", "quality/checks/identity.parquet", "quality/checks/identity_summary.parquet"]
    results = run(tmp_path / "run", permuted, *[f"results/{n}" for n in names], features=FEATURES)
    _same(plain, results, names)


def test_outcomes_change_nothing_within_a_fold(data, plain, tmp_path):
    # Folds are stratified by event, so within event classes the folds stay and only times move.
    permuted = _copy(data, tmp_path / "data")
    _permute_outcome(permuted, within_event=True)
    names = [f"resamples/cv-1-1/{n}" for n in (*FITTED, "subgroups.parquet", "latent.h5ad", "features.h5mu")]
    results = run(tmp_path / "run", permuted, *[f"results/{n}" for n in names], features=FEATURES)
    _same(plain, results, [*names, "cohort/resamples.parquet"])


def test_held_out_patients_change_nothing_that_is_fitted(data, plain, tmp_path):
    noisy = _copy(data, tmp_path / "data")
    roles = pl.read_parquet(plain / "cohort/resamples.parquet").filter(pl.col("resample") == "cv-1-1")
    held = set(roles.filter(pl.col("role") == "test")["patient_id"])
    rng = np.random.default_rng(1)
    clinical = pl.read_csv(noisy / "clinical.tsv", separator="\t")
    here = clinical["patient_id"].is_in(list(held)).to_numpy()
    times = np.where(here, rng.uniform(1, 60, len(here)), clinical["os_months"].to_numpy())
    ages = np.where(here, rng.uniform(1000, 2000, len(here)), clinical["age"].to_numpy())
    clinical.with_columns(os_months=times, age=ages).write_csv(noisy / "clinical.tsv", separator="\t")
    for name in ("rna", "protein", "mutation"):
        table = pl.read_parquet(noisy / f"{name}.parquet")
        rows = np.flatnonzero(table["patient_id"].is_in(list(held)).to_numpy())
        values = table.drop("patient_id").to_numpy().copy()
        # Cells of anybody, anywhere: noise in the unit of the matrix, as another unit would be refused.
        values[rows] = rng.choice(values[np.isfinite(values)], (len(rows), values.shape[1]))
        table.select("patient_id").hstack(pl.DataFrame(values, schema=table.columns[1:], orient="row")).write_parquet(
            noisy / f"{name}.parquet"
        )
    names = [f"resamples/cv-1-1/{n}" for n in (*FITTED, *FITTED_ON_OUTCOME)]
    results = run(
        tmp_path / "run",
        noisy,
        *[f"results/{n}" for n in names],
        "results/resamples/cv-1-1/subgroups.parquet",
        features=FEATURES,
    )
    _same(plain, results, [*names, "cohort/resamples.parquet"])
    # The noise did reach the model: held-out patients lie elsewhere.
    spaces = [anndata.read_h5ad(r / "resamples/cv-1-1/latent.h5ad") for r in (plain, results)]
    tested = (spaces[0].obs["role"] == "test").to_numpy()
    assert np.abs(spaces[0].obsm["vae"] - spaces[1].obsm["vae"])[tested].max() > 0.1
    assert np.abs(spaces[0].obsm["vae"] - spaces[1].obsm["vae"])[~tested].max() == 0
