"""The recipes of containers: the same steps in both, with files that exist and commands that do what `make env` does.

No image is built here. What a recipe copies is copied and tried, and what it runs is run with recorders in the place of
the commands that change the machine.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, run_snakemake, snakemake, write_config, write_tiny

ENVS = ROOT / "envs"
PLACE = "/opt/stratiome"
UV = Path(sys.executable).parent / "uv"


def docker_steps() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with their arguments."""
    text = "\n".join(line for line in (ENVS / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    steps = [line.partition(" ") for line in re.sub(r"\\\n", " ", text).splitlines() if line]
    return [(name, rest.strip()) for name, _, rest in steps]


def docker(name: str) -> list[str]:
    """Arguments of every instruction of one name."""
    return [rest for step, rest in docker_steps() if step == name]


def apptainer() -> dict[str, list[str]]:
    """Lines of each section of the Apptainer recipe; its header as ``""``."""
    found: dict[str, list[str]] = {"": []}
    section = ""
    for line in (ENVS / "stratiome.def").read_text().splitlines():
        if line.startswith("%"):
            section = line[1:].strip()
            found[section] = []
        elif line.strip() and not line.startswith("#"):
            found[section].append(line.strip())
    return found


def copied() -> set[str]:
    """What the Dockerfile copies from the project, all of it into one folder."""
    found = set()
    for line in docker("COPY"):
        *sources, target = line.split()
        for source in sources:
            assert target == ("./" if len(sources) > 1 else source), line
            found.add(source)
    return found


def test_both_recipes_start_from_the_same_pinned_image():
    (image,) = docker("FROM")
    header = dict(line.split(": ") for line in apptainer()[""])
    assert header == {"Bootstrap": "docker", "From": image}
    assert re.fullmatch(r"debian:12\.\d+-slim", image)  # whose Python is 3.11


def test_both_recipes_copy_the_same_files_which_exist():
    files = [line.split() for line in apptainer()["files"]]
    assert {source for source, _ in files} == copied()
    for source, target in files:
        assert (ROOT / source).exists(), source
        assert target == f"{PLACE}/{source}"
    assert docker("WORKDIR")[0] == PLACE
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == copied()


def test_both_recipes_run_the_same_commands():
    *made, last = docker("RUN")
    assert last.startswith("useradd ")  # Apptainer runs as whoever calls it
    place, *commands = apptainer()["post"]
    assert place == f"cd {PLACE}"
    assert [command.replace("{{ TORCH }}", "$TORCH") for command in commands] == made
    assert made[0] == 'envs/image.sh "$TORCH"'
    assert docker("ARG") == apptainer()["arguments"] == ["TORCH=cpu"]


def test_both_recipes_set_the_same_environment_and_start_the_same_command():
    said = dict(word.split("=", 1) for line in docker("ENV") for word in line.split())
    assert said.pop("USER") == "stratiome"  # for users whom the image does not know; Apptainer makes them known
    assert said == dict(line.removeprefix("export ").split("=", 1) for line in apptainer()["environment"])
    assert said["PATH"] == f"{PLACE}/.venv/bin:$PATH"
    start, default = (" ".join(json.loads(docker(name)[0])) for name in ("ENTRYPOINT", "CMD"))
    assert start == f"snakemake --snakefile {PLACE}/Snakefile"
    run = apptainer()["runscript"]
    assert run[-1] == f'exec {start} "$@"'
    assert f"set -- {default}" in run


def test_the_user_of_the_image_is_not_root():
    steps = docker_steps()
    user = steps.index(("USER", "stratiome"))
    assert user > max(i for i, (name, _) in enumerate(steps) if name in ("RUN", "COPY"))


@pytest.mark.parametrize("script", ["image.sh", "install.sh", "lock.sh"])
def test_scripts_are_bash(script):
    assert os.access(ENVS / script, os.X_OK)
    done = subprocess.run(["bash", "-n", str(ENVS / script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_builds_of_pytorch_that_are_named_are_known_to_uv():
    if not UV.is_file():
        pytest.skip("uv is not installed in this environment")
    said = subprocess.run([UV, "pip", "install", "--help"], capture_output=True, text=True, check=True).stdout
    known = re.search(r"UV_TORCH_BACKEND=[^\]]*\] \[possible values: ([^\]]*)\]", " ".join(said.split()))[1]
    files = ["envs/Dockerfile", "envs/stratiome.def", "envs/install.sh", "README.md"]
    named = {name for file in files for name in re.findall(r"TORCH=([a-z0-9]+)", (ROOT / file).read_text())}
    assert {"cpu", "cu130"} <= named <= set(known.split(", "))


@pytest.fixture
def image(tmp_path):
    """Folder with what the recipes copy, and nothing else."""
    place = tmp_path / "opt"
    for name in copied():
        source = ROOT / name
        place.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__", "downloads"))
        else:
            shutil.copy(source, place / name)
    return place


def test_what_is_copied_is_enough_to_plan_the_demo(image, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    words = json.loads(docker("ENTRYPOINT")[0]) + json.loads(docker("CMD")[0])
    arguments = [word.replace(PLACE, str(image)) for word in words[1:]]
    before = sorted(path for path in image.rglob("*") if path.name != "__pycache__" and path.suffix != ".pyc")
    done = run_snakemake(*arguments, "--dry-run", cwd=work)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "render_report" in done.stdout + done.stderr
    assert f"{image}/profiles/default" in done.stderr
    after = sorted(path for path in image.rglob("*") if path.name != "__pycache__" and path.suffix != ".pyc")
    assert after == before


RECORDER = """#!/usr/bin/env bash
printf '%s TORCH=%s UV_NO_CACHE=%s\\n' "$(basename "$0") $*" "${TORCH:-}" "${UV_NO_CACHE:-}" >>"$RECORD"
"""
SETTINGS = """
[ "$*" != "-m pip config list" ] || cat <<'END'
:env:.cert='/certs'
global.extra-index-url='https://one.example/simple\\nhttps://two.example/simple'
global.find-links='/wheels'
END
"""


def _make_image(image: Path, torch: str, uv_fails: bool = False) -> tuple[int, list[str]]:
    """Run `image.sh` with recorders in the place of all that changes something; its exit status and what it called."""
    tools, venv = image / "tools", image / ".venv/bin"
    for path in (tools / "apt-get", tools / "rm", venv / "uv", venv / "python"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RECORDER + ("exit 1\n" if uv_fails and path.name == "uv" else ""))
        path.chmod(0o755)
    env = {"PATH": f"{tools}:/usr/bin:/bin", "RECORD": str(image / "record"), "HOME": str(image)}
    done = subprocess.run([image / "envs/image.sh", torch], capture_output=True, text=True, env=env, check=False)
    called = (image / "record").read_text().splitlines()
    return done.returncode, [line for line in called if not line.startswith(("python -c", "python -m pip config"))]


@pytest.mark.parametrize("torch", ["cpu", "cu130", ""])
def test_steps_of_the_image_install_the_lock_as_make_does(image, torch):
    status, called = _make_image(image, torch)
    assert status == 0
    assert [line.split()[0] for line in called] == ["apt-get", "apt-get", "rm", "uv"]
    build = f"--torch-backend {torch} " if torch else ""
    assert f"--python .venv/bin/python {build}-r envs/requirements.txt TORCH={torch} UV_NO_CACHE=1" in called[-1]
    recipe = (ROOT / "Makefile").read_text()
    (asked,) = re.findall(r"^\$\(VENV\)/\.installed:.*\n\t@(.*)$", recipe, re.M)
    assert asked.replace("$(VENV)", ".venv") in (ENVS / "image.sh").read_text().splitlines()


def test_settings_of_pip_are_handed_to_uv(image):
    _make_image(image, "cpu")
    for name, more in (
        ("python", SETTINGS),
        ("uv", 'echo "$UV_FIND_LINKS|$UV_INDEX|${UV_DEFAULT_INDEX:-}" >"$RECORD.uv"'),
    ):
        (image / ".venv/bin" / name).write_text(RECORDER + more)
    env = {"PATH": "/usr/bin:/bin", "RECORD": str(image / "record"), "HOME": str(image)}
    subprocess.run(["envs/install.sh", ".venv", "envs/requirements.txt"], env=env, cwd=image, check=True)
    assert (image / "record.uv").read_text() == "/wheels|https://one.example/simple https://two.example/simple|\n"


@pytest.mark.parametrize("torch", ["cpu", ""])
def test_pip_stands_in_for_uv_only_where_no_build_of_pytorch_is_asked_for(image, torch):
    """Pip takes the build of the registry, which may be another one."""
    status, called = _make_image(image, torch, uv_fails=True)
    assert (status != 0) == bool(torch)
    assert called[-1].startswith("uv pip install" if torch else "python -m pip install")


def test_jobs_run_in_the_image_that_is_named(tmp_path):
    """With a stand-in for Apptainer, which tells what Snakemake asks of it."""
    sif, record = tmp_path / "stratiome.sif", tmp_path / "record"
    sif.touch()
    tools = f"{ROOT / 'tests/standins/bin'}:{Path(sys.executable).parent}"
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "STANDIN_RECORD": str(record)}
    config = write_config(write_tiny(tmp_path / "data"), tmp_path / "c.yaml")
    asked = ["describe_workflow", "--cores", "1", "--sdm", "apptainer", "--configfile", str(config)]
    done = snakemake(*asked, cwd=tmp_path, env=env | {"STRATIOME_IMAGE": str(sif)})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/results/workflow.json").is_file()
    assert f" {sif} bash -c " in record.read_text()
    record.unlink()
    done = snakemake("--forceall", *asked, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert not record.exists()  # no image is named, and none is made up
