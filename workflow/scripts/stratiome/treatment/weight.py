"""Propensity by unpenalised logistic regression, overlap weights, and the balance they achieve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.treatment.emulate import TreatmentError

_GRADIENT = 1e-12  # largest mean score at which a fit has converged
_STEP = 1e-7  # largest change of a linear predictor in the last step of a fit that has converged
_SETTLED = 1e-8  # largest mean score at which a fit without finite maximum is as good as at its limit
_ITERATIONS = 20  # without a finite maximum linear predictors grow by about one per step: e^-20 is negligible
_DETERMINED = 1e-9  # error of a fitted probability below which the covariates determine the treatment
_ROUNDS = 20
TRIM = 0.05
"""Patients with a propensity outside `TRIM` to `1 - TRIM` are outside the trimmed population."""


@dataclass(frozen=True)
class Logistic:
    """Logistic regressions fitted under many sets of weights.

    Attributes
    ----------
    coefficients
        Shape `(n_draws, n_columns)`.
    probability
        Shape `(n_draws, n_patients)`.
    score
        Shape `(n_draws,)`, largest absolute entry of the score over the sum of weights.
    step
        Shape `(n_draws, n_columns)`, last step of the coefficients.
    """

    coefficients: np.ndarray
    probability: np.ndarray
    score: np.ndarray
    step: np.ndarray

    @property
    def settled(self) -> np.ndarray:
        """Shape `(n_draws,)`, True where the score is zero, be it at the maximum or at the limit of a separated fit."""
        return self.score < _SETTLED


@dataclass(frozen=True)
class PropensityModel:
    """A fitted propensity.

    Attributes
    ----------
    columns
        Shape `(n_columns,)`, True for the columns of the design that were used.
    coefficients
        Intercept and one coefficient per column used.
    probability
        Shape `(n_patients,)`, probability of treatment of the patients fitted on.
    comparable
        Shape `(n_patients,)`, False where the covariates determine the treatment; their overlap weight is zero.
    """

    columns: np.ndarray
    coefficients: np.ndarray
    probability: np.ndarray
    comparable: np.ndarray

    def predict(self, design: np.ndarray) -> np.ndarray:
        """Probability of treatment, shape `(n_new,)`, for a design of shape `(n_new, n_columns)`."""
        from scipy.special import expit

        return expit(_with_intercept(design[:, self.columns]) @ self.coefficients)


def fit_logistic(
    design: np.ndarray, treated: np.ndarray, weights: np.ndarray, start: np.ndarray | None = None
) -> Logistic:
    """Maximum-likelihood logistic regression under many sets of weights at once, by Newton's method with halving.

    Solves `sum_i w_i x_i (a_i - e_i) = 0`, `logit e_i = x_i' b`, without a penalty: with one, weighting no longer
    balances the means (Li, Morgan & Zaslavsky 2018, theorem 3).

    Parameters
    ----------
    design
        Shape `(n_patients, n_columns)`, with a column of ones; columns of order one.
    treated
        Shape `(n_patients,)`, True = treated.
    weights
        Shape `(n_draws, n_patients)`, not negative, as counts of a bootstrap draw.
    start
        Shape `(n_columns,)`, first guess; default zeros.
    """
    treated = np.asarray(treated, dtype=np.float64)
    total = np.maximum(weights.sum(axis=1), 1e-300)
    beta = np.zeros((len(weights), design.shape[1])) + (0.0 if start is None else start)
    step, score = np.zeros_like(beta), np.full(len(weights), np.inf)
    likelihood, probability = _log_likelihood(beta, design, treated, weights)
    active = np.arange(len(weights))
    for _ in range(_ITERATIONS):
        gradient = (weights[active] * (treated - probability[active])) @ design
        score[active] = np.abs(gradient).max(axis=1) / total[active]
        moved = np.abs(step[active] @ design.T).max(axis=1)
        going = (score[active] >= _GRADIENT) | (moved >= _STEP)
        active, gradient = active[going], gradient[going]
        if len(active) == 0:
            break
        step[active] = _newton_step(design, weights[active], probability[active], gradient)
        beta[active], step[active], likelihood[active], probability[active] = _ascend(
            beta[active], step[active], likelihood[active], design, treated, weights[active]
        )
    else:
        gradient = (weights[active] * (treated - probability[active])) @ design
        score[active] = np.abs(gradient).max(axis=1) / total[active]
    return Logistic(beta, probability, score, step)


def _newton_step(design: np.ndarray, weights: np.ndarray, probability: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    p = design.shape[1]
    curvature = weights * probability * (1.0 - probability)
    information = np.empty((len(weights), p, p))
    for j in range(p):
        information[:, j, j:] = (curvature * design[:, j]) @ design[:, j:]
        information[:, j:, j] = information[:, j, j:]
    # A draw may lack a level, which makes a singular matrix; the jitter changes the path, never where the score is 0.
    jitter = 1e-13 * np.maximum(weights.sum(axis=1), 1.0)
    information[:, np.arange(p), np.arange(p)] += jitter[:, None]
    return np.linalg.solve(information, gradient[..., None])[..., 0]


def _ascend(
    beta: np.ndarray,
    step: np.ndarray,
    likelihood: np.ndarray,
    design: np.ndarray,
    treated: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Take the step, halved wherever the likelihood would fall (beyond rounding)."""
    step = step.copy()
    new, probability = _log_likelihood(beta + step, design, treated, weights)
    slack = 1e-12 * np.abs(likelihood) + 1e-12
    for _ in range(20):
        worse = np.flatnonzero(~(new >= likelihood - slack))
        if len(worse) == 0:
            break
        step[worse] /= 2.0
        new[worse], probability[worse] = _log_likelihood(beta[worse] + step[worse], design, treated, weights[worse])
    return beta + step, step, new, probability


