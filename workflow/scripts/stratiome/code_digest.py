"""Which code a rule depends on, as a digest among its parameters."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def code_digest(packages: tuple[str, ...], others: tuple[Path, ...] = ()) -> str:
    """Digest (16 characters) of the modules at the top of the library, of some of its packages, and of other files."""
    root = Path(__file__).parent
    files = sorted(root.glob("*.py")) + [f for p in packages for f in sorted((root / p).glob("*.py"))]
    digest = hashlib.sha256()
    for file in [*files, *others]:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@cache
def page_files(workflow: Path) -> tuple[Path, ...]:
    """Templates of the pages."""
    return tuple(sorted(f for f in (workflow / "report").rglob("*") if f.is_file()))
