"""Simulators of METHODS §5 for calibration and for intervals of metrics, the methods, and wrong ones that must fail.

Survival times are Weibull with proportional hazards, so true risks are known. A gate is a mean, or a share, over
replicates with its bounds; `tests/benchmarks/prognosis_gates.py` has them at full size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from lifelines.utils import concordance_index
from scipy.stats import chi2, rankdata

from stratiome.prognosis import calibration_curve as smooth
from stratiome.prognosis import evaluate
from stratiome.prognosis.calibration import calibration_slope
from stratiome.prognosis.calibration_summary import calibrate
from stratiome.prognosis.d_calibration import contributions, d_calibration
from stratiome.prognosis.evaluate import Design, Predictions, Problem, evaluate_design
from stratiome.prognosis.metrics import observed_expected
from stratiome.survival.concordance import Sample
from stratiome.survival.cox import fit_cox
from stratiome.survival.pseudo import pseudo_risks

HORIZON, TAU = 30.0, 40.0
SHAPE, SCALE, SPREAD = 1.3, 40.0, 0.8
FOLLOW_UP = 60.0
"""Mean months to censoring: two in five are censored."""

PLANTED_SLOPE, PLANTED_SHIFT = 0.7, 0.3


@dataclass(frozen=True)
class Cohort:
    """Patients with their true linear predictor."""

    time: np.ndarray
    event: np.ndarray
    linear: np.ndarray

    @property
    def sample(self) -> Sample:
        return Sample.make(self.time, self.event)


def draw(n: int, seed: list[int], follow_up: float = FOLLOW_UP) -> Cohort:
    """Weibull survival times, exponential censoring."""
    rng = np.random.default_rng(seed)
    linear = rng.normal(scale=SPREAD, size=n)
    return _observe(linear, rng, follow_up)


def _observe(linear: np.ndarray, rng: np.random.Generator, follow_up: float) -> Cohort:
    failed = SCALE * (rng.exponential(size=len(linear)) / np.exp(linear)) ** (1 / SHAPE)
    left = follow_up * rng.exponential(size=len(linear))
    return Cohort(np.minimum(failed, left), failed <= left, linear)


def survival(linear: np.ndarray, times: np.ndarray | float, slope: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Predicted survival whose calibration slope is `slope` and whose intercept is `shift` where slope is 1."""
    return np.exp(-np.exp(linear / slope - shift) * (np.asarray(times) / SCALE) ** SHAPE)


# --- calibration slope -----------------------------------------------------------------------------------------------

Slope = Callable[[Cohort, np.ndarray], float]


def slope_ours(cohort: Cohort, at_horizon: np.ndarray) -> float:
    """The slope as it is."""
    return float(calibration_slope(cohort.sample, at_horizon, HORIZON)[0])


def slope_of_logit(cohort: Cohort, at_horizon: np.ndarray) -> float:
    """Mutant: the log odds of the risk in place of its complementary log-log."""
    return float(calibration_slope(cohort.sample, np.exp(-(1.0 - at_horizon) / at_horizon), HORIZON)[0])


def slope_of_events(cohort: Cohort, at_horizon: np.ndarray) -> float:
    """Mutant: patients without an event are left out."""
    rows = cohort.event
    return float(calibration_slope(Sample.make(cohort.time[rows], cohort.event[rows]), at_horizon[rows], HORIZON)[0])


SLOPES: tuple[Slope, ...] = (slope_ours, slope_of_logit, slope_of_events)
SLOPE_BOUNDS = {1.0: (0.95, 1.05), PLANTED_SLOPE: (0.65, 0.75)}


def slopes(planted: float, seed: int, n: int = 500) -> dict[str, float]:
    """Slope by each method where one is planted."""
    cohort = draw(n, [seed, 1])
    predicted = survival(cohort.linear, HORIZON, planted)
    return {method.__name__: method(cohort, predicted) for method in SLOPES}


