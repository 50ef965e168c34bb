"""Cox regression on clinical columns and penalised blocks of omics, chosen inside the training patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.survival.cox import CoxError, CoxModel, fit_cox, independent_columns, with_baseline
from stratiome.survival.cox_path import (
    FINE,
    event_terms,
    follow_path,
    largest_penalty,
    stratified_folds,
    within_range,
)

PENALTIES = 40
SMALLEST_PENALTY, SMALLEST_PENALTY_WIDE = 0.02, 0.05
"""Smallest penalty of a path as a share of the largest, with more patients than columns and with fewer.

Near its end a wide model keeps almost as many columns as there are events; that costs most of the time for nothing.
`ElasticNet.at_end` tells where the path was too short.
"""

REPEATS = 2
"""Draws of the inner folds: the first chooses among the candidates, all of them judge the one chosen.

One draw is noisy with a hundred events, and the best of many candidates looks better than it is in the draw that chose
it.
"""

ERRORS = 1.0
"""Standard errors by which omics must beat the clinical model in left-out training patients to be used."""

# A path is first followed to here, and to its end only where the best penalty is among the last few.
_SHALLOW, _LAST_FEW = 16, 4


@dataclass(frozen=True)
class ElasticNet:
    """A fitted Cox model with penalised blocks.

    Attributes
    ----------
    model
        Coefficients and baseline; clinical columns, then those of the blocks, on the scale of the input.
    penalties
        Penalty of the columns of each block; None where the block was left out.
    chosen
        Columns of each block with a coefficient that is not zero.
    gain, error
        Cross-validated log partial likelihood above that of the clinical model of the best penalties, and its standard
        error over events; these decide whether omics are used.
    folds
        Inner folds used, in each repeat.
    free
        Whether each clinical column has a coefficient of its own; else all follow the ridge fit of the clinical model.
    at_end
        Whether the smallest penalty of the path was chosen.
    """

    model: CoxModel
    penalties: tuple[float | None, ...]
    chosen: tuple[int, ...]
    gain: float
    error: float
    folds: int
    free: bool
    at_end: bool


@dataclass(frozen=True)
class _Own:
    """What the clinical columns are in some rows.

    Attributes
    ----------
    basis
        Shape `(n_clinical, n_unpenalised)`, the unpenalised columns as linear combinations of the clinical ones.
    coefficients
        Shape `(n_clinical,)`, those of the clinical model.
    free
        Whether the basis is the clinical columns themselves.
    """

    basis: np.ndarray
    coefficients: np.ndarray
    free: bool

    @classmethod
    def fit(cls, clinical: np.ndarray, time: np.ndarray, event: np.ndarray) -> _Own:
        """Clinical columns, or the one score of their ridge fit where the plain fit does not exist.

        Unpenalised, a column that separates would run away; with the penalty of the omics, the clinical model would be
        lost among thousands of columns.
        """
        width = clinical.shape[1]
        if independent_columns(clinical).size == 0:
            return cls(np.zeros((width, 0)), np.zeros(width), True)
        fitted = fit_cox(clinical, time, event)
        if fitted.standard_errors is None:
            score = clinical @ fitted.coefficients
            if fit_cox(score[:, None], time, event).standard_errors is None:
                raise CoxError("the clinical columns separate patients with and without events perfectly")
            return cls(fitted.coefficients[:, None], fitted.coefficients, False)
        return cls(np.delete(np.eye(width), fitted.aliased, axis=1), fitted.coefficients, True)


@dataclass(frozen=True)
class _Split:
    """Patients left out, the clinical model without them, and its terms `(n_events,)` of the criterion."""

    held: np.ndarray
    own: _Own
    terms: np.ndarray


@dataclass(frozen=True)
class _Candidate:
    """Penalties in fixed proportions.

    Attributes
    ----------
    factors
        Shape `(n_blocks,)`, factor of each block; infinite where it is left out.
    penalties
        Shape `(n_penalties,)`, falling; what a column of factor 1 has.
    gains
        Shape `(n_penalties, n_events)`, criterion above that of the clinical model, by event.
    """

    factors: np.ndarray
    penalties: np.ndarray
    gains: np.ndarray

    @property
    def best(self) -> int:
        """Position of the best penalty, the largest of equals."""
        return int(np.argmax(self.gains.sum(axis=1)))

    @property
    def gain(self) -> float:
        """Gain at the best penalty."""
        return float(self.gains[self.best].sum())

    @property
    def error(self) -> float:
        """Standard error of that gain: terms of a partial likelihood are uncorrelated over events."""
        terms = self.gains[self.best]
        return float(np.sqrt(len(terms)) * terms.std(ddof=1))


@dataclass(frozen=True)
class _Problem:
    """Training patients, their clinical model, and the inner splits of each draw."""

    clinical: np.ndarray
    blocks: tuple[np.ndarray, ...]
    time: np.ndarray
    event: np.ndarray
    l1_ratio: float
    own: _Own
    draws: tuple[tuple[_Split, ...], ...]

    def candidates(self) -> list[_Candidate]:
        """All blocks alike, each block alone, and blocks in proportion to what each took alone."""
        filled = np.array([block.shape[1] > 0 for block in self.blocks])
        found = self._tried(np.where(filled, 1.0, np.inf))
        if filled.sum() < 2:
            return found
        own = np.full(len(filled), np.inf)
        for m in np.flatnonzero(filled):
            for alone in self._tried(np.where(np.arange(len(filled)) == m, 1.0, np.inf)):
                found.append(alone)
                if alone.gain > 0:
                    own[m] = alone.penalties[alone.best]
        return found + (self._tried(own) if np.isfinite(own).sum() > 1 else [])

    def _tried(self, factors: np.ndarray) -> list[_Candidate]:
        """The candidate with these factors; none where its path breaks down at once."""
        x, factor = self._design(self.own, factors)
        ratio = SMALLEST_PENALTY if x.shape[0] > x.shape[1] else SMALLEST_PENALTY_WIDE
        try:
            largest = largest_penalty(x, self.time, self.event, factor, self.l1_ratio)
            penalties = largest * np.geomspace(1.0, ratio, PENALTIES)
            gains = self._gains(factors, penalties[:_SHALLOW], self.draws[0])
            if len(gains) == _SHALLOW and np.argmax(gains.sum(axis=1)) >= _SHALLOW - _LAST_FEW:
                gains = self._gains(factors, penalties, self.draws[0])
        except CoxError:
            return []
        return [_Candidate(factors, penalties[: len(gains)], gains)]

    def judged(self, chosen: _Candidate) -> _Candidate:
        """The candidate by all draws, at the penalties it was chosen from."""
        gains = [chosen.gains, *(self._gains(chosen.factors, chosen.penalties, draw) for draw in self.draws[1:])]
        reached = min(len(g) for g in gains)
        return _Candidate(chosen.factors, chosen.penalties[:reached], np.mean([g[:reached] for g in gains], axis=0))

    def _design(self, own: _Own, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Columns in use, clinical ones first, and the penalty factor of each."""
        used = np.flatnonzero(np.isfinite(factors))
        x = np.column_stack([self.clinical @ own.basis, *(self.blocks[m] for m in used)])
        widths = [own.basis.shape[1], *(self.blocks[m].shape[1] for m in used)]
        return x, np.repeat([0.0, *factors[used]], widths)

    def _gains(self, factors: np.ndarray, penalties: np.ndarray, splits: tuple[_Split, ...]) -> np.ndarray:
        """Criterion above that of the clinical model, shape `(n_reached, n_events)`."""
        total = np.zeros((len(penalties), int(self.event.sum())))
        for split in splits:
            rest = ~split.held
            x, factor = self._design(split.own, factors)
            found = follow_path(x[rest], self.time[rest], self.event[rest], factor, self.l1_ratio, penalties)
            own = split.own.basis.shape[1]
            x[:, own:] = within_range(x[:, own:], rest)
            terms = event_terms(x @ found, self.time, self.event, split.held)
            total = total[: len(terms)] + terms[: len(total)] - split.terms
        return total

    def coefficients(self, chosen: _Candidate) -> np.ndarray:
        """Coefficients of all columns at the best penalty."""
        x, factor = self._design(self.own, chosen.factors)
        penalties = chosen.penalties[: chosen.best + 1]
        found = follow_path(x, self.time, self.event, factor, self.l1_ratio, penalties, FINE)[:, -1]
        own = self.own.basis.shape[1]
        parts, start = [self.own.basis @ found[:own]], own
        for block, factor_of_block in zip(self.blocks, chosen.factors, strict=True):
            width = block.shape[1] if np.isfinite(factor_of_block) else 0
            parts.append(found[start : start + width] if width else np.zeros(block.shape[1]))
            start += width
        return np.concatenate(parts)


