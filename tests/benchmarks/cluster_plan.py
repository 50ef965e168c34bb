"""On paper: many analyses on a cluster, from the measured costs of one: `cluster_plan.py RESULTS --write`.

RESULTS is the folder of a finished run (tests/benchmarks/cluster.py leaves several). Its `workflow.json` tells the jobs
and what each needs, its benchmark files how long each took. The jobs are grouped as `profiles/slurm` groups them, and
copies of the whole are scheduled: whatever is ready is sent, oldest first, as fast as Snakemake sends, into a queue
that holds as many jobs as there are nodes, or twice as many; a node takes one job. What a job costs beside its work
(SLURM, two starts of Snakemake) is a constant that `cluster.py` measures. An end is noticed when Snakemake looks next;
the plugin for SLURM looks every 40 s unless told otherwise.

Nothing is run. Left out: nodes of different speed, waiting behind other users, and a file system that slows down where
many read at once.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import json
import math
import re
import sys
from collections import Counter, deque
from dataclasses import dataclass, replace
from pathlib import Path

import networkx as nx
import yaml

from results import write_table

ROOT = Path(__file__).resolve().parents[2]
LOCAL = {"describe_workflow", "describe_run", "write_crate"}
"""Rules that run where Snakemake does."""


@dataclass(frozen=True)
class Settings:
    """What is assumed of the cluster and of the run.

    Attributes
    ----------
    analyses
        Copies of the whole run.
    nodes
        Jobs that are at work at most; rules that run where Snakemake does, one after another, come on top.
    overhead
        Seconds that a job of the cluster costs beside its work.
    sent
        Seconds that Snakemake takes to send a job.
    cores
        Cores of one job, for those that share it.
    looks
        Seconds between two looks of Snakemake at the jobs of the cluster; 0 where it sees an end at once.
    queue
        Jobs that are in the queue at most, at work or not (`jobs:` of the profile); as many as nodes if 0.
    """

    analyses: int
    nodes: int
    overhead: float
    sent: float
    cores: int
    looks: float = 0.0
    queue: int = 0


def job_graph(results: Path) -> nx.DiGraph:
    """Jobs of one run, with `seconds`, `rule` and `resample`; an edge leads to the job that needs it."""
    rules = json.loads((results / "workflow.json").read_text())["rules"]
    graph = nx.DiGraph()
    own: list[list[str]] = []
    for rule in rules:
        names = [job for job in rule["jobs"] if (results / job).exists()]
        own.append(names)
        for name in names:
            seconds = float(next(iter(csv.DictReader((results / name).open(), delimiter="\t")))["s"])
            parts = Path(name).parts
            resample = parts[1] if len(parts) > 2 else None
            graph.add_node(name, seconds=seconds, rule=rule["rule"], resample=resample)
    for rule, names in zip(rules, own, strict=True):
        for name in names:
            resample = graph.nodes[name]["resample"]
            for other in (job for place in rule["needs"] for job in own[place]):
                if resample is None or graph.nodes[other]["resample"] in (None, resample):
                    graph.add_edge(other, name)
    return graph


def rule_groups() -> dict[str, str]:
    """Rule -> group that it shares a job with."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    return dict(re.findall(r'rule (\w+):(?:(?!rule \w+:).)*?group:\s+f"\{PREFIX\}(\w+)"', text, flags=re.S))


def grouped(graph: nx.DiGraph, cores: int) -> nx.DiGraph:
    """The same with jobs that share one put together, as rules and profile say; local rules cost their time only."""
    components = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())["group-components"]
    groups = rule_groups()
    place: dict[str, str] = {}
    for group in dict.fromkeys(groups.values()):
        members = [n for n, d in graph.nodes(data=True) if groups.get(d["rule"]) == group]
        parts = list(nx.weakly_connected_components(graph.subgraph(members)))
        parts = sorted((sorted(part) for part in parts), key=lambda part: part[0])
        for i, part in enumerate(parts):
            place |= dict.fromkeys(part, f"{group} {i // components.get(group, 1)}")
    whole = nx.DiGraph()
    for node, given in graph.nodes(data=True):
        name = place.get(node, node)
        kind = place[node].split()[0] if node in place else given["rule"]
        whole.add_node(name, kind=kind, local=given["rule"] in LOCAL)
        whole.nodes[name].setdefault("jobs", []).append(node)
    for a, b in graph.edges:
        if place.get(a, a) != place.get(b, b):
            whole.add_edge(place.get(a, a), place.get(b, b))
    for _, given in whole.nodes(data=True):
        given["seconds"] = _time(graph.subgraph(given["jobs"]), cores)
    return whole


def _time(graph: nx.DiGraph, cores: int) -> float:
    """Time of some jobs side by side on a number of cores."""
    return schedule({"": graph}, Settings(1, cores, 0.0, 0.0, 1))[0]


