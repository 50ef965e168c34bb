"""Absolute risk under competing risks: cumulative incidence from cause-specific models.

A model of the event alone, for which deaths of other causes are censorings, says what the risk would be if nobody died
of them. A second model, of the other causes, turns it into the risk in this world (Benichou & Gail 1990; Putter, Fiocco
& Geskus 2007). One model of the other causes, on clinical columns, serves every model of the event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stratiome.survival.competing import CumulativeIncidence, aalen_johansen, absolute_risk, cause_of
from stratiome.survival.cox import CoxError, CoxModel, fit_cox


@dataclass(frozen=True)
class OtherCauses:
    """What is known of other causes in the training patients. Make it with `fit_other_causes`.

    Attributes
    ----------
    both
        Aalen-Johansen curves of the event (first) and of other causes.
    hazard
        Nelson-Aalen cumulative hazard of other causes at the times of `both`, 0 before the first: `(n_steps + 1,)`.
    cox
        Cause-specific proportional hazards model of other causes; None where none could be fitted.
    note
        How other causes were modelled.
    """

    both: CumulativeIncidence
    hazard: np.ndarray
    cox: CoxModel | None
    note: str

    def survival(self, x: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """Cause-specific survival for other causes, shape `(n_patients, n_times)`."""
        if self.cox is not None:
            return self.cox.survival(x, grid)
        curve = np.exp(-self.hazard[np.searchsorted(self.both.times, grid, side="right")])
        return np.repeat(curve[None], len(x), axis=0)

    def free_of_event(self, survival: np.ndarray, x: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """Probability of not having failed of the event, `1 - F_1(t | x)`, shape `(n_patients, n_times)`.

        Parameters
        ----------
        survival
            Shape `(n_patients, n_times)`, cause-specific survival for the event by any model.
        x
            Shape `(n_patients, n_columns)`, as in the fit.
        grid
            Shape `(n_times,)`, months.
        """
        return _as_survival(1.0 - absolute_risk(survival, self.survival(x, grid))[0])

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays and description to store."""
        own = {"times": self.both.times, "survival": self.both.survival, "incidence": self.both.incidence}
        cox = {} if self.cox is None else {f"cox.{k}": v for k, v in self.cox.arrays().items()}
        return own | {"hazard": self.hazard} | cox, {"note": self.note}

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], described: dict[str, Any]) -> OtherCauses:
        """What `state` gave."""
        both = CumulativeIncidence(*(tensors[name] for name in ("times", "survival", "incidence")))
        cox = {k.removeprefix("cox."): v for k, v in tensors.items() if k.startswith("cox.")}
        return cls(both, tensors["hazard"], CoxModel.of_arrays(cox) if cox else None, str(described["note"]))

    def marginal(self, n: int, grid: np.ndarray) -> np.ndarray:
        """The same for everybody: one minus Aalen-Johansen, shape `(n, n_times)`."""
        return np.repeat(_as_survival(1.0 - self.both.at(grid)[:, 0]), n, axis=0)


def fit_other_causes(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, competing: np.ndarray, min_events: int
) -> OtherCauses:
    """Cause-specific Cox model of other causes with Efron ties; without covariates where it cannot be fitted.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite; no column gives the Nelson-Aalen estimate.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    competing
        Shape `(n_patients,)`, True = failed of another cause.
    min_events
        Deaths of other causes below which there is no Cox model.
    """
    both = aalen_johansen(time, cause_of(event, competing), causes=2)
    at_risk = (time[:, None] >= both.times).sum(axis=0)
    failed = ((time[:, None] == both.times) & competing[:, None]).sum(axis=0)
    hazard = np.concatenate([[0.0], np.cumsum(failed / at_risk)])
    why = ""
    if int(competing.sum()) < min_events:
        why = f"fewer than {min_events} in training"
    elif x.shape[1] == 0:
        why = "no clinical column"
    else:
        try:
            cox = fit_cox(x, time, competing)
        except CoxError as error:
            why = str(error)
        else:
            note = "other causes of failure by a Cox model on clinical columns, Efron ties"
            return OtherCauses(both, hazard, cox, f"{note}; {cox.note}" if cox.note else note)
    return OtherCauses(both, hazard, None, f"other causes of failure by Nelson-Aalen, the same for everybody: {why}")


def _as_survival(curves: np.ndarray) -> np.ndarray:
    """Curves without rounding errors: from 1 on, not increasing, between 0 and 1."""
    curves = np.clip(curves, 0.0, 1.0)
    curves[:, 0] = 1.0
    return np.minimum.accumulate(curves, axis=1)
