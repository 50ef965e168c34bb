"""Rule render_drift: a page on what has drifted in this batch."""

from pathlib import Path

from stratiome import tables
from stratiome.bundle.files import open_bundle
from stratiome.config import AuditConfig
from stratiome.report.drift import Monitoring, render


def main(*, card: str, drift: str, report: str, cohort: str, title: str | None, audit: AuditConfig) -> None:
    """Write the page."""
    bundle = open_bundle(Path(card).parent)
    page = Monitoring(
        title or cohort,
        bundle.card.model_dump(mode="json"),
        bundle.digest,
        tables.read_table(drift, tables.Drift),
        max(audit.min_cell, bundle.card.min_cell),
    )
    Path(report).write_text(render(page), encoding="utf-8")


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
