"""Files as they arrive: read, repaired and said, or refused, each with its own message."""

import gzip

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from conftest import write_tiny
from stratiome.cohort import matrix, parquet
from stratiome.cohort.errors import CohortError
from stratiome.cohort.ingest import read_cohort
from stratiome.cohort.names import mangled_names
from stratiome.cohort.read import open_matrix, read_header, read_patients
from stratiome.cohort.scratch import scratch
from stratiome.config import ConfigError, load_config
from stratiome.plan import clinical_file, omic_files, plan

IDS = ("P1", "P2", "P3")
KNOWN = frozenset(IDS)
UPRIGHT = "patient_id\tTP53\tBRCA1\nP1\t1\t4\nP2\t2\t5\nP3\t\t6\n"
TURNED = "gene\tP1\tP2\tP3\nTP53\t1\t2\t\nBRCA1\t4\t5\t6\n"
VALUES = np.array([[4, 1], [5, 2], [6, np.nan]], dtype=np.float32)  # columns BRCA1, TP53


def _open(folder, text, name="m.tsv", known=KNOWN, show_ids=True, **options):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_matrix(path, "patient_id", show_ids, known, **options)


def _same(found, ids=IDS):
    assert found.patient_ids == ids
    assert found.features == ("BRCA1", "TP53")
    np.testing.assert_array_equal(found.values(), VALUES)


def _said(found, words):
    assert any(words in note for note in found.notes), found.notes
    assert not any(i in note for note in found.notes for i in IDS)


def test_upright_says_nothing(tmp_path):
    found = _open(tmp_path, UPRIGHT)
    _same(found)
    assert found.notes == ()


@pytest.mark.parametrize(
    "text",
    [
        TURNED,
        TURNED.replace("gene", "patient_id"),
        TURNED.replace("gene", ""),
        "Hugo_Symbol\tEntrez_Gene_Id\tP1\tP2\tP3\nTP53\t7157\t1\t2\t\nBRCA1\t672\t4\t5\t6\n",
        "Hugo_Symbol\tEntrez_Gene_Id\tP1\tP2\tP3\nTP53\t\t1\t2\tNA\nBRCA1\t\t4\t5\t6\n",
        "Hugo_Symbol\tEntrez_Gene_Id\tCytoband\tP1\tP2\tP3\nTP53\t7157\t17p\t1\t2\tNA\nBRCA1\t672\t17q\t4\t5\t6\n",
    ],
)
def test_patients_as_columns(tmp_path, text):
    found = _open(tmp_path, text)
    _same(found)
    _said(found, "features are rows and patients are columns")


def test_patients_as_columns_in_parquet(tmp_path):
    table = pl.DataFrame({"gene": ["TP53", "BRCA1"], "P1": [1, 4], "P2": [2, 5], "P3": [None, 6]})
    table.write_parquet(tmp_path / "m.parquet")
    _same(open_matrix(tmp_path / "m.parquet", "patient_id", True, KNOWN))


@pytest.mark.parametrize("held", [1, 100])
@pytest.mark.parametrize("row_groups", [1, 2, 50])
def test_parquet_of_any_row_groups_and_types(tmp_path, monkeypatch, held, row_groups):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(7, 5)).astype(np.float32)
    values[2, 1] = np.nan
    whole = np.arange(7) - 3
    columns = {f"G{j}": values[:, j] for j in range(5)}
    texts = {"G5": [f" {v} " for v in whole], "G6": pl.Series([None, *whole[1:]], dtype=pl.Int16), " G7": whole > 0}
    ids = [f"P{i}" for i in (4, 0, 6, 2, 1, 5, 3)]
    table = pl.DataFrame({"patient_id": ids, **columns, **texts}).select(
        "G3", "patient_id", pl.exclude("G3", "patient_id")
    )
    pq.write_table(table.to_arrow(), tmp_path / "m.parquet", row_group_size=row_groups)
    monkeypatch.setattr(parquet, "HELD_CELLS", held)
    monkeypatch.setattr(parquet, "COLUMNS_AT_ONCE", 3)
    monkeypatch.setattr(matrix, "CELLS_AT_ONCE", 16)
    found = open_matrix(tmp_path / "m.parquet", "patient_id", True, frozenset(ids))
    assert found.patient_ids == tuple(ids)
    assert found.features == tuple(f"G{j}" for j in range(8))
    expected = np.column_stack([values, whole, np.where(whole == -3, np.nan, whole), whole > 0]).astype(np.float32)
    np.testing.assert_array_equal(found.values(), expected)
    assert max(len(part) for _, part in found.blocks()) <= 2


