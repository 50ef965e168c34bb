"""Folders on object storage: what is read from them, and how it is told of."""

import pytest

from conftest import write_tiny
from stratiome.bundle.files import CARD, FILES
from stratiome.config import check_config
from stratiome.plan import plan
from stratiome.remote import by_address, moved, read_from, remote_files

DATA, BUNDLE = ("data", "folder"), ("bundle", "apply")


def _config(**data):
    omics = {
        "mrna": {"path": "m.tsv", "kind": "expression", "only": "genes.txt"},
        "protein": {
            "path": "sub/p.parquet",
            "kind": "protein",
            "samples": {"path": "plates.tsv", "columns": ["plate"]},
        },
    }
    return {
        "cohort": "c",
        "data": {"folder": "s3://bucket/a/cohort/", "clinical": "clinical.tsv", "omics": omics} | data,
        "endpoint": {"time": "t", "event": "e", "horizons": [12]},
        "resamples": {"folds": 2, "file": "splits.tsv"},
        "subgroups": {"gene_sets": "sets.gmt"},
    }


def test_every_file_that_the_config_names_is_read():
    found = remote_files(_config())
    names = {"clinical.tsv", "m.tsv", "sub/p.parquet", "genes.txt", "plates.tsv", "splits.tsv", "sets.gmt"}
    assert list(found) == [DATA]
    address, files = found[DATA]
    assert address == "s3://bucket/a/cohort"
    assert set(files) == names
    assert len(files) == len(names)


def test_a_bundle_is_read_whole():
    found = remote_files(_config() | {"bundle": {"apply": "s3://bucket/results/c/bundle"}})
    assert found[BUNDLE] == ("s3://bucket/results/c/bundle", [CARD, *FILES])


def test_folders_of_this_machine_are_left_alone(tmp_path):
    raw = write_tiny(tmp_path)
    assert remote_files(raw) == {}
    assert moved(raw, {}) == raw
    config, _ = plan(raw, "c.yaml")
    assert read_from(config, f"{tmp_path}/clinical.tsv") is config
    lines = [{"name": "clinical", "path": f"{tmp_path}/clinical.tsv"}]
    assert by_address(lines, str(tmp_path)) == lines


def test_copies_are_read_and_addresses_told():
    raw = _config()
    config, problems = check_config(raw)
    assert problems == []
    copies = ".snakemake/storage/s3/bucket/a/cohort"
    assert moved(raw, {DATA: copies})["data"]["folder"] == copies
    assert raw["data"]["folder"] == "s3://bucket/a/cohort/"
    assert read_from(config, f"{copies}/clinical.tsv").data.folder == f"{copies}/"
    lines = [
        {"name": n, "path": p} for n, p in (("protein", f"{copies}/sub/p.parquet"), ("gene sets", "other/sets.gmt"))
    ]
    told = [line["path"] for line in by_address(lines, config.data.folder)]
    assert told == ["s3://bucket/a/cohort/sub/p.parquet", "other/sets.gmt"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": {"folder": "gs://bucket/cohort"}}, "is no folder"),
        ({"data": {"folder": ".", "clinical": "s3://bucket/cohort/clinical.tsv"}}, "give the address of their folder"),
        ({"data": {"clinical": None, "study": "brca"}}, "a study is read from a folder of this machine"),
        ({"results": "s3://bucket/results"}, "profiles/s3"),
        ({"bundle": {"apply": "https://host/bundle"}}, "is no folder"),
    ],
)
def test_an_address_that_is_not_read_is_refused(change, said):
    raw = _config()
    for key, value in change.items():
        raw[key] = raw[key] | value if isinstance(value, dict) and key in raw else value
    _, problems = check_config(raw)
    assert len(problems) == 1
    assert said in problems[0]
    assert "Suggestion" in problems[0]
