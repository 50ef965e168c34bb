"""Section on treatment: the target trial, who was compared, how well, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stratiome.config import TreatmentConfig
from stratiome.report import charts, explore, figures, verdicts, words
from stratiome.report.blocks import Figure, Finding, Fold, Heading, Items, Note, Panels, Section, Table, Text, numbered
from stratiome.report.disclosure import beside, count, is_small, part
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_cohort import flow_table
from stratiome.report.section_records import early_ratio
from stratiome.report.section_subgroups import group_name, reproducible
from stratiome.report.section_treatment_differences import differences, differs_with
from stratiome.report.section_treatment_doubts import WHO, bias, borne_out, changes, doubted, early
from stratiome.report.section_treatment_policy import arm_shares, policy, profiles, subgroup_curves
from stratiome.report.section_treatment_robustness import robustness, sensitive
from stratiome.report.section_treatment_sites import sites
from stratiome.report.section_treatment_withheld import disagreement, withheld
from stratiome.report.titles import beneath
from stratiome.report.verdicts import Verdict
from stratiome.report.words import interval, label, months, number, p_cell, p_value, readable, reason, term

Row = Mapping[str, Any]


def estimand_name(inputs: ReportInputs, estimand: str) -> str:
    """What is compared, in the words of the endpoint."""
    return inputs.settings.words.estimands[estimand][0]


def name_of(key: str, treatment: TreatmentConfig) -> str:
    """Name of a treatment in sentences."""
    return words.inside(treatment.label or label(key))


def headline(treatment: TreatmentConfig) -> str:
    """Weighting of the headline: none where assignment was by chance."""
    return "none" if treatment.design == "randomised" else "overlap"


def verdict(inputs: ReportInputs, key: str) -> Verdict:
    """Who benefits from one treatment?"""
    treatment = inputs.settings.treatments[key]
    rows = inputs.rows("treatment_effects", treatment=key, estimand="rmst_difference", weighting=headline(treatment))
    overall = next((r for r in rows if r["subgroup"] == 0), None)
    tests = inputs.rows("treatment_interaction", treatment=key, estimand="rmst_difference")
    found = verdicts.treatment(
        name_of(key, treatment),
        overall,
        sorted((r for r in rows if r["subgroup"] > 0), key=lambda r: r["subgroup"]),
        tests[0] if tests else None,
        treatment.design == "randomised",
        inputs.settings.alpha,
        reproducible(inputs),
        inputs.settings.words,
        f"{treatment.compared} minus {treatment.control}",
    )
    found = replace(found, facts=(*found.facts, *_between(inputs, key)))
    weighting = headline(treatment)
    found = doubted(inputs, key, weighting, withheld(inputs, key, weighting, found))
    said = [
        found.caveat,
        bias(inputs, key, weighting),
        sensitive(inputs, key),
        early(inputs, key, weighting),
        *([_immortal(treatment), early_ratio(inputs, key)] if inputs.settings.words.timed else []),
        _corrected(overall),
    ]
    return replace(
        found,
        caveat=" ".join(s for s in said if s),
        changes=changes(inputs, key, weighting, found),
        more=_further(inputs, key) if overall is not None else (),
    )


def _further(inputs: ReportInputs, key: str) -> tuple[tuple[str, str], ...]:
    """Links of the answer beside that to its section."""
    wrong = (f"treatment-assumptions-{key}", "What could be wrong")
    asked = {"estimand": "rmst_difference", "weighting": headline(inputs.settings.treatments[key])}
    by_subgroup = any(r["subgroup"] > 0 for r in inputs.rows("treatment_effects", treatment=key, **asked))
    return ((f"treatment-subgroups-{key}", "By subgroup"), wrong) if by_subgroup else (wrong,)


def _between(inputs: ReportInputs, key: str) -> list[tuple[str, str]]:
    """The fact whether the effect differs between patients, by the tests on held-out ones; none where none was made."""
    tests = inputs.rows("treatment_difference_tests", treatment=key)
    if all(r["p_value"] is None for r in tests):
        return []
    said = differs_with(inputs, tests)
    return [("Differs between patients?", f"with {words.join(said)}" if said else "no evidence that it does")]


def _immortal(treatment: TreatmentConfig) -> str:
    """What has to be said of starts of treatment beside the answer."""
    if treatment.design == "randomised" or treatment.starts is not None:
        return ""
    if treatment.start is not None:
        return f"Of patients who were still followed {landmark(treatment)} after time zero."
    return (
        "When treatment started is not known: patients may have had to live to be treated (immortal-time bias cannot be"
        " excluded)."
    )


def landmark(treatment: TreatmentConfig) -> str:
    """The landmark with its unit, as `90 days`."""
    return f"{treatment.landmark:g} {treatment.unit or 'months'}"


def _corrected(overall: Row | None) -> str:
    """The p-value corrected for the number of arms that are compared with the same reference."""
    if overall is None or overall.get("p_holm") is None:
        return ""
    p = p_value(overall["p_holm"])
    return f"Corrected for the number of arms that are compared with the same reference (Holm): {p}."


def _arms(treatment: TreatmentConfig) -> list[object]:
    """Which arms are called treated and untreated in tables and figures."""
    if not treatment.arms:
        return []
    return [
        Text(f"“Treated” stands for {treatment.compared}, “untreated” for the reference, {treatment.control}, below.")
    ]


def treatment(inputs: ReportInputs) -> Section:
    """The whole section; says so if no treatment is configured."""
    if not inputs.settings.treatments:
        lede = "No treatment is given in the config, so no effect was estimated."
        return Section("treatment", "Treatment", lede, [])
    lede = "Each comparison imitates a trial that could have been run. What the data cannot imitate is said."
    blocks: list[object] = []
    for key, settings in inputs.settings.treatments.items():
        own: list[object] = [
            Finding(verdict(inputs, key)),
            *_arms(settings),
            *_trial(inputs, key),
            *_compared(inputs, key, settings),
            *_curves(inputs, key, settings),
        ]
        own += [
            *_effects(inputs, key),
            *differences(inputs, key),
            *_subgroups(inputs, key, settings),
            *subgroup_curves(inputs, key, headline(settings)),
            *policy(inputs, key),
            *profiles(inputs, key),
            *robustness(inputs, key, headline(settings)),
            *sites(inputs, key),
            *_assumptions(inputs, key, settings),
        ]
        heading = Heading(words.sentence(name_of(key, settings)), place(inputs, key))
        blocks += beneath(heading, own) if several(inputs) else own
    return Section("treatment", "Treatment", lede, blocks)


def several(inputs: ReportInputs) -> bool:
    """Whether each treatment has a heading of its own."""
    return len(inputs.settings.treatments) > 1


def place(inputs: ReportInputs, key: str) -> str:
    """Anchor of what the page says of a treatment."""
    return f"treatment-{key}" if several(inputs) else "treatment"


def _trial(inputs: ReportInputs, key: str) -> list[object]:
    rows = inputs.rows("treatment_trial", treatment=key)
    heading = Heading("The trial that is imitated: target trial emulation", f"treatment-trial-{key}")
    if not rows:
        return [heading, Note("No target trial is stated, so what follows is association only.", "care")]
    # There is nothing to follow without time: the component is the assessment.
    shown = {} if inputs.settings.words.timed else {"follow-up": "Assessment"}
    body = [
        [words.sentence(shown.get(name, label(name))), _named(inputs, key, r["target"]), readable(r["emulation"])]
        for r in rows
        for name in [r["component"]]
    ]
    return [
        heading,
        Table("Target trial, and how the data imitate it.", ["Component", "Target trial", "In these data"], body),
    ]


def _named(inputs: ReportInputs, key: str, text: str) -> str:
    """Words of the target trial, with the name of the treatment as it stands within a sentence."""
    name = inputs.settings.treatments[key].label or label(key)
    return readable(text).replace(f"no {name}", f"no {words.inside(name)}")


def _compared(inputs: ReportInputs, key: str, settings: TreatmentConfig) -> list[object]:
    blocks: list[object] = []
    least = inputs.settings.min_cell
    flow = [r for r in inputs.rows("treatment_flow") if key in r["scope"]] or (
        inputs.rows("treatment_flow") if len(inputs.settings.treatments) == 1 else []
    )
    if flow:
        blocks.append(flow_table(flow, least, "Patients from the cohort to the comparison."))
    bins = inputs.rows("treatment_overlap", treatment=key)
    if bins:
        arms = [sum(r["n"] for r in bins if r["arm"] == a) for a in (0, 1)]
        told = (
            f"Histogram of the probability of treatment: {count(arms[1], least)} treated upward,"
            f" {count(arms[0], least)} untreated downward."
        )
        drawing = charts.propensity_overlap(bins, f"overlap-{key}", told, least, ("untreated ↓", "treated ↑"))
        small = (
            f" Pale bins hold fewer than {least} patients and are drawn at one fixed height."
            if any(is_small(r["n"], least) for r in bins)
            else ""
        )
        blocks.append(
            Figure(
                drawing,
                "Overlap of propensity scores (who could have had either)",
                f"n = {count(arms[1], least)} treated (up), {count(arms[0], least)} untreated (down), shares of each"
                f" arm; all eligible, not held out.{small} Where only one side has patients, nothing can be compared.",
                820,
                f"overlap-{key}",
            )
        )
    balance = inputs.rows("treatment_balance", treatment=key, subgroup=0)
    if balance:
        worst = max(abs(r["weighted"]) for r in balance)
        told = f"Standardised differences of {len(balance)} confounders; the largest after weighting is {_tiny(worst)}."
        drawing = charts.love(balance, f"love-{key}", told)
        how = (
            "overlap weights, which balance these means exactly by construction"
            if settings.design == "observational"
            else "overlap weights, beside the randomised comparison"
        )
        blocks.append(
            Figure(
                drawing,
                "Balance of the measured confounders",
                f"{_size(inputs, key)}Before (hollow) and after weighting (filled); {how}. The dashed line marks 0.1."
                f" Largest difference after weighting: {_tiny(worst)}. Balance of what was measured says nothing of"
                " what was not.",
                820,
                f"balance-{key}",
            )
        )
        if settings.design == "observational":
            blocks += _population(inputs, key, balance)
    return [Heading("Who was compared: overlap and balance", f"treatment-who-{key}"), *blocks] if blocks else []


OUTSIDE = 0.1
"""Share of an arm with a propensity outside 0.05 to 0.95 from which it is warned of."""


def _population(inputs: ReportInputs, key: str, balance: Sequence[Row]) -> list[object]:
    """Who those are whom overlap weights speak of, and whether many could hardly have had the other treatment."""
    blocks: list[object] = []
    bins = inputs.rows("treatment_overlap", treatment=key)
    far = []
    for arm, who in ((1, "treated"), (0, "untreated")):
        own = [r for r in bins if r["arm"] == arm]
        n = sum(r["n"] for r in own)
        away = sum(r["n"] for r in own if r["bin_upper"] <= 0.05 or r["bin_lower"] >= 0.95)
        if n and away / n >= OUTSIDE:
            far.append(f"{100 * away / n:.0f} % of the {who}")
    if far:
        blocks.append(
            Note(
                f"About {words.join(far)} have a propensity below 0.05 or above 0.95: patients like them hardly ever"
                " got the other. What follows says little of them.",
                "care",
            )
        )
    whole = inputs.row("treatment_effects", treatment=key, subgroup=0, weighting="none", estimand="rmst_difference")
    n, least = whole["n"] if whole else 0, inputs.settings.min_cell
    body = []
    for r in balance:
        if r["kind"] is None:
            continue
        if r["kind"] == "share":
            few = min(r["of_all"], 1.0 - r["of_all"]) * n < least  # a rounded share would tell the few
            cells = ["few", "–"] if few else [_share(r[k], inputs.public) for k in ("of_all", "of_overlap")]
        else:
            cells = [number(r[k], 1) for k in ("of_all", "of_overlap")]
        body.append([words.sentence(term(r["covariate"])), *cells])
    if body:
        blocks.append(
            Table(
                "Who the weighted comparison is about: means and shares, all eligible and overlap population.",
                ["Confounder", "All eligible", "Overlap population"],
                body,
                frozenset({1, 2}),
            )
        )
    return blocks


def _share(value: float, public: bool) -> str:
    """A share in whole per cent; to the nearest 5 % in a page to share, where it would tell the number of patients."""
    return f"≈{min(95, max(5, 5 * round(20 * value)))} %" if public else f"{100 * value:.0f} %"


def _tiny(value: float) -> str:
    return number(value, 3) if value >= 0.0005 else "less than 0.0005"


def _curves(inputs: ReportInputs, key: str, settings: TreatmentConfig) -> list[object]:
    rows = inputs.rows("treatment_curves", treatment=key, subgroup=0)
    if not rows:
        return []
    panels, opened = [], []
    horizon, outcome = inputs.settings.endpoint.horizons_months[-1], inputs.settings.words
    for weighting, title in (
        ("none", "As observed" if settings.design == "observational" else "As randomised"),
        ("overlap", "Weighted to be alike"),
    ):
        groups = [
            (
                name,
                arm + 1,
                sorted(
                    (r for r in rows if r["weighting"] == weighting and r["arm"] == arm), key=lambda r: r["time_months"]
                ),
            )
            for arm, name in ((0, "Untreated"), (1, "Treated"))
        ]
        if any(g[2] for g in groups) and outcome.timed:
            told = f"{title}. {figures.describe_curves(groups, horizon)}"
            slug, least = f"km-{key}-{weighting}", inputs.settings.min_cell
            panels.append((title, figures.curves(groups, slug, told, least, 440, 230)))
            what = f"survival by arm of {words.within(key)}, {title[0].lower()}{title[1:]}"
            opened.append(explore.steps(groups, slug, what, "Survival", least, inputs.public))
        elif any(g[2] for g in groups):
            panels.append((title, arm_shares(groups, f"shares-{key}-{weighting}", title, inputs.settings.min_cell)))
    caption = (
        f"{_size(inputs, key)}Kaplan–Meier curves with pointwise {inputs.settings.level} bands, all eligible patients,"
        f" not held out; numbers at risk are not weighted. A curve ends where fewer than {inputs.settings.min_cell} are"
        " at risk."
    )
    if not outcome.timed:
        caption = (
            f"{_size(inputs, key)}Share of the patients of each arm with a response, with {inputs.settings.level}"
            " interval, all eligible patients, not held out. An arm in which fewer than"
            f" {inputs.settings.min_cell} have a response, or have none, is not drawn."
        )
    caption += inputs.steps
    if settings.start is not None:
        caption += f" Months count from the landmark, {landmark(settings)} after time zero."
    if settings.design == "observational":
        caption += (
            " As observed, the arms differ in more than the treatment; compare the weighted"
            f" {outcome.say('curves', 'shares')}."
        )
    name = words.sentence(outcome.survival)
    return [
        Heading(f"{name} in both arms", f"treatment-arms-{key}"),
        Panels(f"{name} by arm", panels, caption, 430, f"arms-{key}", opened),
    ]


def _size(inputs: ReportInputs, key: str) -> str:
    row = inputs.row("treatment_effects", treatment=key, subgroup=0)
    least = inputs.settings.min_cell
    return f"n = {count(row['n'], least)}, {count(row['events'], least)} events. " if row else ""


def _effects(inputs: ReportInputs, key: str) -> list[object]:
    rows = inputs.rows("treatment_effects", treatment=key, subgroup=0)
    if not rows:
        return []
    if not any(r["estimate"] is not None for r in rows):
        reasons = list(dict.fromkeys(reason(r) for r in rows))
        return [Heading("Average effect", f"treatment-effect-{key}"), *(Note(f"Not estimable: {t}.") for t in reasons)]
    body = []
    outcome = inputs.settings.words
    known = outcome.estimands
    places = dict.fromkeys((r["estimand"], r["horizon_months"]) for e in known for r in rows if r["estimand"] == e)
    for estimand, horizon in places:
        name, decimals, scale = known[estimand]
        cells = {r["weighting"]: r for r in rows if (r["estimand"], r["horizon_months"]) == (estimand, horizon)}
        at = "" if horizon is None else (outcome.over if estimand == "rmst_difference" else outcome.at)(horizon)
        text = [
            interval(cells[w], decimals, scale, sign=estimand != "hazard_ratio") if w in cells else "–"
            for w in ("none", "overlap")
        ]
        body.append([name + at, *text, p_cell(cells["overlap"]["p_value"]) if "overlap" in cells else "–"])
    overall = rows[0]
    least = inputs.settings.min_cell
    weighted = next((r for r in rows if r["weighting"] == "overlap" and r["effective_n"] is not None), None)
    effective = f" Effective sample size after weighting: {weighted['effective_n']:,.0f}." if weighted else ""
    note = (
        f"Treated minus untreated ({inputs.settings.level} interval); above zero, {outcome.better}. n ="
        f" {count(overall['n'], least)}, {part(overall['n_treated'], overall['n'], least)} treated,"
        f" {count(overall['events'], least)} events; not held out, as nothing but the weights is"
        f" learned.{effective}{_cut(inputs, key, 0, [h for _, h in places])}"
    )
    note += outcome.say(" Hazard ratios come second: they are not collapsible and need proportional hazards.", NO_RATIO)
    main = next((r for r in rows if r["weighting"] == headline(inputs.settings.treatments[key])), overall)
    if main["p_holm"] is not None:
        note += f" These p-values are not corrected for the number of arms. {_corrected(main)}"
    table = Table(
        "Average effect, before and after weighting.",
        ["Difference", "As observed", "Weighted", "Weighted, p"],
        body,
        frozenset({1, 2, 3}),
        note,
    )
    marks, notes = numbered([words.sentence(readable(_of_whom(r))) for r in rows])
    methods = Table(
        "Methods; numbers in the last column are those of the methods below.",
        ["Estimate", "Months", "Weighting", "Method"],
        [
            [
                estimand_name(inputs, r["estimand"]),
                "–" if r["horizon_months"] is None else months(r["horizon_months"]),
                w,
                mark,
            ]
            for r, mark in zip(rows, marks, strict=True)
            for w in [r["weighting"]]
        ],
        frozenset({1, 3}),
        notes=notes,
    )
    reasons = list(dict.fromkeys(reason(r) for r in rows if r["estimate"] is None))
    return [
        Heading("Average effect", f"treatment-effect-{key}"),
        table,
        *(Note(f"Not estimable: {t}.") for t in reasons),
        *_averages(inputs, key),
        Fold("Methods of each estimate", [outcome.untimed(methods)]),
    ]


def _of_whom(row: Row) -> str:
    """Method of an estimate; overlap weights average over the overlap population, not over all eligible patients."""
    method = str(row["method"])
    if row["weighting"] != "overlap":
        return method
    return method.replace("average effect in all eligible patients", "average effect in the overlap population")


def _averages(inputs: ReportInputs, key: str) -> list[object]:
    """The average effect by other estimators and in other populations, and whether they agree."""
    rows = inputs.rows("treatment_averages", treatment=key)
    if not rows:
        return []
    if not any(r["estimate"] is not None for r in rows):
        why = dict.fromkeys(reason(r) for r in rows)
        return [Note(f"No doubly robust estimate, nor one with inverse probability weights: {t}.") for t in why]
    least, outcome = inputs.settings.min_cell, inputs.settings.words
    known = outcome.estimands
    places = list(dict.fromkeys((r["estimand"], r["horizon_months"]) for r in rows))
    kinds = list(dict.fromkeys((r["estimator"], r["population"]) for r in rows))
    whole = max(rows, key=lambda r: r["n"])
    body = []
    for estimator, population in kinds:
        own = {
            (r["estimand"], r["horizon_months"]): r
            for r in rows
            if (r["estimator"], r["population"]) == (estimator, population)
        }
        first = own[places[0]]
        cells = [
            interval(own[p], known[p[0]][1], known[p[0]][2], sign=True)
            if own[p]["estimate"] is not None
            else "not estimable"
            for p in places
        ]
        # Few patients outside the trimmed population would be told by the difference to all.
        treated = part(first["n_treated"], whole["n_treated"], least)
        size = f"{part(first['n'], whole['n'], least)} / {treated}"
        body.append([words.sentence(estimator), WHO[population], size, *cells])
    head = ["Estimator", "Averaged over", "n / treated"]
    head += [outcome.gained_at(e, h) for e, h in places]
    apart = (
        " Clone-censor-weight counts months from time zero, all others from the landmark."
        if any(r["estimator"] == "clone-censor-weight" for r in rows)
        else ""
    )
    marks, notes = numbered([words.sentence(readable(r["method"])) for r in rows if r["estimand"] == places[0][0]])
    if len(marks) == len(body):
        head.append("Method")
        body = [[*line, mark] for line, mark in zip(body, marks, strict=True)]
    note = (
        f"A doubly robust estimate is right if the model of {outcome.survival} is, or if"
        f" {outcome.say('those of treatment and of censoring are', 'that of treatment is')};"
        f" the weighted {outcome.say('curves', 'shares')} need the model of treatment."
        " Averages over other patients are other numbers, not errors,"
        f" where the effect differs between patients.{apart}"
        + (" Numbers in the last column are those of the methods below." if len(marks) == len(body) else "")
    )
    table = Table(
        "Average effect by other estimators, in other populations.",
        head,
        body,
        frozenset(range(2, len(head))),
        note,
        notes=notes,
    )
    weighting = headline(inputs.settings.treatments[key])
    return [*disagreement(inputs, key, weighting), *borne_out(inputs, key, weighting, verdict(inputs, key)), table]


def _cut(inputs: ReportInputs, key: str, subgroup: int, horizons: Sequence[float | None]) -> str:
    """At which horizons an arm has few at risk, so that its curve ends before."""
    least = inputs.settings.min_cell
    rows = inputs.rows("treatment_curves", treatment=key, subgroup=subgroup, weighting="none")
    arms = [sorted((r for r in rows if r["arm"] == a), key=lambda r: r["time_months"]) for a in (0, 1)]
    few = [
        months(h)
        for h in dict.fromkeys(horizons)
        if h is not None and any((n := figures.risk_at(arm, h)) is not None and n < least for arm in arms if arm)
    ]
    if few and not inputs.settings.words.timed:
        return f" Fewer than {least} of an arm have a response: read with care."
    return f" Fewer than {least} of an arm are at risk at {words.join(few)} months: read with care." if few else ""


def _subgroups(inputs: ReportInputs, key: str, settings: TreatmentConfig) -> list[object]:
    weighting = headline(settings)
    rows = sorted(
        inputs.rows("treatment_effects", treatment=key, estimand="rmst_difference", weighting=weighting),
        key=lambda r: r["subgroup"],
    )
    if not any(r["subgroup"] > 0 for r in rows):
        why = "There are no subgroups" if (inputs.found() or 1) < 2 else "No subgroup was assigned to held-out patients"
        return [Note(f"{why}, so the effect is reported on average only.")]
    lines, body = [], []
    least, outcome = inputs.settings.min_cell, inputs.settings.words
    for r in rows:
        name = group_name(r["subgroup"]) if r["subgroup"] else "All eligible"
        text = outcome.gain(r)
        lines.append(charts.Line(name, *outcome.ends(r), text, r["subgroup"], row=r))
        small = is_small(r["n_treated"], 2 * least) or is_small(r["n"] - r["n_treated"], 2 * least)
        remark = "small: read with care" if small else _cut(inputs, key, r["subgroup"], [r["horizon_months"]]).strip()
        if r["estimate"] is None:
            remark = f"not estimable: {reason(r)}"
        with beside([*inputs.wholes, *inputs.of_subgroups.get(r["subgroup"], ())]):
            size, failed = count(r["n"], least), count(r["events"], least)
        body.append(
            [
                name,
                f"{size} / {part(r['n_treated'], r['n'], least)}",
                failed,
                text,
                p_cell(r["p_value"]),
                p_cell(r["p_holm"]),
                remark,
            ]
        )
    told = "; ".join(f"{i.name} {i.text}" for i in lines)
    horizon = next((r["horizon_months"] for r in rows if r["horizon_months"] is not None), None)
    gain = estimand_name(inputs, "rmst_difference")
    drawing = charts.forest(
        lines,
        f"forest-{key}",
        f"{gain}, difference: {told}.",
        f"{gain.removesuffix(f', {outcome.unit}')}, difference{outcome.over(horizon)}, {outcome.unit}",
        outcome.sides,
    )
    test = inputs.row("treatment_interaction", treatment=key, estimand="rmst_difference")
    analysed = [r for r in rows if r["subgroup"] > 0]
    caption = (
        f"n = {count(sum(r['n'] for r in analysed), least)}, {count(sum(r['events'] for r in analysed), least)} events"
        f" in subgroups that were assigned to patients held out; difference with {inputs.settings.level} interval,"
        f" {'weighted within each subgroup' if weighting == 'overlap' else 'as randomised'}. Without a"
        " difference between subgroups, the average is the best estimate for all."
    )
    table = Table(
        "Effect in each held-out subgroup, with tests.",
        ["Patients", "n / treated", "Events", outcome.gained, "p", "p, Holm", "Remark"],
        body,
        frozenset({1, 2, 3, 4, 5}),
    )
    warning = Note(
        "These subgroups do not come back when the model is refitted, so differences between them describe this"
        " analysis and are no basis for treating anybody.",
        "care",
    )
    return [
        Heading("Does the effect differ between subgroups? Interaction", f"treatment-subgroups-{key}"),
        Text(_same(inputs, test)),
        *([] if reproducible(inputs) else [warning]),
        Figure(drawing, "Effect in each subgroup", caption, 820, f"subgroups-{key}"),
        table,
    ]


def _same(inputs: ReportInputs, test: Row | None) -> str:
    """The test that the effect is the same in all subgroups, and whether anything is concluded from it."""
    if test is None or test["p_value"] is None:
        why = f": {readable(test['method'])}" if test else ""
        return f"No conclusion is drawn by subgroup, as it was not tested that the effect is the same in all{why}."
    how = f"test that the effect is the same in all subgroups: {p_value(test['p_value'])}; {readable(test['method'])}"
    if not reproducible(inputs):
        return f"No conclusion is drawn by subgroup, since the subgroups do not come back ({how})."
    if test["p_value"] < inputs.settings.alpha:
        return f"The effect differs between subgroups ({how})."
    return f"No conclusion is drawn by subgroup, as there is no evidence that the effect differs ({how})."


def _unmeasured(inputs: ReportInputs, key: str) -> str:
    """How strong a confounder that nobody measured would have to be."""
    row = inputs.row("treatment_sensitivity", treatment=key)
    if not inputs.settings.words.timed:
        return " How strong such a cause would have to be (E-value) is worked out for outcomes with time only."
    if row is None:
        return ""
    ratio = number(row["hazard_ratio"])
    if row["e_value_limit"] <= 1:
        return (
            f" The interval of the weighted hazard ratio of {ratio} includes 1, so no such cause is needed to explain"
            f" that ratio (E-value of the interval: 1; of the ratio itself: {number(row['e_value'])}). A difference in"
            " months, as that of the answer, has no E-value: how strong such a cause would have to be for it is not"
            " known."
        )
    return (
        f" To explain the weighted hazard ratio of {ratio} away, it would have to go with both by"
        f" a risk ratio of {number(row['e_value'])} each, beside all that were measured (E-value);"
        f" {number(row['e_value_limit'])} would do for the interval to include 1. It is of the hazard ratio, since"
        " there is no E-value of a difference in months."
    )


def _time_zero(settings: TreatmentConfig) -> str:
    """What may be wrong with time zero, by what is known of starts of treatment."""
    if settings.start is not None:
        return (
            f"Time zero: treatment started at different times, so patients were compared from the landmark,"
            f" {landmark(settings)} after time zero, by whether they had started by then; this says nothing of patients"
            " who died before. Those who started later count as untreated, which draws the arms together. Copies of"
            " patients with weights (clone-censor-weight) start at time zero, and need that the confounders tell who"
            " starts when."
        )
    if settings.starts == "at time zero":
        return (
            "Time zero: the config says that treatment started then. If some started later, patients had to survive to"
            " be treated (immortal time), which flatters the treatment."
        )
    return (
        "Time zero: start times are not known. If treatment started later than follow-up, patients had to survive to be"
        " treated, which flatters the treatment: immortal-time bias cannot be excluded."
    )


def _testable(inputs: ReportInputs, key: str) -> str:
    """Which of the assumptions the data speak to at all."""
    said = "The data cannot show that any of these holds. Positivity can be looked at in part: see who was compared."
    if inputs.row("treatment_robustness", treatment=key, check="negative control") is None:
        return f"{said} No negative control was named, which could have contradicted the first."
    return f"{said} The negative control can contradict the first, and never confirm it."


NO_RATIO = " The outcome has no time, so no ratio of rates is given beside the difference."
"""What is said in the place of the remark on hazard ratios."""
UNASSESSED = (
    "Missing responses: patients who were not assessed are left out, as if who was assessed had nothing to do with the"
    " response within each arm. Who stops treatment or gets worse may never be assessed."
)
"""What is assumed of the patients whose response is not known."""


def _assumptions(inputs: ReportInputs, key: str, settings: TreatmentConfig) -> list[object]:
    heading, outcome = (
        Heading("What could be wrong: assumptions", f"treatment-assumptions-{key}"),
        inputs.settings.words,
    )
    censoring = outcome.say("Censoring is taken to be unrelated to prognosis within each arm.", UNASSESSED)
    if settings.design == "randomised":
        return [
            heading,
            Items(
                [
                    censoring,
                    "Subgroups were not strata of the randomisation: chance imbalance within them is possible.",
                    "Analysis is by assignment; what was actually taken is not considered.",
                ]
            ),
        ]
    names = words.join([label(c) for c in settings.confounders])
    return [
        heading,
        Text(_testable(inputs, key)),
        Items(
            [
                (
                    f"No unmeasured confounding: given {names}, treatment is as good as random. A cause of both"
                    f" treatment and {outcome.survival} that is not listed biases the result.{_unmeasured(inputs, key)}"
                ),
                *([_time_zero(settings)] if outcome.timed else []),
                (
                    "Positivity: every kind of patient had a chance of either. Overlap weights answer for those in"
                    " between; patients who always or never get the treatment count little."
                ),
                censoring,
                "One version of the treatment: doses and schedules are averaged over as they came.",
            ]
        ),
    ]
