"""Omics with known truth, in units of each feature's standard deviation within a subgroup.

A feature of a patient of subgroup k at site s is

    x = effect * signature[k] + batch[s] + loadings' factors + residual * noise

where factors (some shared by all omics, some of the omic alone) and noise are standard normal and
`|loadings|^2 + residual^2 = 1`, so x has variance 1 within a subgroup and site. A kind turns x into what its assay
reads. With one subgroup all signatures are zero and x is one multivariate normal at every site. Copy number, and what
follows it in other omics on top of x, is in `simulate_genome`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from stratiome.cohort.sex_genes import FEMALE_GENES, MALE_GENES
from stratiome.cohort.simulate_genome import Segments, make_calls, make_segments, make_slopes, sex_genes
from stratiome.cohort.simulate_patients import (
    BLOCK,
    SHARED_FACTORS,
    Patients,
    Population,
    omic_population_stream,
    omic_values_stream,
)
from stratiome.config import SimulatedOmic

OWN_FACTORS = 2
"""Sources of variation within subgroups of one omic alone."""

COMMUNALITY = (0.05, 0.35)
"""Share of a feature's variance that comes from factors, uniform."""

BURDEN = 0.15
"""Share of the variance of a mutation's liability that comes from the patient's overall burden."""

SHIFT_PROBABILITY = 0.5
"""Probability that an informative feature is shifted in a given subgroup."""

FREQUENCIES = (0.01, 0.40)
"""Range of the mutation frequencies in patients whose subgroup does not shift the gene."""

LIBRARY_SD = 0.3
"""Standard deviation of the log library size."""

METHYLATION_MISSING = 0.01
PROTEIN_BLOCK = 0.1
"""Share of the antibodies that one site did not measure."""

_COLUMNS_AT_ONCE = 4096
_LARGEST_LOG_MEAN = 16.0
_SMALLEST_BETA = 1e-4


@dataclass(frozen=True)
class OmicParameters:
    """What all patients share of one omic.

    Attributes
    ----------
    name, kind, effect
        As in the config.
    name_key
        Number of the name, for random streams: adding an omic changes no other.
    signature
        Shape `(n_subgroups, n_features)`, int8: -1, 0 or 1 times `effect`.
    shared, own
        Shapes `(SHARED_FACTORS, n_features)` and `(OWN_FACTORS, n_features)`, loadings.
    residual
        Shape `(n_features,)`.
    batch
        Shape `(n_sites, n_features)`, site shifts in feature SDs.
    centre, scale
        Shape `(n_features,)`: mean and SD on the scale of the kind (log mean count, M-value, log abundance), or the
        threshold of the liability of a mutation, of frequency `1 - Phi(centre)`.
    dispersion
        Shape `(n_features,)`, negative-binomial dispersion (variance = mean + dispersion * mean^2); zero elsewhere.
    blind_site, blind
        Site that did not measure some proteins (-1 = none), and which, shape `(n_features,)`.
    segments
        Arms of a copy-number omic; its genes share signature, loadings and residual with their arm.
    source, slopes
        Copy-number omic that the first genes follow, and by how much, shape `(n_followers,)`.
    sex_linked
        Whether the sex-linked genes come after the features.
    swapped
        Share of patients whose values are exchanged.
    """

    name: str
    kind: str
    effect: float
    name_key: int
    signature: np.ndarray
    shared: np.ndarray
    own: np.ndarray
    residual: np.ndarray
    batch: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    dispersion: np.ndarray
    blind_site: int
    blind: np.ndarray
    segments: Segments | None = None
    source: OmicParameters | None = None
    slopes: np.ndarray | None = None
    sex_linked: bool = False
    swapped: float = 0.0

    @property
    def features(self) -> list[str]:
        """Feature names, as `rna_0001`; genes that follow their copy number are named as there."""
        n = self.signature.shape[1]
        width = max(4, len(str(n)))
        names = [f"{self.name}_{j:0{width}d}" for j in range(1, n + 1)]
        if self.source is not None and self.slopes is not None:
            names[: len(self.slopes)] = self.source.features[: len(self.slopes)]
        return names + list(FEMALE_GENES + MALE_GENES if self.sex_linked else ())


