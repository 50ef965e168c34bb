# Files -> one checked cohort -> quality and resamples.


rule simulate_cohort:
    output:
        clinical="<results>/input/clinical.tsv",
        truth="<results>/input/truth.parquet",
        swaps="<results>/input/swaps.parquet",
        omics=expand("<results>/input/{omic}.parquet", omic=OMICS),
    log:
        "<results>/logs/simulate_cohort.log",
    benchmark:
        "<results>/benchmarks/simulate_cohort.tsv"
    group:
        f"{PREFIX}read"
    conda:
        "../../envs/cohort.yaml"
    threads: 1
    resources:
        mem_mb=memory("simulate_cohort"),
        runtime=minutes("simulate_cohort"),
    params:
        settings=settings("data", "endpoint", "seed"),
        library=library("cohort", "survival"),
    message:
        "Simulating the cohort"
    script:
        "../scripts/simulate_cohort.py"


rule export_example:
    output:
        clinical="<results>/input/clinical.tsv",
        omics=expand("<results>/input/{omic}.parquet", omic=OMICS),
    log:
        "<results>/logs/export_example.log",
    benchmark:
        "<results>/benchmarks/export_example.tsv"
    conda:
        "../../envs/cohort.yaml"
    threads: 1
    resources:
        mem_mb=memory("export_example"),
        runtime=minutes("export_example"),
    params:
        settings=settings("data"),
        library=library("cohort"),
    message:
        "Writing the example cohort"
    script:
        "../scripts/export_example.py"


if HAS_TRUTH:

    ruleorder: simulate_cohort > export_example

else:

    ruleorder: export_example > simulate_cohort


rule ingest_cohort:
    input:
        clinical_file=from_user(clinical_file(HERE)),
        omic_files=[from_user(path) for path in omic_files(HERE).values()],
        other_files=[from_user(path) for path in other_files(HERE)],
    output:
        cohort_file="<results>/cohort/cohort.h5mu",
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        outcome_counts="<results>/cohort/outcome_counts.parquet",
        controls="<results>/cohort/negative_controls.parquet",
        flow="<results>/cohort/patient_flow.parquet",
        overlap="<results>/cohort/omic_overlap.parquet",
        notes="<results>/cohort/notes.parquet",
        inputs_file="<results>/cohort/inputs.json",
    log:
        "<results>/logs/ingest_cohort.log",
    benchmark:
        "<results>/benchmarks/ingest_cohort.tsv"
    group:
        f"{PREFIX}read"
    conda:
        "../../envs/cohort.yaml"
    threads: 1
    resources:
        mem_mb=memory("ingest_cohort"),
        runtime=minutes("ingest_cohort"),
    params:
        settings=settings() | {"analysis": CONFIG.for_reading().model_dump(mode="json")},
        negative_controls=NEGATIVE_CONTROLS,
        library=library("cohort", "omics", "survival"),
    message:
        "Reading and checking the cohort"
    script:
        "../scripts/ingest_cohort.py"


rule write_manifest:
    input:
        inputs_file="<results>/cohort/inputs.json",
        splits=SPLIT_FILES,
        gene_sets=GENE_SETS,
    output:
        manifest_file="<results>/manifest.json",
    log:
        "<results>/logs/write_manifest.log",
    benchmark:
        "<results>/benchmarks/write_manifest.tsv"
    group:
        f"{PREFIX}checks"
    conda:
        "../../envs/cohort.yaml"
    threads: 1
    resources:
        mem_mb=memory("write_manifest"),
        runtime=minutes("write_manifest"),
    params:
        settings=settings() | {"analysis": CONFIG.model_dump(mode="json")},
        software=pinned_software(),
        library=library("cohort", "subgroups"),
    message:
        "Writing down inputs, software and config"
    script:
        "../scripts/write_manifest.py"


