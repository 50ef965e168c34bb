"""A cBioPortal study folder as downloaded: clinical files, matrices with genes in rows, lists of mutations.

File formats: https://docs.cbioportal.org/file-formats
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stratiome.cohort.errors import CohortError, some_of
from stratiome.cohort.matrix import MatrixFile
from stratiome.cohort.mutations import open_mutations
from stratiome.cohort.names import some_names
from stratiome.cohort.read import Meant, read_table
from stratiome.cohort.source import open_source
from stratiome.cohort.text import first_lines, read_pairs
from stratiome.cohort.transposed import open_transposed

PATIENT, SAMPLE = "PATIENT_ID", "SAMPLE_ID"
STATUSES = {
    "living": 0, "alive": 0, "deceased": 1, "dead": 1,
    "diseasefree": 0, "disease free": 0, "not recurred": 0, "recurred": 1, "recurred/progressed": 1,
    "censored": 0, "progression": 1, "progressed": 1, "alive or dead tumor free": 0, "dead with tumor": 1,
}  # fmt: skip
"""Values of `*_STATUS` columns in lower case, without the `0:` or `1:` of newer releases."""
GENE_MATRICES = ("data_gene_panel_matrix.txt", "data_gene_matrix.txt")
"""Names, present and former, of the table that says which panel each sample was sequenced with."""


@dataclass(frozen=True)
class Study:
    """A study folder.

    Attributes
    ----------
    folder
        Where it is.
    clinical
        One row per patient, with the columns of the patient file and those of the chosen sample, as named there.
    samples
        Chosen sample -> patient.
    other_samples
        Samples whose patients have a chosen one.
    notes
        What was found, chosen or recoded.
    """

    folder: Path
    clinical: pl.DataFrame
    samples: dict[str, str]
    other_samples: frozenset[str]
    notes: tuple[str, ...]


def study_files(folder: Path) -> dict[str, Path]:
    """Role -> file, of the files of a study that are read beside those the config names.

    Raises
    ------
    CohortError
        If the folder holds no clinical data.
    """
    if not folder.is_dir():
        raise CohortError(
            f"{folder}: no such folder. Suggestion: `data.study` is the folder of a cBioPortal study, relative to "
            "`data.folder`; `make fetch-study` downloads one that `data.fetch` names"
        )
    found: dict[str, Path] = {}
    for role in ("patient", "sample"):
        for path in (
            _named_by_meta(folder, f"{role.upper()}_ATTRIBUTES", "clinical*"),
            folder / f"data_clinical_{role}.txt",
        ):
            if path is not None and path.is_file():
                found.setdefault(role, path)
    if not found:
        here = sorted(p.name for p in folder.glob("data_clinical*"))
        raise CohortError(
            f"{folder}: neither data_clinical_patient.txt nor data_clinical_sample.txt. "
            f"Suggestion: {f'rename one of {some_names(here)}' if here else 'is it a cBioPortal study folder?'}"
        )
    named = _named_by_meta(folder, "GENE_PANEL_MATRIX", "gene*_matrix")
    for path in (*([named] if named else []), *(folder / name for name in GENE_MATRICES)):
        if path.is_file():
            found.setdefault("gene matrix", path)
    cases = folder / "case_lists" / "cases_sequenced.txt"
    found |= {"sequenced": cases} if cases.is_file() else {}
    found |= {f"gene panel {p.stem}": p for p in sorted(folder.glob("*gene_panel*.txt")) if "matrix" not in p.name}
    return found


def read_study(folder: Path, patient_id: str, meant: Meant | None = None) -> Study:
    """Read the clinical files of a study and choose one sample per patient.

    Of several samples of a patient the primary tumour is taken, among equals the first by identifier.

    Parameters
    ----------
    patient_id
        Name that the identifier column gets.
    meant
        Texts that are not missing cells, as in `read.read_table`.

    Raises
    ------
    CohortError
        If a clinical file cannot be read or lacks its identifiers.
    """
    files = study_files(folder)
    notes = _absent(folder)
    patients = _clinical(files["patient"], PATIENT, notes, meant) if "patient" in files else None
    samples = _clinical(files["sample"], SAMPLE, notes, meant) if "sample" in files else None
    if samples is None:
        notes.append("no sample file: samples are taken to have the names of their patients")
        ids = patients[PATIENT].to_list() if patients is not None else []
        chosen, others = pl.DataFrame({PATIENT: ids, SAMPLE: ids}), frozenset[str]()
    else:
        if PATIENT not in samples.columns:
            raise CohortError(f"{files['sample']}: has no column `{PATIENT}`. Suggestion: is the download complete?")
        chosen, others = _one_sample_each(samples, notes)
    if patients is None:
        table = chosen
    else:
        both = [c for c in chosen.columns if c in patients.columns and c != PATIENT]
        if both:
            notes.append(f"columns of both clinical files are taken from that of patients: {some_names(both)}")
        table = patients.join(chosen.drop(both), on=PATIENT, how="full", coalesce=True)
        n = table.height - patients.height
        if n:
            notes.append(f"{some_of(n, 'patients')} are in the sample file only")
    table = _recode_statuses(table, notes).rename({PATIENT: patient_id}).sort(patient_id)
    return Study(folder, table, dict(chosen.select(SAMPLE, PATIENT).iter_rows()), others, tuple(notes))


def open_study_matrix(study: Study, path: Path, show_ids: bool) -> MatrixFile:
    """Open a matrix of a study, or a list of mutations (MAF) as a matrix of patients and genes.

    Raises
    ------
    CohortError
        If the file cannot be read or holds none of the samples.
    """
    source = open_source(path, comments=True)
    if "Tumor_Sample_Barcode" in source.columns:
        return open_mutations(source, study_files(study.folder), study.samples, study.other_samples, _stable_id(study))
    known = frozenset(study.samples) | study.other_samples
    if not known.intersection(source.columns):
        raise CohortError(
            f"{path}: none of its columns is a sample of the study. "
            "Suggestion: a matrix of cBioPortal has genes in rows and samples in columns"
        )
    return open_transposed(source, known, show_ids, study.samples, first_of_repeated=True)


def _named_by_meta(folder: Path, datatype: str, kind: str) -> Path | None:
    for meta in sorted(folder.glob(f"meta_{kind}.txt")):
        content = read_pairs(meta)
        if content.get("datatype") == datatype and content.get("data_filename"):
            return folder / Path(content["data_filename"]).name
    return None


def _absent(folder: Path) -> list[str]:
    """Notes on meta files that name a data file which is not there."""
    named = {m.name: read_pairs(m).get("data_filename") for m in sorted(folder.glob("meta_*.txt"))}
    return [f"{meta} names {data}, which is not in the folder" for meta, data in named.items()
            if data and not (folder / data).is_file()]  # fmt: skip


def _stable_id(study: Study) -> str:
    """Name of the mutation profile, as the gene matrix may call it."""
    for meta in sorted(study.folder.glob("meta_*.txt")):
        content = read_pairs(meta)
        if content.get("genetic_alteration_type") == "MUTATION_EXTENDED":
            return content.get("stable_id", "mutations")
    return "mutations"


def _clinical(path: Path, key: str, notes: list[str], meant: Meant | None) -> pl.DataFrame:
    found: list[str] = []
    frame = read_table(path, found, comments=True, texts=(PATIENT, SAMPLE), meant=meant)
    described = len(first_lines(path, "#"))
    notes += [f"{path.name}: {text}" for text in found]
    if described:
        notes.append(f"{path.name}: {described} header lines that start with `#` describe the columns")
    if key not in frame.columns:
        raise CohortError(f"{path}: has no column `{key}`. Suggestion: is it the file that its name says?")
    ids = frame[key]
    if ids.null_count() or ids.is_duplicated().any():
        raise CohortError(
            f"{path}: column `{key}` is empty in {ids.null_count()} rows and repeated in "
            f"{int(ids.drop_nulls().is_duplicated().sum())}. Suggestion: keep one row of each"
        )
    return frame


def _one_sample_each(samples: pl.DataFrame, notes: list[str]) -> tuple[pl.DataFrame, frozenset[str]]:
    kind = pl.col("SAMPLE_TYPE").cast(pl.String) if "SAMPLE_TYPE" in samples.columns else pl.lit("")
    primary = kind.str.to_lowercase().str.starts_with("primary").fill_null(False)
    ranked = samples.with_columns(_primary=primary).sort(
        PATIENT, "_primary", SAMPLE, descending=[False, True, False], nulls_last=True
    )
    ranked = ranked.filter(pl.col(PATIENT).is_not_null())
    chosen = ranked.unique(PATIENT, keep="first", maintain_order=True)
    several = int((ranked[PATIENT].value_counts()["count"] > 1).sum())
    if several:
        rule = "the primary tumour" if chosen["_primary"].any() else "the first by identifier"
        notes.append(
            f"{some_of(several, 'patients')} have several samples; {rule} is taken"
            f"{', among equals the first by identifier' if chosen['_primary'].any() else ''}, "
            f"{some_of(ranked.height - chosen.height, 'samples')} are left out"
        )
    others = frozenset(ranked[SAMPLE].to_list()) - frozenset(chosen[SAMPLE].to_list())
    return chosen.drop("_primary"), others


def _recode_statuses(table: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """`0:LIVING`, `LIVING`, `1:Recurred` ... become 0 and 1."""
    for name in [c for c in table.columns if c.upper().endswith("_STATUS") and table[c].dtype == pl.String]:
        values = table[name].drop_nulls().unique().sort().to_list()
        codes = {v: _status(v) for v in values}
        if values and all(code is not None for code in codes.values()):
            table = table.with_columns(pl.col(name).replace_strict(codes, return_dtype=pl.Float64))
            notes.append(f"{name}: " + ", ".join(f"`{v}` is read as {codes[v]}" for v in values))
    return table


def _status(value: str) -> int | None:
    prefix, _, _ = value.partition(":")
    if prefix in ("0", "1") and prefix != value:
        return int(prefix)
    return STATUSES.get(value.strip().lower())
