"""Names of resamples, what they say of the design, and which resamples together hold each patient out once."""

from __future__ import annotations

import re
from collections.abc import Iterable

import polars as pl

from stratiome.config import ResampleConfig

FOLD = re.compile(r"^cv-(\d+)-\d+$")
FULL, TEMPORAL, LOCKED = "full", "temporal", "locked"
SITE, GIVEN = "site-", "given-"


def site_groups(counts: dict[str, int], min_site: int) -> dict[str, list[str]]:
    """Resample name -> sites held out together.

    Sites of at least `min_site` patients are held out one at a time, the smaller ones together as `site-other` if they
    reach `min_site` patients. With fewer than two groups there are none: a cohort of one site cannot leave it out.

    Parameters
    ----------
    counts
        Site -> number of patients.
    min_site
        Smallest number of patients to hold out.
    """
    groups: dict[str, list[str]] = {}
    small = []
    for site in sorted(counts):
        if counts[site] < min_site:
            small.append(site)
            continue
        slug = re.sub(r"[^A-Za-z0-9]+", "_", site).strip("_") or "unnamed"
        name = f"{SITE}{slug}"
        while name in groups or name == f"{SITE}other":
            name += "_"
        groups[name] = [site]
    if sum(counts[s] for s in small) >= min_site:
        groups[f"{SITE}other"] = small
    return groups if len(groups) > 1 else {}


def resample_names(settings: ResampleConfig, sites: dict[str, list[str]], given: dict[str, str]) -> list[str]:
    """Names of all resamples, `full` first, in the order of every table.

    Parameters
    ----------
    settings
        Designs asked for.
    sites
        As made by `site_groups`.
    given
        Resample name -> name in the file of splits.
    """
    folds = [f"cv-{r}-{f}" for r in range(1, settings.repeats + 1) for f in range(1, settings.folds + 1)]
    temporal = [TEMPORAL] * (settings.temporal is not None)
    return [FULL, *folds, *sites, *temporal, *given, *[LOCKED] * (settings.test_fraction > 0)]


def design_of(resample: str) -> str:
    """Design that a resample belongs to, as in `tables.DESIGNS`, or `full`."""
    if FOLD.match(resample):
        return "cross-validation"
    if resample.startswith(SITE):
        return "leave-site-out"
    return "given splits" if resample.startswith(GIVEN) else resample


def first_design(names: Iterable[str], designs: Iterable[str]) -> list[str]:
    """Resamples of the first design there is, of its first repeat where folds are repeated.

    Parameters
    ----------
    names
        Names of all resamples.
    designs
        Designs in the order of preference.
    """
    names = list(names)
    for design in designs:
        own = [n for n in names if design_of(n) == design and not n.startswith(FULL)]
        first = [n for n in own if not (fold := FOLD.match(n)) or fold[1] == "1"]
        if first:
            return first
    return []


def repeats_of(held_out: pl.DataFrame) -> dict[str, list[list[str]]]:
    """Design -> sets of resamples in each of which a patient is held out at most once.

    Folds are put together by their repeat. Given splits say nothing of repeats: each joins the first set in which none
    of its held-out patients is yet, so that the folds of a published cross-validation come together, and splits that
    overlap count as repeats.

    Parameters
    ----------
    held_out
        Rows of `Resamples` with role test.
    """
    members = {str(name): set(part["patient_id"]) for (name,), part in held_out.group_by("resample")}
    found: dict[str, list[list[str]]] = {}
    for name in natural(members):
        sets = found.setdefault(design_of(name), [])
        fold = FOLD.match(name)
        place = next((s for s in sets if _together(name, s, members, fold[1] if fold else None)), None)
        if place is None:
            sets.append([name])
        else:
            place.append(name)
    return found


def _together(name: str, others: list[str], members: dict[str, set[str]], repeat: str | None) -> bool:
    if repeat is not None:
        return others[0].startswith(f"cv-{repeat}-")
    return all(members[name].isdisjoint(members[o]) for o in others)


def pooled(held_out: pl.DataFrame) -> list[str]:
    """Resamples whose held-out patients are pooled where each patient counts once.

    The folds of the first repeat; without folds the given splits, if no patient is held out by two of them. An empty
    list means that nobody can be said to be held out once.

    Parameters
    ----------
    held_out
        Rows of `Resamples` with role test.
    """
    sets = repeats_of(held_out)
    if "cross-validation" in sets:
        return sets["cross-validation"][0]
    given = sets.get("given splits", [])
    return given[0] if len(given) == 1 else []


def natural(names: Iterable[str]) -> list[str]:
    """Names in the order of the numbers in them: `fold-2` before `fold-10`."""
    return sorted(names, key=lambda n: [(int(p) if p.isdigit() else -1, p) for p in re.split(r"(\d+)", n)])
