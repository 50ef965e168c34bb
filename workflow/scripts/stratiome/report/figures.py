"""Figures of the cohort, the subgroups and survival. Each takes rows of a table and returns an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from stratiome.report import svg
from stratiome.report.disclosure import about, count, is_small
from stratiome.report.traced import origin
from stratiome.report.words import label, months

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]
MOST_POINTS = 2000
"""Points drawn per map, so that the page stays under the 1.5 MB that a single-file Snakemake report can show.

Rows of the map are in random order, so the first are a random sample."""


SWATCH = (4.0, 4.0 + svg.SWATCH)
NAME = SWATCH[1] + 6
"""Where the line of a group begins and ends, and its name begins, left of its numbers at risk."""


def month_ticks(last: float) -> list[float]:
    """Ticks of a time axis at whole years or halves of one, at most seven of them."""
    step = next((s for s in (3, 6, 12, 24, 36, 60, 120, 240) if last / s <= 6.01), 480)
    return [float(step * i) for i in range(int(last // step) + 1)]


def curves(
    groups: Sequence[tuple[str, int, Sequence[Row]]],
    slug: str,
    description: str,
    min_cell: int,
    width: float = 820,
    plot_height: float = 320,
    initial: Sequence[str] = (),
) -> str:
    """Survival curves with pointwise bands and the numbers at risk beneath, which also serve as the legend.

    Parameters
    ----------
    groups
        Label, number that fixes colour and line style, and rows with `time_months`, `survival`, `lower`, `upper`,
        `at_risk`, by time.
    slug, description
        Prefix of ids; text for readers who cannot see the figure.
    min_cell
        A curve ends where fewer patients than this are at risk.
    width, plot_height
        Natural size in pixels; the numbers at risk are added beneath.
    initial
        What is printed for the number at risk at time zero of each group, where a table blurs its size.
    """
    left, row_height = _margin(groups), 19.0
    bottom = 70 + row_height * len(groups)
    last = max((r["time_months"] for _, _, rows in groups for r in rows), default=1.0)
    ticks = month_ticks(last)
    with svg.canvas(width, plot_height + bottom + 12) as figure:
        ax = svg.axes(figure, left, bottom, 18, 12)
        for _, group, rows in groups:
            _curve(ax, group, [r for r in rows if r["at_risk"] >= min_cell])
        ax.set(xlim=(0, last), ylim=(0, 1.02), yticks=[0, 0.25, 0.5, 0.75, 1], xticks=ticks)
        ax.set_yticklabels(["0 %", "25 %", "50 %", "75 %", "100 %"])
        ax.set_xlabel("Months from time zero", labelpad=3)
        ax.set_ylabel("Survival")
        ax.grid(axis="y", color=svg.RULE, linewidth=0.7)
        ax.set_axisbelow(True)
        _at_risk(ax, groups, ticks, min_cell, left, row_height, initial)
        shown = [[r for r in rows if r["at_risk"] >= min_cell] for _, _, rows in groups]
        origins = [o for rows in shown if rows and (o := origin(rows[0]["survival"]))]
        return svg.finish(figure, slug, description, [r for rows in shown for r in rows], " ".join(origins))


def _margin(groups: Sequence[tuple[str, int, Sequence[Row]]]) -> float:
    """Pixels left of survival curves: line, name and half a number at risk."""
    names = max((svg.text_width(name, svg.NOTE) for name, _, _ in groups), default=0.0)
    return max(132.0, NAME + names + svg.text_width("10,000", svg.NOTE) / 2 + 6)


def proportions(
    groups: Sequence[tuple[str, int, Sequence[Row]]],
    slug: str,
    description: str,
    min_cell: int,
    width: float = 820,
) -> str:
    """Share of each group with a response, a bar with its interval and its numbers.

    Parameters
    ----------
    groups
        As of `curves`; the last row of each holds the share, its interval and the number with a response.
    slug, description
        Prefix of ids; text for readers who cannot see the figure.
    min_cell
        No bar is drawn of a group in which fewer patients than this have a response, or have none.
    width
        Natural size in pixels.
    """
    with svg.canvas(width, 44 * len(groups) + 68) as figure:
        shares = [share_of(rows, min_cell)[1] for _, _, rows in groups]
        left = max(96.0, *(svg.text_width(name) + 14 for name, _, _ in groups), 0.0)
        ax = svg.axes(figure, left, 52, max(132.0, *(svg.text_width(share) + 18 for share in shares), 0.0), 12)
        for y, (name, group, rows) in enumerate(groups):
            at: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
            ax.annotate(name, (0, y), (4 - left, 0), color=svg.INK, annotation_clip=False, **at)
            few, share = share_of(rows, min_cell)
            ax.annotate(share, (1, y), (14, 0), color=svg.INK, annotation_clip=False, **at)
            if few:
                continue
            last = rows[-1]
            ax.barh(y, last["survival"], height=0.5, color=svg.series(group), alpha=0.55)
            ax.plot([last["lower"], last["upper"]], [y, y], color=svg.INK, linewidth=1.6)
        ax.set(xlim=(0, 1), ylim=(len(groups) - 0.5, -0.5), yticks=[], xticks=[0, 0.5, 1])
        ax.set_xticklabels(["0 %", "50 %", "100 %"])
        ax.set_xlabel("Patients with a response", labelpad=3)
        return svg.finish(figure, slug, description, [r for _, _, rows in groups for r in rows])


def share_of(rows: Sequence[Row], min_cell: int) -> tuple[bool, str]:
    """Whether too few of a group have a response or have none to tell their share, and that or the share in words."""
    if not rows:
        return True, "nobody"
    responded = rows[-1]["at_risk"]
    if responded < min_cell:
        return True, f"<{min_cell} responded"
    if rows[0]["at_risk"] - responded < min_cell:
        return True, f"<{min_cell} did not respond"
    value, low, high = (100 * rows[-1][k] for k in ("survival", "lower", "upper"))
    return False, f"{value:.0f} % ({low:.0f} to {high:.0f})"


def describe_shares(groups: Sequence[tuple[str, int, Sequence[Row]]], min_cell: int) -> str:
    """What a reader who cannot see the bars is told."""
    said = [f"{name} {share_of(rows, min_cell)[1]}" for name, _, rows in groups]
    return f"Patients with a response: {', '.join(said)}."


def _curve(ax: Axes, group: int, rows: Sequence[Row]) -> None:
    if not rows:
        return
    time = [r["time_months"] for r in rows]
    ax.fill_between(
        time,
        [r["lower"] for r in rows],
        [r["upper"] for r in rows],
        step="post",
        color=svg.series(group),
        alpha=0.14,
        linewidth=0,
    )
    ax.plot(
        time,
        [r["survival"] for r in rows],
        drawstyle="steps-post",
        color=svg.series(group),
        linestyle=svg.dash(group),
        linewidth=svg.LINE,
    )


def _at_risk(
    ax: Axes,
    groups: Sequence[tuple[str, int, Sequence[Row]]],
    ticks: Sequence[float],
    min_cell: int,
    left: float,
    step: float,
    initial: Sequence[str],
) -> None:
    place: dict[str, Any] = {
        "xycoords": ("data", "axes fraction"),
        "textcoords": "offset points",
        "annotation_clip": False,
    }
    ax.annotate("At risk", (0, 0), (-left + SWATCH[0], -50), color=svg.MUTED, fontsize=svg.NOTE, **place)
    for i, (name, group, rows) in enumerate(groups):
        y = -50 - step * (i + 1)
        line = ax.annotate(
            "",
            xy=(-left + SWATCH[0], y + 4),
            xytext=(-left + SWATCH[1], y + 4),
            xycoords=("axes points", "axes points"),
            textcoords=("axes points", "axes points"),
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": svg.series(group),
                "linewidth": svg.LINE,
                "linestyle": svg.dash(group),
                "capstyle": "butt",
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
        line.set_in_layout(False)
        ax.annotate(name, (0, 0), (-left + NAME, y), color=svg.INK, fontsize=svg.NOTE, **place)
        for tick in ticks:
            text = initial[i] if initial and tick == 0 else count(risk_at(rows, tick), min_cell)
            ax.annotate(text, (tick, 0), (0, y), ha="center", color=svg.INK, fontsize=svg.NOTE, **place)


def risk_at(rows: Sequence[Row], tick: float) -> int | None:
    """Number at risk at a time; nobody is after the last follow-up, where the rows of a curve end."""
    here = [r["at_risk"] for r in rows if r["time_months"] <= tick + 1e-9]
    step = max((b["time_months"] - a["time_months"] for a, b in pairwise(rows)), default=0.0)
    if rows and tick > rows[-1]["time_months"] + step:
        return 0
    return here[-1] if here else None


def evidence(rows: Sequence[Row], slug: str, description: str, width: float = 410) -> str:
    """Stability of each number of subgroups beside what cohorts without subgroups give.

    Parameters
    ----------
    rows
        Rows of `SubgroupSelection` of one resample and model.
    """
    tested = sorted((r for r in rows if r["k"] > 1 and r["stability"] is not None), key=lambda r: r["k"])
    with svg.canvas(width, 270) as figure:
        ax = svg.axes(figure, 56, 46, 12, 14)
        ks = [r["k"] for r in tested]
        known = [r for r in tested if r["null_mean"] is not None and r["null_upper"] is not None]
        ax.fill_between(
            [r["k"] for r in known],
            [r["null_mean"] for r in known],
            [r["null_upper"] for r in known],
            color=svg.GREY,
            alpha=0.3,
            linewidth=0,
        )
        ax.plot(
            [r["k"] for r in known],
            [r["null_mean"] for r in known],
            color=svg.GREY,
            linewidth=1.4,
            linestyle=svg.DASHES[1],
        )
        ax.plot(ks, [r["stability"] for r in tested], color=svg.ACCENT, linewidth=2, marker="o", markersize=5)
        for r in tested:
            if r["chosen"]:
                ax.plot(
                    [r["k"]],
                    [r["stability"]],
                    "o",
                    markersize=12,
                    markerfacecolor="none",
                    markeredgecolor=svg.ACCENT,
                    markeredgewidth=1.6,
                )
        ax.set(
            ylim=(0, 1.04),
            xticks=ks or [2],
            yticks=[0, 0.25, 0.5, 0.75, 1],
            xlabel="Number of subgroups, K",
            ylabel="Stability (ARI)",
        )
        if ks:
            ax.set_xlim(ks[0] - 0.4, ks[-1] + 0.4)
        ax.grid(axis="y", color=svg.RULE, linewidth=0.7)
        return svg.finish(figure, slug, description, tested)


def omic_overlap(rows: Sequence[Row], slug: str, description: str, min_cell: int, most: int = 12) -> str:
    """Patients by the set of omics that they have: a dot for each omic of the set, and a bar.

    Parameters
    ----------
    rows
        Rows of `OmicOverlap`.
    most
        Sets drawn, from the most frequent.
    """
    rows = sorted(rows, key=lambda r: (-r["n"], r["omics"]))
    sizes = [r["n"] for r in rows]
    # Who has which omic is told elsewhere: with these totals several small sets could be had by subtraction too.
    small = any(is_small(n, min_cell) for n in sizes)
    text = [about(n, min_cell) if small and n >= min_cell else count(n, min_cell) for n in sizes][:most]
    rows = rows[:most]
    sets = [() if r["omics"] == "none" else tuple(r["omics"].split(" + ")) for r in rows]
    names = list(dict.fromkeys(name for members in sets for name in members))
    column, width = 92.0, 820.0
    left = column * max(len(names), 1)
    with svg.canvas(width, 36 + 25 * len(rows)) as figure:
        ax = svg.axes(figure, 0, 4, 0, 32)
        ax.set(xlim=(0, width), ylim=(len(rows) - 0.5, -0.5))
        ax.axis("off")
        largest = max([*(r["n"] for r in rows), 1])
        for i, (row, members) in enumerate(zip(rows, sets, strict=True)):
            inside = [column * (j + 0.5) for j, name in enumerate(names) if name in members]
            ax.plot(inside, [i] * len(inside), "-", color=svg.ACCENT, linewidth=2, zorder=1)
            ax.plot(
                [column * (j + 0.5) for j in range(len(names))],
                [i] * len(names),
                "o",
                color=svg.RULE,
                markersize=8,
                zorder=2,
            )
            ax.plot(inside, [i] * len(inside), "o", color=svg.ACCENT, markersize=8, zorder=3)
            drawn = row["n"] if row["n"] >= min_cell else min_cell / 2 * (row["n"] > 0)
            length = (width - left - 80) * drawn / largest
            ax.barh(i, length, left=left + 12, height=0.62, color=svg.ACCENT, alpha=0.8)
            ax.annotate(text[i], (left + 12 + length, i), (6, 0), textcoords="offset points", va="center")
        for j, name in enumerate(names):
            ax.annotate(
                label(name),
                (column * (j + 0.5), -0.5),
                (0, 8),
                textcoords="offset points",
                ha="center",
                color=svg.MUTED,
                fontsize=11.5,
                annotation_clip=False,
            )
        ax.annotate(
            "Patients",
            (left + 12, -0.5),
            (0, 8),
            textcoords="offset points",
            color=svg.MUTED,
            fontsize=11.5,
            annotation_clip=False,
        )
        return svg.finish(figure, slug, description, rows)


def history(rows: Sequence[Row], slug: str, description: str, width: float = 820) -> str:
    """Training (dashed) and validation (solid) loss of each member of the ensemble.

    Parameters
    ----------
    rows
        Rows of `TrainingHistory`.
    """
    members = sorted({r["member"] for r in rows})
    with svg.canvas(width, 270) as figure:
        ax = svg.axes(figure, 60, 48, 14, 12)
        for m in members:
            here = sorted((r for r in rows if r["member"] == m), key=lambda r: r["epoch"])
            epoch = [r["epoch"] for r in here]
            ax.plot(epoch, [r["train_loss"] for r in here], color=svg.GREY, linewidth=1, linestyle=svg.DASHES[1])
            ax.plot(epoch, [r["validation_loss"] for r in here], color=svg.series(m + 1), linewidth=1.4)
        ax.set(xlabel="Epoch", ylabel="Loss")
        ax.grid(axis="y", color=svg.RULE, linewidth=0.7)
        return svg.finish(figure, slug, description, rows)


def markers(rows: Sequence[Row], group: int, slug: str, description: str, most: int = 10, width: float = 400) -> str:
    """The features of a subgroup that differ most from all others, in standard deviations.

    Parameters
    ----------
    rows
        Rows of `SubgroupMarkers` of one subgroup.
    """
    top = sorted(rows, key=lambda r: (-abs(r["effect"]), r["omic"], r["feature"]))[:most]
    with svg.canvas(width, 50 + 23 * max(len(top), 1)) as figure:
        ax = svg.axes(figure, 196, 44, 12, 6)
        effects = [r["effect"] for r in top]
        ax.hlines(range(len(top)), 0, effects, color=svg.series(group), linewidth=1.6)
        ax.plot(effects, range(len(top)), svg.marker(group), color=svg.series(group), markersize=6)
        ax.axvline(0, color=svg.MUTED, linewidth=1)
        ax.set(ylim=(len(top) - 0.5, -0.5), yticks=range(len(top)), xlabel="Standardised difference")
        ax.set_yticklabels([_short(r["feature"], r["omic"]) for r in top])
        ax.tick_params(axis="y", length=0, labelcolor=svg.INK)
        ax.margins(x=0.12)
        ax.spines["left"].set_visible(False)
        return svg.finish(figure, slug, description, top)


def _short(feature: str, omic: str, most: int = 26) -> str:
    text = feature if omic.lower() in feature.lower() else f"{feature} ({label(omic)})"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def describe_curves(groups: Sequence[tuple[str, int, Sequence[Row]]], horizon: float) -> str:
    """What a reader who cannot see the curves is told: survival of each group at the horizon."""
    said = []
    for name, _, rows in groups:
        here = [r for r in rows if r["time_months"] <= horizon + 1e-9]
        if here and max(r["time_months"] for r in rows) >= horizon - 1e-9:
            said.append(f"{name} {100 * here[-1]['survival']:.0f} %")
        elif here:
            said.append(f"{name} not followed so long")
    return f"Survival at {months(horizon)} months: {', '.join(said) or 'none drawn'}."
