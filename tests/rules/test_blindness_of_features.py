"""Hash tests of the stages up to the features on real cohorts (METHODS, F1), by the scripts of the rules.

Test blindness: with noise in all that is known of the held-out patients, what is learned is the same to the byte.
Outcome blindness: with follow-up times permuted, quality and features are the same files.
That these tests see a leak is shown in `test_blindness_mutants.py`; the stages after the features are in
`tests/e2e/test_blindness.py`.
"""

from typing import NamedTuple

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from blindness import Run, changed, differing, first_run, learned, run_on_noise, run_on_other_times, run_on_shuffled
from conftest import ROOT, snakemake, write_config
from stratiome.cohort.errors import CohortError

HELD_OUT = {
    "metabric": ("cv-1-1", "site-1"),
    "tcga_brca": ("cv-1-1", "site-A2"),
    "tcga_gbmlgg": ("cv-1-1", "site-DU"),
}
PROTECTED = {
    "metabric": ("age", "grade", "er_status"),
    "tcga_brca": ("age", "lymph_nodes_positive", "er_status"),
    "tcga_gbmlgg": ("age", "sex"),
}
CONFOUNDED = ("tcga_brca", "tcga_gbmlgg")
"""Site goes with the outcome beyond the shipped limit, so that a run with `protect` stops at the gate."""
SCREENED = {"max_features": 20, "adjust_scale": True}
"""Features chosen by variance, as few as bite in every omic, and an adjuster of location and spread."""


class Analysed(NamedTuple):
    """A cohort that was read and split, and its features as shipped and with everything switched on."""

    cohort: str
    first: Run
    sites: dict[str, list[str]]
    variants: list[dict]


@pytest.fixture(scope="module", params=list(HELD_OUT))
def analysed(request, shared_data, tmp_path_factory) -> Analysed:
    cohort = request.param
    raw = yaml.safe_load((ROOT / "config/cohorts" / f"{cohort}.yaml").read_text(encoding="utf-8"))
    raw["data"]["folder"] = str(shared_data / cohort)
    first, sites = first_run(raw, tmp_path_factory.mktemp(cohort))
    return Analysed(cohort, first, sites, [{}, SCREENED, SCREENED | {"protect": PROTECTED[cohort]}])


def _built(run: Run, features: dict, resample: str) -> Run:
    variant = run.with_features(**features)
    variant.build(resample)
    return variant


@pytest.mark.real
@pytest.mark.parametrize("place", [0, 1], ids=["fold", "site"])
def test_held_out_patients_change_nothing_that_is_learned(analysed, tmp_path, place):
    resample = HELD_OUT[analysed.cohort][place]
    noisy = run_on_noise(analysed.first, resample, tmp_path)
    for features in analysed.variants:
        one, other = (_built(run, features, resample) for run in (analysed.first, noisy))
        assert differing(learned(one, resample), learned(other, resample)) == []
        # The noise did arrive: whoever is held out has other features, of every omic; few genes are mutated.
        reached = changed(one, other, resample)
        assert set(reached) == set(analysed.first.config.omics)
        assert reached.pop("mutation") > 0.5
        assert min(reached.values()) > 0.9


@pytest.mark.real
def test_outcomes_change_no_quality_and_no_feature(analysed, tmp_path):
    first, resample = analysed.first, HELD_OUT[analysed.cohort][0]
    other = run_on_other_times(first, analysed.sites, tmp_path)
    times = [_table(run, "cohort/outcome.parquet")["time_months"] for run in (first, other)]
    assert (times[0] != times[1]).mean() > 0.9
    for run in (first, other):
        run.measure_quality()
        run.check()
        _built(run, {}, resample)
    names = ["cohort/cohort.h5mu", "cohort/resamples.parquet", "quality/summary.parquet", "quality/bars.parquet"]
    names += [f"quality/{omic}.parquet" for omic in first.config.omics]
    names += [f"quality/checks/{name}" for name in ("identity.parquet", "identity_summary.parquet", "gate")]
    names += [f"features/resamples/{resample}/{n}" for n in ("features.h5mu", "transforms.safetensors")]
    assert [n for n in names if _bytes(first, n) != _bytes(other, n)] == []
    # Only the tables that are about the outcome know of it, and nothing that is learned reads them.
    assert _bytes(first, "quality/checks/batches.parquet") != _bytes(other, "quality/checks/batches.parquet")


@pytest.mark.real
def test_another_way_of_writing_the_cohort_changes_no_feature(analysed, tmp_path):
    first, resample = analysed.first, HELD_OUT[analysed.cohort][0]
    other = run_on_shuffled(first, analysed.sites, tmp_path)
    folds = [_table(r, "cohort/resamples.parquet").filter(pl.col("resample") == resample) for r in (first, other)]
    assert folds[0].equals(folds[1])
    for features in analysed.variants:
        one, same = (learned(_built(run, features, resample), resample) for run in (first, other))
        # Only the names of the sites differ, and with them the files that hold them.
        assert differing(one, same) == ["names", "transforms.safetensors"]
    for run in (first, other):
        run.measure_quality()
    for omic in first.config.omics:
        tables = [_table(r, f"quality/{omic}.parquet").drop("block") for r in (first, other)]
        assert_frame_equal(*tables, rel_tol=1e-10, abs_tol=1e-10)


@pytest.mark.real
def test_protection_is_let_through_where_site_and_outcome_are_apart(analysed):
    protecting = analysed.first.with_features(protect=PROTECTED[analysed.cohort])
    if analysed.cohort in CONFOUNDED:
        with pytest.raises(CohortError, match=r"`features.protect`: batch `site` is associated with outcome"):
            protecting.check()
        assert not (protecting.folder / "quality/checks/gate").exists()
    else:
        protecting.check()
        assert (protecting.folder / "quality/checks/gate").read_text(encoding="utf-8") == "passed\n"


@pytest.mark.parametrize("protect", [[], ["grade"]])
def test_nothing_that_is_learned_waits_for_quality_but_for_the_gate(tiny, tmp_path, protect):
    config = write_config(tiny | {"features": {"protect": protect}}, tmp_path / "config.yaml")
    names = ("prognosis_metrics", "subgroup_tests", "treatment_effects")
    targets = [f"{tiny['results']}/evaluation/{name}.parquet" for name in names]
    done = snakemake("--dry-run", "--cores", "1", *targets, "--configfile", str(config), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    jobs = {line.split()[0] for line in (done.stdout + done.stderr).splitlines() if line.split()[1:] == ["1"]}
    assert "ingest_cohort" in jobs
    assert ("check_identity" in jobs) == bool(protect)
    assert "check_quality" not in jobs


def _bytes(run: Run, name: str) -> bytes:
    return (run.folder / name).read_bytes()


def _table(run: Run, name: str) -> pl.DataFrame:
    return pl.read_parquet(run.folder / name)
