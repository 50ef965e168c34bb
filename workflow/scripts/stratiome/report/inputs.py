"""Everything that the report is drawn from."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from stratiome import tables
from stratiome.config import (
    AuditConfig,
    DataConfig,
    EndpointConfig,
    EvaluationConfig,
    FeatureConfig,
    LatentConfig,
    PrognosisConfig,
    ResampleConfig,
    SubgroupConfig,
    TreatmentConfig,
)
from stratiome.report.disclosure import STEP_EVENTS, count, is_small, merged, part, shareable
from stratiome.report.jobs import Rule, read_rules
from stratiome.report.outcome_words import OutcomeWords
from stratiome.report.traced import Ledger, cells
from stratiome.report.without_time import without_time
from stratiome.report.words import OMICS, label

if TYPE_CHECKING:
    from collections.abc import Mapping

CROSS, GIVEN, SITES, TEMPORAL, LOCKED = tables.DESIGNS

CURVES = {
    "subgroup_curves": ("model", "subgroup"),
    "treatment_curves": ("treatment", "subgroup", "weighting", "arm"),
    "treatment_profiles": ("treatment", "profile", "arm"),
}
"""Tables of survival curves -> columns that name a curve."""
PROTECTING = frozenset({"flow", "resample_summary", "quality_summary"})
"""Tables that say which counts are small beside others; without them less is protected."""
ROW = "_row"
"""Column with the place of a row in its artefact."""

CONTRACTS: dict[str, type[tables.Table]] = {
    "flow": tables.PatientFlow,
    "baseline": tables.CohortBaseline,
    "overlap_omics": tables.OmicOverlap,
    "outcome_counts": tables.OutcomeCounts,
    "quality_summary": tables.QualitySummary,
    "quality_bars": tables.QualityBars,
    "notes": tables.ReadNotes,
    "identity_summary": tables.QualityIdentitySummary,
    "batches": tables.QualityBatch,
    "missingness": tables.QualityMissingness,
    "treatment_records": tables.QualityTreatment,
    "feature_summary": tables.FeatureSummary,
    "resample_summary": tables.ResampleSummary,
    "subgroup_summary": tables.SubgroupSummary,
    "subgroup_agreement": tables.SubgroupAgreement,
    "subgroup_profile": tables.SubgroupProfile,
    "subgroup_markers": tables.SubgroupMarkers,
    "subgroup_single_features": tables.SubgroupSingleFeatures,
    "subgroup_curves": tables.SubgroupCurves,
    "subgroup_tests": tables.SurvivalTests,
    "subgroup_selection": tables.SubgroupSelection,
    "subgroup_stability": tables.SubgroupStability,
    "subgroup_information": tables.SubgroupInformation,
    "subgroup_comparisons": tables.SubgroupTests,
    "subgroup_survival": tables.SubgroupSurvival,
    "subgroup_associations": tables.SubgroupAssociations,
    "subgroup_sites": tables.SubgroupSites,
    "subgroup_site_survival": tables.SubgroupSiteSurvival,
    "subgroup_site_summary": tables.SubgroupSiteSummary,
    "subgroup_alterations": tables.SubgroupAlterations,
    "subgroup_gene_sets": tables.SubgroupGeneSets,
    "gene_set_coverage": tables.GeneSetCoverage,
    "subgroup_consensus": tables.SubgroupConsensus,
    "latent_map": tables.LatentMap,
    "training": tables.TrainingHistory,
    "prognosis_metrics": tables.PrognosisMetrics,
    "prognosis_resamples": tables.PrognosisResamples,
    "calibration": tables.Calibration,
    "decisions": tables.PrognosisDecisions,
    "coverage": tables.PrognosisCoverage,
    "importance": tables.PrognosisImportance,
    "shares": tables.PrognosisShares,
    "explained": tables.PrognosisExplained,
    "attribution_checks": tables.PrognosisAttributionChecks,
    "calibration_curves": tables.CalibrationCurves,
    "calibration_measures": tables.CalibrationSummary,
    "risks_by_outcome": tables.RiskDistribution,
    "coefficients": tables.PrognosisCoefficients,
    "sample_size": tables.PrognosisSampleSize,
    "instability": tables.PrognosisInstability,
    "bands": tables.PrognosisBands,
    "optimism": tables.PrognosisOptimism,
    "proportional": tables.ProportionalHazards,
    "contrasts": tables.PrognosisContrasts,
    "spread": tables.PrognosisSpread,
    "site_summary": tables.PrognosisSites,
    "fairness_groups": tables.Fairness,
    "fairness_tests": tables.FairnessTests,
    "fairness_recalibration": tables.FairnessRecalibration,
    "models": tables.PrognosisModels,
    "robustness": tables.Robustness,
    "treatment_trial": tables.TreatmentTrial,
    "treatment_flow": tables.PatientFlow,
    "treatment_balance": tables.TreatmentBalance,
    "treatment_overlap": tables.TreatmentOverlap,
    "treatment_curves": tables.TreatmentCurves,
    "treatment_effects": tables.TreatmentEffects,
    "treatment_averages": tables.TreatmentAverages,
    "treatment_differences": tables.TreatmentDifferences,
    "treatment_difference_tests": tables.TreatmentDifferenceTests,
    "treatment_policy": tables.TreatmentPolicy,
    "treatment_policy_trees": tables.TreatmentPolicyTrees,
    "treatment_profiles": tables.TreatmentProfiles,
    "treatment_profile_effects": tables.TreatmentProfileEffects,
    "treatment_learners": tables.TreatmentLearners,
    "treatment_targeting": tables.TreatmentTargeting,
    "treatment_sensitivity": tables.TreatmentSensitivity,
    "treatment_robustness": tables.TreatmentRobustness,
    "treatment_sites": tables.TreatmentSites,
    "treatment_site_summary": tables.TreatmentSiteSummary,
    "treatment_interaction": tables.TreatmentInteraction,
    "external_metrics": tables.OtherCohortMetrics,
    "external_subgroups": tables.OtherCohortSubgroups,
    "external_effects": tables.OtherCohortEffects,
    "external_order": tables.OtherCohortOrder,
    "external_patients": tables.OtherCohortPatients,
}
"""Contract of each table, by the name of its input."""


@dataclass(frozen=True)
class Settings:
    """The parts of the config that the report states."""

    cohort: str
    data: DataConfig
    endpoint: EndpointConfig
    title: str | None = None
    event_name: str | None = None
    description: str = ""
    covariates: tuple[str, ...] = ()
    site: str | None = None
    known_labels: tuple[str, ...] = ()
    treatments: Mapping[str, TreatmentConfig] = field(default_factory=dict)
    resamples: ResampleConfig = field(default_factory=ResampleConfig)
    features: FeatureConfig | None = None
    latent: LatentConfig = field(default_factory=LatentConfig)
    subgroups: SubgroupConfig = field(default_factory=SubgroupConfig)
    prognosis: PrognosisConfig | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    seed: int = 1
    sites: Mapping[str, Sequence[str]] = field(default_factory=dict)  # resample -> sites that it holds out

    @property
    def min_cell(self) -> int:
        """Smallest count that may be printed."""
        return self.audit.min_cell

    @property
    def event(self) -> str | None:
        """What patients stay free of, where it is not just death."""
        if self.event_name is None and self.endpoint.competing is not None:
            return "the event"
        return self.event_name

    @property
    def words(self) -> OutcomeWords:
        """What the outcome, its measures and gains are called."""
        if self.endpoint.response is not None:
            return OutcomeWords(False, self.event_name or "no response")
        return OutcomeWords(True, self.event)

    @property
    def names(self) -> dict[str, str]:
        """Names of columns and omics that readers are spared -> what is printed."""
        endpoint, treatments = self.endpoint, self.treatments.values()
        given = [endpoint.time, endpoint.event, endpoint.response, self.site, *self.covariates, *self.known_labels]
        given += [*self.data.columns, *self.audit.groups, *(t.column for t in treatments)]
        given += [c for t in treatments for c in t.confounders]
        found = {name: label(name) for name in given if name and "_" in name}
        return found | {omic: name for omic in (*self.data.omics, *OMICS) if (name := label(omic)) != omic}

    @property
    def alpha(self) -> float:
        """Level of tests that goes with the level of the intervals."""
        return round(1 - self.evaluation.level, 10)

    @property
    def level(self) -> str:
        """Level of the intervals in words, as `95 %`."""
        return f"{100 * self.evaluation.level:g} %"


@dataclass(frozen=True)
class ReportInputs:
    """Tables, figures, manifest and settings of one report.

    Attributes
    ----------
    settings
        The parts of the config that the report states.
    manifest
        Content of `manifest.json`; missing keys are tolerated.
    tables
        By the names of `CONTRACTS`; a table that is absent counts as empty.
    quality
        Omic -> table of its features.
    files
        Table -> its files, read one beneath the other.
    ledger
        Where given, numbers of `rows` are traced in it.
    public
        Whether the page is to be shared: steps of survival curves are merged, and nothing is drawn of single patients.
    absent
        Table (or `quality`, `manifest`) -> its files that were not there; such a table is empty.
    asked
        Where given, names of tables are added to it as they are read.
    """

    settings: Settings
    manifest: dict[str, Any]
    tables: Mapping[str, pl.DataFrame]
    quality: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ledger: Ledger | None = None
    public: bool = False
    absent: Mapping[str, Sequence[str]] = field(default_factory=dict)
    asked: set[str] | None = None
    rules: Sequence[Rule] = ()
    _read: dict[str, list[dict[str, Any]]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def table(self, name: str) -> pl.DataFrame | None:
        """The whole of a table; none if it is absent."""
        self.note(name)
        return self.tables.get(name)

    def note(self, *names: str) -> None:
        """That tables are read, where somebody asks."""
        if self.asked is not None:
            self.asked.update(names)

    def made_of(self, cohort: str) -> list[str]:
        """Cohort, config and version for the last line of a page."""
        version = (self.manifest.get("created_with") or {}).get("stratiome")
        said = {"config": self.manifest.get("config_hash"), "Stratiome": version}
        return [f"Cohort {cohort}", *(f"{name} {value}" for name, value in said.items() if value)]

    def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        """Rows of a table whose columns equal the given values (null matches null), in their order."""
        frame = self.table(table)
        if frame is None:
            return []
        if table not in self._read:
            self._read[table] = self._every(table, frame)
        rows = [dict(row) for row in self._read[table] if all(row[c] == v for c, v in where.items())]
        if self.public and table in CURVES:  # steps are merged by the exact numbers of events
            return [shareable(row, self.settings.min_cell) for row in _merged(rows, CURVES[table])]
        return rows

    def _every(self, table: str, frame: pl.DataFrame) -> list[dict[str, Any]]:
        """All rows of a table; thousands of questions to it are answered faster from these than by its frame."""
        frame = frame if ROW in frame.columns else frame.with_row_index(ROW)
        rows = frame.to_dicts()
        places = [row.pop(ROW) for row in rows]
        if self.ledger is not None:
            rows = [cells(row, table, place, self.ledger) for row, place in zip(rows, places, strict=True)]
        if self.public and table not in CURVES:
            return [shareable(row, self.settings.min_cell) for row in rows]
        return rows

    def row(self, table: str, **where: Any) -> dict[str, Any] | None:
        """First such row, or none."""
        found = self.rows(table, **where)
        return found[0] if found else None

    def telling(self, columns: Collection[str]) -> list[str]:
        """Notes on those of the columns that nearly tell the outcome, as `covariate `x` nearly tells ...`."""
        known = tables.TELLS_OUTCOME
        notes = [r["note"] for r in self.rows("notes") if any(f"`{c}` {known}" in r["note"] for c in columns)]
        return [note[: note.index(known) + len(known)] for note in notes]

    def people(self, n: int | None) -> str:
        """A number of patients with an outcome as it may be printed: blurred where the flow blurs it."""
        full = self.row("resample_summary", design="full")
        wholes = [max((r["n_in"] for r in self.rows("flow", step="outcome")), default=None)]
        wholes += [full["n_train"]] if full and full["n_locked"] else []  # those outside the locked test set
        least = self.settings.min_cell
        near = [w for w in wholes if w is not None and n is not None and is_small(w - n, least)]
        return part(n, near[0] if near else None, least)

    def size(self, n: int | None) -> str:
        """The same for captions: `n = 600` or `n >590`."""
        text = self.people(n)
        return f"n {text}" if text.startswith((">", "<")) else f"n = {text}"

    def sample(self, row: Mapping[str, Any]) -> str:
        """Patients and events of a claim for captions: `n = 600, 378 events`."""
        return f"{self.size(row['n'])}, {count(row['events'], self.settings.min_cell)} events"

    @property
    def wholes(self) -> list[int]:
        """Sizes that the page prints and other tables count parts of: cohort, outcome, arms, who has a subgroup."""
        steps = self.rows("flow", step="outcome")
        flow = [steps[0]["n_in"], steps[-1]["n_out"]] if steps else []
        events = [r["n"] for r in self.rows("outcome_counts")]
        arms = self.rows("treatment_records", finding="recorded")
        groups = self.of_subgroups
        assigned = [sum(sizes[i] for sizes in groups.values()) for i in (0, 1)]
        return [*flow, *events, *(n for r in arms for n in (r["n_treated"], r["n_untreated"])), *assigned]

    @property
    def of_subgroups(self) -> dict[int, tuple[int, int]]:
        """Held-out patients and events of each subgroup of the latent model."""
        rows = self.rows("subgroup_summary", model="vae")
        return {r["subgroup"]: (r["n"], r["events"]) for r in rows if r["subgroup"]}

    @property
    def steps(self) -> str:
        """What a caption of survival curves adds where their steps are merged."""
        return (
            f" Steps stand for at least {STEP_EVENTS} events each." if self.public and self.settings.words.timed else ""
        )

    @property
    def rare(self) -> frozenset[str]:
        """Omics that fewer patients have than may be told; nothing but that is said of them."""
        sizes = [(r["omic"], r["value"]) for r in self.rows("quality_summary", metric="patients")]
        return frozenset(omic for omic, n in sizes if is_small(n, self.settings.min_cell))

    @property
    def simulated(self) -> bool:
        """Whether the truth was planted."""
        return self.settings.data.simulate is not None

    @property
    def everyone(self) -> str:
        """Who `full` was trained on, in words."""
        full = self.row("resample_summary", design="full")
        return "all patients outside the locked test set" if full and full["n_locked"] else "all patients"

    @property
    def headline(self) -> str:
        """Design that verdicts are read from: cross-validation, or the given splits where there are no folds."""
        designs = {r["design"] for r in self.rows("resample_summary")}
        return GIVEN if GIVEN in designs and CROSS not in designs else CROSS

    def resamples(self, design: str) -> list[str]:
        """Names of the resamples of a design, in their order."""
        return [r["resample"] for r in self.rows("resample_summary", design=design)]

    def found(self, model: str = "vae") -> int | None:
        """Number of subgroups chosen in all patients; null if none was recorded."""
        row = self.row("subgroup_selection", resample="full", model=model, chosen=True)
        return int(row["k"]) if row else None


def _merged(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of curves, one after another by time, with steps of several events each."""
    groups = groupby(rows, key=lambda row: [row[k] for k in keys])
    return [row for _, curve in groups for row in merged(list(curve))]


