"""A small simulated cohort as files, run through the whole workflow by the end-to-end tests."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from conftest import snakemake, write_config
from stratiome.cohort.simulate import write_cohort
from stratiome.config import Config, EndpointConfig, SimulateConfig
from stratiome.survival.outcome import time_grid

SIMULATED = {
    "patients": 160,
    "sites": 2,
    "subgroups": 2,
    "omics": {
        "rna": {"kind": "counts", "features": 40, "effect": 2.0},
        "protein": {"kind": "protein", "features": 15, "effect": 2.0},
        "mutation": {"kind": "mutation", "features": 15, "effect": 2.0},
    },
}
ENDPOINT = {"time": "os_months", "event": "os_event", "unit": "months", "horizons": [24, 48]}


def small_config(folder: Path, **changes: object) -> dict:
    """Config of the small cohort in `folder`, every stage made cheap."""
    return {
        "cohort": "small",
        "results": "results",
        "data": {
            "folder": str(folder),
            "clinical": "clinical.tsv",
            "omics": {n: {"path": f"{n}.parquet", "kind": o["kind"]} for n, o in SIMULATED["omics"].items()},
        },
        "endpoint": ENDPOINT,
        "covariates": ["age", "stage", "marker", "sex"],
        "site": "site",
        "known_labels": ["subtype"],
        "treatments": {
            "treatment": {
                "column": "treatment",
                "design": "observational",
                "confounders": ["age", "stage", "marker", "sex"],
            }
        },
        "resamples": {"folds": 2},
        "latent": {"dims": 3, "members": 2, "epochs": 15, "hidden": 16},
        "subgroups": {"k": [1, 2, 3], "subsamples": 6, "reference_draws": 19, "alpha": 0.05},
        "prognosis": {"inner_folds": 2, "min_events": 5, "deep_min_events": 5, "instability": 5},
        "evaluation": {"bootstraps": 50},
    } | changes


def write_small(folder: Path, seed: int = 3) -> None:
    """Write the files of the small cohort."""
    settings = SimulateConfig.model_validate(SIMULATED)
    write_cohort(settings, seed, folder, time_grid=time_grid(EndpointConfig.model_validate(ENDPOINT)))


def write_later(folder: Path, shifted: str | None = None, seed: int = 3) -> None:
    """Write as many patients of the same population who came after those of `write_small`.

    Parameters
    ----------
    folder
        Where to.
    shifted
        Omic whose values are higher by one SD of each feature.
    seed
        As of `write_small`.
    """
    n, first = SIMULATED["patients"], 256  # patients come in blocks of 128, and the first cohort is in two of them
    settings = SimulateConfig.model_validate(SIMULATED | {"patients": first + n})
    write_cohort(settings, seed, folder, time_grid=time_grid(EndpointConfig.model_validate(ENDPOINT)))
    clinical = pl.read_csv(folder / "clinical.tsv", separator="\t").slice(first)
    clinical.write_csv(folder / "clinical.tsv", separator="\t")
    for name in SIMULATED["omics"]:
        own = pl.read_parquet(folder / f"{name}.parquet").filter(pl.col("patient_id").is_in(clinical["patient_id"]))
        if name == shifted:
            own = own.with_columns(pl.exclude("patient_id") + pl.exclude("patient_id").std())
        own.write_parquet(folder / f"{name}.parquet")


def run(folder: Path, data: Path, /, *targets: str, cores: int = 2, env: dict | None = None, **changes: object) -> Path:
    """Run the workflow in `folder` on the files in `data`; returns the folder of the results."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = small_config(data, **changes)
    Config.model_validate(raw)
    config = write_config(raw, folder / "config.yaml")
    done = snakemake("--cores", str(cores), *targets, "--configfile", str(config), cwd=folder, env=env)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "results"


TIMED = frozenset({"run.html", "run.tsv", "ro-crate-metadata.json"})
"""What says how long the jobs took and when they ran, which no second run repeats."""


def tables(results: Path) -> dict[str, bytes]:
    """Every table, model and page of a run, as bytes, but those that tell its times."""
    kinds = (".parquet", ".json", ".safetensors", ".svg", ".html", ".tsv")
    return {
        str(p.relative_to(results)): p.read_bytes()
        for p in sorted(results.rglob("*"))
        if p.suffix in kinds and "benchmarks" not in p.parts and str(p.relative_to(results)) not in TIMED
    }
