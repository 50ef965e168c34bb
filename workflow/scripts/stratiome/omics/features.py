"""Any numeric table: radiomics, pathology embeddings, wearable summaries."""

from __future__ import annotations

from stratiome.omics.kind import OmicKind, any_number

KIND = OmicKind("features", "as given", any_number, scaled_unit="as given")
