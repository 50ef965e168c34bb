"""Everything that can be wrong with an analysis and is cheap to find, found together before any job starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from stratiome.cohort.clinical import Clinical, read_clinical, site_counts
from stratiome.cohort.endpoint import check_horizons
from stratiome.cohort.errors import CohortError
from stratiome.cohort.manifest import sha256
from stratiome.cohort.read import check_matrix_header, missing_column, read_header, read_patients
from stratiome.cohort.study import read_study, study_files
from stratiome.config import Config, ConfigError, DataConfig, check_config, resolve
from stratiome.disk import read_only
from stratiome.names import ADDRESS, CARD, FEWEST_ALIGNED, NAME_COLUMNS
from stratiome.resample.design import patients_to_split
from stratiome.resample.given import check_given, read_given
from stratiome.resample.names import resample_names, site_groups
from stratiome.resample.temporal import check_sides
from stratiome.subgroups.gmt import read_gmt
from stratiome.yaml_file import named, read_config


@dataclass(frozen=True)
class Splits:
    """What the names of the resamples depend on beside the config.

    Attributes
    ----------
    sites
        Resample name -> sites that it holds out.
    given
        Resample name -> name in the file of splits.
    too_few
        Why the cohort cannot be analysed, where a bundle is applied to it and that may be all that is asked.
    """

    sites: dict[str, list[str]] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    too_few: tuple[str, ...] = ()


def plan(raw: dict[str, Any], source: str) -> tuple[Config, Splits]:
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
        The config, and the splits that its files give.

    Raises
    ------
    ConfigError
        With every mistake of the config, the headers of the files, the clinical table and the file of splits.
    """
    config, problems = check_config(raw)
    splits = Splits()
    if config is not None:
        clinical = None
        if config.data.from_files:
            known = _known_patients(config)
            in_study = config.data.study is not None
            for name, path in omic_files(config).items():
                key = f"data.omics.{name}.path"
                problems += check_matrix_header(path, config.data.patient_id, key, known, in_study)
            problems += _check_samples(config)
            try:
                clinical = read_clinical(clinical_file(config), config, enough=config.bundle.apply is None)
            except CohortError as error:
                problems += error.problems
        splits, found = _plan_splits(config, clinical)
        if clinical is not None:
            found = check_horizons(clinical_file(config), clinical.outcome, config) + found
            found = _check_outcome(config) + list(clinical.too_few) + found
        if config.bundle.apply is not None:
            splits, found = replace(splits, too_few=tuple(found)), []
        problems += _check_gene_sets(config) + _check_names(config) + _check_bundle(config)
        problems += _check_align(config, clinical)
        problems += found + _check_results(Path(config.results_folder))
    else:
        problems += _check_files_named(raw)
    if problems or config is None:
        raise ConfigError(problems, source)
    return config, splits


def _check_outcome(config: Config) -> list[str]:
    if config.endpoint.given:
        return []
    return [
        "`endpoint`: missing, so that patients can only be scored and watched (`apply`, `monitor`). Suggestion: name "
        f"the columns of {clinical_file(config)} that hold the outcome, as endpoint: {{time: os_months, "
        "event: os_event, horizons: [60]}"
    ]


def _plan_splits(config: Config, clinical: Clinical | None) -> tuple[Splits, list[str]]:
    """Sites and given splits, and what is wrong with the splits; without a clinical table as far as can be known."""
    problems: list[str] = []
    sites: dict[str, list[str]] = {}
    given = None
    path = split_file(config)
    if path is not None:
        try:
            given = read_given(path, config.data.patient_id, config.audit.ids_in_messages)
        except CohortError as error:
            problems += [t if t.startswith("`resamples") else f"`resamples.file`: {t}" for t in error.problems]
    if clinical is not None:
        try:
            sites, found = _check_clinical(config, clinical)
            problems += found
        except CohortError as error:
            problems += error.problems
        if given is not None and path is not None:
            ids = clinical.covariates["patient_id"]
            problems += check_given(given, ids, path, config.audit.ids_in_messages)
    elif config.data.simulate is not None and config.resamples.leave_site_out:
        planned = config.data.simulate
        if planned.patients * (1 - config.resamples.test_fraction) / planned.sites >= config.resamples.min_site:
            sites = site_groups({f"site_{i}": config.resamples.min_site for i in range(1, planned.sites + 1)}, 1)
    splits = Splits(sites, given.names if given is not None else {})
    only_full = len(resample_names(config.resamples, splits.sites, splits.given)) == 1
    if only_full and not problems and (clinical is not None or config.data.simulate is not None):
        problems.append(
            "`resamples`: without folds, and with no site to hold out, nobody is held out. "
            "Suggestion: set `folds` to at least 2, or give `site` and a smaller `min_site`"
        )
    return splits, problems


