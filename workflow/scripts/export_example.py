"""Rule export_example: a public cohort inside a dependency -> files like any other cohort."""

from pathlib import Path

from stratiome.cohort.examples import write_transbig


def main(*, clinical: str, omics: list[str]) -> None:
    """Write the example cohort."""
    write_transbig(Path(clinical), {Path(p).stem: Path(p) for p in omics})


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
