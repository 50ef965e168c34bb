"""Processes with known effects of single patients, high-dimensional covariates and censoring.

Each is a published kind of setting, at months and with a tau of three years: proportional hazards with linear
interactions (Xu et al. 2023, Henderson et al. 2020), accelerated failure times with thresholds and curves in both the
baseline and the effect (Cui et al. 2023, setting 1), a hidden subgroup that alone benefits, and an effect that is the
same for everybody although prognosis is not. Where other causes compete, effects differ by who dies of them first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from effect_gates import sample_of
from stratiome.treatment.emulate import Sample
from stratiome.treatment.learners import Training, learn_effects

TAU = 36.0
GRID = np.linspace(0.0, TAU, 361)
CONFOUNDERS = 3
"""Leading columns that drive treatment where it is confounded; these are named as confounders."""


@dataclass(frozen=True)
class Patients:
    """Covariates, treatment, outcome, and the true effect given the covariates, months."""

    x: np.ndarray
    sample: Sample
    truth: np.ndarray

    @property
    def confounders(self) -> np.ndarray:
        return self.x[:, :CONFOUNDERS]


Survival = Callable[[np.ndarray, int, np.ndarray], np.ndarray]
"""Covariates, arm, times -> survival, shape `(n, n_times)`."""


def correlated(rng: np.random.Generator, n: int, p: int) -> np.ndarray:
    """Normal columns, correlation 0.5 with the next one."""
    x = rng.normal(size=(n, p))
    for j in range(1, p):
        x[:, j] = 0.5 * x[:, j - 1] + np.sqrt(0.75) * x[:, j]
    return np.clip(x, -3.0, 3.0)


def linear(x: np.ndarray, arm: int, times: np.ndarray) -> np.ndarray:
    """Weibull hazards, log hazard ratio linear in two columns."""
    log = 0.5 * x[:, 0] + 0.4 * x[:, 3] - 0.3 * x[:, 5] + arm * (-0.4 + 0.5 * x[:, 1] - 0.4 * x[:, 4])
    return np.exp(-np.exp(log)[:, None] * (times / 30.0) ** 1.2)


def curved(x: np.ndarray, arm: int, times: np.ndarray) -> np.ndarray:
    """Log-normal times: a threshold and a curve, in the baseline and in the effect."""
    u = norm.cdf(x)
    below, root = u[:, 0] < 0.5, np.sqrt(u[:, 1])
    mean = 2.9 - 0.6 * below + 0.7 * root + 0.2 * u[:, 2] + arm * (1.1 - 0.8 * below - 0.8 * root * (u[:, 3] > 0.3))
    with np.errstate(divide="ignore"):
        return norm.sf((np.log(times) - mean[:, None]) / 0.9)


def same(x: np.ndarray, arm: int, times: np.ndarray) -> np.ndarray:
    """Half of the patients, nobody knows who, die as their covariates say, the others as their treatment does."""
    own = np.exp(-np.exp(0.9 * x[:, 0] + 0.6 * x[:, 3])[:, None] * times / 30.0)
    return 0.5 * own + 0.5 * np.exp(-times / (60.0 if arm else 12.0))


SHIFT, SHARE = 1.3, 0.3
"""Difference of the first marker columns in a hidden subgroup, and its share."""


def hidden(rng: np.random.Generator, n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Covariates and membership: five columns after the confounders are higher in the subgroup."""
    member = rng.random(n) < SHARE
    x = rng.normal(size=(n, p))
    x[:, CONFOUNDERS : CONFOUNDERS + 5] += SHIFT * member[:, None]
    return x, member


def member_probability(x: np.ndarray) -> np.ndarray:
    """Of the hidden subgroup given the covariates."""
    evidence = SHIFT * (x[:, CONFOUNDERS : CONFOUNDERS + 5] - SHIFT / 2).sum(axis=1)
    return expit(np.log(SHARE / (1 - SHARE)) + evidence)


def by_membership(x: np.ndarray, member: np.ndarray, arm: int, times: np.ndarray) -> np.ndarray:
    """Members live shorter without treatment and much longer with it; nobody else is helped."""
    log = 0.5 * x[:, 0] + 0.5 * member - 1.5 * member * arm
    return np.exp(-np.exp(log)[:, None] * times / 35.0)


PROCESSES = ("linear", "curved", "hidden", "same")


