"""Part of the section on prognosis that says whether predicted risks come true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stratiome.report import charts_calibration as charts
from stratiome.report import explore, words
from stratiome.report.blocks import Cell, Fold, Heading, Items, Panels, Table, Text, numbered
from stratiome.report.claims import best_without_omics
from stratiome.report.disclosure import count, exact
from stratiome.report.groups import failing
from stratiome.report.inputs import CROSS, ReportInputs
from stratiome.report.traced import bare
from stratiome.report.verdicts import UNRELATED, direction
from stratiome.report.words import interval, join, label, months, number, p_value, readable, reason

Row = Mapping[str, Any]
NAMED = 4
"""Models that the title of a chart names."""
OTHERS = "-others"
"""Marks the files of figures of models that stand folded away."""
SURE = 100
"""Events below which a calibration curve is called unstable (Collins, Ogundimu & Altman 2016)."""
MEASURES = ("intercept", "calibration_slope", "ici", "observed_expected", "d_calibration")
"""Columns of the table."""
ALWAYS = ("clinical", "stacked")
"""Models whose panels stand open, beside the best of those with omics and of those without."""


def calibration(
    inputs: ReportInputs,
    design: str,
    judged: Mapping[str, Sequence[str]],
    of_omics: Sequence[str],
    colours: Mapping[str, int],
) -> list[object]:
    """Curves, summaries and risks of every model.

    Parameters
    ----------
    inputs
        The results.
    design
        Design of the groups, and of what stands open.
    judged
        Design -> fitted models, without the one that has no predictors.
    of_omics
        Models with omics, among which the best one is shown.
    colours
        Model -> number of its colour and marker.
    """
    models = list(judged[design])
    main = _main(inputs, design, models, of_omics)
    rest = [m for m in models if m not in main]
    panels = _curves(inputs, design, main, colours)
    more = _curves(inputs, design, rest, colours, OTHERS)
    if not panels and not more:
        return []
    blocks: list[object] = [
        Heading("Calibration: do predicted risks come true?", "prognosis-calibration"),
        *_said(inputs, design, models),
    ]
    blocks += panels or more
    blocks += _table(inputs, design, models)
    blocks += _risks(inputs, design, main)
    if panels and more:
        named = join([words.within(m) for m in rest])
        others = [*more, *_risks(inputs, design, rest, OTHERS)]
        told = [replace(b, title=f"{b.title}, other models") for b in others if isinstance(b, Panels)]
        blocks.append(Fold(f"Calibration of the other models: {named}", told))
    every = _everything(inputs, judged)
    title = f"Calibration {inputs.settings.words.say('at every horizon, ', '')}in every design, with methods"
    return blocks + ([Fold(title, [every])] if every else [])


def two_lines(row: Row | None, decimals: int, sign: bool = False) -> Cell:
    """An estimate with its interval beneath."""
    text = interval(row, decimals, sign=sign) if row else "–"
    estimate, _, bounds = text.partition(" (")
    return Cell(estimate, below=bounds.removesuffix(")"))


def _main(inputs: ReportInputs, design: str, models: Sequence[str], of_omics: Sequence[str]) -> list[str]:
    """Models that matter: the clinical one, the best without and the best with omics by Uno's C, the stacked one."""

    def c(model: str) -> float:
        row = inputs.row("prognosis_metrics", design=design, model=model, metric="uno_c", versus=None)
        return row["estimate"] if row and row["estimate"] is not None else -1.0

    best = max((m for m in models if m in of_omics), key=c, default=None)
    return [m for m in models if m in (*ALWAYS, best, best_without_omics(inputs, design))]


def _measure(inputs: ReportInputs, design: str, model: str, metric: str, horizon: float) -> Row | None:
    new = metric not in ("calibration_slope", "observed_expected")
    where = {"design": design, "model": model, "metric": metric}
    rows = (
        inputs.rows("calibration_measures", **where) if new else inputs.rows("prognosis_metrics", versus=None, **where)
    )
    if metric == "d_calibration":
        return rows[0] if rows else None
    same = (r for r in rows if r["horizon_months"] is not None and abs(r["horizon_months"] - horizon) < 1e-6)
    return next(same, None)


def _horizons(inputs: ReportInputs) -> list[float]:
    return list(inputs.settings.endpoint.horizons_months)


