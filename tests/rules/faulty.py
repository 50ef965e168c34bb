"""A short run of the workflow, and what the tests of faults do to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import ROOT, snakemake, write_config, write_tiny

TARGET = "results/resamples/cv-1-1/subgroups.parquet"
"""From the files to the subgroups of one resample: every kind of file, in five jobs."""
KINDS = (".parquet", ".h5mu", ".h5ad", ".safetensors", ".json")


def write_analysis(folder: Path) -> None:
    """Write the tiny cohort and its config."""
    raw = write_tiny(folder / "data") | {"results": "results"}
    write_config(raw, folder / "config.yaml")


def analysed(folder: Path) -> Path:
    """A folder in which the tiny cohort has been written and analysed."""
    write_analysis(folder)
    done = again(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def fresh(reference: Path, folder: Path) -> Path:
    """A folder for a run of the same analysis from the start."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(reference / "config.yaml", folder)
    return folder


def command(folder: Path, *arguments: str, directory: Path | None = None) -> list[str]:
    """What a user types, in a working directory that is the folder or another one."""
    start = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    start += ["--workflow-profile", str(ROOT / "profiles/default"), "--directory", str(directory or folder)]
    return [*start, "--cores", "2", *(arguments or (TARGET,)), "--configfile", str(folder / "config.yaml")]


def again(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run to the end."""
    return snakemake("--cores", "2", *(arguments or (TARGET,)), "--configfile", str(folder / "config.yaml"), cwd=folder)


def start(folder: Path, *arguments: str, name: str = "out", directory: Path | None = None) -> subprocess.Popen:
    """Start a run whose messages go to a file in the folder."""
    with open(folder / name, "w") as out:
        return subprocess.Popen(
            command(folder, *arguments, directory=directory), stdout=out, stderr=out, start_new_session=True, cwd=ROOT
        )


def wait_for(there: Callable[[], bool], process: subprocess.Popen | None = None, seconds: float = 300) -> None:
    """Wait until something holds, while the process is alive."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, "the run ended before"
        time.sleep(0.01)


def copy(reference: Path, target: Path) -> Path:
    """A copy of a run that has ended, with its times, its state and its config."""
    shutil.copytree(reference, target, symlinks=True, ignore=shutil.ignore_patterns("data"))
    return target


def contents(folder: Path) -> dict[str, bytes]:
    """Every result but pages of times, as bytes."""
    results = folder / "results"
    found = [p for p in sorted(results.rglob("*")) if p.suffix in KINDS and "benchmarks" not in p.parts]
    return {str(p.relative_to(results)): p.read_bytes() for p in found}


def difference(a: dict[str, bytes], b: dict[str, bytes]) -> list[str]:
    """Names of what is not the same."""
    return sorted(set(a) ^ set(b)) + [n for n in sorted(set(a) & set(b)) if a[n] != b[n]]


def flip(path: Path, *, keep_time: bool) -> None:
    """Change one byte in the middle of a file."""
    before = path.stat()
    with path.open("r+b") as handle:
        handle.seek(before.st_size // 2)
        byte = handle.read(1)
        handle.seek(before.st_size // 2)
        handle.write(bytes([byte[0] ^ 1]))
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@contextmanager
def _mounted(where: Path, *how: str) -> Iterator[Path]:
    where.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(["mount", *how, str(where)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"a disk cannot be mounted here: {made.stderr.strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


@contextmanager
def small_disk(where: Path, size: str) -> Iterator[Path]:
    """A disk of its own in memory; the test is skipped where mounting is not permitted."""
    with _mounted(where, "-t", "tmpfs", "-o", f"size={size}", "none"):
        yield where


@contextmanager
def read_only(where: Path) -> Iterator[Path]:
    """A folder that nobody can write to, even while a run is at work in it."""
    where.mkdir(parents=True, exist_ok=True)
    with _mounted(where, "--bind", str(where)):
        remount(where, "ro,bind")
        yield where


def remount(where: Path, options: str) -> None:
    """Change a disk while it is in use."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(where)], check=True)
