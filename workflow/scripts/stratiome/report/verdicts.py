"""The answers of the report. They choose among phrases by looking at intervals and compute nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stratiome.report.outcome_words import TIMED, OutcomeWords
from stratiome.report.words import count_word, interval, join, label, months, number, p_value, readable, reason, within

Row = Mapping[str, Any]
Calibrated = tuple[Row | None, Row | None]
"""Rows of calibration slope and observed over expected of a model at one horizon."""
Direction = Literal["above", "below", "covers", "unknown"]
Tone = Literal[
    "yes",
    "no",
    "harm",
    "mixed",
    "differs",
    "longer",
    "shorter",
    "likelier",
    "rarer",
    "confounded",
    "fragile",
    "unknown",
]

TONES: dict[str, str] = {
    "yes": "Evidence for",
    "no": "No evidence",
    "harm": "Evidence against",
    "mixed": "Mixed evidence",
    "differs": "It differs",
    "longer": "Association: longer survival",
    "shorter": "Association: shorter survival",
    "likelier": "Association: more responses",
    "rarer": "Association: fewer responses",
    "confounded": "Probably confounded",
    "fragile": "Not robust",
    "unknown": "Not answered",
}
"""Text of the badge of each tone; the colour only repeats it."""

SMALL_GAIN = 0.02
"""Difference in Uno's C below which a gain is called small: a convention for words, not a test."""

ONE_EVENT = 0.7
"""Adjusted Rand index from which subgroups are said to be told by a single feature: a convention for words."""

REPRODUCED = 0.6
"""Adjusted Rand index of held-out and published subgroups below which they are not called reproducible."""


UNRELATED = "unrelated or opposed to what happened"
"""What is said of risks with a calibration slope that is not above 0."""
SLOPE_LIMITS = (0.8, 1.25)
"""Calibration slopes within are good enough to praise a model without a caveat: a convention for words, not a test."""

RATIO_LIMITS = (0.8, 1.25)
"""The same for observed over expected."""


@dataclass(frozen=True)
class Verdict:
    """One question and its answer.

    Attributes
    ----------
    question, answer
        Plain sentences.
    tone
        Key of `TONES`.
    facts
        The numbers beneath: label and value with interval.
    caveat
        What the answer leaves open, or "".
    link
        Section of the report with the evidence.
    beside
        A second line of the answer, on what is easily taken for it; or "".
    changes
        What would change the answer, as the end of "Would change if"; or "".
    more
        Anchors with their text: other places that a reader of the answer should see.
    """

    question: str
    answer: str
    tone: Tone
    facts: tuple[tuple[str, str], ...] = ()
    caveat: str = ""
    link: str = ""
    beside: str = ""
    changes: str = ""
    more: tuple[tuple[str, str], ...] = ()

    @property
    def badge(self) -> str:
        """Text of the badge."""
        return TONES[self.tone]


NOT_ASKED = Verdict(
    "Are there subgroups?",
    "Not asked: the settings allow one group only (`subgroups.k`).",
    "unknown",
    link="subgroups",
)


def direction(lower: float | None, upper: float | None, null: float = 0.0) -> Direction:
    """Where an interval lies; one that touches the null value covers it."""
    if lower is None or upper is None:
        return "unknown"
    return "above" if lower > null else "below" if upper < null else "covers"


def reproduced(again: float | None, share: float | None) -> bool:
    """Whether subgroups come back when the model is refitted without the patients who are judged.

    Both must hold: held-out patients mostly get the subgroup they have in all patients, and at least half of the folds
    find the same number. A fold that finds two can agree well with three, but it does not find the three.

    Parameters
    ----------
    again
        Adjusted Rand index of held-out and published subgroups, if known.
    share
        Share of the folds that chose the same number of subgroups, if known.
    """
    return (again is None or again >= REPRODUCED) and (share is None or share >= 0.5)


