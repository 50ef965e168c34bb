"""Sections on who was studied and on the quality of what was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from stratiome import tables
from stratiome.numbers import rounded
from stratiome.report import figures
from stratiome.report.blocks import Cards, Cell, Figure, Fold, Heading, Note, Section, Table, Text
from stratiome.report.charts_quality import at_a_glance
from stratiome.report.disclosure import MISSING, about, beside, count, counts, exact, is_small, part, share
from stratiome.report.flow import diagram, merge_small
from stratiome.report.inputs import CROSS, GIVEN, LOCKED, SITES, TEMPORAL, ReportInputs
from stratiome.report.section_cohort_arms import GIVEN_OR_NOT, by_arm
from stratiome.report.section_cohort_size import merged_steps, sizes
from stratiome.report.traced import bare
from stratiome.report.words import file_name, join, label, level, months, number, plural, sentence, until

Row = Mapping[str, Any]

FEW_EVENTS = 100
"""Events below which the performance of a prognostic model is not judged reliably (Collins, Ogundimu & Altman 2016)."""

SITE_NAMES = frozenset({"site", "sites", "center", "centre", "hospital", "clinic", "institution"})
"""Words of a column's name that say that it holds sites."""

OPEN_CLASSES = 8
"""Classes of a column that stand open in the table of patients; where there are more, all are folded."""


def cohort(inputs: ReportInputs) -> Section:
    """Patient flow, omics, outcome and how the patients were split."""
    blocks: list[object] = [Cards(_cards(inputs)), *_competing(inputs), *_declared(inputs)]
    flow = inputs.rows("flow")
    what = inputs.settings.words.say("survival", "models of the response")
    if flow:
        blocks += [
            Heading("Patient flow", "cohort-flow"),
            Figure(
                diagram(flow, "flow", _told(flow), inputs.settings.min_cell, _locked_away(inputs), what),
                "From the clinical table to the analysis",
                "Nobody is dropped for lacking an omic. Patients without a usable outcome are left out of"
                f" {inputs.settings.words.say('survival models', what)} and tests only.",
                820,
                "flow",
            ),
            _with_locked(
                inputs,
                flow_table(
                    flow,
                    inputs.settings.min_cell,
                    "Patients at each step: how many came in, how many went on, and why the others left."
                    f"{merged_steps(flow, inputs.settings.min_cell)}",
                ),
            ),
            *sizes(inputs),
        ]
    with beside(()):  # what is told of classes here is a whole of its own
        blocks += [*_size(inputs), *_baseline(inputs)]
    overlap = inputs.rows("overlap_omics")
    if overlap:
        total = sum(r["n"] for r in overlap)
        least = inputs.settings.min_cell
        small = any(is_small(r["n"], least) for r in overlap)
        blocks += [
            Heading("Who has which omics", "cohort-omics"),
            Figure(
                figures.omic_overlap(
                    overlap,
                    "overlap",
                    f"Bars: patients by the set of omics that they have; the largest set is {overlap[0]['omics']}.",
                    inputs.settings.min_cell,
                ),
                "Patients by the set of omics that they have",
                f"n = {count(total, inputs.settings.min_cell)} patients. Filled dots are the omics of a set. A missing"
                f" omic is never filled in: the models see that it is missing.{_without(overlap, least)}"
                + (
                    f" Sets of fewer than {inputs.settings.min_cell} patients are drawn at one fixed length."
                    + " ≈ marks counts rounded to protect them." * (not inputs.public)
                    if small
                    else ""
                ),
                700,
                "omics",
            ),
        ]
    blocks += _splits(inputs)
    return Section("cohort", "Cohort and patient flow", _lede(inputs), blocks)


def _without(overlap: Sequence[Row], min_cell: int) -> str:
    none = next((r["n"] for r in overlap if r["omics"] == "none"), 0)
    return f" {count(none, min_cell)} patients have none; they stay with their clinical data." if none else ""


