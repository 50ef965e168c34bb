# One page that is read from top to bottom.


rule render_report:
    input:
        manifest="<results>/manifest.json",
        flow="<results>/cohort/patient_flow.parquet",
        overlap_omics="<results>/cohort/omic_overlap.parquet",
        baseline="<results>/cohort/baseline.parquet",
        outcome_counts="<results>/cohort/outcome_counts.parquet",
        resample_summary="<results>/cohort/resample_summary.parquet",
        quality=expand("<results>/quality/{omic}.parquet", omic=OMICS),
        quality_figures=expand("<results>/quality/{omic}.svg", omic=OMICS),
        quality_summary="<results>/quality/summary.parquet",
        notes="<results>/cohort/notes.parquet",
        identity_summary="<results>/quality/checks/identity_summary.parquet",
        batches="<results>/quality/checks/batches.parquet",
        missingness="<results>/quality/checks/missingness.parquet",
        treatment_records="<results>/quality/checks/treatments.parquet",
        feature_summary="<results>/resamples/full/features.parquet",
        subgroup_summary="<results>/evaluation/subgroup_summary.parquet",
        subgroup_agreement="<results>/evaluation/subgroup_agreement.parquet",
        subgroup_profile="<results>/evaluation/subgroup_profile.parquet",
        subgroup_markers="<results>/evaluation/subgroup_markers.parquet",
        subgroup_curves="<results>/evaluation/subgroup_curves.parquet",
        subgroup_tests="<results>/evaluation/subgroup_tests.parquet",
        subgroup_selection="<results>/evaluation/subgroup_selection.parquet",
        subgroup_stability="<results>/resamples/full/stability.parquet",
        latent_map="<results>/evaluation/latent_map.parquet",
        training="<results>/resamples/full/training.parquet",
        prognosis_metrics="<results>/evaluation/prognosis_metrics.parquet",
        prognosis_resamples="<results>/evaluation/prognosis_resamples.parquet",
        calibration="<results>/evaluation/calibration.parquet",
        coefficients="<results>/resamples/full/prognosis/coefficients.parquet",
        models=expand(
            "<results>/resamples/{resample}/prognosis/models.parquet",
            resample=RESAMPLES,
        ),
        treatment_trial=treatment_table("treatment_trial"),
        treatment_flow=treatment_table("treatment_flow"),
        treatment_balance=treatment_table("treatment_balance"),
        treatment_overlap=treatment_table("treatment_overlap"),
        treatment_curves=treatment_table("treatment_curves"),
        treatment_effects=treatment_table("treatment_effects"),
        treatment_interaction=treatment_table("treatment_interaction"),
    output:
        report=report(
            "<results>/report.html",
            caption="../report/captions/report.rst",
            category="Report",
        ),
    log:
        "<results>/logs/render_report.log",
    benchmark:
        "<results>/benchmarks/render_report.tsv"
    conda:
        "../../envs/stratiome.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        settings=settings(
            "cohort",
            "title",
            "description",
            "endpoint",
            "covariates",
            "site",
            "known_labels",
            "treatments",
            "data",
            "resamples",
            "features",
            "latent",
            "subgroups",
            "prognosis",
            "evaluation",
            "audit",
            "seed",
        ),
        library=library("report"),
        sites=SPLITS.sites,
    message:
        "Writing the report"
    script:
        "../scripts/render_report.py"
