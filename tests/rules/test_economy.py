"""What a change of the config makes run again, key by key, and that a dry run says why.

The sets are written down, not computed: first by what the key means, then compared with what Snakemake plans.
"""

import re
from pathlib import Path

import pytest

from conftest import snakemake, write_config, write_tiny

PAGES = {"write_manifest", "render_report", "render_model_card", "describe_run", "write_crate"}
"""What tells the whole config, or the pages that do."""

BUNDLE = PAGES | {"save_bundle"}

JUDGED = {
    "evaluate_subgroups", "evaluate_prognosis", "explain_prognosis", "describe_prognosis", "evaluate_robustness",
    "evaluate_treatment", "audit_fairness",
}  # fmt: skip
"""What compares with the outcome of held-out patients."""

PROGNOSIS = {
    "fit_prognosis", "attribute_risk", "evaluate_prognosis", "explain_prognosis", "describe_prognosis", "stress_models",
    "evaluate_robustness", "audit_fairness",
}  # fmt: skip

TREATMENT = {"fit_treatment", "evaluate_treatment"}

SUBGROUPS = {"find_subgroups", "evaluate_subgroups", "describe_subgroups"} | TREATMENT  # effects by subgroup

LATENT = {"train_latent"} | SUBGROUPS | PROGNOSIS

FEATURES = {"build_features"} | LATENT

READ = FEATURES | {"ingest_cohort", "check_quality", "check_identity", "describe_cohort", "design_resamples"}

DRUG = {"column": "drug", "design": "randomised", "confounders": ["age", "grade"]}

TABLE = {
    "nothing": ({}, set()),
    "title": ({"title": "Another"}, BUNDLE),
    "description": ({"description": "Another."}, PAGES),
    "event_name": ({"event_name": "relapse"}, PAGES),
    "audit.min_cell": ({"audit": {"min_cell": 5}}, BUNDLE),
    "audit.groups": ({"audit": {"groups": ["grade"]}}, BUNDLE | {"audit_fairness"}),
    "bundle.intended_use": ({"bundle": {"intended_use": "Research."}}, BUNDLE),
    "evaluation.bootstraps": ({"evaluation": {"bootstraps": 60}}, BUNDLE | JUDGED),
    "prognosis.l1_ratio": ({"prognosis": {"l1_ratio": 0.7}}, BUNDLE | PROGNOSIS),
    "endpoint.horizons": (
        {"endpoint": {"horizons": [12, 24]}},
        BUNDLE | PROGNOSIS | TREATMENT | {"evaluate_subgroups"},
    ),
    "covariates": (
        {"covariates": ["age"]},
        BUNDLE | PROGNOSIS | TREATMENT | {"evaluate_subgroups", "describe_cohort", "check_identity"},
    ),
    "treatments.*.label": (
        {"treatments": {"drug": DRUG | {"label": "Drug"}}},
        BUNDLE | TREATMENT | {"describe_cohort"},
    ),
    "treatments.*.confounders": (
        {"treatments": {"drug": DRUG | {"confounders": ["age"]}}},
        BUNDLE | TREATMENT | {"describe_cohort", "check_identity", "evaluate_subgroups"},
    ),
    "subgroups.min_genes": (
        {"subgroups": {"min_genes": 4}},
        BUNDLE | {"describe_subgroups", "attribute_risk", "explain_prognosis"},
    ),
    "subgroups.k": ({"subgroups": {"k": [1, 2, 3]}}, BUNDLE | SUBGROUPS),
    "latent.epochs": ({"latent": {"epochs": 4}}, BUNDLE | LATENT),
    "features.max_features": ({"features": {"max_features": 10}}, BUNDLE | FEATURES),
    "resamples.folds": ({"resamples": {"folds": 3}}, BUNDLE | FEATURES | {"design_resamples", "describe_workflow"}),
    "seed": ({"seed": 2}, BUNDLE | FEATURES | {"design_resamples", "check_identity"}),
    "quality.limit": (
        {"quality": {"limit": 0.2}},
        BUNDLE | {"check_identity", "evaluate_subgroups", "evaluate_treatment"},  # also whether subgroups are a batch
    ),
    "site": ({"site": None}, BUNDLE | READ),
    "known_labels": ({"known_labels": ["grade"]}, BUNDLE | READ),
    "threads": ({"threads": 2}, BUNDLE | READ | {"describe_workflow"}),
}
"""Key -> a change of it, and the rules that it makes run again."""


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, dict]:
    """A folder in which the tiny cohort has been analysed, and its config."""
    folder = tmp_path_factory.mktemp("economy")
    config = write_tiny(folder / "data")
    path = write_config(config, folder / "config.yaml")
    ended = snakemake("--cores", "2", "--configfile", str(path), cwd=folder)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return folder, config


def _plan(done: tuple[Path, dict], changes: dict) -> tuple[set[str], str]:
    """Rules that a changed config would run, and what the dry run says."""
    folder, config = done
    nested = {k: {**config.get(k, {}), **v} for k, v in changes.items() if isinstance(v, dict)}
    path = write_config(config | changes | nested, folder / "changed.yaml")
    planned = snakemake("--dry-run", "--quiet", "host", "--configfile", str(path), cwd=folder)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    counted = re.findall(r"^(\w+) +\d+$", planned.stdout, flags=re.M)
    return set(counted) - {"all", "total"}, planned.stdout


@pytest.mark.parametrize("key", TABLE)
def test_a_change_runs_only_what_depends_on_it(key, done):
    changes, rules = TABLE[key]
    assert _plan(done, changes)[0] == rules


def test_a_dry_run_says_why(done):
    said = _plan(done, {"latent": {"epochs": 4}})[1]
    jobs = dict(re.findall(r"^Job \d+: (.*)\nReason: (.*)$", said, flags=re.M))
    trained = jobs["full: training the latent model"]
    assert "Params have changed since last execution" in trained
    assert "'epochs': 3" in trained
    assert "'epochs': 4" in trained
    fitted = jobs["full: fitting survival models"]
    assert "Input files updated by another job" in fitted
    assert "latent.h5ad" in fitted


def test_elsewhere_a_changed_config_is_refused_as_nothing_would_run(done, tmp_path):
    folder, config = done
    same = write_config(config, tmp_path / "same.yaml")
    changed = write_config(config | {"latent": {**config["latent"], "epochs": 4}}, tmp_path / "changed.yaml")
    planned = snakemake("--dry-run", "--configfile", str(same), cwd=tmp_path)
    assert "Nothing to be done" in planned.stdout + planned.stderr
    planned = snakemake("--dry-run", "--configfile", str(changed), cwd=tmp_path)
    assert planned.returncode == 1
    assert "was made of another config, which differs in `latent.epochs`, and" in planned.stdout + planned.stderr
    assert snakemake("--dry-run", "--configfile", str(changed), cwd=folder).returncode == 0


def test_every_section_of_the_config_is_in_the_table():
    from stratiome.config import Config

    told = {key.partition(".")[0] for key in TABLE}
    other = {"cohort", "results", "data", "external"}  # another folder, other files, or another cohort
    assert set(Config.model_fields) - told == other
