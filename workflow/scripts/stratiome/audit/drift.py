"""Whether a batch of new patients is still like those that the models of a bundle have learned from.

Five parts look at the batch without outcomes: features one by one, features of an omic and places in the latent space
together, missingness, scores of the models, and subgroups. The sixth is the outcome, as far as follow-up has come.

The error rate is that of the whole look: a part is alarmed if its smallest adjusted p-value (Simes 1986) stands among
all parts by Benjamini and Hochberg, weighted (Genovese, Roeder & Wasserman 2006, Biometrika 93:509), and within alarmed
parts the false-discovery rate is that of Benjamini & Bogomolov (2014, JRSS B 76:297). The outcome is judged apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stratiome.audit.two_samples import (
    adjusted,
    beyond_both,
    components,
    discrepancy,
    homogeneity,
    same_mean,
    same_order,
    same_rate,
    same_slope,
    stability_index,
    two_proportions,
)
from stratiome.bundle.reference import Part, Places, Scored, Slope, count_classes, embed, subgroups_of

LEVEL = 0.05
"""Share of looks at an unchanged population that are alarmed, without outcomes and by the outcome."""
FEWEST = 20
"""Patients of a batch below which nothing is tested."""
MATURE = 20
"""Events, observed or expected, below which the outcome is not judged."""
MEASURED, SAID = ("inputs", "joint", "missingness"), ("scores", "memberships")
"""Parts that look at what was measured, and at what models say of it."""
PARTS = (*MEASURED, *SAID)
"""Parts that need no outcome."""
OUTCOME = "outcome"
SHARES = {MEASURED: 0.1, SAID: 0.9, (OUTCOME,): 1.0}
"""Of the error rate, divided equally among those parts that could be tested. A drift of what is measured moves many
features together, so that it is found at a small level as well; scores and subgroups are few tests, which need more. So
divided, the least power over the drifts that must be found is about the largest (`tests/benchmarks/drift_gates.py`)."""
UNRIPE = f"outcome labels are not mature: fewer than {MATURE} events are observed or expected so far"
NO_LABELS = "no patient of the batch has an outcome"
NO_HAZARD = "not judged: with competing causes, or without time, curves are no exponentials of hazards"
NO_HELD_OUT = "not judged: no patient was held out where the bundle was made, or too few had the event"

BETWEEN = "patients between training quantiles"

Row = dict[str, Any]


class Tally:
    """Counts of a batch in the bins of an omic or of the clinical table; patients are added in pieces.

    Attributes
    ----------
    part
        Training patients.
    features
        Names of the columns.
    n, without
        Patients who have the omic, and who do not.
    missing
        Shape `(n_features,)`, how many of those who have it lack the feature.
    counts
        By feature, shape `(n_bins,)`.
    """

    def __init__(self, part: Part, features: Sequence[str]) -> None:
        self.part, self.features = part, tuple(features)
        self.n = self.without = 0
        self.missing = np.zeros(len(self.features), dtype=np.int64)
        self.counts = {name: np.zeros(len(b.counts), dtype=np.int64) for name, b in part.bins.items()}
        self._embedded = 0
        self._sum: np.ndarray | float = 0.0
        self._products: np.ndarray | float = 0.0

    def add(self, values: np.ndarray, transformed: np.ndarray | None = None, lacking: int = 0) -> None:
        """Add patients.

        Parameters
        ----------
        values
            Shape `(n_patients, n_features)` of those who have the omic, NaN where missing.
        transformed
            The same as models see them, of patients who have any feature of it.
        lacking
            Patients without the omic.
        """
        self.n += len(values)
        self.without += lacking
        self.missing += (~np.isfinite(values)).sum(axis=0)
        for j, name in enumerate(self.features):
            if name in self.counts:
                self.counts[name] += self.part.bins[name].count(values[:, j])
        if transformed is not None and self.part.embedding is not None:
            made = embed(transformed, self.part.embedding.width)
            self._embedded += len(made)
            self._sum = self._sum + made.sum(axis=0)
            self._products = self._products + made.T @ made

    def embedding(self) -> tuple[int, np.ndarray, np.ndarray] | None:
        """Patients, mean and covariance of the embedding; None of fewer than `FEWEST`."""
        n = self._embedded
        if n < FEWEST:
            return None
        mean = np.asarray(self._sum) / n
        return n, mean, (np.asarray(self._products) - n * np.outer(mean, mean)) / (n - 1)


def _row(part: str, scope: str, name: str, quantity: str, n: tuple[int, int], method: str, **numbers: Any) -> Row:
    base = {"estimate": None, "reference": None, "p_value": None}
    keys = {"part": part, "scope": scope, "name": name, "quantity": quantity}
    return keys | base | numbers | {"n_training": n[0], "n_batch": n[1], "method": method}


def _index(
    part: str, scope: str, name: str, training: np.ndarray, batch: np.ndarray, what: str, *, ordered: bool
) -> Row:
    """Row of a population stability index and the test of the counts behind it."""
    n = (int(training.sum()), int(batch.sum()))
    if n[1] < FEWEST:
        return _row(part, scope, name, "psi", n, f"not tested: fewer than {FEWEST} patients")
    p = (same_order if ordered else homogeneity)(training, batch)
    test = f"place and spread of {what} (smooth test)" if ordered else f"homogeneity of {what} (Cressie-Read)"
    method = f"population stability index; test of {test}"
    return _row(part, scope, name, "psi", n, method, estimate=stability_index(training, batch), p_value=p)


def input_rows(scope: str, tally: Tally) -> Iterator[Row]:
    """Each feature that has bins."""
    for name in tally.features:
        if name in tally.counts:
            training = np.asarray(tally.part.bins[name].counts)
            yield _index("inputs", scope, name, training, tally.counts[name], BETWEEN, ordered=True)


def class_rows(scope: str, part: Part, levels: Mapping[str, Sequence[str | None]]) -> Iterator[Row]:
    """Each categorical column."""
    for name, own in levels.items():
        known = part.classes[name]
        batch = count_classes([x for x in own if x is not None], known)
        training = np.asarray(list(known.values()))
        order = np.argsort(-(training + batch), kind="stable")
        if len(order) > 1:
            yield _index("inputs", scope, name, training[order], batch[order], "classes", ordered=False)


def joint_row(scope: str, tally: Tally) -> Row:
    """All features of an omic together."""
    found, there = tally.embedding(), tally.part.embedding
    if found is None or there is None:
        n = (0 if there is None else there.n, 0 if found is None else found[0])
        return _row("joint", scope, "", "mmd", n, f"not tested: fewer than {FEWEST} patients with the omic")
    n_batch, mean, covariance = found
    squared, p = discrepancy(
        (np.asarray(there.mean), mean), (np.asarray(there.covariance), covariance), (there.n, n_batch)
    )
    method = "squared maximum mean discrepancy by random Fourier features; regularised test of their means"
    return _row("joint", scope, "", "mmd", (there.n, n_batch), method, estimate=squared, p_value=p)


def latent_row(places: Places, latents: np.ndarray) -> Row:
    """Mean place in the latent space, shape `(n_patients, n_latent)`, NaN rows left out.

    The mean alone: training patients, whom the encoder has seen, are more spread out than others.
    """
    known = latents[np.isfinite(latents).all(axis=1)]
    n = (places.n, len(known))
    if len(known) < max(FEWEST, known.shape[1] + 2):
        return _row("joint", "latent space", "", "distance", n, f"not tested: fewer than {FEWEST} patients")
    distance, p = same_mean(np.asarray(places.mean), np.asarray(places.covariance), places.n, known)
    method = "Mahalanobis distance of the means; Hotelling's test"
    return _row("joint", "latent space", "", "distance", n, method, estimate=distance, p_value=p)


def missing_rows(scope: str, tally: Tally) -> Iterator[Row]:
    """The omic as a whole, and each of its features among those who have it."""
    part, method = tally.part, "share of patients; mid-p of Fisher's exact test"
    if part.without or tally.without:
        n = (part.patients + part.without, tally.n + tally.without)
        yield _share(scope, "", part.without, tally.without, n, method)
    for name, gone in zip(tally.features, tally.missing, strict=True):
        yield _share(scope, name, part.missing[name], int(gone), (part.patients, tally.n), method)


def _share(scope: str, name: str, training: int, batch: int, n: tuple[int, int], method: str) -> Row:
    if n[1] < FEWEST or n[0] < FEWEST:
        return _row("missingness", scope, name, "missing", n, f"not tested: fewer than {FEWEST} patients")
    p = two_proportions(training, n[0], batch, n[1])
    numbers = {"estimate": batch / n[1], "reference": training / n[0], "p_value": p}
    return _row("missingness", scope, name, "missing", n, method, **numbers)


def score_row(model: str, told: Scored, risk: np.ndarray) -> Row | None:
    """Risks at the last horizon, shape `(n_patients,)`; None where the model tells nobody apart.

    A model has seen the training patients, and held-out ones were scored by models of fewer patients: either may differ
    from new patients of the same population, mostly in opposite directions. So an alarm takes a batch that lies beyond
    both, in place or in spread; what lies between them is no drift.
    """
    if told.trained is None:
        return None
    if told.held_out is None:
        return _row("scores", model, "", "psi", (0, len(risk)), NO_HELD_OUT)
    held_out, trained = (
        _index("scores", model, "", np.asarray(bins.counts), bins.count(risk), what, ordered=True)
        for bins, what in ((told.held_out, "held-out scores"), (told.trained, "scores of training patients"))
    )
    if held_out["p_value"] is None or trained["p_value"] is None:
        return held_out | {"p_value": None}
    found = [components(np.asarray(bins.counts), bins.count(risk)) for bins in (told.held_out, told.trained)]
    p = max(held_out["p_value"], trained["p_value"])
    if found[0] is not None and found[1] is not None:
        p = beyond_both(found[0], found[1])
    method = (
        "population stability index; test of place and spread beyond held-out scores and those of training patients"
    )
    return held_out | {"p_value": p, "method": f"{method} (smooth test)"}


def membership_rows(training: Mapping[str, int], subgroup: np.ndarray) -> Iterator[Row]:
    """Shares of the subgroups, shape `(n_patients,)`, 0 = unassigned, and one test of all."""
    before, now = np.array(list(training.values())), count_classes(subgroups_of(subgroup), training)
    order = np.argsort(-(before + now), kind="stable")
    if len(order) > 1:
        yield _index("memberships", "subgroups", "", before[order], now[order], "patients by subgroup", ordered=False)
    n = (int(before.sum()), int(now.sum()))
    for name, b, c in zip(training, before, now, strict=True):
        if b or c:
            shares = {"estimate": c / max(n[1], 1), "reference": b / max(n[0], 1)}
            method = "share of patients; tested together"
            yield _row("memberships", "subgroups", name or "others", "share", n, method, **shares)


def unjudged(model: str, n: tuple[int, int], why: str) -> Row:
    """The outcome where it cannot be judged."""
    return _row(OUTCOME, model, "", "observed_expected", n, why)


def outcome_rows(
    model: str,
    told: Scored,
    events: tuple[np.ndarray, np.ndarray],
    slope: tuple[float, float] | None,
    n: tuple[int, int],
) -> Iterator[Row]:
    """Observed over expected events, and slope of the outcome, against those of held-out patients.

    Parameters
    ----------
    model
        Name.
    told
        Of the bundle.
    events
        Observed and expected in the follow-up that each patient had, in the stretches of `told`.
    slope
        Coefficient of the outcome on `log(-log S)` and its standard error.
    n
        Patients with an outcome, of the bundle and of the batch.
    """
    if told.events is None:
        yield unjudged(model, n, NO_HELD_OUT)
        return
    observed, expected = int(events[0].sum()), float(events[1].sum())
    if max(observed, expected) < MATURE:
        yield unjudged(model, n, UNRIPE)
        return
    ratio, p = same_rate(*events, np.asarray(told.events.observed), np.asarray(told.events.expected))
    yield _row(
        OUTCOME,
        model,
        "",
        "observed_expected",
        n,
        "events over those expected in each patient's own follow-up; exact test against held-out patients over as long "
        "a follow-up",
        estimate=observed / max(expected, 1e-12),
        reference=ratio,
        p_value=p,
    )
    if slope is None or told.slope is None or told.held_out_slope is None or observed < MATURE:
        return
    yield _row(
        OUTCOME,
        model,
        "",
        "slope",
        n,
        "slope on log(-log S) up to each patient's own follow-up; Wald test against the nearest of 1, held-out and "
        "training patients, none between them",
        estimate=slope[0],
        reference=told.held_out_slope.value,
        p_value=_beyond(slope, (told.slope, told.held_out_slope)),
    )


def _beyond(slope: tuple[float, float], known: tuple[Slope, Slope]) -> float:
    """P-value of a slope farther out than the ideal and both known ones; 1 between them.

    Held-out patients were scored by models of fewer patients, and training patients had been seen: flexible models are
    too timid in both. The error of the model itself is that of its slope in training.
    """
    values = (1.0, *(s.value for s in known))
    nearest = float(np.clip(slope[0], min(values), max(values)))
    return same_slope(*slope, nearest, max(s.error for s in known))


def judged(rows: Sequence[Row], level: float = LEVEL) -> list[Row]:
    """Rows with `q_value`, at most `level` where flagged; see the head of this module."""
    made = [row | {"q_value": None, "flagged": False} for row in rows]
    for family in (PARTS, (OUTCOME,)):
        own = {part: [r for r in made if r["part"] == part and r["p_value"] is not None] for part in family}
        tested = {part: adjusted(np.array([r["p_value"] for r in found])) for part, found in own.items() if found}
        share = shares(list(tested))
        least = np.array([q.min() / (share[part] * len(tested)) for part, q in tested.items()])
        alarmed = int((adjusted(np.minimum(least, 1.0)) <= level).sum())
        for part, q in tested.items():
            for row, value in zip(own[part], q / (share[part] * max(alarmed, 1)), strict=True):
                row["q_value"] = min(float(value), 1.0)
                row["flagged"] = row["q_value"] <= level
    return made


def shares(tested: Sequence[str]) -> dict[str, float]:
    """Share of the error rate by part that was tested; those of parts that were not go to others (see `SHARES`)."""
    found: dict[str, float] = {}
    for parts, share in SHARES.items():
        own = [part for part in parts if part in tested]
        found |= {part: share / len(own) for part in own}
    return {part: share / sum(found.values()) for part, share in found.items()}
