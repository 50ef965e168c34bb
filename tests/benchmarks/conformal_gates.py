"""Gate of the conformal lower bounds (METHODS §5): mean true coverage of 90 % bounds, with mutants that must fail.

    python tests/benchmarks/conformal_gates.py --replicates 200

Coverage of ours must be 0.890 to 0.920 in the easy simulator and in the hard one (wrong base model, the sick censored
early), and with a wrong model of censoring where the base model is right; every mutant must be outside in at least one
simulator. Beside it, and no gates: coverage as it is estimated from the censored follow-up of the new patients, and
coverage of the sickest quarters, since bounds hold on average over patients only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "unit")]

HEAD = (
    "simulator",
    "method",
    "mean coverage (SE)",
    "within bounds",
    "estimated from follow-up",
    "sickest quarter, predicted",
    "sickest quarter, true",
    "median bound, months",
)


def simulate(name: str, seeds: range, patients: int) -> dict[str, np.ndarray]:
    """Method -> coverages and median bound of every replicate, shape `(n_replicates, 5)`."""
    import conformal_gates as gates

    found: dict[str, list[tuple[float, ...]]] = {method.__name__: [] for method in gates.GATES[name]}
    for seed in seeds:
        made = gates.replicate(gates.SIMULATORS[name], seed, patients)
        for method in gates.GATES[name]:
            found[method.__name__].append(gates.shares(method, made))
    return {method: np.array(shares) for method, shares in found.items()}


def main() -> int:
    """Print the table; exit status 1 if ours is outside somewhere or a mutant nowhere."""
    from threadpoolctl import threadpool_limits

    import conformal_gates as gates

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patients", type=int, default=1000, help="training patients, and as many new ones")
    given = parser.parse_args()
    outside: set[tuple[str, str]] = set()
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
    for name in gates.GATES:
        with threadpool_limits(1):
            found = simulate(name, range(given.seed, given.seed + given.replicates), given.patients)
        for method, shares in found.items():
            covered, *beside, bound = shares.mean(axis=0)
            error = shares[:, 0].std(ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else np.nan
            inside = gates.LOWEST <= covered <= gates.HIGHEST
            outside |= set() if inside else {(name, method)}
            cells = [name, method, f"{covered:.3f} ({error:.3f})", "yes" if inside else "no"]
            cells += [*(f"{share:.3f}" for share in beside), f"{bound:.1f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
    mutants = {(name, method.__name__) for name, methods in gates.GATES.items() for method in methods} - gates.RIGHT
    wrong = [f"{name}: {method} is outside" for name, method in sorted(outside & gates.RIGHT)]
    never = {method for _, method in mutants} - {method for _, method in outside}
    wrong += [f"{method} is outside nowhere" for method in sorted(never)]
    print(f"\nNOT as it must be: {'; '.join(wrong)}" if wrong else "\nas it must be")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
