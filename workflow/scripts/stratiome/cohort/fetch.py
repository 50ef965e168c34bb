"""Download of a study archive that a config names: `python -m stratiome.cohort.fetch CONFIG` (`make fetch-study`).

No run of the workflow downloads anything; this is done once, by hand, before.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import stat
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from stratiome.cohort.errors import CohortError
from stratiome.cohort.manifest import sha256
from stratiome.config import Config, ConfigError, FetchConfig, check_config

PIECE = 1 << 18
MARK = ".fetched.json"
_TRANSIENT = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


class _Interrupted(OSError):
    """A transfer that ended before the file was whole."""


def fetch_study(
    fetch: FetchConfig,
    folder: Path,
    *,
    timeout: float = 30.0,
    attempts: int = 5,
    pause: float = 2.0,
    quiet: bool = False,
) -> bool:
    """Download an archive, check it and unpack it; the folder appears when everything is in it.

    Parameters
    ----------
    fetch
        Address and checksum.
    folder
        Where to unpack to.
    timeout
        Seconds without a byte after which a transfer is tried again.
    attempts
        Times a transfer is tried without any progress.
    pause
        Seconds before the second try; doubled before each further one.

    Returns
    -------
    bool
        False if the folder already holds this archive.

    Raises
    ------
    CohortError
        If the folder holds anything else, the transfer fails, the checksum differs, or the archive holds links or paths
        outside of itself.
    """
    wanted = fetch.sha256.lower()
    if folder.exists():
        if (folder / MARK).is_file() and json.loads((folder / MARK).read_text())["sha256"] == wanted:
            return False
        raise CohortError(
            f"{folder}: exists and was not made from this archive. Suggestion: remove it, or set another `data.folder`"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = folder.with_name(f"{folder.name}.archive")
    if not (archive.is_file() and sha256(archive) == wanted):
        _download_checked(fetch.url, wanted, archive, timeout, attempts, pause, quiet)
    unpacked = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        unpack(archive, unpacked, fetch.url)
        (unpacked / MARK).write_text(json.dumps({"url": fetch.url, "sha256": wanted}) + "\n")
        os.replace(unpacked, folder)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    archive.unlink()
    return True


def _download_checked(
    url: str, wanted: str, target: Path, timeout: float, attempts: int, pause: float, quiet: bool
) -> None:
    partial = target.with_name(f"{target.name}.partial")
    resumed = partial.exists()
    _download(url, partial, timeout, attempts, pause, quiet)
    found = sha256(partial)
    if found != wanted and resumed:  # what was there may have been the start of another file
        partial.unlink()
        _download(url, partial, timeout, attempts, pause, quiet)
        found = sha256(partial)
    if found != wanted:
        partial.unlink()
        raise CohortError(
            f"{url}: has the SHA-256 {found}, not {wanted}; it was not kept. "
            "Suggestion: the file was damaged or has changed; find out which before you change `data.fetch.sha256`"
        )
    os.replace(partial, target)


def _download(url: str, partial: Path, timeout: float, attempts: int, pause: float, quiet: bool) -> None:
    """Get a file into `partial`, going on where an earlier transfer ended."""
    failed = 0
    while True:
        before = partial.stat().st_size if partial.exists() else 0
        try:
            _transfer(url, partial, timeout, quiet)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise CohortError(
                    f"{url}: the server answers {error.code} {error.reason}. Suggestion: check `data.fetch.url`"
                ) from None
            reason = f"{error.code} {error.reason}"
        except (*_TRANSIENT, _Interrupted) as error:
            reason = str(error) or type(error).__name__
        after = partial.stat().st_size if partial.exists() else 0
        failed = 0 if after > before else failed + 1
        if failed >= attempts:
            raise CohortError(
                f"{url}: could not be downloaded in {attempts} attempts ({reason}); {after} bytes are "
                f"kept in {partial}. "
                "Suggestion: check the connection and run the same command again, it goes on from there"
            )
        time.sleep(pause * 2 ** max(failed - 1, 0))


def _transfer(url: str, partial: Path, timeout: float, quiet: bool) -> None:
    from tqdm import tqdm

    start = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "stratiome", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing beyond what is there: whole, or the start of another file
            whole = (error.headers.get("Content-Range") or "").rpartition("/")[2]
            if whole == str(start):
                return
            partial.unlink()
            raise _Interrupted("what was there is not the start of this file") from None
        raise
    with answer:
        if start and not (
            answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        ):
            start = 0  # the server does not resume
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        with (
            partial.open("ab" if start else "wb") as handle,
            tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=partial.stem, disable=quiet) as bar,
        ):
            while piece := answer.read1(PIECE):
                handle.write(piece)
                bar.update(len(piece))
    size = partial.stat().st_size
    if total is not None and size < total:
        raise _Interrupted(f"the connection ended after {size} of {total} bytes")


def unpack(archive: Path, folder: Path, url: str) -> None:
    """Unpack regular files and folders of a tar or zip archive into a new folder.

    Raises
    ------
    CohortError
        If a member is a link or device, lies outside of the folder, or the disk has too little space.
    """
    try:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                _unpack(_tar_members(tar), folder, url)
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                _unpack(_zip_members(packed), folder, url)
        else:
            raise CohortError(f"{url}: is neither a tar nor a zip archive. Suggestion: check `data.fetch.url`")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise CohortError(
            f"{url}: cannot be unpacked ({type(error).__name__}). Suggestion: the archive itself is damaged"
        ) from None


Member = tuple[str, str, int, Any]
"""Name, kind (file, folder or other), size in bytes, and a function that opens it."""


def _tar_members(tar: tarfile.TarFile) -> Iterator[Member]:
    for member in tar.getmembers():
        kind = "file" if member.isreg() else "folder" if member.isdir() else "other"
        yield member.name, kind, member.size, lambda m=member: tar.extractfile(m)


def _zip_members(packed: zipfile.ZipFile) -> Iterator[Member]:
    for info in packed.infolist():
        mode = info.external_attr >> 16
        special = stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
        kind = "other" if special else "folder" if info.is_dir() else "file"
        yield info.filename, kind, info.file_size, lambda i=info: packed.open(i)


def _unpack(members: Iterator[Member], folder: Path, url: str) -> None:
    found = list(members)
    for name, kind, _, _ in found:
        path = PurePosixPath(name.replace("\\", "/"))
        if kind == "other":
            raise CohortError(
                f"{url}: the archive holds a link or special file (`{name}`), so nothing of it was unpacked. "
                "Suggestion: a study has plain files only; is this the right archive?"
            )
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0:1]:
            raise CohortError(
                f"{url}: the archive would write outside of its folder (`{name}`), so nothing of it was unpacked. "
                "Suggestion: do not trust this archive"
            )
    size, free = sum(m[2] for m in found), shutil.disk_usage(folder.parent).free
    if size > free:
        raise CohortError(
            f"{url}: needs {size:,} bytes, {free:,} are free in {folder.parent}. "
            "Suggestion: set `data.folder` to another disk"
        )
    folder.mkdir()
    for name, kind, expected, opener in found:
        target = folder / PurePosixPath(name.replace("\\", "/"))
        if kind == "folder":
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with opener() as source, target.open("xb") as handle:
            _copy(source, handle, expected, url, name)


def _copy(source: IO[bytes], handle: IO[bytes], expected: int, url: str, name: str) -> None:
    # A member may hold more than it announces (a bomb): no more than was announced is written.
    left = expected
    while left and (piece := source.read(min(PIECE, left))):
        handle.write(piece)
        left -= len(piece)
    if left or source.read(1):
        raise CohortError(f"{url}: `{name}` has another size than announced. Suggestion: the archive is damaged")


def main(arguments: list[str] | None = None) -> int:
    """Download what `data.fetch` of a config names."""
    import yaml

    parser = argparse.ArgumentParser(prog="fetch_study", description="Download the study that a config names.")
    parser.add_argument("config", type=Path, help="config file with `data.fetch` and `data.folder`")
    path = parser.parse_args(arguments).config
    try:
        config = _config(yaml.safe_load(path.read_text(encoding="utf-8")), path)
        fetch = config.data.fetch
        if fetch is None:
            raise CohortError(f"{path}: has no `data.fetch`. Suggestion: add `fetch: {{url: ..., sha256: ...}}`")
        new = fetch_study(fetch, Path(config.data.folder))
    except (CohortError, ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{config.data.folder}: {'downloaded and unpacked' if new else 'is there already'}", file=sys.stderr)
    return 0


def _config(raw: Any, path: Path) -> Config:
    config, problems = check_config(raw if isinstance(raw, dict) else {})
    if config is None or problems:
        raise ConfigError(problems, str(path))
    return config


if __name__ == "__main__":
    sys.exit(main())
