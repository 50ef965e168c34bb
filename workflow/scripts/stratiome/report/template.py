"""The one template of all pages, filled so that a page loads nothing from outside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATES = Path(__file__).resolve().parents[3] / "report"
"""Folder of the template and the style sheet (`workflow/report`)."""


def ticks(text: str) -> Markup:
    """Text with what stands between backticks set as code, everything escaped."""
    from markupsafe import Markup, escape

    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def css_string(text: str) -> Markup:
    """Text as a string of a style sheet, safe within `<style>`: all but letters and digits are escaped."""
    from markupsafe import Markup

    return Markup('"{}"').format(Markup("").join(c if c.isalnum() and c.isascii() else f"\\{ord(c):x} " for c in text))


def fill(templates: Path, **values: Any) -> str:
    """The page as HTML.

    Parameters
    ----------
    templates
        Folder with `report.html.j2` and `style.css`.
    values
        What the template asks for, without the style; `made_of` are the words of the last line.

    Raises
    ------
    FileNotFoundError
        If the folder holds no template.
    """
    if not (templates / "report.html.j2").is_file():
        raise FileNotFoundError(
            f"{templates} holds no `report.html.j2`. Suggestion: run from a checkout of the repository, or give"
            " `templates`"
        )
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ticks": ticks, "css_string": css_string}
    style = (templates / "style.css").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(style=style, **values)