@pytest.mark.parametrize("shuffled", [False, True])
def test_rows_in_any_order_are_written_in_the_order_of_patients(tmp_path, monkeypatch, shuffled):
    raw = write_tiny(tmp_path / "data")
    table = pl.read_csv(tmp_path / "data/mrna.tsv", separator="\t").sort("patient_id")
    stranger = table.head(1).with_columns(patient_id=pl.lit("A-stranger"))
    mixed = pl.concat([table, stranger]).sample(fraction=1, shuffle=shuffled, seed=1)
    mixed.write_csv(tmp_path / "data/mrna.tsv", separator="\t")
    monkeypatch.setattr(matrix, "CELLS_AT_ONCE", 3 * (table.width - 1))
    config = load_config(raw)
    cohort = read_cohort(config, clinical_file(config), omic_files(config))
    omic = cohort.matrices["mrna"]
    pieces = list(omic.blocks())
    assert [int(i) for place, _ in pieces for i in place] == list(range(table.height))
    assert max(len(place) for place, _ in pieces) <= 3
    expected = table.select(sorted(c for c in table.columns if c != "patient_id")).to_numpy().astype(np.float32)
    np.testing.assert_array_equal(np.vstack([values for _, values in pieces]), expected)


def test_no_room_for_temporary_values_is_said():
    said = r"GB are needed for temporary values, .* are free.*set TMPDIR"
    with pytest.raises(CohortError, match=said), scratch(10**9, 10**6):
        pass


def test_a_patient_of_another_cohort_is_still_a_patient(tmp_path):
    found = _open(tmp_path, TURNED.replace("P1", "X9"))
    assert found.patient_ids == ("X9", "P2", "P3")


def test_both_orientations_give_one_cohort(tmp_path):
    raw = write_tiny(tmp_path / "data")
    config = load_config(raw)
    upright = read_cohort(config, clinical_file(config), omic_files(config))
    values = upright.matrices["mrna"].values()
    table = pl.read_csv(tmp_path / "data/mrna.tsv", separator="\t")
    turned = table.drop("patient_id").transpose(column_names=table["patient_id"].to_list())
    turned.insert_column(0, pl.Series("symbol", table.columns[1:])).write_csv(
        tmp_path / "data/mrna.tsv", separator="\t"
    )
    assert plan(raw, "x")[0] == config
    again = read_cohort(config, clinical_file(config), omic_files(config))
    np.testing.assert_array_equal(values, again.matrices["mrna"].values())
    assert upright.matrices["mrna"].patient_ids == again.matrices["mrna"].patient_ids
    assert upright.notes.height == 0
    assert again.notes.row(0)[:2] == ("mrna", "mrna.tsv")


def test_preflight_refuses_where_neither_orientation_fits(tmp_path):
    raw = write_tiny(tmp_path / "data")
    path = tmp_path / "data/mrna.tsv"
    path.write_text(path.read_text().replace("patient_id", "sample").replace("\nP", "\nQ"))
    with pytest.raises(ConfigError, match="has no column `patient_id`, and none of its columns is a patient"):
        plan(raw, "x")