def subgroups(
    k: int | None,
    selection: Row | None,
    test: Row | None,
    replicated: str,
    alpha: float,
    model: str = "vae",
    again: float | None = None,
    share: float | None = None,
    single: Row | None = None,
    outcome: OutcomeWords = TIMED,
) -> Verdict:
    """Are there subgroups?

    Structure that is there but does not come back when the model is refitted without a patient is no classification:
    below `REPRODUCED` the answer is mixed, whatever the other tests say.

    Parameters
    ----------
    k
        Number of subgroups chosen in all patients; null if the table has none.
    selection
        Row of `SubgroupSelection` that gives the evidence: of the chosen k, or for k = 1 of the most stable k.
    test
        Row of `SurvivalTests` of the held-out subgroups, if there is one.
    replicated
        What the resamples chose, in words, or "".
    alpha
        Level of the tests.
    model
        Latent model, for the caveat.
    again
        Adjusted Rand index of held-out and published subgroups, if known.
    share
        Share of the folds that chose the same k; decides where `again` is not estimable.
    single
        Row of `SubgroupSingleFeatures`: the feature that tells the subgroups best.
    outcome
        Words for the outcome.
    """
    question = "Are there subgroups?"
    if k is None:
        return Verdict(question, "This was not tested.", "unknown", link="subgroups")
    facts: list[tuple[str, str]] = []
    if selection is not None and selection.get("stability") is not None:
        facts.append((f"Stability at K = {selection['k']} (ARI)", number(selection["stability"])))
        if selection.get("null_upper") is not None:
            facts.append(("Without subgroups, 95th percentile", number(selection["null_upper"])))
    if selection is not None and selection.get("p_value") is not None:
        facts.append(("Against no subgroups", p_value(selection["p_value"])))
    if replicated:
        facts.append(("When refitted", replicated))
    if k == 1:
        beyond = selection is not None and selection.get("p_value") is not None and selection["p_value"] <= alpha
        answer = "No evidence of subgroups."
        caveat = "That is not proof that there are none; this cohort does not show them."
        if beyond:
            answer = "No evidence of subgroups: there is some structure, but none that is stable enough to call."
            caveat = (
                "Patients do not look like one cloud, yet no division of them comes back when patients are left out."
            )
        stable = selection.get("p_value") if selection is not None else None
        change = (
            "" if stable is None else f"a division were stable beyond one cloud of patients (now {p_value(stable)})"
        )
        if beyond:
            change = "a division came back when patients are left out"
        return Verdict(question, answer, "no", tuple(facts), caveat, "subgroups", changes=change)
    p = test.get("p_value") if test is not None else None
    if p is None:
        why = f" ({readable(test['method'])})" if test is not None and test.get("method") else ""
        differ = f"; whether they differ in {outcome.survival} could not be tested{why}"
    elif p < alpha:
        differ = f", and they differ in {outcome.survival} in patients who were not used to find them"
    else:
        differ = f", but there is no evidence that they differ in {outcome.survival}"
    if p is not None:
        facts.append((f"{outcome.survival.capitalize()}, held-out {outcome.test}", p_value(p)))
    if again is not None:
        facts.append(("Same subgroup when held out (ARI)", number(again)))
    if single is not None:
        facts.append(("By the best single feature (ARI)", f"{number(single['estimate'])}, {single['feature']}"))
    if not reproduced(again, share):
        return Verdict(
            question,
            f"There is structure, but no reproducible subgroups: the {count_word(k)} found in all patients do not come"
            " back when the model is refitted.",
            "mixed",
            tuple(facts),
            "Read what follows as a description of this cohort, not as a classification of patients.",
            "subgroups",
            changes=_again(again, share, k),
        )
    caveat = "Found by the latent model without looking at outcomes." if model == "vae" else ""
    if one_event(single):
        caveat = f"{one_event(single)} {caveat}".strip()
    single_event = " They may be one event." if one_event(single) else ""
    answer = f"Yes: {count_word(k)} subgroups{differ}.{single_event}"
    change = ""
    if again is not None:
        change = f"in another cohort fewer came back (ARI below {REPRODUCED:g}; here, held out, {number(again)})"
    return Verdict(question, answer, "yes", tuple(facts), caveat, "subgroups", changes=change)


