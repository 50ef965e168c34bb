# What is said before any job, and on errors, of a whole call: one analysis or many.
import sys
from pathlib import Path

sys.path.insert(
    0,
    str(Path(workflow.current_basedir.get_path_or_uri(secret_free=True)) / "scripts"),
)

from stratiome import cluster
from stratiome.needs import read_needs

TOLD_IN = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))

cluster.tell_why_groups_fail()


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
