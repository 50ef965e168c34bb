"""The page on several analyses: one row each, and a forest for every question. It is to be shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from stratiome.report import charts
from stratiome.report.blocks import Cell, Figure, Note, Section, Table, Text
from stratiome.report.disclosure import MISSING, STEP_EVENTS, count, is_small, rounded, shareable
from stratiome.report.template import TEMPLATES, fill
from stratiome.report.titles import with_numbers
from stratiome.report.traced import Ledger, annotate, bare, cells
from stratiome.report.typography import tidy
from stratiome.report.verdicts import TONES, direction
from stratiome.report.words import interval, join, months, p_cell, plural, sentence

Row = Mapping[str, Any]
TABLE = "answers"
"""Name of the table of all answers in the origins of numbers."""

ASKED: dict[str, tuple[str, str, tuple[str, str]]] = {
    "subgroups": ("Are there subgroups?", "Subgroups", ("worse than chance", "come back when refitted")),
    "omics": ("Do omics add to the clinical model?", "Omics", ("omics rank worse", "omics rank better")),
    "treatment": ("Who benefits?", "Treatment", ("worse with treatment", "better with treatment")),
    "sites": ("Does it hold at other sites?", "Sites", ("worse than chance", "better than chance")),
    "elsewhere": ("Does it hold in other cohorts?", "Cohorts", ("worse than chance", "better than chance")),
}
"""Question -> its words, its heading in the overview, and what both sides of its forest mean."""
ENDS = ("estimate", "lower", "upper")


@dataclass(frozen=True)
class Analysis:
    """One analysis of a sweep.

    Attributes
    ----------
    cohort, endpoint
        Names in the sweep.
    folder
        Of its results, relative to the page.
    finished
        Whether it has answers.
    stopped
        Rule in which its last run stopped, or "".
    min_cell
        Smallest count that may be printed.
    """

    cohort: str
    endpoint: str
    folder: str
    finished: bool
    stopped: str = ""
    min_cell: int = 10

    @property
    def name(self) -> str:
        """How the page calls it."""
        return f"{self.cohort} · {self.endpoint}"

    @property
    def state(self) -> str:
        """Whether it has run to its end."""
        if self.finished:
            return "finished" + f", but a later run stopped in {self.stopped}" * bool(self.stopped)
        return f"stopped in {self.stopped}" if self.stopped else "not run to its end"


@dataclass(frozen=True)
class SweepPage:
    """What the page is made of.

    Attributes
    ----------
    title
        Of the sweep.
    analyses
        In the order of the file.
    answers
        Table `SweepAnswers` of those that are finished.
    level
        Level of the intervals as text, as `95 %`; of several levels, all.
    version
        Of Stratiome.
    """

    title: str
    analyses: Sequence[Analysis]
    answers: pl.DataFrame
    level: str
    version: str = ""


class _Rows:
    """Rows of the answers, each number with its origin, and as many counts as may be told."""

    def __init__(self, page: SweepPage, ledger: Ledger) -> None:
        self.page = page
        self.of: dict[tuple[str, str], Analysis] = {(a.cohort, a.endpoint): a for a in page.analyses}
        read = [cells(row, TABLE, i, ledger) for i, row in enumerate(page.answers.iter_rows(named=True))]
        self.rows = [shareable(row, self.analysis(row).min_cell) for row in read]

    def __call__(self, question: str, analysis: Analysis | None = None) -> list[Row]:
        return [r for r in self.rows if r["question"] == question and analysis in (None, self.analysis(r))]

    def analysis(self, row: Row) -> Analysis:
        """Whose answer it is."""
        return self.of[row["cohort"], row["endpoint"]]

    def count(self, row: Row, column: str) -> str:
        """A count that is rounded, so that it tells nothing by subtraction from another analysis of the cohort."""
        with rounded():
            return count(row[column], self.analysis(row).min_cell)

    def told(self, row: Row) -> Row:
        """The row, without an estimate that is of few patients or events."""
        least = self.analysis(row).min_cell
        if not (is_small(row["n"], least) or is_small(row["events"], least)):
            return row
        return dict(row) | dict.fromkeys((*ENDS, "p_value", "p_holm"))


def _scale(row: Row) -> float:
    return 100.0 if row["unit"] == "probability" else 1.0


def _found(row: Row) -> str:
    """Estimate with interval, in the unit that is printed."""
    decimals = {"months": 1, "probability": 1}.get(row["unit"], 3)
    signed = row["null"] == 0 and row["question"] != "subgroups"
    return interval(row, decimals, _scale(row), sign=signed)


def overview(rows: _Rows) -> Section:
    """One row for each analysis."""
    asked = [q for q in ASKED if rows(q)]
    body: list[list[Cell | str]] = []
    for analysis in rows.page.analyses:
        line: list[Cell | str] = [analysis.name]
        patients = rows("patients", analysis)
        line += [rows.count(patients[0], c) for c in ("n", "events")] if patients else [MISSING, MISSING]
        line += [_answer(rows, q, analysis) for q in asked]
        file = f"{analysis.folder}/report_public.html"
        line.append(Cell("", files=[(file, "Report")]) if analysis.finished else sentence(analysis.state))
        body.append(line)
    head = ["Analysis", "Patients", "Events", *(ASKED[q][1] for q in asked), "Report"]
    blocks: list[object] = [
        Table("Every analysis and its answers.", head, body, frozenset({1, 2}), "Patients have a usable outcome.")
    ]
    lede = "Answers are those of the reports, in their words; nothing is estimated here."
    return Section("overview", "All analyses", lede, blocks)


def _answer(rows: _Rows, question: str, analysis: Analysis) -> Cell | str:
    """Badge of an answer, with the first number beneath; badges of several treatments or cohorts by name."""
    own = rows(question, analysis)
    if not own:
        return MISSING
    first = rows.told(own[0])
    if len({r["tone"] for r in own}) > 1 or (question != "omics" and len(own) > 1):
        return "; ".join(f"{sentence(r['name'])}: {TONES[r['tone']]}" for r in own)
    below = "" if first["estimate"] is None else _found(first)
    return Cell(TONES[first["tone"]], tone=first["tone"], below=below)


def question(rows: _Rows, asked: str) -> Section:
    """Forest and table of one question over all analyses."""
    title, _, sides = ASKED[asked]
    own = [rows.told(r) for r in rows(asked)]
    blocks: list[object] = [_forest(part, title, asked, sides, i) for i, part in enumerate(_alike(own), 1)]
    blocks.append(_table(rows, own, asked))
    return Section(asked, title, _counted(own, asked), blocks)


def _alike(own: Sequence[Row]) -> list[list[Row]]:
    """Rows by what is estimated in which unit, since a forest has one axis; those without an estimate go along."""
    kinds = sorted({(r["unit"], r["null"]) for r in own if r["estimate"] is not None}, key=str)
    return [[r for r in own if (r["unit"], r["null"]) == kind] for kind in kinds]


def _forest(own: Sequence[Row], title: str, asked: str, sides: tuple[str, str], place: int) -> Figure:
    named = sorted({r["name"] for r in own}, key=[r["name"] for r in own].index)
    lines: list[charts.Line] = []
    for colour, name in enumerate(named, 1):
        lines += [charts.Line(sentence(name), heading=True)] * bool(name)
        for row in (r for r in own if r["name"] == name):
            estimate, lower, upper = (None if row[k] is None else row[k] * _scale(row) for k in ENDS)
            label = f"{row['cohort']} · {row['endpoint']}"
            lines.append(charts.Line(label, estimate, lower, upper, _found(row), colour, row=row))
    first = own[0]
    measures = list(dict.fromkeys(r["measure"].split(",")[0] for r in own))
    unit = {"months": ", months", "probability": ", percentage points"}.get(first["unit"], "")
    xlabel = f"{sentence(join(measures))}{unit}"
    told = "; ".join(f"{i.name}:" if i.heading else f"{i.name} {i.text}" for i in lines)
    description = bare(f"{title} {told}.")
    svg = charts.forest(lines, f"sweep-{asked}-{place}", description, xlabel, sides, null=float(first["null"]))
    spans = sorted({months(r["horizon_months"]) for r in own if r["horizon_months"] is not None}, key=float)
    caption = f"{xlabel}, with interval, in every analysis."
    if len(spans) > 1:
        caption += f" Up to {join(spans)} months, as the analyses have it, so that sizes cannot be compared by eye."
    elif spans:
        caption += f" Up to {spans[0]} months."
    return Figure(svg, title, caption, 820)


def _table(rows: _Rows, own: Sequence[Row], asked: str) -> Table:
    head = ["Analysis", "Of", "Answer", "Estimate (interval)", "p", "p, Holm", "Patients", "Events", "Held out"]
    tested = any(r["p_value"] is not None for r in own)
    body: list[list[Cell | str]] = []
    differs = {(r["cohort"], r["endpoint"], r["about"]): rows.told(r) for r in rows("differs")}
    for r in own:
        line: list[Cell | str] = [
            f"{r['cohort']} · {r['endpoint']}",
            sentence(r["name"]),
            Cell(TONES[r["tone"]], tone=r["tone"]),
            _found(r),
            p_cell(r["p_value"]),
            p_cell(r["p_holm"]),
            *((rows.count(r, "n"), rows.count(r, "events")) if r["n"] else (MISSING, MISSING)),
            "yes" if r["held_out"] else "no" if r["n"] else MISSING,
        ]
        if asked == "treatment":
            test = differs.get((r["cohort"], r["endpoint"], r["about"]))
            line[6:6] = [p_cell(test["p_value"] if test else None), p_cell(test["p_holm"] if test else None)]
        body.append(line)
    if asked == "treatment":
        head[6:6] = ["p, same in all subgroups", "The same, Holm"]
    dropped = ["Of"] * all(not r["name"] for r in own) + ["p", "p, Holm"] * (not tested)
    note = "" if not tested else "p, Holm: corrected over all analyses, and treatments, for this question."
    made = Table(f"{ASKED[asked][0]} Every analysis.", head, body, frozenset(range(3, len(head) - 1)), note)
    return made.without(frozenset(dropped))


def _counted(own: Sequence[Row], asked: str) -> str:
    """How many answers there are, and how many are expected by chance."""
    known = [r for r in own if r["estimate"] is not None and r["null"] is not None]
    where = [direction(r["lower"], r["upper"], r["null"]) for r in known]
    what = "no difference" if asked in ("omics", "treatment") else "chance"
    return (
        f"{plural(len(own), 'answer')}, {len(known)} with an estimate. Of their intervals"
        f" {where.count('above')} lie above {what} and {where.count('below')} below."
    )


def reading(page: SweepPage, rows: _Rows) -> Section:
    """What many analyses side by side mean for every one of them."""
    deltas = [r for r in rows("omics") if r["estimate"] is not None]
    shared = [k for k, g in groupby(sorted(a.cohort for a in page.analyses)) if len(list(g)) > 1]
    text = (
        "Who looks at many analyses finds something in one of them. p-values of the same question (whether there are"
        " subgroups, whether a treatment changes survival, whether its effect differs between subgroups) are therefore"
        " corrected over all analyses of this page by Holm's method (Holm 1979), which holds whatever the analyses"
        f" share. Answers and intervals are those of each report: intervals are at level {page.level}, each on its own,"
        " and a badge says what its report says, without a correction."
    )
    if deltas:
        text += (
            f" What omics add has intervals and no p-values, so that nothing is corrected there: of {len(deltas)}"
            " intervals at 95 %, about 1 in 40 would lie above zero if omics added nothing anywhere."
        )
    blocks: list[object] = [Text(text)]
    if shared:
        blocks.append(
            Note(
                f"Analyses of one and the same cohort (here {join(shared)}) have the same patients. They are no"
                " replications of each other; their subgroups are learned from omics alone, so that the test for"
                " subgroups is nearly the same in each."
            )
        )
    blocks.append(
        Text("An analysis that says nothing is no evidence against another; look at how far their intervals are apart.")
    )
    return Section("reading", "How to read many analyses", "What the number of analyses means.", blocks)


def render(page: SweepPage, templates: Path = TEMPLATES) -> str:
    """The whole page as HTML that loads nothing from outside."""
    ledger = Ledger()
    rows = _Rows(page, ledger)
    asked = [q for q in ASKED if rows(q)]
    sections = [overview(rows), *(question(rows, q) for q in asked), reading(page, rows)]
    finished = [a for a in page.analyses if a.finished]
    lacking = [a for a in page.analyses if not a.finished or a.stopped]
    warning = ""
    if lacking:
        warning = f"Not all analyses have run to their end: {'; '.join(f'{a.name} ({a.state})' for a in lacking)}."
    made = fill(
        templates,
        title=page.title,
        summary=[
            f"{len(finished)} of {plural(len(page.analyses), 'analysis').replace('analysiss', 'analyses')}",
            plural(len({a.cohort for a in page.analyses}), "cohort"),
            plural(len({a.endpoint for a in page.analyses}), "endpoint"),
        ],
        warning=warning,
        verdicts=[],
        sections=with_numbers(sections),
        simulated=False,
        min_cell=min((a.min_cell for a in finished), default=10),
        public=True,
        step=STEP_EVENTS,
        version=page.version,
        made_of=[page.title, f"Stratiome {page.version}"],
    )
    return tidy(annotate(made, ledger), {})


def as_tables(page: SweepPage) -> tuple[str, str]:
    """Tab-separated text: one row an analysis with its answers in words, and one row an answer with its numbers.

    Counts are rounded as in the page, and numbers have three digits.
    """
    rows = _Rows(page, Ledger())
    wide = ["\t".join(["cohort", "endpoint", "state", "patients", "events", *_wide_head(), "report"])]
    for a in page.analyses:
        patients = rows("patients", a)
        sizes = [rows.count(patients[0], c) for c in ("n", "events")] if patients else ["", ""]
        parts = [a.cohort, a.endpoint, a.state, *sizes]
        for q in ASKED:
            own = [rows.told(r) for r in rows(q, a)]
            parts += [
                "; ".join(dict.fromkeys(TONES[r["tone"]] for r in own)),
                "; ".join(f"{r['name']} {_found(r)}".strip() for r in own),
                "; ".join(dict.fromkeys("yes" if r["held_out"] else "no" for r in own if r["n"])),
            ]
        wide.append("\t".join([*parts, f"{a.folder}/report_public.html" if a.finished else ""]))
    columns = [
        "cohort", "endpoint", "question", "about", "tone", "answer", "measure", "unit", "null", "horizon_months",
        "estimate", "lower", "upper", "p_value", "p_holm", "n", "events", "held_out", "method",
    ]  # fmt: skip
    long = ["\t".join(columns)]
    for r in (r for r in rows.rows if r["question"] != "patients"):
        shown = dict(rows.told(r)) | {c: rows.count(r, c) for c in ("n", "events")}
        long.append("\t".join(_plain(shown[c]) for c in columns))
    return (bare("\n".join(wide)) + "\n", bare("\n".join(long)) + "\n")


def _wide_head() -> list[str]:
    return [name for q in ASKED for name in (q, f"{q}_estimate", f"{q}_held_out")]


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{float(value):.3g}" if isinstance(value, float) else str(value).replace("\t", " ").replace("\n", " ")
