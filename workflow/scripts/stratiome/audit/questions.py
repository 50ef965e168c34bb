"""Whether a cohort asks of a treatment what the cohort of a bundle asked, and what bias both answers may share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stratiome.config import Timing, TreatmentConfig

Row = Mapping[str, Any]
UNKNOWN: Timing = "not known"
_ONE = "when treatment started is not known {0}: patients had to live to be treated, which favours treatment {0}"
_IMMORTAL = {
    "": "",
    "there": _ONE.format("there"),
    "here": _ONE.format("here"),
    "both": "when treatment started is not known in either cohort: patients had to live to be treated, which favours "
    "treatment in both, so that agreement does not exclude this bias",
}


def same_start(claim: Row, treatment: TreatmentConfig) -> bool:
    """Whether months count from the same time: from the same landmark, or from time zero in both cohorts.

    Parameters
    ----------
    claim
        Row of `BundleClaims`.
    treatment
        Settings of the other cohort.
    """
    there, here = claim["landmark_months"], treatment.landmark_months
    return there is here is None or (there is not None and here is not None and math.isclose(there, here, rel_tol=1e-6))


def unknown_starts(claim: Row, treatment: TreatmentConfig) -> str:
    """Where it is not known when treatment started: "" for nowhere, "there" (the bundle's cohort), "here", "both".

    Parameters
    ----------
    claim, treatment
        As in `same_start`.
    """
    there, here = claim["timing"] == UNKNOWN, treatment.timing == UNKNOWN
    return "both" if there and here else "there" if there else "here" if here else ""


def remark(claim: Row, treatment: TreatmentConfig) -> str:
    """What was asked otherwise there ("there" is the bundle's cohort), and what may bias the answers; "" if nothing.

    One line for each.

    Eligible patients and confounders are compared by the texts of both configs. Where starts of treatment are not
    known, patients had to live to be treated, which favours the treatment (immortal time; Suissa 2008, Am J Epidemiol
    167:492): if so in both cohorts, agreement is no evidence against it.

    Parameters
    ----------
    claim, treatment
        As in `same_start`.
    """
    parts = (
        _starts(claim, treatment),
        _assignment(claim["timing"], treatment.timing),
        _IMMORTAL[unknown_starts(claim, treatment)],
        _balanced(claim, treatment),
        _eligible(claim["eligible"], treatment.eligible),
    )
    return "\n".join(part for part in parts if part)


def _starts(claim: Row, treatment: TreatmentConfig) -> str:
    if same_start(claim, treatment):
        return ""
    origins = [_origin(months) for months in (claim["landmark_months"], treatment.landmark_months)]
    return f"another question: there patients are compared from {origins[0]}, here from {origins[1]}"


def _origin(landmark: float | None) -> str:
    return "time zero on" if landmark is None else f"{landmark:.3g} months on, if they live that long"


def _assignment(there: str, here: str) -> str:
    if (there == "by chance") == (here == "by chance"):
        return ""
    return f"treatment was given by chance {'there' if there == 'by chance' else 'here'} only"


def _balanced(claim: Row, treatment: TreatmentConfig) -> str:
    there = [c for c in (claim["confounders"] or "").split(", ") if c]
    gone = [c for c in there if c not in treatment.confounders]
    new = [c for c in treatment.confounders if c not in there]
    said = [f"{', '.join(names)} only {where}" for names, where in ((gone, "there"), (new, "here")) if names]
    return f"confounders are balanced for {' and '.join(said)}" if said else ""


def _eligible(there: str | None, here: str | None) -> str:
    if there == here:
        return ""
    return f"eligible there: {there or 'everybody'}; here: {here or 'everybody'}"
