"""The flow of patients as a diagram: who came in, who left and why, and who has which omic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from stratiome.report import svg
from stratiome.report.disclosure import count, is_small, part
from stratiome.report.words import label, sentence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]

WIDTH, MAIN, SIDE, GAP = 820.0, 270.0, 480.0, 34.0
LINE, PAD = 16.0, 9.0
SIDE_LETTERS = 66
"""Letters of a line of the boxes at the side."""


def diagram(
    flow: Sequence[Row],
    slug: str,
    description: str,
    min_cell: int,
    locked: tuple[str, str] | None = None,
    outcome: str = "survival",
) -> str:
    """Boxes from the clinical table to the patients with a usable outcome, those who left at the side, omics beneath.

    Parameters
    ----------
    flow
        Rows of `PatientFlow` of the cohort.
    slug, description
        Prefix of ids; text for readers who cannot see the figure.
    min_cell
        Smallest count that may be printed.
    locked
        Who is in the locked test set and who is left, in words; None without such a set.
    outcome
        What patients without a usable outcome are not used for.
    """
    main, lost, omics = _parts(merge_small(flow, min_cell), min_cell, outcome)
    if locked is not None and main:
        lost = [*lost[: len(main) - 1], [f"Locked test set, looked at once: {locked[0]}"]]
        main.append(["For everything else, with a usable outcome", locked[1]])
    heights = [_height(box) for box in main]
    between = [max(GAP, _height(side) + 16 if side else 0.0) for side in lost]
    total = sum(heights) + sum(between[: len(main) - 1]) + (GAP + _omics_height(omics) if omics else 0) + 8
    with svg.canvas(WIDTH, total) as figure:
        ax = svg.axes(figure, 0, 0, 0, 0)
        ax.set(xlim=(0, WIDTH), ylim=(total, 0))
        ax.axis("off")
        y = 4.0
        for i, box in enumerate(main):
            _box(ax, 4, y, MAIN, box, strong=True)
            y += heights[i]
            if i < len(main) - 1:
                _arrow(ax, 4 + MAIN / 2, y, 4 + MAIN / 2, y + between[i])
                if lost[i]:
                    middle = y + between[i] / 2
                    top = middle - _height(lost[i]) / 2
                    _arrow(ax, 4 + MAIN / 2, middle, 4 + MAIN + 60, middle)
                    _box(ax, 4 + MAIN + 60, top, SIDE, lost[i])
                y += between[i]
        if omics:
            _omic_boxes(ax, y + GAP, omics)
        return svg.finish(figure, slug, description, flow)


def merge_small(flow: Sequence[Row], min_cell: int) -> list[Row]:
    """Steps in which few patients left, made one with a neighbour of the same kind, so that no small count is left.

    Where the whole loss is small there is nothing to merge with, and the count is suppressed where it is printed.
    """
    merged: list[dict[str, Any]] = []
    for row in map(dict, flow):
        before = merged[-1] if merged else None
        if before is not None and (before["step"], before["scope"]) == (row["step"], row["scope"]):
            losses = [r["n_in"] - r["n_out"] for r in (before, row)]
            if all(losses) and any(is_small(n, min_cell) for n in losses):
                reason = f"{before['reason']}, or {row['reason']}"
                merged[-1] = before | {"n_out": row["n_out"], "reason": reason}
                continue
        merged.append(row)
    return list(merged)


def _parts(flow: Sequence[Row], min_cell: int, what: str) -> tuple[list[list[str]], list[list[str]], list[list[str]]]:
    """Lines of the main boxes, of who left between them, and of the omics."""
    read = [r for r in flow if r["step"] == "read" and r["scope"] == "clinical table"]
    outcome = [r for r in flow if r["step"] == "outcome"]
    main = [["In the clinical table", f"n = {count(r['n_out'], min_cell)}"] for r in read]
    lost: list[list[str]] = []
    gone = [r for r in outcome if r["n_in"] > r["n_out"]]
    if outcome:
        n = outcome[-1]["n_out"]
        left = [f"{sentence(r['reason'])}: {count(r['n_in'] - r['n_out'], min_cell)}" for r in gone]
        out = [line for text in left for line in wrap(text, SIDE_LETTERS)]
        exact = not any(is_small(r["n_in"] - r["n_out"], min_cell) for r in gone)
        said = f"n = {count(n, min_cell)}" if exact else f"n {part(n, gone[0]['n_in'], min_cell)}"
        main.append(["With a usable outcome", said])
        lost.append([f"Not used for {what}; they still teach the latent model:", *out] if out else [])
    omics = []
    for r in flow:
        if r["step"] == "read" and r["scope"] != "clinical table":
            strangers = r["n_in"] - r["n_out"]
            more = [f"{count(strangers, min_cell)} not in the clinical table"] if strangers else []
            omics.append([sentence(label(r["scope"])), f"n = {count(r['n_out'], min_cell)}", *more])
    return main, lost or [[]], omics


def _height(lines: Sequence[str]) -> float:
    return LINE * len(lines) + 2 * PAD if lines else 0.0


def _omics_height(omics: Sequence[Sequence[str]]) -> float:
    rows = -(-len(omics) // 4)
    return 22 + rows * (max(map(_height, omics)) + 10)


def _omic_boxes(ax: Axes, y: float, omics: Sequence[Sequence[str]]) -> None:
    ax.text(4, y, "Measured in patients of the clinical table", color=svg.MUTED, fontsize=11.5, va="center")
    columns = min(4, len(omics))
    width = (WIDTH - 8 - 10 * (columns - 1)) / columns if len(omics) > 2 else MAIN
    height = max(map(_height, omics))
    for i, box in enumerate(omics):
        _box(ax, 4 + (i % 4) * (width + 10), y + 14 + (i // 4) * (height + 10), width, box, height=height)


def _box(
    ax: Axes, x: float, y: float, width: float, lines: Sequence[str], strong: bool = False, height: float = 0.0
) -> None:
    from matplotlib.patches import Rectangle

    edge = svg.ACCENT if strong else svg.RULE
    size = (width, height or _height(lines))
    ax.add_patch(Rectangle((x, y), *size, facecolor="none", edgecolor=edge, linewidth=1.4 if strong else 1))
    for i, line in enumerate(lines):
        colour = svg.INK if strong or i != len(lines) - 1 or len(lines) < 3 else svg.MUTED
        ax.text(x + PAD, y + PAD + LINE * (i + 0.5), line, color=colour, fontsize=11.5, va="center")


def _arrow(ax: Axes, x: float, y: float, to_x: float, to_y: float) -> None:
    style = {"arrowstyle": "-|>", "color": svg.MUTED, "linewidth": 1, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", xy=(to_x, to_y), xytext=(x, y), arrowprops=style)
