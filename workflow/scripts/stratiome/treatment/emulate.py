"""The target trial, and the patients who emulate it: who is eligible, who got what, and who was left out and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.survival.outcome import check_outcome

COMPONENTS = ("eligibility", "strategies", "assignment", "time zero", "follow-up", "outcome", "contrast", "analysis")
"""Components of a target trial (Hernán & Robins 2016; TARGET statement 2025)."""


class TreatmentError(ValueError):
    """A treatment comparison that cannot be made as the config asks."""


@dataclass(frozen=True)
class Sample:
    """Patients who are compared, sorted by identifier.

    Attributes
    ----------
    clinical
        One row per patient: `patient_id` and the clinical columns.
    treated
        Shape `(n_patients,)`, True = treated.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    other
        Shape `(n_patients,)`, True = failed of another cause at `time`, which ends follow-up too; None where there are
        no competing risks.
    """

    clinical: pl.DataFrame
    treated: np.ndarray
    time: np.ndarray
    event: np.ndarray
    other: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Sample:
        """The patients where `rows`, shape `(n_patients,)`, is True."""
        other = None if self.other is None else self.other[rows]
        return Sample(
            self.clinical.filter(pl.Series(rows)), self.treated[rows], self.time[rows], self.event[rows], other
        )

    @property
    def ended(self) -> np.ndarray:
        """Shape `(n_patients,)`, True where follow-up ended with the event or with a failure of another cause."""
        return self.event if self.other is None else self.event | self.other

    @property
    def cause(self) -> np.ndarray:
        """Shape `(n_patients,)`, 1 = event, 2 = another cause, 0 = censored."""
        return np.where(self.event, 1, np.where(self.ended, 2, 0))

    @property
    def patient_ids(self) -> list[str]:
        """Identifiers in the order of the rows."""
        return self.clinical["patient_id"].to_list()

    def __len__(self) -> int:
        return self.clinical.height


def assigned(
    clinical: pl.DataFrame, name: str, treatment: TreatmentConfig
) -> tuple[pl.DataFrame, np.ndarray, list[dict[str, Any]]]:
    """Eligible patients whose treatment is recorded; missing is not untreated.

    Parameters
    ----------
    clinical
        One row per patient with `patient_id`; null = missing.
    name
        Key of the treatment, which names its rows of the patient flow.
    treatment
        Column, design, eligibility and confounders.

    Returns
    -------
    tuple
        Rows sorted by patient, True where treated, and rows of `PatientFlow`.

    Raises
    ------
    TreatmentError
        If a column is absent, the condition is no condition, or the treatment is not coded 0/1.
    """
    absent = [c for c in (treatment.column, *treatment.confounders) if c not in clinical.columns]
    if absent:
        raise TreatmentError(
            f"`treatments.{name}`: the clinical table has no column {absent}. "
            "Suggestion: correct the name in the config"
        )
    clinical = clinical.sort("patient_id")
    met = _condition(clinical, name, treatment.eligible)
    eligible = clinical.filter(met.fill_null(False))
    reason = "kept" if treatment.eligible is None else f"does not meet {treatment.eligible}, or cannot be judged"
    flow = [flow_step("eligibility", name, clinical.height, eligible.height, reason)]
    given = eligible.filter(pl.col(treatment.column).is_not_null())
    flow.append(flow_step("treatment", name, eligible.height, given.height, "treatment not recorded"))
    values = given[treatment.column].cast(pl.Float64, strict=False)
    if values.null_count() or not values.is_in([0.0, 1.0]).all():
        raise TreatmentError(
            f"`treatments.{name}.column`: `{treatment.column}` must be 0 (untreated) or 1 (treated). "
            "Suggestion: recode it; leave unknown cells empty"
        )
    return given, values.to_numpy() == 1.0, flow


def emulate(
    clinical: pl.DataFrame, outcome: pl.DataFrame, name: str, treatment: TreatmentConfig
) -> tuple[Sample, list[dict[str, Any]]]:
    """Patients who are compared: eligible, with treatment and outcome recorded.

    Parameters
    ----------
    clinical
        One row per patient with `patient_id`; null = missing.
    outcome
        `patient_id`, `time_months`, `event` and, with competing risks, `competing` of the patients with a usable
        outcome.
    name, treatment
        Key and settings of the treatment.

    Returns
    -------
    tuple
        The sample, and rows of `PatientFlow`.

    Raises
    ------
    TreatmentError
        As `assigned`, and if nobody remains.
    """
    given, treated, flow = assigned(clinical, name, treatment)
    joined = given.select("patient_id").join(outcome, on="patient_id", how="left", maintain_order="left")
    usable = joined["time_months"].is_not_null() & joined["event"].is_not_null()
    known = joined.filter(usable)
    flow.append(flow_step("outcome", name, given.height, known.height, "no usable outcome"))
    if known.is_empty():
        raise TreatmentError(
            f"`treatments.{name}`: no patient is eligible with treatment and outcome recorded. "
            f"Suggestion: check `eligible` ({treatment.eligible or 'not given'}) and the column `{treatment.column}`"
        )
    time, event = check_outcome(known["time_months"].to_numpy(), known["event"].to_numpy())
    other = known["competing"].fill_null(0).to_numpy() == 1 if "competing" in known.columns else None
    if other is not None and not other.any():
        other = None
    return Sample(given.filter(usable), treated[usable.to_numpy()], time, event, other), flow


def _condition(clinical: pl.DataFrame, name: str, condition: str | None) -> pl.Series:
    if condition is None:
        return pl.Series([True] * clinical.height, dtype=pl.Boolean)
    hint = "Suggestion: a condition on clinical columns in SQL, as `stage IN (1, 2, 3) AND age >= 18`"
    try:
        met = clinical.select(met=pl.sql_expr(condition))["met"]
    except pl.exceptions.PolarsError as error:
        text = str(error).splitlines()[0]
        raise TreatmentError(f"`treatments.{name}.eligible`: `{condition}` cannot be judged ({text}). {hint}") from None
    if met.dtype != pl.Boolean or len(met) != clinical.height:
        raise TreatmentError(
            f"`treatments.{name}.eligible`: `{condition}` is not true or false for each patient. {hint}"
        )
    return met


def flow_step(step: str, name: str, n_in: int, n_out: int, reason: str) -> dict[str, Any]:
    """One row of `PatientFlow` of a treatment; the reason is "kept" where nobody left."""
    return {"step": step, "scope": name, "n_in": n_in, "n_out": n_out, "reason": reason if n_in > n_out else "kept"}


def target_trial(
    name: str, treatment: TreatmentConfig, endpoint: EndpointConfig, evaluation: EvaluationConfig, remarks: str = ""
) -> list[dict[str, str]]:
    """The trial one would run, beside how the data emulate it: rows of `TreatmentTrial`.

    After the TARGET statement (2025). What the config cannot promise is said, above all that without start times of
    treatment an immortal-time bias cannot be excluded (Hernán et al. 2016; Suissa 2008). `remarks` says what could not
    be balanced on its own (`ClinicalDesign.remarks`).
    """
    randomised = treatment.design == "randomised"
    texts = _who_and_what(treatment, randomised, remarks) | _when_and_how(treatment, endpoint, evaluation, randomised)
    return [{"treatment": name, "component": c, "target": texts[c][0], "emulation": texts[c][1]} for c in COMPONENTS]


def _who_and_what(treatment: TreatmentConfig, randomised: bool, remarks: str) -> dict[str, tuple[str, str]]:
    label = treatment.label or treatment.column
    condition = f"patients who meet: {treatment.eligible}" if treatment.eligible else "all patients of the cohort"
    names = ", ".join(treatment.confounders)
    by_chance = "By chance, as in the trial that gave the data."
    given = (
        f"As decided in practice; taken to be as good as random given {names}. "
        "Causes of both treatment and outcome that are not listed bias the result."
    ) + (f" {remarks[0].upper()}{remarks[1:]}." if remarks else "")
    return {
        "eligibility": (
            f"{condition[0].upper()}{condition[1:]}, judged before time zero.",
            "The same condition on recorded values; a patient for whom it cannot be judged is not eligible. Patients "
            "without a recorded treatment or outcome are left out.",
        ),
        "strategies": (
            f"{label} from time zero, against no {label}.",
            f"`{treatment.column}` = 1 against 0 as recorded; doses, schedules and reasons to stop are not known.",
        ),
        "assignment": (
            "At random, without blinding, at time zero.",
            by_chance if randomised else given,
        ),
    }


def _when_and_how(
    treatment: TreatmentConfig, endpoint: EndpointConfig, evaluation: EvaluationConfig, randomised: bool
) -> dict[str, tuple[str, str]]:
    horizons, tau = ", ".join(f"{h:g}" for h in endpoint.horizons_months), f"{endpoint.tau_months:g}"
    contrast = f"Survival at {horizons} months and mean survival within {tau} months, treated minus untreated"
    adjusted = (
        f"an analysis adjusted for {', '.join(treatment.confounders)}" if treatment.confounders else "no adjustment"
    )
    immortal = (
        f"Where `{endpoint.time}` starts to count. Start times of treatment are not in the data: patients had to live "
        "long enough to be treated, so an immortal-time bias in favour of treatment cannot be excluded."
    )
    weighting = (
        f"Kaplan-Meier curves by arm, unweighted; beside them {adjusted} by overlap weights"
        if randomised
        else "Kaplan-Meier curves by arm with overlap weights from unpenalised logistic regression of treatment on "
        f"{', '.join(treatment.confounders)}"
    )
    population = "all eligible patients" if randomised else "patients who could have had either (overlap population)"
    return {
        "time zero": (
            "Eligibility, assignment and start of follow-up coincide.",
            f"Randomisation, provided that `{endpoint.time}` counts from it." if randomised else immortal,
        ),
        "follow-up": (
            f"From time zero to the event or the end of follow-up; compared up to {tau} months.",
            f"`{endpoint.time}` as recorded. Censoring is taken to be unrelated to prognosis within each arm.",
        ),
        "outcome": (
            f"Time to the event `{endpoint.event}`.",
            f"`{endpoint.event}` as recorded (1 = event), without blinded review; the same for both arms."
            + (
                f" Deaths of another cause ({endpoint.competing}) come first for some: differences are of the risk of"
                " the event where other causes remain; hazard ratios are cause-specific."
                if endpoint.competing
                else ""
            ),
        ),
        "contrast": (
            f"{contrast}, by assignment (intention to treat), in all eligible patients.",
            f"{contrast}, by recorded treatment, averaged over {population}.",
        ),
        "analysis": (
            "Comparison of the arms as assigned.",
            f"{weighting}. Intervals from {evaluation.bootstraps} bootstrap samples of patients, in each of which the "
            "weights are estimated anew. Effects by subgroup on held-out labels, with one test that all are equal "
            "and Holm's correction.",
        ),
    }
