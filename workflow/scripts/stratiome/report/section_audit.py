"""Section on the audit: whether what was found holds at other sites, in other groups, and on other data."""

from __future__ import annotations

from stratiome.report import section_audit_external, section_prognosis
from stratiome.report.blocks import Finding, Note, Section
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_audit_fairness import fairness
from stratiome.report.section_audit_robustness import robustness


def audit(inputs: ReportInputs) -> Section:
    """The whole section."""
    lede = (
        "A model that does well in its own cohort may fail elsewhere, in some groups of patients, or on data that are"
        " measured a little differently. Everything here is judged on patients whom the models have not seen."
    )
    blocks: list[object] = [Finding(section_prognosis.transport(inputs))]
    elsewhere = section_audit_external.external(inputs)
    if not elsewhere:
        text = (
            "No other cohort was named (`external`), so nothing here is an external validation. The bundle of this"
            " run can be judged in any cohort that was not part of it, with the target `validate`."
        )
        elsewhere = [Note(text)]
    return Section(
        "travel",
        "Does it travel? External validity and fairness",
        lede,
        [*blocks, *elsewhere, *fairness(inputs), *robustness(inputs)],
    )
