"""Batches, sites, alterations, gene sets and pictures of subgroups against closed forms and planted truth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from stratiome.cohort.errors import CohortError
from stratiome.config import EvaluationConfig, FeatureConfig
from stratiome.quality.variables import Variable
from stratiome.subgroups.alterations import alterations_table, definitions
from stratiome.subgroups.batch import association_table, cramers_v_interval, eta_squared_interval, sites_table
from stratiome.subgroups.gene_sets import gene_set_tables, score
from stratiome.subgroups.gmt import read_gmt
from stratiome.subgroups.picture import LEAST_BIN, consensus_table, map_table
from stratiome.tables import SubgroupAssignment, Subgroups, from_rows

SETTINGS = EvaluationConfig(bootstraps=100)
N = 240
IDS = [f"P{i:03d}" for i in range(N)]
GROUP = np.repeat([1, 2, 3], [120, 80, 40])


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices: threads of the linear algebra would only wait for each other."""
    with threadpool_limits(1):
        yield


@dataclass(frozen=True)
class Held:
    """An omic in memory behind the interface of a stored one."""

    name: str
    kind: str
    features: tuple[str, ...]
    whole: np.ndarray
    patient_ids: tuple[str, ...] = tuple(IDS)
    unit: str = ""

    def rows(self):
        for start in range(0, len(self.whole), 100):
            piece = slice(start, min(start + 100, len(self.whole)))
            yield piece, self.whole[piece].astype(np.float32)

    def columns(self):
        for start in range(0, self.whole.shape[1], 3):
            piece = slice(start, min(start + 3, self.whole.shape[1]))
            yield piece, self.whole[:, piece].astype(np.float32)


def assignments(labels=GROUP, resample="full", role="train", model="pca"):
    return from_rows(
        [
            {
                "patient_id": p,
                "resample": resample,
                "role": role,
                "model": model,
                "subgroup": int(s),
                "probability": 0.9,
            }
            for p, s in zip(IDS, labels, strict=True)
        ],
        Subgroups,
    )


def held_out():
    return from_rows(
        [
            {"patient_id": p, "model": "pca", "subgroup": int(s), "full_subgroup": int(s), "probability": 0.9}
            for p, s in zip(IDS, GROUP, strict=True)
        ],
        SubgroupAssignment,
    )


OUTCOME = pl.DataFrame({"patient_id": IDS, "time_months": 5.0, "event": [i % 2 for i in range(N)]})


# ---- batch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", [0.0, 0.25])
def test_interval_of_cramers_v_covers(truth):
    rng = np.random.default_rng(1)
    joint = np.full((3, 3), (1 - truth) / 9) + truth * np.eye(3) / 3  # V of this table is `truth`
    covered = []
    for _ in range(200):
        table = rng.multinomial(300, joint.ravel()).reshape(3, 3)
        lower, upper = cramers_v_interval(table, 0.95)
        covered.append(lower <= truth <= upper)
    assert np.mean(covered) > 0.90


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_interval_of_eta_squared_covers(shift):
    rng = np.random.default_rng(2)
    group = np.repeat([0, 1, 2], 60)
    means = shift * np.array([-1.0, 0.0, 1.0])
    truth = means.var() / (means.var() + 1)
    covered = []
    for _ in range(200):
        lower, upper = eta_squared_interval(group, means[group] + rng.normal(size=180), 0.95)
        covered.append(lower <= truth <= upper)
    assert np.mean(covered) > 0.90


