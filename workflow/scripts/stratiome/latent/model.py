"""The latent models as an analysis uses them: fit, transform, save, load."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stratiome.config import LatentConfig
from stratiome.features.block import FeatureSet, StoredFeatures, pieces
from stratiome.latent.baselines import PcaModel
from stratiome.latent.ensemble import Projection, fit_projection
from stratiome.latent.errors import LatentError
from stratiome.latent.fusion import FusionModel
from stratiome.latent.inputs import OmicSpec, align, learn_specs
from stratiome.latent.mofa import MofaModel
from stratiome.latent.space import LatentSpace

if TYPE_CHECKING:
    from torch import Tensor

    from stratiome.latent.checkpoint import Checkpoint
    from stratiome.latent.module import StackedVae

FORMAT = 2


@dataclass(frozen=True)
class LatentModel:
    """Ensemble of multimodal variational autoencoders with one consensus space.

    The posterior means of all members are put side by side and projected on their leading principal components in the
    training patients: directions that all members found stay, those of a single member fade.

    Attributes
    ----------
    specs
        One per omic.
    settings
        Sizes: dims, hidden, members.
    weights
        Weights of `module.StackedVae`, leading axis the member.
    projection
        Consensus over members.
    history
        One entry per member and epoch: member, epoch, train_loss, validation_loss (nats per feature). Not stored.
    """

    specs: tuple[OmicSpec, ...]
    settings: dict[str, int]
    weights: dict[str, np.ndarray]
    projection: Projection
    history: list[dict[str, float]] = field(default_factory=list, repr=False)

    @classmethod
    def fit(
        cls,
        features: FeatureSet | StoredFeatures,
        settings: LatentConfig,
        seed: int,
        checkpoint: Checkpoint | None = None,
    ) -> LatentModel:
        """Train on the training patients who have at least one omic.

        Parameters
        ----------
        features
            Features of all patients; others than those with role train are not looked at.
        settings
            Sizes and schedule.
        seed
            Seed of everything random.
        checkpoint
            Where training is kept while it goes on, see `train.train`; None for nowhere.

        Raises
        ------
        LatentError
            If too few training patients have omics, or a loss is not finite.
        TrainingStopped
            If a signal told training to stop, and there is a checkpoint.
        """
        from stratiome.latent.train import train

        specs = learn_specs(features, balance=False, counts=settings.counts == "negative_binomial")
        rows = np.flatnonzero(features.train & np.any([b.present for b in features.blocks], axis=0))
        trained = train(features, specs, rows, settings, seed, checkpoint=checkpoint)
        weights = {k: v.numpy() for k, v in trained.weights.items()}
        sizes = {"dims": settings.dims, "hidden": settings.hidden, "members": settings.members}
        means, _ = _posterior_means(features, rows, specs, sizes, weights)
        return cls(specs, sizes, weights, fit_projection(means, settings.dims), trained.history)

    def transform(self, features: FeatureSet | StoredFeatures) -> np.ndarray:
        """Consensus posterior mean of any patients.

        Returns
        -------
        numpy.ndarray
            Shape `(n_patients, n_latent)`, float64, centred on the training patients; 0 for patients without any omic.
        """
        rows = np.arange(len(features.patient_ids))
        means, has_any = _posterior_means(features, rows, self.specs, self.settings, self.weights)
        return np.where(has_any[:, None], self.projection.apply(means), 0.0)

    def differentiable(self) -> Callable[[Tensor, Tensor], Tensor]:
        """`transform` as a function of what `inputs.align` gives, `centred` and `observed`, for patients with any omic.

        Double tensors of shapes `(n_patients, n_all_features)` and `(n_patients, n_omics)` give one of shape
        `(n_patients, n_latent)`.
        """
        import torch

        module = build_module(self.specs, self.settings, self.weights)
        widths = [len(s.features) for s in self.specs]
        centre, components = (torch.from_numpy(v) for v in (self.projection.mean, self.projection.components))

        def places(centred: Tensor, observed: Tensor) -> Tensor:
            mean = module.encode(centred.split(widths, dim=1), observed).mean
            flat = mean.permute(1, 0, 2).reshape(len(centred), -1)
            return (flat - centre.to(flat)) @ components.to(flat)

        return places

    def shuffled(self, seed: int) -> LatentModel:
        """The same model with the entries of each weight of its encoders in random order: it has learned nothing.

        Parameters
        ----------
        seed
            Seed of the order.
        """
        rng = np.random.default_rng(seed)
        weights = {
            name: rng.permuted(w.reshape(len(w), -1), axis=1).reshape(w.shape)
            if name.startswith(("encoder_", "out_"))
            else w
            for name, w in self.weights.items()
        }
        return replace(self, weights=weights)

    def save(self, weights_path: str, description_path: str) -> None:
        """Write weights (safetensors) and description (JSON)."""
        save_models({"vae": self}, weights_path, description_path)

    @classmethod
    def load(cls, weights_path: str, description_path: str) -> LatentModel:
        """Read the model named vae; no code of the files is run.

        Raises
        ------
        LatentError
            If the files do not belong together or hold no such model.
        """
        model = load_models(weights_path, description_path).get("vae")
        if not isinstance(model, LatentModel):
            raise LatentError(
                f"{description_path} describes no model `vae`. Suggestion: give the files of one train_latent"
            )
        return model

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Numbers and description to store."""
        weights = {f"weights.{k}": v for k, v in self.weights.items()}
        return weights | self.projection.tensors(), {"kind": "vae", "settings": self.settings}

    @classmethod
    def from_state(
        cls,
        tensors: dict[str, np.ndarray],
        description: dict[str, Any],
        specs: tuple[OmicSpec, ...],
    ) -> LatentModel:
        """The model of a stored state."""
        weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
        return cls(specs, {k: int(v) for k, v in description["settings"].items()}, weights, Projection.of(tensors))


