"""The workflow as text: it lints, and every shipped config gives a plan."""

import ast
import csv
import hashlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from conftest import ROOT, SHARED_DATA, snakemake, write_config
from rule_lines import faults
from stratiome.report.jobs import read_rules

CONFIGS = sorted([ROOT / "config/config.yaml", *(ROOT / "config/cohorts").glob("*.yaml")])
STAGES = ("build_features", "train_latent", "find_subgroups", "fit_prognosis")


def _module(*arguments):
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.stem)
def test_dry_run(config, tmp_path):
    text = config.read_text()
    if "../shared/data" in text:
        if not SHARED_DATA.is_dir():
            pytest.skip("the real cohorts are not beside the project")
        config = tmp_path / config.name
        config.write_text(text.replace("../shared/data", str(SHARED_DATA)))
    done = snakemake("--dry-run", "--configfile", str(config), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for stage in STAGES:
        assert stage in done.stdout + done.stderr


def test_dry_run_of_a_sweep(tmp_path):
    (tmp_path / "config").symlink_to(ROOT / "config")
    done = snakemake("--dry-run", "--quiet", "host", "--configfile", str(ROOT / "config/sweep.yaml"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    counts = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.M)}
    analyses = [f"{cohort}__{endpoint}" for cohort in ("demo", "nothing") for endpoint in ("os", "dss")]
    assert all(counts[f"{name}__train_latent"] == 4 for name in analyses)  # `full` and three folds
    assert counts["summarise_sweep"] == 1
    named = [name.split("__") for name in counts if "__" in name]
    assert {"__".join(parts[:2]) for parts in named} == set(analyses)
    alone = {name: {parts[2] for parts in named if "__".join(parts[:2]) == name} for name in analyses}
    assert len({frozenset(rules) for rules in alone.values()}) == 1
    one = snakemake(
        "nothing__os__all", "--dry-run", "--quiet", "host", "--configfile", "config/sweep.yaml", cwd=tmp_path
    )
    assert one.returncode == 0, one.stderr
    assert "nothing__os__train_latent" in one.stdout
    assert not re.search("demo__|nothing__dss", one.stdout)


def test_a_broken_sweep_names_all_its_mistakes_before_any_job(tmp_path):
    from conftest import write_tiny

    good = write_config(write_tiny(tmp_path / "a"), tmp_path / "a.yaml")
    bad = write_config(write_tiny(tmp_path / "b") | {"covariats": ["age"]}, tmp_path / "b.yaml")
    endpoint = {"time": "os_months", "event": "os_event", "horizons": [24]}
    endpoints = {"os": endpoint, "pfs": endpoint | {"time": "pfs_months"}}
    sweep = {"sweep": "broken", "cohorts": {"good": str(good), "bad": str(bad)}, "endpoints": endpoints}
    path = write_config(sweep, tmp_path / "sweep.yaml")
    done = snakemake("--cores", "1", "--configfile", str(path), cwd=tmp_path)
    assert done.returncode == 1
    assert "3 problems" in done.stderr
    assert "every combination of bad: `covariats`: unknown key. Did you mean `covariates`?" in done.stderr
    assert "good × pfs: `endpoint.time`" in done.stderr
    assert "bad × pfs: `endpoint.time`" in done.stderr
    assert "skip: [pfs]" in done.stderr
    assert not list(tmp_path.rglob("logs"))


def test_dry_run_for_slurm(tmp_path):
    done = snakemake(
        "--dry-run",
        "--workflow-profile",
        str(ROOT / "profiles/slurm"),
        "--configfile",
        str(ROOT / "config/config.yaml"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_snakemake_lint(tmp_path):
    where = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    done = _module("snakemake", "--lint", *where, "--configfile", str(ROOT / "config/config.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_formatted():
    done = _module("snakefmt", "--check", "Snakefile", "workflow")
    assert done.returncode == 0, done.stderr


def test_every_rule_has_its_script_log_and_benchmark():
    scripts = {p.stem for p in (ROOT / "workflow/scripts").glob("*.py")}
    rules = {}
    for file in (ROOT / "workflow").rglob("*.smk"):
        for block in re.split(r"\n *rule ", file.read_text())[1:]:
            rules[block.split(":")[0]] = block
    del rules["all"], rules["summary"]  # targets of a sweep
    assert set(rules) == scripts
    for name, block in rules.items():
        for directive in ("log:", "benchmark:", "conda:", "threads:", "resources:", "message:"):
            assert directive in block, (name, directive)
        assert f"/{name}.log" in block
        assert f"scripts/{name}.py" in block


def test_config_on_the_command_line_replaces_the_demo(tmp_path):
    from conftest import write_tiny

    path = write_config(write_tiny(tmp_path / "data"), tmp_path / "c.yaml")
    done = snakemake("--dry-run", "--quiet", "--configfile", str(path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    changed = snakemake("--dry-run", "--configfile", str(path), "--config", "seed=-1", cwd=tmp_path)
    assert changed.returncode == 1
    assert "`seed`" in changed.stdout + changed.stderr  # a dry run speaks on stdout


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    import fcntl

    from conftest import write_tiny

    path = write_config(write_tiny(tmp_path / "data"), tmp_path / "c.yaml")
    lock = tmp_path / "data/results/.lock"
    lock.parent.mkdir(parents=True)
    with open(lock, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        done = snakemake("--cores", "1", "--configfile", str(path), cwd=tmp_path)
    assert done.returncode == 1
    assert "Another run is writing" in done.stderr


def test_what_a_run_leaves(tmp_path):
    from conftest import write_tiny

    config = write_tiny(tmp_path / "data")
    path = write_config(config, tmp_path / "c.yaml")
    done = snakemake("--cores", "2", "--configfile", str(path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    _check_what_the_run_left(Path(config["results"]))


def _check_what_the_run_left(results: Path) -> None:
    """The page and the table of costs, and the description of the run, of a run that has ended."""
    rows = {row["rule"]: row for row in csv.DictReader((results / "run.tsv").open(), delimiter="\t")}
    rules = {rule.name: rule for rule in read_rules(results / "workflow.json")}
    assert set(rules) - set(rows) == {"describe_run", "write_crate"}
    for name, row in rows.items():
        assert int(row["jobs"]) == int(row["jobs_measured"]) == len(rules[name].jobs), name
        assert float(row["wall_seconds"]) > 0
    assert int(rows["fit_prognosis"]["jobs"]) == 3  # `full` and two folds
    page = (results / "run.html").read_text()
    jobs = sum(int(row["jobs"]) for row in rows.values())
    assert re.search(rf"Jobs of the last call</th>\s*<td>{jobs} of {jobs}<", page)
    assert str(results.parent) not in page
    crate = ROCrate(results)
    files = {entity.id for entity in crate.data_entities}
    for name in files:
        assert crate.get(name)["sha256"] == hashlib.sha256((results / name).read_bytes()).hexdigest(), name
    assert {"report_public.html", "bundle/bundle.json", "evaluation/prognosis_metrics.parquet"} <= files
    assert (results / "workflow/Snakefile").read_bytes() == (ROOT / "workflow/Snakefile").read_bytes()
    assert crate.root_dataset["mentions"]["startTime"] < crate.root_dataset["mentions"]["endTime"]
    text = (results / "ro-crate-metadata.json").read_text()
    assert str(results.parent) not in text
    assert not re.search(r"\bP\d{3}\b", text)  # identifiers of the patients


@pytest.mark.parametrize("case", ["demo", "abroad"])
def test_the_rules_written_down_are_those_of_snakemake(case, tmp_path):
    from conftest import write_tiny

    config = ROOT / "config/config.yaml"
    results = tmp_path / "results/demo"
    if case == "abroad":
        other = write_config(write_tiny(tmp_path / "other", seed=1), tmp_path / "other.yaml")
        config = write_config(write_tiny(tmp_path / "data") | {"external": {"other": str(other)}}, tmp_path / "c.yaml")
        results = tmp_path / "data/results"
    done = snakemake("--cores", "1", "describe_workflow", "--configfile", str(config), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    drawn = snakemake("--rulegraph", "dot", "--configfile", str(config), cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', drawn.stdout, re.M))
    names = {number: name.removeprefix("external_other_") for number, name in names.items() if name != "all"}
    edges = {(a, b) for a, b in re.findall(r"^\s*(\d+) -> (\d+)", drawn.stdout, re.M) if {a, b} <= set(names)}
    rules = read_rules(results / "workflow.json")
    assert {(name, rule.name) for rule in rules for _, name in rule.needs} == {(names[a], names[b]) for a, b in edges}
    assert {rule.name for rule in rules} == set(names.values())
    planned = snakemake("--dry-run", "--forceall", "--quiet", "host", "--configfile", str(config), cwd=tmp_path)
    counts = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", planned.stdout, flags=re.M)}
    assert sum(len(rule.jobs) for rule in rules) == counts["total"] - counts["all"]
    assert {rule.stage for rule in rules} >= {"cohort", "features", "latent", "subgroups", "prognosis", "report", "run"}
    assert ("external" in {rule.stage for rule in rules}) == (case == "abroad")
    assert faults(rules) == []  # of the picture in the report


def test_library_never_mentions_snakemake():
    found = [p for p in (ROOT / "workflow/scripts/stratiome").rglob("*.py") if "snakemake" in p.read_text()]
    allowed = {"job.py", "manifest.py"}  # the door between both, and the list of versions
    assert {p.name for p in found} <= allowed


def test_imports_go_down_only():
    layers = {
        "config": 0, "tables": 0, "names": 0, "numbers": 0, "omics": 0, "survival": 0, "strategies": 0,
        "cohort": 1, "quality": 2, "resample": 2, "features": 2, "latent": 3, "subgroups": 4, "bundle": 5, "audit": 6,
        "prognosis": 1, "treatment": 1, "report": 1,
    }  # fmt: skip
    alone = {
        "prognosis": {"survival", "config", "tables"},
        "treatment": {"survival", "config", "tables", "strategies"},
        "report": {"tables", "config", "numbers"},
    }
    root = ROOT / "workflow/scripts/stratiome"
    for package in layers:
        for file in (root / package).glob("*.py") if (root / package).is_dir() else []:
            for line in file.read_text().splitlines():
                words = line.strip().split()
                if len(words) > 1 and words[0] in ("from", "import") and words[1].startswith("stratiome."):
                    other = words[1].split(".")[1]
                    if other == package:
                        continue
                    if package in alone:
                        assert other in alone[package], f"{file}: {line}"
                    else:
                        assert layers[other] < layers[package] or other in ("config", "tables", "omics", "survival"), (
                            f"{file}: {line}"
                        )


def test_everything_imported_is_declared():
    trees = [ast.parse(path.read_text()) for path in (ROOT / "workflow/scripts").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    packages = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"stratiome"}
    own = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")}
    providers = packages_distributions()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pinned = (ROOT / "envs/requirements.in").read_text().splitlines()

    def plain(requirements):
        return {re.split(r"[\[<>=;\s]", r)[0].lower().replace("_", "-") for r in requirements}

    for package in sorted(packages - own):
        provided = plain(providers[package])
        assert provided & plain(project), f"{package} is not in pyproject.toml"
        assert provided & plain(pinned), f"{package} is not in envs/requirements.in"


def test_benchmark_of_scale_still_runs():
    command = [sys.executable, "tests/benchmarks/scale.py", "--patients", "100", "--genes", "60", "--print"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for step in ("ingest", "quality", "checks", "splits", "plain", "(ingest + quality + splits) / plain"):
        assert f" {step} |" in done.stdout


def test_no_pickle():
    words = ("pickle", "joblib.load", "torch.load", "allow_pickle=True")
    files: list[Path] = [*(ROOT / "workflow").rglob("*.py"), *(ROOT / "workflow").rglob("*.smk")]
    assert [p for p in files if any(w in p.read_text() for w in words)] == []
