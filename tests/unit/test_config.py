"""The config: closed, complete, and all its mistakes at once."""

from pathlib import Path

import pytest
import yaml

from stratiome.config import Config, ConfigError, EndpointConfig, PrognosisConfig, load_config
from stratiome.schema import generated

ROOT = Path(__file__).resolve().parents[2]
MINIMAL = {
    "cohort": "x",
    "data": {"clinical": "c.tsv", "omics": {"mrna": {"path": "m.tsv", "kind": "expression"}}},
    "endpoint": {"time": "t", "event": "e", "horizons": [12, 60]},
}


def test_minimal_config_resolves_every_default():
    config = load_config(MINIMAL)
    assert config.endpoint.tau_months == 60
    assert config.results_folder == "results/x"
    assert config.omics == {"mrna": "expression"}
    assert Config.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    "path", ["config/config.yaml", *sorted(str(p) for p in (ROOT / "config/cohorts").glob("*.yaml"))]
)
def test_shipped_configs_are_valid(path):
    load_config(yaml.safe_load((ROOT / path).read_text()))


def test_all_mistakes_are_reported_together():
    raw = MINIMAL | {"latnet": {"dims": 4}, "seed": -1, "resamples": {"folds": 1}, "subgroups": {"kk": [1]}}
    with pytest.raises(ConfigError) as caught:
        load_config(raw, "my.yaml")
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "Did you mean `latent`?" in text
    assert "`seed`" in text
    assert "`resamples.folds`" in text
    assert "Did you mean `k`?" in text
    assert text.startswith("my.yaml: 4 problems")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cohort": "a b"}, "letters, digits and underscores"),
        ({"known_labels": ["x", "x"]}, "twice"),
        ({"known_labels": ["patient_id"]}, "patient identifier `patient_id`"),
        ({"subgroups": {"reference_draws": 19}}, "at least 39 reference_draws"),
        ({"covariates": ["age", "age"]}, "stand there twice"),
        ({"cohort": False}, "put it in quotes"),
        ({"covariates": ["t"]}, "known at time zero"),
        ({"data": {"clinical": "c.tsv"}}, "no omics given"),
        ({"data": MINIMAL["data"] | {"example": "transbig"}}, "exactly one of"),
        ({"endpoint": {"time": "t", "event": "e", "horizons": [60, 12]}}, "increasing"),
        ({"endpoint": {"time": "t", "event": "e", "horizons": []}}, "horizons"),
        (
            {"endpoint": {"time": "t", "event": "e", "horizons": []}},
            "stand there. Suggestion: name at least one \\(Time",
        ),
        (
            {"latent": {"baselines": []}},
            "`latent.baselines`: is empty, at least 1 must stand there. Suggestion: name at least one of pca, mofa, "
            "snf, or leave the key out",
        ),
        ({"subgroups": {"k": []}}, "Suggestion: name at least one, or leave the key out"),
        (
            {"evaluation": {"bootstraps": 20}},
            r"\(given: 20\). Suggestion: give a number ≥ 50 and ≤ 100000, or leave the",
        ),
        ({"latent": {"dims": "many"}}, r"\(given: 'many'\). Suggestion: give a whole number, or leave the key out"),
        ({"features": {"adjust_site": "perhaps"}}, "Suggestion: give true or false, or leave the key out"),
        ({"prognosis": {"models": ["Deep"]}}, "Did you mean `deep`"),
        ({"prognosis": {"models": ["xgboost"]}}, "Suggestion: one of clinical_omics, clinical_latent"),
        ({"treatments": {"a": {"column": "a", "design": "observational"}}}, "needs `confounders`"),
        ({"treatments": {"a": {"column": "a", "design": "randomized"}}}, "randomised"),
        (
            {"treatments": {"a": {"column": "a", "design": "observational", "confounders": ["a"]}}},
            "treatment `a` itself",
        ),
    ],
)
def test_each_mistake_has_its_message(change, message):
    with pytest.raises(ConfigError, match=message):
        load_config(MINIMAL | change)


def test_config_is_frozen():
    with pytest.raises(Exception, match="frozen"):
        load_config(MINIMAL).cohort = "y"


def test_units_convert_exactly():
    days = EndpointConfig(time="t", event="e", unit="days", horizons=(1826.25, 3652.5))
    assert days.horizons_months == (60.0, 120.0)
    assert EndpointConfig(time="t", event="e", unit="years", horizons=(5,)).tau_months == 60.0


