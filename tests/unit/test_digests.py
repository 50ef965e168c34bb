"""Files of the results against what their makers wrote."""

import json
import os
import shutil
from pathlib import Path

import pytest

from stratiome import digests


@pytest.fixture
def results(tmp_path) -> Path:
    folder = tmp_path / "results"
    (folder / "evaluation").mkdir(parents=True)
    (folder / "evaluation/table.parquet").write_bytes(bytes(range(256)) * 40)
    digests.record(folder, "make_table", [str(folder / "evaluation/table.parquet")])
    return folder


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _replace(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"x" * 10240)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def test_a_file_as_it_was_made_passes(results):
    assert digests.check(results, [str(results / "evaluation/table.parquet")]) == []


@pytest.mark.parametrize("change", [_flip, _shorten, _replace, _empty])
@pytest.mark.parametrize("keep_time", [True, False])
def test_a_changed_file_is_named_with_its_rule_and_a_fix(results, change, keep_time):
    path = results / "evaluation/table.parquet"
    before = path.stat()
    change(path)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(digests.DigestError) as told:
        digests.check(results, [str(path)])
    assert f"{path} is not what rule make_table wrote" in str(told.value)
    assert "Suggestion: delete it, and run the same command again" in str(told.value)


def test_all_changed_files_are_named_at_once(results):
    other = results / "other.json"
    other.write_text("{}")
    digests.record(results, "write_other", [str(other)])
    for path in (other, results / "evaluation/table.parquet"):
        _shorten(path)
    with pytest.raises(digests.DigestError, match=r"(?s)make_table.*write_other.*delete them"):
        digests.check(results, [str(results / "evaluation/table.parquet"), str(other)])


def test_files_that_nothing_is_known_of_are_used_and_named(results, tmp_path):
    given = tmp_path / "clinical.tsv"
    older = results / "older.parquet"
    for path in (given, older):
        path.write_text("x")
    assert digests.check(results, [str(given), str(older)]) == [str(given), str(older)]
    digests.record(results, "rule", [str(given)])  # outside the results
    assert not list(tmp_path.rglob("clinical*.digest"))


def test_a_damaged_digest_is_no_digest_that_fits(results):
    (results / ".digests/evaluation/table.parquet.digest").write_text("{")
    with pytest.raises(digests.DigestError, match="not what the rule that makes it wrote"):
        digests.check(results, [str(results / "evaluation/table.parquet")])


def test_a_file_that_is_made_anew_has_a_new_digest(results):
    path = results / "evaluation/table.parquet"
    digests.forget(results, [str(path), str(results / "never.json")])
    _flip(path)
    assert digests.check(results, [str(path)]) == [str(path)]
    digests.record(results, "make_table", [str(path)])
    assert digests.check(results, [str(path)]) == []


def test_the_folder_may_move_and_be_named_from_elsewhere(results, tmp_path, monkeypatch):
    moved = tmp_path / "elsewhere/results"
    shutil.copytree(results, moved)
    monkeypatch.chdir(moved.parent)
    assert digests.check(Path("results"), ["results/evaluation/table.parquet"]) == []
    assert digests.check(moved, ["results/evaluation/table.parquet"]) == []


def test_a_folder_is_known_by_its_files_but_hidden_ones(results):
    folder = results / "figures"
    folder.mkdir()
    (folder / "a.svg").write_text("a")
    digests.record(results, "draw", [str(folder)])
    (folder / ".stamp").write_text("")
    assert digests.check(results, [str(folder)]) == []
    (folder / "a.svg").rename(folder / "b.svg")
    with pytest.raises(digests.DigestError):
        digests.check(results, [str(folder)])


def test_the_digest_is_the_same_whenever_it_is_made(results):
    place = results / ".digests/evaluation/table.parquet.digest"
    first = place.read_bytes()
    digests.record(results, "make_table", [str(results / "evaluation/table.parquet")])
    assert place.read_bytes() == first
    assert set(json.loads(first)) == {"rule", "sha256", "bytes"}
    assert [p.name for p in place.parent.iterdir()] == [place.name]
