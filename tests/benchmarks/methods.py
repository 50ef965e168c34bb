"""Latent methods side by side: planted truth on simulated cohorts, known labels and held-out survival on real ones.

    PYTHONPATH=workflow/scripts python tests/benchmarks/methods.py simulated --seeds 20
    PYTHONPATH=workflow/scripts python tests/benchmarks/methods.py real --cohorts metabric tcga_gbmlgg tcga_brca
    PYTHONPATH=workflow/scripts python tests/benchmarks/methods.py write

Every finished seed or fold is a line of a file, so that a run goes on where it stopped; `write` makes the tables. All
methods see the same features, learned on the training patients, and all patients are kept. The seeds reported are 1000
and up; those used while the methods were written were below.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from results import write_table
from stratiome.config import FeatureConfig, LatentConfig, SimulateConfig, SubgroupConfig
from stratiome.features.block import FeatureSet, read_features
from stratiome.subgroups.agreement import adjusted_rand, contingency, normalised_mutual_information
from stratiome.subgroups.cluster import Mixture, fit_mixture
from stratiome.subgroups.find import memberships
from stratiome.subgroups.information import Information, learn_information
from stratiome.subgroups.match import match_labels

ROOT = Path(__file__).resolve().parents[2]
FIRST_SEED = 1000
METHODS = ("vae", "pca", "mofa", "snf", "snf_k", "kmeans")
LABELS = {
    "vae": "VAE",
    "pca": "PCA",
    "mofa": "MOFA+",
    "snf": "SNF",
    "snf_k": "SNF, K - 1 coordinates",
    "kmeans": "k-means",
}
MOST_CLASSES = 8
MIN_CLASS = 10
DRAWS = 500
NO_TRUTH = {"race", "sex"}  # known labels of the configs that no subgroup is meant to find


# --- methods -------------------------------------------------------------------------------------------------------


@dataclass
class Fitted:
    """Latents of one method (none for k-means) and the seconds that they took."""

    latents: np.ndarray
    model: object
    seconds: float


def fit(name: str, features: FeatureSet, seed: int, dims: int) -> Fitted:
    """Fit one method on the training patients and apply it to all."""
    from stratiome.latent.baselines import fit_baselines
    from stratiome.latent.inputs import align, learn_specs
    from stratiome.latent.model import LatentModel

    started = time.perf_counter()
    if name == "kmeans":
        inputs = align(features, learn_specs(features, balance=False))
        return Fitted(inputs.centred, None, time.perf_counter() - started)
    if name == "vae":
        model = LatentModel.fit(features, LatentConfig(dims=dims), seed)
    else:
        model = fit_baselines(features, LatentConfig(dims=dims, baselines=(name,)), seed)[name]
    return Fitted(model.transform(features), model, time.perf_counter() - started)


class _Coordinates:
    """The leading coordinates of a model."""

    def __init__(self, model, dims: int) -> None:
        self.model, self.dims = model, dims

    def transform(self, features: FeatureSet) -> np.ndarray:
        return self.model.transform(features)[:, : self.dims]


def cluster(name: str, fitted: Fitted, features: FeatureSet, rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Subgroup of every patient from 1, learned on the given rows as the workflow does for a number that is given."""
    if name == "kmeans":
        from sklearn.cluster import KMeans

        return KMeans(k, n_init=10, random_state=seed).fit(fitted.latents[rows]).predict(fitted.latents) + 1
    latents, information = _informed(name, fitted, features, k)
    mixture = fit_mixture(latents[rows & information.used], k, seed)
    return memberships(mixture, information, latents)[0].argmax(axis=1) + 1


