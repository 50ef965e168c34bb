"""The effect that a simulator planted, in the same patients as an estimate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from stratiome.treatment.emulate import TreatmentError
from stratiome.treatment.weight import TRIM


@dataclass(frozen=True)
class TrueEffects:
    """Survival of each patient under both strategies.

    Attributes
    ----------
    row
        Identifier -> row of the arrays.
    grid
        Shape `(n_times,)`, months.
    difference
        Shape `(n_patients, n_times)`, survival if treated minus survival if untreated.
    propensity
        Shape `(n_patients,)`, true probability of treatment; NaN where there is no treatment.
    """

    row: dict[str, int]
    grid: np.ndarray
    difference: np.ndarray
    propensity: np.ndarray

    @classmethod
    def of(cls, table: pl.DataFrame) -> TrueEffects:
        """From the contract `Truth`.

        Raises
        ------
        TreatmentError
            If patients are not all given at the same times.
        """
        table = table.sort("patient_id", "time_months")
        ids = table["patient_id"].unique(maintain_order=True).to_list()
        times = table["time_months"].to_numpy()
        width = len(times) // max(1, len(ids))
        grid = times[:width]
        if len(times) != len(ids) * width or not (times.reshape(len(ids), width) == grid).all():
            raise TreatmentError("the truth is not given at the same times for all patients")
        difference = (table["survival_treated"] - table["survival_untreated"]).to_numpy().reshape(len(ids), width)
        propensity = table["propensity"].cast(pl.Float64).fill_null(float("nan")).to_numpy().reshape(len(ids), width)
        return cls({p: i for i, p in enumerate(ids)}, grid, difference, propensity[:, 0] if width else propensity)

    def effect(self, patients: list[str], estimand: str, until: float, population: str = "overlap") -> float | None:
        """True effect in a population of some patients; None if unknown to the simulator.

        `sum e (1 - e) d(t) / sum e (1 - e)` with the true propensity `e` and the true difference `d` in survival at
        `t`, or in the area up to `t`: what overlap weights estimate (Li, Morgan & Zaslavsky 2018).

        Parameters
        ----------
        patients
            Identifiers.
        estimand
            survival_difference or rmst_difference; anything else has no truth.
        until
            Time in months.
        population
            `overlap`, or `all` for each patient counting the same, or `trimmed` for those within `TRIM` to `1 - TRIM`.
        """
        known = all(p in self.row for p in patients)
        if not patients or not known or estimand not in ("survival_difference", "rmst_difference"):
            return None
        if len(self.grid) == 0 or until > self.grid[-1]:
            return None
        rows = [self.row[p] for p in patients]
        e = self.propensity[rows]
        tilt = {
            "overlap": e * (1.0 - e),
            "all": np.where(np.isfinite(e), 1.0, np.nan),
            "trimmed": np.where(np.isfinite(e), (e >= TRIM) & (e <= 1.0 - TRIM), np.nan),
        }[population]
        if not np.isfinite(tilt).all() or not tilt.sum() > 0:
            return None
        mean = np.average(self.difference[rows], axis=0, weights=tilt)
        last = float(np.interp(until, self.grid, mean))
        if estimand == "survival_difference":
            return last
        return float(self._areas(mean[None], until)[0])

    def months(self, patients: list[str], until: float) -> np.ndarray | None:
        """True difference in restricted mean survival of each patient, months; None if unknown to the simulator.

        Parameters
        ----------
        patients
            Identifiers.
        until
            Time in months.
        """
        known = all(p in self.row for p in patients)
        if not patients or not known or len(self.grid) == 0 or until > self.grid[-1]:
            return None
        return self._areas(self.difference[[self.row[p] for p in patients]], until)

    def _areas(self, difference: np.ndarray, until: float) -> np.ndarray:
        """Area under differences of shape `(n, n_times)` up to a time.

        Before the first time of the grid nobody has died: the difference starts from 0.
        """
        inner = self.grid < until
        last = np.array([np.interp(until, self.grid, d) for d in difference])
        values = np.column_stack([np.zeros(len(difference)), difference[:, inner], last])
        return np.asarray(np.trapezoid(values, np.array([0.0, *self.grid[inner], until]), axis=1))
