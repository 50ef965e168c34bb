"""What is wrong with a disk, in words, and times of files that cannot be right."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

_SIGNS = {
    "full": ((errno.ENOSPC, errno.EDQUOT), ("No space left on device", "Disk quota exceeded")),
    "read-only": ((errno.EROFS,), ("Read-only file system",)),
}


def explain(error: BaseException, outputs: Sequence[str]) -> str | None:
    """What to tell a user of an error because of a full or read-only disk; None for other errors.

    Libraries that write files hide the number of the error in their own words, so that the text counts as well.

    Parameters
    ----------
    error
        What was raised.
    outputs
        Files that were to be written.
    """
    for one in _chain(error):
        for state, (numbers, texts) in _SIGNS.items():
            if getattr(one, "errno", None) in numbers or any(text in str(one) for text in texts):
                return _told(state, str(getattr(one, "filename", None) or _unwritten(outputs)))
    return None


def _told(state: str, path: str) -> str:
    here = present(Path(path))
    if state == "full":
        return (
            f"{path} could not be written: the disk of {here} is full ({shutil.disk_usage(here).free / 1e6:.0f} MB "
            "free), or a quota is used up. Suggestion: make room, and run the same command again; it goes on where it "
            "stopped"
        )
    return (
        f"{path} could not be written: the disk of {here} is read-only. Suggestion: have it mounted for writing, or "
        "give `results:` another folder in the config, and run the same command again"
    )


def present(path: Path) -> Path:
    """The nearest folder above that is there."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def read_only(folder: Path) -> bool:
    """Whether a folder lies on a file system that is mounted read-only."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _unwritten(outputs: Sequence[str]) -> str:
    """The first output that is not there, which is most likely the one that failed."""
    return next((path for path in outputs if not Path(path).exists()), outputs[0] if outputs else ".")
