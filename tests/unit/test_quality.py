"""Quality of omics: planted faults are found, real traps are found, and the order of anything changes nothing."""

import re

import numpy as np
import polars as pl
import pytest
from scipy import stats

from held_omic import Held
from stratiome import omics
from stratiome.cohort.errors import CohortError
from stratiome.cohort.ingest import read_cohort, write_cohort
from stratiome.cohort.store import read_stored
from stratiome.config import load_config
from stratiome.numbers import rounded
from stratiome.omics.screen import UnitScreen
from stratiome.quality.bars import quality_bars
from stratiome.quality.metrics import feature_quality, omic_quality
from stratiome.quality.outliers import OutlierScan
from stratiome.tables import QualityBars, from_rows


def _held(values, features=None, step=4):
    n, p = values.shape
    names = tuple(features or (f"f{j:04d}" for j in range(p)))
    return Held("x", tuple(f"P{i:04d}" for i in range(n)), names, values.astype(np.float32), step)


def _measure(omic, kind):
    table = feature_quality(omic, kind)
    return table, {r["metric"]: r for r in omic_quality(omic, table, kind, len(omic.patient_ids))}


def test_quality_flags():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(50, 6)).astype(np.float32)
    values[:, 1] = 3
    values[:30, 2] = np.nan
    values[:, 4] = values[:, 3]
    values[0, 5] = 500
    omic = _held(values, "abcdef")
    table = feature_quality(omic, omics.get("expression"))
    assert table["flag"].to_list() == ["", "constant", "mostly missing", "", "same values as d", "heavy tail"]
    np.testing.assert_allclose(table["mean"][0], values[:, 0].mean(), rtol=1e-5)
    np.testing.assert_allclose(table["sd"][0], values[:, 0].std(ddof=1), rtol=1e-5)
    rest = values[:, 5].astype(np.float64)
    np.testing.assert_allclose(table["tail"][5], (500 - np.median(rest)) / (stats.iqr(rest) / 1.349), rtol=1e-5)
    rows = {r["metric"]: r["value"] for r in omic_quality(omic, table, omics.get("expression"), 60)}
    assert rows["features: constant"] == 1
    assert rows["patients"] == 50


def test_features_missing_in_the_same_patients_are_a_block():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(80, 12))
    values[:20, [1, 4, 7]] = np.nan
    values[50:60, [2, 3]] = np.nan
    values[rng.random(80) < 0.1, 9] = np.nan  # alone: no block
    values[3, [5, 6]] = np.nan  # one patient: no batch
    table, rows = _measure(_held(values), omics.get("protein"))
    assert table["block"].to_list() == [None, 1, 2, 2, 1, None, None, 1, None, None, None, None]
    assert rows["features missing together"]["value"] == 5
    assert rows["patients lacking the largest such group"]["value"] == 20


def test_standardised_features_are_told_from_centred_ones():
    rng = np.random.default_rng(3)
    raw = rng.normal(size=(300, 40))
    z = (raw - raw.mean(0)) / raw.std(0, ddof=1)
    assert "features scaled already" not in _measure(_held(raw), omics.get("expression"))[1]
    assert "features scaled already" not in _measure(_held(z * 2), omics.get("expression"))[1]
    assert _measure(_held(z), omics.get("expression"))[1]["features scaled already"]["value"] == 40
    most = z[rng.random(300) < 0.9]  # some patients left since
    assert "so it leaks" in _measure(_held(most), omics.get("protein"))[1]["features scaled already"]["note"]


def test_tiny_libraries_and_mitochondria():
    rng = np.random.default_rng(4)
    values = rng.poisson(200, (60, 30))
    values[:3] = rng.poisson(8, (3, 30))
    values[10:14, :2] = 3000
    values[:, 5] = 0
    names = ["MT-A", "MT-B", *(f"G{j:02d}" for j in range(28))]
    _, rows = _measure(_held(values, names), omics.get("counts"))
    assert rows["patients with a tiny library"]["value"] == 3
    assert rows["patients with many mitochondrial reads"]["value"] == 4
    assert rows["features: never detected"]["value"] == 1
    total = values.sum(1)
    np.testing.assert_allclose(rows["library size, largest over smallest"]["value"], total.max() / total.min())
    np.testing.assert_allclose(rows["mitochondrial reads"]["value"], np.median(values[:, :2].sum(1) / total))


def test_reads_scaled_to_the_same_total_are_said():
    rng = np.random.default_rng(5)
    values = rng.gamma(0.3, 100, (40, 50))
    values *= 1e6 / values.sum(1, keepdims=True)
    row = _measure(_held(values), omics.get("mirna"))[1]["library size, largest over smallest"]
    np.testing.assert_allclose(row["value"], 1, rtol=1e-5)
    assert "normalised before this analysis" in row["note"]


