"""One spelling of numbers, names and abbreviations on a finished page, wherever its words came from.

Methods and notes that other stages wrote reach the page as they are; here they get the page's thousands, minus sign,
per cent sign, p-values and names of columns. What is set as code is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from html import escape, unescape

from stratiome.report.abbreviations import ABBREVIATIONS

_TAG = re.compile(r"(<[^>]*>)")
_CODE = frozenset({"script", "style", "code", "pre"})
"""Elements whose text is left as it is."""
_UNEXPLAINED = frozenset({"svg", "title", "h1", "h2", "h3", "h4", "a", "button", "label", "nav", "option", "summary"})
"""Elements in which no abbreviation is explained; the next one after them is."""
_VOID = frozenset({"meta", "link", "br", "img", "input", "hr", "col", "source"})
_COUNTED = "patients?|events?|features|in the cohort"

RAW_SECTION = 'id="provenance"'
"""Section in which files and settings keep the names that the config gives them."""

RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"\b(Kaplan|Mann|Kullback|Aalen|Fine)-(Meier|Whitney|Leibler|Johansen|Gray)\b"), r"\1–\2"),
    (re.compile(r"\bCramer(?='s V|&#39;s V)"), "Cramér"),
    (re.compile(r"(?<=\d)%"), " %"),
    (re.compile(r"(?<=[\s(\[]|=)-(?=\d)"), "−"),
    (re.compile(r"\bp = (\d(?:\.\d+)?e-\d+)\b"), lambda m: "p &lt; 0.001" if float(m[1]) < 0.001 else m[0]),
    (re.compile(rf"(?<![\d.,])(\d{{4,}})(?= (?:{_COUNTED})\b)"), lambda m: f"{int(m[1]):,}"),
)
"""What is written otherwise, and how."""


def tidy(page: str, names: Mapping[str, str]) -> str:
    """The HTML of a page with one spelling throughout, and each abbreviation explained where it first stands.

    Parameters
    ----------
    page
        HTML; tags and their attributes are left as they are.
    names
        Raw name of a column or omic -> name for readers; a name after `column `, or within a dotted path, stays raw.
    """
    raw = _raw(names)
    told: set[str] = set()
    made: list[str] = []
    open_: list[str] = []
    for part in _TAG.split(page):
        if part.startswith("<"):
            _follow(open_, part)
            if part.startswith("<section"):
                raw = None if RAW_SECTION in part else _raw(names)
        elif part.strip() and not _CODE.intersection(open_):
            part = _spelt(part, raw, names)
            if "body" in open_ and not _UNEXPLAINED.intersection(open_):
                part = _explained(part, told)
        made.append(part)
    return "".join(made)


def spelt(text: str, names: Mapping[str, str]) -> str:
    """A text that is no HTML in the same spelling; `names` as of `tidy`."""
    return unescape(_spelt(escape(text, quote=False), _raw(names), names))


def _follow(open_: list[str], tag: str) -> None:
    """Keep the list of open elements."""
    name = re.match(r"</?([a-zA-Z0-9]+)", tag)
    if name is None or tag.endswith("/>") or name[1].lower() in _VOID:
        return
    if not tag.startswith("</"):
        open_.append(name[1].lower())
        return
    while open_ and open_.pop() != name[1].lower():
        pass


def _raw(names: Mapping[str, str]) -> re.Pattern[str] | None:
    if not names:
        return None
    known = "|".join(re.escape(n) for n in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w./{{\-])(?<![cC]olumn )(?:{known})(?![\w/]|\.\w|-\w)")


def _spelt(text: str, raw: re.Pattern[str] | None, names: Mapping[str, str]) -> str:
    for pattern, other in RULES:
        text = pattern.sub(other, text)
    return raw.sub(lambda m: escape(names[m[0]]), text) if raw else text


def _abbreviation(name: str) -> str:
    return r"K(?= =)" if name == "K" else rf"{re.escape(name)}(?!\w)"


_KNOWN = re.compile(
    rf"(?<![\w+\-])(?:{'|'.join(_abbreviation(a) for a in sorted(ABBREVIATIONS, key=len, reverse=True))})"
)


def _explained(text: str, told: set[str]) -> str:
    def mark(found: re.Match[str]) -> str:
        if found[0] in told:
            return found[0]
        told.add(found[0])
        return f'<abbr title="{escape(ABBREVIATIONS[found[0]])}">{escape(found[0])}</abbr>'

    return _KNOWN.sub(mark, text.replace("&#39;", "'"))


def used(blocks: Iterable[object]) -> list[str]:
    """Abbreviations of the list that stand in the words of blocks, in alphabetical order."""
    found: set[str] = set()
    for text in _texts(list(blocks)):
        found.update(_KNOWN.findall(text))
    return sorted(found, key=str.lower)


def _texts(block: object) -> Iterable[str]:
    """All words of a block, without drawings and code."""
    if isinstance(block, str):
        if not block.lstrip().startswith("<"):
            yield block
    elif isinstance(block, list | tuple):
        for part in block:
            yield from _texts(part)
    elif is_dataclass(block) and getattr(block, "kind", "") != "code":
        for field in fields(block):
            if field.name not in ("svg", "charts"):
                yield from _texts(getattr(block, field.name))