# --- in words --------------------------------------------------------------------------------------------------------


def tendencies(slope: Row | None, intercept: Row | None) -> list[str]:
    """What is wrong with predicted risks where an interval excludes the ideal: too extreme, tame, high or low."""
    said = []
    for row, null, above, below, name in (
        (slope, 1.0, "too tame", "too extreme", "slope"),
        (intercept, 0.0, "too low", "too high", "intercept"),
    ):
        where = direction(row.get("lower"), row.get("upper"), null) if row else "unknown"
        if row is not None and where in ("above", "below"):
            wrong = above if where == "above" else below
            if name == "slope" and row["estimate"] <= 0:
                wrong = UNRELATED
            said.append(f"{wrong} ({name} {interval(row, 2)})")
    return said


def _said(inputs: ReportInputs, design: str, models: Sequence[str]) -> list[object]:
    """What the curves show, and one sentence on each model whose risks are off."""
    off, right = [], []
    for model in models:
        parts = []
        known = False
        for horizon in _horizons(inputs):
            slope = _measure(inputs, design, model, "calibration_slope", horizon)
            level = _measure(inputs, design, model, "intercept", horizon)
            known = known or any(r is not None and r["lower"] is not None for r in (slope, level))
            found = tendencies(slope, level)
            ici = _measure(inputs, design, model, "ici", horizon)
            if ici is not None and ici["chance_upper"] is not None and ici["estimate"] > ici["chance_upper"]:
                most = number(ici["chance_upper"], 3)
                found.append(
                    f"further from the curve than by chance (ICI {number(ici['estimate'], 3)}, at most {most})"
                )
            parts += [f"{join(found)}{inputs.settings.words.at(horizon)}"] if found else []
        if parts:
            off.append(f"{label(model)}: risks are {'; '.join(parts)}.")
        elif known:
            right.append(words.within(model))
    event = inputs.settings.words.say("the event by then", f"the event, {inputs.settings.words.failure}")
    lede = Text(
        f"Of patients who are given a risk of 30 %, three in ten should have {event}. Risks are too extreme"
        " where high ones are too high and low ones too low (overconfident), and too tame in the opposite case"
        " (underconfident); both leave the ranking"
        " as it is, unless the slope is not above 0. Each interval below is read on its own, without correction for the"
        f" number of models{inputs.settings.words.say(' and horizons', '')}."
    )
    blocks: list[object] = [lede, Items(off)] if off else [lede]
    if right:
        also = "the others" if off else "any model"
        blocks.append(
            Text(
                f"There is no evidence that risks of {also} are off on average or in their spread: {join(right)}."
                f" Few events can hide much.{_elsewhere(inputs, right)}"
            )
        )
    return [*blocks, *_best(inputs, design, models)]


def _elsewhere(inputs: ReportInputs, right: Sequence[str]) -> str:
    """That models which are right in all patients together fail in some groups, or ""."""
    said = [
        f"the {words.within(m)} model in {join(groups)}"
        for m, groups in failing(inputs).items()
        if words.within(m) in right
    ]
    if not said:
        return ""
    return f" That is in all patients together; in groups, predictions fail: {'; '.join(said)} (see Fairness)."


def _best(inputs: ReportInputs, design: str, models: Sequence[str]) -> list[Text]:
    """Which model is best calibrated, by a rule that looks at no figure; nothing where there is no ICI.

    Among models whose intervals of slope and of observed over expected hold 1, the one with the smallest ICI; those
    that are printed alike tie.
    """
    said, known = [], False
    for horizon in _horizons(inputs):
        rows = {m: _measure(inputs, design, m, "ici", horizon) for m in models}
        ici = {m: r for m, r in rows.items() if r is not None and r["estimate"] is not None}
        known = known or bool(ici)
        pairs = [(m, k) for m in ici for k in ("calibration_slope", "observed_expected")]
        off = {m for m, k in pairs if not _holds_one(_measure(inputs, design, m, k, horizon))}
        left = {m: r for m, r in ici.items() if m not in off}
        at = inputs.settings.words.at(horizon)
        if not left:
            said.append(f"none{at}, as for no model both intervals hold 1")
            continue
        least = min(r["estimate"] for r in left.values())
        best = [m for m, r in left.items() if bare(number(r["estimate"], 3)) == bare(number(least, 3))]
        alike = [
            m for m, r in left.items() if m not in best and r["chance_upper"] and r["estimate"] <= r["chance_upper"]
        ]
        named = join([f"{words.within(m)}{_slope(inputs, design, m, horizon)}" for m in best])
        text = f"{named}{at} (ICI {number(least, 3)}{', a tie' if len(best) > 1 else ''})"
        if alike:
            text += f", with {join([words.within(m) for m in alike])} within what chance gives, too"
        said.append(text)
    if not known:
        return []
    rule = "the intervals of slope and of observed over expected hold 1, then the smallest ICI"
    return [Text(f"Best calibrated ({rule}; differences in ICI are not tested): {'; '.join(said)}.")]


