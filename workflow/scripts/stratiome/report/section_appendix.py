"""Sections at the end: the planted truth where there is one, methods ready to paste, and where everything came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stratiome.report import charts, methods
from stratiome.report.blocks import Cell, Code, Figure, Fold, Heading, Note, Section, Table, Text
from stratiome.report.comparison import MODELS
from stratiome.report.disclosure import MISSING, about, count, is_small
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_subgroups import group_name
from stratiome.report.section_treatment import name_of
from stratiome.report.words import file_name, interval, label, number, readable, sentence, tail


def planted(inputs: ReportInputs) -> Section | None:
    """What was planted beside what was found; none where the cohort is real."""
    simulate = inputs.settings.data.simulate
    if simulate is None:
        return None
    rows: list[list[Cell | str]] = []
    for model in MODELS:
        k = inputs.found(model)
        if k is None:
            continue
        hit = k == simulate.subgroups
        rows.append(
            [
                f"Number of subgroups, {label(model)}",
                str(simulate.subgroups),
                str(k),
                Cell("found" if hit else "missed", "yes" if hit else "harm"),
            ]
        )
        ari = inputs.row("subgroup_agreement", model=model, label="planted", metric="adjusted_rand_index")
        if ari is not None and simulate.subgroups > 1:
            rows.append(
                [
                    f"Held-out subgroup against planted (ARI), {label(model)}",
                    "1.00",
                    interval(ari, 2),
                    Cell("held out" if ari["held_out"] else "not held out"),
                ]
            )
    blocks: list[object] = (
        [Table("Planted beside found.", ["What", "Planted", "Found", ""], rows, frozenset({1, 2}))] if rows else []
    )
    for key, settings in inputs.settings.treatments.items():
        blocks += _effects(inputs, key, name_of(key, settings))
    lede = (
        "This cohort is simulated, so the answers are known. Here they stand beside what the workflow found without"
        " knowing them."
    )
    return Section("truth", "Planted truth", lede, blocks)


def _effects(inputs: ReportInputs, key: str, name: str) -> list[object]:
    rows = [
        r for r in inputs.rows("treatment_effects", treatment=key, estimand="rmst_difference") if r["truth"] is not None
    ]
    if not rows:
        return []
    lines: list[charts.Line] = []
    body: list[list[Cell | str]] = []
    for group in sorted({r["subgroup"] for r in rows}):
        who = group_name(group) if group else "All eligible"
        for weighting, how in (("overlap", "weighted"), ("none", "as observed")):
            row = next((r for r in rows if r["subgroup"] == group and r["weighting"] == weighting), None)
            if row is None:
                continue
            lines.append(
                charts.Line(
                    f"{who}, {how}",
                    row["estimate"],
                    row["lower"],
                    row["upper"],
                    interval(row, 1, sign=True),
                    group if weighting == "overlap" else 0,
                    weighting == "none",
                    row["truth"],
                    row=row,
                )
            )
            body.append([who, how, number(row["truth"], 1, sign=True), interval(row, 1, sign=True), _covered(row)])
    told = "; ".join(f"{i.name}: {i.text}, truth {number(i.truth, 1)}" for i in lines)
    drawing = charts.forest(
        lines,
        f"truth-{key}",
        f"Estimates beside the truth. {told}.",
        "Difference in mean survival, months",
        ("shorter with treatment", "longer with treatment"),
    )
    caption = (
        f"{inputs.sample(max(rows, key=lambda r: int(r['n'])))}."
        f" {sentence(readable(rows[0]['method'].partition('; ')[0]))}."
        " Diamonds: true effect in the same patients, known to the simulator only. Dots: estimates with"
        f" {inputs.settings.level} intervals, weighted (filled) and as observed (hollow)."
        " Some intervals miss by chance."
    )
    if inputs.settings.treatments[key].design == "observational":
        caption += " Treatment was not given at random, so the comparison as observed is expected to miss."
    table = Table(
        f"Effect of {name}: truth and estimate, months.",
        ["Patients", "Comparison", "Truth", "Estimate", "Interval covers the truth"],
        body,
        frozenset({2, 3}),
    )
    figure = Figure(drawing, "Truth beside estimate", caption, 820, f"effect-{key}")
    return [Heading(f"Effect of {name}"), figure, table]


def _covered(row: dict[str, Any]) -> Cell:
    if row["lower"] is None or row["upper"] is None:
        return Cell("no interval", "unknown")
    return Cell("yes", "yes") if row["lower"] <= row["truth"] <= row["upper"] else Cell("no", "harm")


def how(inputs: ReportInputs) -> Section:
    """Methods text ready to paste, with references."""
    blocks: list[object] = []
    for anchor, title, text in methods.paragraphs(inputs):
        blocks += [Heading(title, anchor), Text(text)]
    blocks += [Heading("References"), *(Text(r) for r in methods.write(inputs)[1])]
    return Section(
        "methods", "Methods", "Ready to paste; it states what this analysis did, from its own settings.", blocks
    )


def provenance(inputs: ReportInputs) -> Section:
    """Inputs, software, seeds and the resolved config."""
    inputs.note("manifest")
    manifest = inputs.manifest
    blocks: list[object] = []
    files = manifest.get("inputs") or []
    if files:
        rows = [
            [
                str(f.get("name", "–")),
                file_name(f.get("path")),
                _rows(inputs, f),
                _amount(f.get("columns")),
                _amount(f.get("bytes")),
                str(f.get("sha256", "–")),
            ]
            for f in files
        ]
        blocks.append(Heading("What went in", "provenance-inputs"))
        blocks.append(
            Table("Input files.", ["Name", "File", "Rows", "Columns", "Bytes", "SHA-256"], rows, frozenset({2, 3, 4}))
        )
    facts = [
        ("Config hash", manifest.get("config_hash")),
        ("Seed", manifest.get("seed", inputs.settings.seed)),
        ("Device asked for", manifest.get("device")),
        ("Python", manifest.get("python")),
        ("Platform", manifest.get("platform")),
    ]
    blocks.append(Heading("What ran", "provenance-run"))
    blocks.append(
        Table("The run.", ["What", "Value"], [[name, str(value)] for name, value in facts if value is not None])
    )
    versions = manifest.get("created_with") or {}
    if versions:
        rows = [[name, str(versions[name])] for name in sorted(versions)]
        blocks.append(
            Fold("Software versions", [Table("Software.", ["Package", "Version"], rows)], "provenance-software")
        )
    blocks += _artefacts(inputs)
    if manifest.get("config") and not inputs.public:
        blocks.append(
            Fold(
                "Resolved config",
                [Code(json.dumps(manifest["config"], indent=2, sort_keys=True, ensure_ascii=False))],
                "provenance-config",
            )
        )
    if not files and not versions:
        blocks.append(Note("The manifest names no inputs and no software.", "care"))
    return Section("provenance", "Provenance", "What went in, what ran, and how to get the same numbers again.", blocks)


def _artefacts(inputs: ReportInputs) -> list[object]:
    """Which file each name in the origin of a number stands for."""
    files = {name: given for name, given in sorted(inputs.files.items()) if given}
    if not files:
        return []
    rows = [[f"`{name}`", ", ".join(f"`{tail(path)}`" for path in given)] for name, given in files.items()]
    text = (
        "A number that comes from a table tells its cell where the pointer rests on it, as"
        " `prognosis_metrics[14].estimate`: rows count from 0, and those of several files one beneath the other."
        " `python -m stratiome.check_report` with the folder of the results compares all of them with the tables."
    )
    return [Fold("Where numbers come from", [Text(text), Table("Tables of the run.", ["Name", "Files"], rows)])]


def _rows(inputs: ReportInputs, file: Mapping[str, Any]) -> str:
    """Rows of an input; rounded where a few of them were left out, whose number the patients kept would tell."""
    n, least = file.get("rows"), inputs.settings.min_cell
    if not isinstance(n, int):
        return MISSING
    left = [r["n_in"] - r["n_out"] for r in inputs.rows("flow", step="read", scope=file.get("name")) if r["n_in"] == n]
    return about(n, least) if any(is_small(lost, least) for lost in left) else count(n, least)


def _amount(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"
