"""Text tables as they arrive: byte order marks, line ends, delimiters, encodings, rows of unequal length, gzip."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stratiome.cohort.errors import CohortError

SEPARATORS = {".tsv": "\t", ".txt": "\t", ".csv": ","}
NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "vertical bars"}
BOM = b"\xef\xbb\xbf"
PIECE = 1 << 22


@dataclass(frozen=True)
class TextLayout:
    """How a text table is laid out.

    Attributes
    ----------
    separator, line_end
        Character between cells, and between lines (a line feed, also where a carriage return precedes it, or a
        carriage return alone).
    columns
        Cells of the header as written.
    rows
        Number of rows below the header, -1 where only the header was looked at.
    blank_lines
        Empty lines at the end of the file.
    notes
        What was found, one sentence each.
    """

    separator: str
    line_end: str
    columns: tuple[str, ...]
    rows: int
    blank_lines: int
    notes: tuple[str, ...]


def table_suffix(path: Path) -> str:
    """Kind of a file by its name, without the `.gz` of a compressed text."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def examine(path: Path, comments: bool = False, whole: bool = True) -> TextLayout:
    """Look at every line of a text table (or only at its header) before anything is read from it.

    A reader of numbers would fill rows that are too short with missing values; here they are refused.

    Parameters
    ----------
    comments
        Whether lines that start with `#` are left out, as in files of cBioPortal.
    whole
        Whether to look beyond the header.

    Raises
    ------
    CohortError
        If the text is not UTF-8, its delimiter is not that of its name, delimiters are mixed or rows are of unequal
        length, each with the line.
    """
    separator = SEPARATORS[table_suffix(path)]
    try:
        with _open(path) as handle:
            return _examine(path, handle, separator, comments, whole)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise CohortError(
            f"{path}: the compressed file is damaged or ends too early. "
            "Suggestion: copy or download it again and compare its checksum"
        ) from None


def first_lines(path: Path, prefix: str) -> list[str]:
    """Lines at the start of a text file that begin with `prefix`, without their line ends."""
    found = []
    with _open(path) as handle:
        start, line_end = _line_end(handle)
        for line in _lines(handle, start, line_end):
            text = line.removeprefix(BOM).decode("utf-8", "replace").rstrip("\r")
            if not text.startswith(prefix):
                break
            found.append(text)
    return found


def read_pairs(path: Path) -> dict[str, str]:
    """Keys and values of a file with lines `key: value`."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def _line_end(handle: IO[bytes]) -> tuple[bytes, bytes]:
    """The start of the file up to the first line end at least, and that line end."""
    start = b""
    while piece := handle.read(PIECE):
        start += piece
        if b"\n" in start:
            break
        if b"\r" in start[:-1]:
            return start, b"\r"
    return start, b"\r" if b"\r" in start and b"\n" not in start else b"\n"


def _lines(handle: IO[bytes], start: bytes, line_end: bytes) -> Iterator[bytes]:
    rest = start
    while True:
        *lines, rest = rest.split(line_end)
        yield from lines
        piece = handle.read(PIECE)
        if not piece:
            break
        rest += piece
    if rest:
        yield rest


def _examine(path: Path, handle: IO[bytes], separator: str, comments: bool, whole: bool) -> TextLayout:
    start, line_end = _line_end(handle)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start[:1000]:
        raise CohortError(
            f"{path}: the text is not UTF-8 (it looks like UTF-16). Suggestion: save it as UTF-8 text, "
            "as with `iconv -f UTF-16 -t UTF-8`"
        )
    notes = []
    if start.startswith(BOM):
        notes.append("starts with a byte order mark, which is not part of the first name")
        start = start.removeprefix(BOM)
    if line_end == b"\r":
        notes.append("lines end with a carriage return alone (old Macintosh text), read as they are")
    header: list[str] | None = None
    rows = blank = 0
    for number, line in _whole_lines(path, _lines(handle, start, line_end)):
        if comments and line.startswith(b"#"):
            continue
        if line.strip() == b"":
            blank += 1
            continue
        if blank:
            raise CohortError(f"{path}: line {number - 1} is empty. Suggestion: remove it")
        if header is None:
            header = _header(path, _decoded(path, number, line), number, separator)
            if not whole:
                break
            continue
        rows += 1
        _check_line(path, number, line, separator, len(header))
    if header is None:
        raise CohortError(f"{path}: has no header line. Suggestion: check how the file was exported")
    if whole and blank:
        notes.append(f"{blank} empty lines at the end are left out")
    return TextLayout(
        separator, line_end.decode(), tuple(header), rows if whole else -1, blank if whole else 0, tuple(notes)
    )


def _whole_lines(path: Path, lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers; a quoted cell may go over several lines."""
    opened: list[bytes] = []
    first = number = 0
    for number, line in enumerate(lines, 1):
        odd = line.count(b'"') % 2 == 1 and not (not opened and line.startswith(b"#"))
        if not opened and not odd:
            yield number, line
            continue
        if not opened:
            first = number
        opened.append(line)
        if odd and len(opened) > 1:
            yield first, b"\n".join(opened)
            opened = []
        elif len(opened) > 1000:
            break
    if opened:
        raise CohortError(f"{path}: a quotation mark on line {first} is not closed. Suggestion: close it or remove it")


