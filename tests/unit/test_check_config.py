"""What is said of config files that cannot be read, and where their results go."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from stratiome.check_config import main, results
from stratiome.config import load_config
from stratiome.sweep import merged

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "cohort: a\nlatent: {dims: 2\nseed: 1\n",
            r"line 3, column 5: expected ',' or '}'.* Suggestion: look at this line",
        ),
        ("cohort: a\nlatent:\n\tdims: 2\n", r"line 3, column 1: .*Suggestion: indent with blanks, not with tabs"),
        ("cohort: a\ntitle: one: two\n", r"line 2, column 11: mapping values are not allowed here"),
        ("just words\n", "holds no keys"),
        ("", "holds no keys"),
        (None, r"cannot be read \(No such file or directory\). Suggestion: check the path"),
        (b"title: \xe4\n", "is not UTF-8"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path, capsys, text, said):
    path = tmp_path / "my.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main([str(ROOT / "config/light.yaml"), str(path)]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"{path}: 1 problem\n")
    assert re.search(said, printed)


@pytest.mark.parametrize("name", ["config/config.yaml", "config/sweep.yaml", "config/cohorts/transbig.yaml"])
def test_where_results_go(name, capsys):
    raw = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    assert main(["--results", str(ROOT / name)]) == 0
    folder = capsys.readouterr().out.strip()
    assert folder == (f"results/{raw['sweep']}" if "sweep" in raw else load_config(raw).results_folder)


def test_of_two_files_the_later_one_counts(tmp_path):
    (tmp_path / "other.yaml").write_text("results: elsewhere\n")
    assert results([ROOT / "config/config.yaml", tmp_path / "other.yaml"]) == "elsewhere"


def test_the_light_settings_are_lighter_and_in_the_readme():
    text = (ROOT / "config/light.yaml").read_text(encoding="utf-8")
    light, whole = yaml.safe_load(text), yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    found, before = load_config(merged(whole, light)), load_config(whole)
    assert found.resamples.folds < before.resamples.folds
    assert len(found.latent.baselines) < len(before.latent.baselines)
    assert found.subgroups.subsamples < before.subgroups.subsamples
    assert found.evaluation.bootstraps < before.evaluation.bootstraps
    assert found.resamples.leave_site_out == before.resamples.leave_site_out
    assert "config/light.yaml" in (ROOT / "README.md").read_text(encoding="utf-8")
