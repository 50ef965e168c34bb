"""The words for the outcome: survival to a time, or a response without time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stratiome.report.words import METRICS, interval, months

if TYPE_CHECKING:
    from stratiome.report.blocks import Table

Row = Mapping[str, Any]
OF_RESPONSE: dict[str, tuple[str, int]] = METRICS | {
    "uno_c": ("Area under the ROC curve", 3),
    "ibs": ("Brier score", 3),
}
"""Label and decimals of each metric of a response; see `without_time` for those that are left."""
TIMES = frozenset({"Months", "Up to, months"})
"""Headings of columns that hold nothing but times."""


@dataclass(frozen=True)
class OutcomeWords:
    """What the report calls the outcome, its measures and gains in it.

    Attributes
    ----------
    timed
        Whether the outcome has a time; without, it is a response that all patients are assessed for at once.
    event
        What patients stay free of where it is not just death; of a response, what is there without one.
    """

    timed: bool = True
    event: str | None = None

    def say(self, timed: str, response: str) -> str:
        """The first text of an outcome with time, the second of a response."""
        return timed if self.timed else response

    # ---- times -------------------------------------------------------------------------------------------------------

    def at(self, horizon: float, unit: str = "months") -> str:
        """` at 60 months`, or nothing."""
        return self.say(f" at {months(horizon)} {unit}", "")

    def over(self, horizon: float | None, unit: str = "months") -> str:
        """` over 60 months`, or nothing."""
        return "" if horizon is None else self.say(f" over {months(horizon)} {unit}", "")

    def untimed(self, table: Table) -> Table:
        """The table, of a response without the columns of `TIMES`."""
        return table if self.timed else table.without(TIMES)

    # ---- what is measured --------------------------------------------------------------------------------------------

    @property
    def survival(self) -> str:
        """What patients have who have no event, within a sentence."""
        return self.say("survival", "response")

    @property
    def failure(self) -> str:
        """The event, as what patients of a table or figure have."""
        return self.say("event", self.event or "no response")

    @property
    def metrics(self) -> Mapping[str, tuple[str, int]]:
        """Label and decimals of each metric of prognosis."""
        return METRICS if self.timed else OF_RESPONSE

    @property
    def concordance(self) -> str:
        """Measure of discrimination, within a sentence."""
        return self.say("Uno's C", "the area under the ROC curve")

    @property
    def c(self) -> str:
        """Its short name."""
        return self.say("C", "AUC")

    @property
    def error(self) -> str:
        """Measure of the error of predicted risks, within a sentence."""
        return self.say("integrated Brier score", "Brier score")

    @property
    def test(self) -> str:
        """Test that groups of patients have the same outcome."""
        return self.say("log-rank", "chi-squared")

    # ---- gains -------------------------------------------------------------------------------------------------------

    @property
    def unit(self) -> str:
        """Unit of gains."""
        return self.say("months", "percentage points")

    @property
    def gained(self) -> str:
        """Heading of gains."""
        return self.say("Months gained", "Percentage points gained")

    @property
    def scale(self) -> float:
        """Factor of gains in tables to `unit`; the restricted mean of a response up to 1 is its probability."""
        return 1.0 if self.timed else 100.0

    def gain(self, row: Row, decimals: int = 1, sign: bool = True) -> str:
        """A gain with its interval, in `unit`."""
        return interval(row, decimals, self.scale, sign=sign)

    def ends(self, row: Row) -> tuple[float | None, float | None, float | None]:
        """A gain and the ends of its interval, in `unit`."""
        estimate, lower, upper = (
            None if row[k] is None else row[k] * self.scale for k in ("estimate", "lower", "upper")
        )
        return estimate, lower, upper

    def mean(self, how: str = "") -> str:
        """What gains are differences of, as `mean survival`."""
        return self.say(f"{how}mean survival", "response")

    @property
    def sides(self) -> tuple[str, str]:
        """What gains below and above zero mean."""
        if self.timed:
            return "shorter with treatment", "longer with treatment"
        return "fewer responses with treatment", "more responses with treatment"

    @property
    def estimands(self) -> dict[str, tuple[str, int, float]]:
        """Label, decimals and scale of each effect."""
        if not self.timed:
            return {"rmst_difference": ("Response, percentage points", 1, 100.0)}
        mean, at = "Restricted mean survival, months", "Survival, percentage points"
        if self.event is not None:
            mean = f"Mean time free of {self.event}, months"
            at = f"Free of {self.event}, percentage points"
        return {
            "rmst_difference": (mean, 1, 1.0),
            "survival_difference": (at, 1, 100.0),
            "hazard_ratio": ("Hazard ratio", 2, 1.0),
        }

    def gained_at(self, estimand: str, horizon: float) -> str:
        """Heading of an effect at a horizon."""
        if not self.timed:
            return self.gained
        return (
            f"{'Months gained over' if estimand == 'rmst_difference' else 'Percentage points at'} {months(horizon)} mo"
        )

    @property
    def better(self) -> str:
        """What a gain above zero means of the treated."""
        if not self.timed:
            return "more of the treated respond"
        return "the treated live longer" if self.event is None else f"the treated stay free of {self.event} longer"

    def differ(self, more: bool, randomised: bool, who: str = "") -> str:
        """What patients do with a treatment: `Patients live longer with it`, without a full stop.

        Parameters
        ----------
        more
            Whether they gain or lose.
        randomised
            Whether assignment was by chance; else it is said what was seen.
        who
            Which patients, as `subgroup 2`; default all.
        """
        among = f" in {who}" if who else ""
        if not self.timed:
            many = "more" if more else "fewer"
            if randomised:
                return f"{many} patients{among} respond with it"
            return f"{many} of the treated patients{f' of {who}' if who else ''} responded"
        long = "longer" if more else "less long"
        if randomised:
            live = "live" if self.event is None else f"stay free of {self.event}"
            return f"patients{among} {live} {long} with it"
        lived = "lived" if self.event is None else f"stayed free of {self.event}"
        return f"treated patients{f' of {who}' if who else ''} {lived} {long}"

    def tone(self, more: bool) -> Literal["longer", "shorter", "likelier", "rarer"]:
        """Tone of an association of treatment with the outcome."""
        if not self.timed:
            return "likelier" if more else "rarer"
        return "longer" if more else "shorter"

    @property
    def outcome(self) -> str:
        """What an effect is on."""
        if not self.timed:
            return "the response"
        return "survival" if self.event is None else f"the time free of {self.event}"

    @property
    def renamed(self) -> dict[str, str]:
        """Names of models that speak of time -> their names here."""
        return {} if self.timed else {"Deep hazard": "Deep network", "deep hazard": "deep network"}


TIMED = OutcomeWords()
"""Words of death from any cause."""
