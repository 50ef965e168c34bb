"""Rule train_latent: the deep latent model and its baseline, trained on training patients, applied to all."""

from pathlib import Path

import numpy as np

from stratiome.config import LatentConfig
from stratiome.features.block import FeatureSet, StoredFeatures, pieces
from stratiome.latent.baselines import PcaModel
from stratiome.latent.ensemble import fit_projection_in_pieces
from stratiome.latent.inputs import align, learn_specs
from stratiome.latent.model import LatentModel, save_models
from stratiome.tables import TrainingHistory, from_rows, write_table


def main(
    *,
    features: str,
    latents: str,
    weights: str,
    description: str,
    history: str,
    latent: LatentConfig,
    seed: int,
    resample: str,
) -> None:
    """Train on one resample and write latents, weights, description and history."""
    import anndata
    import pandas as pd

    from stratiome.latent.source import matrix_gib

    with StoredFeatures(features) as stored:
        everybody = np.arange(len(stored.patient_ids))
        data = stored if matrix_gib(stored, everybody) > latent.memory_gb else stored.take(everybody)
        models = {"vae": LatentModel.fit(data, latent, seed), "pca": fit_pca(data, latent.dims)}
        save_models(models, weights, description)
        write_table(from_rows(models["vae"].history, TrainingHistory), history, TrainingHistory)
        obsm = {name: transform_pieces(model, data) for name, model in models.items()}
        present = {f"has_{block.name}": block.present for block in data.blocks}
    obs = pd.DataFrame(
        {"role": data.roles.astype(str), "n_omics": np.sum(list(present.values()), axis=0).astype(np.int64), **present},
        index=pd.Index(data.patient_ids, dtype=object),
    )
    Path(latents).parent.mkdir(parents=True, exist_ok=True)
    anndata.AnnData(obs=obs, obsm=obsm, uns={"resample": resample}).write_h5ad(latents)


def fit_pca(data: FeatureSet | StoredFeatures, dims: int) -> PcaModel:
    """The baseline, from patients who pass in pieces where they do not fit into memory."""
    if isinstance(data, FeatureSet):
        return PcaModel.fit(data, dims)
    specs = learn_specs(data, balance=True)
    rows = np.flatnonzero(data.train & np.any([block.present for block in data.blocks], axis=0))
    return PcaModel(
        specs, fit_projection_in_pieces(lambda: (align(data.take(p), specs).centred for p in pieces(rows)), dims)
    )


def transform_pieces(model: LatentModel | PcaModel, data: FeatureSet | StoredFeatures) -> np.ndarray:
    """Latents of all patients, shape `(n_patients, n_latent)`."""
    if isinstance(data, FeatureSet):
        return model.transform(data)
    return np.concatenate([model.transform(data.take(p)) for p in pieces(np.arange(len(data.patient_ids)))])


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
