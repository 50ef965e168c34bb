"""How well a model does at the next site, from how it did at those that were left out in turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from stratiome.survival.meta import FEWEST, random_effects


@dataclass(frozen=True)
class SiteSummary:
    """Uno's C over left-out sites; None where it cannot be said, `reason` says why.

    Attributes
    ----------
    model
        Name of the model.
    estimate, lower, upper
        C at the average site and its interval.
    low, high
        Prediction interval: C at one more site of this kind.
    spread
        Standard deviation between sites of the log odds of C.
    i2
        Share of the variation of estimates that is between sites.
    sites, of
        Sites that are summarised, and sites that were left out.
    n, events
        Patients of the former, and events among them.
    """

    model: str
    estimate: float | None
    lower: float | None
    upper: float | None
    low: float | None
    high: float | None
    spread: float | None
    i2: float | None
    sites: int
    of: int
    n: int
    events: int
    reason: str = ""


def summarise_sites(rows: Iterable[Mapping], level: float) -> list[SiteSummary]:
    """Random-effects summary of Uno's C over left-out sites, for every model.

    On the log odds of C, on which its distribution over sites is nearer to normal (Snell et al. 2018), the standard
    error being that of C over `C (1 - C)` (Debray et al. 2017). Training sets of left-out sites overlap, which ties the
    sites' estimates together a little; that is not accounted for.

    Parameters
    ----------
    rows
        Rows of `PrognosisResamples` of the sites.
    level
        Level of intervals.
    """
    rows = list(rows)
    return [_summarise(model, [r for r in rows if r["model"] == model], level) for model in _models(rows)]


def _models(rows: list[Mapping]) -> list[str]:
    return list(dict.fromkeys(r["model"] for r in rows))


def _summarise(model: str, rows: list[Mapping], level: float) -> SiteSummary:
    usable = [r for r in rows if r["uno_c"] is not None and r["standard_error"] and 0 < r["uno_c"] < 1]
    size = {
        "sites": len(usable),
        "of": len(rows),
        "n": sum(r["n"] for r in usable),
        "events": sum(r["events"] for r in usable),
    }
    if len(usable) < FEWEST:
        return _nothing(model, size, f"{len(usable)} of {len(rows)} sites have an estimate, {FEWEST} are needed")
    shares = np.array([r["uno_c"] for r in usable])
    errors = np.array([r["standard_error"] for r in usable]) / (shares * (1 - shares))
    found = random_effects(np.log(shares / (1 - shares)), errors, level)
    mean, lower, upper, low, high = (
        float(1 / (1 + np.exp(-v))) for v in (found.estimate, found.lower, found.upper, found.low, found.high)
    )
    return SiteSummary(model, mean, lower, upper, low, high, found.tau2**0.5, found.i2, **size)


def _nothing(model: str, size: dict[str, int], reason: str) -> SiteSummary:
    return SiteSummary(model, None, None, None, None, None, None, None, **size, reason=reason)
