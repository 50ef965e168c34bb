# Features of one resample, learned on its training patients.


rule build_features:
    input:
        cohort_file="<results>/cohort/cohort.h5mu",
        resample_table="<results>/cohort/resamples.parquet",
        gate=gate,
    output:
        feature_file="<results>/resamples/{resample}/features.h5mu",
        transforms="<results>/resamples/{resample}/transforms.safetensors",
        summary="<results>/resamples/{resample}/features.parquet",
    log:
        "<results>/logs/{resample}/build_features.log",
    benchmark:
        "<results>/benchmarks/{resample}/build_features.tsv"
    group:
        f"{PREFIX}features"
    conda:
        "../../envs/cohort.yaml"
    threads: 1
    resources:
        mem_mb=memory("build_features"),
        runtime=minutes("build_features"),
    params:
        settings=settings("features", "site"),
        counts=CONFIG.latent.counts == "negative_binomial",
        library=library("features", "omics", "cohort"),
    message:
        "{wildcards.resample}: building features"
    script:
        "../scripts/build_features.py"
