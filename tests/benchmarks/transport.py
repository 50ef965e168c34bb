"""Bundles of breast cancers applied to other breast cancers: METABRIC, TCGA and NKI, by the targets of the workflow.

    PYTHONPATH=workflow/scripts python tests/benchmarks/transport.py run
    PYTHONPATH=workflow/scripts python tests/benchmarks/transport.py write

Each bundle learns from the features and clinical columns that the two cohorts share (`data.omics.*.only`), under one
coding that the configs declare (`data.columns`). Expression was measured by three platforms: each feature is brought to
its quantiles in the bundle's cohort (`bundle.align`), without a look at outcomes. All else is `snakemake validate`.

Treatments have the same names, eligible patients and confounders in both cohorts of a pair. TCGA tells when they
started, so that patients are compared from a landmark on, set where by far most of the treated had started (94 % of
chemotherapy, 95 % of hormone therapy); METABRIC and NKI tell only who was treated.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from by_workflow import ROOT, run_workflow
from results import write_table
from stratiome import tables
from stratiome.bundle.files import open_bundle

DATA = ROOT.parent / "shared" / "data"
PAIRS = (("metabric", "tcga_brca"), ("tcga_brca", "metabric"), ("metabric", "breast_nki"))
NAMES = {"metabric": "METABRIC", "tcga_brca": "TCGA-BRCA", "breast_nki": "NKI"}
FILES = {
    "metabric": {"mrna": "mrna_zscore.parquet", "cna": "cna.parquet", "mutation": "mutation.parquet"},
    "tcga_brca": {"mrna": "mrna.parquet", "cna": "cna.parquet", "mutation": "mutation.parquet"},
    "breast_nki": {"mrna": "mrna.parquet"},
}
LEAST = 10
"""Patients or events below which no count is told."""
SIGNS = {"+": "positive", "-": "negative"}
POST = "post (prior bilateral ovariectomy or >12 mo since lmp with no prior hysterectomy)"
PRE = "pre (<6 months since lmp and no prior bilateral ovariectomy and not on estrogen replacement)"
MENOPAUSE = {
    POST: "post",
    PRE: "pre",
    "peri (6-12 months since last menstrual period)": None,
    "indeterminate (neither pre or postmenopausal)": None,
}
STAGES = {"i": ("", "a", "b"), "ii": ("", "a", "b"), "iii": ("", "a", "b", "c"), "iv": ("",)}
MOST_NODES = 60
COVARIATES = {"tcga_brca": ("age", "nodes", "er", "her2"), "breast_nki": ("age", "size_mm", "grade", "er_status")}
COLUMNS: dict[str, dict[str, Any]] = {
    "metabric": {
        "nodes": {"column": "lymph_nodes_positive", "unit": "nodes"},
        "er": {"column": "er_status", "values": SIGNS},
        "her2": {"column": "her2_status", "values": SIGNS},
        "menopause": {"column": "menopausal_state", "values": {"Pre": "pre", "Post": "post"}},
        "stage_group": {
            "column": "stage",
            "type": "categorical",
            "values": {"1": "i", "2": "ii", "3": "iii", "4": "iv", "0": "0"},
        },
    },
    "tcga_brca": {
        "os_time_months": {"unit": "months", "values": {"-0.23": None}},
        "nodes": {"column": "lymph_nodes_positive", "unit": "nodes"},
        "er": {"column": "er_status", "values": {"indeterminate": None}},
        "her2": {"column": "her2_status_ihc", "values": {"equivocal": None, "indeterminate": None}},
        "menopause": {"column": "menopause_status", "values": MENOPAUSE},
        "stage_group": {
            "column": "stage",
            "values": {f"stage {s}{part}": s for s, parts in STAGES.items() for part in parts} | {"stage x": None},
        },
    },
}
FOR_NKI: dict[str, dict[str, Any]] = {
    "metabric": {
        "size_mm": {"column": "tumor_size_mm", "unit": "mm"},
        "grade": {"type": "numeric"},
        "er_status": {"values": SIGNS},
        "node": {
            "column": "lymph_nodes_positive",
            "values": {str(n): "positive" if n else "negative" for n in range(MOST_NODES)},
        },
    },
    "breast_nki": {
        "size_mm": {"column": "tumor_size_cm", "multiply": 10, "unit": "mm"},
        "grade": {"type": "numeric"},
        "er_status": {"column": "er", "values": {"1": "positive", "0": "negative"}},
        "node": {"values": {"1": "positive", "0": "negative"}},
    },
}
DRUGS = {"chemotherapy": 180, "hormone_therapy": 365}
"""Treatment -> landmark in days, where starts are known."""
CONFOUNDERS = {
    "tcga_brca": ["age", "nodes", "er", "her2", "menopause", "stage_group"],
    "breast_nki": ["age", "size_mm", "grade", "er_status", "node"],
}
LOCAL = "(stage_group IS NULL OR stage_group IN ('i', 'ii', 'iii'))"
"""No distant metastasis is known, and the tumour is invasive."""
GROUPS: dict[str, dict[str, Any]] = {
    "metabric": {"groups": ["age", "er"], "cuts": {"age": [50, 65]}},
    "tcga_brca": {"groups": ["race", "age"], "cuts": {"age": [50, 65]}, "intersections": False},
}
"""Groups of patients in which held-out predictions of the bundles' own cohorts are judged, as in `config/cohorts`."""
JUDGED = ("auc", "observed_expected", "calibration_slope")
METRICS = ("uno_c", "auc", "ibs", "observed_expected", "calibration_slope")


