"""Gates of what is said about predictions (METHODS §5): calibration, D-calibration, intervals of the metrics, their
censoring weights, and competing risks.

    python tests/benchmarks/prognosis_gates.py [--replicates 1000] [--parts slope level ...] [--write]

Each line is a mean or a share over replicates with its bounds. Lines of ours must be within, every mutant must be
outside in at least one line of its part. Lines without bounds are for the reader. `--write` puts the table into
RESULTS.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "unit"), str(ROOT / "tests" / "benchmarks")]

from gate_lines import Line, columns, main  # noqa: E402


def slope(seeds: range) -> list[Line]:
    """Calibration slope of the true model, of a planted one, and of an overfitted one on patients it has seen."""
    import calibration_gates as gates

    lines = []
    for planted, bounds in gates.SLOPE_BOUNDS.items():
        found = [gates.slopes(planted, s) for s in seeds]
        lines += [Line("slope", f"slope {planted:g}", m, "slope", columns(found, m), bounds) for m in found[0]]
    found = [gates.overfitted(s) for s in seeds]
    truth, bounds = "overfitted Cox model", (-0.05, 0.05)
    lines += [Line("slope", truth, m, "slope less its truth", columns(found, m), bounds) for m in found[0]]
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
                columns([f[m] for f in found], quantity),
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
        lines += [Line("D-calibration", truth, m, "rejected at 5 %", columns(found, m), bounds) for m in found[0]]
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
            lines.append(Line("coverage", "population", draws.__name__, name, columns(found, key), gates.COVERAGE))
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
            lines.append(Line("chance", f"true model, n = {n}", method, quantity, columns(found, quantity), bounds))
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
                columns([f[method] for f in found], gate.metric),
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


if __name__ == "__main__":
    raise SystemExit(main("prognosis_gates", __doc__, PARTS))
