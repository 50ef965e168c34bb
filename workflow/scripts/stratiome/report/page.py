"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from stratiome.report import (
    section_appendix,
    section_audit,
    section_audit_external,
    section_audit_fairness,
    section_prognosis,
    section_subgroups,
    section_treatment,
)
from stratiome.report.absent import left_out, noted, told, unprotected, without
from stratiome.report.blocks import Section
from stratiome.report.disclosure import STEP_EVENTS, beside, rounded
from stratiome.report.explore import attach
from stratiome.report.guidelines import Answer, Guideline, places, table
from stratiome.report.inputs import ReportInputs, Settings, read_inputs
from stratiome.report.paper import Print, prints
from stratiome.report.section_appendix import how, planted
from stratiome.report.section_checks import checks, duplicates
from stratiome.report.section_cohort import cohort, quality, summary
from stratiome.report.section_guidelines import answers, guidelines
from stratiome.report.section_limitations import limitations
from stratiome.report.section_provenance import provenance
from stratiome.report.template import TEMPLATES, fill, ticks
from stratiome.report.titles import with_numbers
from stratiome.report.traced import Ledger, annotate
from stratiome.report.typography import tidy, used
from stratiome.report.verdicts import Verdict

__all__ = ["ReportInputs", "Settings", "draw", "read_inputs", "render", "sections", "ticks", "verdicts"]

VERDICTS = "What did we learn?"
"""Heading of the first section."""


def verdicts(inputs: ReportInputs) -> list[Verdict]:
    """Answers of the first screen, one treatment after another."""
    found = [section_subgroups.verdict(inputs), section_prognosis.verdict(inputs)]
    for key in inputs.settings.treatments:
        found.append(replace(section_treatment.verdict(inputs, key), link=section_treatment.place(inputs, key)))
    if not inputs.settings.treatments:
        found.append(
            Verdict(
                "Who benefits from which treatment?",
                "Not asked: the config names no treatment.",
                "unknown",
            )
        )
    found += [section_prognosis.transport(inputs), *section_audit_external.verdicts(inputs)]
    return [*found, section_audit_fairness.verdict(inputs)]


@dataclass(frozen=True)
class _First:
    """What stands above the sections."""

    warning: str
    summary: Sequence[str] = ()
    verdicts: Sequence[Verdict] = ()
    without: Sequence[str] = ()


def _first(inputs: ReportInputs) -> _First:
    asked: set[str] = set()
    watched = replace(inputs, asked=asked)
    found = _First(duplicates(watched), summary(watched), verdicts(watched))
    gone = without(inputs, asked)
    return replace(found, warning=f"{found.warning} {told(inputs, gone)}".strip(), without=gone) if gone else found


def sections(inputs: ReportInputs) -> list[Section]:
    """Sections after the verdicts, in reading order; each says at its top which tables it had to do without."""
    return _sections(inputs, _first(inputs))[0]


def _sections(inputs: ReportInputs, first: _First) -> tuple[list[Section], list[tuple[Guideline, list[Answer]]]]:
    """Sections, and items of guidelines with what the sections say of them."""
    *results, last = made = _made(inputs)
    above = Section("verdicts", VERDICTS, "", without=first.without)
    last = replace(last, blocks=[*last.blocks, *left_out(inputs, [above, *made])])
    abbreviations = section_appendix.abbreviated(used([*first.verdicts, *results, last]), inputs.settings.words.timed)
    results = [replace(s, blocks=[*s.blocks, *abbreviations]) if s.anchor == "methods" else s for s in results]
    found = answers(inputs, places([above, *results, last]))
    return [*results, guidelines(found), last], found


def _made(inputs: ReportInputs) -> list[Section]:
    """All sections but that on guidelines, which looks at them."""
    makers: list[Callable[[ReportInputs], Section | None]] = [
        cohort,
        quality,
        checks,
        section_subgroups.subgroups,
        section_prognosis.prognosis,
        section_treatment.treatment,
        section_audit.audit,
        limitations,
        planted,
        how,
        provenance,
    ]
    made = [noted(maker, inputs) for maker in makers]
    return [s for s in made if s is not None]


def render(inputs: ReportInputs, templates: Path = TEMPLATES) -> str:
    """The whole page; as `draw`, without what is written beside it."""
    return draw(inputs, templates).page


class Report(NamedTuple):
    """A page and what is written beside it.

    Attributes
    ----------
    page
        HTML that loads nothing from outside.
    guidelines
        Items of reporting guidelines as tab-separated text.
    figures
        Its figures, to be printed.
    """

    page: str
    guidelines: str
    figures: list[Print]


def draw(inputs: ReportInputs, templates: Path = TEMPLATES) -> Report:
    """The whole page, the items of reporting guidelines and the figures. The same inputs give the same.

    Parameters
    ----------
    inputs
        Tables, figures, manifest and settings.
    templates
        Folder with `report.html.j2` and `style.css`.

    Raises
    ------
    FileNotFoundError
        If the folder holds no template.
    """
    settings = inputs.settings
    ledger = Ledger()
    inputs = replace(inputs, ledger=ledger)
    parts: list[Section] = []
    found: list[tuple[Guideline, list[Answer]]] = []
    if inputs.public and (why := unprotected(inputs)):
        first = _First(warning=f"This version was not made. {why} Make the run again to have it.")
    else:
        with rounded(inputs.public and settings.min_cell > 1), beside(inputs.wholes):
            first = _first(inputs)
            parts, found = _sections(inputs, first)
    page = fill(
        templates,
        title=settings.title or settings.cohort,
        summary=[*first.summary, *inputs.made_of(settings.cohort)[1:]],
        warning=first.warning,
        verdicts=first.verdicts,
        sections=with_numbers(parts),
        simulated=inputs.simulated,
        min_cell=settings.min_cell,
        public=inputs.public,
        step=STEP_EVENTS,
        version=(inputs.manifest.get("created_with") or {}).get("stratiome", ""),
        made_of=inputs.made_of(settings.cohort),
    )
    renamed = settings.words.renamed
    for name, other in renamed.items():
        page = page.replace(name, other)
    page = attach(tidy(annotate(page, ledger), settings.names), templates)
    return Report(page, table(found), prints(parts, renamed, settings.names))
