"""A bundle trained on one device and scored on the CPU: how far apart are memberships and survival?

    PYTHONPATH=workflow/scripts python tests/benchmarks/bundle_device.py --device cuda --write

The workflow trains on the device and assigns its patients there; a process that sees no GPU scores the same patients by
the bundle. Stated tolerance: 1e-3 of any probability (sums of single precision differ between devices).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl

from by_workflow import ROOT, run_workflow
from results import write_table
from score_scale import config

TOLERANCE = 1e-3


def main() -> None:
    """Train, score, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--patients", type=int, default=600)
    parser.add_argument("--scratch", type=Path, default=ROOT / "results" / "bundle_device")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    scratch = given.scratch.resolve()
    made = config(given.patients)
    made["latent"] |= {"device": given.device}
    results = run_workflow(made, scratch, "bundle/bundle.json")
    out = scratch / "applied"
    out.mkdir(exist_ok=True)
    script = Path(__file__).with_name("score_scale.py")
    command = [sys.executable, str(script), "--score", str(results), str(results / "bundle/bundle.json"), str(out)]
    subprocess.run(command, check=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    keys = ["patient_id", "subgroup"]
    here = pl.read_parquet(results / "resamples/full/memberships.parquet").filter(pl.col("model") == "vae")
    both = here.join(pl.read_parquet(out / "memberships.parquet"), on=keys, suffix="_cpu")
    apart = float(np.abs(both["probability"] - both["probability_cpu"]).max())
    text = (
        f"Command: `bundle_device.py --device {given.device} --patients {given.patients}`. {both.height} memberships, "
        f"largest difference {apart:.1e}; stated tolerance {TOLERANCE:g}: {'met' if apart <= TOLERANCE else 'NOT met'}."
    )
    print(text)
    if given.write:
        write_table(f"bundle_device_{given.device}", f"A bundle of another device: {given.device}", text)


if __name__ == "__main__":
    main()
