"""Methods text on how the values of each kind of omic became features."""

from __future__ import annotations

from stratiome.report.inputs import ReportInputs
from stratiome.report.words import join, label

AS_LOGS = "taken as logarithms, as given"
TRANSFORMS: dict[str, str] = {
    "counts": "divided by the patient's total of reads, times 10,000, and taken as the logarithm of one plus that",
    "mirna": "divided by the patient's total, times a million, and taken as the binary logarithm of one plus that",
    "expression": AS_LOGS,
    "protein": AS_LOGS,
    "metabolite": AS_LOGS,
    "linear": "found to be on a linear scale and taken as the binary logarithm of one plus the value",
    "methylation": "turned from beta values, kept 0.001 away from 0 and 1, into M-values (Du 2010)",
    "copy_number": "taken as calls or log ratios, as given",
    "mutation": "taken as 0 (not mutated) or 1 (mutated)",
    "features": "taken as given",
}
"""Kind of omic -> what is done with its values, within each patient (`omics`)."""
UNITS: dict[str, str] = {
    "log intensity or z-score": "expression",
    "log abundance": "protein",
    "abundance, linear scale": "linear",
    "beta value": "methylation",
    "call or log2 ratio": "copy_number",
    "mutated (0/1)": "mutation",
    "as given": "features",
}
"""Unit that the quality stage noted -> kind, where the config does not name one."""
WHOLE = frozenset({"mutation"})
"""Kinds whose features stay 0 and 1."""


def kinds(inputs: ReportInputs) -> dict[str, str]:
    """Kind of each omic, as far as it is known."""
    data = inputs.settings.data
    named = {name: omic.kind for name, omic in data.omics.items()}
    if data.simulate is not None:
        named |= {name: omic.kind for name, omic in data.simulate.omics.items()}
    found: dict[str, str] = {}
    for omic in inputs.quality:
        row = inputs.row("quality_summary", omic=omic, metric="features")
        noted = UNITS.get(row["note"].removeprefix("unit: "), "") if row else ""
        kind = "linear" if noted == "linear" else named.get(omic, noted)
        if kind in TRANSFORMS:
            found[omic] = kind
    return found


def transforms(inputs: ReportInputs) -> str:
    """What was done with the values of each omic, and then with features of all."""
    of = kinds(inputs)
    if not of:
        return ""
    by_text: dict[str, list[str]] = {}
    for omic, kind in of.items():
        by_text.setdefault(TRANSFORMS[kind], []).append(label(omic))
    said = f" Values of {'; those of '.join(f'{join(names)} were {text}' for text, names in by_text.items())}."
    settings = inputs.settings.features
    if settings is None:
        return said
    if any(kind not in WHOLE for kind in of.values()):
        tails = {
            "auto": " those with a training value beyond 12 robust SD were first replaced by normal scores of their"
            " ranks among training patients;",
            "rank": " all were first replaced by normal scores of their ranks among training patients;",
            "none": "",
        }[settings.tails]
        said += (
            f" Continuous features were standardised by the mean and standard deviation of the training patients and"
            f" kept within 8 SD;{tails} a missing cell stayed missing."
        )
    if any(kind in WHOLE for kind in of.values()):
        said += " A 0/1 feature was kept where at least three training patients had either value."
    return said