KINDS: dict[str, Any] = {"vae": LatentModel, "pca": PcaModel, "mofa": MofaModel, "snf": FusionModel}


def save_models(models: Mapping[str, LatentSpace], weights_path: str, description_path: str) -> None:
    """Write latent models together: numbers as safetensors, description as JSON.

    Parameters
    ----------
    models
        Models by name.
    weights_path, description_path
        Files to write.
    """
    from safetensors.numpy import save_file

    tensors: dict[str, np.ndarray] = {}
    described: dict[str, Any] = {}
    for name, model in models.items():
        own, description = model.state()
        own |= {f"omic.{s.name}.mean": s.mean for s in model.specs}
        own |= {f"omic.{s.name}.scale": np.array([s.scale]) for s in model.specs}
        tensors |= {f"{name}.{k}": np.ascontiguousarray(v) for k, v in own.items()}
        described[name] = {**description, "omics": [s.describe() for s in model.specs]}
    for path in (weights_path, description_path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file({k: tensors[k] for k in sorted(tensors)}, weights_path)
    text = json.dumps({"format": FORMAT, "models": described}, indent=1, sort_keys=True)
    Path(description_path).write_text(text + "\n", encoding="utf-8")


def load_models(weights_path: str, description_path: str) -> dict[str, LatentSpace]:
    """Read what `save_models` wrote.

    Raises
    ------
    LatentError
        If the files do not belong together.
    """
    from safetensors.numpy import load_file

    document = json.loads(Path(description_path).read_text(encoding="utf-8"))
    if document.get("format") != FORMAT:
        raise LatentError(
            f"{description_path} has format {document.get('format')}, not {FORMAT}. Suggestion: train again"
        )
    tensors = load_file(weights_path)
    models: dict[str, LatentSpace] = {}
    for name, description in document["models"].items():
        own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        try:
            specs = tuple(
                OmicSpec(
                    o["name"],
                    o["likelihood"],
                    tuple(o["features"]),
                    own[f"omic.{o['name']}.mean"],
                    float(own[f"omic.{o['name']}.scale"][0]),
                )
                for o in description["omics"]
            )
            models[name] = KINDS[description["kind"]].from_state(own, description, specs)
        except KeyError as error:
            raise LatentError(
                f"{weights_path} lacks {error} of model {name}. "
                "Suggestion: give weights and description of one train_latent"
            ) from None
    return models


def _posterior_means(
    features: FeatureSet | StoredFeatures,
    rows: np.ndarray,
    specs: tuple[OmicSpec, ...],
    sizes: dict[str, int],
    weights: dict[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means of the patients `rows`, and who of them has any omic.

    Means of all members lie side by side, shape `(n_patients, n_members * n_latent)`, in double precision.
    """
    import torch

    module = build_module(specs, sizes, weights)
    widths = [len(s.features) for s in specs]
    means, has_any = [np.zeros((0, sizes["members"] * sizes["dims"]))], [np.zeros(0, dtype=bool)]
    for piece in pieces(rows):
        inputs = align(features.take(piece), specs)
        by_omic = torch.from_numpy(inputs.centred).split(widths, dim=1)
        with torch.no_grad():
            mean = module.encode(by_omic, torch.from_numpy(inputs.observed)).mean
        means.append(mean.permute(1, 0, 2).reshape(len(piece), -1).numpy())
        has_any.append(inputs.has_any)
    return np.concatenate(means), np.concatenate(has_any)


def build_module(specs: tuple[OmicSpec, ...], sizes: dict[str, int], weights: dict[str, np.ndarray]) -> StackedVae:
    """The module of stored weights, in double precision.

    Raises
    ------
    LatentError
        If the weights do not fit.
    """
    import torch

    from stratiome.latent.module import OmicShape, StackedVae

    shapes = [OmicShape(len(s.features), s.likelihood) for s in specs]
    module = StackedVae(shapes, sizes["dims"], sizes["hidden"], seeds=range(sizes["members"]))
    try:
        module.weights.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    except RuntimeError as error:
        raise LatentError(f"the weights do not fit the description: {error}. Suggestion: train again") from None
    return module.double()