def _again(again: float | None, share: float | None, k: int) -> str:
    """What is lacking for subgroups to be called reproducible."""
    said = []
    if again is not None and again < REPRODUCED:
        said.append(f"held-out patients got their subgroup again (ARI of {REPRODUCED:g} or more, now {number(again)})")
    if share is not None and share < 0.5:
        said.append(f"at least half of the refits found {count_word(k)} (now {100 * share:.0f} %)")
    return join(said)


def one_event(single: Row | None) -> str:
    """What is said of subgroups that a single feature tells apart nearly as well as all omics; "" if none does."""
    if single is None or single["estimate"] < ONE_EVENT:
        return ""
    goes = "goes" if single["linked"] == 1 else "go"
    beside = f"; {count_word(single['linked'])} of the same omic {goes} with it" if single["linked"] else ""
    return (
        f"They may be one event: one feature, {single['feature']} ({label(single['omic'])}), nearly tells them alone"
        f" (adjusted Rand index {number(single['estimate'])}{beside})."
    )


def adds(delta_c: Row | None, delta_ibs: Row | None = None, ipa: Row | None = None) -> tuple[Tone, str]:
    """Verdict on a model beside the clinical one, from the intervals of its paired differences.

    Positive differences of C and negative ones of the integrated Brier score favour the model. C decides; a Brier
    score that says the opposite makes it mixed, and so does a better Brier score alone. An integrated index of
    prediction accuracy (`ipa`) that does not lie above zero takes from either: the risks are no better than one curve
    for all.
    """
    c = direction(delta_c.get("lower"), delta_c.get("upper")) if delta_c else "unknown"
    b = direction(delta_ibs.get("lower"), delta_ibs.get("upper")) if delta_ibs else "unknown"
    if c == "unknown" or (delta_c is not None and delta_c["lower"] == delta_c["upper"] == 0):
        return "unknown", "not estimable"  # no difference in any draw: both predict the same
    if c == "above" and b == "above":
        return "mixed", "ranks better, predicts worse"
    if c == "above":
        return ("mixed", f"ranks better, {FLAT}") if _flat(ipa) else ("yes", "adds")
    if c == "below":
        return ("mixed", "ranks worse, predicts better") if b == "below" else ("harm", "worse")
    if b == "below" and not _flat(ipa):
        return "mixed", PREDICTS
    return "no", "no evidence that it adds"


PREDICTS = "predicts better, no evidence that it ranks better"

FLAT = "risks no better than one curve for all"


def _flat(ipa: Row | None) -> bool:
    return ipa is not None and direction(ipa.get("lower"), ipa.get("upper")) in ("below", "covers")


def predicts(ipa: Mapping[str, Row | None]) -> str:
    """What is said of models whose predicted risks are no better than the same curve for everybody; "" if all are.

    Parameters
    ----------
    ipa
        Model -> its row of the integrated index of prediction accuracy.
    """
    flat = {m: direction(r["lower"], r["upper"]) for m, r in ipa.items() if r is not None and _flat(r)}
    said = ""
    for where, phrase in (("covers", "no better than one curve for all"), ("below", "worse than one curve for all")):
        names = [within(m) for m, w in flat.items() if w == where]
        if names:
            sure = ", as far as this cohort shows" if where == "covers" else ""
            said += f" The predicted risks of the {join(names)} model{'s' * (len(names) > 1)} are {phrase}{sure}."
    return said


def miscalibrated(slope: Row | None, ratio: Row | None) -> str:
    """What is wrong with the predicted risks of a model, as `too extreme (calibration slope 0.6, ...)`; "" if nothing.

    Only what the whole interval says counts: that of the slope outside `SLOPE_LIMITS`, or that of observed over
    expected outside `RATIO_LIMITS`.
    """
    said = []
    for row, limits, low, high, name in (
        (slope, SLOPE_LIMITS, "too extreme", "too tame", "calibration slope"),
        (ratio, RATIO_LIMITS, "too high", "too low", "observed over expected"),
    ):
        if row is None or row.get("lower") is None or row.get("upper") is None:
            continue
        wrong = low if row["upper"] < limits[0] else high if row["lower"] > limits[1] else ""
        if wrong and name == "calibration slope" and row["estimate"] <= 0:
            wrong = UNRELATED
        said += [f"{wrong} ({name} {interval(row, 2)})"] if wrong else []
    return join(said)


