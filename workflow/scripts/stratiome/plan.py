"""Everything that can be wrong with an analysis and is cheap to find, found together before any job starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stratiome.cohort.clinical import read_clinical, site_counts
from stratiome.cohort.endpoint import check_horizons
from stratiome.cohort.errors import CohortError
from stratiome.cohort.read import missing_column, read_header
from stratiome.config import Config, ConfigError, DataConfig, check_config, resolve
from stratiome.resample.design import site_groups


def plan(raw: dict[str, Any], source: str) -> tuple[Config, dict[str, list[str]]]:
    """Validate a config and the files it names.

    Parameters
    ----------
    raw
        The config as read from YAML.
    source
        File name for messages.

    Returns
    -------
    tuple
        The config, and the sites to hold out (resample name -> sites).

    Raises
    ------
    ConfigError
        With every mistake of the config, the headers of the files and the clinical table.
    """
    config, problems = check_config(raw)
    sites: dict[str, list[str]] = {}
    if config is not None and config.data.clinical is not None:
        problems += _check_headers(
            {f"data.omics.{n}.path": p for n, p in omic_files(config).items()}, config.data.patient_id
        )
        problems += _check_samples(config)
        try:
            clinical = read_clinical(clinical_file(config), config)
            problems += check_horizons(clinical_file(config), clinical.outcome, config)
            if config.site and config.resamples.leave_site_out:
                # A site without follow-up cannot be predicted on, so only patients with an outcome count.
                followed = clinical.covariates.join(clinical.outcome, on="patient_id", how="semi")
                sites = site_groups(site_counts(followed, config.site), config.resamples.min_site)
        except CohortError as error:
            problems += error.problems
    elif config is None:
        problems += _check_files_named(raw)
    elif config.data.simulate is not None and config.resamples.leave_site_out:
        planned = config.data.simulate
        if planned.patients / planned.sites >= config.resamples.min_site:
            sites = site_groups({f"site_{i}": config.resamples.min_site for i in range(1, planned.sites + 1)}, 1)
    if config is not None:
        problems += _check_results(Path(config.results_folder))
    if problems or config is None:
        raise ConfigError(problems, source)
    return config, sites


def _check_files_named(raw: dict[str, Any]) -> list[str]:
    """What is wrong with the files of a config that lacks required keys, so that all is said in the same go."""
    try:
        data = DataConfig.model_validate(raw.get("data"))
    except ValidationError:
        return []
    if data.clinical is None:
        return []
    files = {"data.clinical": resolve(data.folder, data.clinical)}
    files |= {f"data.omics.{name}.path": resolve(data.folder, omic.path) for name, omic in data.omics.items()}
    return _check_headers(files, data.patient_id)


def _check_headers(files: dict[str, Path], patient_id: str) -> list[str]:
    problems = []
    for key, path in files.items():
        try:
            header = read_header(path)
        except CohortError as error:
            problems += [f"`{key}`: {text}" for text in error.problems]
            continue
        if patient_id not in header:
            problems.append(missing_column(path, patient_id, header, key))
    return problems


def _check_samples(config: Config) -> list[str]:
    """What is wrong with the headers of the tables of samples."""
    problems = []
    for name, path in sample_files(config).items():
        key = f"data.omics.{name}.samples"
        samples = config.data.omics[name].samples
        columns = samples.columns if samples else ()
        try:
            header = read_header(path)
        except CohortError as error:
            problems += [f"`{key}.path`: {text}" for text in error.problems]
            continue
        wanted = {config.data.patient_id: f"{key}.path"} | dict.fromkeys(columns, f"{key}.columns")
        problems += [missing_column(path, c, header, k) for c, k in wanted.items() if c not in header]
    return problems


def _check_results(folder: Path) -> list[str]:
    present = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if present.is_dir() and os.access(present, os.W_OK):
        return []
    why = "is a file" if not present.is_dir() else "is not yours to write to"
    return [f"`results`: {folder} cannot be written, {present} {why}. Suggestion: name a folder that is yours"]


def clinical_file(config: Config) -> Path:
    """Path of the clinical table, given or made by the workflow."""
    if config.data.clinical is not None:
        return resolve(config.data.folder, config.data.clinical)
    return Path(config.results_folder) / "input" / "clinical.tsv"


def omic_files(config: Config) -> dict[str, Path]:
    """Paths of the omics matrices, given or made by the workflow."""
    if config.data.clinical is not None:
        return {name: resolve(config.data.folder, omic.path) for name, omic in config.data.omics.items()}
    return {name: Path(config.results_folder) / "input" / f"{name}.parquet" for name in config.omics}


def sample_files(config: Config) -> dict[str, Path]:
    """Paths of the tables of samples, by omic."""
    samples = {name: omic.samples for name, omic in config.data.omics.items()}
    return {name: resolve(config.data.folder, s.path) for name, s in samples.items() if s is not None}
