"""What omics add when exchanged, and attributions: exact where a formula is known, and of no use from a blind model."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

import attribute_risk as attribute_script
import explain_prognosis
import fit_prognosis
from stratiome import tables
from stratiome.config import LatentConfig, PrognosisConfig
from stratiome.features.block import Block, FeatureSet
from stratiome.latent.inputs import align
from stratiome.latent.model import LatentModel, save_models
from stratiome.prognosis import deep
from stratiome.prognosis.attributions import BlockOf, of_features, of_gene_sets, rank_agreement
from stratiome.prognosis.evaluate import Problem
from stratiome.prognosis.explain import ExplainError, attribute_risk
from stratiome.prognosis.importance import Exchanged, losses
from stratiome.prognosis.models import Inputs, Linear, Omic, fit_models
from stratiome.prognosis.permute import CLINICAL, permute
from stratiome.survival.outcome import time_grid
from test_prognosis_scripts import DATA, ENDPOINT, EVALUATION, N, _cohort, _roles, _write

LATENT = LatentConfig(dims=2, members=2, epochs=40, hidden=8)
GRID = np.linspace(0, 60, 13)
QUICK = PrognosisConfig(trees=10, inner_folds=3, models=("clinical_omics", "clinical_latent", "deep", "stacked"))


@pytest.fixture(scope="module", autouse=True)
def few_epochs():
    """The deep model is trained for a few epochs, for time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "EPOCHS", 25)
        yield


def _inputs(n: int = 300, seed: int = 1) -> Inputs:
    """Omic `one` bears on survival, omic `two` does not, `age` does; the latents are a gene of each."""
    rng = np.random.default_rng(seed)
    age, one, two = rng.normal(size=(n, 1)), rng.normal(size=(n, 5)), rng.normal(size=(n, 5))
    one[::9] = np.nan
    gene = np.nan_to_num(one[:, 0])
    time = rng.exponential(30 * np.exp(-1.2 * gene - 0.7 * age[:, 0]))
    return Inputs(
        train=np.arange(n) < n // 2,
        time=np.minimum(time, 60.0),
        event=time < 60.0,
        clinical=age,
        clinical_names=("age",),
        omics=(Omic("one", one, tuple("abcde")), Omic("two", two, tuple("fghij"))),
        latents=np.column_stack([gene, two[:, 0]]),
        n_omics=1 + np.isfinite(one[:, 0]).astype(np.int64),
    )


def _gene_of_each(inputs: Inputs):
    def latents(rows, others):
        values = [inputs.omics[k].values[others.get(inputs.omics[k].name, rows), 0] for k in (0, 1)]
        return np.nan_to_num(np.column_stack(values)), None

    return latents


def test_exchange_moves_one_block_whole_and_leaves_the_rest():
    inputs = _inputs()
    held = np.flatnonzero(~inputs.train)
    made = permute(inputs, held, _gene_of_each(inputs), draws=2, rng=np.random.default_rng(1))
    n = len(inputs.train)
    added = made.inputs.take(np.arange(n, len(made.inputs.train)))
    assert not added.train.any()
    assert len(added.train) == len(made.patient) == 3 * 2 * len(held)
    for name in ("one", "two", CLINICAL):
        for draw in (1, 2):
            own = (made.block == name) & (made.draw == draw)
            assert made.patient[own].tolist() == held.tolist()
            for k, omic in enumerate(("one", "two")):
                before, after = inputs.omics[k].values[held], added.omics[k].values[own]
                np.testing.assert_array_equal(np.isfinite(before), np.isfinite(after))  # who lacks it still does
                if omic == name:
                    assert not np.array_equal(before, after, equal_nan=True)
                    rows = {tuple(r) for r in np.nan_to_num(before, nan=-99.0)}
                    assert {tuple(r) for r in np.nan_to_num(after, nan=-99.0)} == rows  # whole rows change hands
                else:
                    np.testing.assert_array_equal(before, after)
                    np.testing.assert_array_equal(inputs.latents[held, k], added.latents[own, k])
            if name == CLINICAL:
                assert sorted(added.clinical[own, 0]) == sorted(inputs.clinical[held, 0])
                assert not np.array_equal(added.clinical[own], inputs.clinical[held])
            else:
                np.testing.assert_array_equal(added.clinical[own], inputs.clinical[held])


