# Many analyses in one run: each cohort with each endpoint is the workflow with a config of its own.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.14")

WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
sys.path.insert(0, str(WORKFLOW / "scripts"))

from stratiome.config import ConfigError
from stratiome.sweep import JOINED, plan_sweep


def targets():
    """What this call asks for; in a job of a cluster, that job."""
    given = workflow.dag_settings
    if given is None:
        return []
    return [job.rulename for job in given.target_jobs] or sorted(given.targets)


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
        of_all,
