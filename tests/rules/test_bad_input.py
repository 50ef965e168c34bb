"""Bad configs and inputs: each is refused with its own message, or repaired and said. None passes in silence.

Three tables, a case a line: what is refused before any job starts, what is refused by the job that reads the matrices,
and what is repaired, with the sentence that says so in the log or in the patient flow. Each case changes a sound cohort
of 60 patients. All of them run in-process; a few run as a user would run them as well, where the exit code and what is
left behind are tested.
"""

import logging
from pathlib import Path

import polars as pl
import pytest

from conftest import snakemake, write_config, write_tiny
from stratiome.cohort.errors import CohortError
from stratiome.cohort.ingest import read_cohort, write_cohort
from stratiome.config import ConfigError
from stratiome.omics import OmicError
from stratiome.plan import clinical_file, omic_files, plan


def _set(path, value):
    def change(config, folder):
        node = config
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return change


def _drop(path):
    def change(config, folder):
        node = config
        for key in path[:-1]:
            node = node[key]
        del node[path[-1]]

    return change


def _column(name, expression, file="clinical.tsv"):
    def change(config, folder):
        table = pl.read_csv(folder / file, separator="\t")
        table.with_columns(expression.alias(name)).write_csv(folder / file, separator="\t")

    return change


def _text(edit, file="clinical.tsv"):
    def change(config, folder):
        (folder / file).write_text(edit((folder / file).read_text()))

    return change


def _bytes(edit, file="clinical.tsv"):
    def change(config, folder):
        (folder / file).write_bytes(edit((folder / file).read_bytes()))

    return change


def _remove(file):
    def change(config, folder):
        (folder / file).unlink()

    return change


def _transposed(config, folder):
    table = pl.read_csv(folder / "mrna.tsv", separator="\t")
    turned = table.drop("patient_id").transpose(column_names=table["patient_id"].to_list())
    turned.insert_column(0, pl.Series("patient_id", table.columns[1:])).write_csv(folder / "mrna.tsv", separator="\t")


def _truncated(config, folder):
    path = folder / "mrna.parquet"
    pl.read_csv(folder / "mrna.tsv", separator="\t").write_parquet(path)
    path.write_bytes(path.read_bytes()[:-200])
    config["data"]["omics"]["mrna"]["path"] = "mrna.parquet"


def _both(*changes):
    def change(config, folder):
        for one in changes:
            one(config, folder)

    return change


def _cell(name, value, patient="P007"):
    """One cell of a clinical column changed; the column becomes text where the value is one."""
    old = pl.col(name).cast(pl.String) if isinstance(value, str) else pl.col(name)
    return _column(name, pl.when(pl.col("patient_id") == patient).then(pl.lit(value)).otherwise(old))


def _coded(name, zero, one):
    return _column(name, pl.when(pl.col(name) == 1).then(pl.lit(one)).otherwise(pl.lit(zero)))


def _declared(column, **entry):
    return _both(lambda config, folder: config["data"].setdefault("columns", {}).update({column: entry}))


def _dated(day, last):
    """Two columns of dates: that of time zero, and one of a measurement."""
    return _both(
        _column("diagnosis", pl.lit("2010-03-01")),
        _column("measured", pl.when(pl.int_range(pl.len()) < 59).then(pl.lit(day)).otherwise(pl.lit(last))),
        _set(["endpoint", "index_date"], "diagnosis"),
        _declared("grade", available_at="measured"),
    )


def _died_otherwise(condition):
    cause = pl.when(pl.col("os_event") == 1).then(pl.lit("disease")).otherwise(pl.lit("other"))
    return _both(_column("cause", cause), _set(["endpoint", "competing"], condition))


def _results_in_a_file(config, folder):
    config["results"] = str(folder / "clinical.tsv" / "results")