def _size(inputs: ReportInputs) -> list[object]:
    """Warnings of few events and of follow-up that is short for the horizons."""
    event = inputs.row("outcome_counts", status="event")
    said = _few_of_either(inputs)
    if inputs.settings.words.timed and event is not None and exact(event["n"]) < FEW_EVENTS:
        said.append(
            f"Only {count(event['n'], inputs.settings.min_cell)} events: with fewer than {FEW_EVENTS}, how well a model"
            " predicts cannot be judged reliably (Vergouwe et al. 2005; Collins et al. 2016). Expect wide intervals;"
            " nothing here carries a claim."
        )
    follow = inputs.row("baseline", variable="follow-up") if inputs.settings.words.timed else None
    last = max(inputs.settings.endpoint.horizons_months)
    if follow is not None and follow["value"] is not None and follow["value"] < last:
        said.append(
            f"Follow-up is short: half of the patients are followed for less than {number(follow['value'], 1)} months,"
            f" and the last horizon is {months(last)} months, where few patients tell."
        )
    return [Heading("How much the cohort can tell", "cohort-tells"), Note(" ".join(said), "care")] if said else []


def _few_of_either(inputs: ReportInputs) -> list[str]:
    """That a response, or its lack, is rare: the rarer of the two says how much a cohort can tell."""
    rows = [inputs.row("outcome_counts", status=s) for s in ("event", "censored")]
    known = [(r["n"], s) for r, s in zip(rows, (inputs.settings.words.failure, "a response"), strict=True) if r]
    if inputs.settings.words.timed or not known or exact(min(known)[0]) >= FEW_EVENTS:
        return []
    (n, what), least = min(known), inputs.settings.min_cell
    shown = count(n, least) if is_small(n, least) else about(n, least)
    return [
        f"Only {shown} patients with {what}: with fewer than {FEW_EVENTS} of either outcome, how well a model predicts"
        " cannot be judged reliably (Vergouwe et al. 2005; Collins et al. 2016). Expect wide intervals."
    ]


def _rounding(inputs: ReportInputs) -> str:
    """Which counts are rounded."""
    if inputs.public and inputs.settings.min_cell > 1:
        return f"Counts are rounded to multiples of {inputs.settings.min_cell}, and shares are of rounded counts."
    return "≈ marks counts rounded to protect a small one."


def _baseline(inputs: ReportInputs) -> list[object]:
    """Table 1: the patients by clinical column, their sites, and how long they were followed."""
    rows = inputs.rows("baseline", treatment=None)
    if not rows:
        return []
    least = inputs.settings.min_cell
    rows = sorted(rows, key=lambda r: r["kind"] != "months")  # first how long they were followed
    body: list[list[Cell | str]] = []
    folds: list[object] = []
    given = {t.column for t in inputs.settings.treatments.values() if t.column}
    for variable in dict.fromkeys(r["variable"] for r in rows):
        here = [r for r in rows if r["variable"] == variable]
        classes = [r for r in here if r["kind"] == "share"]
        body += [[*_number(r, inputs), _lacking(r, inputs)] for r in here if r["kind"] != "share"]
        if not classes:
            continue
        lines = _classes(variable, classes, least, GIVEN_OR_NOT if variable in given else {})
        if len(classes) <= OPEN_CLASSES:
            body += lines
            continue
        name = sentence(label(variable))
        largest = max(r["count"] or 0 for r in classes)
        small = sum(is_small(r["count"], least) for r in classes)
        few = f"{small} classes with fewer than {least} patients each"
        if small == len(classes):
            body.append([f"{name}: {few}", f"<{least} each", lines[0][2]])
            continue
        body.append([f"{name}: {len(classes)} classes", f"largest {count(largest, least)}", lines[0][2]])
        if small > OPEN_CLASSES:
            kept = [x for x, r in zip(lines, classes, strict=True) if not is_small(r["count"], least)]
            kept[0] = [*kept[0][:2], lines[0][2]]
            lines = [*kept, [f"{name}: {few}", f"<{least} each", ""]]
        head = ["", "Patients", "Missing"]
        folds.append(
            Fold(
                f"{name}: all {len(classes)}",
                [Table(f"Patients by {label(variable)}.", head, lines, frozenset({1, 2}))],
            )
        )
    note = (
        "Numbers: mean (standard deviation), or median (first to third quartile) where they are skewed, of patients"
        " with a value. Classes, whole numbers of few values and sites: patients (share of those with a value)."
        " Missing: patients (share of the cohort). Patients with an outcome and without alike; nothing is tested."
        f" {_rounding(inputs)} Models take a missing number at the training"
        " median, a missing class as the reference, with an indicator of missingness beside either."
    )
    table = Table("Patients at time zero.", ["", "Patients", "Missing"], body, frozenset({1, 2}), note)
    return [Heading("Who they are", "cohort-who"), table, *folds, *by_arm(inputs), *_once(inputs)]


