"""The schedule on paper against ones that are worked out by hand."""

import sys
from pathlib import Path

import networkx as nx
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from cluster_plan import Settings, critical_path, schedule


def _graph(seconds: dict[str, float], *edges: tuple[str, str], local: tuple[str, ...] = ()) -> nx.DiGraph:
    graph = nx.DiGraph()
    for name, took in seconds.items():
        graph.add_node(name, seconds=took, kind=name, local=name in local)
    graph.add_edges_from(edges)
    return graph


DIAMOND = _graph({"a": 1, "b": 2, "c": 5, "d": 1}, ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"))


@pytest.mark.parametrize(("nodes", "wall"), [(1, 9), (2, 7), (9, 7)])
def test_one_diamond(nodes, wall):
    assert schedule({"": DIAMOND}, Settings(1, nodes, 0, 0, 1)) == (wall, pytest.approx(9 / (nodes * wall)))


def test_what_a_job_costs_beside_its_work():
    assert schedule({"": DIAMOND}, Settings(1, 2, 10, 0, 1))[0] == 7 + 3 * 10
    local = _graph({"a": 1, "b": 2}, ("a", "b"), local=("b",))
    assert schedule({"": local}, Settings(1, 2, 10, 0, 1))[0] == 1 + 10 + 2
    alone = _graph({"a": 1, "b": 2, "c": 3}, local=("a", "b", "c"))
    assert schedule({"": alone}, Settings(1, 2, 10, 5, 1)) == (1 + 2 + 3, 0)  # one after another where Snakemake is


def test_ends_are_noticed_at_the_next_look():
    wall, at_work = schedule({"": DIAMOND}, Settings(1, 2, 0, 0, 1, looks=4))  # a by 4, b and c by 12, d by 16
    assert (wall, at_work) == (16, pytest.approx(9 / 32))
    local = _graph({"a": 1, "b": 2}, ("a", "b"), local=("b",))
    assert schedule({"": local}, Settings(1, 2, 0, 0, 1, looks=4))[0] == 4 + 2


def test_a_longer_queue_keeps_nodes_at_work_until_the_next_look():
    free = {str(i): _graph({"a": 3}) for i in range(8)}
    assert schedule(free, Settings(8, 2, 0, 0, 1, looks=10))[0] == 40
    assert schedule(free, Settings(8, 2, 0, 0, 1, looks=10, queue=4))[0] == 20
    assert schedule(free, Settings(8, 2, 0, 0, 1, looks=10, queue=8)) == (20, pytest.approx(24 / 40))


def test_sending_is_one_after_another():
    free = {str(i): _graph({"a": 1}) for i in range(10)}
    assert schedule(free, Settings(10, 10, 0, 2, 1))[0] == 10 * 2 + 1


def test_copies_fill_the_nodes():
    copies = {str(i): DIAMOND for i in range(100)}
    wall, at_work = schedule(copies, Settings(100, 10, 0, 0, 1))
    assert 90 <= wall < 90 + 7  # 900 s of work on ten nodes, and at most one critical path
    assert at_work == pytest.approx(90 / wall)


def test_the_critical_path_is_named():
    assert critical_path(DIAMOND, 0.5) == (8.5, [("a", 1.5), ("c", 5.5), ("d", 1.5)])
