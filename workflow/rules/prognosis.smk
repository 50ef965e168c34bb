# Survival models of one resample, and how well they predict held-out patients.


rule fit_prognosis:
    input:
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        resamples="<results>/cohort/resamples.parquet",
        features="<results>/resamples/{resample}/features.h5mu",
        latents="<results>/resamples/{resample}/latent.h5ad",
        weights="<results>/resamples/{resample}/latent.safetensors",
        description="<results>/resamples/{resample}/latent.json",
    output:
        curves="<results>/resamples/{resample}/prognosis/curves.parquet",
        risks="<results>/resamples/{resample}/prognosis/risks.parquet",
        coefficients="<results>/resamples/{resample}/prognosis/coefficients.parquet",
        models="<results>/resamples/{resample}/prognosis/models.parquet",
        bounds="<results>/resamples/{resample}/prognosis/bounds.parquet",
        censoring="<results>/resamples/{resample}/prognosis/censoring.parquet",
        permuted="<results>/resamples/{resample}/prognosis/permuted.parquet",
        stored="<results>/resamples/{resample}/prognosis/models.safetensors",
        stored_description="<results>/resamples/{resample}/prognosis/models.json",
    log:
        "<results>/logs/{resample}/fit_prognosis.log",
    benchmark:
        "<results>/benchmarks/{resample}/fit_prognosis.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("fit_prognosis"),
        runtime=minutes("fit_prognosis"),
    params:
        settings=settings("data", "endpoint", "covariates", "prognosis", "seed"),
        explained=lambda wildcards: wildcards.resample in FIRST_HELD_OUT,
        library=library("prognosis", "survival", "features", "latent"),
    message:
        "{wildcards.resample}: fitting survival models"
    script:
        "../scripts/fit_prognosis.py"


rule evaluate_prognosis:
    input:
        clinical="<results>/cohort/clinical.parquet",
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
        calibration_curves="<results>/evaluation/calibration_curves.parquet",
        calibration_measures="<results>/evaluation/calibration_summary.parquet",
        risks_by_outcome="<results>/evaluation/risk_distribution.parquet",
    log:
        "<results>/logs/evaluate_prognosis.log",
    benchmark:
        "<results>/benchmarks/evaluate_prognosis.tsv"
    group:
        f"{PREFIX}evaluation"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("evaluate_prognosis"),
        runtime=minutes("evaluate_prognosis"),
    params:
        settings=settings(
            "covariates", "site", "endpoint", "prognosis", "evaluation", "seed"
        ),
        library=library("prognosis", "survival", "resample"),
    message:
        "Judging the survival models on held-out patients"
    script:
        "../scripts/evaluate_prognosis.py"


rule attribute_risk:
    input:
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        resamples="<results>/cohort/resamples.parquet",
        features="<results>/resamples/{resample}/features.h5mu",
        latents="<results>/resamples/{resample}/latent.h5ad",
        weights="<results>/resamples/{resample}/latent.safetensors",
        description="<results>/resamples/{resample}/latent.json",
        gene_sets=GENE_SETS,
    output:
        contributions="<results>/resamples/{resample}/prognosis/contributions.parquet",
        attributions="<results>/resamples/{resample}/prognosis/attributions.parquet",
        checks="<results>/resamples/{resample}/prognosis/attribution_checks.parquet",
    log:
        "<results>/logs/{resample}/attribute_risk.log",
    benchmark:
        "<results>/benchmarks/{resample}/attribute_risk.tsv"
    group:
        f"{PREFIX}explain"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("attribute_risk"),
        runtime=minutes("attribute_risk"),
    params:
        settings=settings("data", "endpoint", "covariates", "prognosis", "seed"),
        min_genes=CONFIG.subgroups.min_genes,
        library=library("prognosis", "survival", "features", "latent"),
    message:
        "{wildcards.resample}: attributing risks to omics and features"
    script:
        "../scripts/attribute_risk.py"


rule explain_prognosis:
    input:
        outcome="<results>/cohort/outcome.parquet",
        resamples="<results>/cohort/resamples.parquet",
        risks=expand(
            "<results>/resamples/{resample}/prognosis/risks.parquet",
            resample=FIRST_HELD_OUT,
        ),
        curves=expand(
            "<results>/resamples/{resample}/prognosis/curves.parquet",
            resample=FIRST_HELD_OUT,
        ),
        permuted=expand(
            "<results>/resamples/{resample}/prognosis/permuted.parquet",
            resample=FIRST_HELD_OUT,
        ),
        contributions=expand(
            "<results>/resamples/{resample}/prognosis/contributions.parquet",
            resample=FIRST_HELD_OUT,
        ),
        attributions=expand(
            "<results>/resamples/{resample}/prognosis/attributions.parquet",
            resample=FIRST_HELD_OUT,
        ),
        coefficients="<results>/resamples/full/prognosis/coefficients.parquet",
    output:
        importance="<results>/evaluation/prognosis_importance.parquet",
        shares="<results>/evaluation/prognosis_shares.parquet",
        explained="<results>/evaluation/prognosis_explained.parquet",
    log:
        "<results>/logs/explain_prognosis.log",
    benchmark:
        "<results>/benchmarks/explain_prognosis.tsv"
    group:
        f"{PREFIX}evaluation"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("explain_prognosis"),
        runtime=minutes("explain_prognosis"),
    params:
        settings=settings("endpoint", "evaluation", "seed"),
        library=library("prognosis", "survival", "resample"),
    message:
        "Explaining the survival models"
    script:
        "../scripts/explain_prognosis.py"


rule describe_prognosis:
    input:
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        resamples="<results>/cohort/resamples.parquet",
        features="<results>/resamples/full/features.h5mu",
        latents="<results>/resamples/full/latent.h5ad",
        risks=expand(
            "<results>/resamples/{resample}/prognosis/risks.parquet",
            resample=RESAMPLES,
        ),
        by_resample="<results>/evaluation/prognosis_resamples.parquet",
    output:
        sample_size="<results>/evaluation/prognosis_sample_size.parquet",
        instability="<results>/evaluation/prognosis_instability.parquet",
        bands="<results>/evaluation/prognosis_bands.parquet",
        optimism="<results>/evaluation/prognosis_optimism.parquet",
        proportional="<results>/evaluation/proportional_hazards.parquet",
        contrasts="<results>/evaluation/prognosis_contrasts.parquet",
        spread="<results>/evaluation/prognosis_spread.parquet",
        sites="<results>/evaluation/prognosis_sites.parquet",
    log:
        "<results>/logs/describe_prognosis.log",
    benchmark:
        "<results>/benchmarks/describe_prognosis.tsv"
    group:
        f"{PREFIX}evaluation"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("describe_prognosis"),
        runtime=minutes("describe_prognosis"),
    params:
        settings=settings(
            "data", "endpoint", "covariates", "prognosis", "evaluation", "seed"
        ),
        library=library("prognosis", "survival", "features", "resample"),
    message:
        "Asking how far the survival models can be trusted"
    script:
        "../scripts/describe_prognosis.py"
