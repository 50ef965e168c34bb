"""Rules of a run as a picture, what they cost, and the page that tells it."""

from __future__ import annotations

import csv
import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

import report_fixtures as fixtures
from rule_lines import faults
from stratiome.report import rule_graph
from stratiome.report.cost import Cost, Measured, as_table, costs, peak, read_measured, share, span, work
from stratiome.report.jobs import arrows, log_of, read_rules, rules_of, stages_of
from stratiome.report.page import render as render_report
from stratiome.report.run_page import FIXED, RunPage, bars, duration, memory, render
from stratiome.report.section_provenance import SEEDS

LIBRARY = Path(rule_graph.__file__).parents[1]
HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
MANIFEST = {"created_with": {"stratiome": "0.1.0"}, "python": "3.11.7", "config": {"threads": 1}, "device": "auto"}


def _rule(name: str, stage: str, *needs: int, parts: tuple[str, ...] = ("",)) -> dict:
    jobs = [str(Path("benchmarks", part, f"{name}.tsv")) for part in parts]
    return {"rule": name, "stage": stage, "threads": 1, "needs": list(needs), "jobs": jobs}


TOLD = [
    _rule("read", "cohort"),
    _rule("check", "cohort", 0),
    _rule("fit", "model", 0, parts=("a", "b")),
    _rule("judge", "model", 2, 0),
    _rule("write", "report", 0, 1, 3),
    _rule("sum_up", "run", 4),
    _rule("describe", "run", 4, 5),
]
RULES = rules_of(TOLD)
ENDED = [job for rule in RULES[:5] for job in rule.jobs]
"""What all jobs but the last two leave behind."""


def _write(folder: Path, job: str, line: str, began: str = "", ended: str = "") -> None:
    for name in (job, log_of(job)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / job).write_text(HEAD + line)
    text = f"INFO stratiome: done: began {began}, ended {ended}\n" if began else "INFO stratiome: done\n"
    (folder / log_of(job)).write_text(f"INFO stratiome: rule x\n{text}")


def _line(seconds: str, memory: str, cpu: str) -> str:
    return f"{seconds}\t0:00:10\t{memory}\t1\t1\t1\t1\t1\t50\t{cpu}\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for i, job in enumerate(ENDED):
        began, ended = (f"2026-01-0{1 + i}T00:00:{s}+00:00" for s in ("00.000", "10.000"))
        _write(tmp_path, job, _line(f"{10 * (i + 1)}.00", f"{100 * (i + 1)}.00", f"{i + 1}.00"), began, ended)
    return tmp_path


def test_rules_gather_their_jobs_and_what_they_need():
    rules = {rule.name: rule for rule in RULES}
    assert list(rules) == ["read", "check", "fit", "judge", "write", "sum_up", "describe"]
    assert rules["fit"].jobs == ("benchmarks/a/fit.tsv", "benchmarks/b/fit.tsv")
    assert rules["judge"].needs == {("model", "fit"), ("cohort", "read")}


def test_lines_that_repeat_a_longer_way_are_left_out():
    assert [(a[1], b[1]) for a, b in arrows(RULES)] == [
        ("read", "check"), ("read", "fit"), ("check", "write"), ("fit", "judge"), ("judge", "write"),
        ("write", "sum_up"), ("sum_up", "describe"),
    ]  # fmt: skip


def test_stages_come_in_the_order_of_the_work_and_rings_stand_together():
    assert stages_of(RULES) == [["cohort"], ["model"], ["report"], ["run"]]
    backwards = [_rule("late", "a", 1), _rule("early", "b"), _rule("last", "c", 0)]
    assert stages_of(rules_of(backwards)) == [["b"], ["a"], ["c"]]
    ring = [_rule("one", "a"), _rule("two", "b", 0), _rule("three", "a", 1)]
    assert stages_of(rules_of(ring)) == [["a", "b"]]
    assert "three" in rule_graph.draw(rules_of(ring))


def _crowd() -> list[dict]:
    """Twelve rules that read one, and one that reads all of them."""
    many = [_rule(f"rule_{'abcdefghijkl'[i]}", f"stage{i % 3}", 0) for i in range(12)]
    return [_rule("read", "cohort"), *many, _rule("write", "report", *range(13))]