REPAIRED = {
    "byte order mark": (b"\xef\xbb\xbf" + UPRIGHT.encode(), "m.tsv", "byte order mark"),
    "carriage returns alone": (UPRIGHT.replace("\n", "\r"), "m.tsv", "old Macintosh"),
    "carriage returns alone, patients as columns": (TURNED.replace("\n", "\r"), "m.tsv", "old Macintosh"),
    "Windows line ends": (UPRIGHT.replace("\n", "\r\n"), "m.tsv", None),
    "empty lines at the end": (UPRIGHT + "\n\n", "m.tsv", "2 empty lines"),
    "empty Windows lines at the end": (UPRIGHT.replace("\n", "\r\n") + "\r\n", "m.tsv", "1 empty lines"),
    "no line end at the end": (UPRIGHT[:-1], "m.tsv", None),
    "quoted cells": ('"patient_id","TP53","BRCA1"\n"P1","1","4"\n"P2","2","5"\n"P3","","6"\n', "m.csv", None),
    "txt": (UPRIGHT, "m.txt", None),
    "compressed": (gzip.compress(UPRIGHT.encode()), "m.tsv.gz", None),
    "compressed commas": (gzip.compress(UPRIGHT.replace("\t", ",").encode()), "m.csv.gz", None),
    "blanks around identifiers": (UPRIGHT.replace("P1", " P1 "), "m.tsv", "fewer than 100 identifiers had blanks"),
    "blanks around names": (UPRIGHT.replace("TP53", "TP53 "), "m.tsv", "fewer than 100 column names had blanks"),
    "blanks around numbers": (UPRIGHT.replace("\t6", "\t 6"), "m.tsv", "1 columns had blanks around"),
    "blanks around patients in the header": (
        TURNED.replace("P2", " P2"),
        "m.tsv",
        "fewer than 100 column names had blanks",
    ),
    "blanks around genes": (TURNED.replace("TP53", " TP53"), "m.tsv", "fewer than 100 feature names had blanks"),
    "null as a word": (UPRIGHT.replace("P3\t\t", "P3\tnull\t"), "m.tsv", None),
    "padded null as a word": (UPRIGHT.replace("P3\t\t", "P3\t NULL \t"), "m.tsv", "1 columns had blanks around"),
}


@pytest.mark.parametrize("case", REPAIRED)
def test_repaired_and_said(tmp_path, case):
    text, name, words = REPAIRED[case]
    found = _open(tmp_path, text, name)
    _same(found)
    if words:
        _said(found, words)
    else:
        assert found.notes == ()


