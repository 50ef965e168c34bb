"""Cost of a checkpoint of the latent model, and of training with and without one.

    python tests/benchmarks/latent_checkpoint.py

Each checkpoint is written to the disk (fsync) in a temporary folder, or in `--scratch`. Epochs with and without take
turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from latent_speed import SIZES, Steps, make
from results import write_table

MEMBERS = 4


def cost(checkpoint, run, repeats: int) -> dict[str, float]:
    """Bytes of a checkpoint, and median seconds to write it and to read it."""
    wall, busy, read = [], [], []
    checkpoint.open({})
    for _ in range(repeats):
        began, before = time.perf_counter(), time.process_time()
        assert checkpoint.write(run.state())
        wall.append(time.perf_counter() - began)
        busy.append(time.process_time() - before)
        began = time.perf_counter()
        assert checkpoint.open({}) is not None
        read.append(time.perf_counter() - began)
    return {
        "bytes": checkpoint.path.stat().st_size,
        "wall": statistics.median(wall),
        "busy": statistics.median(busy),
        "read": statistics.median(read),
    }


def epochs(steps: Steps, path: Path, repeats: int) -> dict[str, list[float]]:
    """Processor seconds of an epoch: without a checkpoint, with one that is never due, with one after each epoch."""
    from stratiome.latent.checkpoint import Checkpoint

    runs = {name: steps.run(MEMBERS) for name in ("without", "not due", "each epoch")}
    runs["not due"].checkpoint = runs["each epoch"].checkpoint = Checkpoint(path)
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            began = time.process_time()
            run.step_epoch(0)
            if name == "each epoch":
                run.checkpoint.visit(run.state, "an epoch", now=True)
            if turn:  # the first one warms up
                taken[name].append(time.process_time() - began)
    return taken


def measure(repeats: int, scratch: str | None) -> list[str]:
    """The table."""
    from stratiome.latent import checkpoint

    checkpoint.EVERY_SECONDS = np.inf
    lines = [
        f"{MEMBERS} members of 16 dimensions and 64 hidden units, 1,900 patients. Cost: median of {repeats}, after one "
        "epoch of the search. Epochs: CPU ms, in turns without a checkpoint, with one that is looked at before each "
        "step and not due, and with one written after each epoch; ratios are medians over the turns.",
        "",
        "| features | KiB | wall ms to write | CPU ms to write | wall ms to read | CPU ms of an epoch without "
        "| not due, ratio | after each epoch, ratio | share of time, every 5 minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, omics in list(SIZES.items())[:2]:
        steps = Steps(make(omics), "cpu", 0)
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            path = Path(folder) / "latent.checkpoint"
            run = steps.run(MEMBERS)
            run.step_epoch(0)
            found = cost(checkpoint.Checkpoint(path), run, repeats)
            taken = epochs(steps, path, repeats)
        ratios = [
            statistics.median(a / b for a, b in zip(taken[kind], taken["without"], strict=True))
            for kind in ("not due", "each epoch")
        ]
        lines.append(
            f"| {name} | {found['bytes'] / 1024:,.0f} | {found['wall'] * 1e3:.1f} | {found['busy'] * 1e3:.1f} | "
            f"{found['read'] * 1e3:.1f} | {statistics.median(taken['without']) * 1e3:.0f} | {ratios[0]:.3f} | "
            f"{ratios[1]:.3f} | {found['wall'] / 300:.3%} |"
        )
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Parse the command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--scratch", help="folder for the checkpoints; default a temporary one")
    given = parser.parse_args()
    torch.set_num_threads(1)
    command = f"Command: `python tests/benchmarks/latent_checkpoint.py`, {os.uname().machine}, 1 thread."
    lines = [command, "", *measure(given.repeats, given.scratch)]
    write_table("latent_checkpoint", "Checkpoints of the latent model", "\n".join(lines))


if __name__ == "__main__":
    main()
