"""How many subgroups, if any: stability under subsampling against cohorts without subgroups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stratiome.config import SubgroupConfig
from stratiome.subgroups.agreement import adjusted_rand
from stratiome.subgroups.cluster import fit_mixture
from stratiome.subgroups.partition import partition

BOOTSTRAPS = 50
MIN_SPREAD = 0.01
"""Smallest standard deviation of the null stability; below it a standardised excess says nothing."""

TOLERANCE = 0.01
"""Difference in mean adjusted Rand index below which two numbers of subgroups are equally good."""

PRECISION = 5
"""Subsamples from which the number is chosen, for each one of the test."""

MIN_DRAWS = 9
"""Reference cohorts drawn even if nothing can be found any more, to show what is stable without subgroups."""

SLACK = 2
"""Extreme reference cohorts beyond those that decide before drawing ends early: the standardisation still moves."""

MIN_PER_GROUP = 10
"""Patients of a subsample per subgroup below which a number of subgroups is not considered."""


@dataclass(frozen=True)
class Selection:
    """Evidence for each number of subgroups, and the choice.

    Attributes
    ----------
    k
        Numbers considered, at least 2.
    stability
        Shape `(n_k,)`, mean adjusted Rand index between subsamples.
    null
        Shape `(n_draws, n_k)`, the same in reference cohorts; fewer draws than asked for where it was clear early that
        there are no subgroups.
    p_value
        Of the largest standardised excess over all k; 1 if none was considered.
    p_stable
        The same with stability below `min_stability` counted as none; this one decides.
    chosen
        The number of subgroups; 1 = none.
    """

    k: tuple[int, ...]
    stability: np.ndarray
    null: np.ndarray
    p_value: float
    p_stable: float
    chosen: int


def select_k(
    latents: np.ndarray, reference: Callable[[np.random.Generator], np.ndarray], settings: SubgroupConfig, seed: int
) -> Selection:
    """Choose the number of subgroups.

    For every k the cohort is clustered in subsamples and the clusterings compared on all patients (Ben-Hur, Elisseeff &
    Guyon 2002, Pac Symp Biocomput 7:6). A cohort without subgroups can be stable as well, so the same is done in
    reference cohorts without them (cf. Tibshirani, Walther & Hastie 2001, J R Stat Soc B 63:411). The test
    statistic is the largest excess over k, standardised by mean and standard deviation over all cohorts, the observed
    one among them, so that `(1 + #{reference >= observed}) / (draws + 1)` is one p-value for all k together (Westfall &
    Young 1993), exact if all cohorts are exchangeable under the null. What decides is the same p-value with stability
    under `min_stability` counted as no evidence: weak structure that any model finds in the patients it was trained on
    then cannot reject. Both are reported.

    If that one exceeds `alpha` there are no subgroups. Otherwise, among the k that reach `min_stability` and exceed the
    95th percentile of their null, the most stable is taken, or the largest k within `TOLERANCE` of it: two of three
    clear subgroups can merge as stably as three stay apart, but no third one splits off stably from two. (The excess
    over the null decides whether, not how many: the null of small k is more stable, which would favour large k.) The
    choice rests on `PRECISION` times the subsamples of the test: with the few that a test needs, one subsample with
    another optimum moves the mean by more than what the numbers differ by.

    Parameters
    ----------
    latents
        Shape `(n_train, n_latent)`, patients with at least one omic.
    reference
        Gives the latents of a new cohort without subgroups, shape `(n_train, n_latent)`.
    settings
        Numbers to consider, subsamples, reference draws and limits.
    seed
        Seed of subsamples and reference cohorts.
    """
    size = int(len(latents) * settings.subsample_fraction)
    ks = tuple(k for k in settings.k if k >= 2 and size >= MIN_PER_GROUP * k)
    if not ks or not latents.var(axis=0).sum() > 0:
        return Selection((), np.zeros(0), np.zeros((0, 0)), 1.0, 1.0, 1)
    tested = stability(latents, ks, settings, np.random.default_rng([seed, 0]))
    null = _draw_null(tested, reference, ks, settings, seed)
    p_value, p_stable = (max_statistic_p(tested, null, floor) for floor in (0.0, settings.min_stability))
    if p_stable > settings.alpha:
        return Selection(ks, tested, null, p_value, p_stable, 1)
    precise = settings.model_copy(update={"subsamples": PRECISION * settings.subsamples})
    observed = stability(latents, ks, precise, np.random.default_rng([seed, 4]))
    return Selection(ks, observed, null, p_value, p_stable, _most_stable(ks, observed, null, settings))


def _draw_null(
    tested: np.ndarray,
    reference: Callable[[np.random.Generator], np.ndarray],
    ks: tuple[int, ...],
    settings: SubgroupConfig,
    seed: int,
) -> np.ndarray:
    """Stability in reference cohorts, shape `(n_draws, n_k)`, drawn until it is clear that nothing will be found.

    Drawing ends early once so many reference cohorts are as extreme as the observed one that the final p-value would
    exceed `alpha` (cf. Besag & Clifford 1991, Biometrika 78:301). An early end never rejects, so the level stays.
    """
    allowed = int(settings.alpha * (settings.reference_draws + 1) + 1e-9) - 1
    null: list[np.ndarray] = []
    while len(null) < settings.reference_draws:
        rng = np.random.default_rng([seed, 1, len(null)])
        null.append(stability(reference(rng), ks, settings, rng))
        p_so_far = max_statistic_p(tested, np.array(null), settings.min_stability)
        if len(null) >= MIN_DRAWS and round(p_so_far * (len(null) + 1)) - 1 > allowed + SLACK:
            break
    return np.array(null)


def _most_stable(ks: tuple[int, ...], observed: np.ndarray, null: np.ndarray, settings: SubgroupConfig) -> int:
    """Largest k about as stable as the most stable one, among those that are stable beyond chance; 1 if none is."""
    good = (observed >= settings.min_stability) & (observed > np.quantile(null, 0.95, axis=0))
    if not good.any():
        return 1
    best = observed[good].max()
    return max(k for k, here, value in zip(ks, good, observed, strict=True) if here and value >= best - TOLERANCE)


def stability(
    latents: np.ndarray, ks: tuple[int, ...], settings: SubgroupConfig, rng: np.random.Generator
) -> np.ndarray:
    """Mean adjusted Rand index over all pairs of subsample clusterings, each extended to all patients, for every k.

    Parameters
    ----------
    latents
        Shape `(n_patients, n_latent)`.
    ks
        Numbers of subgroups, at least 2.
    settings
        Subsamples and their size.
    rng
        Source of subsamples and starts.
    """
    n = len(latents)
    size, draws = int(n * settings.subsample_fraction), settings.subsamples
    index = np.stack([np.sort(rng.permutation(n)[:size]) for _ in range(draws)])
    points = latents[index]
    first, second = np.triu_indices(draws, 1)
    found = []
    for k in ks:
        labels = partition(points, k, rng).labels(latents)
        member = (labels[:, None] == np.arange(k, dtype=labels.dtype)[:, None]).astype(np.float32).reshape(draws * k, n)
        tables = (member @ member.T).reshape(draws, k, draws, k)
        found.append(adjusted_rand(tables[first, :, second]).mean())
    return np.array(found)


def max_statistic_p(observed: np.ndarray, null: np.ndarray, floor: float) -> float:
    """P-value of the largest standardised excess over all columns.

    Parameters
    ----------
    observed
        Shape `(n_k,)`.
    null
        Shape `(n_draws, n_k)`.
    floor
        Stability below which no evidence is counted; if the observed one never reaches it, the p-value is 1.
    """
    everything = np.vstack([observed, null])
    # Where the floor holds nearly all, what is left of the spread is no measure of chance.
    spread = np.maximum(everything.std(axis=0), MIN_SPREAD)
    counted = np.maximum(everything, floor)
    largest = ((counted - counted.mean(axis=0)) / spread).max(axis=1)
    return float((1 + (largest[1:] >= largest[0]).sum()) / len(everything))


def bootstrap_jaccard(latents: np.ndarray, k: int, seed: int, labels: np.ndarray) -> np.ndarray:
    """Mean Jaccard index of each subgroup with its best match in bootstrap samples.

    Hennig 2007, Comput Stat Data Anal 52:258; compared on the patients of the bootstrap sample.

    Parameters
    ----------
    latents
        Shape `(n_train, n_latent)`.
    k
        Number of subgroups.
    seed
        Seed of the bootstraps.
    labels
        Shape `(n_train,)`, most probable subgroup from 1 to k.

    Returns
    -------
    numpy.ndarray
        Shape `(k,)`, NaN for a subgroup that is the most probable one of nobody.
    """
    n = len(latents)
    found = np.full((BOOTSTRAPS, k), np.nan)
    for b in range(BOOTSTRAPS):
        rng = np.random.default_rng([seed, 2, b])
        rows = np.sort(rng.integers(0, n, n))
        fitted = fit_mixture(latents[rows], k, [seed, 3, b], starts=5)
        unique = np.unique(rows)
        again = fitted.probabilities(latents[unique]).argmax(axis=1)
        before = labels[unique] - 1
        table = np.zeros((k, k))
        np.add.at(table, (before, again), 1)
        own = table.sum(axis=1)
        union = own[:, None] + table.sum(axis=0) - table
        best = (table / np.maximum(union, 1)).max(axis=1)
        found[b, own > 0] = best[own > 0]
    with np.errstate(invalid="ignore"):
        seen = np.isfinite(found).sum(axis=0)
        return np.where(seen > 0, np.nansum(found, axis=0) / np.maximum(seen, 1), np.nan)
