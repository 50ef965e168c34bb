"""The workflow as a module of another one: its rules, its config and its folder are its own."""

import json
import re

import pytest

from conftest import snakemake, write_config, write_tiny
from foreign import MODULE, call, write_foreign

TWO = """
configfile: "config.yaml"


module first:
    snakefile:
        "{snakefile}"
    config:
        config["stratiome"]


use rule * from first as first_*


module second:
    snakefile:
        "{snakefile}"
    config:
        config["second"]


use rule * from second as second_*


rule both:
    default_target: True
    input:
        rules.first_all.input,
        rules.second_all.input,
"""


def _counts(said: str) -> dict[str, int]:
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", said, flags=re.M)}


@pytest.mark.parametrize("case", ["plain", "abroad"])
def test_a_module_runs_the_same_jobs(case, tmp_path):
    config = write_tiny(tmp_path / "data") | {"results": "results/tiny"}
    if case == "abroad":
        config |= {"external": {"other": str(write_config(write_tiny(tmp_path / "other"), tmp_path / "other.yaml"))}}
    path = write_config(config, tmp_path / "c.yaml")
    alone, around = tmp_path / "alone", tmp_path / "around"
    alone.mkdir()
    write_foreign(around, config)
    done = snakemake("--cores", "1", "describe_workflow", "--configfile", str(path), cwd=alone)
    assert done.returncode == 0, done.stderr
    done = call(around, "--cores", "1", "stratiome_describe_workflow")
    assert done.returncode == 0, done.stderr
    told = (around / "results/tiny/workflow.json").read_bytes()
    assert told == (alone / "results/tiny/workflow.json").read_bytes()
    planned = call(around, "--dry-run", "--forceall", "--quiet", "host")
    counts = _counts(planned.stdout)
    jobs = sum(len(rule["jobs"]) for rule in json.loads(told)["rules"])
    assert counts["total"] == jobs + counts["weigh_metrics"]
    assert not [name for name in counts if not name.startswith("stratiome_") and name not in ("weigh_metrics", "total")]


@pytest.mark.parametrize(
    ("before", "after", "asked"),
    [
        ("", "", "stratiome_all"),
        ("rule mine:\n    default_target: True\n    output:\n        'mine.txt',\n", "", "mine"),
        ("rule mine:\n    output:\n        'mine.txt',\n", "", "mine"),
        ("", "rule mine:\n    default_target: True\n    output:\n        'mine.txt',\n", "mine"),
    ],
)
def test_what_is_asked_for_is_up_to_the_other_workflow(before, after, asked, tmp_path):
    config = write_tiny(tmp_path / "data") | {"results": "results/tiny"}
    text = MODULE[: MODULE.index("rule weigh_metrics")]
    write_foreign(tmp_path, config, text=before + text + after)
    done = call(tmp_path, "--dry-run", "--quiet", "host")
    assert done.returncode == 0, done.stdout
    counts = _counts(done.stdout)
    assert asked in counts
    assert ("stratiome_train_latent" in counts) == (asked == "stratiome_all")


def test_mistakes_of_the_config_are_told_before_any_job(tmp_path):
    write_foreign(tmp_path, write_tiny(tmp_path / "data") | {"seed": -1, "folds": 3})
    done = call(tmp_path, "--cores", "1")
    assert done.returncode == 1
    assert "module `stratiome`: 2 problems" in done.stderr
    assert "1. `seed`: " in done.stderr
    assert "2. `folds`: unknown key" in done.stderr
    assert not (tmp_path / "data/results").exists()


@pytest.mark.parametrize("case", ["prefix", "pathvars", "config"])
def test_files_elsewhere_than_the_config_says_are_refused(case, tmp_path):
    config = write_tiny(tmp_path / "data") | {"results": "results/tiny"}
    more = {"prefix": '    prefix: "sub"\n', "pathvars": '    pathvars:\n        results="sub",\n', "config": ""}[case]
    beside = {"pathvars": {"results": "sub"}} if case == "config" else {}
    write_foreign(tmp_path, config, more, **beside)
    done = call(tmp_path, "--dry-run")
    assert done.returncode == 1
    assert "`results`: the workflow that uses module `stratiome` puts its files into sub" in done.stdout
    if case == "config":  # as is suggested
        write_foreign(tmp_path, config, '    pathvars:\n        results="results/tiny",\n', **beside)
        assert call(tmp_path, "--dry-run").returncode == 0


