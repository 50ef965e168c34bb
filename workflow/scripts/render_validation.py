"""Rule render_validation: a page on what the models of a bundle are worth in this cohort."""

from pathlib import Path

from stratiome import tables
from stratiome.bundle.files import open_bundle
from stratiome.config import AuditConfig, EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.report.outcome_words import OutcomeWords
from stratiome.report.validation import Validation, render


def main(
    *,
    card: str,
    patients: str,
    matched: str,
    metrics: str,
    subgroups: str,
    effects: str,
    order: str,
    report: str,
    cohort: str,
    title: str | None,
    endpoint: EndpointConfig,
    event_name: str | None,
    evaluation: EvaluationConfig,
    treatments: dict[str, TreatmentConfig],
    audit: AuditConfig,
) -> None:
    """Write the page."""
    bundle = open_bundle(Path(card).parent)
    page = Validation(
        title or cohort,
        bundle.card.title,
        bundle.card.model_dump(mode="json"),
        bundle.digest,
        tables.read_table(patients, tables.ScoredPatients),
        tables.read_table(matched, tables.ScoredOmics),
        tables.read_table(metrics, tables.ExternalMetrics),
        tables.read_table(subgroups, tables.ExternalSubgroups),
        max(audit.min_cell, bundle.card.min_cell),
        f"{100 * evaluation.level:g} %",
        OutcomeWords(endpoint.response is None, event_name),
        tables.read_table(effects, tables.ExternalEffects),
        tables.read_table(order, tables.ExternalOrder),
        {key: treatment.label for key, treatment in treatments.items() if treatment.label},
    )
    Path(report).write_text(render(page), encoding="utf-8")


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
