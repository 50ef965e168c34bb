# The config, the plan, and the few helpers that rules use.
import fcntl
import hashlib
import os
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
sys.path.insert(0, str(WORKFLOW / "scripts"))


include: "storage.smk"


from stratiome.bundle.files import CARD, FILES as BUNDLE_FILES
from stratiome.cohort.controls import controls_of
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
from stratiome.config import ConfigError, check_config
from stratiome.report.crate import FOLDERS, NAMED
from stratiome.report.jobs import log_of
from stratiome.resample.names import first_design, resample_names
from stratiome.tables import DESIGNS

# A config file given on the command line replaces the demo; it is never merged into it.
if not workflow.config_settings.configfiles:

    configfile: "config/config.yaml"


try:
    HERE, SPLITS = plan(
        copied(dict(config)),
        other_cohort(config) or ", ".join(map(str, workflow.configfiles)) or "config",
    )
    CONFIG, _ = check_config(dict(config))
    EXTERNAL = external_configs(CONFIG)
except ConfigError as error:
    raise WorkflowError(f"The config cannot be run.\n{error}")

refuse_unstorable(CONFIG.results_folder)
RESAMPLES = resample_names(CONFIG.resamples, SPLITS.sites, SPLITS.given)
FIRST_HELD_OUT = first_design(RESAMPLES, DESIGNS)
WORKFLOW_FILES = [
    "Snakefile",
    *sorted(f"rules/{path.name}" for path in (WORKFLOW / "rules").glob("*.smk")),
]
SPLIT_FILES = [from_user(path) for path in [split_file(HERE)] if path]
GENE_SETS = [from_user(path) for path in [gene_set_file(HERE)] if path]
OMICS = list(CONFIG.omics)
NEGATIVE_CONTROLS = {
    name: control.model_dump(mode="json")
    for name, control in controls_of(CONFIG).items()
}
APPLIED = ("patients", "memberships", "risks", "curves", "counterfactuals", "omics")
HAS_TRUTH = CONFIG.data.simulate is not None


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
    root = WORKFLOW / "scripts" / "stratiome"
    files = sorted(root.glob("*.py")) + [
        f for p in packages for f in sorted((root / p).glob("*.py"))
    ]
    if "report" in packages:
        files += sorted(f for f in (WORKFLOW / "report").rglob("*") if f.is_file())
    if "rules" in packages:
        files += [WORKFLOW / name for name in WORKFLOW_FILES]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


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
    if HERE.bundle.apply is None:
        raise WorkflowError(
            "`bundle.apply`: missing. Suggestion: name the folder of a bundle, as "
            "--config 'bundle={apply: results/other/bundle}'"
        )
    return from_user(Path(HERE.bundle.apply) / CARD)


def applied_parts(wildcards):
    """The other files of that bundle, where this run makes or copies them; reading checks those of the user's folder."""
    files = [Path(HERE.bundle.apply) / name for name in BUNDLE_FILES]
    return [
        from_user(path) for path in files if of_this_run(path) or str(path) in COPIES
    ]


def made_from(name, wildcards):
    """Input files of a rule, as Snakemake finds them, but what is read of the cost of jobs."""
    found = workflow.get_rule(name).expand_input(dict(wildcards))[0]
    measured = set(map(str, found.get("measured", [])))
    return [str(path) for path in found if str(path) not in measured]


@cache
def maker(path):
    """Rule that makes a file, and its wildcards; none for a file that a user gives."""
    found = [asked for asked in workflow.rules if asked.is_producer(path)]
    if not found:
        return None
    first = max(found)  # by `ruleorder`
    return first.name, tuple(sorted(first.get_wildcards(path).items()))


def all_jobs(asked=(("all", ()),)):
    """Jobs of a whole run -> jobs that each needs: from what `all` asks for back to the files of the user.

    The rules are asked, not the DAG of this call: that depends on what the call asks for, and in a job of a cluster
    it holds that job alone.
    """
    makers, jobs, asked = {}, {}, list(asked)
    while asked:
        job = asked.pop()
        if job not in jobs:
            paths = made_from(*job)
            makers |= {path: maker(path) for path in paths if path not in makers}
            jobs[job] = {makers[path] for path in paths} - {None}
            asked += jobs[job]
    return jobs


def results_root():
    """Folder of the results as rules see it, which may hold copies of what is stored elsewhere."""
    return os.path.dirname(made_from("all", ())[0])


def within_results(path):
    """Name of a file within the results."""
    return os.path.relpath(path, results_root())


@cache
def jobs_summed_up():
    """Jobs of a whole run before those that sum it up."""
    last = [maker(path) for path in made_from("all", ())]
    return all_jobs(
        [job for job in last if job[0] not in ("describe_run", "write_crate")]
    )


def described(wildcards):
    """Files that the description of the run for machines lists."""
    made = {
        within_results(path)
        for name, own in jobs_summed_up()
        for path in workflow.get_rule(name).expand_output(dict(own))[0]
    }
    return [
        f"<results>/{name}"
        for name in sorted(made)
        if name in NAMED or name.partition("/")[0] in FOLDERS
    ]


def measured(wildcards):
    """What the jobs left of their cost, where it must be got from a store; what lacks here is told, not made anew."""
    if not RESULTS_STORED:
        return []
    found = []
    for name, own in sorted(jobs_summed_up()):
        path = workflow.get_rule(name).expand_benchmark(dict(own))
        cost = within_results(path)
        found += [f"<results>/{cost}", f"<results>/{log_of(cost)}"]
    return found


def rule_facts(name, jobs, needs):
    """What the library is told of a rule; a stage is the file of its rules, other cohorts are a stage of their own."""
    made_by = workflow.get_rule(name)
    own = Path(str(made_by.script)).stem
    prefix = name.removesuffix(own)
    benchmarks = [made_by.expand_benchmark(dict(given)) for given in sorted(jobs)]
    return {
        "rule": own,
        "stage": "external" if prefix else Path(str(made_by.snakefile)).stem,
        "threads": made_by.resources["_cores"].value,
        "needs": sorted(needs),
        "jobs": [within_results(path) for path in benchmarks],
    }


def whole_run(wildcards):
    """Rules of `all` in the order of the workflow, with their jobs and the places of the rules they need."""
    jobs = all_jobs()
    names = [one.name for one in workflow.rules if one.name != "all"]
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
    if RESULTS_STORED:
        print(f"\nResults: {stored_at()}", file=sys.stderr)
    elif (Path(CONFIG.results_folder) / "report.html").exists():
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
        f"\nStopped. The message is above, details are in {stored_at()}/logs. "
        "Run the same command again to go on where it stopped.",
        file=sys.stderr,
    )
