"""Rule simulate_cohort: settings of a simulated cohort -> files like any other cohort, and the truth beside them."""

from pathlib import Path

from stratiome.cohort.errors import CohortError
from stratiome.cohort.simulate import write_files
from stratiome.config import DataConfig, EndpointConfig
from stratiome.survival.outcome import time_grid


def main(
    *,
    clinical: str,
    truth: str,
    swaps: str,
    omics: list[str],
    data: DataConfig,
    endpoint: EndpointConfig,
    seed: int,
) -> None:
    """Write the simulated cohort.

    Raises
    ------
    CohortError
        If the config asks for another identifier column or time unit than a simulated cohort has.
    """
    problems = []
    if data.simulate is None:
        raise CohortError("`data.simulate`: missing. Suggestion: add it, if only as `simulate: {}`")
    if data.patient_id != "patient_id":
        problems.append("`data.patient_id`: a simulated cohort has `patient_id`. Suggestion: leave the key out")
    if endpoint.unit != "months":
        problems.append("`endpoint.unit`: a simulated cohort is in months. Suggestion: set it to `months`")
    if problems:
        raise CohortError(problems)
    write_files(
        data.simulate,
        seed,
        clinical=Path(clinical),
        truth=Path(truth),
        omics={Path(path).stem: Path(path) for path in omics},
        time_grid=time_grid(endpoint),
        swaps=Path(swaps),
    )


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
