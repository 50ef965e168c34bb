"""Rule check_identity as a user meets it: tables are written, and a correction that protects the outcome is refused."""

import polars as pl
import pytest

from conftest import snakemake, write_config
from stratiome import tables

CHECKS = {
    "identity": tables.QualityIdentity,
    "identity_summary": tables.QualityIdentitySummary,
    "batches": tables.QualityBatch,
    "missingness": tables.QualityMissingness,
}


def _confound(folder):
    """Hospitals that see patients of one outcome."""
    table = pl.read_csv(folder / "clinical.tsv", separator="\t")
    hospital = pl.when(pl.col("os_event") == 1).then(pl.lit("north")).otherwise(pl.lit("south"))
    table.with_columns(hospital=hospital).write_csv(folder / "clinical.tsv", separator="\t")


def test_checks_are_written_and_a_confounded_site_is_said_and_allowed(tiny, tmp_path):
    _confound(tmp_path / "data")
    samples = pl.read_csv(tmp_path / "data/clinical.tsv", separator="\t").select("patient_id")
    samples.with_columns(plate=pl.int_range(pl.len()) % 3).write_csv(tmp_path / "data/samples.tsv", separator="\t")
    tiny["data"]["omics"]["mrna"]["samples"] = {"path": "samples.tsv", "columns": ["plate"]}
    done = _run(tiny, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "batch `hospital` is associated with outcome `event`" in done.stderr
    folder = tmp_path / "data/results/quality/checks"
    found = {name: tables.read_table(folder / f"{name}.parquet", model) for name, model in CHECKS.items()}
    batches = found["batches"]
    assert set(batches["batch"]) == {"hospital", "mrna: plate"}
    assert batches.filter((pl.col("batch") == "hospital") & (pl.col("variable") == "event"))["beyond"].item()
    assert (folder / "gate").read_text() == "passed\n"


def test_protection_is_refused_before_any_feature_is_built(tiny, tmp_path):
    _confound(tmp_path / "data")
    tiny["features"] = {"protect": ["grade"]}
    done = _run(tiny, tmp_path, "results/resamples/full/features.h5mu")
    assert done.returncode == 1
    for part in ("`features.protect`: batch `hospital`", "outcome `event`", "limit 0.30", "Suggestion"):
        assert part in done.stderr
    results = tmp_path / "data/results"
    assert not (results / "quality/checks/gate").exists()
    assert not list(results.glob("resamples/*/features.h5mu"))


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ({"path": "absent.tsv", "columns": ["plate"]}, "`data.omics.mrna.samples.path`"),
        ({"path": "clinical.tsv", "columns": ["plate"]}, "`data.omics.mrna.samples.columns`"),
        ({"path": "clinical.tsv", "columns": []}, "`data.omics.mrna.samples.columns`"),
    ],
)
def test_wrong_tables_of_samples_are_refused_before_any_job(tiny, tmp_path, samples, text):
    tiny["data"]["omics"]["mrna"]["samples"] = samples
    done = _run(tiny, tmp_path, "--dry-run")
    assert done.returncode == 1
    assert text in done.stdout + done.stderr


def _run(config, folder, *arguments):
    path = write_config(config, folder / "config.yaml")
    target = [] if arguments else ["results/quality/checks/gate"]
    targets = [str(folder / "data" / a) if a.startswith("results") else a for a in (*target, *arguments)]
    return snakemake("--cores", "1", *targets, "--configfile", str(path), cwd=folder)