def overfitted(seed: int, n: int = 500) -> dict[str, float]:
    """Slope of a Cox model of 25 columns and 200 patients, less its true one: in new patients, and in those it saw."""
    rng = np.random.default_rng([seed, 2])

    def patients(size: int) -> tuple[np.ndarray, Cohort]:
        x = rng.normal(size=(size, 25))
        return x, _observe(SPREAD * x[:, 0], rng, FOLLOW_UP)

    (seen, train), (new, held_out), (many, population) = patients(200), patients(n), patients(10_000)
    model = fit_cox(seen, train.time, train.event)
    predict = [model.survival(x, np.array([HORIZON]))[:, 0] for x in (seen, new, many)]
    truth = slope_ours(population, predict[2])
    return {
        "slope_ours": slope_ours(held_out, predict[1]) - truth,
        "slope_of_training_patients": slope_ours(train, predict[0]) - truth,
    }


# --- intercept, observed over expected, ICI --------------------------------------------------------------------------


def known_ours(cohort: Cohort) -> Cohort:
    """Everybody, as they are."""
    return cohort


def known_without_censored(cohort: Cohort) -> Cohort:
    """Mutant: patients censored before the horizon are left out."""
    rows = cohort.event | (cohort.time >= HORIZON)
    return Cohort(cohort.time[rows], cohort.event[rows], cohort.linear[rows])


def known_censored_as_event_free(cohort: Cohort) -> Cohort:
    """Mutant: patients censored before the horizon count as event-free at it."""
    return Cohort(np.where(cohort.event, cohort.time, np.maximum(cohort.time, HORIZON)), cohort.event, cohort.linear)


KNOWN = (known_ours, known_without_censored, known_censored_as_event_free)


def levels(shift: float, seed: int, n: int = 1000) -> dict[str, dict[str, float]]:
    """Method -> intercept, observed over expected, and ICI less the true one and less the bias that chance adds."""
    found = {}
    whole = draw(n, [seed, 3])
    for method in KNOWN:
        cohort = method(whole)
        risk = 1.0 - survival(cohort.linear, HORIZON, shift=shift)
        grid = np.linspace(0.0, HORIZON, 31)
        hazard = smooth.hazard_at(
            survival(cohort.linear[:, None], grid, shift=shift), grid, np.minimum(cohort.time, HORIZON)
        )
        one = np.ones((1, len(risk)))
        failed = cohort.event & (cohort.time <= HORIZON)
        pseudo = pseudo_risks(cohort.time, cohort.event, HORIZON)
        basis = smooth.Spline.make(risk, int(failed.sum())).basis(risk)
        curve = smooth.risks(basis, smooth.fit(basis, pseudo, one))
        truth = float(np.mean(np.abs(1.0 - survival(cohort.linear, HORIZON) - risk)))
        found[method.__name__] = {
            "intercept": float(smooth.intercept(failed, hazard, one)[0]),
            "intercept by pseudo-values": float(smooth.intercept_of_risks(pseudo, risk, one)[0]),
            "observed over expected": float(observed_expected(cohort.sample, 1.0 - risk, HORIZON)[0]),
            "ICI less its truth": float(smooth.agreement(curve, risk, one).ici[0]) - truth,
        }
    return found


@lru_cache(maxsize=4)
def true_ratio(shift: float) -> float:
    """Observed over expected risk of the whole population."""
    linear = np.linspace(-6, 6, 20_001) * SPREAD
    density = np.exp(-0.5 * (linear / SPREAD) ** 2)
    true, predicted = (density @ (1.0 - survival(linear, HORIZON, shift=s)) for s in (0.0, shift))
    return float(true / predicted)


def level_bounds(shift: float) -> dict[str, tuple[float, float]]:
    """Bounds of the means of `levels`; an ICI of 1000 patients is 0.02 to 0.03 above its truth where that is 0."""
    ratio = true_ratio(shift)
    return {
        "intercept": (shift - 0.03, shift + 0.03),
        "intercept by pseudo-values": (shift - 0.03, shift + 0.03),
        "observed over expected": (0.97 * ratio, 1.03 * ratio),
        "ICI less its truth": (-0.01, 0.01) if shift else (0.0, 0.03),
    }


