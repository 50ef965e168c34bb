"""A sweep: its config, the configs that it makes, what it says of mistakes, and the summary of its answers."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
import yaml

import report_fixtures as fixtures
from conftest import ROOT, as_read, write_config, write_tiny
from stratiome import tables
from stratiome.audit.across import across
from stratiome.config import ConfigError
from stratiome.report.answers import answers
from stratiome.report.check import Artefacts, compare, written
from stratiome.report.disclosure_check import leaks
from stratiome.report.sweep_page import TABLE, Analysis, SweepPage, as_tables, render
from stratiome.sweep import combine, main, merged, pairs, plan_sweep, read_sweep, stopped_in, wanted

OS = {"time": "os_months", "event": "os_event", "horizons": [24]}


@pytest.fixture
def sweep(tmp_path) -> dict:
    """Two cohorts × two endpoints, with files."""
    paths = {}
    for i, name in enumerate(("a", "b")):
        config = write_tiny(tmp_path / name, seed=i)
        paths[name] = str(write_config(config, tmp_path / f"{name}.yaml"))
    results = str(tmp_path / "results")
    return {"sweep": "s", "results": results, "cohorts": paths, "endpoints": {"os": OS, "late": OS | {"tau": 36}}}


def _problems(raw: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        plan_sweep(raw, "sweep.yaml")
    return str(caught.value)


def test_every_combination_has_its_config_and_folder(sweep):
    _, found = plan_sweep(sweep, "sweep.yaml")
    assert [c.label for c in found] == ["a × os", "a × late", "b × os", "b × late"]
    late = found[1]
    assert late.config["results"] == late.folder == f"{sweep['results']}/a/late"
    assert late.config["endpoint"] == OS | {"tau": 36}
    file = yaml.safe_load(Path(sweep["cohorts"]["a"]).read_text())
    same = set(file) - {"results", "endpoint"}
    assert {k: late.config[k] for k in same} == {k: file[k] for k in same}


def test_later_parts_win():
    assert merged({"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"c": [3]}, "d": None}) == {"a": {"b": 1, "c": [3]}}


def test_changes_in_their_order(sweep):
    sweep["shared"] = {"resamples": {"folds": 3}, "seed": 5, "latent": {"epochs": 4}}
    sweep["endpoints"]["late"] |= {"changes": {"seed": 6, "title": "Late"}, "event_name": "relapse"}
    block = {"config": sweep["cohorts"]["b"], "changes": {"seed": 7}, "endpoints": {"late": {"horizons": [12]}}}
    sweep["cohorts"]["b"] = block
    made = {c.label: c.config for c in plan_sweep(sweep, "sweep.yaml")[1]}
    assert {label: c["seed"] for label, c in made.items()} == {"a × os": 5, "a × late": 6, "b × os": 7, "b × late": 7}
    assert {c["resamples"]["folds"] for c in made.values()} == {3}
    assert {c["latent"]["epochs"] for c in made.values()} == {4}
    assert made["b × late"]["latent"]["dims"] == 2  # blocks are merged
    assert made["b × late"]["endpoint"]["horizons"] == [12]
    assert made["b × os"]["endpoint"]["horizons"] == [24]
    assert (made["a × late"]["event_name"], made["a × late"]["title"]) == ("relapse", "Late")
    assert "event_name" not in made["a × os"]


def test_the_endpoint_of_the_file_leaves_nothing_behind(sweep, tmp_path):
    path = Path(sweep["cohorts"]["a"])
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(config | {"endpoint": config["endpoint"] | {"competing": "drug = 1", "tau": 9}}))
    _, found = plan_sweep(sweep, "sweep.yaml")
    assert found[0].config["endpoint"] == OS


@pytest.mark.parametrize(
    ("where", "left"),
    [
        (("cohorts", "a", {"skip": ["late"]}), {("a", "os"), ("b", "os"), ("b", "late")}),
        (("cohorts", "a", {"only": ["late"]}), {("a", "late"), ("b", "os"), ("b", "late")}),
        (("endpoints", "late", {"only": ["b"]}), {("a", "os"), ("b", "os"), ("b", "late")}),
        (("endpoints", "os", {"skip": ["b"]}), {("a", "os"), ("a", "late"), ("b", "late")}),
    ],
)
def test_what_is_left_out_is_declared(sweep, where, left):
    part, name, more = where
    given = sweep[part][name]
    sweep[part][name] = (given if isinstance(given, dict) else {"config": given}) | more
    assert set(pairs(read_sweep(sweep))) == left


def test_all_mistakes_are_told_together_with_whose_they_are(sweep, tmp_path):
    sweep["endpoints"]["late"]["time"] = "pfs_months"
    b = Path(sweep["cohorts"]["b"])
    b.write_text(yaml.safe_dump(yaml.safe_load(b.read_text()) | {"covariats": ["age"]}))
    text = _problems(sweep)
    assert "3 problems" in text
    assert "every combination of b: `covariats`: unknown key. Did you mean `covariates`?" in text
    # An unknown key does not hide what is wrong with the endpoint.
    assert all(re.search(rf"{name} × late: `endpoint\.time`: .*`pfs_months`", text) for name in ("a", "b"))
    sweep["cohorts"]["b"] = {"config": sweep["cohorts"]["b"], "skip": ["late"]}
    text = _problems(sweep)
    assert "2 problems" in text
    assert "skip: [late]" in text
    assert "b × os: `covariats`" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"endpoint": {}}, r"`endpoint`: unknown key\. Did you mean `endpoints`\?"),
        (
            {"endpoints": {"os": OS | {"horizon": [2]}}},
            r"`endpoints\.os\.horizon`: unknown key\. Did you mean `horizons`",
        ),
        (
            {"endpoints": {"os": OS | {"skip": ["c"]}}},
            r"`endpoints\.os\.skip` names `c`, which is not there.*one of a, b",
        ),
        ({"endpoints": {"os__x": OS}}, r"`endpoints\.os__x`"),
        ({"cohorts": {"a": "nowhere.yaml"}}, r"`cohorts\.a`: nowhere\.yaml cannot be read.*Suggestion"),
        ({"cohorts": {"logs": "nowhere.yaml"}}, r"no cohort may be called `logs`"),
        ({"shared": {"results": "here"}}, r"`shared`: `results` is set by `results` of the sweep"),
        ({"shared": {"latnt": {"dims": 3}}}, r"all 4 combinations: `latnt`: unknown key\. Did you mean `latent`\?"),
    ],
)
def test_mistakes_of_the_sweep(sweep, changes, said):
    assert re.search(said, _problems(sweep | changes)), _problems(sweep | changes)


def test_a_call_plans_what_it_needs(sweep):
    read = read_sweep(sweep)
    everything = {"a__os", "a__late", "b__os", "b__late"}
    folder = sweep["results"]
    assert wanted(read, []) == wanted(read, ["all"]) == wanted(read, [f"{folder}/summary.html"]) == everything
    assert wanted(read, ["summary"]) == wanted(read, ["summarise_sweep"]) == frozenset()
    assert wanted(read, ["a__late__train_latent", f"{folder}/b/os/report.html"]) == {"a__late", "b__os"}
    Path(sweep["cohorts"]["b"]).write_text("cohort: b\n")
    _, found = plan_sweep(sweep, "sweep.yaml", ["a__os__all"])  # the mistakes of others do not stop it
    assert [c.name for c in found if c.wanted] == ["a__os"]


def test_the_config_of_one_is_printed(sweep, tmp_path, capsys):
    path = write_config(sweep, tmp_path / "sweep.yaml")
    assert main([str(path), "b", "late"]) == 0
    found, _ = combine(read_sweep(sweep), sweep)
    assert yaml.safe_load(capsys.readouterr().out) == found[3].config
    assert main([str(path), "c", "os"]) == 1
    assert "one of a × os" in capsys.readouterr().err


def test_the_rule_that_stopped(tmp_path):
    logs = tmp_path / "logs/full"
    logs.mkdir(parents=True)
    (logs / "train_latent.log").write_text("INFO stratiome: rule train_latent\n")
    assert stopped_in(tmp_path) == ""
    (logs / "fit_prognosis.log").write_text("INFO stratiome: rule\nERROR stratiome: rule fit_prognosis: no\n")
    assert stopped_in(tmp_path) == "fit_prognosis"


def test_names_of_the_schema():
    schema = json.loads((ROOT / "workflow/schemas/sweep.schema.json").read_text())
    assert set(schema["properties"]) == {"sweep", "title", "results", "shared", "cohorts", "endpoints"}


# --- answers and summary ---------------------------------------------------------------------------------------------

NAMES = [(case, endpoint) for case in fixtures.CASES for endpoint in ("os", "dss")]


@pytest.fixture(scope="module")
def page() -> SweepPage:
    """Three cohorts × two endpoints, and one that did not end."""
    parts = [(case, endpoint, answers(fixtures.inputs(case))) for case, endpoint in NAMES]
    listed = [Analysis(c, e, f"{c}/{e}", True) for c, e in NAMES]
    listed += [Analysis("late", "os", "late/os", False, "train_latent"), Analysis("late", "dss", "late/dss", False)]
    return SweepPage("Several", listed, across(parts), "95 %", "0.1")


@pytest.mark.parametrize("case", fixtures.CASES)
def test_answers_are_cells_of_the_tables(case):
    inputs = fixtures.inputs(case)
    found = {(r["question"], r["about"]): r for r in answers(inputs).iter_rows(named=True)}
    delta = inputs.row("prognosis_metrics", model="clinical_omics", metric="uno_c", versus="clinical")
    assert found["omics", "clinical_omics"]["estimate"] == delta["estimate"]
    assert found["omics", "clinical_omics"]["held_out"]
    sizes = {r["status"]: r["n"] for r in inputs.rows("outcome_counts")}
    assert found["patients", ""]["n"] == sum(sizes.values())
    assert found["patients", ""]["events"] == sizes["event"]
    if case != "survival_only":
        asked = {"treatment": "treatment", "subgroup": 0, "estimand": "rmst_difference", "weighting": "overlap"}
        effect = inputs.row("treatment_effects", **asked)
        own = found["treatment", "treatment"]
        assert [own[k] for k in ("estimate", "p_value", "n")] == [effect[k] for k in ("estimate", "p_value", "n")]


def test_no_answer_no_estimate(page):
    unknown = page.answers.filter(pl.col("tone") == "unknown")
    assert unknown.height > 0
    assert unknown["estimate"].null_count() == unknown["p_value"].null_count() == unknown.height


def test_holm_is_over_the_analyses_of_a_question(page):
    p = page.answers.filter(question="treatment").sort("p_value")
    assert p["p_value"].to_list() == [0.004, 0.004, 0.4, 0.4]
    assert p["p_holm"].to_list() == pytest.approx([0.016, 0.016, 0.8, 0.8])
    assert page.answers.filter(question="omics")["p_holm"].null_count() == 12


def test_every_number_of_the_summary_is_a_cell(page, tmp_path):
    text = render(page)
    tables.write_table(page.answers, tmp_path / "summary.parquet", tables.SweepAnswers)
    cell = Artefacts(tmp_path, {TABLE: ["summary.parquet"]})
    kept = written({"summary.html": text}, {TABLE: ["summary.parquet"]})
    traced, _, faults = compare(text, kept["prose"]["summary.html"], cell)
    assert traced > 100
    assert faults == []
    spoilt = page.answers.with_columns(pl.col("estimate") + 0.2)
    tables.write_table(spoilt, tmp_path / "summary.parquet", tables.SweepAnswers)
    again = Artefacts(tmp_path, {TABLE: ["summary.parquet"]})
    assert len(compare(text, kept["prose"]["summary.html"], again)[2]) > 10


def test_what_did_not_end_is_told(page):
    text = as_read(render(page))
    assert "6 of 8 analyses" in text
    assert "late · os (stopped in train_latent); late · dss (not run to its end)" in text
    wide, long = as_tables(page)
    assert len(wide.splitlines()) == 1 + 8
    assert "late\tos\tstopped in train_latent\t\t" in wide
    assert len(long.splitlines()) == 1 + page.answers.height - 6
    assert {len(line.split("\t")) for line in wide.splitlines()} == {len(wide.splitlines()[0].split("\t"))}
    assert len(set(wide.splitlines()[0].split("\t"))) == len(wide.splitlines()[0].split("\t"))


def test_a_sweep_without_any_end_has_a_page(page):
    none = SweepPage("Several", page.analyses[-2:], tables.from_rows([], tables.SweepAnswers), "95 %")
    assert "0 of 2 analyses" in as_read(render(none))
    assert len(as_tables(none)[0].splitlines()) == 3


def test_the_summary_gives_nothing_away(page):
    few = page.answers.with_columns(
        events=pl.when(pl.col("cohort") == "demo").then(7).otherwise("events"),
        n=pl.when((pl.col("cohort") == "null") & (pl.col("endpoint") == "dss") & (pl.col("question") == "patients"))
        .then(597)
        .otherwise("n"),
    )
    made = SweepPage("Several", page.analyses, few, "95 %")
    text = render(made)
    table = few
    assert leaks(text, ["P001"], 10, lambda t, i, c: table[c][i], lambda t: table) == []
    read = as_read(text)
    assert ">7<" not in read
    assert "&lt;10" in read
    assert ">597<" not in read  # beside 600 of the other endpoint it would tell who has no outcome
    for content in as_tables(made):
        assert not re.search(r"\t7\t", content)
        assert "\t597\t" not in content
    first = next(r for r in csv_rows(as_tables(made)[1]) if r["cohort"] == "demo" and r["question"] == "omics")
    assert first["estimate"] == ""  # of fewer events than may be told


def csv_rows(text: str) -> list[dict]:
    """Rows of tab-separated text."""
    head, *rows = (line.split("\t") for line in text.splitlines())
    return [dict(zip(head, row, strict=True)) for row in rows]
