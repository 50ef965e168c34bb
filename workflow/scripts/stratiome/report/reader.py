"""A page read as a browser would: what is open around each piece of text, and the origin of its numbers."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
"""Elements that are never closed."""


class Reader(HTMLParser):
    """Knows the elements that are open, and the expression of the number that is read (`traced.annotate`)."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, str]] = []

    @property
    def within(self) -> list[str]:
        """Names of the elements that are open, outermost first."""
        return [tag for tag, _ in self._open]

    @property
    def origin(self) -> str:
        """Expression of the number that is read; "" in prose."""
        return next((o for _, o in reversed(self._open) if o), "")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        if tag not in VOID:
            given = dict(attrs)
            self._open.append(
                (tag, (given.get("title") if given.get("class") == "n" else given.get("data-from")) or "")
            )

    def handle_endtag(self, tag: str) -> None:
        """Close an element, and what was left open in it."""
        for i in range(len(self._open) - 1, -1, -1):
            if self._open[i][0] == tag:
                del self._open[i:]
                break
