"""Gates of what is said about treatments (METHODS §6): double robustness, coverage, the size of tests that effects
differ, a drug without effect that is started while patients live, predicted effects where other causes compete, and
rules that are recommended where none should be.

    python tests/benchmarks/treatment_gates.py [--replicates 1000] [--parts double_robust ...] [--write]

Each line is a mean or a share over replicates with its bounds. Lines of ours must be within, every mutant must be
outside in at least one line of its part. `--write` puts the table into RESULTS.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "unit"), str(ROOT / "tests" / "benchmarks")]

from gate_lines import Line, columns, coverage, main, unbiased  # noqa: E402


def double_robust(seeds: range) -> list[Line]:
    """Bias in four cells of right and wrong models, and coverage where both are right."""
    import effect_gates as gates

    found = [gates.four_cells(s) for s in seeds]
    months, survival = gates.true_contrasts()
    lines = []
    for cell in gates.CELLS:
        method = cell if cell == "both wrong" else f"ours, {cell}"
        own = [f[cell] for f in found]
        truth = f"{survival:+.4f}, {months:+.3f} months"
        for quantity, most in (("error of survival", 0.01), ("error of months", 0.3)):
            values = columns(own, quantity)
            lines.append(Line("double robust", truth, method, quantity, values, unbiased(values, most)))
        covered = gates.COVERAGE if cell == "both right" else None
        for quantity in ("survival covered", "months covered"):
            lines.append(Line("double robust", truth, method, quantity, columns(own, quantity), covered))
    return lines


def median_of_splits(seeds: range) -> list[Line]:
    """Bias and coverage of the median of five splits, all models right, and without the confounder."""
    import effect_gates as gates

    months, survival = gates.true_contrasts()
    truth = f"{survival:+.4f}, {months:+.3f} months"
    bounds = {"error of survival": (-0.01, 0.01), "error of months": (-0.3, 0.3)}
    lines = []
    for method, which in (("ours, median of five splits", slice(None)), ("without the confounder", slice(1, None))):
        found = [gates.median_of_splits(s, columns=which) for s in seeds]
        for key in found[0]:
            asked = bounds.get(key, gates.COVERAGE)
            lines.append(Line("median of splits", truth, method, key, columns(found, key), asked))
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


def balance(seeds: range) -> list[Line]:
    """Largest standardised difference after overlap weighting."""
    import subgroup_effect_gates as gates

    found = [gates.balance(s) for s in seeds]
    names = {"ours": "ours, unpenalised", "penalised": "scikit-learn's default penalty"}
    what = "largest difference after weighting"
    return [Line("balance", "0", names[k], what, columns(found, k), (0.0, 1e-8)) for k in found[0]]


def no_interaction(seeds: range) -> list[Line]:
    """How often the omnibus test finds subgroups to differ in an effect that is nought in all."""
    import effect_gates
    import subgroup_effect_gates as gates

    found = [gates.no_interaction(s) for s in seeds]
    lines = []
    for key in found[0]:
        contrast, _, who = key.partition(", ")
        method = f"ours, {who}" if who == "held-out labels" else who
        lines.append(
            Line("no interaction", "no effect", method, f"{contrast} differ", columns(found, key), effect_gates.SIZE)
        )
    return lines


def power(seeds: range) -> list[Line]:
    """200 cohorts of 1000 patients with the demo's truth: are differences found, do intervals cover?"""
    import effect_gates
    import subgroup_effect_gates as gates

    found = [gates.power(s) for s in seeds[:200]]
    lines = []
    for key in found[0]:
        what, _, who = key.partition(", ")
        bounds = {"difference found": (0.8, 1.0), "truth covered": effect_gates.COVERAGE}.get(what)
        method = who if who.startswith("unweighted") else f"ours, {who}" if who else "simulator"
        lines.append(Line("power", "one benefits, one is harmed", method, what, columns(found, key), bounds))
    return lines


