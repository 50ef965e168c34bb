"""When the answer on a treatment is withheld: estimates that do not agree, confounders that tell the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stratiome.report import verdicts
from stratiome.report.blocks import Note
from stratiome.report.inputs import ReportInputs
from stratiome.report.verdicts import Verdict
from stratiome.report.words import readable

Row = Mapping[str, Any]


def disagreeing(inputs: ReportInputs, key: str, weighting: str) -> tuple[Row, Row] | None:
    """The estimate of the headline and the doubly robust one in the same patients, if they say different things.

    They do where one interval excludes zero and the other does not, or where both do on different sides.

    Parameters
    ----------
    inputs
        The results.
    key
        Key of the treatment.
    weighting
        That of the headline.
    """
    population = "all" if weighting == "none" else "overlap"
    said = inputs.row("treatment_effects", treatment=key, subgroup=0, estimand="rmst_difference", weighting=weighting)
    other = inputs.row(
        "treatment_averages",
        treatment=key,
        estimator="doubly robust",
        population=population,
        estimand="rmst_difference",
    )
    if said is None or other is None or said["estimate"] is None or other["estimate"] is None:
        return None
    one, two = (verdicts.direction(r["lower"], r["upper"]) for r in (said, other))
    return None if one == two or "unknown" in (one, two) else (said, other)


def disagreement(inputs: ReportInputs, key: str, weighting: str) -> list[Note]:
    """A warning where `disagreeing` finds two estimates; parameters as there."""
    found, outcome = disagreeing(inputs, key, weighting), inputs.settings.words
    if found is None:
        return []
    said, other = found
    models = outcome.say("treatment, survival or censoring", "treatment or response")
    apart = said["upper"] < other["lower"] or other["upper"] < said["lower"]
    one = f"one of the models (of {models})"
    why = f"Probably {one} is wrong" if apart else f"The cohort may be too small, or {one} wrong"
    return [
        Note(
            f"The estimates do not agree: {outcome.gain(said)} {outcome.unit} by the"
            f" {outcome.say('curves', 'weighted shares')}, {outcome.gain(other)} by the doubly robust estimate in the"
            f" same patients. {why}: conclude nothing that only one says.",
            "care",
        )
    ]


def withheld(inputs: ReportInputs, key: str, weighting: str, found: Verdict) -> Verdict:
    """The verdict without its answer where that means nothing; parameters as of `disagreeing`.

    A confounder that nearly tells the outcome was hardly known at time zero, and balancing it balances the outcome.
    Where two estimates do not agree, both are among the facts, and nothing is said by subgroup.
    """
    telling = inputs.telling(inputs.settings.treatments[key].confounders)
    if telling:
        which = "; ".join(readable(note).replace("covariate", "confounder", 1) for note in telling)
        answer = f"Not answered: {which}, so the comparison means nothing before that is mended."
        return replace(found, answer=answer, tone="unknown", beside="")
    apart, outcome = disagreeing(inputs, key, weighting), inputs.settings.words
    if apart is None:
        return found
    answer = "Not answered: two estimates of the average effect in the same patients do not agree."
    beside = (f"The same, doubly robust, {outcome.unit}", outcome.gain(apart[1]))
    facts = (found.facts[0], beside, *found.facts[1:])
    return replace(found, answer=answer, tone="mixed", facts=facts, beside="")
