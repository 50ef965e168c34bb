"""Elastic-net Cox regression with its penalty chosen inside the training patients."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from stratiome.survival.cox import CoxError, CoxModel, partial_log_likelihood, with_baseline

PENALTIES = 40
SMALLEST_PENALTY, SMALLEST_PENALTY_WIDE = 0.02, 0.05
"""Smallest penalty of the path as a share of the largest, with more patients than columns and with fewer.

Near its end a wide model keeps almost as many columns as there are events; that costs most of the time for nothing.
`ElasticNet.at_end` tells where the path was too short.
"""

# At the first tolerance the optimality conditions hold to 2e-4, which is enough to choose a penalty, at the second to
# 1e-5, which takes ten times as long.
_COARSE, _FINE = 1e-7, 1e-9


@dataclass(frozen=True)
class ElasticNet:
    """A fitted elastic-net Cox model.

    Attributes
    ----------
    model
        Coefficients and baseline; columns are on the scale of the input.
    penalty
        Chosen penalty.
    folds
        Inner folds used.
    at_end
        Whether the smallest penalty of the path was chosen.
    """

    model: CoxModel
    penalty: float
    folds: int
    at_end: bool


def fit_elastic_net(
    x: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    penalised: np.ndarray,
    *,
    l1_ratio: float,
    inner_folds: int,
    rng: np.random.Generator,
) -> ElasticNet:
    """Fit the path on all rows and take the penalty with the largest cross-validated partial log-likelihood.

    The criterion is `sum_k l(b_-k) - l_-k(b_-k)` with `l` the partial log-likelihood of all patients, `l_-k` that
    without fold k and `b_-k` the coefficients without fold k (Verweij & van Houwelingen 1993); the path is that of
    Simon et al. 2011, Breslow ties, by scikit-survival.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, standardised, finite, no constant column.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    penalised
        Shape `(n_columns,)`, False for columns that enter unpenalised; at least one is True.
    l1_ratio
        Share of the lasso in the penalty.
    inner_folds
        Most folds, stratified by event; fewer where events are fewer.
    rng
        Source of the folds.

    Raises
    ------
    CoxError
        If the path breaks down at the largest penalty, or fewer than two events could be split.
    """
    fold = stratified_folds(event, inner_folds, rng)
    alphas, _ = _path(x, time, event, penalised, l1_ratio, None)
    criterion = np.zeros(len(alphas))
    for k in range(fold.max() + 1):
        rest = fold != k
        reached, found = _path(x[rest], time[rest], event[rest], penalised, l1_ratio, alphas)
        criterion = criterion[: len(reached)]
        risk = x @ found[:, : len(criterion)]
        criterion += partial_log_likelihood(risk, time, event)
        criterion -= partial_log_likelihood(risk[rest], time[rest], event[rest])
    best = int(np.argmax(criterion))
    reached, coefficients = _path(x, time, event, penalised, l1_ratio, alphas[: best + 1], _FINE)
    model = with_baseline(x, time, event, coefficients[:, -1])
    return ElasticNet(model, float(reached[-1]), int(fold.max()) + 1, best == len(alphas) - 1)


def stratified_folds(event: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each patient, shape `(n_patients,)`, events spread evenly.

    Raises
    ------
    CoxError
        If there are fewer than two events.
    """
    folds = min(folds, int(event.sum()))
    if folds < 2:
        raise CoxError("fewer than two events to split into inner folds")
    fold = np.empty(len(event), dtype=np.int64)
    start = 0
    for group in (event, ~event):
        members = rng.permutation(np.flatnonzero(group))
        fold[members] = (start + np.arange(len(members))) % folds
        start += len(members)
    return fold


def _path(
    x: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    penalised: np.ndarray,
    l1_ratio: float,
    alphas: np.ndarray | None,
    tolerance: float = _COARSE,
) -> tuple[np.ndarray, np.ndarray]:
    """Penalties reached and coefficients `(n_columns, n_reached)`; the end of the path that breaks down is cut off."""
    from sklearn.exceptions import ConvergenceWarning
    from sksurv.linear_model import CoxnetSurvivalAnalysis
    from sksurv.util import Surv

    outcome = Surv.from_arrays(event, time)
    ratio = SMALLEST_PENALTY if x.shape[0] > x.shape[1] else SMALLEST_PENALTY_WIDE
    while True:
        fitter = CoxnetSurvivalAnalysis(
            l1_ratio=l1_ratio,
            n_alphas=PENALTIES,
            alphas=alphas,
            alpha_min_ratio=ratio,
            penalty_factor=penalised.astype(np.float64),
            tol=tolerance,
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", ConvergenceWarning)
                fitter.fit(x, outcome)
        except (ArithmeticError, AssertionError, ConvergenceWarning) as error:
            if (alphas is not None and len(alphas) == 1) or ratio > 0.9:
                raise CoxError("the elastic-net path did not converge at its largest penalty") from error
            ratio = ratio**0.5 if alphas is None else ratio
            alphas = alphas if alphas is None else alphas[: max(1, 3 * len(alphas) // 4)]
            continue
        return fitter.alphas_, fitter.coef_