def _decoded(path: Path, number: int, line: bytes) -> str:
    try:
        return line.rstrip(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise CohortError(
            f"{path}: the text is not UTF-8 (line {number}, byte {error.start + 1}; it may be Latin-1, as older "
            "spreadsheets write it). Suggestion: save it as UTF-8 text, as with `iconv -f LATIN1 -t UTF-8`"
        ) from None


def _header(path: Path, line: str, number: int, separator: str) -> list[str]:
    if line.startswith("#"):
        raise CohortError(
            f"{path}: line {number} starts with `#`. Suggestion: remove comment lines and the sign before the header; "
            "the files of a cBioPortal study are read through `data.study`"
        )
    cells = next(csv.reader([line], delimiter=separator))
    if len(cells) > 1:
        return cells
    found = next((c for c in NAMES if c != separator and c in line), None)
    what = f"; its header is separated by {NAMES[found]}" if found else ""
    fix = ".tsv needs tabs, .csv needs commas between columns"
    if found == ";":
        fix += "; a spreadsheet that writes decimal commas writes semicolons too: export it with points and tabs"
    elif found in (",", "\t"):
        fix += f"; rename it to {'.csv' if found == ',' else '.tsv'}, or export it again"
    raise CohortError(f"{path}: only one column found{what}. Suggestion: {fix}")


def _check_line(path: Path, number: int, line: bytes, separator: str, columns: int) -> None:
    if not line.isascii():
        _decoded(path, number, line)
    if b"\r" in line[:-1] and b'"' not in line:
        raise CohortError(
            f"{path}: line {number} holds a carriage return: line ends are mixed. "
            "Suggestion: convert all of them, as with `tr '\\r' '\\n'`"
        )
    if line.count(separator.encode()) == columns - 1:  # also a quoted line, unless it holds separators within quotes
        return
    text = _decoded(path, number, line)
    cells = len(next(csv.reader(text.split("\n"), delimiter=separator)))
    if cells == columns:
        return
    other = next((c for c in NAMES if c != separator and text.count(c) + text.count(separator) == columns - 1), None)
    if other:
        raise CohortError(
            f"{path}: line {number} is separated by {NAMES[other]} where the header has {NAMES[separator]} "
            f"(mixed delimiters). Suggestion: use {NAMES[separator]} in every line"
        )
    row_names = " (a header that lacks the name of the first column is what R writes with row names)"
    raise CohortError(
        f"{path}: line {number} has {cells} cells, the header {columns}"
        f"{row_names if cells == columns + 1 and number == 2 else ''}. "
        "Suggestion: save it as UTF-8 text with one header line and equal numbers of columns in every row"
    )
