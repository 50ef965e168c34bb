"""Read the picture of the rules back: where boxes stand, where lines run, and what a reader would get wrong."""

from __future__ import annotations

import re
from itertools import combinations, pairwise

from stratiome.report.jobs import Rule, arrows
from stratiome.report.rule_graph import ASIDE, BOX, HEIGHT, draw

Point = tuple[float, float]


def boxes(svg: str) -> list[tuple[str, float, float]]:
    """Name, left and top of every box."""
    found = re.findall(rf'<rect x="([\d.]+)" y="([\d.]+)" width="{BOX}"[^>]*/><text[^>]*>(\w+)', svg)
    return [(name, float(x), float(y)) for x, y, name in found]


def lines(svg: str) -> list[tuple[str, str, list[Point]]]:
    """From, to, and corners of every line."""
    found = re.findall(r'<path d="(M[^"]*)"[^>]*><title>(\w+) → (\w+)</title>', svg)
    return [(a, b, [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", d)]) for d, a, b in found]


def faults(rules: list[Rule]) -> list[str]:
    """What is wrong with the picture; nothing if it is right."""
    svg = draw(rules)
    placed, drawn = boxes(svg), lines(svg)
    wrong = []
    if sorted(name for name, _, _ in placed) != sorted(rule.name for rule in rules):
        wrong.append("boxes are missing")
    if sorted((a, b) for a, b, _ in drawn) != sorted((a[1], b[1]) for a, b in arrows(rules)):
        wrong.append("lines are missing")
    for a, b, line in drawn:
        (x1, y1), (x2, y2) = line[0], line[-1]
        starts = any(n == a and x1 == x + BOX / 2 and y1 == y + HEIGHT for n, x, y in placed)
        ends = any(n == b and x + BOX / 2 - x2 in (0, ASIDE) and 0 < y - y2 < 8 for n, x, y in placed)
        if not (starts and ends and y1 < y2):
            wrong.append(f"{a} → {b} does not lead down from one to the other")
        if f"M{x2 - 4:g} {y2 - 2:g}h8l-4 6z" not in svg:
            wrong.append(f"{a} → {b} has no head")
        for name, x, y in placed:
            if any(_crosses(piece, x, y) for piece in pairwise(line)):
                wrong.append(f"{a} → {b} runs through {name}")
    for (a, b, one), (c, d, other) in combinations(drawn, 2):
        shared = any(_share(p, q) for p in pairwise(one) for q in pairwise(other))
        if shared and a != c and b != d:
            wrong.append(f"{a} → {b} and {c} → {d} share a piece")
    return wrong


def _crosses(piece: tuple[Point, Point], left: float, top: float) -> bool:
    """Whether a piece runs inside of a box."""
    (x1, y1), (x2, y2) = piece
    apart = max(x1, x2) <= left or min(x1, x2) >= left + BOX
    return not (apart or max(y1, y2) <= top or min(y1, y2) >= top + HEIGHT)


def _share(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Whether two pieces lie on each other for more than the rounding of a corner."""
    for axis in (0, 1):
        across = [p[axis] for p in (*one, *other)]
        along = [sorted(p[1 - axis] for p in piece) for piece in (one, other)]
        if len(set(across)) == 1 and min(e[1] for e in along) - max(e[0] for e in along) > 2:
            return True
    return False