@pytest.mark.parametrize("told", [TOLD, _crowd()], ids=["small", "crowd"])
def test_lines_lead_from_rule_to_rule_past_all_others(told):
    assert faults(rules_of(told)) == []


def test_faults_of_a_picture_are_found(monkeypatch):
    rules = rules_of(_crowd())
    monkeypatch.setattr(rule_graph, "_tracks", lambda nets, places, gap: 1)  # all lines of a gap on one track
    assert any("share a piece" in fault for fault in faults(rules))
    monkeypatch.undo()
    monkeypatch.setattr(rule_graph, "_lanes", lambda nets, _: [setattr(net, "lane", 166.0) for net in nets])
    assert any("runs through" in fault for fault in faults(rules))


@pytest.mark.parametrize("seed", range(20))
def test_pictures_of_random_workflows_are_right(seed):
    chance = random.Random(seed)
    told = []
    for i in range(chance.randrange(2, 26)):
        needs = sorted(chance.sample(range(i), k=min(i, chance.choice([1, 1, 2, 3, 6]))))
        told.append(_rule(f"rule_{'abcdefghijklmnopqrstuvwxyz'[i]}", f"stage{i // 4}", *needs))
    assert faults(rules_of(told)) == []


def test_the_picture_is_the_same_again_and_takes_its_colours_from_the_page():
    svg = rule_graph.draw(RULES)
    assert svg == rule_graph.draw(rules_of(json.loads(json.dumps(TOLD))))
    assert "#" not in svg
    assert 'role="img"' in svg
    assert "Model: fit, judge" in svg  # of what a reader who cannot see it is told
    assert "×2" in svg


def test_the_report_shows_rules_and_seeds(tmp_path):
    (tmp_path / "workflow.json").write_text(json.dumps({"rules": TOLD}))
    rules = read_rules(tmp_path / "workflow.json")
    inputs = replace(fixtures.inputs("demo"), rules=rules)
    page = render_report(inputs)
    assert rule_graph.draw(rules) in page
    assert '<a href="run.html">' in page
    assert 'id="provenance-seeds"' in page
    public = render_report(replace(inputs, public=True))
    assert rule_graph.draw(rules) in public
    assert "run.html" not in public  # it is shared alone
    assert read_rules(tmp_path / "none.json") == []
    assert "How it was made" not in render_report(fixtures.inputs("demo"))


def test_seeds_are_those_of_the_code():
    for stage, _, _, module, words in SEEDS:
        assert words in (LIBRARY / module).read_text(encoding="utf-8"), (stage, words)


def test_what_was_not_measured_is_unknown_and_not_zero(tmp_path):
    job = "benchmarks/fit.tsv"
    gone = read_measured(tmp_path / job, tmp_path / log_of(job))
    assert gone == Measured()
    for told in ("NA", "-", ""):
        _write(tmp_path, job, _line("12.50", told, told))
        assert read_measured(tmp_path / job, tmp_path / log_of(job)) == Measured(wall=12.5)
    _write(tmp_path, job, _line("0.40", "3.10", "0"))  # sampled before the job had done anything
    assert read_measured(tmp_path / job, tmp_path / log_of(job)) == Measured(wall=0.4)
    (tmp_path / job).write_text(HEAD)
    assert read_measured(tmp_path / job, tmp_path / log_of(job)).wall is None


def test_costs_are_sums_over_the_jobs_of_a_rule(results):
    found = {cost.rule: cost for cost in costs(RULES, results, besides="sum_up")}
    assert list(found) == ["read", "check", "fit", "judge", "write"]  # neither the rule itself nor what comes after it
    assert found["fit"].total("wall") == 30 + 40
    assert found["fit"].most("wall") == 40
    assert found["fit"].total("cpu") == 3 + 4
    assert found["fit"].most("memory") == 400
    every = list(found.values())
    assert work(every) == 10 + 20 + 30 + 40 + 50 + 60
    assert work(every, "cpu") == 1 + 2 + 3 + 4 + 5 + 6
    assert peak(every) == 600
    assert share(found["fit"], every) == pytest.approx(70 / 210)
    assert sum(share(cost, every) or 0 for cost in every) == pytest.approx(1)
    began, ended = span(every) or (0, 0)
    assert ended - began == pytest.approx(5 * 86400 + 10)


