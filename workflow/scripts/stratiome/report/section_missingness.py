"""What is missing, and for whom: groups of patients who all lack something, and what goes with lacking it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stratiome.report.blocks import Cell, Fold, Heading, Note, Table, Text
from stratiome.report.disclosure import count, is_small, share
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import FOLLOW_UP, join, label, level, number, p_cell, plural, sentence, term

Row = Mapping[str, Any]

OPEN = 8
"""Rows of a table that stand open; the rest is folded."""

NAMED = 6
"""Most names that are listed in a cell."""

TOGETHER = 3
"""Most names of what the same patients lack that are listed beside other things."""

SENTENCES = 3
"""Most findings that are said in sentences."""

OFTEN = 0.05
"""Share of the patients from which what they lack together is said."""

ROLES = ("known label", "treatment", "outcome", "covariate", "batch")
"""Roles of a group, the most telling first."""

KINDS = ("omic", "outcome", "clinical column", "feature block")


def missingness(inputs: ReportInputs) -> list[object]:
    """Findings first, what they rest on folded; nothing where nothing was tested."""
    least = inputs.settings.min_cell
    rows = _tellable(inputs.rows("missingness"), inputs.rare, least)
    if not rows:
        return []
    whole = [r for r in rows if r["finding"] == "all missing" and not is_small(r["n"], least)]
    tests = [r for r in rows if r["finding"] == "test"]
    found = [r for r in tests if r["p_holm"] is not None and r["p_holm"] < inputs.settings.alpha]
    blocks: list[object] = [Heading("What is missing, and for whom", "checks-missing")]
    together = [r for r in rows if r["finding"] == "missing together" and r["subject"] == "clinical column"]
    blocks += [
        Text(f"The very same {count(r['missing'], least)} of {r['n']:,} patients lack {join(_names(r))}.")
        for r in sorted(together, key=lambda r: -r["missing"])
        if r["missing"] >= max(OFTEN * r["n"], least) and not is_small(r["n"] - r["missing"], least)
    ][:SENTENCES]
    said = _sentences(whole, found, least)
    if said:
        blocks.append(Note(" ".join(said)))
    blocks += [*_groups(whole, least), *_feature_groups(whole, least)]
    if not found:
        return [*blocks, Text(f"None of {len(tests)} tests of missingness is positive after Holm's correction.")]
    return [*blocks, *_tests(found, len(tests), least)]


def _tellable(rows: Sequence[Row], rare: frozenset[str], min_cell: int) -> list[Row]:
    """Rows but those of what few patients have: that all of a group lack it would tell where these few are not.

    Parameters
    ----------
    rows
        Rows of `QualityMissingness`.
    rare
        Omics that few patients have.
    min_cell
        Smallest count that may be told.
    """
    has: dict[tuple[str, str, str], int] = {}
    for r in rows:
        if r["finding"] != "all missing":
            key = (r["subject"], r["name"], r["block"])
            has[key] = max(has.get(key, 0), r["n"] - r["missing"])
    few = {key for key, n in has.items() if is_small(n, min_cell)}
    return [
        r
        for r in rows
        if (r["subject"], r["name"], r["block"]) not in few
        and not (r["subject"] in ("omic", "feature block") and rare & set(r["name"].split(" + ")))
        and r["variable"].split(": ")[0] not in rare
    ]


def _sentences(whole: Sequence[Row], found: Sequence[Row], min_cell: int) -> list[str]:
    """The strongest findings: omics that a whole group lacks, and omics whose lack goes with the outcome."""
    levels: dict[tuple[str, str], list[Row]] = {}
    for r in whole:
        if r["subject"] == "omic":
            levels.setdefault((r["name"], r["variable"]), []).append(r)
    largest: dict[str, list[Row]] = {}
    for here in sorted(levels.values(), key=lambda rows: (-_patients(rows), len(rows), ROLES.index(rows[0]["role"]))):
        largest.setdefault(here[0]["name"], here)
    lacking: dict[str, list[str]] = {}
    for here in largest.values():
        who = f"{term(here[0]['variable'])} {_listed([level(r['level']) for r in here])}"
        lacking.setdefault(f"All {count(_patients(here), min_cell)} patients with {who}", []).extend(_names(here[0]))
    said = [f"{who} lack {join(names)}." for who, names in list(lacking.items())[:SENTENCES]]
    if said:
        said.append("A model that sees that an omic is lacking can learn the group from it.")
    omics = [r for r in found if r["role"] == "outcome" and r["subject"] == "omic"]
    with_outcome = list(dict.fromkeys(name for r in omics for name in _names(r)))
    if with_outcome:
        be = "is" if len(with_outcome) == 1 else "are"
        said.append(
            f"Whether {join(with_outcome)} {be} lacking goes with the outcome, so patients who have it are no fair"
            " sample of all."
        )
    return said


def _patients(rows: Sequence[Row]) -> int:
    """Patients of the levels of one variable."""
    return int(sum({r["level"]: r["n"] for r in rows}.values()))


def _groups(whole: Sequence[Row], min_cell: int) -> list[object]:
    rows = [r for r in whole if r["subject"] != "feature block"]
    if not rows:
        return []
    body: list[tuple[tuple[Any, ...], list[Cell | str]]] = []
    for here in _same(rows):
        first = here[0]
        subjects = _subjects(here)
        sizes = {r["level"]: r["n"] for r in here}
        omic = any(r["subject"] == "omic" for r in here)
        key = (not omic, -_patients(here), ROLES.index(first["role"]), first["variable"])
        who = f"{sentence(term(first['variable']))}: {_listed([level(v) for v in sizes])}"
        body.append((key, [who, count(_patients(here), min_cell), _listed(subjects, len(subjects))]))
    table = [cells for _, cells in sorted(body, key=lambda pair: pair[0])]
    return _folded("Groups of patients who all lack something.", ["Who", "Patients", "All of them lack"], table, {1})


def _feature_groups(whole: Sequence[Row], min_cell: int) -> list[object]:
    rows = [r for r in whole if r["subject"] == "feature block"]
    if not rows:
        return []
    body: list[tuple[tuple[Any, ...], list[Cell | str]]] = []
    for here in _same(rows):
        first = here[0]
        levels = list(dict.fromkeys(level(r["level"]) for r in here))
        blocks = list(dict.fromkeys((r["name"], r["block"]) for r in here))
        n = _patients(here)
        who = f"{sentence(term(first['variable']))}: {_listed(levels)}"
        example = f"{label(blocks[0][0])}: {blocks[0][1]}"
        more = f"; and {plural(len(blocks) - 1, 'more group')}" if len(blocks) > 1 else ""
        body.append(((-n, ROLES.index(first["role"]), who), [who, count(n, min_cell), example + more]))
    table = [cells for _, cells in sorted(body, key=lambda pair: pair[0])]
    omics = join([label(o) for o in dict.fromkeys(r["name"] for r in rows)])
    groups = {(r["name"], r["block"]) for r in rows}
    text = (
        f"{plural(len(groups), 'group')} of features of {omics} {'was' if len(groups) == 1 else 'were'} not measured in"
        " whole groups of patients who have the omic, as antibodies of another panel are not."
    )
    head = ["Who", "Patients with the omic", "All of them lack the features"]
    folded = Fold(
        "Groups of features that whole groups of patients lack",
        [Table("Groups of features that nobody of a group has.", head, table[: 3 * OPEN], frozenset({1}))],
    )
    return [Text(text), folded]


def _same(rows: Sequence[Row]) -> Iterable[list[Row]]:
    """Rows of all levels of one variable that lack the very same things."""
    lacking: dict[tuple[str, str], list[Row]] = {}
    for r in rows:
        lacking.setdefault((r["variable"], r["level"]), []).append(r)
    merged: dict[tuple[str, tuple[tuple[str, str], ...]], list[Row]] = {}
    for (variable, _), here in lacking.items():
        merged.setdefault((variable, tuple(sorted((r["name"], r["block"]) for r in here))), []).extend(here)
    return merged.values()


def _subjects(rows: Sequence[Row]) -> list[str]:
    ordered = sorted(rows, key=lambda r: KINDS.index(r["subject"]))
    return list(dict.fromkeys(name for r in ordered for name in _names(r)))


def _names(row: Row) -> list[str]:
    """Readable names of what is lacking; several where the very same patients lack them."""
    return ["a usable outcome"] if row["subject"] == "outcome" else [label(n) for n in row["name"].split(" + ")]


def _subject(row: Row) -> str:
    names = _names(row)
    text = _listed(names, TOGETHER) if len(names) > TOGETHER else join(names)
    return f"{text}: {row['block']}" if row["block"] else text


def _variable(row: Row) -> str:
    return "follow-up time" if row["variable"] == FOLLOW_UP else term(row["variable"])


def _listed(names: Sequence[str], most: int = NAMED) -> str:
    return (
        ", ".join(names) if len(names) <= most else f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    )


def _tests(found: Sequence[Row], n_tests: int, min_cell: int) -> list[object]:
    """One line a variable, with all that is lacking beside it; every single test is folded."""
    body: list[tuple[float, list[Cell | str]]] = []
    for name in dict.fromkeys(r["variable"] for r in found):
        here = sorted((r for r in found if r["variable"] == name), key=lambda r: (-_distance(r), r["name"], r["block"]))
        plain = [r for r in here if r["subject"] != "feature block"]
        texts = [f"{_subject(r)} {number(r['effect'])}" for r in plain]
        blocks = [r for r in here if r["subject"] == "feature block"]
        for omic in dict.fromkeys(r["name"] for r in blocks):
            effects = [r["effect"] for r in blocks if r["name"] == omic]
            spread = number(effects[0])
            if len(effects) > 1:
                spread = f"{number(min(effects))} to {number(max(effects))}"
            texts.append(f"{plural(len(effects), 'group')} of features of {label(omic)} {spread}")
        worst = max(r["p_holm"] for r in here)
        text = _listed(texts, 2 * NAMED)
        cells: list[Cell | str] = [
            sentence(_variable(here[0])),
            here[0]["role"],
            here[0]["measure"],
            text,
            p_cell(worst),
        ]
        body.append((_distance(here[0]), cells))
    rows = [cells for _, cells in sorted(body, key=lambda pair: -pair[0])]
    head = ["Goes with", "Is", "Measure", "Lacking, and how strongly", "Largest p"]
    note = (
        f"{len(found)} of {n_tests} tests are positive after Holm's correction over all of them. Cramer's V: 0 is no"
        " association, 1 is complete. AUC: 0.5 is none; above it, patients who lack it have higher values."
    )
    table = Table("What goes with lacking something.", head, rows, frozenset({4}), note)
    every: list[list[Cell | str]] = [
        [
            sentence(_subject(r)),
            _variable(r),
            f"{r['test']}, {r['measure']}",
            number(r["effect"]),
            p_cell(r["p_holm"]),
            share(r["missing"], r["n"], min_cell),
        ]
        for r in sorted(found, key=lambda r: (r["p_holm"], r["subject"], r["name"], r["block"], r["variable"]))
    ]
    heads = ["Lacking", "Goes with", "Test, effect", "Effect", "p, Holm", "Lacking it"]
    return [
        table,
        Fold("Every positive test", [Table("Every positive test of missingness.", heads, every, frozenset({3, 4, 5}))]),
    ]


def _distance(row: Row) -> float:
    """Strength on one scale: Cramer's V, and twice the distance of an AUC from one half."""
    effect = row["effect"] or 0.0
    return 2 * abs(effect - 0.5) if row["measure"] == "AUC" else effect


def _folded(caption: str, head: list[str], body: list[list[Cell | str]], right: set[int]) -> list[object]:
    first = Table(caption, head, body[:OPEN], frozenset(right))
    if len(body) <= OPEN:
        return [first]
    rest = Table(f"{caption} The others.", head, body[OPEN:], frozenset(right))
    return [first, Fold(f"{plural(len(body) - OPEN, 'more group')}", [rest])]
