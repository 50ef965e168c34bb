"""Apply a bundle to other patients: features, places, subgroups, risks and bounds, and what speaks against them.

Every patient is scored alone: no number depends on who else is scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from stratiome import omics
from stratiome.bundle.align import Aligned, OmicSource
from stratiome.bundle.files import BundleError
from stratiome.bundle.scorer import Scorer
from stratiome.bundle.training import Column
from stratiome.cohort.columns import as_classes
from stratiome.features.block import Block, FeatureSet
from stratiome.prognosis.models import Omic
from stratiome.prognosis.stored import Prediction
from stratiome.subgroups.cluster import assign
from stratiome.survival.design import Term

AT_ONCE = 4096
"""Patients scored together."""
MOST_OUTSIDE = 0.5
"""Share of features, or clinical values, outside what training patients had, from which a scale is taken to differ."""
LOOKED_AT = 300
"""Patients whose scale is looked at before any is scored."""
UNUSUAL = 0.99
"""Share of training patients nearer the centre from which a patient is out of distribution."""
MANY_OUTSIDE = 0.1
"""Share of features outside the range of training patients from which a patient is out of distribution, and of patients
with a covariate outside it from which its unit is taken to differ."""
FEWEST_COMPARED = 20
"""Patients from which the median of a covariate is looked at."""


@dataclass(frozen=True)
class Scores:
    """What a bundle says of some patients, rows as `patient_ids`.

    Attributes
    ----------
    patient_ids
        Length `n_patients`.
    sets
        Names of the omics used, joined by " + ", "" for none.
    missing
        Shape `(n_patients,)`, share of the features of the bundle that the patient lacks.
    outside
        Shape `(n_patients,)`, share of the patient's features outside the range of training patients; NaN without any.
    covariates_missing, covariates_outside
        Shape `(n_patients,)`, share of the covariates that the patient lacks, and of those known that lie beyond the
        range of training patients or are a class they did not have; NaN without any.
    unusual
        Shape `(n_patients,)`, share of training patients nearer the centre of the latent space; NaN without omics.
    latents
        Shape `(n_patients, n_latent)`, places; NaN without omics.
    probabilities
        Shape `(n_patients, k)`, of the subgroups; 0 where no place is known.
    subgroup
        Shape `(n_patients,)`, 0 = unassigned.
    predictions
        By model.
    """

    patient_ids: tuple[str, ...]
    sets: tuple[str, ...]
    missing: np.ndarray
    outside: np.ndarray
    covariates_missing: np.ndarray
    covariates_outside: np.ndarray
    unusual: np.ndarray
    latents: np.ndarray
    probabilities: np.ndarray
    subgroup: np.ndarray
    predictions: dict[str, Prediction]

    @property
    def out_of_distribution(self) -> np.ndarray:
        """Shape `(n_patients,)`, True where a patient is unlike those the models have learned from."""
        unlike = (np.nan_to_num(self.outside) > MANY_OUTSIDE) | (np.nan_to_num(self.unusual) >= UNUSUAL)
        return unlike | (np.nan_to_num(self.covariates_outside) > 0)


def score(
    scorer: Scorer, clinical: pl.DataFrame, sources: dict[str, OmicSource], aligned: dict[str, Aligned]
) -> Iterator[Scores]:
    """Scores of all patients of a clinical table, some thousands at a time.

    Parameters
    ----------
    scorer
        The bundle.
    clinical
        `patient_id` and the covariates of the bundle.
    sources
        Omics by name, as `StoredOmic`.
    aligned
        From `align`.

    Raises
    ------
    BundleError
        If covariates are missing, or a scale differs from that of the training patients.
    """
    clinical = as_learned(scorer, clinical)
    check_clinical(scorer, clinical)
    for part in measured(scorer, clinical, sources, aligned):
        yield _score_some(scorer, part)


def as_learned(scorer: Scorer, clinical: pl.DataFrame) -> pl.DataFrame:
    """The clinical table with the types of the bundle's covariates, which few patients do not tell.

    A column without any value is read as text, and one of classes of which only numbers are left, as numbers.
    """
    types = {term.column: term.type for term in scorer.prognosis.design.terms}
    casts = []
    for series in (clinical[name] for name in types if name in clinical.columns):
        if types[series.name] == "numeric" and series.null_count() == len(series):
            casts.append(series.cast(pl.Float64))
        elif types[series.name] == "categorical" and series.dtype.is_float():
            casts.append(as_classes(series))
    return clinical.with_columns(casts)


@dataclass(frozen=True)
class Measured:
    """What was measured in some patients.

    Attributes
    ----------
    clinical
        Their rows of the clinical table.
    values
        Omic -> shape `(n_patients, n_features)`, scaled values of the bundle's features, NaN where not measured.
    blocks
        The same as the models see them, of the omics that have features.
    """

    clinical: pl.DataFrame
    values: dict[str, np.ndarray]
    blocks: tuple[Block, ...]


def measured(
    scorer: Scorer, clinical: pl.DataFrame, sources: dict[str, OmicSource], aligned: dict[str, Aligned]
) -> Iterator[Measured]:
    """Features of all patients of a clinical table, some thousands at a time; parameters as of `score`."""
    rows_of = {name: {p: i for i, p in enumerate(s.patient_ids)} for name, s in sources.items() if name in aligned}
    for start in range(0, clinical.height, AT_ONCE):
        part = clinical.slice(start, AT_ONCE)
        ids = part["patient_id"].to_list()
        values = {name: _values(sources.get(name), rows_of.get(name, {}), ids, aligned[name]) for name in aligned}
        yield Measured(part, values, _blocks(scorer, part, values))


def _blocks(scorer: Scorer, clinical: pl.DataFrame, values: dict[str, np.ndarray]) -> tuple[Block, ...]:
    card = scorer.bundle.card
    site = None
    if card.site is not None and card.site in clinical.columns:
        site = clinical[card.site].cast(pl.String).fill_null("").to_numpy()
    blocks = []
    for name, stored in scorer.transforms.items():
        kind = omics.get(card.omics[name].kind, card.omics[name].unit)
        if stored.features:
            made = stored.transform.apply(values[name], site if kind.continuous else None)
            blocks.append(Block(name, made, kind.likelihood, stored.features))
    return tuple(blocks)


def _values(source: OmicSource | None, rows: dict[str, int], ids: list[str], aligned: Aligned) -> np.ndarray:
    """Scaled values of these patients in the order of the bundle's features, NaN where not measured."""
    values = np.full((len(ids), aligned.asked), np.nan, dtype=np.float32)
    here = [(i, rows[p]) for i, p in enumerate(ids) if p in rows]
    if source is None or aligned.reason or not here:
        return values
    order = sorted(here, key=lambda pair: pair[1])  # row numbers increase
    read = omics.get(source.kind, source.unit).scale(source.take(np.array([row for _, row in order])))
    values[np.array([i for i, _ in order])] = aligned.values(read)
    return values


