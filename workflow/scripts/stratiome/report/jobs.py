"""The rules of a run and their jobs, as `workflow.json` lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

Key = tuple[str, str]
"""Stage and name, which tell a rule from others."""


@dataclass(frozen=True)
class Rule:
    """A rule of the run.

    Attributes
    ----------
    name
        As in the workflow; the same for this and for other cohorts.
    stage
        Part of the workflow; `external` for the rules of other cohorts.
    threads
        Most threads of a job.
    needs
        The rules whose files it reads.
    jobs
        Within the results, the file in which each job leaves what it cost.
    """

    name: str
    stage: str
    threads: int
    needs: frozenset[Key]
    jobs: tuple[str, ...]

    @property
    def key(self) -> Key:
        """What tells the rule from others."""
        return (self.stage, self.name)


def log_of(benchmark: str) -> str:
    """Log of the job that leaves what it cost in this file."""
    path = PurePosixPath(benchmark)
    return str(PurePosixPath(*("logs" if part == "benchmarks" else part for part in path.parts)).with_suffix(".log"))


def read_rules(path: str | Path) -> list[Rule]:
    """Rules of a run in their order; none where the file is not there."""
    if not Path(path).is_file():
        return []
    return rules_of(json.loads(Path(path).read_text(encoding="utf-8"))["rules"])


def rules_of(told: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """Rules from what the workflow tells: `rule`, `stage`, `threads`, `jobs`, and `needs` as places in the list.

    The same rule of several other cohorts is one.
    """
    keys = [(str(one["stage"]), str(one["rule"])) for one in told]
    made: dict[Key, Rule] = {}
    for key, one in zip(keys, told, strict=True):
        before = made.get(key, Rule(key[1], key[0], 0, frozenset(), ()))
        needs = before.needs | {keys[place] for place in one["needs"]} - {key}
        made[key] = Rule(key[1], key[0], max(before.threads, one["threads"]), needs, (*before.jobs, *one["jobs"]))
    return list(made.values())


def arrows(rules: Sequence[Rule]) -> list[tuple[Key, Key]]:
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
