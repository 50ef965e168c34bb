"""Abbreviations of the report and what they stand for."""

from __future__ import annotations

ABBREVIATIONS: dict[str, str] = {
    "ARI": "adjusted Rand index, agreement of two partitions: 1 the same, 0 as by chance",
    "AUC": "area under the receiver operating characteristic curve",
    "AUC(t)": "time-dependent area under the receiver operating characteristic curve",
    "CNA": "copy-number alteration",
    "CNV": "copy-number variation",
    "E50": "median distance of predicted and observed risk",
    "E90": "90th percentile of the distance of predicted and observed risk",
    "ER": "oestrogen receptor",
    "HC3": "standard errors that allow for unequal variances (heteroscedasticity-consistent, type 3)",
    "HER2": "human epidermal growth factor receptor 2",
    "HR": "hazard ratio",
    "ICI": "integrated calibration index, mean distance of predicted and observed risk",
    "IHC": "immunohistochemistry",
    "IPA": "index of prediction accuracy: share by which the Brier score falls against the same curve for everybody",
    "IQR": "interquartile range",
    "K": "number of subgroups",
    "MOFA+": "multi-omics factor analysis",
    "OS": "overall survival",
    "PAM50": "breast cancer subtypes by the expression of 50 genes",
    "PCA": "principal component analysis",
    "PR": "progesterone receptor",
    "ROC": "receiver operating characteristic",
    "SD": "standard deviation",
    "SNF": "similarity network fusion",
    "TOC": "targeting operator characteristic, what those gain more who are treated first",
    "UMAP": "uniform manifold approximation and projection, a drawing in two dimensions",
    "Uno's C": (
        "concordance: share of pairs of patients of whom the one with the higher predicted risk has the event first,"
        " weighted for censoring"
    ),
    "VAE": "variational autoencoder",
    "Δ C": "difference in concordance to the clinical model",
    "df": "degrees of freedom",
    "mRNA": "messenger RNA, gene expression",
    "miRNA": "micro-RNA",
}
"""Abbreviation as it is printed -> what it stands for."""
