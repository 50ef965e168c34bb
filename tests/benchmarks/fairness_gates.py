"""Gates of what is said of groups of patients (METHODS §7): flags where predictions are right in every group, flags
where a slope of 0.7 is planted in one or a model has learned noise, and gains of group recalibration where there is
nothing to gain.

    python tests/benchmarks/fairness_gates.py [--replicates 1000] [--parts no_difference ...] [--write]

A family is two models, a grouping of three (or two) groups, one of two, and both crossed: up to 28 tests. Lines of
ours must be within their bounds, every mutant must be outside in at least one line of its part. `--write` puts the
table into RESULTS.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "unit"), str(ROOT / "tests" / "benchmarks")]

from gate_lines import Line, columns, coverage, main  # noqa: E402

PER_GROUP, IN_ALL = (500, 500, 500), (167, 167, 166)
POWER = (0.8, 1.0)


def size(replicates: int) -> tuple[float, float]:
    """Bounds of a share that must not be above 0.05: 0.1 % beyond, so 0.073 in 1000 replicates (METHODS F2)."""
    return 0.0, 1.0 - coverage(replicates)[0]


def interval(lines: Sequence[Line]) -> None:
    """Print exact 95 % intervals (Clopper-Pearson) of shares."""
    from statsmodels.stats.proportion import proportion_confint

    for line in lines:
        low, high = proportion_confint(line.values.sum(), len(line.values), method="beta")
        print(f"{line.truth}, {line.method}, {line.quantity}: {line.mean:.3f} ({low:.3f} to {high:.3f})")


def no_difference(seeds: range) -> list[Line]:
    """How often anything is flagged where predictions are right in every group."""
    import group_gates as gates

    lines = []
    for sizes, said in ((PER_GROUP, "500 a group"), (IN_ALL, "500 in all")):
        found = [gates.false_flags(gates.cohort(s, sizes)) for s in seeds]
        for method, quantity, key in (
            ("ours, all tests", "any flag", "ours"),
            ("ours, equal calibration", "any flag", "ours, differs"),
            ("each test at 5 %", "any flag", "each test at 5 %"),
            ("intervals of groups without 1", "any flag", "intervals of groups"),
        ):
            lines.append(Line("no difference", said, method, quantity, columns(found, key), size(len(seeds))))
    interval(lines)
    return lines


def all_alike(seeds: range) -> list[Line]:
    """How often groups are said to differ where predictions are too extreme in all of them alike."""
    import group_gates as gates

    found = [gates.false_flags(gates.cohort(s, PER_GROUP, everywhere=0.85)) for s in seeds]
    lines = []
    for method, quantity, key, bounds in (
        ("ours", "groups said to differ", "ours, differs", size(len(seeds))),
        ("ours", "predictions said not to hold somewhere", "ours", None),
        ("each test at 5 %", "groups said to differ", "differs, each at 5 %", size(len(seeds))),
        ("intervals of groups without 1", "groups said to differ", "intervals of groups", size(len(seeds))),
    ):
        truth = "slope 0.85 in all, 500 a group"
        lines.append(Line("all alike", truth, method, quantity, columns(found, key), bounds))
    interval(lines)
    return lines


def planted(seeds: range) -> list[Line]:
    """How often a slope of 0.7 in one group is flagged."""
    import group_gates as gates

    lines = []
    for sizes, said, bounds in (
        (PER_GROUP, "one of three groups, 500 a group", POWER),
        (PER_GROUP[:2], "one of two groups, 500 a group", POWER),
        (IN_ALL, "one of three groups, 500 in all", None),
        ((250, 250), "one of two groups, 500 in all", None),
    ):
        found = [gates.found_slope(gates.cohort(s, sizes, slope=0.7)) for s in seeds]
        lines.append(Line("planted", said, "ours", "flagged", columns(found, "flagged"), bounds))
        lines.append(Line("planted", said, "ours", "groups said to differ", columns(found, "differs"), None))
        lines.append(Line("planted", said, "ours", "said not to hold in it", columns(found, "holds"), None))
    interval(lines)
    return lines


def _of_kind(part: str, truth: str, seeds: range, **how: bool) -> list[Line]:
    """Flags without a difference, and of a slope of 0.7, where the outcome is of another kind."""
    import group_gates as gates

    found = [gates.false_flags(gates.cohort(s, PER_GROUP, **how)) for s in seeds]
    flagged = [gates.found_slope(gates.cohort(s, PER_GROUP, slope=0.7, **how)) for s in seeds]
    lines = []
    for method, quantity, values, bounds in (
        ("ours", "any flag without a difference", columns(found, "ours"), size(len(seeds))),
        ("ours", "slope 0.7 flagged", columns(flagged, "flagged"), None),
        ("each test at 5 %", "any flag without a difference", columns(found, "each test at 5 %"), size(len(seeds))),
    ):
        lines.append(Line(part, truth, method, quantity, values, bounds))
    interval(lines)
    return lines


def other_causes(seeds: range) -> list[Line]:
    """Where patients also die of another cause."""
    return _of_kind("other causes", "other causes, 500 a group", seeds, rivals=True)


def no_time(seeds: range) -> list[Line]:
    """Where the outcome has no time."""
    return _of_kind("no time", "no time, 500 a group", seeds, response=True)


def recalibration(seeds: range) -> list[Line]:
    """What an update within each group brings where there is nothing to mend, and where a slope of 0.5 is planted."""
    import group_gates as gates

    lines = []
    what = "net benefit gained, per 1,000"
    for truth, sizes, slope, bounds in (
        ("nothing to mend, 500 in all", IN_ALL, 1.0, (-50.0, 0.0)),
        ("slope 0.5 in one of two, 500 a group", PER_GROUP[:2], 0.5, None),
    ):
        found = [gates.gains(gates.cohort(s, sizes, slope=slope)) for s in seeds]
        lines.append(Line("recalibration", truth, "ours, other half", what, columns(found, "ours"), bounds))
        lines.append(
            Line("recalibration", truth, "judged where it was learned", what, columns(found, "apparent"), bounds)
        )
    return lines


def overfitting(seeds: range) -> list[Line]:
    """How often predictions of a model of too many covariates are said not to hold in a group."""
    import group_gates as gates

    found = [gates.overfit(s, 1000) for s in seeds]
    lines = []
    for method, patients in (("ours, held-out patients", "held out"), ("judged on training patients", "training")):
        values = np.array([gates.flags_overfitting(f[patients]) for f in found], dtype=np.float64)
        lines.append(Line("overfitting", "two groups, 1,000 in all", method, "flagged", values, POWER))
    interval(lines)
    return lines


PARTS = {
    "no_difference": no_difference,
    "all_alike": all_alike,
    "planted": planted,
    "other_causes": other_causes,
    "no_time": no_time,
    "recalibration": recalibration,
    "overfitting": overfitting,
}

if __name__ == "__main__":
    sys.exit(main("fairness_gates", __doc__, PARTS))
