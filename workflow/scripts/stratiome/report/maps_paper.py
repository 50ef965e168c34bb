"""Map and consensus as they are printed: drawn by matplotlib, with a legend in the place of what a page explores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stratiome.report import svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEGEND, LINE = 3, 17.0
"""Entries of a legend in one line, and the height of a line."""


def latent_map(points: Sequence[tuple[float, float, int]], size: int) -> Figure:
    """Patients as marks of their group in a square frame, the groups beneath.

    Parameters
    ----------
    points
        Place from the upper left corner in pixels, and group; 0 is unassigned.
    size
        Side of the frame in pixels.
    """
    sizes = Counter(group for _, _, group in points)
    groups = sorted(sizes, key=lambda g: (g == 0, g))
    beneath = 10 + LINE * -(-len(groups) // LEGEND)
    with svg.canvas(size, size + beneath) as figure:
        ax = svg.axes(figure, 1, beneath, 1, 1)
        for group in groups:
            own = [(x, y) for x, y, g in points if g == group]
            ax.plot(
                [x for x, _ in own],
                [y for _, y in own],
                svg.marker(group),
                color=svg.series(group),
                markersize=4,
                markeredgewidth=0,
                alpha=0.72,
                label=f"Subgroup {group}" if group else "Unassigned",
            )
        ax.set(xlim=(0, size), ylim=(size, 0), xticks=[], yticks=[])
        ax.spines[["top", "right"]].set_visible(True)
        ax.legend(
            loc="upper left",
            bbox_to_anchor=(-0.02, -0.005),
            ncols=LEGEND,
            frameon=False,
            fontsize=11.5,
            handlelength=1.0,
            handletextpad=0.2,
            columnspacing=0.6,
            markerscale=1.5,
        )
        return figure


def consensus(
    cells: Mapping[float, Sequence[tuple[int, int, int]]],
    blocks: Sequence[tuple[int, int, int]],
    size: float = 440,
    left: float = 76,
) -> Figure:
    """Heat map in which cells of a class have one opacity, names of subgroups at the left.

    Parameters
    ----------
    cells
        Opacity -> row, first column and end of the columns of each run of cells.
    blocks
        Subgroup, its first bin and the end of its bins.
    size, left
        Width, and that of the names, in pixels.
    """
    from matplotlib.collections import PolyCollection

    bins = max((end for _, _, end in blocks), default=1)
    with svg.canvas(size, size - left + 2) as figure:
        ax = svg.axes(figure, left, 1, 1, 1)
        for opacity, runs in cells.items():
            boxes = [[(x, y), (end, y), (end, y + 1), (x, y + 1)] for y, x, end in runs]
            ax.add_collection(
                PolyCollection(boxes, facecolor=svg.ACCENT, alpha=opacity, linewidth=0, antialiased=False)
            )
        for group, start, end in blocks:
            ax.axhline(start, color=svg.MUTED, linewidth=1)
            ax.axvline(start, color=svg.MUTED, linewidth=1)
            pixel = bins / (size - left)
            ax.text(-12 * pixel, (start + end) / 2, f"Group {group}", ha="right", va="center", fontsize=11.5)
            ax.plot([-5 * pixel] * 2, [start, end], color=svg.series(group), linewidth=4, clip_on=False)
        ax.set(xlim=(0, bins), ylim=(bins, 0), xticks=[], yticks=[])
        ax.spines[:].set(visible=True, color=svg.MUTED)
        return figure
