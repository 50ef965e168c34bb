"""The analysis as a frozen, closed pydantic model.

A config that loads is complete: every default is resolved, every key is known. All problems of a config are
collected and reported together, each with its key path, the reason, the fix and, for a misspelt key, the nearest
valid one.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from stratiome.expression import FUNCTIONS, refused_part
from stratiome.names import ADDRESS

DAYS_PER_MONTH = 30.4375
"""Mean length of a month in days (365.25 / 12)."""

MOST_MIN_CELL = 100
"""Largest count that a config may have suppressed."""

UNKNOWN_TIME, UNKNOWN_EVENT = "(unknown time)", "(unknown event)"
"""Time and event of patients whose outcome the config does not name, since a bundle only scores them."""

ASSESSED, NO_RESPONSE = "(assessment)", "(no response)"
"""Time and event of a response: who has none has the event at the assessment, all others are free of it beyond."""

Kind = Literal[
    "counts", "expression", "methylation", "copy_number", "mutation", "protein", "mirna", "metabolite", "features"
]
TimeUnit = Literal["days", "weeks", "months", "years"]


def months_per(unit: TimeUnit) -> float:
    """Months in one unit."""
    return {"days": 1 / DAYS_PER_MONTH, "weeks": 7 / DAYS_PER_MONTH, "months": 1.0, "years": 12.0}[unit]


Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""A name that is safe in a path and in a table: a letter, then letters, digits or underscores."""


class ConfigError(ValueError):
    """A config that cannot be run. `problems` holds one text per mistake."""

    def __init__(self, problems: list[str], source: str = "config") -> None:
        self.problems = problems
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__(f"{source}: {count}\n" + "\n".join(f"  {i}. {text}" for i, text in enumerate(problems, 1)))


class Section(BaseModel):
    """Base of every block of the config: closed and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, given: Any) -> Any:
        """A key without a value, as a block whose lines are all commented out, has its default."""
        if not isinstance(given, dict):
            return given
        fields = cls.model_fields
        return {k: v for k, v in given.items() if v is not None or k not in fields or fields[k].is_required()}


class SamplesConfig(Section):
    """The laboratory's record of the samples of one omic."""

    path: str = Field(description="Table with one row per patient and `data.patient_id`; relative to `data.folder`.")
    columns: tuple[str, ...] = Field(
        min_length=1, description="Columns that say how samples were measured, as platform and plate: batches to test."
    )


class OmicConfig(Section):
    """One omics matrix."""

    path: str = Field(
        description="Matrix file (.tsv, .txt, .csv, also with .gz, .parquet, .h5ad, .h5mu), patients as rows or as "
        "columns; relative to `data.folder`, or to the folder of `data.study`."
    )
    kind: Kind = Field(description="What the numbers are; fixes accepted values, quality control and transform.")
    only: str | None = Field(
        None,
        description="Text file with one feature a line: all others are left out, as for models that are meant for "
        "another platform; relative to `data.folder`.",
    )
    layer: str | None = Field(None, description="Layer of an `.h5ad` or `.h5mu` file to read in place of `X`.")
    modality: str | None = Field(None, description="Modality of an `.h5mu` file; not needed if it has only one.")
    samples: SamplesConfig | None = Field(None, description="How the samples were measured, if it is recorded.")

    @model_validator(mode="after")
    def _parts_of_annotated_files_only(self) -> OmicConfig:
        fitting = {"layer": (".h5ad", ".h5mu"), "modality": (".h5mu",)}
        for key, suffixes in fitting.items():
            if getattr(self, key) is not None and not self.path.lower().endswith(suffixes):
                raise ValueError(
                    f"`{key}` is for {' and '.join(suffixes)} files, not for {self.path}. Suggestion: leave it out"
                )
        return self


