"""The page on what a run cost: time, processor time and memory of every rule. It says nothing of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from stratiome.report import cost as measured
from stratiome.report.blocks import Cell, Figure, Note, Section, Table, Text
from stratiome.report.cost import Cost
from stratiome.report.template import TEMPLATES, fill
from stratiome.report.words import join, plural, sentence

UNKNOWN = "not measured"
FIXED = "\u00a0"
"""A space at which no line breaks."""
WIDTH, NAMES, VALUES, STEP = 820, 180, 110, 26
"""Pixels of the chart: width, room for names and for values, height of a bar with its gap."""


@dataclass(frozen=True)
class RunPage:
    """What the page is made of.

    Attributes
    ----------
    title
        Title of the analysis.
    costs
        Cost of every rule whose jobs have ended.
    unended
        Names of the rules that end after this page is written.
    manifest
        Software, seed and device.
    engine
        Version of the engine that runs the rules.
    start
        What the engine wrote when it last began: `started` (ISO 8601) and `cores`; empty if it did not.
    """

    title: str
    costs: Sequence[Cost]
    unended: Sequence[str]
    manifest: Mapping[str, Any]
    engine: str
    start: Mapping[str, Any]


def duration(seconds: float | None) -> str:
    """A time in words that stay in one line, as `1 h 02 min`, `3 min 20 s` or `4.2 s`."""
    if seconds is None:
        return UNKNOWN
    whole, minutes = round(seconds), round(seconds / 60)
    if seconds < 9.95:
        text = f"{seconds:.1f} s"
    elif whole < 60:
        text = f"{whole} s"
    elif whole < 3600:
        text = f"{whole // 60} min {whole % 60:02d} s"
    else:
        text = f"{minutes // 60} h {minutes % 60:02d} min"
    return text.replace(" ", FIXED)


def memory(mib: float | None) -> str:
    """Memory in words, as `512 MiB` or `1.2 GiB`."""
    if mib is None:
        return UNKNOWN
    return (f"{mib:.0f} MiB" if mib < 1000 else f"{mib / 1024:.1f} GiB").replace(" ", FIXED)


def moment(seconds: float | None) -> str:
    """A moment in UTC."""
    if seconds is None:
        return "not recorded"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _cell(text: str, known: int, jobs: int) -> Cell | str:
    """A value; of how many jobs it is, where not of all."""
    if not known:
        return UNKNOWN
    return Cell(text, below=f"of {known} of {jobs} jobs") if known < jobs else text


def _row(cost: Cost, costs: Sequence[Cost]) -> list[Cell | str]:
    walls, cpus, peaks = (len(cost.known(what)) for what in ("wall", "cpu", "memory"))
    part = measured.share(cost, costs)
    return [
        cost.rule,
        sentence(cost.stage),
        str(cost.jobs),
        _cell(duration(cost.total("wall")), walls, cost.jobs),
        UNKNOWN if part is None else "< 0.1 %" if part < 0.0005 else f"{100 * part:.1f} %",
        duration(cost.most("wall")),
        _cell(duration(cost.total("cpu")), cpus, cost.jobs),
        _cell(memory(cost.most("memory")), peaks, cost.jobs),
    ]


def _sorted(costs: Sequence[Cost]) -> list[Cost]:
    """Longest first; what was not measured last."""
    return sorted(costs, key=lambda cost: -(cost.total("wall") or 0.0))


def bars(costs: Sequence[Cost]) -> str:
    """Time of every rule as a bar, the longest job in full colour."""
    known = [cost for cost in _sorted(costs) if cost.total("wall") is not None]
    longest = max((cost.total("wall") or 0.0 for cost in known), default=0.0) or 1.0
    room = WIDTH - NAMES - VALUES
    parts, told = [], []
    for i, cost in enumerate(known):
        every, one, y = cost.total("wall") or 0.0, cost.most("wall") or 0.0, i * STEP
        name = f"{cost.rule}, external" if cost.stage == "external" else cost.rule
        told.append(f"{name} {duration(every)}")
        wide, dark = (max(room * value / longest, 1) for value in (every, one))
        parts.append(
            f'<text x="{NAMES - 10}" y="{y + 17}" text-anchor="end" style="font-size: 13px">{escape(name)}</text>'
            f'<rect x="{NAMES}" y="{y + 4}" width="{wide:.1f}" height="18" rx="2"'
            ' style="fill: var(--series-1); opacity: .38"/>'
            f'<rect x="{NAMES}" y="{y + 4}" width="{dark:.1f}" height="18" rx="2" style="fill: var(--series-1)"/>'
            f'<text x="{NAMES + wide + 8:.1f}" y="{y + 17}" style="font-size: 12px; fill: var(--muted)">'
            f"{duration(every)}</text>"
        )
    label = escape(f"Time of every rule. {'; '.join(told)}.", quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {len(known) * STEP}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def spent(page: RunPage) -> Section:
    """Time and memory by rule."""
    costs = page.costs
    blocks: list[object] = []
    lost = [cost for cost in costs if len(cost.known("wall")) < cost.jobs]
    if lost:
        n = sum(cost.jobs - len(cost.known("wall")) for cost in lost)
        blocks.append(
            Note(
                f"Of {plural(n, 'job')} no time was found ({join([cost.rule for cost in lost])}): sums and shares are"
                " those of the others. Such a file comes anew when its job runs again.",
                "care",
            )
        )
    if measured.work(costs) is None:
        return Section("cost", "What every rule cost", "No job left a measurement.", blocks)
    several = any(cost.jobs > 1 for cost in costs)
    caption = "Wall time of all jobs of a rule" + ("; in full colour: its longest job." if several else ".")
    blocks.append(Figure(bars(costs), "Time by rule", caption, WIDTH))
    head = ["Rule", "Stage", "Jobs", "Time, all jobs", "Share", "Longest job", "CPU time", "Peak memory of a job"]
    rows = [_row(cost, costs) for cost in _sorted(costs)]
    blocks.append(Table("Cost of every rule.", head, rows, frozenset(range(2, 8)), _how(page)))
    lede = "Sums over the jobs of a rule. Jobs that run side by side count each, so that a run is shorter than its sum."
    return Section("cost", "What every rule cost", lede, blocks)


def _how(page: RunPage) -> str:
    text = (
        "Time is from start to end of the process. CPU time and memory are sampled, every half second at first, later"
        " every 30 s: CPU time is a lower bound, a short peak of memory can be missed, and of a job of about half a"
        " second neither may be known. Memory is the resident set; 1 MiB is 1,048,576 bytes."
    )
    if page.unended:
        end = "ends" if len(page.unended) == 1 else "end"
        text += f" Left out: {join([f'`{name}`' for name in page.unended])}, which {end} after this page is written."
    return text


def when(page: RunPage) -> Section:
    """When it ran, and with what."""
    rows: list[list[Cell | str]] = []
    began, ended = measured.span(page.costs) or (None, None)
    rows += [["First job began", moment(began)], ["Last job ended", moment(ended)]]
    rows += _last(page)
    cores = page.start.get("cores")
    rows.append(["Cores at most", str(cores) if cores else "not recorded"])
    facts = page.manifest
    software = facts.get("created_with") or {}
    rows += [
        ["Stratiome", str(software.get("stratiome", "–"))],
        ["Snakemake", page.engine],
        ["Python", str(facts.get("python", "–"))],
        ["Platform", str(facts.get("platform", "–"))],
        ["Threads of a job", str((facts.get("config") or {}).get("threads", "–"))],
        ["Device asked for", str(facts.get("device", "–"))],
    ]
    text = (
        "A job that was up to date was not run again: what is said of it here is of its last run, so that days may lie"
        " between the first and the last. When a job began and ended is in its log, without the time that Python takes"
        " to start."
    )
    blocks: list[object] = [Table("The run.", ["What", "Value"], rows), Text(text)]
    return Section("run", "When it ran, and with what", "Times are of the last run of every job.", blocks)


def _last(page: RunPage) -> list[list[Cell | str]]:
    """The last call of the workflow: when it began and how many of the jobs it ran."""
    try:
        began = datetime.fromisoformat(page.start["started"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return [["Last call began", "not recorded"]]
    ended = [end for cost in page.costs for end in cost.known("ended")]
    jobs = sum(cost.jobs for cost in page.costs)
    rows: list[list[Cell | str]] = [["Last call began", moment(began)]]
    if len(ended) == jobs:
        now = [end for end in ended if end >= began]
        rows.append(["Jobs of the last call", f"{len(now):,} of {jobs:,}"])
        rows += [["Time from its start to the last job", duration(max(now) - began)]] if now else []
    return rows


def render(page: RunPage, templates: Path = TEMPLATES) -> str:
    """The whole page as HTML that loads nothing from outside."""
    jobs = sum(cost.jobs for cost in page.costs)
    version = str((page.manifest.get("created_with") or {}).get("stratiome", ""))
    total, cpu, peak = measured.work(page.costs), measured.work(page.costs, "cpu"), measured.peak(page.costs)
    return fill(
        templates,
        title=f"What the run cost: {page.title}",
        summary=[
            f"{plural(jobs, 'job')} of {plural(len(page.costs), 'rule')}",
            f"{duration(total)} in sum",
            f"{duration(cpu)} of CPU time",
            f"at most {memory(peak)} in a job",
        ],
        warning="",
        verdicts=[],
        sections=[spent(page), when(page)],
        simulated=False,
        min_cell=None,
        public=None,
        version=version,
        made_of=[page.title, f"Stratiome {version}", f"config {page.manifest.get('config_hash', '')}"],
    )
