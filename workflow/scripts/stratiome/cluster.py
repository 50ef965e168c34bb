"""What stays hidden where jobs run on a cluster, said where it is looked for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

SHOWN = 3
"""Jobs whose errors are told at most."""

_RECORD = re.compile(r"^(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \S+: ", flags=re.M)
"""Begin of a record in the log of a job."""


def said_by_jobs(logs: Path, since_ns: int) -> list[str]:
    """What jobs said that failed after a time, by their own logs, the last first.

    Parameters
    ----------
    logs
        Folder of the logs of a run.
    since_ns
        Time of the file system (ns) from which a log counts.
    """
    found = []
    for path in logs.rglob("*.log"):
        changed = path.stat().st_mtime_ns
        if changed >= since_ns:
            text = path.read_text(encoding="utf-8", errors="replace")
            starts = [match.start() for match in _RECORD.finditer(text)] + [len(text)]
            records = [text[a:b] for a, b in pairwise(starts)]
            errors = [record for record in records if record.startswith("ERROR ") and ": rule " in record]
            if errors:
                said = _RECORD.sub("", errors[-1], count=1).strip()
                found.append((changed, f"Stratiome stopped in {said}\nDetails: {path}"))
    return [text for _, text in sorted(found, reverse=True)]


def unknown_rules(given: Collection[str], known: Collection[str], where: str) -> list[str]:
    """What to say of names that a profile or the command line sets something for, and that no rule has."""
    said = []
    for name in sorted(set(given) - set(known)):
        near = difflib.get_close_matches(name, list(known), n=1)
        more = f". Suggestion: did you mean `{near[0]}`?" if near else ""
        said.append(f"`{where}`: there is no rule `{name}`, so that what is set for it has no effect{more}")
    return said
