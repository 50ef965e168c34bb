"""Whether other estimates bear an effect out, and what they and a negative control do to the answer.

Nothing is tested here. An effect is called robust where every other estimate of the same question excludes no effect on
the same side: the hazard ratio, survival at the last horizon, and the average by other estimators. An interval that
holds no effect does not contradict one; it leaves the answer to a single way of counting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stratiome.report import verdicts
from stratiome.report.blocks import Note
from stratiome.report.inputs import ReportInputs
from stratiome.report.verdicts import Direction, Tone, Verdict
from stratiome.report.words import interval, join, months, number, readable, sentence

Row = Mapping[str, Any]
EFFECTS: tuple[Tone, ...] = ("yes", "harm", "longer", "shorter", "likelier", "rarer")
"""Tones of an answer that an effect was seen in all patients."""
WHO = {"all": "all eligible", "trimmed": "propensity 0.05 to 0.95", "overlap": "overlap"}
"""Populations of averages in tables."""


@dataclass(frozen=True)
class Other:
    """Another estimate of the same question.

    Attributes
    ----------
    name
        Within a sentence.
    fact
        As a label.
    text
        The estimate with its interval.
    where
        Where its interval lies; `above`: the treated do better.
    of
        Whom it averages over, or "".
    """

    name: str
    fact: str
    text: str
    where: Direction
    of: str = ""


def others(inputs: ReportInputs, key: str, weighting: str) -> list[Other]:
    """Other estimates of the average effect that could be made; parameters as of `disagreeing`."""
    outcome = inputs.settings.words
    rows = inputs.rows("treatment_effects", treatment=key, subgroup=0, weighting=weighting)
    main = next((r for r in rows if r["estimand"] == "rmst_difference"), None)
    if main is None or main["estimate"] is None:
        return []
    found = [_ratio(r, weighting) for r in rows if r["estimand"] == "hazard_ratio" and outcome.timed]
    found += [_survival(inputs, r) for r in _last(rows, main["horizon_months"]) if outcome.timed]
    for row in inputs.rows("treatment_averages", treatment=key, estimand="rmst_difference"):
        if row["estimator"] != "clone-censor-weight" and row["horizon_months"] == main["horizon_months"]:
            name, of = f"the {row['estimator']} average", WHO[row["population"]]
            fact = f"{sentence(row['estimator'])}, {of}, {outcome.unit}"
            found.append(Other(name, fact, outcome.gain(row), verdicts.direction(row["lower"], row["upper"]), of))
    return [o for o in found if o.where != "unknown"]


def _last(rows: Sequence[Row], horizon: float | None) -> list[Row]:
    return [r for r in rows if r["estimand"] == "survival_difference" and r["horizon_months"] == horizon]


def _ratio(row: Row, weighting: str) -> Other:
    """The hazard ratio; below 1 the treated do better."""
    name = "hazard ratio" if weighting == "none" else "weighted hazard ratio"
    turned: dict[Direction, Direction] = {"above": "below", "below": "above"}
    where = verdicts.direction(row["lower"], row["upper"], 1.0)
    return Other(f"the {name}", sentence(name), interval(row, 2), turned.get(where, where))


def _survival(inputs: ReportInputs, row: Row) -> Other:
    name, decimals, scale = inputs.settings.words.estimands["survival_difference"]
    at = inputs.settings.words.at(row["horizon_months"])
    said = f"{name.partition(',')[0]}{at}"
    text = interval(row, decimals, scale, sign=True)
    where = verdicts.direction(row["lower"], row["upper"])
    return Other(f"{said[:1].lower()}{said[1:]}", f"{said}, percentage points", text, where)


def doubted(inputs: ReportInputs, key: str, weighting: str, found: Verdict) -> Verdict:
    """The verdict with what speaks against reading it as an effect in its answer and badge.

    Parameters
    ----------
    inputs, key, weighting
        As of `disagreeing`.
    found
        The verdict by the average effect and its interval.
    """
    if found.tone == "unknown":
        return found
    control, apart = failed_control(inputs, key), _not_borne_out(inputs, key, weighting, found.tone)
    said, below, facts = "", "", list(found.facts[:1])
    if apart:
        side = _side(found.tone)
        facts += [(o.fact, o.text) for o in others(inputs, key, weighting) if o.where != side]
        said, below = "Not robust: other estimates of the same question do not bear it out.", f"{sentence(apart)}."
    if control is not None:
        name, long = readable(control["variant"]), "longer" if control["estimate"] > 0 else "less long"
        facts.append((f"Without {name}, months", interval(control, 1, sign=True)))
        said = (
            f"Not to be read as an effect: the treated go {long} without {name}, which the treatment is taken not to"
            " change."
        )
        below = f"Nor is it robust: {apart}." if apart else ""
    if not said:
        return found
    return replace(
        found,
        tone="fragile" if control is None else "confounded",
        answer=f"{said} {found.answer}",
        beside=f"{below} {found.beside}".strip(),
        facts=(*facts, *found.facts[1:]),
    )


def _not_borne_out(inputs: ReportInputs, key: str, weighting: str, tone: Tone) -> str:
    """Which other estimates leave no effect, or the opposite, possible; "" if none does."""
    if tone not in EFFECTS:
        return ""
    side, every = _side(tone), others(inputs, key, weighting)
    unclear = _names([o for o in every if o.where == "covers"])
    turned = _names([o for o in every if o.where not in ("covers", side)])
    said = [f"the opposite is seen by {join(turned)}"] if turned else []
    said += [f"{join(unclear)} {'do' if len(unclear) > 1 else 'does'} not exclude that there is no effect"] * bool(
        unclear
    )
    return "; ".join(said)


def _names(found: Sequence[Other]) -> list[str]:
    """Names of estimates, an estimator once with all its populations."""
    named: dict[str, list[str]] = {}
    for other in found:
        named.setdefault(other.name, []).extend([other.of] * bool(other.of))
    return [f"{name} ({'; '.join(of)})" if of else name for name, of in named.items()]


def _side(tone: Tone) -> Direction:
    return "above" if tone in ("yes", "longer", "likelier") else "below"


def failed_control(inputs: ReportInputs, key: str) -> Row | None:
    """The negative control whose interval excludes no difference, if there is one."""
    row = inputs.row("treatment_robustness", treatment=key, check="negative control", estimand="rmst_difference")
    if row is None or verdicts.direction(row["lower"], row["upper"]) not in ("above", "below"):
        return None
    return row


def bias(inputs: ReportInputs, key: str, weighting: str) -> str:
    """Which way what the negative control shows would move the effect, or ""."""
    row = failed_control(inputs, key)
    if row is None:
        return ""
    flatters = row["estimate"] > 0
    main = inputs.row("treatment_effects", treatment=key, subgroup=0, weighting=weighting, estimand="rmst_difference")
    where = verdicts.direction(main["lower"], main["upper"]) if main else "unknown"
    if where not in ("above", "below"):
        then = f"so that it may hide {'harm' if flatters else 'a gain'}"
    elif (where == "above") == flatters:
        then = "which is what is seen: all of it, or a part, may be due to that"
    else:
        then = "the opposite of what is seen: it does not explain that, and may hide a part of it"
    name, way = readable(row["variant"]), "flatters the treatment" if flatters else "makes the treatment look worse"
    return (
        f"Probably confounded: treated patients go {'longer' if flatters else 'less long'} without {name}"
        f" ({_apart(row)} months over {months(row['horizon_months'])} months). If what lies behind that acts on"
        f" {inputs.settings.words.outcome}, too, it {way}, {then}."
    )


def _apart(row: Row) -> str:
    """An estimate with its interval, to stand within brackets."""
    return interval(row, 1, sign=True).replace(" (", ", ").removesuffix(")")


def early(inputs: ReportInputs, key: str, weighting: str) -> str:
    """That survival differs at an earlier horizon and not clearly at the last, or ""."""
    if not inputs.settings.words.timed:
        return ""
    rows = inputs.rows(
        "treatment_effects", treatment=key, subgroup=0, weighting=weighting, estimand="survival_difference"
    )
    rows = sorted((r for r in rows if r["estimate"] is not None), key=lambda r: r["horizon_months"])
    where = [verdicts.direction(r["lower"], r["upper"]) for r in rows]
    clear = [r for r, side in zip(rows[:-1], where, strict=False) if side in ("above", "below")]
    if not clear or where[-1] != "covers":
        return ""
    first, last = (
        f"{interval(r, 1, 100.0, sign=True)} percentage points at {months(r['horizon_months'])} months"
        for r in (clear[-1], rows[-1])
    )
    return f"The difference is an early one: {first}, no longer clear later, {last}."


def borne_out(inputs: ReportInputs, key: str, weighting: str, found: Verdict) -> list[Note]:
    """What every other estimate says, beneath the answer in its section; nothing where there is none to compare."""
    every = others(inputs, key, weighting)
    if not every or found.tone not in (*EFFECTS, "fragile", "confounded"):
        return []
    told = "; ".join(f"{o.name}{f' ({o.of})' if o.of else ''} {o.text}" for o in every)
    holds = [o for o in every if o.where == "covers"]
    beside = (
        " An interval that includes no effect (0, or a ratio of 1) does not contradict the answer, but leaves it to one"
        " way of counting."
        if holds
        else ""
    )
    return [Note(f"The same question by other estimates: {told}.{beside}")]


def changes(inputs: ReportInputs, key: str, weighting: str, found: Verdict) -> str:
    """What would change the answer, by the numbers that it rests on; "" where there is none."""
    control, outcome = failed_control(inputs, key), inputs.settings.words
    if found.tone == "unknown":
        return ""
    if found.tone == "confounded" and control is not None:
        return (
            f"more confounders made treated and untreated alike in {readable(control['variant'])}, too (now"
            f" {_apart(control)} months apart)"
        )
    main = inputs.row("treatment_effects", treatment=key, subgroup=0, weighting=weighting, estimand="rmst_difference")
    if main is None or main["lower"] is None:
        return ""
    if found.tone == "fragile":
        side = verdicts.direction(main["lower"], main["upper"])
        first, *rest = [o for o in others(inputs, key, weighting) if o.where != side]
        now = first.text.replace(" (", ", ").removesuffix(")")
        return f"{first.name} (now {now}){' and the others named above' if rest else ''} excluded no effect, too"
    if found.tone == "no":
        return (
            f"more patients narrowed the interval to one side of no effect; now anything from"
            f" {number(main['lower'] * outcome.scale, 1, sign=True)} to"
            f" {number(main['upper'] * outcome.scale, 1, sign=True)} {outcome.unit} is possible"
        )
    if found.tone not in EFFECTS:
        return ""
    near = min((main["lower"], main["upper"]), key=abs)
    size = f"{number(abs(near) * outcome.scale, 1)} {outcome.unit}"
    said = f"a bias of {size} were found, which would take the interval to no effect"
    row = inputs.row("treatment_sensitivity", treatment=key) if outcome.timed else None
    if row is not None and row["e_value_limit"] > 1:
        said += (
            f"; for the hazard ratio, an unmeasured confounder with risk ratios of {number(row['e_value_limit'])} would"
            " do (E-value)"
        )
    return said
