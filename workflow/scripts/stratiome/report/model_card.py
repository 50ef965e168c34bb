"""The model card that goes with a bundle (Mitchell et al. 2019, FAT* 220-229), filled from what was evaluated.

What only the authors can know is marked so; nothing is taken for granted because it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stratiome.config import BundleConfig
from stratiome.report import section_audit_external, section_prognosis
from stratiome.report.blocks import Cell, Items, Note, Section, Table
from stratiome.report.disclosure import about, count
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_audit_fairness import fairness
from stratiome.report.template import TEMPLATES, fill
from stratiome.report.titles import with_numbers
from stratiome.report.verdicts import direction
from stratiome.report.words import interval, join, label, months, plural, sentence, within

AUTHOR = "The authors must write this."
COLUMNS = ("uno_c", "ibs", "calibration_slope", "observed_expected")


@dataclass(frozen=True)
class ModelCard:
    """What a model card is made of.

    Attributes
    ----------
    card
        What the bundle says of itself.
    digest
        SHA-256 of the bundle.
    training
        Summary of the training patients, as in the bundle.
    inputs
        Settings, manifest, and the evaluation tables that there are.
    """

    card: Mapping[str, Any]
    digest: str
    training: Mapping[str, Any]
    inputs: ReportInputs


def _told(text: str, default: str) -> Cell | str:
    """A text of the config; that it is the default is said."""
    return Cell(text, below=f"As by default. {AUTHOR}") if text.strip() in ("", default) else text


def models(page: ModelCard) -> Section:
    """What the models are."""
    card = page.card
    judged = [label(m) for m in section_prognosis.models(page.inputs) if m != "kaplan_meier"]
    rows: list[Sequence[Cell | str]] = [
        ["Made with", f"Stratiome {card['stratiome']}"],
        ["Digest", f"`{page.digest}`"],
        ["Survival models", join(judged) or "none"],
        ["Read beside the omics", join(card["covariates"]) or "nothing"],
        ["Omics", join([f"{label(n)} ({o['kind'].replace('_', ' ')})" for n, o in card["omics"].items()])],
        ["Persons responsible, date, licence, contact", AUTHOR],
    ]
    lede = "Files without code; a file of a model of which a byte has changed is refused."
    return Section("models", "The models", lede, [Table("What they are.", ["", ""], rows)])


def uses(page: ModelCard) -> Section:
    """What they are meant for, and not."""
    default = BundleConfig()
    rows: list[Sequence[Cell | str]] = [
        ["Meant for", _told(page.card["intended_use"], default.intended_use)],
        ["Not for", _told(page.card["out_of_scope"], default.out_of_scope)],
        ["Who decides with it, and how", AUTHOR],
    ]
    return Section("uses", "Intended use", "Research use only; not a medical device.", [Table("Use.", ["", ""], rows)])


def learned(page: ModelCard) -> Section:
    """Whom they were learned from."""
    card, least = page.card, page.card["min_cell"]
    rows: list[Sequence[Cell | str]] = [
        ["Cohort", card["title"]],
        ["Patients with an outcome", f"{count(card['n'], least)}, {count(card['events'], least)} events"],
    ]
    rows += [[f"With {name}", about(n, least)] for name, n in page.training.get("patterns", {}).items()]
    for column, classes in page.training.get("classes", {}).items():
        largest = sorted(classes.items(), key=lambda kv: -kv[1])[:8]
        told = ", ".join(f"{level} {count(n, least)}" for level, n in largest)
        more = f" and {len(classes) - 8} more" if len(classes) > 8 else ""
        rows.append([sentence(label(column)), told + more])
    text = "Classes of few patients are not told. How patients came into the cohort: the authors must write this."
    return Section("learned", "Training data", text, [Table("Training patients.", ["", ""], rows)])


def judged(page: ModelCard) -> Section:
    """How well they do on patients that they have not seen."""
    inputs = page.inputs
    words = inputs.settings.words
    rows: list[Sequence[Cell | str]] = []
    size = None
    for model in section_prognosis.models(inputs):
        cells: list[Cell | str] = [label(model)]
        for metric in COLUMNS:
            found = inputs.rows("prognosis_metrics", design=inputs.headline, model=model, metric=metric, versus=None)
            row = found[-1] if found else None
            size = size or row
            cells.append("–" if row is None or row["estimate"] is None else interval(row, words.metrics[metric][1]))
        rows.append(cells)
    if not rows or size is None:
        return Section("judged", "Performance", "No model was judged on held-out patients.")
    note = f"{inputs.size(size['n'])}, {count(size['events'], inputs.settings.min_cell)} events; {inputs.headline}."
    last = inputs.rows("prognosis_metrics", design=inputs.headline, metric="observed_expected", versus=None)
    if last and words.timed:
        note += f" Calibration at {months(last[-1]['horizon_months'])} months."
    heads = ["Model", *(words.metrics[m][0] for m in COLUMNS)]
    table = Table(
        f"On held-out patients, estimate ({inputs.settings.level} interval).",
        heads, rows, frozenset(range(1, len(heads))), note,
    )  # fmt: skip
    lede = "Models of the same kind, learned without the patients that they are judged on; the bundle learned from all."
    return Section("judged", "Performance", lede, [table])


def elsewhere(page: ModelCard) -> Section:
    """Sites and other cohorts."""
    inputs = page.inputs
    rows: list[Sequence[Cell | str]] = [["Sites held out", section_prognosis.transport(inputs).answer]]
    rows += [[answer.question, answer.answer] for answer in section_audit_external.verdicts(inputs)]
    blocks: list[object] = [Table("Answers.", ["", ""], rows)]
    if not inputs.rows("external_patients"):
        blocks.append(Note("The models have not been judged in another cohort.", "care"))
    return Section("elsewhere", "Elsewhere", "Sites of the same cohort, and other cohorts.", blocks)


def groups(page: ModelCard) -> Section:
    """Whether they hold in groups of patients."""
    return Section("groups", "Groups of patients", "On held-out patients.", list(fairness(page.inputs)))


def caveats(page: ModelCard) -> Section:
    """What speaks against using them."""
    inputs = page.inputs
    said = [
        "Patients unlike those of the training data are marked when scored; what is said of them is an extrapolation.",
        "Risks are those of patients treated as in this cohort; they do not say what another treatment would do.",
        "Omics that a patient lacks are not filled in; with fewer omics less is known.",
    ]
    said[:0] = _miscalibrated(inputs)
    if not inputs.settings.audit.groups:
        said.insert(0, "No group of patients was named (`audit.groups`), so it is not known in whom the models fail.")
    if not inputs.rows("external_patients"):
        said.insert(0, "There is no external validation.")
    sites = inputs.row("site_summary", model="clinical")
    if sites is None or sites["estimate"] is None:
        said.append("How much sites differ is not known.")
    elif sites["sites"]:
        said.append(f"Sites: {plural(sites['sites'], 'site')} of this cohort were left out in turn.")
    blocks = [Items(said), Table("Left open.", ["", ""], [["Ethical considerations", AUTHOR], ["Harms", AUTHOR]])]
    return Section("caveats", "Caveats", "What speaks against using them.", blocks)


def _miscalibrated(inputs: ReportInputs) -> list[str]:
    """A sentence per model to apply whose held-out calibration is off with its whole interval."""
    found = []
    for model in ("stacked", "clinical"):
        rows = inputs.rows(
            "prognosis_metrics", design=inputs.headline, model=model, metric="calibration_slope", versus=None
        )
        row = rows[-1] if rows else None
        side = direction(row["lower"], row["upper"], 1.0) if row else "unknown"
        if row and side in ("above", "below"):
            how = "too timid" if side == "above" else "too extreme"
            found.append(
                f"Risks of the {within(model)} model are {how} on held-out patients: calibration slope {interval(row)}."
            )
    return found


def render(page: ModelCard, templates: Path = TEMPLATES) -> str:
    """The whole page as HTML that loads nothing from outside."""
    card = page.card
    text = fill(
        templates,
        title=f"Model card: {card['title']}",
        summary=[f"{count(card['n'], card['min_cell'])} training patients", f"bundle {page.digest[:16]}"],
        warning="",
        verdicts=[
            replace(section_prognosis.verdict(page.inputs), link="judged"),
            replace(section_prognosis.transport(page.inputs), link="elsewhere"),
            *(replace(answer, link="elsewhere") for answer in section_audit_external.verdicts(page.inputs)),
        ],
        sections=with_numbers(part(page) for part in (models, uses, learned, judged, groups, elsewhere, caveats)),
        simulated=page.inputs.simulated,
        min_cell=page.inputs.settings.min_cell,
        public=None,
        version=card["stratiome"],
        made_of=[*page.inputs.made_of(card["cohort"]), f"bundle {page.digest[:16]}"],
    )
    for name, other in page.inputs.settings.words.renamed.items():
        text = text.replace(name, other)
    return text
