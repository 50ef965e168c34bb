"""Section on prognosis: every model beside the clinical one, and the verdict on where it stands across sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stratiome.report import charts, verdicts, words
from stratiome.report.blocks import Cell, Figure, Finding, Fold, Heading, Note, Section, Table, Text, numbered
from stratiome.report.claims import accuracy, claim
from stratiome.report.disclosure import count, exact, part
from stratiome.report.fitted import not_fitted, partly, same_for_all, thin, unfitted
from stratiome.report.inputs import CROSS, GIVEN, LOCKED, SITES, TEMPORAL, ReportInputs
from stratiome.report.section_cohort import small_sites
from stratiome.report.section_prognosis_calibration import calibration, two_lines
from stratiome.report.section_prognosis_explain import explanation
from stratiome.report.section_prognosis_learners import forest, gains, own_verdict, with_learners
from stratiome.report.section_prognosis_sites import sites
from stratiome.report.section_prognosis_stack import stack_weights, stacks
from stratiome.report.section_prognosis_trust import hazards, too_few, trust
from stratiome.report.section_prognosis_use import bounds, decisions
from stratiome.report.section_prognosis_weights import weights
from stratiome.report.site_forest import resample_name
from stratiome.report.traced import exponential
from stratiome.report.verdicts import Verdict
from stratiome.report.words import (
    file_name,
    interval,
    label,
    months,
    number,
    plural,
    readable,
    reason,
    slug,
    term,
    until,
    within,
)
from stratiome.tables import FLEXIBLE_REFERENCE, PROGNOSIS_MODELS

Row = Mapping[str, Any]
TITLES = {
    CROSS: "In cross-validation",
    GIVEN: "On the given splits",
    SITES: "With each site held out",
    TEMPORAL: "On later patients",
    LOCKED: "On the locked test set",
}
_ENOUGH_DRAWS = 200
"""Bootstrap samples below which the ends of a 95 % interval are said to be rough: a convention for words."""
OF_OMICS = ("clinical_omics", "clinical_latent", "clinical_factors")
"""Models of the same form as the clinical one, with omics added: they tell what omics add."""


def models(inputs: ReportInputs, design: str | None = None) -> list[str]:
    """Models of the metrics of a design (default: the one of the verdicts), simplest first."""
    design = design or inputs.headline
    names = list(dict.fromkeys(r["model"] for r in inputs.rows("prognosis_metrics", design=design)))
    return sorted(
        names,
        key=lambda n: (PROGNOSIS_MODELS.index(n) if n in PROGNOSIS_MODELS else len(PROGNOSIS_MODELS), names.index(n)),
    )


def fitted(inputs: ReportInputs, design: str | None = None) -> list[str]:
    """Those of them that were fitted: only these have results of their own."""
    return [m for m in models(inputs, design) if not unfitted(inputs, m, design or inputs.headline)]


def challengers(inputs: ReportInputs, design: str | None = None) -> list[str]:
    """Models that compete with the clinical one, fitted or not."""
    return [m for m in models(inputs, design) if m not in ("kaplan_meier", "clinical")]


def verdict(inputs: ReportInputs) -> Verdict:
    """Do omics add to the clinical model?"""
    deltas = [
        (m, claim(inputs, m, "uno_c", "clinical"), claim(inputs, m, "ibs", "clinical"))
        for m in challengers(inputs)
        if m in OF_OMICS
    ]
    ipa = {m: accuracy(inputs, m) for m in fitted(inputs) if m in ("clinical", *OF_OMICS)}
    judged = [m for m in models(inputs) if m in ("kaplan_meier", "clinical", *OF_OMICS)]
    missing = {m: why for m in judged if (why := unfitted(inputs, m, inputs.headline))}
    level = inputs.settings.evaluation.level
    found = verdicts.prognosis(deltas, level, ipa, missing, _calibrated(inputs), inputs.settings.words, span(inputs))
    found = with_learners(inputs, found, _calibrated(inputs).get("stacked", ()))
    if found.caveat and inputs.headline == GIVEN:
        found = replace(found, caveat=f"{found.caveat} Measured on the given splits.")
    if not inputs.settings.covariates:
        weak = "No covariates are configured, so the clinical model predicts the same for everyone and is easy to beat."
    elif "clinical" in missing and len(missing) <= len(deltas):
        weak = f"The clinical model was not fitted ({missing['clinical']}), so it predicts the same for everyone."
    else:
        weak = ""
    praised = [m for m, c, b in deltas if m not in missing and verdicts.adds(c, b, ipa.get(m))[0] == "yes"]
    void = " ".join(
        f"{words.sentence(readable(note))}: nothing that is compared with the clinical model means"
        " anything before that is mended."
        for note in inputs.telling(inputs.settings.covariates)
    )
    said = (void, found.caveat, weak, too_few(inputs, praised), _rough(inputs) if found.facts else "")
    return replace(found, caveat=" ".join(part for part in said if part))


def span(inputs: ReportInputs) -> str:
    """Up to when concordance is judged, as ` up to 120 months`."""
    return inputs.settings.words.say(f" up to {months(inputs.settings.endpoint.tau_months)} months", "")


def _rough(inputs: ReportInputs) -> str:
    """That the intervals are of few draws, where they are."""
    draws = inputs.settings.evaluation.bootstraps
    if draws >= _ENOUGH_DRAWS:
        return ""
    return (
        f"The ends of intervals are rough: they are of {draws} bootstrap samples only. Set `evaluation.bootstraps` to"
        f" {_ENOUGH_DRAWS} or more before anything is concluded."
    )


def _calibrated(inputs: ReportInputs) -> dict[str, list[verdicts.Calibrated]]:
    """Calibration slope and observed over expected by model, at each horizon."""
    return {
        m: [
            (
                claim(inputs, m, "calibration_slope", horizon=at),
                claim(inputs, m, "observed_expected", horizon=at),
            )
            for at in inputs.settings.endpoint.horizons_months
        ]
        for m in fitted(inputs)
    }


def transport(inputs: ReportInputs) -> Verdict:
    """Does it hold across sites? Told of the clinical model, the yardstick."""
    agreement = inputs.row("subgroup_agreement", model="vae", label="full", metric="adjusted_rand_index")
    if (inputs.found() or 1) < 2:
        agreement = None
    known = inputs.rows("prognosis_resamples", design=SITES, model="clinical")
    fits = {(r["resample"], r["model"]) for r in inputs.rows("models") if r["stand_in"]}
    sites = [r["resample"] for r in known if r["uno_c"] is not None and (r["resample"], "clinical") not in fits]
    cross = None if unfitted(inputs, "clinical", inputs.headline) else claim(inputs, "clinical", "uno_c")
    left_out = claim(inputs, "clinical", "uno_c", design=SITES)
    why = unfitted(inputs, "clinical", SITES)
    within = inputs.headline if inputs.resamples(inputs.headline) else None
    aside = f"{small_sites(inputs)} {partly(inputs, 'clinical', SITES) if left_out and not why else ''}".strip()
    ahead = inputs.row("site_summary", model="clinical")
    return verdicts.transport(
        inputs.settings.site,
        cross,
        left_out,
        agreement,
        len(sites),
        aside,
        why,
        within,
        ahead,
        inputs.settings.words,
    )


def prognosis(inputs: ReportInputs) -> Section:
    """The whole section."""
    blocks: list[object] = []
    shown = [d for d in TITLES if models(inputs, d)]
    if not shown:
        blocks.append(Note("No model of prognosis was evaluated."))
    else:
        if "clinical" not in models(inputs, shown[0]):
            blocks.append(
                Note("There is no clinical model to compare with, so nothing here says what omics add.", "care")
            )
        if not models(inputs):
            why = "There are neither folds nor given splits, so there is no verdict; see each design below."
            blocks.append(Note(why, "care"))
        first = [d for d in shown if d == inputs.headline]
        blocks += [
            Finding(verdict(inputs)),
            *(b for d in first for b in _design(inputs, d)),
            *forest(inputs, TITLES),
        ]
        colours = {m: _colour(m) for m in PROGNOSIS_MODELS}
        judged = {d: [m for m in fitted(inputs, d) if m != "kaplan_meier"] for d in shown}
        blocks += [*calibration(inputs, shown[0], judged, OF_OMICS, colours), *decisions(inputs, colours)]
        blocks += [*bounds(inputs), *weights(inputs, fitted(inputs))]
        blocks += [*_stability(inputs), *sites(inputs), *trust(inputs)]
        blocks += explanation(inputs, colours)
        blocks += [b for d in shown if d not in first for b in _design(inputs, d)]
        blocks += [*_ratios(inputs), *_coefficients(inputs), *_fitted(inputs)]
    lede = (
        "Every model is judged beside the clinical one, on patients that it has not seen. The yardstick is hard to"
        " beat; in most cohorts omics add little to it."
    )
    return Section("prognosis", "Prognosis", lede, blocks)


def _meaning(inputs: ReportInputs, design: str) -> str:
    """What performance in a design tells, in a sentence."""
    settings = inputs.settings.resamples
    limit = f"patients up to {until(settings.temporal.train_until)}" if settings.temporal else "earlier patients"
    compare = (
        ", without the locked ones: the numbers compare only roughly with those of others on the same splits."
        if inputs.resamples(LOCKED)
        else ": the numbers compare with those of others on the same splits."
    )
    return {
        CROSS: (
            f"Each patient is held out once per repeat ({plural(settings.repeats, 'repeat')}), by models trained on the"
            " others: how well they do in patients like these."
        ),
        GIVEN: f"Patients are held out as {file_name(settings.file) if settings.file else 'a file'} says{compare}",
        SITES: "Each site is held out in turn: how well models do at a site that they have not seen.",
        TEMPORAL: (
            f"Trained on {limit}, judged on later ones: whether models last as patients and their care change."
            + inputs.settings.words.say(" Later patients are followed for less time.", "")
        ),
        LOCKED: (
            "These patients took no part in anything else and are looked at once. Once seen, they are no longer a"
            " fresh test set: an analysis that is changed after this look needs another one."
        ),
    }[design]


def _columns(inputs: ReportInputs, design: str) -> list[tuple[str, float | None]]:
    """Metrics of the wide table: those without horizon as they are, the others at the last horizon."""
    found: list[tuple[str, float | None]] = []
    last = inputs.settings.endpoint.horizons_months[-1]
    for metric in ("uno_c", "ibs", "ipa", "auc", "calibration_slope", "observed_expected"):
        rows = inputs.rows("prognosis_metrics", design=design, metric=metric, versus=None)
        horizons = {r["horizon_months"] for r in rows}
        if rows:
            found.append(
                (
                    metric,
                    (
                        None
                        if None in horizons or len(horizons) == 1
                        else last
                        if last in horizons
                        else max(h for h in horizons if h is not None)
                    ),
                )
            )
    return found


def _design(inputs: ReportInputs, design: str) -> list[object]:
    title = TITLES[design]
    columns = _columns(inputs, design)
    outcome = inputs.settings.words
    head = ["Model", "Verdict", f"Δ {outcome.c} to clinical"]
    head += [f"Δ AUC{outcome.at(h, 'mo')} to clinical" for h in _horizons(inputs)]
    wide = len(head) - 2 + len(columns)
    head += [_head(inputs, m, h) for m, h in columns]
    least = inputs.settings.min_cell
    body: list[list[Cell | str]] = []
    first: Row | None = None
    notes = not_fitted(inputs, models(inputs, design), design)
    for model in models(inputs, design):
        if unfitted(inputs, model, design):
            body.append([label(model), Cell("not fitted", "unknown"), *["not fitted"] * wide])
            continue
        notes += [said] if (said := partly(inputs, model, design)) else []
        claims = [claim(inputs, model, m, design=design, horizon=h) for m, h in columns]
        first = first or next((c for c in claims if c), None)
        cells = [two_lines(c, outcome.metrics[m][1]) for c, (m, _) in zip(claims, columns, strict=True)]
        body.append([label(model), *_delta(inputs, model, design), *cells])
    notes += _alike(inputs, design) + _others(inputs, design) + _unjudged(inputs, design)
    notes += thin(inputs, fitted(inputs, design), design)
    size = f"{inputs.size(first['n'])}, {count(first['events'], least)} events. " if first else ""
    reasons = _reasons(inputs, design)
    whole = [r for r in inputs.rows("prognosis_metrics", design=design) if r["model"] in fitted(inputs, design)]
    same = {reason(r) if r["estimate"] is None else "" for r in whole}
    if len(same) == 1 and "" not in same:
        reasons = [same.pop()]  # the same for all, so it is said once
    method = next(
        (
            r["method"]
            for r in inputs.rows("prognosis_metrics", design=design, metric="uno_c", versus=None)
            if r["estimate"] is not None and r["model"] in fitted(inputs, design)
        ),
        "",
    )
    note = (
        f"{size}Estimate ({inputs.settings.level} interval). {outcome.say('C, AUC', 'Area under the ROC curve (AUC)')}"
        f" and IPA: higher is better; {outcome.error}: lower is better; calibration slope and observed/expected: 1 is"
        f" best. {outcome.c}: {readable(method) or 'see below'}."
        f" {outcome.c}, {outcome.error} and IPA are {_upto(inputs)}; verdicts"
        " are read from intervals of the difference to the same learner without omics, each on its own, without"
        " correction for the number of models; a slope far from 1 says that risks are too extreme or too tame all the"
        " same."
    )
    blocks: list[object] = [
        Heading(title, f"prognosis-{slug(design)}"),
        Text(_meaning(inputs, design)),
        Table(f"{title}: all models beside the clinical one.", head, body, frozenset(range(2, len(head))), note),
        *gains(inputs, design),
        *map(Note, notes),
        *stack_weights(inputs, design),
    ]
    title = outcome.say("Every metric, horizon and method", "Every metric and method")
    blocks.append(Fold(title, [_everything(inputs, design)]))
    if reasons:
        blocks.append(Note("Not estimable: " + "; ".join(reasons) + "."))
    return blocks


def _upto(inputs: ReportInputs) -> str:
    """Up to when scores are, in a sentence."""
    words = inputs.settings.words
    tau = months(inputs.settings.endpoint.tau_months)
    return words.say(f"up to {tau} months", f"of the risk of the event, {words.failure}")


def _head(inputs: ReportInputs, metric: str, horizon: float | None) -> str:
    name = inputs.settings.words.metrics[metric][0]
    return name if horizon is None else name.replace("(t)", "") + inputs.settings.words.at(horizon, "mo")


def _delta(inputs: ReportInputs, model: str, design: str) -> list[Cell | str]:
    """Verdict, and differences to the clinical model: in concordance, and in AUC(t) at each horizon."""
    horizons = _horizons(inputs)
    if model == "clinical":
        return [Cell("yardstick"), *["–"] * (1 + len(horizons))]
    c = claim(inputs, model, "uno_c", "clinical", design)
    at = [claim(inputs, model, "auc", "clinical", design, h) for h in horizons]
    deltas = [two_lines(r, 3, sign=True) for r in (c, *at)]
    if c is None or model == "kaplan_meier":
        if unfitted(inputs, "clinical", design):
            return [Cell("reference"), *["–"] * (1 + len(horizons))]
        return [Cell("reference"), *deltas]
    if _same(c):
        return [Cell("ranks the same", "unknown"), *["–"] * (1 + len(horizons))]
    if model == FLEXIBLE_REFERENCE:
        return [Cell("no omics"), *deltas]
    return [own_verdict(inputs, model, design), *deltas]


def _horizons(inputs: ReportInputs) -> list[float]:
    """Horizons of differences in AUC(t); a response has none beside its concordance."""
    return list(inputs.settings.endpoint.horizons_months) if inputs.settings.words.timed else []


def _same(delta: Row) -> bool:
    """Whether a model ranks as the one it is compared with in every draw."""
    return delta["estimate"] == delta["lower"] == delta["upper"] == 0


def _alike(inputs: ReportInputs, design: str) -> list[str]:
    """Sentences on models that rank held-out patients just as the clinical one does, and why, if known."""
    said = []
    for model in [m for m in challengers(inputs, design) if m in fitted(inputs, design)]:
        c = claim(inputs, model, "uno_c", "clinical", design)
        if c is None or not _same(c):
            continue
        omics = tuple(f"{omic}: " for omic in inputs.quality)
        rows = inputs.rows("coefficients", resample="full", model=model)
        none = rows and not any(r["feature"].startswith(omics) and r["coefficient"] for r in rows)
        why = ": it has chosen no omic, so it is the clinical model" if none and model == "clinical_omics" else ""
        beside = (
            " In all patients it has chosen omics; that model, whose coefficients are shown, was not judged so."
            if rows and not none and model == "clinical_omics"
            else ""
        )
        said.append(f"{label(model)} ranks these patients just as the clinical model does{why}.{beside}")
    return said


def _unjudged(inputs: ReportInputs, design: str) -> list[str]:
    """That the stacked model of all patients weighs models that no training set could fit, where that is so."""
    if not stacks(inputs, design):
        return []
    unknown = [
        m
        for m in fitted(inputs, "full") or models(inputs, design)
        if unfitted(inputs, m, design) and label(m) in stacks(inputs, "full").get("full", {})
    ]
    if not unknown:
        return []
    return [
        f"The stacked model of all patients also weighs {words.join([within(m) for m in unknown])}, which no training"
        " set here could fit: that combination was not judged."
    ]


def _others(inputs: ReportInputs, design: str) -> list[str]:
    """That the absolute risks that are judged here know nothing of who dies of other causes, where that is so."""
    said = same_for_all(inputs, design)
    return [f"Absolute risks need a model of deaths of other causes: {said}."] if said else []


def _reasons(inputs: ReportInputs, design: str) -> list[str]:
    # The reference without predictors has no slope by its nature; to say so would only distract.
    names = [m for m in fitted(inputs, design) if m != "kaplan_meier"]
    rows = [r for r in inputs.rows("prognosis_metrics", design=design, estimate=None) if r["model"] in names]
    return list(
        dict.fromkeys(
            f"{inputs.settings.words.metrics.get(r['metric'], (r['metric'],))[0]} of {within(r['model'])} ({reason(r)})"
            for r in rows
        )
    )


def _everything(inputs: ReportInputs, design: str) -> Table:
    least = inputs.settings.min_cell
    body = []
    names = fitted(inputs, design)
    rows = [
        r
        for r in inputs.rows("prognosis_metrics", design=design)
        if r["model"] in names and (r["versus"] is None or r["versus"] in names or len(names) > 1)
    ]
    marks, notes = numbered([words.sentence(readable(r["method"])) for r in rows])
    for r, mark in zip(rows, marks, strict=True):
        name, decimals = inputs.settings.words.metrics.get(r["metric"], (r["metric"], 3))
        what = f"Δ {name} to {within(r['versus'])}" if r["versus"] else name
        body.append(
            [
                label(r["model"]),
                what,
                "–" if r["horizon_months"] is None else months(r["horizon_months"]),
                interval(r, decimals, sign=bool(r["versus"])),
                f"{inputs.people(r['n'])} / {count(r['events'], least)}",
                "yes" if r["held_out"] else "no",
                mark,
            ]
        )
    table = Table(
        f"{TITLES[design]}: every claim with its method.",
        ["Model", "Metric", "Months", "Value", "n / events", "Held out", "Method"],
        body,
        frozenset({2, 3, 4, 6}),
        "Numbers in the last column are those of the methods below." if notes else "",
        notes,
    )
    return inputs.settings.words.untimed(table)


def _colour(model: str) -> int:
    return PROGNOSIS_MODELS.index(model) if model in PROGNOSIS_MODELS else len(PROGNOSIS_MODELS)


def _stability(inputs: ReportInputs) -> list[object]:
    blocks: list[object] = []
    least, outcome = inputs.settings.min_cell, inputs.settings.words
    for design, title in ((CROSS, "Fold by fold"), (GIVEN, "Split by split"), (SITES, "Site by site")):
        gone = {(r["resample"], r["model"]) for r in inputs.rows("models") if r["stand_in"]}
        every = inputs.rows("prognosis_resamples", design=design)
        rows = [r | {"uno_c": None} if (r["resample"], r["model"]) in gone else r for r in every]
        drawn = [
            m
            for m in PROGNOSIS_MODELS
            if m != "kaplan_meier" and any(r["model"] == m and r["uno_c"] is not None for r in rows)
        ]
        if not drawn:
            continue
        told = (
            f"{words.sentence(outcome.concordance)} of {words.join([within(m) for m in drawn])} in each of"
            f" {plural(len({r['resample'] for r in rows}), 'held-out set')}."
        )
        names = {r["resample"]: resample_name(inputs, r["resample"]) for r in rows}
        judged = {r["resample"] for r in rows if r["uno_c"] is not None and r["model"] in drawn}
        empty = {s: _empty(inputs, s) for s in names if s not in judged}
        slug = f"by-{design.replace(' ', '-')}"
        measure = outcome.metrics["uno_c"][0]
        figure = charts.by_resample(rows, {m: _colour(m) for m in drawn}, slug, told, names, empty, measure)
        n = {r["resample"]: (r["n"], r["events"]) for r in rows}
        sizes = (
            "; ".join(f"{names[s]} {_size(inputs, s, a)}/{count(b, least)}" for s, (a, b) in n.items())
            if len(n) <= 12
            else plural(len(n), "held-out set")
        )
        blocks.append(
            Figure(
                figure,
                f"{title}: discrimination in each held-out set",
                f"Patients/events: {sizes}. Single folds are noisy; look for a model that is always ahead, not once. No"
                f" interval is drawn.{_how(inputs, design)}",
                820,
                slug,
            )
        )
    if not models(inputs, SITES):
        why = "no site is given" if inputs.settings.site is None else "no site was held out"
        blocks.append(Note(f"Whether this holds at another site is not tested here: {why}."))
    return [Heading("Does it hold in every held-out set? Folds and sites", "prognosis-sets"), *blocks] if blocks else []


def _how(inputs: ReportInputs, design: str) -> str:
    """How concordance is measured, in words."""
    row = inputs.row("prognosis_metrics", design=design, metric="uno_c", versus=None)
    return f" {words.sentence(readable(row['method'].partition('; ')[0]))}." if row else ""


def _size(inputs: ReportInputs, resample: str, n: int) -> str:
    """Held-out patients with an outcome, blurred where all that are held out would tell who has none."""
    row = inputs.row("resample_summary", resample=resample)
    return part(n, row["n_test"] if row else None, inputs.settings.min_cell)


def _empty(inputs: ReportInputs, resample: str) -> str:
    """Why nothing is drawn for a held-out set."""
    rows = [r for r in inputs.rows("models", resample=resample) if r["model"] != "kaplan_meier"]
    if rows and all(r["stand_in"] for r in rows):
        return "no model: too few events in training" if _few(inputs, rows) else "no model could be fitted"
    return "not estimable: too few patients or events"


def _few(inputs: ReportInputs, rows: Sequence[Row]) -> bool:
    settings = inputs.settings.prognosis
    return settings is not None and all(exact(r["events"]) < settings.min_events for r in rows)


def _ratios(inputs: ReportInputs) -> list[object]:
    """Hazard ratios of the clinical model, the one that readers know."""
    gone = [r["model"] for r in inputs.rows("models", resample="full") if r["stand_in"]]
    hidden = tuple(f"{omic}: " for omic in inputs.rare)
    rows = inputs.rows("coefficients", resample="full", model="clinical")
    rows = [r for r in rows if not r["feature"].startswith(hidden)]
    if not rows or "clinical" in gone or not inputs.settings.words.timed:
        return []
    body = [
        [
            term(r["feature"]),
            f"{words.level(r['reference'])} (reference)" if r["reference"] is not None else "1 SD lower",
            number(exponential(r["coefficient"])),
            f"{number(exponential(r['lower']))} to {number(exponential(r['upper']))}"
            if r["lower"] is not None and r["upper"] is not None
            else "no interval",
        ]
        for r in rows
    ]
    note = (
        f"Cox model fitted on {inputs.everyone} with an outcome, not held out; associations given the other columns,"
        " not effects of changing them. Numbers: per standard deviation. Above 1, the event comes earlier. Whether"
        " hazards are proportional, and the other models, are told beneath."
    )
    head = ["Feature", "Against", "Hazard ratio", "95 % interval"]
    table = Table("Clinical model: hazard ratios.", head, body, frozenset({2, 3}), note)
    return [Heading("Hazard ratios of the clinical model", "prognosis-ratios"), table]


def _coefficients(inputs: ReportInputs) -> list[object]:
    tables: list[object] = []
    outcome = inputs.settings.words
    gone = {r["model"] for r in inputs.rows("models", resample="full") if r["stand_in"]}
    hidden = tuple(f"{omic}: " for omic in inputs.rare)
    for model in [
        m for m in PROGNOSIS_MODELS if m not in gone and inputs.rows("coefficients", resample="full", model=m)
    ]:
        rows = [
            r
            for r in inputs.rows("coefficients", resample="full", model=model)
            if abs(r["coefficient"]) > 0 and not r["feature"].startswith(hidden)
        ]
        shown = rows if model == "clinical" else sorted(rows, key=lambda r: (-abs(r["coefficient"]), r["feature"]))[:20]
        body = [
            [
                term(r["feature"]),
                f"reference: {words.level(r['reference'])}" if r["reference"] is not None else "per SD",
                number(r["coefficient"], 3, sign=True),
                (
                    f"{number(r['lower'], 3)} to {number(r['upper'], 3)}"
                    if r["lower"] is not None and r["upper"] is not None
                    else "penalised, no interval"
                ),
            ]
            for r in shown
        ]
        more = f" The {len(shown)} largest of {len(rows)}." if len(shown) < len(rows) else ""
        tables.append(
            Table(
                f"{label(model)}: {outcome.say('log hazard ratios', 'coefficients')}, per standard deviation or against"
                f" the reference class.{more}",
                ["Feature", "Unit or reference", outcome.say("Log hazard ratio", "Coefficient"), "95 % interval"],
                body,
                frozenset({2, 3}),
            )
        )
    if not tables:
        return []
    text = Text(
        f"Fitted on {inputs.everyone}, not held out. Coefficients describe associations given the other features; they"
        " are not effects of changing them."
        + outcome.say("", f" Above zero, {outcome.failure} is likelier: they are on the scale of log(−log(1 − risk)).")
        + (f" Those of omics that fewer than {inputs.settings.min_cell} patients have are not shown." if hidden else "")
    )
    return [Fold("Coefficients of the models", [text, *hazards(inputs), *tables], "prognosis-coefficients")]


def _named(row: Row) -> str:
    """How a model was fitted; in the note of the stacked one, models are called as in the tables."""
    said, colon, weights = row["note"].partition(" inner folds: ")
    if row["model"] != "stacked" or not colon:
        return readable(row["note"]) or "–"
    parts = (part.rpartition(" ") for part in weights.split(", "))
    return f"{readable(said)}{colon}{', '.join(f'{label(name)} {weight}' for name, _, weight in parts)}"


def _absent(inputs: ReportInputs) -> list[object]:
    """Models that were asked for and could not run, with the reason."""
    asked = inputs.settings.prognosis.models if inputs.settings.prognosis else ()
    if "clinical_factors" in asked and not any(r["model"] == "clinical_factors" for r in inputs.rows("models")):
        return [Note("Clinical + MOFA+ was not fitted: MOFA+ was not asked for (`latent.baselines`).")]
    return []


def _fitted(inputs: ReportInputs) -> list[object]:
    rows: Sequence[Row] = inputs.rows("models", resample="full")
    if not rows:
        return []
    least = inputs.settings.min_cell
    body = [
        [
            label(r["model"]),
            inputs.people(r["n"]),
            count(r["events"], least),
            "–" if r["stand_in"] or not r["parameters"] else str(r["parameters"]),
            _named(r),
        ]
        for r in rows
    ]
    return [
        Fold(
            "What was fitted",
            [
                *_absent(inputs),
                Table(
                    f"Models fitted on {inputs.everyone}.",
                    ["Model", "n", "Events", "Parameters", "Note"],
                    body,
                    frozenset({1, 2, 3}),
                ),
            ],
            "prognosis-fitted",
        )
    ]
