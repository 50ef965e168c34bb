# Many analyses in one run: each cohort with each endpoint is the workflow with a config of its own.
import sys
from pathlib import Path

from snakemake.cli import get_argument_parser
from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.14")

WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
sys.path.insert(0, str(WORKFLOW / "scripts"))

from stratiome.code_digest import code_digest, page_files
from stratiome.config import ConfigError
from stratiome.sweep import JOINED, plan_sweep, stopped_in


def targets():
    """What this call asks for; in a job of a cluster, that job.

    Snakemake reads the rules before it looks at the targets, so the command line is asked; without one, nothing is known.
    """
    if Path(sys.argv[0]).name not in ("snakemake", "__main__.py"):
        return []
    given, _ = get_argument_parser().parse_known_args(sys.argv[1:])
    jobs = [getattr(job, "rulename", job) for job in given.target_jobs or []]
    return [str(job).split(":")[0] for job in jobs] or list(given.targets)


try:
    SWEEP, COMBINATIONS = plan_sweep(
        config, ", ".join(map(str, workflow.configfiles)) or "config", targets()
    )
except ConfigError as error:
    raise WorkflowError(f"The sweep cannot be run.\n{error}")

LOADED = [one for one in COMBINATIONS if one.wanted]

for combination in LOADED:
    combination_name = combination.name
    combination_config = combination.config
    combination_prefix = f"{combination_name}{JOINED}"

    module:
        name: combination_name
        snakefile:
            "Snakefile"
        config:
            combination_config

    use rule * from combination_name as combination_prefix*


pathvars:
    results=SWEEP.results_folder,


def of_all(wildcards):
    """What `all` of every combination asks for."""
    rules = [workflow.get_rule(f"{one.name}{JOINED}all") for one in LOADED]
    return [str(path) for rule in rules for path in rule.expand_input({})[0]]


rule all:
    default_target: True
    input:
        "<results>/summary.html",
        of_all,


def made_by(name):
    """A file of every analysis: of those that this call runs, and of others where it is there."""
    found = [(one.wanted, f"{one.folder}/{name}") for one in COMBINATIONS]
    return [path for wanted, path in found if wanted or Path(path).is_file()]


def seen():
    """Where analyses stopped that this call does not run."""
    return {one.name: stopped_in(one.folder) for one in COMBINATIONS if not one.wanted}


localrules:
    summarise_sweep,


rule summary:
    input:
        "<results>/summary.html",


rule summarise_sweep:
    input:
        found=made_by("answers.parquet"),
        manifests=made_by("manifest.json"),
    output:
        page=report(
            "<results>/summary.html",
            caption="report/captions/summary.rst",
            category="Summary",
        ),
        table="<results>/summary.tsv",
        answers_table="<results>/answers.tsv",
        collected="<results>/summary.parquet",
        numbers="<results>/summary_numbers.json",
    log:
        "<results>/logs/summarise_sweep.log",
    benchmark:
        "<results>/benchmarks/summarise_sweep.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        title=SWEEP.title or SWEEP.sweep,
        analyses=[[one.cohort, one.endpoint, one.folder] for one in COMBINATIONS],
        seen=seen(),
        library=code_digest(("report", "audit"), page_files(WORKFLOW)),
    message:
        "Summing up all analyses"
    script:
        "scripts/summarise_sweep.py"


def hold_folders():
    """Refuse a second run in the folder of an analysis, and note when this one began."""
    for one in LOADED:
        analysis = globals()[one.name]
        analysis.hold_folder()
        analysis.note_start()
    if LOADED:
        analysis.set_clock()  # of the files of all jobs


onstart:
    hold_folders()


onsuccess:
    for one in LOADED:
        globals()[one.name].note_end()
    if Path(f"{SWEEP.results_folder}/summary.html").exists():
        print(f"\nSummary: {SWEEP.results_folder}/summary.html", file=sys.stderr)


onerror:
    for one in LOADED:
        globals()[one.name].say_what_stopped()
    print(
        "\nStopped. The message is above. Run the same command again to go on where it stopped; with `--keep-going` "
        "other analyses go on when one stops. With the target `summary` the same command sums up what is there.",
        file=sys.stderr,
    )
