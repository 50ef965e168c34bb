"""Part of the section on the audit: what the models are worth in other cohorts of the config."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from stratiome.report import validation, validation_claims
from stratiome.report.blocks import Finding, Heading, Note
from stratiome.report.disclosure import count
from stratiome.report.inputs import ReportInputs
from stratiome.report.validation import Validation
from stratiome.report.verdicts import Verdict
from stratiome.report.words import readable, sentence

OF_A_COHORT = ("external_metrics", "external_subgroups", "external_effects", "external_order")
"""Tables with what is known of each other cohort."""


def pages(inputs: ReportInputs) -> list[Validation]:
    """What is known of each other cohort, in the order of the config."""
    found = []
    inputs.note(*OF_A_COHORT)
    for row in inputs.rows("external_patients"):
        own = {name: inputs.tables[name].filter(pl.col("cohort") == row["cohort"]) for name in OF_A_COHORT}
        found.append(
            Validation(
                title=row["cohort"],
                learned=inputs.settings.title or inputs.settings.cohort,
                card={},
                digest="",
                patients=pl.DataFrame(),
                omics=pl.DataFrame(),
                metrics=own["external_metrics"],
                subgroups=own["external_subgroups"],
                min_cell=inputs.settings.min_cell,
                level=inputs.settings.level,
                words=inputs.settings.words,
                effects=own["external_effects"],
                order=own["external_order"],
                treatments={key: t.label for key, t in inputs.settings.treatments.items() if t.label},
            )
        )
    return found


def verdicts(inputs: ReportInputs) -> list[Verdict]:
    """One answer per other cohort, for the first screen."""
    return [_holds(page) for page in pages(inputs)]


def external(inputs: ReportInputs) -> list[object]:
    """Blocks on every other cohort."""
    blocks: list[object] = []
    for page, row in zip(pages(inputs), inputs.rows("external_patients"), strict=True):
        least = inputs.settings.min_cell
        text = (
            f"{count(row['n'], least)} patients were scored by the bundle of this cohort, without a look at outcomes;"
            f" {count(row['out_of_distribution'], least)} are unlike its training patients."
        )
        if row["missing"] is not None:
            text += f" The median patient lacks {100 * row['missing']:.0f} % of the features."
        if row["remarks"]:
            text += f" {sentence(readable(row['remarks']))}."
        blocks += [
            Heading(page.title),
            Finding(replace(_holds(page), link="")),
            Note(text),
            *validation.worth(page).blocks,
        ]
        found = replace(validation.subgroup_verdict(page), link="")
        blocks += [Heading(f"Subgroups in {page.title}"), Finding(found), *validation.subgroups(page).blocks]
        answer = validation_claims.effect_verdict(page)
        if answer is not None:
            blocks += [Heading(f"Treatments in {page.title}"), Finding(replace(answer, link=""))]
            blocks += validation_claims.effects(page).blocks
    return blocks


def _holds(page: Validation) -> Verdict:
    return replace(validation.verdict(page), question=f"Do the models hold in {page.title}?", link="travel")
