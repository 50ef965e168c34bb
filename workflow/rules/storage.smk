# Object storage: data and bundles that a config names by address, and results where the call names a place for them.
import os

from snakemake.exceptions import WorkflowError
from snakemake.io import get_flag_value

from stratiome.remote import moved, remote_files

RESULTS_STORED = workflow.storage_settings.default_storage_provider is not None
COPIES = {}


def copy_of(address):
    """Path of the copy of an object on this machine: got where there is none, or the object is newer."""
    given = storage(address, keep_local=True)
    stored = get_flag_value(given, "storage_object")
    if not stored.exists():
        raise FileNotFoundError("there is no such object")
    changed, copy = stored.mtime(), stored.local_path()
    if not copy.exists() or copy.stat().st_mtime < changed:
        copy.parent.mkdir(parents=True, exist_ok=True)
        stored.retrieve_object()
        os.utime(copy, (changed, changed))
    COPIES[str(copy)] = given
    return str(copy)


def copied(raw):
    """The config with folders of copies in place of addresses; the plan reads the clinical table and headers."""
    folders = {}
    for key, (address, names) in remote_files(raw).items():
        for name in names:
            try:
                folders[key] = copy_of(f"{address}/{name}").removesuffix(name)
            except Exception as error:
                # Whatever the plugin raises is told by its kind alone: its text may hold a key.
                raise WorkflowError(
                    f"`{'.'.join(key)}`: {address}/{name} cannot be read ({type(error).__name__}). Suggestion: check "
                    "the address; credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or "
                    "AWS_PROFILE, the server from --storage-s3-endpoint-url, the plugin from `make env-s3`"
                ) from None
    return moved(raw, folders)


def refuse_unstorable(results):
    """Results that are stored have a name below a prefix, which neither a root nor a parent has."""
    path = Path(results)
    if RESULTS_STORED and (path.is_absolute() or ".." in path.parts):
        raise WorkflowError(
            f"`results`: {results} cannot be stored below {workflow.storage_settings.default_storage_prefix}. "
            "Suggestion: a relative folder, as results/my_cohort"
        )


def of_this_run(path):
    """Whether a file lies in the results; those of another cohort lie in the results of the run it belongs to."""
    results = Path(CONFIG.results_folder)
    return Path(path).is_relative_to(
        results.parents[1] if other_cohort(config) else results
    )


def from_user(path):
    """A file as input of a rule: the copy of an object, a file of this machine, or what the workflow makes itself."""
    path = str(path)
    if path in COPIES:
        return COPIES[path]
    return local(path) if RESULTS_STORED and not of_this_run(path) else path


def stored_at():
    """Where the results lie, for messages."""
    prefix = workflow.storage_settings.default_storage_prefix if RESULTS_STORED else ""
    return (
        f"{prefix.rstrip('/')}/{CONFIG.results_folder}"
        if prefix
        else CONFIG.results_folder
    )
