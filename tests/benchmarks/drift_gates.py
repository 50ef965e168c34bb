"""Gate of the monitoring of batches: size, power, and mutants that must fail.

    PYTHONPATH=workflow/scripts:tests/unit python tests/benchmarks/drift_gates.py --replicates 300

A look at an unchanged population may be alarmed in 5 %, each part and the whole; planted drift is found in 80 %; a
right model whose batch was followed for six months is called wrong in 5 % at most. Looks have no models, so that the
share of the error rate for scores goes to subgroups; `with scores` is the same look beside a linear model whose scores
have not drifted. `latents` trains deep models and takes minutes for ten replicates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import binom

import drift_simulator as gates
import gate_lines
from gate_lines import Line
from stratiome.audit import drift
from stratiome.audit.two_samples import discrepancy

BATCHES = (50, 200, 1000)
TRAINING = (300, 1000)
POWER = (0.8, 1.0)
WITH_SCORES = "whole look with scores"


def size(replicates: int) -> tuple[float, float]:
    """Share of alarms that a test of size 5 % leaves less than once in 1000."""
    return 0.0, float(binom.ppf(0.999, replicates, drift.LEVEL)) / replicates


def _looks(population: gates.Population, n: int, batch: int, seeds: range) -> list[dict[str, bool]]:
    found = []
    for seed in seeds:
        rng = np.random.default_rng([seed, n, batch])
        kept = gates.keep(gates.draw(gates.STILL, n, rng))
        rows = gates.look(kept, gates.draw(population, batch, rng))
        model = gates.scorable("linear", n, seed)
        score = drift.score_row("model", model.told, model.predict(_normal(seed, batch, 0.0)))
        found.append(gates.alarms(rows) | {WITH_SCORES: gates.alarms([*rows, score])["whole look"]})
    return found


def still(seeds: range) -> list[Line]:
    """No drift."""
    lines = []
    for n in TRAINING:
        for batch in BATCHES:
            found = _looks(gates.STILL, n, batch, seeds)
            truth, most = f"{n} training, {batch} new", size(len(seeds))
            for name in (*drift.PARTS, "whole look", WITH_SCORES):
                if name in found[0]:
                    method = f"ours, {name}"
                    lines.append(Line("still", truth, method, "alarms", _column(found, name), most))
            method = "mutant: no control of false discoveries"
            lines.append(Line("still", truth, method, "alarms", _column(found, "no control"), most))
    return lines


def _column(found: list[dict[str, bool]], name: str) -> np.ndarray:
    return np.array([f[name] for f in found], dtype=np.float64)


PLANTED = {
    "0.5 SD in a fifth of the features": (gates.Population(shift=0.5), ("inputs", "joint"), 50),
    "missing values doubled": (gates.Population(missing=0.2), ("missingness",), 200),
    "shares of subgroups 0.3, 0.3, 0.4": (gates.Population(shares=(0.3, 0.3, 0.4)), ("memberships",), 50),
}
"""What drifts, the parts that must find it, and the smallest batch in which they must."""


def planted(seeds: range) -> list[Line]:
    """Drift that was planted; 300 training patients."""
    lines = []
    for what, (population, parts, least) in PLANTED.items():
        for batch in BATCHES:
            found = _looks(population, 300, batch, seeds)
            asked = POWER if batch >= least else None
            truth = f"{what}, {batch} new"
            for name in (*parts, "whole look"):
                lines.append(Line("planted", truth, f"ours, {name}", "alarms", _column(found, name), asked))
            lines.append(Line("planted", truth, WITH_SCORES, "alarms", _column(found, WITH_SCORES), None))
    return lines


def scores(seeds: range) -> list[Line]:
    """Scores of models that have seen their patients, against those of new patients."""
    lines = []
    for model in gates.MODELS:
        made = [gates.scorable(model, 300, seed) for seed in seeds]
        for batch in BATCHES:
            for shift, truth in ((0.0, "no drift"), (0.5, "0.5 SD in two of five features that count")):
                new = [_normal(seed, batch, shift) for seed in seeds]
                for against, method in (
                    ("both", "ours"),
                    ("trained", "mutant: scores of training patients alone"),
                    ("held_out", "held-out scores alone"),
                ):
                    values = np.array([m.p(x, against) <= drift.LEVEL for m, x in zip(made, new, strict=True)], float)
                    ours = method == "ours"
                    bounds = (POWER if ours and batch >= 200 else None) if shift else size(len(seeds))
                    bounds = None if method == "held-out scores alone" or (shift and not ours) else bounds
                    lines.append(Line("scores", f"{model}, {truth}, {batch} new", method, "alarms", values, bounds))
    return lines


def _normal(seed: int, n: int, shift: float) -> np.ndarray:
    x = np.random.default_rng([seed, n, 1]).normal(size=(n, 20))
    x[:, :2] += shift
    return x


EVENTS = {90: 280}
"""Batch in which hazards 1.5 times as high give about so many events."""


def outcome(seeds: range) -> list[Line]:
    """Observed events and slopes."""
    asked: tuple[tuple[str, Callable[[int], gates.Model], gates.Population, int, str], ...] = (
        ("right model, 6 months of follow-up, 1000 new", lambda s: gates.right(), _followed(6.0), 1000, "size"),
        *(
            (f"Cox model of {n}, {text}, {batch} new", lambda s, n=n: gates.learned(n, s), population, batch, judge)
            for n in TRAINING
            for text, population, batches, judge in (
                ("no drift", gates.STILL, BATCHES, "size"),
                ("no drift, 6 months of follow-up", _followed(6.0), (1000,), "size"),
                ("hazards times 1.5", gates.Population(hazard=1.5), (50,), "none"),
                ("hazards times 1.5", gates.Population(hazard=1.5), (200, 1000), "power"),
            )
            for batch in batches
        ),
    )
    lines = []
    for truth, model, population, batch, judge in asked:
        alarmed, naive, events = [], [], []
        for seed in seeds:
            rng = np.random.default_rng([seed, batch, 2])
            made, new = model(seed), gates.follow(population, batch, rng)
            alarmed.append(gates.outcome_alarm(made, new))
            naive.append(gates.naive_alarm(made, new))
            events.append(float((new.event & (new.time <= gates.HORIZON)).sum()))
        bounds = {"size": size(len(seeds)), "power": POWER, "none": None}[judge]
        told = f"{truth} (mean of {np.mean(events):.0f} events)"
        lines.append(Line("outcome", told, "ours", "alarms", np.array(alarmed, float), bounds))
        if judge == "size":
            method = "mutant: share with an event against the risk at the horizon"
            lines.append(Line("outcome", told, method, "alarms", np.array(naive, float), bounds))
    return lines


def _followed(months: float) -> gates.Population:
    return gates.Population(follow_up=months)


def latents(seeds: range) -> list[Line]:
    """Latents of training patients, whom the encoder has seen, against those of new ones."""
    from stratiome.bundle.reference import embed, embedding_of, places_of

    found: dict[tuple[int, str], list[bool]] = {}
    for seed in seeds:
        trained, new = gates.encoded(seed, 300, 3000)
        places = places_of(trained)
        centre, spread = trained.mean(axis=0), trained.std(axis=0)
        there = embedding_of((trained - centre) / spread)
        rng = np.random.default_rng(seed)
        for batch in BATCHES:
            some = new[rng.choice(len(new), batch, replace=False)]
            row = drift.latent_row(places, some)
            found.setdefault((batch, "ours, mean"), []).append(row["p_value"] <= drift.LEVEL)
            made = embed((some - centre) / spread, there.width)
            means, covariances = (
                (np.asarray(there.mean), made.mean(axis=0)),
                (np.asarray(there.covariance), np.cov(made.T)),
            )
            p = discrepancy(means, covariances, (there.n, batch))[1]
            found.setdefault((batch, "distribution"), []).append(p <= drift.LEVEL)
    return [
        Line("latents", f"300 training, {batch} new", method, "alarms", np.array(values, float), bounds)
        for (batch, method), values in found.items()
        for bounds in [size(len(seeds)) if method.startswith("ours") else None]
    ]


if __name__ == "__main__":
    parts = {"still": still, "planted": planted, "scores": scores, "outcome": outcome, "latents": latents}
    raise SystemExit(gate_lines.main("drift_gates", __doc__ or "", parts))