def of_risks(
    praised: Sequence[str], calibration: Mapping[str, Sequence[Calibrated]], outcome: OutcomeWords = TIMED
) -> str:
    """Caveats on the risks of models that an answer praises, each with a space before it."""
    text = ""
    for model in praised:
        said = []
        for slope, ratio in calibration.get(model, ()):
            wrong, row = miscalibrated(slope, ratio), slope or ratio
            at = outcome.at(row["horizon_months"]) if row and row.get("horizon_months") is not None else ""
            said += [f"{wrong}{at}"] if wrong else []
        if said:
            text += f" The risks that the {within(model)} model predicts are {join(said)}: not to be read as they are."
    return text


def prognosis(
    deltas: Sequence[tuple[str, Row | None, Row | None]],
    level: float,
    ipa: Mapping[str, Row | None] | None = None,
    unfitted: Mapping[str, str] | None = None,
    calibration: Mapping[str, Sequence[Calibrated]] | None = None,
    outcome: OutcomeWords = TIMED,
    span: str = "",
) -> Verdict:
    """Do omics add to the clinical model?

    Parameters
    ----------
    deltas
        Model, row of the difference in Uno's C to the clinical model, row of that in the integrated Brier score.
    level
        Level of the intervals.
    ipa
        Model, also the clinical one -> row of its integrated index of prediction accuracy.
    unfitted
        Model -> why it was not fitted; such models are not judged.
    calibration
        Model -> rows of its calibration slope and observed over expected, at each horizon.
    outcome
        Words for the outcome.
    span
        Up to when concordance is judged, as ` up to 60 months`.
    """
    question = "Do omics add to the clinical model?"
    ipa, unfitted = ipa or {}, unfitted or {}
    judged = [d for d in deltas if d[0] not in unfitted]
    missing = {name: why for name, why in unfitted.items() if any(name == d[0] for d in deltas)}
    if missing and not judged:
        return Verdict(question, f"Not fitted: {_whys(missing)}.", "unknown", link="prognosis")
    found = [(name, *adds(c, b, ipa.get(name))) for name, c, b in judged]
    facts = [
        (
            f"Δ {outcome.c}{span}, {within(name)}",
            "not fitted" if name in missing else interval(c, 3, sign=True) if c else "not estimable",
        )
        for name, c, _ in deltas
    ]
    if any(r is not None and _flat(r) for r in ipa.values()):
        facts += [(f"IPA, {within(m)}", interval(r, 3)) for m, r in ipa.items() if r is not None]
    facts += [
        (f"Δ {outcome.error}, {within(name)}", interval(b, 4, sign=True))
        for (name, _, b), (_, _, phrase) in zip(judged, found, strict=True)
        if b is not None and phrase == PREDICTS
    ]
    if {tone for _, tone, _ in found} <= {"unknown"}:
        why = next((f": {reason(c)}" for _, c, _ in judged if c and c.get("estimate") is None and c.get("method")), "")
        return Verdict(question, f"This could not be estimated{why}.", "unknown", tuple(facts), link="prognosis")
    tone, answer, small = _prognosis_answer(judged, found)
    caveat = (
        f"Difference in {outcome.concordance} to the clinical model, or to the model named, with {100 * level:.0f} %"
        " interval, on held-out"
        " patients."
    )
    if small:
        caveat += f" A gain below {SMALL_GAIN} is small: look at the decision it should change before using it."
    if len(found) > 1:
        caveat += " Verdicts are not corrected for the number of models."
    if missing:
        caveat += f" Not fitted: {_whys(missing, named=True)}."
    caveat += of_risks([name for name, t, _ in found if t in ("yes", "mixed")], calibration or {}, outcome)
    return Verdict(question, answer + predicts(ipa), tone, tuple(facts), caveat, "prognosis")


