"""DR- and R-learner of econml on a censoring-unbiased outcome, with nuisances that are given."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from stratiome.treatment.doubly_robust import MIN_PROPENSITY, Scores

LEAF, TREES = 20, 400
"""Patients of a leaf, and trees, of the forest of the R-learner."""
_SHARE = 1 / 3  # of the columns, looked at in a split
_FOLDS = 5


@dataclass(frozen=True)
class Uncensored:
    """A censoring-unbiased outcome and what was predicted of it by models that have not seen the patient.

    Attributes
    ----------
    outcome
        Shape `(n_patients,)`, months: has the mean of the time up to tau given covariates and arm, whatever was
        censored.
    treated
        Shape `(n_patients,)`, True = treated.
    restricted
        Shape `(2, n_patients)`, predicted months without and with treatment.
    propensity
        Shape `(n_patients,)`.
    """

    outcome: np.ndarray
    treated: np.ndarray
    restricted: np.ndarray
    propensity: np.ndarray

    @classmethod
    def of(cls, scores: Scores, treated: np.ndarray) -> Uncensored:
        """From cross-fitted scores.

        The transformation is `m(x) - int_0^tau m(u, x) dM(u) / (S(u|x) G(u|x))` of the arm received, with m the
        predicted months and m(u, x) those after u (Rubin & van der Laan 2007, Int J Biostat 3(1):4; Steingrimsson,
        Diao & Strawderman 2019, J Am Stat Assoc 114:370). It is what a score is without the weight of the propensity.

        Parameters
        ----------
        scores
            Held out, as `doubly_robust.influence` makes them.
        treated
            Shape `(n_patients,)`, True = treated.
        """
        rows, arm = np.arange(len(treated)), treated.astype(np.int64)
        predicted = scores.predicted_restricted[arm, rows]
        of_arm = np.where(treated, scores.propensity, 1.0 - scores.propensity)
        added = (scores.restricted[arm, rows] - predicted) * np.maximum(of_arm, MIN_PROPENSITY)
        return cls(predicted + added, treated, scores.predicted_restricted, scores.propensity)

    def take(self, rows: np.ndarray) -> Uncensored:
        """Those where `rows`, shape `(n_patients,)`, is True."""
        return Uncensored(self.outcome[rows], self.treated[rows], self.restricted[:, rows], self.propensity[rows])


def _given() -> tuple[type, type, type]:
    """Models that return columns: econml asks for models, and these predictions are made and cross-fitted before."""
    from sklearn.base import BaseEstimator

    class Column(BaseEstimator):  # type: ignore[misc]
        """Predicts a column."""

        def __init__(self, column: int = -1) -> None:
            self.column = column

        def fit(self, x: np.ndarray, y: np.ndarray, **_: Any) -> Column:
            """Learn nothing."""
            return self

        def predict(self, x: np.ndarray) -> np.ndarray:
            """The column."""
            return x[:, self.column]

    class Probability(Column):
        """Predicts a column as a probability."""

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            """Of not being treated and of being treated."""
            return np.column_stack([1.0 - x[:, self.column], x[:, self.column]])

    class ByArm(Column):
        """Predicts one of two columns; the last one is the arm."""

        def predict(self, x: np.ndarray) -> np.ndarray:
            """Untreated and treated are the third and second last."""
            return np.where(x[:, -1] > 0.5, x[:, -2], x[:, -3])

    return Column, Probability, ByArm


def fit_dr(x: np.ndarray, data: Uncensored, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """DR-learner (Kennedy 2023, Electron J Stat 17:3008) with a lasso; gives x -> predicted effect, months.

    By econml, whose pseudo-outcome of the transformed outcome is the doubly robust contribution of
    `doubly_robust.influence`, regressed on standardised covariates with the penalty chosen by cross-validation.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite.
    data
        Training patients.
    seed
        Seed of the folds of the lasso.
    """
    from econml.dr import DRLearner
    from sklearn.linear_model import LassoCV
    from sklearn.model_selection import KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _, probability, by_arm = _given()
    folds = KFold(_FOLDS, shuffle=True, random_state=seed)
    final = make_pipeline(StandardScaler(), LassoCV(cv=folds, alphas=30, eps=1e-2))
    with _quiet():
        learner = DRLearner(
            model_propensity=probability(x.shape[1]),
            model_regression=by_arm(),
            model_final=final,
            min_propensity=MIN_PROPENSITY,
            categories=[0, 1],
            cv=2,  # of models that learn nothing
            random_state=seed,
        )
        nuisance = np.column_stack([data.propensity, *data.restricted])
        learner.fit(data.outcome, data.treated.astype(np.int64), X=x, W=nuisance)

    def predict(new: np.ndarray) -> np.ndarray:
        with _quiet():
            return np.asarray(learner.effect(new), dtype=np.float64).ravel()

    return predict


@dataclass(frozen=True)
class ForestEffects:
    """A fitted R-learner.

    Attributes
    ----------
    out_of_bag
        Shape `(n_patients,)`, predicted effects of the training patients by trees that have not seen them, months.
    predict
        x -> predicted effect.
    """

    out_of_bag: np.ndarray
    predict: Callable[[np.ndarray], np.ndarray]


def fit_r(x: np.ndarray, data: Uncensored, seed: int) -> ForestEffects:
    """R-learner (Nie & Wager 2021, Biometrika 108:299) with a causal forest (Athey, Tibshirani & Wager 2019).

    By econml, honest trees on residuals of the transformed outcome and of treatment; with its censoring this is close
    to the causal survival forest of Cui et al. 2023 (J R Stat Soc B 85:179).

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite.
    data
        Training patients.
    seed
        Seed of the forest.
    """
    from econml.dml import CausalForestDML

    column, probability, _ = _given()
    e = data.propensity
    mean = e * data.restricted[1] + (1.0 - e) * data.restricted[0]
    with _quiet():
        learner = CausalForestDML(
            model_y=column(-2),
            model_t=probability(-1),
            discrete_treatment=True,
            categories=[0, 1],
            cv=2,  # of models that learn nothing
            n_estimators=TREES,
            min_samples_leaf=LEAF,
            max_features=_SHARE,
            criterion="het",
            inference=False,
            n_jobs=1,
            random_state=seed,
        )
        learner.fit(data.outcome, data.treated.astype(np.int64), X=x, W=np.column_stack([mean, e]))
        out_of_bag = np.asarray(learner.model_cate.oob_predict(x), dtype=np.float64).ravel()

    def predict(new: np.ndarray) -> np.ndarray:
        with _quiet():
            return np.asarray(learner.effect(new), dtype=np.float64).ravel()

    return ForestEffects(out_of_bag, predict)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what econml says of versions of scikit-learn, and of columns without names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield
