"""The target trial, and the patients who emulate it: who is eligible, who got what, and who was left out and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.strategies import StrategyError, check_measured, judged, received, start_months
from stratiome.survival.outcome import check_outcome
from stratiome.treatment.assessment import assessed_once
from stratiome.treatment.timing import since, strategies, time_zero

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
    randomised
        Whether treatment was given by chance.
    """

    clinical: pl.DataFrame
    treated: np.ndarray
    time: np.ndarray
    event: np.ndarray
    other: np.ndarray | None = None
    randomised: bool = False

    def take(self, rows: np.ndarray) -> Sample:
        """The patients where `rows`, shape `(n_patients,)`, is True."""
        other = None if self.other is None else self.other[rows]
        kept = self.clinical.filter(pl.Series(rows))
        return Sample(kept, self.treated[rows], self.time[rows], self.event[rows], other, self.randomised)

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
        Rows sorted by patient, True where treated (with start times, where treatment started by the landmark), and
        rows of `PatientFlow`.

    Raises
    ------
    TreatmentError
        If a column is absent, a condition is no condition, the treatment is not coded 0/1, a patient is in two arms,
        or starts and treatment contradict each other.
    """
    wanted = (*treatment.columns, *treatment.times, *treatment.confounders)
    absent = [c for c in dict.fromkeys(wanted) if c not in clinical.columns]
    if absent:
        raise TreatmentError(
            f"`treatments.{name}`: the clinical table has no column {absent}. "
            "Suggestion: correct the name in the config"
        )
    clinical = clinical.sort("patient_id")
    eligible, step = _eligible(clinical, name, treatment)
    flow = [step]
    with _named(f"treatments.{name}.{'column' if treatment.column else 'arms'}"):
        got = received(eligible, treatment)
    recorded = eligible.filter(got.recorded)
    flow.append(flow_step("treatment", name, eligible.height, recorded.height, "treatment not recorded"))
    given = eligible.filter(got.treated.is_not_null())
    if treatment.arms:
        reason = f"neither {treatment.compared} nor {treatment.control}"
        flow.append(flow_step("arms", name, recorded.height, given.height, reason))
    treated = got.treated.drop_nulls().to_numpy() == 1.0
    if treatment.start is not None:
        treated = starts_of(given, name, treatment, treated) <= float(treatment.landmark_months or 0.0)
    return given, treated, flow


def starts_of(given: pl.DataFrame, name: str, treatment: TreatmentConfig, treated: np.ndarray) -> np.ndarray:
    """Months from time zero to the start of treatment, infinite where untreated, shape `(n_patients,)`.

    Parameters
    ----------
    given
        Patients whose treatment is recorded.
    name, treatment
        Key and settings of a treatment with start times.
    treated
        Shape `(n_patients,)`, True = treated at any time.

    Raises
    ------
    TreatmentError
        If starts and treatment contradict each other, or a start is before time zero.
    """
    with _named(f"treatments.{name}.start"):
        return start_months(given, treatment, treated)


def emulate(
    clinical: pl.DataFrame, outcome: pl.DataFrame, name: str, treatment: TreatmentConfig
) -> tuple[Sample, list[dict[str, Any]]]:
    """Patients who are compared: eligible, with treatment and outcome recorded, and followed beyond the landmark.

    With start times, time zero is the landmark, and who starts later counts as untreated (Anderson, Cain & Gelber 1983;
    Dafni 2011): whether a patient was treated is known when follow-up starts, so that nobody had to live for it.

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
        As `assigned`, if a confounder was measured after treatment, and if nobody remains.
    """
    found = from_time_zero(clinical, outcome, name, treatment)
    landmark = treatment.landmark_months
    if landmark is None:
        return found.sample, found.flow
    sample = found.sample.take(found.sample.time > landmark)
    unit = treatment.unit or "months"
    reason = f"event or end of follow-up within {treatment.landmark:g} {unit}, before the arms are told apart"
    flow = [*found.flow, flow_step("landmark", name, len(found.sample), len(sample), reason)]
    if len(sample) == 0:
        raise TreatmentError(
            f"`treatments.{name}.landmark`: nobody is followed beyond {treatment.landmark:g} {unit}. "
            "Suggestion: an earlier landmark; it is in `unit`, by default that of `endpoint`"
        )
    started = found.start[found.sample.time > landmark] <= landmark
    return replace(sample, treated=started, time=sample.time - landmark), flow


@dataclass(frozen=True)
class FromTimeZero:
    """Patients from the time zero of the endpoint on.

    Attributes
    ----------
    sample
        Patients; treated = at any time.
    start
        Shape `(n_patients,)`, months from time zero to the start of treatment, infinite where untreated; all 0 or
        infinite without start times.
    flow
        Rows of `PatientFlow`.
    undated
        Confounders with values whose time of measurement is not known, of those that have one.
    """

    sample: Sample
    start: np.ndarray
    flow: list[dict[str, Any]]
    undated: tuple[str, ...]


def from_time_zero(
    clinical: pl.DataFrame, outcome: pl.DataFrame, name: str, treatment: TreatmentConfig
) -> FromTimeZero:
    """Patients as `emulate`, before any of them leaves for a landmark. Parameters and errors as there."""
    given, _, flow = assigned(clinical, name, treatment)
    with _named(f"treatments.{name}"):
        ever = received(given, treatment).treated.to_numpy() == 1.0
    joined = given.select("patient_id").join(outcome, on="patient_id", how="left", maintain_order="left")
    usable = joined["time_months"].is_not_null() & joined["event"].is_not_null()
    known = joined.filter(usable)
    flow.append(flow_step("outcome", name, given.height, known.height, "no usable outcome"))
    if known.is_empty():
        raise TreatmentError(
            f"`treatments.{name}`: no patient is eligible with treatment and outcome recorded. Suggestion: check "
            f"`eligible` ({treatment.eligible or 'not given'}) and the column `{', '.join(treatment.columns)}`"
        )
    time, event = check_outcome(known["time_months"].to_numpy(), known["event"].to_numpy())
    other = known["competing"].fill_null(0).to_numpy() == 1 if "competing" in known.columns else None
    if other is not None and not other.any():
        other = None
    kept = given.filter(usable)
    mine = ever[usable.to_numpy()]
    start = np.where(mine, 0.0, np.inf)
    if treatment.start is not None:
        start = starts_of(kept, name, treatment, mine)
    with _named(f"treatments.{name}.measured"):
        undated = check_measured(kept, treatment, None if treatment.start is None else start)
    sample = Sample(kept, mine, time, event, other, treatment.design == "randomised")
    return FromTimeZero(sample, start, flow, tuple(undated))


def _eligible(clinical: pl.DataFrame, name: str, treatment: TreatmentConfig) -> tuple[pl.DataFrame, dict[str, Any]]:
    kept, reason = clinical, "kept"
    if treatment.eligible is not None:
        with _named(f"treatments.{name}.eligible"):
            kept = clinical.filter(judged(clinical, treatment.eligible).fill_null(False))
        reason = f"does not meet {treatment.eligible}, or cannot be judged"
    return kept, flow_step("eligibility", name, clinical.height, kept.height, reason)


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Errors of `stratiome.strategies` with the key of the config that they concern."""
    try:
        yield
    except StrategyError as error:
        raise TreatmentError(f"`{key}`: {error}") from None


