"""Gate of robustness (METHODS §7): an omic that held-out patients lack costs at most 0.02 of C against models that were
learned without this omic.

    python tests/benchmarks/robustness_gates.py [--replicates 12] [--parts lacking complete metabric] [--write]

A simulated cohort of three omics is split into training and held-out patients. Models are learned on all omics; the
held-out patients have all of them, then one is taken away and the frozen models score again. The same models are
learned without this omic by the same training patients. Each line is the mean over replicates of C of the latter less C
of the former, Uno's C on the same held-out patients. In `lacking` one in five training patients lacks each omic, in
`complete` none does. The mutant fills zeros before scaling where the omic is lacking. Lines without bounds are for the
reader: elastic nets that take the patient for the average one in the omic, latents learned without hiding omics in
training, how much C falls at all when the omic is taken away, and how often an elastic net loses more than 0.02.
`metabric` does the same with random parts of that cohort, for the reader too: its replicates are the same patients over
and over.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "benchmarks")]

from gate_lines import Line, columns, main  # noqa: E402
from stratiome import omics  # noqa: E402
from stratiome.audit.frozen import Frozen, Patients  # noqa: E402
from stratiome.audit.stresses import without_omics  # noqa: E402
from stratiome.cohort.simulate import simulate  # noqa: E402
from stratiome.config import FeatureConfig, LatentConfig, PrognosisConfig, SimulateConfig  # noqa: E402
from stratiome.features.block import Block, FeatureSet  # noqa: E402
from stratiome.features.build import OmicTransform, fit_transform  # noqa: E402
from stratiome.latent.model import LatentModel  # noqa: E402
from stratiome.prognosis.models import Inputs, Omic, fit_models  # noqa: E402
from stratiome.prognosis.predictor import CoxPredictor  # noqa: E402
from stratiome.prognosis.stored import StoredPrognosis  # noqa: E402
from stratiome.survival.concordance import Sample, uno_c  # noqa: E402
from stratiome.survival.cox import CoxModel  # noqa: E402
from stratiome.survival.design import ClinicalDesign  # noqa: E402

MOST = 0.02
"""Largest mean loss of C (issue and METHODS §7)."""
OURS, ZEROS, AVERAGE = "ours", "mutant: zeros before scaling", "taken for the average patient"
NEVER_HIDDEN, FALL = "no omic hidden in training", "C with the omic less C without it"
ORDER = (OURS, ZEROS, AVERAGE, NEVER_HIDDEN, FALL)
BOUNDS = dict.fromkeys((OURS, ZEROS), (-1.0, MOST))
TRAIN, HELD_OUT = 400, 800
SIMULATED = {"rna": ("counts", 100), "methylation": ("methylation", 60), "protein": ("protein", 30)}
METABRIC = ROOT.parent / "shared" / "data" / "metabric"
REAL_TRAIN = 600
REAL = {
    "mrna": ("expression", "mrna_zscore.parquet"),
    "cna": ("copy_number", "cna.parquet"),
    "mutation": ("mutation", "mutation.parquet"),
}
Loss = dict[tuple[str, str, str], float]
"""Method, model and omic -> loss of C."""
MODELS = ("clinical_omics", "clinical_latent", "forest", "stacked")
LATENT = LatentConfig(dims=6, hidden=32, members=2, epochs=100, device="cpu")
PROGNOSIS = PrognosisConfig(models=("clinical_omics", "clinical_latent", "forest", "stacked"), trees=100, inner_folds=3)


@dataclass(frozen=True)
class Cohort:
    """Clinical table, outcome and scaled omics of all patients, training patients first."""

    clinical: pl.DataFrame
    time: np.ndarray
    event: np.ndarray
    scaled: dict[str, np.ndarray]
    zeros: dict[str, np.ndarray]
    features: dict[str, tuple[str, ...]]
    kinds: dict[str, str]
    covariates: tuple[str, ...]
    n_train: int
    tau: float

    @property
    def train(self) -> np.ndarray:
        return np.arange(len(self.time)) < self.n_train

    @property
    def grid(self) -> np.ndarray:
        return np.linspace(0.0, self.tau, 31)


def simulated(seed: int, missing: float) -> Cohort:
    """A cohort whose held-out patients have every omic; training patients lack each with probability `missing`."""
    settings = SimulateConfig.model_validate(
        {
            "patients": TRAIN + HELD_OUT,
            "sites": 1,
            "omics": {n: {"kind": k, "features": p} for n, (k, p) in SIMULATED.items()},
            "subgroup_log_hazards": (0.0, 1.0, 2.0),
            "treatment": {"design": "none"},
            "missing_omics": 0.0,
        }
    )
    made = simulate(settings, seed, time_grid=np.linspace(0.0, 60.0, 31))
    rng = np.random.default_rng([seed, 5])
    n = made.clinical.height
    lacks = (rng.random((n, len(SIMULATED))) < missing) & (np.arange(n) < TRAIN)[:, None]
    lacks[lacks.all(axis=1), rng.integers(len(SIMULATED))] = False
    scaled, zeros, features = {}, {}, {}
    kinds = {name: kind for name, (kind, _) in SIMULATED.items()}
    for j, (name, kind) in enumerate(kinds.items()):
        frame = made.clinical.select("patient_id").join(made.omics[name], on="patient_id", how="left")
        values = frame.drop("patient_id").to_numpy().astype(np.float32)
        own = omics.get(kind)
        scaled[name] = own.scale(values)
        scaled[name][lacks[:, j]] = np.nan
        zeros[name] = np.nan_to_num(own.scale(np.zeros_like(values)))
        features[name] = tuple(frame.columns[1:])
    time, event = made.clinical["os_months"].to_numpy(), made.clinical["os_event"].to_numpy().astype(bool)
    covariates = ("age", "stage", "marker", "sex")
    return Cohort(made.clinical, time, event, scaled, zeros, features, kinds, covariates, TRAIN, 60.0)


def metabric(seed: int) -> Cohort:
    """METABRIC, 600 training patients drawn from all; held out are others who have every omic."""
    table = pl.read_csv(METABRIC / "clinical.tsv", separator="\t", infer_schema_length=None, null_values=["NA"])
    table = table.filter((pl.col("os_time_months") > 0) & pl.col("os_event").is_not_null())
    table = table.with_columns(pl.col("grade").cast(pl.Float64, strict=False))
    frames = {n: pl.read_parquet(METABRIC / path) for n, (_, path) in REAL.items()}
    order = np.random.default_rng([seed, 9]).permutation(table.height)
    every = set.intersection(*(set(f["patient_id"]) for f in frames.values()))
    some = set.union(*(set(f["patient_id"]) for f in frames.values()))
    table = table[order].filter(pl.col("patient_id").is_in(list(some)))
    whole = table["patient_id"].is_in(list(every)).to_numpy()
    table = table.filter(pl.Series((np.arange(table.height) < REAL_TRAIN) | whole))
    scaled, zeros, features = {}, {}, {}
    for name, (kind, _) in REAL.items():
        frame = table.select("patient_id").join(frames[name], on="patient_id", how="left", maintain_order="left")
        values = frame.drop("patient_id").cast(pl.Float32).to_numpy()
        own = omics.get(kind)
        scaled[name] = own.scale(values)
        zeros[name] = own.scale(np.zeros_like(values))
        features[name] = tuple(frame.columns[1:])
    time, event = table["os_time_months"].to_numpy(), table["os_event"].to_numpy().astype(bool)
    covariates = ("age", "tumor_size_mm", "grade", "lymph_nodes_positive", "er_status", "her2_status")
    kinds = {name: kind for name, (kind, _) in REAL.items()}
    return Cohort(table, time, event, scaled, zeros, features, kinds, covariates, REAL_TRAIN, 120.0)


@dataclass(frozen=True)
class Learned:
    """Frozen models, and the transforms of the omics that they were learned on."""

    frozen: Frozen
    transforms: dict[str, OmicTransform]


def learn(data: Cohort, names: tuple[str, ...], seed: int, latent: LatentConfig = LATENT) -> Learned:
    """All models on some of the omics."""
    continuous = {n: omics.get(data.kinds[n]).continuous for n in names}
    transforms = {
        n: fit_transform(data.scaled[n], data.train, FeatureConfig(), continuous=continuous[n]) for n in names
    }
    blocks = tuple(_block(data, n, data.scaled[n], transforms[n]) for n in names)
    roles = np.where(data.train, "train", "test")
    features = FeatureSet(tuple(data.clinical["patient_id"]), roles, blocks)
    model = LatentModel.fit(features, latent, seed)
    present = np.stack([b.present for b in blocks])
    latents = np.where(present.any(axis=0)[:, None], model.transform(features), np.nan)
    design = ClinicalDesign.fit(data.clinical, data.covariates, {}, data.train)
    own = tuple(Omic(b.name, b.values, b.features) for b in blocks)
    inputs = Inputs(
        data.train,
        data.time,
        data.event,
        design.transform(data.clinical),
        tuple(design.names),
        own,
        latents,
        present.sum(axis=0).astype(np.int64),
    )
    fits = fit_models(inputs, data.grid, PROGNOSIS, tau=data.tau, rng=np.random.default_rng(seed))
    models = {f.model: f.predictor for f in fits}
    stored = StoredPrognosis(data.grid, design, {o.name: o.features for o in own}, models, {}, {})
    return Learned(Frozen(stored, model, None, data.tau), transforms)


def _block(data: Cohort, name: str, values: np.ndarray, transform: OmicTransform) -> Block:
    kept = tuple(data.features[name][j] for j in transform.keep)
    return Block(name, transform.apply(values, None), omics.get(data.kinds[name]).likelihood, kept)


def held_out(data: Cohort, learned: Learned, values: dict[str, np.ndarray]) -> Patients:
    """Held-out patients as the models see them."""
    rows = np.flatnonzero(~data.train)
    blocks = tuple(_block(data, n, values[n][rows], t) for n, t in learned.transforms.items())
    return Patients(data.clinical[rows], blocks)


def concordance(data: Cohort, learned: Learned, patients: Patients) -> dict[str, float]:
    """Uno's C of each model on held-out patients."""
    sample = Sample.make(data.time[~data.train], data.event[~data.train])
    scores = learned.frozen.score([patients])[0]
    return {m: float(uno_c(sample, scores[m].risk, data.tau)[0]) for m in MODELS}


