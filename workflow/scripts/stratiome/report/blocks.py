"""The few kinds of thing that a section of the report is made of; the template knows how to print each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from stratiome.report.explore import Chart
from stratiome.report.traced import bare
from stratiome.report.verdicts import Verdict

PART = 3
"""Level of the headings that divide a section."""
SHORT = 12
"""Rows of a table that a print keeps on one page."""


@dataclass(frozen=True)
class Cell:
    """Cell of a table: text, an optional tone that marks a verdict, an optional second line, links within the page.

    A link is an anchor and its text; `files` are paths beside the page with theirs, in the place of all else.
    """

    text: str
    tone: str = ""
    below: str = ""
    links: Sequence[tuple[str, str]] = ()
    files: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Table:
    """A table whose first column heads its rows.

    Attributes
    ----------
    numeric
        Columns (from 0) aligned as numbers.
    note
        A paragraph beneath it.
    notes
        Numbered notes beneath it, which cells refer to by their number.
    number
        Its place among the tables of the page (`titles.with_numbers`); 0 before it has one.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    numeric: frozenset[int] = frozenset()
    note: str = ""
    notes: Sequence[str] = ()
    number: int = 0
    kind: str = "table"

    @property
    def short(self) -> bool:
        """Whether a print keeps the table on one page."""
        return len(self.rows) <= SHORT

    @property
    def dense(self) -> bool:
        """Whether the table is so wide that it is set smaller."""
        return len(self.head) > 7

    def without(self, heads: frozenset[str]) -> Table:
        """The table without the columns of some headings."""
        kept = [i for i, head in enumerate(self.head) if head not in heads]
        return replace(
            self,
            head=[self.head[i] for i in kept],
            rows=[[row[i] for i in kept] for row in self.rows],
            numeric=frozenset(k for k, i in enumerate(kept) if i in self.numeric),
        )


def numbered(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Each distinct text once, and for every text the number of its note."""
    notes: dict[str, str] = {}
    for text in texts:
        notes.setdefault(bare(text), text)
    places = {plain: str(i) for i, plain in enumerate(notes, 1)}
    return [places[bare(t)] for t in texts], list(notes.values())


@dataclass(frozen=True)
class Figure:
    """An SVG with its caption. `size` is the natural width in pixels, below which a wide figure scrolls in itself.

    Where it has a `name`, unique in its section, it is written to files as well. `charts` can be opened beneath it;
    `number` is as of `Table`, among the figures.
    """

    svg: str
    title: str
    caption: str
    size: int
    name: str = ""
    charts: Sequence[Chart] = ()
    number: int = 0
    kind: str = "figure"


@dataclass(frozen=True)
class Panels:
    """Figures side by side under one caption; `name` and `charts` as those of `Figure`."""

    title: str
    figures: Sequence[tuple[str, str]]  # heading of the panel, svg
    caption: str
    size: int = 300
    name: str = ""
    charts: Sequence[Chart] = ()
    number: int = 0
    kind: str = "panels"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class File:
    """A sentence that ends with a link to a file beside the page."""

    text: str
    file: str
    kind: str = "file"


@dataclass(frozen=True)
class Note:
    """A paragraph set apart: `plain`, or `care` for what a reader must not overlook."""

    text: str
    tone: str = "plain"
    kind: str = "note"


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: Sequence[str]
    kind: str = "items"


@dataclass(frozen=True)
class Code:
    """Text set as it is."""

    text: str
    kind: str = "code"


@dataclass(frozen=True)
class Cards:
    """Short facts side by side: heading, colour swatch (0 for none), lines of label and value."""

    cards: Sequence[tuple[str, int, Sequence[tuple[str, str]]]]
    kind: str = "cards"


@dataclass(frozen=True)
class Portraits:
    """Cards with a small drawing: heading, colour swatch (-1 for grey), svg or "", lines of label and value, traits.

    A trait is a heading and a text that may run over several lines.
    """

    cards: Sequence[tuple[str, int, str, Sequence[tuple[str, str]], Sequence[tuple[str, str]]]]
    kind: str = "portraits"


@dataclass(frozen=True)
class Explorer:
    """Panels in which a subgroup can be singled out, by keyboard too and without a script.

    Attributes
    ----------
    slug
        Unique in the page.
    choices
        Name and number of each group; 0 is unassigned.
    figures
        Heading and svg of each panel; marks of group g have the classes `dots` and `g` followed by its number.
    name
        As that of `Figure`.
    """

    title: str
    slug: str
    choices: Sequence[tuple[str, int]]
    figures: Sequence[tuple[str, str]]
    caption: str
    size: int = 276
    name: str = ""
    charts: Sequence[Chart] = ()
    number: int = 0
    kind: str = "explorer"


@dataclass(frozen=True)
class Finding:
    """A verdict inside a section."""

    verdict: Verdict
    kind: str = "finding"


@dataclass(frozen=True)
class Heading:
    """Heading within a section; `anchor` makes it a target of links. Those of level 3 stand in the contents."""

    text: str
    anchor: str = ""
    level: int = 3
    kind: str = "heading"


@dataclass(frozen=True)
class Fold:
    """Blocks that open on demand; `anchor` makes it a target of links.

    A print leaves out what is closed, and says so, unless it is `printed`.
    """

    summary: str
    blocks: Sequence[object]
    anchor: str = ""
    printed: bool = False
    kind: str = "fold"


@dataclass(frozen=True)
class Section:
    """A section of the report; `without` names absent tables that it asked for."""

    anchor: str
    title: str
    lede: str
    blocks: list[object] = field(default_factory=list)
    without: Sequence[str] = ()

    @property
    def parts(self) -> list[Heading]:
        """Headings that stand in the contents of the page."""
        return [b for b in self.blocks if isinstance(b, Heading) and b.anchor and b.level == PART]
