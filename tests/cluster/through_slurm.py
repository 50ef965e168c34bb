"""A real SLURM for the tests of this folder, and a way to run the workflow through it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from conftest import ROOT, write_config
from small import small_config, tables

SCRIPT = Path(__file__).with_name("slurm.sh")
OPTIONS = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5", "--cores", "2")
"""No accounting here, and jobs of seconds: look at them early."""


@dataclass(frozen=True)
class Cluster:
    """The SLURM of the tests."""

    home: Path

    def call(self, *words: str) -> str:
        """Call the script that keeps it."""
        done = subprocess.run([str(SCRIPT), *words], capture_output=True, text=True, env=self.env, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def env(self) -> dict[str, str]:
        """Environment of the script."""
        return os.environ | {"SLURM_TEST_HOME": str(self.home), "SLURM_TEST_GPU": "1"}

    def jobs(self) -> list[dict[str, str]]:
        """Jobs that have ended, as SLURM wrote them down."""
        log = self.home / "log/jobs.txt"
        lines = log.read_text().splitlines() if log.exists() else []
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]

    def asked_for_gpu(self) -> set[str]:
        """Numbers of the jobs of the last minutes that asked for a GPU."""
        told = subprocess.run(["scontrol", "--oneliner", "show", "jobs"], capture_output=True, text=True, check=True)
        return {line.split()[0].removeprefix("JobId=") for line in told.stdout.splitlines() if "gres:gpu" in line}

    def running(self) -> dict[str, tuple[str, str]]:
        """Jobs at work: number -> node, and what runs (`rule_NAME_...` or `rule_GROUP`)."""
        listed = subprocess.run(
            ["squeue", "-h", "-t", "RUNNING", "-o", "%i %N %k"], capture_output=True, text=True, check=True
        ).stdout
        return {words[0]: (words[1], words[2]) for words in map(str.split, listed.splitlines())}

    def wait_for(self, rule: str, timeout: float = 300) -> tuple[str, str]:
        """Number and node of a job of a rule, once it is at work."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            for number, (node, what) in self.running().items():
                if what.startswith(f"rule_{rule}"):
                    return number, node
            time.sleep(0.2)
        raise AssertionError(f"no job of {rule} within {timeout} s")


@dataclass
class Run:
    """One call of Snakemake through the cluster, at work."""

    process: subprocess.Popen
    log: Path
    results: Path

    def end(self, timeout: float = 1200) -> int:
        """Wait for its end; its exit status."""
        return self.process.wait(timeout)

    def text(self) -> str:
        """What it has said."""
        return self.log.read_text()


@dataclass
class Folder:
    """A folder in which the small cohort is analysed."""

    path: Path
    data: Path
    changes: dict = field(default_factory=dict)
    calls: int = 0

    @property
    def results(self) -> Path:
        return self.path / "results"

    def start(self, *arguments: str, profile: str = "slurm") -> Run:
        """Start the workflow through the cluster."""
        self.path.mkdir(parents=True, exist_ok=True)
        config = write_config(small_config(self.data, **self.changes), self.path / "config.yaml")
        self.calls += 1
        log = self.path / f"call{self.calls}.log"
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(self.path), "--workflow-profile", str(ROOT / "profiles" / profile)]
        command += ["--configfile", str(config), *(OPTIONS if profile == "slurm" else ()), *arguments]
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd=self.path, start_new_session=True)
        return Run(process, log, self.results)

    def run(self, *arguments: str, profile: str = "slurm") -> dict[str, bytes]:
        """Run the workflow to its end; its tables."""
        started = self.start(*arguments, profile=profile)
        assert started.end() == 0, started.text()[-4000:]
        return tables(self.results)