def test_exchanged_copies_change_no_model():
    inputs = _inputs()
    held = np.flatnonzero(~inputs.train)
    made = permute(inputs, held, _gene_of_each(inputs), draws=1, rng=np.random.default_rng(1))
    alone = fit_models(inputs, GRID, QUICK, tau=60.0, rng=np.random.default_rng(1))
    along = fit_models(made.inputs, GRID, QUICK, tau=60.0, rng=np.random.default_rng(1))
    for a, b in zip(alone, along, strict=True):
        assert a.coefficients == b.coefficients
        assert a.note == b.note
        np.testing.assert_allclose(a.survival, b.survival[: len(inputs.train)], atol=1e-5)  # float32 batches round


def test_fewer_patients_take_part_where_copies_would_be_too_many(monkeypatch):
    monkeypatch.setattr("stratiome.prognosis.permute.MOST_ROWS", 120)
    inputs = _inputs()
    made = permute(inputs, np.flatnonzero(~inputs.train), _gene_of_each(inputs), draws=2, rng=np.random.default_rng(1))
    assert len(made.patient) == 120
    assert len(set(made.patient)) == 20


def _losses(model: str, block: str, seed: int = 1):
    inputs = _inputs(600, seed)
    held = np.flatnonzero(~inputs.train)
    made = permute(inputs, held, _gene_of_each(inputs), draws=3, rng=np.random.default_rng(2))
    fit = next(
        f for f in fit_models(made.inputs, GRID, QUICK, tau=60.0, rng=np.random.default_rng(1)) if f.model == model
    )
    n = len(inputs.train)
    at = int(np.searchsorted(GRID, 30.0))
    rows = [np.flatnonzero((made.block == block) & (made.draw == d)) + n for d in (1, 2, 3)]
    problem = Problem(inputs.time[held], inputs.event[held], GRID, (30.0,), 50.0)
    given = Exchanged(
        np.arange(len(held)),
        np.zeros(len(held), dtype=np.int64),
        fit.risk[held],
        fit.survival[held, at],
        np.stack([fit.risk[r] for r in rows]),
        np.stack([fit.survival[r, at] for r in rows]),
    )
    found = losses(problem, given, 30.0, by_site=False, bootstraps=100, level=0.95, rng=np.random.default_rng(3))
    return {loss.metric: loss for loss in found}


@pytest.mark.parametrize("model", ["clinical_omics", "clinical_latent", "deep"])
def test_only_blocks_that_bear_on_survival_are_missed(model):
    one, two, age = (_losses(model, b) for b in ("one", "two", CLINICAL))
    assert one["uno_c"].lower > 0.05
    assert one["brier"].lower > 0.01
    assert age["uno_c"].lower > 0.02
    assert abs(two["uno_c"].estimate) < 0.02
    assert one["uno_c"].estimate > age["uno_c"].estimate > two["uno_c"].estimate
    assert one["uno_c"].lower < one["uno_c"].estimate < one["uno_c"].upper


def _linear_problem(seed: int = 4, n: int = 80):
    """A Cox model on one clinical column and two latents that are linear in six features: all in closed form."""
    rng = np.random.default_rng(seed)
    omics, clinical = rng.normal(size=(n, 6)), rng.normal(size=(n, 1))
    mix = rng.normal(size=(6, 2))
    observed = np.ones((n, 1))
    inputs = _inputs()
    train = np.ones(n, dtype=bool)
    risk = omics @ mix @ [0.4, -0.3] + 0.5 * clinical[:, 0]
    time = rng.exponential(30 * np.exp(-risk))
    own = replace(
        inputs,
        train=train,
        time=time,
        event=np.ones(n, dtype=bool),
        clinical=clinical,
        omics=(Omic("one", omics, tuple("abcdef")),),
        latents=omics @ mix,
        n_omics=np.ones(n, dtype=np.int64),
    )
    fits = fit_models(own, GRID, PrognosisConfig(models=("clinical_latent",)), tau=60.0, rng=np.random.default_rng(1))
    linear = next(f.linear for f in fits if f.model == "clinical_latent")
    curve = next(f.survival for f in fits if f.model == "clinical_latent")
    return own, omics, observed, mix, linear, curve


def _explain(own: Inputs, omics, observed, places, linear: Linear, rows=None):
    rows = np.arange(len(omics)) if rows is None else rows
    return attribute_risk(
        linear, places, omics, observed, own.clinical, own.clinical_names, own.latents, own.train, rows, 30.0
    )


