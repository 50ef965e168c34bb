"""Are patients who they are said to be? Duplicates, omics that do not fit together, and recorded sex against genes.

Concordance. Where two omics measure the same genes (copy number and expression above all), a patient's values of one
predict those of the other. Genes are turned to normal scores over the patients, which removes the mean profile and
tames tails; each gene is weighted by r / (1 - r^2) of its correlation r between the omics, learned on other patients
and shrunk; the main factors of what the first omic leaves unexplained in the second, learned on other patients whose
values belong together, are removed from both. The fit of patient i is the cosine of predicted and observed profile, in
SDs above its fit to the profiles of other patients: about standard normal for a patient with somebody else's values,
and around an expected fit, which rises with how much the genome has changed, for all others. So the cut below which a
patient is flagged has a known rate of false alarms. How many mistaken patients it finds is counted on swaps planted
among the patients at hand (compare MixupMapper, Westra et al. 2011).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from stratiome import omics
from stratiome.cohort.sex_genes import FEMALE_GENES, MALE_GENES
from stratiome.cohort.store import StoredOmic

logger = logging.getLogger(__name__)

COMPARED = ("copy_number", "counts", "expression", "protein")
"""Kinds whose values are compared gene by gene, the ones that predict first."""

MIN_PATIENTS = 40
"""Patients with both omics below which concordance is not judged."""

MIN_GENES = 10
"""Shared genes with an effect below which concordance is not judged."""

LEARN = 2000
"""Patients on which genes and factors are chosen, evenly spread over the cohort."""

MAX_GENES = 1000
"""Genes used, those of the strongest correlation or variance."""

REFERENCE = 400
"""Other patients whose profiles a patient is compared with."""

FOLDS = 5
FACTORS, PATIENTS_PER_FACTOR = 10, 5
"""Factors removed at most, and patients (and genes) to learn from that each needs."""

MIN_Z = 3.0
"""Correlation of a gene between omics, in standard errors, from which it counts as an effect."""

FOUND, FALSE_ALARMS = 0.99, 0.002
"""Share of mistaken patients that the cut is to find, and share of right ones that it may flag at most."""

PLANTED, PLANTED_AT_ONCE, PLANTED_SHARE = 100, 4, 0.02
"""Swapped patients planted at least to count how many are found, and at once: at least, and as a share of all."""

PARTNER_LEVEL = 0.01
"""Chance that a patient's best other fit is named although nobody's values belong to the patient."""

MAX_PATIENTS_PAIRED = 200_000
"""Patients above which only identical profiles are sought: time grows with the square."""

PROJECTED = 128
MAX_CANDIDATES = 1_000_000
PIECE = 256

MIN_OF_A_SEX = 5
MIN_SEX_SEPARATION = 3.0
"""Difference of the medians of women and men, in robust SDs, from which genes are taken to tell them apart."""


@dataclass(frozen=True)
class Findings:
    """Rows of contracts `QualityIdentity` and `QualityIdentitySummary`."""

    rows: list[dict[str, Any]]
    summary: list[dict[str, Any]]

    @staticmethod
    def joined(parts: list[Findings]) -> Findings:
        """All rows of several checks."""
        return Findings([r for p in parts for r in p.rows], [s for p in parts for s in p.summary])


def check_identity(
    stored: tuple[StoredOmic, ...], duplicate: float, sex: dict[str, bool] | None, seed: int
) -> Findings:
    """Run every check that the omics allow.

    Parameters
    ----------
    stored
        The omics.
    duplicate
        Correlation from which two patients may be one.
    sex
        Patient -> whether recorded as a woman, of the patients with a record; None = no check.
    seed
        Seed of the random projections and of the planted swaps.
    """
    parts = [find_duplicates(omic, duplicate, seed) for omic in stored]
    comparable = sorted((o for o in stored if o.kind in COMPARED), key=lambda o: (COMPARED.index(o.kind), o.name))
    pairs = [(a, b) for a, b in combinations(comparable, 2) if set(a.features) & set(b.features)]
    parts += [check_concordance(a, b, seed) for a, b in pairs]
    if sex is not None:
        parts += [check_sex(omic, sex) for omic in stored if omic.kind in ("counts", "expression")]
    return Findings.joined(parts)


# ---- concordance between omics ---------------------------------------------------------------------------------------


def check_concordance(first: StoredOmic, second: StoredOmic, seed: int = 0) -> Findings:
    """Flag patients whose profile of the second omic does not fit that of the first.

    The share found is counted on swaps planted at random, from `seed`, among the patients not flagged.
    Memory grows with patients times `MAX_GENES`; matrices are read in pieces.
    """
    scope = f"{first.name} + {second.name}"
    genes = sorted(set(first.features) & set(second.features))
    patients = sorted(set(first.patient_ids) & set(second.patient_ids))
    n = len(patients)
    if n < MIN_PATIENTS:
        return _not_judged("concordance", scope, n, len(genes), f"fewer than {MIN_PATIENTS} patients have both")
    if len(genes) < MIN_GENES:
        return _not_judged("concordance", scope, n, len(genes), f"fewer than {MIN_GENES} genes in both")
    genes = _strongest_genes(first, second, patients, genes)
    a = _normal_scores(_gather(first, patients, genes))
    b = _normal_scores(_gather(second, patients, genes))
    fit = _fit(a, b)
    if fit is None:
        note = (
            f"fewer than {MIN_GENES} shared genes of one follow those of the other; if they should, the patients of "
            "one of them may be mixed up altogether"
        )
        return _not_judged("concordance", scope, n, len(genes), note)
    cut, false_alarms = _cuts(fit)
    flagged = np.flatnonzero(fit.own < cut)
    found = _share_found(a, b, flagged, seed)
    rows = []
    for i in flagged:
        other = int(fit.best[i])
        whose = f"those of `{second.name}` fit {patients[other]} better" if other >= 0 else "nobody's fit stands out"
        rows.append(
            {
                "check": "concordance",
                "scope": scope,
                "patient_id": patients[i],
                "partner": patients[other] if other >= 0 else None,
                "score": float(fit.own[i]),
                "note": f"values do not belong together (fit {fit.expected[i]:.1f} expected); {whose}",
            }
        )
    note = "" if found >= 0.8 else "the genes tell patients apart too poorly to find most mistakes"
    summary = _summary("concordance", scope, n, fit.genes, len(flagged), note, found, false_alarms)
    if len(flagged):
        logger.warning("%s: %d of %d patients have values that do not belong together", scope, len(flagged), n)
    return Findings(rows, [summary])


@dataclass
class _Fit:
    """Fit of each patient, arrays of shape `(n_patients,)`.

    `own` is the fit to the own profile and `expected` what it is in patients alike, `spread` the SD around it; `best`
    is the patient whose profile fits best beyond chance, -1 = nobody; `genes` is the median number of genes used.
    """

    own: np.ndarray
    expected: np.ndarray
    spread: float
    best: np.ndarray
    genes: int


def _strongest_genes(first: StoredOmic, second: StoredOmic, patients: list[str], genes: list[str]) -> list[str]:
    if len(genes) <= MAX_GENES:
        return genes
    some = _spread(patients, LEARN)
    r = (_normal_scores(_gather(first, some, genes)) * _normal_scores(_gather(second, some, genes))).mean(axis=0)
    return [genes[j] for j in np.sort(np.argsort(-np.abs(r), kind="stable")[:MAX_GENES])]


def _fit(a: np.ndarray, b: np.ndarray) -> _Fit | None:
    """Fit of scores of the same patients and genes, shapes `(n_patients, n_genes)`; None without genes that count."""
    fold = np.arange(len(a)) % FOLDS
    weights = _weights(a, b, fold)
    if weights is None:
        return None
    factors = _factors(a, b, fold, weights)
    own, amount, best = _scored(a, b, fold, weights, factors)
    expected, spread = _expected(own, amount)
    return _Fit(own, expected, spread, best, int(np.median((weights != 0).sum(axis=1))))


def _weights(a: np.ndarray, b: np.ndarray, fold: np.ndarray) -> np.ndarray | None:
    """Shrunk correlation r of each gene outside each fold, shape `(FOLDS, n_genes)`; None where too few count."""
    products = np.array([(a[fold == f] * b[fold == f]).sum(axis=0, dtype=np.float64) for f in range(FOLDS)])
    others = (len(a) - np.bincount(fold, minlength=FOLDS))[:, None]
    r = np.clip((products.sum(axis=0) - products) / others, -0.95, 0.95)
    if ((np.abs(r) * np.sqrt(others) > MIN_Z).sum(axis=1) < MIN_GENES).any():
        return None
    shrunk: np.ndarray = r * np.maximum(0.0, 1 - 1 / np.maximum(others * r**2, 1e-9))  # by its variance of chance
    return shrunk


def _scored(
    a: np.ndarray, b: np.ndarray, fold: np.ndarray, correlation: np.ndarray, factors: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Own fit, length of the prediction and best fit of each patient, arrays of shape `(n_patients,)`.

    `correlation` has shape `(FOLDS, n_genes)`; `factors` are orthonormal directions `(n_genes, n_factors)` of each
    fold, which are removed from both profiles.
    """
    n = len(a)
    reference = np.unique(np.linspace(0, n - 1, min(REFERENCE, n)).astype(int))
    own, amount, best = np.zeros(n), np.zeros(n), np.full(n, -1)
    chance = stats.norm.isf(PARTNER_LEVEL / n)
    for f in range(FOLDS):
        weight = (correlation[f] / (1 - correlation[f] ** 2)).astype(np.float32)
        # What is predicted is orthogonal to the factors, so that they need to leave only the lengths of `b`.
        left = (b**2).sum(axis=1) - ((b @ factors[f]) ** 2).sum(axis=1)
        length = np.sqrt(np.maximum(left, 1e-12))
        rows = np.flatnonzero(fold == f)
        for part in np.array_split(rows, max(1, len(rows) // PIECE)):
            predicted = a[part] * weight
            predicted = predicted - (predicted @ factors[f]) @ factors[f].T
            amount[part] = np.linalg.norm(predicted, axis=1)
            predicted = _unit(predicted)
            to_others = predicted @ b[reference].T / length[reference]
            to_others[part[:, None] == reference] = np.nan
            mean, sd = np.nanmean(to_others, axis=1), np.nanstd(to_others, axis=1)
            sd = np.where(sd > 0, sd, 1.0)
            own[part] = ((predicted * b[part]).sum(axis=1) / length[part] - mean) / sd
            doubtful = np.flatnonzero(own[part] < chance)
            if len(doubtful):
                fits = (predicted[doubtful] @ b.T / length - mean[doubtful, None]) / sd[doubtful, None]
                highest = fits.argmax(axis=1)
                named = (fits.max(axis=1) > chance) & (highest != part[doubtful])
                best[part[doubtful[named]]] = highest[named]
    return own, amount, best


def _factors(a: np.ndarray, b: np.ndarray, fold: np.ndarray, correlation: np.ndarray) -> list[np.ndarray]:
    """Main directions of the second omic given the first, `(n_genes, n_factors)` orthonormal, for each fold.

    They come from the patients outside the fold whose values belong together judged without factors: in a small cohort
    the patients with somebody else's values are themselves the main directions, and would vanish with them.
    """
    from sklearn.utils.extmath import randomized_svd

    some = np.unique(np.linspace(0, len(a) - 1, min(LEARN, len(a))).astype(int))
    a, b, fold = a[some], b[some], fold[some]
    none = [np.zeros((a.shape[1], 0), dtype=np.float32)] * FOLDS
    own, amount, _ = _scored(a, b, fold, correlation, none)
    fitting = _fitting(own, amount)
    directions = []
    for f in range(FOLDS):
        rows = fitting & (fold != f)
        rest = b[rows] - a[rows] * correlation[f].astype(np.float32)
        count = min(FACTORS, min(rest.shape) // PATIENTS_PER_FACTOR)
        directions.append(randomized_svd(rest, count, random_state=0)[2].T if count else none[f])
    return directions


def _fitting(own: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Patients whose values belong together beyond doubt."""
    expected, spread = _expected(own, amount)
    return (own > stats.norm.ppf(FOUND)) & (own > expected - 2 * spread)


def _expected(own: np.ndarray, amount: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit that patients with as much to predict from have, and the SD around it; robust to a few mistaken ones."""
    from sklearn.linear_model import HuberRegressor

    x = ((amount - amount.mean()) / (amount.std() or 1.0))[:, None]
    model = HuberRegressor(epsilon=1.35, max_iter=1000).fit(x, own)
    expected = np.maximum(model.predict(x), 0.0)
    spread = 1.4826 * float(np.median(np.abs(own - expected - np.median(own - expected))))
    return expected, max(spread, 1.0)


def _cuts(fit: _Fit) -> tuple[np.ndarray, float]:
    """Fit below which each patient is flagged, and the share of right patients expected below it.

    The cut finds `FOUND` of the mistaken patients where that flags fewer than `FALSE_ALARMS` of the right ones, and
    keeps to the latter where the genes tell less.
    """
    cut = np.minimum(stats.norm.ppf(FOUND), fit.expected + stats.norm.ppf(FALSE_ALARMS) * fit.spread)
    return cut, float(stats.norm.cdf((cut - fit.expected) / fit.spread).mean())


def _share_found(a: np.ndarray, b: np.ndarray, flagged: np.ndarray, seed: int) -> float:
    """Share of mistaken patients that are flagged when some patients get each other's values.

    Those `flagged` are left out, and at least as large a share as they were is planted. Everything but the choice of
    genes is learned anew each time. Of a large cohort `LEARN` patients are taken. One patient more is counted as
    missed, so that the share never is 1.
    """
    right = np.setdiff1d(np.arange(len(a)), flagged)
    share = max(PLANTED_SHARE, len(flagged) / len(a))
    right = right[np.unique(np.linspace(0, len(right) - 1, min(LEARN, len(right))).astype(int))]
    at_once = max(PLANTED_AT_ONCE, round(share * len(right)))
    if at_once > len(right):
        return 0.0
    a, b = a[right], b[right]
    rng = np.random.default_rng(seed)
    found = planted = 0
    while planted < PLANTED:
        moved = rng.choice(len(a), at_once, replace=False)
        mistaken = b.copy()
        mistaken[moved] = b[np.roll(moved, 1)]
        fit = _fit(a, mistaken)
        if fit is not None:
            found += int((fit.own < _cuts(fit)[0])[moved].sum())
        planted += at_once
    return found / (planted + 1)


# ---- duplicates ------------------------------------------------------------------------------------------------------


def find_duplicates(omic: StoredOmic, limit: float, seed: int) -> Findings:
    """Pairs of patients whose profiles of one omic are practically the same.

    Profiles of the most variable features, standardised over the patients, are projected on `PROJECTED` random
    directions, which keeps correlations to about 1 / sqrt(128); near pairs are then compared in full. The limit rises
    where so few directions vary that unrelated patients would reach it by chance.
    """
    n, p = len(omic.patient_ids), len(omic.features)
    chosen, mean, sd, levels, zeros, limit = _variable_features(omic, limit)
    if len(chosen) < MIN_GENES or levels <= 10:
        return _not_judged("duplicate", omic.name, n, len(chosen), "too few values to tell patients apart")
    if zeros > 0.5:  # patients who have nothing but zeros in common would look the same
        return _not_judged("duplicate", omic.name, n, len(chosen), "more than half of the values are zero")
    if n > MAX_PATIENTS_PAIRED:
        note = f"more than {MAX_PATIENTS_PAIRED:,} patients: only copies are sought, see the quality table of the omic"
        return _not_judged("duplicate", omic.name, n, p, note)
    profiles = (_gather(omic, list(omic.patient_ids), [omic.features[j] for j in chosen]) - mean) / sd
    profiles = np.clip(profiles, -8, 8)
    rows = []
    for i, j, r in _close_pairs(profiles, limit, seed):
        for one, other in ((i, j), (j, i)):
            rows.append(
                {
                    "check": "duplicate",
                    "scope": omic.name,
                    "patient_id": omic.patient_ids[one],
                    "partner": omic.patient_ids[other],
                    "score": r,
                    "note": f"practically the same values (limit {limit:.3f})",
                }
            )
    flagged = len({row["patient_id"] for row in rows})
    if flagged:
        logger.warning("%s: %d patients have practically the values of another patient", omic.name, flagged)
    return Findings(rows, [_summary("duplicate", omic.name, n, len(chosen), flagged, "")])


def _variable_features(omic: StoredOmic, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, float, float]:
    """Features to compare, their means and SDs, the number of values, the share of zeros, and the limit."""
    some = _gather(omic, _spread(list(omic.patient_ids), LEARN), list(omic.features))
    levels = len(np.unique(some[np.isfinite(some)][:100_000]))
    seen = np.isfinite(some).mean(axis=0) > 0.5
    filled = np.where(np.isfinite(some), some, 0.0)
    count = np.maximum(np.isfinite(some).sum(axis=0), 1)
    mean = filled.sum(axis=0, dtype=np.float64) / count
    variance = (np.where(np.isfinite(some), some - mean, 0.0) ** 2).sum(axis=0, dtype=np.float64) / count
    able = np.flatnonzero(seen & (variance > 1e-10 * (1 + mean**2)))
    chosen = np.sort(able[np.argsort(-variance[able], kind="stable")[:MAX_GENES]])
    mean, sd = mean[chosen].astype(np.float32), np.sqrt(variance[chosen]).astype(np.float32)
    profiles = np.clip(np.nan_to_num((some[:, chosen] - mean) / sd), -8, 8)
    # Independent directions: (sum of eigenvalues)^2 / sum of their squares.
    gram = profiles @ profiles.T if len(profiles) < profiles.shape[1] else profiles.T @ profiles
    total = float(np.trace(gram))
    directions = total**2 / float((gram.astype(np.float64) ** 2).sum()) if total > 0 else 1.0
    n = max(len(omic.patient_ids), 2)
    chance = np.tanh(stats.norm.isf(0.01 / (n * (n - 1) / 2)) / np.sqrt(max(directions - 3, 1e-3)))
    known = np.isfinite(some[:, chosen])
    zeros = float((some[:, chosen] == 0).sum() / max(known.sum(), 1))
    return chosen, mean, sd, levels, zeros, float(min(max(limit, chance), 1 - 1e-6))


def _close_pairs(profiles: np.ndarray, limit: float, seed: int) -> Iterator[tuple[int, int, float]]:
    """Rows whose cosine over the features known of both reaches the limit; at least half of them must be."""
    n, p = profiles.shape
    share = np.isfinite(profiles).mean(axis=1)
    short = _unit(np.nan_to_num(profiles))
    slack = 0.0
    if p > 2 * PROJECTED:
        rng = np.random.default_rng(seed)
        short = _unit(short @ rng.standard_normal((p, PROJECTED), dtype=np.float32))
        slack = 5 * (1 - limit**2) / np.sqrt(PROJECTED)
    seen = 0
    for start in range(0, n, PIECE):
        part = slice(start, start + PIECE)
        # What one of both lacks counts as zero here and lowers the cosine by the root of its share.
        near = short[part] @ short[start:].T >= (limit - slack - 1e-6) * np.sqrt(np.outer(share[part], share[start:]))
        first, second = np.nonzero(np.triu(near, 1))
        seen += len(first)
        if seen > MAX_CANDIDATES:
            logger.warning("more than %d close pairs of patients; the rest is not listed", MAX_CANDIDATES)
            return
        for i, j in zip(first + start, second + start, strict=True):
            known = np.isfinite(profiles[i]) & np.isfinite(profiles[j])
            if 2 * known.sum() < p:
                continue
            a, b = profiles[i, known], profiles[j, known]
            length = np.linalg.norm(a) * np.linalg.norm(b)
            r = float(a @ b / length) if length > 0 else 0.0
            if r >= limit:
                yield int(i), int(j), min(r, 1.0)


# ---- recorded sex ----------------------------------------------------------------------------------------------------


def check_sex(omic: StoredOmic, female: dict[str, bool]) -> Findings:
    """Flag patients whose sex-linked genes speak clearly for the other sex than the recorded one.

    Clear is: genes of the Y chromosome on in a recorded woman and XIST off (or not measured); XIST on in a recorded man
    and those of the Y off (or not measured). Tumours lose either, so silence alone proves nothing. On and off are told
    by the midpoint between the medians of recorded women and men.
    """
    scope = omic.name
    of_women = [g for g in FEMALE_GENES if g in omic.features]
    of_men = [g for g in MALE_GENES if g in omic.features]
    patients = [p for p in omic.patient_ids if p in female]
    n, genes = len(patients), of_women + of_men
    if not genes:
        return _not_judged("sex", scope, n, 0, "no sex-linked genes among the features")
    woman = np.array([female[p] for p in patients], dtype=bool)
    if min(woman.sum(), (~woman).sum()) < MIN_OF_A_SEX:
        return _not_judged("sex", scope, n, len(genes), f"fewer than {MIN_OF_A_SEX} patients of one sex")
    values = _gather(omic, patients, genes)
    # Positive = on, in units of half the difference between the sexes.
    xist = _on(values[:, : len(of_women)], woman) if of_women else None
    y = _on(values[:, len(of_women) :], ~woman) if of_men else None
    if (xist is None and y is None) or (of_women and xist is None) or (of_men and y is None):
        return _not_judged("sex", scope, n, len(genes), "sex-linked genes do not separate the recorded sexes")
    like_man = (y > 0 if y is not None else False) & (xist < 0 if xist is not None else True)
    like_woman = (xist > 0 if xist is not None else False) & (y < 0 if y is not None else True)
    wrong = np.flatnonzero(np.where(woman, like_man, like_woman))
    score = (xist if xist is not None else 0.0) - (y if y is not None else 0.0) + np.zeros(n)
    rows = [
        {
            "check": "sex",
            "scope": scope,
            "patient_id": patients[i],
            "partner": None,
            "score": float(score[i]),
            "note": f"recorded as {'a woman' if woman[i] else 'a man'}, genes of {'a man' if woman[i] else 'a woman'}; "
            "score: above zero = like women",
        }
        for i in wrong
    ]
    if len(wrong):
        logger.warning("%s: %d of %d patients have genes of the other sex than recorded", scope, len(wrong), n)
    note = "" if of_women and of_men else "only genes that are on in one sex: the other direction cannot be judged"
    return Findings(rows, [_summary("sex", scope, n, len(genes), len(wrong), note)])


def _on(values: np.ndarray, here: np.ndarray) -> np.ndarray | None:
    """How far genes are on, -1 and 1 at the medians of those without and with them; None where they do not differ."""
    ranked = stats.rankdata(values, axis=0, nan_policy="omit") / len(values)
    scaled = values if np.nanmax(np.abs(values)) < 50 else ranked  # z-scores with heavy tails
    level = np.nanmean(scaled, axis=1)
    low, high = np.nanmedian(level[~here]), np.nanmedian(level[here])
    spread = 1.4826 * max(np.nanmedian(np.abs(level[here] - high)), np.nanmedian(np.abs(level[~here] - low)))
    if not high - low > MIN_SEX_SEPARATION * max(spread, 1e-9):
        return None
    on: np.ndarray = np.nan_to_num((level - (low + high) / 2) / ((high - low) / 2))
    return on


# ---- shared ----------------------------------------------------------------------------------------------------------


def _gather(omic: StoredOmic, patients: list[str], features: list[str]) -> np.ndarray:
    """Scaled values of some patients (sorted) and features, float32; the matrix is read in pieces."""
    kind = omics.get(omic.kind, omic.unit)
    row = {patient: i for i, patient in enumerate(patients)}
    place = np.array([row.get(p, -1) for p in omic.patient_ids])
    column = {feature: j for j, feature in enumerate(omic.features)}
    columns = np.array([column[f] for f in features])
    found = np.empty((len(patients), len(features)), dtype=np.float32)
    for part, values in omic.rows():
        here = place[part]
        if (here >= 0).any():
            found[here[here >= 0]] = kind.scale(values[here >= 0])[:, columns]
    return found


def _normal_scores(values: np.ndarray) -> np.ndarray:
    """Each feature turned to normal scores of mean 0 and variance 1 over the patients, 0 where missing or constant."""
    scores = np.zeros(values.shape, dtype=np.float32)
    for start in range(0, values.shape[1], 64):
        part = values[:, start : start + 64]
        known = np.isfinite(part)
        ranks = stats.rankdata(np.where(known, part, np.inf), axis=0)  # missing ones rank last
        z = np.where(known, stats.norm.ppf((ranks - 0.5) / np.maximum(known.sum(axis=0), 1)), 0.0)
        z = np.where(known, z - z.sum(axis=0) / np.maximum(known.sum(axis=0), 1), 0.0)
        sd = np.sqrt((z**2).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
        scores[:, start : start + 64] = np.where(sd > 0, z / np.where(sd > 0, sd, 1.0), 0.0)
    return scores


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: np.ndarray = rows / np.where(length > 0, length, 1.0)
    return unit


def _spread(patients: list[str], most: int) -> list[str]:
    return [patients[i] for i in np.unique(np.linspace(0, len(patients) - 1, min(most, len(patients))).astype(int))]


def _summary(
    check: str,
    scope: str,
    n: int,
    features: int,
    flagged: int,
    note: str,
    found: float | None = None,
    false_alarms: float | None = None,
) -> dict[str, Any]:
    return {
        "check": check,
        "scope": scope,
        "n": n,
        "features": features,
        "flagged": flagged,
        "found": found,
        "false_alarms": false_alarms,
        "note": note,
    }


def _not_judged(check: str, scope: str, n: int, features: int, why: str) -> Findings:
    logger.info("%s of %s cannot be judged: %s", check, scope, why)
    return Findings([], [_summary(check, scope, n, features, 0, f"not judged: {why}")])
