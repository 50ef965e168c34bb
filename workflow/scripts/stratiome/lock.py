"""One run in a folder at a time, and none beside jobs that an earlier run has left behind.

A run holds `.lock` in the folder of its results as long as it lives; the system frees it when the run dies, even by
`kill -9`. Its jobs share `.jobs.lock` while they work, on any node of a file system with locks (NFS 4, Lustre with
`flock`), so that a new run can wait for jobs that outlived their own. `.lock` also names the run: a job that starts
after another run has taken over stops before it touches a file, even where the file system has no locks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

LOCK, JOBS = ".lock", ".jobs.lock"
RUN = "STRATIOME_RUN"
"""Variable of the environment that tells a job which run it belongs to."""
ENDED = "\nended\n"
_NAME = uuid.uuid4().hex
"""Name of the run of this process, the same in all folders that it holds."""
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class HeldError(RuntimeError):
    """Another run holds the folder."""


def folder_of(results: Path) -> Path | None:
    """Folder that the run holds: of the results, or of the main cohort's if these are of another cohort.

    None where no run ever held it.
    """
    main = [results.parents[1]] if results.parent.name == "external" and len(results.parents) > 1 else []
    return next((folder for folder in (*main, results) if (folder / LOCK).is_file()), None)


def look(folder: Path) -> str:
    """State of the folder, to be given to `hold` later: it changes whenever a run starts or ends there."""
    try:
        return (folder / LOCK).read_text(encoding="utf-8")
    except OSError:
        return ""


def hold(folder: Path, seen: str, say: Callable[[str], None]) -> IO[str]:
    """Hold the folder for this run, after jobs of an earlier one have ended.

    Parameters
    ----------
    folder
        Of the results.
    seen
        Its state when this run was planned.
    say
        What tells the user that jobs are waited for.

    Returns
    -------
    IO
        To be kept open as long as the run lives, and given to `release`.

    Raises
    ------
    HeldError
        If another run holds it, or held it while this one was planned.
    OSError
        If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = open(folder / LOCK, "a+", encoding="utf-8")  # noqa: SIM115 - open as long as the run lives
    if not _lock(handle, fcntl.LOCK_EX):
        raise HeldError(
            f"Another run is writing to {folder}. "
            "Suggestion: wait for it, or give `results:` another folder in the config"
        )
    handle.seek(0)
    if handle.read() != seen:
        raise HeldError(
            f"Another run wrote to {folder} while this one was planned. Suggestion: run the same command again"
        )
    handle.truncate(0)
    handle.write(_NAME)
    handle.flush()
    os.fsync(handle.fileno())
    os.environ[RUN] = _NAME
    _wait_for_jobs(folder, say)
    return handle


def release(handle: IO[str]) -> None:
    """Write down that the run has ended, and let the folder go."""
    try:
        handle.write(ENDED)
        handle.close()
    except OSError:  # a full disk: nobody waits for this line
        pass


def join(folder: Path) -> IO[str] | None:
    """Take part in the run that holds the folder.

    Returns
    -------
    IO
        To be kept open while the job works; None where the folder cannot be written.

    Raises
    ------
    HeldError
        If this job belongs to a run that another one has followed.
    """
    try:
        handle = open(folder / JOBS, "a+", encoding="utf-8")  # noqa: SIM115 - open as long as the job works
        fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError:
        handle = None
    own, now = os.environ.get(RUN, ""), look(folder).partition("\n")[0]
    if own and now and own != now:
        raise HeldError(f"The run of this job is over, and another one writes to {folder}. The job has changed nothing")
    return handle


def join_run_of(results: Path) -> IO[str] | None:
    """As `join`, in the folder that the run of these results holds; None where no run ever did."""
    folder = folder_of(results)
    return join(folder) if folder else None


def _wait_for_jobs(folder: Path, say: Callable[[str], None]) -> None:
    said = False
    while True:
        # Opened anew each time, so that a lock that nobody lets go can be got rid of with its file.
        with open(folder / JOBS, "a+", encoding="utf-8") as handle:
            if _lock(handle, fcntl.LOCK_EX):
                return
        if not said:
            say(
                f"Jobs of an earlier run are still at work in {folder}: waiting for them to end. Suggestion: end them "
                f"if they are not wanted (`kill`, `scancel`); if there are none, delete {folder / JOBS}"
            )
            said = True
        time.sleep(0.5)


def _lock(handle: IO[str], kind: int) -> bool:
    """Whether a lock was got; on a file system without locks it is taken as got."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _TAKEN
    return True
