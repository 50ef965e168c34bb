"""Speed of the latent model: stacked members against members one by one, the bound of the machine, and streaming.

    python tests/benchmarks/latent_speed.py                          # all parts, on the CPU
    python tests/benchmarks/latent_speed.py --parts stack bound --device cuda --members 1 8 64 256
    python tests/benchmarks/latent_speed.py --parts stream --patients 50000 100000 200000 500000 --scratch FOLDER
    python tests/benchmarks/latent_speed.py --parts stream --patients 50000 100000 200000 500000 --device cuda

Seconds are processor seconds of one thread on a CPU, which other work on the machine changes less than wall seconds
(it still slows caches and memory), and wall seconds on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from results import write_table

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts")]
METABRIC = (("mrna", 322, "gaussian"), ("cna", 31, "gaussian"), ("mutation", 173, "bernoulli"))
SIZES = {
    "METABRIC, 526 features": METABRIC,
    "2,000 features": (("mrna", 2000, "gaussian"),),
    "20,000 features": (("mrna", 20000, "gaussian"),),
}
PATIENTS = 1900
TITLES = {
    "stack": "Members of the latent model, stacked and one by one",
    "bound": "What bounds a training step of the latent model",
    "stream": "Training the latent model from disk",
}


def make(omics: tuple, patients: int = PATIENTS, seed: int = 0):
    """Features driven by six factors; 15 % of the patients lack each omic where there are several."""
    from stratiome.features.block import Block, FeatureSet

    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(patients, 6)).astype(np.float32)
    blocks = []
    for name, width, likelihood in omics:
        values = factors @ rng.normal(size=(6, width)).astype(np.float32) / 2
        values += rng.normal(size=values.shape).astype(np.float32)
        if likelihood == "bernoulli":
            values = (values > 1.5).astype(np.float32)
        else:
            values = ((values - values.mean(0)) / values.std(0)).astype(np.float32)
        if len(omics) > 1:
            values[rng.random(patients) < 0.15] = np.nan
        blocks.append(Block(name, values, likelihood, tuple(f"{name}{j}" for j in range(width))))
    return FeatureSet(tuple(f"P{i:06d}" for i in range(patients)), np.full(patients, "train"), tuple(blocks))


class Steps:
    """Epochs of a stack, without the set-up that happens once."""

    def __init__(self, features, device: str, encoder_inputs: int) -> None:
        import torch

        from stratiome.latent.bases import learn_bases
        from stratiome.latent.inputs import learn_specs
        from stratiome.latent.source import Source
        from stratiome.latent.train import choose_device

        self.device = choose_device(device)
        self.specs = learn_specs(features, balance=False)
        rows = np.flatnonzero(np.any([b.present for b in features.blocks], axis=0))
        n_fit = round(0.85 * len(rows))
        self.bases = learn_bases(features, self.specs, rows[:n_fit], encoder_inputs)
        self.fit, self.validation = (
            Source(features, self.specs, part, self.bases, self.device, in_memory=True)
            for part in (rows[:n_fit], rows[n_fit:])
        )
        self.torch = torch

    def run(self, members: int):
        """A training run that has not begun."""
        from stratiome.config import LatentConfig
        from stratiome.latent.phases import Search

        settings = LatentConfig(members=members)
        return Search(self.fit, self.validation, self.specs, self.bases, settings, 1, range(members))

    def seconds(self, runs: list) -> float:
        """Seconds of one epoch of each run, one after the other."""
        clock = time.perf_counter if self.device.type == "cuda" else time.process_time
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()
        start = clock()
        for run in runs:
            run.step_epoch(0)  # the first, again and again, after which no member leaves
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()
        return clock() - start


def flop_per_step(specs, bases, dims: int, hidden: int, batch: int) -> float:
    """Multiplications and additions of one gradient step of one member in matrix products over features.

    Encoder and Gaussian decoder pass twice (forward, and the gradient of the weights; inputs need none), a decoder
    whose cells are written out three times.
    """
    total = 0.0
    for spec, basis in zip(specs, bases, strict=True):
        p = len(spec.features)
        width = p if basis is None else basis.shape[1]
        total += 2 * 2 * width * (dims + hidden)
        total += 2 * 2 * p * (dims + 2) if spec.likelihood == "gaussian" else 3 * 2 * p * dims
    return total * batch


def bytes_per_step(specs, bases, dims: int, hidden: int, batch: int, members: int) -> float:
    """Bytes that one gradient step of one member reads and writes, were nothing found in a cache.

    Weights pass 14 times: forward, gradient, its copy into the matrix of members (2), norm, clipping (2), Adam (7).
    Cells pass twice in the encoder; four times in the products of a Gaussian decoder; and 20 times where they are
    written out. Taking a batch and squaring it is shared by the members of a stack.
    """
    total = 0.0
    for spec, basis in zip(specs, bases, strict=True):
        p = len(spec.features)
        width = p if basis is None else basis.shape[1]
        total += 14 * (width * (dims + hidden) + p * (dims + 2))
        total += batch * (2 * width + (4 if spec.likelihood == "gaussian" else 20) * p + 4 * p / members)
    return 4 * total


def fastest(work: Callable[[], object], device: str) -> float:
    """Wall seconds of some work, best of many."""
    import torch

    best = np.inf
    for _ in range(30):
        if device != "cpu":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def peak_flops(device: str) -> float:
    """FLOP/s of a product of two square matrices."""
    import torch

    n = 1024 if device == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device) for _ in range(2))
    return 2 * n**3 / fastest(lambda: a @ b, device)


def peak_bandwidth(device: str) -> float:
    """Bytes per second read and written by a copy that no cache holds."""
    import torch

    a, b = (torch.zeros(2**26, device=device) for _ in range(2))
    return 2 * 4 * len(a) / fastest(lambda: b.copy_(a), device)


def stack(given: argparse.Namespace) -> list[str]:
    """Part (a): members per second of a stack and of members one by one, interleaved."""
    lines = [
        "Seconds of an epoch (batches of 128, 64 hidden units, 8 dimensions), stacked and one by one in turn; the "
        "ratio is the median over the turns.",
        "",
        "| features | encoder | members | ms per member and epoch, stacked | one by one | members per second, ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name in list(SIZES)[:2]:
        features = make(SIZES[name])
        for encoder_inputs in (0, 256) if "2,000" in name else (0,):
            steps = Steps(features, given.device, encoder_inputs)
            for members in given.members:
                together = [steps.run(members)]
                some = [steps.run(1) for _ in range(min(members, 4))]  # the others cost the same
                steps.seconds(together), steps.seconds(some)
                turns = [
                    (steps.seconds(together) / members, steps.seconds(some) / len(some)) for _ in range(given.repeats)
                ]
                ratio = statistics.median(alone / stacked for stacked, alone in turns)
                stacked, alone = (1e3 * statistics.median(part) for part in zip(*turns, strict=True))
                encoder = "256 directions" if encoder_inputs else "features"
                lines.append(f"| {name} | {encoder} | {members} | {stacked:.1f} | {alone:.1f} | {ratio:.2f} |")
                print(lines[-1], flush=True)
    return lines


def bound(given: argparse.Namespace) -> list[str]:
    """Part (b): achieved FLOP/s of matrix products and bytes per second, against the machine's."""
    device = "cuda" if given.device == "cuda" else "cpu"
    peak, bandwidth = peak_flops(device), peak_bandwidth(device)
    lines = [
        f"Measured peak of a square matrix product: {peak / 1e9:.0f} GFLOP/s, single precision; of a copy: "
        f"{bandwidth / 1e9:.1f} GB/s. FLOP are those of the products over features. Bytes are counted as if nothing "
        "were found in a cache. The last column is the time that FLOP and bytes would take one after the other, both "
        "at their peak, over the time measured; what is missing are small operations and the cost of calling them.",
        "",
        "| features | encoder | members | samples per second and member | GFLOP/s | share of the peak | GB/s | share "
        "of the copy | both |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, omics in SIZES.items():
        features = make(omics)
        for encoder_inputs in (0, 256) if "0,000" in name or "2,000" in name else (0,):
            steps = Steps(features, given.device, encoder_inputs)
            n = len(steps.fit)
            for members in (1, 8):
                runs = [steps.run(members)]
                steps.seconds(runs)
                seconds = min(steps.seconds(runs) for _ in range(given.repeats)) / members
                n_steps = len(runs[0]._groups(np.arange(n)))
                sizes = (steps.specs, steps.bases, runs[0].settings.dims, runs[0].settings.hidden)
                # A validation pass is forward only, over the other 15 %.
                flop = flop_per_step(*sizes, n) * (1 + 0.15 / 0.85 / 2)
                moved = bytes_per_step(*sizes, round(n / n_steps), members) * n_steps
                encoder = "256 directions" if encoder_inputs else "features"
                lines.append(
                    f"| {name} | {encoder} | {members} | {n / seconds:,.0f} | {flop / seconds / 1e9:.0f} | "
                    f"{flop / seconds / peak:.0%} | {moved / seconds / 1e9:.1f} | {moved / seconds / bandwidth:.0%} | "
                    f"{(flop / peak + moved / bandwidth) / seconds:.0%} |"
                )
                print(lines[-1], flush=True)
    return lines


def write_cohort(path: Path, patients: int, width: int) -> None:
    """Features of many patients, written in pieces."""
    import anndata
    import h5py
    import pandas as pd

    from stratiome.features.block import Block, FeatureSet, write_features

    rng = np.random.default_rng(0)
    names = tuple(f"gene{j}" for j in range(width))
    ids = np.array([f"P{i:07d}" for i in range(patients)])
    one = FeatureSet(("P",), np.array(["train"]), (Block("rna", np.zeros((1, width), np.float32), "gaussian", names),))
    write_features(one, str(path))
    loadings = rng.normal(size=(6, width)).astype(np.float32) / 2
    with h5py.File(path, "r+") as file:
        for key, value in {"patient_ids": ids, "roles": np.full(patients, "train")}.items():
            del file["uns"][key]
            anndata.io.write_elem(file["uns"], key, value)
        group = file["mod/rna"]
        del group["obs"]
        anndata.io.write_elem(group, "obs", pd.DataFrame(index=pd.Index(ids.astype(object))))
        attributes = dict(group["X"].attrs)
        del group["X"]
        values = group.create_dataset("X", (patients, width), np.float32)
        values.attrs.update(attributes)
        for start in range(0, patients, 8192):
            n = min(8192, patients - start)
            part = rng.normal(size=(n, 6)).astype(np.float32) @ loadings
            part += rng.standard_normal(size=(n, width), dtype=np.float32)
            values[start : start + n] = part / np.sqrt(1 + (loadings**2).sum(0))


def peak_gib() -> float:
    """Largest resident memory of this process since it was started, GiB.

    `getrusage` would count what the parent had when it started this process.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def watch_epochs(before: Callable[[], None] = lambda: None) -> dict[str, list[tuple[float, float]]]:
    """Processor and wall seconds of every epoch that is trained from now on, of the search and of the refit.

    Parameters
    ----------
    before
        Called before each epoch, off the clock.
    """
    from stratiome.latent import phases

    epochs: dict[str, list[tuple[float, float]]] = {"Search": [], "Refit": []}
    step_epoch = phases._Run.step_epoch

    def timed(self: phases._Run, epoch: int) -> np.ndarray:
        before()
        wall, busy = time.perf_counter(), time.process_time()
        loss = step_epoch(self, epoch)
        epochs[type(self).__name__].append((time.process_time() - busy, time.perf_counter() - wall))
        return loss

    phases._Run.step_epoch = timed  # type: ignore[method-assign]
    return epochs


def drop_from_cache(path: Path) -> None:
    """Let the system forget what it has read of a file, so that it is read from the disk again."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def stream_once(path: Path, given: argparse.Namespace) -> dict[str, float]:
    """Seconds of the fastest epoch of the search and of the refit, of the rest of the fit, and the peak memory."""
    from stratiome.config import LatentConfig
    from stratiome.features.block import StoredFeatures
    from stratiome.latent.model import LatentModel

    epochs = watch_epochs(lambda: drop_from_cache(path))
    settings = {"members": 4, "batch_size": 1024, "memory_gb": 0.01, "device": given.device, "encoder_inputs": 256}
    wall, busy = time.perf_counter(), time.process_time()
    with StoredFeatures(str(path)) as stored:
        LatentModel.fit(stored, LatentConfig(epochs=3, **settings), 1)
    rest = time.process_time() - busy - sum(cpu for both in epochs.values() for cpu, _ in both)
    found = {"rest": rest, "wall": time.perf_counter() - wall, "peak_gib": peak_gib()}
    for name, part in epochs.items():
        found |= {f"{name}_n": len(part), f"{name}_cpu": min(part)[0], f"{name}_wall": min(part)[1]}
    return found


def stream(given: argparse.Namespace) -> list[str]:
    """Part (d): time per epoch and peak memory by number of patients."""
    lines = [
        f"{given.width:,} features, 4 members, batches of 1,024, 256 encoder inputs, one process per row, one fit: at "
        "most three epochs of the search (with its validation pass) and then of the refit on all patients, the fastest "
        "of each. The rest of a fit reads the file for means, variances, directions, projections and latents. Peak is "
        "resident memory of the whole fit, libraries included and the page cache not. The file is dropped from the "
        "page cache before each epoch, so that wall seconds are those of reading from the disk.",
        "",
        "| patients | matrix GiB | epochs | CPU s per epoch, search | refit | refit per 100,000 | wall s, search "
        "| refit | CPU s of the rest | wall s of the fit | peak GiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for patients in given.patients:
        with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
            path = Path(folder) / "features.h5mu"
            write_cohort(path, patients, given.width)
            found = _measured(path, given)
        row = (
            f"{patients:,}",
            f"{patients * given.width * 4 / 2**30:.1f}",
            f"{found['Search_n']} + {found['Refit_n']}",
            f"{found['Search_cpu']:.1f}",
            f"{found['Refit_cpu']:.1f}",
            f"{found['Refit_cpu'] / patients * 1e5:.2f}",
            f"{found['Search_wall']:.1f}",
            f"{found['Refit_wall']:.1f}",
            f"{found['rest']:.1f}",
            f"{found['wall']:.0f}",
            f"{found['peak_gib']:.2f}",
        )
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    return lines


def _measured(path: Path, given: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--stored", str(path), "--device", given.device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"streaming failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Parse the command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts: dict[str, Callable] = {"stack": stack, "bound": bound, "stream": stream}
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--members", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--patients", type=int, nargs="+", default=[50_000, 100_000, 200_000])
    parser.add_argument("--width", type=int, default=2000, help="features of the streamed cohort")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--scratch", help="folder for the streamed cohort; default a temporary one")
    parser.add_argument("--print", action="store_true", help="print the tables only")
    parser.add_argument("--stored", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.stored:
        print(json.dumps(stream_once(given.stored, given)))
        return
    where = torch.cuda.get_device_name() if given.device == "cuda" else f"{os.uname().machine}, 1 thread"
    for part in given.parts:
        options = [f"--parts {part}"] + ([f"--device {given.device}"] if given.device != "cpu" else [])
        options += [f"--patients {' '.join(map(str, given.patients))}"] if part == "stream" else []
        command = f"Command: `python tests/benchmarks/latent_speed.py {' '.join(options)}`, {where}."
        lines = [command, "", *parts[part](given)]
        if given.print:
            print("\n".join(lines))
        else:
            write_table(f"latent_speed {part} {given.device}", f"{TITLES[part]} ({given.device})", "\n".join(lines))


if __name__ == "__main__":
    main()
