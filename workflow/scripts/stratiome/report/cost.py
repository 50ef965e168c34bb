"""What the jobs of a run cost, read from the file that each leaves behind.

A value that was not measured stays unknown: it is never taken for zero.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import fsum
from pathlib import Path

from stratiome.report.jobs import Key, Rule, log_of

DONE = re.compile(r"^INFO stratiome: done: began (\S+), ended (\S+)$", re.M)
"""Line of a log that tells when a job began and ended."""


@dataclass(frozen=True)
class Measured:
    """What one job cost.

    Attributes
    ----------
    wall, cpu
        Seconds; None where not measured.
    memory
        Peak of the resident set in MiB, as sampled; None where not measured.
    began, ended
        Seconds since 1970 (UTC), as the log says; None where it does not.
    """

    wall: float | None = None
    cpu: float | None = None
    memory: float | None = None
    began: float | None = None
    ended: float | None = None


@dataclass(frozen=True)
class Cost:
    """What the jobs of one rule cost."""

    stage: str
    rule: str
    found: tuple[Measured, ...]

    @property
    def jobs(self) -> int:
        """Number of jobs, measured or not."""
        return len(self.found)

    def known(self, what: str) -> list[float]:
        """Values of an attribute of `Measured`, of the jobs of which it is known."""
        return [value for job in self.found if (value := getattr(job, what)) is not None]

    def total(self, what: str) -> float | None:
        """Sum over the jobs of which it is known; None if there is none."""
        return fsum(self.known(what)) if self.known(what) else None

    def most(self, what: str) -> float | None:
        """Largest of the jobs of which it is known; None if there is none."""
        return max(self.known(what), default=None)


def read_measured(benchmark: Path, log: Path) -> Measured:
    """What a job left behind; a job without a measurement has none of its values.

    A first sample taken before the job has done anything says 0 s of processor time. That is no measurement, and nor
    is the memory of that moment.
    """
    try:
        rows = list(csv.DictReader(benchmark.read_text(encoding="utf-8").splitlines(), delimiter="\t"))
    except OSError:
        rows = []
    wall, cpu, memory = (_value(rows[0].get(name)) if rows else None for name in ("s", "cpu_time", "max_rss"))
    if not cpu:
        cpu = memory = None
    return Measured(wall, cpu, memory, *_times(log))


def _times(log: Path) -> tuple[float | None, float | None]:
    """When a job began and ended, from the last line of its log."""
    try:
        said = DONE.findall(log.read_text(encoding="utf-8", errors="replace"))
        began, ended = (datetime.fromisoformat(text).timestamp() for text in said[-1])
    except (OSError, IndexError, ValueError):
        return None, None
    return began, ended


def _value(text: str | None) -> float | None:
    """A number; None for what stands for "not measured"."""
    try:
        return float(text) if text else None
    except ValueError:
        return None


def costs(rules: Sequence[Rule], results: Path, besides: str = "") -> list[Cost]:
    """Cost of every rule, in the order of the rules.

    Parameters
    ----------
    rules
        Rules of the run.
    results
        Folder of the results.
    besides
        A rule that is left out, with all that need it, since its job has not ended yet.
    """
    late = _late(rules, besides)
    return [
        Cost(rule.stage, rule.name, tuple(read_measured(results / job, results / log_of(job)) for job in rule.jobs))
        for rule in rules
        if rule.key not in late
    ]


def _late(rules: Sequence[Rule], besides: str) -> set[Key]:
    """Keys of a rule and of all that need it."""
    late = {rule.key for rule in rules if rule.name == besides}
    before = 0
    while len(late) > before:
        before = len(late)
        late |= {rule.key for rule in rules if rule.needs & late}
    return late


def _over(costs: Iterable[Cost], value: Callable[[Cost], float | None]) -> list[float]:
    return [known for cost in costs if (known := value(cost)) is not None]


def work(costs: Sequence[Cost], what: str = "wall") -> float | None:
    """Sum of all jobs of which it is known; None if there is none."""
    known = _over(costs, lambda cost: cost.total(what))
    return fsum(known) if known else None


def peak(costs: Sequence[Cost]) -> float | None:
    """Largest memory of a job; None if none is known."""
    return max(_over(costs, lambda cost: cost.most("memory")), default=None)


def share(cost: Cost, costs: Sequence[Cost]) -> float | None:
    """Part of the wall time of all jobs, from 0 to 1."""
    own, every = cost.total("wall"), work(costs)
    return None if own is None or not every else own / every


def span(costs: Sequence[Cost]) -> tuple[float, float] | None:
    """When the first job began and the last one ended, in seconds since 1970 (UTC); None if a log does not say it."""
    began, ended = ([value for cost in costs for value in cost.known(what)] for what in ("began", "ended"))
    if not began or len(ended) < sum(cost.jobs for cost in costs):
        return None
    return min(began), max(ended)


HEAD = (
    "stage", "rule", "jobs", "jobs_measured", "wall_seconds", "wall_seconds_longest", "share_of_wall", "cpu_seconds",
    "jobs_with_cpu", "peak_memory_mib", "jobs_with_memory",
)  # fmt: skip


def as_table(costs: Sequence[Cost]) -> str:
    """Tab-separated text, one row a rule; what is not known is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(HEAD)
    for cost in costs:
        measured = [
            *(cost.total("wall"), cost.most("wall"), share(cost, costs)),
            *(cost.total("cpu"), len(cost.known("cpu")), cost.most("memory"), len(cost.known("memory"))),
        ]
        told = ["" if v is None else str(v) if isinstance(v, int) else f"{v:.4g}" for v in measured]
        writer.writerow([cost.stage, cost.rule, cost.jobs, len(cost.known("wall")), *told])
    return text.getvalue()
