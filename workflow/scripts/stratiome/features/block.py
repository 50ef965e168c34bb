"""The numbers that models see: one block per omic, rows of the whole cohort, NaN where nothing was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Likelihood = Literal["gaussian", "bernoulli"]


@dataclass(frozen=True)
class Block:
    """Features of one omic.

    Attributes
    ----------
    name
        Name of the omic.
    values
        Shape `(n_patients, n_features)`, float32, NaN where missing; the whole row is NaN where the patient lacks the
        omic. Gaussian blocks are standardised on the training patients.
    likelihood
        Distribution that a generative model gives to the values.
    features
        Feature names, length `n_features`.
    """

    name: str
    values: np.ndarray
    likelihood: Likelihood
    features: tuple[str, ...]

    @property
    def present(self) -> np.ndarray:
        """Shape `(n_patients,)`, True where the patient has any value of this omic."""
        return np.isfinite(self.values).any(axis=1)


@dataclass(frozen=True)
class FeatureSet:
    """All blocks of a cohort in one resample, rows in the same order.

    Attributes
    ----------
    patient_ids
        Length `n_patients`, sorted.
    roles
        Length `n_patients`: train, test or out.
    blocks
        One block per omic, in the order of the config.
    """

    patient_ids: tuple[str, ...]
    roles: np.ndarray
    blocks: tuple[Block, ...]

    @property
    def train(self) -> np.ndarray:
        """Shape `(n_patients,)`, True for training patients."""
        return self.roles == "train"


def write_features(features: FeatureSet, path: str) -> None:
    """Write as MuData: one modality per omic holding only the patients who have it."""
    import anndata
    import mudata
    import pandas as pd

    modalities = {}
    for block in features.blocks:
        here = block.present
        ids = np.asarray(features.patient_ids, dtype=object)[here]
        modalities[block.name] = anndata.AnnData(
            X=block.values[here],
            obs=pd.DataFrame(index=pd.Index(ids, dtype=object)),
            var=pd.DataFrame(index=pd.Index(block.features, dtype=object)),
            uns={"likelihood": block.likelihood},
        )
    with mudata.set_options(pull_on_update=False):
        data = mudata.MuData(modalities)
    roles = pd.Series(features.roles.astype(str), index=list(features.patient_ids))
    data.obs["role"] = pd.Categorical(roles.reindex(data.obs_names))
    data.uns["patient_ids"] = np.asarray(features.patient_ids, dtype=str)
    data.uns["roles"] = features.roles.astype(str)
    data.uns["omics"] = np.asarray([b.name for b in features.blocks], dtype=str)
    data.write_h5mu(path)


def read_features(path: str) -> FeatureSet:
    """Read what `write_features` wrote."""
    import mudata

    with mudata.set_options(pull_on_update=False):
        data = mudata.read_h5mu(path)
    ids = [str(i) for i in data.uns["patient_ids"]]
    row = {patient: i for i, patient in enumerate(ids)}
    blocks = []
    for name in (str(o) for o in data.uns["omics"]):
        part = data.mod[name]
        values = np.full((len(ids), part.n_vars), np.nan, dtype=np.float32)
        values[[row[str(i)] for i in part.obs_names]] = np.asarray(part.X, dtype=np.float32)
        likelihood: Likelihood = "bernoulli" if str(part.uns["likelihood"]) == "bernoulli" else "gaussian"
        blocks.append(Block(name, values, likelihood, tuple(str(v) for v in part.var_names)))
    return FeatureSet(tuple(ids), np.asarray(data.uns["roles"]).astype(str), tuple(blocks))
