"""Inputs that cannot be written to, results on another file system, and both on object storage (a local server)."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml

from conftest import ROOT, snakemake, write_config, write_tiny
from small import TIMED

pytestmark = [pytest.mark.e2e, pytest.mark.long]

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDOFTHETESTONLY", "AWS_SECRET_ACCESS_KEY": "SecretOfTheTestOnly0123"}
CHEAP = {"resamples": {"folds": 2, "leave_site_out": False}, "treatments": {}}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Iterator[Path]:
    """Folder of a tiny cohort and its config, read-only: mounted so as root, to whom modes mean nothing."""
    folder = tmp_path_factory.mktemp("cohort")
    write_config(write_tiny(folder) | CHEAP | {"results": "results/tiny"}, folder / "config.yaml")
    mounted = os.geteuid() == 0 and _mount("--bind", str(folder), str(folder))
    if mounted:
        _mount("-o", "remount,ro,bind", str(folder))
    else:
        for path in (*folder.iterdir(), folder):
            path.chmod(path.stat().st_mode & ~0o222)
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)
    else:
        folder.chmod(0o755)


def _mount(*arguments: str) -> bool:
    if shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def _state(folder: Path) -> dict[str, tuple[int, str]]:
    return {p.name: (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest()) for p in folder.iterdir()}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Iterator[Path]:
    """Empty folder on another file system than that of the run."""
    here = tmp_path_factory.getbasetemp().stat().st_dev
    for parent in (Path("/dev/shm"), Path.home(), Path("/var/tmp")):
        if parent.is_dir() and os.access(parent, os.W_OK) and parent.stat().st_dev != here:
            folder = Path(tempfile.mkdtemp(dir=parent))
            yield folder
            shutil.rmtree(folder)
            return
    pytest.skip("there is no second file system to write to")


@pytest.fixture(scope="module")
def results(cohort, elsewhere, tmp_path_factory) -> Path:
    """Results of a run from read-only files into a folder of another file system."""
    target, before = elsewhere / "tiny", _state(cohort)
    arguments = ("--configfile", str(cohort / "config.yaml"), "--config", f"results={target}")
    done = snakemake("--cores", "2", *arguments, cwd=tmp_path_factory.mktemp("run"))
    assert done.returncode == 0, done.stderr[-4000:]
    assert _state(cohort) == before
    return target


def test_read_only_inputs_and_another_file_system(results, cohort):
    assert results.stat().st_dev != cohort.stat().st_dev
    assert (results / "report.html").stat().st_size > 10_000
    assert not list(results.rglob("*.partial*"))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of an S3-compatible server of this test."""
    moto = pytest.importorskip("moto.server", reason="the S3 server for tests is not installed (`make env-dev`)")
    pytest.importorskip("snakemake_storage_plugin_s3", reason="the S3 plugin is not installed (`make env-s3`)")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture(scope="module")
def bucket(server, cohort):
    """Bucket that holds the files of the cohort."""
    import boto3

    keys = {"aws_access_key_id": KEYS["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"]}
    made = boto3.resource("s3", endpoint_url=server, region_name="us-east-1", **keys).Bucket("bucket")
    made.create()
    for path in cohort.glob("*.tsv"):
        made.upload_file(str(path), f"cohort/{path.name}")
    return made


def _on_s3(*arguments: str, server: str, cwd: Path):
    address = ("--storage-s3-endpoint-url", server)  # takes all that follows, so it comes last
    return snakemake("--cores", "2", *arguments, *address, cwd=cwd, env=KEYS)


def _stored(*arguments: str, server: str, cohort: Path, cwd: Path):
    profile = ("--workflow-profile", str(ROOT / "profiles/s3"), "--default-storage-prefix", "s3://bucket/project")
    return _on_s3(*arguments, *profile, "--configfile", str(cohort / "config.yaml"), server=server, cwd=cwd)


@pytest.fixture(scope="module")
def run(bucket, server, cohort, tmp_path_factory) -> tuple[Path, str]:
    """Folder and messages of a run whose results are objects."""
    folder = tmp_path_factory.mktemp("stored")
    done = _stored(server=server, cohort=cohort, cwd=folder)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Results: s3://bucket/project/results/tiny" in done.stderr
    return folder, done.stdout + done.stderr


@pytest.fixture(scope="module")
def objects(run, bucket) -> dict[str, bytes]:
    """Results in the bucket by name."""
    prefix = "project/results/tiny/"
    return {o.key.removeprefix(prefix): o.get()["Body"].read() for o in bucket.objects.filter(Prefix=prefix)}


def _normal(name: str, content: bytes, results: str, digest: str) -> bytes:
    """Without what only says where the results lie: their folder, and the digest of a config that names it.

    Numbers of the prose of a page, which is compared itself, hold the digits of both.
    """
    if name == "report_numbers.json":
        return json.dumps(json.loads(content)["tables"]).encode()
    return content.replace(results.encode(), b"RESULTS").replace(digest.encode(), b"DIGEST")


