"""How far can the survival models be trusted: sample size, instability, proportional hazards, ensembles, sites."""

import logging

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.config import DataConfig, EndpointConfig, EvaluationConfig, PrognosisConfig
from stratiome.features.block import read_features
from stratiome.prognosis import deep, instability, proportionality, sites
from stratiome.prognosis.candidates import Sized, sample_sizes
from stratiome.prognosis.models import Inputs, Omic
from stratiome.prognosis.read import read_inputs, read_roles
from stratiome.resample.names import repeats_of

logger = logging.getLogger("stratiome.prognosis")


def main(
    *,
    clinical: str,
    outcome: str,
    resamples: str,
    features: str,
    latents: str,
    risks: list[str],
    by_resample: str,
    sample_size: str,
    instability: str,
    bands: str,
    optimism: str,
    proportional: str,
    contrasts: str,
    spread: str,
    sites: str,
    data: DataConfig,
    endpoint: EndpointConfig,
    covariates: tuple[str, ...],
    prognosis: PrognosisConfig,
    evaluation: EvaluationConfig,
    seed: int,
) -> None:
    """Read what the models of all patients see and what was predicted, and write the tables."""
    measured = read_features(features)
    roles = read_roles(resamples, "full", measured.patient_ids)
    omics = tuple(Omic(b.name, b.values, b.features) for b in measured.blocks)
    inputs = read_inputs(
        measured.patient_ids,
        omics,
        roles,
        clinical,
        outcome,
        latents,
        data,
        covariates,
        competing=endpoint.competing is not None,
    ).inputs
    models = ("clinical", *prognosis.models)
    last = endpoint.horizons_months[-1]
    sized = sample_sizes(inputs, models, last)
    tables.write_table(_sample_size(sized, last), sample_size, tables.PrognosisSampleSize)
    moved = _bootstrapped(inputs, models, endpoint, prognosis, seed)
    tables.write_table(_instability(moved), instability, tables.PrognosisInstability)
    tables.write_table(_bands(moved), bands, tables.PrognosisBands)
    tables.write_table(_optimism(moved, endpoint.tau_months), optimism, tables.PrognosisOptimism)
    tested = proportionality.check_models(inputs, models) if _judged(inputs, prognosis) else []
    tables.write_table(_proportional(tested), proportional, tables.ProportionalHazards)
    made = proportionality.contrasts(inputs, tested, endpoint.tau_months, evaluation.level)
    tables.write_table(_contrasts(made, endpoint, evaluation.level), contrasts, tables.PrognosisContrasts)
    tables.write_table(_spread(resamples, risks, last), spread, tables.PrognosisSpread)
    held_out = tables.read_table(by_resample, tables.PrognosisResamples)
    tables.write_table(_sites(held_out, evaluation.level, endpoint.tau_months), sites, tables.PrognosisSites)


def _judged(inputs: Inputs, prognosis: PrognosisConfig) -> bool:
    """Whether there are events enough for models at all."""
    return int(inputs.event[inputs.train].sum()) >= prognosis.min_events


def _sample_size(found: list[Sized], horizon: float) -> pl.DataFrame:
    rows = []
    for s in found:
        logger.info("%s: %d patients, %d events, %d candidate columns", s.model, s.n, s.events, s.parameters)
        asked = s.asked
        rows.append(
            {
                "model": s.model,
                "horizon_months": horizon,
                "n": s.n,
                "events": s.events,
                "parameters": s.parameters,
                "for_shrinkage": asked.shrinkage if asked else None,
                "for_optimism": asked.optimism if asked else None,
                "for_risk": asked.risk if asked else None,
                "asked": asked.patients if asked else None,
                "met": s.n >= asked.patients if asked else None,
                "method": f"criteria of Riley et al. 2019, R squared (Cox-Snell) of {asked.r_squared:.3f} expected,"
                " 15 % of the largest possible"
                if asked
                else f"not estimable: {s.reason}",
            }
        )
    return tables.from_rows(rows, tables.PrognosisSampleSize)


def _bootstrapped(
    inputs: Inputs, models: tuple[str, ...], endpoint: EndpointConfig, prognosis: PrognosisConfig, seed: int
) -> list[instability.Bootstrapped]:
    if not prognosis.instability or not _judged(inputs, prognosis):
        return []
    found = instability.bootstrap_models(
        inputs,
        prognosis,
        endpoint.horizons_months,
        tau=endpoint.tau_months,
        draws=prognosis.instability,
        rng=np.random.default_rng([seed, 4]),
    )
    for one in found:
        logger.info("%s: fitted in %d of %d bootstrap samples", one.model, len(one.counts), one.asked)
    return [one for one in found if one.model in models]


def _draws(found: instability.Bootstrapped) -> str:
    latents = ", latents kept as they were" if found.model == "clinical_latent" else ""
    return f"{len(found.counts)} of {found.asked} bootstrap samples of the training patients{latents}"


def _instability(found: list[instability.Bootstrapped]) -> pl.DataFrame:
    rows = []
    for one in found:
        for made in instability.instability(one):
            named = dict(zip(("median", "p90", "p95"), made.quantiles, strict=True))
            values = [("mean", None, made.error), *((name, None, v) for name, v in named.items())]
            values += [("changed", t, v) for t, v in made.changed.items()]
            rows += [
                {
                    "model": one.model,
                    "horizon_months": made.horizon,
                    "quantity": quantity,
                    "threshold": threshold,
                    "value": value,
                    "n": len(one.time),
                    "draws": len(one.counts),
                    "method": f"Riley & Collins 2023; {_draws(one)}",
                }
                for quantity, threshold, value in values
            ]
    return tables.from_rows(rows, tables.PrognosisInstability)