def test_two_cohorts_are_two_modules(tmp_path):
    first = write_tiny(tmp_path / "data") | {"results": "results/first"}
    second = write_tiny(tmp_path / "other", seed=1) | {"results": "results/second", "treatments": {}}
    write_foreign(tmp_path, first, text=TWO, second=second)
    done = call(tmp_path, "--dry-run", "--quiet", "host")
    assert done.returncode == 0, done.stdout
    counts = _counts(done.stdout)
    assert counts["first_train_latent"] == counts["second_train_latent"] == 3
    assert "first_fit_treatment" in counts
    assert "second_fit_treatment" not in counts


def test_what_a_profile_sets_for_a_rule_holds_in_a_module(tmp_path):
    other = write_config(write_tiny(tmp_path / "other"), tmp_path / "other.yaml")
    config = write_tiny(tmp_path / "data") | {"results": "results/tiny", "external": {"other": str(other)}}
    asks = "for one in workflow.rules:\n    print('asks', one.name, *one.resources.args)\n"
    write_foreign(tmp_path, config, text=MODULE + asks)
    given = ("train_latent:slurm_partition=gpu", "train_latent:weight=12", "stratiome_train_latent:weight=45")
    given += ("ingest_cohort:weight=78",)
    done = call(tmp_path, "--dry-run", "--cores", "4", "--set-resources", *given, "--set-threads", "train_latent=3")
    assert done.returncode == 0, done.stdout
    told = {words[1]: set(words[2:]) for words in map(str.split, done.stdout.splitlines()) if words[:1] == ["asks"]}
    assert {"weight=45", "slurm_partition=gpu", "_cores=3"} <= told["stratiome_train_latent"]
    assert "weight=78" in told["stratiome_ingest_cohort"] & told["stratiome_external_other_ingest_cohort"]


def test_groups_of_a_profile_hold_in_a_module(tmp_path):
    other = write_config(write_tiny(tmp_path / "other"), tmp_path / "other.yaml")
    config = write_tiny(tmp_path / "data") | {"results": "results/tiny", "external": {"other": str(other)}}
    asks = "told = workflow.parent_groupids\nprint('groups', *(k + '=' + str(told[k]) for k in told))\n"
    write_foreign(tmp_path, config, text=MODULE + asks)
    done = call(tmp_path, "--dry-run", "--cores", "4")
    assert done.returncode == 0, done.stdout
    told = next(line.split()[1:] for line in done.stdout.splitlines() if line.startswith("groups "))
    assert {"stratiome_checks=checks", "stratiome_features=features"} <= set(told)
    assert {name.partition("=")[2] for name in told if "external_other" in name} >= {"features"}


def test_names_that_no_rule_has_are_told(tmp_path):
    path = write_config(write_tiny(tmp_path / "data"), tmp_path / "c.yaml")
    given = ("train_latnt:gpu=1", "fit_treatment:weight=2")
    done = snakemake("--dry-run", "--configfile", str(path), "--set-resources", *given, cwd=tmp_path)
    assert done.returncode == 0
    said = "`set-resources`: there is no rule `train_latnt`, so that what is set for it has no effect"
    assert done.stderr.count(said) == done.stderr.count("there is no rule") == 1


def test_a_cohort_that_is_too_small_is_refused_only_where_it_is_analysed(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/bundle.json").write_text("{}")
    config = write_tiny(tmp_path / "data", n=12) | {"bundle": {"apply": "bundle"}}
    text = MODULE[: MODULE.index("rule weigh_metrics")] + "rule scores:\n    default_target: True\n    input:\n        "
    write_foreign(tmp_path, config, text=text + "rules.stratiome_apply.input,\n")
    done = call(tmp_path, "--dry-run", "--quiet", "host")
    assert done.returncode == 0, done.stdout
    assert "stratiome_apply_bundle" in _counts(done.stdout)
    refused = call(tmp_path, "--dry-run", "stratiome_all")
    assert refused.returncode == 1
    assert "can be scored by a bundle, but neither analysed" in refused.stdout
