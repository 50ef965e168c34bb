# The models of all patients as a folder to give away, and such a folder applied to this cohort.


rule save_bundle:
    input:
        cohort_file="<results>/cohort/cohort.h5mu",
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        features="<results>/resamples/full/features.h5mu",
        transforms="<results>/resamples/full/transforms.safetensors",
        latents="<results>/resamples/full/latent.h5ad",
        weights="<results>/resamples/full/latent.safetensors",
        description="<results>/resamples/full/latent.json",
        mixture="<results>/resamples/full/mixture.json",
        information="<results>/resamples/full/information.parquet",
        assignment="<results>/resamples/full/subgroups.parquet",
        models="<results>/resamples/full/prognosis/models.safetensors",
        models_description="<results>/resamples/full/prognosis/models.json",
        held_out=expand(
            "<results>/resamples/{resample}/prognosis/curves.parquet",
            resample=FIRST_HELD_OUT,
        ),
        held_out_models=expand(
            "<results>/resamples/{resample}/prognosis/models.parquet",
            resample=FIRST_HELD_OUT,
        ),
        curves=(
            ["<results>/resamples/full/treatment/curves.parquet"]
            if CONFIG.treatments
            else []
        ),
        survival="<results>/evaluation/subgroup_survival.parquet",
        effects=treatment_table("treatment_effects"),
    output:
        card="<results>/bundle/bundle.json",
        files=expand("<results>/bundle/{file}", file=BUNDLE_FILES),
    log:
        "<results>/logs/save_bundle.log",
    benchmark:
        "<results>/benchmarks/save_bundle.tsv"
    group:
        f"{PREFIX}evaluation"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("save_bundle"),
        runtime=minutes("save_bundle"),
    params:
        settings=settings(
            "cohort",
            "title",
            "bundle",
            "endpoint",
            "covariates",
            "data",
            "site",
            "subgroups",
            "audit",
            "treatments",
            "evaluation",
        ),
        made=CONFIG.features.model_dump(mode="json"),
        library=library(
            "bundle", "features", "latent", "omics", "cohort", "prognosis", "survival"
        ),
    message:
        "Putting the models into a bundle"
    script:
        "../scripts/save_bundle.py"


rule render_model_card:
    input:
        card="<results>/bundle/bundle.json",
        training="<results>/bundle/training.json",
        manifest="<results>/manifest.json",
        resample_summary="<results>/cohort/resample_summary.parquet",
        prognosis_metrics="<results>/evaluation/prognosis_metrics.parquet",
        site_summary="<results>/evaluation/prognosis_sites.parquet",
        subgroup_agreement="<results>/evaluation/subgroup_agreement.parquet",
        subgroup_selection="<results>/evaluation/subgroup_selection.parquet",
        prognosis_resamples="<results>/evaluation/prognosis_resamples.parquet",
        calibration_measures="<results>/evaluation/calibration_summary.parquet",
        fairness_groups="<results>/evaluation/fairness.parquet",
        fairness_tests="<results>/evaluation/fairness_tests.parquet",
        fairness_recalibration="<results>/evaluation/fairness_recalibration.parquet",
        models=expand(
            "<results>/resamples/{resample}/prognosis/models.parquet",
            resample=RESAMPLES,
        ),
        external_metrics=external_summary("metrics"),
        external_subgroups=external_summary("subgroups"),
        external_effects=external_summary("effects"),
        external_order=external_summary("order"),
        external_patients=external_summary("patients"),
    output:
        page=report(
            "<results>/model_card.html",
            caption="../report/captions/model_card.rst",
            category="Report",
            labels={"what": "The model card"},
        ),
    log:
        "<results>/logs/render_model_card.log",
    benchmark:
        "<results>/benchmarks/render_model_card.tsv"
    group:
        f"{PREFIX}report"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=memory("render_model_card"),
        runtime=minutes("render_model_card"),
    params:
        settings=settings(
            "cohort",
            "title",
            "event_name",
            "data",
            "endpoint",
            "covariates",
            "site",
            "resamples",
            "evaluation",
            "audit",
        ),
        library=library("report", "bundle"),
    message:
        "Writing the model card"
    script:
        "../scripts/render_model_card.py"


