"""The lock, the conda files of the stages, the rules and what the code imports say the same."""

import os
import re
import tomllib
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import ROOT, snakemake, write_config, write_tiny
from imports import SCRIPTS, modules_of
from locked import CUDA, ENVS, STAGES, conda, conda_pins, lines, names, needed, pins, rules

STANDIN = ROOT / "tests" / "standins" / "bin"
PYTHON = re.search(r"^python=(\S+)$", (ENVS / "lock.sh").read_text(), re.M)[1]


def stand_in(**more: str) -> dict:
    """Environment in which a `conda` is found that does what Snakemake asks of one."""
    return {"PATH": f"{STANDIN}{os.pathsep}{os.environ['PATH']}"} | more


def distributions(modules: set[str]) -> set[str]:
    """Packages to install that hold these modules."""
    providers = packages_distributions()
    found = (providers[module.partition(".")[0]] for module in modules)
    return {canonicalize_name(name) for own in found for name in own}


def test_what_is_asked_for_is_what_is_locked():
    for name in ("requirements", "requirements-dev"):
        locked = pins(lines(ENVS / f"{name}.txt"))
        for line in lines(ENVS / f"{name}.in"):
            asked = Requirement(line)
            assert str(asked.specifier) == f"=={locked[canonicalize_name(asked.name)]}", f"{name}.in: {line}"


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_the_lock_holds_what_is_needed_and_no_more(name):
    """As the packages installed here say it; what other machines need is marked so in the lock."""
    locked = pins(lines(ENVS / f"{name}.txt"))
    found = needed(lines(ENVS / f"{name}.in"))
    assert locked == found


@pytest.mark.parametrize("stage", STAGES)
def test_conda_files_hold_the_lock(stage):
    said = conda(stage)
    assert said["name"] == f"stratiome-{stage}"
    assert said["channels"] == ["conda-forge", "nodefaults"]
    assert [part for part in said["dependencies"] if isinstance(part, str)] == [f"python={PYTHON}", "pip"]
    assert set(conda_pins(stage)) <= set(lines(ENVS / "requirements.txt"))


@pytest.mark.parametrize("stage", STAGES)
def test_conda_files_hold_what_their_packages_need_and_no_more(stage):
    asked = lines(ENVS / f"{stage}.in")
    assert names(asked) <= names(lines(ENVS / "requirements.in"))
    assert pins(conda_pins(stage)) == needed(asked)


def test_every_environment_is_used_and_each_rule_names_one():
    used = rules()
    assert set(used) == {path.stem for path in SCRIPTS.glob("*.py")}
    assert set(used.values()) == {path.name for path in ENVS.glob("*.yaml")} == {f"{stage}.yaml" for stage in STAGES}
    asked = {path.stem for path in ENVS.glob("*.in")} - {"requirements", "requirements-dev", "requirements-s3"}
    assert asked == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_what_its_rules_import_and_no_more(stage):
    imported: dict[str, set[str]] = {}
    for rule, file in rules().items():
        if file == f"{stage}.yaml":
            imported[rule] = distributions(modules_of(SCRIPTS / f"{rule}.py")[1])
    declared = names(lines(ENVS / f"{stage}.in"))
    lacking = {rule: sorted(own - declared) for rule, own in imported.items() if own - declared}
    assert lacking == {}
    assert declared - set().union(*imported.values()) == set()


def test_imports_are_followed_through_the_library():
    own, others = modules_of(SCRIPTS / "ingest_cohort.py")
    assert SCRIPTS / "stratiome/omics/counts.py" in own  # by `import_module`
    assert "scanpy" in others  # within a function of it
    assert "plotly" in modules_of(SCRIPTS / "render_report.py")[1]  # by `importlib.resources`


def test_the_project_declares_what_the_lock_pins():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    engine = {name for name in names(lines(ENVS / "requirements.in")) if name.startswith("snakemake")}
    assert names(project["dependencies"]) == names(lines(ENVS / "requirements.in")) - engine
    locked = pins(lines(ENVS / "requirements.txt"))
    for line in project["dependencies"]:
        asked = Requirement(line)
        assert asked.specifier.contains(locked[canonicalize_name(asked.name)]), line
    assert project["requires-python"] == f">={PYTHON}"


def test_lock_leaves_out_what_follows_from_the_build_of_pytorch():
    for name in ("requirements", "requirements-dev"):
        assert not [line for line in lines(ENVS / f"{name}.txt") if CUDA.match(line)]


@pytest.mark.parametrize("case", ["demo", "treatment", "abroad"])
def test_dry_run_with_conda(case, tmp_path):
    """Snakemake reads the files of the environments and plans to make each once."""
    config = ROOT / "config/config.yaml"
    stages = set(STAGES)
    if case != "demo":
        given = write_tiny(tmp_path / "data")
        if case == "abroad":
            other = write_config(write_tiny(tmp_path / "other", seed=1), tmp_path / "other.yaml")
            given |= {"external": {"other": str(other)}, "treatments": {}}
            stages -= {"treatment"}
        config = write_config(given, tmp_path / "c.yaml")
    asked = ["--sdm", "conda", "--configfile", str(config)]
    done = snakemake("--dry-run", *asked, cwd=tmp_path, env=stand_in())
    assert done.returncode == 0, done.stdout + done.stderr
    planned = re.findall(r"Conda environment \S*/envs/(\w+)\.yaml will be created", done.stdout + done.stderr)
    assert sorted(planned) == sorted(stages)


def test_a_conda_run_without_conda_is_refused(tmp_path):
    """Even a dry run asks conda where it is."""
    bare = {"PATH": "/usr/bin:/bin"}
    asked = ["--dry-run", "--sdm", "conda", "--configfile", str(ROOT / "config/config.yaml")]
    done = snakemake(*asked, cwd=tmp_path, env=bare)
    assert done.returncode == 1
    assert "Is conda installed and accessible?" in done.stdout + done.stderr
