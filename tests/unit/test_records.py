"""A changed config is refused where Snakemake has no record of what it makes old."""

import json
from pathlib import Path

import pytest

from stratiome import records
from stratiome.config import load_config


@pytest.fixture
def call(tiny, tmp_path):
    """A call in a folder, with changes to the config; the first start is that of folder `one`."""
    started = tmp_path / "results/benchmarks/started.json"

    def made(folder: str, start: bool = True, end: bool = False, **changes: object) -> None:
        workdir = tmp_path / folder / ".snakemake"
        workdir.mkdir(exist_ok=True, parents=True)
        config = load_config(tiny | changes)
        records.check(started, config, workdir)
        if start:
            started.parent.mkdir(parents=True, exist_ok=True)
            started.write_text(json.dumps(records.facts(started, config, workdir)))
        if end:
            records.whole(started)

    made("one")
    return made


def test_any_config_where_the_results_were_begun(call):
    call("one", covariates=["age"])
    call("one")


def test_another_config_elsewhere_is_refused_and_told_by_its_keys(call, tiny):
    with pytest.raises(records.UnrecordedError, match=r"differs in `covariates`, `latent\.epochs`, and") as told:
        call("two", covariates=["age"], latent=tiny["latent"] | {"epochs": 7})
    assert "Suggestion: call it in the folder where the results were begun" in str(told.value)


def test_the_same_config_elsewhere_goes_on_and_then_nobody_has_the_whole_record(call):
    call("two")
    for folder in ("one", "two", "three"):
        with pytest.raises(records.UnrecordedError):
            call(folder, covariates=["age"])
    call("one")


def test_a_call_that_starts_nothing_changes_nothing(call):
    call("two", start=False)
    call("one", covariates=["age"])


def test_a_lost_record(call, tmp_path):
    (tmp_path / "one/.snakemake" / records.NAME).unlink()
    with pytest.raises(records.UnrecordedError):
        call("one", covariates=["age"])


def test_records_move_with_their_folder(call, tmp_path):
    (tmp_path / "one").rename(tmp_path / "moved")
    call("moved", covariates=["age"])


def test_other_results_and_ways_to_the_same_data_are_the_same_config(call, tiny, tmp_path):
    (tmp_path / "link").symlink_to(Path(tiny["data"]["folder"]))
    call("two", results="elsewhere", data=tiny["data"] | {"folder": str(tmp_path / "link")})
    with pytest.raises(records.UnrecordedError, match=r"`data\.folder`"):
        call("two", data=tiny["data"] | {"folder": str(tmp_path)})


def test_results_of_before_are_taken_as_they_are(tiny, tmp_path):
    started = tmp_path / "results/benchmarks/started.json"
    started.parent.mkdir(parents=True)
    records.check(started, load_config(tiny), tmp_path)
    started.write_text('{"started": "2026-01-01T00:00:00+00:00", "cores": 2}')
    records.check(started, load_config(tiny), tmp_path)


def test_after_a_change_another_folder_waits_for_a_whole_run(call):
    """A run that was killed leaves files of the old config, of which only its own record knows."""
    call("one", covariates=["age"])
    with pytest.raises(records.UnrecordedError, match="may be of an older config in part"):
        call("two", covariates=["age"])
    call("one", covariates=["age"])  # goes on, still not to its end
    with pytest.raises(records.UnrecordedError):
        call("two", covariates=["age"])
    call("one", covariates=["age"], end=True)
    call("two", covariates=["age"])
