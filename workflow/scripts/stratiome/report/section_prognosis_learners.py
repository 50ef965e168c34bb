"""What omics add, learner by learner: each model beside the same learner on clinical variables alone.

A forest is compared with a forest, a Cox model with a Cox model. Models that have no such counterpart differ from the
clinical forest, the flexible learner without omics, in more than omics; what they gain is not said to come from these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stratiome.report import charts, verdicts, words
from stratiome.report.blocks import Cell, Figure, Table
from stratiome.report.claims import accuracy, claim
from stratiome.report.disclosure import count
from stratiome.report.fitted import unfitted
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_prognosis_calibration import two_lines
from stratiome.report.verdicts import Tone, Verdict
from stratiome.report.words import interval, label, months, number, p_value, readable, within
from stratiome.tables import COUNTERPARTS, FLEXIBLE_REFERENCE, PROGNOSIS_MODELS

Row = Mapping[str, Any]
OMICS, LEARNER, BOTH = "omics", "learner", "learner and omics"
"""What differs between two models."""


@dataclass(frozen=True)
class Contrast:
    """A model beside another, and what differs between them."""

    model: str
    versus: str
    what: str

    @property
    def name(self) -> str:
        """As `Clinical + latent less clinical`."""
        return f"{label(self.model)} less {within(self.versus)}"


CONTRASTS = (
    *(Contrast(model, versus, OMICS) for model, versus in COUNTERPARTS.items()),
    Contrast(FLEXIBLE_REFERENCE, "clinical", LEARNER),
    Contrast("deep", FLEXIBLE_REFERENCE, BOTH),
    Contrast("stacked", FLEXIBLE_REFERENCE, BOTH),
)


def contrasts(inputs: ReportInputs, design: str | None = None) -> list[Contrast]:
    """Those whose models were both fitted and compared."""
    where = design or inputs.headline
    return [
        c
        for c in CONTRASTS
        if not unfitted(inputs, c.model, where)
        and not unfitted(inputs, c.versus, where)
        and claim(inputs, c.model, "uno_c", c.versus, where) is not None
    ]


def judged(inputs: ReportInputs, contrast: Contrast, design: str | None = None) -> tuple[Tone, str]:
    """What the intervals of a contrast say, as `verdicts.adds`."""
    c, b = (claim(inputs, contrast.model, m, contrast.versus, design) for m in ("uno_c", "ibs"))
    return verdicts.adds(c, b, accuracy(inputs, contrast.model, design))


def own_verdict(inputs: ReportInputs, model: str, design: str) -> Cell:
    """Verdict on a model in the table of all: beside its own counterpart where it has one."""
    own = next((c for c in contrasts(inputs, design) if c.model == model), None)
    if own is None:
        return Cell("no counterpart without omics", "unknown")
    tone, phrase = judged(inputs, own, design)
    if own.what == OMICS:
        return Cell(phrase, tone)
    short = {"yes": "gain of learner or omics", "no": "no gain on the clinical forest"}
    return Cell(short.get(tone, phrase), _beside_the_forest(tone, phrase)[1])


def _beside_the_forest(tone: Tone, phrase: str) -> tuple[str, str]:
    """What is said of a model that differs from the clinical forest in more than omics; never that omics add."""
    if tone == "yes":
        return "better than the clinical forest, by learner or omics", "mixed"
    if tone == "no":
        return "not seen to be better than the clinical forest", "no"
    return f"{phrase} (to the clinical forest)", tone


# --- the answer ------------------------------------------------------------------------------------------------------


def with_learners(inputs: ReportInputs, found: Verdict, calibration: Sequence[verdicts.Calibrated] = ()) -> Verdict:
    """The verdict by Cox models with a second line on flexible learners, their numbers, and what would change it.

    Where omics add to one learner and not to the other, the badge says that it is mixed.

    Parameters
    ----------
    inputs
        The results.
    found
        The verdict by Cox models.
    calibration
        Calibration slope and observed over expected of the stacked model, at each horizon.
    """
    every = {(c.model, c.versus): judged(inputs, c)[0] for c in contrasts(inputs)}
    forest = every.get(("forest", FLEXIBLE_REFERENCE), "unknown")
    tone = "mixed" if {found.tone, forest} == {"yes", "no"} else found.tone
    lines = [_of_forests(forest, found.tone), _of_learner(every), _of_stack(inputs, every)]
    flexible = [c for c in contrasts(inputs) if c.what != OMICS or c.versus != "clinical"]
    flexible = [c for c in flexible if c.model != "deep"]
    facts = [(f"Δ {_c(inputs)}, {within(c.model)} less {within(c.versus)}", _interval(inputs, c)) for c in flexible]
    if ("stacked", FLEXIBLE_REFERENCE) not in every and "stacked" in _models(inputs):
        row = claim(inputs, "stacked", "uno_c", "clinical")
        facts += [(f"Δ {_c(inputs)}, stacked", interval(row, 3, sign=True))] if row else []
    risks = ""
    if "stacked" in _models(inputs) and judged(inputs, Contrast("stacked", "clinical", BOTH))[0] in ("yes", "mixed"):
        risks = verdicts.of_risks(["stacked"], {"stacked": calibration}, inputs.settings.words).strip()
    caveat = " ".join(s for s in (found.caveat, risks, _at_horizons(inputs), bent(inputs)) if s)
    beside = " ".join(line for line in lines if line)
    made = replace(found, tone=tone, beside=beside, caveat=caveat, facts=(*found.facts, *facts))
    return replace(made, changes=_changes(inputs, made))


def _models(inputs: ReportInputs) -> set[str]:
    return {r["model"] for r in inputs.rows("prognosis_metrics", design=inputs.headline)}


def _c(inputs: ReportInputs) -> str:
    outcome = inputs.settings.words
    return f"{outcome.c}{outcome.say(f' up to {months(inputs.settings.endpoint.tau_months)} months', '')}"


def _interval(inputs: ReportInputs, contrast: Contrast) -> str:
    row = claim(inputs, contrast.model, "uno_c", contrast.versus)
    return interval(row, 3, sign=True) if row else "not estimable"


def _of_forests(forest: Tone, cox: Tone) -> str:
    """Whether omics add to a forest of clinical variables."""
    if forest == "no":
        return {
            "no": "Nor is there evidence that they add to a forest of clinical variables.",
            "yes": "But there is no evidence that they add to a forest of clinical variables.",
        }.get(cox, "There is no evidence that they add to a forest of clinical variables.")
    return {
        "yes": f"They add to a forest of clinical variables{', other than to the Cox model' if cox == 'no' else ''}.",
        "harm": "With them, a forest is worse than one of clinical variables alone.",
        "mixed": "To a forest of clinical variables they add in part.",
    }.get(forest, "")


def _of_learner(every: Mapping[tuple[str, str], Tone]) -> str:
    """Whether a forest beats the Cox model without any omics."""
    tone = every.get((FLEXIBLE_REFERENCE, "clinical"), "unknown")
    if tone == "yes":
        return (
            "A forest ranks better than the Cox model on clinical variables alone: what flexible models gain on the"
            " clinical Cox model is first of all a gain of the learner."
        )
    return {
        "no": "On clinical variables alone, a forest is not seen to be better than the Cox model.",
        "harm": "On clinical variables alone, a forest is worse than the Cox model.",
    }.get(tone, "")


def _of_stack(inputs: ReportInputs, every: Mapping[tuple[str, str], Tone]) -> str:
    """Whether the stacked model, the one to apply, is better than the models without omics."""
    if "stacked" not in _models(inputs):
        return ""
    if why := unfitted(inputs, "stacked", inputs.headline):
        return f"The stacked model was not fitted: {why}."
    on_clinical = Contrast("stacked", "clinical", BOTH)
    tone, phrase = judged(inputs, on_clinical)
    if tone == "unknown":
        return ""
    if tone == "no":
        return "There is no evidence that the stacked model is better than the clinical one."
    if tone == "harm":
        return "Predictions of the stacked model are worse than those of the clinical one."
    said = f"Beside the clinical Cox model, the stacked model {'ranks better' if tone == 'yes' else phrase}"
    beside = every.get(("stacked", FLEXIBLE_REFERENCE))
    if beside == "yes":
        return (
            f"{said}, and so it does beside the clinical forest; how much of the latter comes from omics is open, as no"
            " stack without them was fitted."
        )
    if beside == "no":
        return f"{said}; it is not seen to be better than the clinical forest."
    if beside == "harm":
        return f"{said}; it is worse than the clinical forest."
    if every.get((FLEXIBLE_REFERENCE, "clinical")) == "yes":
        return f"{said}; but so does a forest of clinical variables alone, so that not all of it comes from omics."
    return f"{said}; how much of that is omics, and how much the learner, is not told apart."


def _at_horizons(inputs: ReportInputs) -> str:
    """Single horizons at which omics change the area under the curve, where C is not seen to differ."""
    if not inputs.settings.words.timed:
        return ""
    said, looked = [], 0
    for own in [c for c in contrasts(inputs) if c.what == OMICS]:
        for horizon in inputs.settings.endpoint.horizons_months:
            row = claim(inputs, own.model, "auc", own.versus, horizon=horizon)
            if row is None or row["estimate"] is None:
                continue
            looked += 1
            c = claim(inputs, own.model, "uno_c", own.versus)
            open_ = c is not None and verdicts.direction(c["lower"], c["upper"]) == "covers"
            if open_ and verdicts.direction(row["lower"], row["upper"]) in ("above", "below"):
                said.append(f"{within(own.model)} at {months(horizon)} months ({_ends(row)})")
    if not said:
        return ""
    return (
        f"At single horizons the AUC differs from that without omics, by intervals that are not corrected for the"
        f" {looked} looked at: {words.join(said)}."
    )


def _ends(row: Row) -> str:
    return interval(row, 3, sign=True).replace(" (", ", ").removesuffix(")")


def bent(inputs: ReportInputs) -> str:
    """That the clinical Cox model is at a disadvantage where hazards are not proportional."""
    rows = inputs.rows("proportional", model="clinical", feature=None)
    row = rows[0] if rows else None
    if row is None or row["p_holm"] is None or row["p_holm"] >= inputs.settings.alpha:
        return ""
    learner = next((c for c in contrasts(inputs) if c.what == LEARNER), None)
    if learner is None or judged(inputs, learner)[0] != "yes":
        return ""
    until = months(inputs.settings.endpoint.tau_months)
    return (
        f"The clinical Cox model learns from all follow-up, forests from the {until} months that are judged. Hazards"
        f" of the first are not proportional ({p_value(row['p_holm'])}), which can make it look worse than one learned"
        " up to then."
    )


def _changes(inputs: ReportInputs, found: Verdict) -> str:
    """What would change the answer, by the intervals that it rests on."""
    of_omics = [(c, claim(inputs, c.model, "uno_c", c.versus)) for c in contrasts(inputs) if c.what == OMICS]
    known = [(c, r) for c, r in of_omics if r is not None and r["lower"] is not None]
    if not known or found.tone == "unknown":
        return ""
    above = [(c, r) for c, r in known if r["lower"] > 0]
    open_ = [(c, r) for c, r in known if r["lower"] <= 0 <= r["upper"]]
    if found.tone == "no" and open_:
        near, row = max(open_, key=lambda pair: pair[1]["lower"])
        return (
            f"an interval of what omics add in {inputs.settings.words.c} to the same learner lay above 0; the nearest"
            f" is that of {within(near.model)} less {within(near.versus)}, {_ends(row)}"
        )
    if found.tone in ("yes", "mixed") and above:
        near, row = min(above, key=lambda pair: pair[1]["lower"])
        lower = number(row["lower"], 3, sign=True)
        said = f"the gain of {within(near.model)}, whose interval begins at {lower}, were lost in other patients"
        return f"{said}, or learners agreed" if open_ and found.tone == "mixed" else said
    return ""


# --- table and figures -----------------------------------------------------------------------------------------------


def gains(inputs: ReportInputs, design: str) -> list[Table]:
    """One line a contrast, with what differs; nothing where no model was compared with its own counterpart."""
    shown = contrasts(inputs, design)
    if not shown:
        return []
    outcome, horizons = inputs.settings.words, inputs.settings.endpoint.horizons_months
    body: list[list[Cell | str]] = []
    for c in shown:
        tone, phrase = judged(inputs, c, design)
        if c.what == OMICS:
            told = Cell("omics add" if tone == "yes" else phrase, tone)
        elif c.what == LEARNER:
            told = Cell("no omics: " + ("a gain of the learner" if tone == "yes" else phrase))
        else:
            told = Cell(*_beside_the_forest(tone, phrase))
        rows = [claim(inputs, c.model, "uno_c", c.versus, design), claim(inputs, c.model, "ibs", c.versus, design)]
        if outcome.timed:
            rows += [claim(inputs, c.model, "auc", c.versus, design, h) for h in horizons]
        cells = [two_lines(r, 4 if i == 1 else 3, sign=True) for i, r in enumerate(rows)]
        body.append([c.name, c.what, *cells, told])
    head = ["Contrast", "What differs", f"Δ {_c(inputs)}", f"Δ {outcome.error}"]
    head += [f"Δ AUC{outcome.at(h, 'mo')}" for h in horizons] if outcome.timed else []
    note = (
        f"Estimate ({inputs.settings.level} interval), on the same draws of held-out patients; verdicts by"
        f" {outcome.c} first, each on its own. Omics are judged beside the same learner without them; a stacked or deep"
        " model without omics is not fitted, so that these two stand beside the clinical forest."
    )
    return [
        Table(
            f"What omics add, learner by learner ({design}).",
            [*head, "Verdict"],
            body,
            frozenset(range(2, len(head))),
            note,
        )
    ]


def forest(inputs: ReportInputs, designs: Mapping[str, str]) -> list[Figure]:
    """What omics add in concordance and in the integrated Brier score; parameters: design -> its heading."""
    sides = ("better without omics", "better with omics")
    made = [
        _one_forest(inputs, designs, "uno_c", "omics-concordance", 3, sides),
        _one_forest(inputs, designs, "ibs", "omics-error", 4, sides[::-1]),
    ]
    return [figure for figure in made if figure is not None]


def _one_forest(
    inputs: ReportInputs, designs: Mapping[str, str], metric: str, slug: str, decimals: int, sides: tuple[str, str]
) -> Figure | None:
    lines: list[charts.Line] = []
    claims: list[Row] = []
    for design, title in designs.items():
        pairs = [(c, claim(inputs, c.model, metric, c.versus, design)) for c in contrasts(inputs, design)]
        rows = [(c, r) for c, r in pairs if c.what == OMICS and r is not None and r["estimate"] is not None]
        if rows:
            lines.append(charts.Line(words.sentence(title), heading=True))
        lines += [
            charts.Line(_named(c), *_span(r), interval(r, decimals, sign=True), PROGNOSIS_MODELS.index(c.model), row=r)
            for c, r in rows
        ]
        claims += [r for _, r in rows]
    if not lines:
        return None
    outcome = inputs.settings.words
    what = {"uno_c": outcome.concordance, "ibs": f"the {outcome.error}"}[metric]
    told = "; ".join(f"{i.name} {i.text}" for i in lines if not i.heading)
    drawing = charts.forest(
        lines, slug, f"Difference in {what} to the model without omics: {told}.", f"Difference in {what}", sides
    )
    first = claims[0]
    caption = (
        f"{inputs.size(first['n'])}, {count(first['events'], inputs.settings.min_cell)} events; held out. Each model"
        " less the same learner on clinical variables alone."
        f" {words.sentence(readable(first['method']))}. An interval that covers zero is no evidence that omics add."
    )
    title = "What omics add, beside the same learner without them"
    return Figure(drawing, title + (": accuracy of the risks" if metric == "ibs" else ""), caption, 820, slug)


def _named(contrast: Contrast) -> str:
    """Name of a line: what it is compared with only where that is not the clinical model."""
    return label(contrast.model) if contrast.versus == "clinical" else contrast.name


def _span(row: Row) -> tuple[float, float | None, float | None]:
    return row["estimate"], row["lower"], row["upper"]
