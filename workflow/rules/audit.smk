# Whether predictions hold in groups of patients and on other data, and what harms them.


rule audit_fairness:
    input:
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        resamples="<results>/cohort/resamples.parquet",
        curves=expand(
            "<results>/resamples/{resample}/prognosis/curves.parquet",
            resample=FIRST_HELD_OUT,
        ),
        risks=expand(
            "<results>/resamples/{resample}/prognosis/risks.parquet",
            resample=FIRST_HELD_OUT,
        ),
        models=expand(
            "<results>/resamples/{resample}/prognosis/models.parquet",
            resample=FIRST_HELD_OUT,
        ),
        bounds=expand(
            "<results>/resamples/{resample}/prognosis/bounds.parquet",
            resample=FIRST_HELD_OUT,
        ),
        censoring=expand(
            "<results>/resamples/{resample}/prognosis/censoring.parquet",
            resample=FIRST_HELD_OUT,
        ),
    output:
        fairness_groups="<results>/evaluation/fairness.parquet",
        fairness_tests="<results>/evaluation/fairness_tests.parquet",
        fairness_recalibration="<results>/evaluation/fairness_recalibration.parquet",
    log:
        "<results>/logs/audit_fairness.log",
    benchmark:
        "<results>/benchmarks/audit_fairness.tsv"
    group:
        f"{PREFIX}evaluation"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("audit_fairness"),
        runtime=minutes("audit_fairness"),
    params:
        settings=settings("endpoint", "evaluation", "seed"),
        groups=list(CONFIG.audit.groups),
        cuts={column: list(cuts) for column, cuts in CONFIG.audit.cuts.items()},
        intersections=CONFIG.audit.intersections,
        library=library("audit", "prognosis", "survival", "resample", "cohort"),
    message:
        "Judging the survival models in groups of patients"
    script:
        "../scripts/audit_fairness.py"


rule stress_models:
    input:
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        resamples="<results>/cohort/resamples.parquet",
        features="<results>/resamples/{resample}/features.h5mu",
        weights="<results>/resamples/{resample}/latent.safetensors",
        description="<results>/resamples/{resample}/latent.json",
        models="<results>/resamples/{resample}/prognosis/models.safetensors",
        models_description="<results>/resamples/{resample}/prognosis/models.json",
    output:
        stressed="<results>/resamples/{resample}/audit/stressed.parquet",
    log:
        "<results>/logs/{resample}/stress_models.log",
    benchmark:
        "<results>/benchmarks/{resample}/stress_models.tsv"
    group:
        f"{PREFIX}explain"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("stress_models"),
        runtime=minutes("stress_models"),
    params:
        settings=settings("endpoint", "seed"),
        library=library("audit", "prognosis", "survival", "features", "latent"),
    message:
        "{wildcards.resample}: putting the survival models under stress"
    script:
        "../scripts/stress_models.py"


rule evaluate_robustness:
    input:
        outcome="<results>/cohort/outcome.parquet",
        resamples="<results>/cohort/resamples.parquet",
        metrics="<results>/evaluation/prognosis_metrics.parquet",
        stressed=expand(
            "<results>/resamples/{resample}/audit/stressed.parquet",
            resample=FIRST_HELD_OUT,
        ),
    output:
        robustness="<results>/evaluation/robustness.parquet",
    log:
        "<results>/logs/evaluate_robustness.log",
    benchmark:
        "<results>/benchmarks/evaluate_robustness.tsv"
    group:
        f"{PREFIX}evaluation"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("evaluate_robustness"),
        runtime=minutes("evaluate_robustness"),
    params:
        settings=settings("endpoint", "evaluation", "seed"),
        library=library("audit", "prognosis", "survival", "resample"),
    message:
        "Judging the survival models under stress"
    script:
        "../scripts/evaluate_robustness.py"
