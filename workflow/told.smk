# What is said before any job, and on errors, of a whole call: one analysis or many.
import sys
from functools import wraps
from pathlib import Path

from snakemake.jobs import GroupJob
from snakemake.logging import logger

sys.path.insert(
    0,
    str(Path(workflow.current_basedir.get_path_or_uri(secret_free=True)) / "scripts"),
)

from stratiome import cluster
from stratiome.needs import read_needs

TOLD_IN = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))


def tell_why_groups_fail():
    """Let Snakemake say why a group of jobs failed, as that SLURM refused it; it drops that (seen in 9.27)."""
    drops = GroupJob.log_error
    if hasattr(drops, "__wrapped__"):
        return

    @wraps(drops)
    def log_error(self, msg=None, **kwargs):
        if msg:
            logger.error(str(msg).strip())
        drops(self, msg=msg, **kwargs)

    GroupJob.log_error = log_error


tell_why_groups_fail()


def say_unknown_rules():
    """Warn of names of rules in a profile or on the command line that no rule has."""
    if not workflow.is_main_process:
        return
    asked = workflow.resource_settings
    known = {one.name for one in workflow.rules} | set(
        read_needs(TOLD_IN / "needs.tsv")
    )
    for where, given in (
        ("set-resources", asked.overwrite_resources),
        ("set-threads", asked.overwrite_threads),
    ):
        for said in cluster.unknown_rules(given, known, where):
            print(said, file=sys.stderr)