def test_mutation_burden_and_who_was_not_sequenced():
    values = np.zeros((30, 40))
    values[:25, :3] = 1
    values[0, :] = 1
    values[28:] = np.nan
    values[:28, 39] = 0
    table, rows = _measure(_held(values), omics.get("mutation"))
    assert table["flag"][39] == "never mutated"
    assert rows["patients without any mutation"]["value"] == 3
    assert rows["patients with very many mutations"]["value"] == 1
    assert rows["median mutated genes"]["value"] == 3
    assert rows["patients with mostly missing values"]["value"] == 2


def test_copy_number_is_called_what_it_is():
    rng = np.random.default_rng(6)
    calls = rng.integers(-2, 3, (40, 20)).astype(float)
    ratios = rng.normal(0, 0.4, (40, 20))
    mixed = np.where(np.arange(40)[:, None] < 10, calls, ratios)
    notes = [
        _measure(_held(v), omics.get("copy_number"))[1]["patients with discrete calls"]
        for v in (calls, calls + 2, ratios, mixed)
    ]
    assert [r["value"] for r in notes] == [40, 40, 0, 10]
    for row, text in zip(
        notes, ["discrete calls", "absolute copies", "log ratios", "give all of them alike"], strict=True
    ):
        assert text in row["note"]


def test_methylation_ends_are_counted():
    values = np.random.default_rng(7).uniform(0.01, 0.99, (30, 10))
    values[:2, :3] = 0
    values[5, 5] = 1
    assert _measure(_held(values), omics.get("methylation"))[1]["values of exactly 0 or 1"]["value"] == 7


def test_planted_outliers_are_found_and_clean_cohorts_give_none():
    false, found = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(150, 4)) @ rng.normal(size=(4, 60)) + rng.normal(size=(150, 60))
        values[:60] += rng.normal(0, 1, 60)  # a subgroup is no outlier
        scan = OutlierScan(np.ones(60, bool), 150)
        scan.add(slice(0, 150), values.astype(np.float32))
        false += scan.beyond(scan.distances()).sum()
        values[7] *= 20
        scan.add(slice(0, 150), values.astype(np.float32))
        found += scan.beyond(scan.distances())[7]
    assert found == 20
    assert false <= 2  # of 3,000 patients


def _faulty(seed=8):
    rng = np.random.default_rng(seed)
    values = rng.standard_t(2, (70, 23)) * rng.lognormal(0, 2, 23)
    values[rng.random(values.shape) < 0.05] = np.nan
    values[:9, 3:6] = np.nan
    values[11] = values[12]
    values[:, 8] = values[:, 7]
    return values.astype(np.float32)


@pytest.mark.parametrize("kind", ["expression", "protein", "features"])
def test_order_and_size_of_the_pieces_change_nothing(kind):
    values = _faulty()
    first = _measure(_held(values), omics.get(kind))
    order = np.random.default_rng(0).permutation(len(values))
    for other in (_held(values[order]), _held(values, step=7), _held(values, step=1000)):
        again = _measure(other, omics.get(kind))
        for column in first[0].columns:
            a, b = first[0][column], again[0][column]
            if a.dtype.is_float():
                np.testing.assert_allclose(a.to_numpy(), b.to_numpy(), rtol=1e-10)
            else:
                assert a.to_list() == b.to_list(), column
        assert first[1].keys() == again[1].keys()
        for metric, row in first[1].items():
            np.testing.assert_allclose(row["value"], again[1][metric]["value"], rtol=1e-10)


def _panels(omic, kind):
    rows = from_rows(quality_bars(omic, feature_quality(omic, kind), kind), QualityBars)
    return {name: rows.filter(pl.col("panel") == name) for name in rows["panel"].unique(maintain_order=True)}


def test_bars_say_how_many_values_lie_beyond():
    values = np.random.default_rng(9).normal(size=(100, 50))
    values[3, 4] = 36893
    values[:10, 0] = np.nan
    panels = _panels(_held(values), omics.get("expression"))
    assert list(panels) == ["values", "patients", "missing"]
    drawn = panels["values"]
    beyond = int(re.match(r"(\d+) beyond, from -\d.* to 36,900$", drawn["note"][0])[1])
    assert drawn["height"].sum() + beyond == np.isfinite(values).sum()
    np.testing.assert_allclose(drawn["upper"][:-1], drawn["lower"][1:])
    assert panels["missing"]["height"].to_list()[0] == 49
    assert panels["missing"]["height"].to_list()[-1] == 1


def test_bars_of_patients_have_no_counts():
    drawn = _panels(_held(np.random.default_rng(9).normal(size=(100, 50))), omics.get("expression"))["patients"]
    assert drawn["height"].max() == 1.0
    assert "patients" in drawn["y"].to_list()


