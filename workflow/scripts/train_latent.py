"""Rule train_latent: the deep latent model and its baselines, trained on training patients, applied to all."""

from pathlib import Path

import numpy as np

from stratiome.config import LatentConfig
from stratiome.features.block import read_features
from stratiome.latent.baselines import fit_baselines
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

    data = read_features(features)
    vae = LatentModel.fit(data, latent, seed)
    models = {"vae": vae, **fit_baselines(data, latent, seed)}
    save_models(models, weights, description)
    write_table(from_rows(vae.history, TrainingHistory), history, TrainingHistory)
    present = {f"has_{block.name}": block.present for block in data.blocks}
    obs = pd.DataFrame(
        {"role": data.roles.astype(str), "n_omics": np.sum(list(present.values()), axis=0).astype(np.int64), **present},
        index=pd.Index(data.patient_ids, dtype=object),
    )
    obsm = {name: model.transform(data) for name, model in models.items()}
    Path(latents).parent.mkdir(parents=True, exist_ok=True)
    anndata.AnnData(obs=obs, obsm=obsm, uns={"resample": resample}).write_h5ad(latents)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
