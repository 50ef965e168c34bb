"""Gates of the latent model on linear-Gaussian data (METHODS §4), with mutants that must fail them.

    python tests/benchmarks/latent_gates.py --replicates 100

Subspace within 5 degrees of closed-form probabilistic PCA in every replicate; with three in ten omics missing, a higher
held-out log-likelihood than mean imputation in at least 95 % of the replicates; a held-out patient with one omic of
three placed within 0.05 of the share of variance that the true model tells, in at least 95 % of the replicates.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "unit")]

LEAST_SHARE = 0.95


def main() -> None:
    """Run all replicates of all gates; exit with an error if one fails, or a mutant passes."""
    import torch

    import latent_gates as gates

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(given.seed, given.seed + given.replicates)
    wrong = []
    print("| gate | model | estimate | bound | passes |\n|---|---|---|---|---|")

    def row(gate: str, name: str, estimate: str, bound: str, passes: bool) -> None:
        print(f"| {gate} | {name} | {estimate} | {bound} | {'yes' if passes else 'no'} |", flush=True)
        if passes != (name == "ours"):
            wrong.append(f"{gate}: {name}")

    for fit in (gates.ours, gates.stopped_early, gates.rows_mixed_up):
        found = np.array([gates.angle(fit, seed) for seed in seeds])
        text = f"largest of {len(found)}: {found.max():.2f}, median {np.median(found):.2f} degrees"
        row("subspace", fit.__name__, text, f"< {gates.MOST_DEGREES:.0f}", bool(found.max() < gates.MOST_DEGREES))
    for fit in (gates.ours, gates.mean_imputing):
        found = np.array([gates.gain_over_imputing(fit, seed) for seed in seeds])
        share = float((found > 0).mean())
        text = f"{share:.0%} of {len(found)}, median gain {np.median(found):.2f} nats per patient"
        row("missing omics", fit.__name__, text, f">= {LEAST_SHARE:.0%}", share >= LEAST_SHARE)
    for fit in (gates.ours, gates.never_hiding):
        found = np.array([gates.lost_alone(fit, seed) for seed in seeds])
        share = float((found < gates.MOST_LOST).mean())
        text = f"{share:.0%} of {len(found)} lose less than {gates.MOST_LOST}, median {np.median(found):.3f}"
        row("one omic of three", fit.__name__, text, f">= {LEAST_SHARE:.0%}", share >= LEAST_SHARE)
    if wrong:
        raise SystemExit(f"not as they should be: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