def draw(process: str, seed: list[int], n: int, p: int, *, randomised: bool) -> Patients:
    """Patients of a process; censoring depends on the first column, a quarter to a third is lost before tau."""
    rng = np.random.default_rng(seed)
    if process == "hidden":
        x, member = hidden(rng, n, p)
        curves = [by_membership(x, member, arm, GRID) for arm in (0, 1)]
        chance = member_probability(x)
        truth = np.zeros(n)
        for value in (False, True):
            both = [by_membership(x, np.full(n, value), arm, GRID) for arm in (0, 1)]
            truth += np.where(value, chance, 1 - chance) * np.trapezoid(both[1] - both[0], GRID, axis=1)
    else:
        x = correlated(rng, n, p)
        survival: Survival = {"linear": linear, "curved": curved, "same": same}[process]
        curves = [survival(x, arm, GRID) for arm in (0, 1)]
        truth = np.trapezoid(curves[1] - curves[0], GRID, axis=1)
    e = np.full(n, 0.5) if randomised else expit(0.7 * x[:, 0] - 0.5 * x[:, 1])
    treated = rng.random(n) < e
    own, level = np.where(treated[:, None], curves[1], curves[0]), rng.random(n)
    # The time at which survival falls below a uniform level; who survives tau is seen alive there.
    after = (own > level[:, None]).sum(axis=1)
    alive = after == len(GRID)
    before = np.maximum(after - 1, 0)
    upper = np.minimum(after, len(GRID) - 1)
    drop = own[np.arange(n), before] - own[np.arange(n), upper]
    part = np.divide(own[np.arange(n), before] - level, drop, out=np.zeros(n), where=drop > 0)
    death = np.where(alive, np.inf, GRID[before] + part * (GRID[1] - GRID[0]))
    lost = rng.exponential(70.0 / np.exp(0.3 * x[:, 0] + 0.2 * treated))
    end = np.minimum(lost, TAU + 6.0)
    death = np.where(alive & (end > TAU), TAU + 3.0, death)
    time = np.maximum(np.minimum(death, end), 0.01)
    return Patients(x, sample_of(treated, time, death <= end), truth)


def lost_to_event(event: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean time lost up to `TAU` to the event, of constant hazards of it and of other causes, months."""
    total = event + other
    return event / total * (TAU + np.expm1(-total * TAU) / total)


RIVALS = {"moderate": (18.0, -0.9, 1.2, 22.0), "strong": (12.0, -1.4, 1.5, 18.0), "none": (18.0, -0.9, 0.0, 1e12)}
"""Months to the event, log hazard ratio of treatment, log hazard ratio of other causes by a column, months to them."""


def draw_rivals(seed: list[int], n: int, p: int, process: str = "strong") -> Patients:
    """Constant hazards of two causes; the treatment has one hazard ratio, on the event alone.

    Other causes depend on the second column: who dies of them early has little to gain. Without them nobody's
    gain depends on it. Effects have a standard deviation of 1.65 (`moderate`) or 3.0 months (`strong`). Treatment and
    censoring depend on the first column.
    """
    rng = np.random.default_rng(seed)
    x = correlated(rng, n, p)
    months, ratio, slope, otherwise = RIVALS[process]
    event = [np.exp(0.4 * x[:, 0] + ratio * arm) / months for arm in (0, 1)]
    other = np.exp(slope * x[:, 1]) / otherwise
    truth = lost_to_event(event[0], other) - lost_to_event(event[1], other)
    treated = rng.random(n) < expit(0.7 * x[:, 0])
    first = rng.exponential(1.0 / np.where(treated, event[1], event[0]))
    second = rng.exponential(1.0 / other)
    leave = np.minimum(rng.exponential(70.0 / np.exp(0.3 * x[:, 0])), TAU + 6.0)
    time = np.minimum(np.minimum(first, second), leave)
    return Patients(x, replace(sample_of(treated, time, first == time), other=second == time), truth)


def measures(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Root mean squared error of predicted effects, and slope of the truth on predictions (NaN if all the same)."""
    centred = predicted - predicted.mean()
    spread = float(centred @ centred)
    slope = float(centred @ truth / spread) if spread > 1e-9 * len(truth) else float("nan")
    return float(np.sqrt(np.mean((predicted - truth) ** 2))), slope


def same_effect(seed: int, n: int = 500, p: int = 10) -> dict[str, float]:
    """Standard deviation of predicted effects against the average effect, where all patients have the same one."""
    train = draw("same", [seed, n, p, 3], n, p, randomised=False)
    test = draw("same", [seed, n, p, 4], 1000, p, randomised=False)
    found = learn_effects(Training(train.confounders, train.x, train.sample), test.x, TAU, seed=seed).predicted
    return {name: float(values.std() / abs(test.truth.mean())) for name, values in found.items()}


def rivals(seed: int, process: str, n: int, p: int = 10) -> dict[str, float]:
    """Error of predicted effects where other causes compete, over that of the true average effect given to everybody.

    Of ours, and of a mutant for which other causes are censorings; each once whole, and once with the average of its
    predictions put right (centred).
    """
    train, test = draw_rivals([seed, n, p, 5], n, p, process), draw_rivals([seed, n, p, 6], 1000, p, process)
    found, spread = {}, test.truth.std()
    for name, sample in (("ours", train.sample), ("mutant", replace(train.sample, other=None))):
        learned = learn_effects(Training(train.confounders, train.x, sample), test.x, TAU, seed=seed).predicted
        for learner in ("combined", "cox", "interactions", "forest"):
            off = learned[learner] - test.truth
            found[f"{name}, {learner}"] = float(np.sqrt(np.mean(off**2)) / spread)
            found[f"{name}, {learner}, centred"] = float(off.std() / spread)
    return found