REFUSED = {
    "commas in a .tsv": (UPRIGHT.replace("\t", ","), "m.tsv", "separated by commas.*rename it to .csv"),
    "semicolons in a .tsv": (UPRIGHT.replace("\t", ";"), "m.tsv", "separated by semicolons.*.tsv needs tabs"),
    "semicolons in a .csv": (UPRIGHT.replace("\t", ";"), "m.csv", "separated by semicolons.*decimal commas"),
    "tabs in a .csv": (UPRIGHT, "m.csv", "separated by tabs.*rename it to .tsv"),
    "mixed delimiters": (UPRIGHT.replace("P2\t2\t5", "P2,2,5"), "m.tsv", "line 3 is separated by commas.*mixed"),
    "comment lines": ("# made by hand\n" + UPRIGHT, "m.tsv", "line 1 starts with `#`"),
    "Latin-1": (UPRIGHT.replace("TP53", "TNF-\xe4").encode("latin-1"), "m.tsv", "not UTF-8 .line 1, byte 16"),
    "Latin-1 further down": (UPRIGHT.replace("P3", "P\xe9").encode("latin-1"), "m.tsv", "not UTF-8 .line 4"),
    "UTF-16": (UPRIGHT.encode("utf-16"), "m.tsv", "UTF-16"),
    "short row": (UPRIGHT.replace("P2\t2\t5", "P2\t2"), "m.tsv", "line 3 has 2 cells, the header 3"),
    "long row": (UPRIGHT.replace("P2\t2\t5", "P2\t2\t5\t6"), "m.tsv", "line 3 has 4 cells, the header 3"),
    "row names of R": (UPRIGHT.replace("patient_id\t", ""), "m.tsv", "what R writes with row names"),
    "empty line in between": (UPRIGHT.replace("\nP2", "\n\nP2"), "m.tsv", "line 3 is empty"),
    "mixed line ends": (UPRIGHT.replace("\nP3", "\rP3"), "m.tsv", "line ends are mixed"),
    "open quotation mark": (UPRIGHT.replace("P2", '"P2'), "m.tsv", "quotation mark on line 3 is not closed"),
    "damaged compression": (gzip.compress(UPRIGHT.encode() * 9)[:-9], "m.tsv.gz", "ends too early"),
    "not compressed": (UPRIGHT, "m.tsv.gz", "damaged"),
    "decimal commas": (UPRIGHT.replace("\t4", "\t4,5"), "m.tsv", "decimal comma in 1 columns .BRCA1"),
    "text": (UPRIGHT.replace("\t4", "\thigh"), "m.tsv", "not numeric: BRCA1. 1 of their 3 values is text, as 'high'"),
    "dates for genes": (UPRIGHT.replace("TP53", "1-Mar"), "m.tsv", "dates or powers of ten.*1-Mar.*as text"),
    "dates for genes in rows": (TURNED.replace("TP53", "2-Sep"), "m.tsv", "dates or powers of ten.*2-Sep"),
    "gene twice": (UPRIGHT.replace("TP53", "BRCA1"), "m.tsv", "listed more than once: BRCA1"),
    "gene twice in rows": (TURNED.replace("TP53", "BRCA1"), "m.tsv", "features listed more than once: BRCA1"),
    "gene without a name": (TURNED.replace("TP53", ""), "m.tsv", "1 features have no name"),
    "patient twice": (UPRIGHT.replace("P2", "P1"), "m.tsv", "1 identifiers on more than one row .P1"),
    "patient twice but for blanks": (UPRIGHT.replace("P2", "P1 "), "m.tsv", "on more than one row .P1"),
    "patient in two columns": (TURNED.replace("P2", "P1"), "m.tsv", "columns are listed more than once .P1"),
    "a list of mutations": ("Hugo_Symbol\tTumor_Sample_Barcode\nTP53\tS1\n", "m.txt", "is a list of mutations"),
    "no header": ("\n\n", "m.tsv", "no header line"),
    "unknown kind": (UPRIGHT, "m.xls", "unknown kind of file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_own_message(tmp_path, case):
    text, name, message = REFUSED[case]
    with pytest.raises(CohortError, match=message) as caught:
        _open(tmp_path, text, name)
    assert name in str(caught.value)
    assert "Suggestion" in str(caught.value)


def test_messages_are_all_different():
    assert len({message for _, _, message in REFUSED.values()}) >= 26


def test_texts_that_may_name_people_are_only_counted(tmp_path):
    for text in (
        UPRIGHT.replace("\t2", "\tJane Doe").replace("\t1", "\tJohn Doe"),
        UPRIGHT.replace("\t4", "\tx" + "y" * 30),
    ):
        with pytest.raises(CohortError, match=r"not numeric: \w+. \d of their \d values (is|are) text. Sugg") as caught:
            _open(tmp_path, text)
        assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [TURNED.replace("P2", "P1"), TURNED.replace("\t4", "\tx4"), TURNED.replace("\t4", "\t4,5")]
)
def test_patients_in_columns_are_hidden_when_asked(tmp_path, text):
    with pytest.raises(CohortError) as caught:
        _open(tmp_path, text, show_ids=False)
    assert "P1" not in str(caught.value)


def test_a_value_is_not_told_beside_its_patient(tmp_path):
    text = TURNED.replace("\t4", "\thigh")
    with pytest.raises(CohortError, match=r"not numeric: P1. 1 of their 2 values is text. Sugg"):
        _open(tmp_path, text, show_ids=True)


def test_names_that_differ_by_case_are_kept_apart_and_said(tmp_path):
    found = _open(tmp_path, UPRIGHT.replace("TP53", "brca1"))
    assert found.features == ("BRCA1", "brca1")
    assert any("2 feature names differ only by case" in n for n in found.notes)


def test_what_a_spreadsheet_makes_of_names():
    symbols = [f"GENE{i}" for i in range(30)]
    made = ["1-Mar", "Sep-02", "2020-03-01", "3/1/2020", "2.31E+13", "44075"]
    assert mangled_names(symbols + made) == sorted(made)
    fine = ["MARCH1", "SEPTIN2", "DEC1", "hsa-mir-1-2", "1433EPSILON", "NKX2-5", "cg00000029", "HLA-A", "Dec1"]
    assert mangled_names(symbols + fine) == []
    assert mangled_names(["7157", "672", "43891", "1956"]) == []  # Entrez identifiers are numbers throughout


def test_clinical_tables_are_repaired_and_said(tmp_path):
    (tmp_path / "c.csv").write_bytes(b"\xef\xbb\xbfpatient_id,age \r P1 ,50\r007,null\r")
    notes: list[str] = []
    table = read_patients(tmp_path / "c.csv", "patient_id", True, notes)
    assert table.to_dict(as_series=False) == {"patient_id": ["007", "P1"], "age": [None, 50.0]}
    assert len(notes) == 4


def test_header_of_a_wide_file_with_carriage_returns(tmp_path):
    names = [f"gene_with_a_long_name_{i}" for i in range(250_000)]
    (tmp_path / "w.tsv").write_text("\t".join(["patient_id", *names]) + "\rP1" + "\t1" * len(names) + "\r")
    assert len(read_header(tmp_path / "w.tsv")) == len(names) + 1


TCGA = frozenset(f"TCGA-0{i}-000{i}" for i in range(1, 4))


def _barcodes(*suffixes):
    ids = [f"TCGA-0{i}-000{i}{s}" for i, s in zip((1, 2, 3), suffixes, strict=True)]
    return UPRIGHT.replace("P1", ids[0]).replace("P2", ids[1]).replace("P3", ids[2])


def test_sample_barcodes_become_those_of_patients(tmp_path):
    found = _open(tmp_path, _barcodes("-01", "-01A", "-02A-11R-A115-07"), known=TCGA)
    _same(found, tuple(sorted(TCGA)))
    _said(found, "fewer than 100 TCGA sample barcodes were cut")
    same = _open(tmp_path, _barcodes("-01", "-01A", "-01B"), known=None)
    assert same.patient_ids[0] == "TCGA-01-0001-01"


def test_several_samples_of_a_patient_are_refused(tmp_path):
    text = _barcodes("-01A", "-01A", "-01A").replace("TCGA-02-0002-01A", "TCGA-01-0001-06A")
    with pytest.raises(CohortError, match=r"1 patients have several samples .TCGA-01-0001-01A, TCGA-01-0001-06A"):
        _open(tmp_path, text, known=TCGA)
    with pytest.raises(CohortError, match=r"1 samples are of normal tissue .TCGA-03-0003-11A"):
        _open(tmp_path, _barcodes("-01A", "-01A", "-11A"), known=TCGA)


def _annotated(folder, x, name="m.h5ad", ids=IDS, obs=None, layers=None):
    import anndata
    import mudata
    import pandas as pd

    data = anndata.AnnData(
        X=x,
        obs=pd.DataFrame(obs or {}, index=list(ids)),
        var=pd.DataFrame(index=["TP53", "BRCA1"]),
        layers=layers,
    )
    if name.endswith(".h5ad"):
        data.write_h5ad(folder / name)
    else:
        mudata.MuData({"rna": data, "other": data[:2].copy()}).write_h5mu(folder / name)
    return folder / name


DENSE = np.array([[1, 4], [2, 5], [np.nan, 6]], dtype=np.float32)


@pytest.mark.parametrize("name", ["m.h5ad", "m.h5mu"])
def test_annotated_files(tmp_path, monkeypatch, name):
    path = _annotated(tmp_path, DENSE, name)
    monkeypatch.setattr(matrix, "CELLS_AT_ONCE", 4)
    found = open_matrix(path, "patient_id", True, KNOWN, None, "rna" if name == "m.h5mu" else None)
    _same(found)
    assert len(list(found.blocks())) == 2
    _said(found, "identifiers are the names of the observations")


@pytest.mark.parametrize("form", ["csr_matrix", "csc_matrix"])
def test_sparse_zeros_are_zeros(tmp_path, monkeypatch, form):
    import scipy.sparse

    x = np.array([[0, 4], [2, 0], [0, 0]], dtype=np.float32)
    path = _annotated(tmp_path, getattr(scipy.sparse, form)(x))
    monkeypatch.setattr(matrix, "CELLS_AT_ONCE", 4)
    found = open_matrix(path, "patient_id", True, KNOWN)
    np.testing.assert_array_equal(found.values(), x[:, ::-1])


def test_layer_and_identifiers_of_a_column(tmp_path):
    path = _annotated(tmp_path, DENSE * 0, ids=("a", "b", "c"), obs={"patient_id": list(IDS)}, layers={"log": DENSE})
    _same(open_matrix(path, "patient_id", True, KNOWN, "log"))
    with pytest.raises(CohortError, match=r"no layer `logs`. Did you mean `log`"):
        open_matrix(path, "patient_id", True, KNOWN, "logs")


def test_annotated_files_that_are_refused(tmp_path):
    path = _annotated(tmp_path, DENSE, "m.h5mu")
    with pytest.raises(CohortError, match=r"no `modality` is given. Suggestion: set `modality` to one of other, rna"):
        open_matrix(path, "patient_id", True, KNOWN)
    with pytest.raises(CohortError, match="Did you mean `rna`"):
        open_matrix(path, "patient_id", True, KNOWN, None, "rnas")
    cells = _annotated(tmp_path, DENSE, "cells.h5ad", ids=("a", "b", "c"), obs={"patient_id": ["P1", "P1", "P2"]})
    with pytest.raises(CohortError, match=r"1 patients have several observations .P1"):
        open_matrix(cells, "patient_id", True, KNOWN)
    with pytest.raises(CohortError, match="patients are variables"):
        open_matrix(_annotated(tmp_path, DENSE, "t.h5ad"), "patient_id", True, frozenset({"TP53", "BRCA1"}))
    broken = tmp_path / "broken.h5ad"
    broken.write_bytes(cells.read_bytes()[:3000])
    with pytest.raises(CohortError, match=r"not a readable .h5ad file"):
        open_matrix(broken, "patient_id", True, KNOWN)


@pytest.mark.parametrize(
    ("key", "words"), [("layer", "is for .h5ad and .h5mu files"), ("modality", "is for .h5mu files")]
)
def test_parts_are_for_annotated_files(tiny, key, words):
    tiny["data"]["omics"]["mrna"][key] = "x"
    with pytest.raises(ConfigError, match=words):
        load_config(tiny)


@pytest.mark.parametrize("suffix", [".tsv", ".csv"])
def test_names_with_quotation_marks(tmp_path, suffix):
    table = pl.DataFrame({"patient_id": ["A", "B"], 'x"y': [1.5, 2.5], '3"-end, "rare"': [3.0, None], " b ": [5, 6]})
    path = tmp_path / f"m{suffix}"
    table.write_csv(path, separator="\t" if suffix == ".tsv" else ",")
    found = open_matrix(path, "patient_id", True)
    assert found.features == ('3"-end, "rare"', "b", 'x"y')
    np.testing.assert_array_equal(found.values(), [[3.0, 5, 1.5], [np.nan, 6, 2.5]])


def test_numbers_stored_as_text_are_said(tmp_path):
    table = pl.DataFrame({"patient_id": ["A", "B"], "a": ["1.5", "2"], "b": [1.0, 2.0]})
    table.write_parquet(tmp_path / "m.parquet")
    found = open_matrix(tmp_path / "m.parquet", "patient_id", True)
    assert found.notes == ("1 columns hold numbers stored as text",)
    np.testing.assert_array_equal(found.values(), [[1.5, 1], [2, 2]])
