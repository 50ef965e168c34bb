"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stratiome.report import section_audit, section_prognosis, section_subgroups, section_treatment
from stratiome.report.blocks import Section
from stratiome.report.inputs import ReportInputs, Settings, read_inputs
from stratiome.report.section_appendix import how, planted, provenance
from stratiome.report.section_checks import checks, duplicates
from stratiome.report.section_cohort import cohort, quality, summary
from stratiome.report.verdicts import Verdict

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["ReportInputs", "Settings", "read_inputs", "render", "sections", "verdicts"]

TEMPLATES = Path(__file__).resolve().parents[3] / "report"
"""Folder of the template and the style sheet (`workflow/report`)."""


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
    return [*found, section_prognosis.transport(inputs)]


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


def ticks(text: str) -> Markup:
    """Text with what stands between backticks set as code, everything escaped."""
    from markupsafe import Markup, escape

    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


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
    if not (templates / "report.html.j2").is_file():
        raise FileNotFoundError(
            f"{templates} holds no `report.html.j2`. Suggestion: run from a checkout of the repository, or give"
            " `templates`"
        )
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ticks"] = ticks
    settings = inputs.settings
    page = environment.get_template("report.html.j2").render(
        title=settings.title or settings.cohort,
        cohort=settings.cohort,
        summary=summary(inputs),
        warning=duplicates(inputs),
        verdicts=verdicts(inputs),
        sections=sections(inputs),
        simulated=inputs.simulated,
        min_cell=settings.min_cell,
        config_hash=inputs.manifest.get("config_hash", ""),
        version=(inputs.manifest.get("created_with") or {}).get("stratiome", ""),
        style=(templates / "style.css").read_text(encoding="utf-8"),
    )
    for name, other in settings.words.renamed.items():
        page = page.replace(name, other)
    return page
