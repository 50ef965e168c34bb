"""One predicted effect out of several: weights by a doubly robust loss on patients left out, shrunk to the average."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

THRESHOLD = 5.0
"""Squared standard errors by which weighted predictions must tell effects apart before they are used at all."""


@dataclass(frozen=True)
class Stack:
    """Weights of learners.

    Attributes
    ----------
    weights
        Shape `(n_learners,)`, not negative; all 0 = everybody has the average effect.
    evidence
        Squared z of the weighted predictions before shrinkage, 0 where no weight is above 0.
    kept
        Factor by which the weights were shrunk, 0 to 1.
    """

    weights: np.ndarray
    evidence: float
    kept: float


def stack(contrast: np.ndarray, predicted: np.ndarray, fold: np.ndarray, threshold: float = THRESHOLD) -> Stack:
    """Non-negative least squares of contributions on centred predictions, and the non-negative garrote of the result.

    The squared distance of contributions to predictions differs from that of true effects by a constant in expectation,
    so its minimiser is the best combination (doubly robust loss; van der Laan & Luedtke 2015, J Causal Inference 3:61;
    stacking with non-negative weights: Breiman 1996, Mach Learn 24:49). Weights are multiplied by
    `max(0, 1 - threshold / z^2)` (non-negative garrote, Breiman 1995, Technometrics 37:373), z the covariance of
    weighted predictions and contributions over its robust standard error: without a difference that shows, everybody is
    given the average.

    Parameters
    ----------
    contrast
        Shape `(n_patients,)`, contributions to the average effect by models that have not seen the patient.
    predicted
        Shape `(n_patients, n_learners)`, by models that have not seen the patient.
    fold
        Shape `(n_patients,)`, whose models predicted; both are centred within, as those of different models differ in
        level.
    threshold
        See above.
    """
    from scipy.optimize import nnls

    y, z = contrast.astype(np.float64).copy(), predicted.astype(np.float64).copy()
    for k in np.unique(fold):
        rows = fold == k
        y[rows] -= y[rows].mean()
        z[rows] -= z[rows].mean(axis=0)
    nothing = Stack(np.zeros(z.shape[1]), 0.0, 0.0)
    scale = z.std(axis=0)
    used = np.flatnonzero(scale > 1e-9)
    if used.size == 0:
        return nothing
    weights = np.zeros(z.shape[1])
    weights[used] = nnls(z[:, used] / scale[used], y)[0] / scale[used]
    index = z @ weights
    if not index.std() > 0:
        return nothing
    residual = y - index * (index @ y) / (index @ index)
    evidence = float((index @ y) ** 2 / ((index * residual) ** 2).sum())
    kept = max(0.0, 1.0 - threshold / evidence)
    return Stack(weights * kept, evidence, kept)
