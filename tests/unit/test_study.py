"""cBioPortal study folders: clinical files, samples, matrices, mutations; and the two forms of a real cohort."""

import numpy as np
import polars as pl
import pytest
import yaml

from conftest import ROOT
from stratiome.cohort.clinical import read_clinical
from stratiome.cohort.errors import CohortError
from stratiome.cohort.ingest import read_cohort
from stratiome.cohort.study import open_study_matrix, read_study
from stratiome.config import ConfigError, load_config
from stratiome.plan import clinical_file, omic_files, other_files, plan


def _write(folder, name, *lines):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join("\t".join(map(str, line)) for line in lines) + "\n")


@pytest.fixture
def folder(tmp_path):
    """Four patients: A with a metastasis listed before the primary, B with two primaries, C, and D without samples."""
    study = tmp_path / "study"
    study.mkdir()
    described = [["#Patient", "Months", "Status", "Free"], ["#STRING", "NUMBER", "STRING", "STRING"]]
    rows = [["A", 10, "1:DECEASED", "1:Recurred"], ["B", 20, "0:LIVING", "0:DiseaseFree"]]
    rows += [["C", 30, "0:LIVING", ""], ["D", "null", "", ""]]
    header = ["PATIENT_ID", "OS_MONTHS", "OS_STATUS", "DFS_STATUS"]
    _write(study, "data_clinical_patient.txt", *described, header, *rows)
    samples = [["A-0", "A", "Metastasis", "x"], ["A-1", "A", "Primary", "y"], ["B-2", "B", "Primary", "x"]]
    samples += [["B-1", "B", "Primary", "z"], ["C-1", "C", "Metastasis", "y"]]
    _write(
        study, "data_clinical_sample.txt", ["#S", "P", "T", "ER"], ["SAMPLE_ID", "PATIENT_ID", "SAMPLE_TYPE",
        "ER_STATUS"], *samples,
    )  # fmt: skip
    _write(
        study, "data_mrna.txt", ["Hugo_Symbol", "Entrez_Gene_Id", "A-0", "A-1", "B-1", "B-2", "C-1"],
        ["TP53", 7157, 9, 1, 2, 9, 3], ["", 672, 9, 4, 5, 9, ""], ["TP53", 7, 0, 0, 0, 0, 0],
    )  # fmt: skip
    (study / "meta_mrna.txt").write_text(
        "genetic_alteration_type: MRNA_EXPRESSION\ndata_filename: data_expression.txt\n"
    )
    (study / "meta_mutations.txt").write_text("genetic_alteration_type: MUTATION_EXTENDED\nstable_id: mutations\n")
    maf = ["Hugo_Symbol", "Variant_Classification", "Tumor_Sample_Barcode", "Mutation_Status"]
    _write(
        study, "data_mutations.txt", ["#Sequenced_Samples: A-0 A-1 B-1 C-1"], maf,
        ["TP53", "Missense_Mutation", "A-1", "Somatic"], ["TP53", "Nonsense_Mutation", "A-1", "Somatic"],
        ["KRAS", "Silent", "A-1", "Somatic"], ["KRAS", "Missense_Mutation", "A-0", "Somatic"],
        ["EGFR", "Missense_Mutation", "C-1", "LOH"], ["MYC", "Frame_Shift_Del", "C-1", "Somatic"],
    )  # fmt: skip
    return study


PANELS = ("stable_id: SMALL\ngene_list: TP53\tKRAS\tPTEN\n", "stable_id: TINY\ngene_list: MYC\tTP53\n")


def _panels(folder, matrix="data_gene_matrix.txt", **panel_of):
    _write(folder, matrix, ["SAMPLE_ID", "x_mutations"], *panel_of.items())
    for name, text in zip(("small", "tiny"), PANELS, strict=True):
        (folder / f"data_gene_panel_{name}.txt").write_text(text)


def _mutations(folder):
    found = open_study_matrix(read_study(folder, "patient_id"), folder / "data_mutations.txt", True)
    rows = {
        p: dict(zip(found.features, map(float, v), strict=True))
        for p, v in zip(found.patient_ids, found.values(), strict=True)
    }
    return found, rows


