"""Tables of RESULTS.md, each between marks of its own."""

from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


def write_table(name: str, heading: str, text: str) -> None:
    """Put text between the marks of a benchmark; a benchmark without marks gets them at the end, below a heading.

    Parameters
    ----------
    name
        The benchmark, as in its marks.
    heading
        Heading of the new part.
    text
        What stands between the marks.
    """
    old = RESULTS.read_text(encoding="utf-8")
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    if start not in old:
        old = f"{old.rstrip()}\n\n## {heading}\n\n{start}\n{end}\n"
    before, rest = old.split(start)
    RESULTS.write_text(f"{before}{start}\n{text.rstrip()}\n{end}{rest.split(end)[1]}", encoding="utf-8")
