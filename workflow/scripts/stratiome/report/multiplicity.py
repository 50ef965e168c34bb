"""How many tests each question of the page took, and how they were corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratiome.report.blocks import Cell, Table
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import label, plural, sentence

Row = Mapping[str, Any]
Line = tuple[str, int, str, str, str]
"""Family, how many, of what, correction, anchor of its section."""

NONE = "none: read each on its own"
HOLM = "Holm, over all of them"


def text(inputs: ReportInputs) -> str:
    """The paragraph; "" where nothing was tested."""
    if not families(inputs):
        return ""
    return (
        "Tests were corrected for their number within families, after Holm (Holm 1979), where the table of families"
        f" says so. There is no correction across families or treatments. Intervals, at level {inputs.settings.level},"
        " are each on their own."
    )


def table(inputs: ReportInputs) -> list[object]:
    """Family, number of tests and correction, from the tables of the run."""
    rows: list[list[Cell | str]] = [
        [family, plural(n, what), correction, Cell("", links=[(anchor, SECTIONS[anchor])])]
        for family, n, what, correction, anchor in families(inputs)
    ]
    head = ["Family", "Number", "Correction", "Where"]
    return [Table("Tests and intervals by family, and how they were corrected for their number.", head, rows)] * bool(
        rows
    )


SECTIONS = {
    "checks": "Checks of the data",
    "subgroups": "Subgroups",
    "prognosis": "Prognosis",
    "treatment": "Treatment",
    "travel": "Does it travel?",
}


def families(inputs: ReportInputs) -> list[Line]:
    """Families with at least one test, in the order of the page."""
    found = [*_checks(inputs), *_subgroups(inputs), *_prognosis(inputs), *_groups(inputs)]
    own = {sentence(t.label or label(key)): _treatment(inputs, key) for key, t in inputs.settings.treatments.items()}
    if len(own) > 1 and len({tuple(lines) for lines in own.values()}) == 1:
        own = {"Each treatment": next(iter(own.values()))}
    found += [(f"{name}: {line[0]}", *line[1:]) for name, lines in own.items() for line in lines]
    return [line for line in found if line[1]]


def _tested(inputs: ReportInputs, name: str, **where: Any) -> list[Row]:
    return [r for r in inputs.rows(name, **where) if r["p_value"] is not None]


def _checks(inputs: ReportInputs) -> list[Line]:
    return [
        ("Batches against other variables", len(_tested(inputs, "batches")), "test", NONE, "checks"),
        ("What is missing, and for whom", len(_tested(inputs, "missingness")), "test", HOLM, "checks"),
    ]


def _subgroups(inputs: ReportInputs) -> list[Line]:
    chosen = {r["model"] for r in _tested(inputs, "subgroup_selection", resample="full")}
    alpha = f"{inputs.settings.subgroups.alpha:g}"
    return [
        (
            "Whether there are subgroups, one for each latent model",
            len(chosen),
            "test",
            f"one test over all K, at level {alpha}; none over latent models",
            "subgroups",
        ),
        (
            f"Held-out subgroups and {inputs.settings.words.survival}",
            len(_tested(inputs, "subgroup_comparisons", model="vae")),
            "test",
            NONE,
            "subgroups",
        ),
    ]


def _prognosis(inputs: ReportInputs) -> list[Line]:
    versus = [r for r in inputs.rows("prognosis_metrics") if r["versus"] is not None and r["lower"] is not None]
    net = [r for r in inputs.rows("decisions") if r["versus"] is not None and r["lower"] is not None]
    together = [r for r in _tested(inputs, "proportional") if r["feature"] is None]
    single = [r for r in _tested(inputs, "proportional") if r["feature"] is not None]
    calibrated = [r for r in inputs.rows("calibration_measures", metric="d_calibration") if r["p_value"] is not None]
    return [
        ("Models against one without omics", len(versus), "interval", NONE, "prognosis"),
        ("Net benefit against the clinical model", len(net), "interval", NONE, "prognosis"),
        ("D-calibration", len(calibrated), "test", NONE, "prognosis"),
        ("Proportional hazards, all columns of a model", len(together), "test", HOLM, "prognosis"),
        ("Proportional hazards, single columns", len(single), "test", NONE, "prognosis"),
    ]


def _groups(inputs: ReportInputs) -> list[Line]:
    return [("Predictions in groups of patients", len(_tested(inputs, "fairness_tests")), "test", HOLM, "travel")]


def _treatment(inputs: ReportInputs, key: str) -> list[Line]:
    effects = _tested(inputs, "treatment_effects", treatment=key)
    average = [r for r in effects if not r["subgroup"]]
    compared = any(r["p_holm"] is not None for r in average)
    by_subgroup = [r for r in effects if r["subgroup"] and r["p_holm"] is not None]
    tests = _tested(inputs, "treatment_difference_tests", treatment=key)
    rules = {r["rule"] for r in inputs.rows("treatment_policy", treatment=key)}
    kinds = {
        kind: [r for r in tests if r["kind"] == kind] for kind in ("baseline risk", "covariate", "predicted effect")
    }
    changed = [r for r in _tested(inputs, "treatment_robustness", treatment=key) if r["check"] != "main analysis"]
    where = "treatment"
    return [
        ("average effect", len(average), "test", "Holm, over the arms compared" if compared else NONE, where),
        (
            "same effect in all subgroups",
            len(_tested(inputs, "treatment_interaction", treatment=key)),
            "test",
            "one omnibus test for each estimand",
            where,
        ),
        (
            "effect in each subgroup",
            len(by_subgroup),
            "test",
            "Holm, over the subgroups of an estimand",
            where,
        ),
        ("effect by risk without treatment", len(kinds["baseline risk"]), "test", NONE, where),
        ("effect by clinical variables", len(kinds["covariate"]), "test", HOLM, where),
        ("effect by predicted effect", len(kinds["predicted effect"]), "test", NONE, where),
        ("rules whom to treat", len(rules), "rule", "Holm, over the rules", where),
        ("one thing of the analysis changed", len(changed), "test", NONE, where),
    ]
