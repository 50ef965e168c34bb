"""What stays hidden where jobs run on a cluster."""

import os

import pytest

from stratiome import cluster


def test_what_jobs_said_is_read_from_their_logs(tmp_path):
    logs = tmp_path / "logs"
    (logs / "full").mkdir(parents=True)
    texts = {
        "ingest_cohort.log": "INFO stratiome.job: began\nERROR stratiome.job: rule ingest_cohort: `mrna`: 2 problems\n"
        "  1. a.tsv: text in a column\nSuggestion: mend it\n",
        "full/train_latent.log": "ERROR stratiome.job: rule train_latent, resample full: ValueError: no\n"
        "ERROR stratiome.job: Traceback (most recent call last):\n  File\n",
        "design_resamples.log": "INFO stratiome.job: done\nWARNING stratiome: rule of thumb\n",
        "earlier.log": "ERROR stratiome.job: rule earlier: mended since\n",
    }
    for i, (name, text) in enumerate(texts.items()):
        (logs / name).write_text(text)
        os.utime(logs / name, ns=(0, 10 + i if name != "earlier.log" else 5))
    last, first = cluster.said_by_jobs(logs, 10)
    said = "Stratiome stopped in rule train_latent, resample full: ValueError: no"
    assert last == f"{said}\nDetails: {logs / 'full/train_latent.log'}"
    assert "2 problems\n  1. a.tsv: text in a column\nSuggestion: mend it\nDetails: " in first
    assert cluster.said_by_jobs(tmp_path / "none", 0) == []


@pytest.mark.parametrize("given", ["train_latnt", "elsewhere_rule"])
def test_names_that_no_rule_has(given):
    said = cluster.unknown_rules([given, "train_latent"], ["train_latent", "fit_prognosis"], "set-resources")
    assert len(said) == 1
    assert f"there is no rule `{given}`" in said[0]
    assert ("did you mean `train_latent`?" in said[0]) == (given == "train_latnt")
