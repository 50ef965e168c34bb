"""How much would predictions of the same patients move, had other patients been there to learn from?

The whole of training is repeated in bootstrap samples of the training patients (Riley & Collins 2023, Biometrical
Journal 65:2200302). The same samples say how optimistic performance in the training patients is (Harrell et al. 1996).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from stratiome.config import PrognosisConfig
from stratiome.prognosis.calibration import calibration_slope
from stratiome.prognosis.models import Fit, Inputs, fit_models
from stratiome.survival.concordance import Sample, uno_c
from stratiome.survival.outcome import GRID_POINTS, OutcomeError

CHEAP = ("clinical", "clinical_latent")
"""Models that are learned anew in each bootstrap sample. Latents are not: what they add to instability is not seen."""

THRESHOLDS = (0.1, 0.2, 0.3, 0.5)
"""Risks from which one would act, at which it is counted how many patients change sides."""

BANDS = 10
"""Most groups by predicted risk."""

FEWEST_IN_BAND = 20
"""Patients of a group, at least."""

ENOUGH_DRAWS = 0.5
"""Share of the draws in which a model must have been fitted."""


@dataclass(frozen=True)
class Band:
    """Patients of similar predicted risk: means of the prediction, its bootstrap range, and the mean absolute change.

    `lower` and `upper` are means over the patients of each patient's 2.5th and 97.5th percentile over draws.
    """

    predicted: float
    lower: float
    upper: float
    error: float
    n: int


@dataclass(frozen=True)
class Instability:
    """How much predicted risks of one model at one horizon move.

    Attributes
    ----------
    model
        Name of the model.
    horizon
        Months.
    error
        Mean absolute prediction error: over draws, then over patients.
    quantiles
        The median, 90th and 95th percentile over patients of each one's mean over draws.
    changed
        Threshold -> mean over patients of the share of draws in which the predicted risk lies on the other side.
    bands
        Groups by predicted risk, lowest first.
    """

    model: str
    horizon: float
    error: float
    quantiles: tuple[float, float, float]
    changed: dict[float, float]
    bands: tuple[Band, ...]


@dataclass(frozen=True)
class Optimism:
    """Performance in the training patients, how much of it is optimism, and what is left; None = not estimable."""

    model: str
    metric: str
    horizon: float | None
    apparent: float | None
    optimism: float | None
    draws: int

    @property
    def corrected(self) -> float | None:
        """Apparent less optimism."""
        return None if self.apparent is None or self.optimism is None else self.apparent - self.optimism


@dataclass(frozen=True)
class Bootstrapped:
    """Predictions of one model for the training patients, as it is and as learned in bootstrap samples.

    Attributes
    ----------
    model
        Name of the model.
    time, event
        Shape `(n_train,)`.
    risk, risks
        Shape `(n_train,)` and `(n_draws, n_train)`, log partial hazard.
    predicted, predictions
        Shape `(n_train, n_horizons)` and `(n_draws, n_train, n_horizons)`, probability of the event by each horizon.
    counts
        Shape `(n_draws, n_train)`, times each patient was drawn.
    horizons
        Months.
    asked
        Draws that were made; in those that are not among `n_draws` the model could not be fitted.
    competing
        Shape `(n_train,)`, True = failed of another cause; None where these are not told apart.
    """

    model: str
    time: np.ndarray
    event: np.ndarray
    risk: np.ndarray
    risks: np.ndarray
    predicted: np.ndarray
    predictions: np.ndarray
    counts: np.ndarray
    horizons: tuple[float, ...]
    asked: int
    competing: np.ndarray | None = None

    @property
    def enough(self) -> bool:
        """Whether the model was fitted in draws enough."""
        return len(self.counts) >= max(2.0, ENOUGH_DRAWS * self.asked)


def bootstrap_models(
    inputs: Inputs,
    settings: PrognosisConfig,
    horizons: tuple[float, ...],
    *,
    tau: float,
    draws: int,
    rng: np.random.Generator,
) -> list[Bootstrapped]:
    """The models of `CHEAP` that could be fitted, learned anew in bootstrap samples of the training patients.

    Each sample is drawn with replacement and as large as the training set; scaling, penalties where the plain fit does
    not exist, and left-out columns are found anew. Fill values and rare classes of clinical columns, latents and the
    features behind them are as they were.

    Parameters
    ----------
    inputs
        Patients, roles, outcome and predictors.
    settings
        As of `fit_models`.
    horizons
        Months at which risk is predicted.
    tau
        As of `fit_models`.
    draws
        Number of samples.
    rng
        Source of the samples.
    """
    grid = np.unique([0.0, *horizons])
    if inputs.competing is not None:  # incidences are sums over steps, which must be small
        grid = np.unique([*np.linspace(0.0, max(horizons), GRID_POINTS), *horizons])
    at = np.searchsorted(grid, horizons)
    # A sample of a set with just enough events may hold fewer; the model is then learned from those.
    settings = settings.model_copy(update={"models": CHEAP[1:], "min_events": 2})
    train = np.flatnonzero(inputs.train)
    whole = _fit(inputs, train, train, grid, settings, tau)
    again: dict[str, list[tuple[Fit, np.ndarray]]] = {model: [] for model in whole}
    for _ in range(draws):
        drawn = rng.integers(len(train), size=len(train))
        made = _fit(inputs, train[drawn], train, grid, settings, tau)
        counts = np.bincount(drawn, minlength=len(train))
        for model in whole:
            if model in made:
                again[model].append((made[model], counts))
    return [
        Bootstrapped(
            model,
            inputs.time[train],
            inputs.event[train],
            fit.risk,
            _stacked([f.risk for f, _ in again[model]], fit.risk),
            1.0 - fit.survival[:, at],
            1.0 - _stacked([f.survival[:, at] for f, _ in again[model]], fit.survival[:, at]),
            _stacked([c for _, c in again[model]], train),
            horizons,
            draws,
            None if inputs.competing is None else inputs.competing[train],
        )
        for model, fit in whole.items()
    ]


def _stacked(parts: list[np.ndarray], like: np.ndarray) -> np.ndarray:
    return np.stack(parts) if parts else np.zeros((0, *like.shape))


def _fit(
    inputs: Inputs, learn: np.ndarray, apply: np.ndarray, grid: np.ndarray, settings: PrognosisConfig, tau: float
) -> dict[str, Fit]:
    """Models learned from some rows (which may stand twice) with predictions for others; those fitted themselves."""
    rows = np.concatenate([learn, apply])
    train = np.arange(len(rows)) < len(learn)
    try:
        fits = fit_models(_rows(inputs, rows, train), grid, settings, tau=tau, rng=np.random.default_rng(0))
    except OutcomeError:
        return {}
    own = {fit.model: fit for fit in fits if fit.model in CHEAP and fit.stand_in is None}
    return {m: replace(f, risk=f.risk[~train], survival=f.survival[~train]) for m, f in own.items()}


def _rows(inputs: Inputs, rows: np.ndarray, train: np.ndarray) -> Inputs:
    """Inputs of some rows, in this order; of omics only how many there are."""
    arrays = {f.name: getattr(inputs, f.name) for f in fields(inputs)}
    taken = {name: values[rows] for name, values in arrays.items() if isinstance(values, np.ndarray)}
    omics = tuple(replace(omic, values=np.zeros((len(rows), 0)), features=()) for omic in inputs.omics)
    return replace(inputs, **(taken | {"train": train, "omics": omics}))


def instability(found: Bootstrapped) -> list[Instability]:
    """Summaries over patients at each horizon; none where the model was fitted in too few draws.

    With `p_i` the predicted risk of a patient and `p_bi` that of draw `b`, the error of a patient is the mean over
    draws of `|p_bi - p_i|`, and the mean absolute prediction error its mean over patients (Riley & Collins 2023).

    Parameters
    ----------
    found
        Predictions of one model.
    """
    if not found.enough:
        return []
    made = []
    for j, horizon in enumerate(found.horizons):
        predicted, drawn = found.predicted[:, j], found.predictions[:, :, j]
        error = np.abs(drawn - predicted).mean(axis=0)
        changed = {t: float(((drawn >= t) != (predicted >= t)).mean()) for t in THRESHOLDS}
        quantiles = tuple(float(q) for q in np.quantile(error, [0.5, 0.9, 0.95]))
        made.append(
            Instability(
                found.model,
                horizon,
                float(error.mean()),
                (quantiles[0], quantiles[1], quantiles[2]),
                changed,
                _bands(predicted, drawn, error),
            )
        )
    return made


def _bands(predicted: np.ndarray, drawn: np.ndarray, error: np.ndarray) -> tuple[Band, ...]:
    """Groups of equal size by predicted risk; patients with the same risk stay together."""
    groups = max(1, min(BANDS, len(predicted) // FEWEST_IN_BAND))
    ordered = np.sort(predicted)
    edges = np.unique(ordered[[-(-len(predicted) * k // groups) - 1 for k in range(1, groups)]])
    code = np.searchsorted(edges, predicted, side="left")
    lower, upper = np.quantile(drawn, [0.025, 0.975], axis=0)
    return tuple(
        Band(
            float(predicted[here].mean()),
            float(lower[here].mean()),
            float(upper[here].mean()),
            float(error[here].mean()),
            int(here.sum()),
        )
        for here in (code == k for k in np.unique(code))
    )


def optimism(found: Bootstrapped, tau: float) -> list[Optimism]:
    """Apparent Uno's C and calibration slopes, and their optimism by Harrell's bootstrap.

    Optimism is the mean over draws of the performance of the model of a draw in the sample that it was learned from,
    less that in the original training patients (Harrell et al. 1996; Steyerberg 2019, section 5.3).

    Parameters
    ----------
    found
        Predictions of one model.
    tau
        Months at which Uno's C is truncated.
    """
    ones = np.ones((1, len(found.time)))
    own = Sample.make(found.time, found.event, competing=found.competing, weights=ones)
    samples = [
        Sample.make(found.time, found.event, competing=found.competing, weights=np.vstack([c, ones[0]]))
        for c in found.counts
    ]
    pairs = [uno_c(s, risk, tau) for s, risk in zip(samples, found.risks, strict=True)]
    made = [_optimism(found, "uno_c", None, uno_c(own, found.risk, tau)[0], pairs)]
    for j, horizon in enumerate(found.horizons):
        apparent = calibration_slope(own, 1.0 - found.predicted[:, j], horizon)[0]
        curves = 1.0 - found.predictions[:, :, j]
        pairs = [calibration_slope(s, c, horizon) for s, c in zip(samples, curves, strict=True)]
        made.append(_optimism(found, "calibration_slope", horizon, apparent, pairs))
    return made


def _optimism(
    found: Bootstrapped, metric: str, horizon: float | None, apparent: float, pairs: list[np.ndarray]
) -> Optimism:
    """One row; pairs are performance in the sample of the draw and in the original patients."""
    gaps = np.array([p[0] - p[1] for p in pairs if np.isfinite(p).all()])
    known = float(apparent) if np.isfinite(apparent) else None
    enough = known is not None and len(gaps) >= max(2.0, ENOUGH_DRAWS * found.asked)
    return Optimism(found.model, metric, horizon, known, float(gaps.mean()) if enough else None, len(gaps))
