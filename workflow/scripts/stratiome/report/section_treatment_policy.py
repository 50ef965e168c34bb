"""Parts of the section on treatment: whom to treat, curves by subgroup, and patients like a profile of the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.numbers import rounded
from stratiome.report import charts, explore, figures, words
from stratiome.report.blocks import Cell, Figure, Fold, Heading, Note, Panels, Table, Text
from stratiome.report.disclosure import count, counts, part, share
from stratiome.report.inputs import ReportInputs
from stratiome.report.outcome_words import OutcomeWords
from stratiome.report.section_treatment_differences import alike
from stratiome.report.words import interval, join, label, level, number, p_cell, p_value, readable, reason, term

Row = Mapping[str, Any]
RULES = {"tree": "decision tree", "threshold": "threshold of the predicted effect"}
AGAINST = {"none": "Than treating nobody", "all": "Than treating everybody", "practice": "Than what was done"}


NO_THRESHOLD = (
    "No threshold of the predicted effect is printed: the combination of all learners gives every patient of a fold the"
    " same effect, so that no limit tells patients apart. What was judged above took the effect that the models of each"
    " arm predict."
)
"""Said in place of a threshold where predicted effects have no spread."""


def policy(inputs: ReportInputs, key: str) -> list[object]:
    """Whether a rule whom to treat is worth more than the same answer for all, and how it reads.

    Parameters
    ----------
    inputs
        The results.
    key
        Key of the treatment.
    """
    rows = inputs.rows("treatment_policy", treatment=key)
    heading = Heading("Whom to treat? Treatment rules", f"treatment-policy-{key}")
    if not rows:
        if inputs.rows("treatment_differences", treatment=key):
            return [heading, Note("No rule was learned: too few training patients could have had either.")]
        return []
    lede = (
        "In each split, rules were learned from the training patients and judged on those held out. A rule is"
        " recommended only if it gains over treating everybody and over treating nobody. None may be."
    )
    return [heading, Text(lede), _verdict(inputs, key, rows), _forest(inputs, key, rows), *_trees(inputs, key, rows)]


def _verdict(inputs: ReportInputs, key: str, rows: Sequence[Row]) -> Note:
    chosen = list(dict.fromkeys(r["rule"] for r in rows if r["recommended"]))
    observational = inputs.settings.treatments[key].design == "observational"
    care = " As an association: right only as far as the measured confounders suffice." if observational else ""
    if not chosen:
        return Note(
            "No rule is recommended: on patients who had no part in it, none is shown to gain over the better of"
            " treating everybody and treating nobody. If the average effect above is clear, it is the answer for all."
        )
    said, outcome = [], inputs.settings.words
    for rule in chosen:
        own = {r["against"]: r for r in rows if r["rule"] == rule}
        said.append(
            f"the {RULES[rule]} gains {outcome.gain(own['all'])} {outcome.unit} per patient over treating"
            f" everybody and {outcome.gain(own['none'])} over treating nobody"
            f" ({p_value(own['all']['p_holm'])} for both,"
            " corrected for the number of rules)"
        )
    return Note(f"On patients who had no part in it, {join(said)}.{care}")


def _forest(inputs: ReportInputs, key: str, rows: Sequence[Row]) -> Figure:
    least, lines, treated = inputs.settings.min_cell, [], []
    outcome = inputs.settings.words
    for rule in dict.fromkeys(r["rule"] for r in rows):
        own = [r for r in rows if r["rule"] == rule]
        treated.append(f"the {RULES[rule]} treats {share(own[0]['n_treat'], own[0]['n'], least)}")
        lines.append(charts.Line(words.sentence(RULES[rule]), heading=True))
        for r in own:
            text = outcome.gain(r)
            if r["estimate"] is None:
                text = "too few differ"
            elif r["lower"] is None:
                text = "the same"
            truth = r["truth"] if inputs.simulated else None
            lines.append(charts.Line(AGAINST[r["against"]], *outcome.ends(r), text, 1, truth=truth, row=r))
    told = "; ".join(f"{i.name}:" if i.heading else f"{i.name} {i.text}" for i in lines)
    over = outcome.over(inputs.settings.endpoint.tau_months)
    drawing = charts.forest(
        lines,
        f"policy-{key}",
        f"{outcome.gained} per patient by each rule. {told}.",
        f"Gain in {outcome.mean()}{over}, {outcome.unit} per patient",
        ("the rule is worse", "the rule is better"),
    )
    eligible = inputs.row("treatment_effects", treatment=key, subgroup=0)
    size, events = rows[0]["n"], rows[0]["events"]
    n = part(size, eligible["n"] if eligible else None, least)
    planted = " Diamonds: what was planted." if any(i.truth is not None for i in lines) else ""
    caption = (
        f"{'n' if n.startswith(('>', '<')) else 'n ='} {n},"
        f" {part(events, eligible['events'] if eligible else None, least)} events; held out; {inputs.settings.level}"
        f" intervals. {words.sentence(readable(rows[0]['method']).removeprefix('no difference: '))}. Of these"
        f" held-out patients, as decided by rules that were learned without them, {join(treated)}.{planted}"
    )
    return Figure(drawing, "What a rule gains", caption, 820, f"rules-{key}")


def _trees(inputs: ReportInputs, key: str, rows: Sequence[Row]) -> list[object]:
    """Rules of all training patients: open where recommended, else folded away and marked."""
    found: list[object] = []
    least = inputs.settings.min_cell
    for rule in dict.fromkeys(r["rule"] for r in rows):
        nodes = inputs.rows("treatment_policy_trees", treatment=key, rule=rule)
        if not nodes:
            continue
        recommended = any(r["recommended"] for r in rows if r["rule"] == rule)
        if rule == "threshold" and not recommended and alike(inputs, key):
            found.append(Note(NO_THRESHOLD))
            continue
        ends = [n for n in nodes if n["kind"] == "end"]
        sizes = counts([n["n"] for n in ends], least)
        body: list[list[Cell | str]] = [
            [_path(nodes, end, inputs.settings.words), "Treat" if end["treat"] else "Do not treat", size]
            for end, size in zip(ends, sizes, strict=True)
        ]
        name = RULES[rule]
        caption = f"The {name}, as learned from {inputs.everyone}."
        note = (
            "Limits are rounded. What was judged is the way of learning a rule, not this rule itself. Counted here are"
            " the patients it was learned from; shares above are of held-out patients, by a rule of each split, and may"
            " be quite other."
        )
        if not recommended:
            caption = f"Not recommended: the {name}, as learned from {inputs.everyone}."
            note = f"{note} It is shown so that it can be checked, not followed."
        if _harms(nodes):
            advice = "this rule is not recommended" if any(r["recommended"] for r in rows) else "no rule is recommended"
            note += " It would also treat patients for whom harm is predicted, those between the limit and 0"
            note += "." if recommended else f": {advice}."
        table = Table(caption, ["Patients", "The rule says", "Training patients"], body, frozenset({2}), note)
        found.append(table if recommended else Fold(f"The {name} that is not recommended", [table]))
    return found


def _harms(nodes: Sequence[Row]) -> bool:
    """Whether patients are treated whose predicted effect is below zero."""
    below = {n["node"] for n in nodes if n["kind"] == "predicted effect" and n["threshold"] < 0}
    return any(n["parent"] in below and n["branch"] == "yes" and n["treat"] for n in nodes)


def _path(nodes: Sequence[Row], end: Row, outcome: OutcomeWords) -> str:
    """How one gets to an end, in words."""
    by, said = {n["node"]: n for n in nodes}, []
    while end["parent"] is not None:
        parent = by[int(end["parent"])]
        said.append(_answer(parent, end["branch"] == "yes", outcome))
        end = parent
    return words.sentence(join(said[::-1])) if said else "Everybody"


def _answer(node: Row, yes: bool, outcome: OutcomeWords) -> str:
    kind = node["kind"]
    name = "predicted effect" if kind == "predicted effect" else label(node["variable"])
    if kind == "subgroup":
        return f"{'in' if yes else 'not in'} subgroup {node['level']}"
    if kind == "class":
        return f"{name} {'is' if yes else 'is not'} {level(node['level'])}"
    if kind == "missing":
        return f"{name} {'not recorded' if yes else 'recorded'}"
    predicted = kind == "predicted effect"
    limit = rounded(node["threshold"] * (outcome.scale if predicted else 1.0)).replace("-", "−")
    unit = f" {outcome.unit}" if predicted else ""
    return f"{name} {'above' if yes else 'at most'} {limit}{unit}"


def arm_shares(groups: Sequence[tuple[str, int, Sequence[Row]]], slug: str, title: str, min_cell: int) -> str:
    """Share of each arm with a response; parameters as of `figures.proportions`."""
    told = f"{title}. {figures.describe_shares(groups, min_cell)}"
    return figures.proportions(groups, slug, told, min_cell, 440)


def _both(rows: Sequence[Row]) -> list[tuple[str, int, list[Row]]]:
    """Curves of the two arms."""
    return [
        (name, arm + 1, sorted((r for r in rows if r["arm"] == arm), key=lambda r: r["time_months"]))
        for arm, name in ((0, "Untreated"), (1, "Treated"))
    ]


def _chart(inputs: ReportInputs, rows: Sequence[Row], slug: str, title: str) -> list[explore.Chart]:
    if not inputs.settings.words.timed:
        return []
    return [explore.steps(_both(rows), slug, title, "Survival", inputs.settings.min_cell, inputs.public)]


def _arms(inputs: ReportInputs, rows: Sequence[Row], slug: str, title: str) -> str:
    groups = _both(rows)
    if not inputs.settings.words.timed:
        return arm_shares(groups, slug, title, inputs.settings.min_cell)
    told = f"{title}. {figures.describe_curves(groups, inputs.settings.endpoint.horizons_months[-1])}"
    return figures.curves(groups, slug, told, inputs.settings.min_cell, 440, 230)


def subgroup_curves(inputs: ReportInputs, key: str, weighting: str) -> list[object]:
    """Survival by arm in each held-out subgroup.

    Parameters
    ----------
    inputs
        The results.
    key
        Key of the treatment.
    weighting
        That of the headline.
    """
    rows = [r for r in inputs.rows("treatment_curves", treatment=key, weighting=weighting) if r["subgroup"] > 0]
    panels, opened = [], []
    for g in sorted({r["subgroup"] for r in rows}):
        own, name = [r for r in rows if r["subgroup"] == g], f"Subgroup {g}"
        panels.append((name, _arms(inputs, own, f"km-{key}-subgroup-{g}", name)))
        opened += _chart(
            inputs, own, f"km-{key}-subgroup-{g}", f"survival by arm of {words.within(key)} in subgroup {g}"
        )
    how = "weighted to be alike within each subgroup" if weighting == "overlap" else "as randomised"
    caption = (
        f"Kaplan–Meier curves with pointwise {inputs.settings.level} bands, {how}; subgroups were assigned to patients"
        f" held out. Numbers at risk are not weighted. A curve ends where fewer than {inputs.settings.min_cell} are at"
        " risk: it is an average, and no promise to anybody."
    )
    outcome, least = inputs.settings.words, inputs.settings.min_cell
    if not outcome.timed:
        caption = (
            f"Share with a response, with {inputs.settings.level} interval, {how}; subgroups were assigned to patients"
            f" held out. An arm in which fewer than {inputs.settings.min_cell} have a response, or have none, is not"
            " drawn."
        )
    effects = inputs.rows("treatment_effects", treatment=key, weighting=weighting, estimand="rmst_difference")
    if inside := [r for r in effects if r["subgroup"] > 0]:
        n, events = (count(sum(r[k] for r in inside), least) for k in ("n", "events"))
        caption = f"n = {n}, {events} events in subgroups. {caption}"
    caption += inputs.steps
    title = f"{words.sentence(outcome.survival)} by arm in each subgroup"
    return [Panels(title, panels, caption, 430, f"subgroup-arms-{key}", opened)] if panels else []


def profiles(inputs: ReportInputs, key: str) -> list[object]:
    """Survival by arm, the average for patients like each profile of the config.

    Parameters
    ----------
    inputs
        The results.
    key
        Key of the treatment.
    """
    effects = inputs.rows("treatment_profile_effects", treatment=key)
    if not effects:
        return []
    curves = inputs.rows("treatment_profiles", treatment=key)
    names = list(dict.fromkeys(r["profile"] for r in effects))
    drawn = [n for n in names if any(r["profile"] == n for r in curves)]
    panels = []
    for i, name in enumerate(drawn):
        own, title = [r for r in curves if r["profile"] == name], words.sentence(label(name))
        panels.append((title, _arms(inputs, own, f"profile-{key}-{i}", f"Patients like this: {title}")))
    first, least, outcome = effects[0], inputs.settings.min_cell, inputs.settings.words
    caption = (
        f"n = {count(first['n'], least)}, {count(first['events'], least)} events; not held out. The"
        f" average for patients"
        f" like this, with {outcome.say('pointwise ', '')}{inputs.settings.level}"
        f" {outcome.say('bands', 'intervals')}; no promise to anybody. By Cox models of each arm"
        " with the values of the profile; over what the profile leaves open, all eligible patients are averaged"
        + outcome.say(
            f", whose numbers at risk are given. A curve ends where fewer than {least} of an arm are at risk.",
            f". An arm in which fewer than {least} have a response, or have none, is not drawn.",
        )
        + inputs.steps
    )
    places = list(dict.fromkeys((r["estimand"], r["horizon_months"]) for r in effects))
    body: list[list[Cell | str]] = []
    for name in names:
        at = {(r["estimand"], r["horizon_months"]): r for r in effects if r["profile"] == name}
        one = next(iter(at.values()))
        given = inputs.settings.treatments[key].profiles.get(name, {})
        body.append(
            [
                Cell(words.sentence(label(name)), below=", ".join(f"{term(c)} {_shown(v)}" for c, v in given.items())),
                part(one["n_like"], one["n"], least),
                *(_effect(at[p], outcome.estimands[p[0]][2]) for p in places),
                p_cell(at[places[0]]["p_value"]),
            ]
        )
    over = [outcome.gained_at(e, h) for e, h in places]
    why = {n: reason(r) for n in names if n not in drawn for r in [next(r for r in effects if r["profile"] == n)]}
    return [
        Heading("Patients like this: outcome with and without treatment", f"treatment-profiles-{key}"),
        *(
            [
                Panels(
                    f"{words.sentence(outcome.survival)} by arm, the average for patients like this",
                    panels,
                    caption,
                    430,
                    f"profiles-{key}",
                )
            ]
            if panels
            else []
        ),
        *(Note(f"{words.sentence(label(n))} is not shown: {text}.") for n, text in why.items()),
        Table(
            "Treated minus untreated, the average for patients like this.",
            ["Patients", "Like this", *over, outcome.say("p, months", "p")],
            body,
            frozenset(range(1, len(over) + 3)),
            "Like this: eligible patients with the same classes, and numbers within half a standard deviation. Where"
            " they are few, the models are leaned on. Profiles differ by the models, not by a test that effects do.",
        ),
    ]


def _effect(row: Row, scale: float) -> str:
    return "–" if row["estimate"] is None else interval(row, 1, scale, sign=True)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value, 0 if float(value).is_integer() else 1) if isinstance(value, int | float) else str(value)
