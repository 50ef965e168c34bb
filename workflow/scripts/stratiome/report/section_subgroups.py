"""Section on the subgroups: evidence, picture, what they are, and whether they live differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import floor
from typing import Any

from stratiome.report import comparison, explore, figures, verdicts
from stratiome.report.blocks import Figure, Finding, Fold, Heading, Note, Panels, Section, Table, Text
from stratiome.report.comparison import MODELS, share_of_folds, survival_test
from stratiome.report.disclosure import MISSING, about, count, counts, exact, is_small, shares
from stratiome.report.inputs import CROSS, ReportInputs
from stratiome.report.section_subgroup_cards import alterations, cards, consensus, gene_sets, group_name, latent_map
from stratiome.report.section_subgroup_survival import batch, beyond_clinical, restricted_means
from stratiome.report.verdicts import Verdict
from stratiome.report.words import interval, join, label, number, p_value, plural, readable, sentence, term

Row = Mapping[str, Any]

FEW_UNASSIGNED = 100
"""Patients without a subgroup below which the clinical profile says nothing of them."""
MOST_APART = 0.1
"""Share of patients whose omics cannot be judged above which the report says so."""


def verdict(inputs: ReportInputs, model: str = "vae") -> Verdict:
    """Are there subgroups, for one latent model?"""
    k = inputs.found(model)
    if max(inputs.settings.subgroups.k) == 1:
        return verdicts.NOT_ASKED
    rows = inputs.rows("subgroup_selection", resample="full", model=model)
    shown = next((r for r in rows if r["k"] == k and r["stability"] is not None), None)
    if shown is None:
        tested = [r for r in rows if r["stability"] is not None]
        shown = max(tested, key=lambda r: (r["stability"] - (r["null_mean"] or 0), -r["k"]), default=None)
    agreement = inputs.row("subgroup_agreement", model=model, label="full", metric="adjusted_rand_index")
    found = verdicts.subgroups(
        k,
        shown,
        survival_test(inputs, model),
        _replicated(inputs, model, k),
        inputs.settings.alpha,
        model,
        agreement["estimate"] if agreement else None,
        share_of_folds(inputs, model, k),
        _single(inputs, model),
        inputs.settings.words,
    )
    facts = [(name, f"{said}{_smallest(inputs, shown)}" if name == AGAINST else said) for name, said in found.facts]
    return replace(found, facts=(*facts, *(_apart(inputs, model) if (k or 1) > 1 else ())))


AGAINST = "Against no subgroups"
"""Fact of the verdict that is a p-value of reference cohorts."""


def _smallest(inputs: ReportInputs, shown: Row | None) -> str:
    """The level that a p-value is held against, and whether no smaller one was possible with so many cohorts."""
    settings = inputs.settings.subgroups
    p = shown["p_value"] if shown is not None else None
    if p is None:
        return ""
    least = p <= (1 + 1e-9) / (settings.reference_draws + 1)
    return f" ({'smallest possible; ' * least}level {settings.alpha:g})"


def _apart(inputs: ReportInputs, model: str) -> list[tuple[str, str]]:
    """How far held-out subgroups are apart in restricted mean survival, each from the largest."""
    outcome = inputs.settings.words
    rows = inputs.rows("subgroup_survival", model=model, quantity="rmst_difference")
    return [
        (
            f"Subgroup {r['subgroup']} less {r['versus']}, held out, {outcome.unit}{outcome.over(r['tau_months'])}",
            outcome.gain(r),
        )
        for r in sorted(rows, key=lambda r: r["subgroup"])
        if r["estimate"] is not None
    ]


def _single(inputs: ReportInputs, model: str) -> Row | None:
    """The feature that tells the subgroups of a latent model best."""
    return max(inputs.rows("subgroup_single_features", model=model), key=lambda r: r["estimate"], default=None)


def reproducible(inputs: ReportInputs, model: str = "vae") -> bool:
    """Whether the subgroups of a latent model come back when it is refitted."""
    agreement = inputs.row("subgroup_agreement", model=model, label="full", metric="adjusted_rand_index")
    return verdicts.reproduced(
        agreement["estimate"] if agreement else None, share_of_folds(inputs, model, inputs.found(model))
    )


def _replicated(inputs: ReportInputs, model: str, k: int | None) -> str:
    chosen = comparison.chosen_in_folds(inputs, model)
    what = "folds" if inputs.headline == CROSS else "given splits"
    if not chosen or not k:
        return ""
    others = sorted(c for c in chosen if c != k)
    rest = f"; the other{'s' * (len(others) > 1)} {join([str(c) for c in others])}" if others else ""
    return f"{sum(c == k for c in chosen)} of {len(chosen)} {what} chose K = {k}{rest}"


def subgroups(inputs: ReportInputs) -> Section:
    """The whole section."""
    k = inputs.found()
    found = verdict(inputs)
    blocks: list[object] = [Finding(found), *_evidence(inputs), *_matched(inputs)]
    blocks += [*_told_by_omics(inputs), *latent_map(inputs)]
    if k is not None and k > 1:
        blocks += [*consensus(inputs), *_not_held_out(inputs), *cards(inputs), *_survival(inputs)]
        blocks += [*restricted_means(inputs), *beyond_clinical(inputs), *batch(inputs)]
        blocks += [*_profile(inputs), *_markers(inputs), *alterations(inputs), *gene_sets(inputs)]
    elif k == 1:
        blocks.append(Note("There is nothing to describe by subgroup, so the parts on single subgroups are left out."))
    blocks += [*_agreement(inputs), *comparison.beside_baselines(inputs), *_training(inputs)]
    lede = (
        "Subgroups are found from the omics alone. What is said about them is measured in patients who were not used to"
        " find them."
    )
    return Section("subgroups", "Subgroups", lede, blocks)


def _not_held_out(inputs: ReportInputs) -> list[object]:
    if inputs.rows("subgroup_summary", model="vae"):
        return []
    why = (
        "Not held out: there are no folds, and no given splits that hold each patient out at most once. So nothing is"
        f" said of size, {inputs.settings.words.survival} and profile of the subgroups: in the patients who defined"
        " them it would mislead."
    )
    return [Note(why, "care")]


def _evidence(inputs: ReportInputs) -> list[object]:
    panels = []
    for model in MODELS:
        rows = inputs.rows("subgroup_selection", resample="full", model=model)
        if any(r["stability"] is not None for r in rows):
            k = inputs.found(model)
            told = f"Stability against the number of subgroups for the {label(model)}; {k} chosen."
            panels.append((f"{label(model)}: K = {k}, {_p(rows)}", figures.evidence(rows, f"k-{model}", told)))
    if not panels:
        return []
    caption = (
        "Agreement between subsamples of the patients (adjusted Rand index; solid) beside cohorts without subgroups but"
        " with the same covariance (mean dashed, band up to the 95th percentile). A stable partition alone proves"
        f" nothing: one cloud can be cut the same way again and again. {_ring(inputs)}"
        f" {sentence(inputs.everyone)}, outcomes not used."
    )
    return [
        Heading("How many subgroups? The choice of K", "subgroups-number"),
        Panels("Evidence for each number of subgroups", panels, caption, 410, "number"),
    ]


def _matched(inputs: ReportInputs) -> list[object]:
    """What is made of folds that found another number of subgroups."""
    k = inputs.found()
    if k is None or k < 2 or all(c == k for c in comparison.chosen_in_folds(inputs, "vae")):
        return []
    text = (
        "Where a fold found another number, each of its subgroups counts as the published one that it shares most"
        " training patients with: several of them may count as one, and agreement is that after matching."
    )
    return [Text(text)]


def _told_by_omics(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("subgroup_information", model="vae")
    if len(rows) < 2:
        return []
    every = {name for r in rows for name in r["omics"].split(" + ")}
    rows = sorted(rows, key=lambda r: (-r["omics"].count(" + "), r["omics"]))
    sizes = counts([r["n"] for r in rows], inputs.settings.min_cell)
    body = []
    for row, size in zip(rows, sizes, strict=True):
        told = "not known: too few patients have more"
        if row["share"] is not None:
            told = f"{floor(100 * max(row['share'], 0))} %"
        elif set(row["omics"].split(" + ")) == every:
            told = "all that can be told"
        body.append(
            [" + ".join(label(o) for o in row["omics"].split(" + ")), size, told, "yes" if row["used"] else "no"]
        )
    least = inputs.settings.subgroups.min_information
    note = (
        "Learned by hiding omics of patients who have more: the share of the variance of their places that is left."
        f" Below {100 * least:g} % patients lie between the subgroups for what was not measured, so they take no part"
        " in finding subgroups; they are assigned as far as their omics allow."
    )
    if any(r["used"] and r["share"] is not None and r["share"] < least for r in rows):
        note += (
            " As fewer than 100 patients have omics that tell so much, those with the next most telling ones take part"
            " as well."
        )
    caption = f"What each set of omics tells of a patient's place in the latent space, {inputs.everyone}."
    table = Table(caption, ["Omics", "n", "Place told", "Takes part in finding"], body, frozenset({1, 2}), note)
    return [*_not_taking_part(rows, sizes, inputs.settings.min_cell), Fold("Which omics are enough", [table])]


def _not_taking_part(rows: Sequence[Row], sizes: Sequence[str], min_cell: int) -> list[object]:
    """Notes before the table; no number that would tell a suppressed size."""
    said: list[object] = []
    left = sum(r["n"] for r in rows if not r["used"])
    if left:
        hidden = any(size != f"{r['n']:,}" for r, size in zip(rows, sizes, strict=True))
        shown = about(left, min_cell) if hidden and left >= min_cell else count(left, min_cell)
        said.append(
            Note(
                f"Patients who took no part in finding subgroups: {shown}. The omics that they have"
                " do not say well enough where they lie in the latent space."
            )
        )
    every = {name for r in rows for name in r["omics"].split(" + ")}
    apart = [r for r in rows if r["share"] is None and set(r["omics"].split(" + ")) != every]
    if sum(r["n"] for r in apart) > MOST_APART * sum(r["n"] for r in rows):
        said.append(
            Note(
                f"Too few patients have more omics than {' or '.join(r['omics'] for r in apart)} to tell what these"
                " leave open, so subgroups and what was measured cannot be told apart well.",
                "care",
            )
        )
    return said


def _ring(inputs: ReportInputs) -> str:
    chosen = [k for m in MODELS if (k := inputs.found(m)) is not None]
    if chosen and max(chosen) == 1:
        return "No number is marked: none stands out, so one group (K = 1) was chosen."
    none = " Where one group (K = 1) was chosen, there is no ring." if 1 in chosen else ""
    return f"The ring marks the number that was chosen.{none}"


def _p(rows: Sequence[Row]) -> str:
    return p_value(next((r["p_value"] for r in rows if r["p_value"] is not None), None))


def _survival(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("subgroup_curves", model="vae")
    if not rows:
        return []
    groups = [
        (group_name(g), g, sorted((r for r in rows if r["subgroup"] == g), key=lambda r: r["time_months"]))
        for g in sorted({r["subgroup"] for r in rows} - {0})
    ]
    horizon = inputs.settings.endpoint.horizons_months[-1]
    least = inputs.settings.min_cell
    test, outcome = survival_test(inputs, "vae"), inputs.settings.words
    tested = f"No {outcome.test} test was possible."
    n = ""
    if test is not None:
        n = f"{inputs.size(test['n'])}, {count(test['events'], least)} events; held out. "
        tested = f"{sentence(outcome.test)} test: {p_value(test['p_value'])} ({readable(test['method'])})."
    if not outcome.timed:
        caption = (
            f"{n}Share of the patients with a response, with {inputs.settings.level} interval. Each patient's subgroup"
            f" was predicted by a model that had not seen this patient. Not drawn where fewer than {least} patients"
            f" have a response, or have none. {tested}"
        )
        told = figures.describe_shares(groups, least)
        drawing = figures.proportions(groups, "shares-subgroups", told, least)
        return [
            Heading("Do they respond differently? Response of the subgroups", "subgroups-outcome"),
            Figure(drawing, "Held-out subgroups", caption, 820, "responses"),
        ]
    caption = (
        f"{n}Kaplan–Meier curves with pointwise {inputs.settings.level} bands. Each patient's subgroup was predicted by"
        f" a model that had not seen this patient. A curve ends where fewer than {least} patients are at risk."
        f"{inputs.steps} {tested}"
    )
    started = {
        g: max((r["at_risk"] for r in rows if r["subgroup"] == g), default=0)
        for g in sorted({r["subgroup"] for r in rows})
    }
    printed = dict(zip(started, counts(list(started.values()), least), strict=True))
    if inputs.settings.endpoint.competing is not None:
        caption += (
            " Deaths of other causes are censored: one minus such a curve is more than the share who have the event."
        )
    drawing = figures.curves(
        groups,
        "km-subgroups",
        figures.describe_curves(groups, horizon),
        least,
        initial=[printed[g] for _, g, _ in groups],
    )
    chart = explore.steps(groups, "km-subgroups", "survival of the subgroups", "Survival", least, inputs.public)
    return [
        Heading("Do they live differently? Survival of the subgroups", "subgroups-outcome"),
        Figure(drawing, "Survival of the held-out subgroups", caption, 820, "survival", [chart]),
    ]


def _profile(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("subgroup_profile", model="vae")
    if not rows:
        return []
    few = {r["subgroup"] for r in inputs.rows("subgroup_summary", model="vae") if exact(r["n"]) < FEW_UNASSIGNED}
    groups = sorted({r["subgroup"] for r in rows} - ({0} & few), key=lambda g: (g == 0, g))
    variables = list(dict.fromkeys(r["variable"] for r in rows))
    by_key = {(r["variable"], r["subgroup"]): r for r in rows}
    shown: dict[tuple[str, int], str] = {}
    for column in dict.fromkeys(v.partition(": ")[0] for v in variables):
        for g in groups:
            own = [r for v in variables if v.partition(": ")[0] == column and (r := by_key.get((v, g)))]
            cells = _profile_cells(own, inputs.settings.min_cell)
            shown |= {(r["variable"], g): cell for r, cell in zip(own, cells, strict=True)}
    body = []
    for v in variables:
        mean = next(r["kind"] for r in rows if r["variable"] == v) == "mean"
        body.append([f"{term(v)}{', mean (SD)' if mean else ''}", *(shown.get((v, g), MISSING) for g in groups)])
    head = ["Variable", *(group_name(g) for g in groups)]
    note = f"Shares that rest on 1 to {inputs.settings.min_cell - 1} patients are suppressed. Descriptive; no tests."
    note += f" Patients without a subgroup, fewer than {FEW_UNASSIGNED}, are too few to be described." * (0 in few)
    return [
        Heading("Clinical profile of the subgroups", "subgroups-profile"),
        Table("Clinical profile of the held-out subgroups.", head, body, frozenset(range(1, len(head))), note),
    ]


def _profile_cells(rows: Sequence[Row], min_cell: int) -> list[str]:
    """Cells of one clinical column in one subgroup: a mean, or the shares of its classes."""
    n = rows[0]["n"] if rows else 0
    if not n:
        return [MISSING] * len(rows)
    if is_small(n, min_cell):
        return [f"n <{min_cell}"] * len(rows)
    if rows[0]["kind"] == "share":
        return shares([r["count"] for r in rows], n, min_cell)
    mean, sd = rows[0]["value"], rows[0]["sd"]
    return [f"{number(mean, 1)} ({number(sd, 1)})" if sd is not None else number(mean, 1)]


def _markers(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("subgroup_markers", model="vae")
    if not rows:
        return []
    panels, tables = [], []
    for g in sorted({r["subgroup"] for r in rows}):
        here = [r for r in rows if r["subgroup"] == g]
        top = max(here, key=lambda r: abs(r["effect"]))
        told = (
            f"Features of subgroup {g}; the largest difference is {top['feature']} with {number(top['effect'], 1)}"
            " standard deviations."
        )
        panels.append((group_name(g), figures.markers(here, g, f"markers-{g}", told)))
        body = [
            [r["feature"], label(r["omic"]), number(r["effect"], 2, sign=True)]
            for r in sorted(here, key=lambda r: (r["omic"], -abs(r["effect"]), r["feature"]))
        ]
        tables.append(
            Table(f"Markers of subgroup {g}.", ["Feature", "Omic", "Standardised difference"], body, frozenset({2}))
        )
    caption = (
        f"Standardised mean difference against all other subgroups, {inputs.everyone}, not held out. Descriptive: these"
        " features defined the groups, so their difference is no finding and carries no p-value."
    )
    return [
        Heading("Markers of the subgroups", "subgroups-markers"),
        *_told_by_one(inputs),
        Panels("Descriptive: these features defined the groups", panels, caption, 400, "markers"),
        Fold("All listed markers", tables),
    ]


def _told_by_one(inputs: ReportInputs) -> list[object]:
    """Which single feature tells the subgroups best, and a warning if it does so nearly alone."""
    best = _single(inputs, "vae")
    if best is None:
        return []
    said = verdicts.one_event(best)
    if said:
        return [Note(said, "care")]
    goes = "goes" if best["linked"] == 1 else "go"
    beside = f"; {plural(best['linked'], 'other')} {goes} with it" if best["linked"] else ""
    text = (
        f"No single feature tells the subgroups apart: the best is {best['feature']} ({label(best['omic'])}{beside}),"
        f" with an adjusted Rand index of {number(best['estimate'])}."
    )
    return [Text(text)]


def _agreement(inputs: ReportInputs) -> list[object]:
    rows = [r for r in inputs.rows("subgroup_agreement") if r["label"] not in ("planted", "vae")]
    if not rows:
        return []
    one = [m for m in MODELS if inputs.found(m) == 1]
    left = [r for r in rows if r["estimate"] is not None or r["model"] not in one]
    gone = [m for m in MODELS if any(r["model"] == m for r in rows) and not any(r["model"] == m for r in left)]
    rows = left
    said = [Note(f"One group agrees with nothing, so there is no row for: {', '.join(map(label, gone))}.")] * bool(gone)
    known = {"full": f"Subgroups of {inputs.everyone}"}
    keys = sorted({(r["label"] != "full", r["label"], r["model"] != "vae", r["model"]) for r in rows})
    body = []
    for _, name, _, model in keys:
        values = {r["metric"]: r for r in rows if (r["label"], r["model"]) == (name, model)}
        first = next(iter(values.values()))
        cells = [
            interval(values[m], 2) if m in values else "–"
            for m in ("adjusted_rand_index", "normalised_mutual_information")
        ]
        size = inputs.people(first["n"])
        body.append([known.get(name, label(name)), label(model), *cells, size, "yes" if first["held_out"] else "no"])
    head = ["Compared with", "Subgroups of", "Adjusted Rand index", "Mutual information", "n", "Held out"]
    note = (
        "1 = the same partition; 0 = agreement as by chance (adjusted Rand index). Known labels were never used to find"
        " subgroups."
    )
    caption = f"Agreement of the held-out subgroups with other labels, {inputs.settings.level} intervals."
    table = [Table(caption, head, body, frozenset({2, 3, 4}), note)] if body else []
    outcome = inputs.settings.words
    tests = [r for r in inputs.rows("subgroup_tests") if not r["grouping"].endswith(" subgroups")]
    heading = Heading("Agreement with known labels", "subgroups-labels")
    blocks: list[object] = [heading, *_again(inputs), *table, *said]
    if tests:
        body = [
            [
                label(r["grouping"]),
                p_value(r["p_value"]),
                inputs.people(r["n"]),
                count(r["events"], inputs.settings.min_cell),
                readable(r["method"]),
            ]
            for r in tests
        ]
        blocks.append(
            Fold(
                f"{sentence(outcome.survival)} by known label",
                [
                    Table(
                        f"{sentence(outcome.test)} tests of the known labels, as they are.",
                        ["Label", "Test", "n", "Events", "Method"],
                        body,
                        frozenset({2, 3}),
                    )
                ],
            )
        )
    return blocks


def _again(inputs: ReportInputs) -> list[object]:
    """How well a patient's subgroup comes back when the patient is held out, in a sentence."""
    row = inputs.row("subgroup_agreement", model="vae", label="full", metric="adjusted_rand_index")
    if row is None or row["estimate"] is None:
        return []
    well = "well" if reproducible(inputs) else "poorly"
    text = (
        f"A patient who is held out comes back into the own subgroup {well}: agreement of the subgroups of held-out"
        f" patients with those of {inputs.everyone} is {interval(row, 2)}, where 1 is the same and 0 is chance."
    )
    return [Text(text)]


