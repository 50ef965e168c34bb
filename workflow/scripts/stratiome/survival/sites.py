"""Estimates of several sites put together: columns of a summary, with where the truth of one more site would lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from stratiome.survival.meta import FEWEST, random_effects

Row = dict[str, Any]
NOTHING: Row = dict.fromkeys(("estimate", "lower", "upper", "prediction_lower", "prediction_upper", "spread", "i2"))


def summarise(
    rows: Iterable[Mapping[str, Any]], what: str, level: float, limits: tuple[float, float] = (-np.inf, np.inf)
) -> Row:
    """Columns of contract `SiteSummary` but for `held_out`.

    Parameters
    ----------
    rows
        One per site that was looked at, with `estimate`, `standard_error`, `n` and `events`; a site without estimate
        or without positive standard error is counted, and not summarised.
    what
        What is estimated, begins the method.
    level
        Level of both intervals.
    limits
        Values that an estimate cannot exceed; intervals end there.
    """
    rows = list(rows)
    usable = [r for r in rows if r["estimate"] is not None and (r["standard_error"] or 0.0) > 0]
    counted = {
        "n": sum(r["n"] for r in usable),
        "events": sum(r["events"] for r in usable),
        "sites": len(usable),
        "of": len(rows),
    }
    method = (
        f"{what}; between-site variance by restricted maximum likelihood, {100 * level:g} % intervals: modified"
        " Hartung-Knapp, prediction with the uncertainty of the between-site variance (Nagashima et al. 2019)"
    )
    if len(usable) < FEWEST:
        why = f"{len(usable)} of {len(rows)} sites have an estimate, {FEWEST} are needed"
        return NOTHING | counted | {"method": f"not estimable: {why}; {method}"}
    estimates, errors = (np.array([r[k] for r in usable]) for k in ("estimate", "standard_error"))
    found = random_effects(estimates, errors, level)
    names = ("estimate", "lower", "upper", "prediction_lower", "prediction_upper")
    values = np.clip([found.estimate, found.lower, found.upper, found.low, found.high], *limits)
    claim = dict(zip(names, values.tolist(), strict=True))
    return claim | {"spread": found.tau2**0.5, "i2": found.i2} | counted | {"method": method}
