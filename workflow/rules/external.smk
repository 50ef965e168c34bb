# Other cohorts of the config: each is read by the rules of its own config, and scored by the bundle of this one.

for external_name, external_config in EXTERNAL.items():
    external_prefix = f"external_{external_name}_"

    module:
        name: external_name
        snakefile:
            "../Snakefile"
        config:
            external_config

    use rule * from external_name as external_prefix*


if EXTERNAL:

    rule collect_external:
        input:
            of_metrics=external_tables("metrics"),
            of_subgroups=external_tables("subgroups"),
            of_effects=external_tables("treatment_effects"),
            of_order=external_tables("subgroup_order"),
            of_patients=external_tables("patients"),
            of_omics=external_tables("omics"),
        output:
            metrics="<results>/evaluation/external_metrics.parquet",
            subgroups="<results>/evaluation/external_subgroups.parquet",
            effects="<results>/evaluation/external_effects.parquet",
            order="<results>/evaluation/external_order.parquet",
            patients="<results>/evaluation/external_patients.parquet",
        log:
            "<results>/logs/collect_external.log",
        benchmark:
            "<results>/benchmarks/collect_external.tsv"
        conda:
            "../../envs/report.yaml"
        threads: 1
        resources:
            mem_mb=memory("collect_external"),
            runtime=minutes("collect_external"),
        params:
            names=[given.get("title", name) for name, given in EXTERNAL.items()],
            settings=settings("cohort"),
            library=library("bundle"),
        message:
            "Collecting what the models are worth in other cohorts"
        script:
            "../scripts/collect_external.py"
