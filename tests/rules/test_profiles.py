"""What the profiles and rules tell a scheduler: names that exist, and memory and time that were measured."""

import csv
import re

import pytest
import yaml

from conftest import ROOT
from stratiome.config import load_config
from stratiome.needs import BESIDE_MB, LEAST_MINUTES, CohortSize, cohort_size, read_needs

NEEDS = read_needs(ROOT / "workflow/needs.tsv")
RULES = "\n".join(file.read_text() for file in sorted((ROOT / "workflow/rules").glob("*.smk")))
NAMES = set(re.findall(r"^ *rule (\w+):", RULES, flags=re.M))


def test_every_rule_asks_for_what_it_was_measured_to_need():
    assert set(NEEDS) == NAMES
    for what in ("mem_mb=memory", "runtime=minutes"):
        assert set(re.findall(rf'{what}\("(\w+)"\)', RULES)) == NAMES


@pytest.mark.parametrize("name", ["slurm", "cluster-generic"])
def test_groups_of_the_profile_are_those_of_the_rules(name):
    profile = yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text())
    assert set(profile["group-components"]) <= set(re.findall(r'group:\s+f"\{PREFIX\}(\w+)"', RULES))


def test_gpus_are_for_the_latent_model_alone():
    with_gpu = re.findall(r"rule (\w+):(?:(?!rule \w+:).)*?gpu=", RULES, flags=re.S)
    assert with_gpu == ["train_latent"]


def test_more_patients_and_each_attempt_ask_for_more():
    small, large = CohortSize(100, 10_000), CohortSize(100_000, 2_000_000_000)
    for need in NEEDS.values():
        assert need.memory_mb(small) >= BESIDE_MB
        assert need.minutes(small) >= LEAST_MINUTES
        assert need.memory_mb(small, 2) == pytest.approx(2 * need.memory_mb(small), abs=100)
        assert need.memory_mb(large) >= need.memory_mb(small)
    assert NEEDS["fit_prognosis"].memory_mb(large) > 2 * NEEDS["fit_prognosis"].memory_mb(small)


def _write(path, n_patients, n_features, sep):
    header = sep.join(["patient_id", *(f"g{j}" for j in range(n_features))])
    rows = [sep.join([f"P{i:04d}", *["1.25"] * n_features]) for i in range(n_patients)]
    path.write_text("\n".join([header, *rows]) + "\n")


def test_size_of_a_cohort_is_told_without_reading_it(tiny, tmp_path):
    import gzip

    import polars as pl

    given = cohort_size(load_config(tiny))
    assert given.patients == pytest.approx(60, rel=0.1)
    assert given.values == pytest.approx(60 * 18, rel=0.2)
    _write(tmp_path / "wide.tsv", 300, 400, "\t")
    pl.read_csv(tmp_path / "wide.tsv", separator="\t").write_parquet(tmp_path / "wide.parquet")
    with gzip.open(tmp_path / "wide.csv.gz", "wt") as file:
        file.write((tmp_path / "wide.tsv").read_text().replace("\t", ","))
    for path, most_off in (("wide.tsv", 0.05), ("wide.parquet", 0.01)):
        tiny["data"]["omics"] = {"mrna": {"path": str(tmp_path / path), "kind": "expression"}}
        assert cohort_size(load_config(tiny)).values == pytest.approx(300 * 400, rel=most_off)
    tiny["data"]["omics"] = {"mrna": {"path": str(tmp_path / "wide.csv.gz"), "kind": "expression"}}
    assert cohort_size(load_config(tiny)).values > 0  # packed text can be of any size


def test_what_a_run_used_is_less_than_it_asked_for():
    """Peak memory and longest time of the jobs of a run on METABRIC, from its `run.tsv`."""
    size = CohortSize(2509, 1_121_094)
    with (ROOT / "tests/fixtures/metabric_run.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) > 20
    for row in rows:
        assert float(row["peak_mib"]) < NEEDS[row["rule"]].memory_mb(size), row
        assert float(row["longest_s"]) / 60 < NEEDS[row["rule"]].minutes(size), row
