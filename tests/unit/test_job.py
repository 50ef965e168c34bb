"""The door between a rule and the library."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from stratiome import job
from stratiome.config import LatentConfig, TreatmentConfig, load_config
from stratiome.tables import TableError

CONFIG = load_config(
    {
        "cohort": "x",
        "data": {"simulate": {}},
        "endpoint": {"time": "t", "event": "e", "horizons": [12]},
        "treatments": {"a": {"column": "a", "design": "randomised"}},
    }
)


def _snakemake(tmp_path, **changes):
    dumped = CONFIG.model_dump(mode="json")
    settings = {k: dumped[k] for k in ("latent", "treatments", "seed", "threads")}
    given = {
        "input": {"one": "a.parquet", "many": ["b.parquet"]},
        "output": {"made": "c.parquet"},
        "wildcards": {"resample": "full"},
        "params": {"settings": settings, "library": "abc", "extra": 3},
        "log": [str(tmp_path / "logs/rule.log")],
        "rule": "some_rule",
    }
    return SimpleNamespace(**(given | changes))


def test_arguments_arrive_by_name_and_type(tmp_path):
    seen = {}

    def main(
        *,
        one: str,
        many: list[str],
        made: str,
        resample: str,
        latent: LatentConfig,
        treatments: dict,
        seed: int,
        library: str,
    ):
        seen.update(locals())

    job.run(main, _snakemake(tmp_path))
    assert seen["one"] == "a.parquet"
    assert seen["many"] == ["b.parquet"]
    assert seen["resample"] == "full"
    assert seen["latent"] == CONFIG.latent
    assert isinstance(seen["treatments"]["a"], TreatmentConfig)
    assert seen["seed"] == 1
    assert seen["library"] == "abc"
    assert "done" in (tmp_path / "logs/rule.log").read_text()


def test_a_single_file_is_a_list_where_a_list_is_meant(tmp_path):
    seen = {}

    def main(*, one: list[str]):
        seen["one"] = one

    job.run(main, _snakemake(tmp_path))
    assert seen["one"] == ["a.parquet"]


@pytest.mark.parametrize(("error", "traced"), [(TableError("column `a` is missing"), False), (KeyError("oops"), True)])
def test_errors_name_the_rule_and_trace_only_what_was_not_foreseen(tmp_path, capsys, error, traced):
    def main(*, one: str):
        raise error

    with pytest.raises(SystemExit) as stopped:
        job.run(main, _snakemake(tmp_path))
    assert stopped.value.code == 1
    shown = capsys.readouterr().err
    assert "rule some_rule, resample full" in shown
    assert "Traceback" not in shown
    assert ("Traceback" in (tmp_path / "logs/rule.log").read_text()) is traced


@pytest.fixture
def results(tmp_path):
    """Folder that a run holds."""
    folder = tmp_path / "results"
    (folder / "external/other").mkdir(parents=True)
    (folder / ".lock").write_text("")
    return folder


def _job(results, rule, read, made):
    log = results / f"logs/{rule}.log"
    files = {"input": {"read": str(read)}, "output": {"made": str(made)}, "log": [str(log)], "wildcards": {}}
    return _snakemake(results, rule=rule, **{k: _Named(v) if isinstance(v, dict) else v for k, v in files.items()})


class _Named(dict):
    """Files by name, that are gone through by path, as in a script."""

    def __iter__(self):
        return iter(self.values())


def _copy(*, read: str, made: str):
    Path(made).write_bytes(Path(read).read_bytes())


@pytest.mark.parametrize("where", ["", "external/other"])
def test_a_file_that_changed_since_it_was_made_is_not_read(results, tmp_path, capsys, where):
    given, first, second = tmp_path / "given", results / where / "first", results / "second"
    given.write_text("abc")
    job.run(_copy, _job(results / where, "make_first", given, first))
    assert "used without a digest of its maker" in (results / where / "logs/make_first.log").read_text()
    job.run(_copy, _job(results, "make_second", first, second))
    second.unlink()
    first.write_text("abd")
    with pytest.raises(SystemExit):
        job.run(_copy, _job(results, "make_second", first, second))
    assert f"{first} is not what rule make_first wrote" in capsys.readouterr().err
    assert not second.exists()
    assert "Traceback" not in (results / "logs/make_second.log").read_text()


def test_a_job_of_an_overtaken_run_changes_nothing(results, tmp_path, monkeypatch, capsys):
    given, made = tmp_path / "given", results / "made"
    given.write_text("abc")
    (results / ".lock").write_text("new")
    monkeypatch.setenv("STRATIOME_RUN", "old")
    with pytest.raises(SystemExit):
        job.run(_copy, _job(results, "make", given, made))
    assert "The run of this job is over" in capsys.readouterr().err
    assert {p.name for p in results.rglob("*") if p.is_file()} == {".lock", ".jobs.lock"}


def test_a_full_disk_is_told_of_without_a_trace(results, tmp_path, capsys):
    given = tmp_path / "given"
    given.write_text("abc")

    def full(*, read: str, made: str):
        raise OSError(28, "No space left on device")

    with pytest.raises(SystemExit):
        job.run(full, _job(results, "make", given, results / "made"))
    said = capsys.readouterr().err
    assert f"{results / 'made'} could not be written: the disk of {results} is full" in said
    assert "Traceback" not in (results / "logs/make.log").read_text()
