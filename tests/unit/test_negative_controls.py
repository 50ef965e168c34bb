"""Reading outcomes that a treatment cannot change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stratiome.cohort.clinical import read_clinical
from stratiome.cohort.errors import CohortError
from stratiome.config import load_config
from stratiome.tables import NegativeControls


def rows() -> pl.DataFrame:
    n = 60
    cause = [("disease", "accident", None)[i % 3] for i in range(n)]
    return pl.DataFrame(
        {
            "patient_id": [f"P{i:02d}" for i in range(n)],
            "months": [float(i + 1) for i in range(n)],
            "relapse_months": [float(i // 2 + 1) for i in range(n)],
            "died": [int(c is not None) for c in cause],
            "cause": cause,
            "drug": [i % 2 for i in range(n)],
            "age": [50.0 + (i * 7) % 23 for i in range(n)],
        }
    )


def read(folder: Path, control: dict[str, Any], **changes: Any):
    rows().write_csv(folder / "clinical.tsv", separator="\t")
    pl.DataFrame({"patient_id": rows()["patient_id"], "G1": [float(i) for i in range(60)]}).write_csv(
        folder / "omic.tsv", separator="\t"
    )
    config = load_config(
        {
            "cohort": "small",
            "data": {
                "folder": str(folder),
                "clinical": "clinical.tsv",
                "omics": {"mrna": {"path": "omic.tsv", "kind": "features"}},
            },
            "endpoint": {"time": "months", "event": "died", "horizons": [20.0]},
            "treatments": {
                "drug": {
                    "column": "drug",
                    "design": "observational",
                    "confounders": ["age"],
                    "negative_control": control,
                }
            },
        }
        | changes
    )
    return read_clinical(folder / "clinical.tsv", config)


ACCIDENT = {"label": "death by accident", "event": "cause = 'accident'"}


def test_who_does_not_meet_the_condition_is_censored_at_the_end_of_follow_up(tmp_path):
    found = read(tmp_path, ACCIDENT)
    NegativeControls.validate(found.controls)
    assert found.controls.height == 60
    assert found.controls["event"].sum() == 20
    assert found.controls["time_months"].to_list() == rows()["months"].to_list()
    assert "cause" not in found.covariates.columns  # how patients died is no clinical column


def test_a_time_of_its_own_is_in_the_unit_of_the_endpoint(tmp_path):
    endpoint = {"time": "months", "event": "died", "horizons": [2.0], "unit": "years"}
    found = read(tmp_path, ACCIDENT | {"time": "relapse_months"}, endpoint=endpoint)
    assert found.controls["time_months"].to_list() == [12 * t for t in rows()["relapse_months"]]
    assert "relapse_months" not in found.covariates.columns


@pytest.mark.parametrize(
    ("control", "text"),
    [
        ({"event": "cuase = 'accident'"}, "cuase"),
        ({"event": "cause = 'meteor'"}, "met by nobody"),
        ({"event": "cause > 3"}, "cannot be judged"),
        ({"event": "died = 1"}, "itself"),
        ({"time": "monhts"}, "Did you mean `months`"),
        ({"time": "cause"}, "holds no number"),
        ({"event": "age > 60"}, "is a predictor as well"),
    ],
)
def test_mistakes_are_named(tmp_path, control, text):
    with pytest.raises(CohortError, match="negative_control") as caught:
        read(tmp_path, ACCIDENT | control)
    assert any(text in problem for problem in caught.value.problems), caught.value.problems
