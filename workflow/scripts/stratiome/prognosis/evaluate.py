"""Metrics of every model with intervals, and paired differences to the models without omics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stratiome.prognosis.calibration import CalibrationGroup, calibration_groups, calibration_slope
from stratiome.prognosis.censoring import Observed, brier_given, uno_c_given
from stratiome.prognosis.metrics import auc, brier, integrated, observed_expected
from stratiome.survival.concordance import Sample, harrell_c, uno_c
from stratiome.survival.interval import percentile_interval
from stratiome.survival.outcome import at_one_time
from stratiome.tables import FLEXIBLE_REFERENCE

NULL_MODEL = "kaplan_meier"
YARDSTICK = "clinical"
JUDGED_TWICE = ("forest", "deep", "stacked")
"""Models that are compared with `FLEXIBLE_REFERENCE`, too: their gain on the clinical model may be the learner's."""
COMPARED = ("uno_c", "ibs", "auc", "brier")
"""Metrics whose paired difference to another model is reported."""

FEWEST_PATIENTS = 10
"""Held-out patients below which nothing is estimated: a metric of two patients is a coin toss, whatever it says."""
FEWEST_EVENTS = 5
"""Events among them below which nothing is estimated."""
TOO_FEW = f"fewer than {FEWEST_PATIENTS} patients or {FEWEST_EVENTS} events are held out"
NEVER_FITTED = "the model was fitted in no training set"

_BATCH = 1_000_000  # elements of the weight matrix of one batch of draws

Key = tuple[str, str, float | None]
"""Model, metric, horizon in months (None where the metric has none)."""


@dataclass(frozen=True)
class Predictions:
    """Held-out predictions that cover each patient at most once.

    Attributes
    ----------
    rows
        Shape `(n_held_out,)`, positions in the table of patients with an outcome.
    fold
        Shape `(n_held_out,)`, position of the resample in `resamples`.
    resamples
        Names of the resamples.
    risk
        Model -> shape `(n_held_out,)`, log partial hazard; comparable within a fold only.
    survival
        Model -> shape `(n_held_out, n_times)`.
    stand_in
        Model -> shape `(n_held_out,)`, True where the model could not be fitted and another stands in. Such patients
        count in no claim about the model. Models that were fitted throughout may be absent.
    uncensored
        Shape `(n_held_out, n_times)`, `P(C >= t | x)` by a model of censoring fitted in training; None gives no metrics
        with its weights.
    """

    rows: np.ndarray
    fold: np.ndarray
    resamples: tuple[str, ...]
    risk: dict[str, np.ndarray]
    survival: dict[str, np.ndarray]
    stand_in: dict[str, np.ndarray] = field(default_factory=dict)
    uncensored: np.ndarray | None = None

    def fitted(self, *models: str) -> Predictions:
        """Those of the patients for whom every one of the models was fitted."""
        kept = np.ones(len(self.rows), dtype=bool)
        for model in models:
            kept &= ~self.stand_in.get(model, np.zeros(len(self.rows), dtype=bool))
        return self.at(kept)

    def at(self, kept: np.ndarray) -> Predictions:
        """Some of the patients; shape `(n_held_out,)`, True = kept."""
        return replace(
            self,
            rows=self.rows[kept],
            fold=self.fold[kept],
            risk={m: v[kept] for m, v in self.risk.items()},
            survival={m: v[kept] for m, v in self.survival.items()},
            stand_in={m: v[kept] for m, v in self.stand_in.items()},
            uncensored=None if self.uncensored is None else self.uncensored[kept],
        )


@dataclass(frozen=True)
class Design:
    """How patients were held out.

    Attributes
    ----------
    name
        One of `tables.DESIGNS`.
    repeats
        One set of predictions per repeat.
    """

    name: str
    repeats: tuple[Predictions, ...]

    @property
    def by_site(self) -> bool:
        """Whether folds are sites, which may differ in follow-up."""
        return self.name == "leave-site-out"

    def fitted(self, *models: str) -> Design:
        """The repeats without patients for whom one of the models was not fitted; empty repeats are left out."""
        made = (p.fitted(*models) for p in self.repeats)
        return replace(self, repeats=tuple(p for p in made if len(p.rows)))


