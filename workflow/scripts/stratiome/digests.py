"""Digests of what the jobs of a run wrote, so that a file that changed afterwards is found before it is read.

Each file of the results has its digest in a small file of its own, `.digests/<path of the file>.digest` in the folder
of the results. The path is that within the folder, so that it may be moved, or lie elsewhere on another node.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = ".digests"


class DigestError(ValueError):
    """A file of the results is not what the job that made it wrote."""


def record(results: Path, rule: str, paths: Sequence[str]) -> None:
    """Write down SHA-256 and size of files that a rule has made, and have them on the disk by then.

    Parameters
    ----------
    results
        Folder of the results; files outside it are left out.
    rule
        Rule that made them.
    paths
        Files, or folders of them.

    Raises
    ------
    OSError
        If the system could not keep what was written: file systems of a network may tell so only here.
    """
    for path in paths:
        place = _place(results, path)
        if place is None:
            continue
        found = {"rule": rule, "sha256": _digest(Path(path), sync=True), "bytes": _size(Path(path))}
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}.partial")
        partial.write_text(json.dumps(found, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(partial, place)


def forget(results: Path, paths: Sequence[str]) -> None:
    """Remove the digests of files that are about to be made anew."""
    for place in filter(None, (_place(results, path) for path in paths)):
        place.unlink(missing_ok=True)


def check(results: Path, paths: Sequence[str]) -> list[str]:
    """Compare files with what their makers wrote.

    Returns
    -------
    list of str
        Files without a digest, which nothing is known of: those that a user gave, and those of older versions.

    Raises
    ------
    DigestError
        Naming each file that differs, and the rule that makes it.
    """
    unknown, changed = [], []
    for path in dict.fromkeys(paths):
        place = _place(results, path)
        if place is None or not place.is_file():
            unknown.append(path)
        elif wrong := _difference(Path(path), _read(place)):
            changed.append(wrong)
    if changed:
        them, are = ("it", "it is") if len(changed) == 1 else ("them", "they are")
        raise DigestError(
            "\n".join(changed)
            + f"\nSuggestion: delete {them}, and run the same command again; {are} made anew where needed"
        )
    return unknown


def _difference(path: Path, made: dict[str, Any]) -> str | None:
    """What is wrong with a file; None where it is as it was made."""
    size = _size(path)
    rule = f"rule {made['rule']}" if "rule" in made else "the rule that makes it"
    if size != made.get("bytes"):
        return f"{path} is not what {rule} wrote: {size} bytes, not {made.get('bytes', '(unknown)')}."
    if _digest(path) != made.get("sha256"):
        return f"{path} is not what {rule} wrote: as many bytes, with another content."
    return None


def _place(results: Path, path: str) -> Path | None:
    """File for the digest; None for a file that is not among the results."""
    inner = os.path.relpath(os.path.abspath(path), os.path.abspath(results))
    return None if inner.startswith("..") else results / FOLDER / f"{inner}.digest"


def _read(place: Path) -> dict[str, Any]:
    """What was written down; nothing where that itself is damaged."""
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _files(path: Path) -> list[Path]:
    """The file, or those in the folder but hidden ones, in a fixed order."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


def _digest(path: Path, *, sync: bool = False) -> str:
    """SHA-256 of a file; of a folder that of the names and digests of its files."""
    if path.is_dir():
        lines = [f"{file.relative_to(path)} {_digest(file, sync=sync)}\n" for file in _files(path)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as handle:
        if sync:
            os.fsync(handle.fileno())
        return hashlib.file_digest(handle, "sha256").hexdigest()
