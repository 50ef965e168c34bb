"""Pictures drawn by hand as SVG, so that they stay small and can be explored without a script: map and consensus.

Every mark carries a hover text that says its subgroup and nothing else. Choosing a subgroup dims the others, by style
alone (see `.explorer` in the style sheet).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import polars as pl

from stratiome.report import maps_paper, svg
from stratiome.report.disclosure import is_small

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]

SHAPES = (
    "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0",
    "m-1.8-1.8h3.6v3.6h-3.6z",
    "m0-2.4l2.2 3.9h-4.4z",
    "m0-2.5l2.5 2.5l-2.5 2.5l-2.5-2.5z",
    "m0 2.4l2.2-3.9h-4.4z",
    "m-.8-2.4h1.6v1.6h1.6v1.6h-1.6v1.6h-1.6v-1.6h-1.6v-1.6h1.6z",
    "m-2.6-.8h5.2v1.6h-5.2z",
    "m-.8-2.6h1.6v5.2h-1.6z",
)
"""Marks of subgroups 1, 2, ... as paths around a point; as with colours they repeat."""
DOT = "m-1.4 0a1.4 1.4 0 1 0 2.8 0a1.4 1.4 0 1 0-2.8 0"
LEVELS = ((0.9, 1.0), (0.75, 0.75), (0.5, 0.5), (0.25, 0.28), (0.1, 0.12))
"""Lower ends of the classes of the consensus, and the opacity of each."""


def colour(group: int) -> str:
    """Style variable of a subgroup; 0 is unassigned."""
    return "grey" if group <= 0 else f"series-{(group - 1) % 8 + 1}"


def latent_map(
    rows: pl.DataFrame,
    colour_by: str,
    description: str,
    min_cell: int,
    most: int,
    explored: bool = True,
    size: int = 276,
) -> svg.Drawn:
    """Map of the latent space, one mark a patient, without identifiers and with coordinates of a tenth of a pixel.

    Parameters
    ----------
    rows
        Rows of `LatentMap` of one model and projection, in random order.
    colour_by
        `subgroup` or `planted`.
    description
        What a reader who cannot see it is told.
    min_cell
        Groups of fewer patients are drawn as unassigned.
    most
        Marks drawn at most.
    explored
        Whether its groups are those that the reader singles out.
    """
    sizes = Counter(rows[colour_by].to_list())
    rows = rows.head(most)
    xs, ys = rows["x"].to_list(), rows["y"].to_list()
    span = max(max(xs) - min(xs), max(ys) - min(ys), 1e-9)
    scale = (size - 16) / span
    left, top = (size - scale * (max(xs) - min(xs))) / 2, (size - scale * (max(ys) - min(ys))) / 2
    paths: dict[int, list[str]] = {}
    points = []
    for x, y, given in zip(xs, ys, rows[colour_by].to_list(), strict=True):
        group = 0 if given is None or is_small(sizes[given], min_cell) else given
        mark = SHAPES[(group - 1) % len(SHAPES)] if group else DOT
        at = left + scale * (x - min(xs)), top + scale * (max(ys) - y)
        paths.setdefault(group, []).append(f"M{at[0]:.1f} {at[1]:.1f}{mark}")
        points.append((*at, group))
    what = "Subgroup" if colour_by == "subgroup" else "Planted subgroup"
    dots = "dots" if explored else "known"
    drawn = "".join(
        f'<path class="{dots} g{group}" style="fill: var(--{colour(group)})" d="{"".join(marks)}">'
        f"{_hover(what, group, sizes)}</path>"
        for group, marks in sorted(paths.items())
    )
    frame = f'<rect x=".5" y=".5" width="{size - 1}" height="{size - 1}" style="fill: none; stroke: var(--rule)"/>'
    text = f'<svg viewBox="0 0 {size} {size}" role="img" aria-label="{escape(description)}">{frame}{drawn}</svg>'
    return _printable(text, maps_paper.latent_map(points, size), "map", _placed(rows, colour_by, points))


def _placed(rows: pl.DataFrame, colour_by: str, points: Sequence[tuple[float, float, int]]) -> list[dict[str, Any]]:
    """The marks as rows: coordinates of two decimals and the group that is shown, without identifiers."""
    given = rows.select("model", "projection", "x", "y").to_dicts()
    return [
        {**row, "x": round(row["x"], 2), "y": round(row["y"], 2), colour_by: group or None}
        for row, (_, _, group) in zip(given, points, strict=True)
    ]


def _printable(text: str, figure: Figure, slug: str, rows: Sequence[Row]) -> svg.Drawn:
    """A picture with the figure that is printed in its place."""
    with svg.style():
        return svg.Drawn(text, figure, rows, svg.finish(figure, slug, ""))


def _hover(what: str, group: int, sizes: Mapping[int, int]) -> str:
    if group and sum(bool(g) for g in sizes) < 2:
        return ""  # one group has no name
    return f"<title>{f'{what} {group}' if group else 'Unassigned'}</title>"


def consensus(rows: Sequence[Row], description: str, min_cell: int, size: int = 420) -> svg.Drawn:
    """Heat map of how often patients are put together, bins of patients along both sides.

    Parameters
    ----------
    rows
        Rows of `SubgroupConsensus` of one model.
    description
        What a reader who cannot see it is told.
    min_cell
        Bins of fewer patients are left blank.
    """
    subgroup = {r["row"]: r["row_subgroup"] for r in rows}
    bins = sorted(subgroup)
    value = {(r["row"], r["column"]): r["share"] for r in rows if not _small(r, min_cell)}
    value |= {(j, i): v for (i, j), v in value.items()}
    label = 76.0
    step = (size - label) / max(len(bins), 1)
    cells = _classes(bins, value)
    paths = {least: "".join(f"M{x} {y}h{end - x}v1h{x - end}z" for y, x, end in runs) for least, runs in cells.items()}
    drawn = "".join(
        f'<path style="fill: var(--accent); fill-opacity: {opacity}" d="{paths[least]}">'
        f"<title>{_class_name(least)}</title></path>"
        for least, opacity in LEVELS
        if paths[least]
    )
    edges = [i for i in range(1, len(bins)) if subgroup[bins[i]] != subgroup[bins[i - 1]]]
    lines = "".join(f"M0 {e}h{len(bins)}M{e} 0v{len(bins)}" for e in (0, *edges, len(bins)))
    drawn += (
        f'<path d="{lines}" style="fill: none; stroke: var(--muted); stroke-width: 1" '
        'vector-effect="non-scaling-stroke"/>'
    )
    names = ""
    blocks = [(subgroup[bins[a]], a, b) for a, b in zip((0, *edges), (*edges, len(bins)), strict=True)]
    for group, start, end in blocks:
        middle = (start + end) / 2 * step
        names += (
            f'<rect x="{label - 7:.1f}" y="{start * step + 1:.1f}" width="4" height="{(end - start) * step - 2:.1f}" '
            f'style="fill: var(--{colour(group)})"/>'
            f'<text x="{label - 12:.1f}" y="{middle + 4:.1f}" text-anchor="end" font-size="11.5">Group {group}</text>'
        )
    body = f'{names}<g transform="translate({label:g} 0) scale({step:.4f})">{drawn}</g>'
    height = size - label + 1
    text = f'<svg viewBox="0 -1 {size} {height + 1:g}" role="img" aria-label="{escape(description)}">{body}</svg>'
    figure = maps_paper.consensus({opacity: cells[least] for least, opacity in LEVELS}, blocks)
    return _printable(text, figure, "consensus", [r for r in rows if not _small(r, min_cell)])


def _small(row: Row, min_cell: int) -> bool:
    return row["share"] is None or is_small(row["n_row"], min_cell) or is_small(row["n_column"], min_cell)


def _classes(bins: Sequence[int], value: Mapping[tuple[int, int], float]) -> dict[float, list[tuple[int, int, int]]]:
    """Runs of cells of each class: row, first column, end; the class below the last is left blank."""
    runs: dict[float, list[tuple[int, int, int]]] = {least: [] for least, _ in LEVELS}
    for y, i in enumerate(bins):
        x = 0
        while x < len(bins):
            own = _level(value.get((i, bins[x])))
            end = x + 1
            while end < len(bins) and _level(value.get((i, bins[end]))) == own:
                end += 1
            if own is not None:
                runs[own].append((y, x, end))
            x = end
    return runs


def _level(share: float | None) -> float | None:
    return None if share is None else next((least for least, _ in LEVELS if share >= least), None)


def _class_name(least: float) -> str:
    above = next((other for other, _ in reversed(LEVELS) if other > least), 1.0)
    return f"Put together in {100 * least:.0f} to {100 * above:.0f} % of the refits"


def glance(curves: Mapping[int, Sequence[Row]], group: int, min_cell: int, description: str) -> str:
    """Survival of one subgroup before the others in grey, small and without axes but for the ends.

    Parameters
    ----------
    curves
        Subgroup -> rows of `SubgroupCurves`, by time.
    group
        The one that is coloured.
    min_cell
        A curve ends where fewer patients than this are at risk.
    """
    last = max((r["time_months"] for rows in curves.values() for r in rows), default=1.0) or 1.0
    width, height = 210.0, 74.0

    def path(rows: Sequence[Row]) -> str:
        shown = [r for r in rows if r["at_risk"] >= min_cell]
        points = [(width * r["time_months"] / last, 2 + (height - 4) * (1 - r["survival"])) for r in shown]
        return f"M0 2{''.join(f'H{x:.1f}V{y:.1f}' for x, y in points)}" if points else ""

    ordered = [g for g in curves if g != group] + [group] * (group in curves)
    lines = "".join(
        f'<path d="{path(curves[g])}" style="fill: none; stroke: var(--{colour(g) if g == group else "grey"}); '
        f'stroke-width: {2.2 if g == group else 1}; stroke-opacity: {1 if g == group else 0.5}"/>'
        for g in ordered
    )
    frame = f'<path d="M0 0V{height}H{width}" style="fill: none; stroke: var(--rule)"/>'
    ends = (
        f'<text x="{width}" y="{height + 12}" text-anchor="end" font-size="10" style="fill: var(--muted)">'
        f"{last:.0f} months</text>"
        f'<text x="4" y="{height - 5}" font-size="10" style="fill: var(--muted)">survival, 0 to 100 %</text>'
    )
    return (
        f'<svg viewBox="-1 0 {width + 2:g} {height + 15:g}" role="img" aria-label="{escape(description)}">'
        f"{frame}{lines}{ends}</svg>"
    )
