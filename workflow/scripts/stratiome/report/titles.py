"""Numbers of the tables and figures of a page, by which they can be cited, and titles that tell them apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count

from stratiome.report.blocks import Explorer, Figure, Fold, Heading, Panels, Section, Table

CATEGORIES = {
    "cohort": "Cohort and patient flow",
    "quality": "Data quality",
    "groups": "Groups of patients",
    "travel": "Does it travel?",
    "truth": "Planted truth",
}
"""Names of sections with figures, where the anchor alone does not say what they are about."""


def category(section: str) -> str:
    """Where Snakemake's own report shows the figures of a section, by its anchor."""
    return CATEGORIES.get(section, section.capitalize())


def with_numbers(sections: Iterable[Section]) -> list[Section]:
    """Sections whose tables and figures are numbered from 1 in reading order, those within folds too."""
    tables, figures = count(1), count(1)

    def each(blocks: Sequence[object]) -> list[object]:
        return [of(block) for block in blocks]

    def of(block: object) -> object:
        match block:
            case Table():
                return replace(block, number=next(tables))
            case Figure() | Panels() | Explorer():
                return replace(block, number=next(figures))
            case Fold():
                return replace(block, blocks=each(block.blocks))
        return block

    return [replace(section, blocks=each(section.blocks)) for section in sections]


def beneath(heading: Heading, blocks: Sequence[object]) -> list[object]:
    """A heading and the blocks that belong to it: their headings one level lower, their titles naming it."""
    return [heading, *(_of(heading.text, block) for block in blocks)]


def _inside(title: str) -> str:
    """A title after a colon: a first letter that begins a plain word is small."""
    return title[:1].lower() + title[1:] if title[1:2].islower() or title[1:2] == " " else title


def _of(name: str, block: object) -> object:
    match block:
        case Heading():
            return replace(block, level=block.level + 1)
        case Table():
            return replace(block, caption=f"{name}: {_inside(block.caption)}")
        case Figure() | Panels() | Explorer():
            return replace(block, title=f"{name}: {_inside(block.title)}")
        case Fold():
            return replace(block, blocks=[_of(name, inner) for inner in block.blocks])
    return block
