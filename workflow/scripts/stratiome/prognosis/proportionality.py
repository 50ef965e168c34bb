"""Do the hazard ratios of the Cox models hold over time, and what is said in their place where they do not?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.prognosis.candidates import Candidates, candidates
from stratiome.prognosis.models import Inputs
from stratiome.survival.compare import ChiSquared, Difference, restricted_mean_difference
from stratiome.survival.outcome import OutcomeError
from stratiome.survival.proportional import proportional_hazards

TESTED = ("clinical", "clinical_latent")
"""Models without a penalty, of which the test is known."""

FEWEST = 10
"""Patients on each side of a contrast, at least."""


@dataclass(frozen=True)
class Tested:
    """Tests of one model.

    Attributes
    ----------
    model
        Name of the model.
    terms
        Column -> test that its coefficient does not move with time.
    overall
        Test of all columns together.
    adjusted
        Its p-value after Holm, over the models that could be tested; None where it could not be.
    n, events
        Training patients and events among them.
    """

    model: str
    terms: dict[str, ChiSquared]
    overall: ChiSquared
    adjusted: float | None
    n: int
    events: int

    def fails(self, alpha: float) -> bool:
        """Whether proportional hazards are rejected."""
        return self.adjusted is not None and self.adjusted < alpha

    def failing(self, alpha: float) -> list[str]:
        """Columns that fail alone, each at the level as it is; the one that comes closest where none does."""
        known = {name: t.p_value for name, t in self.terms.items() if t.p_value is not None}
        below = [name for name, p in known.items() if p < alpha]
        return below or ([min(known, key=lambda name: known[name])] if known else [])


@dataclass(frozen=True)
class Contrast:
    """Difference in restricted mean survival between patients high and low in one column, not adjusted for others."""

    model: str
    feature: str
    sides: str
    difference: Difference | None
    reason: str
    n: int
    events: int


def check_models(inputs: Inputs, models: tuple[str, ...]) -> list[Tested]:
    """Score tests of proportional hazards (as `cox.zph` of R's survival 3) of Cox models on the training patients.

    Parameters
    ----------
    inputs
        Patients, roles, outcome and predictors.
    models
        Models; those that are not in `TESTED`, or have no column, are left out.
    """
    from statsmodels.stats.multitest import multipletests

    train = inputs.train
    time, event = inputs.time[train], inputs.event[train]
    made: list[tuple[str, dict[str, ChiSquared], ChiSquared]] = []
    for model in [m for m in TESTED if m in models]:
        columns = candidates(inputs, model)
        if columns is None or not columns.names or (model != "clinical" and columns.names == inputs.clinical_names):
            continue
        found = proportional_hazards(columns.x[train], time, event, terms=columns.names)
        made.append((model, {str(name): test for name, test in found.terms.items()}, found.overall))
    known = [overall.p_value for _, _, overall in made if overall.p_value is not None]
    holm = iter(multipletests(known, method="holm")[1] if known else [])
    return [
        Tested(m, terms, o, None if o.p_value is None else float(next(holm)), int(train.sum()), int(event.sum()))
        for m, terms, o in made
    ]


def contrasts(inputs: Inputs, tested: list[Tested], tau: float, level: float) -> list[Contrast]:
    """For every column that fails in a model that fails: the difference in restricted mean survival up to tau.

    Columns of 0 and 1 are compared as they are, others above against up to the median of the training patients.

    Parameters
    ----------
    inputs
        As of `check_models`.
    tested
        What it gave.
    tau
        Months.
    level
        Level of intervals; its complement is the level of the tests.
    """
    made = []
    for test in tested:
        if not test.fails(1.0 - level):
            continue
        columns = candidates(inputs, test.model)
        assert columns is not None
        made += [_contrast(inputs, test.model, columns, f, tau, level) for f in test.failing(1.0 - level)]
    return made


def _contrast(inputs: Inputs, model: str, columns: Candidates, feature: str, tau: float, level: float) -> Contrast:
    train = inputs.train
    time, event = inputs.time[train], inputs.event[train]
    values = columns.x[train, columns.names.index(feature)]
    two = len(np.unique(values)) == 2
    arm = values > (values.min() if two else np.median(values))
    sides = "with it against without" if two else "above the median against the others"
    n, events = len(time), int(event.sum())
    if min(int(arm.sum()), int((~arm).sum())) < FEWEST:
        return Contrast(model, feature, sides, None, f"fewer than {FEWEST} patients on one side", n, events)
    try:
        found = restricted_mean_difference(time, event, arm, tau, level)
    except OutcomeError:
        return Contrast(model, feature, sides, None, f"follow-up of one side ends before {tau:g} months", n, events)
    if found.error == 0:
        return Contrast(model, feature, sides, None, f"nobody failed by {tau:g} months", n, events)
    return Contrast(model, feature, sides, found, "", n, events)
