"""Rule train_latent: the deep latent model and its baselines, trained on training patients, applied to all."""

import logging
from pathlib import Path

import numpy as np

from stratiome.config import LatentConfig
from stratiome.features.block import FeatureSet, StoredFeatures, pieces
from stratiome.latent.baselines import PcaModel, fit_baselines
from stratiome.latent.checkpoint import Checkpoint
from stratiome.latent.ensemble import fit_projection_in_pieces
from stratiome.latent.inputs import align, learn_specs
from stratiome.latent.model import LatentModel, save_models
from stratiome.latent.space import LatentSpace
from stratiome.tables import TrainingHistory, from_rows, write_table

logger = logging.getLogger("stratiome.train_latent")


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
    checkpoint: str | None = None,
    library: str = "",
) -> None:
    """Train on one resample and write latents, weights, description and history; go on where a run was stopped."""
    import anndata
    import pandas as pd

    from stratiome.latent.source import matrix_gib

    kept = Checkpoint(checkpoint, library) if checkpoint else None
    with StoredFeatures(features) as stored:
        everybody = np.arange(len(stored.patient_ids))
        data = stored if matrix_gib(stored, everybody) > latent.memory_gb else stored.take(everybody)
        vae = LatentModel.fit(data, latent, seed, kept)
        models: dict[str, LatentSpace] = {"vae": vae, **baselines(data, latent, seed)}
        save_models(models, weights, description)
        write_table(from_rows(vae.history, TrainingHistory), history, TrainingHistory)
        obsm = {name: transform_pieces(model, data) for name, model in models.items()}
        present = {f"has_{block.name}": block.present for block in data.blocks}
    obs = pd.DataFrame(
        {"role": data.roles.astype(str), "n_omics": np.sum(list(present.values()), axis=0).astype(np.int64), **present},
        index=pd.Index(data.patient_ids, dtype=object),
    )
    Path(latents).parent.mkdir(parents=True, exist_ok=True)
    anndata.AnnData(obs=obs, obsm=obsm, uns={"resample": resample}).write_h5ad(latents)
    if kept:
        kept.remove()


def baselines(data: FeatureSet | StoredFeatures, settings: LatentConfig, seed: int) -> dict[str, LatentSpace]:
    """Simpler latents; of patients who do not fit into memory together, principal components alone."""
    if isinstance(data, FeatureSet):
        return fit_baselines(data, settings, seed)
    left_out = [name for name in settings.baselines if name != "pca"]
    if left_out:
        text = "%s left out: the training matrix is larger than `latent.memory_gb` (%g), and they need it whole"
        logger.warning(text, ", ".join(left_out), settings.memory_gb)
    if "pca" not in settings.baselines:
        return {}
    specs = learn_specs(data, balance=True)
    rows = np.flatnonzero(data.train & np.any([block.present for block in data.blocks], axis=0))
    centred = fit_projection_in_pieces(
        lambda: (align(data.take(p), specs).centred for p in pieces(rows)), settings.dims
    )
    return {"pca": PcaModel(specs, centred)}


def transform_pieces(model: LatentSpace, data: FeatureSet | StoredFeatures) -> np.ndarray:
    """Latents of all patients, shape `(n_patients, n_latent)`."""
    if isinstance(data, FeatureSet):
        return model.transform(data)
    return np.concatenate([model.transform(data.take(p)) for p in pieces(np.arange(len(data.patient_ids)))])


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
