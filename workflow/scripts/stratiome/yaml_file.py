"""Reading a config file, with what is wrong in it and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from stratiome.config import ConfigError


def read_config(path: Path) -> dict[str, Any]:
    """A config file as it is written.

    Raises
    ------
    ConfigError
        If it is not there, is no YAML, or holds no keys.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"cannot be read ({error.strerror}). Suggestion: check the path"], str(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(["is not UTF-8. Suggestion: save it as UTF-8"], str(path)) from error
    except yaml.YAMLError as error:
        raise ConfigError([_told(error)], str(path)) from error
    if not isinstance(found, dict):
        raise ConfigError(["holds no keys. Suggestion: write it as `key: value`, one a line"], str(path))
    return found


def _told(error: yaml.YAMLError) -> str:
    """Line and column of a mistake, and what the parser says of it."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or "cannot be parsed"
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    fix = "look at this line and the one above: a bracket, a quotation mark or a colon may lack, or indents differ"
    if "'\\t'" in what:
        fix = "indent with blanks, not with tabs"
    return f"{where}{what}. Suggestion: {fix}"


def named(path: str, error: ConfigError) -> list[str]:
    """The problems of a file, each with its name."""
    return [f"{path}{':' if problem.startswith('line ') else ''} {problem}" for problem in error.problems]
