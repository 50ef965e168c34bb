# The config, the plan, and the few helpers that rules use.
import atexit
import os
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from snakemake import __version__ as snakemake_version
from snakemake.exceptions import WorkflowError
from snakemake.resources import Resources
from snakemake.settings.types import DeploymentMethod

WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
sys.path.insert(0, str(WORKFLOW / "scripts"))


include: "storage.smk"


from stratiome import clock, cluster, disk, lock, records
from stratiome.bundle.files import CARD, FILES as BUNDLE_FILES
from stratiome.cohort.controls import controls_of
from stratiome.code_digest import code_digest, page_files
from stratiome.cohort.manifest import write_json
from stratiome.needs import cohort_size, read_needs
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
from stratiome.report.titles import category
from stratiome.resample.names import first_design, resample_names
from stratiome.tables import DESIGNS

# Whether this is the workflow that was called, and not a module of another one.
CALLED = workflow.modifier.is_main_snakefile()

# A config file given on the command line replaces the demo; it is never merged into it.
if not workflow.config_settings.configfiles:

    configfile: "config/config.yaml"


try:
    whose = "" if CALLED else other_cohort(config) or f"module `{__name__}`"
    files = ", ".join(map(str, workflow.configfiles)) or "config"
    HERE, SPLITS = plan(copied(dict(config)), whose or files)
    CONFIG, _ = check_config(dict(config))
    EXTERNAL = external_configs(CONFIG)
except ConfigError as error:
    raise WorkflowError(f"The config cannot be run.\n{error}")

refuse_unstorable(CONFIG.results_folder)

SEEN = lock.look(Path(CONFIG.results_folder))  # before the jobs are planned

if not workflow.is_main_process:  # a job on its own, as on a node of a cluster
    try:
        HELD = lock.join_run_of(Path(CONFIG.results_folder))
    except lock.HeldError as error:
        raise WorkflowError(str(error))

RECORDS = Path(".snakemake").absolute()
# Where it is written when the last call began; no input of a rule, since a new call makes no result old.
STARTED = f"{CONFIG.results_folder}/benchmarks/started.json"
if workflow.is_main_process:
    try:
        records.check(Path(STARTED), CONFIG, RECORDS)
    except records.UnrecordedError as error:
        raise WorkflowError(str(error))

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
NEEDS = read_needs(WORKFLOW / "needs.tsv")
SIZE = cohort_size(HERE)
# What the names of the rules begin with where this workflow is a module of another: "" where it is not.
PREFIX = workflow.modifier.modify_rulename("all").removesuffix("all")


# An image that jobs run in with `--sdm apptainer`, as made from envs/stratiome.def; none is published.
IMAGE = os.environ.get("STRATIOME_IMAGE")
if IMAGE:

    envvars:
        "STRATIOME_IMAGE",

    container: IMAGE


pathvars:
    results=CONFIG.results_folder,


def refuse_another_folder():
    """Refuse a module whose files another workflow puts elsewhere than in the folder of the config."""
    found = workflow.modifier.path_modifier.replace_prefix(
        workflow.pathvars.get("results"), "output"
    )
    if found != CONFIG.results_folder:
        raise WorkflowError(
            f"`results`: the workflow that uses module `{__name__}` puts its files into {found}, its config says "
            f"{CONFIG.results_folder}. Suggestion: give the module no `prefix`, and `results` in `pathvars:` as in its config"
        )


if not CALLED:
    refuse_another_folder()


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


def memory(rule):
    """Memory (MB) that a job of a rule asks for; twice as much each time it is tried again."""
    return lambda wildcards, attempt: NEEDS[rule].memory_mb(SIZE, attempt)


def minutes(rule):
    """Run time that a job of a rule asks for; twice as much each time it is tried again."""
    return lambda wildcards, attempt: NEEDS[rule].minutes(SIZE, attempt)


def beside_outputs(wildcards, output):
    """File of a job that was stopped and is to go on; it is none of the outputs, which are removed when a job fails."""
    return str(Path(output[0]).with_suffix(".checkpoint"))


def pinned_software():
    """Versions by package where rules run in conda environments, which hold the pins of the lock; else nothing."""
    deployed = workflow.deployment_settings
    if not deployed or DeploymentMethod.CONDA not in deployed.deployment_method:
        return {}
    lock = (WORKFLOW.parent / "envs" / "requirements.txt").read_text().splitlines()
    pins = dict(line.partition(" ;")[0].split("==") for line in lock)
    return pins | {"snakemake": snakemake_version}


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


def rules_so_far():
    """Rules of this workflow that make files, those for other cohorts among them, in their order."""
    folder = WORKFLOW / "rules"
    return [
        one
        for one in workflow.rules
        if one.name.startswith(PREFIX) and Path(str(one.snakefile)).parent == folder
    ]


@cache
def own_rules():
    """The same when all are there, as another workflow may have changed them."""
    return rules_so_far()


