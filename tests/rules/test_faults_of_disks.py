"""Disks that are full or read-only: the run stops with the reason, and the same command goes on once that is mended."""

from pathlib import Path

import pytest

from faulty import again, analysed, contents, difference, fresh, read_only, remount, small_disk, start, wait_for

pytestmark = [pytest.mark.long]


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    return analysed(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def reference(clean) -> dict[str, bytes]:
    return contents(clean)


def _no_halves(folder: Path) -> None:
    assert not list((folder / "results").rglob("*.partial*"))


@pytest.mark.parametrize("size", ["100k", "260k"], ids=["while the cohort is written", "while features are written"])
def test_results_on_a_full_disk(clean, reference, tmp_path, size):
    fresh(clean, tmp_path)
    with small_disk(tmp_path / "results", size) as disk:
        done = again(tmp_path)
        assert done.returncode == 1
        assert "could not be written: the disk of" in done.stderr
        assert "is full" in done.stderr
        assert "Suggestion: make room, and run the same command again" in done.stderr
        there = contents(tmp_path)
        assert {k: v for k, v in there.items() if reference[k] != v} == {}  # what is there is whole
        remount(disk, "size=64m")
        done = again(tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        assert difference(reference, contents(tmp_path)) == []
        _no_halves(tmp_path)


def test_the_state_of_the_run_on_a_full_disk_as_well(clean, reference, tmp_path):
    with small_disk(tmp_path / "disk", "300k") as disk:
        folder = fresh(clean, disk / "run")
        done = again(folder)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr or "is full" in done.stderr
        remount(disk, "size=64m")
        done = again(folder)
        assert done.returncode == 0, done.stderr[-3000:]
        assert difference(reference, contents(folder)) == []
        _no_halves(folder)


def test_read_only_results_are_refused_before_any_job(clean, tmp_path):
    folder = fresh(clean, tmp_path / "run")
    with small_disk(folder / "results", "64m") as disk:
        remount(disk, "ro")
        done = again(folder)
        assert done.returncode == 1
        assert "is on a disk that is read-only. Suggestion" in done.stderr
        assert "Execute" not in done.stderr
        assert not list(disk.iterdir())


def test_results_that_become_read_only_in_between(clean, reference, tmp_path):
    folder = fresh(clean, tmp_path / "run")
    run = start(folder)
    wait_for((folder / "results/logs/design_resamples.log").exists, run)
    with read_only(folder / "results/resamples"):
        assert run.wait(timeout=1200) == 1
        said = (folder / "out").read_text()
        assert "read-only" in said.lower(), said[-3000:]
    done = again(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert difference(reference, contents(folder)) == []
    _no_halves(folder)
