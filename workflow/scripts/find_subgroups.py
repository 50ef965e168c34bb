"""Rule find_subgroups: how many subgroups, and who belongs to which; learned on training patients, applied to all."""

import json
import logging
from pathlib import Path

import numpy as np

from stratiome.config import SubgroupConfig
from stratiome.features.block import read_features
from stratiome.latent.model import load_models
from stratiome.subgroups.find import find_subgroups
from stratiome.tables import (
    Memberships,
    SubgroupInformation,
    Subgroups,
    SubgroupSelection,
    SubgroupStability,
    from_rows,
    write_table,
)

logger = logging.getLogger("stratiome.find_subgroups")


def main(
    *,
    features: str,
    latents: str,
    weights: str,
    description: str,
    assignment: str,
    memberships: str,
    selection: str,
    stability: str,
    information: str,
    mixture: str,
    subgroups: SubgroupConfig,
    seed: int,
    resample: str,
) -> None:
    """Find subgroups in every latent space of one resample."""
    import anndata

    data = read_features(features)
    space = anndata.read_h5ad(latents)
    outputs = {
        "assignment": (assignment, Subgroups),
        "memberships": (memberships, Memberships),
        "selection": (selection, SubgroupSelection),
        "stability": (stability, SubgroupStability),
        "information": (information, SubgroupInformation),
    }
    rows: dict[str, list[dict]] = {key: [] for key in outputs}
    mixtures = {}
    for name, model in load_models(weights, description).items():
        found = find_subgroups(np.asarray(space.obsm[name]), data, model, subgroups, seed)
        chosen, p, decides = found.selection.chosen, found.selection.p_value, found.selection.p_stable
        logger.info("%s: %d subgroups, p = %.3f, %.3f where stable", name, chosen, p, decides)
        for key, made in found.rows(name, resample, data, subgroups).items():
            rows[key] += made
        mixtures[name] = found.mixtures()
    for key, (path, contract) in outputs.items():
        write_table(from_rows(rows[key], contract), path, contract)
    Path(mixture).write_text(json.dumps(mixtures, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