def ask_as_told():
    """Let what a profile or the command line sets for a rule hold for it in modules, sweeps and other cohorts as well.

    Snakemake knows those rules by longer names; what is set for a longer name goes before.
    """
    resources = workflow.resource_settings.overwrite_resources
    threads = workflow.resource_settings.overwrite_threads
    for group in {one._group for one in rules_so_far() if one._group}:
        # Where Snakemake looks up how many of a group share a job (`group-components`). While rules are read, `group`
        # says None.
        workflow.parent_groupids.setdefault(group, group.removeprefix(PREFIX))
    for one in rules_so_far():
        name = one.name.removeprefix(PREFIX)
        if name in threads and one.name not in threads:
            one.resources["_cores"] = threads[name]
        for whose in (name, one.name):
            one.resources.update(Resources.from_mapping(resources.get(whose, {})))


@cache
def maker(path):
    """Rule that makes a file, and its wildcards; none for a file that a user gives, or another workflow makes."""
    found = [
        one
        for one in own_rules()
        if (one.is_producer(path) if one.has_wildcards() else path in one.output)
    ]
    if not found:
        return None
    first = max(found)  # by `ruleorder`
    return first.name, tuple(sorted(first.get_wildcards(path).items()))


def all_jobs(asked=((f"{PREFIX}all", ()),)):
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
    made = workflow.get_rule(f"{PREFIX}render_report").expand_output({})[0]
    return os.path.dirname(str(made.report))


def within_results(path):
    """Name of a file within the results."""
    return os.path.relpath(path, results_root())


@cache
def jobs_summed_up():
    """Jobs of a whole run before those that sum it up."""
    last = ("render_report", "save_bundle", "render_model_card")
    return all_jobs([(f"{PREFIX}{name}", ()) for name in last])


def described(wildcards):
    """Files that the description of the run for machines lists."""
    made = {
        within_results(path)
        for name, own in jobs_summed_up()
        for path in workflow.get_rule(name).expand_output(dict(own))[0]
    }
    return [
        f"{CONFIG.results_folder}/{name}"
        for name in sorted(made)
        if name in NAMED or name.partition("/")[0] in FOLDERS
    ]


def kept(wildcards):
    """Results that are there to be read, and what the report is made of: such a file that was removed is made anew.

    Snakemake does not miss a file while everything that is made from it is there. In a store none is looked for.
    """
    if RESULTS_STORED:
        return []
    read = set(map(within_results, made_from(f"{PREFIX}render_report", ())))
    folder = (
        CONFIG.results_folder
    )  # another workflow may ask for the same in a rule of its own
    return sorted({*described(wildcards), *(f"{folder}/{name}" for name in read)})


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


def rule_facts(made_by, jobs, needs):
    """What the library is told of a rule; a stage is the file of its rules, other cohorts are a stage of their own."""
    own = Path(str(made_by.script)).stem
    abroad = made_by.name != f"{PREFIX}{own}"
    benchmarks = [made_by.expand_benchmark(dict(given)) for given in sorted(jobs)]
    return {
        "rule": own,
        "stage": "external" if abroad else Path(str(made_by.snakefile)).stem,
        "threads": made_by.resources["_cores"].value,
        "needs": sorted(needs),
        "jobs": [within_results(path) for path in benchmarks],
    }


def whole_run(wildcards):
    """Rules of `all` in the order of the workflow, with their jobs and the places of the rules they need."""
    own = own_rules()
    jobs = all_jobs()
    run = [one for one in own if any(one.name == name for name, _ in jobs)]
    places = {one.name: i for i, one in enumerate(run)}
    found = []
    for one in run:
        mine = [job for job in jobs if job[0] == one.name]
        needs = {places[other] for job in mine for other, _ in jobs[job]}
        found.append(rule_facts(one, [given for _, given in mine], needs))
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


def say_what_stopped():
    """Say of jobs that ran elsewhere why they failed; those that run here say so themselves."""
    if workflow.non_local_exec and Path(STARTED).exists():
        since = Path(STARTED).stat().st_mtime_ns
        said = cluster.said_by_jobs(Path(f"{CONFIG.results_folder}/logs"), since)
        for text in said[: cluster.SHOWN]:
            print(f"\n{text}", file=sys.stderr)
        if len(said) > cluster.SHOWN:
            print(f"\n{len(said) - cluster.SHOWN} more jobs failed", file=sys.stderr)


def note_start():
    """Write down when this call began, how many cores it may use, its config, and where Snakemake's records are."""
    target = Path(STARTED)
    target.parent.mkdir(parents=True, exist_ok=True)
    began = datetime.now(UTC).isoformat(timespec="seconds")
    facts = records.facts(target, CONFIG, RECORDS)
    write_json(
        {"started": began, "cores": workflow.resource_settings.cores} | facts, target
    )


onstart:
    hold_folder()
    set_clock()
    note_start()


def note_end():
    """Write down that a whole run has ended, if this was one."""
    asked = workflow.dag_settings
    if not (asked.targets or asked.until or asked.omit_from):
        records.whole(Path(STARTED))


onsuccess:
    note_end()
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
    say_what_stopped()
    print(
        f"\nStopped. The message is above, details are in {stored_at()}/logs. "
        "Run the same command again to go on where it stopped.",
        file=sys.stderr,
    )
