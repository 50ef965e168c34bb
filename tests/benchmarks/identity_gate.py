"""Gate of identity: planted swaps found and false alarms, over replicates of the simulator.

    PYTHONPATH=workflow/scripts python tests/benchmarks/identity_gate.py --replicates 50

METHODS: at least 95 % of 2 % planted swaps are found, with false alarms in less than 1 % of the other patients.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from stratiome.cohort.simulate import SimulatedCohort, simulate
from stratiome.cohort.store import CELLS_AT_ONCE
from stratiome.config import SimulateConfig
from stratiome.quality import identity


@dataclass(frozen=True)
class HeldOmic:
    """An omic of a simulated cohort behind the interface of a stored one."""

    name: str
    kind: str
    patient_ids: tuple[str, ...]
    features: tuple[str, ...]
    whole: np.ndarray
    unit: str = ""

    def rows(self, cells: int = CELLS_AT_ONCE):
        """All rows at once."""
        yield slice(0, len(self.whole)), self.whole


def held(cohort: SimulatedCohort, settings: SimulateConfig) -> tuple[HeldOmic, ...]:
    """All omics of a simulated cohort."""
    made = []
    for name, frame in cohort.omics.items():
        values = frame.drop("patient_id").to_numpy().astype(np.float32)
        ids = tuple(frame["patient_id"].to_list())
        made.append(HeldOmic(name, settings.omics[name].kind, ids, tuple(frame.columns[1:]), values))
    return tuple(made)


def planted(patients: int, genes: int, swapped: float = 0.02) -> SimulateConfig:
    """A cohort with copy number and counts of the same genes, and swaps in the counts."""
    return SimulateConfig.model_validate(
        {
            "patients": patients,
            "omics": {
                "cna": {"kind": "copy_number", "features": genes},
                "rna": {"kind": "counts", "features": genes, "dosage_of": "cna", "swapped": swapped},
            },
        }
    )


def replicate(settings: SimulateConfig, seed: int) -> tuple[int, int, int, int, float]:
    """Planted swaps among patients with both omics, those found, the other patients, false alarms, and swaps claimed.

    Claimed is the share that the check says it finds times the planted swaps, 0 where it does not judge.
    """
    cohort = simulate(settings, seed, time_grid=np.array([0.0, 12.0]))
    cna, rna = held(cohort, settings)
    both = set(cna.patient_ids) & set(rna.patient_ids)
    swapped = both & set(cohort.swaps["patient_id"])
    checked = identity.check_concordance(cna, rna)
    flagged = {row["patient_id"] for row in checked.rows}
    claimed = len(swapped) * (checked.summary[0]["found"] or 0.0)
    return len(swapped), len(swapped & flagged), len(both - swapped), len(flagged - swapped), claimed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=50)
    parser.add_argument("--patients", type=int, default=800)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    settings = planted(given.patients, given.genes)
    counts = np.array([replicate(settings, given.seed + r) for r in range(given.replicates)]).sum(axis=0)
    print(f"replicates {given.replicates}, patients {given.patients}, genes {given.genes}, first seed {given.seed}")
    print(f"planted swaps found: {counts[1]:.0f} of {counts[0]:.0f} ({counts[1] / counts[0]:.1%}; gate: at least 95 %)")
    print(f"claimed to be found: {counts[4] / counts[0]:.1%}")
    print(f"false alarms: {counts[3]:.0f} of {counts[2]:.0f} ({counts[3] / counts[2]:.2%}; gate: less than 1 %)")


if __name__ == "__main__":
    main()