def _whys(unfitted: Mapping[str, str], named: bool = False) -> str:
    """Reasons, each once; with the models where they differ or where others were fitted."""
    if len(set(unfitted.values())) == 1 and not named:
        return next(iter(unfitted.values()))
    return "; ".join(f"{within(name)} ({why})" for name, why in unfitted.items())


def _prognosis_answer(
    judged: Sequence[tuple[str, Row | None, Row | None]], found: Sequence[tuple[str, Tone, str]]
) -> tuple[Tone, str, bool]:
    """Tone, answer, and whether the gain is small."""
    tones = {tone for _, tone, _ in found}
    small = max((c["estimate"] for _, c, _ in judged if c is not None), default=0.0) < SMALL_GAIN
    much = "a little better" if small else "better"
    better = [within(name) for name, tone, _ in found if tone == "yes"]
    worse = [within(name) for name, tone, _ in found if tone == "harm"]
    if tones == {"yes"}:
        return "yes", f"Yes: with omics, risk is ranked {much} than by the clinical model alone.", small
    if tones == {"mixed"} and all(phrase.endswith(FLAT) for _, _, phrase in found):
        return "mixed", f"In part: with omics, risk is ranked {much} than by the clinical model alone.", small
    if tones == {"mixed"} and all(phrase == PREDICTS for _, _, phrase in found):
        return (
            "mixed",
            "In part: with omics, risks are predicted better than by the clinical model alone, but there is no evidence"
            " that patients are ranked better.",
            False,
        )
    if tones == {"harm"}:
        return "harm", "No: with omics, predictions are worse than those of the clinical model.", False
    if tones <= {"no", "unknown"}:
        return "no", "No evidence that omics add to the clinical model.", False
    said = [f"{join(better)} adds"] * bool(better) + [f"{join(worse)} is worse"] * bool(worse)
    said += [f"{within(name)} {phrase.removesuffix(f', {FLAT}')}" for name, t, phrase in found if t == "mixed"]
    rest = [within(name) for name, tone, _ in found if tone in ("no", "unknown")]
    said += [f"for {join(rest)} there is no evidence that it adds"] * bool(rest)
    return "mixed", f"It depends on the model: {'; '.join(said)}.", False


def effect(row: Row | None, randomised: bool = True, outcome: OutcomeWords = TIMED) -> tuple[Tone, str]:
    """Plain sentence on one difference in restricted mean survival (positive: the treated live longer).

    Without random assignment the sentence says what was seen, not what treatment does.
    """
    if row is None or row.get("estimate") is None:
        why = f": {reason(row)}" if row is not None and row.get("method") else ""
        return "unknown", f"The effect is not estimable{why}."
    where = direction(row.get("lower"), row.get("upper"))
    over = ""
    if row.get("horizon_months") is not None:
        over = outcome.say(f" over the first {months(row['horizon_months'])} months", "")
    size = f"{number(abs(row['estimate']) * outcome.scale, 1)} {outcome.unit}"
    if where in ("above", "below"):
        said = f"{outcome.differ(where == 'above', randomised)}: {size} on average{over}."
        if randomised:
            return ("yes" if where == "above" else "harm"), f"{said[:1].upper()}{said[1:]}"
        return outcome.tone(where == "above"), f"After balancing, {said}"
    if where == "unknown":
        return "unknown", "The effect has no interval, so nothing is concluded."
    return "no", f"No evidence of an effect on {outcome.outcome}{over}."


def benefit(rows: Sequence[Row], alpha: float) -> dict[str, list[int]]:
    """Subgroups by what is known of their effect: `gain`, `harm`, `unclear` or `unknown`.

    A subgroup gains or is harmed if its interval excludes zero *and* its Holm-adjusted p-value is below `alpha`.
    """
    found: dict[str, list[int]] = {"gain": [], "harm": [], "unclear": [], "unknown": []}
    for row in rows:
        where = direction(row.get("lower"), row.get("upper"))
        sure = row.get("p_holm") is None or row["p_holm"] < alpha
        key = {"above": "gain", "below": "harm", "covers": "unclear", "unknown": "unknown"}[where]
        found["unclear" if key in ("gain", "harm") and not sure else key].append(int(row["subgroup"]))
    return found