def test_clinical_files_become_one_row_a_patient(folder):
    study = read_study(folder, "patient_id")
    assert study.clinical["patient_id"].to_list() == ["A", "B", "C", "D"]
    assert study.clinical["OS_STATUS"].to_list() == [1.0, 0.0, 0.0, None]
    assert study.clinical["DFS_STATUS"].to_list() == [1.0, 0.0, None, None]
    assert study.clinical["OS_MONTHS"].to_list() == [10.0, 20.0, 30.0, None]
    assert study.clinical["ER_STATUS"].to_list() == ["y", "z", "y", None]  # of the chosen sample, and no event
    notes = " ".join(study.notes)
    assert "fewer than 100 patients have several samples; the primary tumour is taken, among equals the first" in notes
    assert "fewer than 100 samples are left out" in notes
    assert "meta_mrna.txt names data_expression.txt, which is not in the folder" in notes
    assert "OS_STATUS: `0:LIVING` is read as 0, `1:DECEASED` is read as 1" in notes


def test_the_primary_tumour_is_taken(folder):
    assert read_study(folder, "patient_id").samples == {"A-1": "A", "B-1": "B", "C-1": "C"}


def test_statuses_in_words_only(folder):
    path = folder / "data_clinical_patient.txt"
    path.write_text(path.read_text().replace("1:DEC", "DEC").replace("0:LIV", "LIV").replace("\n", "\r"))
    study = read_study(folder, "patient_id")
    assert study.clinical["OS_STATUS"].to_list() == [1.0, 0.0, 0.0, None]
    assert any("old Macintosh" in n for n in study.notes)


def test_matrix_of_chosen_samples(folder):
    found = open_study_matrix(read_study(folder, "patient_id"), folder / "data_mrna.txt", True)
    assert found.patient_ids == ("A", "B", "C")
    assert found.features == ("672", "TP53")
    np.testing.assert_array_equal(found.values(), np.array([[4, 1], [5, 2], [np.nan, 3]], dtype=np.float32))
    notes = " ".join(found.notes)
    assert "1 features without Hugo_Symbol are named by Entrez_Gene_Id" in notes
    assert "1 features are listed more than once, the first row is kept: TP53" in notes
    assert "fewer than 100 samples are left out" in notes


def test_mutations_without_panels(folder):
    found, rows = _mutations(folder)
    assert found.features == ("MYC", "TP53")  # silent, lost and another sample's mutations make no gene
    assert rows == {"A": {"MYC": 0, "TP53": 1}, "B": {"MYC": 0, "TP53": 0}, "C": {"MYC": 1, "TP53": 0}}
    assert any("fewer than 100 mutations listed, fewer than 100 of them change no protein" in n for n in found.notes)
    assert any("fewer than 100 mutations are marked as none" in n for n in found.notes)


@pytest.mark.parametrize("matrix", ["data_gene_panel_matrix.txt", "data_gene_matrix.txt", "panels_of_samples.txt"])
def test_not_sequenced_is_missing_and_panel_genes_are_zeros(folder, matrix):
    if matrix == "panels_of_samples.txt":
        meta = f"genetic_alteration_type: GENE_PANEL_MATRIX\ndatatype: GENE_PANEL_MATRIX\ndata_filename: {matrix}\n"
        (folder / "meta_gene_panel_matrix.txt").write_text(meta)
    _panels(folder, matrix, **{"A-0": "SMALL", "A-1": "SMALL", "B-1": "NA", "C-1": "TINY"})
    found, rows = _mutations(folder)
    assert found.features == ("KRAS", "MYC", "PTEN", "TP53")
    assert set(rows) == {"A", "C"}  # B has no panel: not sequenced
    assert rows["A"]["KRAS"] == rows["A"]["PTEN"] == 0
    assert rows["A"]["TP53"] == rows["C"]["MYC"] == 1
    assert rows["C"]["TP53"] == 0
    assert np.isnan([rows["A"]["MYC"], rows["C"]["KRAS"], rows["C"]["PTEN"]]).all()
    assert any("fewer than 100 samples are not in all of these lists and have no mutation" in n for n in found.notes)


def test_lists_of_sequenced_samples_must_agree(folder):
    (folder / "case_lists").mkdir()
    (folder / "case_lists/cases_sequenced.txt").write_text("case_list_ids: A-1\tB-2\n")
    found, rows = _mutations(folder)
    assert set(rows) == {"A", "C"}  # C has a mutation, B-1 is in one list only
    assert any("by #Sequenced_Samples, cases_sequenced.txt" in n for n in found.notes)


def test_no_list_of_sequenced_samples_is_said(folder):
    path = folder / "data_mutations.txt"
    path.write_text(path.read_text().split("\n", 1)[1])
    found, rows = _mutations(folder)
    assert set(rows) == {"A", "C"}
    assert any("no list of sequenced samples" in n for n in found.notes)