rule apply_bundle:
    input:
        card=applied_bundle,
        parts=applied_parts,
        cohort_file="<results>/cohort/cohort.h5mu",
        clinical="<results>/cohort/clinical.parquet",
        names=[from_user(path) for path in name_files(HERE).values()],
    output:
        patients="<results>/applied/patients.parquet",
        memberships="<results>/applied/memberships.parquet",
        risks="<results>/applied/risks.parquet",
        curves="<results>/applied/curves.parquet",
        matched="<results>/applied/omics.parquet",
        latents="<results>/applied/latents.h5ad",
        counterfactuals="<results>/applied/counterfactuals.parquet",
    log:
        "<results>/logs/apply_bundle.log",
    benchmark:
        "<results>/benchmarks/apply_bundle.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("apply_bundle"),
        runtime=minutes("apply_bundle"),
    params:
        settings=settings("bundle"),
        library=library(
            "bundle", "features", "latent", "omics", "cohort", "prognosis", "survival"
        ),
    message:
        "Applying the bundle to this cohort"
    script:
        "../scripts/apply_bundle.py"


rule evaluate_external:
    input:
        card=applied_bundle,
        parts=applied_parts,
        outcome=enough("<results>/cohort/outcome.parquet"),
        clinical="<results>/cohort/clinical.parquet",
        patients="<results>/applied/patients.parquet",
        risks="<results>/applied/risks.parquet",
        curves="<results>/applied/curves.parquet",
        latents="<results>/applied/latents.h5ad",
    output:
        metrics="<results>/applied/metrics.parquet",
        subgroups="<results>/applied/subgroups.parquet",
        effects="<results>/applied/treatment_effects.parquet",
        order="<results>/applied/subgroup_order.parquet",
    log:
        "<results>/logs/evaluate_external.log",
    benchmark:
        "<results>/benchmarks/evaluate_external.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("evaluate_external"),
        runtime=minutes("evaluate_external"),
    params:
        settings=settings("endpoint", "evaluation", "treatments", "data", "seed"),
        library=library(
            "audit", "bundle", "prognosis", "survival", "subgroups", "treatment"
        ),
    message:
        "Judging the models of the bundle in this cohort"
    script:
        "../scripts/evaluate_external.py"


rule render_validation:
    input:
        card=applied_bundle,
        parts=applied_parts,
        patients="<results>/applied/patients.parquet",
        matched="<results>/applied/omics.parquet",
        metrics="<results>/applied/metrics.parquet",
        subgroups="<results>/applied/subgroups.parquet",
        effects="<results>/applied/treatment_effects.parquet",
        order="<results>/applied/subgroup_order.parquet",
    output:
        report="<results>/validation.html",
    log:
        "<results>/logs/render_validation.log",
    benchmark:
        "<results>/benchmarks/render_validation.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=memory("render_validation"),
        runtime=minutes("render_validation"),
    params:
        settings=settings(
            "cohort",
            "title",
            "endpoint",
            "event_name",
            "evaluation",
            "treatments",
            "audit",
            "bundle",
        ),
        library=library("report", "bundle"),
    message:
        "Writing what the models of the bundle are worth here"
    script:
        "../scripts/render_validation.py"


rule detect_drift:
    input:
        card=applied_bundle,
        parts=applied_parts,
        cohort_file="<results>/cohort/cohort.h5mu",
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        names=[from_user(path) for path in name_files(HERE).values()],
        patients="<results>/applied/patients.parquet",
        curves="<results>/applied/curves.parquet",
        latents="<results>/applied/latents.h5ad",
    output:
        drift="<results>/monitor/drift.parquet",
    log:
        "<results>/logs/detect_drift.log",
    benchmark:
        "<results>/benchmarks/detect_drift.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("detect_drift"),
        runtime=minutes("detect_drift"),
    params:
        settings=settings("bundle", "endpoint"),
        library=library("audit", "bundle", "features", "omics", "cohort", "survival"),
    message:
        "Comparing this batch with the patients of the bundle"
    script:
        "../scripts/detect_drift.py"


rule render_drift:
    input:
        card=applied_bundle,
        parts=applied_parts,
        drift="<results>/monitor/drift.parquet",
    output:
        report="<results>/monitor.html",
    log:
        "<results>/logs/render_drift.log",
    benchmark:
        "<results>/benchmarks/render_drift.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=memory("render_drift"),
        runtime=minutes("render_drift"),
    params:
        settings=settings("cohort", "title", "audit"),
        library=library("report", "bundle"),
    message:
        "Writing what has drifted"
    script:
        "../scripts/render_drift.py"