def _log_likelihood(
    beta: np.ndarray, design: np.ndarray, treated: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    from scipy.special import expit

    predictor = beta @ design.T
    value = (weights * (treated * predictor - np.logaddexp(0.0, predictor))).sum(axis=1)
    return value, expit(predictor)


def fit_propensity(design: np.ndarray, treated: np.ndarray) -> PropensityModel:
    """Propensity by unpenalised maximum likelihood.

    Collinear columns are left out, which changes no probability. Where the covariates determine the treatment of some
    patients (quasi-complete separation), the likelihood has no finite maximum; in its limit these patients have
    probability 0 or 1 and overlap weight 0, and the rest have the finite fit among themselves (Albert & Anderson
    1984). That limit is what is returned. Patients fitted to within 1e-9 of their treatment count as determined too.

    Parameters
    ----------
    design
        Shape `(n_patients, n_columns)`, without intercept, finite, columns of order one.
    treated
        Shape `(n_patients,)`, True = treated.

    Raises
    ------
    TreatmentError
        If there is one arm only, the covariates determine the treatment of everybody, or there is no convergence.
    """
    treated = np.asarray(treated, dtype=bool)
    inside = np.ones(len(treated), dtype=bool)
    first: tuple[np.ndarray, np.ndarray] | None = None
    for _ in range(_ROUNDS):
        if treated[inside].all() or not treated[inside].any():
            raise TreatmentError(_one_arm(inside))
        columns = independent_columns(design[inside])
        matrix = _with_intercept(design[inside][:, columns])
        fit = fit_logistic(matrix, treated[inside], np.ones((1, len(matrix))))
        first = first or (columns, fit.coefficients[0])
        moving = np.abs(matrix @ fit.step[0])
        error = np.abs(fit.probability[0] - treated[inside])
        determined = (error < _DETERMINED) | ((moving > 0.1) & (error < 0.01))
        if determined.any():
            inside[np.flatnonzero(inside)[determined]] = False
        elif fit.score[0] < _GRADIENT and moving.max() < _STEP:
            probability = treated.astype(np.float64)
            probability[inside] = fit.probability[0]
            return PropensityModel(first[0], first[1], probability, inside)
        else:
            break
    raise TreatmentError(
        "the logistic regression of treatment on the confounders did not converge. "
        "Suggestion: fewer confounders, or join rare levels"
    )


def _one_arm(inside: np.ndarray) -> str:
    if inside.all():
        return "all patients have the same treatment. Suggestion: widen `eligible`"
    return (
        "the confounders determine the treatment completely, so nobody can be compared. "
        "Suggestion: narrow `eligible` to patients who could have had either, and check that no confounder "
        "is measured after treatment"
    )


def independent_columns(design: np.ndarray, tolerance: float = 1e-7) -> np.ndarray:
    """Columns that are no linear combination of the intercept and those before them, shape `(n_columns,)`, bool."""
    kept = np.zeros(design.shape[1], dtype=bool)
    basis = [np.full(len(design), 1.0 / np.sqrt(max(1, len(design))))]
    for j, column in enumerate(design.T):
        rest = column.astype(np.float64)
        for _ in range(2):  # twice is enough for orthogonality to rounding
            for direction in basis:
                rest = rest - direction * (direction @ rest)
        size = float(np.linalg.norm(rest))
        if size > tolerance * max(float(np.linalg.norm(column)), 1e-300):
            kept[j] = True
            basis.append(rest / size)
    return kept


def overlap_weights(treated: np.ndarray, propensity: np.ndarray) -> np.ndarray:
    """Overlap weights: treated `1 - e`, untreated `e` (Li, Morgan & Zaslavsky 2018).

    They target patients in proportion to `e (1 - e)`, and balance the mean of every column of an unpenalised logistic
    propensity exactly.

    Parameters
    ----------
    treated
        Shape `(n_patients,)`, True = treated.
    propensity
        Shape `(..., n_patients)`, probability of treatment.
    """
    return np.where(treated, 1.0 - propensity, propensity)


def trimmed_weights(treated: np.ndarray, propensity: np.ndarray) -> np.ndarray:
    """Stabilised inverse probability weights within `TRIM` to `1 - TRIM`, outside 0 (Robins 2000; Crump et al. 2009).

    `P(A = a) / P(A = a | x)`, over the patients within, so that patients who could have had either are compared,
    each with the same weight.

    Parameters
    ----------
    treated
        Shape `(n_patients,)`, True = treated.
    propensity
        Shape `(..., n_patients)`, probability of treatment.
    """
    inside = (propensity >= TRIM) & (propensity <= 1.0 - TRIM)
    of_arm = np.where(treated, propensity, 1.0 - propensity)
    share = treated.mean()
    return np.where(inside, np.where(treated, share, 1.0 - share) / np.maximum(of_arm, TRIM), 0.0)


def effective_sample_size(weights: np.ndarray) -> float:
    """Number of equally weighted patients with the same variance of a mean, `(sum w)^2 / sum w^2` (Kish 1965)."""
    squares = float(np.sum(np.square(weights)))
    return float(np.sum(weights)) ** 2 / squares if squares > 0 else 0.0


def standardised_differences(design: np.ndarray, treated: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Standardised mean difference of each column, treated minus untreated.

    `(m_1 - m_0) / sqrt((s_1^2 + s_0^2) / 2)` with (weighted) means and always the unweighted standard deviations, so
    that weighting moves the numerator only (Austin & Stuart 2015). 0 for a column that is the same in everybody.

    Parameters
    ----------
    design
        Shape `(n_patients, n_columns)`.
    treated
        Shape `(n_patients,)`, True = treated; both arms present.
    weights
        Shape `(n_patients,)`; default ones.
    """
    weights = np.ones(len(treated)) if weights is None else weights
    difference = np.average(design[treated], axis=0, weights=weights[treated]) - np.average(
        design[~treated], axis=0, weights=weights[~treated]
    )
    pooled = np.sqrt((design[treated].var(axis=0) + design[~treated].var(axis=0)) / 2.0)
    # A column that is constant in each arm but differs between them has no pooled SD within arms.
    scale = np.where(pooled > 1e-12, pooled, design.std(axis=0))
    return np.divide(difference, scale, out=np.zeros_like(difference), where=scale > 1e-12)


def _with_intercept(design: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(design)), design])