def _training(inputs: ReportInputs) -> list[object]:
    rows = inputs.rows("training")
    if not rows:
        return []
    ends = {r["member"]: r["epoch"] for r in sorted(rows, key=lambda r: r["epoch"])}
    members = len(ends)
    who = f"each of the {members} members" if members > 1 else "the only member"
    caption = (
        f"Loss of {who} on inner validation patients (solid) and training patients (grey, dashed), from which the"
        " number of epochs was found; members were then trained again on all of them, for as long. Fit on"
        f" {inputs.everyone}. {_stopped(inputs, list(ends.values()))}"
    )
    figure = Figure(
        figures.history(rows, "history", f"Training history of {plural(members, 'member')}."),
        "Training of the latent model",
        caption,
        820,
        "training",
    )
    return [Fold("How the latent model trained", [figure])]


def _stopped(inputs: ReportInputs, ends: Sequence[int]) -> str:
    """How training ended, and whether the weight of the prior was ever whole. Epochs count from zero."""
    latent = inputs.settings.latent
    early = sum(e < latent.epochs - 1 for e in ends)
    limit = f"the limit of {plural(latent.epochs, 'epoch')}"
    if early == len(ends):
        said = "Stopped early, when the loss on inner validation patients no longer fell."
    elif early:
        said = f"{early} of {len(ends)} members stopped early; the others were still improving at {limit}."
    else:
        said = f"Not stopped early: training ended at {limit}, perhaps too soon."
    if max(ends) + 1 < latent.warmup_epochs:
        said += " The Kullback-Leibler weight never reached its value, since the warm-up is longer than the training."
    elif max(ends) + 1 == latent.warmup_epochs:
        said += " The Kullback-Leibler weight reached its value in the last epoch only."
    return said
