"""A run described for machines: RO-Crate 1.1 by the profile Workflow Run Crate 0.5.

Leo et al. 2024, PLoS ONE 19:e0309210; https://w3id.org/ro/wfrun/workflow/0.5. The files described are those that lie in
the folder of the results; the crate copies none. Input files are named with their digests and said to be not included;
files with a row for each patient, and those that name folders of the machine, are left out.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

VERSION = "0.5"
PROFILES = {
    f"https://w3id.org/ro/wfrun/process/{VERSION}": ("Process Run Crate", VERSION),
    f"https://w3id.org/ro/wfrun/workflow/{VERSION}": ("Workflow Run Crate", VERSION),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
LICENSE = "https://spdx.org/licenses/BSD-3-Clause"
"""Licence of the workflow."""
NO_LICENCE = {
    "@type": "CreativeWork",
    "name": "No licence is given for the results",
    "description": "They belong to who ran the analysis. The licence of the workflow is not one of its results.",
}
FORMATS = {
    ".html": "text/html", ".json": "application/json", ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf", ".png": "image/png", ".csv": "text/csv", ".safetensors": "application/octet-stream",
    ".smk": "text/plain", ".svg": "image/svg+xml", ".tsv": "text/tab-separated-values", ".txt": "text/plain",
    ".md": "text/markdown", "": "text/plain",
}  # fmt: skip
"""Ending of a file -> its media type."""
NAMED = {
    "report.html": "The report, for those who may see the data",
    "report_public.html": "The report, version to share",
    "model_card.html": "Model card of the bundle",
    "guidelines.tsv": "Items of reporting guidelines, and where the report answers them",
}
"""Pages and tables that a run makes once."""
TRACES = {
    "run.html": "What every rule of the run cost",
    "run.tsv": "What every rule of the run cost, as a table",
    "workflow.json": "Jobs of the run, and which needs which",
}
"""Files about the run itself."""
FOLDERS = {
    "bundle": "Bundle of the fitted models",
    "evaluation": "Table of what was evaluated",
    "figures": "Figure of the report, its rows or its caption",
    "figures_public": "The same of the version to share",
}
"""Folders of results, and what a file in them is."""
MAPS = frozenset({"latent_map"})
"""Tables with a row for each patient, though without identifiers."""


@dataclass(frozen=True)
class Run:
    """What the crate tells beside the files.

    Attributes
    ----------
    title, description
        Of the analysis.
    manifest
        Inputs, software, config hash and seed.
    engine
        Version of the engine that ran the rules.
    span
        When the first job began and the last one ended, in seconds since 1970; None where not recorded.
    workflow
        Path of the workflow file within the results, and of the files that it includes.
    """

    title: str
    description: str
    manifest: Mapping[str, Any]
    engine: str
    span: tuple[float, float] | None
    workflow: Sequence[str]


def listed(results: Path) -> dict[str, str]:
    """Files of the results that the crate describes -> what they are.

    Raises
    ------
    FileNotFoundError
        If a page that every run makes is not there.
    """
    found = dict(NAMED)
    for folder, what in FOLDERS.items():
        for path in sorted(p for p in (results / folder).rglob("*") if p.is_file() and not p.name.startswith(".")):
            if not _of_patients(path):
                found[path.relative_to(results).as_posix()] = what
    if gone := [name for name in found if not (results / name).is_file()]:
        raise FileNotFoundError(f"{', '.join(gone)}: not among the results. Suggestion: run the workflow to its end")
    return found


def _of_patients(path: Path) -> bool:
    """Whether a table has a row for each patient, or a figure is drawn from such a table."""
    if path.suffix == ".parquet":
        return path.stem in MAPS or "patient_id" in pl.read_parquet_schema(path)
    drawn = path.with_suffix(".csv")
    if not drawn.is_file():
        return False
    with drawn.open(encoding="utf-8", newline="") as text:
        rows = csv.DictReader(text)
        return "patient_id" in (rows.fieldnames or ()) or any(row.get("table") in MAPS for row in rows)


def describe(results: Path, run: Run) -> dict[str, Any]:
    """The crate as JSON-LD.

    Parameters
    ----------
    results
        Folder of the results.
    run
        What else it tells.

    Raises
    ------
    FileNotFoundError
        If a file that it describes is not there.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms["sha256"] = "https://schema.org/sha256"  # not among the terms of RO-Crate 1.1
    crate.name, crate.description = run.title, _description(run)
    ended = run.span[1] if run.span else datetime.now(UTC).timestamp()
    crate.datePublished = _iso(ended)
    crate.license = crate.add(ContextEntity(crate, "#no-licence", NO_LICENCE))
    crate.root_dataset["conformsTo"] = [
        crate.add(ContextEntity(crate, url, {"@type": "CreativeWork", "name": name, "version": version}))
        for url, (name, version) in PROFILES.items()
    ]
    workflow = _add_workflow(crate, results, run)
    made = [_add_file(crate, results, path, what) for path, what in listed(results).items()]
    action = _add_action(crate, run, workflow, made)
    for path, what in TRACES.items():
        _add_file(crate, results, path, what)["about"] = action
    found: dict[str, Any] = crate.metadata.generate()
    return found


