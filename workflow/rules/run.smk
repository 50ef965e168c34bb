# What a run cost. It comes after everything else, so that nothing of the run is left out.


rule describe_run:
    input:
        manifest="<results>/manifest.json",
        workflow_file="<results>/workflow.json",
        report="<results>/report.html",
        card="<results>/bundle/bundle.json",
        model_card="<results>/model_card.html",
        measured=measured,
    output:
        page=report(
            "<results>/run.html",
            caption="../report/captions/run.rst",
            category="What the run cost",
        ),
        table="<results>/run.tsv",
    log:
        "<results>/logs/describe_run.log",
    benchmark:
        "<results>/benchmarks/describe_run.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=memory("describe_run"),
        runtime=minutes("describe_run"),
    params:
        settings=settings("cohort", "title"),
        library=library("report"),
        started=STARTED,
        besides="describe_run",
    message:
        "Summing up what the run cost"
    script:
        "../scripts/describe_run.py"


rule write_crate:
    input:
        manifest="<results>/manifest.json",
        workflow_file="<results>/workflow.json",
        report="<results>/report.html",
        card="<results>/bundle/bundle.json",
        model_card="<results>/model_card.html",
        run="<results>/run.html",
        run_table="<results>/run.tsv",
        described=described,
        measured=measured,
    output:
        crate="<results>/ro-crate-metadata.json",
        sources=[f"<results>/workflow/{name}" for name in WORKFLOW_FILES],
    log:
        "<results>/logs/write_crate.log",
    benchmark:
        "<results>/benchmarks/write_crate.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=memory("write_crate"),
        runtime=minutes("write_crate"),
    params:
        settings=settings("cohort", "title", "description"),
        library=library("report", "rules"),
        besides="describe_run",
    message:
        "Describing the run for machines"
    script:
        "../scripts/write_crate.py"