def _check_clinical(config: Config, clinical: Clinical) -> tuple[dict[str, list[str]], list[str]]:
    """Sites to hold out, and what is wrong with the split by time."""
    settings = config.resamples
    patients = patients_to_split(
        clinical.covariates, clinical.outcome, settings, config.treated_columns(), config.site, config.seed
    )
    problems = check_sides(patients["later"], patients["event"], settings.temporal) if settings.temporal else []
    if not (config.site and settings.leave_site_out):
        return {}, problems
    # A site without follow-up cannot be predicted on, so only patients with an outcome count; locked ones are not used.
    counted = patients.filter(pl.col("event").is_not_null() & ~pl.col("locked"))
    return site_groups(site_counts(counted, "site"), settings.min_site), problems


def _check_files_named(raw: dict[str, Any]) -> list[str]:
    """What is wrong with the files of a config that lacks required keys, so that all is said in the same go."""
    try:
        data = DataConfig.model_validate(raw.get("data"))
    except ValidationError:
        return []
    if data.clinical is None or data.folder.startswith(ADDRESS):
        return []
    table = resolve(data.folder, data.clinical)
    problems: list[str] = []
    known = None
    try:
        header = read_header(table)
        if data.patient_id not in header:
            problems.append(missing_column(table, data.patient_id, header, "data.clinical"))
        else:
            known = frozenset(read_patients(table, data.patient_id, show_ids=False)[data.patient_id].to_list())
    except CohortError as error:
        problems += [f"`data.clinical`: {text}" for text in error.problems]
    for name, omic in data.omics.items():
        path = resolve(data.folder, omic.path)
        problems += check_matrix_header(path, data.patient_id, f"data.omics.{name}.path", known)
    return problems


def _known_patients(config: Config) -> frozenset[str] | None:
    """Identifiers that a matrix may use (those of samples in a study), or None where the clinical table is no help."""
    try:
        if config.data.study is not None:
            study = read_study(study_folder(config), config.data.patient_id)
            return frozenset(study.samples) | study.other_samples | {"Tumor_Sample_Barcode"}
        ids = read_patients(clinical_file(config), config.data.patient_id, config.audit.ids_in_messages)
    except CohortError:
        return None  # what is wrong with it is said where the clinical table is checked
    return frozenset(ids[config.data.patient_id].to_list())


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


def other_cohort(raw: Mapping[str, Any]) -> str:
    """`external.<name>` where a config was made by `external_configs`, else "", to say whose mistakes are told."""
    results = Path(str(raw.get("results") or ""))
    return f"`external.{results.name}` of the config" if results.parent.name == "external" else ""


def _check_bundle(config: Config) -> list[str]:
    """A bundle to apply that is not there, or that this very run would make anew."""
    if config.bundle.apply is None:
        return []
    given, results = Path(config.bundle.apply), Path(config.results_folder)
    if given.absolute() == (results / "bundle").absolute():
        return [
            f"`bundle.apply`: {given} is the bundle that a run with this config makes itself. Suggestion: give this "
            "cohort another `cohort` (or `results`) than the one that the bundle was learned from"
        ]
    to_come = results.parent.name == "external" and given.absolute() == (results.parents[1] / "bundle").absolute()
    if to_come:
        return []
    if (given / CARD).is_file():
        return _check_digest(given / CARD, config.bundle.digest)
    return [
        f"`bundle.apply`: {given} holds no `{CARD}`. Suggestion: give the folder of a bundle, as "
        "`results/my_cohort/bundle`"
    ]


def _check_digest(card: Path, digest: str | None) -> list[str]:
    """A bundle that is another one than the config means."""
    found = sha256(card)
    if digest is None or found.startswith(digest):
        return []
    return [
        f"`bundle.digest`: {card} has the digest {found[:16]}, not {digest[:16]}, so that it is not the bundle that is "
        "meant. Suggestion: get it again from where it was made; its model card tells the digest"
    ]


def _check_align(config: Config, clinical: Clinical | None) -> list[str]:
    """Too few patients to tell how an omic is distributed here; whoever has it is in the clinical table."""
    if clinical is None or clinical.covariates.height >= FEWEST_ALIGNED:
        return []
    return [
        f"`bundle.align.{name}`: it takes {FEWEST_ALIGNED} patients with the omic to bring it to the distribution of "
        "the bundle's cohort, and the clinical table has fewer. Suggestion: remove it, and measure on the same platform"
        for name in config.bundle.align
    ]


def _check_names(config: Config) -> list[str]:
    """Lists and tables of features that are not there, or not what they should be."""
    keys = {f"data.omics.{name}.only": path for name, path in only_files(config).items()}
    keys |= {f"bundle.features.{name}": path for name, path in name_files(config).items()}
    problems = [
        f"`{key}`: {path} is no file. Suggestion: check the path" for key, path in keys.items() if not path.is_file()
    ]
    for key, asked in (("features", config.bundle.features), ("align", config.bundle.align)):
        problems += [
            f"`bundle.{key}.{name}`: the config has no omic `{name}`. Suggestion: one of {list(config.omics)}"
            for name in asked
            if name not in config.omics
        ]
    for name, path in name_files(config).items():
        if path.is_file():
            problems += _check_name_table(name, path)
    return problems


