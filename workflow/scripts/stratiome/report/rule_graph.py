"""The rules of a run as a picture: a band for each stage, a box for each rule, lines that run between the boxes.

Boxes stand in rows, each beneath all that it needs. Lines of one rule, or into one that needs many, are drawn as one
line with branches: it goes down in a lane between two columns, and to its boxes in the gaps between two rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby, pairwise, permutations

from stratiome.report.jobs import Key, Rule, arrows, stages_of
from stratiome.report.words import sentence

COLUMNS, BOX, SPACE, HEIGHT = 4, 148, 40, 30
LEFT, WIDTH = 92, 820
GAP, BETWEEN, TRACK, LANE = 22, 4, 7, 7
"""Pixels: height of a gap, more between stages, and the distance between lines in gaps and in lanes."""
ASIDE = 12
"""Pixels from the middle of a box at which a line enters where the middle would mislead."""
MANY = 3
"""Needs from which lines are joined at the rule that needs, not at those that are needed."""


@dataclass
class _Net:
    """Lines drawn as one: pairs of rules, the lane if a line passes a row, the track in each gap, entries set aside."""

    edges: list[tuple[Key, Key]]
    lane: float | None = None
    tracks: dict[int, int] = field(default_factory=dict)
    aside: set[tuple[int, float]] = field(default_factory=set)


def draw(rules: Sequence[Rule]) -> str:
    """The picture as SVG that takes its colours from the page and tells stages and rules to who cannot see it."""
    rows, bands = _rows(rules)
    places = _columns(rules, rows)
    nets = _nets(rules, places)
    _lanes(nets, places)
    tops, ends = _heights(nets, places, len(rows), frozenset(first for _, first, _ in bands))
    told = ". ".join(
        f"{sentence(label)}: {', '.join(name for row in rows[first:last] for _, name in row)}"
        for label, first, last in bands
    )
    told = f"Rules of the run by stage, each beneath those that it needs. {told}."
    height = ends[-1] + 10
    parts = [_band(label, tops[first], ends[last - 1]) for label, first, last in bands]
    parts += [_line(net, edge, places, tops) for net in nets for edge in net.edges]
    parts += [_box(rule, *places[rule.key], tops) for rule in rules]
    head = f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(told, quote=True)}"'
    return f'{head} class="rules">' + "\n".join(parts) + "</svg>"


def _rows(rules: Sequence[Rule]) -> tuple[list[list[Key]], list[tuple[str, int, int]]]:
    """Rows of rules, and of each band its label, first row and the row after its last."""
    edges = arrows(rules)
    rows: list[list[Key]] = []
    bands = []
    for stages in stages_of(rules):
        own = [rule.key for rule in rules if rule.stage in stages]
        level: dict[Key, int] = {}
        for key in _sorted(own, edges):
            level[key] = 1 + max((level[a] for a, b in edges if b == key and a in level), default=-1)
        first = len(rows)
        for step in range(max(level.values()) + 1):
            same = [key for key in own if level[key] == step]
            # What the next rows need stands last, so that its lines are short.
            same.sort(key=lambda key: -min((_far(rules, b) for a, b in edges if a == key), default=len(rules)))
            rows += [same[i : i + COLUMNS] for i in range(0, len(same), COLUMNS)]
        bands.append((", ".join(stages), first, len(rows)))
    return rows, bands


def _sorted(own: list[Key], edges: list[tuple[Key, Key]]) -> list[Key]:
    """Rules of a band, each after those that it needs."""
    done: list[Key] = []
    while len(done) < len(own):
        done += [k for k in own if k not in done and all(a in done for a, b in edges if b == k and a in own)]
    return done


def _far(rules: Sequence[Rule], key: Key) -> int:
    """Place of the stage of a rule."""
    return next(i for i, stages in enumerate(stages_of(rules)) if key[0] in stages)


def _columns(rules: Sequence[Rule], rows: list[list[Key]]) -> dict[Key, tuple[int, int]]:
    """Row and column of every rule: as near to the rules it is tied to as the row allows."""
    edges = arrows(rules)
    places: dict[Key, tuple[int, int]] = {}
    for _ in range(4):
        for r, row in enumerate(rows):
            near = [_near(key, edges, places) for key in row]
            best = min((_way(given, near), given) for given in permutations(range(COLUMNS), len(row)))[1]
            places |= {key: (r, c) for key, c in zip(row, best, strict=True)}
    return places


def _near(key: Key, edges: list[tuple[Key, Key]], places: dict[Key, tuple[int, int]]) -> float:
    """Mean column of the rules that a rule is tied to, of those that it needs twice; the middle if it is the first."""
    tied = [places[a][1] for a, b in edges if b == key and a in places] * 2
    if key in places:
        below = [places[b] for a, b in edges if a == key and b in places]
        tied += [column for row, column in below if row - places[key][0] < MANY]
    return sum(tied) / len(tied) if tied else (COLUMNS - 1) / 2


def _way(columns: Sequence[int], near: Sequence[float]) -> float:
    return sum(abs(c - n) ** 1.5 for c, n in zip(columns, near, strict=True))


def _x(column: float) -> float:
    return LEFT + column * (BOX + SPACE) + BOX / 2


def _nets(rules: Sequence[Rule], places: dict[Key, tuple[int, int]]) -> list[_Net]:
    edges = arrows(rules)
    hubs = {key for _, key in edges if sum(b == key for _, b in edges) >= MANY}
    joined = sorted(edges, key=lambda e: (0, places[e[1]]) if e[1] in hubs else (1, places[e[0]]))
    nets = [list(own) for _, own in groupby(joined, key=lambda e: (0, e[1]) if e[1] in hubs else (1, e[0]))]
    return [_Net(own) for own in sorted(nets, key=lambda own: (_span(own, places)[0], own))]


def _span(edges: list[tuple[Key, Key]], places: dict[Key, tuple[int, int]]) -> tuple[int, int]:
    """First and last gap of a net; gap i is below row i."""
    return min(places[a][0] for a, _ in edges), max(places[b][0] for _, b in edges) - 1


def _lanes(nets: list[_Net], places: dict[Key, tuple[int, int]]) -> None:
    """Give every net that passes a row the lane with the shortest way in which nothing stands."""
    taken: list[tuple[float, int, int]] = []
    boxes = set(places.values())
    for net in nets:
        long = [(a, b) for a, b in net.edges if places[b][0] - places[a][0] > 1]
        if not long:
            continue
        first, last = _span(long, places)
        passed = {place for place in boxes if first < place[0] <= last}
        for end in (first, last + 1):  # straight into or out of a box only where the net has no other in its row
            own = {places[key] for edge in net.edges for key in edge if places[key][0] == end}
            passed |= {place for place in boxes if place[0] == end} - (own if len(own) == 1 else set())
        free = [_x(c) for c in range(COLUMNS) if c not in {column for _, column in passed}]
        for gap in range(COLUMNS + 1):
            free += [_x(gap) - BOX / 2 - SPACE / 2 + k * LANE for k in (0, -1, 1, -2, 2)]
        free = [x for x in free if not any(abs(x - t) < LANE and first <= b and a <= last for t, a, b in taken)]
        ends = [_x(places[k][1]) for edge in long for k in edge]
        ways = {x: sum(abs(x - end) for end in ends) for x in sorted(free)}
        net.lane = min(ways, key=ways.__getitem__)
        taken.append((net.lane, first, last))


def _stops(net: _Net, edge: tuple[Key, Key], places: dict[Key, tuple[int, int]]) -> list[tuple[int, float, float]]:
    """Ways of a line across gaps: gap, from and to."""
    (r, c), (s, d) = (places[key] for key in edge)
    end = _x(d) - (ASIDE if (s - 1, _x(d)) in net.aside else 0)
    if s - r == 1:
        return [(r, _x(c), end)]
    assert net.lane is not None
    return [(r, _x(c), net.lane), (s - 1, net.lane, end)]


def _heights(
    nets: list[_Net], places: dict[Key, tuple[int, int]], n: int, starts: frozenset[int]
) -> tuple[list[float], list[float]]:
    """Top and bottom of every row; gaps are as high as their lines need, which get their tracks here."""
    tops, y = [], 12.0
    for gap in range(n):
        tops.append(y)
        used = _tracks(nets, places, gap)
        y += HEIGHT + GAP + TRACK * max(used - 1, 0) + (BETWEEN if gap + 1 in starts else 0)
    return tops, [top + HEIGHT for top in tops]


def _tracks(nets: list[_Net], places: dict[Key, tuple[int, int]], gap: int) -> int:
    """Give the nets that run along a gap their tracks, from top to bottom; the number of tracks.

    Where one net comes down in the column in which another goes on, the first must turn before the second does: else
    both would share a piece, and a reader would follow the wrong one. Where nets ask this of each other in a ring, the
    leftmost goes first and enters its boxes aside of the middle.
    """
    ways = [{w[1:] for edge in net.edges for w in _stops(net, edge, places) if w[0] == gap} for net in nets]
    turning = [i for i, own in enumerate(ways) if any(a != b for a, b in own)]
    turning.sort(key=lambda i: min(min(way) for way in ways[i]))
    from_above, further = ([{way[end] for way in own} for own in ways] for end in (0, 1))
    rest, tracks = list(turning), list[list[tuple[float, float]]]()
    while rest:
        i = next((i for i in rest if not any(from_above[k] & further[i] for k in rest if k != i)), rest[0])
        rest.remove(i)
        nets[i].aside |= {(gap, x) for k in rest for x in from_above[k] & further[i]}
        above = [nets[k].tracks[gap] for k in turning if gap in nets[k].tracks and from_above[k] & further[i]]
        low, high = (end(x for way in ways[i] for x in way) for end in (min, max))
        low -= ASIDE if nets[i].aside else 0
        place = max(above, default=-1) + 1
        while place < len(tracks) and any(low - 4 < b and a < high + 4 for a, b in tracks[place]):
            place += 1
        tracks += [[] for _ in range(place + 1 - len(tracks))]
        tracks[place].append((low, high))
        nets[i].tracks[gap] = place
    return len(tracks)


def _line(net: _Net, edge: tuple[Key, Key], places: dict[Key, tuple[int, int]], tops: list[float]) -> str:
    """A line from the bottom of a box to the top of another, with round corners."""
    start, end = (places[key] for key in edge)
    points = [(_x(start[1]), tops[start[0]] + HEIGHT)]
    for gap, a, b in _stops(net, edge, places):
        y = tops[gap] + HEIGHT + 9 + TRACK * net.tracks.get(gap, 0)
        points += [(a, y), (b, y)]
    points.append((points[-1][0], tops[end[0]] - 4))
    style = "fill: none; stroke: var(--grey); stroke-width: 1.3"
    title = f"<title>{escape(edge[0][1])} → {escape(edge[1][1])}</title>"
    x, y = points[-1]
    head = f'<path d="M{x - 4:g} {y - 2:g}h8l-4 6z" style="fill: var(--grey)"/>'
    return f'<path d="{_rounded(points)}" style="{style}">{title}</path>{head}'


def _rounded(points: list[tuple[float, float]], most: float = 5) -> str:
    kept = [points[0]]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        turns = (before[0] == here[0]) != (here[0] == after[0]) and before != here != after
        if turns:
            kept.append(here)
    kept.append(points[-1])
    path = f"M{kept[0][0]:g} {kept[0][1]:g}"
    for (before, here), (_, after) in pairwise(pairwise(kept)):
        legs = [abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in ((before, here), (here, after))]
        r = min(most, *(leg / 2 for leg in legs))
        (x1, y1), (x2, y2) = (_toward(here, other, r) for other in (before, after))
        path += f"L{x1:g} {y1:g}Q{here[0]:g} {here[1]:g} {x2:g} {y2:g}"
    return path + f"L{kept[-1][0]:g} {kept[-1][1]:g}"


def _toward(here: tuple[float, float], other: tuple[float, float], by: float) -> tuple[float, float]:
    return tuple(h + (by if o > h else -by if o < h else 0) for h, o in zip(here, other, strict=True))  # type: ignore


def _box(rule: Rule, row: int, column: int, tops: list[float]) -> str:
    """A rule; one of several jobs looks like a pile and says how many."""
    x, y = _x(column) - BOX / 2, tops[row]
    style = 'style="fill: var(--paper); stroke: var(--muted); stroke-width: 1"'
    shape = f'width="{BOX}" height="{HEIGHT}" rx="5" {style}/>'
    piled = len(rule.jobs) > 1
    parts = [f'<rect x="{x + 3:g}" y="{y + 3:g}" {shape}'] if piled else []
    parts.append(f'<rect x="{x:g}" y="{y:g}" {shape}')
    many = f'<tspan dx="5" style="fill: var(--muted); font-size: 11px">×{len(rule.jobs)}</tspan>' if piled else ""
    text = f'<text x="{x + BOX / 2:g}" y="{y + 19.5:g}" text-anchor="middle" style="font-size: 12.5px">'
    parts.append(f"{text}{escape(rule.name)}{many}</text>")
    return "".join(parts)


def _band(label: str, top: float, end: float) -> str:
    y, height = top - 8, end - top + 16
    rect = f'<rect x="0" y="{y:g}" width="{WIDTH}" height="{height:g}" rx="8" style="fill: var(--calm-back)"/>'
    text = f'<text x="12" y="{top + 19.5:g}" style="font-size: 12.5px; font-weight: 600; fill: var(--muted)">'
    return f"{rect}{text}{escape(sentence(label))}</text>"
