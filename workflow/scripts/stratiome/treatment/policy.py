"""Rules that say whom to treat, and what they are worth on patients they have not seen.

Nothing here knows tables or configs: contributions to an average effect in (`doubly_robust.Scores.contrasts`), rules
and values out. A positive contribution speaks for treatment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.treatment.heterogeneity import FEWEST

DEPTH = 2
"""Questions that a tree asks of a patient at most."""
LEAST_SHARE = 0.1
"""Share of the training patients that each end of a rule must have, and no fewer than `FEWEST`."""


@dataclass(frozen=True)
class Leaf:
    """An end of a rule: what is done, and to how many training patients."""

    treat: bool
    n: int


@dataclass(frozen=True)
class Split:
    """A question: is the column above the threshold?"""

    column: int
    threshold: float
    below: Node
    above: Node
    n: int


Node = Leaf | Split


def decide(node: Node, x: np.ndarray) -> np.ndarray:
    """Whether a rule treats each patient, shape `(n_patients,)`.

    Parameters
    ----------
    node
        Root of the rule.
    x
        Shape `(n_patients, n_columns)`.
    """
    if isinstance(node, Leaf):
        return np.full(len(x), node.treat)
    above = x[:, node.column] > node.threshold
    return np.where(above, decide(node.above, x), decide(node.below, x))


def least(n: int) -> int:
    """Training patients that each end of a rule must have."""
    return max(FEWEST, int(np.ceil(LEAST_SHARE * n)))


def learn_tree(x: np.ndarray, contribution: np.ndarray) -> Node:
    """Tree of at most `DEPTH` questions with the largest mean gain, built from the top.

    Maximises `mean(decision * contribution)` (Athey & Wager 2021, Econometrica 89:133) by `econml.policy.PolicyTree`,
    which splits greedily. Questions whose answer changes nothing are left out.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, training patients.
    contribution
        Shape `(n_patients,)`, cross-fitted contributions to the effect.
    """
    n = len(x)
    if n < 2 * least(n) or x.shape[1] == 0:
        return Leaf(bool(contribution.mean() > 0), n)
    from econml.policy import PolicyTree

    fitted = PolicyTree(max_depth=DEPTH, min_samples_leaf=least(n), honest=False, random_state=0)
    fitted.fit(x, np.column_stack([np.zeros(n), contribution]))
    return _grown(fitted.tree_, 0, x, contribution)


def _grown(tree: object, k: int, x: np.ndarray, contribution: np.ndarray) -> Node:
    below, above = int(tree.children_left[k]), int(tree.children_right[k])  # type: ignore[attr-defined]
    if below < 0:
        return Leaf(bool(contribution.mean() > 0), len(x))
    column, threshold = int(tree.feature[k]), float(tree.threshold[k])  # type: ignore[attr-defined]
    up = x[:, column] > threshold
    parts = _grown(tree, below, x[~up], contribution[~up]), _grown(tree, above, x[up], contribution[up])
    if isinstance(parts[0], Leaf) and isinstance(parts[1], Leaf) and parts[0].treat == parts[1].treat:
        return Leaf(parts[0].treat, len(x))
    return Split(column, threshold, *parts, len(x))


def learn_threshold(predicted: np.ndarray, contribution: np.ndarray) -> Node:
    """Treat where the predicted effect exceeds the threshold with the largest mean gain; or all, or nobody.

    Parameters
    ----------
    predicted
        Shape `(n_patients,)`, effect predicted by models that have not seen the patient.
    contribution
        Shape `(n_patients,)`, cross-fitted contributions to the effect.
    """
    n = len(predicted)
    order = np.argsort(predicted, kind="stable")
    x = predicted[order]
    gain = np.concatenate([np.cumsum(contribution[order][::-1])[::-1], [0.0]])  # of treating from the k-th on
    allowed = np.zeros(n + 1, dtype=bool)
    allowed[least(n) : n - least(n) + 1] = True
    allowed[1:n] &= x[1:] > x[:-1]
    allowed[[0, n]] = True
    best = int(np.argmax(np.where(allowed, gain, -np.inf)))
    if best in (0, n):
        return Leaf(best == 0, n)
    return Split(0, float((x[best - 1] + x[best]) / 2), Leaf(False, best), Leaf(True, n - best), n)


@dataclass(frozen=True)
class Value:
    """What a rule gains over another way to decide, per patient.

    Attributes
    ----------
    estimate, error
        Mean gain and its standard error in the unit of the contributions.
    differ
        Patients whom the two treat differently.
    """

    estimate: float
    error: float
    differ: int


def value(gain: np.ndarray, differ: np.ndarray) -> Value:
    """Mean gain of patients who had no part in the rule, with the standard error of a mean.

    Parameters
    ----------
    gain
        Shape `(n_patients,)`, from `gains`.
    differ
        Shape `(n_patients,)`, whom the two ways treat differently.
    """
    return Value(float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain))), int(differ.sum()))


def gains(
    treat: np.ndarray, contribution: np.ndarray, predicted: np.ndarray, propensity: np.ndarray, treated: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What each patient contributes to the gain of a rule over treating nobody, everybody, and as was done.

    With decision d and doubly robust contribution c: `d c`, `(d - 1) c`, and `d c - [A m + e (c - m)]`, where m is the
    effect that the models of survival predict and e the propensity. The bracket is the efficient influence function of
    the gain of practice over treating nobody, `E[A (Y1 - Y0)]`: `A c` itself is right only if the models of survival
    are, as in c the residual of a patient is over the probability of the arm.

    Parameters
    ----------
    treat
        Shape `(n_patients,)`, decisions of rules learned without the patient.
    contribution, predicted
        Shape `(n_patients,)`, as `Scores.contrasts` and `Scores.predicted` have them.
    propensity
        Shape `(n_patients,)`.
    treated
        Shape `(n_patients,)`, what was done.

    Returns
    -------
    dict
        none, all, practice -> contributions to the gain, and who is treated differently.
    """
    treat, treated = treat.astype(bool), treated.astype(bool)
    practice = treated * predicted + propensity * (contribution - predicted)
    return {
        "none": (treat * contribution, treat),
        "all": ((treat - 1.0) * contribution, ~treat),
        "practice": (treat * contribution - practice, treat != treated),
    }


def beats_both(against_none: Value, against_all: Value) -> float:
    """P-value that a rule beats neither or only one of treating nobody and treating everybody.

    The larger of both two-sided p-values, 1 where a gain is not positive: an intersection-union test, which needs no
    correction for being two (Berger 1982, Technometrics 24:295).
    """
    from scipy.stats import norm

    parts = []
    for v in (against_none, against_all):
        known = v.differ >= FEWEST and v.error > 0 and v.estimate > 0
        parts.append(float(2 * norm.sf(v.estimate / v.error)) if known else 1.0)
    return max(parts)
