"""The door between a rule and the library."""

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