class ColumnConfig(Section):
    """What is declared of one clinical column; what is not declared is taken from its values."""

    column: str | None = Field(None, description="Column of the file that is meant, where it has another name there.")
    multiply: float | None = Field(
        None, gt=0, description="What the numbers of the file are multiplied by, as 10 for cm to mm; after `values`."
    )
    type: Literal["numeric", "categorical", "date"] | None = Field(
        None, description="Numbers, classes, or dates written as 2005-06-30; default by the values."
    )
    unit: str | None = Field(None, description="Unit of the numbers, for messages and the report, as `years`.")
    minimum: float | None = Field(None, description="Smallest possible value; a smaller one is refused.")
    maximum: float | None = Field(None, description="Largest possible value; a larger one is refused.")
    values: dict[str, str | float | None] = Field(
        {},
        description="Spelling in the file -> value that is meant, as `Positve: Positive`, `yes: 1` or `unknown: null` "
        "(missing); applied before anything else. `true` and `false` stand for all spellings that YAML reads as such.",
    )
    available_at: float | str | None = Field(
        None,
        description="When the value is known: a time after time zero in `endpoint.unit`, or a column of dates to "
        "compare with `endpoint.index_date`. What is known later than time zero is left out.",
    )

    @field_validator("values", mode="before")
    @classmethod
    def _keys_as_written(cls, value: Any) -> Any:
        # YAML turns a bare yes, true or on into a truth value, and 1 into a number, before anybody sees the spelling.
        return {_spelling(k): v for k, v in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _possible(self) -> ColumnConfig:
        bounds = [b for b in (self.minimum, self.maximum) if b is not None]
        if any(not math.isfinite(b) for b in bounds) or bounds != sorted(bounds):
            raise ValueError(
                "`minimum` and `maximum` must be finite and in this order. Suggestion: swap or remove them"
            )
        if bounds and self.type in ("categorical", "date"):
            raise ValueError(
                f"`minimum` and `maximum` need numbers, but the type is {self.type}. Suggestion: set `type: numeric`"
            )
        return self

    @property
    def known_late(self) -> bool:
        """Whether the whole column is known only after time zero."""
        return isinstance(self.available_at, float) and self.available_at > 0


def _spelling(key: Any) -> Any:
    if isinstance(key, bool):
        return "true" if key else "false"
    return f"{key:.15g}" if isinstance(key, int | float) else key if key is None else str(key)


class SimulatedOmic(Section):
    """One omic of a simulated cohort."""

    kind: Literal["counts", "expression", "methylation", "copy_number", "protein", "mutation"] = Field(
        description="Kind of measurement to simulate."
    )
    features: int = Field(ge=2, le=1_000_000, description="Number of features.")
    informative: float = Field(0.2, ge=0, le=1, description="Share of the features that differ between subgroups.")
    effect: float = Field(
        1.0, ge=0, le=10, description="Size of the subgroup differences in within-subgroup standard deviations."
    )
    dosage_of: Name | None = Field(
        None, description="Simulated omic of kind `copy_number` whose genes this omic measures and follows."
    )
    dosage: float = Field(
        0.6, ge=0, le=5, description="Mean rise per copy-number call of a gene that follows, in within-subgroup SDs."
    )
    swapped: float = Field(
        0.0, ge=0, le=0.5, description="Share of the patients whose values are exchanged with those of another one."
    )
    sex_linked: bool = Field(
        False, description="Whether to add genes that tell men from women, as XIST and RPS4Y1, to the features."
    )

    @model_validator(mode="after")
    def _expressed(self) -> SimulatedOmic:
        asked = [n for n, given in (("dosage_of", self.dosage_of), ("sex_linked", self.sex_linked)) if given]
        allowed = ("counts", "expression", "protein")[: 2 if self.sex_linked else 3]
        if asked and self.kind not in allowed:
            raise ValueError(
                f"`{asked[-1]}` does not go with kind `{self.kind}`. Suggestion: leave it out, or use kind "
                f"{' or '.join(f'`{k}`' for k in allowed)}"
            )
        return self


class SimulatedTreatment(Section):
    """Treatment of a simulated cohort."""

    design: Literal["observational", "randomised", "none"] = Field(
        "observational", description="Given by indication, by coin toss, or not at all."
    )
    log_hazard_ratios: tuple[float, ...] = Field(
        (-0.9, 0.0, 0.5),
        description="Log hazard ratio of treated against untreated, one per subgroup (recycled).",
    )
    confounding: float = Field(
        1.0, ge=0, le=5, description="Strength with which sicker patients get the treatment (log odds per SD)."
    )


class SimulateConfig(Section):
    """A cohort with known truth, written with its truth beside it."""

    patients: int = Field(600, ge=20, le=1_000_000, description="Number of patients.")
    sites: int = Field(4, ge=1, le=100, description="Number of sites.")
    subgroups: int = Field(3, ge=1, le=10, description="Number of latent subgroups; 1 means that there are none.")
    proportions: tuple[float, ...] | None = Field(
        None, description="Share of each subgroup; default slightly unequal shares."
    )
    omics: dict[Name, SimulatedOmic] = Field(
        {
            "rna": SimulatedOmic(kind="counts", features=300),
            "methylation": SimulatedOmic(kind="methylation", features=200),
            "protein": SimulatedOmic(kind="protein", features=60),
            "mutation": SimulatedOmic(kind="mutation", features=40),
        },
        description="Omics to simulate.",
    )
    subgroup_log_hazards: tuple[float, ...] = Field(
        (0.0, 0.5, 1.0), description="Log hazard of each subgroup against the first (recycled)."
    )
    treatment: SimulatedTreatment = Field(SimulatedTreatment(), description="Treatment and its effect.")
    batch_effect: float = Field(0.3, ge=0, le=5, description="Standard deviation of site shifts, in feature SDs.")
    missing_omics: float = Field(0.2, ge=0, le=0.9, description="Probability that a patient lacks an omic entirely.")
    missing_mechanism: Literal["random", "site"] = Field(
        "random", description="Whether omics are lacking at random or by site."
    )
    median_survival: float = Field(60.0, gt=0, description="Median survival of the reference patient, in months.")
    weibull_shape: float = Field(1.2, gt=0.1, le=10, description="Shape of the event-time distribution.")
    competing_deaths: float = Field(
        0.3, ge=0, lt=1, description="Share of the deaths that come from another cause in the reference patient."
    )
    censoring: float = Field(0.35, ge=0, lt=1, description="Approximate share of patients censored.")
    marker_dependent_censoring: bool = Field(
        False,
        description="Whether censoring depends on the baseline risk, so that it is informative given no covariates.",
    )

    @model_validator(mode="after")
    def _dosage_of_copy_number(self) -> SimulateConfig:
        for name, omic in self.omics.items():
            source = self.omics.get(omic.dosage_of) if omic.dosage_of else None
            if omic.dosage_of and (source is None or source.kind != "copy_number"):
                raise ValueError(
                    f"`omics.{name}.dosage_of`: `{omic.dosage_of}` is no simulated omic of kind `copy_number`. "
                    "Suggestion: add one of that name, or leave the key out"
                )
        return self


def _only_columns(condition: str | None) -> str | None:
    part = refused_part(condition) if condition is not None else None
    if part is not None:
        raise ValueError(
            f"{part} is not allowed in a condition, which can only compare columns of the clinical table. Suggestion: "
            "write it as `stage IN (1, 2, 3) AND age >= 18`, names of columns that are words of SQL in double quotes; "
            f"functions: {', '.join(sorted(FUNCTIONS))}"
        )
    return condition


Condition = Annotated[str, AfterValidator(_only_columns)]
"""An SQL expression over clinical columns that is true or false for each patient."""


def _here_or_stored(folder: str) -> str:
    if "://" in folder and not folder.startswith(ADDRESS):
        raise ValueError(
            f"{folder!r} is no folder. Suggestion: a folder of this machine, or on object storage, as "
            f"`{ADDRESS}bucket/folder`"
        )
    return folder


Folder = Annotated[str, AfterValidator(_here_or_stored)]
"""A folder of this machine, or its address on object storage."""


class FetchConfig(Section):
    """An archive that `make fetch-study` downloads and unpacks into `data.folder`; a run never does."""

    url: str = Field(pattern=r"^https?://", description="Address of the archive (.tar.gz, .tgz, .tar or .zip).")
    sha256: str = Field(
        pattern=r"^[0-9a-fA-F]{64}$",
        description="SHA-256 of the archive: 64 hexadecimal digits.",
    )


class DataConfig(Section):
    """Where the data are: files, an example that comes inside a dependency, or a simulated cohort."""

    folder: Folder = Field(
        ".",
        description="Folder of the data files; relative to the working folder, or on object storage, as "
        "`s3://bucket/folder`.",
    )
    clinical: str | None = Field(None, description="Clinical table (TSV, CSV or Parquet), one row per patient.")
    study: str | None = Field(
        None, description="Folder of a cBioPortal study as downloaded, in place of `clinical`; relative to `folder`."
    )
    fetch: FetchConfig | None = Field(None, description="Where `make fetch-study` gets the files from.")
    patient_id: str = Field("patient_id", description="Column of the patient identifier, in every file.")
    omics: dict[Name, OmicConfig] = Field({}, description="Omics matrices by name.")
    columns: dict[str, ColumnConfig] = Field(
        {}, description="Clinical columns by name: type, unit, bounds, spellings, and when the value is known."
    )
    example: Literal["transbig"] | None = Field(None, description="A public cohort that comes inside a dependency.")
    simulate: SimulateConfig | None = Field(None, description="Simulate the cohort instead of reading files.")

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        given = [n for n in ("clinical", "study", "example", "simulate") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of `clinical`, `study`, `example` and `simulate` must be given, not {given or 'none'}. "
                "Suggestion: set `clinical` to the path of your clinical table"
            )
        if self.from_files and not self.omics:
            raise ValueError("no omics given. Suggestion: name at least one matrix under `data.omics`")
        if not self.from_files and self.omics:
            raise ValueError(f"`omics` cannot be combined with `{given[0]}`, which brings its own")
        if self.patient_id in self.columns:
            raise ValueError(
                f"`columns.{self.patient_id}` is the identifier, which is never changed. Suggestion: remove the entry"
            )
        if self.fetch is not None and (not self.from_files or Path(self.folder) == Path(".")):
            raise ValueError(
                "`fetch` needs a `folder` of its own to unpack into. "
                "Suggestion: set `folder: resources/downloads/NAME`, which git ignores"
            )
        return self

    @model_validator(mode="after")
    def _files_within_an_address(self) -> DataConfig:
        if self.folder.startswith(ADDRESS) and (self.clinical is None or self.fetch is not None):
            raise ValueError(
                "`folder` can be on object storage only where `clinical` names the clinical table; a study is read "
                "from a folder of this machine. Suggestion: copy the study, and name the folder of the copy"
            )
        for path in (self.clinical, *(omic.path for omic in self.omics.values())):
            if path is not None and "://" in path:
                raise ValueError(
                    f"{path!r} is an address, and files are named within `folder`. Suggestion: give the address of "
                    "their folder as `folder: s3://bucket/folder`, and the files relative to it"
                )
        return self

    @property
    def types(self) -> dict[str, Literal["numeric", "categorical"]]:
        """Declared type of clinical columns, without dates."""
        return {name: c.type for name, c in self.columns.items() if c.type in ("numeric", "categorical")}

    @property
    def from_files(self) -> bool:
        """Whether the cohort is read from files that the config names."""
        return self.clinical is not None or self.study is not None


class EndpointConfig(Section):
    """Time-to-event outcome, or a response without time. Times are converted to months on reading."""

    time: str = Field(description="Column of the follow-up time from time zero.")
    event: str = Field(description="Column of the event indicator: 1 = event, 0 = censored.")
    response: str | None = Field(
        None,
        description="In place of `time`, `event` and `horizons`: column of an outcome without time that all patients "
        "are assessed for, 1 = response (or any other good outcome), 0 = none, empty = not assessed.",
    )
    unit: TimeUnit = Field("months", description="Unit of `time`, `horizons`, `tau` and `available_at`.")
    index_date: str | None = Field(None, description="Column of the date of time zero, written as 2005-06-30.")
    competing: Condition | None = Field(
        None,
        description="SQL condition on clinical columns that patients meet who died of another cause, as "
        "`cause = 'other'`; prognosis and effects of treatments are of absolute risks then, the rest cause-specific.",
    )
    horizons: tuple[float, ...] = Field(
        min_length=1, description="Time points at which survival is predicted and compared, in `unit`."
    )
    tau: float | None = Field(
        None,
        gt=0,
        description="Upper limit of restricted mean survival and integrated scores; default largest horizon.",
    )

    @model_validator(mode="before")
    @classmethod
    def _response_has_no_time(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("response") is None:
            return given
        own = {"time": ASSESSED, "event": NO_RESPONSE, "horizons": [1.0]}
        usual = own | {"unit": "months", "tau": None, "competing": None, "index_date": None}
        beside = [k for k, v in given.items() if k in usual and v not in (usual[k], tuple(own.get(k) or ()))]
        if beside:
            raise ValueError(
                f"`response` is an outcome without time, and {', '.join(f'`{k}`' for k in beside)} belong to one with "
                "time. Suggestion: keep one of the two"
            )
        return given | own

    @field_validator("horizons")
    @classmethod
    def _increasing(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not math.isfinite(h) or h <= 0 for h in value) or list(value) != sorted(set(value)):
            raise ValueError(f"horizons must be positive and increasing, not {list(value)}")
        return value

    @property
    def given(self) -> bool:
        """Whether the config names an outcome."""
        return self.time != UNKNOWN_TIME

    def for_reading(self) -> EndpointConfig:
        """This endpoint with the times at their default that reading does not depend on."""
        return self if self.response else self.model_copy(update={"horizons": (1e-6,), "tau": None})

    @property
    def columns(self) -> dict[str, str]:
        """Columns of the clinical table that hold the outcome -> key that names them."""
        if self.response is not None:
            return {self.response: "endpoint.response"}
        if not self.given:
            return {}
        return {self.time: "endpoint.time", self.event: "endpoint.event"}

    @property
    def months_per_unit(self) -> float:
        """Months in one `unit`."""
        return months_per(self.unit)

    @property
    def horizons_months(self) -> tuple[float, ...]:
        """Horizons in months."""
        return tuple(round(h * self.months_per_unit, 6) for h in self.horizons)

    @property
    def tau_months(self) -> float:
        """Upper limit of restricted means and integrated scores, in months."""
        return max(self.horizons_months) if self.tau is None else round(self.tau * self.months_per_unit, 6)


class NegativeControlConfig(Section):
    """An outcome that the treatment cannot change: a difference in it is confounding that was not removed."""

    label: str = Field(description="Name in the report, as `death from other causes`.")
    event: Condition = Field(
        description="SQL condition on clinical columns that patients meet who had it; others count as censored."
    )
    time: str | None = Field(
        None, description="Column of its time from time zero, in the endpoint's unit; default that of the endpoint."
    )


Timing = Literal["by chance", "by the landmark", "at time zero", "later", "not known"]
"""How it is known who is treated when follow-up starts: `later` is known not to be, `not known` may not be."""


class TreatmentConfig(Section):
    """A target trial: who is eligible, what is compared, and what has to be balanced."""

    column: str | None = Field(
        None, description="Column of the treatment: 1 = treated, 0 = untreated; missing is not untreated."
    )
    arms: dict[Name, Condition] = Field(
        {},
        description="In place of `column`: arm -> SQL condition on clinical columns that its patients meet, as "
        "`both: drug_a = 1 AND drug_b = 1`. A patient meets one at most; patients of no arm are left out.",
    )
    reference: Name | None = Field(None, description="Arm of `arms` that the others are compared with, one by one.")
    compare: Name | None = Field(
        None, description="The only arm of `arms` to compare with `reference`; default each, as `<name>_<arm>`."
    )
    design: Literal["observational", "randomised"] = Field(description="How treatment was assigned.")
    eligible: Condition | None = Field(
        None, description="SQL condition on clinical columns that eligible patients meet, as `stage IN (1, 2, 3)`."
    )
    confounders: tuple[str, ...] = Field(
        (), description="Clinical columns measured before treatment that drive both treatment and outcome."
    )
    start: str | None = Field(
        None,
        description="Column of the time from time zero to the start of treatment, empty where untreated; needs "
        "`landmark`.",
    )
    landmark: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Time after time zero at which patients still followed are compared, treated = started by then; "
        "also the grace period of the comparison of strategies from time zero.",
    )
    starts: Literal["at time zero", "later"] | None = Field(
        None,
        description="Without `start`, what is known: every treatment starts at time zero, or some start later, and "
        "nothing is compared then, because of immortal time; default unknown, which the report says.",
    )
    measured: dict[str, str] = Field(
        {},
        description="Confounder -> column of the time from time zero at which it was measured; one measured after the "
        "start of treatment is refused.",
    )
    unit: TimeUnit | None = Field(
        None, description="Unit of `start`, `landmark` and `measured`; default that of `endpoint`."
    )
    label: str | None = Field(None, description="Name in the report; default the key.")
    negative_control: NegativeControlConfig | None = Field(
        None, description="An outcome that the treatment cannot change."
    )
    profiles: dict[str, dict[str, bool | int | float | str]] = Field(
        {},
        description="Patients for whom survival under both arms is shown: name -> values of confounders, as `{age: 70, "
        "stage: 2}`; over confounders that are not given the eligible patients are averaged.",
    )

    @model_validator(mode="after")
    def _profiles_are_of_confounders(self) -> TreatmentConfig:
        for name, profile in self.profiles.items():
            if not profile:
                raise ValueError(f"`profiles.{name}` has no values. Suggestion: give some, as `{{age: 70}}`")
            for column in profile:
                if column in self.confounders:
                    continue
                near = difflib.get_close_matches(column, self.confounders, n=1)
                raise ValueError(
                    f"`profiles.{name}`: `{column}` is not one of the `confounders`. Suggestion: "
                    + (f"`{near[0]}`?" if near else "a profile may name confounders only; add it there if it is one")
                )
        return self

    @model_validator(mode="after")
    def _observational_needs_confounders(self) -> TreatmentConfig:
        if self.design == "observational" and not self.confounders:
            raise ValueError(
                "an observational treatment needs `confounders`. Suggestion: list the clinical columns that guided "
                "the decision to treat, or set `design: randomised` if it was assigned by chance"
            )
        return self

    @model_validator(mode="after")
    def _column_or_arms(self) -> TreatmentConfig:
        if (self.column is None) == (not self.arms):
            raise ValueError(
                f"exactly one of `column` and `arms` must be given, not {'both' if self.arms else 'none'}. "
                "Suggestion: `column` for treated against untreated, `arms` with `reference` for more"
            )
        if self.column is not None and (self.reference or self.compare):
            raise ValueError("`reference` and `compare` are names of `arms`. Suggestion: leave them out with `column`")
        if self.arms and len(self.arms) < 2:
            raise ValueError("`arms` names one arm, which is compared with nothing. Suggestion: name at least two")
        if self.arms and self.reference not in self.arms:
            given = f"`{self.reference}` is none of the arms" if self.reference else "`arms` need a `reference`"
            raise ValueError(f"{given}. Suggestion: one of {', '.join(self.arms)}")
        if self.compare is not None and (self.compare not in self.arms or self.compare == self.reference):
            others = ", ".join(a for a in self.arms if a != self.reference)
            raise ValueError(
                f"`compare: {self.compare}` is no arm to compare with `{self.reference}`. Suggestion: one of {others}"
            )
        return self

    @model_validator(mode="after")
    def _times_fit_together(self) -> TreatmentConfig:
        if (self.start is None) != (self.landmark is None):
            raise ValueError(
                "`start` and `landmark` belong together: without start times nobody knows who was treated at the "
                "landmark. Suggestion: give both, or neither"
            )
        if self.start is not None and self.arms:
            raise ValueError(
                "`start` is for a `column` of treated and untreated, not for `arms`. Suggestion: one treatment with "
                "`column`, `start` and `eligible` for each comparison"
            )
        if self.start is not None and self.starts is not None:
            raise ValueError("`starts` is for treatments without `start`. Suggestion: leave it out")
        if self.design == "randomised" and (self.start or self.starts):
            raise ValueError(
                "a randomised treatment is compared as assigned, whenever it started. Suggestion: leave out `start`, "
                "`landmark` and `starts`"
            )
        if bad := [n for n in self.measured if n not in self.confounders]:
            raise ValueError(f"`measured` names {bad}, which are no confounders. Suggestion: add them there, or remove")
        return self

    @property
    def control(self) -> str:
        """Name of what the treatment is compared with."""
        return "untreated" if self.reference is None else self.reference.replace("_", " ")

    @property
    def compared(self) -> str:
        """Name of the arm that counts as treated."""
        others = [a for a in self.arms if a != self.reference]
        arm = self.compare or (others[0] if others else "treated")
        return arm.replace("_", " ")

    @property
    def timing(self) -> Timing:
        """How it is known who is treated when follow-up starts."""
        if self.design == "randomised":
            return "by chance"
        if self.start is not None:
            return "by the landmark"
        return self.starts or "not known"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that tell who got what."""
        if self.column is not None:
            return (self.column,)
        return tuple(dict.fromkeys(c for condition in self.arms.values() for c in sorted(_columns_of(condition))))

    @property
    def times(self) -> tuple[str, ...]:
        """Columns of times: of the start, and of measurements."""
        return tuple(dict.fromkeys([*([self.start] if self.start else []), *self.measured.values()]))

    @property
    def months_per_unit(self) -> float:
        """Months in one `unit`."""
        return months_per(self.unit or "months")

    @property
    def landmark_months(self) -> float | None:
        """The landmark in months after time zero, None without one."""
        return None if self.landmark is None else round(self.landmark * self.months_per_unit, 6)

    def pairs(self, name: str) -> dict[str, TreatmentConfig]:
        """Comparisons of two arms, by name; this one where there is nothing to split.

        Parameters
        ----------
        name
            Key of the treatment.
        """
        others = [a for a in self.arms if a != self.reference]
        if not others or self.compare is not None:
            return {name: self}
        found = {}
        for arm in others:
            label = f"{arm} against {self.reference}".replace("_", " ")
            changed = {"compare": arm, "label": f"{self.label}: {label}" if self.label else label}
            found[f"{name}_{arm}"] = self.model_copy(update=changed)
        return found


class TemporalConfig(Section):
    """A split by time: earlier patients train, later ones are held out."""

    column: str = Field(description="Clinical column of the year (number) or date (ISO, as 2005-06-30) of time zero.")
    train_until: float | date = Field(
        description="Last year, or last date, of the training patients; whole years may be given for a column of dates."
    )

    @field_validator("train_until", mode="before")
    @classmethod
    def _year_or_date(cls, value: Any) -> float | date:
        try:
            if isinstance(value, date):  # a datetime is one, too
                return date(value.year, value.month, value.day)
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
            if isinstance(value, str):
                return float(value) if re.fullmatch(r"\d+(\.\d+)?", value) else date.fromisoformat(value)
        except ValueError:
            pass
        raise ValueError(f"neither a year nor a date (given: {value!r}). Suggestion: write it as 2005 or 2005-06-30")


class ResampleConfig(Section):
    """How patients are split."""

    folds: int = Field(5, ge=0, le=20, description="Number of cross-validation folds, at least 2; 0 for none.")
    repeats: int = Field(1, ge=1, le=50, description="Number of times the folds are drawn.")
    leave_site_out: bool = Field(False, description="Whether to hold out each site in turn as well.")
    min_site: int = Field(
        30, ge=1, description="Patients with an outcome below which a site is not held out on its own."
    )
    temporal: TemporalConfig | None = Field(None, description="Whether to hold out the later patients as well.")
    test_fraction: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of the patients locked away as a test set: no other split uses them, nor does the model to "
        "publish.",
    )
    file: str | None = Field(
        None,
        description="Table of given splits (TSV, CSV or Parquet), relative to `data.folder`: columns patient, "
        "`resample`, `role` (train, test or out), or one column per split.",
    )

    @field_validator("folds")
    @classmethod
    def _no_single_fold(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one fold holds nobody out. Suggestion: at least 2, or 0 for no cross-validation")
        return value

    @model_validator(mode="after")
    def _something_is_held_out(self) -> ResampleConfig:
        others = (self.leave_site_out, self.temporal, self.test_fraction, self.file)
        if not self.folds and not any(others):
            raise ValueError(
                "without folds nobody is held out. Suggestion: set `folds` to at least 2, or give `file`, `temporal`, "
                "`test_fraction` or `leave_site_out`"
            )
        return self


class FeatureConfig(Section):
    """How features are made, always fitted on the training patients of a resample."""

    max_features: int = Field(
        2000, ge=2, description="Most features kept per omic, by variance in the training patients."
    )
    max_missing: float = Field(0.2, ge=0, lt=1, description="Largest share of missing values of a kept feature.")
    tails: Literal["auto", "none", "rank"] = Field(
        "auto",
        description="Replace continuous features by normal scores of their ranks among the training patients: those "
        "with a training value beyond 12 robust SD (`auto`), no feature, or all (`rank`).",
    )
    adjust_site: bool = Field(
        True, description="Whether to remove site differences in location from continuous omics when `site` is given."
    )
    adjust_scale: bool = Field(
        False, description="Whether to remove site differences in spread as well, where `adjust_site` is true."
    )
    protect: tuple[str, ...] = Field(
        (),
        description="Clinical columns whose effect is kept while site differences are removed; refused where the site "
        "is associated with outcome or treatment beyond `quality.limit`.",
    )


class SexConfig(Section):
    """Recorded sex, to compare with sex-linked genes."""

    column: str = Field(description="Clinical column of the recorded sex.")
    female: str = Field("female", description="Value of the column for women; every other value is taken for men.")


class QualityConfig(Section):
    """Checks of identity, batches and missingness. What they find reaches tables and report, never a model."""

    batches: tuple[str, ...] = Field(
        (), description="Clinical columns that say where or how patients were measured, beside `site`."
    )
    limit: float = Field(
        0.3,
        gt=0,
        le=1,
        description="Association of a batch with outcome, treatment or known label (Cramer's V or correlation ratio) "
        "beyond which it is called confounded.",
    )
    duplicate: float = Field(
        0.95, gt=0.5, le=1, description="Correlation of two patients' profiles from which they may be one patient."
    )
    sex: SexConfig | None = Field(None, description="Recorded sex, where it is to be compared with genes.")


class LatentConfig(Section):
    """The multimodal variational autoencoder and the latents that it must beat."""

    dims: int = Field(16, ge=1, le=256, description="Number of latent dimensions.")
    hidden: int = Field(64, ge=4, le=4096, description="Width of the hidden layer of each encoder.")
    members: int = Field(4, ge=1, le=256, description="Models trained together from different seeds.")
    epochs: int = Field(200, ge=1, le=10_000, description="Most passes over the training patients.")
    patience: int = Field(20, ge=1, description="Epochs without improvement on inner validation before stopping.")
    validation_fraction: float = Field(
        0.15, gt=0, lt=0.5, description="Share of the training patients used to decide when to stop."
    )
    batch_size: int = Field(128, ge=2, description="Patients per gradient step.")
    learning_rate: float = Field(5e-3, gt=0, lt=1, description="Step size of the Adam optimiser.")
    kl_weight: float = Field(1.0, ge=0, le=100, description="Final weight of the Kullback-Leibler term.")
    warmup_epochs: int = Field(20, ge=0, description="Epochs over which the Kullback-Leibler weight rises from zero.")
    modality_dropout: float = Field(
        0.2, ge=0, lt=1, description="Probability that an omic is hidden from the encoder in a training step."
    )
    encoder_inputs: int = Field(
        0,
        ge=0,
        le=4096,
        description="Encoders of omics with more than twice as many features see this many principal directions of "
        "the training patients in their place; 0 is none.",
    )
    counts: Literal["gaussian", "negative_binomial"] = Field(
        "gaussian",
        description="Likelihood of omics of kind `counts`: that of their scaled logarithms, or of the raw counts.",
    )
    memory_gb: float = Field(
        4.0,
        gt=0,
        description="Largest training matrix, in GiB, that is held in memory; a larger one is read in minibatches.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to train; `auto` uses a GPU if there is one."
    )
    tf32: bool = Field(False, description="Whether matrix products on a GPU may round their factors to TensorFloat-32.")
    baselines: tuple[Literal["pca", "mofa", "snf"], ...] = Field(
        ("pca", "mofa"),
        min_length=1,
        description="Simpler latents on the same resamples: principal components, MOFA+, similarity network fusion. "
        "Each takes about as long as the first to find subgroups in; the last compares all pairs of patients, and what "
        "it stores holds their features.",
    )

    @field_validator("baselines")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"baselines must name each once, not {list(value)}")
        return value


class SubgroupConfig(Section):
    """Latent subgroups."""

    k: tuple[int, ...] = Field((1, 2, 3, 4, 5, 6), min_length=1, description="Numbers of subgroups to consider.")
    subsamples: int = Field(20, ge=4, le=1000, description="Subsamples per number of subgroups.")
    subsample_fraction: float = Field(0.7, gt=0.3, lt=1, description="Share of patients in a subsample.")
    reference_draws: int = Field(
        39, ge=19, le=10_000, description="Cohorts without subgroups but the same covariance drawn as reference."
    )
    alpha: float = Field(
        0.025,
        gt=0,
        lt=1,
        description="Level of the test against no subgroups; at the default, a cohort must be beyond all of its "
        "reference cohorts.",
    )
    min_stability: float = Field(
        0.6, ge=0, le=1, description="Smallest mean adjusted Rand index between subsamples that is called stable."
    )
    min_information: float = Field(
        0.9,
        ge=0,
        le=1,
        description="Share of the place in the latent space that the omics of a patient must tell for the patient to "
        "take part in finding subgroups (or, where that leaves fewer than 100, the most telling omics); others are "
        "assigned as far as their omics allow.",
    )
    min_probability: float = Field(
        0.5, ge=0, le=1, description="Membership probability below which a patient stays unassigned."
    )
    gene_sets: str | None = Field(
        None,
        description="GMT file of gene sets to score (a line per set: name, source, genes, with tabs between them); "
        "relative to `data.folder`. Genes are matched by the feature names of the omics.",
    )
    min_genes: int = Field(
        5, ge=2, le=1000, description="Measured genes below which a gene set is listed as not scored."
    )

    def for_finding(self) -> SubgroupConfig:
        """These settings with what subgroups are only described by at its default, so that it finds nothing anew."""
        return self.model_copy(update={"gene_sets": None, "min_genes": 5})

    @model_validator(mode="after")
    def _alpha_can_be_reached(self) -> SubgroupConfig:
        least = 1 / (self.reference_draws + 1)
        if self.alpha < least - 1e-12:
            raise ValueError(
                f"no p-value of {self.reference_draws} reference_draws is below {least:.3g}, so alpha {self.alpha:g} "
                f"can never be reached. Suggestion: at least {math.ceil(1 / self.alpha - 1e-9) - 1} reference_draws"
            )
        return self

    @field_validator("k")
    @classmethod
    def _valid_k(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(k < 1 for k in value) or list(value) != sorted(set(value)):
            raise ValueError(f"k must be increasing whole numbers of at least 1, not {list(value)}")
        return value if 1 in value else (1, *value)


PrognosisModel = Literal[
    "clinical_omics", "clinical_latent", "clinical_factors", "clinical_forest", "forest", "deep", "stacked"
]


class PrognosisConfig(Section):
    """Survival models."""

    l1_ratio: float = Field(0.5, gt=0, le=1, description="Share of the lasso in the elastic-net penalty.")
    inner_folds: int = Field(5, ge=2, le=20, description="Folds within the training patients that choose the penalty.")
    min_events: int = Field(20, ge=2, description="Events in training below which no model is fitted.")
    deep_min_events: int = Field(
        50,
        ge=2,
        description="Events in training below which the forest on latents and the deep model are not fitted.",
    )
    deep_override: str | None = Field(
        None, min_length=10, description="Why they are fitted with fewer events all the same; printed in the report."
    )
    instability: int = Field(
        200,
        ge=0,
        le=10_000,
        description="Bootstrap samples in which the clinical model, alone and with latents, is learned anew to see how"
        " much predictions of the same patients move; 0 = none.",
    )
    models: tuple[PrognosisModel, ...] = Field(
        get_args(PrognosisModel),
        description="Models beside the clinical one; `stacked` combines those that are fitted.",
    )
    bound: float = Field(
        0.9, gt=0.5, lt=1, description="Share of patients who should outlive the lower bound on their survival time."
    )
    permutations: int = Field(
        3, ge=0, le=100, description="Times each omic is exchanged among held-out patients; 0 leaves it out."
    )
    trees: int = Field(200, ge=10, le=10_000, description="Trees of the survival forest.")

    @field_validator("models")
    @classmethod
    def _something_to_stack(cls, value: tuple[PrognosisModel, ...]) -> tuple[PrognosisModel, ...]:
        if twice := sorted({m for m in value if value.count(m) > 1}):
            raise ValueError(f"{twice} stand there twice. Suggestion: name each model once")
        if value == ("stacked",):
            raise ValueError("`stacked` has nothing to combine. Suggestion: name at least one other model")
        return value


class EvaluationConfig(Section):
    """Uncertainty of the reported numbers."""

    bootstraps: int = Field(500, ge=50, le=100_000, description="Bootstrap samples of held-out patients.")
    level: float = Field(0.95, gt=0.5, lt=1, description="Level of intervals.")


class AuditConfig(Section):
    """Disclosure and groups."""

    min_cell: int = Field(
        10,
        ge=1,
        le=MOST_MIN_CELL,
        description="Counts from 1 to this number less one are suppressed in reports; in `report_public.html` and"
        " `figures_public/` every count of patients or events is rounded to a multiple of it.",
    )
    ids_in_messages: bool = Field(
        True, description="Whether error messages may name patient identifiers (never any of their values)."
    )
    robustness: bool = Field(
        True, description="Whether the survival models, kept as they are, are judged on held-out patients under stress."
    )
    groups: tuple[str, ...] = Field(
        (), description="Clinical columns of the groups, as sex or age, in which held-out predictions are judged."
    )
    cuts: dict[str, Annotated[tuple[float, ...], Field(min_length=1)]] = Field(
        {}, description="Column of `groups` -> increasing numbers at which a numeric one is cut, as `age: [50, 65]`."
    )
    intersections: bool = Field(True, description="Whether pairs of `groups` are crossed, as women of 65 and over.")

    @field_validator("groups")
    @classmethod
    def _groups_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({n for n in value if value.count(n) > 1}):
            raise ValueError(f"{twice} stand there twice. Suggestion: name each column once")
        return value

    @model_validator(mode="after")
    def _cuts_are_of_groups(self) -> AuditConfig:
        if other := sorted(set(self.cuts) - set(self.groups)):
            raise ValueError(f"`cuts` names {other}, which `groups` does not. Suggestion: add them to `groups`")
        for name, cuts in self.cuts.items():
            if any(b <= a for a, b in pairwise(cuts)):
                raise ValueError(f"`cuts.{name}` must increase, not {list(cuts)}. Suggestion: sort them")
        return self


class BundleConfig(Section):
    """What the bundle of models says of its use, and the bundle to apply to this cohort."""

    apply: Folder | None = Field(
        None,
        description="Folder of a bundle whose models score the patients of this cohort, by the target `apply`; it may "
        "be on object storage, as `s3://bucket/folder`.",
    )

    digest: str | None = Field(
        None,
        description="Digest of the bundle to apply, or its first 16 characters or more, as its model card tells it; "
        "any other bundle is refused.",
    )
    features: dict[Name, str] = Field(
        {},
        description="Omic -> table (TSV or CSV, relative to the working folder) with the columns `feature`, a name "
        "here, and `bundle`, its name in the bundle; several features of one name are averaged. Default: same names.",
    )
    align: dict[Name, Literal["quantiles"]] = Field(
        {},
        description="Omic -> `quantiles`: another platform measured it, and each feature is brought to its "
        "distribution in the bundle's cohort by that of all patients here. Scores of a patient then depend on who else "
        "is in the cohort, and a different mix of patients is taken for a difference of platforms.",
    )

    @field_validator("digest")
    @classmethod
    def _hexadecimal(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[0-9a-fA-F]{16,64}", value):
            raise ValueError(
                f"{value!r} is no digest. Suggestion: give 16 to 64 hexadecimal digits, as on the model card"
            )
        return None if value is None else value.lower()

    intended_use: str = Field(
        "Research use only; not a medical device.", description="Whom and what the models are meant for."
    )
    out_of_scope: str = Field(
        "Decisions on single patients.", description="What the models must not be used for; it travels with the bundle."
    )


class Config(Section):
    """One analysis of one cohort."""

    cohort: Name = Field(description="Short name of the cohort; names the results folder.")
    title: str | None = Field(None, description="Title of the report; default the cohort's name.")
    event_name: str | None = Field(
        None, description="What the event is called in the report, as `relapse or death`; default death of any cause."
    )
    description: str = Field("", description="A sentence or two on the cohort for the report.")
    results: str | None = Field(None, description="Folder of the results; default `results/<cohort>`.")
    seed: int = Field(1, ge=0, lt=2**31, description="Seed of everything random.")
    threads: int = Field(
        1, ge=1, le=64, description="Threads of numeric code in a job; fixed, since sums depend on it."
    )
    data: DataConfig = Field(description="The data.")
    endpoint: EndpointConfig = Field(
        description="The outcome. May be left out beside `bundle.apply`, where patients are only scored and watched "
        "(`apply`, `monitor`)."
    )
    covariates: tuple[str, ...] = Field(
        (), description="Clinical columns of the baseline model every other model must beat."
    )
    site: str | None = Field(None, description="Column of the contributing site or batch.")
    known_labels: tuple[str, ...] = Field(
        (), description="Known classes to compare subgroups with; never learned from."
    )
    treatments: dict[Name, TreatmentConfig] = Field({}, description="Treatments to compare.")
    resamples: ResampleConfig = Field(ResampleConfig(), description="Splits.")
    quality: QualityConfig = Field(QualityConfig(), description="Checks of identity and batches.")
    features: FeatureConfig = Field(FeatureConfig(), description="Features.")
    latent: LatentConfig = Field(LatentConfig(), description="Latent model.")
    subgroups: SubgroupConfig = Field(SubgroupConfig(), description="Subgroups.")
    prognosis: PrognosisConfig = Field(PrognosisConfig(), description="Survival models.")
    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="Evaluation.")
    audit: AuditConfig = Field(AuditConfig(), description="Audit and disclosure.")
    bundle: BundleConfig = Field(BundleConfig(), description="Models to apply to other patients.")
    external: dict[Name, str] = Field(
        {},
        description="Name -> config of another cohort, relative to the working folder: its patients are scored by the "
        "bundle of this one, and the report says what the models are worth there. Its `bundle.features` and "
        "`bundle.align` count, its models are not fitted.",
    )

    @model_validator(mode="before")
    @classmethod
    def _scored_without_outcome(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("endpoint") is not None:
            return given
        bundle = given.get("bundle")
        if not isinstance(bundle, dict) or bundle.get("apply") is None:
            return given
        return given | {"endpoint": {"time": UNKNOWN_TIME, "event": UNKNOWN_EVENT, "horizons": [1.0]}}

    @field_validator("results")
    @classmethod
    def _results_within_a_prefix(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            raise ValueError(
                f"{value!r} is an address. Suggestion: a folder without the address, and the address with "
                "`--workflow-profile profiles/s3`"
            )
        return value

    @field_validator("known_labels", "covariates")
    @classmethod
    def _labels_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({n for n in value if value.count(n) > 1}):
            raise ValueError(f"{twice} stand there twice. Suggestion: name each column once")
        return value

    @model_validator(mode="after")
    def _labels_are_classes(self) -> Config:
        if self.data.patient_id in self.known_labels:
            raise ValueError(
                f"`known_labels` contains the patient identifier `{self.data.patient_id}`. Suggestion: name columns of "
                "classes there"
            )
        return self

    @model_validator(mode="after")
    def _outcome_is_no_predictor(self) -> Config:
        outcome = self.endpoint.columns
        for key, names in self._predictors().items():
            bad = [n for n in names if n in outcome]
            if bad:
                raise ValueError(
                    f"`{key}` contains the outcome {bad}. Suggestion: remove it; a predictor must be known at time zero"
                )
        for key, names in self._roles_before_outcome().items():
            bad = [n for n in names if n in outcome]
            if bad:
                raise ValueError(
                    f"`{key}` uses the outcome {bad}. Suggestion: name another column there; only `endpoint` may know "
                    "what happened after time zero"
                )
        if self.resamples.leave_site_out and self.site is None:
            raise ValueError(
                "`resamples.leave_site_out` holds sites out, but `site` is not given. Suggestion: name the column of "
                "the contributing site as `site`, or set `leave_site_out: false`"
            )
        if self.resamples.temporal is not None and self.resamples.temporal.column in outcome:
            raise ValueError(
                f"`resamples.temporal.column` is the outcome `{self.resamples.temporal.column}`. "
                "Suggestion: give the year or date of time zero"
            )
        for name, treatment in self.treatments.items():
            if given := [c for c in (*treatment.columns, *treatment.times) if c in treatment.confounders]:
                raise ValueError(
                    f"`treatments.{name}.confounders` contains the treatment `{given[0]}` itself. Suggestion: remove it"
                )
            if twice := [n for n in treatment.pairs(name) if n != name and n in self.treatments]:
                raise ValueError(
                    f"`treatments.{name}.arms`: the comparison `{twice[0]}` has the name of a treatment of its own. "
                    "Suggestion: another name for that treatment"
                )
        return self

    @model_validator(mode="after")
    def _response_has_no_times(self) -> Config:
        if self.endpoint.response is None:
            return self
        if self.data.simulate is not None:
            raise ValueError(
                "`endpoint.response`: a simulated cohort has survival times. Suggestion: give `time: time_months` and "
                "`event: event`"
            )
        for name, treatment in self.treatments.items():
            given = {k: getattr(treatment, k) for k in ("start", "landmark", "measured", "negative_control")}
            if timed := [k for k, v in given.items() if v]:
                raise ValueError(
                    f"`treatments.{name}.{timed[0]}` belongs to an endpoint with time, and `endpoint.response` has "
                    "none. Suggestion: remove it; all patients are assessed after the treatment"
                )
        return self

    @model_validator(mode="after")
    def _known_at_time_zero(self) -> Config:
        late = {name for name, c in self.data.columns.items() if c.known_late}
        fixed = dict(self.endpoint.columns)
        fixed |= {self.site: "site"} if self.site else {}
        fixed |= {self.resamples.temporal.column: "resamples.temporal.column"} if self.resamples.temporal else {}
        fixed |= {self.endpoint.index_date: "endpoint.index_date"} if self.endpoint.index_date else {}
        for name, treatment in self.treatments.items():
            given = "column" if treatment.column else "arms"
            fixed |= dict.fromkeys(treatment.columns, f"treatments.{name}.{given}")
            fixed |= dict.fromkeys(treatment.times, f"treatments.{name}.{'start' if treatment.start else 'measured'}")
        fixed |= dict.fromkeys(self.quality.batches, "quality.batches")
        fixed |= {self.quality.sex.column: "quality.sex.column"} if self.quality.sex else {}
        fixed |= dict.fromkeys(self.features.protect, "features.protect")
        fixed |= dict.fromkeys(self.audit.groups, "audit.groups")
        for name, column in self.data.columns.items():
            if column.available_at is not None and name in fixed:
                raise ValueError(
                    f"`data.columns.{name}.available_at`: the column is `{fixed[name]}`, which is never left out. "
                    "Suggestion: remove `available_at`; a treatment that starts after time zero needs a later time zero"
                )
            if isinstance(column.available_at, str) and self.endpoint.index_date is None:
                raise ValueError(
                    f"`data.columns.{name}.available_at`: a date needs `endpoint.index_date` to be compared with. "
                    "Suggestion: name the column of the date of time zero there"
                )
        for name, treatment in self.treatments.items():
            if treatment.confounders and late.issuperset(treatment.confounders):
                raise ValueError(
                    f"`treatments.{name}.confounders`: all of them are known only after time zero (`available_at`). "
                    "Suggestion: list columns that were known when the treatment was chosen"
                )
            for profile, values in treatment.profiles.items():
                if bad := sorted(late.intersection(values)):
                    raise ValueError(
                        f"`treatments.{name}.profiles.{profile}` contains {bad}, known only after time zero "
                        "(`available_at`). Suggestion: remove it there"
                    )
        dates = {name for name, c in self.data.columns.items() if c.type == "date"}
        for key, names in self._predictors().items():
            if bad := [n for n in names if n in dates]:
                raise ValueError(f"`{key}` contains dates {bad}. Suggestion: a number, as years since a fixed day")
        return self

    def at_time_zero(self) -> Config:
        """The same analysis without the columns that are known only after time zero (`available_at` > 0)."""
        late = {name for name, c in self.data.columns.items() if c.known_late}

        def kept(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(n for n in names if n not in late)

        treatments = {
            name: t.model_copy(
                update={
                    "confounders": kept(t.confounders),
                    "measured": {c: when for c, when in t.measured.items() if c not in late},
                }
            )
            for name, t in self.treatments.items()
        }
        changed = {
            "covariates": kept(self.covariates),
            "known_labels": kept(self.known_labels),
            "treatments": treatments,
        }
        return self.model_copy(update=changed) if late else self

    def in_pairs(self) -> Config:
        """The same analysis with each treatment of several arms as comparisons of two, and units of times filled in."""
        pairs = {n: t for name, treatment in self.treatments.items() for n, t in treatment.pairs(name).items()}
        units = {n: t.model_copy(update={"unit": t.unit or self.endpoint.unit}) for n, t in pairs.items() if t.times}
        return self.model_copy(update={"treatments": pairs | units}) if self.treatments else self

    @model_validator(mode="after")
    def _protected_is_known_at_time_zero(self) -> Config:
        protect, outcome = self.features.protect, self.endpoint.columns
        if bad := [n for n in protect if n in outcome]:
            raise ValueError(
                f"`features.protect` contains the outcome {bad}: a correction that protects the outcome writes it into "
                "the features. Suggestion: remove it; the site correction within training patients needs no outcome"
            )
        if protect and (not self.site or not self.features.adjust_site):
            raise ValueError(
                f"`features.protect` names {list(protect)}, but no site differences are removed. "
                "Suggestion: name the column `site` and set `features.adjust_site: true`, or remove `protect`"
            )
        if self.site in protect:
            raise ValueError(
                f"`features.protect` contains the site `{self.site}`, whose differences are to be removed. "
                "Suggestion: remove it from `protect`, or set `features.adjust_site: false`"
            )
        return self

    def _predictors(self) -> dict[str, tuple[str, ...]]:
        return {"covariates": self.covariates} | {
            f"treatments.{name}.confounders": t.confounders for name, t in self.treatments.items()
        }

    def _roles_before_outcome(self) -> dict[str, tuple[str, ...]]:
        """Key -> columns it names, of keys that are neither the outcome nor predictors."""
        found = {
            "site": (self.site,) if self.site else (),
            "known_labels": self.known_labels,
            "quality.batches": self.quality.batches,
            "quality.sex.column": (self.quality.sex.column,) if self.quality.sex else (),
            "endpoint.index_date": (self.endpoint.index_date,) if self.endpoint.index_date else (),
            "audit.groups": self.audit.groups,
        }
        for name, treatment in self.treatments.items():
            found[f"treatments.{name}.{'column' if treatment.column else 'arms'}"] = treatment.columns
            found[f"treatments.{name}.start"] = (treatment.start,) if treatment.start else ()
            found[f"treatments.{name}.measured"] = tuple(treatment.measured.values())
            found[f"treatments.{name}.eligible"] = tuple(sorted(_columns_of(treatment.eligible)))
        return found

    @property
    def results_folder(self) -> str:
        """Folder of the results."""
        return self.results or f"results/{self.cohort}"

    @property
    def omics(self) -> dict[str, Kind]:
        """Kind of each omic, by name, whatever the source."""
        if self.data.simulate is not None:
            return {n: o.kind for n, o in self.data.simulate.omics.items()}
        if self.data.example is not None:
            return {"mrna": "expression"}
        return {n: o.kind for n, o in self.data.omics.items()}

    def clinical_columns(self) -> dict[str, str]:
        """Clinical column -> key path of the config that asks for it (columns of conditions are not included)."""
        asked = dict(self.endpoint.columns)
        if self.site:
            asked.setdefault(self.site, "site")
        named = {"known_labels": self.known_labels} | self._predictors() | {"quality.batches": self.quality.batches}
        named |= {"features.protect": self.features.protect, "audit.groups": self.audit.groups}
        for key, names in named.items():
            for name in names:
                asked.setdefault(name, key)
        for name, treatment in self.treatments.items():
            if treatment.column:
                asked.setdefault(treatment.column, f"treatments.{name}.column")
            if treatment.start:
                asked.setdefault(treatment.start, f"treatments.{name}.start")
            for confounder, when in treatment.measured.items():
                asked.setdefault(when, f"treatments.{name}.measured.{confounder}")
        if self.resamples.temporal is not None:
            asked.setdefault(self.resamples.temporal.column, "resamples.temporal.column")
        if self.quality.sex:
            asked.setdefault(self.quality.sex.column, "quality.sex.column")
        if self.endpoint.index_date:
            asked.setdefault(self.endpoint.index_date, "endpoint.index_date")
        for name in self.data.columns:
            asked.setdefault(name, f"data.columns.{name}")
        for name, column in self.data.columns.items():
            if isinstance(column.available_at, str):
                asked.setdefault(column.available_at, f"data.columns.{name}.available_at")
        return asked

    def treated_columns(self) -> list[str]:
        """Columns of the treatments, or conditions of their arms, which folds are balanced by."""
        found = [[t.column] if t.column else list(t.arms.values()) for t in self.treatments.values()]
        return list(dict.fromkeys(c for here in found for c in here))

    def described_columns(self) -> list[str]:
        """Clinical columns that describe the patients: those that have a role, and those that are declared."""
        named = [*self.covariates, *(t.column for t in self.treatments.values() if t.column)]
        named += [c for t in self.treatments.values() for c in t.confounders]
        outcome = self.endpoint.columns
        declared = [n for n, c in self.data.columns.items() if c.type != "date" and n not in outcome]
        named += [*self.known_labels, *declared, *([self.site] if self.site else [])]
        return list(dict.fromkeys(named))

    def for_reading(self) -> Config:
        """This config with everything that reading does not depend on at its default.

        A change of a title, a horizon or a model then reads nothing anew, and so trains nothing anew. Columns keep what
        decides on their type; which of them is a confounder and which a covariate does not matter.
        """
        dated = self.resamples.temporal
        used = {*self.covariates, *(t.column for t in self.treatments.values() if t.column)}
        asked: set[str] = set()
        times: set[str] = set()
        for treatment in self.treatments.values():
            used |= {*treatment.confounders}
            times |= {*treatment.times}
            asked |= _columns_of(treatment.eligible) | ({*treatment.columns} if treatment.arms else set())
        other = {*self.endpoint.columns, self.data.patient_id, self.site, *self.known_labels}
        used -= other
        # Columns of conditions and groups are kept, but may be constant, dates or free text, as predictors may not.
        plain = asked | {*self.audit.groups}
        columns = {name: ColumnConfig() for name in sorted(plain - times - used - other)} | self.data.columns
        for name in sorted(times - used - other):
            given = columns.get(name, ColumnConfig())
            columns[name] = given.model_copy(update={"type": given.type or "numeric"})
        return Config(
            cohort=self.cohort,
            data=self.data.model_copy(update={"columns": columns}),
            endpoint=self.endpoint.for_reading(),
            covariates=tuple(sorted(used)),
            site=self.site,
            known_labels=tuple(sorted(self.known_labels)),
            resamples=ResampleConfig(temporal=dated and TemporalConfig(column=dated.column, train_until=0.0)),
            quality=QualityConfig(batches=tuple(sorted(self.quality.batches)), sex=self.quality.sex),
            features=FeatureConfig(protect=tuple(sorted(self.features.protect))),
            audit=AuditConfig(ids_in_messages=self.audit.ids_in_messages),
        )

    def for_checks(self) -> Config:
        """This config with everything that checks of identity, batches and missingness do not depend on at its default.

        As with `for_reading`: a change of a title or of a model checks nothing anew.
        """
        return Config(
            cohort=self.cohort,
            seed=self.seed,
            data=self.data,
            endpoint=self.endpoint.for_reading(),
            covariates=self.covariates,
            site=self.site,
            known_labels=self.known_labels,
            treatments={n: t.model_copy(update={"label": None, "profiles": {}}) for n, t in self.treatments.items()},
            quality=self.quality,
            features=FeatureConfig(adjust_site=self.features.adjust_site, protect=self.features.protect),
            audit=AuditConfig(ids_in_messages=self.audit.ids_in_messages),
        )

    def hash(self) -> str:
        """Hex digest (16 characters) of the resolved config."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _columns_of(condition: str | None) -> set[str]:
    """Columns that an SQL condition names; none where it is not valid, which is said elsewhere."""
    if condition is None:
        return set()
    import polars as pl

    try:
        return set(pl.sql_expr(condition).meta.root_names())
    except (pl.exceptions.PolarsError, AttributeError):
        return set()


def load_config(raw: dict[str, Any], source: str = "config") -> Config:
    """Validate a config.

    Parameters
    ----------
    raw
        The config as read from YAML.
    source
        File name for messages.

    Raises
    ------
    ConfigError
        With one text per mistake.
    """
    config, problems = check_config(raw)
    if config is None or problems:
        raise ConfigError(problems, source)
    return config


def check_config(raw: dict[str, Any]) -> tuple[Config | None, list[str]]:
    """Validate a config as far as possible.

    Returns
    -------
    tuple
        The config, and one text per mistake. With mistakes, the config is what remains when the faulty keys are taken
        out, if that is enough for one, so that its files can be checked in the same go.
    """
    problems: list[str] = []
    pruned: set[tuple[Any, ...]] = set()
    for _ in range(3):
        try:
            return Config.model_validate(raw).at_time_zero().in_pairs(), problems
        except ValidationError as error:
            found = error.errors()
            problems += [describe_error(e) for e in found if e["loc"] not in pruned]
            faulty = [e["loc"] for e in found if e["type"] != "missing"]
            pruned.update(faulty)
            raw = _without(raw, faulty)
            if any(e["type"] == "missing" for e in found):
                return None, problems
    return None, problems


def _without(raw: dict[str, Any], locations: list[tuple[Any, ...]]) -> dict[str, Any]:
    pruned = json.loads(json.dumps(raw, default=str))
    for location in locations:
        node = pruned
        for key in location[:-1]:
            node = node[key] if isinstance(node, dict) and key in node else {}
        if location and isinstance(node, dict):
            node.pop(location[-1], None)
    return pruned


def describe_error(error: Any, root: type[BaseModel] = Config) -> str:
    """One mistake of a file in words: its key, what is wrong, and the fix.

    Parameters
    ----------
    error
        One of `ValidationError.errors()`.
    root
        The model that was not met.
    """
    keys = [str(k) for k in error["loc"] if k != "[key]"]
    path = ".".join(keys) or "(whole config)"
    if error["type"] == "extra_forbidden":
        valid = _valid_keys(keys[:-1], root)
        near = difflib.get_close_matches(keys[-1], valid, n=1, cutoff=0.6)
        fix = (
            f"Did you mean `{near[0]}`?"
            if near
            else f"Suggestion: remove it, or use one of {', '.join(sorted(valid))}."
        )
        return f"`{path}`: unknown key. {fix}"
    if error["type"] == "missing":
        text = _field_text(keys, root)
        return f"`{path}`: missing. Suggestion: add it{f' ({text})' if text else ''}"
    if error["type"] == "value_error":
        message = str(error["ctx"]["error"]).rstrip(".")
        return f"`{path}`: {message}."
    text = _field_text(keys, root)
    given = error["input"]
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool | type(None)) else ""
    if error["type"] in ("tuple_type", "list_type"):
        one = given if isinstance(given, str | int | float) else "..."
        return f"`{path}`: must be a list{shown}. Suggestion: write it as [{one}]{f' ({text})' if text else ''}"
    if error["type"] in ("dict_type", "model_type", "model_attributes_type"):
        keys_of = ", ".join(f"`{k}`" for k in _valid_keys(keys, root)) or "names of your choice"
        return f"`{path}`: must be a block of keys{shown}. Suggestion: give it keys of its own, as {keys_of}"
    if error["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        near = difflib.get_close_matches(str(given).lower(), choices, n=1, cutoff=0.6)
        fix = f"Did you mean `{near[0]}`?" if near else f"Suggestion: one of {', '.join(choices)}."
        return f"`{path}`: must be {error['ctx']['expected']}{shown}. {fix}"
    if error["type"] == "string_type" and isinstance(given, bool):
        return f"`{path}`: must be text, but YAML reads {given} as true or false. Suggestion: put it in quotes"
    fix = _fix(error, _field(keys, root))
    meaning = f" ({text.rstrip('.')})" if text else ""
    if error["type"] == "too_short":
        return f"`{path}`: is empty, at least {error['ctx']['min_length']} must stand there. Suggestion: {fix}{meaning}"
    return f"`{path}`: {error['msg']}{shown}. Suggestion: {fix}{meaning}"


_ASKED = {
    "int": "give a whole number",
    "float": "give a number",
    "bool": "give true or false",
    "string": "give a text in quotes",
    "string_pattern_mismatch": "start with a letter and use letters, digits and underscores only",
}
"""What to do about a value of the wrong sort, by the beginning of pydantic's name of the mistake."""


def _fix(error: Any, field: Any) -> str:
    """What to do about a value: what is allowed, or to leave the key out where that is possible."""
    kind, rest = error["type"], "" if field and field.is_required() else ", or leave the key out"
    choices = [a for a in _flatten(field.annotation) if isinstance(a, str)] if field else []
    if kind == "too_short":
        least = error["ctx"]["min_length"]
        named = f" of {', '.join(choices)}" if choices else ""
        return f"name at least {'one' if least == 1 else least}{named}{rest}"
    if kind.startswith(("greater_than", "less_than")):
        limits = " and ".join(_limits(field)) if field else ""
        return f"give a number {limits}{rest}".replace("  ", " ").replace(" ,", ",")
    asked = _ASKED.get(kind) or next((_ASKED[name] for name in _ASKED if kind.startswith(f"{name}_")), "")
    return f"{asked or 'see config/README.md'}{rest}"


def _section_at(keys: list[str], root: type[BaseModel]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = root
    for key in keys:
        if model is None:
            return None
        if key not in model.model_fields:
            continue  # the free key of a dictionary
        annotation = model.model_fields[key].annotation
        model = next((a for a in _flatten(annotation) if isinstance(a, type) and issubclass(a, BaseModel)), None)
    return model


def _flatten(annotation: Any) -> list[Any]:
    inner = get_args(annotation)
    return [annotation] if not inner else [b for a in inner for b in _flatten(a)]


def _valid_keys(keys: list[str], root: type[BaseModel]) -> list[str]:
    model = _section_at(keys, root)
    return list(model.model_fields) if model else []


def _field_text(keys: list[str], root: type[BaseModel]) -> str:
    field = _field(keys, root)
    return field.description or "" if field else ""


def _field(keys: list[str], root: type[BaseModel]) -> Any:
    """The field of a key, or None for the free key of a dictionary."""
    while keys and re.fullmatch(r"\d+", keys[-1]):
        keys = keys[:-1]
    model = _section_at(keys[:-1], root) if keys else None
    return model.model_fields.get(keys[-1]) if model else None


def json_schema() -> str:
    """JSON schema of the config, as committed under `workflow/schemas`."""
    schema = Config.model_json_schema()
    schema["required"].remove("endpoint")  # not beside `bundle.apply`, which is said where the config is read
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def reference_tables(root: type[BaseModel] = Config, top: str = "Top level") -> str:
    """Markdown tables of every key with default and meaning, as committed in `config/README.md`.

    Parameters
    ----------
    root
        The model of the file.
    top
        Heading of its own keys.
    """
    parts: list[str] = []
    seen: set[type] = set()

    def add(model: type[BaseModel], path: str) -> None:
        if model in seen:
            return
        seen.add(model)
        parts.append(f"### {f'`{path}`' if path else top}\n")
        parts.append((model.__doc__ or "").strip().split("\n")[0] + "\n")
        parts.append("| key | default | meaning |\n|---|---|---|")
        children = []
        for name, field in model.model_fields.items():
            default = "**required**" if field.is_required() else _default_text(field.get_default())
            parts.append(f"| `{name}` | {default} | {field.description}{_bounds(field)} |")
            inner = next(
                (a for a in _flatten(field.annotation) if isinstance(a, type) and issubclass(a, BaseModel)), None
            )
            if inner is not None:
                free = "." + "<name>" if "dict" in str(field.annotation) else ""
                children.append((inner, f"{path}.{name}{free}".lstrip(".")))
        parts.append("")
        for inner, inner_path in children:
            add(inner, inner_path)

    add(root, "")
    return "\n".join(parts)


def _default_text(value: Any) -> str:
    if isinstance(value, BaseModel) or (isinstance(value, dict) and value):
        return "see below"
    if isinstance(value, tuple):
        value = list(value)
    return f"`{json.dumps(value)}`"


def _limits(field: Any) -> list[str]:
    """Bounds of a number."""
    signs = {"Ge": ("≥", "ge"), "Gt": (">", "gt"), "Le": ("≤", "le"), "Lt": ("<", "lt")}
    return [
        f"{signs[type(m).__name__][0]} {getattr(m, signs[type(m).__name__][1])}"
        for m in field.metadata
        if type(m).__name__ in signs
    ]


def _least(field: Any) -> list[str]:
    """The least length of a list or of a text."""
    listed = any(get_origin(a) in (tuple, dict) for a in (field.annotation, *get_args(field.annotation)))
    least = [m.min_length for m in field.metadata if type(m).__name__ == "MinLen"]
    return [f"at least {n} {('entry' if n == 1 else 'entries') if listed else 'characters'}" for n in least]


def _bounds(field: Any) -> str:
    found = _limits(field) + _least(field)
    choices = [a for a in _flatten(field.annotation) if isinstance(a, str)]
    if choices:
        found.append("one of " + ", ".join(f"`{c}`" for c in choices))
    return f" ({', '.join(found)})" if found else ""


def resolve(folder: str, path: str) -> Path:
    """Path of a data file given relative to the data folder."""
    return Path(folder) / path
