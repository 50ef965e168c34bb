"""Effects predicted by auton-survival's Cox mixtures with heterogeneous effects, in an environment of its own.

    PYTHON tests/benchmarks/cmhe_worker.py CHECKOUT GIVEN.npz FOUND.npz

Run by `effect_accuracy.py --cmhe`; imports nothing of Stratiome. `GIVEN.npz` holds `x`, `time`, `event` and `treated` of
the training patients, `new`, `tau` and `seed`; `FOUND.npz` gets `effect`, the difference in restricted mean survival
between the curves predicted for each new patient under either arm, months.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from scipy.integrate import trapezoid

SHAPE = {"k": 1, "g": 2, "layers": [50]}
TRAINING = {"learning_rate": 0.001, "batch_size": 256, "patience": 5, "iters": 200}
"""The best of eight settings by the truth on choosing seeds; that of the authors' example (0.01, two layers) was not."""
POINTS = 37


def main() -> int:
    """Read, fit, write."""
    checkout, given, found = sys.argv[1:]
    sys.path.insert(0, checkout)
    import torch
    from auton_survival.models.cmhe import DeepCoxMixturesHeterogenousEffects

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with np.load(given) as arrays:
        x, time, event, treated, new = (arrays[n].astype(np.float32) for n in ("x", "time", "event", "treated", "new"))
        tau, seed = float(arrays["tau"]), int(arrays["seed"])
    centre, scale = x.mean(axis=0), x.std(axis=0)
    model = DeepCoxMixturesHeterogenousEffects(**SHAPE, random_seed=seed)
    model.fit((x - centre) / scale, time, event, treated, **TRAINING)
    grid = np.linspace(0.0, tau, POINTS)
    months = []
    for arm in (0.0, 1.0):
        code = np.full(len(new), arm, dtype=np.float32)
        curve = model.predict_survival((new - centre) / scale, code, grid[1:].tolist())
        curve = np.clip(np.nan_to_num(curve, nan=0.0), 0.0, 1.0)  # splines of baselines leave 0 to 1
        months.append(trapezoid(np.column_stack([np.ones(len(new)), curve]), grid, axis=1))
    np.savez(found, effect=months[1] - months[0])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