def _once(inputs: ReportInputs) -> list[object]:
    """What a reader would look for and a response does not have."""
    if inputs.settings.words.timed:
        return []
    return [
        Text(
            f"The outcome ({inputs.settings.endpoint.response}) is assessed once in each patient and has no time: there"
            " is nobody to follow further, so no length of observation is given, and no curves over time are drawn."
        )
    ]


def _number(row: Row, inputs: ReportInputs) -> list[str]:
    name = sentence(label(row["variable"]))
    if is_small(row["n"], inputs.settings.min_cell):
        return [name, f"n <{inputs.settings.min_cell}"]
    if row["kind"] == "months":
        text = number(row["value"], 1)
        if row["value"] is not None and row["lower"] is not None and row["upper"] is not None:
            text += f" ({number(row['lower'], 1)} to {number(row['upper'], 1)})"
        return [f"{name}, months: median by reverse Kaplan–Meier, {inputs.settings.level} interval", text]
    if row["kind"] == "median":
        quartiles = f" ({number(row['lower'], 1)} to {number(row['upper'], 1)})" if row["lower"] is not None else ""
        return [f"{name}, median (IQR)", f"{number(row['value'], 1)}{quartiles}"]
    spread = f" ({number(row['sd'], 1)})" if row["sd"] is not None else ""
    return [f"{name}, mean (SD)", f"{number(row['value'], 1)}{spread}" if row["value"] is not None else "–"]


def _lacking(row: Row, inputs: ReportInputs) -> str:
    """Patients without a value and their share of the cohort; of the follow-up, those without a usable outcome."""
    least = inputs.settings.min_cell
    whole = row["n"] + row["missing"]
    if row["kind"] != "months":
        lacking = part(row["missing"], whole, least)
        return f"{lacking} ({share(row['missing'], whole, least)})" if row["missing"] else "0"
    read = inputs.rows("flow", step="outcome")
    lost = read[0]["n_in"] - row["n"] if read else 0
    return f"{count(lost, least)} ({share(lost, read[0]['n_in'], least)})" if lost > 0 else "0"


def _classes(variable: str, rows: Sequence[Row], min_cell: int, meaning: Mapping[str, str]) -> list[list[Cell | str]]:
    # Classes and the missing add up to the cohort, whose size is printed: one small cell takes another with it.
    cells = [*(r["count"] or 0 for r in rows), rows[0]["missing"]]
    *printed, missing = counts(cells, min_cell)
    if rows[0]["missing"] >= min_cell and not missing.startswith("≈"):
        missing += f" ({share(rows[0]['missing'], sum(cells), min_cell)})"
    blurred = is_small(rows[0]["missing"], min_cell) and any(p.startswith("≈") for p in printed)
    body: list[list[Cell | str]] = []
    for i, (r, text) in enumerate(zip(rows, printed, strict=True)):
        n, name = r["count"] or 0, level(r["level"])
        if text.startswith("≈"):
            n = int(bare(text).removeprefix("≈").replace(",", ""))
        part_of = share(n, r["n"], min_cell) if n else "0 %"
        if blurred and n >= min_cell:
            part_of = f"≈{10 * round(10 * n / r['n'])} %"  # an exact share would tell how many have a value
        body.append(
            [f"{sentence(label(variable))}: {meaning.get(name, name)}", f"{text} ({part_of})", "" if i else missing]
        )
    return body


def _told(flow: Sequence[Row]) -> str:
    omics = [label(r["scope"]) for r in flow if r["step"] == "read" and r["scope"] != "clinical table"]
    return f"Flow of patients from the clinical table to those with a usable outcome, and those with {join(omics)}."


