"""Rule ingest_cohort: files -> one checked cohort, with patient flow."""

from pathlib import Path
from typing import Any

from stratiome.cohort.endpoint import count_outcomes
from stratiome.cohort.ingest import read_cohort, write_cohort
from stratiome.cohort.manifest import describe_input, write_json
from stratiome.config import Config, NegativeControlConfig
from stratiome.remote import by_address, read_from
from stratiome.tables import NegativeControls, OmicOverlap, Outcome, OutcomeCounts, PatientFlow, ReadNotes, write_table


def main(
    *,
    clinical_file: str,
    omic_files: list[str],
    other_files: list[str],
    cohort_file: str,
    clinical: str,
    outcome: str,
    outcome_counts: str,
    controls: str,
    flow: str,
    overlap: str,
    notes: str,
    inputs_file: str,
    analysis: Config,
    negative_controls: dict[str, dict[str, Any]],
) -> None:
    """Read, check and join all files."""
    control_of = {n: NegativeControlConfig.model_validate(c) for n, c in negative_controls.items()}
    omics = dict(zip(analysis.omics, map(Path, omic_files), strict=True))
    here = read_from(analysis, clinical_file)
    cohort = read_cohort(here, Path(clinical_file), omics, control_of)
    said = write_cohort(cohort, here, cohort_file)
    cohort.clinical.covariates.write_parquet(clinical, compression="zstd", statistics=False)
    write_table(cohort.clinical.outcome, outcome, Outcome)
    write_table(count_outcomes(cohort.clinical.outcome), outcome_counts, OutcomeCounts)
    write_table(cohort.clinical.controls, controls, NegativeControls)
    write_table(cohort.flow, flow, PatientFlow)
    write_table(cohort.overlap, overlap, OmicOverlap)
    write_table(said, notes, ReadNotes)
    others = [describe_input("study", Path(path), 0, 0) for path in other_files]
    write_json(by_address(cohort.inputs + others, analysis.data.folder), inputs_file)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
