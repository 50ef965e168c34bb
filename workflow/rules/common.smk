# The config, the plan, and the few helpers that rules use.
import fcntl
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from snakemake.exceptions import WorkflowError

WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
sys.path.insert(0, str(WORKFLOW / "scripts"))

from stratiome.bundle.files import CARD, FILES as BUNDLE_FILES
from stratiome.cohort.controls import controls_of
from stratiome.code_digest import code_digest, page_files
from stratiome.cohort.manifest import write_json
from stratiome.plan import (
    clinical_file,
    external_configs,
    gene_set_file,
    name_files,
    omic_files,
    other_cohort,
    other_files,
    plan,
    sample_files,
    split_file,
)
from stratiome.config import ConfigError
from stratiome.resample.names import first_design, resample_names
from stratiome.tables import DESIGNS

# A config file given on the command line replaces the demo; it is never merged into it.
if not workflow.config_settings.configfiles:

    configfile: "config/config.yaml"


try:
    CONFIG, SPLITS = plan(
        dict(config),
        other_cohort(config) or ", ".join(map(str, workflow.configfiles)) or "config",
    )
    EXTERNAL = external_configs(CONFIG)
except ConfigError as error:
    raise WorkflowError(f"The config cannot be run.\n{error}")

RESAMPLES = resample_names(CONFIG.resamples, SPLITS.sites, SPLITS.given)
FIRST_HELD_OUT = first_design(RESAMPLES, DESIGNS)
WORKFLOW_FILES = [
    "Snakefile",
    *sorted(f"rules/{path.name}" for path in (WORKFLOW / "rules").glob("*.smk")),
]
SPLIT_FILES = [str(path) for path in [split_file(CONFIG)] if path]
GENE_SETS = [str(path) for path in [gene_set_file(CONFIG)] if path]
OMICS = list(CONFIG.omics)
NEGATIVE_CONTROLS = {
    name: control.model_dump(mode="json")
    for name, control in controls_of(CONFIG).items()
}
APPLIED = ("patients", "memberships", "risks", "curves", "counterfactuals", "omics")
HAS_TRUTH = CONFIG.data.simulate is not None
# What the names of the rules begin with where this workflow is a module of another: "" where it is not.
PREFIX = workflow.modifier.modify_rulename("all").removesuffix("all")


pathvars:
    results=CONFIG.results_folder,


wildcard_constraints:
    resample="|".join(RESAMPLES),
    omic="|".join(OMICS),


def settings(*keys):
    """Part of the config that a rule depends on; a change of another part does not make it run again."""
    dumped = CONFIG.model_dump(mode="json")
    return {key: dumped[key] for key in (*keys, "threads")}


def library(*packages):
    """Digest of the parts of the library that a rule uses; an edit to one of them makes the rule run again."""
    files = page_files(WORKFLOW) if "report" in packages else ()
    if "rules" in packages:
        files += tuple(WORKFLOW / name for name in WORKFLOW_FILES)
    return code_digest(packages, files)


def truth(wildcards):
    """The planted truth, where the cohort is simulated."""
    return ["<results>/input/truth.parquet"] if HAS_TRUTH else []


def gate(wildcards):
    """What must have passed before features are built: only a correction that protects columns can be refused."""
    return ["<results>/quality/checks/gate"] if CONFIG.features.protect else []


def treatment_table(name):
    """An evaluation table of treatments, where the config has any."""
    return [f"<results>/evaluation/{name}.parquet"] if CONFIG.treatments else []


def external_tables(name):
    """A table of every other cohort."""
    return [
        f"<results>/external/{cohort}/applied/{name}.parquet" for cohort in EXTERNAL
    ]


def external_summary(name):
    """A table of what was found in other cohorts, where the config has any."""
    return [f"<results>/evaluation/external_{name}.parquet"] if EXTERNAL else []


def refuse_too_few():
    """Say why the cohort can only be scored, if that is so."""
    if SPLITS.too_few:
        said = "\n".join(f"  - {text}" for text in SPLITS.too_few)
        whose = other_cohort(config) or "The cohort of the config"
        raise WorkflowError(
            f"{whose} can be scored by a bundle, but neither analysed nor used to judge one:\n{said}"
        )


def enough(files):
    """Function that gives these files where the cohort is enough for an analysis; else it says why not."""

    def given(wildcards):
        refuse_too_few()
        return files

    return given


# What surely needs an analysis, or outcomes, is refused at once; files that are asked for by name, by `enough`.
ASKED = (
    set(workflow.dag_settings.targets) or {"all"} if workflow.dag_settings else set()
)
if ASKED & {"all", "validate"} and not other_cohort(config):
    refuse_too_few()


