"""Effects predicted by auton-survival's Cox mixtures with heterogeneous effects, in an environment of its own.

    PYTHON tests/benchmarks/cmhe_worker.py CHECKOUT GIVEN.npz FOUND.npz

Run by `effect_accuracy.py --cmhe`; imports nothing of Stratiome. `GIVEN.npz` holds `tau`, `seeds`, and by seed (`x7`)
the training patients' `x`, `time`, `event`, `treated` and the covariates `new` of others. `FOUND.npz` gets by seed
(`7`) the difference in restricted mean survival between the curves predicted for each of them under either arm.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
from scipy.integrate import trapezoid

SHAPE = {"k": 1, "g": 2, "layers": [50]}
TRAINING = {"learning_rate": 0.001, "batch_size": 256, "patience": 5, "iters": 200}
"""The best of eight settings, by the truth, on choosing seeds; the authors' example (two layers, 0.01) was worse."""
POINTS = 37


def effect(
    model: Any, x: np.ndarray, time: np.ndarray, event: np.ndarray, treated: np.ndarray, new: np.ndarray, tau: float
) -> np.ndarray:
    """Fit; months gained of new patients."""
    centre, scale = x.mean(axis=0), x.std(axis=0)
    model.fit((x - centre) / scale, time, event, treated, **TRAINING)
    grid = np.linspace(0.0, tau, POINTS)
    months = []
    for arm in (0.0, 1.0):
        code = np.full(len(new), arm, dtype=np.float32)
        curve = model.predict_survival((new - centre) / scale, code, grid[1:].tolist())
        curve = np.clip(np.nan_to_num(curve, nan=0.0), 0.0, 1.0)  # splines of baselines leave 0 to 1
        months.append(trapezoid(np.column_stack([np.ones(len(new)), curve]), grid, axis=1))
    return months[1] - months[0]


def main() -> int:
    """Read, fit, write."""
    checkout, given, found = sys.argv[1:]
    sys.path.insert(0, checkout)
    import torch
    from auton_survival.models.cmhe import DeepCoxMixturesHeterogenousEffects

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    names, effects = ("x", "time", "event", "treated", "new"), {}
    with np.load(given) as arrays:
        for seed in arrays["seeds"]:
            own = (arrays[f"{name}{seed}"].astype(np.float32) for name in names)
            model = DeepCoxMixturesHeterogenousEffects(**SHAPE, random_seed=int(seed))
            effects[str(seed)] = effect(model, *own, tau=float(arrays["tau"]))
    np.savez(found, **effects)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
