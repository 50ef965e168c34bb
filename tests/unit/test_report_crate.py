"""The description of a run for machines: read back by the library, and compared with the files and the profile."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from stratiome.report.crate import NAMED, PROFILES, TRACES, Run, describe, listed

METADATA = "ro-crate-metadata.json"
PATIENT = "HOSP-0001"
FIGURES = ("figures/km.csv", "figures/km.svg", "figures/captions.md", "figures_public/km.pdf")
MANIFEST = {
    "created_with": {"stratiome": "0.1.0"},
    "config_hash": "0123456789abcdef",
    "seed": 1,
    "device": "auto",
    "python": "3.11.7",
    "inputs": [
        {"name": "clinical", "path": "/home/someone/clinical.tsv", "sha256": "ab" * 32, "bytes": 1, "rows": 9},
        {"name": "gene sets", "path": "/home/someone/sets.gmt", "sha256": "cd" * 32, "bytes": 1, "rows": 9},
    ],
    "config": {"data": {"folder": "/home/someone"}},
}
RUN = Run(
    title="A cohort",
    description="Simulated.",
    manifest=MANIFEST,
    engine="9.27.1",
    span=(1_800_000_000.0, 1_800_000_060.0),
    workflow=("workflow/Snakefile", "workflow/rules/cohort.smk"),
)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of results, with files that the crate must leave out."""
    texts = [*NAMED, *TRACES, *RUN.workflow, "bundle/bundle.json", "bundle/latent.safetensors", *FIGURES]
    for name in [*texts, "manifest.json", "figures/.km.partial", "figures/map.svg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{name} of /home/someone and {PATIENT}")
    (tmp_path / "figures/km.csv").write_text("table,table_row,survival\nsubgroup_curves,0,1.0\n")
    (tmp_path / "figures/map.csv").write_text("table,table_row,x,y\nlatent_map,0,0.1,0.2\n")
    (tmp_path / "evaluation").mkdir()
    pl.DataFrame({"model": ["clinical"], "estimate": [0.7]}).write_parquet(tmp_path / "evaluation/metrics.parquet")
    for name in ("evaluation/subgroup_assignment", "figures/dots"):
        pl.DataFrame({"patient_id": [PATIENT]}).write_parquet(tmp_path / f"{name}.parquet")
    pl.DataFrame({"x": [0.1], "y": [0.2]}).write_parquet(tmp_path / "evaluation/latent_map.parquet")
    return tmp_path


def _read(results: Path, run: Run = RUN):
    from rocrate.rocrate import ROCrate

    (results / METADATA).write_text(json.dumps(describe(results, run)))
    return ROCrate(results)


def test_every_file_is_there_with_its_digest(results):
    crate = _read(results)
    files = [e for e in crate.data_entities if "File" in e.type]
    assert {e.id for e in files} == {
        *NAMED, *TRACES, *RUN.workflow, "bundle/bundle.json", "bundle/latent.safetensors", *FIGURES,
        "evaluation/metrics.parquet",
    }  # fmt: skip
    for entity in files:
        content = (results / entity.id).read_bytes()
        assert entity["sha256"] == hashlib.sha256(content).hexdigest()
        assert entity["contentSize"] == str(len(content))
        assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", entity["encodingFormat"])
    assert {e.id for e in crate.root_dataset["hasPart"]} == {e.id for e in files}


def test_what_the_profile_requires(results):
    crate = _read(results)
    assert {e.id for e in crate.root_dataset["conformsTo"]} == set(PROFILES)
    assert all(e.type == "CreativeWork" for e in crate.root_dataset["conformsTo"])
    said = {e["@id"] if isinstance(e, dict) else e.id if hasattr(e, "id") else e for e in crate.metadata["conformsTo"]}
    assert said == {"https://w3id.org/ro/crate/1.1", "https://w3id.org/workflowhub/workflow-ro-crate/1.0"}
    workflow = crate.mainEntity
    assert set(workflow.type) == {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    assert workflow["programmingLanguage"].id == "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
    assert workflow["programmingLanguage"]["version"] == "9.27.1"
    assert workflow["license"].id == "https://spdx.org/licenses/BSD-3-Clause"
    assert crate.license["name"] == "No licence is given for the results"
    action = crate.root_dataset["mentions"]
    assert action.type == "CreateAction"
    assert action["instrument"] is workflow
    assert action["startTime"] == "2027-01-15T08:00:00+00:00"
    assert action["endTime"] == "2027-01-15T08:01:00+00:00"
    assert action.get("agent") is None  # the config names no authors
    assert {e.id for e in action["result"]} == set(NAMED) | {
        "bundle/bundle.json", "bundle/latent.safetensors", "evaluation/metrics.parquet", *FIGURES,
    }  # fmt: skip
    given = {e["name"]: e for e in action["object"] if e.type == "CreativeWork"}
    assert {name: e["sha256"] for name, e in given.items()} == {"clinical": "ab" * 32, "gene sets": "cd" * 32}
    assert all("not part of this crate" in e["description"] for e in given.values())
    assert {e["name"]: e["value"] for e in action["object"] if e.type == "PropertyValue"}["seed"] == "1"
    assert all(crate.get(name)["about"] is action for name in TRACES)


def test_nothing_of_patients_or_of_the_machine(results):
    text = json.dumps(describe(results, RUN))
    assert PATIENT not in text
    assert "someone" not in text
    assert str(results) not in text
    assert "manifest.json" not in text  # it names the folders of the input files
    ids = [entity["@id"] for entity in json.loads(text)["@graph"]]
    assert len(ids) == len(set(ids))
    assert not [i for i in ids if i.startswith(("/", "file:", "..")) or re.match(r"[A-Za-z]:\\", i)]
    assert not [i for i in ids if "subgroup_assignment" in i or "latent_map" in i or "partial" in i]
    assert not [i for i in ids if "dots" in i or "figures/map" in i]


def test_times_that_are_not_known_are_left_out(results):
    crate = _read(results, replace(RUN, span=None))
    action = crate.root_dataset["mentions"]
    assert action.get("startTime") is None
    assert action.get("endTime") is None


def test_the_same_run_is_described_in_the_same_words(results):
    assert describe(results, RUN) == describe(results, RUN)


def test_a_page_that_is_gone_stops_it(results):
    (results / "report_public.html").unlink()
    with pytest.raises(FileNotFoundError, match=r"report_public\.html.*Suggestion"):
        listed(results)
