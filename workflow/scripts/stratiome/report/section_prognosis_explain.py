"""Part of the section on prognosis that says what the models use: omics exchanged, and risks put down to features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratiome.report import charts, words
from stratiome.report.blocks import Cell, Figure, Fold, Heading, Note, Table, Text
from stratiome.report.disclosure import count, is_small
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import interval, label, number, readable, term, within
from stratiome.tables import PROGNOSIS_MODELS

Row = Mapping[str, Any]

HEADLINE = ("clinical_omics", "clinical_latent", "clinical_factors", "stacked")
"""Models whose losses are drawn; those of the others are in the table."""
SHOWN = 15
"""Features, and gene sets, that are listed."""
BLIND = 0.5
"""Rank correlation with a model that has learned nothing, above which single features are not to be read."""
_ROUNDING = 1e-9
ONE_WAY = 0.5
"""Mean correlation of value and contribution, beyond which a direction is named."""


def explanation(inputs: ReportInputs, colours: Mapping[str, int]) -> list[object]:
    """What each omic adds to the models given the others, and what moves the predicted risk.

    Parameters
    ----------
    inputs
        The results.
    colours
        Model -> number of its colour.
    """
    blocks = [*_exchanged(inputs, colours), *_moved(inputs)]
    return (
        [Heading("What do the models use? Importance of predictors", "prognosis-explained"), *blocks] if blocks else []
    )


def _visible(inputs: ReportInputs, table: str, **where: Any) -> list[Row]:
    """Rows of omics that enough patients have."""
    return [r for r in inputs.rows(table, **where) if r["block"] not in inputs.rare]


def _exchanged(inputs: ReportInputs, colours: Mapping[str, int]) -> list[object]:
    outcome = inputs.settings.words
    rows = _visible(inputs, "importance", metric="uno_c")
    models = [m for m in PROGNOSIS_MODELS if any(r["model"] == m and m != "clinical" for r in rows)]
    if not models:
        asked = inputs.settings.prognosis
        off = asked is not None and asked.permutations == 0
        return [Note("What each omic adds to the fitted models was not asked (`prognosis.permutations: 0`).")] * off
    blocks = list(dict.fromkeys(r["block"] for r in rows))
    of = {(r["model"], r["block"]): r for r in rows}
    drawn = [m for m in HEADLINE if m in models] or models[:2]
    lines: list[charts.Line] = []
    for block in blocks:
        lines.append(charts.Line(_name(block), heading=True))
        for model in drawn:
            r = of[model, block]
            if _ignored(r):
                lines.append(charts.Line(label(model), text="does not use it", row=r))
            elif r["estimate"] is not None:
                text = interval(r, 3, sign=True)
                ends = r["estimate"], r["lower"], r["upper"]
                lines.append(charts.Line(label(model), *ends, text, colours.get(model, 1), row=r))
            else:
                lines.append(charts.Line(label(model), text="not estimable", row=r))
    first = rows[0]
    measure = outcome.concordance
    told = "; ".join(f"{i.name} {i.text}" if not i.heading else f"{i.name}:" for i in lines)
    figure = charts.forest(
        lines,
        "exchanged",
        f"Loss of {measure} when a block is exchanged among held-out patients. {told}.",
        f"Loss of {measure}",
        ("better without", "worse without"),
    )
    caption = (
        f"{inputs.size(first['n'])}, {count(first['events'], inputs.settings.min_cell)} events; held out,"
        f" {first['design']}. {words.sentence(readable(first['method']))}."
    )
    brier = {(r["model"], r["block"]): r for r in _visible(inputs, "importance", metric="brier")}
    body, score = ([_line(found, block, models, d) for block in blocks] for found, d in ((of, 3), (brier, 3)))
    head = ["Exchanged", *map(label, models)]
    numeric = frozenset(range(1, len(head)))
    horizon = inputs.settings.endpoint.horizons_months[-1]
    return [
        Text(
            "The values of one omic are exchanged among held-out patients, and the fitted model predicts again: what it"
            " loses is what that omic adds given all others. Where two omics tell the same, each looks dispensable."
        ),
        Figure(figure, "What each omic adds, given the others", caption, 820, "exchanged"),
        *([Note(said)] if (said := _unused(of, drawn, blocks, outcome.c)) else []),
        Fold(
            "All models, and the Brier score",
            [
                Table(f"Loss of {measure}.", head, body, numeric),
                Table(f"Rise of the Brier score{outcome.at(horizon)}; higher is worse.", head, score, numeric),
            ],
        ),
    ]


def _ignored(row: Row) -> bool:
    """Whether predictions stay as they are: the model does not see the block, or has chosen none of it."""
    values = (row["estimate"], row["lower"], row["upper"])
    return all(v is not None and abs(v) < _ROUNDING for v in values)


def _unused(of: Mapping[tuple[str, str], Row], models: list[str], blocks: list[str], measure: str) -> str:
    """Omics whose loss covers zero, or lies below it, in every model that is drawn."""
    idle = [
        b
        for b in blocks
        if b != "clinical" and all((r := of[m, b])["lower"] is not None and r["lower"] <= 0 for m in models)
    ]
    if not idle:
        return ""
    verb = "adds" if len(idle) == 1 else "add"
    return (
        f"No evidence that {words.join([_block(b) for b in idle])} {verb} anything to the ranking ({measure}) given the"
        " rest."
    )


def _line(found: Mapping[tuple[str, str], Row], block: str, models: list[str], decimals: int) -> list[Cell | str]:
    """A block with its losses in all models."""
    cells = [Cell(*_two(found[m, block], decimals)) if (m, block) in found else "–" for m in models]
    return [_name(block), *cells]


def _two(row: Row, decimals: int) -> tuple[str, str, str]:
    """Estimate, tone and interval of a cell."""
    if row["estimate"] is None:
        return "not estimable", "unknown", ""
    if _ignored(row):
        return "not used", "unknown", ""
    estimate, _, bounds = interval(row, decimals, sign=True).partition(" (")
    return estimate, "", bounds.removesuffix(")")


def _block(name: str) -> str:
    return "clinical columns" if name == "clinical" else label(name)


def _name(block: str) -> str:
    """The same at the start of a line."""
    return words.sentence(_block(block))


def _moved(inputs: ReportInputs) -> list[object]:
    shares = _visible(inputs, "shares")
    if not shares:
        return []
    at = inputs.settings.words.at(shares[0]["horizon_months"])
    ordered = sorted(shares, key=lambda r: -r["estimate"])
    body = [[_name(r["block"]), interval(r, 1, scale=100), inputs.people(r["n"])] for r in ordered]
    alone = " (taken as if nobody died of other causes)" if inputs.settings.endpoint.competing is not None else ""
    text = Text(
        f"{label('clinical_latent')}: how far each block moves the predicted risk{at}{alone} of a"
        " held-out patient away from that of the average patient with the same omics. Contributions of a patient add up"
        " to that difference. They describe what the model does, not what would happen if a value were changed."
    )
    note = f"{words.sentence(readable(shares[0]['method']))}. Held out, {shares[0]['design']}."
    blocks: list[object] = [
        text,
        Table(
            "Mean absolute contribution to the predicted risk, percentage points.",
            ["Block", "Contribution", "n"],
            body,
            frozenset({1, 2}),
            note,
        ),
    ]
    named = [*_features(inputs), *_gene_sets(inputs)]
    checked = _checked(inputs)
    return [*blocks, *checked, *([Fold("Features and gene sets behind it", named)] if named else [])]


def _features(inputs: ReportInputs) -> list[object]:
    rows = _visible(inputs, "explained", level="feature")
    if not rows:
        return []
    named = {r["feature"] for r in inputs.rows("coefficients", resample="full", model="clinical_omics")}
    body = []
    for r in rows[:SHOWN]:
        classes = r["block"] == "clinical" and any(f.startswith(f"{r['name']}: ") for f in named)
        classes = classes and r["name"] not in named
        body.append(
            [
                term(r["name"]) if r["block"] == "clinical" else r["name"],
                _name(r["block"]),
                number(100 * r["mean_absolute"], 2),
                _range(r),
                "classes, see coefficients" if classes else _direction(r["direction"]),
                number(r["coefficient"], 3, sign=True) if r["coefficient"] is not None else "–",
            ]
        )
    return [
        Table(
            f"The {len(body)} features of {len(rows)} that move the predicted risk most, percentage points; mean over"
            " held-out sets.",
            ["Feature", "Block", "Contribution", "Lowest to highest set", "Higher values go with", "Elastic net"],
            body,
            frozenset({2, 3, 5}),
            f"Elastic net: {inputs.settings.words.say('log hazard ratio', 'coefficient')} per SD in the sparse model on"
            " all patients, where it chose the feature. A"
            " feature stands for all that go with it: another of its group may take its place in other patients.",
        )
    ]


def _gene_sets(inputs: ReportInputs) -> list[object]:
    rows = [r for r in _visible(inputs, "explained", level="gene set") if r["random"]]
    if not rows:
        return []
    ordered = sorted(rows, key=lambda r: -r["mean_absolute"] / r["random"])
    body = [
        [
            r["name"],
            _name(r["block"]),
            str(r["size"]),
            number(100 * r["mean_absolute"], 2),
            number(r["mean_absolute"] / r["random"], 1),
        ]
        for r in ordered[:SHOWN]
    ]
    return [
        Table(
            f"Gene sets by their contribution against random sets of the same size; {len(body)} of {len(rows)}.",
            ["Gene set", "Omic", "Genes", "Contribution, percentage points", "Times random sets"],
            body,
            frozenset({2, 3, 4}),
            "Sets overlap, so contributions do not add up. No test is made.",
        )
    ]


def _range(row: Row) -> str:
    return (
        "one set" if row["resamples"] == 1 else f"{number(100 * row['lowest'], 2)} to {number(100 * row['highest'], 2)}"
    )


def _direction(value: float | None) -> str:
    if value is None or abs(value) < ONE_WAY:
        return "no clear direction"
    return "higher risk" if value > 0 else "lower risk"


def _checked(inputs: ReportInputs) -> list[object]:
    """Whether attributions add up, and whether they tell of the model at all."""
    rows = _visible(inputs, "attribution_checks")
    if not rows:
        return []
    error = max(r["error"] for r in rows)
    blind: dict[str, list[float]] = {}
    for r in rows:
        if r["shuffled"] is not None and not is_small(r["n"], inputs.settings.min_cell):
            blind.setdefault(r["block"], []).append(r["shuffled"])
    means = {block: sum(v) / len(v) for block, v in blind.items()}
    said = f"Checks: contributions add up to the difference of risks within {max(100 * error, 1e-6):.1g} points."
    if means:
        told = ", ".join(f"{_block(b)} {number(v, 2)}" for b, v in means.items())
        said += (
            " Rank correlation of the features with those of a model whose weights were shuffled, where near 0 is"
            f" good: {told}."
        )
    blocks: list[object] = [Note(said)]
    if loud := [b for b, v in means.items() if v > BLIND]:
        blocks.append(
            Note(
                f"A model that has learned nothing gives the features of {words.join([within(b) for b in loud])} a"
                " similar order: do not read single features there.",
                "care",
            )
        )
    return blocks
