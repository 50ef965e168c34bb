"""Items of reporting guidelines, and where this report answers them: never complete by default.

The items are data, in `workflow/report/guidelines`. An item is answered where the tables that it needs have rows and
the page has the place; all else the authors must write, does not apply, or is missing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stratiome.report.blocks import Fold, Heading, Section
from stratiome.report.inputs import CONTRACTS, ReportInputs
from stratiome.report.template import TEMPLATES
from stratiome.report.traced import bare
from stratiome.report.words import join, slug

GUIDELINES = TEMPLATES / "guidelines"
"""Folder of the items."""

State = Literal["answered", "author", "not applicable", "missing"]

AGE_AND_SEX = ("age", "sex|gender")
"""Parts of the names of their columns."""

CONDITIONS: Mapping[str, tuple[Callable[[ReportInputs], bool], str]] = {
    "treatments": (lambda i: bool(i.settings.treatments), "the config names no treatment (`treatments`)"),
    "observational": (
        lambda i: any(t.design == "observational" for t in i.settings.treatments.values()),
        "no treatment of the config is observational (`treatments`)",
    ),
    "sites": (lambda i: i.settings.site is not None, "the config names no site (`site`)"),
    "sites_left_out": (
        lambda i: i.settings.site is not None and i.settings.resamples.leave_site_out,
        "no site was held out (`site`, `resamples.leave_site_out`)",
    ),
    "external": (
        lambda i: "external_patients" in i.absent or bool(i.rows("external_patients")),
        "the config names no other cohort (`external`)",
    ),
    "groups": (lambda i: bool(i.settings.audit.groups), "the config names no groups of patients (`audit.groups`)"),
    "age_and_sex": (
        lambda i: all(
            any(re.search(f"(^|_)({n})(_|$)", c.lower()) for c in i.settings.covariates) for n in AGE_AND_SEX
        ),
        "the config names no column of age or of sex (`covariates`)",
    ),
    "timed": (
        lambda i: i.settings.words.timed,
        "the outcome is a response that is assessed once (`endpoint.response`)",
    ),
    "real": (lambda i: not i.simulated, "the cohort is simulated (`data.simulate`)"),
    "subgroups": (
        lambda i: "subgroup_selection" in i.absent or (i.found() or 0) > 1,
        "one group was chosen in all patients, so there are no subgroups (`subgroups`)",
    ),
}
"""What an item can depend on: whether it holds, and the reason to give where it does not."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Item(_Data):
    """An item of a guideline."""

    id: str = Field(description="Number in the guideline.")
    asks_for: str = Field(description="What is asked for, in our own words.")
    see: tuple[str, ...] = Field((), description="Anchors of the page; `?` at the end: only if it is there.")
    needs: tuple[str, ...] = Field((), description="Tables that must have rows.")
    author: str = Field("", description="What the authors must write, beside what is seen.")
    only_if: tuple[str, ...] = Field((), description="Conditions without which the item does not apply.")
    otherwise: str = Field("", description="What the authors must write where they do not hold.")
    unused: str = Field("", description="Why the item never applies to this workflow.")

    @field_validator("needs")
    @classmethod
    def _tables(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _known(names, CONTRACTS, "table")

    @field_validator("only_if")
    @classmethod
    def _conditions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _known(names, CONDITIONS, "condition")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.see or self.author or self.unused):
            raise ValueError(f"item {self.id} has no answer. Suggestion: give `see`, `author` or `unused`")
        if self.unused and (self.see or self.author or self.only_if):
            raise ValueError(f"item {self.id} is unused, and has an answer. Suggestion: drop one of them")
        if (self.needs and not self.see) or (self.otherwise and not self.only_if):
            raise ValueError(f"item {self.id}: `needs` goes with `see`, and `otherwise` with `only_if`")
        return self


class Guideline(_Data):
    """A reporting guideline."""

    name: str
    version: str = Field(description="Year, as in `TRIPOD+AI (2024)`.")
    about: str = Field(description="Which studies it is for.")
    reference: str
    only_if: tuple[str, ...] = Field((), description="Conditions without which no item applies.")
    items: tuple[Item, ...]

    @field_validator("only_if")
    @classmethod
    def _conditions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _known(names, CONDITIONS, "condition")

    @model_validator(mode="after")
    def _unique(self) -> Self:
        ids = [item.id for item in self.items]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"{self.name} has item {join(twice)} twice")
        return self


def _known(names: tuple[str, ...], known: Collection[str], what: str) -> tuple[str, ...]:
    strange = [n for n in names if n not in known]
    if strange:
        raise ValueError(f"there is no {what} `{strange[0]}`. Suggestion: one of {', '.join(sorted(known))}")
    return names


