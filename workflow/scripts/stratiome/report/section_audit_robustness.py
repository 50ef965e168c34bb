"""Part of the section on the audit on robustness: how far the survival models, kept as they are, bear worse data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import charts_robustness
from stratiome.report.blocks import Fold, Heading, Items, Panels, Table, Text
from stratiome.report.disclosure import count
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import interval, join, label, number, term, within
from stratiome.tables import PROGNOSIS_MODELS, ROBUSTNESS_CONCEPTS

Row = Mapping[str, Any]

INPUT, MISSING, LABELS, IMBALANCE, SELECTION, SPECIFICATION, SHIFT, ADVERSARY = ROBUSTNESS_CONCEPTS
DRAWN = ("clinical", "stacked")
"""The yardstick and the model to apply."""
TOLD = ("stacked", "clinical_omics", "clinical_latent", "clinical")
"""The first of these that was judged is told of in sentences."""
IN_SD = frozenset({INPUT, SHIFT, ADVERSARY})
"""Concepts whose doses are standard deviations; those of others are shares."""
SHORT = {
    "noise on features and numeric covariates": "Noise, SD",
    "features missing at random": "Features missing",
    "event flags of held-out patients turned": "Wrong event flags",
    "patients with an event left out": "Events left out",
    "features left out at random": "Features left out",
    "features with the largest weights left out": "Strongest left out",
    "worst of the directions tried": "Adversary, SD",
}
"""Stresses that are drawn, and the heading of the panel."""


def robustness(inputs: ReportInputs) -> list[object]:
    """Dose-response curves, a sentence on each concept, and all figures; nothing where nothing was judged."""
    if not inputs.settings.audit.robustness:
        return [
            Heading("Does it bear worse data? Robustness", "travel-stress"),
            Text("Not asked (`audit.robustness` is false in the config)."),
        ]
    rows = [r for r in inputs.rows("robustness") if r["part"] not in inputs.rare]
    known = [r for r in rows if r["estimate"] is not None]
    model = next((m for m in TOLD if any(r["model"] == m and r["concept"] != SHIFT for r in known)), None)
    if not rows:
        return []
    heading = Heading("Does it bear worse data? Robustness", "travel-stress")
    if model is None:
        return [heading, Text("Too few patients or events are held out to tell.")]
    c = inputs.settings.words.c
    lede = Text(
        "The models stay as they were learned; data, outcomes or the mix of the patients held out are made worse step"
        " by step, and everything is judged again on the same patients (eight concepts of Balendran et al. 2025)."
        f" {c} says who fails first, observed over expected risk whether the level of the predictions is right (1 is)."
        f" Sentences tell of the {within(model)} model, at the largest dose."
    )
    said = [s for s in _Told(inputs, known, model).sentences() if s]
    return [heading, lede, *_figure(inputs, known), Items(said), *_table(inputs, rows)]


class _Told:
    """Sentences on one model."""

    def __init__(self, inputs: ReportInputs, rows: Sequence[Row], model: str) -> None:
        self.inputs, self.model, self.c = inputs, model, inputs.settings.words.c
        self.rows = [r for r in rows if r["model"] == model]
        self.others = [r for r in rows if r["concept"] == SPECIFICATION]

    def sentences(self) -> list[str]:
        """One per concept, in their order; "" where nothing is known."""
        return [
            self._input(),
            self._missing(),
            self._labels(),
            self._imbalance(),
            self._selection(),
            self._specification(),
            self._shift(),
            self._adversary(),
        ]

    def _input(self) -> str:
        row = self._most(INPUT, "noise on features and numeric covariates")
        return row and f"Noise of {_dose(row)} on all features and numeric covariates: {self._away(row)}."

    def _missing(self) -> str:
        cells, omic = self._most(MISSING, "features missing at random"), self._worst(MISSING, "without an omic")
        column = self._worst(MISSING, "without a covariate")
        said = [
            cells and f"with {_dose(cells)} of the features missing at random {self._away(cells)}",
            omic and f"without {term(omic['part'])}, the omic whose loss costs most, {self._away(omic)}",
            column and f"without {term(column['part'])}, the covariate whose loss costs most, {self._away(column)}",
        ]
        return _joined("Missing data", said)

    def _labels(self) -> str:
        row = self._most(LABELS, "event flags of held-out patients turned")
        return row and (
            f"Wrong labels: if {_dose(row)} of the event flags of held-out patients were wrong, {self._away(row)}. The"
            " models have not learned from these flags, so this is an error of the judgement, not of the models."
        )

    def _imbalance(self) -> str:
        row = self._most(IMBALANCE, "patients with an event left out")
        return row and (
            f"Fewer events: with {_dose(row)} of the patients with an event left out, {self._away(row)}"
            f"{self._level(row)}."
        )

    def _selection(self) -> str:
        random = self._most(SELECTION, "features left out at random")
        strongest = self._most(SELECTION, "features with the largest weights left out")
        said = [
            random and f"with {_dose(random)} of the features left out at random {self._away(random)}",
            strongest and f"without the {_dose(strongest)} with the largest weights {self._away(strongest)}",
        ]
        return _joined("Fewer features", said)

    def _specification(self) -> str:
        found = {
            m: sorted((r for r in self.others if r["metric"] == m), key=lambda r: float(r["estimate"]))
            for m in ("uno_c", "rank_correlation", "risk_change")
        }
        c, rank, risk = found["uno_c"], found["rank_correlation"], found["risk_change"]
        if not c or not rank or not risk:
            return ""
        return (
            f"Another model in place of the stacked one: {self.c} from {number(c[0]['estimate'])}"
            f" ({within(c[0]['model'])}) to {number(c[-1]['estimate'])} ({within(c[-1]['model'])}); its ranking of the"
            f" same patients correlates by {number(rank[0]['estimate'])} ({within(rank[0]['model'])}) to"
            f" {number(rank[-1]['estimate'])} ({within(rank[-1]['model'])}), and its risks differ by"
            f" {number(100 * risk[0]['estimate'], 0)} to {number(100 * risk[-1]['estimate'], 0)} percentage points on"
            " average."
        )

    def _shift(self) -> str:
        rows = [r for r in self.rows if r["concept"] == SHIFT and r["part"]]
        by_c = [r for r in rows if r["metric"] == "uno_c"]
        level = [r for r in rows if r["metric"] == "observed_expected"]
        said = []
        if by_c:
            worst = min(by_c, key=lambda r: float(r["difference"]))
            said.append(f"the shift that costs most is {_shifted(worst)}: {self._away(worst)}")
        if level:
            off = max(level, key=lambda r: abs(float(r["difference"])))
            said.append(f"predictions lose their level most with {_shifted(off)}{self._level(off)}")
        elsewhere = next((r for r in self.rows if r["concept"] == SHIFT and not r["part"]), None)
        if elsewhere:
            said.append(
                f"at sites that were left out {self.c} is {number(elsewhere['estimate'])},"
                f" {number(elsewhere['difference'], sign=True)} against patients of the same sites, by other models"
            )
        return _joined("A new batch or site", said)

    def _adversary(self) -> str:
        row = self._most(ADVERSARY, "worst of the directions tried")
        moved = self._same(row, "risk_change") if row else None
        if not row or not moved:
            return ""
        return (
            f"The worst small change found, within {_dose(row)} of each feature and numeric covariate, pulls the risk"
            f" of patients towards the other end by {number(100 * moved['estimate'], 0)} percentage points on average:"
            f" {self._away(row)}. Forests, deep and stacked models are attacked along the slopes of the Cox models and"
            " in random directions, so that an adversary can do at least this."
        )

    def _away(self, row: Row) -> str:
        """How far C moves."""
        moved = {"estimate": row["difference"], "lower": row["difference_lower"], "upper": row["difference_upper"]}
        return f"{self.c} moves by {interval(moved, 3, sign=True)}"

    def _level(self, row: Row) -> str:
        """Observed over expected risk without and with the stress."""
        own = self._same(row, "observed_expected")
        if own is None or own["difference"] is None:
            return ""
        before = own["estimate"] - own["difference"]
        return f" (observed over expected risk from {number(before)} to {number(own['estimate'])})"

    def _same(self, row: Row, metric: str) -> Row | None:
        keys = ("concept", "stress", "part", "dose")
        return next((r for r in self.rows if r["metric"] == metric and all(r[k] == row[k] for k in keys)), None)

    def _most(self, concept: str, stress: str) -> Any:
        """C at the largest dose, or ""."""
        return max(self._of(concept, stress), key=lambda r: float(r["dose"]), default="")

    def _worst(self, concept: str, stress: str) -> Any:
        return min(self._of(concept, stress), key=lambda r: float(r["difference"]), default="")

    def _of(self, concept: str, stress: str) -> list[Row]:
        return [r for r in self.rows if (r["concept"], r["stress"], r["metric"]) == (concept, stress, "uno_c")]


def _dose(row: Row) -> str:
    return f"{row['dose']:g} SD" if row["concept"] in IN_SD else f"{100 * row['dose']:g} %"


def _shifted(row: Row) -> str:
    """`all features of RNA higher in one half by 1 SD`."""
    how = row["stress"].removeprefix("all features ")
    return f"all features of {term(row['part'])} {how} by {_dose(row)}"


def _joined(name: str, said: Sequence[str]) -> str:
    given = [s for s in said if s]
    return f"{name}: {'; '.join(given)}." if given else ""


def _figure(inputs: ReportInputs, rows: Sequence[Row]) -> list[object]:
    """Difference of C against the dose, a panel for each stress that has doses."""
    c = inputs.settings.words.c
    models = {m: PROGNOSIS_MODELS.index(m) for m in DRAWN if any(r["model"] == m for r in rows)}
    panels = []
    for i, (stress, name) in enumerate(SHORT.items()):
        own = [r for r in rows if r["stress"] == stress and r["metric"] == "uno_c" and r["model"] in models]
        if own:
            told = f"Change of {c} by dose: {stress}."
            share = own[0]["concept"] not in IN_SD
            panels.append((name, charts_robustness.dose_response(own, models, f"dose-{i}", told, c, share=share)))
    if not panels:
        return []
    first = next(r for r in rows if r["metric"] == "uno_c" and r["concept"] != SHIFT)
    bands = f"Bands: {inputs.settings.level} intervals, patients drawn with replacement, models kept"
    caption = (
        f"Change of {c} on held-out patients against their data as they are; below the line is worse."
        f" {join([label(m) for m in models])}: colours and lines as in the legend. {bands}. {inputs.size(first['n'])},"
        f" {count(first['events'], inputs.settings.min_cell)} events."
    )
    return [Panels("What worse data cost", panels, caption, 250, "worse-data")]


def _table(inputs: ReportInputs, rows: Sequence[Row]) -> list[object]:
    """Every stress and dose of the models that are drawn."""
    c = inputs.settings.words.c
    found: dict[tuple[Any, ...], dict[tuple[str, str], Row]] = {}
    for r in rows:
        if r["concept"] != SPECIFICATION and (r["part"] or r["dose"] is not None):
            key = (r["concept"], r["stress"], r["part"], r["dose"])
            found.setdefault(key, {})[r["model"], r["metric"]] = r
    models = [m for m in DRAWN if any((m, "uno_c") in own for own in found.values())]
    body = []
    for (concept, stress, part, dose), own in found.items():
        name = f"{stress}: {term(part)}" if part else stress
        cells = [concept, name, _dose({"concept": concept, "dose": dose})]
        for m in models:
            row = own.get((m, "uno_c"), {})
            keys = ("estimate", "lower", "upper")
            moved = dict(zip(keys, (row.get(f"difference{k}") for k in ("", "_lower", "_upper")), strict=True))
            level = own.get((m, "observed_expected"), {}).get("estimate")
            change = own.get((m, "risk_change"), {}).get("estimate")
            cells += [
                interval(moved, 3, sign=True),
                "–" if level is None else number(level),
                "–" if change is None else number(100 * change, 1),
            ]
        body.append(cells)
    if not body:
        return []
    heads = [h for m in models for h in (f"{label(m)}: {c}", "Observed / expected", "Risk moved, points")]
    numeric = frozenset(range(2, 3 + len(heads)))
    first = next(r for r in rows if r["metric"] == "uno_c")
    note = (
        f"Change of {c} with its interval, observed over expected risk under the stress, and how far predicted risks"
        f" move on average. {str(first['method']).split('; ')[-1]}. Noise, shifts and the adversary leave classes as"
        " they are; a 0/1 feature is drawn anew so often that it is as correlated with the true one as noise leaves a"
        " continuous one. What is missing is handled as in any patient who lacks it."
    )
    table = Table("Every stress and dose.", ["Concept", "Stress", "Dose", *heads], body, numeric, note)
    return [Fold("All stresses and doses", [table])]