def applied_bundle(wildcards):
    """Card of the bundle to apply to this cohort."""
    if CONFIG.bundle.apply is None:
        raise WorkflowError(
            "`bundle.apply`: missing. Suggestion: name the folder of a bundle, as "
            "--config 'bundle={apply: results/other/bundle}'"
        )
    return str(Path(CONFIG.bundle.apply) / CARD)


def made_from(name, wildcards):
    """Input files of a rule, as Snakemake finds them."""
    found = workflow.get_rule(name).expand_input(dict(wildcards))
    return [str(path) for path in found[0]]


def own_rules():
    """Rules of this workflow, with those of other cohorts, where it may be one of several modules."""
    return [one for one in workflow.rules if one.name.startswith(PREFIX)]


def maker(path, rules):
    """Which of the rules makes a file, and its wildcards; none for a file that a user gives."""
    found = [
        one
        for one in rules
        if (one.is_producer(path) if one.has_wildcards() else path in one.output)
    ]
    if not found:
        return None
    first = max(found)  # by `ruleorder`
    return first.name, tuple(sorted(first.get_wildcards(path).items()))


def all_jobs():
    """Jobs of a whole run -> jobs that each needs: from what `all` asks for back to the files of the user.

    The rules are asked, not the DAG of this call: that depends on what the call asks for, and in a job of a cluster
    it holds that job alone.
    """
    makers, jobs, asked, rules = {}, {}, [(f"{PREFIX}all", ())], own_rules()
    while asked:
        job = asked.pop()
        if job not in jobs:
            paths = made_from(*job)
            makers |= {path: maker(path, rules) for path in paths if path not in makers}
            jobs[job] = {makers[path] for path in paths} - {None}
            asked += jobs[job]
    return jobs


def rule_facts(name, jobs, needs):
    """What the library is told of a rule; a stage is the file of its rules, other cohorts are a stage of their own."""
    made_by = workflow.get_rule(name)
    own = Path(str(made_by.script)).stem
    abroad = name != f"{PREFIX}{own}"
    benchmarks = [made_by.expand_benchmark(dict(given)) for given in sorted(jobs)]
    return {
        "rule": own,
        "stage": "external" if abroad else Path(str(made_by.snakefile)).stem,
        "threads": made_by.resources["_cores"].value,
        "needs": sorted(needs),
        "jobs": [os.path.relpath(path, CONFIG.results_folder) for path in benchmarks],
    }


def whole_run(wildcards):
    """Rules of `all` in the order of the workflow, with their jobs and the places of the rules they need."""
    jobs = all_jobs()
    names = [one.name for one in own_rules() if one.name != f"{PREFIX}all"]
    names = [name for name in names if any(name == job[0] for job in jobs)]
    places = {name: i for i, name in enumerate(names)}
    found = []
    for name in names:
        own = [job for job in jobs if job[0] == name]
        needs = {places[other] for job in own for other, _ in jobs[job]}
        found.append(rule_facts(name, [given for _, given in own], needs))
    return found


def hold_folder(handle=[]):
    """Refuse a second run in this folder. The system frees the lock when the holder dies, even by kill -9."""
    lock = Path(CONFIG.results_folder)
    try:
        lock.mkdir(parents=True, exist_ok=True)
        handle.append(open(lock / ".lock", "w"))
    except OSError as error:
        raise WorkflowError(
            f"`results`: {lock} cannot be written ({error.strerror}). Suggestion: name a folder that is yours"
        )
    try:
        fcntl.flock(handle[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise WorkflowError(
            f"Another run is writing to {lock}. Suggestion: wait for it, or give `results:` another folder in the config"
        )


def started_file():
    """Where it is written when the last call began; no input of a rule, since a new call makes no result old."""
    return f"{CONFIG.results_folder}/benchmarks/started.json"


def note_start():
    """Write down when this call began and how many cores it may use."""
    target = Path(started_file())
    target.parent.mkdir(parents=True, exist_ok=True)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    write_json({"started": began, "cores": workflow.resource_settings.cores}, target)


onstart:
    hold_folder()
    note_start()


onsuccess:
    if (Path(CONFIG.results_folder) / "report.html").exists():
        print(
            f"\nReport: {Path(CONFIG.results_folder) / 'report.html'}",
            file=sys.stderr,
        )
    if (Path(CONFIG.results_folder) / "applied" / "patients.parquet").exists():
        print(
            f"\nScores by the bundle: {Path(CONFIG.results_folder) / 'applied'}",
            file=sys.stderr,
        )


onerror:
    print(
        f"\nStopped. The message is above, details are in {CONFIG.results_folder}/logs. "
        "Run the same command again to go on where it stopped.",
        file=sys.stderr,
    )
