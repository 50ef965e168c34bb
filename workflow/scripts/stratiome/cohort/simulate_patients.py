"""Patients with known truth: who they are, what they get, what happens to them, what is measured in them.

Every patient has a disease hazard and a hazard of death from other causes, both Weibull with one shape `a`:

    H_disease(t) = rate_disease * t^a * exp(subgroup + clinical risk + treated * effect of the subgroup)
    H_other(t)   = rate_other   * t^a * exp(age)

so survival from all causes is exp(-H_disease(t) - H_other(t)) in closed form, under either arm. Treatment and hazards
are linear in exactly the columns that are written (age, stage, marker). A marker that is missing acts on nothing, so
that a model with a fill value and a missing indicator is right, and nothing unmeasured confounds. The subgroup is
independent of the clinical columns and of the site, and never decides who is treated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stratiome.cohort.errors import CohortError
from stratiome.config import SimulateConfig

BLOCK = 128
"""Patients that share one random stream; results depend on it, and on nothing about how files are cut."""

SHARED_FACTORS = 3
"""Sources of variation within subgroups that all omics share."""

REFERENCE_AGE, REFERENCE_STAGE, REFERENCE_MARKER = 60.0, 2.0, 10.0
RISK_PER_DECADE, RISK_PER_STAGE, RISK_PER_MARKER = 0.25, 0.50, 0.12
"""Log disease hazard per ten years of age, per stage, and per unit of the marker (its SD is about 3)."""

OTHER_PER_DECADE = 0.6
"""Log hazard of death from other causes per ten years of age."""

STAGE_SHARES = (0.25, 0.35, 0.25, 0.15)
MARKER_MISSING = 0.05
WRONG_LABEL = 0.15
ADMINISTRATIVE = (0.25, 1.75)
"""Follow-up until the data cut, uniform between these multiples of the follow-up scale."""

DROPOUT = 0.5
"""Expected dropouts within one follow-up scale."""

DROPOUT_PER_SD = 1.0
"""Log dropout hazard per SD of the clinical risk, where censoring depends on it."""

_CALIBRATION_PATIENTS = 20_000
_POPULATION, _CALIBRATION, _PATIENTS, _OMIC_POPULATION, _OMIC_VALUES = range(5)


def stream(seed: int, *key: int) -> np.random.Generator:
    """Independent random stream of one purpose, a child of the seed as `SeedSequence.spawn` makes them."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def omic_population_stream(seed: int, name_key: int) -> np.random.Generator:
    """Stream of the parameters of one omic."""
    return stream(seed, _OMIC_POPULATION, name_key)


def omic_values_stream(seed: int, name_key: int, block: int) -> np.random.Generator:
    """Stream of the values of one omic in one block of patients."""
    return stream(seed, _OMIC_VALUES, name_key, block)


@dataclass(frozen=True)
class Population:
    """What all patients of a cohort share.

    Attributes
    ----------
    settings, seed
        What was asked for.
    proportions
        Shape `(n_subgroups,)`, shares of the subgroups.
    site_shares
        Shape `(n_sites,)`, shares of the sites.
    lacking
        Shape `(n_sites, n_omics)`, probability that a patient of the site lacks the omic; 1 = never measured there.
    log_hazards, log_hazard_ratios
        Shape `(n_subgroups,)`, against the first subgroup, and of treated against untreated.
    rate_disease, rate_other
        Cumulative hazard of the reference patient at one month, by cause.
    risk_mean, risk_sd
        Of the clinical risk (log disease hazard due to age, stage and marker).
    follow_up
        Scale of follow-up in months, infinite for none censored.
    """

    settings: SimulateConfig
    seed: int
    proportions: np.ndarray
    site_shares: np.ndarray
    lacking: np.ndarray
    log_hazards: np.ndarray
    log_hazard_ratios: np.ndarray
    rate_disease: float
    rate_other: float
    risk_mean: float = 0.0
    risk_sd: float = 1.0
    follow_up: float = np.inf

    @property
    def treated_at_all(self) -> bool:
        """Whether the cohort has a treatment."""
        return self.settings.treatment.design != "none"


