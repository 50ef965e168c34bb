"""One fit of `fit_cost.py` in a process of its own: fit_cost_children.py CONTENDER FOLDER OUT.

Imports and reading come first and are not timed; OUT gets processor seconds of fitting and predicting, and the risks of
the held-out patients.
"""

from __future__ import annotations

import inspect
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

RESAMPLE = "given-part"
Plain = dict[str, np.ndarray]


def _columns(plain: Plain, *names: str) -> np.ndarray:
    return np.column_stack([plain[n] for n in names])


def _all_columns(plain: Plain) -> np.ndarray:
    return _columns(plain, "clinical", *sorted(k for k in plain if k.startswith("omic ")))


# --- others, called as their guides do -----------------------------------------------------------------------------


def _sksurv(plain: Plain, x: np.ndarray, model) -> Callable[[], np.ndarray]:
    from sksurv.util import Surv

    train, test = plain["train"], plain["test"]
    y = Surv.from_arrays(plain["event"][train], plain["time"][train])
    return lambda: model.fit(x[train], y).predict(x[test])


def sksurv_cox(plain: Plain) -> Callable[[], np.ndarray]:
    """Plain Cox regression on clinical columns."""
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    return _sksurv(plain, plain["clinical"], CoxPHSurvivalAnalysis(ties="efron"))


def sksurv_coxnet(plain: Plain) -> Callable[[], np.ndarray]:
    """Elastic net on everything, the penalty by five folds along its own path, as in scikit-survival's user guide."""
    from sklearn.model_selection import GridSearchCV, KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sksurv.linear_model import CoxnetSurvivalAnalysis
    from sksurv.util import Surv

    x, train, test = _all_columns(plain), plain["train"], plain["test"]
    y = Surv.from_arrays(plain["event"][train], plain["time"][train])

    def fit() -> np.ndarray:
        settings = {"l1_ratio": 0.5, "alpha_min_ratio": 0.01, "max_iter": 1000}
        path = make_pipeline(StandardScaler(), CoxnetSurvivalAnalysis(**settings)).fit(x[train], y)
        alphas = path.named_steps["coxnetsurvivalanalysis"].alphas_
        search = GridSearchCV(
            make_pipeline(StandardScaler(), CoxnetSurvivalAnalysis(l1_ratio=0.5, max_iter=1000)),
            param_grid={"coxnetsurvivalanalysis__alphas": [[a] for a in alphas]},
            cv=KFold(n_splits=5, shuffle=True, random_state=0),
            error_score=0.5,
        )
        return search.fit(x[train], y).predict(x[test])

    return fit


def sksurv_forest(plain: Plain, x: np.ndarray) -> Callable[[], np.ndarray]:
    """Random survival forest, trees and leaves as ours."""
    from sksurv.ensemble import RandomSurvivalForest

    return _sksurv(plain, x, RandomSurvivalForest(n_estimators=200, min_samples_leaf=15, random_state=0, n_jobs=1))


def lifelines_cox(plain: Plain, x: np.ndarray, penalizer: float) -> Callable[[], np.ndarray]:
    """lifelines' Cox regression, with a ridge penalty if there is one."""
    import pandas as pd
    from lifelines import CoxPHFitter

    train, test = plain["train"], plain["test"]
    varying = x[:, x[train].std(axis=0) > 1e-8]
    frame = pd.DataFrame(varying, columns=[f"x{j}" for j in range(varying.shape[1])])
    frame["time"], frame["event"] = plain["time"], plain["event"]

    def fit() -> np.ndarray:
        fitted = CoxPHFitter(penalizer=penalizer).fit(frame.iloc[train], "time", "event")
        return fitted.predict_log_partial_hazard(frame.iloc[test]).to_numpy()

    return fit


PEERS: dict[str, Callable[[Plain], Callable[[], np.ndarray]]] = {
    "CoxPHSurvivalAnalysis": sksurv_cox,
    "CoxPHFitter": lambda p: lifelines_cox(p, p["clinical"], 0.0),
    "Coxnet, 5-fold search": sksurv_coxnet,
    "CoxPHFitter, ridge": lambda p: lifelines_cox(p, _all_columns(p), 0.1),
    "RandomSurvivalForest, clinical": lambda p: sksurv_forest(p, p["clinical"]),
    "RandomSurvivalForest, all omics": lambda p: sksurv_forest(p, _all_columns(p)),
}


