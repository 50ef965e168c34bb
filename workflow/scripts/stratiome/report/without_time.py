"""The tables of a response: rows that mean nothing without time are left out, and methods are told without it.

Without time, the restricted mean up to the only horizon is the probability of a response, as is survival at it; Uno's
C, Harrell's C and the time-dependent area are the area under the ROC curve; nobody is censored, so that all weights for
it are one. Of what is the same, one row stays. Ratios of hazards, tests of their constancy, bounds on survival time and
the length of follow-up mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

NOTHING = frozenset({"proportional", "contrasts", "coverage", "treatment_sensitivity"})
"""Tables of which no row is left."""

LEFT_OUT: dict[str, dict[str, tuple[str, ...]]] = {
    "baseline": {"kind": ("months",)},
    "treatment_records": {"finding": ("crude", "early", "later")},
    "prognosis_metrics": {"metric": ("uno_c_cox", "harrell_c", "auc", "ibs", "ibs_cox")},
    "calibration_measures": {"metric": ("d_calibration",)},
    "fairness_groups": {"metric": ("auc", "censored", "bound_coverage")},
    "treatment_effects": {"estimand": ("survival_difference", "hazard_ratio")},
    "treatment_averages": {"estimand": ("survival_difference",)},
    "treatment_differences": {"estimand": ("hazard_ratio",)},
    "treatment_interaction": {"estimand": ("survival_difference",)},
    "treatment_profile_effects": {"estimand": ("survival_difference",)},
    "treatment_sites": {"estimand": ("survival_difference",)},
    "treatment_site_summary": {"estimand": ("survival_difference",)},
    "treatment_robustness": {"estimand": ("survival_difference",), "check": ("restriction time",)},
}
"""Table -> column -> values whose rows are left out."""

_CENSORING = r"(?:Kaplan-Meier )?censoring weights[^;]*"
METHODS: tuple[tuple[str, str], ...] = (
    ("Kaplan–Meier", "Kaplan-Meier"),
    (rf"; {_CENSORING}|, {_CENSORING}", ""),
    (r", an event precedes a censoring at the same time", ""),
    (r"Uno's C(?:, tau [\d.]+ months)?", "area under the ROC curve"),
    (
        r"ratio of Brier scores to the training Kaplan-Meier curve, (?:tau|horizon) [\d.]+ months",
        "ratio of the Brier score to that of the share of events in training as the risk of everybody",
    ),
    (r"one minus Kaplan-Meier over", "share of events over"),
    (r"Kaplan-Meier pseudo-values at [\d.]+ months(?: regressed)?", "events regressed"),
    (r"Kaplan-Meier survival of those", "the share of events of those"),
    (r"area under the Kaplan-Meier curve up to [\d.]+ months", "share of patients with a response"),
    (r"^Kaplan-Meier, ", "share of patients with a response, "),
    (r"with Greenwood's variance", "with the binomial variance"),
    (r"Kaplan-Meier by arm", "proportions by arm"),
    (r"Cox models of survival and of censoring in each arm", "Cox models of the event in each arm"),
    (r" and of being uncensored below [\d.]+ raised to these", " raised to this"),
    (r"by a Cox model and Kaplan-Meier curves? of censoring", "by a Cox model"),
    (r"(characteristic|effect), months", r"\1, percentage points"),
    (r"Kaplan-Meier(?: curves?)?", "shares"),
    (r"\blog-rank\b", "Mantel-Haenszel chi-squared test of response by group"),
    (r"discrete-time hazard network, \d+ intervals", "network"),
    (r"integrated Brier score", "Brier score"),
    (r"the same curve for every patient", "the same risk for every patient"),
    (r"no event by the horizon", "no event"),
    (r",? (?:at|up to|within|over) [\d.]+ months", ""),
)
"""Patterns in the words of methods, in this order, and what stands in their place."""
_TOLD = ("method", "note")


def without_time(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The tables of `ReportInputs` as they are told of a response.

    Parameters
    ----------
    frames
        By the names of `CONTRACTS`, as written for the event at one time; they keep their contracts.
    """
    return {name: _told(_kept(name, frame)) for name, frame in frames.items()}


def _kept(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    if name in NOTHING:
        return frame.clear()
    for column, values in LEFT_OUT.get(name, {}).items():
        frame = frame.filter(~pl.col(column).is_in(values))
    return _accuracy(frame) if name == "prognosis_metrics" else frame


def _accuracy(frame: pl.DataFrame) -> pl.DataFrame:
    """Brier score and index of prediction accuracy at the assessment in the place of those over time."""
    score = pl.col("metric").is_in(["brier", "ipa"])
    return frame.filter(~((pl.col("metric") == "ipa") & pl.col("horizon_months").is_null())).with_columns(
        metric=pl.when(pl.col("metric") == "brier").then(pl.lit("ibs")).otherwise("metric"),
        horizon_months=pl.when(score).then(None).otherwise("horizon_months"),
    )


def _told(frame: pl.DataFrame) -> pl.DataFrame:
    columns = [c for c in _TOLD if frame.schema.get(c) == pl.String]
    for column in columns:
        given = frame[column].unique().drop_nulls().to_list()
        frame = frame.with_columns(pl.col(column).replace({text: method(text) for text in given}))
    return frame


def method(text: str) -> str:
    """The words of a method without time."""
    for pattern, other in METHODS:
        text = re.sub(pattern, other, text)
    return text
