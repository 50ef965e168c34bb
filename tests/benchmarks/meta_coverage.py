"""How often intervals over sites hold what they are meant to: the mean of sites, and the truth of one more site.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow/scripts python tests/benchmarks/meta_coverage.py

Sites' truths are normal around 0.6 with a standard deviation `tau`, their estimates normal around these with standard
errors that are uniform between 0.1 and 0.3. METHODS asks for 95 % intervals; a fixed-effect interval is the yardstick
that knows no variance between sites.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import norm

from results import write_table
from stratiome.survival.meta import random_effects

SITES, SPREADS = (3, 4, 6, 10, 20), (0.0, 0.1, 0.3, 1.0)
MEAN = 0.6


def coverage(k: int, tau: float, replicates: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Share of replicates in which intervals hold what they are for.

    Returns
    -------
    tuple
        The truth of a new site in the prediction interval and in the fixed-effect interval, the mean in its own
        interval and in the fixed-effect one.
    """
    hits = np.zeros(4)
    for _ in range(replicates):
        errors = rng.uniform(0.1, 0.3, k)
        truth, new = rng.normal(MEAN, tau, k), rng.normal(MEAN, tau)
        y = rng.normal(truth, errors)
        found = random_effects(y, errors)
        weight = errors**-2.0
        fixed, half = (weight * y).sum() / weight.sum(), norm.ppf(0.975) / np.sqrt(weight.sum())
        held = (
            found.low <= new <= found.high,
            abs(new - fixed) <= half,
            found.lower <= MEAN <= found.upper,
            abs(MEAN - fixed) <= half,
        )
        hits += held
    return tuple(hits / replicates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    lines = [
        f"{given.replicates} replicates each, seed {given.seed}; Monte Carlo error of 0.95:"
        f" {np.sqrt(0.95 * 0.05 / given.replicates):.3f}.",
        "",
        "| sites | SD between sites | new site in prediction interval | new site in fixed-effect interval |"
        " mean in its interval | mean in fixed-effect interval |",
        "|---|---|---|---|---|---|",
    ]
    for tau in SPREADS:
        for k in SITES:
            rng = np.random.default_rng([given.seed, k, round(100 * tau)])
            found = coverage(k, tau, given.replicates, rng)
            lines.append(f"| {k} | {tau:g} | " + " | ".join(f"{v:.3f}" for v in found) + " |")
    write_table("meta_coverage", "Random effects over sites: coverage", "\n".join(lines))


if __name__ == "__main__":
    main()