def test_attributions_are_those_of_the_closed_form():
    own, omics, observed, mix, linear, curve = _linear_problem()
    matrix = torch.from_numpy(mix)
    found = _explain(own, omics, observed, lambda x, _: x @ matrix, linear)
    at = int(np.searchsorted(GRID, 30.0))
    np.testing.assert_allclose(found.risk, 1 - curve[:, at], atol=1e-10)
    weight = dict(zip(linear.names, linear.model.coefficients, strict=True))
    scale = own.latents.std(axis=0)
    slope = mix @ [weight["latent 1"] / scale[0], weight["latent 2"] / scale[1]]
    parts = np.column_stack([omics * slope, weight["age"] * (own.clinical - own.clinical.mean())])
    # Along a straight line through a function of one score, each column gets its share of the score.
    share = parts / parts.sum(axis=1, keepdims=True) * (found.risk - found.average)[:, None]
    np.testing.assert_allclose(np.column_stack([found.omics, found.clinical]), share, atol=1e-6)
    assert found.error < 1e-6
    # The mutant, gradient times input without the way in between, does not add up.
    gradient = (1 - found.risk) * -np.log(1 - found.risk)
    mutant = parts * gradient[:, None]
    assert np.abs(mutant.sum(axis=1) - (found.risk - found.average)).max() > 1e-2


def test_blocks_that_cancel_may_each_go_beyond_one_and_the_table_takes_them():
    own, omics, observed, mix, linear, _ = _linear_problem()
    matrix = torch.from_numpy(mix)
    weight = dict(zip(linear.names, linear.model.coefficients, strict=True))
    slope = mix @ [weight[f"latent {j + 1}"] / own.latents[:, j].std() for j in (0, 1)]
    direction = slope / (slope @ slope)
    far, clinical, latents = omics.copy(), own.clinical.copy(), own.latents.copy()
    far[0] = 20.0 * direction  # log hazard +20 of the omic, -20 of the clinical column
    clinical[0] = own.clinical.mean() - 20.0 / weight["age"]
    latents[0] = far[0] @ mix
    # Mean and SD that scale the model are those of the others; the patient is not of the training set.
    moved = replace(own, clinical=clinical, latents=latents, train=np.arange(len(far)) > 0)
    alone = replace(own, train=moved.train)
    fits = fit_models(alone, GRID, PrognosisConfig(models=("clinical_latent",)), tau=60.0, rng=np.random.default_rng(1))
    other = next(f.linear for f in fits if f.model == "clinical_latent")
    found = _explain(moved, far, observed, lambda x, _: x @ matrix, other, np.array([0]))
    total = found.omics.sum()
    assert total > 1.001
    assert total + found.clinical.sum() == pytest.approx(float(found.risk[0] - found.average[0]), abs=1e-4)
    row = {"patient_id": "a", "resample": "cv-1-1", "block": "one", "contribution": float(total)}
    assert tables.from_rows([row], tables.PrognosisContributions).height == 1


def test_a_function_that_is_not_the_model_is_refused():
    own, omics, observed, mix, linear, _ = _linear_problem()
    matrix = torch.from_numpy(mix * 1.2)
    with pytest.raises(ExplainError, match="misses the predicted risk"):
        _explain(own, omics, observed, lambda x, _: x @ matrix, linear)
    other = Linear(linear.model, ("age", "factor 1", "factor 2"))
    with pytest.raises(ExplainError, match="not known"):
        _explain(own, omics, observed, lambda x, _: x @ torch.from_numpy(mix), other)


def _trained(n: int = 600):
    rng = np.random.default_rng(5)
    latent = rng.normal(size=n)
    values = rng.normal(size=(n, 20)) * 0.5
    values[:, :6] += latent[:, None]
    values[::7] = np.nan
    other = rng.normal(size=(n, 8))
    blocks = (
        Block("one", values.astype(np.float32), "gaussian", tuple(f"g{j}" for j in range(20))),
        Block("two", other.astype(np.float32), "gaussian", tuple(f"h{j}" for j in range(8))),
    )
    roles = np.where(np.arange(n) % 3 == 0, "test", "train")
    features = FeatureSet(tuple(f"p{i:03d}" for i in range(n)), roles, blocks)
    model = LatentModel.fit(features, LATENT.model_copy(update={"epochs": 150}), 1)
    time = rng.exponential(30 * np.exp(-1.2 * latent))
    inputs = replace(
        _inputs(),
        train=roles == "train",
        time=np.minimum(time, 60.0),
        event=time < 60.0,
        clinical=rng.normal(size=(n, 1)),
        omics=tuple(Omic(b.name, b.values, b.features) for b in blocks),
        latents=model.transform(features),
        n_omics=sum(b.present.astype(np.int64) for b in blocks),
    )
    settings = PrognosisConfig(models=("clinical_latent",))
    fits = fit_models(inputs, GRID, settings, tau=60.0, rng=np.random.default_rng(1))
    linear = next(f.linear for f in fits if f.model == "clinical_latent")
    return features, model, inputs, linear