def test_hash_follows_content_only():
    again = dict(reversed(list(MINIMAL.items())))
    assert load_config(MINIMAL).hash() == load_config(again).hash()
    assert load_config(MINIMAL | {"seed": 2}).hash() != load_config(MINIMAL).hash()


def test_generated_files_are_in_step(monkeypatch):
    monkeypatch.chdir(ROOT)
    for path, content in generated().items():
        assert (ROOT / path).read_text(encoding="utf-8") == content, f"{path} is out of step; run `make schema`"


def test_years_and_dates_of_a_split_by_time():
    import datetime

    def read(value):
        temporal = {"column": "year", "train_until": value}
        config = load_config(MINIMAL | {"resamples": {"temporal": temporal}})
        assert Config.model_validate(config.model_dump(mode="json")) == config
        return config.resamples.temporal.train_until

    day = datetime.date(2005, 6, 30)
    assert [read(v) for v in (2005, "2005", 2005.5)] == [2005.0, 2005.0, 2005.5]
    assert [read(v) for v in ("2005-06-30", day, datetime.datetime(2005, 6, 30, 8))] == [day] * 3  # YAML reads dates
    for wrong in ("June 2005", True, [2005], float("nan")):
        with pytest.raises(ConfigError, match="write it as 2005 or 2005-06-30"):
            read(wrong)


@pytest.mark.parametrize(
    ("condition", "part"),
    [
        ("stage = (SELECT max(stage) FROM read_csv('/etc/passwd'))", "the word SELECT"),
        ("read_text('/etc/hostname') IS NOT NULL", "the function `read_text`"),
        ("\"read_csv\"('/etc/passwd') = 1", "the function `read_csv`"),
        ("grade IN (FROM '/etc/passwd')", "the word FROM"),
        ("exists(select 1)", "the word EXISTS"),
        ("1=1; DROP TABLE clinical", "`;`"),
        ("grade = 2 -- comment", "`--`"),
        ("grade /* comment */ = 2", "`/*`"),
        ("grade = 2 UNION SELECT 1", "the word UNION"),
        ("grade = 2) OR (1=1", "a parenthesis that was never opened"),
        ("count(grade) > 3", "the function `count`"),
        ("random() < 0.5", "the function `random`"),
        ("sex = E'\\'' OR sex IN (SELECT 1) OR sex = ''", "a backslash before a quotation mark"),
        ("sex = E'x'", "a letter before a quotation mark"),
        ("sex = $$f$$", "`$`"),
    ],
)
@pytest.mark.parametrize("key", ["eligible", "competing"])
def test_conditions_reach_nothing_but_columns(tiny, condition, part, key):
    (tiny["treatments"]["drug"] if key == "eligible" else tiny["endpoint"])[key] = condition
    with pytest.raises(ConfigError) as caught:
        load_config(tiny)
    assert len(caught.value.problems) == 1
    assert f".{key}`: {part} is not allowed in a condition" in caught.value.problems[0]


@pytest.mark.parametrize(
    "condition",
    [
        "grade IN (1, 2, 3) AND (age >= 18 OR NOT (age < 70))",
        "prior = 'select; from -- it''s' AND \"from\" = 1",
        "coalesce(grade, 1) BETWEEN (1) AND (2)",
        "CAST(grade AS DECIMAL(5, 2)) > -1.5e0 AND upper(sex) LIKE 'F%'",
        "CASE WHEN (grade = 1) THEN (age > 50) ELSE (age > 60) END",
        "`größe` IS NOT NULL AND jahr<>2003",
    ],
)
def test_expressions_over_columns_are_conditions(tiny, condition):
    tiny["treatments"]["drug"]["eligible"] = condition
    assert load_config(tiny).treatments["drug"].eligible == condition


@pytest.mark.parametrize(
    ("models", "said"), [(["stacked"], "nothing to combine"), (["forest", "forest"], "stand there twice")]
)
def test_models_of_prognosis_must_make_sense(models, said):
    with pytest.raises(ValueError, match=said):
        PrognosisConfig(models=models)


def test_the_config_in_the_readme_is_one():
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    given = text.split("```yaml\n")[1].split("```")[0]
    assert load_config(yaml.safe_load(given)).treatments["chemotherapy"].landmark == 3