def names_of_probes(folder: Path) -> dict[str, str]:
    """Probe -> gene of NKI, written as a table of names as well."""
    table = pl.read_csv(DATA / "breast_nki" / "probe_annotation.tsv", separator="\t", infer_schema_length=0)
    table = table.select(feature="probe", bundle="HUGO.gene.symbol").drop_nulls().unique("feature", keep="first")
    folder.mkdir(parents=True, exist_ok=True)
    table.sort("feature").write_csv(folder / "probes.tsv", separator="\t")
    return dict(table.iter_rows())


def shared_features(one: str, other: str, folder: Path) -> dict[str, int]:
    """Write the features that both cohorts have, by omic; returns how many."""
    found = {}
    folder.mkdir(parents=True, exist_ok=True)
    probes = names_of_probes(folder) if "breast_nki" in (one, other) else {}
    for omic in [name for name in FILES[one] if name in FILES[other]]:
        columns = [pl.read_parquet_schema(DATA / c / FILES[c][omic]).names()[1:] for c in (one, other)]
        genes = sorted(set(columns[0]) & {probes.get(f, f) for f in columns[1]})
        (folder / f"{omic}.txt").write_text("\n".join(genes) + "\n", encoding="utf-8")
        found[omic] = len(genes)
    return found


def treatments_of(cohort: str, pair: str) -> dict[str, dict[str, Any]]:
    """Treatments of one cohort of a pair: the same question, as well as each cohort can tell."""
    found = {}
    for drug, days in DRUGS.items():
        own: dict[str, Any] = {"column": drug, "design": "observational", "confounders": CONFOUNDERS[pair]}
        if pair == "tcga_brca":
            own["eligible"] = LOCAL
        if cohort == "tcga_brca":
            start = f"{drug}_start_days"
            own |= {"start": start, "landmark": days, "unit": "days"}
            own["eligible"] = f"{LOCAL} AND ({drug} = 0 OR {start} >= 0)"
        found[drug] = own
    return found


def config_of(cohort: str, other: str, folder: Path, quick: bool) -> dict[str, Any]:
    """Config of one cohort of a pair, without what tells bundle and application apart."""
    example = yaml.safe_load((ROOT / "config" / "cohorts" / f"{cohort}.yaml").read_text(encoding="utf-8"))
    pair = other if other != "metabric" else cohort  # METABRIC is one of every two
    omics = {name: copy.deepcopy(o) for name, o in example["data"]["omics"].items() if name in FILES[pair]}
    for name, omic in omics.items():
        if cohort != "breast_nki":
            omic["only"] = str(folder / f"{name}.txt")
    columns = FOR_NKI[cohort] if pair == "breast_nki" else COLUMNS[cohort]
    config: dict[str, Any] = {
        "cohort": f"{cohort}_shared",
        "title": NAMES[cohort],
        "data": {"folder": str(DATA / cohort), "clinical": "clinical.tsv", "omics": omics, "columns": columns},
        "endpoint": {"time": "os_time_months", "event": "os_event", "unit": "months", "horizons": [60]},
        "covariates": list(COVARIATES[pair]),
        "treatments": treatments_of(cohort, pair),
        "resamples": {"folds": 5},
        "latent": {"baselines": ["mofa"]},
    }
    if pair == "tcga_brca":
        config["audit"] = GROUPS[cohort]
    if quick:
        config["latent"] |= {"dims": 3, "members": 1, "epochs": 5}
        config |= {"prognosis": {"inner_folds": 2, "trees": 20, "instability": 0}, "evaluation": {"bootstraps": 50}}
        config["subgroups"] = {"k": [1, 2, 3], "subsamples": 4, "reference_draws": 19, "alpha": 0.05}
    return config


