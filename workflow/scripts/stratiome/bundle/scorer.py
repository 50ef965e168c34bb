"""A bundle in memory: every part read, none of it run, and refused where parts do not fit together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pyarrow import ArrowException
from safetensors import SafetensorError

from stratiome.bundle.files import Bundle, BundleError
from stratiome.bundle.reference import Reference, read_reference
from stratiome.bundle.training import Column, Places, from_json
from stratiome.features.build import StoredTransform, load_transforms
from stratiome.latent.model import load_models
from stratiome.latent.space import LatentSpace
from stratiome.prognosis.stored import StoredPrognosis, load_prognosis
from stratiome.subgroups.cluster import Mixture
from stratiome.tables import BundleClaims, CounterfactualCurves, Table, read_table

MODEL, FACTORS = "vae", "mofa"
BROKEN = (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    RecursionError,
    OverflowError,
    MemoryError,
    SafetensorError,
    ArrowException,
    pl.exceptions.PolarsError,
)
"""What reading a part of a bundle that is not what it should be may raise."""
MOST_ROWS = 1_000_000
"""Rows of treatment curves, and of claims, beyond which a bundle is refused."""


@dataclass(frozen=True)
class Scorer:
    """A bundle in memory.

    Attributes
    ----------
    bundle
        The files.
    transforms
        By omic.
    latent, factors
        The latent model, and MOFA+ (None where it did not run).
    mixture, seen_with, known_sets
        Subgroups, how they look with few omics, and sets of omics that training patients had.
    prognosis
        Survival models.
    features, clinical, places
        What training patients were like.
    reference
        What later batches are compared with.
    curves
        Contract `CounterfactualCurves`: survival under each arm of the treatments, by subgroup.
    claims
        Contract `BundleClaims`: what was found in the bundle's cohort.
    """

    bundle: Bundle
    transforms: dict[str, StoredTransform]
    latent: LatentSpace
    factors: LatentSpace | None
    mixture: Mixture
    seen_with: dict[str, Mixture]
    known_sets: frozenset[str]
    prognosis: StoredPrognosis
    features: dict[str, dict[str, Column]]
    clinical: dict[str, Column]
    places: Places
    reference: Reference
    curves: pl.DataFrame
    claims: pl.DataFrame

    @classmethod
    def load(cls, bundle: Bundle) -> Scorer:
        """Read every part.

        Raises
        ------
        BundleError
            If parts do not fit together.
        """
        try:
            models = load_models(bundle.path("latent.safetensors"), bundle.path("latent.json"))
            groups = json.loads(Path(bundle.path("subgroups.json")).read_bytes())
            summary = from_json(json.loads(Path(bundle.path("training.json")).read_bytes()))
            prognosis = load_prognosis(bundle.path("prognosis.safetensors"), bundle.path("prognosis.json"))
            transforms = load_transforms(bundle.path("transforms.safetensors"))
            mixture = Mixture.from_dict(groups["mixture"])
            seen = {str(name): Mixture.from_dict(m) for name, m in groups["mixture"]["seen_with"].items()}
            known = frozenset(str(one["omics"]) for one in groups["sets"])
            vae, mofa = models[MODEL], models.get(FACTORS)
            reference = read_reference(bundle.path("reference.json"))
            curves = _rows(bundle.path("treatment_curves.parquet"), CounterfactualCurves)
            claims = _rows(bundle.path("claims.parquet"), BundleClaims)
            if any(t.filter(pl.col("subgroup") > mixture.k).height for t in (curves, claims)):
                raise ValueError("curves or claims of subgroups that there are not")
            _fits(bundle, transforms, vae, mixture, prognosis, summary)
            _compares(reference, transforms, mixture, prognosis)
            kept = (*summary, reference, curves, claims)
            return cls(bundle, transforms, vae, mofa, mixture, seen, known, prognosis, *kept)
        except BROKEN as error:
            text = f"{bundle.folder}: parts do not fit together ({error}). Suggestion: make it again"
            raise BundleError(text) from error


def _rows(path: str, contract: type[Table]) -> pl.DataFrame:
    import pyarrow.parquet

    rows = pyarrow.parquet.read_metadata(path).num_rows
    if rows > MOST_ROWS:
        raise ValueError(f"{Path(path).name} has {rows} rows")
    return read_table(path, contract)


def _fits(
    bundle: Bundle,
    transforms: dict[str, StoredTransform],
    latent: LatentSpace,
    mixture: Mixture,
    prognosis: StoredPrognosis,
    summary: tuple[dict[str, dict[str, Column]], dict[str, Column], Places],
) -> None:
    """Refuse parts that are of different models: features by name, dimensions by number."""
    kept = {name: t.features for name, t in transforms.items() if t.features}
    dims = {len(summary[2].centre), mixture.means.shape[1], len(mixture.covariance)}
    if not (
        set(transforms) == set(bundle.card.omics) == set(summary[0])
        and all(set(features) <= set(summary[0][name]) for name, features in kept.items())
        and prognosis.omics == kept
        and {spec.name: spec.features for spec in latent.specs} == kept
        and len(dims) == 1
    ):
        raise ValueError("features or dimensions differ between them")


def _compares(
    reference: Reference, transforms: dict[str, StoredTransform], mixture: Mixture, prognosis: StoredPrognosis
) -> None:
    """Refuse a reference of other models: features, models and subgroups by name, dimensions by number."""
    parts = {name: set(part.missing) for name, part in reference.omics.items()}
    if not (
        parts == {name: set(t.features) for name, t in transforms.items()}
        and all(set(part.bins) <= set(part.missing) for part in (*reference.omics.values(), reference.clinical))
        and all(n <= part.patients for part in reference.omics.values() for n in part.missing.values())
        and set(reference.models) == set(prognosis.models)
        and all(int(g or 0) <= mixture.k for g in reference.subgroups)
        and len(reference.places.mean) == mixture.means.shape[1]
    ):
        raise ValueError("the reference is of other models")