def test_a_missing_measurement_is_said(results):
    (results / ENDED[2]).unlink()
    (results / ENDED[1]).unlink()
    found = costs(RULES, results, besides="sum_up")
    page = render(_page(found))
    assert "Of 2 jobs no time was found (check and fit)" in page
    assert "of 1 of 2 jobs" in page
    assert re.search(r'<th scope="row">check</th>.*?not measured', page, re.S)
    rows = {row["rule"]: row for row in csv.DictReader(as_table(found).splitlines(), delimiter="\t")}
    assert rows["check"]["wall_seconds"] == rows["check"]["peak_memory_mib"] == ""
    assert rows["check"]["jobs_measured"] == "0"
    assert rows["fit"] | {"wall_seconds": "40", "jobs": "2", "jobs_measured": "1"} == rows["fit"]
    nothing = [Cost("model", "fit", (Measured(), Measured()))]
    assert work(nothing) is None
    assert share(nothing[0], nothing) is None
    assert "No job left a measurement." in render(_page(nothing))


def test_no_times_where_a_log_does_not_tell_them(results):
    (results / log_of(ENDED[0])).write_text("INFO stratiome: done\n")
    found = costs(RULES, results, besides="sum_up")
    assert span(found) is None
    page = render(_page(found))
    assert page.count("not recorded") >= 2
    assert "Jobs of the last call" not in page


def measured() -> RunPage:
    """A page of which one job was not measured."""
    jobs = [Measured(10.0 * i, 5.0 * i, 100.0 * i, 1e9, 1e9 + 10 * i) for i in range(1, 6)]
    found = [Cost("cohort", "read", tuple(jobs)), Cost("model", "fit", (jobs[0], Measured()))]
    return _page(found, started="2001-09-09T01:46:40+00:00", cores=2)


def _page(found: list[Cost], **start: object) -> RunPage:
    return RunPage("A cohort", found, ["sum_up"], MANIFEST, "9.27.1", start)


def test_the_page_tells_what_the_last_call_ran(results):
    found = costs(RULES, results, besides="sum_up")
    page = render(_page(found, started="2026-01-05T00:00:00+00:00", cores=4))
    assert re.search(r"Jobs of the last call</th>\s*<td>2 of 6", page)
    assert re.search(r"Cores at most</th>\s*<td>4<", page)
    assert re.search(r"First job began</th>\s*<td>2026-01-01 00:00:00 UTC", page)
    assert "Left out: <code>sum_up</code>, which ends after this page is written." in page


def test_the_page_loads_nothing_and_names_no_machine(results, tmp_path):
    import getpass
    import socket

    page = render(_page(costs(RULES, results, besides="sum_up")))
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    body = page.partition("<body>")[2]
    for secret in (str(tmp_path), str(Path.home()), socket.gethostname(), getpass.getuser()):
        assert not re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", body)
    assert "What did we learn?" not in page


def test_bars_are_as_long_as_times():
    found = [Cost("a", "long", (Measured(wall=30.0), Measured(wall=10.0))), Cost("a", "short", (Measured(wall=20.0),))]
    widths = [float(w) for w in re.findall(r'<rect[^>]* width="([\d.]+)"', bars(found))]
    assert widths[0] / widths[2] == pytest.approx(2, rel=0.01)
    assert widths[1] / widths[0] == pytest.approx(0.75, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "not measured"), (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"),
     (200, "3 min 20 s"), (3599.6, "1 h 00 min"), (3720, "1 h 02 min"), (36000, "10 h 00 min")],
)  # fmt: skip
def test_durations_in_words(seconds, text):
    assert duration(seconds) == (text if seconds is None else text.replace(" ", FIXED))


def test_memory_in_words():
    assert [memory(n).replace(FIXED, " ") for n in (512.4, 999.4, 2048)] == ["512 MiB", "999 MiB", "2.0 GiB"]
    assert memory(None) == "not measured"


def test_rules_of_other_cohorts_are_told_apart_from_those_of_this_one_and_stand_together():
    other = [_rule("read", "external") | {"jobs": [f"external/{name}/benchmarks/read.tsv"]} for name in "xy"]
    found = rules_of([_rule("read", "cohort"), *other])
    assert [(rule.stage, len(rule.jobs)) for rule in found] == [("cohort", 1), ("external", 2)]
    assert log_of(found[1].jobs[0]) == "external/x/logs/read.log"
