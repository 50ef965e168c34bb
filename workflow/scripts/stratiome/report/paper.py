"""Figures for papers: what the report draws, as files that stand alone.

A figure becomes an SVG and a PDF in the light colours of the style sheet, 180 mm wide or 85 mm where it has a single
small panel, so that its letters are of 6 to 8 points; beside them stand the rows that are drawn and its caption.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from stratiome.report import svg
from stratiome.report.blocks import Explorer, Figure, Fold, Panels, Section
from stratiome.report.svg import Drawn
from stratiome.report.traced import bare
from stratiome.report.typography import spelt, tidy

if TYPE_CHECKING:
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure as Canvas

Row = Mapping[str, Any]

POINT_MM = 25.4 / 72
WIDE_MM, NARROW_MM = 180.0, 85.0
WIDE = 820.0
"""Pixels of a figure as wide as a page of a journal, which fix the size of the letters."""
SMALL = 440.0
"""Width in pixels up to which a single panel takes one column."""
GAP, HEAD, EDGE = 12.0, 24.0, 4.0
"""Pixels between panels, of the heading of a panel, and around a figure."""
RISE, INDENT = 9.0, 16.0
"""Pixels from the foot of a heading to its panel, and from its letter to its text."""
NO_LIGATURES = ("-liga", "-clig")
"""So that letters of a PDF can be found and changed."""
FONTS = "Arial, Helvetica, 'Liberation Sans', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Print:
    """A figure of the report to be printed.

    Attributes
    ----------
    name
        Section and name of the block: stem of its files.
    section
        Title of the section.
    title, caption
        As in the page, without marks.
    panels
        Heading ("" for none) and drawing of each panel.
    words, markup
        What a text, and an SVG, become on paper.
    """

    name: str
    section: str
    title: str
    caption: str
    panels: Sequence[tuple[str, Drawn]]
    words: Callable[[str], str] = bare
    markup: Callable[[str], str] = bare

    @property
    def rows(self) -> list[Row]:
        """The rows that are drawn, each once."""
        every = [row for _, drawn in self.panels for row in drawn.rows]
        return list({id(row): row for row in every}.values())


def prints(sections: Sequence[Section], renamed: Mapping[str, str], names: Mapping[str, str]) -> list[Print]:
    """Every figure that has a name, in reading order.

    Parameters
    ----------
    sections
        Of the page.
    renamed
        Words -> those that the outcome needs in their place.
    names
        Raw name of a column or omic -> name for readers.

    Raises
    ------
    ValueError
        If two figures have the same name.
    """

    def plain(text: str) -> str:
        text = bare(text)
        for name, other in renamed.items():
            text = text.replace(name, other)
        return text

    def words(text: str) -> str:
        parts = plain(text).split("`")  # what stands between ticks is code
        return "`".join(part if i % 2 else spelt(part, names) for i, part in enumerate(parts))

    def markup(text: str) -> str:
        return tidy(plain(text), names)

    found: dict[str, Print] = {}
    for section in sections:
        for block in _blocks(section.blocks):
            panels = [("", block.svg)] if isinstance(block, Figure) else block.figures
            drawn = [(words(heading), d) for heading, d in panels if isinstance(d, Drawn) and d.size[0]]
            if not block.name or not drawn:
                continue
            name = f"{section.anchor}-{re.sub(r'[^a-z0-9]+', '-', block.name.lower()).strip('-')}"
            if name in found:
                raise ValueError(f"Two figures are named `{name}`.")
            found[name] = Print(name, section.title, words(block.title), words(block.caption), drawn, words, markup)
    return list(found.values())


def _blocks(blocks: Sequence[object]) -> Iterator[Figure | Panels | Explorer]:
    for block in blocks:
        if isinstance(block, Figure | Panels | Explorer):
            yield block
        elif isinstance(block, Fold):
            yield from _blocks(block.blocks)


# --- layout ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Placed:
    """A panel at its place, in pixels from the upper left corner of the sheet."""

    letter: str
    heading: str
    drawn: Drawn
    x: float
    y: float
    width: float
    height: float

    @property
    def head(self) -> list[tuple[bool, str, float]]:
        """What stands above it: whether it is bold, the text, and where it begins."""
        texts = [(True, self.letter, self.x), (False, self.heading, self.x + (INDENT if self.letter else 0.0))]
        return [found for found in texts if found[1]]


@dataclass(frozen=True)
class _Sheet:
    """Panels side by side; `scale` leads from pixels to points."""

    panels: Sequence[_Placed]
    width: float
    height: float
    scale: float


def _sheet(figure: Print) -> _Sheet:
    """Panels in as many columns as keep their letters readable, a letter before the heading of each of several."""
    sizes = [drawn.size for _, drawn in figure.panels]
    own = max(width for width, _ in sizes)
    columns = min(len(sizes), max(1, round(WIDE / own)))
    narrow = len(sizes) == 1 and own <= SMALL
    points = (NARROW_MM if narrow else WIDE_MM) / POINT_MM
    needed = columns * own + (columns - 1) * GAP + 2 * EDGE
    scale = min(points / needed, WIDE_MM / POINT_MM / WIDE)
    width = points / scale
    step = (width - 2 * EDGE) / columns
    left = EDGE + (step - own) / 2
    head = HEAD if any(heading for heading, _ in figure.panels) else 0.0
    placed: list[_Placed] = []
    y = EDGE
    for start in range(0, len(sizes), columns):
        line = range(start, min(start + columns, len(sizes)))
        for i in line:
            heading, drawn = figure.panels[i]
            place = left + (i - start) * step, y + head
            placed.append(_Placed(_letter(i) if len(sizes) > 1 else "", heading, drawn, *place, *sizes[i]))
        y += head + max(sizes[i][1] for i in line) + GAP
    return _Sheet(placed, width, y - GAP + EDGE, scale)


def _letter(i: int) -> str:
    return chr(ord("a") + i) if i < 26 else f"{chr(ord('a') + i // 26 - 1)}{chr(ord('a') + i % 26)}"


# --- writing ---------------------------------------------------------------------------------------------------------


def drawing(figure: Print) -> str:
    """The figure as SVG that stands alone: letters stay letters, and what is drawn is what the page shows."""
    sheet = _sheet(figure)
    body = []
    for panel in sheet.panels:
        inner = re.sub(r"^<svg\b[^>]*>|</svg>$", "", figure.markup(panel.drawn.paper).strip())
        inner = re.sub(r"var\(--([\w-]+)\)", lambda m: svg.COLOURS[m[1]], inner)
        body.append(f'<g class="panel" transform="translate({panel.x:.2f} {panel.y:.2f})">{inner}</g>')
        for bold, text, x in panel.head:
            weight = ' font-weight="bold"' if bold else ""
            body.append(f'<text x="{x:.2f}" y="{panel.y - RISE:.2f}" font-size="12.5"{weight}>{escape(text)}</text>')
    wide, high = (side * sheet.scale * POINT_MM for side in (sheet.width, sheet.height))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.2f}mm" height="{high:.2f}mm"'
        f' viewBox="0 0 {sheet.width:.2f} {sheet.height:.2f}" font-family="{FONTS}" fill="{svg.INK}">\n'
        f"<title>{escape(figure.title)}</title>\n" + "\n".join(body) + "\n</svg>\n"
    )


def document(figure: Print) -> bytes:
    """The same as PDF with its letters embedded; the same figure gives the same bytes."""
    from matplotlib.backends.backend_pdf import Op
    from matplotlib.figure import Figure as Canvas

    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every table of every font
    sheet = _sheet(figure)
    headings = Canvas(figsize=(sheet.width / 72, sheet.height / 72), dpi=72)
    for panel in sheet.panels:
        for bold, text, x in panel.head:
            at = x / sheet.width, 1 - (panel.y - RISE) / sheet.height
            made = headings.text(*at, text, color=svg.INK, fontsize=12.5, weight="bold" if bold else "normal")
            made.set_fontfeatures(NO_LIGATURES)

    class Page(Canvas):
        def draw(self, renderer: RendererBase) -> None:
            # Letters and lines have sizes in points that no setting of a figure scales: the page itself is scaled.
            renderer.file.output(sheet.scale, 0, 0, sheet.scale, 0, 0, Op.concat_matrix)  # type: ignore[attr-defined]
            renderer.file.width, renderer.file.height = sheet.width / 72, sheet.height / 72  # type: ignore[attr-defined]
            headings.draw(renderer)
            for panel in sheet.panels:
                with _moved(panel, sheet.height, figure.words) as drawn:
                    drawn.draw(renderer)

    buffer = io.BytesIO()
    with svg.style():
        page = Page(figsize=(sheet.width * sheet.scale / 72, sheet.height * sheet.scale / 72), dpi=72)
        page.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Title": figure.title, "Creator": None})
    return buffer.getvalue()


@contextmanager
def _moved(panel: _Placed, height: float, words: Callable[[str], str]) -> Iterator[Canvas]:
    """The figure of a panel moved to its place on the sheet, its letters without marks."""
    from matplotlib.text import Text

    figure = panel.drawn.figure
    assert figure is not None
    whole, low = figure.bbox_inches.frozen(), height - panel.y - panel.height
    figure.bbox_inches.set(whole.translated(panel.x / 72, low / 72))
    for text in figure.findobj(Text):
        text.set_text(words(text.get_text()))
        text.set_fontfeatures(NO_LIGATURES)
    yield figure
    figure.bbox_inches.set(whole)