def schedule(graphs: dict[str, nx.DiGraph], settings: Settings) -> tuple[float, float]:
    """Time until all is done, and the part of it in which the nodes were at work."""
    waiting = {(g, n): graph.in_degree(n) for g, graph in graphs.items() for n in graph}
    ready: dict[bool, list[tuple[str, str]]] = {True: [], False: []}  # by whether it runs where Snakemake does
    queued: deque[tuple[str, str]] = deque()
    events: list[tuple[float, str, str, str]] = []
    now = sender = busy = 0.0
    nodes, places, snakemake = settings.nodes, settings.queue or settings.nodes, True

    def is_ready(g: str, n: str) -> None:
        heapq.heappush(ready[graphs[g].nodes[n].get("local", False)], (g, n))

    for key in (key for key, count in waiting.items() if not count):
        is_ready(*key)
    while True:
        while ready[False] and places:
            places -= 1
            sender = max(sender, now) + settings.sent
            heapq.heappush(events, (sender, "queued", *heapq.heappop(ready[False])))
        while queued and nodes:
            nodes -= 1
            g, n = queued.popleft()
            took = graphs[g].nodes[n]["seconds"] + settings.overhead
            busy += took
            heapq.heappush(events, (now + took, "ended", g, n))
        if ready[True] and snakemake:
            snakemake = False
            g, n = heapq.heappop(ready[True])
            heapq.heappush(events, (now + graphs[g].nodes[n]["seconds"], "local", g, n))
        if not events:
            return now, busy / (settings.nodes * now) if now else 0.0
        now, what, g, n = heapq.heappop(events)
        if what == "queued":
            queued.append((g, n))
        elif what == "ended":
            nodes += 1
            noticed = settings.looks * math.ceil(now / settings.looks) if settings.looks else now
            heapq.heappush(events, (noticed, "noticed", g, n))
        else:
            places, snakemake = (places + 1, snakemake) if what == "noticed" else (places, True)
            for other in graphs[g].successors(n):
                waiting[g, other] -= 1
                if not waiting[g, other]:
                    is_ready(g, other)


def critical_path(graph: nx.DiGraph, overhead: float) -> tuple[float, list[tuple[str, float]]]:
    """Longest chain of jobs that need each other: its time, and kind and time of each job."""
    weighted = nx.DiGraph()
    for node, given in graph.nodes(data=True):
        took = given["seconds"] + (0.0 if given["local"] else overhead)
        weighted.add_edge((node, "start"), (node, "end"), weight=took)
    weighted.add_weighted_edges_from(((a, "end"), (b, "start"), 0.0) for a, b in graph.edges)
    path = nx.dag_longest_path(weighted)
    steps = [node for node, end in path if end == "start"]
    took = [weighted.edges[(n, "start"), (n, "end")]["weight"] for n in steps]
    return sum(took), [(graph.nodes[n]["kind"], t) for n, t in zip(steps, took, strict=True)]


def tell(results: Path, settings: Settings) -> str:
    """The table and the critical path as text."""
    jobs = job_graph(results)
    whole, twice = grouped(jobs, settings.cores), 2 * settings.nodes
    lines = []
    for name, graph, queue in (
        ("as the profile groups", whole, settings.nodes),
        (f"the same, {twice} in the queue", whole, twice),
        ("every rule a job", _single(jobs), settings.nodes),
    ):
        sent = sum(not local for _, local in graph.nodes(data="local"))
        copies = {f"{i:05d}": graph for i in range(settings.analyses)}
        wall, at_work = schedule(copies, replace(settings, queue=queue))
        useful = settings.analyses * sum(s for _, s in jobs.nodes(data="seconds")) / 3600
        paid = settings.nodes * wall / 3600
        path, _ = critical_path(graph, settings.overhead + settings.looks / 2)
        told = (name, f"{sent * settings.analyses:,}", f"{wall / 60:.0f}", f"{path / 60:.1f}", f"{at_work:.0%}")
        lines.append("| " + " | ".join((*told, f"{useful:.1f}", f"{paid:.1f}")) + " |")
    path, steps = critical_path(whole, settings.overhead + settings.looks / 2)
    chain = ", ".join(f"{kind} {took:.0f} s" for kind, took in steps)
    costs = Counter()
    for _, given in jobs.nodes(data=True):
        costs[given["rule"]] += given["seconds"]
    dear = ", ".join(f"{rule} {cost / sum(costs.values()):.0%}" for rule, cost in costs.most_common(4))
    return (
        f"{settings.analyses} analyses on {settings.nodes} nodes of one job each; {settings.overhead:g} s per job "
        f"beside its work, {settings.sent:g} s to send one, a look at the jobs every {settings.looks:g} s (half of "
        "that is in the critical path for each job).\n\n"
        "| | jobs sent | wall min | critical path of one analysis, min | nodes at work | useful h | nodes × wall, h |\n"
        "|---|---|---|---|---|---|---|\n" + "\n".join(lines) + f"\n\nCritical path of one analysis ({path:.0f} s): "
        f"{chain}.\nMost of the work: {dear}."
    )


def _single(graph: nx.DiGraph) -> nx.DiGraph:
    single = graph.copy()
    for _, given in single.nodes(data=True):
        given |= {"kind": given["rule"], "local": given["rule"] in LOCAL}
    return single


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--analyses", type=int, default=150)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--overhead", type=float, default=8.0)
    parser.add_argument("--sent", type=float, default=0.3)
    parser.add_argument("--cores", type=int, default=4)
    parser.add_argument("--looks", type=float, default=40.0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    text = tell(
        given.results, Settings(given.analyses, given.nodes, given.overhead, given.sent, given.cores, given.looks)
    )
    if given.write:
        command = "Command: `cluster_plan.py " + " ".join(sys.argv[2:]) + "` on a run that `cluster.py` left.\n\n"
        write_table("cluster_plan", "Fifty cohorts with three endpoints on a hundred nodes, on paper", command + text)
    print(text)
