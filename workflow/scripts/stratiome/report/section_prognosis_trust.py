"""Part of the section on prognosis that says how far models can be trusted.

Sample size, instability, proportional hazards and the spread of the ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import charts
from stratiome.report.blocks import Cell, Heading, Note, Panels, Table, Text
from stratiome.report.disclosure import count
from stratiome.report.fitted import unfitted
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import (
    interval,
    join,
    label,
    months,
    number,
    p_cell,
    p_value,
    plural,
    readable,
    reason,
    term,
    within,
)
from stratiome.tables import PROGNOSIS_MODELS

Row = Mapping[str, Any]


def trust(inputs: ReportInputs) -> list[object]:
    """Everything on trust that there is; nothing where nothing was computed."""
    blocks = [*_sample_size(inputs), *_instability(inputs), *_optimism(inputs), *_spread(inputs)]
    return (
        [Heading("How far can these models be trusted? Sample size, instability, optimism", "prognosis-trust"), *blocks]
        if blocks
        else []
    )


def too_few(inputs: ReportInputs, models: Sequence[str]) -> str:
    """That there are fewer patients than are asked for, of models that a verdict praises; "" if there are enough."""
    rows = [r for m in models for r in inputs.rows("sample_size", model=m) if r["met"] is False]
    said = [f"{within(r['model'])} {r['asked']:,} for {plural(r['parameters'], 'candidate column')}" for r in rows]
    if not said:
        return ""
    return (
        f"Riley's criteria ask for more patients than there are ({inputs.size(rows[0]['n'])}): {join(said)}. See how it"
        " does on other patients before it is used."
    )


def _sample_size(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("sample_size")
    if not rows:
        return []
    least = inputs.settings.min_cell
    body: list[list[Cell | str]] = []
    for r in rows:
        known = r["asked"] is not None
        verdict = Cell("enough", "yes") if r["met"] else Cell("too few", "mixed") if known else Cell("–", "unknown")
        needed = [f"{r[c]:,}" if known else "–" for c in ("for_shrinkage", "for_optimism", "for_risk")]
        size = [inputs.people(r["n"]), count(r["events"], least), f"{r['parameters']:,}"]
        body.append([label(r["model"]), verdict, *size, *needed])
    unknown = dict.fromkeys(reason(r) for r in rows if r["asked"] is None)
    note = (
        "Patients asked for by the criteria of Riley et al."
        f" 2019{inputs.settings.words.at(rows[0]['horizon_months'])}, every"
        " candidate column counted, chosen or not: coefficients shrunk by at most a tenth; R squared at most 0.05 too"
        " high; the overall risk within 0.05. 15 % of the largest possible R squared is expected. The criteria are"
        " those of a model without penalty; what a penalty saves is not known beforehand. For forests, networks and"
        " their stack there are none." + "".join(f" Not known: {why}." for why in unknown)
    )
    head = ["Model", "Sample size", "n", "Events", "Candidate columns", "For shrinkage", "For R squared", "For risk"]
    table = Table("Are there patients enough for so many columns?", head, body, frozenset(range(2, 8)), note)
    settings = inputs.settings.prognosis
    flexible = [r for r in inputs.rows("models", resample="full") if r["model"] in ("forest", "deep")]
    if settings is None or settings.deep_override is None or not flexible:
        return [table]
    text = (
        f"Forest and deep model may run with fewer than {settings.deep_min_events} training events, since the config"
        f" says: “{settings.deep_override}”"
    )
    return [table, Note(text, "care")]


def _instability(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("instability")
    settings = inputs.settings.prognosis
    if not rows:
        off = settings is not None and settings.instability == 0
        return [Note("How much predictions move was not looked at (`prognosis.instability: 0`).")] if off else []
    keys = list(dict.fromkeys((r["model"], r["horizon_months"]) for r in rows))
    thresholds = sorted({r["threshold"] for r in rows if r["threshold"] is not None})
    body = []
    for model, horizon in keys:
        here = [r for r in rows if r["model"] == model and r["horizon_months"] == horizon]
        value = {(r["quantity"], r["threshold"]): r["value"] for r in here}
        moved = [number(100 * value[q, None], 1) for q in ("mean", "median", "p90", "p95")]
        body.append([label(model), months(horizon), *moved, *(_percent(value.get(("changed", t))) for t in thresholds)])
    head = ["Model", "Months", "Mean", "Median", "90th percentile", "95th"]
    head += [f"Changes sides at {100 * t:.0f} %" for t in thresholds]
    note = (
        f"{inputs.size(rows[0]['n'])}. Models were learned anew in bootstrap samples of {inputs.everyone} (Riley &"
        " Collins 2023) and applied to these patients; shown is how far a patient's predicted risk lies from that of"
        " the model itself, in percentage points: the mean over samples, then over patients its mean and percentiles;"
        f" and how often it changes sides at a threshold. {_draws(rows)} Latents, features and fill values were kept as"
        " they are, so that the instability of the models with omics is understated."
    )
    table = Table("How much predicted risks move", head, body, frozenset(range(1, len(head))), note)
    return [inputs.settings.words.untimed(table), *_bands(inputs)]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _draws(rows: Sequence[Row]) -> str:
    """In how many samples each model could be learned."""
    drawn = {r["model"]: r["draws"] for r in rows}
    if len(set(drawn.values())) == 1:
        return f"{plural(next(iter(drawn.values())), 'sample')}."
    return f"Samples: {join([f'{within(m)} {n:,}' for m, n in drawn.items()])}."


def _sampled(inputs: ReportInputs) -> str:
    """Of how many patients, and in how many samples models were learned anew."""
    rows = inputs.rows("instability")
    learned = f" Learned anew in bootstrap samples of {inputs.everyone} (Riley & Collins 2023)"
    return f" {inputs.size(rows[0]['n'])}.{learned}; {_draws(rows)}" if rows else ""


def _bands(inputs: ReportInputs) -> list[object]:
    least = inputs.settings.min_cell
    rows = inputs.rows("bands")
    last = max((r["horizon_months"] for r in rows), default=None)
    panels = []
    for model in dict.fromkeys(r["model"] for r in rows):
        kept = [r for r in rows if r["model"] == model and r["horizon_months"] == last and r["n"] >= least]
        if len(kept) < 2:
            continue
        told = "Range of predictions: " + ", ".join(
            f"{_percent(r['lower'])} to {_percent(r['upper'])} around {_percent(r['predicted'])}" for r in kept
        )
        slug = f"bands-{model}"
        panels.append((label(model), charts.bands(kept, PROGNOSIS_MODELS.index(model), slug, f"{told}.")))
    if not panels or last is None:
        return []
    caption = (
        f"Predicted risk{inputs.settings.words.at(last)} against the range in which 95 % of the predictions for the"
        " same patient lie when the model is learned anew, means over groups of patients by predicted risk. Groups of"
        f" fewer than {least} patients are not drawn.{_sampled(inputs)} It is the range of the prediction, not of the"
        " patient's outcome."
    )
    return [Panels("Instability of predictions", panels, caption, 276, "instability")]


def _optimism(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("optimism")
    if not rows:
        return []
    body = []
    for r in rows:
        name, decimals = inputs.settings.words.metrics[r["metric"]]
        key = {"model": r["model"], "metric": r["metric"], "horizon_months": r["horizon_months"], "versus": None}
        held = inputs.row("prognosis_metrics", design=inputs.headline, **key)
        gone = unfitted(inputs, r["model"], inputs.headline)
        what = name if r["horizon_months"] is None else f"{name}{inputs.settings.words.at(r['horizon_months'])}"
        values = [number(r[c], decimals) for c in ("apparent", "optimism", "corrected")]
        body.append([label(r["model"]), what, *values, interval(held, decimals) if held and not gone else "–"])
    note = (
        "In training: in the patients the model was learned from. Optimism: mean over bootstrap samples of performance"
        " in the sample less that in all training patients (Harrell 1996). Held out: in"
        f" {inputs.headline}, as above. Where corrected and held out differ much, the choices that are not repeated"
        " here, latents and features among them, are part of the reason."
    )
    head = ["Model", "Metric", "In training", "Optimism", "Corrected", "Held out"]
    return [Table("How optimistic performance in training is", head, body, frozenset({2, 3, 4, 5}), note)]


def _spread(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("spread")
    return [
        Text(
            f"Spread of the ensemble, not an interval: the {plural(r['members'], 'member')} of the {within(r['model'])}"
            f" model differ by {number(100 * r['mean'], 1)} percentage points (standard deviation of the predicted risk"
            f"{inputs.settings.words.at(r['horizon_months'])}, mean over held-out patients; 90th percentile"
            f" {number(100 * r['p90'], 1)}; {inputs.size(r['n'])}, with an outcome or without, {r['design']})."
            " Members learn from the same patients and differ in their start only, so that they agree more"
            " than models learned from other patients would."
        )
        for r in rows
    ]


def hazards(inputs: ReportInputs) -> list[object]:
    """Whether the hazard ratios beside it hold over time, and what is said in their place where they do not."""
    rows = inputs.rows("proportional", feature=None)
    if not rows:
        return []
    alpha = inputs.settings.alpha
    fails = [r for r in rows if r["p_holm"] is not None and r["p_holm"] < alpha]
    holds = [r for r in rows if r["p_holm"] is not None and r["p_holm"] >= alpha]
    unknown = [r for r in rows if r["p_holm"] is None]
    blocks: list[object] = []
    if fails:
        named = join([f"{within(r['model'])} ({p_value(r['p_holm'])})" for r in fails])
        text = (
            f"Hazards are not proportional: in the {named} model{'s' * (len(fails) > 1)} coefficients move with time"
            " (score test of all columns together, p after Holm). Its hazard ratios are averages over the follow-up"
            " that depend on how long patients were followed; do not read them as one number that holds throughout."
            " Differences in restricted mean survival stand below in their place. Predicted risks are judged on"
            " held-out patients all the same, above."
        )
        blocks.append(Note(text, "care"))
    if holds:
        named = join([f"{within(r['model'])} ({p_value(r['p_holm'])})" for r in holds])
        blocks.append(
            Text(
                f"No evidence against proportional hazards in the {named} model{'s' * (len(holds) > 1)} (p after Holm);"
                " with few events the test sees little."
            )
        )
    blocks += [
        Text(f"Proportional hazards of the {within(r['model'])} model: {readable(r['method'])}.") for r in unknown
    ]
    return [*blocks, *_contrasts(inputs, [r["model"] for r in fails])]


def _contrasts(inputs: ReportInputs, models: Sequence[str]) -> list[object]:
    hidden = tuple(f"{omic}: " for omic in inputs.rare)
    rows = [r for m in models for r in inputs.rows("contrasts", model=m) if not r["feature"].startswith(hidden)]
    if not rows:
        return []
    body = []
    for r in rows:
        test = inputs.row("proportional", model=r["model"], feature=r["feature"])
        shown = interval(r, 1, sign=True) if r["estimate"] is not None else f"not estimable: {reason(r)}"
        moves = p_cell(test["p_value"]) if test else "–"
        body.append([label(r["model"]), term(r["feature"]), r["sides"], shown, moves])
    known = next((r for r in rows if r["estimate"] is not None), rows[0])
    method = known["method"].removeprefix("not estimable: ")
    note = (
        f"Descriptive. {inputs.size(rows[0]['n'])}, {count(rows[0]['events'], inputs.settings.min_cell)} events,"
        f" {inputs.everyone}, not held out. {method[:1].upper()}{method[1:]}. Positive: those who have it, or lie above"
        " the median, live longer."
    )
    head = [
        "Model",
        "Column",
        "Compared",
        f"Difference up to {months(rows[0]['tau_months'])} months, months",
        "p, moves",
    ]
    return [Table("Columns whose hazard ratio moves with time", head, body, frozenset({3, 4}), note)]
