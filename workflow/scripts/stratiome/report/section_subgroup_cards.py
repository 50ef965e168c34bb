"""What the subgroups are: a card each, where patients lie, what is altered and which gene sets differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import explore, figures, maps
from stratiome.report.blocks import Explorer, Figure, Fold, Heading, Note, Portraits, Table, Text
from stratiome.report.disclosure import count, counts, is_small, part, share
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import interval, label, number, plural, readable, sentence, term

Row = Mapping[str, Any]
TRAITS = 3
"""Entries of each kind on a card."""
LEAST_EFFECT = 0.2
"""Standardised difference below which nothing is called a trait of a subgroup (small by Cohen 1988)."""
LEAST_DIFFERENCE = 0.05
"""The same for a difference in frequency."""
SETS_SHOWN = 15


def group_name(group: int) -> str:
    """`Subgroup 2`, or `Unassigned`."""
    return f"Subgroup {group}" if group else "Unassigned"


# ---- where patients lie ----------------------------------------------------------------------------------------------


def latent_map(inputs: ReportInputs) -> list[object]:
    """Map of the patients, subgroups to be singled out."""
    table = inputs.table("latent_map")
    if table is None or table.is_empty():
        return []
    if inputs.public:
        text = "A map with one mark for each patient is part of the internal report, and is not shared."
        return [Heading("The latent space", "subgroups-latent"), Note(text)]
    least, panels, most, opened = inputs.settings.min_cell, [], 0, []
    for model, projection, colour_by, heading in (
        ("vae", "umap", "subgroup", "UMAP of the latent model"),
        ("vae", "principal", "subgroup", "Its first two components"),
        ("pca", "principal", "subgroup", "PCA baseline, own subgroups"),
        ("vae", "umap", "planted", "UMAP, planted subgroups"),
    ):
        rows = table.filter((table["model"] == model) & (table["projection"] == projection))
        if rows.is_empty() or (colour_by == "planted" and not (inputs.simulated and rows["planted"].count())):
            continue
        most = max(most, rows.height)
        told = f"{heading}, coloured by {colour_by if colour_by == 'subgroup' else 'planted subgroup'}."
        explored = model == "vae" and colour_by == "subgroup"
        drawn = maps.latent_map(rows, colour_by, told, least, figures.MOST_POINTS, explored)
        if explored:
            opened.append(_chart(inputs, projection, heading))
        panels.append((heading, drawn))
    groups = sorted(set(table["subgroup"].to_list()), key=lambda g: (g == 0, g))
    choices = [(group_name(g), g) for g in groups] if max(groups) > 1 else []
    thinned = f" A random {figures.MOST_POINTS:,} are drawn." if most > figures.MOST_POINTS else ""
    caption = (
        f"n = {_patients(inputs, most)} patients, fitted on all of them (not held out).{thinned} Colour and mark show"
        " the subgroup; grey dots are unassigned. UMAP keeps neighbours together, but sizes and distances of its"
        " islands mean nothing, and it can draw islands where there are none: the evidence is above, not here. One mark"
        " is one patient, without identifier: for internal use; leave this figure out of what you publish."
    )
    return [
        Heading("The latent space", "subgroups-latent"),
        Explorer("Map of the patients", "map", choices, panels, caption, name="map", charts=opened),
    ]


def _chart(inputs: ReportInputs, projection: str, heading: str) -> explore.Chart:
    """The patients of a map in a chart, as they are drawn: to a hundredth, small subgroups among the unassigned."""
    rows = inputs.rows("latent_map", model="vae", projection=projection)
    sizes = Counter(r["subgroup"] for r in rows)
    groups = {g: 0 if is_small(n, inputs.settings.min_cell) else g for g, n in sizes.items()}
    rows = rows[: figures.MOST_POINTS]
    series = [
        explore.Series(
            group_name(g), g, [r for r in rows if groups[r["subgroup"]] == g], "x", "y", form="dots", decimals=2
        )
        for g in sorted(set(groups.values()), key=lambda g: (g == 0, g))
    ]
    axes = ("UMAP 1", "UMAP 2") if projection == "umap" else ("Component 1", "Component 2")
    title = f"map of the patients, {heading[0].lower() if projection != 'umap' else heading[0]}{heading[1:]}"
    return explore.Chart(f"map-{projection}", title, *axes, [s for s in series if s.rows], percent="")


def consensus(inputs: ReportInputs) -> list[object]:
    """Heat map of how often patients are put together when the subgroups are found anew."""
    rows = inputs.rows("subgroup_consensus", model="vae")
    if not rows:
        return []
    least = inputs.settings.min_cell
    told = "How often patients are put into the same subgroup by refits, averaged over bins of patients."
    caption = (
        f"Filled: put together by all of {plural(rows[0]['resamples'], 'refit')}, each without some of the patients;"
        " blank: by less than one in ten. Real subgroups are filled squares on a blank ground. Patients are averaged in"
        f" bins of {max(least, min(r['n_row'] for r in rows))} or more, sorted by their subgroup in {inputs.everyone};"
        " smaller subgroups are left blank. Refits include patients they were trained on."
    )
    size = 460
    return [Figure(maps.consensus(rows, told, least, size), "Do patients stay together?", caption, size, "consensus")]


# ---- cards -----------------------------------------------------------------------------------------------------------


def cards(inputs: ReportInputs) -> list[object]:
    """One card per subgroup: size, survival, and what sets it apart."""
    rows = inputs.rows("subgroup_summary", model="vae")
    last = max((r["horizon_months"] for r in rows), default=None)
    rows = sorted((r for r in rows if r["horizon_months"] == last), key=lambda r: (r["subgroup"] == 0, r["subgroup"]))
    if not rows:
        return []
    least, outcome = inputs.settings.min_cell, inputs.settings.words
    printed = sizes(inputs)
    total = sum(r["n"] for r in rows)
    curves: dict[int, list[Row]] = {}
    for r in sorted(inputs.rows("subgroup_curves", model="vae"), key=lambda r: r["time_months"]):
        curves.setdefault(r["subgroup"], []).append(r)
    curves.pop(0, None)
    made = []
    for r in rows:
        group = r["subgroup"]
        size = printed[group]
        lines = [
            ("held-out patients", f"{size} ({share(r['n'], total, least)})"),
            ("events", count(r["events"], least)),
        ]
        svg, traits = "", []
        if is_small(r["n"], least):
            lines.append(("", "too small to describe"))
        else:
            lines += _survival_lines(inputs, r)
            if group in curves and outcome.timed:
                svg = maps.glance(curves, group, least, f"Survival of subgroup {group}, the others in grey.")
            traits = _traits(inputs, group) if group else []
        made.append((group_name(group), group or -1, svg, lines, traits))
    method = readable(next((r["method"] for r in rows if r["estimate"] is not None), rows[0]["method"]))
    text = (
        f"Size and {outcome.survival} are of held-out patients, with {inputs.settings.level} interval: {method}. A"
        " Jaccard index above 0.75 is usually called stable, below 0.6 doubtful (Hennig"
        f" 2007).{_doubtful(rows)} ↑ and ↓ compare with all other subgroups. Molecular"
        f" traits are of {inputs.everyone} and descriptive: these features defined the groups."
    )
    return [Heading("What the subgroups are", anchor="subgroup-cards"), Portraits(made), Text(text)]


def _doubtful(rows: Sequence[Row]) -> str:
    """That Jaccard indices are doubtful by the usual rule, where some are."""
    known = [r["jaccard"] for r in rows if r["jaccard"] is not None]
    low = sum(j < DOUBTFUL for j in known)
    if not low:
        return ""
    return " Here all are doubtful." if low == len(known) else f" Here {low} of {len(known)} are doubtful."


DOUBTFUL = 0.6
"""Jaccard index below which a subgroup is doubtful (Hennig 2007)."""


def _patients(inputs: ReportInputs, n: int) -> str:
    """Patients of a map, who have an omic, blurred where all of the cohort would tell how many have none."""
    whole = sum(r["n"] for r in inputs.rows("overlap_omics"))
    return part(n, whole or None, inputs.settings.min_cell)


def sizes(inputs: ReportInputs) -> dict[int, str]:
    """Number of held-out patients of each subgroup as it may be printed, the same in every table."""
    n = {r["subgroup"]: r["n"] for r in inputs.rows("subgroup_summary", model="vae")}
    groups = sorted(n, key=lambda g: (g == 0, g))
    return dict(zip(groups, counts([n[g] for g in groups], inputs.settings.min_cell), strict=True))


def _survival_lines(inputs: ReportInputs, row: Row) -> list[tuple[str, str]]:
    outcome = inputs.settings.words
    lines = [(f"{outcome.survival}{outcome.at(row['horizon_months'])}", interval(row, 0, 100, unit=" %"))]
    if few_left(inputs, row):
        lines.append((outcome.say("at risk by then", "with a response"), f"fewer than {inputs.settings.min_cell}"))
    if row["jaccard"] is not None:
        lines.append(("bootstrap Jaccard", number(row["jaccard"])))
    if row["mean_probability"] is not None and row["subgroup"]:
        lines.append(("mean membership probability", number(row["mean_probability"])))
    return lines


def few_left(inputs: ReportInputs, row: Row) -> bool:
    """Whether the curve of a subgroup is cut before the horizon at which its survival is told."""
    if row["estimate"] is None:
        return False
    curve = inputs.rows("subgroup_curves", model=row["model"], subgroup=row["subgroup"])
    left = figures.risk_at(sorted(curve, key=lambda r: r["time_months"]), row["horizon_months"])
    return left is not None and left < inputs.settings.min_cell


def _traits(inputs: ReportInputs, group: int) -> list[tuple[str, str]]:
    """What sets a subgroup apart most, of each kind."""
    least = inputs.settings.min_cell
    key = {"model": "vae", "subgroup": group}
    found = []
    profile = [r for r in inputs.rows("subgroup_profile", **key) if not is_small(r["n"], least)]
    profile = [r for r in profile if r["count"] is None or not is_small(r["count"], least)]
    profile = list({r["variable"].partition(": ")[0]: r for r in sorted(profile, key=_size_of_effect)}.values())
    said = [f"{term(r['variable'])} {_arrow(r['effect'])} ({_value(r, least)})" for r in _top(profile, "effect")]
    found.append(("Clinical profile", ", ".join(said) or "like the others"))
    top_markers = _top(inputs.rows("subgroup_markers", **key), "effect")
    markers = [f"{r['feature']} ({label(r['omic'])}) {_arrow(r['effect'])}" for r in top_markers]
    if markers:
        found.append(("Top markers", ", ".join(markers)))
    altered = [r for r in inputs.rows("subgroup_alterations", **key) if not is_small(r["n"], least)]
    altered = [r for r in altered if not is_small(r["count"], least)]
    top = _top(altered, "difference", LEAST_DIFFERENCE)
    if top:
        words = [
            f"{r['feature']} {r['alteration']} {share(r['count'], r['n'], least)} {_arrow(r['difference'])}"
            for r in top
        ]
        found.append(("Alterations", ", ".join(words)))
    sets = [
        f"{_plain(r['gene_set'])} {_arrow(r['effect'])}"
        for r in _top(inputs.rows("subgroup_gene_sets", **key), "effect")
    ]
    if sets:
        found.append(("Gene sets", ", ".join(sets)))
    return found


def _size_of_effect(row: Row) -> float:
    return abs(row["effect"] or 0.0)


def _top(rows: Sequence[Row], by: str, least: float = LEAST_EFFECT) -> list[Row]:
    told = [r for r in rows if r.get(by) is not None and abs(r[by]) >= least]
    return sorted(told, key=lambda r: -abs(r[by]))[:TRAITS]


def _arrow(effect: float) -> str:
    return "↑" if effect > 0 else "↓"


def _value(row: Row, least: int) -> str:
    return f"mean {number(row['value'], 1)}" if row["kind"] == "mean" else share(row["count"], row["n"], least)


def _plain(name: str) -> str:
    return name.replace("_", " ")


# ---- alterations and gene sets ---------------------------------------------------------------------------------------


def alterations(inputs: ReportInputs) -> list[object]:
    """Frequencies of mutations, gains and losses."""
    rows = inputs.rows("subgroup_alterations", model="vae")
    if not rows:
        return []
    least = inputs.settings.min_cell
    groups = sorted({r["subgroup"] for r in rows})
    tables = []
    for omic, alteration in dict.fromkeys((r["omic"], r["alteration"]) for r in rows):
        here = [r for r in rows if (r["omic"], r["alteration"]) == (omic, alteration)]
        body = []
        for feature in dict.fromkeys(r["feature"] for r in here):
            cells = {r["subgroup"]: r for r in here if r["feature"] == feature}
            body.append([feature, *(_frequency(cells.get(g), least) for g in groups)])
        caption = f"{sentence(label(omic))}: {alteration} ({here[0]['definition']})."
        note = "The features whose frequency differs most; it may still be by chance." if len(body) > 1 else ""
        head = ["Feature", *(group_name(g) for g in groups)]
        tables.append(Table(caption, head, body, frozenset(range(1, len(head))), note))
    text = (
        f"Share of the patients with a value, {inputs.everyone}, not held out. Descriptive: these features defined the"
        f" groups. Shares that rest on 1 to {least - 1} patients are suppressed."
    )
    return [Fold("Mutations, gains and losses", [Text(text), *tables])]


def _frequency(row: Row | None, least: int) -> str:
    if row is None or row["n"] == 0:
        return "–"
    return f"n <{least}" if is_small(row["n"], least) else share(row["count"], row["n"], least)


def gene_sets(inputs: ReportInputs) -> list[object]:
    """Gene-set scores, where the config names gene sets."""
    coverage = inputs.rows("gene_set_coverage")
    if inputs.settings.subgroups.gene_sets is None:
        return []
    rows = [r for r in inputs.rows("subgroup_gene_sets", model="vae") if r["effect"] is not None]
    blocks: list[object] = [Heading("Gene sets", "subgroups-gene-sets")]
    if not rows:
        left = "No gene set could be scored: the omics share too few gene names with the file."
        return [*blocks, Note(left, "care"), *_unscored(inputs, coverage)]
    groups = sorted({r["subgroup"] for r in rows})
    size: dict[tuple[str, str], float] = {}
    for r in rows:
        key = (r["omic"], r["gene_set"])
        size[key] = max(size.get(key, 0.0), abs(r["effect"]))
    source = {(r["omic"], r["gene_set"]): r["source"] for r in coverage}
    order = sorted(size, key=lambda k: (-size[k], k))
    body = [_set_line(rows, key, groups, source.get(key, ""), inputs.settings.min_cell) for key in order]
    head = ["Gene set", "Omic", "Genes", *(group_name(g) for g in groups), "Source"]
    numeric = frozenset(range(2, 3 + len(groups)))
    note = (
        "A patient's score is the mean of the standardised values of the set's measured genes. Shown: standardised"
        f" difference against all other subgroups, {inputs.everyone}, not held out. Descriptive: these genes defined"
        " the groups, so there is no p-value."
    )
    shown = body[:SETS_SHOWN]
    title = "Gene sets that differ most between subgroups." if len(body) > SETS_SHOWN else "Gene-set scores."
    blocks.append(Table(title, head, shown, numeric, note))
    if len(body) > SETS_SHOWN:
        blocks.append(
            Fold(f"All {plural(len(body), 'scored gene set')}", [Table("All scored gene sets.", head, body, numeric)])
        )
    return [*blocks, *_unscored(inputs, coverage)]


def _set_line(rows: Sequence[Row], key: tuple[str, str], groups: Sequence[int], source: str, least: int) -> list[str]:
    here = {r["subgroup"]: r for r in rows if (r["omic"], r["gene_set"]) == key}
    first = next(iter(here.values()))
    cells = [
        (
            "–"
            if g not in here
            else f"n <{least}"
            if is_small(here[g]["n"], least)
            else number(here[g]["effect"], 2, True)
        )
        for g in groups
    ]
    return [_plain(key[1]), label(key[0]), str(first["n_genes"]), *cells, source or "–"]


def _unscored(inputs: ReportInputs, coverage: Sequence[Row]) -> list[object]:
    useful = {r["omic"] for r in coverage if r["scored"]} or {r["omic"] for r in coverage}
    left = [r for r in coverage if not r["scored"] and r["omic"] in useful]
    if not left:
        return []
    body = [[_plain(r["gene_set"]), label(r["omic"]), f"{r['n_shared']} of {r['n_genes']}"] for r in left]
    limit = inputs.settings.subgroups.min_genes
    table = Table(
        f"Not scored: fewer than {limit} genes measured.", ["Gene set", "Omic", "Genes measured"], body, frozenset({2})
    )
    return [Fold(f"{plural(len(left), 'gene set')} not scored", [table])]
