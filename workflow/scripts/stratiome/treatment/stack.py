"""One predicted effect out of several: weights by a doubly robust loss on patients left out, shrunk to the average."""

from __future__ import annotations

import numpy as np

WEIGHT_SD = 0.7
"""Standard deviation of weights before anything is seen; 0 leaves the average. Chosen by simulation (benchmarks)."""


def stack(contrast: np.ndarray, predicted: np.ndarray, fold: np.ndarray, spread: float = WEIGHT_SD) -> np.ndarray:
    """Non-negative weights of learners, shape `(n_learners,)`; all 0 = everybody has the average effect.

    The squared distance of contributions to predictions differs from that of true effects by a constant in expectation,
    so its minimiser is the best combination (doubly robust loss; van der Laan & Luedtke 2015, J Causal Inference 3:61;
    stacking with non-negative weights: Breiman 1996, Mach Learn 24:49). Weights are shrunk to 0 by a ridge (stacked
    regressions with one: LeBlanc & Tibshirani 1996, J Am Stat Assoc 91:1641) whose penalty is not chosen but given,
    `variance of contributions / spread^2`: they are the mode of the posterior under half-normal priors. A learner of
    which the contributions tell little gets little weight, whatever it predicts.

    Parameters
    ----------
    contrast
        Shape `(n_patients,)`, contributions to the average effect by models that have not seen the patient, months.
    predicted
        Shape `(n_patients, n_learners)`, effects by models that have not seen the patient, months.
    fold
        Shape `(n_patients,)`, whose models predicted; both are centred within, as those of different models differ in
        level.
    spread
        See `WEIGHT_SD`.
    """
    from scipy.optimize import nnls

    y, z = contrast.astype(np.float64).copy(), predicted.astype(np.float64).copy()
    for k in np.unique(fold):
        rows = fold == k
        y[rows] -= y[rows].mean()
        z[rows] -= z[rows].mean(axis=0)
    if not y.any():
        return np.zeros(z.shape[1])
    penalty = y.std() / spread * np.eye(z.shape[1])
    return np.asarray(nnls(np.vstack([z, penalty]), np.concatenate([y, np.zeros(z.shape[1])]))[0], dtype=np.float64)