def test_attributions_find_the_genes_that_matter_and_a_blind_model_does_not():
    features, model, inputs, linear = _trained()
    aligned = align(features, model.specs)
    rows = np.flatnonzero(features.roles == "test")
    found = _explain(inputs, aligned.centred, aligned.observed, model.differentiable(), linear, rows)
    assert found.error < 1e-4
    size = np.abs(found.omics).mean(axis=0)
    assert set(np.argsort(-size[:20])[:6]) == set(range(6))  # of the omic that matters
    assert size[:6].mean() > 3 * size[6:].mean()
    lacking = aligned.observed[rows, 0] == 0
    assert lacking.any()
    assert (found.omics[lacking, :20] == 0).all()  # nothing is put down to an omic that was not measured
    blind = model.shuffled(1)
    places = blind.differentiable()
    with torch.no_grad():
        latents = places(torch.from_numpy(aligned.centred), torch.from_numpy(aligned.observed)).numpy()
    other = _explain(replace(inputs, latents=latents), aligned.centred, aligned.observed, places, linear, rows)
    present = ~lacking
    agreement = rank_agreement(found.omics[present][:, :20], other.omics[present][:, :20])
    assert agreement is not None
    assert agreement < 0.5
    # The mutant that shows the input in place of the model passes for the same whatever the model has learned.
    values = aligned.centred[rows][present][:, :20]
    assert rank_agreement(values, values) == pytest.approx(1.0)


def test_a_gene_set_that_matters_stands_out_from_random_ones_of_its_size():
    rng = np.random.default_rng(1)
    contributions = rng.normal(size=(50, 30)) * 0.01
    contributions[:, :5] += 0.1 * rng.normal(size=(50, 1))
    block = BlockOf("one", tuple(f"g{j}" for j in range(30)), slice(0, 30), np.arange(50) < 40)
    sets = {"real": [f"g{j}" for j in range(5)], "other": [f"g{j}" for j in range(20, 25)], "small": ["g1"]}
    found = {s.name: s for s in of_gene_sets(block, contributions, sets, 3, rng)}
    assert set(found) == {"real", "other"}
    assert found["real"].mean_absolute > 2 * found["real"].random
    assert found["other"].mean_absolute < found["other"].random
    assert found["real"].n == 40
    assert found["real"].mean_absolute == pytest.approx(np.abs(contributions[:40, :5].sum(axis=1)).mean())