@dataclass(frozen=True)
class Patients:
    """Patients of one stretch of the cohort; arrays have shape `(n_patients,)` unless said otherwise.

    Attributes
    ----------
    first
        Position of the first patient in the cohort.
    subgroup, label
        Planted subgroup and its noisy copy, from 0.
    site
        From 0.
    age, female, stage, marker
        Clinical columns as written; a missing marker is NaN.
    risk
        Log disease hazard due to age, stage and marker as measured.
    log_disease, log_other
        Log hazard of the untreated patient against the reference patient, by cause.
    effect
        Log disease-hazard ratio of treated against untreated of this patient.
    propensity, treated
        Probability of treatment, and 1 = treated.
    time, cause
        Follow-up in months; 0 = censored, 1 = disease, 2 = other cause.
    has
        Shape `(n_patients, n_omics)`, True where the omic was measured.
    factors
        Shape `(n_patients, SHARED_FACTORS)`, sources of variation that all omics share.
    """

    first: int
    subgroup: np.ndarray
    label: np.ndarray
    site: np.ndarray
    age: np.ndarray
    female: np.ndarray
    stage: np.ndarray
    marker: np.ndarray
    risk: np.ndarray
    log_disease: np.ndarray
    log_other: np.ndarray
    effect: np.ndarray
    propensity: np.ndarray
    treated: np.ndarray
    time: np.ndarray
    cause: np.ndarray
    has: np.ndarray
    factors: np.ndarray


def make_population(settings: SimulateConfig, seed: int) -> Population:
    """Parameters of a cohort, with treatment and censoring calibrated on a population of their own.

    Raises
    ------
    CohortError
        If the shares of the subgroups are not one positive share each, adding up to one.
    """
    rng = stream(seed, _POPULATION)
    k = settings.subgroups
    hazards = np.array(settings.subgroup_log_hazards or (0.0,))
    ratios = np.array(settings.treatment.log_hazard_ratios or (0.0,))
    site_shares = _uneven(settings.sites, 0.4)
    total = np.log(2) / settings.median_survival**settings.weibull_shape
    population = Population(
        settings=settings,
        seed=seed,
        proportions=_proportions(settings),
        site_shares=site_shares,
        lacking=_lacking(rng, settings, site_shares),
        log_hazards=(hazards - hazards[0])[np.arange(k) % len(hazards)],
        log_hazard_ratios=ratios[np.arange(k) % len(ratios)],
        rate_disease=float(total * (1 - settings.competing_deaths)),
        rate_other=float(total * settings.competing_deaths),
    )
    return _calibrated(population)