def test_a_panel_without_a_file_and_whole_exomes(folder):
    _panels(folder, **{"A-1": "OTHER", "B-1": "WES", "C-1": "TINY"})
    found, rows = _mutations(folder)
    assert rows["B"] == {"MYC": 0, "TP53": 0}
    assert rows["A"] == {"MYC": 0, "TP53": 1}
    assert [n for n in found.notes if "has no file" in n] == [
        "gene panel OTHER has no file: its samples count as sequenced in every gene of the list"
    ]


def _config(folder, **data):
    raw = yaml.safe_load((ROOT / "config/cohorts/metabric_raw.yaml").read_text())
    raw["data"] |= {"folder": str(folder)} | data
    return raw


def test_what_is_wrong_with_a_study_is_said(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"no such folder.*make fetch-study"):
        plan(_config(tmp_path, study="nothing"), "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"neither data_clinical_patient.txt"):
        plan(_config(tmp_path, study="empty"), "x")
    with pytest.raises(ConfigError, match="exactly one of `clinical`, `study`"):
        load_config(_config(tmp_path, clinical="c.tsv"))
    with pytest.raises(ConfigError, match="no omics given"):
        load_config(_config(tmp_path, omics={}))
    omics = {"mrna": {"path": "data_mrnas.txt", "kind": "expression"}}
    with pytest.raises(ConfigError, match=r"Did you mean `data_mrna.txt`"):
        plan(_config(tmp_path, study="study", omics=omics), "x")
    _write(folder, "data_other.txt", ["Hugo_Symbol", "Z-1"], ["TP53", 1])
    with pytest.raises(CohortError, match="none of its columns is a sample of the study"):
        open_study_matrix(read_study(folder, "patient_id"), folder / "data_other.txt", True)


def test_two_rows_of_one_patient_are_refused(folder):
    path = folder / "data_clinical_patient.txt"
    path.write_text(path.read_text() + "A\t1\t0:LIVING\t\n")
    with pytest.raises(CohortError, match="column `PATIENT_ID` is empty in 0 rows and repeated in 2"):
        read_study(folder, "patient_id")


@pytest.fixture(scope="module")
def forms(shared_data):
    """METABRIC from its clean tables and from its cBioPortal folder."""
    found = []
    for name in ("metabric", "metabric_raw"):
        raw = yaml.safe_load((ROOT / f"config/cohorts/{name}.yaml").read_text())
        raw["data"]["folder"] = str(shared_data / "metabric")
        config = plan(raw, name)[0]
        found.append((config, read_cohort(config, clinical_file(config), omic_files(config))))
    return found


@pytest.mark.real
@pytest.mark.parametrize("omic", ["mrna", "cna", "mutation"])
def test_both_forms_of_metabric_hold_the_same_omics(forms, omic):
    clean, raw = (cohort.matrices[omic] for _, cohort in forms)
    assert clean.source.features == raw.source.features
    only_clean = set(clean.patient_ids) - set(raw.patient_ids)
    assert set(raw.patient_ids) <= set(clean.patient_ids)
    values = dict(zip(clean.patient_ids, clean.values(), strict=True))
    expected = np.stack([values[p] for p in raw.patient_ids])
    if omic == "mrna":  # the folder's text was rounded to four significant digits or four decimals
        size = np.maximum(np.abs(expected), 1e-3)
        places = np.minimum(4, 3 - np.floor(np.log10(size)))
        assert (np.abs(raw.values() - expected) <= 0.5 * 10.0**-places + 1e-6).all()
    else:
        np.testing.assert_array_equal(raw.values(), expected)
    if omic == "mutation":
        # Clean: all 2,509 of #Sequenced_Samples. Raw: not those whom the case list of 2,433 samples lacks;
        # every one of them is a row of zeros in the clean form, which its README warns of.
        assert len(only_clean) == 76
        assert sum(values[p].sum() for p in only_clean) == 0
    else:
        assert only_clean == set()
    assert len(raw.patient_ids) == {"mrna": 1904, "cna": 2173, "mutation": 2433}[omic]


SAME = (
    # Columns of the sample file, which both forms share.
    ("grade", "GRADE", 0), ("tumor_size_mm", "TUMOR_SIZE", 0), ("stage", "TUMOR_STAGE", 0),
    ("er_status", "ER_STATUS", 0), ("pr_status", "PR_STATUS", 0), ("her2_status", "HER2_STATUS", 0),
    # Columns of the patient file: the 2018 release says nothing of the age and site of 518 patients without follow-up,
    # whom the 2022 release completes, lacks 307 values of the prognostic index, and one patient's outcome.
    ("age", "AGE_AT_DIAGNOSIS", 518), ("cohort", "COHORT", 518), ("npi", "NPI", 307), ("os_event", "OS_STATUS", 1),
    ("vital_status", "VITAL_STATUS", 1), ("chemotherapy", "CHEMOTHERAPY", 0), ("hormone_therapy", "HORMONE_THERAPY", 0),
    ("radiotherapy", "RADIO_THERAPY", 0), ("pam50_claudin", "CLAUDIN_SUBTYPE", 0),
    ("integrative_cluster", "INTCLUST", 0), ("three_gene_subtype", "THREEGENE", 0), ("surgery", "BREAST_SURGERY", 0),
)  # fmt: skip
"""Clean column, column of the folder, and patients for whom only the clean form has a value."""


@pytest.mark.real
def test_both_forms_of_metabric_hold_the_same_clinical_data(forms, shared_data):
    config = forms[1][0]
    raw = read_study(shared_data / "metabric/cbioportal_raw", "patient_id").clinical
    clean = pl.read_csv(
        shared_data / "metabric/clinical.tsv", separator="\t", infer_schema_length=None, null_values=[""]
    )
    assert raw["patient_id"].to_list() == sorted(clean["patient_id"].to_list())
    both = clean.join(raw, on="patient_id")
    for ours, theirs, only_clean in SAME:
        a, b = both[ours], both[theirs]
        if a.dtype.is_numeric():
            coded = (
                b.replace_strict({"NO": 0.0, "YES": 1.0}, default=None) if set(b.drop_nulls()) == {"NO", "YES"} else b
            )
            a, b = a.cast(pl.Float64), coded.cast(pl.Float64)
        assert (a.is_not_null() & b.is_null()).sum() == only_clean, ours
        assert (a.is_null() & b.is_not_null()).sum() == 0, ours
        assert (a != b).sum() == 0, ours
    # The 2018 release follows 20 of 1,980 patients for another time, and writes decimals with eight digits.
    apart = (both["os_time_months"] - both["OS_MONTHS"]).abs()
    assert (apart > 1e-6).sum() == 1296
    assert (apart > 0.05).sum() == 20
    assert apart.null_count() == 528 + 1
    assert forms[1][1].clinical.outcome.height == forms[0][1].clinical.outcome.height - 1
    assert next(p.name for p in other_files(config)) == "data_clinical_sample.txt"
    assert read_clinical(clinical_file(config), config).covariates.height == 2509


USED = (
    ("chemotherapy", "CHEMOTHERAPY"), ("hormone_therapy", "HORMONE_THERAPY"), ("radiotherapy", "RADIO_THERAPY"),
    ("age", "AGE_AT_DIAGNOSIS"), ("tumor_size_mm", "TUMOR_SIZE"), ("grade", "GRADE"), ("er_status", "ER_STATUS"),
    ("her2_status", "HER2_STATUS"), ("surgery", "BREAST_SURGERY"), ("pam50_claudin", "CLAUDIN_SUBTYPE"),
    ("integrative_cluster", "INTCLUST"), ("stage", "TUMOR_STAGE"),
)  # fmt: skip
"""Columns of the two configs that hold the same, as the workflow reads them. Menopausal state is written in another
case, the folder has no count of positive nodes (its prognostic index stands in), and no site of 518 patients."""


@pytest.mark.real
def test_both_forms_of_metabric_are_analysed_alike(forms):
    (clean, ours), (raw, theirs) = forms
    both = ours.clinical.covariates.join(theirs.clinical.covariates, on="patient_id", validate="1:1")
    assert both.height == 2509
    for a, b in USED:
        unknown = 518 if a == "age" else 0
        known = both[b].is_not_null()
        assert (both[a].is_not_null() & ~known).sum() == unknown, a
        assert both.filter(known)[a].equals(both.filter(known)[b].alias(a)), a
    pairs = [(clean.treatments[k], raw.treatments[k]) for k in clean.treatments]
    assert [(a.label, a.design) for a, _ in pairs] == [(b.label, b.design) for _, b in pairs]
    assert {b.column for _, b in pairs} == {"CHEMOTHERAPY", "HORMONE_THERAPY", "RADIO_THERAPY"}
    assert both["CHEMOTHERAPY"].drop_nulls().value_counts().sort("CHEMOTHERAPY")["count"].to_list() == [1568, 412]
    same = both["menopausal_state"].str.to_lowercase() == both["INFERRED_MENOPAUSAL_STATE"]
    assert (same.null_count(), bool(same.all())) == (529, True)