@dataclass(frozen=True)
class Estimate:
    """One number: a metric of a model, or its difference to `versus`; None where not estimable."""

    model: str
    metric: str
    horizon: float | None
    versus: str | None
    estimate: float | None
    lower: float | None
    upper: float | None
    n: int
    events: int
    method: str

    def columns(self) -> dict[str, Any]:
        """Columns of `PrognosisMetrics` without the design."""
        claim = {k: getattr(self, k) for k in ("estimate", "lower", "upper", "n", "events", "method")}
        keys = {"model": self.model, "metric": self.metric, "horizon_months": self.horizon, "versus": self.versus}
        return claim | keys | {"held_out": True}


@dataclass(frozen=True)
class ResampleEstimate:
    """Uno's C of one model in one resample; None where no pair of patients compares.

    Standard error and interval are those of bootstraps of the patients of a site; None where folds are no sites.
    """

    resample: str
    model: str
    uno_c: float | None
    n: int
    events: int
    error: float | None = None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Problem:
    """What is evaluated: the outcome of all patients and the times at which predictions are judged.

    Attributes
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    grid
        Shape `(n_times,)`, months of the predicted curves; contains 0, tau and the horizons.
    horizons
        Months.
    tau
        Months at which concordance is truncated and up to which scores are integrated.
    competing
        Shape `(n_patients,)`, True = failed of another cause. Predicted curves are then probabilities of not having
        failed of the event. None where other causes are not told apart from censoring.
    """

    time: np.ndarray
    event: np.ndarray
    grid: np.ndarray
    horizons: tuple[float, ...]
    tau: float
    competing: np.ndarray | None = None

    def others(self, rows: np.ndarray) -> np.ndarray | None:
        """Who of these patients failed of another cause."""
        return None if self.competing is None else self.competing[rows]

    def column(self, horizon: float) -> int:
        """Position of a horizon in the grid."""
        return int(np.argmin(np.abs(self.grid - horizon)))


def evaluate_design(
    problem: Problem, design: Design, *, bootstraps: int, level: float, rng: np.random.Generator
) -> list[Estimate]:
    """Every metric of every model, averaged over repeats, with percentile intervals.

    Patients are drawn with replacement, all their repeats together, and each draw estimates the censoring distribution
    anew; models are kept fixed, so intervals do not hold the uncertainty of training. A model is judged on the patients
    for whom it was fitted, a difference on those for whom both models were. Repeats with fewer held-out patients or
    events than `FEWEST_PATIENTS` and `FEWEST_EVENTS` are left out; where none is left, nothing is estimable.

    Parameters
    ----------
    problem
        Outcome and times.
    design
        Held-out predictions.
    bootstraps
        Number of draws.
    level
        Level of intervals.
    rng
        Source of the draws.
    """
    models = list(design.repeats[0].risk)
    wanted: list[Pair] = [*((m, None) for m in models), *_compared(models)]
    found: list[Estimate] = []
    for key, pairs in _same_patients(design, wanted).items():
        part = design.fitted(*key)
        if not part.repeats:
            whole = _Writer(problem, design, _held_out(design), bootstraps, level)
            found += _nothing(whole, problem, design, pairs, NEVER_FITTED)
            continue
        known = tuple(p for p in part.repeats if enough(problem, p.rows))
        if not known:
            writer = _Writer(problem, part, _held_out(part), bootstraps, level)
            found += _nothing(writer, problem, part, pairs, TOO_FEW)
            continue
        made = _evaluate(problem, replace(part, repeats=known), bootstraps=bootstraps, level=level, rng=rng)
        found += [e for e in made if (e.model, e.versus) in pairs]
    return found


Pair = tuple[str, str | None]
"""Model, and the one that it is compared with (None where it stands alone)."""


def _compared(models: list[str]) -> list[Pair]:
    """Every model with the clinical one, and then flexible ones with the flexible one without omics."""
    pairs: list[Pair] = [(m, YARDSTICK) for m in models if m != YARDSTICK and YARDSTICK in models]
    return pairs + [(m, FLEXIBLE_REFERENCE) for m in models if m in JUDGED_TWICE and FLEXIBLE_REFERENCE in models]


def enough(problem: Problem, rows: np.ndarray) -> bool:
    """Whether held-out patients are enough for an estimate."""
    return len(rows) >= FEWEST_PATIENTS and int(problem.event[rows].sum()) >= FEWEST_EVENTS