def _competing(inputs: ReportInputs) -> list[object]:
    """How many died of another cause, and which curves allow for that."""
    condition = inputs.settings.endpoint.competing
    if condition is None:
        return []
    row = inputs.row("outcome_counts", status="competing")
    died = count(row["n"], inputs.settings.min_cell) if row else "An unrecorded number of"
    return [
        Note(
            f"{died} patients died of another cause ({condition}). Predicted and observed risks in the section on"
            " prognosis allow for these deaths: they are absolute risks, observed ones by the Aalen–Johansen estimate."
            " So do curves, differences and gains by treatments, of all and of single patients: they are of being free"
            " of the event where patients also die of other causes. In survival curves of subgroups and hazard ratios"
            " these patients count as censored from then on: those are cause-specific. They are not absolute risks: one"
            " minus such a curve overstates the risk where other deaths are frequent.",
            "care",
        )
    ]


def _declared(inputs: ReportInputs) -> list[object]:
    """What the config says of the clinical columns."""
    columns = inputs.settings.data.columns
    rows: list[list[Cell | str]] = []
    for name, c in columns.items():
        low, high = ("" if b is None else f"{b:g}" for b in (c.minimum, c.maximum))
        bounds = f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}" if high else ""
        spelt = ", ".join(f"{_spelling(k)} → {_meaning(v)}" for k, v in c.values.items())
        when = c.available_at
        known = f"{when:g} {inputs.settings.endpoint.unit} after time zero" if isinstance(when, float) else when or ""
        rows.append([label(name), c.type or "by its values", c.unit or "", bounds, spelt, known])
    head = ["Column", "Type", "Unit", "Bounds", "Spellings", "Known at"]
    caption = "What the config declares of clinical columns; what is known later than time zero is left out."
    return [Fold("Clinical columns as declared", [Table(caption, head, rows)])] if rows else []


def _spelling(text: str) -> str:
    """A spelling; a measured number, which may be that of one patient, is not given."""
    return "a number" if re.fullmatch(r"[+-]?\d*[.]\d+", text) else text


def _meaning(value: str | float | None) -> str:
    return "missing" if value is None else f"{value:g}" if isinstance(value, float) else value


def _outcome(inputs: ReportInputs) -> tuple[int | None, int | None]:
    """Patients with a usable outcome and events among them, as the models to publish had them."""
    rows = inputs.rows("models", resample="full")
    return (max(r["n"] for r in rows), max(r["events"] for r in rows)) if rows else (None, None)


def _usable(inputs: ReportInputs) -> tuple[int | None, int | None, int]:
    """Patients with a usable outcome and events, locked ones among them, and the events that are locked away."""
    n, events = _outcome(inputs)
    row = inputs.row("resample_summary", design=LOCKED)
    flow = inputs.rows("flow", step="outcome")
    if row is None or n is None or events is None or not flow:
        return n, events, 0
    return flow[-1]["n_out"], events + row["events_test"], row["events_test"]


def _events_told(inputs: ReportInputs) -> tuple[str, str]:
    """All events and those that are locked away, of which neither gives away the other."""
    _, events, locked = _usable(inputs)
    least = inputs.settings.min_cell
    if events is not None and is_small(locked, least):
        return about(events, least), count(locked, least)
    return count(events, least), count(locked, least)


def _locked_away(inputs: ReportInputs) -> tuple[str, str] | None:
    """Who is in the locked test set, and who is left for everything else; None without such a set."""
    row = inputs.row("resample_summary", design=LOCKED)
    n, events = _outcome(inputs)
    if row is None or n is None:
        return None
    least = inputs.settings.min_cell
    locked = f"{count(row['n_test'], least)} patients, with {count(row['events_test'], least)} events"
    return locked, f"{inputs.size(n)}, {count(events, least)} events"


def _with_locked(inputs: ReportInputs, table: Table) -> Table:
    """Patient flow with the locked test set as its last step."""
    row = inputs.row("resample_summary", design=LOCKED)
    if row is None or _outcome(inputs)[0] is None:
        return table
    n, usable = _outcome(inputs)[0], _usable(inputs)[0]
    left = part((usable or 0) - (n or 0), row["n_test"], inputs.settings.min_cell)
    why = "Locked test set: looked at once, at the end"
    return replace(
        table, rows=[*table.rows, ["Locked", "endpoint", inputs.people(usable), left, inputs.people(n), why]]
    )


def _patients(inputs: ReportInputs) -> int:
    """Patients of the analysis, whatever their role."""
    full = inputs.row("resample_summary", design="full")
    return full["n_train"] + full["n_test"] + full["n_out"] if full else 0


