"""The page on a bundle in another cohort: whom it met, what its models are worth there, whether updates mend them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from stratiome.report import disclosure, validation_claims
from stratiome.report.blocks import Cell, Note, Section, Table, Text, numbered
from stratiome.report.outcome_words import OutcomeWords
from stratiome.report.template import TEMPLATES, fill
from stratiome.report.titles import with_numbers
from stratiome.report.verdicts import RATIO_LIMITS, SLOPE_LIMITS, Verdict, direction
from stratiome.report.words import interval, join, label, months, number, p_cell, p_value, readable, within

Row = Mapping[str, Any]
AS_IS = "as is"
ALPHA = 0.05
FEW_EVENTS = 100
"""Events below which a validation says little (Collins et al. 2016, Stat Med 35:214)."""
FIRST = ("stacked", "clinical")
"""Models that the answer is about: the first that is there."""


@dataclass(frozen=True)
class Validation:
    """What the page is made of.

    Attributes
    ----------
    title
        Of the cohort that the models were applied to.
    learned
        Title of the bundle's cohort.
    card
        What the bundle says of itself.
    digest
        SHA-256 of the bundle.
    patients, omics, metrics, subgroups
        Contracts `ScoredPatients`, `ScoredOmics`, `ExternalMetrics` and `ExternalSubgroups`.
    min_cell
        Smallest count that is told.
    level
        Level of the intervals, as text.
    words
        Words for the outcome.
    effects, order
        Contracts `ExternalEffects` and `ExternalOrder`.
    treatments
        Names of treatments by their keys, where the config gives any.
    """

    title: str
    learned: str
    card: Mapping[str, Any]
    digest: str
    patients: pl.DataFrame
    omics: pl.DataFrame
    metrics: pl.DataFrame
    subgroups: pl.DataFrame
    min_cell: int
    level: str
    words: OutcomeWords
    effects: pl.DataFrame
    order: pl.DataFrame
    treatments: Mapping[str, str]

    def metric(self, model: str, metric: str, update: str = AS_IS, versus: str | None = None) -> Row | None:
        """Row of a metric at its last horizon."""
        found = self.metrics.filter(
            pl.col("model") == model,
            pl.col("metric") == metric,
            pl.col("update") == update,
            pl.col("versus").eq_missing(pl.lit(versus)),
        ).sort("horizon_months", nulls_last=False)
        return found.to_dicts()[-1] if found.height else None

    @property
    def models(self) -> list[str]:
        """Models in the order of the table."""
        return self.metrics["model"].unique(maintain_order=True).to_list()

    @property
    def without_omics(self) -> bool:
        """Whether no omic of any patient could be used."""
        return self.patients.height > 0 and bool((self.patients["omics"] == "").all())

    @property
    def unused(self) -> list[str]:
        """Omics of the bundle that no patient here has, where others are used."""
        if self.without_omics:
            return []
        return [label(r["omic"]) for r in self.omics.iter_rows(named=True) if not r["patients"]]

    @property
    def first(self) -> str:
        """The model that the answer is about."""
        return next((m for m in FIRST if m in self.models), self.models[0] if self.models else "clinical")


def verdict(page: Validation) -> Verdict:
    """Whether the models hold here: order of patients, then size of risks."""
    model = page.first
    c, slope, ratio = (page.metric(model, m) for m in ("uno_c", "calibration_slope", "observed_expected"))
    question = f"Do the models of {page.learned} hold here?"
    if c is None or c["estimate"] is None:
        return Verdict(question, "Not estimable: too few patients or events.", "unknown")
    if not page.metrics["held_out"].all():
        text = "Not answered: these are the patients that the models learned from, so nothing here is a validation."
        return Verdict(question, text, "unknown")
    name = within(model)
    facts = [(page.words.metrics["uno_c"][0], interval(c, 3))]
    facts += [("Calibration slope", interval(slope))] if slope else []
    facts += [(f"Observed / expected{_at(page, ratio)}", interval(ratio))] if ratio else []
    facts.append(("Patients, events", f"{c['n']:,}, {disclosure.count(c['events'], page.min_cell)}"))
    ranks = direction(c["lower"], c["upper"], 0.5)
    off = [said for said in (_ratio(ratio), _slope(slope)) if said]
    if ranks != "above":
        opposed = f"The {name} model orders these patients the wrong way round"
        text = opposed if ranks == "below" else f"No evidence that the {name} model orders these patients by risk"
        text += f", and its risks are {join(off)}." if off else "."
        return Verdict(question, text, "harm" if ranks == "below" else "no", tuple(facts))
    text, tone = f"The {name} model orders these patients by risk", "mixed"
    if off:
        text += f", but its risks are off: {join(off)}."
    elif _inside(ratio, RATIO_LIMITS) and _inside(slope, SLOPE_LIMITS):
        text, tone = f"{text}, and its risks agree with what happened.", "yes"
    else:
        text += "; that its risks are off is not seen, but intervals are too wide to say that they agree."
    clinical = page.metric(model, "uno_c", versus="clinical")
    caveat = "As published, without any update to this cohort."
    if clinical is not None and clinical["estimate"] is not None:
        facts.append(("Difference to the clinical model", interval(clinical, 3, sign=True)))
        against = direction(clinical["lower"], clinical["upper"])
        if against == "below":
            caveat += " It orders them worse than clinical variables alone."
        elif against != "above":
            caveat += " No evidence that it orders them better than clinical variables alone."
    if page.words.timed and c["events"] < FEW_EVENTS:
        caveat += (
            f" Fewer than {FEW_EVENTS} events: a validation of so few can be far off either way (Collins et al. 2016)."
        )
    if unused := page.unused:
        caveat += f" Not used here: {join(unused)}."
    if page.without_omics:
        tone, caveat = "mixed", f"No omic of the bundle is used here, only clinical columns. {caveat}"
    return Verdict(question, text, tone, tuple(facts), caveat)  # type: ignore[arg-type]


def subgroup_verdict(page: Validation) -> Verdict:
    """Whether the subgroups of the bundle are groups here, and whether they differ in survival."""
    question = "Are its subgroups here?"
    sure = [r for r in page.subgroups.to_dicts() if r["quantity"] == "sharpness" and r["p_value"] is not None]
    if not sure:
        text = "Nothing to find again: the bundle has one group, or patients here fall into one."
        return Verdict(question, text, "unknown", link="subgroups")
    there, rest = ([f"subgroup {r['subgroup']}" for r in sure if (r["p_value"] <= ALPHA) is k] for k in (True, False))
    if not there:
        text, tone = "No evidence that they are: one cloud of patients, cut by the same rule, looks the same.", "no"
    elif len(there) == len(sure):
        text, tone = "Yes: patients are surer of their subgroup than those of one cloud are.", "yes"
    else:
        text, tone = f"In part: evidence for {join(there)}, none for {join(rest)}.", "mixed"
    facts = [
        (f"Subgroup {r['subgroup']}, probability", f"{number(r['estimate'])}, {p_value(r['p_value'])}") for r in sure
    ]
    test = page.subgroups.filter(pl.col("quantity") == "log_rank").to_dicts()
    facts += [("Survival, log-rank", p_value(test[0]["p_value"]))] if test else []
    caveat = "p-values of single subgroups are not corrected for their number."
    return Verdict(question, text, tone, tuple(facts), caveat, "subgroups")  # type: ignore[arg-type]


def _at(page: Validation, row: Row | None) -> str:
    """` at 60 months`, where there are times."""
    return "" if row is None or not page.words.timed else f" at {months(row['horizon_months'])} months"


def _inside(row: Row | None, limits: tuple[float, float]) -> bool:
    """Whether the whole interval lies within limits."""
    if row is None or row["lower"] is None or row["upper"] is None:
        return False
    return bool(limits[0] <= row["lower"] and row["upper"] <= limits[1])


def _ratio(row: Row | None) -> str:
    if row is None or row["estimate"] is None or direction(row["lower"], row["upper"], 1.0) in ("covers", "unknown"):
        return ""
    if RATIO_LIMITS[0] <= row["estimate"] <= RATIO_LIMITS[1]:
        return ""
    return "too low on average" if row["estimate"] > 1 else "too high on average"


def _slope(row: Row | None) -> str:
    if row is None or row["estimate"] is None or direction(row["lower"], row["upper"], 1.0) in ("covers", "unknown"):
        return ""
    if SLOPE_LIMITS[0] <= row["estimate"] <= SLOPE_LIMITS[1]:
        return ""
    return "too timid" if row["estimate"] > 1 else "too extreme"


def _cell(row: Row | None, decimals: int, sign: bool = False) -> Cell | str:
    """Estimate with its interval beneath."""
    if row is None or row["estimate"] is None:
        return "–"
    if row["lower"] is None or row["upper"] is None:
        return Cell(number(row["estimate"], decimals, sign), below="no interval")
    ends = f"{number(row['lower'], decimals)} to {number(row['upper'], decimals)}"
    return Cell(number(row["estimate"], decimals, sign), below=ends)


def whom(page: Validation) -> Section:
    """Patients, omics and features, and who is unlike the training patients."""
    n = page.patients.height
    far = int(page.patients["out_of_distribution"].sum())
    least = page.min_cell
    sets = page.patients["omics"].value_counts().sort("count", "omics", descending=[True, False])
    small = any(disclosure.is_small(int(n), least) for n in sets["count"])

    def told(k: int) -> str:
        """Rounded where a set is small, since sets of omics, omics and all patients add up."""
        return disclosure.about(k, least) if small and k >= least else disclosure.count(k, least)

    rows = [[r["omics"] or "none", told(r["count"])] for r in sets.iter_rows(named=True)]
    matched = [
        [
            label(r["omic"]),
            f"{r['features_asked']:,}",
            f"{r['features_found']:,}",
            told(r["patients"]),
            readable(r["note"]) or "–",
        ]
        for r in page.omics.iter_rows(named=True)
    ]
    share = f"{100 * far / n:.0f} %" if n and not disclosure.is_small(far, least) else f"fewer than {least}"
    missing = float(page.patients["missing"].median() or 0.0)  # type: ignore[arg-type]
    blocks: list[object] = [
        Table(
            "Omics of the bundle, and what of them is here.",
            ["Omic", "Features asked for", "Found", "Patients", "Remark"],
            matched,
            frozenset({1, 2, 3}),
            "A feature or omic that is not there counts as not measured; nothing is filled in.",
        ),
        Table("Patients by the omics they have.", ["Omics", "Patients"], rows, frozenset({1})),
        Text(f"The median patient lacks {100 * missing:.0f} % of the features of the bundle."),
    ]
    text = (
        f"Out of distribution: {share} of the patients ({disclosure.count(far, least)} of {n:,}): with many values "
        "beyond those of the training patients, with a covariate unlike theirs, or farther out in the latent space "
        "than 99 % of them. What is said of such patients is an extrapolation."
    )
    if moved := [label(r["omic"]) for r in page.omics.iter_rows(named=True) if r["aligned"]]:
        text += (
            f" Values of {join(moved)} were brought to those of the bundle's cohort first, so that hardly any can lie"
            " beyond them: a small share says little here."
        )
    blocks.append(Note(text, "care" if moved or (n and far / n > 0.1) else "plain"))
    return Section("whom", "Whom the models met", f"{n:,} patients, scored without looking at outcomes.", blocks)


def worth(page: Validation) -> Section:
    """Every model as it is, and after updates."""
    columns = ("uno_c", "ibs", "ipa", "calibration_slope", "observed_expected")
    heads = [page.words.metrics[m][0] for m in columns]
    rows: list[Sequence[Cell | str]] = []
    for model in page.models:
        cells: list[Cell | str] = [label(model)]
        cells.append(_cell(page.metric(model, "uno_c", versus="clinical"), 3, sign=True))
        cells += [_cell(page.metric(model, metric), page.words.metrics[metric][1]) for metric in columns]
        rows.append(cells)
    first = page.metric(page.first, "uno_c")
    size = "" if first is None else f"n = {first['n']:,}, {disclosure.count(first['events'], page.min_cell)} events. "
    ratio = page.metric(page.first, "observed_expected")
    blocks: list[object] = [
        Table(
            "As they are.",
            ["Model", f"Δ {page.words.metrics['uno_c'][0]} to clinical", *heads],
            rows,
            frozenset(range(1, 2 + len(columns))),
            f"{size}Calibration{_at(page, ratio)}. Estimate ({page.level} interval) by bootstraps of the patients "
            "here; the models are fixed.",
        )
    ]
    updates = [u for u in page.metrics["update"].unique(maintain_order=True) if u != AS_IS]
    if updates:
        after: list[Sequence[Cell | str]] = []
        judged = ("uno_c", "ibs", "calibration_slope", "observed_expected")
        for model in page.models:
            for update in updates:
                if all(page.metric(model, m, update) is None for m in judged):
                    continue  # only the clinical model is fitted anew
                cells = [label(model), update]
                cells += [_cell(page.metric(model, m, update), page.words.metrics[m][1]) for m in judged]
                after.append(cells)
        text = (
            "Each update is learned on one half of the patients here and judged on the other. Baseline: hazards times "
            "observed over expected. Slope and baseline: a Cox model on the prediction alone. "
            f"{_ordered(page)} Needing one says that the risks cannot be used as published. Refit: the clinical model "
            "with all coefficients learned here. Updates are learned of follow-up up to the horizon."
        )
        blocks.append(
            Table(
                "After updates to this cohort.",
                [
                    "Model",
                    "Update",
                    *(page.words.metrics[m][0] for m in judged),
                ],
                after,
                frozenset({2, 3, 4, 5}),
                text,
            )
        )
    else:
        blocks.append(Note("No update was learned: with competing causes, or without events, there is none here."))
    return Section("worth", "What they are worth here", "As published first, then updated.", blocks)


def _ordered(page: Validation) -> str:
    """What order C is taken of: other models than Cox's are judged as they are by the risk over all times."""
    if not page.words.timed:
        return "Neither changes the order of patients within a half."
    return (
        "Neither changes the order of patients by their risk at the horizon, within a half. As they are, forests, the "
        "deep and the stacked model order patients by the risk over all times, so that their order may differ a little "
        "after an update."
    )


