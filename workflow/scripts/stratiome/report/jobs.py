"""The jobs of a run, and the rules that they belong to, as `workflow.json` lists them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Job = Mapping[str, Any]
"""Keys: `rule`, `stage`, `cohort` (name of another cohort, or ""), `threads`, `benchmark` and `log` (paths within the
results), and `needs` (places of other jobs in the list)."""


@dataclass(frozen=True)
class Rule:
    """A rule of the run.

    Attributes
    ----------
    name
        As in the workflow; the same for this and for other cohorts.
    stage
        Part of the workflow; with `name` it is unique.
    jobs
        Number of jobs.
    threads
        Most threads of a job.
    needs
        Keys of the rules whose files it reads.
    """

    name: str
    stage: str
    jobs: int
    threads: int
    needs: frozenset[tuple[str, str]]

    @property
    def key(self) -> tuple[str, str]:
        """What tells the rule from others."""
        return (self.stage, self.name)


def key_of(job: Job) -> tuple[str, str]:
    """Key of the rule of a job."""
    return (str(job["stage"]), str(job["rule"]))


def read_jobs(path: str | Path) -> list[Job]:
    """Jobs of a run; none where the file is not there."""
    if not Path(path).is_file():
        return []
    found: list[Job] = json.loads(Path(path).read_text(encoding="utf-8"))["jobs"]
    return found


def rules_of(jobs: Sequence[Job]) -> list[Rule]:
    """Rules of the jobs, in their order."""
    sizes = Counter(key_of(job) for job in jobs)
    threads: Counter[tuple[str, str]] = Counter()
    needs: dict[tuple[str, str], set[tuple[str, str]]] = {key: set() for key in sizes}
    for job in jobs:
        threads[key_of(job)] = max(threads[key_of(job)], job["threads"])
        needs[key_of(job)] |= {key_of(jobs[place]) for place in job["needs"]} - {key_of(job)}
    return [Rule(key[1], key[0], n, threads[key], frozenset(needs[key])) for key, n in sizes.items()]


def arrows(rules: Sequence[Rule]) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """From rule to rule, without those that go round by way of another rule as well (the transitive reduction)."""
    import networkx as nx

    places = {rule.key: i for i, rule in enumerate(rules)}
    graph = nx.DiGraph([(other, rule.key) for rule in rules for other in sorted(rule.needs)])
    return sorted(nx.transitive_reduction(graph).edges, key=lambda edge: [places[end] for end in edge])


def stages_of(rules: Sequence[Rule]) -> list[list[str]]:
    """Stages in the order of the work, else of the rules; stages that need each other stand together."""
    import networkx as nx

    first = {rule.stage: i for i, rule in reversed(list(enumerate(rules)))}
    graph = nx.DiGraph()
    graph.add_nodes_from(sorted(first, key=first.__getitem__))
    graph.add_edges_from((stage, r.stage) for r in rules for stage, _ in sorted(r.needs) if stage != r.stage)
    whole = nx.condensation(graph)
    members = {node: sorted(whole.nodes[node]["members"], key=first.__getitem__) for node in whole}
    order = nx.lexicographical_topological_sort(whole, key=lambda node: first[members[node][0]])
    return [members[node] for node in order]