def _description(run: Run) -> str:
    text = run.description or "Multi-omics subgroups, prognosis and treatment response"
    return f"{text.rstrip('.')}. Patients' data are not part of this crate."


def _add_workflow(crate: ROCrate, results: Path, run: Run) -> Entity:
    """The workflow file as main entity, with the files it includes as its parts."""
    from rocrate.model.contextentity import ContextEntity

    main, *parts = run.workflow
    facts = _facts(results, main)
    workflow = crate.add_workflow(
        dest_path=main, main=True, lang="Snakemake", lang_version=run.engine, properties=facts
    )
    licence = {"@type": "CreativeWork", "name": "BSD 3-Clause License", "identifier": "BSD-3-Clause"}
    workflow["name"] = "Stratiome"
    workflow["version"] = str((run.manifest.get("created_with") or {}).get("stratiome", ""))
    workflow["license"] = crate.add(ContextEntity(crate, LICENSE, licence))
    workflow["hasPart"] = [_add_file(crate, results, path, "Rules of the workflow, as they ran") for path in parts]
    return workflow


def _add_action(crate: ROCrate, run: Run, workflow: Entity, made: Sequence[Entity]) -> Entity:
    """The run, with what went in and what came out."""
    from rocrate.model.contextentity import ContextEntity

    given = [
        crate.add(ContextEntity(crate, f"#input-{i}", _input(item)))
        for i, item in enumerate(run.manifest.get("inputs") or [], 1)
    ]
    digest = str(run.manifest.get("config_hash", ""))
    values = {
        "config hash": digest,
        "seed": run.manifest.get("seed"),
        "device asked for": run.manifest.get("device"),
        "Python": run.manifest.get("python"),
    }
    settings = [
        crate.add(ContextEntity(crate, f"#setting-{i}", {"@type": "PropertyValue", "name": name, "value": str(value)}))
        for i, (name, value) in enumerate(values.items(), 1)
        if value is not None
    ]
    properties = {
        "@type": "CreateAction",
        "name": f"Analysis: {run.title}",
        "description": f"All stages of the workflow with the config of hash {digest}, on this cohort",
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    if run.span:
        properties |= {"startTime": _iso(run.span[0]), "endTime": _iso(run.span[1])}
    action = crate.add_action(workflow, f"#run-{digest}", [*given, *settings], list(made), properties)
    crate.root_dataset["mentions"] = action
    return action


def _input(item: Mapping[str, Any]) -> dict[str, Any]:
    """An input file, by name and digest alone."""
    return {
        "@type": "CreativeWork",
        "name": item["name"],
        "description": "Input file of patients' data or about it. It is not part of this crate.",
        "sha256": item["sha256"],
    }


def _add_file(crate: ROCrate, results: Path, path: str, what: str) -> Entity:
    facts = _facts(results, path) | {"description": what}
    return crate.add_file(dest_path=path, properties=facts)


def _facts(results: Path, path: str) -> dict[str, Any]:
    """Name, type, size and digest of a file."""
    file = results / path
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {
        "name": file.name,
        "encodingFormat": FORMATS.get(file.suffix, "application/octet-stream"),
        "contentSize": str(file.stat().st_size),
        "sha256": digest,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
