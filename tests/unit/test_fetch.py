"""Download of a study from a server on this machine that also truncates, corrupts, stalls and fails."""

import hashlib
import io
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import yaml

from conftest import write_tiny
from stratiome.cohort import fetch as module
from stratiome.cohort.errors import CohortError
from stratiome.cohort.fetch import fetch_study, main
from stratiome.config import ConfigError, FetchConfig, load_config

NOISE = np.random.default_rng(5).bytes(300_000)  # does not compress, so that transfers have several pieces


def _tar(members: dict[str, bytes], extra=()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return buffer.getvalue()


def _zip(members: dict[str, bytes], mode: int = 0o100644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            packed.writestr(info, content)
    return buffer.getvalue()


GOOD = _tar({"study/meta_study.txt": b"name: x\n", "study/case_lists/all.txt": b"a\tb\n", "study/noise.bin": NOISE})


class Server:
    """Serves `content`; `faults` are used up one a request, `requests` holds the Range header of each."""

    def __init__(self):
        self.content, self.faults, self.requests, self.ranges = GOOD, [], [], True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/study.tar.gz"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, handler):
        asked = handler.headers.get("Range")
        self.requests.append(asked)
        fault = self.faults.pop(0) if self.faults else ""
        if fault.isdigit():
            handler.send_error(int(fault))
            return
        start = int(asked[6:-1]) if asked and self.ranges else 0
        if start >= len(self.content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.content)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        body = self.content[start:]
        handler.send_response(206 if asked and self.ranges else 200)
        handler.send_header("Content-Length", str(len(body)))
        if asked and self.ranges:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        handler.end_headers()
        if fault == "corrupt":
            body = body[:100] + bytes([body[100] ^ 1]) + body[101:]
        if fault in ("truncate", "stall"):
            handler.wfile.write(body[: len(body) // 2])
            handler.wfile.flush()
            if fault == "stall":
                time.sleep(1.5)
            return
        handler.wfile.write(body)


@pytest.fixture
def server():
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


def _fetch(server, folder, content=None, **options):
    server.content = content if content is not None else server.content
    wanted = FetchConfig(url=server.url, sha256=hashlib.sha256(server.content).hexdigest())
    settings = {"timeout": 0.4, "attempts": 3, "pause": 0.01, "quiet": True} | options
    return fetch_study(wanted, folder, **settings)


def _left(folder):
    return sorted(p.name for p in folder.iterdir())


def test_unpacked_once(server, tmp_path):
    assert _fetch(server, tmp_path / "down" / "study")
    assert (tmp_path / "down/study/study/noise.bin").read_bytes() == NOISE
    assert _left(tmp_path / "down") == ["study"]
    assert not _fetch(server, tmp_path / "down" / "study")
    assert server.requests == [None]


@pytest.mark.parametrize("fault", ["truncate", "stall"])
def test_goes_on_where_it_ended(server, tmp_path, fault):
    server.faults = [fault, fault]
    assert _fetch(server, tmp_path / "study")
    half = len(GOOD) // 2
    assert server.requests == [None, f"bytes={half}-", f"bytes={half + (len(GOOD) - half) // 2}-"]
    assert (tmp_path / "study/study/noise.bin").read_bytes() == NOISE


def test_goes_on_in_another_run(server, tmp_path):
    (tmp_path / "study.archive.partial").write_bytes(GOOD[:1000])
    assert _fetch(server, tmp_path / "study")
    assert server.requests == ["bytes=1000-"]


def test_a_whole_partial_file_needs_no_more_bytes(server, tmp_path):
    (tmp_path / "study.archive.partial").write_bytes(GOOD)
    assert _fetch(server, tmp_path / "study")


@pytest.mark.parametrize("stale", [b"x" * 1000, b"x" * (len(GOOD) + 5)])
def test_the_start_of_another_file_is_not_trusted(server, tmp_path, stale):
    (tmp_path / "study.archive.partial").write_bytes(stale)
    assert _fetch(server, tmp_path / "study")
    assert (tmp_path / "study/study/noise.bin").read_bytes() == NOISE


def test_a_server_that_does_not_resume(server, tmp_path):
    server.ranges, server.faults = False, ["truncate"]
    assert _fetch(server, tmp_path / "study")


def test_a_corrupt_file_is_not_kept(server, tmp_path):
    server.faults = ["corrupt"]
    with pytest.raises(CohortError, match=r"has the SHA-256 .* it was not kept"):
        _fetch(server, tmp_path / "study")
    assert _left(tmp_path) == []


def test_a_server_that_fails_is_asked_again_but_not_for_ever(server, tmp_path):
    server.faults = ["503", "500"]
    assert _fetch(server, tmp_path / "a")
    server.faults = ["503"] * 10
    with pytest.raises(CohortError, match=r"could not be downloaded in 3 attempts .503"):
        _fetch(server, tmp_path / "b")
    assert len(server.requests) == 3 + 3


def test_what_is_not_there_is_said_at_once(server, tmp_path):
    server.faults = ["404"]
    with pytest.raises(CohortError, match="answers 404"):
        _fetch(server, tmp_path / "study")
    assert len(server.requests) == 1


def test_another_folder_is_not_overwritten(server, tmp_path):
    (tmp_path / "study").mkdir()
    with pytest.raises(CohortError, match="was not made from this archive"):
        _fetch(server, tmp_path / "study")
    assert server.requests == []


def _link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


UNSAFE = {
    "parent folder": (_tar({"ok.txt": b"", "../evil.txt": b"x"}), "outside of its folder"),
    "absolute path": (_tar({"/tmp/evil.txt": b"x"}), "outside of its folder"),
    "backslashes": (_zip({"..\\evil.txt": b"x"}), "outside of its folder"),
    "zip parent folder": (_zip({"a/../../evil.txt": b"x"}), "outside of its folder"),
    "symbolic link": (_tar({"a": b""}, [_link("out", "/etc")]), "a link or special file"),
    "hard link": (_tar({"a": b""}, [_link("out", "../evil.txt", tarfile.LNKTYPE)]), "a link or special file"),
    "named pipe": (_tar({}, [_link("pipe", "", tarfile.FIFOTYPE)]), "a link or special file"),
    "zip symbolic link": (_zip({"out": b"/etc"}, 0o120777), "a link or special file"),
    "no archive": (b"<html>please log in</html>", "neither a tar nor a zip"),
    "damaged archive": (GOOD[:-5000], "cannot be unpacked"),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_unsafe_archives_leave_nothing(server, tmp_path, case):
    content, message = UNSAFE[case]
    with pytest.raises(CohortError, match=message):
        _fetch(server, tmp_path / "here" / "study", content)
    assert not (tmp_path / "evil.txt").exists()
    assert _left(tmp_path / "here") == ["study.archive"]


def test_zip(server, tmp_path):
    assert _fetch(server, tmp_path / "study", _zip({"study/a.txt": b"one", "study/b/c.txt": b"two"}))
    assert (tmp_path / "study/study/b/c.txt").read_bytes() == b"two"


def test_mutant_without_the_check_of_paths_writes_outside(server, tmp_path, monkeypatch):
    class Blind(module.PurePosixPath):
        parts = ()

    monkeypatch.setattr(module, "PurePosixPath", Blind)
    _fetch(server, tmp_path / "here" / "study", _tar({"../../evil.txt": b"x"}))
    assert (tmp_path / "evil.txt").exists()


def test_from_a_config(server, tmp_path, capsys):
    raw = write_tiny(tmp_path / "data")
    raw["data"] |= {"folder": str(tmp_path / "new")}
    raw["data"]["fetch"] = {"url": server.url, "sha256": hashlib.sha256(GOOD).hexdigest()}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(raw))
    assert main([str(tmp_path / "c.yaml")]) == 0
    assert (tmp_path / "new/study/meta_study.txt").exists()
    raw["data"]["fetch"]["sha256"] = "abc"
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(raw))
    assert main([str(tmp_path / "c.yaml")]) == 1
    assert "data.fetch.sha256" in capsys.readouterr().err


def test_a_folder_of_its_own_is_needed(tiny):
    tiny["data"] |= {"folder": ".", "fetch": {"url": "https://example.org/a.zip", "sha256": "0" * 64}}
    with pytest.raises(ConfigError, match="needs a `folder` of its own"):
        load_config(tiny)
