# The config, the plan, and the few helpers that rules use.
import fcntl
import hashlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from snakemake import __version__ as snakemake_version
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
sys.path.insert(0, str(WORKFLOW / "scripts"))

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

# Whether this is the workflow that was called, and not a module of another one.
CALLED = workflow.modifier.is_main_snakefile()

# A config file given on the command line replaces the demo; it is never merged into it.
if not workflow.config_settings.configfiles:

    configfile: "config/config.yaml"


try:
    whose = "" if CALLED else other_cohort(config) or f"module `{__name__}`"
    files = ", ".join(map(str, workflow.configfiles)) or "config"
    CONFIG, SPLITS = plan(dict(config), whose or files)
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


def prefix_of_names():
    """What stands before the names of the rules where another workflow uses this one as a module."""
    return rules.all.rule.name.removesuffix("all")


def own_rules():
    """Rules of this workflow that make files, those for other cohorts among them, in their order."""
    prefix, folder = prefix_of_names(), WORKFLOW / "rules"
    return [
        one
        for one in workflow.rules
        if one.name.startswith(prefix) and Path(str(one.snakefile)).parent == folder
    ]


def maker(path, own):
    """Rule that makes a file, and its wildcards; none for a file that a user gives, or another workflow makes."""
    found = [asked for asked in own if asked.is_producer(path)]
    if not found:
        return None
    first = max(found)  # by `ruleorder`
    return first.name, tuple(sorted(first.get_wildcards(path).items()))


def all_jobs(own):
    """Jobs of a whole run -> jobs that each needs: from what `all` asks for back to the files of the user.

    The rules are asked, not the DAG of this call: that depends on what the call asks for, and in a job of a cluster
    it holds that job alone.
    """
    makers, jobs, asked = {}, {}, [(rules.all.rule.name, ())]
    while asked:
        job = asked.pop()
        if job not in jobs:
            paths = made_from(*job)
            makers |= {path: maker(path, own) for path in paths if path not in makers}
            jobs[job] = {makers[path] for path in paths} - {None}
            asked += jobs[job]
    return jobs


def rule_facts(made_by, jobs, needs):
    """What the library is told of a rule; a stage is the file of its rules, other cohorts are a stage of their own."""
    own = Path(str(made_by.script)).stem
    abroad = made_by.name != prefix_of_names() + own
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
    own = own_rules()
    jobs = all_jobs(own)
    run = [one for one in own if any(one.name == name for name, _ in jobs)]
    places = {one.name: i for i, one in enumerate(run)}
    found = []
    for one in run:
        mine = [job for job in jobs if job[0] == one.name]
        needs = {places[other] for job in mine for other, _ in jobs[job]}
        found.append(rule_facts(one, [given for _, given in mine], needs))
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