BEFORE_ANY_JOB = {
    "misspelt key": (_set(["subgroup"], {}), "Did you mean `subgroups`?"),
    "misspelt nested key": (_set(["latent", "member"], 2), "`latent.member`: unknown key. Did you mean `members`?"),
    "wrong type": (_set(["seed"], "one"), "`seed`"),
    "out of bounds": (_set(["resamples", "folds"], 1), "one fold holds nobody out"),
    "missing block": (_drop(["endpoint"]), "`endpoint`: missing"),
    "gene sets absent": (_set(["subgroups"], {"gene_sets": "none.gmt"}), "none.gmt does not exist. Suggestion: "),
    "gene sets of one gene": (_set(["subgroups"], {"min_genes": 1}), "`subgroups.min_genes`"),
    "unknown kind": (_set(["data", "omics", "mrna", "kind"], "rna"), "'expression'"),
    "clinical file absent": (_set(["data", "clinical"], "clincal.tsv"), "Did you mean `clinical.tsv`?"),
    "matrix absent": (_remove("mrna.tsv"), "no such file"),
    "matrix empty": (_text(lambda t: "", "mrna.tsv"), "is empty"),
    "matrix truncated": (_truncated, "not a readable parquet file"),
    "covariate absent": (_set(["covariates"], ["Age", "grade"]), "Did you mean `age`?"),
    "predictor is the outcome": (_set(["covariates"], ["os_event"]), "known at time zero"),
    "duplicate patient": (_text(lambda t: t + t.splitlines()[1] + "\n"), "on more than one row (P000)"),
    "missing identifier": (_text(lambda t: t.replace("P005\t", "\t")), "column `patient_id` is empty in 1 rows"),
    "negative time": (
        _column("os_months", pl.when(pl.col("patient_id") == "P007").then(-3.0).otherwise("os_months")),
        "negative or infinite for 1 patients (P007)",
    ),
    "infinite time": (_cell("os_months", float("inf")), "negative or infinite for 1 patients (P007)"),
    "text in time": (_cell("os_months", "lost"), "column `os_months` must hold numbers, but 1 of its cells do not"),
    "empty time": (_column("os_months", pl.lit("")), "column `os_months` holds no number"),
    "event coded 1/2": (
        _column("os_event", pl.col("os_event") + 1),
        "`data.columns: {os_event: {values: {1: 0, 2: 1}}}`",
    ),
    "event coded yes/no": (_coded("os_event", "no", "yes"), 'os_event: {values: {"no": 0, "yes": 1}}'),
    "event coded Y/N": (_coded("os_event", "N", "Y"), 'os_event: {values: {"N": 0, "Y": 1}}'),
    "event coded true/false": (_coded("os_event", False, True), "os_event: {values: {false: 0, true: 1}}"),
    "event coded LIVING/DECEASED": (
        _coded("os_event", "0:LIVING", "1:DECEASED"),
        'os_event: {values: {"0:LIVING": 0, "1:DECEASED": 1}}',
    ),
    "event missing for all": (_column("os_event", pl.lit("")), "but holds no value at all"),
    "nobody died": (_column("os_event", pl.lit(0)), "only one value"),
    "days in a months column": (_column("os_months", pl.col("os_months") * 3000), "years when read as months"),
    "horizon beyond follow-up": (_set(["endpoint", "horizons"], [1190]), "beyond the longest follow-up"),
    "horizon where nobody is left": (
        _column("os_months", pl.when(pl.int_range(pl.len()) < 4).then(30.0).otherwise(pl.col("os_months") % 23 + 0.1)),
        "only 4 patients are followed up to 24 months",
    ),
    "horizon before any event": (_set(["endpoint", "horizons"], [0.001, 24]), "no event occurs within 0.001 months"),
    "covariate the same for all": (_column("grade", pl.lit(2)), "`grade` is the same for everybody"),
    "treatment with three levels": (
        _column("drug", pl.int_range(pl.len()) % 3),
        "must be 0 (untreated) or 1 (treated)",
    ),
    "treatment coded yes/no": (_coded("drug", "no", "yes"), 'drug: {values: {"no": 0, "yes": 1}}'),
    "treatment coded true/false": (_coded("drug", False, True), "drug: {values: {false: 0, true: 1}}"),
    "treatment coded A/B": (_coded("drug", "A", "B"), 'drug: {values: {"A": 0, "B": 1}}'),
    "treatment the same for all": (_column("drug", pl.lit(1)), "the same for everybody"),
    "bad eligibility": (_set(["treatments", "drug", "eligible"], "age >"), "not a valid condition"),
    "eligibility on an absent column": (_set(["treatments", "drug", "eligible"], "stage = 1"), "no column `stage`"),
    "decimal commas": (
        _column("age", pl.col("age").cast(pl.String).str.replace(".", ",", literal=True)),
        "decimal comma",
    ),
    "one decimal comma": (_cell("age", "61,5"), "1 of its cells do not: they have a decimal comma"),
    "text in a number": (
        _cell("age", "ca. 60"),
        "column `age` seems to hold numbers, but 1 of its cells do not ('ca. 60')",
    ),
    "unit in a number": (_column("age", pl.format("{} years", "age")), "column `age` is text with"),
    "infinite covariate": (_cell("age", float("inf")), "column `age` is infinite for 1 patients (P007)"),
    "empty covariate": (_column("grade", pl.lit("")), "column `grade` has no value at all"),
    "class declared a number": (
        _both(_column("grade", pl.lit("high")), _declared("grade", type="numeric")),
        "column `grade` is declared numeric",
    ),
    "value out of bounds": (
        _both(_cell("age", 430.0), _declared("age", unit="years", maximum=110)),
        "column `age` must be at most 110 years, but is not for 1 patients (P007)",
    ),
    "age in months": (
        _both(_column("age", pl.col("age") * 12), _declared("age", unit="years", minimum=18, maximum=110)),
        "divided by 10 or 12 all values fit; is the column in another unit?",
    ),
    "size in centimetres": (
        _both(_column("size", 1 + pl.int_range(pl.len()) / 20), _declared("size", unit="mm", minimum=5, maximum=200)),
        "multiplied by 7 or 10 or 12",
    ),
    "bounds the wrong way": (_declared("age", minimum=110, maximum=18), "finite and in this order"),
    "bounds of a class": (_declared("hospital", type="categorical", maximum=3), "need numbers"),
    "spellings of the identifier": (_declared("patient_id", values={"P000": "P999"}), "is the identifier"),
    "declared column absent": (_declared("aeg", unit="years"), "`data.columns.aeg`: "),
    "treatment after time zero": (_declared("drug", available_at=3), "a treatment that starts after time zero"),
    "eligible by the future": (
        _both(
            _declared("relapse", available_at=6),
            _column("relapse", pl.lit(0)),
            _set(["treatments", "drug", "eligible"], "relapse = 0"),
        ),
        "`treatments.drug.eligible`: column `relapse` is known only after time zero",
    ),
    "eligible by survival": (_set(["treatments", "drug", "eligible"], "os_months > 12"), "only `endpoint` may know"),
    "eligible by the event": (
        _set(["treatments", "drug", "eligible"], "os_event = 1"),
        "`treatments.drug.eligible` uses the outcome ['os_event']",
    ),
    "no site to leave out": (
        _both(_drop(["site"]), _set(["resamples", "leave_site_out"], True)),
        "holds sites out, but `site` is not given",
    ),
    "site is the outcome": (_set(["site"], "os_event"), "`site` uses the outcome ['os_event']"),
    "label is the outcome": (_set(["known_labels"], ["os_event"]), "`known_labels` uses the outcome ['os_event']"),
    "batch is the outcome": (
        _set(["quality"], {"batches": ["os_event"]}),
        "`quality.batches` uses the outcome ['os_event']",
    ),
    "treatment is the outcome": (
        _set(["treatments", "drug", "column"], "os_event"),
        "`treatments.drug.column` uses the outcome ['os_event']",
    ),
    "female never occurs": (
        _both(
            _column("sex", pl.when(pl.col("grade") == 1).then(pl.lit("female")).otherwise(pl.lit("male"))),
            _set(["quality"], {"sex": {"column": "sex", "female": "F"}}),
        ),
        "column `sex` never holds `F`, but 'female', 'male'",
    ),
    "all confounders after time zero": (
        _both(_declared("age", available_at=1), _declared("grade", available_at=1)),
        "all of them are known only after time zero",
    ),
    "date without date of time zero": (_declared("age", available_at="seen"), "a date needs `endpoint.index_date`"),
    "ambiguous dates": (_dated("03/04/2005", "03/04/2005"), "60 cells that are no dates"),
    "date as predictor": (_declared("age", type="date"), "`covariates` contains dates"),
    "dead of two causes": (_died_otherwise("cause = 'disease'"), "patients with an event (P0"),
    "nobody died otherwise": (_died_otherwise("cause = 'Other'"), "is met by nobody"),
    "cause of death absent": (_set(["endpoint", "competing"], "cause = 'other'"), "has no column `cause`"),
    "cause of death as predictor": (
        _both(_died_otherwise("cause = 'other'"), _set(["covariates"], ["age", "cause"])),
        "column `cause` tells how patients died",
    ),
    "identifier column absent": (_set(["data", "patient_id"], "patient"), "Did you mean `patient_id`?"),
    "clinical column twice": (_text(lambda t: t.replace("grade", "age", 1)), "columns listed more than once: age"),
    "header without rows": (_text(lambda t: t.splitlines()[0] + "\n"), "has a header but no rows"),
    "commas in a .tsv": (_text(lambda t: t.replace("\t", ",")), ".tsv needs tabs"),
    "semicolons in a .tsv": (_text(lambda t: t.replace("\t", ";")), "separated by semicolons"),
    "mixed delimiters": (
        _text(lambda t: "\n".join(t.split("\n")[:4] + [r.replace("\t", ",") for r in t.split("\n")[4:]])),
        "mixed delimiters",
    ),
    "short row": (_text(lambda t: t.rstrip("\n").rsplit("\t", 1)[0] + "\n"), "line 61 has 6 cells, the header 7"),
    "Latin-1": (_bytes(lambda b: b.replace(b"north", b"n\xf6rd", 1)), "may be Latin-1"),
    "UTF-16": (_bytes(lambda b: b.decode().encode("utf-16")), "looks like UTF-16"),
    "matrix in neither orientation": (
        _text(lambda t: t.replace("patient_id", "row"), "mrna.tsv"),
        "none of its columns is a patient of the clinical table",
    ),
    "eligibility that nobody meets": (_set(["treatments", "drug", "eligible"], "age > 200"), "among 0 eligible"),
    "eligibility on the wrong type": (_set(["treatments", "drug", "eligible"], "hospital > 3"), "cannot be judged"),
    "one covariate not in a list": (_set(["covariates"], "age"), "Suggestion: write it as [age]"),
    "a word for a block": (_set(["resamples"], "five"), "must be a block of keys"),
    "missing key and absent file": (_both(_drop(["endpoint"]), _remove("mrna.tsv")), "no such file"),
    "results in a file": (_results_in_a_file, "cannot be written"),
    "ragged rows": (_text(lambda t: t.replace("P010\t", "P010\tx\ty\tz\t")), "equal numbers of columns"),
}