def _same_patients(design: Design, wanted: list[Pair]) -> dict[tuple[str, ...], list[Pair]]:
    """Pairs that are judged on the very same patients, by models whose fits decide who these are."""
    groups: dict[bytes, tuple[tuple[str, ...], list[Pair]]] = {}
    for model, versus in wanted:
        names = (model,) if versus is None else (model, versus)
        patients = [p.fitted(*names).rows for p in design.repeats]
        key = b"|".join(rows.tobytes() for rows in patients)
        groups.setdefault(key, (names, []))[1].append((model, versus))
    return dict(groups.values())


def _held_out(design: Design) -> np.ndarray:
    return np.unique(np.concatenate([p.rows for p in design.repeats]))


def _nothing(writer: _Writer, problem: Problem, design: Design, pairs: list[Pair], why: str) -> list[Estimate]:
    """Rows without an estimate of every metric, with the reason."""
    whole = np.ones((1, len(problem.time)))
    keys = list(_statistics(problem, design, whole))
    return [
        writer.nothing(key, why, versus)
        for model, versus in pairs
        for key in keys
        if key[0] == model and (versus is None or key[1] in COMPARED)
    ]


def _evaluate(
    problem: Problem, design: Design, *, bootstraps: int, level: float, rng: np.random.Generator
) -> list[Estimate]:
    """Every metric of every model and every difference, on all patients of the design."""
    held_out = _held_out(design)
    whole = np.zeros((1, len(problem.time)))
    whole[0, held_out] = 1.0
    point = _statistics(problem, design, whole)
    draws: dict[Key, list[np.ndarray]] = {key: [] for key in point}
    for weights in draw_weights(held_out, len(problem.time), bootstraps, rng):
        for key, values in _statistics(problem, design, weights).items():
            draws[key].append(values)
    drawn = {key: np.concatenate(values) for key, values in draws.items()}
    writer = _Writer(problem, design, held_out, bootstraps, level)
    found = [writer.estimate(key, point[key][0], drawn[key]) for key in point]
    pairs = _compared(list(design.repeats[0].risk))
    for model, metric, horizon in point:
        for versus in [v for m, v in pairs if m == model and metric in COMPARED]:
            assert versus is not None
            key, base = (model, metric, horizon), (versus, metric, horizon)
            found.append(writer.estimate(key, (point[key] - point[base])[0], drawn[key] - drawn[base], versus))
    return found


def evaluate_resamples(
    problem: Problem, design: Design, *, bootstraps: int, level: float, rng: np.random.Generator
) -> list[ResampleEstimate]:
    """Uno's C of every model in every resample, with the censoring distribution used for the pooled one.

    It is None where too few patients are held out, or where another model stands in. Sites get a standard error and a
    percentile interval: their patients are drawn with replacement, models are kept fixed.

    Parameters
    ----------
    problem
        Outcome and times.
    design
        Held-out predictions.
    bootstraps
        Number of draws.
    level
        Level of intervals.
    rng
        Source of the draws.
    """
    found = []
    for predictions in design.repeats:
        sample = _sample(problem, design, predictions, np.ones((1, len(problem.time))))
        for k, resample in enumerate(predictions.resamples):
            rows = np.flatnonzero(predictions.fold == k)
            alone = replace(sample, folds=(rows,))
            drawn = None
            if design.by_site and enough(problem, predictions.rows[rows]):
                drawn = _drawn(problem, predictions.rows[rows], bootstraps, rng)
            for model, risk in predictions.risk.items():
                gone = predictions.stand_in.get(model)
                judged = enough(problem, predictions.rows[rows]) and (gone is None or not gone[rows].any())
                value = float(uno_c(alone, risk, problem.tau)[0]) if judged else np.nan
                known = value if np.isfinite(value) else None
                around = _around(drawn, risk[rows], problem.tau, level) if drawn and known is not None else ()
                found.append(
                    ResampleEstimate(resample, model, known, len(rows), int(sample.event[rows].sum()), *around)
                )
    return found