def _masked(frame: pl.DataFrame, min_cell: int) -> pl.DataFrame:
    """Numbers of few patients in the words of methods, as `truncated at G = 0.05 (3 patients)`, suppressed."""
    if "method" not in frame.columns or min_cell < 2:
        return frame
    few = "|".join(str(n) for n in range(1, min_cell))
    return frame.with_columns(pl.col("method").str.replace_all(rf"\b(?:{few}) patients?\b", f"<{min_cell} patients"))


def read_inputs(
    settings: Settings,
    manifest: str,
    paths: Mapping[str, str | Sequence[str]],
    quality: Sequence[str] = (),
    workflow: str | None = None,
) -> ReportInputs:
    """Read and check every table.

    A table of which a file is not there counts as absent as a whole, and is named in `absent`.

    Parameters
    ----------
    settings
        The parts of the config that the report states.
    manifest
        Path of `manifest.json`.
    paths
        Input name (of `CONTRACTS`) -> path, or list of none or more paths, read one beneath the other.
    quality
        One parquet table per omic; the stem of the file is the omic.
    workflow
        Path of `workflow.json`.

    Raises
    ------
    TableError
        If a table breaks its contract.
    """
    files = {name: [given] if isinstance(given, str) else list(given) for name, given in paths.items()}
    beside = {"manifest": [manifest], "quality": quality}
    beside |= {"workflow": [workflow]} if workflow else {}
    absent = {n: gone for n, given in (files | beside).items() if (gone := [p for p in given if not Path(p).is_file()])}
    files |= {name: [] for name in absent if name in files}
    read: dict[str, pl.DataFrame] = {}
    for name, given in files.items():
        parts = [tables.read_table(p, CONTRACTS[name]) for p in given]
        frame = pl.concat(parts) if parts else tables.from_rows([], CONTRACTS[name])
        read[name] = _masked(frame.with_row_index(ROW), settings.min_cell)
    if not settings.words.timed:
        read = without_time(read)
    return ReportInputs(
        settings=settings,
        manifest={} if "manifest" in absent else json.loads(Path(manifest).read_text(encoding="utf-8")),
        tables=read,
        quality={Path(p).stem: _features(p) for p in quality},
        files=files,
        absent=absent,
        rules=read_rules(workflow) if workflow else (),
    )


def _features(path: str) -> pl.DataFrame:
    """Features of an omic; none where the file is not there, so that the omic is named all the same."""
    there = Path(path).is_file()
    return tables.read_table(path, tables.QualityFeatures) if there else tables.from_rows([], tables.QualityFeatures)
