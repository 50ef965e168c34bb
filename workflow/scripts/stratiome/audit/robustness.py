"""How far metrics of frozen models move on held-out patients when data, outcomes or the mix of patients are changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from stratiome.audit.stresses import IMBALANCE, LABELS
from stratiome.prognosis.evaluate import draw_weights
from stratiome.prognosis.metrics import brier, observed_expected
from stratiome.survival.concordance import Sample, uno_c
from stratiome.survival.interval import percentile_interval

WRONG_LABELS = (0.05, 0.1, 0.2)
"""Shares of event flags that are turned."""
LABEL_DRAWS = 5
"""Times that labels are turned."""
FEWER_EVENTS = (0.25, 0.5, 0.75)
"""Shares of the patients with an event who are left out."""

Values = dict[str, np.ndarray]
"""Metric -> shape `(1 + n_draws,)`, the first of all patients."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out patients, and the draws of them that all numbers share.

    Attributes
    ----------
    time, event
        Shape `(n_patients,)`, months and True = observed.
    competing
        Shape `(n_patients,)`, True = failed of another cause; None where these are not told apart.
    fold
        Shape `(n_patients,)`, which model predicted the patient.
    by_site
        Whether folds are sites, each with its own censoring.
    tau, horizon
        Months.
    weights
        Shape `(1 + n_draws, n_patients)`, ones and then times drawn.
    """

    time: np.ndarray
    event: np.ndarray
    competing: np.ndarray | None
    fold: np.ndarray
    by_site: bool
    tau: float
    horizon: float
    weights: np.ndarray

    @classmethod
    def drawn(
        cls,
        time: np.ndarray,
        event: np.ndarray,
        competing: np.ndarray | None,
        fold: np.ndarray,
        *,
        by_site: bool,
        tau: float,
        horizon: float,
        bootstraps: int,
        rng: np.random.Generator,
    ) -> HeldOut:
        """Draw patients with replacement `bootstraps` times."""
        n = len(time)
        weights = np.concatenate([np.ones((1, n)), *draw_weights(np.arange(n), n, bootstraps, rng)])
        return cls(time, event, competing, fold, by_site, tau, horizon, weights)

    @cached_property
    def sample(self) -> Sample:
        """The patients in all draws."""
        return Sample.make(
            self.time,
            self.event,
            competing=self.competing,
            fold=self.fold,
            weights=self.weights,
            censoring_by_fold=self.by_site,
        )

    def values(self, risk: np.ndarray, survival: np.ndarray) -> Values:
        """Metrics of scores and probabilities of being event-free at the horizon, shape `(n_patients,)` each."""
        at = np.array([self.horizon])
        followed = bool(self.time.max(initial=0.0) >= self.horizon)
        nothing = np.full(len(self.weights), np.nan)
        return {
            "uno_c": uno_c(self.sample, risk, self.tau),
            "brier": brier(self.sample, survival[:, None], at)[:, 0] if followed else nothing,
            "observed_expected": observed_expected(self.sample, survival, self.horizon) if followed else nothing,
        }

    def with_wrong_labels(self, share: float, rng: np.random.Generator) -> HeldOut:
        """The same with a share of the event flags turned, drawn among events and censored patients alike."""
        open_to_error = np.ones(len(self.event), dtype=bool) if self.competing is None else ~self.competing
        turned = open_to_error & (rng.random(len(self.event)) < share)
        return replace(self, event=self.event ^ turned)

    def with_fewer_events(self, share: float, rng: np.random.Generator) -> HeldOut:
        """The same without a share of the patients with an event.

        The estimate weights them by what is left; in the draws each stays with this probability, so that intervals are
        those of fewer events.
        """
        weights = self.weights.copy()
        weights[0, self.event] = 1.0 - share
        weights[1:, self.event] = rng.binomial(weights[1:, self.event].astype(np.int64), 1.0 - share)
        return replace(self, weights=weights)


@dataclass(frozen=True)
class Response:
    """A metric under a stress, and how far it is from that without; None where not estimable."""

    metric: str
    estimate: float | None
    lower: float | None
    upper: float | None
    difference: float | None
    difference_lower: float | None
    difference_upper: float | None


def responses(plain: Values, stressed: Sequence[Values], level: float) -> list[Response]:
    """Metrics, mean over draws of the change, and their paired differences to those without stress.

    Parameters
    ----------
    plain
        Without stress; metrics that are not there are not compared.
    stressed
        With it, one per draw of the change, on the same draws of patients.
    level
        Level of the intervals.
    """
    made = []
    for metric in stressed[0]:
        values = np.mean([s[metric] for s in stressed], axis=0)
        away = _claim(values - plain[metric], level) if metric in plain else (None, None, None)
        made.append(Response(metric, *_claim(values, level), *away))
    return made


def _claim(values: np.ndarray, level: float) -> tuple[float | None, float | None, float | None]:
    if not np.isfinite(values[0]):
        return None, None, None
    return float(values[0]), *percentile_interval(values[1:], level)


def outcome_stresses(
    held_out: HeldOut, rng: np.random.Generator
) -> Iterator[tuple[str, str, float, tuple[HeldOut, ...]]]:
    """Changes of outcomes and of the mix of patients: concept, stress, dose, and the patients in each draw of it."""
    for dose in WRONG_LABELS:
        changed = tuple(held_out.with_wrong_labels(dose, rng) for _ in range(LABEL_DRAWS))
        yield LABELS, "event flags of held-out patients turned", dose, changed
    for dose in FEWER_EVENTS:
        yield IMBALANCE, "patients with an event left out", dose, (held_out.with_fewer_events(dose, rng),)


def agreement(
    held_out: HeldOut, risks: tuple[np.ndarray, np.ndarray], survivals: tuple[np.ndarray, np.ndarray]
) -> Values:
    """Spearman's correlation of two scores within folds, and the mean absolute difference of risks at the horizon.

    Ranks are those of all patients of a fold and stay fixed over the draws.
    """
    first, second = (_ranks(risk, held_out.fold) for risk in risks)
    w = held_out.weights
    spread = np.sqrt((w @ first**2) * (w @ second**2))
    rank = np.divide(w @ (first * second), spread, out=np.full(len(w), np.nan), where=spread > 0)
    return {"rank_correlation": rank, "risk_change": w @ np.abs(survivals[0] - survivals[1]) / w.sum(axis=1)}


def _ranks(risk: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Ranks within folds, from -1/2 to 1/2 about 0."""
    from scipy.stats import rankdata

    found = np.zeros(len(risk))
    for k in np.unique(fold):
        rows = fold == k
        ranks = rankdata(risk[rows])
        found[rows] = (ranks - ranks.mean()) / len(ranks)
    return found
