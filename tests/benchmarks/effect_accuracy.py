"""Accuracy of predicted effects of single patients on processes with known truth (`tests/unit/learner_gates.py`).

    python tests/benchmarks/effect_accuracy.py [--replicates 6] [--seed 1000] [--cmhe CHECKOUT --python PYTHON]

Each cell trains on n patients with p covariates and judges on 2,000 others. Error is the root mean squared error of the
predicted effect on restricted mean survival, over all replicates, relative to giving everybody the doubly robust
average; its standard error is by the jackknife over replicates. Seeds below 1000 were used to choose how far the
combination is shrunk. Slope is that of the truth on predictions of the combination, over the replicates in which it has
one. With a checkout of auton-survival, and a Python that has what it needs, its CMHE learns from the same patients,
where effects differ.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "unit"), str(ROOT / "tests" / "benchmarks")]

import learner_gates as gates  # noqa: E402
import results  # noqa: E402
from stratiome.treatment.learners import COMBINED, CONSTANT, LEARNERS, Training, learn_effects  # noqa: E402

CELLS = ((500, 10, True), (500, 100, False), (1000, 10, False), (1000, 100, True))
"""Training patients, covariates, and whether treatment was assigned by chance."""
CMHE = "CMHE"
METHODS = (*LEARNERS, COMBINED)
WORKER = Path(__file__).with_name("cmhe_worker.py")


def head(methods: tuple[str, ...]) -> tuple[str, ...]:
    """Columns of the table."""
    return ("process", "n", "p", "treatment", *methods, "slope", "SD / average effect")


def patients(process: str, cell: tuple[int, int, bool], seed: int) -> tuple[gates.Patients, gates.Patients]:
    """Those who are learned from, and those who are judged on."""
    n, p, randomised = cell
    train = gates.draw(process, [seed, n, p, 1], n, p, randomised=randomised)
    return train, gates.draw(process, [seed, n, p, 2], 2000, p, randomised=randomised)


def cmhe(process: str, cell: tuple[int, int, bool], seeds: range, checkout: Path, python: Path) -> list[float]:
    """Errors of Cox mixtures with heterogeneous effects (Nagpal et al. 2022), by the authors' code; months, by seed."""
    given: dict[str, np.ndarray] = {"tau": np.array(gates.TAU), "seeds": np.array(seeds)}
    truth = []
    for seed in seeds:
        train, test = patients(process, cell, seed)
        own = {"x": train.x, "time": train.sample.time, "event": train.sample.event, "treated": train.sample.treated}
        given |= {f"{name}{seed}": values for name, values in own.items()} | {f"new{seed}": test.x}
        truth.append(test.truth)
    with TemporaryDirectory() as folder:
        sent, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        np.savez(sent, **given)  # type: ignore[arg-type]
        subprocess.run([python, WORKER, checkout, sent, found], check=True, stderr=subprocess.DEVNULL)
        with np.load(found) as effects:
            return [gates.measures(t, effects[str(seed)])[0] for t, seed in zip(truth, seeds, strict=True)]


def replicate(process: str, cell: tuple[int, int, bool], seed: int) -> dict[str, float]:
    """Errors in months by learner, slope, and the spread of the combination against the average effect."""
    train, test = patients(process, cell, seed)
    confounders = np.zeros((cell[0], 0)) if cell[2] else train.confounders
    found = learn_effects(Training(confounders, train.x, train.sample), test.x, gates.TAU, seed=seed).predicted
    errors = {k: gates.measures(test.truth, v)[0] for k, v in found.items()}
    spread = float(found[COMBINED].std() / abs(test.truth.mean()))
    return errors | {"slope": gates.measures(test.truth, found[COMBINED])[1], "spread": spread}


def relative(errors: np.ndarray, base: np.ndarray) -> tuple[float, float]:
    """Ratio of root mean squares, and its jackknife standard error."""
    keep = ~np.eye(len(errors), dtype=bool)
    drawn = np.array([np.sqrt((errors[k] ** 2).mean() / (base[k] ** 2).mean()) for k in keep]) if len(base) > 1 else []
    error = np.sqrt((len(drawn) - 1) * np.var(drawn)) if len(drawn) else float("nan")
    return float(np.sqrt((errors**2).mean() / (base**2).mean())), float(error)


def row(
    process: str, cell: tuple[int, int, bool], found: list[dict[str, float]], methods: tuple[str, ...] = METHODS
) -> str:
    """One line of the table."""
    base = np.array([f[CONSTANT] for f in found])
    cells = [process, str(cell[0]), str(cell[1]), "randomised" if cell[2] else "confounded"]
    for name in methods:
        if all(name in f for f in found):
            ratio, error = relative(np.array([f[name] for f in found]), base)
            cells.append(f"{ratio:.2f} ({error:.2f})")
        else:
            cells.append("–")
    slopes = [f["slope"] for f in found if np.isfinite(f["slope"])]
    cells.append(f"{np.mean(slopes):.2f} ({len(slopes)} of {len(found)})" if slopes else "–")
    cells.append(f"{np.mean([f['spread'] for f in found]):.2f}")
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--cmhe", type=Path, help="checkout of github.com/autonlab/auton-survival")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="Python that runs it")
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    given = parser.parse_args()
    methods = (*METHODS, CMHE) if given.cmhe else METHODS
    seeds = range(given.seed, given.seed + given.replicates)
    lines = [f"| {' | '.join(head(methods))} |", f"|{'---|' * len(head(methods))}"]
    print("\n".join(lines), flush=True)
    for cell in CELLS:
        for process in gates.PROCESSES:
            with threadpool_limits(1):
                found = [replicate(process, cell, s) for s in seeds]
            if given.cmhe and process != "same":
                errors = cmhe(process, cell, seeds, given.cmhe, given.python)
                found = [f | {CMHE: error} for f, error in zip(found, errors, strict=True)]
            lines.append(row(process, cell, found, methods))
            print(lines[-1], flush=True)
    if given.write:
        beside = " --cmhe CHECKOUT --python PYTHON" if given.cmhe else ""
        options = f"--replicates {given.replicates} --seed {given.seed}{beside}"
        command = f"`python tests/benchmarks/effect_accuracy.py {options}`"
        about = "Error relative to the average effect for everybody (jackknife SE); below 1 is better."
        text = f"{command}\n\n{about}\n\n" + "\n".join(lines)
        results.write_table("effect_accuracy", "Accuracy of predicted effects", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
