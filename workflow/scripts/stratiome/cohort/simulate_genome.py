"""Copy number with known truth, and what follows it: dosage, sex-linked genes, swapped samples.

Genes lie in order on `ARMS` chromosome arms. The calls of an arm are a liability cut at thresholds, so that its gains
and losses recur, differ between subgroups and share factors with other omics as any simulated feature does; short focal
events are laid over it. A gene that follows its copy number rises by its slope for each call. With the default slope
the correlation of calls with expression is about 0.3 in the median gene, as in breast tumours of TCGA. All draws have
streams of their own: nothing here changes a number of an omic without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.cohort.sex_genes import FEMALE_GENES, MALE_GENES
from stratiome.cohort.simulate_patients import BLOCK, Patients, stream

ARMS = 40
"""Chromosome arms; fewer where there are fewer genes."""

EVENT_SHARES = (0.05, 0.30)
"""Share of patients with a gain of an arm, and with a loss, each uniform over arms."""

HIGH_LEVEL = 1 / 6
"""Share of the gains of an arm that are amplifications, and of the losses that are deep."""

FOCAL_EVENTS = 6.0
"""Expected focal events of a patient."""

FOCAL_LENGTH = 0.01
"""Mean length of a focal event as a share of all genes."""

FOLLOWERS = 0.8
"""Share of the genes whose expression follows their copy number."""

SLOPES = (0.3, 1.7)
"""Slope of a follower as a multiple of the mean, uniform."""

SEX_HIGH, SEX_LOW, SEX_SD = 6.0, 0.0, 0.6
"""Log expression of a sex-linked gene where it is on and where it is off, and its SD."""

SEX_LOST = 0.1
"""Share of tumours that lost the inactive X of a woman or the Y of a man, and with it the expression."""

_DOSAGE, _SWAPS, _SEX, _SEGMENTS = range(5, 9)


@dataclass(frozen=True)
class Segments:
    """Where the genes of a copy-number omic lie, and how often each arm changes.

    Attributes
    ----------
    arm
        Shape `(n_genes,)`, arm of each gene, increasing from 0.
    gain, loss
        Shape `(n_arms,)`, shares of patients of a subgroup without shift.
    """

    arm: np.ndarray
    gain: np.ndarray
    loss: np.ndarray


def make_segments(seed: int, name_key: int, n_genes: int) -> Segments:
    """Arms of one omic."""
    arms = min(ARMS, n_genes)
    rng = stream(seed, _SEGMENTS, name_key)
    arm = np.arange(n_genes) * arms // n_genes
    return Segments(arm, rng.uniform(*EVENT_SHARES, arms), rng.uniform(*EVENT_SHARES, arms))


def make_calls(segments: Segments, liability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Calls -2 to 2, shape `(n_patients, n_genes)`, float32, of liabilities of shape `(n_patients, n_arms)`."""
    from scipy.special import ndtri

    n, genes = len(liability), len(segments.arm)
    calls = np.zeros(liability.shape, dtype=np.int64)
    for sign, share in ((1, segments.gain), (-1, segments.loss)):
        for part in (1.0, HIGH_LEVEL):
            calls += sign * (sign * liability > -ndtri(share * part))
    steps = np.zeros((n, genes + 1), dtype=np.int64)
    patient = np.repeat(np.arange(n), rng.poisson(FOCAL_EVENTS, n))
    start = rng.integers(0, genes, len(patient))
    stop = np.minimum(start + rng.geometric(min(1.0, 1 / max(FOCAL_LENGTH * genes, 1.0)), len(patient)), genes)
    change = rng.choice(np.array([-1, 1]), len(patient))
    np.add.at(steps, (patient, start), change)
    np.add.at(steps, (patient, stop), -change)
    focal = np.cumsum(steps, axis=1)[:, :genes]
    return np.clip(calls[:, segments.arm] + focal, -2, 2).astype(np.float32)


def make_slopes(seed: int, name_key: int, n_genes: int, dosage: float) -> np.ndarray:
    """Rise of each gene per call in within-subgroup SDs, shape `(n_genes,)`, float32; 0 where it does not follow."""
    rng = stream(seed, _DOSAGE, name_key)
    slopes = dosage * rng.uniform(*SLOPES, n_genes) * (rng.random(n_genes) < FOLLOWERS)
    return slopes.astype(np.float32)


def sex_genes(seed: int, name_key: int, block: int, female: np.ndarray, kind: str) -> np.ndarray:
    """Values of `FEMALE_GENES + MALE_GENES`, shape `(n_patients, n_genes)`: counts or log expression."""
    rng = stream(seed, _SEX, name_key, block)
    n = len(female)
    kept = rng.random(n) >= SEX_LOST
    on = np.column_stack([female & kept] * len(FEMALE_GENES) + [~female & kept] * len(MALE_GENES))
    log_values = np.where(on, SEX_HIGH, SEX_LOW) + rng.normal(0, SEX_SD, on.shape)
    return rng.poisson(np.exp(log_values)) if kind == "counts" else log_values.astype(np.float32)


def swap_rows(seed: int, name_key: int, share: float, patients: Patients, has: np.ndarray) -> np.ndarray:
    """Row whose values each patient is given, shape `(n_patients,)`: the own one, or that of the partner.

    Partners are of one block of patients and both have the omic, so a swap changes nothing else of the cohort. A site
    is no bound: samples are mixed up in the laboratory.
    """
    rows = np.arange(len(has))
    if share == 0:
        return rows
    for start in range(0, len(has), BLOCK):
        rng = stream(seed, _SWAPS, name_key, (patients.first + start) // BLOCK)
        chosen = rng.permutation(np.flatnonzero(has[start : start + BLOCK]) + start)
        pairs = min(int(share * len(chosen) / 2 + rng.random()), len(chosen) // 2)
        first, second = chosen[:pairs], chosen[pairs : 2 * pairs]
        rows[first], rows[second] = second, first
    return rows