def _lede(inputs: ReportInputs) -> str:
    n, events = _outcome(inputs)
    least = inputs.settings.min_cell
    free = " outside the locked test set" if inputs.resamples(LOCKED) else ""
    failed = f"with {count(events, least)} events"
    if not inputs.settings.words.timed:
        failed = f"{count(events, least)} of them with {inputs.settings.words.failure}, the event"
    usable = f" {inputs.people(n)}{free} have a usable outcome, {failed}."
    outcome = usable if n is not None else ""
    return (
        inputs.settings.description.strip() + outcome
    ).strip() or "Who was studied, what was measured, and who was left out."


def _cards(inputs: ReportInputs) -> list[tuple[str, int, Sequence[tuple[str, str]]]]:
    settings = inputs.settings
    n = _usable(inputs)[0]
    told, events_away = _events_told(inputs)
    patients = _patients(inputs)
    least = settings.min_cell
    row = inputs.row("resample_summary", design=LOCKED)
    locked = [("of these locked away", f"{count(row['n_test'], least)}, {events_away} events")] if row else []
    omics = list(inputs.quality) or sorted({r["omic"] for r in inputs.rows("quality_summary")})
    return [
        (
            "Patients",
            0,
            [
                ("in the analysis", count(patients, least) if patients else "–"),
                ("with outcome", inputs.people(n)),
                (settings.words.say("events", settings.words.failure), told),
                *locked,
            ],
        ),
        (
            "Outcome",
            0,
            _endpoint(inputs),
        ),
        (
            "Measured",
            0,
            [
                ("omics", ", ".join(label(o) for o in omics) or "–"),
                ("clinical baseline", ", ".join(label(c) for c in settings.covariates) or "none"),
                ("site", f"column `{settings.site}`" if settings.site else "not given"),
            ],
        ),
    ]


def _endpoint(inputs: ReportInputs) -> list[tuple[str, str]]:
    endpoint, words = inputs.settings.endpoint, inputs.settings.words
    if not words.timed:
        column = str(endpoint.response)
        return [("response", f"{column} = 1"), ("event", f"{words.failure} ({column} = 0)"), ("time", "assessed once")]
    horizons = ", ".join(months(h) for h in endpoint.horizons_months)
    event = inputs.settings.event or "death of any cause"
    found = [
        ("event", f"{event} (column `{endpoint.event}`)"),
        ("time", f"from time zero to the event or the end of follow-up (column `{endpoint.time}`)"),
        ("horizons, months", horizons),
    ]
    follow = inputs.row("baseline", kind="months", treatment=None)
    return found + ([("median follow-up, months", _number(follow, inputs)[1])] if follow else [])


def summary(inputs: ReportInputs) -> list[str]:
    """Size of the study in a few words, for the head of the page."""
    n = _usable(inputs)[0]
    events, away = _events_told(inputs)
    least = inputs.settings.min_cell
    sites = {r["site"] for r in inputs.rows("latent_map") if r["site"] is not None}
    patients = _patients(inputs)
    said = [f"{count(patients, least)} patients"] if patients else []
    said += _excluded(inputs)
    failed = inputs.settings.words.say(f"{events} events", f"{events} with {inputs.settings.words.failure}")
    said += [f"{inputs.people(n)} with outcome", failed] if n is not None else []
    row = inputs.row("resample_summary", design=LOCKED)
    said += [f"of these {count(row['n_test'], least)} patients with {away} events locked away"] if row else []
    follow = inputs.row("baseline", kind="months", treatment=None) if inputs.settings.words.timed else None
    if follow is not None and follow["value"] is not None:
        said.append(f"median follow-up {number(follow['value'], 1)} months")
    said += [plural(len(inputs.quality), "omic")] * bool(inputs.quality)
    return said + [_sites(inputs, len(sites))] * (inputs.settings.site is not None and len(sites) > 1)


def _excluded(inputs: ReportInputs) -> list[str]:
    """`529 excluded (no usable outcome)`, or nothing."""
    steps = inputs.rows("flow", step="outcome")
    lost = steps[0]["n_in"] - steps[-1]["n_out"] if steps else 0
    return [f"{count(lost, inputs.settings.min_cell)} without a usable outcome excluded"] if lost > 0 else []