def subgroups(page: Validation) -> Section:
    """Whether subgroups are found again."""
    rows = page.subgroups.to_dicts()
    if not any(r["quantity"] == "in_group_proportion" for r in rows):
        text = "The bundle has one group only, or patients here fall into one: there is nothing to find again."
        return Section("subgroups", "Are its subgroups here?", text)
    body, notes = [], []
    counts = {r["subgroup"]: r["n"] for r in rows if r["quantity"] == "rmst"}
    sizes = {g: disclosure.about(n, page.min_cell) for g, n in counts.items()}
    test = next((r for r in rows if r["quantity"] == "log_rank"), None)
    for g in sorted({r["subgroup"] for r in rows if r["subgroup"] is not None}):
        own = {r["quantity"]: r for r in rows if r["subgroup"] == g}
        there, sure, mean, gap = (own.get(q) for q in ("in_group_proportion", "sharpness", "rmst", "rmst_difference"))
        size = mean["n"] if mean else 0
        if size < page.min_cell:
            few = "0" if not size else disclosure.count(size, page.min_cell)
            body.append([f"Subgroup {g}", few, *["too few"] * 5])
            continue
        notes += [row["method"] for row in (sure, there, mean) if row]
        body.append(
            [
                f"Subgroup {g}",
                sizes[g],
                number(sure["estimate"]) if sure else "–",
                p_cell(sure["p_value"]) if sure else "–",
                number(there["estimate"]) if there else "–",
                interval(mean, 1) if mean else "–",
                interval(gap, 1, sign=True) if gap else "largest",
            ]
        )
    _, numbered_notes = numbered(notes)
    tau = next((r["tau_months"] for r in rows if r["tau_months"] is not None), None)
    over = "" if tau is None else f" up to {months(tau)} months"
    told = "" if test is None else f" Log-rank test of all: {p_value(test['p_value'])}."
    lede = (
        "Patients are assigned by the frozen model. A subgroup is here if its patients are surer of it than those of "
        f"one cloud that is cut by the same rule.{told}"
    )
    table = Table(
        f"Subgroups of the bundle among the patients here{over}.",
        ["", "With an outcome", "Probability", "p", "Same neighbour", "Mean time without event", "Against the largest"],
        body,
        frozenset({1, 2, 3, 4, 5, 6}),
        notes=numbered_notes,
    )
    return Section("subgroups", "Are its subgroups here?", lede, [table, *validation_claims.order(page)])