def make_omics(population: Population) -> list[OmicParameters]:
    """Parameters of all omics of a cohort, those that follow a copy number with it."""
    settings = population.settings.omics
    made = {name: make_omic(population, name, omic) for name, omic in settings.items()}
    for name, omic in settings.items():
        if omic.dosage_of:
            source = made[omic.dosage_of]
            followers = min(omic.features, len(source.features))
            slopes = make_slopes(population.seed, made[name].name_key, followers, omic.dosage)
            made[name] = replace(made[name], source=source, slopes=slopes)
    return list(made.values())


def make_omic(population: Population, name: str, settings: SimulatedOmic) -> OmicParameters:
    """Parameters of one omic on its own."""
    name_key = zlib.crc32(name.encode())
    if settings.kind == "copy_number":
        return _copy_number_omic(population, name, name_key, settings)
    rng = omic_population_stream(population.seed, name_key)
    p, kind = settings.features, settings.kind
    shared, own, residual = _loadings(rng, p, kind)
    centre, scale, dispersion = _scales(rng, p, kind)
    batch = rng.standard_normal((len(population.site_shares), p), dtype=np.float32)
    blind_site, blind = _blind(rng, p, len(population.site_shares), kind)
    return OmicParameters(
        name=name,
        kind=kind,
        effect=settings.effect,
        name_key=name_key,
        signature=_signature(rng, settings, population.settings.subgroups),
        shared=shared,
        own=own,
        residual=residual,
        batch=batch * np.float32(0 if kind == "mutation" else population.settings.batch_effect),
        centre=centre,
        scale=scale,
        dispersion=dispersion,
        blind_site=blind_site,
        blind=blind,
        sex_linked=settings.sex_linked,
        swapped=settings.swapped,
    )


def _copy_number_omic(population: Population, name: str, name_key: int, settings: SimulatedOmic) -> OmicParameters:
    """Parameters that the genes of an arm share; calls know no site shifts."""
    segments = make_segments(population.seed, name_key, settings.features)
    arm, n_arms = segments.arm, len(segments.gain)
    rng = omic_population_stream(population.seed, name_key)
    shared, own, residual = _loadings(rng, n_arms, settings.kind)
    signature = _signature(rng, settings.model_copy(update={"features": n_arms}), population.settings.subgroups)
    nothing = np.zeros(settings.features)
    return OmicParameters(
        name=name,
        kind=settings.kind,
        effect=settings.effect,
        name_key=name_key,
        signature=signature[:, arm],
        shared=shared[:, arm],
        own=own[:, arm],
        residual=residual[arm],
        batch=np.zeros((len(population.site_shares), settings.features), dtype=np.float32),
        centre=nothing,
        scale=nothing,
        dispersion=nothing,
        blind_site=-1,
        blind=nothing.astype(bool),
        segments=segments,
        swapped=settings.swapped,
    )


