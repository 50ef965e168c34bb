"""What a page says where files of its tables were not there: which, and in which sections."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from stratiome.report.blocks import Cell, Heading, Note, Section, Table
from stratiome.report.inputs import PROTECTING, ReportInputs
from stratiome.report.words import join, tail


def noted(maker: Callable[[ReportInputs], Section | None], inputs: ReportInputs) -> Section | None:
    """A section that says at its top which absent tables it asked for."""
    asked: set[str] = set()
    section = maker(replace(inputs, asked=asked))
    gone = without(inputs, asked)
    if section is None or not gone:
        return section
    return replace(section, blocks=[Note(told(inputs, gone), "care"), *section.blocks], without=gone)


def without(inputs: ReportInputs, asked: Collection[str]) -> list[str]:
    """Those of some tables that are absent."""
    return [name for name in inputs.absent if name in asked]


def told(inputs: ReportInputs, names: Sequence[str]) -> str:
    """That something was made without some tables."""
    files = join([f"`{name}` ({', '.join(tail(p) for p in inputs.absent[name])})" for name in names])
    were = "the file was" if len(names) == 1 else "the files were"
    return (
        f"Made without {files}: {were} not there. What rests on it is"
        " left out, and where it says here that something was not asked, tested, estimable or found, that may be why."
    )


def left_out(inputs: ReportInputs, sections: Sequence[Section]) -> list[object]:
    """Absent tables with the sections that had to do without them; nothing where all are there."""
    if not inputs.absent:
        return []
    rows: list[Sequence[Cell | str]] = [
        [
            f"`{name}`",
            ", ".join(f"`{tail(p)}`" for p in files),
            join([s.title for s in sections if name in s.without]) or "None",
        ]
        for name, files in inputs.absent.items()
    ]
    note = "Make the run again to have them. What a section says without a table is no finding."
    if unprotected(inputs):
        note += f" {unprotected(inputs)} Do not share this page."
    head = ["Table", "Files", "Sections that had to do without"]
    return [
        Heading("What was not there", "provenance-absent"),
        Table("Files that were not there.", head, rows, note=note),
    ]


def unprotected(inputs: ReportInputs) -> str:
    """That small counts cannot be protected, where a table is absent that tells which are small; else nothing."""
    gone = [f"`{name}`" for name in inputs.absent if name in PROTECTING]
    return f"Without {join(gone)} counts of few patients are protected less well." if gone else ""
