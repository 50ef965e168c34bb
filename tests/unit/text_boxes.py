"""Where the texts of an SVG stand, by the widths of the font that figures are laid out in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations
from xml.etree import ElementTree

from stratiome.report import svg

ABOVE, BELOW = 0.72, 0.2
"""Height of letters above and below their line, in sizes of the font."""
START = {"start": 0.0, "middle": 0.5, "end": 1.0}
TOUCH = 0.5
"""Pixels by which texts may overlap."""


@dataclass(frozen=True)
class Box:
    """A text and the rectangle that it covers, in pixels of the sheet."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    def covers(self, other: Box) -> bool:
        """Whether two texts stand on each other."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return min(wide, high) > TOUCH


def boxes(drawing: str) -> list[Box]:
    """The texts of a drawing that are not empty."""
    found: list[Box] = []
    _collect(ElementTree.fromstring(drawing), 0.0, 0.0, found)
    return found


def overlapping(drawing: str) -> list[tuple[str, str]]:
    """Pairs of texts that stand on each other."""
    return [(a.text, b.text) for a, b in combinations(boxes(drawing), 2) if a.covers(b)]


def outside(drawing: str) -> list[str]:
    """Texts that are cut off at the edge of the sheet."""
    _, _, width, height = map(float, ElementTree.fromstring(drawing).attrib["viewBox"].split())
    return [
        b.text
        for b in boxes(drawing)
        if min(b.left, b.top) < -TOUCH or b.right > width + TOUCH or b.bottom > height + TOUCH
    ]


def _collect(element: ElementTree.Element, x: float, y: float, found: list[Box]) -> None:
    moved = re.match(r"translate\(([-\d.]+)[ ,]+([-\d.]+)\)", element.get("transform", ""))
    here = (x + float(moved[1]), y + float(moved[2])) if moved else (x, y)
    if element.tag.endswith("}text") and (text := "".join(element.itertext()).strip()):
        found.append(_box(element, text, *here))
    for child in element:
        _collect(child, *here, found)


def _box(element: ElementTree.Element, text: str, x: float, y: float) -> Box:
    style = element.get("style", "") + f"; font-size: {element.get('font-size', '')}"
    size = float(re.search(r"font-size: ([\d.]+)", style)[1])  # type: ignore[index]
    anchor = re.search(r"text-anchor: (\w+)", style)
    wide = svg.text_width(text, size)
    before = wide * START[anchor[1] if anchor else "start"]
    x, y = x + float(element.get("x", 0)), y + float(element.get("y", 0))
    turned = re.search(r"rotate\((-?[\d.]+)", element.get("transform", ""))
    if turned and abs(float(turned[1])) == 90:
        return Box(text, x - ABOVE * size, y - wide + before, x + BELOW * size, y + before)
    return Box(text, x - before, y - ABOVE * size, x - before + wide, y + BELOW * size)