def about(page: Validation) -> Section:
    """What the bundle says of itself."""
    card = page.card
    rows = [
        ["Learned in", f"{page.learned}, {card['n']:,} patients with an outcome, {card['events']:,} events"],
        ["Meant for", card["intended_use"]],
        ["Not for", card["out_of_scope"]],
        ["Covariates", join(card["covariates"]) or "none"],
        ["Made with", f"Stratiome {card['stratiome']}"],
        ["Digest", f"`{page.digest}`"],
    ]
    return Section("bundle", "The bundle", "Unchanged by this: the digests of its files are checked before each use.",
                   [Table("What it says of itself.", ["", ""], rows)])  # fmt: skip


def render(page: Validation, templates: Path = TEMPLATES) -> str:
    """The whole page as HTML that loads nothing from outside."""
    return fill(
        templates,
        title=f"{page.title}: models of {page.learned}",
        summary=[f"{page.patients.height:,} patients", f"models of {page.card['n']:,} others"],
        warning="",
        verdicts=[v for v in (verdict(page), subgroup_verdict(page), validation_claims.effect_verdict(page)) if v],
        sections=with_numbers([whom(page), worth(page), subgroups(page), validation_claims.effects(page), about(page)]),
        simulated=False,
        min_cell=page.min_cell,
        public=None,
        version=page.card["stratiome"],
        made_of=[page.title, f"bundle {page.digest[:16]} of Stratiome {page.card['stratiome']}"],
    )