def test_a_subgroup_that_is_a_plate_is_called_strong_and_others_are_not():
    rng = np.random.default_rng(0)
    plate = np.where(rng.random(N) < 0.9, GROUP, rng.integers(1, 4, N)).astype(str).astype(object)
    variables = [
        Variable("rna: plate", "batch", plate),
        Variable("purity", "batch", GROUP * 1.0 + rng.normal(size=N)),
        Variable("site", "batch", rng.choice(["a", "b"], N).astype(object)),
        Variable("age", "covariate", rng.normal(size=N)),
        Variable("same", "covariate", np.full(N, "x", dtype=object)),
        Variable("event", "outcome", rng.choice(["0", "1"], N).astype(object)),
    ]
    table = association_table(held_out(), variables, IDS, OUTCOME, 0.3, 0.95)
    rows = {r["variable"]: r for r in table.iter_rows(named=True)}
    assert set(rows) == {"rna: plate", "purity", "site", "age", "same"}  # the outcome has its own tests
    assert [rows[n]["beyond"] for n in ("rna: plate", "purity", "site", "age", "same")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert rows["rna: plate"]["estimate"] > 0.8
    assert all(r["lower"] <= r["estimate"] <= r["upper"] for r in rows.values() if r["estimate"] is not None)
    assert "does not vary" in rows["same"]["method"]
    assert rows["age"]["n"] == N
    assert rows["age"]["events"] == N // 2


def test_subgroups_that_come_back_at_an_unseen_site_agree():
    shuffled = np.random.default_rng(0).permutation(GROUP)
    found = pl.concat(
        [assignments(), assignments(4 - GROUP, "site-a", "test"), assignments(shuffled, "site-b", "test")]
    )
    counts = {("full", "pca"): 3, ("site-a", "pca"): 3, ("site-b", "pca"): 3}
    rows = {r["resample"]: r for r in sites_table(found, counts, OUTCOME, SETTINGS, 1).iter_rows(named=True)}
    assert rows["site-a"]["estimate"] == pytest.approx(1.0)  # other numbers, the same groups
    assert abs(rows["site-b"]["estimate"]) < 0.1
    assert rows["site-a"]["n"] == N


# ---- alterations -----------------------------------------------------------------------------------------------------


def test_frequencies_are_counted_where_there_is_a_value():
    rng = np.random.default_rng(0)
    mutated = (rng.random((N, 30)) < 0.1).astype(float)
    mutated[:, 0] = GROUP == 2
    mutated[:5, 0] = np.nan
    rows = alterations_table([Held("mutation", "mutation", tuple(f"g{i}" for i in range(30)), mutated)], assignments())
    first = {r["subgroup"]: r for r in rows.filter(pl.col("feature") == "g0").iter_rows(named=True)}
    assert (first[2]["count"], first[2]["n"], first[2]["difference"]) == (80, 80, 1.0)
    assert (first[1]["count"], first[1]["n"]) == (0, 115)
    assert rows["feature"][0] == "g0"
    assert rows["feature"].n_unique() == 12


@pytest.mark.parametrize(
    ("values", "gain"), [([-2, 0, 1], "call above 0"), ([0, 2, 5], "more than 2 copies"), ([-0.4, 0.1, 1.3], "log2")]
)
def test_gains_are_defined_by_the_unit(values, gain):
    omic = Held("cna", "copy_number", ("a", "b"), np.resize(np.array(values, dtype=float), (N, 2)))
    assert definitions(omic)["gain"][1].startswith(gain)
    rows = alterations_table([omic], assignments())
    assert set(rows["alteration"]) == {"gain", "loss"}
    lost = rows.filter((pl.col("alteration") == "loss") & (pl.col("feature") == "a"))["count"].sum()
    assert lost == (omic.whole[:, 0] < {"ca": -0.5, "mo": 1.5, "lo": -0.2}[gain[:2]]).sum()


# ---- gene sets -------------------------------------------------------------------------------------------------------


def _expression(seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(N, 40))
    values[:, :10] += 2.0 * (GROUP == 3)[:, None]
    return Held("rna", "expression", tuple(f"G{i}" for i in range(40)), values)


def _gmt(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sets.gmt"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_planted_set_is_higher_in_its_subgroup_and_small_sets_are_not_scored(tmp_path):
    up, flat = "\t".join(f"G{i}" for i in range(10)), "\t".join(f"G{i}" for i in range(20, 35))
    sets = read_gmt(_gmt(tmp_path, f"UP\tby hand\t{up}\tG0\tABSENT\nFLAT\t\t{flat}\n\nTINY\tx\tG1\tG2\tABSENT\n"))
    assert [len(s.genes) for s in sets] == [11, 15, 3]
    scores, coverage = gene_set_tables(sets, [_expression()], assignments(), None, FeatureConfig(max_features=3), 5)
    effect = {(r["gene_set"], r["subgroup"]): r["effect"] for r in scores.iter_rows(named=True)}
    assert effect["UP", 3] > 2
    assert effect["UP", 1] < 0
    assert max(abs(effect["FLAT", g]) for g in (1, 2, 3)) < 0.5
    said = {r["gene_set"]: r for r in coverage.iter_rows(named=True)}
    assert (said["UP"]["n_genes"], said["UP"]["n_shared"], said["UP"]["source"]) == (11, 10, "by hand")
    assert not said["TINY"]["scored"]
    assert said["TINY"]["note"] == "fewer than 5 genes measured"
    assert "TINY" not in set(scores["gene_set"])


def test_scores_are_means_of_what_is_measured():
    values = np.array([[1.0, 3.0, np.nan, np.nan], [1.0, 3.0, 5.0, np.nan], [2.0, np.nan, np.nan, np.nan]])
    np.testing.assert_allclose(score(values), [2.0, 3.0, np.nan])


def test_the_scale_of_a_gene_changes_no_score():
    sets = read_gmt_of(("S", *(f"G{i}" for i in range(10))))
    omic = _expression()
    scaled = Held("rna", "expression", omic.features, omic.whole * np.linspace(1, 3, 40) + 7)
    first, second = (
        gene_set_tables(sets, [o], assignments(), None, FeatureConfig(), 5)[0]["effect"].to_numpy()
        for o in (omic, scaled)
    )
    np.testing.assert_allclose(first, second, atol=1e-4)


def read_gmt_of(*lines):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return read_gmt(_gmt(Path(folder), "\n".join("\t".join((line[0], "", *line[1:])) for line in lines)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("A,source,G1,G2\n", "not commas"),
        ("A\tsource\n", "1 lines without a name or without genes, as line 1"),
        ("A\ts\tG1\nB\ts\tG2\nA\ts\tG3\n", "1 names more than once, as `A`"),
    ],
)
def test_bad_gene_sets_are_refused_with_a_fix(tmp_path, text, said):
    with pytest.raises(CohortError, match="Suggestion") as caught:
        read_gmt(_gmt(tmp_path, text))
    assert said in str(caught.value)
    assert str(caught.value).startswith("`subgroups.gene_sets`: ")


def test_a_gene_set_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(CohortError, match="does not exist"):
        read_gmt(tmp_path / "none.gmt")
    (tmp_path / "packed.gmt").write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(CohortError, match="UTF-8"):
        read_gmt(tmp_path / "packed.gmt")


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_consensus_is_one_for_subgroups_that_stay_and_shows_nobody():
    other = GROUP % 3 + 1  # other numbers for the same groups
    found = pl.concat([assignments(), *(assignments(other, f"cv-1-{i}") for i in range(3))])
    rows = consensus_table(found, 1)
    same = rows["row_subgroup"] == rows["column_subgroup"]
    assert set(rows.filter(same)["share"]) == {1.0}
    assert set(rows.filter(~same)["share"]) == {0.0}
    assert rows["n_row"].min() >= LEAST_BIN
    assert rows.filter(pl.col("row") == pl.col("column"))["n_row"].sum() == N


def test_consensus_of_shuffled_labels_is_that_of_chance():
    rng = np.random.default_rng(0)
    found = pl.concat([assignments(), *(assignments(rng.permutation(GROUP), f"cv-1-{i}") for i in range(8))])
    rows = consensus_table(found, 1)
    pairs = (np.array([120, 80, 40]) * (np.array([120, 80, 40]) - 1)).sum() / (N * (N - 1))
    weight = rows["n_row"] * rows["n_column"]
    apart = rows["row"] != rows["column"]
    assert (rows.filter(apart)["share"] * weight.filter(apart)).sum() / weight.filter(apart).sum() == pytest.approx(
        pairs, abs=0.03
    )


def test_consensus_needs_two_subgroups_and_a_refit():
    one = pl.concat([assignments(np.ones(N)), assignments(np.ones(N), "cv-1-1")])
    assert consensus_table(one, 1).is_empty()
    assert consensus_table(assignments(), 1).is_empty()


def test_the_map_is_the_same_every_time_rounded_and_in_no_order():
    rng = np.random.default_rng(0)
    points = np.eye(3)[GROUP - 1] * 8 + rng.normal(size=(N, 3))
    full = assignments(model="vae")
    made = [map_table(IDS, {"vae": points}, full, {}, {}, 1) for _ in range(2)]
    assert made[0].equals(made[1])
    umap = made[0].filter(pl.col("projection") == "umap")
    assert umap.height == N
    assert umap["subgroup"].to_list() != GROUP.tolist()
    assert (umap["x"] == umap["x"].round(2)).all()
    centres = umap.group_by("subgroup").agg(pl.col("x").mean(), pl.col("y").mean()).sort("subgroup")
    own = umap.join(centres, on="subgroup")
    spread = np.sqrt(((own["x"] - own["x_right"]) ** 2 + (own["y"] - own["y_right"]) ** 2).mean())
    gaps = centres.select("x", "y").to_numpy()
    assert np.linalg.norm(gaps[0] - gaps[1]) > 2 * spread
    first = made[0].filter(pl.col("projection") == "principal")
    np.testing.assert_allclose(sorted(first["x"]), sorted(np.round(points[:, 0], 2)))
