"""Parts of the section on prognosis that say what predictions are good for: decision curves and lower bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import charts, explore, words
from stratiome.report.blocks import Fold, Heading, Note, Panels, Table, Text
from stratiome.report.claims import best_without_omics
from stratiome.report.disclosure import beside, count, counts, is_small
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import interval, join, label, level, months, plural, readable, term, within
from stratiome.tables import FLEXIBLE_REFERENCE, TREAT_ALL

Row = Mapping[str, Any]
QUARTERS = {"1": "lowest quarter of risk", "2": "second quarter", "3": "third quarter", "4": "highest quarter of risk"}


def decisions(inputs: ReportInputs, colours: dict[str, int]) -> list[object]:
    """Decision curves at each horizon.

    Parameters
    ----------
    inputs
        The results.
    colours
        Model -> number of its colour.
    """
    panels, opened = [], []
    outcome = inputs.settings.words
    first = next(iter(inputs.rows("decisions")), None)
    if first is None:
        return []
    drawn_without = ("clinical", best_without_omics(inputs, first["design"]))
    for horizon in sorted({r["horizon_months"] for r in inputs.rows("decisions")}):
        rows = [r for r in inputs.rows("decisions", horizon_months=horizon, versus=None) if r["estimate"] is not None]
        rows = [r for r in rows if r["model"] != FLEXIBLE_REFERENCE or FLEXIBLE_REFERENCE in drawn_without]
        if not rows:
            continue
        models = [m for m in dict.fromkeys(r["model"] for r in rows) if m != TREAT_ALL]
        slug = f"decision-{months(horizon).replace('.', '_')}"
        told = f"Net benefit against threshold of {words.join([within(m) for m in models])} and of treating all."
        panels.append(
            (
                outcome.say(f"At {months(horizon)} months", f"Risk of {outcome.failure}"),
                charts.decision(rows, colours, TREAT_ALL, slug, told),
            )
        )
        at = outcome.say(f"decision curves at {months(horizon)} months", "decision curves")
        opened.append(_chart(rows, colours, slug, at))
    if not panels:
        return []
    caption = (
        "Net benefit of acting on patients whose predicted risk reaches the threshold: true positives less false ones,"
        " these weighted by the odds of the threshold. Acting on nobody is worth 0. A model is of use at the thresholds"
        f" where it lies above both 0 and acting on all; beyond the last that is drawn, none is worth {charts.WORTH:g}."
        f" {inputs.size(first['n'])},"
        f" {count(first['events'], inputs.settings.min_cell)} events; held out, {first['design']}."
        f" {words.sentence(readable(first['method'].partition('; ')[0]))}. Intervals of the difference"
        f" to the clinical model: {_difference(inputs)}."
    )
    return [
        Heading("Is it of use for a decision? Net benefit", "prognosis-decisions"),
        Panels("Decision curves", panels, caption, 820, "decisions", opened),
    ]


def _chart(rows: Sequence[Row], colours: Mapping[str, int], slug: str, title: str) -> explore.Chart:
    lines = [
        explore.Series(
            TREAT_ALL.capitalize() if model == TREAT_ALL else label(model),
            colours.get(model, 0),
            sorted((r for r in rows if r["model"] == model), key=lambda r: r["threshold"]),
            "threshold",
            "estimate",
        )
        for model in dict.fromkeys(r["model"] for r in rows)
    ]
    axes = ("Threshold: predicted risk from which one acts", "Net benefit")
    span, height = charts.decision_ends(rows, TREAT_ALL)
    return explore.Chart(slug, title, *axes, lines, "x", "zero", span=span, height=height)


def _difference(inputs: ReportInputs) -> str:
    """Where models have more net benefit than the clinical one, pointwise."""
    said: list[str] = []
    for model in dict.fromkeys(r["model"] for r in inputs.rows("decisions", versus="clinical")):
        rows = [r for r in inputs.rows("decisions", model=model, versus="clinical") if r["lower"] is not None]
        if rows:
            better, worse = sum(r["lower"] > 0 for r in rows), sum(r["upper"] < 0 for r in rows)
            per = {h: sum(r["horizon_months"] == h for r in rows) for h in sorted({r["horizon_months"] for r in rows})}
            several = inputs.settings.words.timed and len(per) > 1
            each = f", {join([f'{n} at {months(h)} months' for h, n in per.items()])}" if several and not said else ""
            counted = f"{plural(len(rows), 'threshold')}{each}"
            said.append(f"{within(model)} above at {better} and below at {worse} of {counted}")
    if not said:
        return "not estimable"
    return f"{'; '.join(said)} (each interval on its own, not corrected for their number)"


def bounds(inputs: ReportInputs) -> list[object]:
    """Whether lower bounds on survival time hold; a sentence below the decisions where the outcome has no time."""
    every = inputs.rows("coverage")
    rows = [r for r in every if r["by"] in ("all", "risk quarter")]
    if not inputs.settings.words.timed:
        return [Text("The outcome has no time, so no bounds on the time to it are given.")]
    if inputs.settings.endpoint.competing is not None:
        return [
            Heading("Lower bounds on survival time", "prognosis-bounds"),
            Text(
                "None are given. Who dies of another cause never reaches the event, so there is no time to it that a"
                " bound could be held against; a bound on what it would have been if nobody died of other causes could"
                " not be checked in any patient who did."
            ),
        ]
    if not rows:
        return []
    nominal = rows[0]["nominal"]
    events = _events(inputs)
    body = [
        [
            label(r["model"]),
            "all" if r["by"] == "all" else QUARTERS.get(r["group"], level(r["group"])),
            interval(r, 2) if r["estimate"] is not None else "not estimable",
            f"{months(round(r['median_months'], 1))}",
            f"{inputs.people(r['n']) if r['by'] == 'all' else 'a quarter'} / {events[r['model'], r['by'], r['group']]}",
        ]
        for r in rows
    ]
    head = ["Model", "Patients", "Outlive their bound", "Median bound, months", "n / events"]
    text = Text(
        f"For each patient a time is given that {100 * nominal:g} % of patients should outlive (conformal lower bound,"
        " calibrated on training patients by models that had not seen them). This holds for the average patient, not"
        " for each: a group may be covered less."
    )
    note = f"{words.sentence(readable(rows[0]['method']))}. Held out, {rows[0]['design']}."
    blocks: list[object] = [
        Heading("Lower bounds on survival time", "prognosis-bounds"),
        text,
        Table(
            f"Share of patients who outlive their bound; {nominal:.2f} is asked for.",
            head,
            body,
            frozenset({2, 3, 4}),
            note,
        ),
    ]
    blocks += _by_class(inputs, [r for r in every if r not in rows], nominal)
    low = [r for r in every if r["upper"] is not None and r["upper"] < nominal]
    low = [r for r in low if not is_small(r["n"], inputs.settings.min_cell)]
    if low:
        named = words.join([f"{within(r['model'])} ({_who(r)})" for r in low])
        blocks.append(Note(f"Covered less than asked for: {named}. Do not read these bounds as promised.", "care"))
    return blocks


def _who(row: dict) -> str:
    if row["by"] == "all":
        return "all"
    return (
        QUARTERS.get(row["group"], "") if row["by"] == "risk quarter" else f"{term(row['by'])}: {level(row['group'])}"
    )


def _by_class(inputs: ReportInputs, rows: list[dict], nominal: float) -> list[object]:
    """The same by classes of clinical columns."""
    least = inputs.settings.min_cell
    body = []
    for model, by in dict.fromkeys((r["model"], r["by"]) for r in rows):
        own = [r for r in rows if (r["model"], r["by"]) == (model, by)]
        known = [r["count"] for r in inputs.rows("baseline", variable=by, kind="share", treatment=None)]
        with beside([*inputs.wholes, *known]):  # the classes are counted among all patients too
            sizes, events = (counts([r[name] for r in own], least) for name in ("n", "events"))
        for r, size, failed in zip(own, sizes, events, strict=True):
            small = is_small(r["n"], least)
            value = "too few" if small else interval(r, 2) if r["estimate"] is not None else "not estimable"
            median = "–" if small else months(round(r["median_months"], 1))
            body.append([label(model), words.sentence(_who(r)), value, median, f"{size} / {failed}"])
    if not body:
        return []
    head = ["Model", "Patients", "Outlive their bound", "Median bound, months", "n / events"]
    caption = f"Share who outlive their bound by class of a clinical variable; {nominal:.2f} is asked for."
    return [Fold("Lower bounds by clinical variable", [Table(caption, head, body, frozenset({2, 3, 4}))])]


def _events(inputs: ReportInputs) -> dict[tuple[str, str, str], str]:
    """Events as they may be printed; those of the quarters of a model add up to those of all."""
    rows = inputs.rows("coverage")
    found: dict[tuple[str, str, str], str] = {}
    for model in dict.fromkeys(r["model"] for r in rows):
        for by in ("all", "risk quarter"):
            own = [r for r in rows if r["model"] == model and r["by"] == by]
            printed = counts([r["events"] for r in own], inputs.settings.min_cell)
            found |= {(model, by, r["group"]): text for r, text in zip(own, printed, strict=True)}
    return found