def test_direction_says_which_way_a_feature_goes():
    x = np.random.default_rng(2).normal(size=(60, 3))
    contributions = x * [0.2, -0.1, 0.0]
    block = BlockOf("one", ("up", "down", "none"), slice(0, 3), np.ones(60, dtype=bool))
    up, down, none = of_features(block, contributions, x)
    assert up.direction == pytest.approx(1.0)
    assert down.direction == pytest.approx(-1.0)
    assert none.direction is None
    assert up.mean_absolute == pytest.approx(np.abs(contributions[:, 0]).mean())
    assert of_features(replace(block, present=np.zeros(60, dtype=bool)), contributions, x) == []


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The three rules on a small cohort with a trained latent model."""
    folder = tmp_path_factory.mktemp("explain")
    cohort, settings = _cohort(), {"endpoint": ENDPOINT, "seed": 1}
    roles = _roles(cohort)
    prognosis = PrognosisConfig(trees=10, permutations=2, models=("clinical_omics", "clinical_latent"))
    (folder / "sets.gmt").write_text("mine\tmade up\tg0\tg1\tg2\n")
    made: dict[str, list[str]] = {n: [] for n in ("risks", "curves", "permuted", "contributions", "attributions")}
    checks, paths, coefficients = [], {}, ""
    for resample in ("cv-1-1", "cv-1-2", "full"):
        own = folder / resample
        paths = _write(own, cohort, roles, resample)
        part = roles.filter(pl.col("resample") == resample)["role"].to_numpy().astype(str)
        block = Block("rna", cohort["rna"], "gaussian", tuple(f"g{j}" for j in range(6)))
        features = FeatureSet(tuple(cohort["ids"]), part, (block,))
        model = LatentModel.fit(features, LATENT, 1)
        save_models({"vae": model}, str(own / "w.safetensors"), str(own / "w.json"))
        stored = __import__("anndata").read_h5ad(paths["latents"])
        stored.obsm = {"vae": model.transform(features)}
        stored.write_h5ad(paths["latents"])
        given = paths | {"weights": str(own / "w.safetensors"), "description": str(own / "w.json")}
        common = {"data": DATA, "covariates": ("age", "er"), "prognosis": prognosis, "resample": resample} | settings
        names = (
            "curves",
            "risks",
            "coefficients",
            "models",
            "bounds",
            "censoring",
            "permuted",
            "stored",
            "stored_description",
        )
        out = {n: str(own / f"{n}.parquet") for n in names}
        fit_prognosis.main(**given, **out, **common)
        more = {n: str(own / f"{n}.parquet") for n in ("contributions", "attributions", "checks")}
        attribute_script.main(**given, **more, **common, min_genes=3, gene_sets=[str(folder / "sets.gmt")])
        checks.append(more["checks"])
        coefficients = out["coefficients"]
        if resample != "full":
            for name, listed in made.items():
                listed.append((out | more)[name])
    results = {n: str(folder / f"{n}.parquet") for n in ("importance", "shares", "explained")}
    explain_prognosis.main(
        outcome=paths["outcome"], resamples=paths["resamples"], coefficients=coefficients, evaluation=EVALUATION,
        **made, **results, **settings,
    )  # fmt: skip
    return made, checks, results, folder, settings | {"outcome": paths["outcome"], "resamples": paths["resamples"]}


def test_scripts_write_their_contracts(scripts):
    _, checks, results, _, _ = scripts
    importance = tables.read_table(results["importance"], tables.PrognosisImportance)
    assert set(importance["model"]) == {"clinical", "clinical_omics", "clinical_latent"}
    assert set(importance["block"]) == {"rna", CLINICAL}
    assert importance["held_out"].all()
    clinical = importance.filter((pl.col("model") == "clinical") & (pl.col("metric") == "uno_c"))
    of = {r["block"]: r for r in clinical.iter_rows(named=True)}
    assert of["rna"]["estimate"] == 0.0  # it does not see the omic
    assert of[CLINICAL]["lower"] > 0
    usable = N - len(range(0, N, 29))
    assert set(importance["n"]) == {usable}
    shares = tables.read_table(results["shares"], tables.PrognosisShares)
    assert set(shares["block"]) == {"rna", CLINICAL}
    assert (shares["lower"] < shares["estimate"]).all()
    explained = tables.read_table(results["explained"], tables.PrognosisExplained)
    assert {"g0", "age", "er"} <= set(explained.filter(pl.col("level") == "feature")["name"])
    assert explained.filter(pl.col("level") == "gene set")["random"].null_count() == 0
    assert (explained["lowest"] <= explained["mean_absolute"] + 1e-12).all()
    said = pl.concat([tables.read_table(p, tables.PrognosisAttributionChecks) for p in checks])
    assert set(said["resample"]) == {"cv-1-1", "cv-1-2"}
    assert (said["error"] <= 1e-4).all()


def test_contributions_add_up_to_differences_of_predicted_risk(scripts):
    made, *_ = scripts
    at = ENDPOINT.horizons_months[-1]
    for contributions, curves in zip(made["contributions"], made["curves"], strict=True):
        parts = tables.read_table(contributions, tables.PrognosisContributions)
        total = parts.group_by("patient_id").agg(pl.col("contribution").sum())
        curve = tables.read_table(curves, tables.PrognosisCurves)
        own = curve.filter((pl.col("model") == "clinical_latent") & (pl.col("time_months") - at).abs().lt(1e-6))
        both = total.join(own, on="patient_id").with_columns(average=1 - pl.col("survival") - pl.col("contribution"))
        assert both.height == total.height
        # What is left is the risk of the average patient; all here have the one omic, so it is one number.
        assert both["average"].max() - both["average"].min() < 2e-4


def test_without_held_out_patients_the_tables_are_empty(scripts):
    *_, folder, settings = scripts
    out = {n: str(folder / f"none-{n}.parquet") for n in ("importance", "shares", "explained")}
    empty = {n: [] for n in ("risks", "curves", "permuted", "contributions", "attributions")}
    coefficients = str(folder / "full" / "coefficients.parquet")
    explain_prognosis.main(**settings, **empty, **out, coefficients=coefficients, evaluation=EVALUATION)
    assert all(pl.read_parquet(p).is_empty() for p in out.values())


def test_time_grid_holds_the_last_horizon_exactly():
    grid = time_grid(ENDPOINT)
    assert grid[int(np.searchsorted(grid, ENDPOINT.horizons_months[-1]))] == ENDPOINT.horizons_months[-1]
