"""What some columns of a linear score add on average, given the other columns."""

from __future__ import annotations

import numpy as np

PENALTIES = np.geomspace(1e-2, 1e4, 13)
"""Ridge penalties per patient that are tried."""


def expected_part(x: np.ndarray, own: np.ndarray, coefficients: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Weights and constant of the ridge regression of a part of a linear score on the columns outside it.

    For a patient in whom columns are not measured, the score is best filled with its mean given what is measured, not
    with its mean over all patients (conditional imputation when a prediction model is applied: Hoogland et al. 2020,
    Stat Med 39:3591); of a score that is linear, only this one number has to be filled. The penalty has the least
    leave-one-out error.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, of patients in whom the part is measured.
    own
        Shape `(n_columns,)`, True for the columns of the part.
    coefficients
        Shape `(n_columns,)`, of the score.

    Returns
    -------
    tuple or None
        Weights `(n_columns,)`, 0 for the columns of the part, and constant; None where the part adds nothing, or there
        is nothing to learn from.
    """
    from sklearn.linear_model import RidgeCV

    target = x[:, own] @ coefficients[own]
    others = np.flatnonzero(~own & (np.ptp(x, axis=0) > 0)) if len(x) > 1 else np.zeros(0, dtype=np.int64)
    if not len(others) or np.ptp(target) == 0:
        return None
    found = RidgeCV(alphas=len(x) * PENALTIES).fit(x[:, others], target)
    weights = np.zeros(x.shape[1])
    weights[others] = found.coef_
    return weights, float(found.intercept_)
