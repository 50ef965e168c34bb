"""Section on the audit: whether what was found holds at other sites, in other groups, and on other data."""

from __future__ import annotations

from stratiome.report import section_prognosis
from stratiome.report.blocks import Finding, Section
from stratiome.report.inputs import ReportInputs


def audit(inputs: ReportInputs) -> Section:
    """The whole section."""
    lede = (
        "A model that does well in its own cohort may fail elsewhere, in some groups of patients, or on data that are"
        " measured a little differently. Everything here is judged on patients whom the models have not seen."
    )
    return Section("travel", "Does it travel?", lede, [Finding(section_prognosis.transport(inputs))])