BY_THE_FIRST_JOB = {
    "an appended part in every identifier": (
        _text(
            lambda t: "\n".join(r.replace("\t", "-01\t", 1) if r[0] == "P" else r for r in t.split("\n") if r),
            "mrna.tsv",
        ),
        "an appended part only, as P000-01 for P000",
    ),
    "no shared patients": (_text(lambda t: t.replace("\nP", "\nQ"), "mrna.tsv"), "none of its 60 patients"),
    "few shared patients": (
        _text(lambda t: t.replace("\nP", "\nX").replace("\nX00", "\nP00"), "mrna.tsv"),
        "only 10 of its 60 patients",
    ),
    "dates for genes": (
        _text(lambda t: t.replace("mrna4", "1-Mar"), "mrna.tsv"),
        "dates or powers of ten by a spreadsheet: 1-Mar",
    ),
    "decimal commas in a matrix": (_text(lambda t: t.replace(".", ","), "mrna.tsv"), "decimal comma in 12 columns"),
    "short row in a matrix": (
        _text(lambda t: t.rstrip("\n").rsplit("\t", 1)[0] + "\n", "mrna.tsv"),
        "line 61 has 12 cells",
    ),
    "text in a matrix": (_column("mrna3", pl.lit("high"), "mrna.tsv"), "columns that are not numeric: mrna3"),
    "infinite values": (_column("mrna3", pl.lit("inf"), "mrna.tsv"), "60 infinite values, or beyond 3.4e38"),
    "a number too large": (_column("mrna3", pl.lit(1e300), "mrna.tsv"), "beyond 3.4e38, the largest number of 4 bytes"),
    "identifiers in another Unicode form": (
        _both(
            _text(lambda t: t.replace("\nP", "\n\u00c5"), "mrna.tsv"), _text(lambda t: t.replace("\nP", "\nA\u030a"))
        ),
        "some differ in case, Unicode form,",
    ),
    "gene listed twice": (_text(lambda t: t.replace("mrna4", "mrna3"), "mrna.tsv"), "more than once: mrna3"),
    "patient twice in a matrix": (_text(lambda t: t + t.splitlines()[3] + "\n", "mrna.tsv"), "(P002)"),
    "values that do not fit the kind": (_set(["data", "omics", "mrna", "kind"], "methylation"), "outside 0 to 1"),
}