def test_bars_of_mutations_are_genes():
    values = (np.random.default_rng(9).random((100, 50)) < np.linspace(0.6, 0.1, 50)).astype(float)
    genes = _panels(_held(values), omics.get("mutation"))["genes"]
    np.testing.assert_allclose(genes["height"], np.sort(values.mean(axis=0))[::-1][:30])


def test_extremes_are_told_to_three_digits():
    values = (0.12345, -999.0, 36893.0, 3.7000000037825e19, -28_021_727_183_475_511_296.0)
    assert [rounded(v) for v in values] == ["0.123", "-999", "36,900", "3.7e19", "-2.8e19"]
    matrix = np.random.default_rng(9).normal(size=(100, 50))
    matrix[3, 4] = 3.7000000037825e19
    omic, kind = _held(matrix), omics.get("expression")
    notes = {r["metric"]: r["note"] for r in omic_quality(omic, feature_quality(omic, kind), kind, 100)}
    assert "largest value as given 3.7e19;" in notes["largest value, in robust SD"]


# The traps that the READMEs of the real cohorts list: matrix, kind, metric, bounds of its value, words of its note.
TRAPS = [
    ("metabric/mrna_zscore", "expression", "features scaled already", (322, 322), "so it leaks"),
    ("metabric/cna", "copy_number", "patients with discrete calls", (2173, 2173), "discrete calls"),
    ("metabric/mutation", "mutation", "patients without any mutation", (152, 152), "or not sequenced"),
    ("breast_nki/mrna", "expression", "missing values", (361 / 138300, 361 / 138300), "share"),
    ("tcga_acc_mini/mrna_rsem", "expression", "values on a linear scale", (355326, 355327), "log2(x + 1)"),
    ("tcga_acc_mini/mirna_rpm", "mirna", "library size, largest over smallest", (8.6, 8.7), "as given"),
    ("tcga_acc_mini/mutation", "mutation", "features: never mutated", (24, 24), ""),
    ("tcga_acc_mini/cna", "copy_number", "patients with discrete calls", (90, 90), "from -2 to 2"),
    ("tcga_brca/mrna", "expression", "largest value, in robust SD", (1e5, 1e6), "36,900"),
    ("tcga_brca/mrna", "expression", "features: heavy tail", (1066, 1066), ""),
    ("tcga_brca/mirna_counts", "mirna", "library size, largest over smallest", (34.9, 35), "many times"),
    ("tcga_brca/mirna_counts", "mirna", "features: never detected", (143, 143), ""),
    ("tcga_brca/mirna_counts", "counts", "library size, largest over smallest", (34.9, 35), "many times"),
    ("tcga_blca/mrna", "expression", "largest value, in robust SD", (1e5, 1e6), "z-scores against a reference"),
    ("tcga_blca/rppa", "protein", "features missing together", (13, 13), "2 groups"),
    ("tcga_luad/mrna", "expression", "largest value, in robust SD", (1e5, 1e6), "z-scores against a reference"),
    ("tcga_luad/rppa", "protein", "features missing together", (28, 28), "the largest of 23"),
    ("tcga_luad/rppa", "protein", "patients lacking the largest such group", (128, 128), "35%"),
    ("tcga_gbmlgg/mrna", "expression", "largest value, in robust SD", (1e4, 1e5), "3,520"),
    ("tcga_gbmlgg/mirna_counts", "mirna", "features: never detected", (192, 192), ""),
    ("tcga_gbmlgg/mirna_counts", "mirna", "patients with a tiny library", (1, 1), "10%"),
    ("tcga_gbmlgg/rppa", "protein", "features missing together", (40, 40), "9 groups"),
    ("tcga_gbmlgg/rppa", "protein", "missing values", (14596 / 143220, 14596 / 143220), "share"),
]


@pytest.mark.parametrize(("matrix", "kind", "metric", "bounds", "words"), TRAPS, ids=lambda v: str(v))
def test_traps_of_the_real_matrices_are_found(shared_data, matrix, kind, metric, bounds, words):
    omic = _real(shared_data, matrix)
    screen = UnitScreen(omics.get(kind), len(omic.patient_ids))
    screen.add(slice(None), omic.whole)
    row = _measure(omic, omics.get(kind, omics.LINEAR if screen.linear else ""))[1][metric]
    assert bounds[0] * (1 - 1e-9) <= row["value"] <= bounds[1] * (1 + 1e-9)
    assert words in row["note"]


REAL = {
    "metabric": {"mrna_zscore": "expression", "cna": "copy_number", "mutation": "mutation"},
    "breast_nki": {"mrna": "expression"},
    "tcga_acc_mini": {"mrna_rsem": "expression", "mirna_rpm": "mirna", "rppa": "protein", "cna": "copy_number"},
    **{
        f"tcga_{c}": {"mrna": "expression", "mirna_counts": "mirna", "rppa": "protein", "cna": "copy_number"}
        for c in ("brca", "blca", "luad", "gbmlgg")
    },
}


