"""Gate of METHODS §4 on the number of subgroups: none where there are none, three where there are three; and mutants.

    python tests/benchmarks/subgroup_k.py --replicates 200 --planted 100
    python tests/benchmarks/subgroup_k.py --replicates 200 --planted 100 --model vae

The latent space is that of principal components, learned anew on every reference cohort, or of the deep model (or
MOFA+), through which reference cohorts pass as they are. Replicates are kept in `--state` and not computed again; the
seed of a replicate is its number and that of the command. The mutants see the same cohorts and, with principal
components, must each break a bound.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts")]

from stratiome.config import LatentConfig, SubgroupConfig  # noqa: E402
from stratiome.features.block import Block, FeatureSet  # noqa: E402
from stratiome.latent.baselines import fit_baselines  # noqa: E402
from stratiome.latent.model import LatentModel  # noqa: E402
from stratiome.latent.space import LatentSpace  # noqa: E402
from stratiome.subgroups.agreement import adjusted_rand, contingency  # noqa: E402
from stratiome.subgroups.find import find_subgroups  # noqa: E402
from stratiome.subgroups.reference import match_moments  # noqa: E402
from stratiome.subgroups.stability import select_k, stability  # noqa: E402

RESULTS = Path(__file__).with_name("RESULTS.md")
MARK = "<!-- subgroup_k{}: {} -->"
SETTINGS = SubgroupConfig(k=(1, 2, 3, 4), subsamples=10)
PATIENTS, DIMS, SHIFT = 240, 3, 1.25
WIDTHS = {"rna": 20, "protein": 10, "mutation": 8}
EQUAL = (1 / 3, 1 / 3, 1 / 3)
SHARES = {"planted": EQUAL, "unequal": (0.6, 0.25, 0.15), "complete": EQUAL}
NULL = ("null", "mutation")
RIGHT = {"null": 1, "mutation": 1, "planted": 3, "unequal": 3, "complete": 3}
BOUND = {"null": 0.95, "mutation": 0.95, "planted": 0.90, "unequal": 0.90, "complete": 0.90}
MEANING = {
    "null": "one shared factor, no subgroups",
    "mutation": "the same with one mutation in 40 % of patients",
    "planted": "three subgroups of equal size",
    "unequal": "three subgroups, 60, 25 and 15 %",
    "complete": "three subgroups of equal size, no omic lacking",
}


def cohort(scenario: str, rng: np.random.Generator) -> tuple[FeatureSet, np.ndarray]:
    """Features of a cohort, each omic lacking in a tenth of the patients (`complete`: none), and the subgroups.

    Subgroup centres are `SHIFT` within-group standard deviations apart from the mean in every continuous feature, in
    random directions; all features share one factor.

    Parameters
    ----------
    scenario
        One of `RIGHT`.
    rng
        Source of the cohort.
    """
    shares = SHARES.get(scenario, (1.0,))
    planted = rng.choice(len(shares), PATIENTS, p=shares)
    factor = rng.normal(size=(PATIENTS, 1))
    blocks = []
    for name, width in WIDTHS.items():
        values = factor @ (0.4 * rng.normal(size=(1, width))) + rng.normal(size=(PATIENTS, width))
        if name == "mutation":
            values = (values > 1.3).astype(float)
            if scenario == "mutation":
                values[:, 0] = rng.random(PATIENTS) < 0.4
        else:
            centres = SHIFT * rng.choice([-1.0, 1.0], size=(len(shares), width))
            values += centres[planted] * (len(shares) > 1)
            values = (values - values.mean(0)) / values.std(0)
        values[rng.random(PATIENTS) < (0.0 if scenario == "complete" else 0.1)] = np.nan
        kind = "bernoulli" if name == "mutation" else "gaussian"
        blocks.append(Block(name, values.astype(np.float32), kind, tuple(f"{name}{j}" for j in range(width))))
    ids = tuple(f"P{i:03d}" for i in range(PATIENTS))
    return FeatureSet(ids, np.full(PATIENTS, "train"), tuple(blocks)), planted


def elbow(latents: np.ndarray, ks: tuple[int, ...]) -> int:
    """Mutant: k where the fall of the inertia of k-means slows down most; never 1."""
    from sklearn.cluster import KMeans

    inertia = [KMeans(k, n_init=5, random_state=0).fit(latents).inertia_ for k in range(1, max(ks) + 2)]
    return int(np.diff(inertia, 2).argmax()) + 2


def fit(name: str, features: FeatureSet, seed: int) -> LatentSpace:
    """A latent model with `DIMS` dimensions and otherwise the default settings."""
    if name == "vae":
        return LatentModel.fit(features, LatentConfig(dims=DIMS), seed)
    return fit_baselines(features, LatentConfig(dims=DIMS, baselines=(name,)), seed)[name]


def replicate(scenario: str, number: int, seed: int, latent: str = "pca") -> dict[str, float]:
    """Number of subgroups found by the rule and by each mutant, and agreement with the planted ones (adjusted Rand).

    Parameters
    ----------
    scenario
        One of `RIGHT`.
    number
        Number of the replicate.
    seed
        Seed of the command.
    latent
        pca, vae or mofa.
    """
    rng = np.random.default_rng([seed, list(RIGHT).index(scenario), number])
    features, planted = cohort(scenario, rng)
    rows = np.any([block.present for block in features.blocks], axis=0)
    model = fit(latent, features, number)
    places = model.transform(features)
    found = find_subgroups(places, features, model, SETTINGS, number)
    label, latents = found.labels, places[rows]
    own = stability(latents, (2, 3, 4), SETTINGS, np.random.default_rng([number, 0]))
    row: dict[str, float] = {
        "chosen": found.selection.chosen,
        "draws": len(found.selection.null),
        "ari": float(adjusted_rand(contingency(planted[label > 0], label[label > 0]))),
        "assigned": float((label > 0).mean()),
        "no reference": int(own.argmax()) + 2 if own.max() >= SETTINGS.min_stability else 1,
        "stability alone": int(own.argmax()) + 2,
        "inertia elbow": elbow(latents, (2, 3, 4)),
    }
    if scenario not in (*NULL, "complete"):
        everybody = SETTINGS.model_copy(update={"min_information": 0.0})
        row["all patients"] = find_subgroups(places, features, model, everybody, number).selection.chosen
    if scenario == "mutation":
        row["Gaussian reference"] = select_k(latents, _gaussian(latents), SETTINGS, number).chosen
    return row


def _gaussian(latents: np.ndarray) -> Callable[[np.random.Generator], np.ndarray]:
    """Mutant: reference latents from one Gaussian, which knows of no mutation and no missing omic."""
    one = np.zeros(len(latents), dtype=int)
    return lambda rng: match_moments(rng.normal(size=latents.shape), latents, one)


NAMES = {"pca": "principal components", "vae": "the deep model", "mofa": "MOFA+"}
MUTANTS = ("no reference", "stability alone", "inertia elbow", "Gaussian reference", "all patients")


def kept(state: Path, scenario: str, seed: int, latent: str = "pca") -> tuple[Path, dict[int, dict[str, float]]]:
    """File of the replicates of a scenario, and those of earlier runs by number."""
    file = state / f"{latent}_{scenario}_{seed}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return file, {row["number"]: row for row in map(json.loads, lines)}


def collect(state: Path, counts: dict[str, int], seed: int, latent: str = "pca") -> dict[str, list[dict[str, float]]]:
    """All replicates asked for, those of an earlier run read from `state`."""
    state.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in counts}
    for scenario, count in counts.items():
        file, done = kept(state, scenario, seed, latent)
        for number in range(count):
            if number not in done:
                done[number] = {"number": number, **replicate(scenario, number, seed, latent)}
                with file.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(done[number]) + "\n")
            found[scenario].append(done[number])
    return found


def share_right(rows: list[dict[str, float]], scenario: str, method: str) -> float:
    """Share of replicates in which a method gives the right number of subgroups; NaN where it was not tried."""
    return float(np.mean([row[method] == RIGHT[scenario] for row in rows])) if method in rows[0] else float("nan")


def failures(found: dict[str, list[dict[str, float]]], method: str) -> list[str]:
    """Scenarios whose bound a method breaks."""
    return [name for name, rows in found.items() if share_right(rows, name, method) < BOUND[name]]


def table(found: dict[str, list[dict[str, float]]], command: str, latent: str = "pca") -> str:
    """Markdown table of the rule and its mutants."""
    lines = [
        f"Command: `{command}`. {PATIENTS} patients, {DIMS} dimensions of {NAMES[latent]}, k from 1 to 4, "
        f"{SETTINGS.subsamples} subsamples, at most {SETTINGS.reference_draws} reference cohorts. Share of the "
        "replicates with the right number of subgroups; a figure in bold breaks the bound.",
        "",
        f"| cohorts | n | bound | ARI, median (5th percentile) | cohorts drawn | rule | {' | '.join(MUTANTS)} |",
        "|---" * (6 + len(MUTANTS)) + "|",
    ]
    for name, rows in found.items():
        right = {m: share_right(rows, name, m) for m in ("chosen", *MUTANTS)}
        shown = ["" if np.isnan(v) else f"**{v:.3f}**" if v < BOUND[name] else f"{v:.3f}" for v in right.values()]
        ari = [row["ari"] for row in rows]
        agreement = "" if name in NULL else f"{np.median(ari):.2f} ({np.quantile(ari, 0.05):.2f})"
        drawn = f"{np.mean([row['draws'] for row in rows]):.1f}"
        start = (MEANING[name], str(len(rows)), f"{BOUND[name]:.2f}", agreement, drawn)
        lines.append(f"| {' | '.join((*start, *shown))} |")
    return "\n".join(lines)


def write(text: str, latent: str) -> None:
    """Put the table of a latent space between its marks in RESULTS.md."""
    name = "" if latent == "pca" else f" {latent}"
    start, end = MARK.format(name, "written by subgroup_k.py"), MARK.format(name, "end")
    old = RESULTS.read_text(encoding="utf-8")
    if start not in old:
        old = f"{old.rstrip()}\n\n### The number of subgroups of {NAMES[latent]}\n\n{start}\n{end}\n"
    before, rest = old.split(start)
    RESULTS.write_text(f"{before}{start}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def main() -> int:
    """Parse the command line; 1 if the rule breaks a bound or a mutant breaks none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=200, help="cohorts without subgroups, of each sort")
    parser.add_argument("--planted", type=int, default=100, help="cohorts with three subgroups, of each sort")
    parser.add_argument("--scenarios", nargs="+", choices=RIGHT, default=list(RIGHT))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", choices=NAMES, default="pca", help="latent space")
    parser.add_argument("--state", type=Path, default=ROOT / "results" / "subgroup_k")
    parser.add_argument("--kept", action="store_true", help="compute nothing: the replicates of earlier runs, in order")
    parser.add_argument("--print", action="store_true", help="print the table only")
    given = parser.parse_args()
    counts = {name: given.replicates if name in NULL else given.planted for name in given.scenarios}
    if given.kept:
        done = {name: kept(given.state, name, given.seed, given.model)[1] for name in counts}
        counts = {name: next(n for n in range(len(rows) + 1) if n not in rows) for name, rows in done.items()}
    found = collect(given.state, {name: n for name, n in counts.items() if n}, given.seed, given.model)
    options = f"--replicates {given.replicates} --planted {given.planted} --seed {given.seed}{' --kept' * given.kept}"
    options += f" --model {given.model}" * (given.model != "pca")
    text = table(found, f"python tests/benchmarks/subgroup_k.py {options}", given.model)
    print(text) if given.print else write(text, given.model)
    unseen = [m for m in MUTANTS if not failures(found, m)] if given.model == "pca" else []
    low = [n for n, rows in found.items() if n not in NULL and np.median([r["ari"] for r in rows]) < 0.9]
    return int(bool(failures(found, "chosen") or low or unseen))


if __name__ == "__main__":
    raise SystemExit(main())
