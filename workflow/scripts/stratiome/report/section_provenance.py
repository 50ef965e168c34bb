"""Where everything came from: inputs, rules, software, seeds, and the resolved config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stratiome.report import rule_graph
from stratiome.report.blocks import Code, Figure, File, Fold, Heading, Note, Section, Table, Text
from stratiome.report.disclosure import MISSING, about, count, is_small
from stratiome.report.inputs import ReportInputs
from stratiome.report.jobs import Rule
from stratiome.report.words import file_name, join, sentence, tail

SEEDS = (
    ("Simulated cohort", "patients, omics and outcomes, by purpose", "SeedSequence({seed}, spawn_key=purpose)",
     "cohort/simulate_patients.py", "SeedSequence(seed, spawn_key=key)"),
    ("Resamples", "folds of a repeat", "[{seed}, repeat]", "resample/design.py", "[seed, repeat]"),
    ("Latent model", "a member of the ensemble, from 0", "[{seed}, 1 + member]", "latent/phases.py", "[seed, 1 + m]"),
    ("Subgroups", "subsamples of the patients", "[{seed}, 0]", "subgroups/stability.py", "[seed, 0]"),
    ("Subgroups", "a reference cohort without subgroups, from 0", "[{seed}, 1, draw]", "subgroups/stability.py",
     "[seed, 1, len(null)]"),
    ("Prognosis", "a model, by its place in the list of models", "[{seed}, place]", "prognosis/models.py",
     "[seed, MODELS.index(model)]"),
    ("Treatment", "a treatment in a subgroup (0 for all patients)", "[{seed}, CRC-32 of the treatment, subgroup]",
     "treatment/evaluate.py", "[seed, zlib.crc32(group.name.encode()), group.subgroup]"),
)  # fmt: skip
"""Stage, what is drawn, what its random numbers start from, and the module of the library and the words in it."""


def provenance(inputs: ReportInputs) -> Section:
    """Inputs, rules, software, seeds and the resolved config."""
    inputs.note("manifest", "workflow")
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
    blocks += _rules(inputs)
    facts = [
        ("Config hash", manifest.get("config_hash")),
        ("Seed", manifest.get("seed", inputs.settings.seed)),
        ("Threads of a job", (manifest.get("config") or {}).get("threads")),
        ("Device asked for", manifest.get("device")),
        ("Python", manifest.get("python")),
        ("Platform", manifest.get("platform")),
    ]
    blocks.append(Heading("What ran", "provenance-run"))
    blocks.append(
        Table("The run.", ["What", "Value"], [[name, str(value)] for name, value in facts if value is not None])
    )
    if inputs.rules and not inputs.public:
        text = "How long every rule took and how much memory it used, which differs from run to run:"
        blocks.append(File(text, "run.html"))
    blocks.append(_seeds(inputs))
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


def _rules(inputs: ReportInputs) -> list[object]:
    """The rules of the run as a picture, and the same as a table."""
    rules = inputs.rules
    if not rules:
        return []
    caption = (
        "A box is a rule of the workflow; ×n is its number of jobs, where there are several. A line leads from a rule"
        " to one that reads its files; lines that only repeat a longer way by other rules are left out."
    )
    rows = [[rule.name, sentence(rule.stage), str(len(rule.jobs)), str(rule.threads), _needs(rule)] for rule in rules]
    table = Table("Rules.", ["Rule", "Stage", "Jobs", "Threads", "Reads what these wrote"], rows, frozenset({2, 3}))
    return [
        Heading("How it was made", "provenance-rules"),
        Figure(rule_graph.draw(rules), "From the files to the report", caption, rule_graph.WIDTH),
        Fold("Rules as a table", [table]),
    ]


def _needs(rule: Rule) -> str:
    """Names of the rules whose files a rule reads."""
    return join(sorted({name for _, name in rule.needs})) or "–"


def _seeds(inputs: ReportInputs) -> Fold:
    """What the random numbers of single stages start from."""
    seed = inputs.manifest.get("seed", inputs.settings.seed)
    rows = [[stage, what, f"`{start.format(seed=seed)}`"] for stage, what, start, _, _ in _used(inputs)]
    text = (
        "Every purpose has a stream of random numbers of its own, which starts from the seed of the config and numbers"
        " that stand for the purpose. The streams are those of NumPy (PCG64) and, for the latent model, of PyTorch."
        " The largest are:"
    )
    table = Table("Seeds.", ["Stage", "What is drawn", "Starts from"], rows)
    return Fold("Seeds of single stages", [Text(text), table], "provenance-seeds")


def _used(inputs: ReportInputs) -> list[tuple[str, str, str, str, str]]:
    """Those that this run used."""
    left = set() if inputs.simulated else {"Simulated cohort"}
    left |= set() if inputs.settings.treatments else {"Treatment"}
    return [row for row in SEEDS if row[0] not in left]


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