# --- ours ----------------------------------------------------------------------------------------------------------


def _config(folder: Path):
    import yaml

    from stratiome.config import Config

    return Config.model_validate(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))


def ours(model: str, folder: Path, plain: Plain) -> Callable[[], np.ndarray]:
    """One of our models by `fit_models`, as the rule fit_prognosis calls it."""
    from by_workflow import read_inputs
    from stratiome.prognosis.models import fit_models

    config = _config(folder)
    inputs, _, _ = read_inputs(folder / "results", config, RESAMPLE)
    settings = config.prognosis.model_copy(update={"models": () if model == "clinical" else (model,)})

    def fit() -> np.ndarray:
        rng = np.random.default_rng(config.seed)
        fits = fit_models(inputs, plain["grid"], settings, tau=float(plain["tau"]), rng=rng)
        return next(f for f in fits if f.model == model).risk[plain["test"]]

    return fit


def ours_whole(models: tuple[str, ...] | None, read: str, folder: Path, plain: Plain) -> Callable[[], np.ndarray]:
    """The rules train_latent and fit_prognosis, one after the other; the risks of the model `read`."""
    import anndata  # noqa: F401
    import polars as pl
    import torch  # noqa: F401

    import fit_prognosis
    import train_latent
    from stratiome.features.block import read_features

    config = _config(folder)
    if models is not None:
        config = config.model_copy(update={"prognosis": config.prognosis.model_copy(update={"models": models})})
    here, cohort, out = folder / "results/resamples" / RESAMPLE, folder / "results/cohort", folder / "whole"
    out.mkdir(exist_ok=True)
    ids = read_features(str(here / "features.h5mu")).patient_ids

    def fit() -> np.ndarray:
        train_latent.main(
            features=str(here / "features.h5mu"),
            latents=str(out / "latent.h5ad"),
            weights=str(out / "latent.safetensors"),
            description=str(out / "latent.json"),
            history=str(out / "training.parquet"),
            latent=config.latent,
            seed=config.seed,
            resample=RESAMPLE,
        )
        given = {
            "clinical": str(cohort / "clinical.parquet"),
            "outcome": str(cohort / "outcome.parquet"),
            "resamples": str(cohort / "resamples.parquet"),
            "features": str(here / "features.h5mu"),
            "latents": str(out / "latent.h5ad"),
            "weights": str(out / "latent.safetensors"),
            "description": str(out / "latent.json"),
            "data": config.data,
            "endpoint": config.endpoint,
            "covariates": config.covariates,
            "prognosis": config.prognosis,
            "seed": config.seed,
            "resample": RESAMPLE,
            "explained": False,  # what omics add when exchanged is no part of a fit
        }
        asked = inspect.signature(fit_prognosis.main).parameters
        outputs = {name: str(out / f"{name}.parquet") for name in asked if name not in given}
        fit_prognosis.main(**{n: v for n, v in given.items() if n in asked}, **outputs)
        risks = pl.read_parquet(out / "risks.parquet").filter(pl.col("model") == read)
        known = dict(risks.select("patient_id", "risk").iter_rows())
        return np.array([known[ids[i]] for i in plain["test"]])

    return fit


WHOLE = {
    "train_latent + clinical_latent": (("clinical_latent",), "clinical_latent"),
    "train_latent + fit_prognosis, all models": (None, "stacked"),
}
OURS = (
    "clinical",
    "clinical_omics",
    "clinical_latent",
    "clinical_factors",
    "clinical_forest",
    "forest",
    "deep",
    *WHOLE,
)


def main(contender: str, folder: Path, out: Path) -> None:
    """Read, then fit and predict under the clock, then write."""
    from threadpoolctl import threadpool_limits

    with np.load(folder / "plain.npz") as stored:
        plain = {k: stored[k] for k in stored.files}
    if contender in WHOLE:
        fit = ours_whole(*WHOLE[contender], folder, plain)
    elif contender in OURS:
        fit = ours(contender, folder, plain)
    else:
        fit = PEERS[contender](plain)
    with threadpool_limits(1):
        started = time.process_time()
        risk = fit()
        seconds = time.process_time() - started
    out.write_text(json.dumps({"seconds": seconds, "risk": np.asarray(risk, dtype=float).tolist()}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