def _check_name_table(name: str, path: Path) -> list[str]:
    try:
        header = read_header(path)
    except CohortError as error:
        return [f"`bundle.features.{name}`: {text}" for text in error.problems]
    lacking = [c for c in NAME_COLUMNS if c not in header]
    if not lacking:
        return []
    return [f"`bundle.features.{name}`: {path} has no column {lacking}. Suggestion: name its columns {NAME_COLUMNS}"]


def external_configs(config: Config) -> dict[str, dict[str, Any]]:
    """Configs of the other cohorts by name, set to use the bundle of this one and a folder of its results.

    Raises
    ------
    ConfigError
        If a file is not there, is no YAML mapping, or does not hold a valid config.
    """
    found, problems = {}, []
    for name, path in config.external.items():
        key = f"`external.{name}`: {path}"
        try:
            raw = read_config(Path(path))
        except ConfigError as error:
            problems += [f"`external.{name}`: {problem}" for problem in named(path, error)]
            continue
        own = {k: v for k, v in raw.items() if k != "external"}
        given = own.get("bundle") if isinstance(own.get("bundle"), dict) else {}
        own["bundle"] = {**(given or {}), "apply": str(Path(config.results_folder) / "bundle")}
        own["results"] = str(Path(config.results_folder) / "external" / name)
        _, wrong = check_config(own)
        problems += [f"{key}: {text}" for text in wrong]
        found[name] = own
    if problems:
        raise ConfigError(problems, "external")
    return found


def _check_gene_sets(config: Config) -> list[str]:
    path = gene_set_file(config)
    if path is None:
        return []
    try:
        read_gmt(path)
    except CohortError as error:
        return error.problems
    return []


def _check_results(folder: Path) -> list[str]:
    """Refuse a folder that cannot be written; one with a finished report only when a job is to write there."""
    if (folder / "report.html").is_file():
        return []
    present = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if present.is_dir() and os.access(present, os.W_OK):
        return []
    mounted = "is on a disk that is read-only" if read_only(present) else "is not yours to write to"
    why = mounted if present.is_dir() else "is a file"
    return [f"`results`: {folder} cannot be written, {present} {why}. Suggestion: name a folder that is yours"]


def clinical_file(config: Config) -> Path:
    """Path of the clinical table (of patients, in a study), given or made by the workflow."""
    if config.data.study is not None:
        return next(iter(study_files(study_folder(config)).values()))
    if config.data.clinical is not None:
        return resolve(config.data.folder, config.data.clinical)
    return Path(config.results_folder) / "input" / "clinical.tsv"


def omic_files(config: Config) -> dict[str, Path]:
    """Paths of the omics matrices, given or made by the workflow."""
    if config.data.study is not None:
        return {name: study_folder(config) / omic.path for name, omic in config.data.omics.items()}
    if config.data.clinical is not None:
        return {name: resolve(config.data.folder, omic.path) for name, omic in config.data.omics.items()}
    return {name: Path(config.results_folder) / "input" / f"{name}.parquet" for name in config.omics}


def study_folder(config: Config) -> Path:
    """Folder of the cBioPortal study."""
    return resolve(config.data.folder, config.data.study or ".")


def other_files(config: Config) -> list[Path]:
    """Files that are read beside the clinical table and the matrices: of a study, and lists of features to keep."""
    study = [] if config.data.study is None else list(study_files(study_folder(config)).values())[1:]
    return study + list(only_files(config).values())


def only_files(config: Config) -> dict[str, Path]:
    """Paths of the lists of features to keep, by omic."""
    given = {name: omic.only for name, omic in config.data.omics.items()}
    return {name: resolve(config.data.folder, path) for name, path in given.items() if path is not None}


def name_files(config: Config) -> dict[str, Path]:
    """Paths of the tables that say what features are called in the bundle to apply, by omic."""
    return {name: Path(path) for name, path in config.bundle.features.items()}


def split_file(config: Config) -> Path | None:
    """Path of the file of given splits, if there is one."""
    return resolve(config.data.folder, config.resamples.file) if config.resamples.file else None


def gene_set_file(config: Config) -> Path | None:
    """Path of the gene sets, if there are any."""
    given = config.subgroups.gene_sets
    return resolve(config.data.folder, given) if given else None


def sample_files(config: Config) -> dict[str, Path]:
    """Paths of the tables of samples, by omic."""
    samples = {name: omic.samples for name, omic in config.data.omics.items()}
    return {name: resolve(config.data.folder, s.path) for name, s in samples.items() if s is not None}