def _sites(inputs: ReportInputs, n: int) -> str:
    """`9 sites`; where the column is called otherwise, as that: `9 sites (column cohort)`."""
    site = inputs.settings.site or ""
    return f"{n} sites" if SITE_NAMES.intersection(site.lower().split("_")) else f"{n} sites (values of {label(site)})"


def flow_table(flow: Sequence[Row], min_cell: int, caption: str) -> Table:
    """Patient flow with the number lost at each step; numbers that differ by a small cell are blurred throughout.

    Parameters
    ----------
    flow
        Rows of `PatientFlow`.
    min_cell
        Smallest count that may be printed.
    """
    flow = merge_small([r for r in flow if r["step"] != "omics"], min_cell)  # nobody is left out for lacking omics
    rows: list[list[Cell | str]] = []
    hidden: dict[tuple[str, int], str] = {}
    for r in flow:
        told = _step_told(r, hidden.get((r["scope"], r["n_in"])), min_cell)
        if told[2] != f"{r['n_out']:,}":
            hidden[r["scope"], r["n_out"]] = told[2]
        rows.append([sentence(label(r["step"])), label(r["scope"]), *told, sentence(r["reason"])])
    return Table(caption, ["Step", "Concerns", "In", "Left out", "Went on", "Why"], rows, frozenset({2, 3, 4}))


def _step_told(row: Row, blurred: str | None, min_cell: int) -> tuple[str, str, str]:
    """Who came in, left and went on, of which no two give away a small third.

    `blurred` is who came in as the row above tells it, None if nothing was blurred there.
    """
    n_in, n_out, lost = row["n_in"], row["n_out"], row["n_in"] - row["n_out"]
    before = blurred or count(n_in, min_cell)
    if lost == 0:
        return before, "0", before
    if row["step"] == "read" and is_small(lost, min_cell):
        return about(n_in, min_cell), count(lost, min_cell), count(n_out, min_cell)  # who went on is told elsewhere too
    if blurred is None:
        return before, part(lost, n_in, min_cell), part(n_out, n_in, min_cell)
    # What was left in the row above must not come out by adding this one up.
    near = count(n_out, min_cell) if n_out < min_cell else about(n_out, min_cell)
    if not before.startswith(">"):
        return before, count(lost, min_cell) if lost < min_cell else about(lost, min_cell), near
    bound = int(bare(before)[1:].replace(",", "")) - (min_cell if is_small(lost, min_cell) else lost)
    if bound >= min_cell:
        return before, count(lost, min_cell), f">{bound:,}"
    return before, count(lost, min_cell) if lost < min_cell else about(lost, min_cell), near


