"""The joint cohort of `external.py`: two studies of breast cancer under one coding, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from by_workflow import ROOT

DATA = ROOT.parent / "shared" / "data"
STUDIES = {"metabric": "METABRIC", "tcga_brca": "TCGA-BRCA"}
DIRECTIONS = (("metabric", "tcga_brca"), ("tcga_brca", "metabric"))
COVARIATES = ("age", "tumour_size", "nodes", "er_status", "her2_status")


def read_study(name: str) -> pl.DataFrame:
    """Clinical table of one study under the common coding, patients with an outcome and expression.

    Tumour size is 1 (to 20 mm), 2 (to 50) or 3 (above), from millimetres or the T category; T4 says nothing of size and
    is missing. Nodes are 0, 1 (1 to 3), 2 (4 to 9) or 3 (10 and more), from the count, or the N category where there is
    none. Equivocal and indeterminate receptors are missing.
    """
    table = pl.read_csv(DATA / name / "clinical.tsv", separator="\t", infer_schema_length=None)
    table = table.filter(pl.col("os_time_months") > 0, pl.col("os_event").is_not_null(), pl.col("has_mrna") == 1)
    by_count = pl.col("lymph_nodes_positive").cut([0.5, 3.5, 9.5], labels=["0", "1", "2", "3"]).cast(pl.String)
    sign = {"+": "positive", "-": "negative", "positive": "positive", "negative": "negative"}
    if name == "metabric":
        size = pl.col("tumor_size_mm").cut([20.0, 50.0], labels=["1", "2", "3"]).cast(pl.String)
        nodes, her2 = by_count, pl.col("her2_status")
    else:
        size = pl.col("pathologic_t").str.extract(r"^t([123])")
        nodes = pl.coalesce(by_count, pl.col("pathologic_n").str.extract(r"^n([0-3])"))
        her2 = pl.col("her2_status_ihc")
    return table.select(
        pl.col("patient_id").cast(pl.String),
        study=pl.lit(name),
        os_months=pl.col("os_time_months").cast(pl.Float64),
        os_event=pl.col("os_event").cast(pl.Int64),
        age=pl.col("age").cast(pl.Float64),
        tumour_size=size.cast(pl.Int64),
        nodes=nodes.cast(pl.Int64),
        er_status=pl.col("er_status").replace_strict(sign, default=None, return_dtype=pl.String),
        her2_status=her2.replace_strict(sign, default=None, return_dtype=pl.String),
    )


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Normal quantiles of the ranks of every column, `Phi^-1((r - 3/8) / (n + 1/4))` (Blom 1958); missing stays."""
    from scipy.stats import norm, rankdata

    ranks = rankdata(values, axis=0, nan_policy="omit")
    return norm.ppf((ranks - 0.375) / (np.isfinite(values).sum(axis=0) + 0.25))


def write_joint(folder: Path, most: int, seed: int) -> dict:
    """Write clinical table, matrices and splits; returns what was kept of each study."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    clinical = {name: read_study(name) for name in STUDIES}
    if most:
        rows = {n: np.sort(rng.permutation(t.height)[:most]) for n, t in clinical.items()}
        clinical = {name: table[rows[name]] for name, table in clinical.items()}
    files = {"mrna": {"metabric": "mrna_zscore.parquet", "tcga_brca": "mrna.parquet"}}
    files["mutation"] = dict.fromkeys(STUDIES, "mutation.parquet")
    said: dict = {}
    for omic, by_study in files.items():
        raw = {name: pl.read_parquet(DATA / name / file) for name, file in by_study.items()}
        genes = sorted(set.intersection(*(set(t.columns) for t in raw.values())) - {"patient_id"})
        parts = []
        for name, table in raw.items():
            own = clinical[name].select("patient_id").join(table, on="patient_id", how="inner", maintain_order="left")
            values = own.select(genes).to_numpy()
            made = normal_scores(values.astype(np.float64)) if omic == "mrna" else values
            dtype = pl.Float32 if omic == "mrna" else pl.Int8
            parts.append(own.select("patient_id").hstack(pl.DataFrame(made, schema=genes).cast(dtype)))
        pl.concat(parts).write_parquet(folder / f"{omic}.parquet")
        said[omic] = len(genes)
    pl.concat(clinical.values()).write_csv(folder / "clinical.tsv", separator="\t")
    for train, _ in DIRECTIONS:
        splits = pl.concat(
            [t.select("patient_id", external=pl.lit("train" if n == train else "test")) for n, t in clinical.items()]
        )
        splits.write_csv(folder / f"from_{train}.csv")
    for name, table in clinical.items():
        missing = {c: table[c].null_count() for c in COVARIATES if table[c].null_count()}
        said[name] = {"n": table.height, "events": int(table["os_event"].sum()), "missing": missing}
    return said
