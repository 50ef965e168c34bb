"""Environments as their files say them: what is asked for, the lock, the conda files, the rules that use them."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from conftest import ROOT

ENVS = ROOT / "envs"
STAGES = ("cohort", "models", "treatment", "report")
CUDA = re.compile(r"nvidia-|triton|cuda-")
"""Packages that follow from the build of PyTorch and stand in no lock."""


def lines(path: Path) -> list[str]:
    """Requirements in a file of pip."""
    found = (line.strip() for line in path.read_text().splitlines())
    return [line for line in found if line and not line.startswith(("#", "-"))]


def conda(stage: str) -> dict:
    """Conda file of a stage."""
    return yaml.safe_load((ENVS / f"{stage}.yaml").read_text())


def conda_pins(stage: str) -> list[str]:
    """Requirements that the conda file of a stage hands to pip."""
    (pip,) = [part["pip"] for part in conda(stage)["dependencies"] if isinstance(part, dict)]
    return pip


def names(requirements: list[str]) -> set[str]:
    """Names of packages in one spelling."""
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def pins(requirements: list[str]) -> dict[str, str]:
    """Versions by package of the pins that hold for this Python and machine."""
    parsed = [Requirement(line) for line in requirements]
    assert all(str(one.specifier).startswith("==") for one in parsed)
    return {
        canonicalize_name(one.name): str(one.specifier)[2:]
        for one in parsed
        if one.marker is None or one.marker.evaluate()
    }


def needed(asked: list[str]) -> dict[str, str]:
    """Versions by package of what is asked for and all that it needs, as installed here."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    open_ones = [(canonicalize_name(r.name), extra) for r in map(Requirement, asked) for extra in ("", *r.extras)]
    while open_ones:
        name, extra = open_ones.pop()
        if (name, extra) in seen or CUDA.match(name):
            continue
        seen.add((name, extra))
        installed = distribution(name)
        found[name] = Version(installed.version).public
        for line in installed.requires or []:
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                open_ones += [(canonicalize_name(one.name), more) for more in ("", *one.extras)]
    return found


def rules() -> dict[str, str]:
    """Conda file of each rule, relative to `envs`."""
    found = {}
    for file in [*sorted((ROOT / "workflow" / "rules").glob("*.smk")), ROOT / "workflow" / "sweep.smk"]:
        for block in re.split(r"\n *rule ", file.read_text())[1:]:
            if file.name == "sweep.smk" and "script:" not in block:
                continue  # a target
            (path,) = re.findall(r'conda:\n\s+"([^"]+)"', block)
            assert (file.parent / path).resolve().parent == ENVS, f"{file}: {path}"
            found[block.partition(":")[0]] = Path(path).name
    return found
