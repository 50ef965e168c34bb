"""Gates of what is said about predictions (METHODS §5): calibration, D-calibration, intervals of the metrics, their
censoring weights, and competing risks.

    python tests/benchmarks/prognosis_gates.py [--replicates 1000] [--parts slope level ...] [--write]

Each line is a mean or a share over replicates with its bounds. Lines of ours must be within, every mutant must be
outside in at least one line of its part. Lines without bounds are for the reader. `--write` puts the table into
RESULTS.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "unit"), str(ROOT / "tests" / "benchmarks")]

HEAD = ("part", "truth", "method", "quantity", "mean (SE)", "bounds", "within")


@dataclass(frozen=True)
class Line:
    """Values of one method over replicates; `bounds` None where nothing is asked."""

    part: str
    truth: str
    method: str
    quantity: str
    values: np.ndarray
    bounds: tuple[float, float] | None

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def within(self) -> bool | None:
        return None if self.bounds is None else self.bounds[0] <= self.mean <= self.bounds[1]

    @property
    def ours(self) -> bool:
        return "ours" in self.method

    @property
    def text(self) -> str:
        error = np.std(self.values, ddof=1) / np.sqrt(len(self.values)) if len(self.values) > 1 else np.nan
        bounds = "–" if self.bounds is None else f"{self.bounds[0]:.3f} to {self.bounds[1]:.3f}"
        said = {None: "–", True: "yes", False: "no"}[self.within]
        cells = (self.part, self.truth, self.method, self.quantity, f"{self.mean:.3f} ({error:.3f})", bounds, said)
        return f"| {' | '.join(cells)} |"


def _columns(found: Sequence[dict], key: object) -> np.ndarray:
    return np.array([f[key] for f in found], dtype=np.float64)


def slope(seeds: range) -> list[Line]:
    """Calibration slope of the true model, of a planted one, and of an overfitted one on patients it has seen."""
    import calibration_gates as gates

    lines = []
    for planted, bounds in gates.SLOPE_BOUNDS.items():
        found = [gates.slopes(planted, s) for s in seeds]
        lines += [Line("slope", f"slope {planted:g}", m, "slope", _columns(found, m), bounds) for m in found[0]]
    found = [gates.overfitted(s) for s in seeds]
    truth, bounds = "overfitted Cox model", (-0.05, 0.05)
    lines += [Line("slope", truth, m, "slope less its truth", _columns(found, m), bounds) for m in found[0]]
    return lines


def level(seeds: range) -> list[Line]:
    """Intercept, observed over expected and ICI."""
    import calibration_gates as gates

    lines = []
    for shift in (0.0, gates.PLANTED_SHIFT):
        found, bounds = [gates.levels(shift, s) for s in seeds], gates.level_bounds(shift)
        truth = f"intercept {shift:g}"
        lines += [
            Line(
                "level",
                truth,
                m,
                quantity,
                _columns([f[m] for f in found], quantity),
                bounds[quantity],
            )
            for m in found[0]
            for quantity in bounds
        ]
    return lines


def d_calibration(seeds: range) -> list[Line]:
    """Size and power of the test of D-calibration."""
    import calibration_gates as gates

    lines = []
    for planted, n, bounds in (
        (1.0, 500, gates.SIZE),
        (gates.PLANTED_SLOPE, gates.POWER_PATIENTS, gates.POWER),
        (gates.PLANTED_SLOPE, 500, None),
    ):
        found = [gates.rejections(planted, s, n) for s in seeds]
        truth = f"slope {planted:g}, n = {n}"
        lines += [Line("D-calibration", truth, m, "rejected at 5 %", _columns(found, m), bounds) for m in found[0]]
    return lines


def coverage(seeds: range) -> list[Line]:
    """Coverage of 95 % bootstrap intervals of metrics and of a paired difference, by the evaluation of the workflow."""
    import calibration_gates as gates

    lines = []
    for draws in gates.RESAMPLINGS:
        found = [gates.intervals(s, draws) for s in seeds]
        for key in found[0]:
            model, metric, versus = key
            name = f"{metric}, {model}{f' less {versus}' if versus else ''}"
            lines.append(Line("coverage", "population", draws.__name__, name, _columns(found, key), gates.COVERAGE))
    return lines


def chance(seeds: range) -> list[Line]:
    """What is said of the ICI of a perfect model, and coverage of the interval of its intercept."""
    import calibration_gates as gates

    asked = {"ICI less chance": (-0.005, 0.005), "above chance": gates.SIZE, "intercept covered": gates.COVERAGE}
    lines = []
    for n in (500, 2000):
        found = [gates.by_chance(s, n) for s in seeds]
        for quantity in found[0]:
            method = "ICI told from zero by its interval" if quantity == "above zero" else "ours"
            bounds = gates.SIZE if quantity == "above zero" else asked.get(quantity)
            lines.append(Line("chance", f"true model, n = {n}", method, quantity, _columns(found, quantity), bounds))
    return lines


def _known(part: str) -> Callable[[range], list[Line]]:
    """Metrics against their truth where censoring depends on a marker, or other causes compete."""

    def lines(seeds: range) -> list[Line]:
        import competing_gates as gates

        row = gates.ROWS[part]
        truth, found = row.truth(), [row.replicate(s) for s in seeds]
        return [
            Line(
                part,
                f"{gate.metric} {truth[gate.metric]:.4f}",
                method,
                gate.metric,
                _columns([f[method] for f in found], gate.metric),
                (truth[gate.metric] - gate.bound, truth[gate.metric] + gate.bound),
            )
            for gate in row.gates
            for method in found[0]
        ]

    return lines


PARTS: dict[str, Callable[[range], list[Line]]] = {
    "slope": slope,
    "level": level,
    "d_calibration": d_calibration,
    "coverage": coverage,
    "chance": chance,
    "censoring": _known("censoring"),
    "competing": _known("competing"),
    "absolute": _known("absolute"),
}


def wrong(lines: Sequence[Line]) -> list[str]:
    """What is not as it must be."""
    found = [f"{i.part}: {i.method}, {i.quantity}, {i.truth} is outside" for i in lines if i.ours and i.within is False]
    mutants = {(i.part, i.method) for i in lines if not i.ours and i.bounds is not None}
    never = mutants - {(i.part, i.method) for i in lines if i.within is False}
    return found + [f"{part}: {method} is outside nowhere" for part, method in sorted(never)]


def main() -> int:
    """Print the table; exit status 1 if ours is outside somewhere or a mutant nowhere."""
    from threadpoolctl import threadpool_limits

    import results

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--write", action="store_true", help="put each part into RESULTS.md")
    given = parser.parse_args()
    lines: list[Line] = []
    for part in given.parts:
        with threadpool_limits(1):
            made = PARTS[part](range(given.seed, given.seed + given.replicates))
        lines += made
        failed = wrong(made)
        said = f"NOT as it must be: {'; '.join(failed)}" if failed else "As it must be."
        table = f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}\n" + "\n".join(line.text for line in made)
        print(f"{table}\n\n{said}\n", flush=True)
        if given.write:
            command = f"`python tests/benchmarks/prognosis_gates.py --parts {part} --replicates {given.replicates}`"
            results.write_table(
                f"prognosis_gates {part}", f"Gates of prognosis: {part}", f"{command}\n\n{table}\n\n{said}"
            )
    return 1 if wrong(lines) else 0


if __name__ == "__main__":
    raise SystemExit(main())
