"""Rule render_report: everything that was evaluated -> one page."""

from pathlib import Path

from stratiome.config import (
    AuditConfig,
    DataConfig,
    EndpointConfig,
    EvaluationConfig,
    FeatureConfig,
    LatentConfig,
    PrognosisConfig,
    ResampleConfig,
    SubgroupConfig,
    TreatmentConfig,
)
from stratiome.report.page import Settings, read_inputs, render


def main(
    *,
    report: str,
    manifest: str,
    flow: str,
    overlap_omics: str,
    quality: list[str],
    quality_summary: str,
    quality_figures: list[str],
    resample_table: str,
    subgroup_summary: str,
    subgroup_agreement: str,
    subgroup_profile: str,
    subgroup_markers: str,
    subgroup_curves: str,
    subgroup_tests: str,
    subgroup_selection: str,
    subgroup_stability: str,
    latent_map: str,
    training: str,
    prognosis_metrics: str,
    prognosis_resamples: str,
    calibration: str,
    coefficients: str,
    models: str,
    cohort: str,
    title: str | None,
    description: str,
    data: DataConfig,
    endpoint: EndpointConfig,
    covariates: tuple[str, ...],
    site: str | None,
    known_labels: tuple[str, ...],
    treatments: dict[str, TreatmentConfig],
    resamples: ResampleConfig,
    latent: LatentConfig,
    subgroups: SubgroupConfig,
    evaluation: EvaluationConfig,
    audit: AuditConfig,
    seed: int,
    sites: dict[str, list[str]],
    features: FeatureConfig | None = None,
    prognosis: PrognosisConfig | None = None,
    treatment_trial: list[str] | None = None,
    treatment_flow: list[str] | None = None,
    treatment_balance: list[str] | None = None,
    treatment_overlap: list[str] | None = None,
    treatment_curves: list[str] | None = None,
    treatment_effects: list[str] | None = None,
    treatment_interaction: list[str] | None = None,
) -> None:
    """Write the report as one HTML file."""
    settings = Settings(
        cohort=cohort,
        data=data,
        endpoint=endpoint,
        title=title,
        description=description,
        covariates=covariates,
        site=site,
        known_labels=known_labels,
        treatments=treatments,
        resamples=resamples,
        features=features,
        latent=latent,
        subgroups=subgroups,
        prognosis=prognosis,
        evaluation=evaluation,
        audit=audit,
        seed=seed,
        sites=sites,
    )
    paths: dict[str, str | list[str]] = {
        "flow": flow,
        "overlap_omics": overlap_omics,
        "quality_summary": quality_summary,
        "resample_table": resample_table,
        "subgroup_summary": subgroup_summary,
        "subgroup_agreement": subgroup_agreement,
        "subgroup_profile": subgroup_profile,
        "subgroup_markers": subgroup_markers,
        "subgroup_curves": subgroup_curves,
        "subgroup_tests": subgroup_tests,
        "subgroup_selection": subgroup_selection,
        "subgroup_stability": subgroup_stability,
        "latent_map": latent_map,
        "training": training,
        "prognosis_metrics": prognosis_metrics,
        "prognosis_resamples": prognosis_resamples,
        "calibration": calibration,
        "coefficients": coefficients,
        "models": models,
        "treatment_trial": treatment_trial or [],
        "treatment_flow": treatment_flow or [],
        "treatment_balance": treatment_balance or [],
        "treatment_overlap": treatment_overlap or [],
        "treatment_curves": treatment_curves or [],
        "treatment_effects": treatment_effects or [],
        "treatment_interaction": treatment_interaction or [],
    }
    target = Path(report)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(render(read_inputs(settings, manifest, paths, quality, quality_figures)), encoding="utf-8")


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
