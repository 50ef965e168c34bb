"""Rule render_model_card: what a user of the bundle must know of its models."""

import json
from pathlib import Path

from stratiome.bundle.files import open_bundle
from stratiome.config import AuditConfig, DataConfig, EndpointConfig, EvaluationConfig, ResampleConfig
from stratiome.report.inputs import Settings, read_inputs
from stratiome.report.model_card import ModelCard, render


def main(
    *,
    card: str,
    training: str,
    manifest: str,
    resample_summary: str,
    prognosis_metrics: str,
    site_summary: str,
    subgroup_agreement: str,
    subgroup_selection: str,
    prognosis_resamples: str,
    calibration_measures: str,
    fairness_groups: str,
    fairness_tests: str,
    fairness_recalibration: str,
    models: list[str],
    external_metrics: list[str],
    external_subgroups: list[str],
    external_effects: list[str],
    external_order: list[str],
    external_patients: list[str],
    page: str,
    cohort: str,
    title: str | None,
    event_name: str | None,
    data: DataConfig,
    endpoint: EndpointConfig,
    covariates: tuple[str, ...],
    site: str | None,
    resamples: ResampleConfig,
    evaluation: EvaluationConfig,
    audit: AuditConfig,
) -> None:
    """Write the page."""
    settings = Settings(
        cohort=cohort,
        title=title,
        event_name=event_name,
        data=data,
        endpoint=endpoint,
        covariates=covariates,
        site=site,
        resamples=resamples,
        evaluation=evaluation,
        audit=audit,
    )
    paths = {
        "resample_summary": resample_summary,
        "prognosis_metrics": prognosis_metrics,
        "site_summary": site_summary,
        "subgroup_agreement": subgroup_agreement,
        "subgroup_selection": subgroup_selection,
        "prognosis_resamples": prognosis_resamples,
        "calibration_measures": calibration_measures,
        "fairness_groups": fairness_groups,
        "fairness_tests": fairness_tests,
        "fairness_recalibration": fairness_recalibration,
        "models": models,
        "external_metrics": external_metrics,
        "external_subgroups": external_subgroups,
        "external_effects": external_effects,
        "external_order": external_order,
        "external_patients": external_patients,
    }
    bundle = open_bundle(Path(card).parent)
    summary = json.loads(Path(training).read_text(encoding="utf-8"))
    made = ModelCard(
        bundle.card.model_dump(mode="json"), bundle.digest, summary, read_inputs(settings, manifest, paths)
    )
    Path(page).write_text(render(made), encoding="utf-8")


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
