"""The files of a bundle: which there are, what `bundle.json` may say, and how each is checked before it is read.

A bundle is a folder of JSON, safetensors and parquet. Reading it runs no code of it. `bundle.json` lists every other
file with size and SHA-256; a folder with a file more, a file less, a link, or a byte that differs is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stratiome.cohort.manifest import sha256, write_json
from stratiome.config import EndpointConfig, Kind, Name
from stratiome.names import CARD

FORMAT = 4
FILES = (
    "transforms.safetensors",
    "latent.safetensors",
    "latent.json",
    "subgroups.json",
    "claims.parquet",
    "prognosis.safetensors",
    "prognosis.json",
    "training.json",
    "reference.json",
    "treatment_curves.parquet",
)
"""Every file of a bundle beside its card, in this order."""
MOST_CARD, MOST_FILE = 8 * 2**20, 8 * 2**30
"""Bytes beyond which a card, and any other file, is refused unread."""


class BundleError(ValueError):
    """A bundle that cannot be used."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileEntry(_Closed):
    """Size and digest of a file."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0, le=MOST_FILE)]


class OmicEntry(_Closed):
    """What the numbers of an omic are."""

    kind: Kind
    unit: Literal["", "linear"]


class Card(_Closed):
    """What `bundle.json` says.

    Attributes
    ----------
    format
        Version of this layout.
    stratiome
        Version that wrote it.
    cohort, title, intended_use, out_of_scope
        Of whom the models were learned, and what for.
    endpoint
        The outcome, as in the config.
    covariates
        Clinical columns of the models.
    types
        Declared types of clinical columns.
    site
        Column of the site whose differences were removed; None where none were.
    omics
        By name.
    min_probability
        Probability below which a patient stays without subgroup.
    min_cell
        Smallest count that is told.
    n, events
        Training patients with an outcome, and events among them.
    files
        Every other file.
    """

    format: Literal[4]
    stratiome: str
    cohort: Name
    title: str
    intended_use: str
    out_of_scope: str
    endpoint: dict[str, Any]
    covariates: list[str]
    types: dict[str, Literal["numeric", "categorical"]]
    site: str | None
    omics: dict[Name, OmicEntry]
    min_probability: Annotated[float, Field(ge=0, le=1)]
    min_cell: Annotated[int, Field(ge=1)]
    n: Annotated[int, Field(ge=0)]
    events: Annotated[int, Field(ge=0)]
    files: dict[str, FileEntry]

    @property
    def outcome(self) -> EndpointConfig:
        """The outcome as the config has it."""
        return EndpointConfig.model_validate(self.endpoint)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are all there and unchanged.

    Attributes
    ----------
    folder
        Where it is.
    card
        What it says of itself.
    digest
        SHA-256 of the card, which holds those of all files: that of the bundle.
    """

    folder: Path
    card: Card
    digest: str

    def path(self, name: str) -> str:
        """Path of one of `FILES`."""
        return str(self.folder / name)


def write_card(folder: Path, card: dict[str, Any]) -> Bundle:
    """Add digests of the files that are there, and write the card last: a folder without one is no bundle."""
    files = {n: {"sha256": sha256(folder / n), "bytes": (folder / n).stat().st_size} for n in FILES}
    write_json(card | {"format": FORMAT, "files": files}, folder / CARD)
    return open_bundle(folder)


def open_bundle(folder: str | Path) -> Bundle:
    """Check every file of a bundle.

    Raises
    ------
    BundleError
        Naming the file, what is wrong with it, and a fix.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BundleError(f"`bundle`: {folder} is no folder. Suggestion: give the folder that holds {CARD}")
    card = _read_card(folder / CARD)
    if sorted(card.files) != sorted(FILES):
        odd = sorted(set(card.files) ^ set(FILES))
        raise BundleError(f"{folder / CARD} does not list the files of a bundle ({_few(odd)}). {_ANEW}")
    there = sorted(p.name for p in folder.iterdir())
    if there != sorted((CARD, *FILES)):
        lacking, beside = (sorted(a - b) for a, b in (({CARD, *FILES}, set(there)), (set(there), {CARD, *FILES})))
        said = [f"lacks {_few(lacking)}"] if lacking else []
        said += [f"holds {_few(beside)} besides its own files"] if beside else []
        raise BundleError(f"{folder} {' and '.join(said)}. {_ANEW}")
    for name, entry in card.files.items():
        _check_file(folder / name, entry)
    return Bundle(folder, card, sha256(folder / CARD))


_ANEW = "Suggestion: copy the bundle again from where it was made"


def _few(names: list[str]) -> str:
    return ", ".join(repr(n[:40]) for n in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _read_card(path: Path) -> Card:
    _regular(path)
    if path.stat().st_size > MOST_CARD:
        raise BundleError(f"{path} is larger than a card can be. {_ANEW}")
    try:
        raw = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise BundleError(f"{path} is no JSON. {_ANEW}") from None
    if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] != FORMAT:
        raise BundleError(
            f"{path} has format {raw['format']}, and this version reads format {FORMAT}. Suggestion: "
            + ("a newer Stratiome" if raw["format"] > FORMAT else "make the bundle again with this version")
        )
    try:
        card = Card.model_validate(raw)
        card.outcome  # noqa: B018 - read here, so that a wrong one is refused with the card
    except (ValidationError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "nested too deeply"}
        where = ".".join(str(k)[:40] for k in first["loc"]) or "the card"
        raise BundleError(f"{path}: `{where}`: {first['msg'][:120]}. {_ANEW}") from None
    return card


def _regular(path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path} is missing, or is no plain file. {_ANEW}")


def _check_file(path: Path, entry: FileEntry) -> None:
    _regular(path)
    size = path.stat().st_size
    if size != entry.bytes:
        raise BundleError(f"{path} has {size} bytes in place of {entry.bytes}. {_ANEW}")
    if sha256(path) != entry.sha256:
        raise BundleError(f"{path} differs from the file that the bundle was made with. {_ANEW}")
