"""From a matplotlib figure to an SVG that takes its colours and its font from the page.

Figures are drawn in the light colours of the style sheet. In the page each becomes a CSS variable, so that one drawing
serves light, dark and print; on paper they stay. One unit is one CSS pixel at natural size.
"""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from functools import cache
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from stratiome.report.template import TEMPLATES
from stratiome.report.traced import bare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def light(style: str) -> dict[str, str]:
    """Colours of a style sheet for light screens and paper: variables of its first `:root`, by name."""
    root = style[style.index(":root") :]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", root[: root.index("}")]))


COLOURS = light((TEMPLATES / "style.css").read_text(encoding="utf-8"))
INK, MUTED, RULE, PAPER, ACCENT, GREY = (COLOURS[k] for k in ("ink", "muted", "rule", "paper", "accent", "grey"))
"""`GREY` is the colour of what belongs to no group."""
SERIES = tuple(COLOURS[f"series-{i}"] for i in range(1, 9))
"""Colours of groups 1, 2, ...; they repeat with another line or marker."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
DASHES = (
    "-",
    (0, (5, 2)),
    (0, (7, 2, 1.5, 2)),
    (0, (1.5, 1.5)),
    (0, (3, 1)),
    (0, (9, 3)),
    (0, (1, 3)),
    (0, (5, 1, 1, 1)),
)
LINE, SWATCH = 2.0, 44.0
"""Width of the line of a group, which its dashes grow with, and the length that a key shows of it, in pixels."""
NOTE = 11.5
"""Size of the letters of notes and keys, pixels."""
KEY = {"handlelength": SWATCH / NOTE, "handletextpad": 0.5, "columnspacing": 1.6, "frameon": False, "fontsize": NOTE}
"""Legend of lines."""

_VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper", ACCENT: "accent", GREY: "grey"} | {
    colour: f"series-{i}" for i, colour in enumerate(SERIES, 1)
}
FONT, LETTERS = "DejaVu Sans", 12.5
"""Font that figures are laid out in, which is wider than those of the page and of paper, and its size in pixels."""
_STYLE = {
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "stratiome",
    "font.family": FONT,
    "font.size": LETTERS,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 12,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "path.simplify": True,
    "axes.unicode_minus": True,
    "lines.solid_capstyle": "butt",
}


def text_width(text: str, size: float = LETTERS) -> float:
    """Width in pixels of the longest line of a text, without its marks, in the widest font that may show it."""
    return max(_line_width(line, size) for line in bare(text).split("\n"))


@cache
def _line_width(line: str, size: float) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FONT, size=size)
    return float(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0]) if line else 0.0


def wrapped(text: str, room: float, size: float = LETTERS) -> str:
    """A text in lines of at most `room` pixels, as far as its words allow."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def key_columns(names: Sequence[str], room: float, most: int, swatch: float = SWATCH) -> int:
    """Columns, `most` at most, in which a legend of these names is no wider than `room` pixels."""
    widths = [swatch + text_width(name, NOTE) + 0.5 * NOTE for name in names]
    for columns in range(min(most, len(names)), 1, -1):
        size, longer = divmod(len(names), columns)  # the first `longer` columns have one name more
        starts = [i * size + min(i, longer) for i in range(columns + 1)]
        needed = sum(max(widths[a:b]) for a, b in pairwise(starts)) + 1.6 * NOTE * (columns - 1)
        if needed <= room - NOTE:
            return columns
    return 1


def series(group: int) -> str:
    """Colour of a group: 0 is unassigned."""
    return GREY if group <= 0 else SERIES[(group - 1) % len(SERIES)]


def marker(group: int) -> str:
    """Marker of a group."""
    return "." if group <= 0 else MARKERS[(group - 1) % len(MARKERS)]


def dash(group: int) -> object:
    """Line style of a group."""
    return (0, (1, 1)) if group <= 0 else DASHES[(group - 1) % len(DASHES)]


