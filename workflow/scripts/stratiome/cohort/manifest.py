"""What went in: inputs with checksums, software, config, seeds."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import stratiome
from stratiome.config import Config

PACKAGES = (
    "snakemake", "numpy", "scipy", "pandas", "polars", "pandera", "pydantic", "torch", "anndata", "mudata", "scanpy",
    "mofapy2", "scikit-learn", "lifelines", "scikit-survival", "statsmodels", "matplotlib", "jinja2", "safetensors",
)  # fmt: skip


def sha256(path: Path) -> str:
    """Hex digest of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def describe_input(name: str, path: Path, rows: int, columns: int) -> dict[str, Any]:
    """One line of the manifest on an input file."""
    return {
        "name": name,
        "path": str(path),
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
        "rows": rows,
        "columns": columns,
    }


def manifest(config: Config, inputs: list[dict[str, Any]], software: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Manifest of an analysis; no time stamps, so that the same analysis has the same manifest.

    Parameters
    ----------
    config
        The config of the analysis.
    inputs
        A line on each input file, as of `describe_input`.
    software
        Versions by package, where stages run in environments of their own; of others, what is installed here.
    """
    versions = {package: _version(package) for package in PACKAGES} | {
        package: version for package, version in (software or {}).items() if package in PACKAGES
    }
    return {
        "cohort": config.cohort,
        "config_hash": config.hash(),
        "seed": config.seed,
        "created_with": {"stratiome": stratiome.__version__} | versions,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": config.latent.device,
        "inputs": inputs,
        "config": config.model_dump(mode="json"),
    }


def write_json(content: dict[str, Any] | list[dict[str, Any]], path: str | Path) -> None:
    """Write JSON with sorted keys, in one step that leaves no half-written file."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, target)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
