"""Whether Snakemake can tell here what a change of the config makes old.

Snakemake writes down what each file was made of (params, inputs, code) in a folder of its own where it is called,
not beside the results, and takes a file that it has no record of as it is. Called in another folder, or without that
record, it would leave all results of the old config as they are. So each start writes beside the results of what config
it is and which records know of it. A call is refused where they do not know of all of it, if its config is another one,
or if a run after a change of the config has not come to its end, so that files of the old config may still lie there.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

from stratiome.cohort.manifest import write_json
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


def check(started: Path, config: Config, kept_in: Path) -> None:
    """Refuse what would leave files of an old config as they are.

    Parameters
    ----------
    started
        File that the last start left beside the results; nothing is refused without it.
    config
        Config of this call.
    kept_in
        Folder of Snakemake's records.

    Raises
    ------
    UnrecordedError
        Names the keys that differ.
    """
    before = _read(started)
    if "config" not in before or before["records"] == [own_name(kept_in)]:
        return
    keys = differing(before["config"], compared(config))
    more = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
    if keys:
        why = f"was made of another config, which differs in {', '.join(f'`{key}`' for key in keys[:LISTED])}{more}"
    elif before["mixed"]:
        why = "may be of an older config in part, as no whole run has ended since the config was changed"
    else:
        return
    raise UnrecordedError(
        f"`results`: what lies in {started.parents[1]} {why}, and Snakemake's record of it is not (or not all) in the "
        "folder of this call. Without it nothing of the old config would be made anew. Suggestion: call it in the "
        "folder where the results were begun, name other `results`, or remove these"
    )


def facts(started: Path, config: Config, kept_in: Path) -> dict:
    """What a start writes down.

    Returns
    -------
    dict
        `config`; `records`, the names of all records that know of a part of the results; `mixed`, whether files of an
        older config may lie there.
    """
    own = own_name(kept_in)
    if own is None:
        own = uuid.uuid4().hex
        kept_in.mkdir(exist_ok=True)
        (kept_in / NAME).write_text(f"{own}\n", encoding="utf-8")
    before, now = _read(started), compared(config)
    mixed = before.get("mixed", False) or before.get("config", now) != now
    return {"config": now, "records": [*(n for n in before.get("records", []) if n != own), own], "mixed": mixed}


def whole(started: Path) -> None:
    """Write down that a whole run has ended, so that all files are of its config."""
    if (found := _read(started)).get("mixed"):
        write_json(found | {"mixed": False}, started)


def _read(started: Path) -> dict:
    try:
        return json.loads(started.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}
