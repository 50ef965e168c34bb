"""D-calibration: whether events are spread over the predicted survival as they should be (Haider et al. 2020).

If predictions are right, the predicted survival at the time of the event is uniform: as many patients fail while their
curve falls from 1 to 0.9 as from 0.9 to 0.8. Unlike calibration at a horizon this looks at the curve as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 10
LEAST = 10
"""Events in a bin; bins with fewer are merged with their neighbour."""
_TINY = 1e-9


@dataclass(frozen=True)
class DCalibration:
    """The test.

    Attributes
    ----------
    statistic, df, p_value
        Of the chi-squared test; None where fewer than two bins hold enough events.
    bins
        Bins left after merging.
    spread
        Share of the patients that is spread over bins and not observed in one.
    """

    statistic: float | None
    df: int | None
    p_value: float | None
    bins: int
    spread: float


def d_calibration(time: np.ndarray, event: np.ndarray, survival: np.ndarray, tau: float) -> DCalibration:
    """Test of D-calibration up to tau.

    A patient with the event counts in the bin of the predicted survival at it, `S_i(T_i)`. One who is censored with
    `s = S_i(T_i)` would have failed later, anywhere between s and 0: his one count is spread evenly over that range.
    Patients event-free at tau are censored there. Under right predictions each bin expects its width times n, whatever
    the censoring (that does not depend on the outcome given the predictions).

    Haider et al. compare with Pearson's statistic as if every count had been observed; spread counts vary less, so that
    test rejects too seldom. Here the variance is that of the patients' own contributions `z_i`:
    `(N - n q)' (sum_i (z_i - q)(z_i - q)')^-1 (N - n q)`, q the widths, chi-squared with bins - 1 degrees of freedom.
    Bins are merged from the top until each holds `LEAST` events, as those that are never reached tell nothing. Power is
    low where most patients are censored.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    survival
        Shape `(n_patients,)`, predicted probability of being event-free at the end of the follow-up, cut at tau.
    tau
        Months.
    """
    failed = event & (time <= tau)
    s = np.clip(survival, _TINY, 1.0)
    spread = float(1.0 - failed.mean()) if len(time) else 1.0
    edges = _edges(s[failed])
    if len(edges) < 3:
        return DCalibration(None, None, None, len(edges) - 1, spread)
    parts = contributions(failed, s, edges)
    apart = (parts - np.diff(edges))[:, 1:]  # one bin follows from the others
    total, variance = apart.sum(axis=0), apart.T @ apart
    return _test(total, variance, len(edges) - 1, spread)


def contributions(failed: np.ndarray, survival: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """What each patient adds to each bin, shape `(n_patients, n_bins)`; rows add up to 1.

    Parameters
    ----------
    failed
        Shape `(n_patients,)`, True = observed to fail.
    survival
        Shape `(n_patients,)`, above 0.
    edges
        Shape `(n_bins + 1,)`, from 0 to 1.
    """
    s = survival[:, None]
    below = np.clip(s - edges[:-1], 0.0, np.diff(edges)) / s
    own = (s > edges[:-1]) & (s <= edges[1:])
    return np.where(failed[:, None], own.astype(np.float64), below)


def _edges(survival: np.ndarray) -> np.ndarray:
    """Edges of bins that hold enough events each, 0 to 1."""
    counts = np.histogram(np.ceil(survival * BINS), np.arange(0.5, BINS + 1))[0]
    edges, held = [1.0], 0
    for k in range(BINS - 1, -1, -1):
        held += int(counts[k])
        if held >= LEAST:
            edges.append(k / BINS)
            held = 0
    # What is left at the bottom joins the bin above it.
    edges[-1] = 0.0 if len(edges) > 1 else edges[-1]
    return np.array(edges[::-1] if len(edges) > 1 else [0.0, 1.0])


def _test(total: np.ndarray, variance: np.ndarray, bins: int, spread: float) -> DCalibration:
    from scipy.stats import chi2

    if np.linalg.matrix_rank(variance, hermitian=True) < len(total):
        return DCalibration(None, None, None, bins, spread)
    statistic = float(total @ np.linalg.solve(variance, total))
    return DCalibration(statistic, len(total), float(chi2.sf(statistic, len(total))), bins, spread)
