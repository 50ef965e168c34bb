"""Does the effect differ between patients? Rows of tables, from contributions of held-out patients to the effect.

In the order of PATH (Kent et al. 2020): by the risk without treatment, then by covariates named before; `benefit` has
what comes last, the effect that a model predicts. Contributions come from models that have not seen the patient, so
that nothing here is told of patients by whom it was learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from stratiome.survival.design import ColumnType, column_type
from stratiome.treatment.averages import Settings
from stratiome.treatment.emulate import Sample
from stratiome.treatment.hazard import hazard_ratio
from stratiome.treatment.heterogeneity import (
    FEWEST,
    GroupEffects,
    group_effects,
    linear_projection,
    quarters,
    value_groups,
)
from stratiome.treatment.weight import TRIM, overlap_weights

Row = dict[str, Any]
BASELINE, COVARIATE, PREDICTED = "baseline risk", "covariate", "predicted effect"
RISK = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
MOST_LEVELS = 12
"""Levels of a covariate beyond which it is not looked at."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out patients of one treatment with a propensity within `TRIM` to `1 - TRIM`.

    Attributes
    ----------
    name
        Key of the treatment.
    sample
        Patients.
    contribution
        Shape `(n_patients,)`, to the difference in restricted mean survival, months.
    predicted
        Shape `(n_patients,)`, the difference that Cox models of the confounders in each arm predict, months.
    learned
        Learner -> shape `(n_patients,)`, the difference it predicts, months; NaN where it could not.
    risk
        Shape `(n_patients,)`, predicted risk at the last horizon without treatment.
    propensity
        Shape `(n_patients,)`.
    fold
        Shape `(n_patients,)`, which models judged the patient.
    randomised
        Whether assignment was by chance.
    """

    name: str
    sample: Sample
    contribution: np.ndarray
    predicted: np.ndarray
    learned: dict[str, np.ndarray]
    risk: np.ndarray
    propensity: np.ndarray
    fold: np.ndarray
    randomised: bool

    @classmethod
    def of(
        cls,
        name: str,
        sample: Sample,
        scores: pl.DataFrame,
        randomised: bool,
        predictions: pl.DataFrame | None = None,
    ) -> HeldOut:
        """From rows of `TreatmentScores`; patients without are left out.

        Parameters
        ----------
        name
            Key of the treatment.
        sample
            Eligible patients with treatment and outcome.
        scores
            Rows of `TreatmentScores`, each patient once.
        randomised
            Whether assignment was by chance.
        predictions
            Rows of `TreatmentPredictions` of the same splits, each patient once for each learner.
        """
        own = scores.filter(pl.col("treatment") == name)
        joined = pl.DataFrame({"patient_id": sample.patient_ids}).join(
            own, on="patient_id", how="left", maintain_order="left"
        )
        known = joined["contribution"].is_not_null() & joined["propensity"].is_between(TRIM, 1.0 - TRIM)
        rows = joined.filter(known)
        return cls(
            name,
            sample.take(known.fill_null(False).to_numpy()),
            rows["contribution"].to_numpy(),
            rows["predicted"].to_numpy(),
            _by_learner(name, rows["patient_id"], predictions),
            rows["untreated_risk"].to_numpy(),
            rows["propensity"].to_numpy(),
            np.unique(rows["resample"].to_numpy().astype(str), return_inverse=True)[1],
            randomised,
        )

    def take(self, rows: np.ndarray) -> HeldOut:
        """Those where `rows`, shape `(n_patients,)`, is True."""
        return HeldOut(
            self.name,
            self.sample.take(rows),
            self.contribution[rows],
            self.predicted[rows],
            {learner: values[rows] for learner, values in self.learned.items()},
            self.risk[rows],
            self.propensity[rows],
            self.fold[rows],
            self.randomised,
        )


def _by_learner(name: str, patients: pl.Series, predictions: pl.DataFrame | None) -> dict[str, np.ndarray]:
    if predictions is None:
        return {}
    own, found = predictions.filter(pl.col("treatment") == name), {}
    for learner in own["learner"].unique(maintain_order=True):
        rows = own.filter(pl.col("learner") == learner)
        joined = pl.DataFrame({"patient_id": patients}).join(rows, on="patient_id", how="left", maintain_order="left")
        found[str(learner)] = joined["predicted"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return found


def difference_rows(held_out: HeldOut, covariates: tuple[str, ...], settings: Settings) -> tuple[list[Row], list[Row]]:
    """Rows of `TreatmentDifferences` and of `TreatmentDifferenceTests`; none with fewer than four groups' patients.

    Parameters
    ----------
    held_out
        Held-out patients.
    covariates
        Clinical columns named before the data were looked at.
    settings
        What all comparisons share.
    """
    if len(held_out.contribution) < 4 * FEWEST:
        return [], []
    parts = [
        _by_risk(held_out, settings),
        *(_by_covariate(held_out, c, settings) for c in covariates if c in held_out.sample.clinical.columns),
    ]
    effects = [r for made, _ in parts for r in made]
    tests = _holm([r for _, made in parts for r in made])
    return effects, tests


def _by_risk(held_out: HeldOut, settings: Settings) -> tuple[list[Row], list[Row]]:
    group = quarters(held_out.risk, held_out.fold)
    rows, found = group_rows(held_out, BASELINE, "risk without treatment", group, RISK, settings)
    test = _equal(held_out, BASELINE, "risk without treatment", found)
    return rows, [test]


def _by_covariate(held_out: HeldOut, column: str, settings: Settings) -> tuple[list[Row], list[Row]]:
    values = held_out.sample.clinical[column]
    kind: ColumnType = settings.types.get(column) or column_type(values)
    part = held_out.take(values.is_not_null().to_numpy())
    values = values.drop_nulls()
    if kind == "numeric":
        x = values.cast(pl.Float64, strict=False).to_numpy()
        if len(x) < 2 * FEWEST or not np.isfinite(x).all() or not x.std() > 0:
            return [], []
        group, names = value_groups(x)
        rows, _ = group_rows(part, COVARIATE, column, group, names, settings)
        return rows, [_trend(part, column, (x - x.mean()) / x.std(), settings)]
    text = values.cast(pl.String).to_numpy().astype(str)
    levels = sorted(set(text.tolist()))
    if not 1 < len(levels) <= MOST_LEVELS:
        return [], []
    group = np.searchsorted(np.array(levels), text) + 1
    rows, found = group_rows(part, COVARIATE, column, group, tuple(levels), settings)
    return rows, [_equal(part, COVARIATE, column, found)]


def group_rows(
    held_out: HeldOut, kind: str, variable: str, group: np.ndarray, names: tuple[str, ...], settings: Settings
) -> tuple[list[Row], GroupEffects]:
    """Absolute and relative effect in each group: rows of `TreatmentDifferences`, and the effects themselves.

    Parameters
    ----------
    held_out
        Held-out patients.
    kind, variable
        What the groups are made of.
    group
        Shape `(n_patients,)`, position of each patient's group, from 1 on.
    names
        Names of the groups.
    settings
        What all comparisons share.
    """
    found, z, rows = group_effects(held_out.contribution, group), z_value(settings), []
    for k, estimate, error in zip(found.groups, found.estimate, found.error, strict=True):
        inside = group == k
        part = held_out.sample.take(inside)
        base = {
            "treatment": held_out.name,
            "kind": kind,
            "variable": variable,
            "group": names[int(k) - 1],
            "position": int(k),
            "n": len(part),
            "events": int(part.event.sum()),
            "n_treated": int(part.treated.sum()),
            "held_out": True,
            "estimate": None,
            "lower": None,
            "upper": None,
        }
        tau, truth = settings.endpoint.tau_months, settings.truth
        row = base | {
            "estimand": "rmst_difference",
            "horizon_months": tau,
            "truth": None if truth is None else truth.effect(part.patient_ids, "rmst_difference", tau, "all"),
            "method": _METHOD,
        }
        if np.isfinite(estimate):
            row |= {"estimate": estimate, "lower": estimate - z * error, "upper": estimate + z * error}
        else:
            row["method"] = f"not estimable: fewer than {FEWEST} patients; {_METHOD}"
        rows += [row, base | _relative(held_out, inside, settings)]
    return rows, found


_METHOD = (
    f"mean of doubly robust contributions of held-out patients with a propensity of {TRIM:g} to {1 - TRIM:g}, by models"
    " that have not seen them; normal interval"
)


def _relative(held_out: HeldOut, inside: np.ndarray, settings: Settings) -> Row:
    row: Row = {"estimand": "hazard_ratio", "horizon_months": None, "truth": None}
    part = held_out.sample.take(inside)
    few = min(part.event[part.treated].sum(), part.event[~part.treated].sum()) < 5
    weights = None if held_out.randomised else overlap_weights(part.treated, held_out.propensity[inside])
    ratio = None if few else hazard_ratio(part, weights, settings.evaluation.level)
    how = "unweighted" if weights is None else "overlap weights of the held-out propensity, robust interval"
    if ratio is None:
        why = "fewer than 5 events in an arm" if few else "the Cox model did not converge"
        return row | {"method": f"not estimable: {why}"}
    return row | {
        "estimate": ratio.estimate,
        "lower": ratio.lower,
        "upper": ratio.upper,
        "method": f"Cox model with treatment alone, {how}; not collapsible",
    }


def _equal(held_out: HeldOut, kind: str, variable: str, found: GroupEffects) -> Row:
    row = test_base(held_out, kind, variable) | {
        "test": "equal effects",
        "statistic": found.statistic,
        "df": found.df,
        "p_value": found.p_value,
        "method": f"Wald test of equal effects in {found.df + 1} groups; {_METHOD}",
    }
    if found.p_value is None:
        row["method"] = "not estimable: fewer than two groups with an effect"
    return row


def _trend(held_out: HeldOut, column: str, x: np.ndarray, settings: Settings) -> Row:
    line, z = linear_projection(held_out.contribution, x[:, None]), z_value(settings)
    slope, error = float(line.coefficients[1]), float(line.errors[1])
    return test_base(held_out, COVARIATE, column) | {
        "test": "linear trend",
        "estimate": slope,
        "lower": slope - z * error,
        "upper": slope + z * error,
        "statistic": line.statistic,
        "df": 1,
        "p_value": line.p_value,
        "method": "change of the effect, months per standard deviation: contributions of held-out patients regressed on"
        " the covariate, HC3",
    }


def test_base(held_out: HeldOut, kind: str, variable: str) -> Row:
    """Row of `TreatmentDifferenceTests` with nothing found yet."""
    blank = dict.fromkeys(("estimate", "lower", "upper", "statistic", "p_value", "p_holm"))
    base = {"treatment": held_out.name, "kind": kind, "variable": variable, "df": 0}
    return base | blank | {"n": len(held_out.contribution), "events": int(held_out.sample.event.sum())}


def _holm(tests: list[Row]) -> list[Row]:
    """Correct the tests of covariates for their number (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    own = [r for r in tests if r["kind"] == COVARIATE and r["p_value"] is not None]
    if own:
        for row, p in zip(own, multipletests([r["p_value"] for r in own], method="holm")[1], strict=True):
            row["p_holm"] = float(p)
    return tests


def z_value(settings: Settings) -> float:
    """Half-width of an interval in standard errors."""
    from scipy.stats import norm

    return float(norm.ppf(0.5 + settings.evaluation.level / 2))
