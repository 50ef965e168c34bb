"""What a script imports, itself and by way of the library, read from the text without running it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from conftest import ROOT

SCRIPTS = ROOT / "workflow" / "scripts"
STANDARD = frozenset(sys.stdlib_module_names)


def modules_of(script: Path) -> tuple[set[Path], set[str]]:
    """Files of the library that a script comes to, and the modules of other packages, as they are imported."""
    own: set[Path] = set()
    others: set[str] = set()
    found = [script]
    while found:
        file = found.pop()
        if file in own:
            continue
        own.add(file)
        for name in _imported(file):
            files = _files(name)
            found += files
            if not files and name.partition(".")[0] not in STANDARD | {"stratiome"}:
                others.add(name)
    return own, others


@cache
def _imported(file: Path) -> set[str]:
    """Modules that a file imports anywhere in it, within functions too."""
    return {name for node in ast.walk(ast.parse(file.read_text())) for name in _names(node)}


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        if node.module.startswith("stratiome"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Name | ast.Attribute):
        yield from _named(node.func.id if isinstance(node.func, ast.Name) else node.func.attr, node.args[0])


def _named(function: str, argument: ast.expr) -> Iterator[str]:
    """Modules that are asked for by name: `import_module(f"package.{name}")` may take any of the package."""
    if function == "import_module":
        assert isinstance(argument, ast.JoinedStr), ast.unparse(argument)
        start = argument.values[0]
        assert isinstance(start, ast.Constant), ast.unparse(argument)
        package = str(start.value).rstrip(".")
        yield from (f"{package}.{path.stem}" for path in SCRIPTS.joinpath(*package.split(".")).glob("*.py"))
    elif function == "files" and isinstance(argument, ast.Constant):  # of importlib.resources
        yield str(argument.value)


@cache
def _files(name: str) -> list[Path]:
    """Files of the library that an import of a module runs: its own and those of the packages around it."""
    parts = name.split(".")
    paths = [SCRIPTS.joinpath(*parts[: i + 1]) for i in range(len(parts))]
    return [file for path in paths for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()]
