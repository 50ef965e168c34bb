"""The environments of the stages, made from their conda files: each is enough for its rules, and changes no result."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from conftest import ROOT, snakemake, write_config, write_tiny

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rules"))
from imports import SCRIPTS, modules_of
from locked import ENVS, STAGES, rules
from small import tables

pytestmark = [pytest.mark.e2e, pytest.mark.registry]


def test_the_lock_is_what_the_registry_gives(tmp_path):
    """Pins that are there are kept, so that a new release changes nothing."""
    shutil.copytree(ENVS, tmp_path / "envs")
    env = os.environ | {"UV": str(Path(sys.executable).parent / "uv")}
    subprocess.run([tmp_path / "envs/lock.sh"], env=env, check=True)
    for path in sorted(ENVS.iterdir()):
        assert (tmp_path / "envs" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of a run with `--sdm conda`, a stand-in in the place of conda, and one of a run without."""
    folder = tmp_path_factory.mktemp("conda")
    path = write_config(write_tiny(folder / "data") | {"results": "results/tiny"}, folder / "c.yaml")
    env = {"PATH": f"{ROOT / 'tests/standins/bin'}{os.pathsep}{os.environ['PATH']}", "PYTHON": sys.executable}
    for name, more in (("stages", ["--sdm", "conda"]), ("whole", [])):
        (folder / name).mkdir()
        done = snakemake("--cores", "2", *more, "--configfile", str(path), cwd=folder / name, env=env)
        assert done.returncode == 0, done.stderr[-4000:]
    return folder


def test_environments_of_the_stages_change_no_result(made):
    """The manifest, which the report prints, tells the version of PyTorch as pinned, without the name of its build."""
    stages, whole = (tables(made / name / "results/tiny") for name in ("stages", "whole"))
    assert set(stages) == set(whole)
    build = version("torch")
    pinned = {name: content.replace(build.encode(), Version(build).public.encode()) for name, content in whole.items()}
    assert [name for name in whole if stages[name] != pinned[name]] == []


@pytest.mark.parametrize("stage", STAGES)
def test_an_environment_is_enough_for_its_rules(made, stage):
    """Snakemake adds the packages of its own environment behind those of the stage, so a run would not show a gap."""
    (file,) = [
        path
        for path in (made / "stages/.snakemake/conda").glob("*.yaml")
        if re.search(rf"^name: stratiome-{stage}$", path.read_text(), re.M)
    ]
    found = [modules_of(SCRIPTS / f"{rule}.py") for rule, env in rules().items() if env == f"{stage}.yaml"]
    own = {path.relative_to(SCRIPTS).with_suffix("") for files, _ in found for path in files if path.parent != SCRIPTS}
    names = [".".join(path.parts).removesuffix(".__init__") for path in sorted(own)]
    names += sorted({name for _, others in found for name in others})
    code = (
        f"import importlib, sys; sys.path.append({str(SCRIPTS)!r})\nfor name in {names}: importlib.import_module(name)"
    )
    done = subprocess.run(
        [file.with_suffix("") / "bin/python", "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
