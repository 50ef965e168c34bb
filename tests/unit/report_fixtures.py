"""Small valid tables for every contract that the report reads, in three cases; written, not computed from patients."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from conftest import as_read
from stratiome import tables
from stratiome.config import (
    AuditConfig,
    DataConfig,
    EndpointConfig,
    ResampleConfig,
    SimulateConfig,
    SubgroupConfig,
    TreatmentConfig,
)
from stratiome.report import page
from stratiome.report.inputs import CONTRACTS, ReportInputs, Settings

CASES = ("demo", "null", "survival_only")
OMICS = {"demo": ("rna", "methylation", "protein", "mutation"), "null": ("rna", "protein"), "survival_only": ("mrna",)}
GRID = np.linspace(0, 60, 31)
N, EVENTS = 600, 371
LATENTS = ("vae", "pca", "mofa")
METHOD = "percentile interval of 500 bootstraps of held-out patients, models kept fixed"


def claim(
    estimate: float | None,
    half: float | None,
    n: int = N,
    events: int = EVENTS,
    method: str = METHOD,
    held_out: bool = True,
    **rest: Any,
) -> dict[str, Any]:
    """Columns of a claim; `half` is half the width of the interval."""
    known = estimate is not None and half is not None
    return {
        "estimate": estimate,
        "lower": estimate - half if known else None,
        "upper": estimate + half if known else None,
        "n": n,
        "events": events,
        "method": method,
        "held_out": held_out,
        **rest,
    }


def over_sites(estimate: float, half: float, ahead: float, **rest: Any) -> dict[str, Any]:
    """Columns of a summary of three of four sites; `ahead` is half the width of the prediction interval."""
    ends = {"prediction_lower": estimate - ahead, "prediction_upper": estimate + ahead}
    method = "each site on its own; between-site variance by restricted maximum likelihood"
    return claim(estimate, half, method=method) | ends | {"spread": 0.4, "i2": 0.2, "sites": 3, "of": 4} | rest


def km(rate: float, n: int, **keys: Any) -> list[dict[str, Any]]:
    """Rows of a survival curve with a constant hazard."""
    survival = np.exp(-rate * GRID)
    band = 1.96 * np.sqrt(survival * (1 - survival) / n)
    return [
        keys
        | {
            "time_months": float(t),
            "survival": float(s),
            "lower": float(max(s - b, 0)),
            "upper": float(min(s + b, 1)),
            "at_risk": int(n * s * (1 - t / 75)),
            "events": int(n * (1 - s)),
        }
        for t, s, b in zip(GRID, survival, band, strict=True)
    ]


def settings(case: str) -> Settings:
    """Config of a case."""
    treatments = {
        "treatment": TreatmentConfig(
            column="treatment",
            design="observational",
            confounders=("age", "stage", "marker"),
            label="drug A",
            profiles={"older": {"age": 75, "stage": "III"}, "too old": {"age": 99}},
        )
    }
    simulated = DataConfig(simulate=SimulateConfig(subgroups=3 if case == "demo" else 1))
    plain = DataConfig(example="transbig")
    return Settings(
        cohort=case,
        title={"demo": "Stratiome demonstration", "null": "A cohort without subgroups", "survival_only": None}[case],
        description="600 simulated patients of four sites with four omics." if case == "demo" else "",
        data=plain if case == "survival_only" else simulated,
        endpoint=EndpointConfig(time="os_months", event="os_event", horizons=(36, 60)),
        covariates=() if case == "survival_only" else ("age", "sex", "stage", "marker"),
        site="site" if case == "demo" else None,
        known_labels=("subtype",) if case == "demo" else (),
        treatments={} if case == "survival_only" else treatments,
        subgroups=SubgroupConfig(gene_sets="sets.gmt" if case == "demo" else None),
        resamples=ResampleConfig(leave_site_out=case == "demo"),
        sites={f"site-site_{i}": [f"site_{i}"] for i in range(1, 5)} if case == "demo" else {},
        audit=AuditConfig(groups=("sex", "age"), cuts={"age": (55.0,)}) if case == "demo" else AuditConfig(),
    )


def inputs(case: str = "demo") -> ReportInputs:
    """Everything the report needs in one case."""
    rows = (
        _cohort(case)
        | _subgroups(case)
        | _prognosis(case)
        | _explained(case)
        | _trust(case)
        | _robustness(case)
        | _groups(case)
        | (_treatment(case) if case != "survival_only" else {})
    )
    frames = {name: tables.from_rows(rows.get(name, []), model) for name, model in CONTRACTS.items()}
    return ReportInputs(settings(case), manifest(case), frames, _quality(case), _files(case))


def _files(case: str) -> dict[str, list[str]]:
    """Files of a case as `write` makes them."""
    absent = {name for name in CONTRACTS if case == "survival_only" and name.startswith("treatment_")}
    return {name: [] if name in absent else [f"{case}/{name}.parquet"] for name in CONTRACTS}


def _bars(omic: str) -> list[dict[str, Any]]:
    """Bars of an omic."""
    first = ("genes", "genes, most frequent first", "share mutated", "")
    if omic != "mutation":
        first = ("values", "log2 of counts per million, and 1", "values", "1,234 beyond, from -12.3 to 36,900")
    others = [
        ("patients", "median per patient, log2 of counts per million, and 1", "patients", "others beyond"),
        ("missing", "share of patients missing", "features", ""),
    ]
    return [
        {"omic": omic, "panel": panel, "lower": i / 10, "upper": (i + 1) / 10, "x": x, "y": y, "note": note}
        | {"height": (30 - i) / 30 if panel in ("patients", "genes") else 1000.0 * (30 - i)}
        for panel, x, y, note in (first, *others)
        for i in range(30)
    ]


def manifest(case: str) -> dict[str, Any]:
    """Manifest as the cohort stage writes it."""
    return {
        "cohort": case,
        "config_hash": "0123456789abcdef",
        "seed": 1,
        "device": "auto",
        "python": "3.11.9",
        "platform": "Linux x86_64",
        "created_with": {"stratiome": "0.1.0", "torch": "2.13.0", "lifelines": "0.30.3"},
        "inputs": [
            {
                "name": "clinical",
                "path": "/home/someone/project/clinical.tsv",
                "sha256": "ab" * 32,
                "bytes": 123456,
                "rows": 604,
                "columns": 12,
            }
        ],
        "config": {"cohort": case, "seed": 1, "endpoint": {"time": "os_months"}},
    }


def _quality(case: str) -> Mapping[str, pl.DataFrame]:
    found = {}
    for name in OMICS[case]:
        rows = [
            {
                "omic": name,
                "feature": f"{name}_{i:03d}",
                "n": 480,
                "missing": 0.01 * (i % 3),
                "mean": 1.0 + i,
                "sd": 0.0 if i == 7 else 1.0,
                "minimum": -1.0,
                "maximum": 9.0,
                "flag": "constant" if i == 7 else "heavy tail" if i == 9 else "",
            }
            for i in range(20)
        ]
        found[name] = tables.from_rows(rows, tables.QualityFeatures)
    return found


def _cohort(case: str) -> dict[str, list[dict[str, Any]]]:
    names = OMICS[case]

    def step(s: str, scope: str, a: int, b: int, why: str) -> dict[str, Any]:
        return {"step": s, "scope": scope, "n_in": a, "n_out": b, "reason": why}

    some = [(" + ".join(x for x in names if x != left), 75 - 8 * i) for i, left in enumerate(names) if len(names) > 1]
    sets = [(" + ".join(names), N + 1 - sum(n for _, n in some)), *some, ("none", 3)]

    def split(name: str, design: str, held_out: int, events: int) -> dict[str, Any]:
        sizes = {"n_train": N + 4 * (name == "full") - held_out, "n_test": held_out}
        sizes |= {"n_out": 0, "n_locked": 0, "n_unplaced": 0}
        return {"resample": name, "design": design, "events_train": EVENTS - events, "events_test": events} | sizes

    resamples = [split("full", "full", 0, 0)]
    resamples += [split(f"cv-1-{i}", "cross-validation", N // 5, EVENTS // 5) for i in range(1, 6)]
    sites = range(1, 5 if case == "demo" else 1)
    resamples += [split(f"site-site_{i}", "leave-site-out", N // 4, EVENTS // 4) for i in sites]
    return {
        "flow": [
            step("read", "clinical table", 604, 604, "kept"),
            *(step("read", o, 490 - i, 480, "not in the clinical table") for i, o in enumerate(names)),
            step("outcome", "endpoint", 604, 600, "no follow-up time"),
            step("outcome", "endpoint", 600, 600, "usable outcome"),
        ],
        "baseline": _baseline(case),
        "overlap_omics": [{"omics": o, "n": n} for o, n in sets],
        "outcome_counts": [
            {"status": "event", "n": 330},
            {"status": "competing", "n": 0},
            {"status": "censored", "n": 270},
        ],
        "notes": [{"scope": "clinical table", "file": "clinical.tsv", "note": "blanks around 3 identifiers removed"}],
        "identity_summary": [
            {"check": "duplicate", "scope": names[0], "n": 480, "features": 300, "flagged": 4}
            | {"found": None, "false_alarms": None, "note": ""}
        ],
        "batches": [
            {"batch": "site", "role": role, "variable": variable, "measure": "Cramer's V", "value": strength}
            | {"strength": strength, "limit": 0.3, "p_value": 0.01, "n": N, "beyond": strength > 0.3, "note": ""}
            for role, variable, strength in (("outcome", "os_event", 0.05), ("treatment", "treatment", 0.41))
        ],
        "missingness": [
            {"subject": "omic", "name": names[0], "block": "", "finding": "test", "role": "batch", "variable": "site"}
            | {"level": "", "test": "chi-squared", "measure": "Cramer's V", "effect": 0.2, "p_value": 1e-6}
            | {"p_holm": p, "n": N, "missing": 120}
            for p in (1e-5, 0.4)
        ]
        + [
            {"subject": "omic", "name": names[-1], "block": "", "finding": "all missing", "role": "known label"}
            | {"variable": "disease", "level": "GBM", "test": "", "measure": "", "effect": None, "p_value": None}
            | {"p_holm": None, "n": 90, "missing": 90}
        ],
        "feature_summary": [
            {"resample": "full", "omic": o, "n_train": 480, "n_features_in": 300, "n_kept": 290}
            | {"n_rank_transformed": 7, "n_dropped_missing": 4, "n_dropped_constant": 6, "n_dropped_variance": 0}
            | {"n_clipped": 3}
            for o in names
        ],
        "quality_bars": [bar for omic in OMICS[case] for bar in _bars(omic)],
        "quality_summary": [
            r
            for o in names
            for r in (
                {"omic": o, "metric": "patients", "value": 480.0, "note": "of 600 in the cohort"},
                {
                    "omic": o,
                    "metric": "missing values",
                    "value": 0.012,
                    "note": "share of cells, among patients who have the omic",
                },
                {
                    "omic": o,
                    "metric": "outlying patients",
                    "value": 4.0,
                    "note": "median of the features beyond 6 robust SD of the cohort",
                },
            )
        ],
        "resample_summary": resamples,
    }


def _baseline(case: str) -> list[dict[str, Any]]:
    empty = dict.fromkeys(("level", "value", "sd", "lower", "upper", "count"))

    def classes(variable: str, sizes: dict[str, int]) -> list[dict[str, Any]]:
        n = sum(sizes.values())
        base = empty | {"variable": variable, "kind": "share", "n": n, "missing": N + 4 - n}
        return [base | {"level": name, "value": count / n, "count": count} for name, count in sizes.items()]

    age = empty | {"variable": "age", "kind": "mean", "value": 61.3, "sd": 10.2, "n": N, "missing": 4}
    followed = {"variable": "follow-up", "kind": "months", "value": 57.4, "lower": 55.0, "upper": 58.8}
    sites = classes("site", {f"site_{i}": 151 for i in range(1, 5)}) if case == "demo" else []
    everybody = [age, *classes("sex", {"female": 301, "male": 290}), *sites]
    by_arm = [] if case == "survival_only" else [r for arm in (0, 1) for r in _arm(empty | {"arm": arm})]
    return [*everybody, empty | followed | {"n": N, "missing": 0}, *by_arm]


def _arm(base: dict[str, Any]) -> list[dict[str, Any]]:
    """One arm as recorded: 300 patients, of whom few are men where they are treated."""
    base = base | {"treatment": "treatment", "n": 300, "missing": 0}
    men = 4 if base["arm"] else 120
    return [
        base | {"variable": "age", "kind": "mean", "value": 60.0 + base["arm"], "sd": 9.0},
        base | {"variable": "sex", "kind": "share", "level": "female", "value": 1 - men / 300, "count": 300 - men},
        base | {"variable": "sex", "kind": "share", "level": "male", "value": men / 300, "count": men},
        base | {"variable": "follow-up", "kind": "months", "value": 57.0, "lower": 55.0, "upper": 59.0},
    ]


def _what_they_are(ids: range, sizes: Mapping[int, int], case: str) -> dict[str, list[dict[str, Any]]]:
    """Tests, restricted means, associations, alterations, gene sets and consensus of the subgroups."""
    key = {"model": "vae"}
    test = {"n": N, "events": EVENTS, "held_out": True, "df": max(len(ids) - 1, 0)}
    tests = [
        {"test": name, "statistic": 30.0, "p_value": p, "method": f"{name}, stratified by site"} | key | test
        for name, p in (("log-rank", 1e-6), ("stratified log-rank", 2e-6), ("likelihood ratio", 0.004))
    ]
    survival = [
        claim(50.0 - 6 * g, 2.0, n=sizes[g], quantity="rmst", subgroup=g, versus=None, tau_months=60.0) for g in ids
    ]
    survival += [
        claim(6.0 - 6 * g, 2.8, quantity="rmst_difference", subgroup=g, versus=1, tau_months=60.0) for g in ids if g > 1
    ]
    survival += [
        claim(value, 0.02, quantity=name, subgroup=None, versus=None, tau_months=60.0)
        for name, value in (("uno_c_clinical", 0.64), ("uno_c_with_subgroups", 0.67), ("uno_c_difference", 0.03))
    ]
    associations = [
        claim(
            value, 0.05, variable=name, role=role, measure=measure, strength=strength, limit=0.3, beyond=strength > 0.3
        )
        for name, role, measure, value, strength in (
            ("site", "batch", "Cramer's V", 0.06, 0.06),
            ("age", "covariate", "eta squared", 0.16, 0.4),
        )
    ]
    alterations = [
        {"subgroup": g, "omic": "mutation", "feature": f"gene_{i}", "alteration": "mutated", "definition": "value 1"}
        | {"n": 100, "count": (4, 30, 60)[(g + i) % 3], "difference": 0.3 - 0.1 * i}
        for g in ids
        for i in range(4)
    ]
    scores = [
        {"subgroup": g, "omic": "rna", "gene_set": f"SET_{i}", "n_genes": 9, "n": 100, "mean": 0.1, "effect": 0.1 * i}
        for g in ids
        for i in range(20)
    ]
    covered = [
        {"omic": "rna", "gene_set": f"SET_{i}", "source": "by hand", "n_genes": 12, "n_shared": 9, "scored": True}
        | {"note": ""}
        for i in range(20)
    ]
    covered.append(
        covered[0] | {"gene_set": "TINY", "n_shared": 2, "scored": False, "note": "fewer than 5 genes measured"}
    )
    consensus = [
        {"row": i + 1, "column": j + 1, "row_subgroup": i // 4 + 1, "column_subgroup": j // 4 + 1, "resamples": 5}
        | {"n_row": 25, "n_column": 25, "share": 0.95 if i // 4 == j // 4 else 0.02}
        for i in range(4 * len(ids))
        for j in range(i, 4 * len(ids))
    ]
    made = {
        "subgroup_comparisons": tests,
        "subgroup_survival": survival,
        "subgroup_associations": associations,
        "subgroup_sites": [
            claim(0.9, 0.05, n=150, resample=f"site-site_{i}", k=3, standard_error=0.03) for i in range(1, 5)
        ],
        "subgroup_site_survival": [
            claim(
                size + 0.5 * i if i < 4 else None,
                4.0,
                n=90,
                events=50,
                method="difference in area under the Kaplan-Meier curve up to 60 months, subgroups by a model that has"
                " not seen the site"
                if i < 4
                else "not estimable: fewer than 20 patients in one of both",
                resample=f"site-site_{i}",
                subgroup=g,
                versus=1,
                tau_months=60.0,
                standard_error=2.0 if i < 4 else None,
            )
            for g, size in ((2, -8.0), (3, -2.0))
            for i in range(1, 5)
        ],
        "subgroup_site_summary": [
            over_sites(0.9, 0.04, 0.1, n=474, model="vae", quantity="adjusted_rand_index")
            | {"subgroup": None, "versus": None, "tau_months": None, "sites": 4},
            *(
                over_sites(size, 4.0, 6.0, n=270, model="vae", quantity="rmst_difference", events=150)
                | {"subgroup": g, "versus": 1, "tau_months": 60.0}
                for g, size in ((2, -7.0), (3, -1.0))
            ),
        ],
        "subgroup_alterations": alterations,
        "subgroup_gene_sets": scores,
        "subgroup_consensus": consensus,
    }
    named = {name: [key | row for row in rows] for name, rows in made.items()}
    return named | {"gene_set_coverage": covered} if len(ids) and case == "demo" else {}


def _subgroups(case: str) -> dict[str, list[dict[str, Any]]]:
    k = 3 if case == "demo" else 1
    ids = range(1, k + 1)
    rng = np.random.default_rng(7)
    selection, points, agreement, tests = [], [], [], []
    for model in LATENTS:
        best = {2: 0.78, 3: 0.94, 4: 0.71, 5: 0.6, 6: 0.52} if k == 3 else {2: 0.55, 3: 0.41, 4: 0.38, 5: 0.33, 6: 0.3}
        for resample in ("full", *(f"cv-1-{i}" for i in range(1, 6))):
            for key in range(1, 7):
                null = None if key == 1 else 0.58 - 0.05 * key
                selection.append(
                    {
                        "resample": resample,
                        "model": model,
                        "k": key,
                        "stability": best.get(key),
                        "null_mean": null,
                        "null_upper": None if null is None else null + 0.17,
                        "p_value": 0.025 if k == 3 else 0.4,
                        "p_stable": 0.025 if k == 3 else 1.0,
                        "chosen": key == k,
                    }
                )
        for i in range(500):
            g = int(rng.integers(k)) + 1
            x, y = rng.normal([[0, 2.2], [-2.2, -1.2], [2.3, -1.0]][g - 1], 0.8)
            points += [
                {
                    "model": model,
                    "projection": projection,
                    "x": float(x) * scale,
                    "y": float(y),
                    "subgroup": 0 if i % 41 == 0 else g,
                    "planted": g if case == "demo" else None,
                    "site": f"site_{i % 4 + 1}",
                }
                for projection, scale in (("principal", 1.0), ("umap", 2.0))[: 2 if model == "vae" else 1]
            ]
        labels = ("full", *(("subtype", "planted") if case == "demo" else ()), *(("vae",) if model != "vae" else ()))
        for name in labels:
            value = {"full": 0.95, "subtype": 0.61, "planted": 0.91, "vae": 0.93}[name] - 0.06 * (model == "pca")
            for metric in ("adjusted_rand_index", "normalised_mutual_information"):
                agreement.append(
                    claim(
                        value if k > 1 else None,
                        0.03 if k > 1 else None,
                        method=METHOD if k > 1 else "not estimable: one subgroup",
                        model=model,
                        label=name,
                        metric=metric,
                    )
                )
        tests.append(
            {
                "grouping": f"{model} subgroups",
                "statistic": 41.2 if k > 1 else None,
                "df": k - 1,
                "p_value": 1e-6 if k > 1 else None,
                "n": N,
                "events": EVENTS,
                "method": "log-rank" if k > 1 else "one subgroup: nothing to compare",
                "held_out": True,
            }
        )
    if case == "demo":
        tests.append(
            {
                "grouping": "subtype",
                "statistic": 30.0,
                "df": 2,
                "p_value": 3e-7,
                "n": N,
                "events": EVENTS,
                "method": "log-rank",
                "held_out": False,
            }
        )
    sizes = {1: 240, 2: 201, 3: 152, 0: 7} if k == 3 else {1: 600}
    profile = []
    for g, n in sizes.items():
        profile.append(
            {
                "model": "vae",
                "subgroup": g,
                "variable": "age",
                "kind": "mean",
                "value": 61.0 + g,
                "sd": 10.2,
                "n": n,
                "count": None,
            }
        )
        for level, part in (("male", n // 2), ("female", n - n // 2)):
            profile.append(
                {
                    "model": "vae",
                    "subgroup": g,
                    "variable": f"sex: {level}",
                    "kind": "share",
                    "value": part / n,
                    "sd": None,
                    "n": n,
                    "count": part,
                }
            )
    rates = {1: 0.008, 2: 0.014, 3: 0.024, 0: 0.015}
    horizon = 60.0
    return {
        "subgroup_selection": selection,
        "subgroup_stability": [
            {"resample": "full", "model": m, "subgroup": g, "n": sizes[g], "jaccard": 0.9} for m in LATENTS for g in ids
        ],
        "latent_map": points,
        **_what_they_are(ids if k > 1 else range(0), sizes, case),
        "subgroup_agreement": agreement,
        "subgroup_tests": tests,
        "subgroup_summary": [
            claim(
                float(np.exp(-rates[g] * horizon)),
                0.05,
                n=n,
                events=n // 2,
                method="Kaplan–Meier, log-log interval",
                model=m,
                subgroup=g,
                horizon_months=horizon,
                share=n / N,
                mean_probability=0.97,
                jaccard=0.9 if g else None,
            )
            for m in LATENTS
            for g, n in sizes.items()
        ],
        "subgroup_profile": profile,
        "subgroup_single_features": [
            {"model": m, "omic": o, "feature": f"{o}_000", "n": 500, "estimate": 0.4 - 0.1 * j, "linked": j}
            for m in LATENTS
            for j, o in enumerate(OMICS[case])
            if k > 1
        ],
        "subgroup_markers": [
            {
                "model": "vae",
                "subgroup": g,
                "omic": o,
                "feature": f"{o}_{i:03d}",
                "effect": (-1.0) ** i * (2.4 - 0.2 * i - 0.1 * j),
            }
            for g in (ids if k > 1 else ())
            for j, o in enumerate(OMICS[case])
            for i in range(6)
        ],
        "subgroup_curves": [r for m in LATENTS for g, n in sizes.items() for r in km(rates[g], n, model=m, subgroup=g)],
        "subgroup_information": [
            {
                "resample": "full",
                "model": "vae",
                "omics": " + ".join(omics),
                "n": n,
                "references": 0 if told is None else 300,
                "share": told,
                "used": told is None or told >= 0.9,
            }
            for omics, n, told in (
                (OMICS[case], 350, None),
                (OMICS[case][:-1], 180, 0.91),
                (OMICS[case][-1:], 70, 0.23),
            )[: 3 if len(OMICS[case]) > 1 else 1]
        ],
        "training": [
            {
                "member": m,
                "epoch": e,
                "train_loss": 1.0 + np.exp(-e / 10) + 0.02 * m,
                "validation_loss": 1.1 + np.exp(-e / 10) + 0.03 * m,
            }
            for m in range(4)
            for e in range(0, 60, 2)
        ],
    }


def _explained(case: str) -> dict[str, list[dict[str, Any]]]:
    """What the models use: the first omic matters, the second does not."""
    design, horizon, clinical = "cross-validation", 60.0, [] if case == "survival_only" else ["clinical"]
    blocks = [*OMICS[case], *clinical]
    importance, shares, explained, checks = [], [], [], []
    for i, block in enumerate(blocks):
        loss = {0: 0.06, 1: 0.001}.get(i, 0.02)
        for model in ("clinical", "clinical_omics", "clinical_latent"):
            seen = model != "clinical" or block == "clinical"
            for metric, when, value in (("uno_c", None, loss), ("brier", horizon, loss / 5)):
                method = f"loss of {metric}, mean of 3 exchanges; {METHOD}"
                keys = {"design": design, "model": model, "block": block, "metric": metric, "horizon_months": when}
                importance.append(claim(value * seen, 0.01 * seen, method=method, **keys))
        shares.append(claim(loss, 0.005, design=design, block=block, horizon_months=horizon))
        rest = {"resamples": 5, "lowest": loss / 20, "highest": loss / 5, "coefficient": None}
        for j in range(3):
            named = {"level": "feature", "block": block, "name": f"{block}_{j + 1}", "size": 1, "random": None}
            direction = {0: 0.9, 1: -0.9}.get(j, 0.1)
            explained.append(named | rest | {"mean_absolute": loss / 10, "direction": direction})
        if block != "clinical":
            named = {"level": "gene set", "block": block, "name": "A GENE SET", "size": 12, "random": loss / 4}
            explained.append(named | rest | {"mean_absolute": loss / 2, "direction": None})
            check = {"block": block, "n": 120, "steps": 16, "error": 1e-9, "shuffled": 0.6 * (i == 1)}
            checks += [{"resample": f"cv-1-{k}"} | check for k in (1, 2)]
    return {"importance": importance, "shares": shares, "explained": explained, "attribution_checks": checks}


def _prognosis(case: str) -> dict[str, list[dict[str, Any]]]:
    gain = {"demo": 0.052, "null": -0.004, "survival_only": 0.03}[case]
    scores = {
        "kaplan_meier": (0.5, 0.21, 0.0),
        "clinical": (0.645, 0.19, 0.09),
        "clinical_omics": (0.645 + gain, 0.183, 0.12),
        "clinical_latent": (0.645 + gain * 0.9, 0.184, 0.12),
    }
    if case != "demo":  # no score is told from the clinical one
        scores = {m: (c, ibs if m == "kaplan_meier" else 0.189, ipa) for m, (c, ibs, ipa) in scores.items()}
    metrics, by_resample, calibration = [], [], []
    designs = ("cross-validation", "leave-site-out") if case == "demo" else ("cross-validation",)
    for design in designs:
        for model, (c, ibs, ipa) in scores.items():

            def add(
                metric: str,
                value: float | None,
                half: float | None,
                horizon: float | None = None,
                versus: str | None = None,
                method: str = METHOD,
                design: str = design,
                model: str = model,
            ) -> None:
                metrics.append(
                    claim(
                        value,
                        half,
                        design=design,
                        model=model,
                        metric=metric,
                        horizon_months=horizon,
                        versus=versus,
                        method=method,
                    )
                )

            add("uno_c", c, 0.025, method="Uno's C, tau 60 months, ties in score count 1/2; " + METHOD)
            add("harrell_c", c + 0.004, 0.024)
            add("ibs", ibs, 0.01)
            add("ipa", ipa, 0.03)
            add("ipa", ipa, 0.03, horizon=60.0)
            for horizon in (36.0, 60.0):
                add("auc", c + 0.02, 0.03, horizon)
                add("brier", ibs + 0.02, 0.01, horizon)
                if model == "kaplan_meier":
                    add("calibration_slope", None, None, horizon, method="not estimable: all predictions are equal")
                else:
                    add("calibration_slope", 0.97, 0.15, horizon)
                add("observed_expected", 1.01, 0.07, horizon)
            if model != "clinical":
                add("uno_c", c - 0.645, 0.02, versus="clinical", method="Uno's C, paired difference; " + METHOD)
                add("ibs", ibs - 0.19, 0.004, versus="clinical")
            if model == "kaplan_meier":
                continue
            for i, name in enumerate(
                [f"cv-1-{i}" for i in range(1, 6)]
                if design == "cross-validation"
                else [f"site-site_{i}" for i in range(1, 5)]
            ):
                value = None if (i, case) == (3, "null") else c + 0.02 * ((i * 7) % 5 - 2)
                site = design == "leave-site-out"
                by_resample.append(
                    {
                        "design": design,
                        "resample": name,
                        "model": model,
                        "uno_c": value,
                        "standard_error": 0.04 if site else None,
                        "lower": value - 0.08 if site and value else None,
                        "upper": value + 0.08 if site and value else None,
                        "n": 120 - i,
                        "events": 70 - i,
                    }
                )
    for model in list(scores)[1:]:
        for horizon in (36.0, 60.0):
            calibration += [
                {
                    "model": model,
                    "horizon_months": horizon,
                    "group": g,
                    "predicted": 0.08 * g,
                    "observed": min(0.08 * g + 0.01 * ((g * 3) % 4 - 1), 1.0),
                    "lower": max(0.08 * g - 0.07, 0.0),
                    "upper": min(0.08 * g + 0.09, 1.0),
                    "n": 60,
                }
                for g in range(1, 11)
            ]
    judged = [(m, h) for m in list(scores)[1:] for h in (36.0, 60.0)]
    curves = [
        {"design": "cross-validation", "model": m, "horizon_months": h, "predicted": 0.05 * g}
        | {"observed": 0.05 * g + 0.01, "lower": max(0.05 * g - 0.05, 0.0), "upper": 0.05 * g + 0.07}
        for m, h in judged
        for g in range(1, 17)
    ]
    nothing: dict[str, Any] = {"chance": None, "chance_upper": None, "df": None, "p_value": None}

    def measure(model: str, horizon: float, metric: str, value: float, half: float | None, **more: Any) -> dict:
        keys = {"design": "cross-validation", "model": model, "metric": metric, "horizon_months": horizon}
        return claim(value, half, **keys, **nothing | more)

    measures = []
    for m in list(scores)[1:]:
        for h in (36.0, 60.0):
            measures.append(measure(m, h, "intercept", 0.03, 0.12))
            measures.append(measure(m, h, "ici", 0.021, 0.012, chance=0.018, chance_upper=0.035))
            measures += [measure(m, h, "e50", 0.018, 0.01), measure(m, h, "e90", 0.044, 0.02)]
        spread = measure(m, 60.0, "d_calibration", 8.14, None, df=9, p_value=0.52)
        measures.append(spread | {"estimate": 8.14})
    by_outcome = [
        {"design": "cross-validation", "model": m, "horizon_months": h, "outcome": o, "n": n}
        | {"bin_lower": 0.05 * b, "bin_upper": 0.05 * (b + 1)}
        for m, h in judged
        for o, heights in (
            ("failed", (3, 20, 60, 40)),
            ("alive", (50, 80, 30, 5)),
            ("censored before", (9, 40, 21, 12)),
        )
        for b, n in enumerate(heights, 2)
    ]
    features = {
        "clinical": ("age", "stage: II_b"),
        "clinical_omics": ("age", "stage: II_b", "mrna: 203306_s_at"),
        "clinical_latent": ("age", "stage: II_b", "latent 1"),
    }
    return {
        "prognosis_metrics": metrics,
        "prognosis_resamples": by_resample,
        "calibration": calibration,
        "calibration_curves": curves,
        "calibration_measures": measures,
        "risks_by_outcome": by_outcome,
        "decisions": [
            claim(
                0.3 * (1 - t) - 0.05 * i,
                0.02,
                design="cross-validation",
                model=m,
                horizon_months=h,
                threshold=t,
                versus=None,
            )
            for i, m in enumerate(("clinical", "clinical_omics", "treat all"))
            for h in (36.0, 60.0)
            for t in (0.1, 0.2, 0.3, 0.4)
        ],
        "coverage": [
            claim(
                0.9 - 0.06 * (q == "4"),
                0.03,
                design="cross-validation",
                model="clinical",
                nominal=0.9,
                by="risk quarter" if q else "all",
                group=q,
                median_months=20.0,
            )
            for q in ("", "1", "2", "3", "4")
        ],
        "coefficients": [
            {
                "resample": "full",
                "model": m,
                "feature": f,
                "coefficient": 0.2 + 0.1 * i,
                "lower": None if m == "clinical_omics" else 0.1 + 0.1 * i,
                "upper": None if m == "clinical_omics" else 0.3 + 0.1 * i,
                "reference": "I" if f.startswith("stage") else None,
            }
            for m, fs in features.items()
            for i, f in enumerate(fs)
        ],
        "models": [
            {"resample": r, "model": m, "n": N, "events": EVENTS, "parameters": i, "note": "", "stand_in": None}
            for r in (
                "full",
                *(f"cv-1-{i}" for i in range(1, 6)),
                *(f"site-site_{i}" for i in range(1, 5) if case == "demo"),
            )
            for i, m in enumerate(scores)
        ],
    }


def _trust(case: str) -> dict[str, list[dict[str, Any]]]:
    """How far models can be trusted; without covariates there is no clinical model to ask."""
    own = () if case == "survival_only" else ("clinical",)
    samples = "200 of 200 bootstrap samples of the training patients"
    sized = [("clinical", 8, True), ("clinical_latent", 25, False), ("clinical_omics", 1200, False)]
    if not own:
        sized = [("clinical", 0, None), *sized[1:]]
    values = [("mean", None, 0.03), ("median", None, 0.028), ("p90", None, 0.05), ("p95", None, 0.06)]
    values += [("changed", t, 0.02 + t / 10) for t in (0.1, 0.2, 0.3, 0.5)]
    tested = {m: 0.002 if case == "demo" and m == "clinical" else 0.4 for m in (*own, "clinical_latent")}
    return {
        "sample_size": [
            {
                "model": m,
                "horizon_months": 60.0,
                "n": N,
                "events": EVENTS,
                "parameters": p,
                "for_shrinkage": 60 * p if p else None,
                "for_optimism": 20 * p if p else None,
                "for_risk": 277 if p else None,
                "asked": max(60 * p, 277) if p else None,
                "met": met,
                "method": "Riley" if p else "not estimable: no column varies in training",
            }
            for m, p, met in sized
        ],
        "instability": [
            {
                "model": m,
                "horizon_months": h,
                "quantity": quantity,
                "threshold": threshold,
                "value": value,
                "n": N,
                "draws": 200,
                "method": samples,
            }
            for m in (*own, "clinical_latent")
            for h in (36.0, 60.0)
            for quantity, threshold, value in values
        ],
        "bands": [
            {
                "model": m,
                "horizon_months": h,
                "group": g,
                "predicted": 0.08 * g,
                "lower": 0.07 * g,
                "upper": 0.09 * g,
                "error": 0.01 * g / 2,
                "n": 5 if g == 10 else 60,
            }
            for m in (*own, "clinical_latent")
            for h in (36.0, 60.0)
            for g in range(1, 11)
        ],
        "optimism": [
            {
                "model": m,
                "metric": metric,
                "horizon_months": horizon,
                "apparent": apparent,
                "optimism": 0.02,
                "corrected": apparent - 0.02,
                "n": N,
                "events": EVENTS,
                "draws": 200,
                "method": samples,
            }
            for m in (*own, "clinical_latent")
            for metric, horizon, apparent in (("uno_c", None, 0.66), ("calibration_slope", 60.0, 1.0))
        ],
        "proportional": [
            {
                "model": m,
                "feature": feature,
                "statistic": 12.3,
                "df": 1,
                "p_value": p / 2,
                "p_holm": p if feature is None else None,
                "n": N,
                "events": EVENTS,
                "method": "score test",
            }
            for m, p in tested.items()
            for feature in (None, "age", "stage: II_b")
        ],
        "contrasts": [
            claim(
                -4.2,
                1.5,
                method="difference of areas",
                held_out=False,
                model="clinical",
                feature="age",
                sides="above the median against the others",
                tau_months=60.0,
            )
        ]
        if case == "demo"
        else [],
        "spread": [
            {
                "design": "cross-validation",
                "model": "deep",
                "horizon_months": 60.0,
                "members": 8,
                "mean": 0.021,
                "p90": 0.034,
                "n": N,
            }
        ]
        if case == "demo"
        else [],
        "site_summary": [
            claim(
                0.64,
                0.05,
                n=474,
                events=274,
                model=m,
                prediction_lower=0.47,
                prediction_upper=0.78,
                spread=0.1,
                i2=0.2,
                sites=4,
                of=4,
            )
            for m in ("clinical", "clinical_omics")
        ]
        if case == "demo"
        else [],
    }


def _robustness(case: str) -> dict[str, list[dict[str, Any]]]:
    """Every stress at two doses, of the yardstick and the model to apply; worse by the dose."""
    shares = (0.1, 0.5)
    stresses = [
        ("input perturbation", "noise on features and numeric covariates", "", (0.5, 1.0)),
        ("missing data", "features missing at random", "", shares),
        *(("missing data", "without an omic", o, (1.0,)) for o in OMICS[case]),
        ("missing data", "without a covariate", "age", (1.0,)),
        ("label noise", "event flags of held-out patients turned", "", shares),
        ("imbalance", "patients with an event left out", "", shares),
        ("feature selection", "features left out at random", "", shares),
        ("feature selection", "features with the largest weights left out", "", shares),
        *(("domain shift", "all features higher", o, (0.5, 1.0)) for o in OMICS[case]),
        ("domain shift", "patients of sites that were left out", "", (None,)),
        ("adversarial", "worst of the directions tried", "", (0.1, 0.25)),
        ("model specification", "in place of the stacked model", "", (None,)),
    ]
    rows = []
    for concept, stress, part, doses in stresses:
        for dose in doses:
            for model, slope in (("clinical", 0.02), ("stacked", 0.06)):
                if concept == "model specification" and model == "stacked":
                    continue
                moved = -slope * (1.0 if dose is None else dose)
                values = {"uno_c": 0.65 + moved, "observed_expected": 1.0 - moved, "risk_change": -moved}
                values |= {"rank_correlation": 0.8} if concept == "model specification" else {}
                for metric, value in values.items():
                    gone = metric in ("risk_change", "rank_correlation")
                    apart = None if gone else (moved if metric == "uno_c" else -moved)
                    bare = stress.startswith("patients of sites") or gone
                    rows.append(
                        claim(
                            value,
                            0.04,
                            method="Uno's C; model kept; 95 % percentile interval of 500 bootstraps",
                            concept=concept,
                            stress=stress,
                            part=part,
                            dose=dose,
                            model=model,
                            metric=metric,
                            horizon_months=None if metric == "uno_c" else 60.0,
                            difference=apart,
                            difference_lower=None if bare else apart - 0.01,
                            difference_upper=None if bare else apart + 0.01,
                        )
                    )
    return {"robustness": rows}


GROUPS: dict[str, dict[str, tuple[int, int]]] = {
    "": {"": (N, EVENTS)},
    "sex": {"female": (310, 180), "male": (286, 189)},
    "age": {"below 55": (200, 100), "55 and above": (400, 271)},
    "sex × age": {
        "female, below 55": (104, 60),
        "female, 55 and above": (206, 120),
        "male, below 55": (7, 4),
        "male, 55 and above": (279, 185),
    },
}
"""Patients and events of each group; four have no sex, and few men are young."""


def _groups(case: str) -> dict[str, list[dict[str, Any]]]:
    """Predictions by group: those for women too extreme."""
    if case != "demo":
        return {}
    base = {"design": "cross-validation"}
    told, tests, updates = [], [], []
    each = [(grouping, group, *size) for grouping, groups in GROUPS.items() for group, size in groups.items()]
    for grouping, group, n, events in each:
        keys = base | {"grouping": grouping, "group": group, "threshold": None}
        few = "not estimable: fewer than 20 events up to 60 months; "
        method = (few if events < 20 else "") + METHOD
        lost = claim(0.2, 0.04, n, events, METHOD, model=None, metric="censored", horizon_months=60.0, **keys)
        told.append(lost)
        for model in ("clinical", "stacked"):
            values = {"uno_c": 0.66, "auc": 0.7, "calibration_slope": 0.68 if group == "female" else 1.02}
            values |= {"observed_expected": 1.03, "bound_coverage": 0.89}
            for metric, value in values.items():
                horizon = None if metric in ("uno_c", "bound_coverage") else 60.0
                row = {"model": model, "metric": metric, "horizon_months": horizon}
                told.append(claim(value if events >= 20 else None, 0.1, n, events, method, **row, **keys))
            benefit = {"model": model, "metric": "net_benefit", "horizon_months": 60.0} | keys | {"threshold": 0.3}
            told.append(claim(0.21 if events >= 20 else None, 0.05, n, events, method, **benefit))
            if not grouping:
                continue
            p = None if events < 20 else 0.0004 if group == "female" else 0.4
            tests.append(_test("holds", grouping, group, model, p, n, events, method))
            of = base | {"grouping": grouping, "group": group, "model": model, "horizon_months": 60.0}
            if events < 40:
                gain = {"state": "after less before", "metric": "net_benefit", "threshold": 0.3}
                updates.append(claim(None, None, n, events, f"not estimable: {METHOD}", **of, **gain))
                continue
            for state, slope in (("before", values["calibration_slope"]), ("after", 0.98)):
                for metric, value in (("calibration_slope", slope), ("observed_expected", 1.03)):
                    row = {"state": state, "metric": metric, "threshold": None}
                    updates.append(claim(value, 0.1, n, events, METHOD, **of, **row))
            gain = {"state": "after less before", "metric": "net_benefit", "threshold": 0.3}
            updates.append(claim(0.012 if group == "female" else -0.002, 0.006, n, events, METHOD, **of, **gain))
    for grouping in list(GROUPS)[1:]:
        for model in ("clinical", "stacked"):
            p = 0.003 if grouping == "sex" and model == "stacked" else 0.6
            tests.append(_test("differs", grouping, None, model, p, N, EVENTS, METHOD))
    return {"fairness_groups": told, "fairness_tests": tests, "fairness_recalibration": updates}


def _test(
    kind: str, grouping: str, group: str | None, model: str, p: float | None, n: int, events: int, method: str
) -> dict[str, Any]:
    return {
        "design": "cross-validation",
        "kind": kind,
        "grouping": grouping,
        "group": group,
        "model": model,
        "horizon_months": 60.0,
        "statistic": None if p is None else 5.0,
        "df": 0 if p is None else 2,
        "p_value": p,
        "p_holm": p,
        "flagged": p is not None and p <= 0.05,
        "groups": 2 if kind == "differs" else 1,
        "n": n,
        "events": events,
        "method": method,
        "held_out": True,
    }


def _treatment(case: str) -> dict[str, list[dict[str, Any]]]:
    key = {"treatment": "treatment"}
    found = {1: 4.6, 2: 0.4, 3: -4.1} if case == "demo" else {}
    truth = {0: 1.4, 1: 4.2, 2: 0.0, 3: -3.6} if case == "demo" else {0: 0.0}
    sizes = {0: (593, 360, 290), 1: (240, 100, 120), 2: (201, 104, 110), 3: (152, 65, 86)}
    effects = []
    for g, value in ({0: 1.3 if case == "demo" else 0.3} | found).items():
        n, events, treated = sizes[g]
        half = 1.2 if g == 0 else 2.0
        for weighting, shift in (("none", -4.4), ("overlap", 0.0)):
            common = {
                **key,
                "subgroup": g,
                "weighting": weighting,
                "n_treated": treated,
                "effective_n": n * 0.8 if weighting == "overlap" else None,
                "p_value": 0.004 if abs(value) > half else 0.4,
                "p_holm": None if g == 0 else 0.012 if abs(value) > half else 0.4,
            }
            how = "overlap-weighted Kaplan–Meier; percentile interval of 500 bootstraps, propensity re-estimated"
            effects.append(
                claim(
                    value + shift,
                    half,
                    n,
                    events,
                    how,
                    g > 0,
                    estimand="rmst_difference",
                    horizon_months=60.0,
                    truth=truth[g],
                    **common,
                )
            )
            for h in (36.0, 60.0):
                effects.append(
                    claim(
                        (value + shift) / 60,
                        half / 50,
                        n,
                        events,
                        how,
                        g > 0,
                        estimand="survival_difference",
                        horizon_months=h,
                        truth=truth[g] / 60,
                        **common,
                    )
                )
            effects.append(
                claim(
                    float(np.exp(-(value + shift) / 10)),
                    0.14,
                    n,
                    events,
                    "Cox, Wald interval; not collapsible",
                    g > 0,
                    estimand="hazard_ratio",
                    horizon_months=None,
                    truth=None,
                    **common,
                )
            )
    kinds = [("doubly robust", p) for p in ("all", "trimmed", "overlap")] + [("inverse probability", "trimmed")]
    averages = [
        claim(
            (1.2 if case == "demo" else 0.2) * (1.0 if estimand == "rmst_difference" else 1 / 60),
            1.1 if estimand == "rmst_difference" else 0.02,
            593 if population != "trimmed" else 540,
            360,
            f"{estimator}, averaged over {population}",
            False,
            **key,
            estimator=estimator,
            population=population,
            estimand=estimand,
            horizon_months=horizon,
            n_treated=290 if population != "trimmed" else 260,
            effective_n=410.0 if estimator == "inverse probability" else None,
            p_value=0.03,
            truth=None,
        )
        for estimator, population in kinds
        for estimand, horizon in (
            ("rmst_difference", 60.0),
            ("survival_difference", 36.0),
            ("survival_difference", 60.0),
        )
    ]
    strong = case == "demo"
    parts = {
        ("baseline risk", "risk without treatment"): (
            "lowest quarter", "second quarter", "third quarter", "highest quarter"
        ),
        ("covariate", "age"): ("up to 52", "above 52, up to 61", "above 61"),
        ("covariate", "sex"): ("female", "male"),
        ("predicted effect", "combined"): (
            "least benefit", "second fifth", "middle fifth", "fourth fifth", "most benefit"
        ),
    }  # fmt: skip
    differences = [
        claim(
            (i - 1.5) * (1.5 if strong and kind == "predicted effect" else 0.1) if months_ else 1.0,
            1.4 if months_ else 0.3,
            560 // len(groups),
            340 // len(groups),
            "mean of doubly robust contributions of held-out patients" if months_ else "Cox model with treatment alone",
            True,
            **key,
            kind=kind,
            variable=variable,
            group=group,
            position=i + 1,
            estimand="rmst_difference" if months_ else "hazard_ratio",
            horizon_months=60.0 if months_ else None,
            n_treated=270 // len(groups),
            truth=None,
        )
        for (kind, variable), groups in parts.items()
        for i, group in enumerate(groups)
        for months_ in (True, False)
    ]
    asked = (
        ("baseline risk", "risk without treatment", "equal effects", None, 0.6),
        ("covariate", "age", "linear trend", 0.2, 0.5),
        ("covariate", "sex", "equal effects", None, 0.7),
        ("predicted effect", "combined", "rank-weighted average", 1.1 if strong else 0.1, None),
        ("predicted effect", "combined", "calibration slope", 0.8 if strong else 0.1, None),
    )
    tests = [
        {
            **key,
            "kind": kind,
            "variable": variable,
            "test": test,
            "estimate": value,
            "lower": None if value is None else value - 0.5,
            "upper": None if value is None else value + 0.5,
            "statistic": None,
            "df": 0 if value is not None else 1,
            "p_value": (0.001 if strong else 0.6) if p is None else p,
            "p_holm": 1.0 if kind == "covariate" else None,
            "n": 560,
            "events": 340,
            "method": f"{test} of held-out patients",
        }
        for kind, variable, test, value, p in asked
    ]
    bins = np.linspace(0, 1, 21)
    overlap = [
        {
            **key,
            "arm": a,
            "bin_lower": float(lo),
            "bin_upper": float(hi),
            "n": round(34 * np.exp(-(((lo + 0.025) - (0.42 if a == 0 else 0.6)) ** 2) / 0.06)),
        }
        for a in (0, 1)
        for lo, hi in itertools.pairwise(bins)
    ]
    components = (
        "eligibility",
        "treatment strategies",
        "assignment",
        "time zero",
        "follow-up",
        "outcome",
        "causal contrast",
        "analysis",
    )
    differs = case == "demo"
    return {
        "treatment_trial": [
            {
                **key,
                "component": c,
                "target": f"{c} of the trial, as one would write it in a protocol",
                "emulation": (
                    "as far as the registry knows; immortal-time bias cannot be excluded"
                    if c == "time zero"
                    else "the same"
                ),
            }
            for c in components
        ],
        "treatment_flow": [
            {"step": "treatment", "scope": "treatment", "n_in": 600, "n_out": 593, "reason": "treatment not recorded"},
            {"step": "treatment", "scope": "treatment", "n_in": 593, "n_out": 593, "reason": "analysed"},
        ],
        "treatment_balance": [
            {**key, "subgroup": g, "covariate": c, "crude": 0.5 - 0.12 * i, "weighted": 1e-12}
            | (
                {"kind": "mean", "of_all": 61.8, "of_overlap": 64.2}
                if i < 3
                else {"kind": "share", "of_all": 0.005 if i == 3 else 0.48, "of_overlap": 0.5}
            )
            for g in (0, *found)
            for i, c in enumerate(("age", "stage", "marker", "marker missing", "sex"))
        ],
        "treatment_overlap": overlap,
        "treatment_curves": [
            r
            for g in (0, *found)
            for w in ("none", "overlap")
            for a in (0, 1)
            for r in km(0.013 + (0.004 * a if w == "none" else -0.0015 * a), 290, **key, subgroup=g, weighting=w, arm=a)
        ],
        "treatment_effects": effects,
        "treatment_averages": averages,
        **_rules_and_profiles(case),
        "treatment_sensitivity": [
            {
                **key,
                "hazard_ratio": 0.8,
                "risk_ratio": 0.86,
                "e_value": 1.6,
                "e_value_limit": 1.2 if case == "demo" else 1.0,
                "method": "E-value",
            }
        ],
        "treatment_learners": [
            {
                **key,
                "learner": "combined",
                "spread": 1.9,
                "average": 1.2,
                "n": 560,
                "events": 240,
                "method": "standard deviation of predictions",
            }
        ],
        "treatment_targeting": [
            {
                **key,
                "learner": "combined",
                "share": s / 20,
                "estimate": 4.0 * (1 - s / 20),
                "lower": 4.0 * (1 - s / 20) - 2.0 / s,
                "upper": 4.0 * (1 - s / 20) + 2.0 / s,
                "n": 560,
                "events": 240,
                "method": "mean doubly robust contribution",
            }
            for s in range(2, 21)
        ],
        "treatment_robustness": [
            {
                **key,
                "check": check,
                "variant": variant,
                "estimand": estimand,
                "horizon_months": until,
                "estimate": size,
                "lower": size - 2.1,
                "upper": size + 2.1,
                "n": n,
                "events": 250,
                "n_treated": 290,
                "effective_n": 480.0,
                "p_value": 0.2,
                "held_out": False,
                "method": "Kaplan-Meier by arm, overlap weights",
            }
            for check, variant, until, size, n in (
                ("main analysis", "as reported above", 60.0, 1.1, 593),
                ("trimmed", "propensity 0.05 to 0.95", 60.0, 1.0, 580),
                ("restriction time", "up to 30 months", 30.0, 0.4, 593),
                ("omics in propensity", "with 16 latent dimensions", 60.0, 1.2, 593),
                ("negative control", "death by accident", 60.0, 0.1, 593),
            )
            for estimand in ("rmst_difference", "survival_difference")
        ],
        **(_treatment_sites(key) if case == "demo" else {}),
        "treatment_differences": differences,
        "treatment_difference_tests": tests,
        "treatment_interaction": [
            {
                **key,
                "estimand": "rmst_difference",
                "horizon_months": 60.0,
                "statistic": 33.0 if differs else None,
                "df": 2 if differs else 0,
                "p_value": 1e-5 if differs else None,
                "method": "Wald test, bootstrap variances" if differs else "one subgroup: nothing to compare",
            }
        ],
    }


def _treatment_sites(key: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    asked = (("rmst_difference", 60.0, 1.2, 3.0), ("survival_difference", 60.0, 0.05, 0.1))
    few = "not estimable: fewer than 20 patients in an arm"
    sites = [
        claim(
            size * (0.5 + 0.25 * i) if i < 4 else None,
            half,
            n=150 if i < 4 else 38,
            events=80,
            method="Kaplan-Meier by arm, overlap weights" if i < 4 else few,
            held_out=False,
            **key,
            resample=f"site-site_{i}",
            estimand=estimand,
            horizon_months=horizon,
            n_treated=70 if i < 4 else 15,
            effective_n=120.0 if i < 4 else None,
            standard_error=half / 1.96 if i < 4 else None,
            p_value=0.2 if i < 4 else None,
        )
        for i in range(1, 5)
        for estimand, horizon, size, half in asked
    ]
    summary = [
        over_sites(size, half / 1.5, half, n=450, events=240, held_out=False)
        | {**key, "estimand": estimand, "horizon_months": horizon}
        for estimand, horizon, size, half in asked
    ]
    return {"treatment_sites": sites, "treatment_site_summary": summary}


def _rules_and_profiles(case: str) -> dict[str, list[dict[str, Any]]]:
    key, strong = {"treatment": "treatment"}, case == "demo"
    gain = {"none": 4.2, "all": 3.1, "practice": 2.2}
    policy = [
        claim(
            gain[against] if strong and rule == "tree" else -0.3,
            1.4,
            560,
            340,
            "mean of doubly robust contributions of held-out patients",
            **key,
            rule=rule,
            against=against,
            p_value=0.001 if strong else 0.7,
            p_rule=0.001 if strong and rule == "tree" else 1.0,
            p_holm=0.002 if strong and rule == "tree" else 1.0,
            recommended=strong and rule == "tree",
            n_treat=210,
            share_treated=0.375,
            truth=2.9 if strong else 0.0,
        )
        for rule in ("tree", "threshold")
        for against in gain
    ]
    blank = {"parent": None, "branch": "", "kind": "end", "variable": "", "level": "", "threshold": None, "treat": None}

    def node(rule: str, n: int, size: int, **more: Any) -> dict[str, Any]:
        return {"resample": "full", **key, "rule": rule, "node": n, "n": size} | blank | more

    trees = [
        node("tree", 0, 480, kind="number", variable="age", threshold=63.21),
        node("tree", 1, 200, parent=0, branch="no", treat=0),
        node("tree", 2, 280, parent=0, branch="yes", kind="subgroup", variable="subgroup", level="1"),
        node("tree", 3, 275, parent=2, branch="no", treat=0),
        node("tree", 4, 5, parent=2, branch="yes", treat=1),
        node("threshold", 0, 480, kind="predicted effect", threshold=-0.51),
        node("threshold", 1, 300, parent=0, branch="no", treat=0),
        node("threshold", 2, 180, parent=0, branch="yes", treat=1),
    ]
    older = {**key, "profile": "older"}
    shown = "Cox models of survival in each arm"
    hidden = "not estimable: age 99 is outside the range of the eligible patients"
    asked = (("rmst_difference", 60.0), ("survival_difference", 36.0), ("survival_difference", 60.0))
    effects = [
        claim(
            None if name == "too old" else 3.3 if e == "rmst_difference" else 0.06,
            None if name == "too old" else 2.0 if e == "rmst_difference" else 0.04,
            593,
            360,
            hidden if name == "too old" else shown,
            False,
            **key,
            profile=name,
            estimand=e,
            horizon_months=h,
            p_value=None if name == "too old" else 0.002,
            propensity=None if name == "too old" else 0.6,
            n_like=4 if name == "too old" else 61,
        )
        for name in ("older", "too old")
        for e, h in asked
    ]
    return {
        "treatment_policy": policy,
        "treatment_policy_trees": trees,
        "treatment_profiles": [r for a in (0, 1) for r in km(0.02 - 0.004 * a, 290, **older, arm=a)],
        "treatment_profile_effects": effects,
    }


def write(case: str, folder: Path) -> dict[str, Any]:
    """All files of a case, and the arguments of the script."""
    import json

    found = inputs(case)
    arguments: dict[str, Any] = {"report": str(folder / "report.html"), "manifest": str(folder / "manifest.json")}
    arguments["report_public"] = str(folder / "report_public.html")
    arguments["numbers"] = str(folder / "report_numbers.json")
    arguments["answers_table"] = str(folder / "answers.parquet")
    arguments["guidelines"] = str(folder / "guidelines.tsv")
    arguments |= {name: str(folder / name) for name in ("figures", "figures_public")}
    (folder / "manifest.json").write_text(json.dumps(found.manifest))
    for name, model in CONTRACTS.items():
        path = str(folder / f"{name}.parquet")
        tables.write_table(found.tables[name], path, model)
        treated = name.startswith("treatment_")
        several = treated or name in ("models", "robustness")
        arguments[name] = [path] * (case != "survival_only" or not treated) if several else path
    arguments["quality"] = []
    for name, frame in found.quality.items():
        tables.write_table(frame, folder / f"{name}.parquet", tables.QualityFeatures)
        arguments["quality"].append(str(folder / f"{name}.parquet"))
    s = found.settings
    return arguments | {
        name: getattr(s, name)
        for name in (
            "cohort",
            "title",
            "description",
            "data",
            "endpoint",
            "covariates",
            "site",
            "known_labels",
            "treatments",
            "resamples",
            "latent",
            "subgroups",
            "evaluation",
            "audit",
            "seed",
            "sites",
        )
    }


def render(given: ReportInputs) -> str:
    """The page of a report as it reads."""
    return as_read(page.render(given))
