# The latent model of one resample and its baseline.


rule train_latent:
    input:
        features="<results>/resamples/{resample}/features.h5mu",
    output:
        latents="<results>/resamples/{resample}/latent.h5ad",
        weights="<results>/resamples/{resample}/latent.safetensors",
        description="<results>/resamples/{resample}/latent.json",
        history="<results>/resamples/{resample}/training.parquet",
    log:
        "<results>/logs/{resample}/train_latent.log",
    benchmark:
        "<results>/benchmarks/{resample}/train_latent.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=memory("train_latent"),
        runtime=minutes("train_latent"),
        gpu=1 if CONFIG.latent.device == "cuda" else 0,
    params:
        settings=settings("latent", "seed"),
        library=library("latent", "features"),
        checkpoint=beside_outputs,
    message:
        "{wildcards.resample}: training the latent model"
    script:
        "../scripts/train_latent.py"