def test_objects_are_the_files_of_a_local_run(objects, results):
    files = {str(p.relative_to(results)): p.read_bytes() for p in results.rglob("*") if p.is_file()}
    # Locks and digests guard files only; the storage guards objects.
    hidden = {name for name in {*files, *objects} if any(part.startswith(".") for part in Path(name).parts)}
    assert set(files) - hidden - set(objects) == {"benchmarks/started.json"}
    assert set(objects) - hidden <= set(files)
    digests = [json.loads(found["manifest.json"])["config_hash"] for found in (objects, files)]
    compared = [n for n in objects if n not in hidden | TIMED and not n.startswith(("logs/", "benchmarks/"))]
    assert len(compared) > 100
    differ = [
        name
        for name in compared
        if _normal(name, objects[name], "results/tiny", digests[0])
        != _normal(name, files[name], str(results), digests[1])
    ]
    assert differ == []


def test_credentials_are_written_nowhere(run, objects):
    folder, said = run
    texts = {"messages": said.encode()} | objects
    texts |= {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert len(texts) > 300
    for secret in KEYS.values():
        assert [name for name, content in texts.items() if secret.encode() in content] == []


def test_another_machine_goes_on_from_the_objects(run, bucket, server, cohort, tmp_path):
    done = _stored("--dry-run", server=server, cohort=cohort, cwd=tmp_path)
    assert "Nothing to be done" in done.stdout + done.stderr
    bucket.Object("project/results/tiny/run.html").delete()
    done = _stored(server=server, cohort=cohort, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "3 of 3 steps" in done.stderr  # with `all`
    table = pl.read_csv(bucket.Object("project/results/tiny/run.tsv").get()["Body"].read(), separator="\t")
    assert table["jobs"].to_list() == table["jobs_measured"].to_list()
    assert table["rule"].n_unique() > 20


def test_data_and_a_bundle_are_read_from_objects(run, bucket, server, cohort, results, tmp_path):
    config = yaml.safe_load((cohort / "config.yaml").read_text())
    config["data"]["folder"] = "s3://bucket/cohort"
    config |= {"cohort": "later", "results": "results/later"}
    config["bundle"] = {"apply": "s3://bucket/project/results/tiny/bundle"}
    path = write_config(config, tmp_path / "later.yaml")
    done = _on_s3("apply", "write_manifest", "--configfile", str(path), server=server, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    later = tmp_path / "results/later"
    for name in ("clinical.parquet", "outcome.parquet", "patient_flow.parquet", "notes.parquet"):
        assert (later / "cohort" / name).read_bytes() == (results / "cohort" / name).read_bytes(), name
    assert pl.read_parquet(later / "applied/patients.parquet").height == 60
    manifest = json.loads((later / "manifest.json").read_text())
    assert manifest["inputs"][0]["path"] == "s3://bucket/cohort/clinical.tsv"
    assert manifest["inputs"][0]["sha256"] == hashlib.sha256((cohort / "clinical.tsv").read_bytes()).hexdigest()
    again = _on_s3("apply", "write_manifest", "--dry-run", "--configfile", str(path), server=server, cwd=tmp_path)
    assert "Nothing to be done" in again.stdout + again.stderr
    bucket.upload_file(str(cohort / "clinical.tsv"), "cohort/clinical.tsv")
    newer = _on_s3("apply", "--dry-run", "--configfile", str(path), server=server, cwd=tmp_path)
    assert "Nothing to be done" in newer.stdout + newer.stderr  # a later time, the same content
    changed = (cohort / "clinical.tsv").read_bytes().replace(b"P000\t61.3", b"P000\t61.4")
    bucket.put_object(Key="cohort/clinical.tsv", Body=changed)
    done = _on_s3("apply", "write_manifest", "--configfile", str(path), server=server, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    manifest = json.loads((later / "manifest.json").read_text())
    assert manifest["inputs"][0]["sha256"] == hashlib.sha256(changed).hexdigest()
    assert pl.read_parquet(later / "cohort/clinical.parquet")["age"][0] == 61.4


def test_an_object_that_is_not_there_is_told_before_any_job(bucket, server, cohort, tmp_path):
    config = yaml.safe_load((cohort / "config.yaml").read_text())
    config["data"]["folder"] = "s3://bucket/elsewhere"
    path = write_config(config, tmp_path / "c.yaml")
    done = _on_s3("--configfile", str(path), server=server, cwd=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "`data.folder`: s3://bucket/elsewhere/clinical.tsv cannot be read" in said
    assert "Suggestion" in said
    assert not any(secret in said for secret in KEYS.values())