def run(scratch: Path, quick: bool, only: str) -> None:
    """Make every bundle, and judge it in the other cohort."""
    scratch = scratch.resolve()
    for learned, other in PAIRS:
        if only not in ("", f"{learned}_to_{other}"):
            continue
        folder = scratch / f"{learned}_to_{other}"
        shared = shared_features(learned, other, folder)
        made = config_of(learned, other, folder, quick)
        targets = ["bundle/bundle.json", *(["evaluation/fairness.parquet"] if "audit" in made else [])]
        bundle = run_workflow(made, folder / "bundle", *targets) / "bundle"
        before = open_bundle(bundle).digest
        applied = config_of(other, learned, folder, quick)
        applied["bundle"] = {"apply": str(bundle), "align": {"mrna": "quantiles"}}
        if other == "breast_nki":
            applied["bundle"]["features"] = {"mrna": str(folder / "probes.tsv")}
        run_workflow(applied, folder / "applied", "validation.html")
        said = {"shared": shared, "digest": before, "unchanged": open_bundle(bundle).digest == before}
        (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")


def _cell(rows: pl.DataFrame, metric: str, versus: str | None = None) -> str:
    found = rows.filter(pl.col("metric") == metric, pl.col("versus").eq_missing(pl.lit(versus))).sort("horizon_months")
    if not found.height or found["estimate"][-1] is None:
        return "–"
    row, digits = found.to_dicts()[-1], 4 if metric == "ibs" else 2 if metric.startswith(("obs", "cal")) else 3
    sign = "+" if versus else ""
    low, high = (row[k] for k in ("lower", "upper"))
    around = "" if low is None else f" ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"
    return f"{row['estimate']:{sign}.{digits}f}{around}"


def _subgroups(rows: pl.DataFrame) -> str:
    if rows["subgroup"].n_unique() < 2 or not rows.filter(pl.col("quantity") == "log_rank").height:
        return "one subgroup in the bundle or here, nothing to find again"
    test = rows.filter(pl.col("quantity") == "log_rank").to_dicts()
    parts = []
    for g in rows["subgroup"].drop_nulls().unique().sort():
        own = {r["quantity"]: r for r in rows.filter(pl.col("subgroup") == g).to_dicts()}
        sharp, near, mean = (own.get(q) for q in ("sharpness", "in_group_proportion", "rmst"))
        text = f"subgroup {g} (n = {near['n'] if near else 0})"
        text += f": in-group proportion {near['estimate']:.2f}" if near else ""
        text += f", probability {sharp['estimate']:.2f}, p = {sharp['p_value']:.3f}" if sharp else ""
        text += f", restricted mean {mean['estimate']:.1f} months" if mean and mean["estimate"] is not None else ""
        parts.append(text)
    return "; ".join([*parts, f"log-rank test of survival p = {test[0]['p_value']:.3g}"])


def report(scratch: Path) -> str:
    """Tables of every pair."""
    lines = ["Commands: `transport.py run`, `transport.py write`. Horizon and tau 60 months, all else as by default."]
    for learned, other in PAIRS:
        folder = scratch / f"{learned}_to_{other}"
        said = json.loads((folder / "said.json").read_text(encoding="utf-8"))
        applied = folder / "applied" / "results" / "applied"
        metrics = tables.read_table(applied / "metrics.parquet", tables.ExternalMetrics)
        patients = tables.read_table(applied / "patients.parquet", tables.ScoredPatients)
        first = metrics.row(0, named=True)
        shared = ", ".join(f"{n} of {omic}" for omic, n in said["shared"].items())
        away = 100 * patients["out_of_distribution"].mean()
        lines += [
            f"**{NAMES[learned]} to {NAMES[other]}**: features shared: {shared}; {patients.height} patients scored, "
            f"{away:.0f} % out of distribution; {first['n']} with an outcome, {first['events']} events. Bundle "
            f"{'unchanged' if said['unchanged'] else 'CHANGED'} by it.",
            "| model | update | Uno's C | ΔC to clinical | AUC | IBS | O/E | calibration slope |\n"
            "|---|---|---|---|---|---|---|---|\n" + "\n".join(_rows(metrics)),
            f"Subgroups: {_subgroups(tables.read_table(applied / 'subgroups.parquet', tables.ExternalSubgroups))}.",
            *_claims(tables.read_table(applied / "treatment_effects.parquet", tables.ExternalEffects), learned, other),
        ]
    return "\n\n".join(lines)


def _claims(effects: pl.DataFrame, learned: str, other: str) -> list[str]:
    """Claimed effects on mean survival beside what is found, and what was asked otherwise."""
    rows = effects.filter(pl.col("estimand") == "rmst_difference").to_dicts()
    if not rows:
        return ["Treatments: none claimed."]
    head = f"| claim | in {NAMES[learned]} | in {NAMES[other]} | n, treated | difference | p, Holm | verdict |"
    body = []
    for row in rows:
        there, gap = (
            _effect({k: row[name + ("" if k == "estimate" else f"_{k}")] for k in ("estimate", "lower", "upper")})
            for name in ("claimed", "difference")
        )
        group = f", subgroup {row['subgroup']}" if row["subgroup"] else ""
        p = "–" if row["p_holm"] is None else f"{row['p_holm']:.3f}"
        found = _effect(row) if row["estimate"] is not None else row["method"]
        name = f"{row['treatment']}{group}"
        size = f"{_told(row['n'])}, {_told(row['n_treated'])}"
        body.append(f"| {name} | {there} | {found} | {size} | {gap} | {p} | {row['verdict']} |")
    told = dict.fromkeys(f"{r['treatment']}: {line}" for r in rows for line in r["remark"].splitlines())
    remarks = "\n".join(f"- {line}" for line in told)
    return [f"Months gained over 60 months:\n\n{head}\n|---|---|---|---|---|---|---|\n" + "\n".join(body), remarks]


def _effect(row: dict[str, Any]) -> str:
    if row["estimate"] is None:
        return "–"
    around = "" if row["lower"] is None else f" ({row['lower']:+.1f} to {row['upper']:+.1f})"
    return f"{row['estimate']:+.1f}{around}"


def report_groups(scratch: Path) -> str:
    """Held-out predictions of the clinical and the stacked model in groups of the bundles' own cohorts."""
    lines = ["Folds of the bundles above (features and covariates that both cohorts share), risk at 60 months."]
    for learned, other in [pair for pair in PAIRS if set(pair) == set(GROUPS)]:
        found = scratch / f"{learned}_to_{other}" / "bundle" / "results" / "evaluation"
        groups = tables.read_table(found / "fairness.parquet", tables.Fairness)
        tests = tables.read_table(found / "fairness_tests.parquet", tables.FairnessTests)
        body = []
        for (grouping, group, model), rows in groups.filter(pl.col("model").is_not_null()).group_by(
            ["grouping", "group", "model"], maintain_order=True
        ):
            size = rows.filter(pl.col("metric") == JUDGED[1])
            if size.height:
                name = f"{grouping}: {group}" if grouping else "all"
                told = [_told(size[k][0]) for k in ("n", "events")]
                cells = [_cell(rows.with_columns(versus=pl.lit(None, pl.String)), m) for m in JUDGED]
                body.append(f"| {name} | {model} | {told[0]}, {told[1]} | {' | '.join(cells)} |")
        lines += [
            f"**{NAMES[learned]}**",
            "\n".join(["| group | model | n, events | AUC | O/E | calibration slope |", f"|{'---|' * 6}", *body]),
            _tested(tests),
        ]
    return "\n\n".join(lines)


def _told(n: int) -> str:
    return f"<{LEAST}" if 0 < n < LEAST else str(n)


def _tested(tests: pl.DataFrame) -> str:
    known = tests.filter(pl.col("p_holm").is_not_null())
    flagged = [
        f"{r['model']}, {r['grouping']}{': ' + r['group'] if r['group'] else ''} ({r['kind']}, p = {r['p_holm']:.3g})"
        for r in known.filter(pl.col("flagged")).to_dicts()
    ]
    said = f"{known.height} tests, corrected together (Holm); {tests.height - known.height} not estimable. "
    return said + (f"Flagged: {'; '.join(flagged)}." if flagged else "None is flagged.")


def _rows(metrics: pl.DataFrame) -> list[str]:
    found = []
    for model in metrics["model"].unique(maintain_order=True):
        for update in metrics["update"].unique(maintain_order=True):
            rows = metrics.filter(pl.col("model") == model, pl.col("update") == update)
            if not rows.height:
                continue  # only the clinical model is fitted anew
            cells = [_cell(rows, METRICS[0]), _cell(rows, METRICS[0], "clinical")]
            cells += [_cell(rows, m) for m in METRICS[1:]]
            found.append(f"| {model} | {update} | {' | '.join(cells)} |")
    return found


def main() -> None:
    """Run, or write what was run into RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "write"))
    parser.add_argument("--scratch", type=Path, default=ROOT / "results" / "transport")
    parser.add_argument("--quick", action="store_true", help="small models, to try it out")
    parser.add_argument("--only", default="", help="one pair, as metabric_to_breast_nki")
    given = parser.parse_args()
    if given.what == "run":
        run(given.scratch, given.quick, given.only)
    else:
        write_table("transport", "Bundles in other cohorts", report(given.scratch))
        write_table("transport groups", "Groups of patients in METABRIC and TCGA", report_groups(given.scratch))


if __name__ == "__main__":
    main()