def treatment(
    name: str,
    overall: Row | None,
    by_subgroup: Sequence[Row],
    interaction: Row | None,
    randomised: bool,
    alpha: float,
    reproducible: bool = True,
    outcome: OutcomeWords = TIMED,
    contrast: str = "treated minus untreated",
) -> Verdict:
    """Who benefits from a treatment?

    Parameters
    ----------
    name
        Label of the treatment.
    overall, by_subgroup
        Rows of `TreatmentEffects` for the difference in restricted mean survival, all patients and held-out subgroups.
    interaction
        Row of `TreatmentInteraction` of the same estimand.
    randomised
        Whether assignment was by chance.
    alpha
        Level of the tests.
    reproducible
        Whether the subgroups come back when the model is refitted; if not, nothing is said by subgroup.
    outcome
        Words for the outcome.
    contrast
        Which arm minus which.
    """
    tone, answer = effect(overall, randomised, outcome)
    facts = [(f"Average, {contrast}, {outcome.unit}", outcome.gain(overall) if overall else "not estimable")]
    known = overall is not None and overall.get("estimate") is not None
    caveat = (
        "An association: causal only as far as the measured confounders suffice." if known and not randomised else ""
    )
    if tone == "no":
        caveat = f"An interval that covers zero is not proof of no effect. {caveat}".strip()
    estimable = [r for r in by_subgroup if r.get("estimate") is not None]
    p = interaction.get("p_value") if interaction is not None else None
    test = "" if p is None else f" (test that the effect is the same in all: {p_value(p)})"
    beside = ""
    if len(estimable) > 1 and not reproducible:
        why = "since the subgroups do not come back when the model is refitted"
        beside = f"No conclusion is drawn by subgroup{test}, {why}."
    elif len(estimable) > 1 and p is not None:
        if p < alpha:
            tone, answer = "differs", _who(benefit(by_subgroup, alpha), randomised, outcome)
        else:
            beside = (
                f"No evidence that the effect differs between subgroups (test {p_value(p)}), so no conclusion is drawn"
                " by subgroup."
            )
        facts.append(("Same in all subgroups?", p_value(p)))
        facts += [(f"Subgroup {r['subgroup']}, {outcome.unit}", outcome.gain(r)) for r in by_subgroup]
        if any(r.get("p_holm") is not None for r in by_subgroup):
            corrected = "Subgroups are judged after correction for their number; intervals are not corrected."
            caveat = f"{corrected} {caveat}".strip()
    return Verdict(f"Who benefits from {name}?", answer, tone, tuple(facts), caveat, "treatment", beside)


def _who(groups: dict[str, list[int]], randomised: bool, outcome: OutcomeWords) -> str:
    def named(ids: list[int]) -> str:
        return f"subgroup{'s' if len(ids) > 1 else ''} {join([str(i) for i in ids])}"

    parts = []
    if groups["gain"]:
        parts.append(outcome.differ(True, randomised, named(groups["gain"])))
    if groups["harm"]:
        parts.append(outcome.differ(False, randomised, named(groups["harm"])))
    if groups["unclear"]:
        parts.append(f"no evidence of an effect in {named(groups['unclear'])}")
    if groups["unknown"]:
        parts.append(f"not estimable in {named(groups['unknown'])}")
    after = "" if randomised else "after balancing, "
    return f"The effect differs between subgroups: {after}{'; '.join(parts)}."


