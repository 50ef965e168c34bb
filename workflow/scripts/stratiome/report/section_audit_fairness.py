"""Part of the section on the audit: what predictions are worth in each group of patients, and what an update brings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import charts
from stratiome.report.blocks import Cell, Figure, Finding, Fold, Heading, Items, Note, Table, Text
from stratiome.report.disclosure import MISSING, about, counts, exact, is_small, share
from stratiome.report.groups import BESIDE, differing, failing, named, not_judged
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_prognosis_calibration import two_lines
from stratiome.report.verdicts import Verdict, direction
from stratiome.report.words import (
    interval,
    join,
    label,
    level,
    number,
    p_value,
    plural,
    readable,
    reason,
    sentence,
    within,
)
from stratiome.tables import PROGNOSIS_MODELS

Row = Mapping[str, Any]

TOO_FEW = "too few"
MAIN = ("stacked", "clinical")
"""Models whose groups are judged; those whose predictions fail in some group stand open, else the first."""
USUAL = {
    "sex": r"sex|gender",
    "race or ethnicity": r"race|ethnic\w*|ancestry",
    "income or deprivation": r"income|depriv\w*|insurance|ses|education",
}
"""What fairness is usually asked about, and parts of the names of such columns."""
LEAST = 0.1
"""Smallest ratio that is drawn."""
SHOWN = (0.1, 0.3, 0.5)
"""Thresholds at which gains of an update are printed."""


def fairness(inputs: ReportInputs) -> list[object]:
    """Flags, figures and tables of every grouping; a sentence where the config names no groups."""
    head = Heading("Fairness: does it hold in every group of patients?", "travel-groups")
    if not inputs.settings.audit.groups:
        text = "No groups of patients were named (`audit.groups`), so whether predictions hold in each was not asked."
        return [head, Text(text)]
    rows = inputs.rows("fairness_groups")
    if not rows:
        return [head, Text("Nobody was held out whose predictions could be judged by group.")]
    models, wrong = [m for m in MAIN if any(r["model"] == m for r in rows)], _wrong(inputs)
    models.sort(key=lambda m: -wrong.get(m, 0))
    groupings = [g for g in dict.fromkeys(r["grouping"] for r in rows) if g]
    blocks: list[object] = [head, Finding(verdict(inputs)), *_flags(inputs), *_figures(inputs, models[0], groupings)]
    shown = [m for m in models if m in wrong] or models[:1]
    blocks += [_table(inputs, m, g) for m in shown for g in groupings]
    rest = [m for m in models if m not in shown]
    others = [_table(inputs, m, g) for m in rest for g in groupings]
    if others:
        blocks.append(Fold(f"The same for the {join([within(m) for m in rest])} model", others, printed=True))
    return [*blocks, *_updates(inputs, models, groupings)]


def _wrong(inputs: ReportInputs) -> dict[str, int]:
    """Model -> how many groups and groupings are flagged; models without any are left out."""
    found: dict[str, int] = {}
    for test in [t for t in inputs.rows("fairness_tests") if t["flagged"]]:
        found[test["model"]] = found.get(test["model"], 0) + 1
    return found


# --- the answer ------------------------------------------------------------------------------------------------------


def verdict(inputs: ReportInputs) -> Verdict:
    """In which groups predictions fail. It can say that they do, never that they are as good in all."""
    question = "Fairness: do predictions hold in every group of patients?"
    asked = inputs.settings.audit.groups
    if not asked:
        answer = "Not asked: the config names no groups of patients (`audit.groups`)."
        return Verdict(question, answer, "unknown", caveat=unseen(inputs), link="travel-groups")
    tests = inputs.rows("fairness_tests")
    known = [t for t in tests if t["p_holm"] is not None]
    if not known:
        why = join(list(dict.fromkeys(reason(t) for t in tests))) or "nobody was held out whose predictions could be"
        return Verdict(question, f"Not answered: {why}.", "unknown", caveat=unseen(inputs), link="travel-groups")
    fails, differs, lost = failing(inputs), differing(inputs), not_judged(inputs)
    said = [f"those of the {within(m)} model fail in {join(groups)}" for m, groups in fails.items()]
    said += [
        f"calibration of the {within(m)} model differs by {join(columns)}"
        for m, columns in differs.items()
        if m not in fails
    ]
    facts = (
        ("Asked about", join([label(c) for c in asked])),
        ("Tests, corrected together", f"{len(known)}, of which {sum(t['flagged'] for t in known)} flagged"),
        ("Groups that cannot be judged", str(len(lost)) if lost else "none"),
    )
    beside = f"Not judged, for too few events: {join(lost)}." if lost else ""
    caveat = " ".join(part for part in (beside, unseen(inputs)) if part)
    if not said:
        answer = (
            "No failure was found in the groups that could be judged. That is no proof that there is none: in small"
            " groups one is easily missed."
        )
        change = f"{plural(len(lost), 'group')} with too few events could be judged" if lost else ""
        return Verdict(question, answer, "no", facts, caveat, "travel-groups", changes=change)
    first = next(iter(fails.values()), [""])[0] or "these groups"
    change = f"predictions were updated within {first} and held there in new patients"
    answer = f"No, not in all: {'; '.join(said)}."
    return Verdict(question, answer, "harm", facts, caveat, "travel-groups", changes=change)


def unseen(inputs: ReportInputs) -> str:
    """What cannot be judged, as the config names no such column."""
    columns = {*inputs.settings.covariates, *inputs.settings.audit.groups}
    columns |= {r["variable"] for r in inputs.rows("baseline")}
    gone = [
        name
        for name, pattern in USUAL.items()
        if not any(re.search(f"(^|_)({pattern})(_|$)", c.lower()) for c in columns)
    ]
    if not gone:
        return ""
    return f"Not among the columns of the config, so that it cannot be judged: {join(gone)}."


# --- flags -----------------------------------------------------------------------------------------------------------


def _flags(inputs: ReportInputs) -> list[object]:
    tests = inputs.rows("fairness_tests")
    known = [t for t in tests if t["p_holm"] is not None]
    if not known:
        why = join(list(dict.fromkeys(reason(t) for t in tests)))
        return [Note(f"Whether predictions hold in each group could not be tested: {why}.")]
    flagged = [t for t in known if t["flagged"]]
    said = [_flag(inputs, t) for t in flagged]
    alpha = f"{100 * inputs.settings.alpha:g} %"
    tested = (
        f"{plural(len(known), 'test')}, corrected together: where predictions are right in every group, nothing is"
        f" flagged in {inputs.settings.level} of analyses"
    )
    lost = {(t["grouping"], t["group"]) for t in tests if t["kind"] == "holds" and t["p_holm"] is None}
    few = f" {plural(len(lost), 'group')} could not be tested, mostly for too few events." if lost else ""
    words = (
        f"A group is flagged where its slope is not 1 or its level is off, a grouping where slope or level differ"
        f" between its groups; what is wrong for all patients alike does not count as a difference.{few}"
        " A test is of slope and level together, and may say otherwise than the interval of either."
    )
    if not flagged:
        return [
            Note(
                f"Nothing is flagged at {alpha} ({tested}). That is no proof that predictions hold equally well in all"
                f" groups: in small groups a difference is easily missed; see the intervals. {words}"
            )
        ]
    return [
        Note(f"Flagged at {alpha} ({tested}).", "care"),
        Items(said),
        Text(f"{words}{_together(inputs, flagged)}"),
    ]


def _together(inputs: ReportInputs, flagged: Sequence[Row]) -> str:
    """Calibration in all patients, which is the one of each group where nothing differs."""
    said = []
    for model in dict.fromkeys(t["model"] for t in flagged):
        slope = _measure(inputs, model, "", "", "calibration_slope")
        ratio = _measure(inputs, model, "", "", "observed_expected")
        if slope and ratio:
            said.append(f"{within(model)} slope {interval(slope)}, observed / expected {interval(ratio)}")
    return f" All patients together: {'; '.join(said)}." if said else ""


def _flag(inputs: ReportInputs, test: Row) -> str:
    p = f"{p_value(test['p_holm'])}, corrected"
    if test["kind"] == "differs":
        return (
            f"Calibration of the {within(test['model'])} model differs between the groups of"
            f" {named(test['grouping'])} ({p})."
        )
    keys = {k: test[k] for k in ("grouping", "group", "model", "horizon_months")}
    slope, ratio = (inputs.row("fairness_groups", metric=m, **keys) for m in ("calibration_slope", "observed_expected"))
    told = []
    for row, name, above, below in (
        (slope, "slope", "too tame", "too extreme"),
        (ratio, "observed / expected", "too low", "too high"),
    ):
        if row is None or row["estimate"] is None:
            continue
        where = direction(row["lower"], row["upper"], 1.0)
        meaning = {"above": f", {above}", "below": f", {below}"}.get(where, "")
        told.append(f"{name} {interval(row)}{meaning}")
    return (
        f"Predictions of the {within(test['model'])} model do not hold in {named(test['grouping'])}:"
        f" {_group(test['group'])} ({'; '.join([*told, p])})."
    )


def _group(name: str) -> str:
    """A group; of crossed columns the class of each."""
    return ", ".join(level(part) for part in name.split(", "))


# --- figures ---------------------------------------------------------------------------------------------------------


def _last(inputs: ReportInputs) -> float:
    return inputs.settings.endpoint.horizons_months[-1]


def _measure(inputs: ReportInputs, model: str | None, grouping: str, group: str, metric: str) -> Row | None:
    """The row of a measure, at the last horizon where it has one; None where the group is too small to be told of."""
    rows = inputs.rows("fairness_groups", grouping=grouping, group=group, model=model, metric=metric)
    own = [r for r in rows if r["horizon_months"] in (None, _last(inputs))]
    return own[0] if own and not is_small(own[0]["n"], inputs.settings.min_cell) else None


def _groups(inputs: ReportInputs, grouping: str) -> list[str]:
    rows = inputs.rows("fairness_groups", grouping=grouping, metric="observed_expected")
    return list(dict.fromkeys(r["group"] for r in rows))


def _figures(inputs: ReportInputs, model: str, groupings: Sequence[str]) -> list[object]:
    found: list[object] = []
    outcome = inputs.settings.words
    for metric, sides, meaning, log in (
        ("calibration_slope", ("predictions too extreme", "too tame"), "Calibration slope", False),
        ("observed_expected", ("risks too high", "too low"), "Observed over expected events", True),
    ):
        lines = _lines(inputs, model, groupings, metric)
        if not any(line.estimate is not None for line in lines):
            continue
        told = "; ".join(f"{i.name} {i.text}" for i in lines if not i.heading)
        title = f"{meaning} of the {within(model)} model{outcome.at(_last(inputs))}"
        figure = charts.forest(
            lines, f"groups-{metric}", f"{title}: {told}.", f"{meaning} (1 = right)", sides, 1.0, log
        )
        whole = _measure(inputs, model, "", "", metric)
        sample = f"{inputs.sample(whole)}; held out. {sentence(readable(whole['method']))}." if whole else "Held out."
        caption = f"{sample} Intervals at {inputs.settings.level}, each on its own, not corrected for their number."
        found.append(Figure(figure, title, caption, 820, f"groups-{metric}"))
    return found


def _lines(inputs: ReportInputs, model: str, groupings: Sequence[str], metric: str) -> list[charts.Line]:
    colour = PROGNOSIS_MODELS.index(model)
    everyone = _measure(inputs, model, "", "", metric)
    lines = [_line("All patients", everyone, colour)]
    for grouping in groupings:
        lines.append(charts.Line(named(grouping), heading=True))
        lines += [
            _line(_group(g), _measure(inputs, model, grouping, g, metric), colour) for g in _groups(inputs, grouping)
        ]
    return lines


def _line(name: str, row: Row | None, colour: int) -> charts.Line:
    if row is None or row["estimate"] is None:
        return charts.Line(name, text=TOO_FEW if row is None else interval(row), row=row)
    positive = row["metric"] == "observed_expected"  # drawn on a logarithmic axis
    estimate, lower, upper = (
        max(row[k], LEAST) if positive and row[k] is not None else row[k] for k in ("estimate", "lower", "upper")
    )
    return charts.Line(name, estimate, lower, upper, interval(row), colour, row=row)


# --- tables ----------------------------------------------------------------------------------------------------------


def _table(inputs: ReportInputs, model: str, grouping: str) -> Table:
    outcome = inputs.settings.words
    columns = [("uno_c", outcome.c, 2), ("auc", "AUC(t)", 2), ("calibration_slope", "Slope", 2)]
    columns.append(("observed_expected", "Observed / expected", 2))
    if inputs.settings.endpoint.competing is None:  # else there are no bounds
        columns.append(("bound_coverage", "Outlive their bound", 2))
    shown = {r["metric"] for r in inputs.rows("fairness_groups", model=model) if r["estimate"] is not None}
    columns = [c for c in columns if c[0] in shown]
    timed = bool(inputs.rows("fairness_groups", metric="censored"))
    sizes = _sizes(inputs, model, grouping)
    body: list[list[Cell | str]] = []
    for group, size in zip(["", *_groups(inputs, grouping)], sizes, strict=True):
        of = grouping if group else ""
        cells: list[Cell | str] = [_group(group) if group else "All patients", size]
        for metric, _, decimals in columns:
            row = _measure(inputs, model, of, group, metric)
            cells.append(two_lines(row, decimals) if row else TOO_FEW)
        if timed:
            cells.append(_lost(inputs, of, group))
        body.append([*cells, _verdict(inputs, model, of, group)])
    head = ["Group", "n / events", *(name for _, name, _ in columns)]
    head += [*(["Lost before"] if timed else []), "Predictions hold?"]
    at = outcome.at(_last(inputs))
    return Table(
        f"{named(grouping)}: the {within(model)} model by group{at}.",
        head,
        body,
        frozenset(range(1, len(head) - 1)),
        _note(inputs, model, grouping, timed),
    )


def _sizes(inputs: ReportInputs, model: str, grouping: str) -> list[str]:
    """`n / events` of all patients and of each group, as they may be printed beside each other.

    Patients of no known group are one more cell. Where pairs of columns are crossed, one small cell could be had from
    the tables of both columns, so that all are rounded then.
    """
    metric = {"metric": "observed_expected", "model": model, "horizon_months": _last(inputs)}
    whole = inputs.row("fairness_groups", grouping="", **metric)
    rows = [inputs.row("fairness_groups", grouping=grouping, group=g, **metric) for g in _groups(inputs, grouping)]
    least = inputs.settings.min_cell
    printed = []
    for name in ("n", "events"):
        total = whole[name] if whole else 0
        cells = [r[name] if r else 0 for r in rows]
        every = [*cells, max(total - sum(cells), 0)]
        small = any(is_small(n, least) for n in every)
        texts = counts(every, least)[:-1]
        if small and BESIDE in grouping:
            texts = [f"<{least}" if n < least else about(n, least) for n in cells]
        printed.append([inputs.people(total) if name == "n" else f"{total:,}", *texts])
    return [f"{n} / {events}" for n, events in zip(*printed, strict=True)]


def _lost(inputs: ReportInputs, grouping: str, group: str) -> str:
    row = _measure(inputs, None, grouping, group, "censored")
    if row is None or row["estimate"] is None:
        return MISSING
    n, least = exact(row["n"]), inputs.settings.min_cell
    few = round(row["estimate"] * n)
    alike = inputs.public and few in (0, n)
    if alike or is_small(few, least) or is_small(n - few, least):
        return share(few, n, least)
    return f"≈{5 * round(20 * row['estimate'])} %"  # exact ones of a column and its crossings tell small cells


def _verdict(inputs: ReportInputs, model: str, grouping: str, group: str) -> Cell | str:
    test = inputs.row("fairness_tests", kind="holds", model=model, grouping=grouping, group=group)
    if test is None:
        return MISSING
    if test["p_holm"] is None:
        return Cell("not known", "unknown")
    p = f"{p_value(test['p_holm'])}, corrected"
    if test["flagged"]:
        return Cell("no", "mixed", p)
    slope = _measure(inputs, model, grouping, group, "calibration_slope")
    alone = slope is not None and direction(slope["lower"], slope["upper"], 1.0) in ("above", "below")
    return Cell("not refuted, though the slope alone excludes 1" if alone else "not refuted", "", p)


def _note(inputs: ReportInputs, model: str, grouping: str, timed: bool) -> str:
    test = inputs.row("fairness_tests", kind="differs", model=model, grouping=grouping)
    said = []
    if test is not None and test["p_holm"] is not None:
        word = "differs" if test["flagged"] else "is not seen to differ"
        said.append(
            f"Calibration {word} between {plural(test['groups'], 'group')} ({p_value(test['p_holm'])}, corrected;"
            f" {readable(test['method'])})."
        )
    elif test is not None:
        said.append(f"Whether calibration differs between groups is not known: {reason(test)}.")
    if timed:
        said.append("Lost before: share whose follow-up ends before the horizon without an event, to the nearest 5 %.")
    whys = dict.fromkeys(
        reason(r)
        for r in inputs.rows("fairness_groups", grouping=grouping, model=model)
        if r["estimate"] is None and r["horizon_months"] in (None, _last(inputs))
    )
    if whys:
        said.append(f"Not estimable: {join(list(whys))}.")
    return " ".join(said)


# --- updates ---------------------------------------------------------------------------------------------------------


def _updates(inputs: ReportInputs, models: Sequence[str], groupings: Sequence[str]) -> list[object]:
    rows = inputs.rows("fairness_recalibration")
    if not rows:
        return []
    head: list[object] = [Heading("What would an update within each group bring? Recalibration", "travel-update")]
    known = [r for r in rows if r["estimate"] is not None and not is_small(r["n"], inputs.settings.min_cell)]
    if not known:
        why = join(list(dict.fromkeys(reason(r) for r in rows)))
        return [*head, Text(f"Not known: {why}.")]
    gains = [r for r in known if r["state"] == "after less before"]
    more = sum(r["lower"] is not None and r["lower"] > 0 for r in gains)
    less = sum(r["upper"] is not None and r["upper"] < 0 for r in gains)
    text = (
        "Slope and baseline of each group learned on half of its held-out patients and judged on the other half, both"
        f" ways. Of {plural(len(gains), 'difference')} in net benefit (groups, models and thresholds from 10 to 50 %)"
        f" the whole interval is above 0 in {more} and below in {less}, each on its own, not corrected for their"
        " number. An update that brings nothing costs a little, as it is learned from few patients."
    )
    made = [_gains(inputs, m, groupings) for m in models]
    return [*head, Text(text), made[0], *([Fold("The same for the other model", made[1:])] if made[1:] else [])]


def _gains(inputs: ReportInputs, model: str, groupings: Sequence[str]) -> Table:
    body: list[list[Cell | str]] = []
    for grouping in groupings:
        for group in _groups(inputs, grouping):
            keys = {"grouping": grouping, "group": group, "model": model}
            cells: list[Cell | str] = [f"{named(grouping)}: {_group(group)}"]
            for metric in ("calibration_slope", "observed_expected"):
                ends = [
                    inputs.row("fairness_recalibration", state=s, metric=metric, **keys) for s in ("before", "after")
                ]
                shown = [MISSING if r is None or _hidden(inputs, r) else number(r["estimate"]) for r in ends]
                cells.append(f"{shown[0]} → {shown[1]}" if shown != [MISSING] * 2 else MISSING)
            for threshold in SHOWN:
                where = {"state": "after less before", "metric": "net_benefit", "threshold": threshold}
                row = inputs.row("fairness_recalibration", **where, **keys)
                cells.append(MISSING if row is None or _hidden(inputs, row) else _per_thousand(row))
            body.append(cells)
    head = ["Group", "Slope", "Observed / expected", *(f"Gain at {100 * p:g} %" for p in SHOWN)]
    first = next(iter(inputs.rows("fairness_recalibration", model=model)), None)
    method = f" {sentence(readable(first['method']).split('not estimable: ')[-1])}." if first else ""
    at = inputs.settings.words.at(_last(inputs))
    return Table(
        f"The {within(model)} model before and after an update within the group{at}.",
        head,
        body,
        frozenset(range(1, len(head))),
        f"Gain: net benefit after less before, per 1,000 patients, at three thresholds of risk.{method}",
    )


def _hidden(inputs: ReportInputs, row: Row) -> bool:
    return row["estimate"] is None or is_small(row["n"], inputs.settings.min_cell)


def _per_thousand(row: Row) -> Cell:
    text = interval(row, 0, 1000.0, sign=True)
    estimate, _, bounds = text.partition(" (")
    return Cell(estimate, below=bounds.removesuffix(")"))