def with_known(name: str, fitted: Fitted, features: FeatureSet, rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Class of every patient if those of the given rows were known: what the latents can tell.

    Classes with fewer than two patients whose omics say where they lie cannot be told.
    """
    latents, information = _informed(name, fitted, features, len(np.unique(truth[rows])))
    known = rows & information.used
    levels, counts = np.unique(truth[known], return_counts=True)
    levels = levels[counts > 1]
    known &= np.isin(truth, levels)
    points, own = latents[known], np.searchsorted(levels, truth[known])
    means = np.stack([points[own == j].mean(axis=0) for j in range(len(levels))])
    spread = points - means[own]
    mixture = Mixture(np.bincount(own) / len(own), means, spread.T @ spread / len(own))
    return levels[memberships(mixture, information, latents)[0].argmax(axis=1)]


def _informed(name: str, fitted: Fitted, features: FeatureSet, k: int) -> tuple[np.ndarray, Information]:
    model = _Coordinates(fitted.model, k - 1 if name == "snf_k" else fitted.latents.shape[1])
    latents = fitted.latents[:, : model.dims]
    return latents, learn_information(model, features, latents, SubgroupConfig().min_information)


def fit_all(features: FeatureSet, seed: int, dims: int) -> dict[str, Fitted]:
    """All methods; the short form of SNF shares the fit of the long one, which has the same leading coordinates."""
    fitted = {name: fit(name, features, seed, dims) for name in METHODS if name != "snf_k"}
    return fitted | {"snf_k": fitted["snf"]}


def agreement(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Adjusted Rand index and normalised mutual information."""
    table = contingency(first, second)
    return float(adjusted_rand(table)), float(normalised_mutual_information(table))


# --- simulated -----------------------------------------------------------------------------------------------------


def simulated_features(settings: SimulateConfig, seed: int) -> tuple[FeatureSet, np.ndarray]:
    """Features of a simulated cohort, a quarter of it held out, and the planted subgroups."""
    from stratiome import omics
    from stratiome.cohort.simulate import simulate
    from stratiome.features.build import fit_transform, make_block

    cohort = simulate(settings, seed, time_grid=np.array([0.0, 60.0]))
    truth = dict(cohort.truth.select("patient_id", "subgroup").unique().iter_rows())
    ids = tuple(sorted(truth))
    held_out = np.random.default_rng([seed, 7]).permutation(len(ids)) < len(ids) // 4
    site = cohort.clinical.sort("patient_id")["site"].cast(pl.String).to_numpy().astype(str)
    blocks = []
    for name, frame in sorted(cohort.omics.items()):
        kind = omics.get(settings.omics[name].kind, "")
        values = frame.drop("patient_id").to_numpy().astype(np.float64)
        row = {patient: i for i, patient in enumerate(frame["patient_id"])}
        scaled = np.full((len(ids), values.shape[1]), np.nan, dtype=np.float32)
        here = [p in row for p in ids]
        scaled[here] = kind.scale(values[[row[p] for p in ids if p in row]])
        where = site if kind.continuous else None
        fitted = fit_transform(
            scaled, ~held_out, FeatureConfig(), continuous=kind.continuous, site=where, protected=None
        )
        blocks.append(make_block(name, scaled, tuple(frame.columns[1:]), fitted, kind.likelihood, where))
    roles = np.where(held_out, "test", "train")
    return FeatureSet(ids, roles, tuple(blocks)), np.array([truth[p] for p in ids])


def one_simulated(seed: int, chosen: bool, dims: int) -> dict:
    """Agreement of every method with the truth, with K given and as the workflow chooses it."""
    from stratiome.subgroups.find import find_subgroups

    settings = SimulateConfig(missing_omics=0.3)
    features, truth = simulated_features(settings, seed)
    measured = np.any([b.present for b in features.blocks], axis=0)
    train, test = features.train & measured, ~features.train & measured
    found: dict = {"seed": seed, "methods": {}}
    for name, fitted in fit_all(features, seed, dims).items():
        labels = cluster(name, fitted, features, train, 3, seed)
        row = {"seconds": fitted.seconds, "held_out": agreement(labels[test], truth[test])[0]}
        row["train"] = agreement(labels[train], truth[train])[0]
        if name != "kmeans":
            row["known"] = agreement(with_known(name, fitted, features, train, truth)[test], truth[test])[0]
        if chosen and name in ("vae", "pca", "mofa", "snf"):
            started = time.perf_counter()
            groups = find_subgroups(
                fitted.latents, features, fitted.model, SubgroupConfig(reference_draws=19, alpha=0.05), seed
            )
            row |= {"k": groups.selection.chosen, "find_seconds": time.perf_counter() - started}
            row["held_out_chosen"] = agreement(groups.labels[test], truth[test])[0]
        found["methods"][name] = row
    return found


# --- real ----------------------------------------------------------------------------------------------------------


def prepare(cohort: str, folder: Path) -> list[str]:
    """Features of `full` and of five folds, made by the workflow; names of the resamples."""
    names = ["full", *(f"cv-1-{i}" for i in range(1, 6))]
    targets = [f"{folder}/resamples/{name}/features.h5mu" for name in names]
    if not all(Path(t).exists() for t in targets):
        config = ["--configfile", f"config/cohorts/{cohort}.yaml", "--config", f"results={folder}"]
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all", *config, "--", *targets]
        subprocess.run(command, check=True, cwd=ROOT)
    return names


def one_resample(features: FeatureSet, counts: list[int], known: dict[str, dict], seed: int, dims: int) -> dict:
    """Subgroups of all patients by every method, for each number, and if those of training patients were known."""
    rows = features.train & np.any([b.present for b in features.blocks], axis=0)
    found: dict = {}
    for name, fitted in fit_all(features, seed, dims).items():
        labels = {k: cluster(name, fitted, features, rows, k, seed).tolist() for k in counts}
        found[name] = {"seconds": fitted.seconds, "labels": labels, "known": {}}
        for label, truth in known.items() if name != "kmeans" else ():
            own = np.array([truth.get(p, "") for p in features.patient_ids])
            told = with_known(name, fitted, features, rows & (own != ""), own)
            found[name]["known"][label] = told.tolist()
    return found


def classes(column: pl.Series) -> list[str]:
    """Classes of a known label that are not rare."""
    counts = column.cast(pl.String).drop_nulls().value_counts().filter(pl.col("count") >= MIN_CLASS)
    return sorted(counts[column.name].to_list())


def real(cohort: str, scratch: Path, dims: int) -> dict:
    """Held-out agreement with known labels and held-out survival, for every method."""
    import yaml

    analysis = yaml.safe_load((ROOT / f"config/cohorts/{cohort}.yaml").read_text())
    folder = (scratch / cohort).resolve()
    names = prepare(cohort, folder)
    clinical = pl.read_parquet(folder / "cohort/clinical.parquet").sort("patient_id")
    kept = {n: classes(clinical[n]) for n in analysis["known_labels"] if n not in NO_TRUTH}
    kept = {n: c for n, c in kept.items() if len(c) > 1}
    truth = {
        n: {p: v for p, v in clinical.select("patient_id", pl.col(n).cast(pl.String)).iter_rows() if v in c}
        for n, c in kept.items()
    }
    counts = sorted({min(len(c), MOST_CLASSES) for c in kept.values()})
    found = {}
    for name in names:
        store = folder / f"{name}-{dims}.json"
        if not store.exists():
            features = read_features(str(folder / f"resamples/{name}/features.h5mu"))
            made = {"ids": features.patient_ids, "roles": features.roles.tolist()}
            made["omics"] = ["".join(map(str, row)) for row in np.array([b.present * 1 for b in features.blocks]).T]
            made["largest"] = int(np.argmax([b.values.shape[1] for b in features.blocks]))
            store.write_text(json.dumps(made | {"methods": one_resample(features, counts, truth, FIRST_SEED, dims)}))
            print(cohort, name, time.strftime("%X"), flush=True)
        found[name] = json.loads(store.read_text())
    outcome = pl.read_parquet(folder / "cohort/outcome.parquet")
    rows = []
    for label in kept:
        k = min(len(kept[label]), MOST_CLASSES)
        own = [_judge(found, m, k, label, truth[label], clinical, outcome, analysis) for m in METHODS]
        rows += _beside_deep(own, truth[label])
    return {"cohort": cohort, "n": clinical.height, "dims": dims, "rows": rows}


def _judge(found: dict, method: str, k: int, label: str, truth: dict, clinical, outcome, analysis) -> dict:
    """Held-out labels of one method and number, pooled over the folds, against a known label and survival."""
    from stratiome.survival.compare import log_rank

    full = found["full"]
    whole = dict(zip(full["ids"], full["methods"][method]["labels"][str(k)], strict=True))
    omics_of = dict(zip(full["ids"], full["omics"], strict=True))
    pooled, told, gains, times = {}, {}, [], [full["methods"][method]["seconds"]]
    for name, fold in found.items():
        if name == "full":
            continue
        labels = np.array(fold["methods"][method]["labels"][str(k)])
        role, measured = np.array(fold["roles"]), np.array(["1" in o for o in fold["omics"]])
        train, test = (role == "train") & measured, (role == "test") & measured
        ids = np.array(fold["ids"])
        name_of = match_labels(np.array([whole[p] for p in ids[train]]), labels[train], k, k)
        pooled |= {p: name_of[s] for p, s in zip(ids[test], labels[test].tolist(), strict=True)}
        if label in fold["methods"][method]["known"]:
            told |= dict(zip(ids[test], np.array(fold["methods"][method]["known"][label])[test], strict=True))
        gains.append(_gain(ids, labels, train, test, clinical, outcome, analysis))
    row = {"label": label, "k": k, "method": method, "same": _agree(pooled, whole)[0], "pooled": pooled}
    row["ari"], row["nmi"] = _agree(pooled, truth)
    row["omics"] = _agree(pooled, omics_of)[0]
    row["label_omics"] = _agree(truth, omics_of)[0]
    row["same_omic"] = _agree({p: s for p, s in pooled.items() if omics_of[p][full["largest"]] == "1"}, truth)[0]
    row["known"] = _agree(told, truth)[0] if told else None
    survived = outcome.filter(pl.col("patient_id").is_in(list(pooled)))
    groups = np.array([str(pooled[p]) for p in survived["patient_id"]])
    months, event = survived["time_months"].to_numpy(), survived["event"].to_numpy().astype(bool)
    strata = np.array([omics_of[p] for p in survived["patient_id"]])
    test, stratified = log_rank(months, event, groups), log_rank(months, event, groups, strata)
    return row | {
        "chi2": test.statistic,
        "df": test.df,
        "p": test.p_value,
        "p_stratified": stratified.p_value,
        "n_survival": survived.height,
        "events": int(event.sum()),
        "clinical_c": float(np.mean([g[0] for g in gains])),
        "gain": float(np.mean([g[1] - g[0] for g in gains])),
        "seconds": float(np.mean(times)),
    }


def _beside_deep(rows: list[dict], truth: dict) -> list[dict]:
    """Add the difference of each ARI to that of the deep model, with a percentile interval over held-out patients.

    Patients are drawn with replacement, the same for both methods; models are kept.
    """
    patients = [p for p in rows[0]["pooled"] if p in truth]
    labels = {r["method"]: np.unique([r["pooled"][p] for p in patients], return_inverse=True)[1] for r in rows}
    known = np.unique([truth[p] for p in patients], return_inverse=True)[1]
    rng = np.random.default_rng(FIRST_SEED)
    draws = [rng.integers(len(patients), size=len(patients)) for _ in range(DRAWS)]
    ari = {m: np.array([agreement(v[d], known[d])[0] for d in draws]) for m, v in labels.items()}
    found = []
    for row in rows:
        rest = {name: value for name, value in row.items() if name != "pooled"}
        ends = np.quantile(ari[row["method"]] - ari["vae"], [0.025, 0.975]).tolist()
        found.append(rest | {"less_deep": [row["ari"] - rows[0]["ari"], *ends]})
    return found


def _agree(labels: dict, truth: dict) -> tuple[float, float]:
    """Agreement among the patients who have both."""
    first, second = zip(*[(s, truth[p]) for p, s in labels.items() if p in truth], strict=True)
    return agreement(np.array(first), np.array(second))


def _gain(ids, labels, train, test, clinical, outcome, analysis) -> tuple[float, float]:
    """Harrell's C in a test fold of the clinical Cox model, without and with the subgroups."""
    from stratiome.survival.cox import fit_cox
    from stratiome.survival.design import ClinicalDesign

    patients = pl.DataFrame({"patient_id": ids.tolist()})
    table = patients.join(clinical, on="patient_id", how="left", maintain_order="left")
    seen = patients.join(outcome, on="patient_id", how="left", maintain_order="left")
    known = seen["time_months"].is_not_null().to_numpy()
    months, event = seen["time_months"].fill_null(0).to_numpy(), seen["event"].fill_null(0).to_numpy().astype(bool)
    train, test = train & known, test & known
    design = ClinicalDesign.fit(table, tuple(analysis["covariates"]), {}, train).transform(table)
    dummies = (labels[:, None] == np.arange(2, labels.max() + 1)).astype(float)
    both = []
    for x in (design, np.column_stack([design, dummies])):
        risk = fit_cox(x[train], months[train], event[train]).risk(x[test])
        both.append(_harrell(months[test], event[test], risk))
    return both[0], both[1]


def _harrell(months: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    from lifelines.utils import concordance_index

    return float(concordance_index(months, -risk, event))


# --- tables --------------------------------------------------------------------------------------------------------


def simulated_table(lines: list[dict]) -> list[str]:
    """Mean and spread over the seeds."""
    with_k = [x for x in lines if "k" in x["methods"]["pca"]]
    text = [
        "Simulated as in the demo (600 patients, four omics, three subgroups) with each omic missing in 30 %; a quarter"
        f" held out. K given: {len(lines)} seeds; K chosen by the workflow (19 reference draws): {len(with_k)} of them."
        " Mean (SD) of the adjusted Rand index with the planted subgroups.",
        "",
        "| method | held out, K given | the same, training subgroups known | training, K given | held out, K chosen "
        "| K = 3 | fit, s | choosing K, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in METHODS:
        rows = [x["methods"][name] for x in lines]
        chose = [x["methods"][name] for x in with_k if "k" in x["methods"][name]]
        cells = [_spread([r["held_out"] for r in rows]), _spread([r["known"] for r in rows if "known" in r])]
        cells += [_spread([r["train"] for r in rows])]
        cells += [_spread([r["held_out_chosen"] for r in chose]), f"{sum(r['k'] == 3 for r in chose)} of {len(chose)}"]
        cells += [f"{np.median([r['seconds'] for r in rows]):.1f}"]
        cells += [f"{np.median([r['find_seconds'] for r in chose]):.0f}" if chose else "–"]
        if not chose:
            cells[3:5] = ["–", "–"]
        text.append(f"| {LABELS[name]} | {' | '.join(cells)} |")
    differences = [
        (name, [x["methods"]["vae"]["held_out"] - x["methods"][name]["held_out"] for x in lines])
        for name in METHODS
        if name != "vae"
    ]
    said = "; ".join(
        f"{LABELS[name]} {np.mean(d):+.3f}, standard error {np.std(d, ddof=1) / np.sqrt(len(d)):.3f}"
        f" ({sum(v > 0 for v in d)} of {len(d)} seeds better, {sum(v < 0 for v in d)} worse)"
        for name, d in differences
    )
    return [*text, "", f"Held-out ARI of the VAE less that of the other, K given, mean over seeds: {said}."]


def _spread(values: list[float]) -> str:
    if not values:
        return "–"
    return f"{np.mean(values):.3f} ({np.std(values, ddof=1):.3f})" if len(values) > 1 else f"{values[0]:.3f}"


def real_table(found: dict) -> list[str]:
    """One block per cohort."""
    head = (
        "| known label (K) | method | ARI | less that of the VAE (95 %) | NMI | "
        "ARI, largest omic measured | ARI, classes known in training "
        "| ARI with what was measured | same when held out (ARI) | log-rank chi2 (df), p | p within what was measured "
        "| ΔC over clinical |"
    )
    what = f"{found['cohort']}, {found['dims']} dimensions"
    text = [f"{what}: {found['n']} patients, all kept; five folds, everything held out.", "", head]
    text.append("|---" * 12 + "|")
    for r in found["rows"]:
        test = "–" if r["p"] is None else f"{r['chi2']:.1f} ({r['df']}), {r['p']:.1g}"
        within = "–" if r["p_stratified"] is None else f"{r['p_stratified']:.1g}"
        known = "–" if r["known"] is None else f"{r['known']:.2f}"
        less, low, high = r["less_deep"]
        beside = "–" if r["method"] == "vae" else f"{less:+.3f} ({low:+.3f} to {high:+.3f})"
        text.append(
            f"| {r['label']} ({r['k']}) | {LABELS[r['method']]} | {r['ari']:.3f} | {beside} | {r['nmi']:.3f} "
            f"| {r['same_omic']:.3f} | {known} | {r['omics']:.2f} | {r['same']:.2f} | {test} | {within} "
            f"| {r['gain']:+.3f} |"
        )
    labels = {r["label"]: r["label_omics"] for r in found["rows"]}
    said = ", ".join(f"{name} {ari:.2f}" for name, ari in labels.items())
    first = found["rows"][0]
    text += [
        "",
        f"Clinical C {first['clinical_c']:.3f}; survival of {first['n_survival']} patients, {first['events']} events. "
        f"ARI of the known labels themselves with which omics were measured: {said}.",
    ]
    return text


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["simulated", "real", "write"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--chosen", type=int, default=20, help="seeds in which the workflow chooses K as well")
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--dims", type=int, default=LatentConfig().dims, help="latent dimensions of every method")
    parser.add_argument("--cohorts", nargs="+", default=["metabric", "tcga_gbmlgg", "tcga_brca"])
    parser.add_argument("--scratch", type=Path, default=Path("results/methods"), help="where finished parts are kept")
    given = parser.parse_args()
    given.scratch.mkdir(parents=True, exist_ok=True)
    done = given.scratch / f"simulated-{given.dims}.jsonl"
    lines = [json.loads(x) for x in done.read_text().splitlines()] if done.exists() else []
    if given.what == "simulated":
        for seed in range(given.first, given.first + given.seeds):
            if seed not in {x["seed"] for x in lines}:
                made = one_simulated(seed, seed - given.first < given.chosen, given.dims)
                with done.open("a") as file:
                    file.write(json.dumps(made) + "\n")
                print(json.dumps(made), flush=True)
    elif given.what == "real":
        for cohort in given.cohorts:
            made = real(cohort, given.scratch, given.dims)
            (given.scratch / f"{cohort}-{given.dims}.json").write_text(json.dumps(made))
            print("\n".join(real_table(made)), flush=True)
    else:
        text = simulated_table(lines) if lines else []
        for cohort in given.cohorts:
            store = given.scratch / f"{cohort}-{given.dims}.json"
            text += ["", *real_table(json.loads(store.read_text()))] if store.exists() else []
        write_table("methods", "Latent methods side by side", "\n".join(text))


if __name__ == "__main__":
    main()