class Drawn(str):
    """The SVG of a figure as it stands in the page, with what is needed to print it.

    Attributes
    ----------
    figure
        The figure, to be drawn once more as PDF; none where another stage drew it.
    rows
        The rows of tables that are drawn.
    paper
        The SVG to print, where that of the page is another.
    """

    figure: Figure | None
    rows: Sequence[Mapping[str, Any]]
    paper: str

    def __new__(
        cls, text: str, figure: Figure | None = None, rows: Sequence[Mapping[str, Any]] = (), paper: str = ""
    ) -> Self:
        made = super().__new__(cls, text)
        made.figure, made.rows, made.paper = figure, rows, paper or text
        return made

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels."""
        if self.figure is not None:
            width, height = (72 * side for side in self.figure.get_size_inches())
            return width, height
        box = re.search(r'viewBox="[\d.-]+ [\d.-]+ ([\d.]+) ([\d.]+)"', self.paper)
        return (float(box[1]), float(box[2])) if box else (0.0, 0.0)


@contextmanager
def style() -> Iterator[None]:
    """House style, in which figures are made and drawn."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of `width` × `height` pixels in house style."""
    from matplotlib.figure import Figure as Canvas

    with style():
        yield Canvas(figsize=(width / 72, height / 72), dpi=72)


def axes(figure: Figure, left: float, bottom: float, right: float, top: float) -> Axes:
    """Axes with margins in pixels."""
    width, height = figure.get_size_inches() * 72
    return figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    )


def finish(
    figure: Figure, slug: str, description: str, rows: Sequence[Mapping[str, Any]] = (), curves: str = ""
) -> Drawn:
    """The SVG of a figure, ready to stand in the page.

    Parameters
    ----------
    figure
        The figure.
    slug
        Prefix that makes ids unique in the page.
    description
        What a reader who cannot see it is told.
    rows
        The rows of tables that are drawn.
    curves
        Origins of its survival curves, by which the page tells whose they are.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = embed(buffer.getvalue(), slug, description)
    return Drawn(text.replace("<svg ", f'<svg data-curves="{curves}" ', 1) if curves else text, figure, list(rows))


def embed(text: str, slug: str, description: str) -> str:
    """A stand-alone SVG made part of the page: unique ids, colours of the page, no scripts and nothing loaded.

    Parameters
    ----------
    text
        The SVG file.
    slug
        Prefix of ids, unique in the page.
    description
        Text for readers who cannot see it.
    """
    start = text.find("<svg")
    if start < 0:
        return ""
    text = text[start : text.rfind("</svg>") + 6]
    for element in ("metadata", "script", "foreignObject", "title", "desc"):
        text = re.sub(rf"<{element}\b.*?</{element}>|<{element}\b[^>]*/>", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"\son[a-z]+\s*=\s*(\"[^\"]*\"|'[^']*')", "", text)
    text = re.sub(r"(?:xlink:)?href=\"(?!#|data:image/)[^\"]*\"", "", text).replace("xlink:href=", "href=")
    text = _unique_ids(text, slug)
    text = _page_colours(text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"font-family: [^;\"]*;?\s*", "", text)
    # Two decimals are a hundredth of a pixel: smaller, and no patient's exact coordinates.
    text = re.sub(r"<[^>]+>", lambda m: re.sub(r"(\d\.\d\d)\d+", r"\1", m[0]), text)
    text = re.sub(r"\n\s*", "\n", text)
    root, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', root)
    width, height = (re.search(rf'\b{side}="([\d.]+)', root) for side in ("width", "height"))
    view = box[0] if box else f'viewBox="0 0 {width[1]} {height[1]}"' if width and height else ""
    return f'<svg {view} role="img" aria-label="{escape(description, quote=True)}">{rest}'


def _unique_ids(text: str, slug: str) -> str:
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r"href=\"#([^\"]+)\"", text))
    text = re.sub(r"\sid=\"([^\"]+)\"", lambda m: f' id="{slug}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{slug}-\1)", text)
    return re.sub(r"href=\"#([^\"]+)\"", rf'href="#{slug}-\1"', text)


def _page_colours(text: str) -> str:
    for colour, name in _VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    # Figures from other stages are drawn in black on white, with one blue.
    text = re.sub(r"#4477aa", "var(--series-1)", text, flags=re.I)
    text = re.sub(r"(fill|stroke): (?:#000000|#000|black)\b", r"\1: var(--ink)", text)
    return re.sub(r"(fill|stroke): (?:#ffffff|#fff|white)\b", r"\1: var(--paper)", text)
