"""Time of a Cox fit by exact Newton steps against lifelines on the same patients, as a ratio.

    PYTHONPATH=workflow/scripts python tests/benchmarks/cox_fit.py [--rounds 20] [--write]

Both start from no effects, and both find the maximum; how far apart they end is told too. Rounds alternate, so that a
busy machine slows both. Processor time of one thread, median over rounds.
"""

from __future__ import annotations

import argparse
import os
import time as clock

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from lifelines import CoxPHFitter

from results import write_table
from stratiome.survival.cox import fit_cox

SIZES = ((400, 6), (1500, 20), (2000, 40))


def patients(n: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariates, time and event of patients of whom the first column tells something."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, columns))
    failed, censored = rng.exponential(np.exp(-0.5 * x[:, 0])), rng.exponential(2.0, n)
    return x, np.minimum(failed, censored), failed <= censored


def measure(n: int, columns: int, rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, and the largest difference of a coefficient."""
    spent: list[tuple[float, float]] = []
    apart = 0.0
    for seed in range(rounds):
        x, time, event = patients(n, columns, seed)
        frame = pd.DataFrame(x).add_prefix("x").assign(time=time, event=event.astype(int))
        begin = clock.process_time()
        ours = fit_cox(x, time, event).coefficients
        middle = clock.process_time()
        theirs = CoxPHFitter().fit(frame, "time", "event").params_.to_numpy()
        spent.append((middle - begin, clock.process_time() - middle))
        apart = max(apart, float(np.abs(ours - theirs).max()))
    ours_s, theirs_s = np.median(spent, axis=0)
    return float(ours_s), float(theirs_s), apart


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    given = parser.parse_args()
    text = [
        f"`python tests/benchmarks/cox_fit.py --rounds {given.rounds}`",
        "",
        "| patients | columns | lifelines over ours, processor time | largest difference of a coefficient |",
        "|---|---|---|---|",
    ]
    for n, columns in SIZES:
        ours, theirs, apart = measure(n, columns, given.rounds)
        text.append(f"| {n} | {columns} | {theirs / ours:.1f} | {apart:.1e} |")
    print("\n".join(text))
    if given.write:
        write_table("cox_fit", "A Cox fit beside lifelines", "\n".join(text))


if __name__ == "__main__":
    main()