def _slope(inputs: ReportInputs, design: str, model: str, horizon: float) -> str:
    row = _measure(inputs, design, model, "calibration_slope", horizon)
    return "" if row is None or row["estimate"] is None else f" with slope {interval(row, 2)}"


def _holds_one(row: Row | None) -> bool:
    return row is not None and direction(row["lower"], row["upper"], 1.0) == "covers"


# --- figures ---------------------------------------------------------------------------------------------------------


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _curves(
    inputs: ReportInputs, design: str, models: Sequence[str], colours: Mapping[str, int], which: str = ""
) -> list[object]:
    """Panels of the models, one block for each horizon; `which` is added to the names of the files."""
    blocks: list[object] = []
    least = inputs.settings.min_cell
    where = "" if design == CROSS else f" Design: {design}."
    for horizon in sorted({r["horizon_months"] for r in inputs.rows("calibration")}):
        panels, n, lines, top = [], 0, [], 0.2
        for model in models:
            rows = sorted(inputs.rows("calibration", model=model, horizon_months=horizon), key=lambda r: r["group"])
            curve = inputs.rows("calibration_curves", design=design, model=model, horizon_months=horizon)
            if not rows and not curve:
                continue
            n = max(n, sum(r["n"] for r in rows))
            kept = [r for r in rows if r["n"] >= least]
            slug = f"cal-{model}-{months(horizon).replace('.', '_')}"
            drawing = charts.calibration(kept, curve, colours[model], slug, _told(kept, curve))
            panels.append((label(model), drawing))
            lines += _lines(label(model), colours[model], kept, curve)
            top = max(top, charts.largest(kept, curve))
        if panels:
            rivals = inputs.settings.endpoint.competing is not None
            observed = "the Aalen–Johansen estimate" if rivals else "one minus Kaplan–Meier"
            observed = inputs.settings.words.say(observed, "the share of patients with the event")
            caption = (
                "Line: smooth curve of observed against predicted risk, drawn where at least 1 % of patients and 10 of"
                f" them have lower risks, and higher ones; shaded: its {inputs.settings.level} interval at each risk."
                f" Marks: groups of equal size, mean prediction against {observed} with"
                f" {inputs.settings.level} interval. {_sample(inputs, design, models) or inputs.size(n)}, held"
                f" out.{where} On the dashed line, predictions come true as often as promised. Groups of fewer than"
                f" {least} patients are not drawn."
                f"{_unsure(inputs, design, models, horizon)}"
            )
            at = inputs.settings.words.at(horizon)
            title = f"calibration{at} of {_named([m for m, _ in panels])}"
            axes = ("Predicted risk", "Observed risk")
            slug, ends = f"cal-{models[0]}-{months(horizon)}", (0.0, top)
            chart = explore.Chart(slug, title, *axes, lines, "xy", "diagonal", span=ends, height=ends)
            name = f"calibration-{months(horizon)}{which}"
            blocks.append(Panels(f"Calibration{at}", panels, caption, 276, name, [chart]))
    return blocks


def _named(models: Sequence[str]) -> str:
    """Models of one chart."""
    return join([m[:1].lower() + m[1:] for m in models]) if len(models) <= NAMED else f"{len(models)} models"


def _lines(name: str, group: int, groups: Sequence[Row], curve: Sequence[Row]) -> list[explore.Series]:
    """Curve and groups of a model in the chart of all."""
    line = sorted(curve, key=lambda r: r["predicted"])
    forms = (("line", line), ("marks", groups))
    return [
        explore.Series(name, group, rows, "predicted", "observed", "lower", "upper", form=form)
        for form, rows in forms
        if rows
    ]


