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
    table = pl.DataFrame(
        {
            "patient_id": ids,
            "age": [float(v) for v in covariates["age"]],
            "size": [float(v) for v in covariates["size"]],
            "grade": ["" if v == "unkown" else str(v) for v in covariates["grade"]],  # spelt so in the source
            "er": [str(v) for v in covariates["er"]],
            "dm_days": [float(v) for v in outcome["t.tdm"]],
            "dm_event": [int(v) for v in outcome["e.tdm"]],
        }
    )
    clinical.parent.mkdir(parents=True, exist_ok=True)
    table.write_csv(clinical, separator="\t")
    values = {p.removeprefix("X"): covariates[p].astype("float32").tolist() for p in probes}
    matrix = pl.DataFrame({"patient_id": ids} | values).with_columns(pl.exclude("patient_id").cast(pl.Float32))
    matrix.write_parquet(omics["mrna"], compression="zstd", statistics=False)
