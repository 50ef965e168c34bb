"""The page on a batch of new patients: whether it is like those of the bundle, and what drifted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from stratiome.report import disclosure
from stratiome.report.blocks import Note, Section, Table
from stratiome.report.template import TEMPLATES, fill
from stratiome.report.titles import with_numbers
from stratiome.report.verdicts import Verdict
from stratiome.report.words import join, label, number, p_cell, plural, readable

Row = Mapping[str, Any]
MOST = 30
"""Rows of a table of what drifted."""
PARTS = {
    "inputs": "features and covariates",
    "joint": "an omic or the latent space as a whole",
    "missingness": "missingness",
    "scores": "scores of the models",
    "memberships": "shares of the subgroups",
    "outcome": "the outcome",
}
"""What each part of the table is called."""
QUANTITIES = {
    "psi": "Population stability index",
    "mmd": "Squared discrepancy",
    "distance": "Distance of the means",
    "missing": "Share missing",
    "share": "Share of patients",
    "observed_expected": "Observed / expected",
    "slope": "Calibration slope",
}
SHARES = frozenset({"missing", "share"})


@dataclass(frozen=True)
class Monitoring:
    """What the page is made of.

    Attributes
    ----------
    title
        Of the batch.
    card
        What the bundle says of itself.
    digest
        SHA-256 of the bundle.
    drift
        Contract `Drift`.
    min_cell
        Smallest count that is told.
    """

    title: str
    card: Mapping[str, Any]
    digest: str
    drift: pl.DataFrame
    min_cell: int

    def part(self, *names: str) -> pl.DataFrame:
        """Rows of these parts that were tested."""
        return self.drift.filter(pl.col("part").is_in(names), pl.col("p_value").is_not_null())


def inputs_verdict(page: Monitoring) -> Verdict:
    """What can be said without outcomes."""
    question = f"Are these patients like those of {page.card['title']}?"
    tested = page.part(*(p for p in PARTS if p != "outcome"))
    if not tested.height:
        return Verdict(question, "Not answered: too few patients.", "unknown")
    found = [PARTS[p] for p in PARTS if tested.filter("flagged", part=p).height]
    facts = tuple(
        (PARTS[p].capitalize(), f"{own.filter('flagged').height} of {own.height} flagged")
        for p in PARTS
        if (own := tested.filter(part=p)).height
    )
    caveat = "Without drift, one look in twenty says otherwise."
    if not found:
        return Verdict(question, "No evidence of drift.", "no", facts, caveat, "drifted")
    return Verdict(question, f"They differ in {join(found)}.", "differs", facts, caveat, "drifted")


def outcome_verdict(page: Monitoring) -> Verdict:
    """Whether as many events happen as the models expect, and to whom they expect them."""
    question = "Does what happens agree with the risks?"
    tested = page.part("outcome")
    if not tested.height:
        own = page.drift.filter(part="outcome")
        reasons = [readable(m) for m in own["method"].unique(maintain_order=True)]
        return Verdict(question, f"Not answered: {join(reasons) or 'no model was judged'}.", "unknown")
    flagged = tested.filter("flagged")
    models = [label(m) for m in flagged["scope"].unique(maintain_order=True)]
    caveat = "Events are compared with those expected in the follow-up that each patient had so far."
    if not models:
        return Verdict(question, "No evidence of less agreement than in held-out patients.", "no", (), caveat)
    sides = {
        side: [
            label(r["scope"]) for r in flagged.iter_rows(named=True) if r["quantity"] == "observed_expected" and more(r)
        ]
        for side, more in (
            ("more events than expected", lambda r: r["estimate"] > r["reference"]),
            ("fewer events than expected", lambda r: r["estimate"] < r["reference"]),
        )
    }
    how = "; ".join(f"{side} by {join(by)}" for side, by in sides.items() if by)
    answer = f"Less than in held-out patients, by {join(models)}{f' ({how})' if how else ''}."
    return Verdict(question, answer, "harm", (), caveat, "outcome")


def _value(row: Row, column: str, min_cell: int) -> str:
    """A number as it may be told; a share of few patients is suppressed."""
    value = row[column]
    if value is None:
        return disclosure.MISSING
    if row["quantity"] in SHARES:
        whole = row["n_batch" if column == "estimate" else "n_training"]
        return disclosure.share(round(value * whole), whole, min_cell)
    return number(value, 3 if row["quantity"] in ("mmd", "psi") else 2)


def _table(page: Monitoring, rows: pl.DataFrame, caption: str) -> Table:
    body = [
        [
            PARTS[r["part"]].capitalize(),
            label(r["scope"]),
            f"`{r['name']}`" if r["name"] else "all",
            QUANTITIES[r["quantity"]],
            _value(r, "estimate", page.min_cell),
            _value(r, "reference", page.min_cell),
            p_cell(r["q_value"]),
        ]
        for r in rows.head(MOST).iter_rows(named=True)
    ]
    rest = f" The {MOST} with the smallest q of {rows.height:,}." if rows.height > MOST else ""
    head = ["Part", "Of", "Which", "Quantity", "Here", "In the bundle", "q"]
    return Table(caption, head, body, frozenset({4, 5, 6}), f"q: adjusted for all tests of the look.{rest}")


def drifted(page: Monitoring) -> Section:
    """What was flagged without outcomes."""
    rows = page.part(*(p for p in PARTS if p != "outcome")).filter("flagged").sort("q_value")
    lede = "Found without outcomes, by tests that allow for the patients of the bundle being a sample as well."
    blocks: list[object] = [_table(page, rows, "What drifted.")] if rows.height else [Note("Nothing was flagged.")]
    shares = page.drift.filter(quantity="share")
    if shares.height:
        counts = [round(r["estimate"] * r["n_batch"]) for r in shares.iter_rows(named=True)]
        before = [round(r["reference"] * r["n_training"]) for r in shares.iter_rows(named=True)]
        here, there = (
            disclosure.shares(c, sum(c), page.min_cell) if sum(c) else [disclosure.MISSING] * len(c)
            for c in (counts, before)
        )
        names = [f"Subgroup {g}" if g != "others" else "Unassigned, or of a rare one" for g in shares["name"]]
        body = [list(row) for row in zip(names, here, there, strict=True)]
        blocks.append(Table("Subgroups.", ["", "Here", "In the bundle"], body, frozenset({1, 2})))
    untested = page.drift.filter(
        pl.col("p_value").is_null(), pl.col("quantity") != "share", pl.col("part") != "outcome"
    )
    if untested.height:
        blocks.append(
            Note(f"Not tested: {plural(untested.height, 'comparison')}, of too few patients, or of one value in all.")
        )
    return Section("drifted", "What drifted", lede, blocks)


def outcome(page: Monitoring) -> Section:
    """Observed against expected by model."""
    rows = page.part("outcome")
    lede = "Compared with held-out patients of the bundle, once enough events are observed or expected."
    if not rows.height:
        return Section("outcome", "The outcome", lede, [Note(outcome_verdict(page).answer)])
    table = _table(page, rows, "What happened, against what was expected.").without(frozenset({"Part", "Which"}))
    return Section("outcome", "The outcome", lede, [table])


def about(page: Monitoring) -> Section:
    """Which bundle, and how each part was tested."""
    methods = page.drift.filter(pl.col("p_value").is_not_null()).select("part", "method").unique(maintain_order=True)
    body = [[PARTS[p].capitalize(), readable(m)] for p, m in methods.iter_rows()]
    rows = [["Bundle", f"{page.card['title']}, `{page.digest}`"], ["Meant for", page.card["intended_use"]]]
    tables: list[object] = [
        Table("The bundle.", ["", ""], rows),
        Table("How it was tested.", ["Part", "Test"], body),
    ]
    return Section("methods", "The bundle and the tests", "", tables)


def render(page: Monitoring, templates: Path = TEMPLATES) -> str:
    """The whole page as HTML that loads nothing from outside."""
    n = int(page.drift["n_batch"].max() or 0)  # type: ignore[arg-type]
    return fill(
        templates,
        title=f"{page.title}: drift against {page.card['title']}",
        summary=[f"{disclosure.count(n, page.min_cell)} patients", f"models of {page.card['n']:,} others"],
        warning="",
        verdicts=[inputs_verdict(page), outcome_verdict(page)],
        sections=with_numbers([drifted(page), outcome(page), about(page)]),
        simulated=False,
        min_cell=page.min_cell,
        public=None,
        version=page.card["stratiome"],
        made_of=[page.title, f"bundle {page.digest[:16]} of Stratiome {page.card['stratiome']}"],
    )