def _score_some(scorer: Scorer, given: Measured) -> Scores:
    card, clinical, blocks = scorer.bundle.card, given.clinical, given.blocks
    ids = tuple(clinical["patient_id"].to_list())
    outside = [
        _outside(given.values[name], stored.features, scorer.features[name])
        for name, stored in scorer.transforms.items()
    ]
    features = FeatureSet(ids, np.full(len(ids), "test"), blocks)
    present = np.stack([b.present for b in blocks], axis=1)
    any_omic = np.asarray(present.any(axis=1))
    latents = scorer.latent.transform(features)
    factors = None if scorer.factors is None else scorer.factors.transform(features)
    names = [b.name for b in blocks]
    sets = tuple(" + ".join(n for n, here in zip(names, own, strict=True) if here) for own in present)
    probabilities = _memberships(scorer, sets, latents)
    label, _ = assign(probabilities, probabilities.sum(axis=1) > 0, card.min_probability)
    places = np.where(any_omic[:, None], latents, np.nan)
    known = None if factors is None else np.where(any_omic[:, None], factors, np.nan)
    seen = tuple(Omic(b.name, b.values, b.features) for b in blocks)
    count, beyond = np.array(outside).sum(axis=0)
    asked = sum(len(t.features) for t in scorer.transforms.values())
    return Scores(
        ids,
        sets,
        1.0 - count / asked,
        np.divide(beyond, count, out=np.full(len(ids), np.nan), where=count > 0),
        *_covariates(scorer, clinical),
        np.where(any_omic, scorer.places.unusual(latents), np.nan),
        places,
        probabilities,
        label,
        scorer.prognosis.predict(clinical, seen, places, known),
    )


def _outside(
    values: np.ndarray, features: tuple[str, ...], columns: dict[str, Column]
) -> tuple[np.ndarray, np.ndarray]:
    """Features that each patient has, and those outside the range of training patients, shape `(n_patients,)` each."""
    limits = np.array([columns[name].range for name in features]).reshape(-1, 2)
    known = np.isfinite(values)
    return known.sum(axis=1), (known & ((values < limits[:, 0]) | (values > limits[:, 1]))).sum(axis=1)


