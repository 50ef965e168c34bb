"""Simulators for balance and for effects in subgroups (METHODS §6), with wrong ways that must fail."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from scipy.special import expit
from scipy.stats import norm

from effect_gates import HORIZON, TAU, covariates, sample_of
from stratiome.cohort.simulate_patients import Population, make_patients, make_population, true_survival
from stratiome.config import load_config
from stratiome.survival.design import ClinicalDesign
from stratiome.treatment.doubly_robust import fit_nuisance, influence
from stratiome.treatment.effect import Comparison, Question, compare_weighted
from stratiome.treatment.emulate import Sample, TreatmentError
from stratiome.treatment.heterogeneity import quarters
from stratiome.treatment.interaction import equal_effects
from stratiome.treatment.truth import TrueEffects
from stratiome.treatment.weight import fit_propensity, overlap_weights, standardised_differences

DRAWS = 200
"""Bootstrap samples of an effect."""


# --- balance ---------------------------------------------------------------------------------------------------------


def balance(seed: int, n: int = 400) -> dict[str, float]:
    """Largest standardised difference after overlap weighting: unpenalised, and with scikit-learn's default penalty."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng([seed, 4])
    x = np.column_stack([rng.normal(size=(n, 4)), rng.random((n, 3)) < (0.1, 0.3, 0.5)]).astype(np.float64)
    treated = rng.random(n) < expit(x @ np.array([1.0, -0.6, 0.3, 0.0, 1.2, -0.5, 0.2]) - 0.3)
    penalised = LogisticRegression().fit(x, treated).predict_proba(x)[:, 1]
    found = {}
    for name, probability in (("ours", fit_propensity(x, treated).probability), ("penalised", penalised)):
        weights = overlap_weights(treated, probability)
        found[name] = float(np.abs(standardised_differences(x, treated, weights)).max())
    return found


# --- do effects differ between subgroups? -----------------------------------------------------------------------------


def compared(
    sample: Sample, x: np.ndarray, labels: np.ndarray, question: Question, rng: np.random.Generator
) -> dict[int, Comparison]:
    """Overlap-weighted comparison within each subgroup, as the workflow makes it; none where it cannot."""
    found = {}
    for k in np.unique(labels).tolist():
        rows = labels == k
        try:
            model = fit_propensity(x[rows], sample.treated[rows])
        except TreatmentError:
            continue
        found[k] = compare_weighted(sample.take(rows), x[rows], model, question, DRAWS, 0.95, rng)
    return found


def omnibus(found: dict[int, Comparison], contrast: int = 0) -> float:
    """p-value that all effects are equal."""
    known = [c for c in found.values() if np.isfinite(c.estimate[contrast]) and c.error[contrast] > 0]
    if len(known) < 2:
        return 1.0
    return equal_effects(np.array([c.estimate[contrast] for c in known]), np.array([c.error[contrast] for c in known]))[
        2
    ]


def no_interaction(seed: int, n: int = 900) -> dict[str, float]:
    """Whether the omnibus test at 5 % says that a drug without effect does something else in one of three subgroups.

    Subgroups are given (as labels of held-out patients are), or thirds of the effect that models of each arm predict
    in the very patients they were fitted to: the mutant.
    """
    rng = np.random.default_rng([seed, 5])
    x = covariates(rng, n)
    given = rng.integers(0, 3, n)
    treated = rng.random(n) < expit(0.8 * x[:, 0])
    death = rng.exponential(30.0 / np.exp(0.6 * x[:, 0] + 0.4 * x[:, 1] + 0.5 * (given - 1)))
    lost = rng.exponential(60.0, size=n)
    sample = sample_of(treated, np.minimum(death, lost), death <= lost)
    question = Question((HORIZON,), TAU, np.array([0.0]))
    wide = np.column_stack([x, rng.normal(size=(n, 13))])  # as omics would be: columns that tell nothing
    predicted = influence(fit_nuisance(wide, sample), wide, sample, np.array([HORIZON]), TAU).predicted[:, 0]
    found = {}
    for name, labels in (("held-out labels", given), ("labels from the same outcomes", quarters(predicted, parts=3))):
        effects = compared(sample, x, labels, question, rng)
        found[f"months, {name}"] = float(omnibus(effects, 0) < 0.05)
        found[f"survival, {name}"] = float(omnibus(effects, 1) < 0.05)
    return found


@lru_cache
def demo_population(patients: int, seed: int) -> Population:
    """The demo's simulator at another size."""
    raw = yaml.safe_load((Path(__file__).parents[2] / "config" / "config.yaml").read_text(encoding="utf-8"))
    raw["data"]["simulate"]["patients"] = patients
    settings = load_config(raw).data.simulate
    assert settings is not None
    return make_population(settings, seed)


def power(seed: int, n: int = 1000) -> dict[str, float]:
    """The demo's truth (one subgroup benefits, one is harmed): is it found, and do intervals cover?

    With the planted labels, with the noisy ones the simulator gives (wrong for some, as a model's are), and (mutant)
    without weights.
    """
    population = demo_population(n, seed)
    patients = make_patients(population, 0, n)
    grid = np.linspace(0.0, 60.0, 121)
    curves = [true_survival(population, patients, grid, arm) for arm in (0, 1)]
    ids = [f"P{i:06d}" for i in range(n)]
    truth = TrueEffects({p: i for i, p in enumerate(ids)}, grid, curves[1] - curves[0], patients.propensity)
    columns = {name: getattr(patients, name) for name in ("age", "stage", "marker")} | {"sex": patients.female}
    clinical = pl.DataFrame(columns, nan_to_null=True)
    everybody = np.ones(n, dtype=bool)
    x = ClinicalDesign.fit(clinical, ("age", "stage", "marker", "sex"), {}, everybody).transform(clinical)
    sample = sample_of(patients.treated.astype(bool), patients.time, patients.cause > 0)
    question = Question((24.0, 60.0), 60.0, np.array([0.0]))
    found = {}
    rng = np.random.default_rng([seed, 6])
    for name, labels in (
        ("planted labels", patients.subgroup),
        ("noisy labels", patients.label),
        ("unweighted, planted labels", patients.subgroup),
    ):
        weighted = not name.startswith("unweighted")
        effects = compared(sample, x if weighted else x[:, :0], labels, question, rng)
        found[f"difference found, {name}"] = float(omnibus(effects) < 0.05)
        held = []
        for k, c in effects.items():
            own = [ids[i] for i in np.flatnonzero(labels == k)]
            known = truth.effect(own, "rmst_difference", 60.0)
            if known is not None and np.isfinite(c.estimate[0]):
                held.append(abs(c.estimate[0] - known) <= norm.ppf(0.975) * c.error[0])
        found[f"truth covered, {name}"] = float(np.mean(held))
    found["noisy labels are right"] = float(np.mean(patients.subgroup == patients.label))
    return found


def shares(part: Callable[[int], dict[str, float]], seeds: range) -> dict[str, float]:
    """Means over replicates."""
    found = [part(s) for s in seeds]
    return {key: float(np.mean([f[key] for f in found])) for key in found[0]}
