"""Bad configs and inputs: each ends with its own message and exit code 1, and leaves nothing behind.

The first table is refused before any job starts, the second by the job that reads the matrices.
"""

from pathlib import Path

import polars as pl
import pytest

from conftest import snakemake, write_config, write_tiny


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


def _results_in_a_file(config, folder):
    config["results"] = str(folder / "clinical.tsv" / "results")


BEFORE_ANY_JOB = {
    "misspelt key": (_set(["subgroup"], {}), "Did you mean `subgroups`?"),
    "misspelt nested key": (_set(["latent", "member"], 2), "`latent.member`: unknown key. Did you mean `members`?"),
    "wrong type": (_set(["seed"], "one"), "`seed`"),
    "out of bounds": (_set(["resamples", "folds"], 1), "greater than or equal to 2"),
    "missing block": (_drop(["endpoint"]), "`endpoint`: missing"),
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
    "event coded 1/2": (_column("os_event", pl.col("os_event") + 1), "recode it, as 1/2 to 0/1"),
    "event coded yes/no": (
        _column("os_event", pl.when(pl.col("os_event") == 1).then(pl.lit("yes")).otherwise(pl.lit("no"))),
        "'no', 'yes'",
    ),
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
    "treatment the same for all": (_column("drug", pl.lit(1)), "the same for everybody"),
    "bad eligibility": (_set(["treatments", "drug", "eligible"], "age >"), "not a valid condition"),
    "eligibility on an absent column": (_set(["treatments", "drug", "eligible"], "stage = 1"), "no column `stage`"),
    "decimal commas": (_column("age", pl.col("age").cast(pl.String).str.replace(".", ",", literal=True)), "comma"),
    "commas in a .tsv": (_text(lambda t: t.replace("\t", ",")), ".tsv needs tabs"),
    "old Macintosh line ends": (_text(lambda t: t.replace("\n", "\r")), "a carriage return alone"),
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
    "transposed matrix": (_transposed, "patients are rows, not columns"),
    "text in a matrix": (_column("mrna3", pl.lit("high"), "mrna.tsv"), "columns that are not numeric: mrna3"),
    "infinite values": (_column("mrna3", pl.lit("inf"), "mrna.tsv"), "infinite values (columns mrna3)"),
    "gene listed twice": (_text(lambda t: t.replace("mrna4", "mrna3"), "mrna.tsv"), "more than once: mrna3"),
    "patient twice in a matrix": (_text(lambda t: t + t.splitlines()[3] + "\n", "mrna.tsv"), "(P002)"),
    "values that do not fit the kind": (_set(["data", "omics", "mrna", "kind"], "methylation"), "outside 0 to 1"),
}


def _files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("case", BEFORE_ANY_JOB)
def test_refused_before_any_job(case, tmp_path):
    change, message = BEFORE_ANY_JOB[case]
    config = write_tiny(tmp_path / "data")
    change(config, tmp_path / "data")
    path = write_config(config, tmp_path / "my.yaml")
    before = _files(tmp_path / "data")
    done = snakemake("--cores", "1", "--configfile", str(path), cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr, done.stderr
    assert "Suggestion" in done.stderr or "Did you mean" in done.stderr
    assert "Traceback" not in done.stderr
    assert _files(tmp_path / "data") == before


@pytest.mark.parametrize("case", BY_THE_FIRST_JOB)
def test_refused_by_the_first_job(case, tmp_path):
    change, message = BY_THE_FIRST_JOB[case]
    config = write_tiny(tmp_path / "data")
    change(config, tmp_path / "data")
    path = write_config(config, tmp_path / "my.yaml")
    done = snakemake("--cores", "1", "--configfile", str(path), cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr, done.stderr
    assert "Suggestion" in done.stderr
    assert "Traceback" not in done.stderr
    left = [f for f in _files(tmp_path / "data" / "results") if not f.startswith((".lock", "logs/", "benchmarks/"))]
    assert left == []
    assert message in (tmp_path / "data/results/logs/ingest_cohort.log").read_text()