def make_patients(population: Population, start: int, stop: int) -> Patients:
    """Patients of positions `start` to `stop` (exclusive); `start` must begin a block.

    The result does not depend on how the cohort is cut into stretches.
    """
    ends = [(b, min(b + BLOCK, stop)) for b in range(start, stop, BLOCK)]
    blocks = [_patients(population, stream(population.seed, _PATIENTS, b // BLOCK), b, e - b) for b, e in ends]
    joined = {
        name: np.concatenate([getattr(b, name) for b in blocks])
        for name in Patients.__dataclass_fields__
        if name != "first"
    }
    return Patients(first=start, **joined)


def cumulative_hazards(
    population: Population, patients: Patients, times: np.ndarray, arm: int
) -> tuple[np.ndarray, np.ndarray]:
    """True cumulative hazards by cause, each of shape `(n_patients, n_times)`, had everyone been in `arm` (0 or 1).

    Parameters
    ----------
    population
        The parameters.
    patients
        The patients.
    times
        Shape `(n_times,)`, months.
    arm
        1 = treated. Where the cohort has no treatment both arms are the untreated one.
    """
    powers = np.asarray(times, dtype=np.float64) ** population.settings.weibull_shape
    treated = arm * patients.effect if population.treated_at_all else 0.0
    disease = population.rate_disease * np.exp(patients.log_disease + treated)
    other = population.rate_other * np.exp(patients.log_other)
    return disease[:, None] * powers, other[:, None] * powers


def true_survival(population: Population, patients: Patients, times: np.ndarray, arm: int) -> np.ndarray:
    """True survival from all causes, shape `(n_patients, n_times)`: exp(-H_disease - H_other)."""
    disease, other = cumulative_hazards(population, patients, times, arm)
    survival: np.ndarray = np.exp(-(disease + other))
    return survival


def _proportions(settings: SimulateConfig) -> np.ndarray:
    if settings.proportions is None:
        return _uneven(settings.subgroups, 0.15)
    shares = np.array(settings.proportions)
    if len(shares) != settings.subgroups or (shares <= 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise CohortError(
            f"`data.simulate.proportions`: {list(settings.proportions)} are not {settings.subgroups} positive shares "
            "that add up to 1. Suggestion: give one share per subgroup, or leave the key out"
        )
    return shares / shares.sum()


def _uneven(n: int, spread: float) -> np.ndarray:
    """Shares that fall linearly from `1 + spread` to `1 - spread` times the equal share."""
    shares: np.ndarray = np.linspace(1 + spread, 1 - spread, n) if n > 1 else np.ones(1)
    return shares / shares.sum()


def _lacking(rng: np.random.Generator, settings: SimulateConfig, site_shares: np.ndarray) -> np.ndarray:
    """Probabilities of lacking an omic, shape `(n_sites, n_omics)`; each omic's is `missing_omics` over all patients.

    By site, an omic is never measured at some sites, in part at one more if that is needed to meet the share, and
    always elsewhere; the share is lower where a site would otherwise measure nothing.
    """
    n_sites, n_omics = len(site_shares), len(settings.omics)
    lacking = np.full((n_sites, n_omics), settings.missing_omics)
    if settings.missing_mechanism == "random":
        return lacking
    # Omics start at different sites, spread over all of them from the smallest on, so that no site lacks everything.
    for turn, j in enumerate(rng.permutation(n_omics)):
        lacking[:, j], left = 0.0, settings.missing_omics
        for site in np.roll(np.arange(n_sites)[::-1], -(turn * n_sites // n_omics)):
            lacking[site, j] = min(left / site_shares[site], 1.0)
            left = max(left - site_shares[site], 0.0)
    lacking[(lacking == 1).all(axis=1), -1] = 0.0  # where that was impossible, a site measures the last omic
    return lacking


def _calibrated(population: Population) -> Population:
    settings = population.settings
    first = _patients(population, stream(population.seed, _CALIBRATION, 0), 0, _CALIBRATION_PATIENTS)
    population = replace(population, risk_mean=float(first.risk.mean()), risk_sd=float(first.risk.std()))
    if settings.censoring == 0:
        return population
    # The same draws again, with treatment as calibrated and nobody censored.
    sample = _patients(population, stream(population.seed, _CALIBRATION, 0), 0, _CALIBRATION_PATIENTS)
    unit = _censoring_unit(population, sample.risk, stream(population.seed, _CALIBRATION, 1))
    low, high = np.log(settings.median_survival) - 20, np.log(settings.median_survival) + 20
    for _ in range(80):  # the share of censored patients falls as follow-up grows
        middle = (low + high) / 2
        if (unit * np.exp(middle) < sample.time).mean() > settings.censoring:
            low = middle
        else:
            high = middle
    return replace(population, follow_up=float(np.exp((low + high) / 2)))


def _patients(population: Population, rng: np.random.Generator, first: int, n: int) -> Patients:
    settings = population.settings
    subgroup = _draw(rng, population.proportions, n)
    label = _noisy_label(rng, subgroup, settings.subgroups)
    site = _draw(rng, population.site_shares, n)
    age, female, stage, marker = _clinical(rng, n)
    risk = _risk(age, stage, marker)
    log_disease = risk + population.log_hazards[subgroup]
    log_other = OTHER_PER_DECADE * (age - REFERENCE_AGE) / 10
    propensity = _propensity(population, risk)
    treated = (rng.random(n) < propensity).astype(np.int64)
    effect = population.log_hazard_ratios[subgroup]
    time, cause = _outcome(population, rng, risk, log_disease + treated * effect, log_other)
    # Before what is measured, which draws once per omic: an omic more must change nobody's biology.
    factors = rng.standard_normal((n, SHARED_FACTORS), dtype=np.float32)
    return Patients(
        first=first,
        subgroup=subgroup,
        label=label,
        site=site,
        age=age,
        female=female,
        stage=stage,
        marker=marker,
        risk=risk,
        log_disease=log_disease,
        log_other=log_other,
        effect=effect,
        propensity=propensity,
        treated=treated,
        time=time,
        cause=cause,
        factors=factors,
        has=_measured(rng, population.lacking[site]),
    )


def _draw(rng: np.random.Generator, shares: np.ndarray, n: int) -> np.ndarray:
    return np.minimum(np.searchsorted(np.cumsum(shares), rng.random(n), side="right"), len(shares) - 1)


def _noisy_label(rng: np.random.Generator, subgroup: np.ndarray, k: int) -> np.ndarray:
    wrong = rng.random(len(subgroup)) < WRONG_LABEL
    step = rng.integers(1, max(k, 2), len(subgroup))
    return np.where(wrong, (subgroup + step) % k, subgroup)


def _clinical(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    # Rounded before use, so that the written columns are exactly what acts.
    age = np.round(np.clip(rng.normal(62, 10, n), 25, 90), 1)
    female = rng.random(n) < 0.5
    stage = _draw(rng, np.array(STAGE_SHARES), n) + 1
    marker = np.round(REFERENCE_MARKER + 0.8 * (stage - REFERENCE_STAGE) + rng.normal(0, 3, n), 2)
    marker[rng.random(n) < MARKER_MISSING] = np.nan
    return age, female, stage, marker


def _risk(age: np.ndarray, stage: np.ndarray, marker: np.ndarray) -> np.ndarray:
    measured = np.where(np.isnan(marker), 0.0, np.nan_to_num(marker) - REFERENCE_MARKER)
    return (
        RISK_PER_DECADE * (age - REFERENCE_AGE) / 10
        + RISK_PER_STAGE * (stage - REFERENCE_STAGE)
        + RISK_PER_MARKER * measured
    )


def _propensity(population: Population, risk: np.ndarray) -> np.ndarray:
    treatment = population.settings.treatment
    if treatment.design == "none":
        return np.zeros(len(risk))
    if treatment.design == "randomised":
        return np.full(len(risk), 0.5)
    z = (risk - population.risk_mean) / population.risk_sd
    propensity: np.ndarray = 1 / (1 + np.exp(-treatment.confounding * z))
    return propensity


def _outcome(
    population: Population, rng: np.random.Generator, risk: np.ndarray, log_disease: np.ndarray, log_other: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    shape = population.settings.weibull_shape
    n = len(risk)
    with np.errstate(divide="ignore"):
        disease = (rng.standard_exponential(n) / (population.rate_disease * np.exp(log_disease))) ** (1 / shape)
        other = (rng.standard_exponential(n) / (population.rate_other * np.exp(log_other))) ** (1 / shape)
    unit = _censoring_unit(population, risk, rng)
    censored = unit * population.follow_up
    death = np.minimum(disease, other)
    cause = np.where(death > censored, 0, np.where(disease <= other, 1, 2))
    return np.maximum(np.round(np.minimum(death, censored), 2), 0.01), cause


def _censoring_unit(population: Population, risk: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Time to the earlier of data cut and dropout, as a multiple of the follow-up scale."""
    administrative = rng.uniform(*ADMINISTRATIVE, len(risk))
    hazard = np.full(len(risk), DROPOUT)
    if population.settings.marker_dependent_censoring:
        hazard = DROPOUT * np.exp(DROPOUT_PER_SD * (risk - population.risk_mean) / population.risk_sd)
    return np.minimum(administrative, rng.standard_exponential(len(risk)) / hazard)


def _measured(rng: np.random.Generator, lacking: np.ndarray) -> np.ndarray:
    has = rng.random(lacking.shape) >= lacking
    # Nobody is without any omic: one that the patient's site measures is put back, each with the same probability.
    rank = rng.random(lacking.shape)
    spare = np.argmax(np.where(lacking < 1, rank, -1.0), axis=1)
    nothing = ~has.any(axis=1)
    has[nothing, spare[nothing]] = True
    return has