def average_filled(learned: Learned) -> Learned:
    """The elastic net takes who lacks an omic for the average patient in it, whatever other omics say."""
    models = dict(learned.frozen.prognosis.models)
    net = models["clinical_omics"]
    if isinstance(net, CoxPredictor) and net.expected:
        own = {k: v[:-1] if k in ("coefficients", "centre") else v for k, v in net.model.arrays().items()}
        models["clinical_omics"] = CoxPredictor(net.parts, CoxModel.of_arrays(own))
    prognosis = replace(learned.frozen.prognosis, models=models)
    return replace(learned, frozen=replace(learned.frozen, prognosis=prognosis))


def replicate(data: Cohort, seed: int, hiding: bool) -> Loss:
    """Losses of one cohort by method, model and omic; with `hiding` those of latents learned without hiding omics."""
    names = tuple(data.kinds)
    whole = learn(data, names, seed)
    without = LATENT.model_copy(update={"modality_dropout": 0.0})
    careless = learn(data, names, seed, without) if hiding else None
    rng = np.random.default_rng(seed)
    everything = held_out(data, whole, data.scaled)
    best = concordance(data, whole, everything)
    found: Loss = {}
    for omic in names:
        anew = learn(data, tuple(n for n in names if n != omic), seed)
        asked = concordance(data, anew, held_out(data, anew, data.scaled))
        hide = without_omics((omic,))
        bare = hide(everything, rng)
        c = {
            OURS: concordance(data, whole, bare),
            ZEROS: concordance(data, whole, held_out(data, whole, data.scaled | {omic: data.zeros[omic]})),
        }
        found |= {(method, m, omic): asked[m] - values[m] for method, values in c.items() for m in MODELS}
        average = concordance(data, average_filled(whole), bare)["clinical_omics"]
        found[AVERAGE, "clinical_omics", omic] = asked["clinical_omics"] - average
        if careless is not None:
            values = concordance(data, careless, hide(held_out(data, careless, data.scaled), rng))
            found |= {(NEVER_HIDDEN, m, omic): asked[m] - values[m] for m in MODELS if m != "clinical_omics"}
        found |= {(FALL, m, omic): best[m] - c[OURS][m] for m in MODELS}
    return found