def _covariates(scorer: Scorer, clinical: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Share of the covariates that each patient lacks, and of those known that are unlike training patients'."""
    terms = scorer.prognosis.design.terms
    missing, beyond = np.zeros(clinical.height), np.zeros(clinical.height)
    for term in terms:
        values = clinical[term.column]
        known = values.is_not_null().to_numpy()
        missing += ~known
        if term.type == "numeric" and term.column in scorer.clinical:
            low, high = scorer.clinical[term.column].range
            own = values.cast(pl.Float64).fill_null(term.fill).to_numpy()
            beyond += known & ((own < low) | (own > high))
        elif term.type == "categorical" and (classes := _classes(term)):
            beyond += known & ~values.cast(pl.String).is_in(classes).fill_null(False).to_numpy()
    count = len(terms) - missing
    outside = np.divide(beyond, count, out=np.full(clinical.height, np.nan), where=count > 0)
    return missing / max(len(terms), 1), outside


def _classes(term: Term) -> list[str]:
    """Classes of a categorical column that training patients had."""
    return sorted({term.reference, *term.levels, *term.joined} - {""})


def _memberships(scorer: Scorer, sets: tuple[str, ...], latents: np.ndarray) -> np.ndarray:
    """Probability of each subgroup; 0 for patients with a set of omics that no training patient had."""
    found = np.zeros((len(sets), scorer.mixture.k))
    for name in set(sets) & scorer.known_sets:
        rows = np.array([own == name for own in sets])
        found[rows] = scorer.seen_with.get(name, scorer.mixture).probabilities(latents[rows])
    return found


def check_clinical(scorer: Scorer, clinical: pl.DataFrame) -> None:
    """Refuse a clinical table without the covariates of the models, or with numbers on another scale."""
    asked = [term.column for term in scorer.prognosis.design.terms]
    lacking = [c for c in asked if c not in clinical.columns]
    if lacking:
        raise BundleError(
            f"`covariates`: the models of the bundle need the clinical columns {lacking}. Suggestion: name them in "
            "`covariates`, or map them under `data.columns`"
        )
    for term in scorer.prognosis.design.terms:
        _check_classes(term, clinical[term.column])
        if term.type == "numeric" and not clinical[term.column].dtype.is_numeric():
            raise BundleError(
                f"`covariates`: column `{term.column}` holds numbers in the bundle's cohort, and texts here. "
                f"Suggestion: map them to numbers or to null under `data.columns.{term.column}.values`"
            )
    for name, column in scorer.clinical.items():
        if name not in asked or not clinical[name].dtype.is_numeric():
            continue
        values = clinical[name].cast(pl.Float64).drop_nulls().to_numpy()
        low, high = column.range
        share = float(((values < low) | (values > high)).mean()) if len(values) else 0.0
        far = f"lies outside {low:.4g} to {high:.4g} in {share:.0%} of the patients" if share > MANY_OUTSIDE else ""
        if not far and len(values) >= FEWEST_COMPARED and column.quantiles is not None:
            middle, ends = float(np.median(values)), (column.quantiles[0], column.quantiles[-1])
            far = (
                ""
                if ends[0] <= middle <= ends[1]
                else (f"has a median outside {ends[0]:.4g} to {ends[1]:.4g}, where 98 % of the training patients lay")
            )
        if far:
            raise BundleError(
                f"`covariates`: column `{name}` {far}, as in another unit. Suggestion: convert it to the unit of the "
                f"bundle (`data.columns.{name}.multiply`), or leave it missing"
            )


def _check_classes(term: Term, values: pl.Series) -> None:
    """Refuse a column of classes of which most are none that the models know."""
    known = _classes(term)
    given = values.drop_nulls().cast(pl.String)
    strange = given.filter(~given.is_in(known))
    if term.type != "categorical" or not known or len(strange) <= MOST_OUTSIDE * len(given):
        return
    classes = ", ".join(repr(c) for c in known[:6])
    raise BundleError(
        f"`covariates`: most values of column `{term.column}` are classes that the bundle does not know; it knows "
        f"{classes}. Suggestion: map them under `data.columns.{term.column}.values`"
    )


def check_scale(scorer: Scorer, sources: dict[str, OmicSource], aligned: dict[str, Aligned]) -> None:
    """Refuse an omic on another scale: most features of most patients beyond anything that training patients had.

    Looked at in some hundred patients spread over the file.

    Raises
    ------
    BundleError
        Naming the omic.
    """
    for name, match in aligned.items():
        source = sources.get(name)
        if source is None or match.reason or not source.patient_ids:
            continue
        some = np.unique(np.linspace(0, len(source.patient_ids) - 1, LOOKED_AT).astype(np.int64))
        ids = [source.patient_ids[i] for i in some]
        values = _values(source, dict(zip(ids, some.tolist(), strict=True)), ids, match)
        count, beyond = _outside(values, scorer.transforms[name].features, scorer.features[name])
        share = float(np.median(beyond[count > 0] / count[count > 0])) if (count > 0).any() else 0.0
        if share > MOST_OUTSIDE:
            raise BundleError(
                f"`data.omics.{name}`: in most patients looked at, {share:.0%} of the features lie beyond what "
                "training patients had, as on another scale or platform. Suggestion: bring it to the scale of the "
                f"bundle's cohort ({scorer.bundle.card.title}), declare `bundle.align: {{{name}: quantiles}}` where "
                "another platform measured the same, or give it another name, so that it is not used"
            )


def summary_rows(aligned: dict[str, Aligned], used: list[tuple[str, ...]]) -> list[dict[str, Any]]:
    """One row of contract `ScoredOmics` per omic; `used` holds the sets of omics of all patients."""
    sets = [own.split(" + ") for some in used for own in some]
    return [
        {
            "omic": name,
            "features_asked": match.asked,
            "aligned": match.moved is not None,
            "features_found": match.found,
            "patients": sum(name in own for own in sets),
            "note": match.reason or match.remark,
        }
        for name, match in aligned.items()
    ]
