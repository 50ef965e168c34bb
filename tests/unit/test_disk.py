"""Words for full and read-only disks, and times of files that cannot be right."""

import errno
import os

import pytest

from stratiome import clock, disk


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "made.parquet"), "full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "made.parquet"), "full"),
        (OSError(errno.EROFS, "Read-only file system", "made.parquet"), "read-only"),
        (RuntimeError("Can't write data (errno = 28, error message = 'No space left on device')"), "full"),
    ],
)
def test_the_state_of_the_disk_is_told_with_the_file_and_a_fix(error, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.parquet").write_text("")
    said = disk.explain(error, ["there.parquet", "made.parquet"])
    assert said is not None
    assert said.startswith("made.parquet could not be written")
    assert word in said
    assert "Suggestion:" in said


def test_the_cause_of_an_error_counts():
    error = ValueError("could not write")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert "full" in str(disk.explain(error, []))
    assert disk.explain(ValueError("something else"), []) is None


def test_times_to_come_are_found_and_set_back(tmp_path):
    late, early = tmp_path / "late", tmp_path / "early"
    for path in (late, early):
        path.write_text("")
    now = early.stat().st_mtime_ns
    os.utime(late, ns=(now, now + 7_200_000_000_000))
    paths = [str(late), str(early), str(tmp_path / "absent")]
    assert clock.ahead(paths, now) == [str(late)]
    assert sorted(clock.files(tmp_path)) == [str(early), str(late)]
    assert "late: 2" in clock.told([str(late)])
    clock.set_back([str(late)], now)
    assert clock.ahead(paths, now) == []
    assert late.stat().st_mtime_ns == now
