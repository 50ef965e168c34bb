"""Is the deep model worth it? All latent models in one table, and a plain sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratiome.report.blocks import Heading, Note, Table
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import interval, join, label, number, p_value

Row = Mapping[str, Any]

MODELS = ("vae", "pca", "mofa", "snf")
NAMES = {"pca": "PCA", "mofa": "MOFA+", "snf": "network fusion"}

SAME = 0.9
"""Adjusted Rand index from which the subgroups of two models are called the same."""


def beside_baselines(inputs: ReportInputs) -> list[object]:
    """Heading, table and verdict; empty where no baseline ran."""
    models = [m for m in MODELS if inputs.found(m) is not None]
    if "vae" not in models or len(models) < 2:
        return []
    columns = [
        ("Subgroups", lambda m: str(inputs.found(m))),
        ("Against none", lambda m: _against_none(inputs, m)),
        ("Same number when refitted", lambda m: _refitted(inputs, m)),
        ("Same subgroup when held out (ARI)", lambda m: _ari(inputs, m, "full")),
        *((f"{label(n)} (ARI)", lambda m, n=n: _ari(inputs, m, n)) for n in inputs.settings.known_labels),
        *([("Planted (ARI)", lambda m: _ari(inputs, m, "planted"))] if inputs.simulated else []),
        ("As the latent model (ARI)", lambda m: _ari(inputs, m, "vae")),
        (f"Held-out {inputs.settings.words.test}", lambda m: _logrank(inputs, m)),
    ]
    cells = [(title, [cell(m) for m in models]) for title, cell in columns]
    cells = [(title, found) for title, found in cells if set(found) != {"–"}]
    rows = [[label(m), *(found[i] for _, found in cells)] for i, m in enumerate(models)]
    table = Table(
        "The latent model beside simpler ones, on the same splits; each clustered in the same way.",
        ["Model", *(title for title, _ in cells)],
        rows,
        frozenset(range(1, len(cells) + 1)),
        "Patients whose omics do not say well enough where they lie take no part in finding subgroups; who they"
        " are differs from model to model.",
    )
    return [
        Heading("Is the deep model worth it? Simpler models", "subgroups-worth"),
        table,
        Note(verdict(inputs, models)),
    ]


def survival_test(inputs: ReportInputs, model: str) -> Row | None:
    """Log-rank test of the held-out subgroups of a latent model."""
    return inputs.row("subgroup_tests", grouping=f"{model} subgroups", held_out=True)


def chosen_in_folds(inputs: ReportInputs, model: str) -> list[int]:
    """Number of subgroups in each resample that the headline is read from."""
    rows = inputs.rows("subgroup_selection", model=model, chosen=True)
    judged = set(inputs.resamples(inputs.headline))
    return [r["k"] for r in rows if r["resample"] in judged]


def share_of_folds(inputs: ReportInputs, model: str, k: int | None) -> float | None:
    """Share of those resamples that chose the same number."""
    chosen = chosen_in_folds(inputs, model)
    return sum(c == k for c in chosen) / len(chosen) if chosen else None


def verdict(inputs: ReportInputs, models: list[str]) -> str:
    """What the table says, in words."""
    k = {m: inputs.found(m) or 1 for m in models}
    baselines = [m for m in models if m != "vae"]
    if max(inputs.settings.subgroups.k) == 1:
        return "No model was asked for subgroups."
    if set(k.values()) == {1}:
        return "No model finds subgroups."
    said = []
    if len(set(k.values())) > 1:
        others = join([f"{k[m]} with {NAMES[m]}" for m in baselines])
        said.append(
            f"The models disagree on the number of subgroups: {k['vae']} with the latent model, {others}. Take the"
            " difference as a warning."
        )
    if k["vae"] == 1:
        return said[0]
    same = [m for m in baselines if k[m] == k["vae"] and (_estimate(inputs, m, "vae") or 0.0) >= SAME]
    if same:
        who, find = join([NAMES[m] for m in same]), "find" if len(same) > 1 else "finds"
        agreement = join([number(_estimate(inputs, m, "vae")) for m in same])
        said.append(
            f"{who[:1].upper()}{who[1:]} {find} the same subgroups (ARI with those of the latent model {agreement}):"
            " the deep model adds nothing here."
        )
    said += _accuracy(inputs, [m for m in baselines if k[m] > 1])
    return " ".join(said)


def _accuracy(inputs: ReportInputs, baselines: list[str]) -> list[str]:
    """Which baselines agree better or worse with the truth, or with themselves, than the latent model does."""
    reference = "planted" if inputs.simulated else "full"
    against = "the planted subgroups" if inputs.simulated else "its own labels when patients are held out"
    rows = {m: _row(inputs, m, reference) for m in ("vae", *baselines)}
    ours = rows["vae"]
    if ours is None or ours["lower"] is None:
        return []
    known = {m: r for m in baselines if (r := rows[m]) is not None and r["lower"] is not None}
    lost = [NAMES[m] for m, r in known.items() if ours["upper"] < r["lower"]]
    won = [NAMES[m] for m, r in known.items() if ours["lower"] > r["upper"]]
    level = [NAMES[m] for m in known if NAMES[m] not in (*lost, *won)]
    said = []
    if lost:
        said.append(
            f"The latent model loses: {join(lost)} {'agree' if len(lost) > 1 else 'agrees'} better with {against}; the"
            " intervals do not overlap."
        )
    if won:
        said.append(f"The latent model agrees better with {against} than {join(won)}; the intervals do not overlap.")
    if level:
        said.append(f"As far as the intervals tell, it agrees no better with {against} than {join(level)}.")
    return said


def _row(inputs: ReportInputs, model: str, name: str) -> Row | None:
    return inputs.row("subgroup_agreement", model=model, label=name, metric="adjusted_rand_index")


def _estimate(inputs: ReportInputs, model: str, name: str) -> float | None:
    row = _row(inputs, model, name)
    return row["estimate"] if row else None


def _ari(inputs: ReportInputs, model: str, name: str) -> str:
    row = _row(inputs, model, name)
    return interval(row, 2) if row is not None and row["estimate"] is not None else "–"


def _against_none(inputs: ReportInputs, model: str) -> str:
    rows = inputs.rows("subgroup_selection", resample="full", model=model)
    return p_value(next((r["p_value"] for r in rows if r["p_value"] is not None), None))


def _refitted(inputs: ReportInputs, model: str) -> str:
    chosen = chosen_in_folds(inputs, model)
    return f"{sum(c == inputs.found(model) for c in chosen)} of {len(chosen)}" if chosen else "–"


def _logrank(inputs: ReportInputs, model: str) -> str:
    test = survival_test(inputs, model)
    return p_value(test["p_value"]) if test is not None and test["p_value"] is not None else "–"
