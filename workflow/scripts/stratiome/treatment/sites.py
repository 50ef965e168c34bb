"""The effect at each site, and at one more: is it the same everywhere?"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from stratiome.survival.sites import summarise
from stratiome.treatment.averages import Settings
from stratiome.treatment.effect import compare_headline, curve_name, normal_claim
from stratiome.treatment.emulate import Sample
from stratiome.treatment.weight import effective_sample_size

Row = dict[str, Any]


def site_rows(
    name: str, sample: Sample, design: np.ndarray, sites: Mapping[str, str], settings: Settings
) -> tuple[list[Row], list[Row]]:
    """Rows of `TreatmentSites` and of `TreatmentSiteSummary` of one treatment; none where no site is held out.

    At each site the comparison of the headline is made among its own patients: overlap weights of a propensity fitted
    there, or none where assignment was by chance. Nothing is shared between sites.

    Parameters
    ----------
    name
        Key of the treatment.
    sample, design
        All eligible patients and their confounders, shape `(n_patients, n_columns)`.
    sites
        Patient -> resample that holds out the patient's site.
    settings
        What all comparisons share.
    """
    where = np.array([sites.get(p, "") for p in sample.patient_ids])
    rows: list[Row] = []
    for site in sorted(set(sites.values())):
        here = where == site
        rng = np.random.default_rng([settings.seed, zlib.crc32(name.encode()), zlib.crc32(site.encode())])
        rows += _site(name, site, sample.take(here), design[here], settings, rng)
    how = "as randomised" if sample.randomised else "overlap weights of a propensity fitted at the site"
    summaries = []
    for estimand, time in settings.question.contrasts if rows else ():
        own = [r for r in rows if (r["estimand"], r["horizon_months"]) == (estimand, time)]
        limit = time if estimand == "rmst_difference" else 1.0
        text = f"{curve_name(sample)} by arm at each site, {how}, errors by bootstraps of the patients of a site"
        found = summarise(own, text, settings.evaluation.level, (-limit, limit))
        key = {"treatment": name, "estimand": estimand, "horizon_months": time, "held_out": False}
        summaries.append(key | found)
    return rows, summaries


def _site(
    name: str, site: str, sample: Sample, design: np.ndarray, settings: Settings, rng: np.random.Generator
) -> list[Row]:
    draws, level = settings.evaluation.bootstraps, settings.evaluation.level
    compared, why = compare_headline(sample, design, sample.randomised, settings.question, draws, level, rng)
    counted, effective = sample, None
    if compared is not None and not sample.randomised:
        counted = sample.take(compared.weights > 0)
        effective = sum(effective_sample_size(compared.weights[a]) for a in (sample.treated, ~sample.treated))
    how = "unweighted, as randomised" if sample.randomised else "overlap weights of a propensity fitted at the site"
    base: Row = {
        "treatment": name,
        "resample": site,
        "n": len(counted),
        "events": int(counted.event.sum()),
        "n_treated": int(counted.treated.sum()),
        "effective_n": effective,
        "held_out": False,
        "method": f"{curve_name(sample)} by arm, {how}; normal interval from bootstrap samples of patients",
        **dict.fromkeys(("estimate", "lower", "upper", "p_value", "standard_error")),
    }
    rows = []
    for j, (estimand, time) in enumerate(settings.question.contrasts):
        row = base | {"estimand": estimand, "horizon_months": time}
        reason = why or (compared.reasons[j] if compared is not None else "")
        if compared is None or reason:
            row["method"] = f"not estimable: {reason}"
        else:
            error = float(compared.error[j])
            row |= normal_claim(compared.estimate[j], error, level)
            row["standard_error"] = error if error > 0 else None
        rows.append(row)
    return rows
