"""Gates of what is said about treatments (METHODS §6): double robustness, coverage, and the size of tests that effects
differ.

    python tests/benchmarks/treatment_gates.py [--replicates 1000] [--parts double_robust ...] [--write]

Each line is a mean or a share over replicates with its bounds. Lines of ours must be within, every mutant must be
outside in at least one line of its part. `--write` puts the table into RESULTS.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "unit"), str(ROOT / "tests" / "benchmarks")]

from gate_lines import Line, columns, main  # noqa: E402


def double_robust(seeds: range) -> list[Line]:
    """Bias in four cells of right and wrong models, and coverage where both are right."""
    import effect_gates as gates

    found = [gates.four_cells(s) for s in seeds]
    months, survival = gates.true_contrasts()
    lines = []
    for cell in gates.CELLS:
        method = cell if cell == "both wrong" else f"ours, {cell}"
        own = [f[cell] for f in found]
        covered = gates.COVERAGE if cell == "both right" else None
        for quantity, bounds in (
            ("error of survival", (-0.01, 0.01)),
            ("error of months", (-0.3, 0.3)),
            ("survival covered", covered),
            ("months covered", covered),
        ):
            truth = f"{survival:+.4f}, {months:+.3f} months"
            lines.append(Line("double robust", truth, method, quantity, columns(own, quantity), bounds))
    return lines


def no_differences(seeds: range) -> list[Line]:
    """How often tests find differences between patients that are not there."""
    import effect_gates as gates

    found = [gates.no_differences(s) for s in seeds]
    lines = []
    for key in found[0]:
        test, _, who = key.rpartition(", ")
        method = f"ours, {who}" if who == "held out" else f"{test} on {who}"
        lines.append(Line("no differences", "hazard ratio 1", method, test, columns(found, key), gates.SIZE))
    return lines


PARTS: dict[str, Callable[[range], list[Line]]] = {
    "double_robust": double_robust,
    "no_differences": no_differences,
}


if __name__ == "__main__":
    raise SystemExit(main("treatment_gates", __doc__ or "", PARTS))
