# Survival models of one resample, and how well they predict held-out patients.


rule fit_prognosis:
    input:
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        resamples="<results>/cohort/resamples.parquet",
        features="<results>/resamples/{resample}/features.h5mu",
        latents="<results>/resamples/{resample}/latent.h5ad",
    output:
        curves="<results>/resamples/{resample}/prognosis/curves.parquet",
        risks="<results>/resamples/{resample}/prognosis/risks.parquet",
        coefficients="<results>/resamples/{resample}/prognosis/coefficients.parquet",
        models="<results>/resamples/{resample}/prognosis/models.parquet",
        bounds="<results>/resamples/{resample}/prognosis/bounds.parquet",
        censoring="<results>/resamples/{resample}/prognosis/censoring.parquet",
    log:
        "<results>/logs/{resample}/fit_prognosis.log",
    benchmark:
        "<results>/benchmarks/{resample}/fit_prognosis.tsv"
    conda:
        "../../envs/stratiome.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        settings=settings("data", "endpoint", "covariates", "prognosis", "seed"),
        library=library("prognosis", "survival", "features"),
    message:
        "{wildcards.resample}: fitting survival models"
    script:
        "../scripts/fit_prognosis.py"


rule evaluate_prognosis:
    input:
        outcome="<results>/cohort/outcome.parquet",
        resamples="<results>/cohort/resamples.parquet",
        curves=expand(
            "<results>/resamples/{resample}/prognosis/curves.parquet",
            resample=RESAMPLES,
        ),
        risks=expand(
            "<results>/resamples/{resample}/prognosis/risks.parquet",
            resample=RESAMPLES,
        ),
        models=expand(
            "<results>/resamples/{resample}/prognosis/models.parquet",
            resample=RESAMPLES,
        ),
        bounds=expand(
            "<results>/resamples/{resample}/prognosis/bounds.parquet",
            resample=RESAMPLES,
        ),
        censoring=expand(
            "<results>/resamples/{resample}/prognosis/censoring.parquet",
            resample=RESAMPLES,
        ),
    output:
        metrics="<results>/evaluation/prognosis_metrics.parquet",
        by_resample="<results>/evaluation/prognosis_resamples.parquet",
        calibration="<results>/evaluation/calibration.parquet",
        decisions="<results>/evaluation/prognosis_decisions.parquet",
        coverage="<results>/evaluation/prognosis_coverage.parquet",
    log:
        "<results>/logs/evaluate_prognosis.log",
    benchmark:
        "<results>/benchmarks/evaluate_prognosis.tsv"
    conda:
        "../../envs/stratiome.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings("endpoint", "prognosis", "evaluation", "seed"),
        library=library("prognosis", "survival", "resample"),
    message:
        "Judging the survival models on held-out patients"
    script:
        "../scripts/evaluate_prognosis.py"