def fit_elastic_net(
    clinical: np.ndarray,
    blocks: tuple[np.ndarray, ...],
    time: np.ndarray,
    event: np.ndarray,
    *,
    l1_ratio: float,
    inner_folds: int,
    rng: np.random.Generator,
) -> ElasticNet:
    """Unpenalised clinical columns and blocks of omics with penalties of their own, or the clinical model alone.

    Candidates are all blocks with the same penalty, each block alone, and all blocks in proportion to the penalty each
    took alone, blocks that gained nothing left out (penalty factors by block: IPF-lasso, Boulesteix et al. 2017); each
    along a path (Simon et al. 2011, Breslow ties, by scikit-survival). The best has the largest `sum_k l(b_-k) -
    l_-k(b_-k)`, with `l` the log partial likelihood of all patients, `l_-k` that without fold k and `b_-k` the
    coefficients without fold k (Verweij & van Houwelingen 1993); columns of patients left out are held within the range
    of the others. Its penalty is chosen again by the mean of `REPEATS` draws of the folds. It is used if that mean is
    above the clinical model, fitted anew without each fold, by more than `ERRORS` standard errors of the difference
    (the one-standard-error rule of Breiman et al. 1984, here between models only: along the path it costs accuracy);
    else the result is the clinical model.

    Where the plain fit of the clinical columns does not exist, they enter as one unpenalised score, the linear
    predictor of their ridge fit (as the first block of priority-lasso, Klau et al. 2018, with a coefficient).

    Parameters
    ----------
    clinical
        Shape `(n_patients, n_clinical)`, finite; may have no column.
    blocks
        Of shape `(n_patients, n_columns)` each, standardised, finite, no constant column; at least one has a column.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    l1_ratio
        Share of the lasso in the penalty.
    inner_folds
        Most folds, stratified by event; fewer where events are fewer.
    rng
        Source of the folds.

    Raises
    ------
    CoxError
        If every path breaks down at its largest penalty, the clinical columns separate patients even with a ridge
        penalty, or fewer than two events could be split.
    """
    draws = []
    for _ in range(REPEATS):
        fold = stratified_folds(event, inner_folds, rng)
        draws.append(tuple(_split(clinical, time, event, fold == k) for k in range(int(fold.max()) + 1)))
    own = _Own.fit(clinical, time, event)
    problem = _Problem(clinical, blocks, time, event, l1_ratio, own, tuple(draws))
    found = problem.candidates()
    if not found:
        raise CoxError("the elastic-net path did not converge at its largest penalty")
    best = problem.judged(max(found, key=lambda candidate: candidate.gain))
    ends = np.cumsum([clinical.shape[1], *(block.shape[1] for block in blocks)])
    coefficients = np.concatenate([own.coefficients, np.zeros(ends[-1] - ends[0])])
    used = best.gain > ERRORS * best.error
    if used:
        coefficients = problem.coefficients(best)
        used = bool((coefficients[ends[0] :] != 0).any())
    chosen = tuple(int((c != 0).sum()) for c in np.split(coefficients, ends[:-1])[1:])
    penalty = best.penalties[best.best] * best.factors
    return ElasticNet(
        model=with_baseline(np.column_stack([clinical, *blocks]), time, event, coefficients),
        penalties=tuple(float(p) if used and np.isfinite(p) else None for p in penalty),
        chosen=chosen,
        gain=best.gain,
        error=best.error,
        folds=len(draws[0]),
        free=own.free,
        at_end=used and best.best == PENALTIES - 1,
    )


def _split(clinical: np.ndarray, time: np.ndarray, event: np.ndarray, held: np.ndarray) -> _Split:
    own = _Own.fit(clinical[~held], time[~held], event[~held])
    return _Split(held, own, event_terms((clinical @ own.coefficients)[:, None], time, event, held)[0])
