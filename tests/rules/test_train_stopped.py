"""Training that is stopped by a scheduler, a user or the system goes on in the next run, to the same files."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import ROOT, snakemake, write_config, write_tiny

FOLDER = Path("results/resamples/full")
OUTPUTS = ("latent.h5ad", "latent.safetensors", "latent.json", "training.parquet")
LOG = Path("results/logs/full/train_latent.log")


def _arguments(config: Path) -> list[str]:
    return ["--cores", "1", str(FOLDER / OUTPUTS[0]), "--configfile", str(config)]


def _start(folder: Path, config: Path) -> subprocess.Popen:
    """A run as a user starts it; it and all of its jobs are one process group."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--workflow-profile", str(ROOT / "profiles/default"), *_arguments(config)]
    with open(folder / "out", "w") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, cwd=ROOT)


def _stop(folder: Path, config: Path, asked: signal.Signals) -> str:
    """Start a run, send a signal to the whole group while the model learns; what the run said."""
    log, out = folder / LOG, folder / "out"
    log.unlink(missing_ok=True)
    process = _start(folder, config)
    while process.poll() is None and not (log.exists() and "latent model: search" in log.read_text()):
        time.sleep(0.01)
    time.sleep(0.2)
    assert process.poll() is None, out.read_text()[-3000:]
    os.killpg(process.pid, asked)
    assert process.wait(timeout=300) != 0, out.read_text()[-3000:]
    return out.read_text() + log.read_text()


def test_stopped_by_three_signals_it_ends_as_an_undisturbed_run(tmp_path):
    raw = write_tiny(tmp_path / "data") | {"results": "results"}
    raw["latent"] |= {"epochs": 1500, "patience": 1500, "members": 2}
    config = write_config(raw, tmp_path / "config.yaml")
    folders = {name: tmp_path / name for name in ("whole", "stopped")}
    folders["whole"].mkdir()
    done = snakemake("--cores", "1", str(FOLDER / "features.h5mu"), "--configfile", str(config), cwd=folders["whole"])
    assert done.returncode == 0, done.stderr[-3000:]
    shutil.copytree(folders["whole"], folders["stopped"])
    done = snakemake(*_arguments(config), cwd=folders["whole"])
    assert done.returncode == 0, done.stderr[-3000:]

    folder = folders["stopped"]
    kept = folder / FOLDER / "latent.checkpoint"
    for asked in (signal.SIGTERM, signal.SIGINT):
        said = _stop(folder, config, asked)
        assert f"training was stopped by {asked.name} at epoch" in said
        assert "Stratiome stopped in rule train_latent, resample full" in said
        assert kept.exists()
        assert not any((folder / FOLDER / name).exists() for name in OUTPUTS)
    assert "search resumed at epoch" in said
    assert "search resumed at epoch" in _stop(folder, config, signal.SIGKILL)
    assert kept.exists()

    done = snakemake(*_arguments(config), cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "search resumed at epoch" in (folder / LOG).read_text()
    assert not kept.exists()
    for name in OUTPUTS:
        assert (folder / FOLDER / name).read_bytes() == (folders["whole"] / FOLDER / name).read_bytes(), name
    files = [sorted(p.name for p in (f / FOLDER).iterdir()) for f in folders.values()]
    assert files[0] == files[1]