REPAIRED_AND_SAID = {
    "transposed matrix": (_transposed, "mrna: features are rows and patients are columns"),
    "old Macintosh line ends": (_text(lambda t: t.replace("\n", "\r")), "a carriage return alone"),
    "byte order mark": (_bytes(lambda b: b"\xef\xbb\xbf" + b, "mrna.tsv"), "mrna: starts with a byte order mark"),
    "blanks around identifiers": (
        _text(lambda t: t.replace("P005\t", " P005 \t"), "mrna.tsv"),
        "mrna: fewer than 100 identifiers had blanks around them",
    ),
    "names that differ by case": (
        _text(lambda t: t.replace("mrna4", "MRNA3"), "mrna.tsv"),
        "mrna: 2 feature names differ only by case",
    ),
    "missing time": (_cell("os_months", None), "no follow-up time"),
    "NaN time": (_cell("os_months", "NaN"), "no follow-up time"),
    "zero time": (_cell("os_months", 0.0), "follow-up of zero, never at risk"),
    "missing event": (_cell("os_event", None), "no event status"),
    "null as a word": (_cell("grade", "null"), "column `grade`: fewer than 100 cells (`null`) taken as missing"),
    "unknown as a class": (
        _cell("hospital", "Unknown"),
        "column `hospital`: `Unknown` counts as a class of its own. "
        'Suggestion: `data.columns: {hospital: {values: {"Unknown": null}}}`',
    ),
    "level misspelt by a letter": (
        _cell("hospital", "nort"),
        'Suggestion: `data.columns: {hospital: {values: {"nort": "north"}}}`',
    ),
    "level in capitals": (_cell("hospital", "NORTH"), '{"NORTH": "north"}'),
    "spellings declared": (
        _both(_cell("hospital", "nroth"), _declared("hospital", values={"nroth": "north"})),
        "column `hospital`: fewer than 100 cells changed by `data.columns.hospital.values` (`nroth` to `north`)",
    ),
    "spelling that never occurs": (_declared("hospital", values={"nroth": "north"}), "what never occurs: `nroth`"),
    "events declared": (
        _both(_coded("os_event", "no", "yes"), _declared("os_event", values={True: 1, False: 0})),
        "column `os_event`: fewer than 100 cells changed",
    ),
    "covariate of true/false": (
        _column("grade", pl.col("grade") > 1),
        "column `grade`: true and false are read as 1 and 0",
    ),
    "feature after time zero": (
        _declared("grade", available_at=6),
        "`grade` is known 6 months after time zero and is left out",
    ),
    "cells after time zero": (
        _dated("2010-03-02", "2010-03-02"),
        "fewer than 100 cells known after time zero (`measured` after `diagnosis`)",
    ),
    "cells without a date": (_dated("2010-03-01", None), "without one of the two dates, kept"),
    "days below a hundred years of months": (
        _column("os_months", pl.col("os_months") * 800 / pl.col("os_months").max()),
        "reaches 67 years when read as months",
    ),
    "strangers in a matrix": (
        _text(lambda t: t.replace("P000\t", "X000\t"), "mrna.tsv"),
        "mrna: 1 patients are not in the clinical table and are left out",
    ),
}

