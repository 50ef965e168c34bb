"""Files that change, clocks that differ, and runs that meet: nothing wrong is used, and the end is the same."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
import yaml

from conftest import write_config
from faulty import TARGET, again, analysed, contents, copy, difference, flip, fresh, start, wait_for, write_analysis

pytestmark = [pytest.mark.long]

HOUR = 3_600_000_000_000
READ = {
    "resamples/cv-1-1/latent.h5ad": "train_latent",
    "resamples/cv-1-1/latent.safetensors": "train_latent",
    "resamples/cv-1-1/latent.json": "train_latent",
    "resamples/cv-1-1/features.h5mu": "build_features",
}
"""What `find_subgroups` reads, and the rule that makes it."""


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    return analysed(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def reference(clean) -> dict[str, bytes]:
    return contents(clean)


@pytest.fixture
def folder(clean, tmp_path) -> Path:
    return copy(clean, tmp_path / "run")


def _ends_the_same(folder: Path, reference: dict[str, bytes]) -> None:
    done = again(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert difference(reference, contents(folder)) == []


def _told(text: str) -> list[str]:
    return re.findall(r"^(\S+) is not what rule \w+ wrote", text, re.M)


def test_every_changed_input_is_refused_and_made_anew(folder, reference):
    for name in READ:
        flip(folder / "results" / name, keep_time=True)
    (folder / TARGET).unlink()
    done = again(folder)
    assert done.returncode == 1
    for name, rule in READ.items():
        assert f"results/{name} is not what rule {rule} wrote" in done.stderr
    assert "delete them, and run the same command again" in done.stderr
    assert not [p for p in (folder / TARGET).parent.iterdir() if p.name in ("subgroups.parquet", "mixture.json")]
    for name in set(_told(done.stderr)):
        (folder / name).unlink()
    _ends_the_same(folder, reference)


def test_a_changed_file_with_a_newer_time_is_refused_as_well(folder, reference):
    flip(folder / "results/cohort/resamples.parquet", keep_time=False)
    done = again(folder)
    assert done.returncode == 1
    assert set(_told(done.stderr)) == {"results/cohort/resamples.parquet"}
    assert "rule design_resamples" in done.stderr
    assert not (folder / "results/resamples/cv-1-1/features.h5mu").exists()  # the job that reads it wrote nothing
    (folder / "results/cohort/resamples.parquet").unlink()
    # What was made from the file as it was is still there and right, so that the file is not needed until it is read.
    assert again(folder).returncode == 0
    there = contents(folder)
    assert TARGET.removeprefix("results/") in there
    assert {name for name in there if there[name] != reference[name]} == set()
    (folder / TARGET).unlink()
    _ends_the_same(folder, reference)


def test_files_of_an_older_version_are_used_and_named(folder, reference):
    for path in (folder / "results/.digests").rglob("*.digest"):
        path.unlink()
    (folder / TARGET).unlink()
    _ends_the_same(folder, reference)
    log = (folder / "results/logs/cv-1-1/find_subgroups.log").read_text()
    assert "used without a digest of its maker: results/resamples/cv-1-1/latent.h5ad" in log


def test_touched_files_keep_their_digests(folder, reference):
    assert again(folder, TARGET, "--touch", "--forceall").returncode == 0
    (folder / TARGET).unlink()
    _ends_the_same(folder, reference)


def test_results_of_clocks_that_were_wrong_end_the_same(folder, reference):
    made = sorted(p for p in (folder / "results").rglob("*") if p.suffix in (".h5mu", ".safetensors", ".parquet"))
    for hours, paths in ((-3, made[::3]), (3, made[1::3])):  # the others keep their time
        for path in paths:
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + hours * HOUR))
    (folder / TARGET).unlink()
    _ends_the_same(folder, reference)
    assert "Nothing to be done" in again(folder).stderr


def test_a_result_from_a_time_to_come_does_not_outlive_what_it_is_made_from(folder, clean, tmp_path):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["latent"]["dims"] = 3
    write_config(config, folder / "config.yaml")
    made = ("subgroups", "memberships", "selection", "stability", "information", "mixture")
    for path in (p for p in (folder / TARGET).parent.iterdir() if p.stem in made):
        os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 3 * HOUR))
    # A run that ends after the model, as one that is killed: the subgroups of the old model stay behind.
    done = again(folder, "results/resamples/cv-1-1/latent.json")
    assert done.returncode == 0, done.stderr[-3000:]
    done = again(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "(Rule: find_subgroups)" in done.stderr
    whole = copy(clean, tmp_path / "whole")
    write_config(config, whole / "config.yaml")
    assert again(whole).returncode == 0
    assert difference(contents(whole), contents(folder)) == []


def test_files_of_the_user_from_a_time_to_come_are_refused_before_any_job(tmp_path):
    write_analysis(tmp_path)
    late = tmp_path / "data/mrna.tsv"
    os.utime(late, ns=(0, time.time_ns() + HOUR))
    done = again(tmp_path)
    assert done.returncode == 1
    assert "time to come" in done.stderr
    assert str(late) in done.stderr
    assert "Suggestion" in done.stderr
    assert not (tmp_path / "results/logs").exists()


def test_of_runs_started_at_once_all_but_one_are_refused(clean, reference, tmp_path):
    config = yaml.safe_load((clean / "config.yaml").read_text())
    write_config(config | {"results": str(tmp_path / "results")}, tmp_path / "config.yaml")
    (tmp_path / "other").mkdir()
    target = str(tmp_path / TARGET)
    runs = [
        start(tmp_path, target, name=name, directory=directory)
        for name, directory in (("one", tmp_path), ("two", tmp_path), ("three", tmp_path / "other"))
    ]
    codes = [run.wait(timeout=1200) for run in runs]
    said = [(tmp_path / name).read_text() for name in ("one", "two", "three")]
    assert sorted(codes) == [0, 1, 1], said
    refused = [text for code, text in zip(codes, said, strict=True) if code]
    assert all("Another run " in text and "Suggestion" in text for text in refused), refused
    assert not any("Finished jobid" in text for text in refused)
    assert difference(reference, contents(tmp_path)) == []


def test_a_new_run_waits_for_jobs_of_a_killed_one(clean, reference, tmp_path):
    rule = "train_latent"
    fresh(clean, tmp_path)
    log = tmp_path / f"results/logs/cv-1-1/{rule}.log"
    run = start(tmp_path, name="killed")
    wait_for(log.exists, run)
    [orphan] = _jobs_of(tmp_path, rule)
    os.kill(orphan, signal.SIGSTOP)  # so that it is still at work when the next run comes
    run.kill()  # the run alone, as `kill -9` does, not its jobs
    run.wait()
    try:
        new = start(tmp_path, name="new")
        wait_for(lambda: "still at work" in (tmp_path / "new").read_text(), new)
        time.sleep(1.0)
        assert "Finished jobid" not in (tmp_path / "new").read_text()
    finally:
        os.kill(orphan, signal.SIGCONT)
    assert new.wait(timeout=1200) == 0, (tmp_path / "new").read_text()[-3000:]
    assert difference(reference, contents(tmp_path)) == []


def _jobs_of(folder: Path, rule: str) -> list[int]:
    """Processes of the jobs of a rule in a folder, by their script."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        except OSError:  # it has just ended
            continue
        if words[-1].startswith(str(folder)) and words[-1].endswith(f".{rule}.py"):
            found.append(int(path.parent.name))
    return found
