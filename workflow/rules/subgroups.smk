# Subgroups of one resample, and what held-out patients say about them.


rule find_subgroups:
    input:
        latents="<results>/resamples/{resample}/latent.h5ad",
        features="<results>/resamples/{resample}/features.h5mu",
        weights="<results>/resamples/{resample}/latent.safetensors",
        description="<results>/resamples/{resample}/latent.json",
    output:
        assignment="<results>/resamples/{resample}/subgroups.parquet",
        memberships="<results>/resamples/{resample}/memberships.parquet",
        selection="<results>/resamples/{resample}/selection.parquet",
        stability="<results>/resamples/{resample}/stability.parquet",
        information="<results>/resamples/{resample}/information.parquet",
        mixture="<results>/resamples/{resample}/mixture.json",
    log:
        "<results>/logs/{resample}/find_subgroups.log",
    benchmark:
        "<results>/benchmarks/{resample}/find_subgroups.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("find_subgroups"),
        runtime=minutes("find_subgroups"),
    params:
        settings=settings("seed")
        | {"subgroups": CONFIG.subgroups.for_finding().model_dump(mode="json")},
        library=library("subgroups", "latent", "features"),
    message:
        "{wildcards.resample}: looking for subgroups"
    script:
        "../scripts/find_subgroups.py"


rule evaluate_subgroups:
    input:
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        resamples="<results>/cohort/resamples.parquet",
        features="<results>/resamples/full/features.h5mu",
        assignments=expand(
            "<results>/resamples/{resample}/subgroups.parquet", resample=RESAMPLES
        ),
        selections=expand(
            "<results>/resamples/{resample}/selection.parquet", resample=RESAMPLES
        ),
        stabilities=expand(
            "<results>/resamples/{resample}/stability.parquet", resample=RESAMPLES
        ),
        samples=[from_user(path) for path in sample_files(HERE).values()],
        truth=truth,
    output:
        assignment="<results>/evaluation/subgroup_assignment.parquet",
        summary="<results>/evaluation/subgroup_summary.parquet",
        agreement="<results>/evaluation/subgroup_agreement.parquet",
        profile="<results>/evaluation/subgroup_profile.parquet",
        markers="<results>/evaluation/subgroup_markers.parquet",
        single="<results>/evaluation/subgroup_single_features.parquet",
        curves="<results>/evaluation/subgroup_curves.parquet",
        tests="<results>/evaluation/subgroup_tests.parquet",
        comparisons="<results>/evaluation/subgroup_comparisons.parquet",
        restricted="<results>/evaluation/subgroup_survival.parquet",
        associations="<results>/evaluation/subgroup_associations.parquet",
        sites="<results>/evaluation/subgroup_sites.parquet",
        site_survival="<results>/evaluation/subgroup_site_survival.parquet",
        site_summary="<results>/evaluation/subgroup_site_summary.parquet",
        selection="<results>/evaluation/subgroup_selection.parquet",
    log:
        "<results>/logs/evaluate_subgroups.log",
    benchmark:
        "<results>/benchmarks/evaluate_subgroups.tsv"
    group:
        f"{PREFIX}evaluation"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("evaluate_subgroups"),
        runtime=minutes("evaluate_subgroups"),
    params:
        settings=settings(
            "endpoint",
            "covariates",
            "known_labels",
            "site",
            "evaluation",
            "seed",
            "data",
        )
        | {"analysis": CONFIG.for_checks().model_dump(mode="json")},
        library=library(
            "subgroups", "survival", "features", "resample", "quality", "cohort"
        ),
    message:
        "Judging the subgroups on held-out patients"
    script:
        "../scripts/evaluate_subgroups.py"


rule describe_subgroups:
    input:
        cohort_file="<results>/cohort/cohort.h5mu",
        clinical="<results>/cohort/clinical.parquet",
        resamples="<results>/cohort/resamples.parquet",
        latents="<results>/resamples/full/latent.h5ad",
        assignments=expand(
            "<results>/resamples/{resample}/subgroups.parquet", resample=RESAMPLES
        ),
        gene_sets=GENE_SETS,
        truth=truth,
    output:
        map="<results>/evaluation/latent_map.parquet",
        consensus="<results>/evaluation/subgroup_consensus.parquet",
        alterations="<results>/evaluation/subgroup_alterations.parquet",
        scores="<results>/evaluation/subgroup_gene_sets.parquet",
        coverage="<results>/evaluation/gene_set_coverage.parquet",
    log:
        "<results>/logs/describe_subgroups.log",
    benchmark:
        "<results>/benchmarks/describe_subgroups.tsv"
    group:
        f"{PREFIX}evaluation"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("describe_subgroups"),
        runtime=minutes("describe_subgroups"),
    params:
        settings=settings("subgroups", "features", "site", "seed"),
        library=library("subgroups", "features", "cohort", "omics"),
    message:
        "Describing the subgroups"
    script:
        "../scripts/describe_subgroups.py"
