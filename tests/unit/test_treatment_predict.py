"""What effects may differ by: clinical columns, latents, subgroups; and nothing that tells the arm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from scipy.special import expit

from stratiome.config import TreatmentConfig
from stratiome.survival.design import ClinicalDesign
from stratiome.treatment.emulate import Sample
from stratiome.treatment.predict import Modifiers, _members, predicted_rows

DRUG = TreatmentConfig(column="drug", design="observational", confounders=("severity",))


def cohort(seed: int, n: int, first: str) -> tuple[Sample, dict[str, int]]:
    """Treatment helps subgroup 1 and harms subgroup 2, which no clinical column tells."""
    rng = np.random.default_rng(seed)
    severity, group = rng.normal(size=n), rng.integers(1, 3, n)
    treated = rng.random(n) < expit(0.8 * severity)
    rate = np.exp(0.5 * severity + treated * np.where(group == 1, -1.3, 1.0)) / 30
    death, leave = rng.exponential(1 / rate), rng.uniform(20, 90, n)
    ids = [f"{first}{i:04d}" for i in range(n)]
    clinical = pl.DataFrame({"patient_id": ids, "severity": severity, "drug": treated.astype(float)})
    sample = Sample(clinical, treated, np.minimum(death, leave), death <= leave)
    return sample, dict(zip(ids, group.tolist(), strict=True))


def predicted(modifiers: Modifiers, sample: Sample, new: Sample) -> np.ndarray:
    design = ClinicalDesign.fit(sample.clinical, DRUG.confounders, {}, np.ones(len(sample), dtype=bool))
    rows = predicted_rows("drug", DRUG, [DRUG], sample, design, new, {}, modifiers, 36.0)
    return np.array([r["predicted"] for r in rows if r["learner"] == "combined"])


def test_a_subgroup_that_is_given_tells_who_benefits():
    (train, seen), (test, unseen) = cohort(1, 700, "A"), cohort(2, 300, "B")
    member = np.array([unseen[p] for p in test.patient_ids]) == 1
    told = predicted(Modifiers(seed=1, subgroups=seen | unseen), train, test)
    assert told[member].mean() > told[~member].mean() + 3
    blind = predicted(Modifiers(seed=1), train, test)
    assert abs(blind[member].mean() - blind[~member].mean()) < 1


def test_indicators_are_those_of_the_training_patients():
    (train, seen), (test, unseen) = cohort(3, 60, "A"), cohort(4, 20, "B")
    odd = unseen | {test.patient_ids[0]: 7}
    columns = _members(test, train, Modifiers(subgroups=seen | odd))
    assert columns.shape == (20, 1)
    assert columns[0, 0] == 0
    assert _members(test, train, Modifiers()).shape == (20, 0)


def test_effects_are_predicted_where_other_causes_compete(caplog):
    (train, seen), (test, unseen) = cohort(5, 500, "A"), cohort(6, 100, "B")
    die = np.random.default_rng(7).exponential(60.0, 500)
    first = die < train.time
    rivals = replace(train, time=np.minimum(die, train.time), event=train.event & ~first, other=first)
    found, alone = (predicted(Modifiers(seed=1, subgroups=seen | unseen), s, test) for s in (rivals, train))
    member = np.array([unseen[p] for p in test.patient_ids]) == 1
    assert len(found) == 100
    assert found[member].mean() > found[~member].mean() + 2
    assert np.ptp(found) < np.ptp(alone)  # who dies otherwise has less to gain or lose
    assert "no predicted effects" not in caplog.text