def _drawn(problem: Problem, rows: np.ndarray, bootstraps: int, rng: np.random.Generator) -> list[Sample]:
    """Bootstrap draws of some patients, in batches."""
    batches = draw_weights(np.arange(len(rows)), len(rows), bootstraps, rng)
    return [Sample.make(problem.time[rows], problem.event[rows], weights=weights) for weights in batches]


def _around(
    drawn: list[Sample], risk: np.ndarray, tau: float, level: float
) -> tuple[float | None, float | None, float | None]:
    """Standard error and percentile interval of Uno's C, None where a draw in ten has none or all are the same."""
    values = np.concatenate([uno_c(sample, risk, tau) for sample in drawn])
    lower, upper = percentile_interval(values, level)
    error = float(np.nanstd(values, ddof=1)) if lower is not None else 0.0
    return (error, lower, upper) if error > 0 else (None, None, None)


def evaluate_calibration(
    problem: Problem, predictions: Predictions, level: float
) -> list[tuple[str, float, int, CalibrationGroup]]:
    """Groups of predicted risk by model and horizon: `(model, horizon, group number, group)`.

    Ten groups, five below 500 patients, fewer below 50; one where a model does not tell patients of a fold apart. Only
    patients for whom the model was fitted count; where they are too few, there is no group.
    """
    found = []
    for model in predictions.survival:
        part = predictions.fitted(model)
        if not enough(problem, part.rows):
            continue
        time, event, others = problem.time[part.rows], problem.event[part.rows], problem.others(part.rows)
        n = len(time)
        most = 10 if n >= 500 else max(1, min(5, n // 10))
        for horizon in problem.horizons:
            risk = np.clip(1.0 - part.survival[model][:, problem.column(horizon)], 0.0, 1.0)
            groups = most if _spread(risk, part.fold) else 1
            made = calibration_groups(time, event, risk, horizon, groups, level, others)
            found += [(model, horizon, k, group) for k, group in enumerate(made, 1)]
    return found


def _spread(values: np.ndarray, fold: np.ndarray) -> bool:
    return any(np.ptp(values[fold == k]) > 0 for k in np.unique(fold))


def draw_weights(held_out: np.ndarray, n: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Times each of `n` patients is drawn, held-out patients with replacement, in batches `(n_batch, n)`."""
    size = max(1, _BATCH // max(n, 1))
    for start in range(0, draws, size):
        weights = np.zeros((min(size, draws - start), n))
        even = np.full(len(held_out), 1.0 / len(held_out))
        weights[:, held_out] = rng.multinomial(len(held_out), even, size=len(weights))
        yield weights


def _sample(problem: Problem, design: Design, predictions: Predictions, weights: np.ndarray) -> Sample:
    rows = predictions.rows
    return Sample.make(
        problem.time[rows],
        problem.event[rows],
        competing=problem.others(rows),
        fold=predictions.fold,
        weights=weights[:, rows],
        censoring_by_fold=design.by_site,
    )


def _statistics(problem: Problem, design: Design, weights: np.ndarray) -> dict[Key, np.ndarray]:
    """Every metric in every draw, averaged over repeats."""
    parts = [_one_repeat(problem, p, _sample(problem, design, p, weights)) for p in design.repeats]
    return {key: np.mean([part[key] for part in parts], axis=0) for key in parts[0]}


def _one_repeat(problem: Problem, predictions: Predictions, sample: Sample) -> dict[Key, np.ndarray]:
    upto = problem.grid <= problem.tau
    at = [problem.column(h) for h in problem.horizons]
    null = brier(sample, predictions.survival[NULL_MODEL], problem.grid) if NULL_MODEL in predictions.survival else None
    found: dict[Key, np.ndarray] = {}
    for model, risk in predictions.risk.items():
        survival = predictions.survival[model]
        score = brier(sample, survival, problem.grid)
        found[model, "uno_c", None] = uno_c(sample, risk, problem.tau)
        found[model, "harrell_c", None] = harrell_c(sample, risk)
        found[model, "ibs", None] = integrated(score[:, upto], problem.grid[upto])
        if null is not None:
            found[model, "ipa", None] = _gain(found[model, "ibs", None], integrated(null[:, upto], problem.grid[upto]))
        for horizon, j in zip(problem.horizons, at, strict=True):
            found[model, "auc", horizon] = auc(sample, risk, horizon)
            found[model, "brier", horizon] = score[:, j]
            if null is not None:
                found[model, "ipa", horizon] = _gain(score[:, j], null[:, j])
            found[model, "calibration_slope", horizon] = calibration_slope(sample, survival[:, j], horizon)
            found[model, "observed_expected", horizon] = observed_expected(sample, survival[:, j], horizon)
        if predictions.uncensored is not None:
            known = Observed(predictions.uncensored, problem.grid)
            found[model, "uno_c_cox", None] = uno_c_given(sample, risk, problem.tau, known)
            weighted = brier_given(sample, survival[:, upto], problem.grid[upto], known)
            found[model, "ibs_cox", None] = integrated(weighted, problem.grid[upto])
    return found


def _gain(score: np.ndarray, null: np.ndarray) -> np.ndarray:
    return 1.0 - np.divide(score, null, out=np.full(len(score), np.nan), where=null > 0)


def _silent(samples: list[Sample], tau: float) -> tuple[int, int]:
    """Folds without a pair of patients that compares, and all folds."""
    folds = [replace(sample, folds=(fold,)) for sample in samples for fold in sample.folds]
    none = [s for s in folds if not np.isfinite(uno_c(s, np.zeros(len(s.time)), tau)[0])]
    return len(none), len(folds)


class _Writer:
    """Turns draws into estimates with the text that says how they were made."""

    def __init__(self, problem: Problem, design: Design, held_out: np.ndarray, bootstraps: int, level: float) -> None:
        self.tau, self.level, self.bootstraps = problem.tau, level, bootstraps
        self.n, self.events = len(held_out), int(problem.event[held_out].sum())
        self.before_tau = bool((problem.event[held_out] & (problem.time[held_out] <= problem.tau)).any())
        self.followed = float(problem.time[held_out].max(initial=0.0))
        self.repeats, self.by_site = len(design.repeats), design.by_site
        whole = np.ones((1, len(problem.time)))
        samples = [_sample(problem, design, p, whole) for p in design.repeats]
        self.truncated = {
            limit: max(s.truncated(limit) for s in samples) for limit in sorted({problem.tau, *problem.horizons})
        }
        self.silent = {limit: _silent(samples, limit) for limit in (problem.tau, np.inf)}
        self.rivals = problem.competing is not None
        self.timed = not at_one_time(problem.time[held_out], problem.event[held_out])
        self.truncated_cox = max(
            (
                Observed(p.uncensored, problem.grid).truncated(s, problem.tau)
                for p, s in zip(design.repeats, samples, strict=True)
                if p.uncensored is not None
            ),
            default=0,
        )

    def estimate(self, key: Key, value: float, draws: np.ndarray, versus: str | None = None) -> Estimate:
        """One row; the interval is missing where fewer than nine draws in ten have a value."""
        model, metric, horizon = key
        needed = self.tau if metric in ("ibs", "ibs_cox", "ipa") and horizon is None else horizon
        if (
            metric in ("brier", "ipa", "ibs", "ibs_cox", "observed_expected")
            and needed is not None
            and self.followed < needed
        ):
            value = np.nan
        if metric in ("ibs", "ibs_cox", "ipa") and horizon is None and not self.before_tau:
            value = np.nan
        method = self._method(metric, horizon, versus)
        if not np.isfinite(value):
            text = f"not estimable: {self._reason(metric, needed)}; {method}"
            return Estimate(model, metric, horizon, versus, None, None, None, self.n, self.events, text)
        good = draws[np.isfinite(draws)]
        lower, upper = percentile_interval(draws, self.level)
        if lower is not None:
            if len(good) < len(draws):
                method += f" ({len(draws) - len(good)} draws without a value left out)"
        else:
            method += f"; no interval, as {len(draws) - len(good)} draws have no value"
        return Estimate(model, metric, horizon, versus, float(value), lower, upper, self.n, self.events, method)

    def nothing(self, key: Key, why: str, versus: str | None = None) -> Estimate:
        """One row without an estimate."""
        model, metric, horizon = key
        text = f"not estimable: {why}; {self._method(metric, horizon, versus)}"
        return Estimate(model, metric, horizon, versus, None, None, None, self.n, self.events, text)

    def _reason(self, metric: str, needed: float | None) -> str:
        if needed is not None and self.followed < needed:
            return f"no held-out patient is followed to {needed:g} months"
        if metric in ("ibs", "ibs_cox", "ipa") and not self.before_tau:
            return "no held-out patient has an event before tau"
        curve = "Aalen-Johansen" if self.rivals else "Kaplan-Meier"
        return {
            "uno_c": "no pair of held-out patients of a fold compares before tau",
            "uno_c_cox": "no pair of held-out patients of a fold compares before tau",
            "harrell_c": "no pair of held-out patients of a fold compares",
            "auc": "no fold holds both a patient who failed by the horizon and one alive at it",
            "calibration_slope": "predictions do not differ within folds, no event by the horizon, or no maximum",
            "observed_expected": "the mean predicted risk is zero",
            "ipa": f"the {curve} model makes no error",
        }.get(metric, "no held-out patients")

    def _method(self, metric: str, horizon: float | None, versus: str | None) -> str:
        limit = self.tau if horizon is None else horizon
        scope = "sites" if self.by_site else "folds"
        weights = "Kaplan-Meier censoring weights" + (" by site" if self.by_site else "")
        weights += f" truncated at G = 0.05 ({self.truncated.get(limit, 0)} patients)"
        ties = f"pairs within {scope}, ties in score count 1/2, an event precedes a censoring at the same time"
        cox = (
            "censoring weights of a Cox model on clinical columns fitted in training, Efron ties, linear between times"
            f" of the grid, truncated at G = 0.05 ({self.truncated_cox} patients) and kept fixed over draws"
        )
        c, brier_, observed, curve = "", "", "one minus Kaplan-Meier", "Kaplan-Meier"
        slope, control = "Cox regression on log(-log predicted survival)", ""
        if self.rivals:
            c = ", who failed of another cause stays comparable with later events (Wolbers et al. 2014)"
            brier_ = " of not having failed of the event, failures of other causes known not to (Schoop et al. 2011)"
            observed, curve = "Aalen-Johansen cumulative incidence", "Aalen-Johansen"
            slope = (
                "Fine-Gray regression on log(-log(1 - predicted incidence)), censoring weights as for the Brier score"
            )
            control = ", controls have not failed of the event by then, failures of other causes among them"
        text = {
            "uno_c": f"Uno's C, tau {self.tau:g} months, {ties}{c}; {weights}",
            "uno_c_cox": f"Uno's C, tau {self.tau:g} months, {ties}{c}; {cox}",
            "harrell_c": f"Harrell's C, no tau, {ties}{c}; depends on the censoring",
            "auc": f"cumulative/dynamic AUC at {limit:g} months{control}, {ties}; {weights}",
            "brier": f"Brier score at {limit:g} months{brier_}, patients pooled; {weights}",
            "ibs": f"integrated Brier score{brier_} from 0 to {self.tau:g} months, trapezoidal, patients pooled; "
            f"{weights}",
            "ibs_cox": f"integrated Brier score{brier_} from 0 to {self.tau:g} months, trapezoidal, patients pooled; "
            f"{cox}",
            "ipa": f"one minus the ratio of {'integrated ' if horizon is None else ''}Brier scores to the training "
            f"{curve} curve, {'tau' if horizon is None else 'horizon'} {limit:g} months; {weights}",
            "calibration_slope": f"{slope} at {limit:g} months, follow-up cut "
            f"there, one baseline per {scope[:-1]}, Breslow ties; ideal 1"
            if self.timed
            else "binomial regression with complementary log-log link on that of the predicted risk, one intercept per"
            f" {scope[:-1]}; ideal 1",
            "observed_expected": f"{observed} over mean predicted risk at {limit:g} months, patients pooled; ideal 1",
        }[metric]
        parts = [f"difference to {versus} (model minus {versus}) on the same draws: {text}" if versus else text]
        none, of = self.silent[np.inf if metric == "harrell_c" else self.tau]
        if none and metric in ("uno_c", "uno_c_cox", "harrell_c"):
            parts.append(f"{none} of {of} {scope} have no pair that compares and add nothing, though n counts them")
        if self.repeats > 1:
            parts.append(f"mean of {self.repeats} repeats")
        parts.append(
            f"{100 * self.level:g} % percentile interval of {self.bootstraps} bootstraps of held-out patients, "
            "models kept fixed"
        )
        return "; ".join(parts)