def transport(
    site: str | None,
    cross: Row | None,
    left_out: Row | None,
    agreement: Row | None,
    sites: int,
    aside: str = "",
    unfitted: str = "",
    design: str | None = "cross-validation",
    ahead: Row | None = None,
    outcome: OutcomeWords = TIMED,
) -> Verdict:
    """Does it hold across sites? Told of the clinical model.

    Parameters
    ----------
    site
        Column of the site, if given.
    cross, left_out
        Uno's C of the clinical model within the cohort and with sites left out.
    agreement
        Agreement of held-out subgroups with those of all patients, if there are subgroups.
    sites
        Number of sites, or groups of small ones, held out.
    aside
        Which sites were not held out or not on their own, or "".
    unfitted
        Why the clinical model was not fitted with sites held out, or "".
    design
        How patients were held out within the cohort, None if neither by folds nor as given.
    ahead
        Row of `PrognosisSites` of the clinical model: C at one more site, and how many sites have an estimate.
    outcome
        Words for the outcome.
    """
    question = "Does it hold across sites?"
    facts: list[tuple[str, str]] = []
    if cross is not None:
        facts.append((f"{outcome.c} of the clinical model, {design}", interval(cross, 3)))
    if left_out is not None and not unfitted:
        facts.append((f"{outcome.c} with sites held out", interval(left_out, 3)))
    if agreement is not None:
        facts.append(("Held-out subgroup, ARI", interval(agreement, 2)))
    if site is None or left_out is None:
        why = "no site was given" if site is None else "no site was held out"
        answer = f"Not tested: {why}." + (f" All numbers come from {design} within one cohort." if design else "")
        what = "Cross-validation is" if design == "cross-validation" else "Splits of one cohort are"
        caveat = f"{aside} {what} not external validation.".strip()
        change = (
            f"{'a site were named (`site`) and' if site is None else 'sites were'} held out, or another cohort judged"
        )
        return Verdict(question, answer, "unknown", tuple(facts), caveat, "travel", changes=change)
    caveat = f"{aside} Other hospitals may still differ; these are sites of one cohort.".strip()
    if unfitted or left_out.get("estimate") is None:
        why = reason(left_out)
        if unfitted:
            beside = f" {unfitted}" if unfitted.startswith("for ") else f" ({unfitted})"
            why = f"the clinical model was not fitted{beside}"
        return Verdict(question, f"Not answered: {why}.", "unknown", tuple(facts), caveat, "travel")
    pooled = (
        f"pooled over the {count_word(sites)} sites that were held out in turn"
        if sites > 1
        else "at the site that was held out"
    )
    where = direction(left_out.get("lower"), left_out.get("upper"), 0.5)
    if where == "unknown":
        answer = f"The clinical model was tested, but its {outcome.c} has no interval, so nothing is concluded."
        return Verdict(question, answer, "unknown", tuple(facts), caveat, "travel")
    tone, answer = {
        "above": ("yes", f"The clinical model keeps ranking risk better than chance, {pooled}."),
        "below": ("harm", f"No: the clinical model ranks risk worse than chance, {pooled}."),
        "covers": ("no", f"No evidence that the clinical model still ranks risk better than chance, {pooled}."),
    }[where]
    if ahead is not None and ahead["of"] > ahead["sites"]:
        lost = ahead["of"] - ahead["sites"]
        caveat = (
            f"{count_word(lost).capitalize()} more could not be judged on {'their' if lost > 1 else 'its'} own."
            f" {caveat}"
        )
    if ahead is not None and ahead["prediction_lower"] is not None:
        low, high = number(ahead["prediction_lower"]), number(ahead["prediction_upper"])
        facts.append((f"{outcome.c} expected at one more site", f"{low} to {high}"))
        if where == "above" and ahead["prediction_lower"] <= 0.5:
            tone = "mixed"
            answer = f"{answer} But sites differ: at one more it may rank no better than chance."
    lower = number(left_out["lower"], 3)
    change = f"{outcome.c} were no longer above 0.5 at other sites (lower end here {lower})" if where == "above" else ""
    if where == "covers":
        change = f"the interval excluded 0.5 (now {lower} to {number(left_out['upper'], 3)})"
    return Verdict(question, answer, tone, tuple(facts), caveat, "travel", changes=change)  # type: ignore[arg-type]