def _told(groups: Sequence[Row], curve: Sequence[Row]) -> str:
    """Text for readers who cannot see the panel: five points of the curve, and the groups."""
    line = sorted(curve, key=lambda r: r["predicted"])
    points = [line[round(k * (len(line) - 1) / 4)] for k in range(5)] if len(line) >= 5 else line
    said = "; ".join(
        f"{_percent(r['predicted'])} predicted, {_percent(r['observed'])} observed"
        + ("" if r["lower"] is None else f" ({_percent(r['lower'])} to {_percent(r['upper'])})")
        for r in points
    )
    marks = ", ".join(f"{_percent(r['predicted'])} predicted, {_percent(r['observed'])} observed" for r in groups)
    parts = [f"Smooth curve: {said}."] * bool(said) + [f"Observed against predicted risk of groups: {marks}."] * bool(
        marks
    )
    return " ".join(parts)


def _unsure(inputs: ReportInputs, design: str, models: Sequence[str], horizon: float) -> str:
    """That a curve of few events by the horizon is unstable, or ""."""
    rows = [
        r
        for r in inputs.rows("risks_by_outcome", design=design, horizon_months=horizon, outcome="failed")
        if r["model"] in models
    ]
    events = max((sum(r["n"] for r in rows if r["model"] == m) for m in models), default=0)
    by_then = inputs.settings.words.say(" by then", "")
    return f" Fewer than {SURE} events{by_then}: the curves are unstable." if rows and exact(events) < SURE else ""


def _sample(inputs: ReportInputs, design: str, models: Sequence[str]) -> str:
    """Patients and events of the models of a design, or "" where nothing is known."""
    rows = inputs.rows("prognosis_metrics", design=design, metric="uno_c", versus=None)
    found = max((r for r in rows if r["model"] in models), key=lambda r: int(r["n"]), default=None)
    return inputs.sample(found) if found else ""


def _risks(inputs: ReportInputs, design: str, models: Sequence[str], which: str = "") -> list[object]:
    """Distribution of the predicted risk by outcome, at the last horizon."""
    least, horizon, outcome = inputs.settings.min_cell, _horizons(inputs)[-1], inputs.settings.words
    names = {} if outcome.timed else {"failed": words.sentence(outcome.failure), "alive": "Response"}
    panels = []
    for model in models:
        rows = inputs.rows("risks_by_outcome", design=design, model=model, horizon_months=horizon)
        if rows:
            slug = f"risks-{model}-{months(horizon).replace('.', '_')}"
            panels.append((label(model), charts.risks(rows, slug, _spread(rows, names), least, names)))
    if not panels:
        return []
    sample = f"{found}. " if (found := _sample(inputs, design, models)) else ""
    others = outcome.say("those who had the event and those who did not", "those with a response and the others")
    caption = (
        f"{sample}Held-out patients by predicted risk{outcome.at(horizon)} and by what"
        f" {outcome.say('is known of them then', 'became of them')}. The less"
        f" {others} overlap, the better a model tells them apart. Pale: fewer than"
        f" {least} patients, drawn at half that height; the others are rounded to multiples of {max(1, least // 2)}."
    )
    return [Panels("Predicted risks by outcome", panels, caption, 276, f"risks{which}")]


def _spread(rows: Sequence[Row], names: Mapping[str, str]) -> str:
    """Text for readers who cannot see the strips: middle of the distribution of each outcome, by bins."""
    said = []
    for outcome, (usual, _) in charts.STRIPS.items():
        name = names.get(outcome, usual)
        own = sorted((r for r in rows if r["outcome"] == outcome), key=lambda r: r["bin_lower"])
        total, passed = sum(r["n"] for r in own), 0
        for r in own:
            passed += r["n"]
            if 2 * passed >= total:
                said.append(f"{words.within(name)}: half have a risk below {_percent(r['bin_upper'])}")
                break
    return f"Predicted risks by outcome. {words.sentence('; '.join(said))}."


# --- tables ----------------------------------------------------------------------------------------------------------