def _bands(found: list[instability.Bootstrapped]) -> pl.DataFrame:
    rows = [
        {
            "model": made.model,
            "horizon_months": made.horizon,
            "group": k,
            "predicted": band.predicted,
            "lower": band.lower,
            "upper": band.upper,
            "error": band.error,
            "n": band.n,
        }
        for one in found
        for made in instability.instability(one)
        for k, band in enumerate(made.bands, 1)
    ]
    return tables.from_rows(rows, tables.PrognosisBands)


def _optimism(found: list[instability.Bootstrapped], tau: float) -> pl.DataFrame:
    rows = [
        {
            "model": made.model,
            "metric": made.metric,
            "horizon_months": made.horizon,
            "apparent": made.apparent,
            "optimism": made.optimism,
            "corrected": made.corrected,
            "n": len(one.time),
            "events": int(one.event.sum()),
            "draws": made.draws,
            "method": f"Harrell's bootstrap (Harrell et al. 1996); {_draws(one)}"
            + ("" if made.corrected is not None else "; not estimable in the training patients or in too many draws"),
        }
        for one in found
        for made in instability.optimism(one, tau)
    ]
    return tables.from_rows(rows, tables.PrognosisOptimism)


def _proportional(found: list[proportionality.Tested]) -> pl.DataFrame:
    rows = []
    for tested in found:
        for feature, test in [(None, tested.overall), *tested.terms.items()]:
            done = "score test with the Kaplan-Meier transform, Efron ties (Grambsch & Therneau 1994; survival 3)"
            rows.append(
                {
                    "model": tested.model,
                    "feature": feature,
                    "statistic": test.statistic,
                    "df": test.df,
                    "p_value": test.p_value,
                    "p_holm": tested.adjusted if feature is None else None,
                    "n": tested.n,
                    "events": tested.events,
                    "method": f"not tested: {test.reason}" if test.p_value is None else done,
                }
            )
    return tables.from_rows(rows, tables.ProportionalHazards)


def _contrasts(found: list[proportionality.Contrast], endpoint: EndpointConfig, level: float) -> pl.DataFrame:
    method = (
        f"difference of areas under Kaplan-Meier curves up to {endpoint.tau_months:g} months, {100 * level:g} % normal"
        " interval, not adjusted for other columns"
    )
    if endpoint.competing is not None:
        method += "; deaths of other causes count as censored, so that means are those without other causes"
    rows = [
        {
            "estimate": c.difference.estimate if c.difference else None,
            "lower": c.difference.lower if c.difference else None,
            "upper": c.difference.upper if c.difference else None,
            "n": c.n,
            "events": c.events,
            "method": method if c.difference else f"not estimable: {c.reason}; {method}",
            "held_out": False,
            "model": c.model,
            "feature": c.feature,
            "sides": c.sides,
            "tau_months": endpoint.tau_months,
        }
        for c in found
    ]
    return tables.from_rows(rows, tables.PrognosisContrasts)


def _spread(resamples: str, risks: list[str], horizon: float) -> pl.DataFrame:
    """Spread over members, of the patients held out in the first repeat of the first design."""
    held_out = tables.read_table(resamples, tables.Resamples).filter(pl.col("role") == "test")
    sets = repeats_of(held_out)
    rows = []
    for design in [d for d in tables.DESIGNS if d in sets][:1]:
        known = pl.concat([tables.read_table(p, tables.PrognosisRisks) for p in risks])
        here = known.filter(pl.col("resample").is_in(list(sets[design][0])) & pl.col("spread").is_not_null())
        for model, part in here.group_by("model", maintain_order=True):
            values = part["spread"].to_numpy()
            rows.append(
                {
                    "design": design,
                    "model": str(model[0]),
                    "horizon_months": horizon,
                    "members": deep.MEMBERS,
                    "mean": float(values.mean()),
                    "p90": float(np.quantile(values, 0.9)),
                    "n": len(values),
                }
            )
    return tables.from_rows(rows, tables.PrognosisSpread)


def _sites(held_out: pl.DataFrame, level: float, tau: float) -> pl.DataFrame:
    rows = held_out.filter(pl.col("design") == "leave-site-out").to_dicts()
    method = (
        f"Uno's C at tau {tau:g} months over left-out sites on the log odds; between-site variance by restricted"
        f" maximum likelihood, {100 * level:g} % intervals: modified Hartung-Knapp, prediction with the uncertainty of"
        " the between-site variance (Nagashima et al. 2019); errors within sites by bootstraps of patients, models kept"
        " fixed"
    )
    made = [
        {
            "estimate": s.estimate,
            "lower": s.lower,
            "upper": s.upper,
            "n": s.n,
            "events": s.events,
            "method": f"not estimable: {s.reason}; {method}" if s.reason else method,
            "held_out": True,
            "model": s.model,
            "prediction_lower": s.low,
            "prediction_upper": s.high,
            "spread": s.spread,
            "i2": s.i2,
            "sites": s.sites,
            "of": s.of,
        }
        for s in sites.summarise_sites(rows, level)
        if s.model != "kaplan_meier"
    ]
    return tables.from_rows(made, tables.PrognosisSites)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
