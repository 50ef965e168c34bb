"""A bundle that was made on another machine says here what it said there (`tests/fixtures/make_bundle.py`)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stratiome.bundle.align import align
from stratiome.bundle.files import open_bundle
from stratiome.bundle.score import score
from stratiome.bundle.scorer import Scorer

FROZEN = Path(__file__).parents[1] / "fixtures" / "bundle"


class Kept:
    """An omic of the patients that are kept."""

    def __init__(self, name, kind, unit):
        table = pl.read_parquet(FROZEN / f"{name}.parquet")
        self.name, self.kind, self.unit = name, kind, unit
        self.patient_ids = tuple(table["patient_id"])
        self.features = tuple(table.columns[1:])
        self._values = table.drop("patient_id").to_numpy()

    def take(self, rows):
        return self._values[rows]


@pytest.fixture(scope="module")
def found():
    scorer = Scorer.load(open_bundle(FROZEN / "model"))
    units = json.loads((FROZEN / "units.json").read_text())
    sources = {name: Kept(name, *of) for name, of in units.items()}
    (scores,) = score(scorer, pl.read_parquet(FROZEN / "clinical.parquet"), sources, align(scorer, sources))
    return scores


@pytest.fixture(scope="module")
def expected():
    return json.loads((FROZEN / "expected.json").read_text())


def test_subgroups_and_distances_agree(found, expected):
    np.testing.assert_allclose(found.probabilities, expected["probabilities"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.nan_to_num(found.unusual, nan=-1), expected["unusual"], rtol=0, atol=1e-6)


def test_risks_curves_and_bounds_agree(found, expected):
    assert set(found.predictions) == set(expected["models"]) >= {"clinical", "clinical_latent", "forest", "stacked"}
    for name, said in expected["models"].items():
        made = found.predictions[name]
        np.testing.assert_allclose(made.risk, said["risk"], rtol=0, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(made.survival[:, ::12], said["survival"], rtol=0, atol=1e-6, err_msg=name)
        if said["lower"] is not None:
            np.testing.assert_allclose(made.lower, said["lower"], rtol=1e-6, err_msg=name)