def with_role(clinical: pl.DataFrame, roles: dict[str, str], *wanted: str) -> pl.DataFrame:
    """Patients with one of the wanted roles in a split.

    Parameters
    ----------
    clinical
        One row per patient with `patient_id`.
    roles
        Patient -> train, test or out.
    wanted
        Roles.
    """
    return clinical.filter(pl.Series([roles.get(p) in wanted for p in clinical["patient_id"]], dtype=pl.Boolean))


def modifier_columns(
    treatment: TreatmentConfig, treatments: Iterable[TreatmentConfig], covariates: Iterable[str], present: Iterable[str]
) -> tuple[str, ...]:
    """Clinical columns that the effect of a treatment may differ by: confounders and covariates, each once.

    What tells who got this treatment, or whether another was given, is none of them.

    Parameters
    ----------
    treatment, treatments
        The treatment, and all of them.
    covariates
        Clinical columns of the config.
    present
        Columns that there are.
    """
    tell = {treatment.start, *treatment.columns, *(t.column for t in treatments)}
    there = set(present)
    return tuple(c for c in dict.fromkeys((*treatment.confounders, *covariates)) if c in there and c not in tell)


def flow_step(step: str, name: str, n_in: int, n_out: int, reason: str) -> dict[str, Any]:
    """One row of `PatientFlow` of a treatment; the reason is "kept" where nobody left."""
    return {"step": step, "scope": name, "n_in": n_in, "n_out": n_out, "reason": reason if n_in > n_out else "kept"}


def target_trial(
    name: str,
    treatment: TreatmentConfig,
    endpoint: EndpointConfig,
    evaluation: EvaluationConfig,
    remarks: str = "",
    later: int | None = None,
) -> list[dict[str, str]]:
    """The trial one would run, beside how the data emulate it: rows of `TreatmentTrial`.

    After the TARGET statement (2025). What the config cannot promise is said, above all that without start times of
    treatment an immortal-time bias cannot be excluded (Hernán et al. 2016; Suissa 2008). `remarks` says what could not
    be balanced on its own (`ClinicalDesign.remarks`), `later` how many start treatment after the landmark.
    """
    randomised = treatment.design == "randomised"
    texts = _who_and_what(treatment, randomised, remarks, later)
    if endpoint.response is None:
        texts |= _when_and_how(treatment, endpoint, evaluation, randomised)
    else:
        texts |= assessed_once(treatment, endpoint.response, evaluation)
    return [{"treatment": name, "component": c, "target": texts[c][0], "emulation": texts[c][1]} for c in COMPONENTS]


def _who_and_what(
    treatment: TreatmentConfig, randomised: bool, remarks: str, later: int | None
) -> dict[str, tuple[str, str]]:
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
        "strategies": strategies(treatment, later),
        "assignment": (
            "At random, without blinding, at time zero.",
            by_chance if randomised else given,
        ),
    }


def _when_and_how(
    treatment: TreatmentConfig, endpoint: EndpointConfig, evaluation: EvaluationConfig, randomised: bool
) -> dict[str, tuple[str, str]]:
    horizons, tau = ", ".join(f"{h:g}" for h in endpoint.horizons_months), f"{endpoint.tau_months:g}"
    arms = f"{treatment.compared} minus {treatment.control}"
    contrast = f"Survival at {horizons} months{since(treatment)} and mean survival within {tau} months, {arms}"
    adjusted = (
        f"an analysis adjusted for {', '.join(treatment.confounders)}" if treatment.confounders else "no adjustment"
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
            time_zero(treatment, endpoint),
        ),
        "follow-up": (
            f"From time zero to the event or the end of follow-up; compared up to {tau} months.",
            f"`{endpoint.time}` as recorded{', less the landmark' if treatment.start else ''}. "
            "Censoring is taken to be unrelated to prognosis within each arm.",
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
