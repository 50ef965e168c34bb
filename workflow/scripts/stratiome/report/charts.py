"""Figures that compare estimates: forests, dots, overlap and balance. Each returns an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stratiome.report import svg
from stratiome.report.words import label, term

LEGEND = 4
"""Entries of a legend in one line."""
NAMES, NUMBERS = 208.0, 200.0
"""Least width of the names and of the numbers of a forest, in pixels."""
MOST_NAMES = 300.0
"""Width of the names of a forest from which they are wrapped."""
HEADING, INDENT, APART = 4.0, 16.0, 14.0
"""Pixels before a heading and before a name of a forest, and between its columns."""
LINE = 15.5
"""Height of a line of letters, pixels."""
WORTH = 0.01
"""Net benefit below which no threshold is drawn beyond: one true positive among 100 patients."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One line of a forest. A null estimate is said, not drawn; `truth` is drawn as a diamond.

    A `summary` is a diamond as wide as its interval, `ahead` a dashed interval beside which no estimate stands.
    `row` is that of the table it was read from.
    """

    name: str
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    text: str = ""
    group: int = 1
    hollow: bool = False
    truth: float | None = None
    heading: bool = False
    summary: bool = False
    ahead: bool = False
    row: Row | None = None


def forest(
    lines: Sequence[Line],
    slug: str,
    description: str,
    xlabel: str,
    sides: tuple[str, str] = ("", ""),
    null: float = 0.0,
    log: bool = False,
    width: float = 820,
) -> str:
    """Estimates with intervals, one a line, each number beside its name so that a narrow screen shows both first.

    Parameters
    ----------
    lines
        From top to bottom.
    xlabel
        What is estimated, with its unit.
    sides
        What values left and right of `null` mean.
    null
        Value that means no difference.
    log
        Whether the axis is logarithmic.
    """
    columns = _columns(lines)
    height = columns.line * len(lines) + 82
    with svg.canvas(width, height) as figure:
        ax = svg.axes(figure, columns.names + columns.numbers, 68, 12, 14)
        for y, line in enumerate(lines):
            _forest_line(ax, y, line, columns)
        ax.axvline(null, color=svg.MUTED, linewidth=1)
        if log:
            ax.set_xscale("log")
        ax.set(ylim=(len(lines) - 0.4, -0.6), yticks=[], xlabel=xlabel)
        ax.spines["left"].set_visible(False)
        _keep_null_inside(ax, lines, null, log)
        at: dict[str, Any] = {
            "xycoords": ("data", "axes fraction"),
            "textcoords": "offset points",
            "annotation_clip": False,
            "color": svg.MUTED,
            "fontsize": svg.NOTE,
        }
        if any(sides):
            left, right = f"← {sides[0]}", f"{sides[1]} →"
            here = ax.transData.transform((null, 0))[0]
            over = max(
                0.0, here + 8 + svg.text_width(right, svg.NOTE) - width
            )  # what would be cut off at the right edge
            ax.annotate(left, (null, 0), (-8 - over, -58), ha="right", **at)
            ax.annotate(right, (null, 0), (8 - over, -58), **at)
        return svg.finish(figure, slug, description, [line.row for line in lines if line.row is not None])


def line_height(n: int) -> float:
    """Height in pixels of each of `n` lines; many are set tighter, so that they fit on part of a page."""
    return 28 if n <= 12 else 22 if n <= 24 else 20


@dataclass(frozen=True)
class _Columns:
    """Widths of the names and of the numbers of a forest, and the height of each of its lines, in pixels."""

    names: float
    numbers: float
    line: float

    def written(self, line: Line) -> str:
        """The name of a line as it fits; a heading has the room of the numbers too."""
        room = self.names + self.numbers - HEADING if line.heading else self.names - INDENT
        return svg.wrapped(line.name, room - APART)


def _columns(lines: Sequence[Line]) -> _Columns:
    """As wide as their texts need."""
    names = max((INDENT + svg.text_width(line.name) + APART for line in lines if not line.heading), default=0.0)
    numbers = max((svg.text_width(line.text) + APART for line in lines if not line.heading), default=0.0)
    found = _Columns(min(max(NAMES, names), MOST_NAMES), max(NUMBERS, numbers), line_height(len(lines)))
    most = max((found.written(line).count("\n") + 1 for line in lines), default=1)
    return replace(found, line=max(found.line, LINE * most + 5)) if most > 1 else found


def _forest_line(ax: Any, y: int, line: Line, columns: _Columns) -> None:
    side: dict[str, Any] = {
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "va": "center",
        "annotation_clip": False,
    }
    ax.annotate(
        columns.written(line),
        (0, y),
        (-columns.names - columns.numbers + (HEADING if line.heading else INDENT), 0),
        color=svg.MUTED if line.heading else svg.INK,
        **side,
    )
    if line.heading:
        return
    colour = svg.series(line.group)
    ax.annotate(line.text, (0, y), (-columns.numbers, 0), color=svg.INK, **side)
    if line.ahead:
        ax.plot([line.lower, line.upper], [y, y], color=colour, linewidth=2, linestyle=svg.DASHES[1])
    elif line.summary:
        ax.fill([line.lower, line.estimate, line.upper, line.estimate], [y, y - 0.3, y, y + 0.3], color=colour)
    elif line.estimate is not None:
        if line.lower is not None and line.upper is not None:
            ax.plot([line.lower, line.upper], [y, y], color=colour, linewidth=2)
        fill = svg.PAPER if line.hollow else colour
        ax.plot(
            [line.estimate],
            [y],
            "o" if line.group <= 0 else svg.marker(line.group),
            color=colour,
            markersize=7.5,
            markerfacecolor=fill,
            markeredgewidth=1.6,
        )
    if line.truth is not None:
        ax.plot(
            [line.truth],
            [y],
            "D",
            markersize=9,
            markerfacecolor="none",
            markeredgecolor=svg.INK,
            markeredgewidth=1.5,
            zorder=5,
        )


def _keep_null_inside(ax: Any, lines: Sequence[Line], null: float, log: bool) -> None:
    values = [v for i in lines for v in (i.estimate, i.lower, i.upper, i.truth) if v is not None] + [null]
    low, high = min(values), max(values)
    if log:
        ax.set_xlim(low / 1.15, high * 1.15)
        ticks = [t for t in (0.1, 0.2, 0.33, 0.5, 0.67, 1, 1.5, 2, 3, 5, 10) if low / 1.15 <= t <= high * 1.15]
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.minorticks_off()
        return
    pad = 0.08 * (high - low) or 0.1
    ax.set_xlim(low - pad, high + pad)
    ax.locator_params(axis="x", nbins=6)


def by_resample(
    rows: Sequence[Row],
    models: Mapping[str, int],
    slug: str,
    description: str,
    names: Mapping[str, str],
    empty: Mapping[str, str],
    measure: str = "Uno's C",
    width: float = 820,
) -> str:
    """Discrimination of each model in each resample, one line a resample.

    Parameters
    ----------
    rows
        Rows of `PrognosisResamples` of one design.
    models
        Models drawn, each with the number of its colour and marker.
    names
        Readable name of each resample.
    empty
        Resample without any estimate -> why, written in its line.
    measure
        Name of the measure.
    """
    resamples = list(dict.fromkeys(r["resample"] for r in rows))
    left = max(130.0, *(svg.text_width(names[s], 11.5) + APART for s in resamples), 0.0)
    columns = svg.key_columns([label(model) for model in models], width - left, LEGEND, 2 * svg.NOTE)
    more = 22 * ((len(models) - 1) // columns)
    with svg.canvas(width, 28 * len(resamples) + 96 + more) as figure:
        ax = svg.axes(figure, left, 52, 20, 40 + more)
        for y in range(len(resamples)):
            ax.axhline(y, color=svg.RULE, linewidth=0.8)
        for model, i in models.items():
            here = {r["resample"]: r["uno_c"] for r in rows if r["model"] == model}
            points = [(here[s], y) for y, s in enumerate(resamples) if here.get(s) is not None]
            ax.plot(
                [x for x, _ in points],
                [y for _, y in points],
                linestyle="none",
                marker=svg.marker(i),
                color=svg.series(i),
                markersize=7,
                label=label(model),
            )
        ax.axvline(0.5, color=svg.MUTED, linewidth=1, linestyle=svg.DASHES[1])
        ax.set(ylim=(len(resamples) - 0.5, -0.5), yticks=range(len(resamples)), xlabel=f"{measure} (0.5 = chance)")
        ax.set_yticklabels([names[s] for s in resamples])
        for y, s in enumerate(resamples):
            if s in empty:
                at = ax.get_yaxis_transform()
                ax.text(0.99, y - 0.18, empty[s], transform=at, ha="right", color=svg.MUTED, fontsize=11.5)
        ax.tick_params(axis="y", length=0, labelcolor=svg.INK)
        ax.spines["left"].set_visible(False)
        ax.legend(
            loc="lower left",
            bbox_to_anchor=(-0.01, 1.0),
            ncols=columns,
            frameon=False,
            fontsize=11.5,
            handletextpad=0.2,
            columnspacing=1.6,
        )
        return svg.finish(figure, slug, description, rows)


def resample_name(name: str) -> str:
    """`cv-1-3` as `Fold 3`, `site-A` as `Site A`, `given-1` as `Split 1`."""
    kind, _, rest = name.partition("-")
    if kind == "cv":
        repeat, _, fold = rest.partition("-")
        return f"Fold {fold}" if repeat == "1" else f"Fold {fold}, repeat {repeat}"
    known = {"site": f"Site {rest.removeprefix('site_')}", "given": f"Split {rest}"}
    return known.get(kind) or name.capitalize()


def propensity_overlap(
    rows: Sequence[Row], slug: str, description: str, min_cell: int, arms: tuple[str, str], width: float = 820
) -> str:
    """Histogram of the probability of treatment, treated upward and untreated downward, each as shares of its arm.

    Parameters
    ----------
    rows
        Rows of `TreatmentOverlap`. Bins of fewer than `min_cell` patients are drawn pale at half that height.
    arms
        Labels of untreated and treated.
    """
    sizes = {arm: sum(r["n"] for r in rows if r["arm"] == arm) for arm in (0, 1)}
    heights: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
    with svg.canvas(width, 300) as figure:
        ax = svg.axes(figure, 66, 48, 14, 12)
        for r in rows:
            small = 0 < r["n"] < min_cell
            share = (min_cell / 2 if small else r["n"]) / max(sizes[r["arm"]], 1)
            drawn = share * (1 if r["arm"] == 1 else -1)
            heights[r["arm"]].append((r["bin_lower"], share))
            ax.bar(
                r["bin_lower"],
                drawn,
                width=r["bin_upper"] - r["bin_lower"],
                align="edge",
                color=svg.series(2 if r["arm"] else 1),
                alpha=0.35 if small else 0.85,
                edgecolor=svg.PAPER,
                linewidth=0.8,
            )
        ax.axhline(0, color=svg.MUTED, linewidth=1)
        low, high = ax.get_ylim()
        ax.set(
            xlim=(0, 1),
            ylim=(low * 1.15, high * 1.15),
            xlabel="Probability of treatment given the confounders",
            ylabel="Share of the arm",
        )
        ax.yaxis.set_major_formatter(lambda v, _: f"{100 * abs(v):.0f} %")
        for arm, y in ((0, 0.04), (1, 0.93)):
            left = _emptier(heights[arm])
            at = (0.01 if left else 0.99, y)
            side = "left" if left else "right"
            ax.annotate(arms[arm], at, xycoords="axes fraction", ha=side, color=svg.series(arm + 1), fontsize=11.5)
        return svg.finish(figure, slug, description, rows)


def _emptier(bars: Sequence[tuple[float, float]]) -> bool:
    """Whether bars, each its place from 0 to 1 and its height, are lower at the left end than at the right."""
    ends = [max((height for at, height in bars if low <= at < high), default=0.0) for low, high in ((0, 0.3), (0.7, 1))]
    return ends[0] < ends[1]


def love(rows: Sequence[Row], slug: str, description: str, width: float = 820) -> str:
    """Absolute standardised mean differences of the confounders before (hollow) and after weighting (filled).

    Parameters
    ----------
    rows
        Rows of `TreatmentBalance` of all patients (subgroup 0).
    """
    rows = sorted(rows, key=lambda r: (-abs(r["crude"]), r["covariate"]))
    names = [term(r["covariate"]) for r in rows]
    with svg.canvas(width, line_height(len(rows)) * max(len(rows), 1) + 58) as figure:
        ax = svg.axes(figure, max(NAMES, *(svg.text_width(name, 11.5) + INDENT for name in names), 0.0), 50, 16, 8)
        for y, r in enumerate(rows):
            ax.plot([abs(r["weighted"]), abs(r["crude"])], [y, y], color=svg.RULE, linewidth=1.4)
        ax.plot(
            [abs(r["crude"]) for r in rows],
            range(len(rows)),
            "o",
            markersize=7.5,
            markerfacecolor=svg.PAPER,
            markeredgecolor=svg.SERIES[1],
            markeredgewidth=1.6,
        )
        ax.plot(
            [abs(r["weighted"]) for r in rows],
            range(len(rows)),
            "o",
            markersize=7.5,
            color=svg.ACCENT,
            clip_on=False,
            zorder=4,
        )
        ax.axvline(0.1, color=svg.MUTED, linewidth=1, linestyle=svg.DASHES[1])
        ax.set(ylim=(len(rows) - 0.5, -0.5), yticks=range(len(rows)), xlabel="Absolute standardised mean difference")
        ax.set_xlim(left=0)
        ax.set_yticklabels(names)
        ax.tick_params(axis="y", length=0, labelcolor=svg.INK, pad=10)
        ax.spines["left"].set_visible(False)
        return svg.finish(figure, slug, description, rows)


def decision(
    rows: Sequence[Row], colours: Mapping[str, int], everybody: str, slug: str, description: str, width: float = 820
) -> str:
    """Net benefit against the threshold, a line for each model and for acting on all.

    Parameters
    ----------
    rows
        Rows of `PrognosisDecisions` of one horizon, without differences.
    colours
        Model -> number of its colour and line.
    everybody
        Name of the rows of acting on all.
    """
    names = {m: m.capitalize() if m == everybody else label(m) for m in dict.fromkeys(r["model"] for r in rows)}
    columns = svg.key_columns(list(names.values()), width - 60, LEGEND)
    more = 22 * ((len(names) - 1) // columns)
    with svg.canvas(width, 260 + more) as figure:
        ax = svg.axes(figure, 66, 48, 20, 34 + more)
        ax.axhline(0, color=svg.MUTED, linewidth=1)
        for model, name in names.items():
            line = sorted((r["threshold"], r["estimate"]) for r in rows if r["model"] == model)
            group = colours.get(model, 0)
            colour, thickness = (svg.series(group), 2.0) if group else (svg.MUTED, 1.4)
            ax.plot(*zip(*line, strict=True), linestyle=svg.dash(group), label=name, color=colour, linewidth=thickness)
        span, height = decision_ends(rows, everybody)
        ax.set(
            xlim=span,
            ylim=height,
            xlabel="Threshold: predicted risk from which one acts",
            ylabel="Net benefit",
        )
        ax.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=columns, **svg.KEY)
        return svg.finish(figure, slug, description, rows)


def decision_ends(rows: Sequence[Row], everybody: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """First and last threshold and net benefit of decision curves; parameters as of `decision`.

    The last threshold stands a little beyond those at which a model is `WORTH` anything.
    """
    most = max(0.04, *(r["estimate"] for r in rows))
    models = [r for r in rows if r["model"] != everybody]
    last = max((r["threshold"] for r in models), default=1.0)
    useful = max((r["threshold"] for r in models if r["estimate"] >= WORTH), default=last)
    return (0.0, min(last, 1.05 * useful)), (-most / 4, 1.1 * most)


def targeting(
    rows: Sequence[Row], slug: str, description: str, unit: str = "months", scale: float = 1.0, width: float = 820
) -> str:
    """Effect among the patients of largest predicted effect, less that in all, with its band.

    Parameters
    ----------
    rows
        Rows of `TreatmentTargeting` of one treatment and learner, by rising share.
    unit, scale
        Unit of what is drawn, and the factor to it.
    """
    with svg.canvas(width, 260) as figure:
        ax = svg.axes(figure, 66, 48, 20, 20)
        ax.axhline(0, color=svg.MUTED, linewidth=1)
        share = [r["share"] for r in rows]
        band = ([scale * r["lower"] for r in rows], [scale * r["upper"] for r in rows])
        ax.fill_between(share, *band, color=svg.series(1), alpha=0.25, linewidth=0)
        ax.plot(share, [scale * r["estimate"] for r in rows], color=svg.series(1), linewidth=2)
        more = f"{unit[:1].upper()}{unit[1:]} more than all"
        ax.set(xlim=(0, 1), xlabel="Share of patients, largest predicted effect first", ylabel=more)
        ax.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        return svg.finish(figure, slug, description, rows)


def bands(rows: Sequence[Row], group: int, slug: str, description: str, width: float = 276) -> str:
    """Range of predictions by models learned in bootstrap samples against the prediction itself, groups of patients.

    Parameters
    ----------
    rows
        Rows of `PrognosisBands` of one model and horizon, by rising prediction.
    """
    with svg.canvas(width, width) as figure:
        ax = svg.axes(figure, 66, 46, 24, 12)
        ax.plot([0, 1], [0, 1], color=svg.MUTED, linewidth=1, linestyle=svg.DASHES[1])
        at = [r["predicted"] for r in rows]
        lower, upper = [r["lower"] for r in rows], [r["upper"] for r in rows]
        ax.fill_between(at, lower, upper, color=svg.series(group), alpha=0.3, linewidth=0)
        for x, low, high in zip(at, lower, upper, strict=True):
            ax.plot([x, x], [low, high], color=svg.series(group), linewidth=1.5)
        top = min(1.0, 1.05 * max([0.2, *upper]))
        ticks = [t / 10 for t in range(0, 11, 2 if top > 0.5 else 1) if t / 10 <= top]
        ax.set(xlim=(0, top), ylim=(0, top), xticks=ticks, yticks=ticks, xlabel="Predicted risk", ylabel="Learned anew")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        return svg.finish(figure, slug, description, rows)
