# The config, the plan, and the few helpers that rules use.
import atexit
import hashlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from snakemake.exceptions import WorkflowError

WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
sys.path.insert(0, str(WORKFLOW / "scripts"))

from stratiome import clock, disk, lock
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

SEEN = lock.look(Path(CONFIG.results_folder))  # before the jobs are planned

if not workflow.is_main_process:  # a job on its own, as on a node of a cluster
    try:
        HELD = lock.join_run_of(Path(CONFIG.results_folder))
    except lock.HeldError as error:
        raise WorkflowError(str(error))

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


def maker(path):
    """Rule that makes a file, and its wildcards; none for a file that a user gives."""
    found = [asked for asked in workflow.rules if asked.is_producer(path)]
    if not found:
        return None
    first = max(found)  # by `ruleorder`
    return first.name, tuple(sorted(first.get_wildcards(path).items()))


def all_jobs():
    """Jobs of a whole run -> jobs that each needs: from what `all` asks for back to the files of the user.

    The rules are asked, not the DAG of this call: that depends on what the call asks for, and in a job of a cluster
    it holds that job alone.
    """
    makers, jobs, asked = {}, {}, [("all", ())]
    while asked:
        job = asked.pop()
        if job not in jobs:
            paths = made_from(*job)
            makers |= {path: maker(path) for path in paths if path not in makers}
            jobs[job] = {makers[path] for path in paths} - {None}
            asked += jobs[job]
    return jobs


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
        "jobs": [os.path.relpath(path, CONFIG.results_folder) for path in benchmarks],
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


def hold_folder():
    """Refuse a second run in this folder, and wait for jobs that a dead one has left at work."""
    folder = Path(CONFIG.results_folder)
    try:
        held = lock.hold(folder, SEEN, lambda text: print(text, file=sys.stderr))
    except lock.HeldError as error:
        raise WorkflowError(str(error))
    except OSError as error:
        said = disk.explain(error, [str(folder)]) or (
            f"{folder} cannot be written ({error.strerror}). Suggestion: name a folder that is yours"
        )
        raise WorkflowError(f"`results`: {said}")
    atexit.register(lock.release, held)


def set_clock():
    """Let no result be newer than the start of this run, and refuse files of the user that are."""
    folder = Path(CONFIG.results_folder)
    (folder / lock.LOCK).touch()  # as Snakemake does with the outputs of a job
    now = (folder / lock.LOCK).stat().st_mtime_ns
    read = {
        str(f)
        for job in workflow.dag.needrun_jobs()
        for f in job.input
        if not f.is_storage and folder.absolute() not in Path(f).absolute().parents
    }
    if given := sorted(clock.ahead(read, now)):
        raise WorkflowError(
            f"These files were last changed in a time to come, by the clock of the results:\n{clock.told(given)}\n"
            "What is made from them would look older than they are. Suggestion: set the clock right, or `touch` them"
        )
    # All results, as what this call does not ask for is judged by its time at the next.
    if results := clock.ahead(clock.files(folder), now):
        print(
            f"{len(results)} results have a time to come, as after a change of the clock: they get the time of now",
            file=sys.stderr,
        )
        clock.set_back(results, now)


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
    set_clock()
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
