"""Gene sets of a GMT file that the user gives."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from stratiome.cohort.errors import CohortError

KEY = "`subgroups.gene_sets`"
MOST_SETS = 20_000


@dataclass(frozen=True)
class GeneSet:
    """A named set of genes.

    Attributes
    ----------
    name, source
        First and second column of the file; the second says where the set is from.
    genes
        Distinct, in the order of the file.
    """

    name: str
    source: str
    genes: tuple[str, ...]


def read_gmt(path: Path) -> tuple[GeneSet, ...]:
    """Read gene sets: one per line, name, source and genes with tabs between them (GMT format of the Broad Institute).

    Raises
    ------
    CohortError
        If the file cannot be read, or with one text per kind of mistake.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise CohortError(
            f"{KEY}: {path} does not exist. Suggestion: check the path; it is relative to `data.folder`"
        ) from None
    except UnicodeDecodeError:
        raise CohortError(f"{KEY}: {path} is not text in UTF-8. Suggestion: give the unpacked .gmt file") from None
    except OSError as error:
        raise CohortError(
            f"{KEY}: {path} cannot be read ({error.strerror}). Suggestion: check its permissions"
        ) from None
    rows = [(i, row) for i, row in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), 1) if any(row)]
    if not rows:
        raise CohortError(
            f"{KEY}: {path} is empty. Suggestion: one set per line: name, source, genes, with tabs between"
        )
    found, problems = [], []
    short = [i for i, row in rows if len([c for c in row[2:] if c.strip()]) == 0 or not row[0].strip()]
    if short:
        problems.append(
            f"{KEY}: {path} has {len(short)} lines without a name or without genes, as line {short[0]}. Suggestion: "
            "each line is a name, a source (may be empty) and genes, with tabs between them, not commas or blanks"
        )
    for _, row in rows:
        genes = tuple(dict.fromkeys(c.strip() for c in row[2:] if c.strip()))
        found.append(GeneSet(row[0].strip(), row[1].strip() if len(row) > 1 else "", genes))
    names = [s.name for s in found]
    twice = sorted({n for n in names if n and names.count(n) > 1}) if len(names) <= MOST_SETS else []
    if twice:
        problems.append(
            f"{KEY}: {path} has {len(twice)} names more than once, as `{twice[0]}`. Suggestion: rename or remove them"
        )
    if len(found) > MOST_SETS:
        problems.append(
            f"{KEY}: {path} has {len(found):,} sets, at most {MOST_SETS:,} are scored. Suggestion: give one collection"
        )
    if problems:
        raise CohortError(problems)
    return tuple(found)
