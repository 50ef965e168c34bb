"""Time and memory of one fit of the deep model, of MOFA+ and of Flexynesis on the same patients.

    python -m venv FOLDER && FOLDER/bin/pip install flexynesis
    python tests/benchmarks/latent_peers.py --flexynesis-python FOLDER/bin/python

Flexynesis (PyPI) may be used for noncommercial purposes only. It is no dependency: it stays in an environment of its
own outside the project, and is left out where none is given. All run on the CPU with one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from latent_speed import METABRIC, make, peak_gib, watch_epochs
from results import write_table

Fit = Callable[[int], str]
"""Trains with a seed and computes the latents of the training patients; says how long it trained."""

DIMS, EPOCHS, PATIENCE, BATCH, LEARNING_RATE, VALIDATION = 8, 200, 20, 128, 2e-3, 0.15
"""Settings of the deep model that Flexynesis has too; `ours` checks that they are the defaults."""


class Case(NamedTuple):
    """A method and the patients that it is given."""

    method: str
    patients: str


LABELS = {
    "ours": "deep model, {members} members (default)",
    "ours_1": "deep model, 1 member",
    "mofa": "MOFA+ (mofapy2)",
    "flexynesis": "Flexynesis, supervised_vae without a target",
}
CASES = (
    *(Case(method, "all") for method in ("ours", "ours_1", "mofa")),
    *(Case(method, "complete") for method in ("ours", "ours_1", "mofa", "flexynesis")),
)


# --- one fit, in a process of its own ------------------------------------------------------------------------------


def feature_set(values: dict[str, np.ndarray]):
    """The features as the project holds them."""
    from stratiome.features.block import Block, FeatureSet

    n = len(next(iter(values.values())))
    blocks = tuple(
        Block(name, values[name], likelihood, tuple(f"{name}{j}" for j in range(width)))
        for name, width, likelihood in METABRIC
    )
    return FeatureSet(tuple(f"P{i:06d}" for i in range(n)), np.full(n, "train"), blocks)


def ours(values: dict[str, np.ndarray], members: int | None = None) -> Fit:
    """The deep model at its defaults."""
    from stratiome.config import LatentConfig
    from stratiome.latent.model import LatentModel

    features, settings = feature_set(values), LatentConfig(device="cpu")
    shared = (settings.dims, settings.epochs, settings.patience, settings.batch_size, settings.learning_rate)
    assert (*shared, settings.validation_fraction) == (DIMS, EPOCHS, PATIENCE, BATCH, LEARNING_RATE, VALIDATION)
    if members is not None:
        settings = settings.model_copy(update={"members": members})
    epochs = watch_epochs()  # also imports what would else be imported within the time of the fit

    def fit(seed: int) -> str:
        model = LatentModel.fit(features, settings, seed)
        model.transform(features)
        return f"{len(epochs['Search'])} + {len(epochs['Refit'])} epochs"

    return fit


def mofa(values: dict[str, np.ndarray]) -> Fit:
    """MOFA+ with as many factors as the deep model has dimensions."""
    import mofapy2.run.entry_point  # noqa: F401  is imported late otherwise, within the time of the fit

    from stratiome.latent.mofa import MofaModel

    features = feature_set(values)

    def fit(seed: int) -> str:
        model = MofaModel.fit(features, DIMS, seed)
        model.transform(features)
        return "converged" if model.converged else "not converged"

    return fit


def flexynesis(values: dict[str, np.ndarray]) -> Fit:
    """The variational autoencoder of Flexynesis, one fit with fixed settings and its own training loop.

    The hidden layer is a fifth of the features, for 322 of them as wide as that of the deep model.
    """
    import lightning
    import torch
    from flexynesis.data import MultiOmicDataset
    from flexynesis.main import HyperparameterTuning
    from flexynesis.models.supervised_vae import supervised_vae

    torch.set_num_threads(1)
    n = len(next(iter(values.values())))
    dataset = MultiOmicDataset(
        dat={name: torch.from_numpy(x) for name, x in values.items()},
        ann={},
        variable_types={},
        features={name: [f"{name}{j}" for j in range(x.shape[1])] for name, x in values.items()},
        samples=[f"P{i:06d}" for i in range(n)],
        label_mappings={},
    )
    settings = {"latent_dim": DIMS, "hidden_dim_factor": 0.2, "supervisor_hidden_dim": 8}
    settings |= {"lr": LEARNING_RATE, "epochs": EPOCHS, "batch_size": BATCH}

    def fit(seed: int) -> str:
        lightning.seed_everything(seed)
        trainer = HyperparameterTuning(
            dataset,
            supervised_vae,
            "supervised_vae",
            target_variables=[],
            val_size=VALIDATION,
            early_stop_patience=PATIENCE,
            device_type="cpu",
            num_workers=0,
        )
        _, epochs, model = trainer.objective(settings, current_step=1, total_steps=1)
        model.transform(dataset)
        return f"{epochs} epochs"

    return fit


METHODS: dict[str, Callable[..., Fit]] = {
    "ours": ours,
    "ours_1": lambda values: ours(values, members=1),
    "mofa": mofa,
    "flexynesis": flexynesis,
}


def measure_here(method: str, path: Path, seed: int) -> dict[str, float | str]:
    """Cost of one fit in this process; the libraries are loaded before the clock runs."""
    with np.load(path) as stored:
        values = {name: stored[name] for name in stored.files}
    with contextlib.redirect_stdout(io.StringIO()):
        fit = METHODS[method](values)
        before = peak_gib()
        wall, busy = time.perf_counter(), time.process_time()
        said = fit(seed)
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
    return {"wall": wall, "cpu": busy, "before": before, "peak": peak_gib(), "said": said}


# --- all of them ---------------------------------------------------------------------------------------------------


def write_cohorts(folder: Path) -> dict[str, int]:
    """Store the features of all patients with any omic and of those with every omic; how many these are."""
    features = make(METABRIC)
    present = np.stack([b.present for b in features.blocks])
    rows = {"all": present.any(axis=0), "complete": present.all(axis=0)}
    for name, kept in rows.items():
        np.savez(folder / f"{name}.npz", **{b.name: b.values[kept] for b in features.blocks})
    return {name: int(kept.sum()) for name, kept in rows.items()}


def measure(case: Case, python: str, folder: Path, seed: int) -> dict[str, float | str]:
    """Cost of one fit in a process of its own, with one thread."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    command = [python, str(Path(__file__).resolve()), "--one", case.method, "--seed", str(seed)]
    command += ["--stored", str(folder / f"{case.patients}.npz")]
    done = subprocess.run(command, cwd=folder, env=os.environ | threads, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case.method} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def benchmark(given: argparse.Namespace) -> str:
    """Markdown table; the cases take turns."""
    from stratiome.config import LatentConfig

    cases = [case for case in CASES if case.method != "flexynesis" or given.flexynesis_python]
    found: dict[Case, list[dict]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        n = write_cohorts(Path(folder))
        for seed in range(1, given.repeats + 1):
            for case in cases:
                python = given.flexynesis_python if case.method == "flexynesis" else sys.executable
                found[case].append(measure(case, python, Path(folder), seed))
                print(case, found[case][-1], file=sys.stderr, flush=True)
    lines = [
        "Simulated cohort of the size of METABRIC (526 features of three omics, each lacking in 15 % of the patients); "
        "one fit and the latents of its patients, each in a process of its own; median, least and largest of "
        f"{given.repeats} seeds. Epochs of the deep model are those of the search plus those of the refit on all "
        f"patients. All have {DIMS} dimensions; Flexynesis has the batches, learning rate, most epochs, patience and "
        "validation share of the deep model, no search for settings, and only patients with every omic.",
        "",
        "| method | patients | training | wall s | CPU s | peak MiB | of which before the fit |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, costs in found.items():
        row = (
            LABELS[case.method].format(members=LatentConfig().members),
            f"{n[case.patients]:,}",
            "; ".join(dict.fromkeys(str(c["said"]) for c in costs)),
            spread([c["wall"] for c in costs]),
            spread([c["cpu"] for c in costs]),
            f"{1024 * max(c['peak'] for c in costs):.0f}",
            f"{1024 * max(c['before'] for c in costs):.0f}",
        )
        lines.append(f"| {' | '.join(row)} |")
    if not given.flexynesis_python:
        lines += ["", "Flexynesis is left out: `--flexynesis-python` was not given."]
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Median, and the least and the largest."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flexynesis-python", help="Python of the environment that has Flexynesis")
    parser.add_argument("--repeats", type=int, default=3, help="fits of each method, with other seeds")
    parser.add_argument("--print", action="store_true", help="print the table only")
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--stored", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure_here(given.one, given.stored, given.seed)))
        return
    option = " --flexynesis-python PATH" if given.flexynesis_python else ""
    command = f"Command: `python tests/benchmarks/latent_peers.py{option}`, {os.uname().machine}, 1 thread."
    text = f"{command}\n\n{benchmark(given)}"
    print(text) if given.print else write_table("latent_peers", "One fit of the latent model and of its peers", text)


if __name__ == "__main__":
    main()
