"""Whether Snakemake can tell here what a change of the config makes old.

Snakemake writes down what each file was made of (params, inputs, code) in a folder of its own where it is called,
not beside the results, and takes a file that it has no record of as it is. Called in another folder, or without that
record, it would leave all results of the old config as they are. So each start writes beside the results of what config
it is and which records know of it, and a call with another config is refused where they do not.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Sequence
from pathlib import Path

from stratiome.config import Config

NAME = "stratiome_records"
"""File that holds a name of the records beside it, and moves with them."""

LISTED = 8
"""Keys that a message lists at most."""


class UnrecordedError(Exception):
    """The config has changed, and no record here tells what that makes old."""


def compared(config: Config) -> dict:
    """What a change of is judged: the config with its defaults, without where the results lie, with whole paths."""
    given = config.model_dump(mode="json")
    given.pop("results", None)
    given["data"]["folder"] = _whole(given["data"]["folder"])
    given["bundle"]["apply"] = _whole(given["bundle"]["apply"])
    given["external"] = {name: _whole(path) for name, path in given["external"].items()}
    return json.loads(json.dumps(given))


def all_is_made_anew(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for that, or only lints; nothing else tells while rules are read."""
    return any(
        argument == "--forceall" or argument.startswith("--lint") or re.fullmatch("-[a-zA-Z]*F[a-zA-Z]*", argument)
        for argument in arguments
    )


def _whole(path: str | None) -> str | None:
    return path if path is None or "://" in path else os.path.realpath(path)


def differing(a: object, b: object, place: str = "") -> list[str]:
    """Keys, as `latent.epochs`, in which two configs differ."""
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return [] if a == b else [place]
    found: list[str] = []
    for key in sorted({*a, *b}):
        name = f"{place}.{key}" if place else key
        found += differing(a[key], b[key], name) if key in a and key in b else [name]
    return found


def own_name(kept_in: Path) -> str | None:
    """Name of the records of a folder, if it has one."""
    path = kept_in / NAME
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def check(started: Path, config: Config, kept_in: Path, anew: bool = False) -> None:
    """Refuse a changed config where a record is missing.

    Parameters
    ----------
    started
        File that the last start left beside the results; nothing is refused without it.
    config
        Config of this call.
    kept_in
        Folder of Snakemake's records.
    anew
        All is made anew, whatever there is.

    Raises
    ------
    UnrecordedError
        Names the keys that differ.
    """
    before = _read(started)
    if anew or "config" not in before or before["records"] == [own_name(kept_in)]:
        return
    keys = differing(before["config"], compared(config))
    if keys:
        more = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
        raise UnrecordedError(
            f"`results`: what lies in {started.parents[1]} was made of another config, which differs in "
            f"{', '.join(f'`{key}`' for key in keys[:LISTED])}{more}, and Snakemake's record of it is not (or not all) "
            "in the folder of this call. Without it nothing of the old config would be made anew. Suggestion: call it "
            "in the folder where the results were begun, name other `results`, or add --forceall to make all anew"
        )


def facts(started: Path, config: Config, kept_in: Path, anew: bool = False) -> dict:
    """What a start writes down: its config, and the names of all records that know of a part of the results."""
    own = own_name(kept_in)
    if own is None:
        own = uuid.uuid4().hex
        kept_in.mkdir(exist_ok=True)
        (kept_in / NAME).write_text(f"{own}\n", encoding="utf-8")
    before = [] if anew else _read(started).get("records", [])
    return {"config": compared(config), "records": [*(name for name in before if name != own), own]}


def _read(started: Path) -> dict:
    try:
        return json.loads(started.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}