AS_A_USER = (
    "misspelt key",
    "clinical file absent",
    "negative time",
    "event coded yes/no",
    "matrix truncated",
    "results in a file",
    "gene listed twice",
    "infinite values",
)
"""Cases that are run through Snakemake as well."""


def _files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def _ingest(config, source="my.yaml"):
    """What is said of a cohort before any job and by the first one, without Snakemake."""
    analysis, _ = plan(config, source)
    cohort = read_cohort(analysis, clinical_file(analysis), omic_files(analysis))
    notes = write_cohort(cohort, analysis, f"{analysis.results_folder}/cohort.h5mu")
    return [*cohort.flow["reason"], *notes["note"]]


@pytest.mark.parametrize("case", BEFORE_ANY_JOB)
def test_refused_before_any_job(case, tmp_path):
    change, message = BEFORE_ANY_JOB[case]
    config = write_tiny(tmp_path / "data")
    change(config, tmp_path / "data")
    before = _files(tmp_path / "data")
    with pytest.raises(ConfigError) as caught:
        plan(config, "my.yaml")
    problem = next((p for p in caught.value.problems if message in p), None)
    assert problem is not None, str(caught.value)
    assert "Suggestion" in problem or "Did you mean" in problem
    assert _files(tmp_path / "data") == before


