"""Public cohorts that come inside an installed dependency, written as files like any other cohort."""

from __future__ import annotations

from pathlib import Path

import polars as pl


def write_transbig(clinical: Path, omics: dict[str, Path]) -> None:
    """Write the TRANSBIG cohort of node-negative breast cancer (Desmedt et al. 2007, GSE7390).

    198 patients, 76 probes of two published signatures and clinical columns; endpoint time to distant metastasis in
    days. Comes with scikit-survival (`load_breast_cancer`).

    Parameters
    ----------
    clinical
        Path of the clinical table to write.
    omics
        Omic name -> path of the matrix to write; only `mrna`.
    """
    from sksurv.datasets import load_breast_cancer

    covariates, outcome = load_breast_cancer()
    probes = [c for c in covariates.columns if c.startswith("X")]
    ids = [f"TRANSBIG-{i:03d}" for i in range(1, len(covariates) + 1)]
    table = pl.DataFrame({"patient_id": ids}).with_columns(
        [pl.Series(c, covariates[c].astype(str).tolist(), dtype=pl.String) for c in ("er", "grade")],
        pl.Series("age", covariates["age"].to_numpy(dtype=float)),
        pl.Series("size", covariates["size"].to_numpy(dtype=float)),
        pl.Series("dm_days", outcome["t.tdm"].astype(float)),
        pl.Series("dm_event", outcome["e.tdm"].astype(int)),
    )
    clinical.parent.mkdir(parents=True, exist_ok=True)
    table.write_csv(clinical, separator="\t")
    matrix = pl.DataFrame({"patient_id": ids}).with_columns(
        [pl.Series(p.removeprefix("X"), covariates[p].to_numpy(dtype="float32")) for p in probes]
    )
    matrix.write_parquet(omics["mrna"], compression="zstd", statistics=False)
