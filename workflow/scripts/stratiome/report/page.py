"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stratiome.report import (
    section_audit,
    section_audit_external,
    section_prognosis,
    section_subgroups,
    section_treatment,
)
from stratiome.report.blocks import Section
from stratiome.report.disclosure import STEP_EVENTS
from stratiome.report.inputs import ReportInputs, Settings, read_inputs
from stratiome.report.section_appendix import how, planted, provenance
from stratiome.report.section_checks import checks, duplicates
from stratiome.report.section_cohort import cohort, quality, summary
from stratiome.report.template import TEMPLATES, fill, ticks
from stratiome.report.traced import Ledger, annotate
from stratiome.report.verdicts import Verdict

__all__ = ["ReportInputs", "Settings", "read_inputs", "render", "sections", "ticks", "verdicts"]


def verdicts(inputs: ReportInputs) -> list[Verdict]:
    """Answers of the first screen, one treatment after another."""
    found = [section_subgroups.verdict(inputs), section_prognosis.verdict(inputs)]
    found += [section_treatment.verdict(inputs, key) for key in inputs.settings.treatments]
    if not inputs.settings.treatments:
        found.append(
            Verdict(
                "Who benefits from which treatment?",
                "Not asked: the config names no treatment.",
                "unknown",
            )
        )
    return [*found, section_prognosis.transport(inputs), *section_audit_external.verdicts(inputs)]


def sections(inputs: ReportInputs) -> list[Section]:
    """Sections after the verdicts, in reading order."""
    found = [
        cohort(inputs),
        quality(inputs),
        checks(inputs),
        section_subgroups.subgroups(inputs),
        section_prognosis.prognosis(inputs),
        section_treatment.treatment(inputs),
        section_audit.audit(inputs),
        planted(inputs),
        how(inputs),
        provenance(inputs),
    ]
    return [s for s in found if s is not None]


def render(inputs: ReportInputs, templates: Path = TEMPLATES) -> str:
    """The whole page.

    Parameters
    ----------
    inputs
        Tables, figures, manifest and settings.
    templates
        Folder with `report.html.j2` and `style.css`.

    Returns
    -------
    str
        HTML that loads nothing from outside. The same inputs give the same text.

    Raises
    ------
    FileNotFoundError
        If the folder holds no template.
    """
    settings = inputs.settings
    ledger = Ledger()
    inputs = replace(inputs, ledger=ledger)
    page = fill(
        templates,
        title=settings.title or settings.cohort,
        summary=summary(inputs),
        warning=duplicates(inputs),
        verdicts=verdicts(inputs),
        sections=sections(inputs),
        simulated=inputs.simulated,
        min_cell=settings.min_cell,
        public=inputs.public,
        step=STEP_EVENTS,
        version=(inputs.manifest.get("created_with") or {}).get("stratiome", ""),
        made_of=inputs.made_of(settings.cohort),
    )
    for name, other in settings.words.renamed.items():
        page = page.replace(name, other)
    return annotate(page, ledger)