@cache
def load(folder: Path = GUIDELINES) -> tuple[Guideline, ...]:
    """All guidelines, in the order of their files.

    Raises
    ------
    pydantic.ValidationError
        If a file names an unknown table or condition, an item twice, or an item without an answer.
    """
    texts = (path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml")))
    return tuple(Guideline.model_validate(yaml.safe_load(text)) for text in texts)


@dataclass(frozen=True)
class Answer:
    """An item and what there is of it.

    Attributes
    ----------
    text
        What the authors must write, why it does not apply, or what is missing.
    links
        Anchor and heading of each place of the page.
    """

    item: Item
    state: State
    text: str = ""
    links: Sequence[tuple[str, str]] = ()

    @property
    def where(self) -> str:
        """The answer as one text, as `Authors must write: ...; here: report.html#cohort`."""
        lead = {"answered": "", "author": "Authors must write: ", "not applicable": "", "missing": ""}[self.state]
        places = "; ".join(f"report.html#{anchor}" for anchor, _ in self.links)
        if not self.text:
            return places
        return f"{lead}{self.text}" + (f"; here: {places}" if places else "")


def places(sections: Iterable[Section]) -> dict[str, str]:
    """Anchor -> heading of everything in some sections that a link can go to."""
    found: dict[str, str] = {}
    for section in sections:
        found[section.anchor] = section.title
        found |= _within(section.blocks)
    return found


def _within(blocks: Iterable[object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for block in blocks:
        if isinstance(block, Heading) and block.anchor:
            found[block.anchor] = bare(block.text)
        if isinstance(block, Fold):
            found |= {block.anchor: bare(block.summary)} if block.anchor else {}
            found |= _within(block.blocks)
    return found


def resolve(guideline: Guideline, inputs: ReportInputs, known: Mapping[str, str]) -> list[Answer]:
    """What there is of each item.

    Parameters
    ----------
    guideline
        The guideline.
    inputs
        The results.
    known
        Anchor -> heading of the places of the page, as of `places`.
    """
    return [_answer(item, guideline, inputs, known) for item in guideline.items]


def _answer(item: Item, guideline: Guideline, inputs: ReportInputs, known: Mapping[str, str]) -> Answer:
    if item.unused:
        return Answer(item, "not applicable", f"not applicable because {item.unused}")
    outside = _fails(guideline.only_if, inputs)
    fails = outside or _fails(item.only_if, inputs)
    if fails and (outside or not item.otherwise):
        return Answer(item, "not applicable", f"not applicable because {fails}")
    author = item.otherwise if fails else item.author
    gone = [t for t in item.needs if t in inputs.absent]
    empty = [t for t in item.needs if t not in inputs.absent and not inputs.rows(t)]
    anchors = [(entry, _anchors(entry.rstrip("?"), inputs, known)) for entry in item.see]
    links = [(a, known[a]) for _, found in anchors for a in found]
    nowhere = [entry for entry, found in anchors if not found and not entry.endswith("?")]
    if gone or (not author and (empty or nowhere)):
        return Answer(item, "missing", _missing(gone, empty, author))
    if author:
        return Answer(item, "author", author, [] if empty else links)
    return Answer(item, "answered", "", links)


def _fails(names: Sequence[str], inputs: ReportInputs) -> str:
    """Why the first of some conditions that does not hold does not."""
    return next((CONDITIONS[n][1] for n in names if not CONDITIONS[n][0](inputs)), "")


def _missing(gone: Sequence[str], empty: Sequence[str], author: str) -> str:
    told = [f"`{t}` (its file was not there)" for t in gone] + [f"`{t}` (it has no rows)" for t in empty]
    text = f"missing: {join(told) or 'this analysis shows nothing of it'}"
    return f"{text}. Besides, authors must write: {author}" if author else text


def _anchors(entry: str, inputs: ReportInputs, known: Mapping[str, str]) -> list[str]:
    """Places of the page that an entry of `see` stands for: one for each treatment, where it names `{treatment}`."""
    entry = entry.replace("{headline}", slug(inputs.headline))
    keys = list(inputs.settings.treatments) if "{treatment}" in entry else [""]
    return [a for key in keys if (a := entry.replace("{treatment}", key)) in known]


def table(answers: Sequence[tuple[Guideline, Sequence[Answer]]]) -> str:
    """All items as tab-separated text: guideline, item, what it asks for, state and where."""
    text = io.StringIO()
    rows = csv.writer(text, delimiter="\t", lineterminator="\n")
    rows.writerow(["guideline", "item", "asks_for", "state", "where"])
    for guideline, found in answers:
        name = f"{guideline.name} ({guideline.version})"
        rows.writerows([name, a.item.id, a.item.asks_for, a.state, a.where] for a in found)
    return text.getvalue()
