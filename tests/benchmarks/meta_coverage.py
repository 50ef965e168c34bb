"""How often intervals over sites hold what they are meant to: the mean of sites, and the truth of one more site.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow/scripts python tests/benchmarks/meta_coverage.py

Sites' truths are normal around 0.6 with a standard deviation `tau`, their estimates normal around these with standard
errors that are uniform between 0.1 and 0.3. METHODS asks for 95 % intervals. Prediction intervals are Higgins' (2009),
with t of `k - 2` degrees of freedom, and Nagashima's (2019), alone and never narrower than the interval of the mean; a
fixed-effect interval is the yardstick that knows no variance between sites.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import norm, t

from results import write_table
from stratiome.survival.meta import random_effects
from stratiome.survival.next_site import prediction_interval

SITES, SPREADS = (3, 4, 6, 10, 20), (0.0, 0.1, 0.3, 1.0)
MEAN = 0.6


def coverage(k: int, tau: float, replicates: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Share of replicates in which intervals hold what they are for, and median widths.

    Returns
    -------
    tuple
        The truth of a new site in the intervals of Higgins, of Nagashima, of Nagashima with that of the mean, and in
        the fixed-effect interval; the mean in its own interval and in the fixed-effect one. Widths of the first three.
    """
    hits, widths = np.zeros(6), []
    for _ in range(replicates):
        errors = rng.uniform(0.1, 0.3, k)
        truth, new = rng.normal(MEAN, tau, k), rng.normal(MEAN, tau)
        y = rng.normal(truth, errors)
        found = random_effects(y, errors)
        low, high = prediction_interval(y, errors)
        half = t.ppf(0.975, k - 2) * np.sqrt(found.tau2 + found.error**2)
        weight = errors**-2.0
        fixed, around = (weight * y).sum() / weight.sum(), norm.ppf(0.975) / np.sqrt(weight.sum())
        ahead = (
            (found.estimate - half, found.estimate + half),
            (low, high),
            (min(low, found.lower), max(high, found.upper)),
        )
        hits += (
            *(a <= new <= b for a, b in ahead),
            abs(new - fixed) <= around,
            found.lower <= MEAN <= found.upper,
            abs(MEAN - fixed) <= around,
        )
        widths.append([b - a for a, b in ahead])
    return hits / replicates, np.median(widths, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    lines = [
        f"{given.replicates} replicates each, seed {given.seed}; Monte Carlo error of 0.95:"
        f" {np.sqrt(0.95 * 0.05 / given.replicates):.3f}.",
        "",
        "| sites | SD between sites | new site in Higgins' interval | in Nagashima's | in Nagashima's with that of the"
        " mean | in the fixed-effect interval | mean in its interval | mean in the fixed-effect interval |"
        " median widths of the first three |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for tau in SPREADS:
        for k in SITES:
            rng = np.random.default_rng([given.seed, k, round(100 * tau)])
            found, widths = coverage(k, tau, given.replicates, rng)
            cells = [f"{v:.3f}" for v in found] + [", ".join(f"{w:.2f}" for w in widths)]
            lines.append(f"| {k} | {tau:g} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    write_table("meta_coverage", "Random effects over sites: coverage", "\n".join(lines))


if __name__ == "__main__":
    main()