@pytest.mark.parametrize("case", BY_THE_FIRST_JOB)
def test_refused_by_the_first_job(case, tmp_path):
    change, message = BY_THE_FIRST_JOB[case]
    config = write_tiny(tmp_path / "data")
    change(config, tmp_path / "data")
    with pytest.raises((CohortError, OmicError)) as caught:
        _ingest(config)
    assert message in str(caught.value)
    assert "Suggestion" in str(caught.value)
    assert _files(tmp_path / "data" / "results") == set()


@pytest.mark.parametrize("case", REPAIRED_AND_SAID)
def test_repaired_and_said(case, tmp_path, caplog):
    change, sentence = REPAIRED_AND_SAID[case]
    config = write_tiny(tmp_path / "sound")
    with caplog.at_level(logging.WARNING):
        said = [*_ingest(config), caplog.text]
    assert not any(sentence in s for s in said)
    caplog.clear()
    config = write_tiny(tmp_path / "data")
    change(config, tmp_path / "data")
    with caplog.at_level(logging.WARNING):
        said = [*_ingest(config), caplog.text]
    assert any(sentence in s for s in said), said


@pytest.mark.parametrize("case", AS_A_USER)
def test_refused_as_a_user_sees_it(case, tmp_path):
    change, message = (BEFORE_ANY_JOB | BY_THE_FIRST_JOB)[case]
    config = write_tiny(tmp_path / "data")
    change(config, tmp_path / "data")
    path = write_config(config, tmp_path / "my.yaml")
    before = _files(tmp_path / "data")
    done = snakemake("--cores", "1", "--configfile", str(path), cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr, done.stderr
    assert "Suggestion" in done.stderr or "Did you mean" in done.stderr
    assert "Traceback" not in done.stderr
    results = _files(tmp_path / "data" / "results")
    assert _files(tmp_path / "data") - {f"results/{f}" for f in results} == before
    told = ("workflow.json", ".digests/workflow.json.digest")  # what tells of the rules, and nothing of the data
    besides = (".lock", ".jobs.lock", "logs/", "benchmarks/", *told)
    assert [f for f in results if not f.startswith(besides)] == []
    if case in BY_THE_FIRST_JOB:
        assert message in (tmp_path / "data/results/logs/ingest_cohort.log").read_text()
    else:
        assert results == set()
