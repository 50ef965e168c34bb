"""Times of files under clocks that differ: no file may be newer than the moment at which a run starts.

What has to be made anew is known from the times of files. A result with a time to come would pass for newer than what
it is made from long after that has changed, and a job that reads it could not end with outputs newer than it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path


def ahead(paths: Iterable[str], now: int) -> list[str]:
    """Files that are there and newer than now, in nanoseconds since 1970 by the clock of the file system."""
    return [path for path in paths if (seen := _time(Path(path))) is not None and seen > now]


def files(folder: Path) -> Iterator[str]:
    """All files in a folder and beneath it."""
    return (str(Path(at) / name) for at, _, names in os.walk(folder) for name in names)


def set_back(paths: Iterable[str], now: int) -> None:
    """Give files the time of now.

    Raises
    ------
    OSError
        If a file is not to be changed.
    """
    for path in paths:
        os.utime(path, ns=(now, now))


def told(paths: Iterable[str]) -> str:
    """The files with their times, one a line."""
    return "\n".join(f"  - {path}: {_said(_time(Path(path)) or 0)}" for path in paths)


def _said(time: int) -> str:
    return datetime.fromtimestamp(time / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _time(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
