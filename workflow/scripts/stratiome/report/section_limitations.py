"""Limitations of this run, read from its tables: what may be biased, uncertain, or not hold elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stratiome.report import section_treatment
from stratiome.report.blocks import Cell, Section, Table, Text
from stratiome.report.disclosure import share
from stratiome.report.groups import differing, failing, not_judged
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_audit_fairness import unseen
from stratiome.report.section_prognosis_learners import bent, contrasts
from stratiome.report.section_prognosis_trust import too_few
from stratiome.report.section_subgroups import reproducible
from stratiome.report.section_treatment_doubts import failed_control
from stratiome.report.words import join, label, months, plural, sentence, within

BIAS, UNCERTAINTY, ELSEWHERE = "bias", "uncertainty", "generalisability"
OFTEN_MISSING = 0.1
"""Share without a value from which a clinical variable is named."""


@dataclass(frozen=True)
class Limitation:
    """What is lacking, what it may do, and where the page tells more.

    Attributes
    ----------
    links
        Anchors with their text.
    """

    text: str
    affects: str
    links: tuple[tuple[str, str], ...] = ()


def limitations(inputs: ReportInputs) -> Section:
    """A table of what the tables of this run show, and a reminder that authors know of more."""
    found = [*_cohort(inputs), *_subgroups(inputs), *_prognosis(inputs), *_treatments(inputs), *_groups(inputs)]
    rows: list[list[Cell | str]] = [[f.text, f.affects, Cell("", links=f.links) if f.links else "–"] for f in found]
    table = Table("Limitations that the tables of this run show.", ["Limitation", "May affect", "See"], rows)
    text = Text(
        "How patients came into the cohort, how well the outcome and treatments were recorded, and whether the question"
        " was asked before the data were seen, no table knows: the authors must write of them."
    )
    lede = "What the answers above leave open, as far as this run can tell by itself."
    return Section("limitations", "Limitations", lede, [table, text])


def _cohort(inputs: ReportInputs) -> Iterator[Limitation]:
    least = inputs.settings.min_cell
    summary = inputs.rows("baseline")
    first = {r["variable"]: r for r in reversed(summary) if r["kind"] != "months"}
    gone = [
        f"{label(name)} ({share(r['missing'], r['n'] + r['missing'], least)})"
        for name, r in first.items()
        if name in inputs.settings.covariates and r["missing"] > OFTEN_MISSING * (r["n"] + r["missing"])
    ]
    if gone:
        text = f"Clinical variables are often missing, in all patients with or without an outcome: {join(gone)}."
        yield Limitation(text, f"{BIAS}, {UNCERTAINTY}", (("checks", "Checks of the data"),))
    links = (("travel", "Does it travel?"),)
    if not inputs.rows("external_patients"):
        away = inputs.settings.site is not None and inputs.settings.resamples.leave_site_out
        site = "only sites of it were held out" if away else "no site of it was held out"
        yield Limitation(f"One cohort: no other one was judged, and {site}.", ELSEWHERE, links)


def _subgroups(inputs: ReportInputs) -> Iterator[Limitation]:
    if (inputs.found() or 1) > 1 and not reproducible(inputs):
        text = "Subgroups do not come back when the model is refitted; what is said by subgroup describes this cohort."
        yield Limitation(text, f"{UNCERTAINTY}, {ELSEWHERE}", (("subgroups", "Subgroups"),))


def _prognosis(inputs: ReportInputs) -> Iterator[Limitation]:
    links = (("prognosis", "Prognosis"),)
    if said := bent(inputs):
        yield Limitation(said, f"{BIAS}, towards flexible models", links)
    many = contrasts(inputs)
    if len(many) > 1:
        text = f"The {len(many)} comparisons of models are not corrected for their number"
        beside = inputs.settings.words.say(", nor are their horizons.", ".")
        yield Limitation(f"{text}{beside}", UNCERTAINTY, links)
    if said := too_few(inputs, list(dict.fromkeys(r["model"] for r in inputs.rows("sample_size")))):
        yield Limitation(said, UNCERTAINTY, links)
    draws = inputs.settings.evaluation.bootstraps
    if inputs.rows("prognosis_metrics"):
        text = f"Intervals are of {draws:,} draws of held-out patients with models kept fixed, not of training anew."
        yield Limitation(text, f"{UNCERTAINTY}, understated", links)


def _treatments(inputs: ReportInputs) -> Iterator[Limitation]:
    settings = inputs.settings.treatments
    observed = [k for k, t in settings.items() if t.design == "observational"]
    if not observed:
        return
    names = {k: section_treatment.name_of(k, settings[k]) for k in observed}
    links = tuple((f"treatment-assumptions-{k}", sentence(names[k])) for k in observed)
    yield Limitation(
        f"Assigned by choice, not by chance: {join(list(names.values()))}. Unmeasured confounding cannot be excluded.",
        BIAS,
        links,
    )
    unknown = [names[k] for k in observed if settings[k].start is None and settings[k].starts is None]
    if unknown and inputs.settings.words.timed:
        text = f"Starts of treatment are not known: {join(unknown)}. Immortal time flatters a treatment."
        yield Limitation(text, f"{BIAS}, in favour of treatment", links)
    failed = [k for k in observed if failed_control(inputs, k) is not None]
    if failed:
        where = tuple((f"treatment-changed-{k}", sentence(names[k])) for k in failed)
        text = f"The negative control shows a difference: {join([names[k] for k in failed])}."
        yield Limitation(text, BIAS, where)
    without = [names[k] for k in observed if settings[k].negative_control is None]
    if without:
        yield Limitation(f"No negative control was named: {join(without)}.", BIAS, links)
    fragile = [k for k in observed if section_treatment.verdict(inputs, k).tone == "fragile"]
    if fragile:
        where = tuple((f"treatment-effect-{k}", sentence(names[k])) for k in fragile)
        text = f"Other estimates do not bear the effect out: {join([names[k] for k in fragile])}."
        yield Limitation(text, UNCERTAINTY, where)


def _groups(inputs: ReportInputs) -> Iterator[Limitation]:
    links = (("travel-groups", "Fairness"),)
    fails, differs = failing(inputs), differing(inputs)
    models = list(dict.fromkeys([*fails, *differs]))
    if models:
        said = "; ".join(f"{within(m)} ({join([*fails.get(m, []), *differs.get(m, [])])})" for m in models)
        text = f"Predictions fail in some groups, or differ between those of a column: {said}."
        yield Limitation(text, f"{BIAS}, {ELSEWHERE}", links)
    if lost := not_judged(inputs):
        yield Limitation(f"{plural(len(lost), 'group')} had too few events to be judged.", UNCERTAINTY, links)
    if said := unseen(inputs):
        yield Limitation(said, ELSEWHERE, links)
    if inputs.settings.words.timed:
        yield Limitation(f"Nothing is said beyond {months(inputs.settings.endpoint.tau_months)} months.", ELSEWHERE)
