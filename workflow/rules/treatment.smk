# Treatment: curves under each arm in one resample, and effects in held-out subgroups.


rule fit_treatment:
    input:
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        resamples="<results>/cohort/resamples.parquet",
        assignment="<results>/resamples/{resample}/subgroups.parquet",
        latents="<results>/resamples/{resample}/latent.h5ad",
    output:
        propensity="<results>/resamples/{resample}/treatment/propensity.parquet",
        curves="<results>/resamples/{resample}/treatment/curves.parquet",
        scores="<results>/resamples/{resample}/treatment/scores.parquet",
        policies="<results>/resamples/{resample}/treatment/policies.parquet",
        policy_trees="<results>/resamples/{resample}/treatment/policy_trees.parquet",
        effects="<results>/resamples/{resample}/treatment/effects.parquet",
    log:
        "<results>/logs/{resample}/fit_treatment.log",
    benchmark:
        "<results>/benchmarks/{resample}/fit_treatment.tsv"
    conda:
        "../../envs/treatment.yaml"
    threads: 1
    resources:
        mem_mb=memory("fit_treatment"),
        runtime=minutes("fit_treatment"),
    params:
        settings=settings("data", "endpoint", "covariates", "treatments", "seed"),
        # Effects of single patients take long to learn, and are judged in these resamples only.
        learned=lambda wildcards: wildcards.resample in FIRST_HELD_OUT,
        library=library("treatment", "survival"),
    message:
        "{wildcards.resample}: survival under each treatment arm, and effects"
    script:
        "../scripts/fit_treatment.py"


rule evaluate_treatment:
    input:
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        resamples="<results>/cohort/resamples.parquet",
        assignment="<results>/evaluation/subgroup_assignment.parquet",
        latents="<results>/resamples/full/latent.h5ad",
        controls="<results>/cohort/negative_controls.parquet",
        truth=truth,
        scores=expand(
            "<results>/resamples/{resample}/treatment/scores.parquet",
            resample=RESAMPLES,
        ),
        policies=expand(
            "<results>/resamples/{resample}/treatment/policies.parquet",
            resample=RESAMPLES,
        ),
        predictions=expand(
            "<results>/resamples/{resample}/treatment/effects.parquet",
            resample=RESAMPLES,
        ),
    output:
        trial="<results>/evaluation/treatment_trial.parquet",
        flow="<results>/evaluation/treatment_flow.parquet",
        balance="<results>/evaluation/treatment_balance.parquet",
        overlap="<results>/evaluation/treatment_overlap.parquet",
        curves="<results>/evaluation/treatment_curves.parquet",
        effects="<results>/evaluation/treatment_effects.parquet",
        averages="<results>/evaluation/treatment_averages.parquet",
        differences="<results>/evaluation/treatment_differences.parquet",
        difference_tests="<results>/evaluation/treatment_difference_tests.parquet",
        policy="<results>/evaluation/treatment_policy.parquet",
        profiles="<results>/evaluation/treatment_profiles.parquet",
        profile_effects="<results>/evaluation/treatment_profile_effects.parquet",
        learners="<results>/evaluation/treatment_learners.parquet",
        targeting="<results>/evaluation/treatment_targeting.parquet",
        sensitivity="<results>/evaluation/treatment_sensitivity.parquet",
        robustness="<results>/evaluation/treatment_robustness.parquet",
        interaction="<results>/evaluation/treatment_interaction.parquet",
        sites="<results>/evaluation/treatment_sites.parquet",
        site_summary="<results>/evaluation/treatment_site_summary.parquet",
    log:
        "<results>/logs/evaluate_treatment.log",
    benchmark:
        "<results>/benchmarks/evaluate_treatment.tsv"
    group:
        f"{PREFIX}evaluation"
    conda:
        "../../envs/treatment.yaml"
    threads: 1
    resources:
        mem_mb=memory("evaluate_treatment"),
        runtime=minutes("evaluate_treatment"),
    params:
        settings=settings(
            "data", "endpoint", "covariates", "treatments", "evaluation", "seed"
        ),
        library=library("treatment", "survival", "resample"),
    message:
        "Estimating treatment effects, overall and in held-out subgroups"
    script:
        "../scripts/evaluate_treatment.py"