def _splits(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("resample_summary")
    if not rows:
        return []
    number_of = {design: len(inputs.resamples(design)) for design in tables.DESIGNS}
    kinds = [
        f"{number_of[CROSS]} of cross-validation" * bool(number_of[CROSS]),
        f"{number_of[GIVEN]} given in a file" * bool(number_of[GIVEN]),
        _site_splits(inputs, number_of[SITES]),
        "one that holds out the later patients" * bool(number_of[TEMPORAL]),
        "one for the locked test set" * bool(number_of[LOCKED]),
    ]
    text = (
        "Everything that is learned is learned on the training patients of a split, and judged on patients that it has"
        f" not seen. Splits: {join([k for k in kinds if k])}.{small_sites(inputs)}"
    )
    notes = [Text(t) for t in (_given(inputs), _by_time(inputs), _locked(inputs)) if t]
    least = inputs.settings.min_cell
    body = [
        [r["resample"], sentence(r["design"]), *counts([r["n_train"], r["n_test"], r["n_out"]], least), *events]
        for r, events in zip(rows, _events(rows, least), strict=True)
    ]
    head = ["Split", "Design", "Training", "Held out", "Not used", "Events in training", "Events held out"]
    sizes = Table("Patients in each split.", head, body, frozenset(range(2, 7)))
    return [
        Heading("How patients were split", "cohort-splits"),
        Text(text),
        *notes,
        Fold("Size of every split", [sizes]),
    ]


def _site_splits(inputs: ReportInputs, n: int) -> str:
    """How many splits hold out sites, and whether one at a time; "" if none does."""
    together = sum(len(inputs.settings.sites.get(s, [])) > 1 for s in inputs.resamples(SITES))
    if not n or not together:
        return f"{n} that hold out one site each" if n else ""
    alone = [f"{n - together} that hold{'s' if n - together == 1 else ''} out one site"] * (n > together)
    return join([*alone, f"{together} that hold{'s' if together == 1 else ''} out small sites together"])


def _events(rows: Sequence[Row], min_cell: int) -> list[tuple[str, str]]:
    """Events in training and held out, of which neither gives away the other by the printed total.

    Held-out events of a design add up to the total as well, so a single small cell takes the next smallest with it.
    """
    hidden = [is_small(r["events_test"], min_cell) or is_small(r["n_test"] - r["events_test"], min_cell) for r in rows]
    for design in dict.fromkeys(r["design"] for r in rows):
        here = [i for i, r in enumerate(rows) if r["design"] == design]
        open_ = sorted((rows[i]["events_test"], i) for i in here if not hidden[i])
        if sum(hidden[i] for i in here) == 1 and open_:
            hidden[open_[0][1]] = True
    printed = []
    for r, hide in zip(rows, hidden, strict=True):
        trained = about(r["events_train"], min_cell) if hide else part(r["events_train"], r["n_train"], min_cell)
        tested = part(r["events_test"], r["n_test"], min_cell)
        exact = hide and tested == f"{r['events_test']:,}"
        printed.append((trained, about(r["events_test"], min_cell) if exact else tested))
    return printed


def _given(inputs: ReportInputs) -> str:
    rows = inputs.rows("resample_summary", design=GIVEN)
    if not rows:
        return ""
    least = inputs.settings.min_cell
    said = f"The given splits were read from {file_name(inputs.settings.resamples.file)}."
    silent = max(r["n_unplaced"] for r in rows)
    if silent:
        most = "up to " * (len(rows) > 1 and not is_small(silent, least))
        said += f" It says nothing of {most}{count(silent, least)} patients, who take no part in them."
    if any(r["n_locked"] for r in rows):
        said += " Patients of the locked test set are left out of them, so they are not quite the splits as given."
    return said


def _by_time(inputs: ReportInputs) -> str:
    row, settings = inputs.row("resample_summary", design=TEMPORAL), inputs.settings.resamples.temporal
    if row is None or settings is None:
        return ""
    said = f"The split by time trains on patients with {label(settings.column)} up to {until(settings.train_until)}"
    said += " and holds out the later ones."
    if row["n_unplaced"]:
        said += f" {count(row['n_unplaced'], inputs.settings.min_cell)} patients without a date take no part in it."
    return said


def _locked(inputs: ReportInputs) -> str:
    row = inputs.row("resample_summary", design=LOCKED)
    if row is None:
        return ""
    trained, held_out = counts([row["n_train"], row["n_test"]], inputs.settings.min_cell)
    return (
        f"A test set of {held_out} patients is locked: no other split uses them, and neither do the subgroups, the"
        f" treatment effects or the model to publish, which is trained on the other {trained} patients. The locked"
        " patients are looked at once, by models trained on those same patients."
    )


def small_sites(inputs: ReportInputs) -> str:
    """Which sites are too small to be held out on their own, and what became of them."""
    settings = inputs.settings
    if settings.site is None:
        return ""
    if not settings.resamples.leave_site_out:
        return f" Sites ({label(settings.site)}) are not held out: `resamples.leave_site_out` is off."
    known = sorted({r["site"] for r in inputs.rows("latent_map") if r["site"] is not None})
    limit = f"fewer than {settings.resamples.min_site} patients with an outcome"
    together = [s for members in settings.sites.values() if len(members) > 1 for s in members]
    names = _some(together)
    never = [s for s in known if not any(s in members for members in settings.sites.values())]
    said = ""
    if together:
        said += f" {len(together)} sites ({names}) have {limit} each and are held out together."
    if never and settings.sites:
        said += f" Not held out, with {limit}: {len(never)} of {plural(len(known), 'site')} ({_some(never)})."
    elif never:
        said += (
            f" No site is held out, because fewer than two have {settings.resamples.min_site} patients with an outcome."
        )
    return said


def _some(names: Sequence[str]) -> str:
    return join(names) if len(names) <= 6 else f"{', '.join(names[:5])} and {len(names) - 5} more"


def quality(inputs: ReportInputs) -> Section:
    """Metrics, figure and flagged features of each omic."""
    inputs.note("quality", "quality_bars")
    names = list(dict.fromkeys([*inputs.quality, *(r["omic"] for r in inputs.rows("quality_summary"))]))
    blocks: list[object] = [] if names else [Note("No quality tables were given.")]
    for name in names:
        blocks.append(Heading(sentence(label(name)), anchor=f"quality-{name}"))
        blocks += _omic(inputs, name)
    told = [f for omic, f in inputs.quality.items() if omic not in inputs.rare]
    flagged = sum(f.filter(pl.col("flag") != "").height for f in told)
    features = sum(f.height for f in told)
    lede = "Nothing is removed here; what is flagged is shown, and the models decide on the training patients only."
    if features:
        lede = f"{flagged:,} of {plural(features, 'feature')} {'carries' if flagged == 1 else 'carry'} a flag. {lede}"
    return Section("quality", "Data quality", lede, blocks)


def _omic(inputs: ReportInputs, name: str) -> list[object]:
    least = inputs.settings.min_cell
    if name in inputs.rare:
        return [Note(f"Fewer than {least} patients have {label(name)}, so nothing else is said of it.")]
    blocks: list[object] = []
    metrics = inputs.rows("quality_summary", omic=name)
    if metrics:
        rows = [[sentence(r["metric"]), _metric(r, least), r["note"] or MEANINGS.get(r["metric"], "")] for r in metrics]
        blocks.append(Table(f"Quality of {label(name)}.", ["Metric", "Value", "Meaning"], rows, frozenset({1})))
    bars = inputs.rows("quality_bars", omic=name)
    if bars and inputs.public:
        blocks.append(Note("How its values are spread over patients is drawn in the internal report."))
    elif bars:
        told = f"Distribution of the values, of the patients' summaries and of missingness of {label(name)}."
        caption = (
            "Values as given, spread over patients, and missing values per feature. All patients who have this omic;"
            " not held out. The bars of patients have no scale, which would tell of few."
        )
        drawing = at_a_glance(bars, f"q-{name}", told)
        blocks.append(Figure(drawing, f"{sentence(label(name))} at a glance", caption, 820, name))
    table = inputs.quality.get(name)
    flagged = table.filter(pl.col("flag") != "").to_dicts() if table is not None else []
    if flagged:
        rows = [_flagged(r, least) for r in flagged[:40]]
        more = f" The first 40 of {len(flagged):,}." if len(flagged) > 40 else ""
        blocks.append(
            Fold(
                plural(len(flagged), "flagged feature"),
                [
                    Table(
                        f"Features of {label(name)} with a flag.{more}",
                        ["Feature", "n", "Missing", "Mean", "SD", "Flag"],
                        rows,
                        frozenset({1, 2, 3, 4}),
                    )
                ],
            )
        )
    return blocks


def _flagged(row: Row, min_cell: int) -> list[Cell | str]:
    """Line of a feature with a flag; the values of few patients are not described."""
    if is_small(row["n"], min_cell):
        described = [MISSING] * 3
    else:
        moments = [_moment(row[c]) for c in ("mean", "sd")]
        described = [f"{100 * row['missing']:.0f} %", *moments]
    return [row["feature"], count(row["n"], min_cell), *described, Cell(row["flag"], "mixed")]


def _moment(value: float | None) -> str:
    """A mean or SD; one that a single extreme makes huge is rounded like the extreme."""
    return number(value) if value is None or abs(value) < HUGE else rounded(value).replace("-", "−")


HUGE = 1e4
"""Means and SDs from which decimals say nothing but the value of an extreme."""


MEANINGS = {
    "patients with the same values as another": "duplicates, or one sample under two identifiers; none is best",
}
"""Meaning of metrics whose table leaves it open."""


EXTREMES = ("largest value", "values on a linear scale")
"""Metrics that are the value of one patient, by how their names begin."""


def _metric(row: Row, min_cell: int) -> str:
    value = row["value"]
    if value is None:
        return "–"
    if "patients" in row["metric"]:
        return count(round(value), min_cell)
    if row["metric"] == "missing values" and value == 0:
        return "none"
    if row["metric"] == "missing values" or row["note"].startswith("share"):
        return f"{100 * value:.1f} %"
    if row["metric"].startswith(EXTREMES):
        return rounded(value)
    return f"{value:,.0f}" if abs(value - round(value)) < 1e-9 else number(value, 2)
