"""Confounders that look as if they were measured after treatment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stratiome.config import TreatmentConfig
from stratiome.survival.design import ClinicalDesign, ColumnType
from stratiome.treatment.emulate import Sample, TreatmentError
from stratiome.treatment.weight import fit_propensity

DETERMINED = 0.99
"""Area under the ROC curve from which a single confounder nearly determines the treatment."""


def remarks(
    sample: Sample, treatment: TreatmentConfig, types: Mapping[str, ColumnType], undated: tuple[str, ...] = ()
) -> list[str]:
    """Sentences without a full stop on confounders that alone nearly determine the treatment, or have no date.

    Parameters
    ----------
    sample
        Patients; both arms present, or nothing is said.
    treatment
        Confounders.
    types
        Declared types of clinical columns.
    undated
        Confounders with values whose time of measurement is not known.
    """
    told = [c for c in treatment.confounders if area_under_curve(sample, c, types) >= DETERMINED]
    said = []
    if told:
        alone = "each of them alone" if len(told) > 1 else "it alone"
        said.append(
            f"{', '.join(told)}: {alone} nearly determines the treatment (area under the ROC curve at least"
            f" {DETERMINED:g}); check that it is not measured after treatment"
        )
    if undated:
        said.append(f"of some values of {', '.join(undated)} it is not known when they were measured; they are kept")
    return said


def area_under_curve(sample: Sample, column: str, types: Mapping[str, ColumnType]) -> float:
    """How well one column alone tells the treated from the untreated, 0.5 = not at all, 1 = perfectly.

    The column enters as it does among the confounders, missing values included, by logistic regression; the area is the
    Mann-Whitney statistic of the fitted probabilities over the number of pairs (Hanley & McNeil 1982).

    Parameters
    ----------
    sample
        Patients.
    column
        Clinical column.
    types
        Declared types of clinical columns.
    """
    from scipy.stats import mannwhitneyu

    if sample.treated.all() or not sample.treated.any():
        return 0.5
    rows = np.ones(len(sample), dtype=bool)
    x = ClinicalDesign.fit(sample.clinical, (column,), dict(types), rows).transform(sample.clinical)
    try:
        probability = fit_propensity(x, sample.treated).probability
    except TreatmentError as error:
        return 1.0 if "completely" in str(error) else 0.5
    pairs = float(sample.treated.sum() * (~sample.treated).sum())
    return float(mannwhitneyu(probability[sample.treated], probability[~sample.treated]).statistic) / pairs