def _table(inputs: ReportInputs, design: str, models: Sequence[str]) -> list[object]:
    """All models at the last horizon."""
    horizon = _horizons(inputs)[-1]
    rows = {m: {k: _measure(inputs, design, m, k, horizon) for k in MEASURES} for m in models}
    known = [r for found in rows.values() for k, r in found.items() if r is not None and k in ("intercept", "ici")]
    if not known:
        return []
    body: list[list[Cell | str]] = []
    for model, found in rows.items():
        ici, spread = found["ici"], found["d_calibration"]
        body.append(
            [
                label(model),
                two_lines(found["intercept"], 2),
                two_lines(found["calibration_slope"], 2),
                two_lines(ici, 3),
                _by_chance(ici),
                two_lines(found["observed_expected"], 2),
                _of_test(spread),
            ]
        )
    tau, outcome = months(inputs.settings.endpoint.tau_months), inputs.settings.words
    over_time = f"D-calibration to {tau} mo"
    head = ["Model", "Intercept", "Slope", "ICI", "ICI by chance", "Observed / expected", over_time]
    first = known[0]
    note = (
        f"{inputs.size(first['n'])}, {count(first['events'], inputs.settings.min_cell)} events; held out. Ideal:"
        " intercept 0, slope 1, observed over expected 1. Intercept above 0: risks are too low. Slope below 1: too"
        " extreme. ICI: mean distance of predicted risk and smooth curve; it is never 0, so beside it stands what a"
        " model with perfect risks would have in so many patients, on average and at most in"
        f" {inputs.settings.level} of the cases."
    )
    note += outcome.say(
        " D-calibration: whether events come as early and as late as predicted; a small p-value says no, a large one is"
        " weak evidence where many are censored. Intercept, ICI and D-calibration are of the first repeat, so that each"
        " patient counts once.",
        " Intercept and ICI are of the first repeat, so that each patient counts once.",
    )
    reasons = [
        f"{outcome.metrics[k][0]} of {words.within(m)} ({reason(r)})"
        for m, found in rows.items()
        for k, r in found.items()
        if r is not None and r["estimate"] is None
    ]
    if reasons:
        note += f" Not estimable: {'; '.join(dict.fromkeys(reasons))}."
    caption = f"Calibration{outcome.at(horizon)} ({design}), estimate ({inputs.settings.level} interval)."
    table = Table(caption, head, body, frozenset(range(1, len(head))), note)
    return [table if outcome.timed else table.without(frozenset({over_time}))]


def _by_chance(ici: Row | None) -> Cell:
    if ici is None or ici["chance"] is None:
        return Cell("–")
    return Cell(number(ici["chance"], 3), below=f"at most {number(ici['chance_upper'], 3)}")


def _of_test(row: Row | None) -> Cell:
    if row is None or row["p_value"] is None:
        return Cell("–" if row is None else "not estimable")
    return Cell(p_value(row["p_value"]), below=f"χ² {number(row['estimate'], 1)}, {row['df']} df")


def _everything(inputs: ReportInputs, judged: Mapping[str, Sequence[str]]) -> Table | None:
    rows = [
        r for d, models in judged.items() for r in inputs.rows("calibration_measures", design=d) if r["model"] in models
    ]
    if not rows:
        return None
    least = inputs.settings.min_cell
    marks, notes = numbered([words.sentence(readable(r["method"])) for r in rows])
    body = []
    for r, mark in zip(rows, marks, strict=True):
        name, decimals = inputs.settings.words.metrics[r["metric"]]
        value = interval(r, decimals)
        if r["metric"] == "d_calibration" and r["p_value"] is not None:
            value = f"χ² {number(r['estimate'], decimals)}, {r['df']} df, {p_value(r['p_value'])}"
        if r["chance"] is not None:
            value += f"; by chance {number(r['chance'], 3)}, at most {number(r['chance_upper'], 3)}"
        body.append(
            [
                label(r["model"]),
                r["design"],
                name,
                months(r["horizon_months"]),
                value,
                f"{inputs.people(r['n'])} / {count(r['events'], least)}",
                mark,
            ]
        )
    table = Table(
        "Every measure of calibration; slope and observed over expected are among the metrics of each design.",
        ["Model", "Design", "Measure", "Months", "Value", "n / events", "Method"],
        body,
        frozenset({3, 4, 5, 6}),
        "Numbers in the last column are those of the methods below.",
        notes,
    )
    return inputs.settings.words.untimed(table)