@pytest.mark.parametrize("cohort", REAL)
def test_no_real_matrix_is_taken_for_two_units_and_a_planted_slip_is(shared_data, cohort):
    for name, kind in REAL[cohort].items():
        values = _real(shared_data, f"{cohort}/{name}").whole.copy()
        clean = UnitScreen(omics.get(kind), len(values))
        clean.add(slice(None), values)
        assert clean.two_scales() is None, name
        assert clean.linear == (name == "mrna_rsem")
        if kind not in ("expression", "protein") or len(values) < 60:
            continue
        slipped = np.random.default_rng(0).random(len(values)) < 0.2
        values[slipped] *= 1000
        found = UnitScreen(omics.get(kind), len(values))
        found.add(slice(None), values)
        assert found.two_scales().beyond_doubt, name
        assert (found.two_scales().members == slipped).all(), name


def _real(shared_data, matrix):
    frame = pl.read_parquet(shared_data / f"{matrix}.parquet")
    names = sorted(c for c in frame.columns if c != "patient_id")
    values = frame.select(pl.col(names).cast(pl.Float32)).to_numpy()
    return Held(matrix, tuple(frame["patient_id"]), tuple(names), values, step=256)


def _files(folder, mrna):
    n = len(mrna)
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    ids = [f"P{i:03d}" for i in range(n)]
    pl.DataFrame({"patient_id": ids, "months": rng.exponential(30, n) + 1, "dead": rng.integers(0, 2, n)}).write_csv(
        folder / "clinical.tsv", separator="\t"
    )
    table = pl.DataFrame(mrna, schema=[f"G{j:02d}" for j in range(mrna.shape[1])], orient="row")
    table.insert_column(0, pl.Series("patient_id", ids)).write_parquet(folder / "mrna.parquet")
    config = load_config(
        {
            "cohort": "units",
            "data": {
                "folder": str(folder),
                "clinical": "clinical.tsv",
                "omics": {"mrna": {"path": "mrna.parquet", "kind": "expression"}},
            },
            "endpoint": {"time": "months", "event": "dead", "horizons": [12]},
        }
    )
    return config, read_cohort(config, folder / "clinical.tsv", {"mrna": folder / "mrna.parquet"})


def test_a_linear_scale_is_noted_in_the_cohort_file_and_said(tmp_path, caplog):
    rng = np.random.default_rng(1)
    logs = rng.normal(8, 2, 30) + rng.normal(size=(60, 30))
    for name, values, unit in (("a", 2.0**logs, "linear"), ("b", logs, "")):
        config, cohort = _files(tmp_path / name, values.astype(np.float32))
        notes = write_cohort(cohort, config, str(tmp_path / f"{name}.h5mu"))
        (omic,) = read_stored(str(tmp_path / f"{name}.h5mu"))[1]
        assert omic.unit == unit
        np.testing.assert_array_equal(omic.values(), values.astype(np.float32))  # as read
        assert ("log2(x + 1) is used within each patient" in caplog.text) == bool(unit)
        assert [n.split(" is on a")[0] for n in notes["note"]] == ["kind `expression`"] * bool(unit)
        caplog.clear()


def test_codes_for_missing_in_a_matrix_are_said(tmp_path):
    values = np.random.default_rng(3).normal(8, 2, size=(60, 30))
    codes = values.copy()
    codes[:, 3] = np.where(np.arange(60) % 2, -999, values[:, 3])
    wide = np.random.default_rng(3).normal(0, 500, size=(60, 30))
    wide[4, 3] = -999  # a value among others
    for name, given, said in (("a", values, []), ("b", codes, ["-999"]), ("c", wide, [])):
        config, cohort = _files(tmp_path / name, given.astype(np.float32))
        notes = write_cohort(cohort, config, str(tmp_path / f"{name}.h5mu"))["note"]
        assert [n.split(" hold ")[1].split(",")[0] for n in notes] == said


def test_a_matrix_in_two_units_is_refused_with_ids(tmp_path):
    rng = np.random.default_rng(2)
    values = rng.normal(8, 2, 30) + rng.normal(size=(60, 30))
    values[:6] *= np.log(2)
    config, cohort = _files(tmp_path / "a", values.astype(np.float32))
    with pytest.raises(CohortError, match=r"mrna.parquet: 6 of 60 patients .*P000, P001.*Suggestion: bring all"):
        write_cohort(cohort, config, str(tmp_path / "a.h5mu"))
    assert not (tmp_path / "a.h5mu").exists()