def immortal(seeds: range) -> list[Line]:
    """What is said of a drug without effect that is started while patients live, by the sicker ones later."""
    import effect_gates as gates

    found = [gates.inert_drug(s) for s in seeds]
    ratio, survival = (float(np.log(0.97)), float(np.log(1.03))), (-0.01, 0.01)
    lines = []
    for key, method, quantity, bounds in (
        ("landmark", "ours, landmark, overlap weights", "log hazard ratio", ratio),
        ("counting process", "ours, Cox model, treated from the start on", "log hazard ratio", ratio),
        ("ever treated", "ever treated from time zero", "log hazard ratio", ratio),
        ("clone-censor-weight", "ours, clone-censor-weight", "difference in survival", survival),
        (
            "copies without weights of confounders",
            "copies, weights without confounders",
            "difference in survival",
            survival,
        ),
        ("ever treated, survival", "ever treated from time zero", "difference in survival", survival),
    ):
        lines.append(Line("immortal", "no effect", method, quantity, columns(found, key), bounds))
    return lines


def strategies(seeds: range) -> list[Line]:
    """200 cohorts: intervals of starting within a grace period against not starting, with the workflow's 500 draws."""
    import strategy_gates as gates

    lines = []
    for name, ratio in gates.RATIOS.items():
        months, survival = gates.truth(ratio)
        truth = f"{name}: {survival:+.4f}, {months:+.3f} months"
        for method, blind, own in (
            ("ours, clone-censor-weight", False, seeds[:200]),
            ("copies, weights without confounders", True, seeds[:50]),
        ):
            found = [gates.strategies(s, name, blind=blind) for s in own]
            asked = dict.fromkeys(("survival covered", "months covered"), coverage(len(own)))
            asked |= {"error of survival": (-0.01, 0.01), "error of months": (-0.3, 0.3)}
            lines += [Line("strategies", truth, method, k, columns(found, k), asked.get(k)) for k in found[0]]
    return lines


def policy(seeds: range) -> list[Line]:
    """How often a rule whom to treat is recommended where none is better than one size for all, and where one is."""
    import effect_gates as gates

    lines = []
    for truth, n in (*((t, 400) for t in gates.POLICY_TRUTHS), (list(gates.POLICY_TRUTHS)[-1], 800)):
        found = [gates.policies(s, truth, n) for s in seeds]
        null = "harms" not in truth
        for key in found[0]:
            first, who = key.split(", ", 1)
            method = f"ours, {who}" if who == "held out" else f"value on {who}" if first == "recommended" else first
            bounds = gates.RECOMMENDED if null and first == "recommended" else None
            quantity = first if first == "recommended" else who
            lines.append(Line("policy", f"{truth}, n = {n}", method, quantity, columns(found, key), bounds))
    return lines


def same_effect(seeds: range) -> list[Line]:
    """How far predicted effects are apart, against the average effect, where they are the same; 200 cohorts."""
    import learner_gates as gates

    found = [gates.same_effect(s) for s in seeds[:200]]
    lines = []
    for name, method in (("combined", "ours, combination"), ("cox", "Cox model of each arm"), ("forest", "forest")):
        own = np.array([f.get(name, np.nan) for f in found])
        for quantity, values, bounds in (
            ("SD over average effect", own, None if name == "cox" else (0.0, 0.2)),
            ("cohorts in which it is above 0.2", (own >= 0.2).astype(float), None),
        ):
            lines.append(Line("same effect", "the same for all", method, quantity, values[np.isfinite(own)], bounds))
    return lines


def rivals(seeds: range) -> list[Line]:
    """Error of predicted effects where other causes compete and those differ; 30 cohorts of each size."""
    import learner_gates as gates

    lines = []
    for process, n, asked in (("moderate", 1000, False), ("moderate", 2000, True), ("strong", 1000, True)):
        found = [gates.rivals(s, process, n) for s in seeds[:30]]
        for key in found[0]:
            who, learner, *centred = key.split(", ")
            method = f"ours, {learner}" if who == "ours" else f"other causes taken for censorings, {learner}"
            quantity = "error over that of the average" + (", centred" if centred else "")
            bounds = (0.0, 1.0) if asked and learner == "combined" else None
            lines.append(Line("rivals", f"{process}, n = {n}", method, quantity, columns(found, key), bounds))
    return lines


PARTS: dict[str, Callable[[range], list[Line]]] = {
    "double_robust": double_robust,
    "median_of_splits": median_of_splits,
    "no_differences": no_differences,
    "balance": balance,
    "no_interaction": no_interaction,
    "power": power,
    "immortal": immortal,
    "strategies": strategies,
    "same_effect": same_effect,
    "rivals": rivals,
    "policy": policy,
}


if __name__ == "__main__":
    raise SystemExit(main("treatment_gates", __doc__ or "", PARTS))