# --- D-calibration ---------------------------------------------------------------------------------------------------

SIZE = (0.03, 0.073)
POWER = (0.8, 1.0)


def d_ours(failed: np.ndarray, at_end: np.ndarray, cohort: Cohort) -> float:
    """The test as it is."""
    p = d_calibration(cohort.time, cohort.event, at_end, HORIZON).p_value
    return 1.0 if p is None else p


def d_pearson(failed: np.ndarray, at_end: np.ndarray, cohort: Cohort) -> float:
    """Mutant: Pearson's statistic of the spread counts, as published."""
    counts = contributions(failed, at_end, np.linspace(0.0, 1.0, 11)).sum(axis=0)
    return _pearson(counts)


def d_own_bin(failed: np.ndarray, at_end: np.ndarray, cohort: Cohort) -> float:
    """Mutant: a censored patient counts in the bin of the survival at the censoring."""
    return _pearson(contributions(np.ones_like(failed), at_end, np.linspace(0.0, 1.0, 11)).sum(axis=0))


def _pearson(counts: np.ndarray) -> float:
    expected = counts.sum() / len(counts)
    return float(chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1))


TESTS = (d_ours, d_pearson, d_own_bin)


POWER_PATIENTS = 1000


def rejections(slope: float, seed: int, n: int = 500) -> dict[str, float]:
    """Whether each test rejects at 5 %."""
    cohort = draw(n, [seed, 4])
    failed = cohort.event & (cohort.time <= HORIZON)
    at_end = survival(cohort.linear, np.minimum(cohort.time, HORIZON), slope)
    return {test.__name__: float(test(failed, at_end, cohort) < 0.05) for test in TESTS}


# --- intervals of metrics --------------------------------------------------------------------------------------------

COVERAGE = (0.927, 0.970)
GRID = np.array([0.0, 10.0, 20.0, HORIZON, TAU])
WORKFLOW_GRID = np.linspace(0.0, TAU, 61)
"""As fine as that of the workflow, HORIZON among it: cumulative hazards are straight lines between its points."""
SHARE = 0.6
"""Share of the standard deviation of the linear predictor that the clinical model sees."""
Draws = Callable[[np.ndarray, int, int, np.random.Generator], Iterator[np.ndarray]]


def draws_ours(event: np.ndarray) -> Draws:
    """Bootstrap draws as they are."""
    return _DRAWS


_DRAWS = evaluate.draw_weights