def make_values(population: Population, omic: OmicParameters, patients: Patients) -> np.ndarray:
    """Values of one omic as the assay reads them, before whole patients are left out.

    Parameters
    ----------
    population
        The parameters of the cohort.
    omic
        The parameters of the omic.
    patients
        Patients whose first one begins a block.

    Returns
    -------
    numpy.ndarray
        Shape `(n_patients, n_features)`: counts int32, mutations int8, others float32 with NaN where missing.
    """
    n, p = len(patients.subgroup), omic.signature.shape[1]
    kinds = {"counts": np.int32, "mutation": np.int8}
    values = np.empty((n, len(omic.features)), dtype=kinds.get(omic.kind, np.float32))
    for start in range(0, n, BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        if omic.segments is not None:
            values[rows] = _calls(population, omic, patients, rows)
            continue
        dosage = _dosage(population, omic, patients, rows)
        rng = omic_values_stream(population.seed, omic.name_key, (patients.first + start) // BLOCK)
        own = rng.standard_normal((rows.stop - rows.start, OWN_FACTORS), dtype=np.float32)
        library = LIBRARY_SD * rng.standard_normal(rows.stop - rows.start)
        for left in range(0, p, _COLUMNS_AT_ONCE):
            columns = slice(left, min(left + _COLUMNS_AT_ONCE, p))
            within, between = _latent(omic, patients, rng, rows, columns, own)
            following = dosage[:, columns]
            between[:, : following.shape[1]] += following
            read = {"counts": _counts, "methylation": _methylation, "mutation": _mutation}.get(omic.kind, _gaussian)
            values[rows, columns] = read(omic, rng, columns, within, between, library)
        if omic.sex_linked:
            block = (patients.first + start) // BLOCK
            values[rows, p:] = sex_genes(population.seed, omic.name_key, block, patients.female[rows], omic.kind)
    if omic.blind_site >= 0:
        values[np.ix_(patients.site == omic.blind_site, omic.blind)] = np.nan
    return values


def _calls(population: Population, omic: OmicParameters, patients: Patients, rows: slice) -> np.ndarray:
    """Copy-number calls of the patients of one block, shape `(n_rows, n_genes)`."""
    assert omic.segments is not None
    rng = omic_values_stream(population.seed, omic.name_key, (patients.first + rows.start) // BLOCK)
    own = rng.standard_normal((rows.stop - rows.start, OWN_FACTORS), dtype=np.float32)
    first = np.searchsorted(omic.segments.arm, np.arange(len(omic.segments.gain)))
    arms = replace(
        omic,
        signature=omic.signature[:, first],
        shared=omic.shared[:, first],
        own=omic.own[:, first],
        residual=omic.residual[first],
        batch=omic.batch[:, first],
    )
    within, between = _latent(arms, patients, rng, rows, slice(0, len(first)), own)
    return make_calls(omic.segments, within + between, rng)


def _dosage(population: Population, omic: OmicParameters, patients: Patients, rows: slice) -> np.ndarray:
    """Rise of the genes that follow their copy number, shape `(n_rows, n_followers)`, in feature SDs."""
    if omic.source is None or omic.slopes is None:
        return np.zeros((rows.stop - rows.start, 0), dtype=np.float32)
    calls = _calls(population, omic.source, patients, rows)[:, : len(omic.slopes)]
    rise: np.ndarray = omic.slopes * calls
    return rise


def _loadings(rng: np.random.Generator, p: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    direction = rng.standard_normal((SHARED_FACTORS + OWN_FACTORS, p))
    direction /= np.sqrt((direction**2).sum(axis=0))
    loadings = direction * np.sqrt(rng.uniform(*COMMUNALITY, p))
    if kind == "mutation":
        loadings[SHARED_FACTORS] = np.sqrt(BURDEN)  # the first factor of its own raises every gene: the burden
    residual = np.sqrt(1 - (loadings**2).sum(axis=0))
    parts = (loadings[:SHARED_FACTORS], loadings[SHARED_FACTORS:], residual)
    return parts[0].astype(np.float32), parts[1].astype(np.float32), parts[2].astype(np.float32)


def _scales(rng: np.random.Generator, p: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    none = np.zeros(p)
    spread = np.exp(rng.normal(0, 0.25, p))
    if kind == "counts":
        return rng.normal(5.0, 1.2, p), 0.5 * spread, np.exp(rng.normal(np.log(0.1), 0.5, p))
    if kind == "methylation":
        return np.where(rng.random(p) < 0.5, -1.0, 1.0) * rng.normal(3.0, 0.8, p), 0.7 * spread, none
    if kind == "mutation":
        from scipy.special import ndtri

        low, high = FREQUENCIES
        return -ndtri(low * (high / low) ** (rng.random(p) ** 2)), np.ones(p), none
    return (rng.normal(0.0, 1.0, p) if kind == "protein" else rng.normal(8.0, 2.0, p)), 0.8 * spread, none


def _signature(rng: np.random.Generator, settings: SimulatedOmic, k: int) -> np.ndarray:
    p = settings.features
    signature = np.zeros((k, p), dtype=np.int8)
    if k == 1:
        return signature
    informative = np.sort(rng.permutation(p)[: round(settings.informative * p)])
    pending = informative
    while len(pending):  # a feature shifted alike in all subgroups, or in none, would not be informative
        shifted = rng.random((k, len(pending))) < SHIFT_PROBABILITY
        # Mutations are gained by the subgroup they drive; other features go up or down.
        sign = 1 if settings.kind == "mutation" else rng.choice(np.array([-1, 1], dtype=np.int8), (k, len(pending)))
        signature[:, pending] = shifted * sign
        pending = pending[(signature[:, pending] == signature[0, pending]).all(axis=0)]
    return signature


def _blind(rng: np.random.Generator, p: int, n_sites: int, kind: str) -> tuple[int, np.ndarray]:
    blind = np.zeros(p, dtype=bool)
    site = int(rng.integers(n_sites))
    count = int(PROTEIN_BLOCK * p)
    blind[rng.permutation(p)[:count]] = True
    if kind != "protein" or n_sites == 1 or count == 0:
        return -1, np.zeros(p, dtype=bool)
    return site, blind


def _latent(
    omic: OmicParameters,
    patients: Patients,
    rng: np.random.Generator,
    rows: slice,
    columns: slice,
    own: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Variation within subgroup and site, and shifts between them, both in feature SDs."""
    within = rng.standard_normal((rows.stop - rows.start, columns.stop - columns.start), dtype=np.float32)
    within *= omic.residual[columns]
    within += patients.factors[rows] @ omic.shared[:, columns] + own @ omic.own[:, columns]
    between = np.float32(omic.effect) * omic.signature[:, columns].astype(np.float32)[patients.subgroup[rows]]
    return within, between + omic.batch[:, columns][patients.site[rows]]


def _counts(
    omic: OmicParameters,
    rng: np.random.Generator,
    columns: slice,
    within: np.ndarray,
    between: np.ndarray,
    library: np.ndarray,
) -> np.ndarray:
    """Negative binomial counts, as a Poisson of a gamma of the mean.

    Shifts are in SDs of the log count within a subgroup, which is biology, dispersion and counting together:
    `scale^2 + dispersion + 1 / mean` by the delta method.
    """
    log_mean, scale, dispersion = omic.centre[columns], omic.scale[columns], omic.dispersion[columns]
    whole = np.sqrt(scale**2 + dispersion + np.exp(-log_mean))
    expected = np.exp(np.minimum(log_mean + library[:, None] + scale * within + whole * between, _LARGEST_LOG_MEAN))
    return rng.poisson(expected * dispersion * rng.standard_gamma(1 / dispersion, within.shape)).astype(np.int32)


def _methylation(
    omic: OmicParameters,
    rng: np.random.Generator,
    columns: slice,
    within: np.ndarray,
    between: np.ndarray,
    library: np.ndarray,
) -> np.ndarray:
    """Beta values of normal M-values, M = log2(beta / (1 - beta)), a few cells missing at random."""
    m_value = omic.centre[columns] + omic.scale[columns] * (within + between)
    beta = np.clip(1 / (1 + np.exp2(-m_value)), _SMALLEST_BETA, 1 - _SMALLEST_BETA).astype(np.float32)
    missing = rng.random(within.shape) < METHYLATION_MISSING
    if columns.start == 0:
        missing[:, 0] = False  # the first probe is always read, so nobody who has the omic is without any value
    beta[missing] = np.nan
    return beta


def _mutation(
    omic: OmicParameters,
    rng: np.random.Generator,
    columns: slice,
    within: np.ndarray,
    between: np.ndarray,
    library: np.ndarray,
) -> np.ndarray:
    """Mutated where the liability passes the threshold of the gene."""
    return (within + between > omic.centre[columns]).astype(np.int8)


def _gaussian(
    omic: OmicParameters,
    rng: np.random.Generator,
    columns: slice,
    within: np.ndarray,
    between: np.ndarray,
    library: np.ndarray,
) -> np.ndarray:
    """Normal values on a logarithmic scale."""
    return (omic.centre[columns] + omic.scale[columns] * (within + between)).astype(np.float32)