def lines(name: str, found: Sequence[Loss], bounds: Mapping[str, tuple[float, float]]) -> list[Line]:
    """Lines of all replicates of a part."""
    keys = sorted(found[0], key=lambda key: (ORDER.index(key[0]), key[1], key[2]))
    made = [Line(name, o, method, m, columns(found, (method, m, o)), bounds.get(method)) for method, m, o in keys]
    nets = [key for key in keys if key[1] == "clinical_omics" and key[0] in (OURS, AVERAGE)]
    beyond = [(o, method, m, columns(found, (method, m, o)) > MOST) for method, m, o in nets]
    return made + [Line(name, o, method, f"{m}, above {MOST:g}", v, None) for o, method, m, v in beyond]


PARTS: dict[str, Callable[[range], list[Line]]] = {
    "lacking": lambda seeds: lines("lacking", [replicate(simulated(s, 0.2), s, False) for s in seeds], BOUNDS),
    "complete": lambda seeds: lines("complete", [replicate(simulated(s, 0.0), s, True) for s in seeds], BOUNDS),
    "metabric": lambda seeds: lines("metabric", [replicate(metabric(s), s, False) for s in seeds], {}),
}


if __name__ == "__main__":
    raise SystemExit(main("robustness_gates", __doc__, PARTS))