rule describe_workflow:
    output:
        workflow_file="<results>/workflow.json",
    log:
        "<results>/logs/describe_workflow.log",
    benchmark:
        "<results>/benchmarks/describe_workflow.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=memory("describe_workflow"),
        runtime=minutes("describe_workflow"),
    params:
        settings=settings(),
        library=library("report"),
        rules=whole_run,
    message:
        "Writing down the rules of this run"
    script:
        "../scripts/describe_workflow.py"


rule describe_cohort:
    input:
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
    output:
        baseline="<results>/cohort/baseline.parquet",
    log:
        "<results>/logs/describe_cohort.log",
    benchmark:
        "<results>/benchmarks/describe_cohort.tsv"
    group:
        f"{PREFIX}checks"
    conda:
        "../../envs/cohort.yaml"
    threads: 1
    resources:
        mem_mb=memory("describe_cohort"),
        runtime=minutes("describe_cohort"),
    params:
        settings=settings("covariates", "known_labels", "site", "data", "treatments"),
        library=library("cohort", "survival"),
        columns=CONFIG.described_columns(),
        level=CONFIG.evaluation.level,
    message:
        "Describing the patients"
    script:
        "../scripts/describe_cohort.py"


rule check_quality:
    input:
        cohort_file="<results>/cohort/cohort.h5mu",
    output:
        tables=expand("<results>/quality/{omic}.parquet", omic=OMICS),
        figures=expand("<results>/quality/{omic}.svg", omic=OMICS),
        summary="<results>/quality/summary.parquet",
    log:
        "<results>/logs/check_quality.log",
    benchmark:
        "<results>/benchmarks/check_quality.tsv"
    group:
        f"{PREFIX}checks"
    conda:
        "../../envs/cohort.yaml"
    threads: 1
    resources:
        mem_mb=memory("check_quality"),
        runtime=minutes("check_quality"),
    params:
        settings=settings(),
        library=library("quality", "omics", "cohort"),
    message:
        "Measuring the quality of every omic"
    script:
        "../scripts/check_quality.py"


rule check_identity:
    input:
        cohort_file="<results>/cohort/cohort.h5mu",
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        samples=[from_user(path) for path in sample_files(HERE).values()],
    output:
        identity="<results>/quality/checks/identity.parquet",
        identity_summary="<results>/quality/checks/identity_summary.parquet",
        batches="<results>/quality/checks/batches.parquet",
        missingness="<results>/quality/checks/missingness.parquet",
        treatments="<results>/quality/checks/treatments.parquet",
        gate="<results>/quality/checks/gate",
    log:
        "<results>/logs/check_identity.log",
    benchmark:
        "<results>/benchmarks/check_identity.tsv"
    group:
        f"{PREFIX}checks"
    conda:
        "../../envs/cohort.yaml"
    threads: 1
    resources:
        mem_mb=memory("check_identity"),
        runtime=minutes("check_identity"),
    params:
        settings=settings() | {"analysis": CONFIG.for_checks().model_dump(mode="json")},
        library=library("quality", "omics", "cohort"),
    message:
        "Checking who patients are, batches and what is missing"
    script:
        "../scripts/check_identity.py"


rule design_resamples:
    input:
        clinical="<results>/cohort/clinical.parquet",
        outcome="<results>/cohort/outcome.parquet",
        splits=enough(SPLIT_FILES),
    output:
        resample_table="<results>/cohort/resamples.parquet",
        resample_summary="<results>/cohort/resample_summary.parquet",
    log:
        "<results>/logs/design_resamples.log",
    benchmark:
        "<results>/benchmarks/design_resamples.tsv"
    group:
        f"{PREFIX}read"
    conda:
        "../../envs/cohort.yaml"
    threads: 1
    resources:
        mem_mb=memory("design_resamples"),
        runtime=minutes("design_resamples"),
    params:
        settings=settings("resamples", "site", "seed"),
        strata=CONFIG.treated_columns(),
        library=library("resample", "cohort"),
        sites=SPLITS.sites,
        patient_id=CONFIG.data.patient_id,
        show_ids=CONFIG.audit.ids_in_messages,
    message:
        "Splitting patients into training and held-out"
    script:
        "../scripts/design_resamples.py"