def draws_of_events(event: np.ndarray) -> Draws:
    """Mutant: only patients with an event are drawn anew."""

    def made(held_out: np.ndarray, n: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        rows = held_out[event[held_out]]
        for weights in _DRAWS(rows, n, draws, rng):
            weights[:, held_out[~event[held_out]]] = 1.0
            yield weights

    return made


def draws_of_half(event: np.ndarray) -> Draws:
    """Mutant: draws of half as many patients."""

    def made(held_out: np.ndarray, n: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        even = np.full(len(held_out), 1.0 / len(held_out))
        weights = np.zeros((draws, n))
        weights[:, held_out] = rng.multinomial(len(held_out) // 2, even, size=draws)
        yield weights

    return made


RESAMPLINGS = (draws_ours, draws_of_events, draws_of_half)


@contextmanager
def drawing(draws: Draws) -> Iterator[None]:
    """Intervals are made with these draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "draw_weights", draws)
        yield


def two_models(n: int, rng: np.random.Generator, follow_up: float) -> tuple[Cohort, dict[str, np.ndarray]]:
    """Patients, and survival by a model that sees a part of their risk and by one that sees all, but too extreme."""
    part = SPREAD * SHARE * rng.normal(size=n)
    rest = SPREAD * np.sqrt(1.0 - SHARE**2) * rng.normal(size=n)
    cohort = _observe(part + rest, rng, follow_up)
    return cohort, {"clinical": part, "stacked": (part + rest)}


SLOPES_OF = {"clinical": 1.0, "stacked": 0.8}


def _predictions(scores: dict[str, np.ndarray]) -> Predictions:
    n = len(scores["clinical"])
    curves = {m: survival(s[:, None], GRID, SLOPES_OF[m]) for m, s in scores.items()}
    return Predictions(np.arange(n), np.zeros(n, dtype=int), ("cv-1-1",), scores, curves)


Key = tuple[str, str, str | None]


@lru_cache(maxsize=2)
def truth(n: int = 400_000) -> dict[Key, float]:
    """Metrics in a population: without censoring, but for the slope, which depends on it where a model is wrong."""
    rng = np.random.default_rng(12345)
    cohort, scores = two_models(n, rng, np.inf)
    curves = _predictions(scores).survival
    failed, column = cohort.time <= HORIZON, int(np.argmin(np.abs(GRID - HORIZON)))
    found: dict[Key, float] = {}
    for model, score in scores.items():
        at = curves[model][:, column]
        # Everybody is followed to tau, where pairs end: Harrell's C of that outcome is Uno's C at tau.
        found[model, "uno_c", None] = concordance_index(np.minimum(cohort.time, TAU), -score, cohort.time < TAU)
        ranks = rankdata(score)[failed].sum() - failed.sum() * (failed.sum() + 1) / 2
        found[model, "auc", None] = float(ranks / (failed.sum() * (~failed).sum()))
        found[model, "brier", None] = float(np.mean((failed - (1.0 - at)) ** 2))
        found[model, "observed_expected", None] = float(failed.mean() / (1.0 - at).mean())
    found["stacked", "uno_c", "clinical"] = found["stacked", "uno_c", None] - found["clinical", "uno_c", None]
    followed, scores = two_models(n, rng, FOLLOW_UP)
    for model, curve in _predictions(scores).survival.items():
        slope = calibration_slope(followed.sample, curve[:, column], HORIZON)
        found[model, "calibration_slope", None] = float(slope[0])
    return found


def intervals(seed: int, draws: Callable[[np.ndarray], Draws], n: int = 500, bootstraps: int = 200) -> dict[Key, bool]:
    """Whether the 95 % interval of each metric holds the truth, by the evaluation of the workflow."""
    cohort, scores = two_models(n, np.random.default_rng([seed, 5]), FOLLOW_UP)
    problem = Problem(cohort.time, cohort.event, GRID, (HORIZON,), TAU)
    design = Design("cross-validation", (_predictions(scores),))
    with drawing(draws(cohort.event)):
        rng = np.random.default_rng([seed, 6])
        found = evaluate_design(problem, design, bootstraps=bootstraps, level=0.95, rng=rng)
    kept = {(e.model, e.metric, e.versus): e for e in found}
    return {key: bool(kept[key].lower <= value <= kept[key].upper) for key, value in truth().items()}


def by_chance(seed: int, n: int = 500, bootstraps: int = 200) -> dict[str, float]:
    """Of the true model: ICI, its mean by chance, whether it lies above what chance gives, and about the intercept."""
    cohort = draw(n, [seed, 7])
    problem = Problem(cohort.time, cohort.event, WORKFLOW_GRID, (HORIZON,), TAU)
    curves = {"true": survival(cohort.linear[:, None], WORKFLOW_GRID)}
    predictions = Predictions(np.arange(n), np.zeros(n, dtype=int), ("cv-1-1",), {"true": cohort.linear}, curves)
    _, found = calibrate(problem, predictions, by_site=False, bootstraps=bootstraps, level=0.95, seed=[seed, 8])
    kept = {m.metric: m for m in found}
    ici, level = kept["ici"], kept["intercept"]
    return {
        "ICI": ici.estimate,
        "chance": ici.chance,
        "ICI less chance": ici.estimate - ici.chance,
        "above chance": float(ici.estimate > ici.chance_upper),
        "above zero": float(ici.lower > 0.0),
        "intercept covered": float(level.lower <= 0.0 <= level.upper),
    }
