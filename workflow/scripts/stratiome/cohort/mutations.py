"""A list of mutations (MAF) as a matrix of patients and genes; "not sequenced" is missing there, not wild type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from stratiome.cohort.errors import CohortError, some_of
from stratiome.cohort.matrix import MatrixFile
from stratiome.cohort.names import check_features
from stratiome.cohort.read import read_table
from stratiome.cohort.source import MATRIX_NULL_TEXTS, TableSource
from stratiome.cohort.text import first_lines, read_pairs

SILENT = (
    "silent", "synonymous_variant", "intron", "3'utr", "5'utr", "3'flank", "5'flank", "igr", "rna", "lincrna",
    "targeted_region",
)  # fmt: skip
"""Variant classifications in lower case that change no protein (those that cBioPortal leaves out as well)."""
NOT_MUTATED = ("none", "loh", "wildtype", "redacted")
"""Values of `Mutation_Status` in lower case that are no mutation."""
WHOLE_EXOME = ("wes", "wxs", "wgs", "exome", "whole_exome")


@dataclass(frozen=True)
class Sequenced:
    """What was sequenced.

    Attributes
    ----------
    samples
        Sample -> name of its gene panel, None = all genes of the file.
    panels
        Panel -> its genes.
    notes
        How it is known.
    """

    samples: dict[str, str | None]
    panels: dict[str, frozenset[str]]
    notes: tuple[str, ...]


def open_mutations(
    source: TableSource, files: Mapping[str, Path], samples: Mapping[str, str], others: frozenset[str], profile: str
) -> MatrixFile:
    """Patient x gene: 1 = any mutation that changes the protein, 0 = sequenced without one, missing = not sequenced.

    A gene is sequenced in a sample if it is on the sample's panel; a panel's genes without any mutation are zeros.

    Parameters
    ----------
    files
        Files of the study, as `study.study_files` gives them.
    samples
        Chosen sample -> patient.
    others
        Samples that are left out because their patient has a chosen one.
    profile
        Name of the mutation profile in the gene matrix.

    Raises
    ------
    CohortError
        If columns are absent or no chosen sample was sequenced.
    """
    mutations, notes = _mutations(source)
    with_any = frozenset(mutations["sample"].to_list())
    known = _sequenced(source.path, files, with_any, profile)
    mine = {s: known.samples[s] for s in sorted(samples) if s in known.samples}
    if not mine:
        raise CohortError(
            f"{source.path}: none of its samples is a sample of the study. "
            "Suggestion: do both files come from one study?"
        )
    left = sum(s in others for s in known.samples)
    if left:
        notes.append(f"{some_of(left, 'samples')} are left out, as their patients have another sample that was chosen")
    mutations = mutations.filter(pl.col("changes"), pl.col("sample").is_in(list(mine)))
    altered = frozenset(mutations["gene"].to_list())
    genes = sorted(altered.union(*(known.panels.get(p or "", frozenset()) for p in set(mine.values()))))
    notes += check_features(source.path, genes)
    place = {gene: j for j, gene in enumerate(genes)}
    rows = {sample: i for i, sample in enumerate(mine)}
    pairs = mutations.select("sample", "gene").unique().sort("sample", "gene")
    at = np.array([(rows[s], place[g]) for s, g in pairs.iter_rows()], dtype=np.int64).reshape(-1, 2)
    covered = {p: _covered(p, genes, known.panels) for p in set(mine.values())}
    panels = list(mine.values())

    def blocks(n_rows: int) -> Iterator[np.ndarray]:
        for start in range(0, len(panels), n_rows):
            part = np.stack([covered[p] for p in panels[start : start + n_rows]])
            here = at[(at[:, 0] >= start) & (at[:, 0] < start + len(part))]
            part[here[:, 0] - start, here[:, 1]] = 1.0
            yield part

    said = (*source.notes, *notes, *known.notes)
    return MatrixFile(source.path, tuple(samples[s] for s in mine), tuple(genes), blocks, said)


def _covered(panel: str | None, genes: list[str], panels: Mapping[str, frozenset[str]]) -> np.ndarray:
    """Row of a sample without mutations: zero where its panel has the gene."""
    if panel is None or panel not in panels:
        return np.zeros(len(genes), dtype=np.float32)
    return np.array([0.0 if g in panels[panel] else np.nan for g in genes], dtype=np.float32)


def _mutations(source: TableSource) -> tuple[pl.DataFrame, list[str]]:
    """Columns `sample`, `gene`, `changes` (whether the protein changes)."""
    columns = ("Hugo_Symbol", "Tumor_Sample_Barcode", "Variant_Classification")
    absent = [c for c in columns if c not in source.columns]
    if absent:
        raise CohortError(f"{source.path}: has no column {', '.join(absent)}. Suggestion: is it a MAF file?")
    state = "Mutation_Status" in source.columns
    wanted = (*columns, *(["Mutation_Status"] if state else []))
    table = source.scan(wanted).select(pl.col(c).str.strip_chars() for c in wanted).collect()
    status = table["Mutation_Status"].str.to_lowercase().fill_null("") if state else pl.Series([""] * table.height)
    dropped = status.is_in(NOT_MUTATED)
    unnamed = table["Hugo_Symbol"].is_null() | table["Hugo_Symbol"].str.to_lowercase().is_in(["unknown"])
    silent = table["Variant_Classification"].str.to_lowercase().fill_null("").is_in(SILENT)
    no_change = some_of(int(silent.sum()), "of them")
    notes = [f"{some_of(table.height, 'mutations')} listed, {no_change} change no protein and are not counted"]
    if dropped.any():
        lost = some_of(int(dropped.sum()), "mutations")
        notes.append(f"{lost} are marked as none (wild type, loss of heterozygosity) and are not counted")
    if (status == "germline").any():
        notes.append(f"{some_of(int((status == 'germline').sum()), 'mutations')} are marked as germline and counted")
    if unnamed.any():
        notes.append(f"{some_of(int(unnamed.sum()), 'mutations')} lie in no named gene and are left out")
    changes = ~silent & ~dropped & ~unnamed.fill_null(True)
    return pl.DataFrame(
        {"sample": table["Tumor_Sample_Barcode"], "gene": table["Hugo_Symbol"], "changes": changes}
    ).drop_nulls("sample"), notes


def _sequenced(path: Path, files: Mapping[str, Path], with_any: frozenset[str], profile: str) -> Sequenced:
    """Samples that every list of the study calls sequenced, and those with a mutation."""
    lists: dict[str, frozenset[str]] = {}
    panel_of: dict[str, str | None] = {}
    marked = [line for line in first_lines(path, "#") if line.lower().startswith("#sequenced_samples:")]
    if marked:
        lists["#Sequenced_Samples"] = frozenset(s for line in marked for s in line.split(":", 1)[1].split())
    if "sequenced" in files:
        lists[files["sequenced"].name] = _case_list(files["sequenced"])
    if "gene matrix" in files:
        panel_of = _gene_matrix(files["gene matrix"], profile)
        if panel_of:
            lists[files["gene matrix"].name] = frozenset(panel_of)
    notes = []
    if lists:
        agreed = frozenset.intersection(*lists.values())
        sequenced = agreed | with_any
        disputed = len(frozenset.union(*lists.values()) - sequenced)
        notes.append(f"sequenced samples by {', '.join(lists)}")
        if disputed:
            notes.append(
                f"{some_of(disputed, 'samples')} are not in all of these lists and have no mutation: "
                "they are missing, not wild type"
            )
    else:
        sequenced = with_any
        notes.append(
            "the study has no list of sequenced samples: samples without any mutation are missing, which leaves out "
            "those that were sequenced without finding one"
        )
    panels = {name: genes for name, genes in map(_panel, _panel_files(files)) if name}
    used = sorted({p for s in sequenced if (p := panel_of.get(s)) is not None})
    for name in used:
        if name in panels:
            notes.append(f"gene panel {name}: {len(panels[name])} genes")
        elif name.lower() not in WHOLE_EXOME:
            notes.append(f"gene panel {name} has no file: its samples count as sequenced in every gene of the list")
    return Sequenced({s: panel_of.get(s) for s in sorted(sequenced)}, panels, tuple(notes))


def _case_list(path: Path) -> frozenset[str]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("case_list_ids:"):
            return frozenset(line.split(":", 1)[1].split())
    return frozenset()


def _gene_matrix(path: Path, profile: str) -> dict[str, str | None]:
    """Sample -> gene panel of the mutation profile; a sample without one was not sequenced."""
    table = read_table(path)
    columns = [c for c in table.columns if c == profile or c.endswith(f"_{profile}") or c.endswith("mutations")]
    if not columns or "SAMPLE_ID" not in table.columns:
        return {}
    kept = table.select(pl.col("SAMPLE_ID").cast(pl.String), pl.col(columns[0]).cast(pl.String)).drop_nulls()
    return {sample: panel for sample, panel in kept.iter_rows() if panel not in MATRIX_NULL_TEXTS}


def _panel_files(files: Mapping[str, Path]) -> list[Path]:
    return [path for role, path in files.items() if role.startswith("gene panel")]


def _panel(path: Path) -> tuple[str, frozenset[str]]:
    content = read_pairs(path)
    return content.get("stable_id", ""), frozenset(content.get("gene_list", "").split())
