"""Every table that crosses a rule: one strict pandera model each, one line a column, validated on write and on read.

Conventions: times are in months; `subgroup` 0 means unassigned; `held_out` is True where the number was obtained on
patients that no fitted part has seen; a claim carries estimate, lower, upper, n, events, method and held_out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl


class TableError(ValueError):
    """A table that breaks its contract."""


class Table(pa.DataFrameModel):
    """Base of all tables: exactly these columns, in this order, with these types."""

    class Config:
        strict = True
        ordered = True
        coerce = False


def _null(**checks: Any) -> Any:
    return pa.Field(nullable=True, **checks)


class Claim(Table):
    """Columns that every claimed number carries (base of the evaluation tables)."""

    estimate: float = _null()  # NaN-free; null = not estimable, `method` says why
    lower: float = _null()  # lower end of the interval
    upper: float = _null()  # upper end of the interval
    n: int = pa.Field(ge=0)  # patients
    events: int = pa.Field(ge=0)  # events among them
    method: str  # estimator and interval
    held_out: bool  # computed on patients unseen in fitting


class PatientFlow(Table):
    """Patients at every step: n in, n out and why."""

    step: str  # stage
    scope: str  # what it concerns: `cohort`, an omic, an endpoint or a treatment
    n_in: int = pa.Field(ge=0)
    n_out: int = pa.Field(ge=0)
    reason: str  # why the difference left, or "kept"


class ReadNotes(Table):
    """What was found or repaired on reading a file; notes name no patient."""

    scope: str  # `clinical table` or the omic
    file: str  # name of the file, without its folder
    note: str


class OmicOverlap(Table):
    """Patients by the set of omics they have."""

    omics: str  # omic names joined by " + ", or "none"
    n: int = pa.Field(ge=0)


class Outcome(Table):
    """Follow-up of the patients with a usable outcome."""

    patient_id: str = pa.Field(unique=True)
    time_months: float = pa.Field(gt=0)  # from time zero to the event or the end of follow-up
    event: int = pa.Field(isin=[0, 1])  # 1 = event, 0 = censored
    competing: int = pa.Field(isin=[0, 1])  # 1 = died of another cause (event 0)


class NegativeControls(Table):
    """Follow-up to an outcome that a treatment cannot change."""

    patient_id: str
    treatment: str
    time_months: float = pa.Field(gt=0)
    event: int = pa.Field(isin=[0, 1])  # 1 = it happened, 0 = censored


class OutcomeCounts(Table):
    """How the follow-up of the patients with a usable outcome ended."""

    status: str = pa.Field(isin=["event", "competing", "censored"])
    n: int = pa.Field(ge=0)


class CohortBaseline(Table):
    """Who the patients are: the rows of a table 1, in the order in which they are printed; then the same by arm."""

    treatment: str = _null()  # null = all patients
    arm: int = _null(isin=[0, 1])  # of `treatment`, as recorded
    variable: str  # clinical column, the site, or follow-up
    level: str = _null()  # class of a clinical column, value of a number of few values, site; else null
    kind: str = pa.Field(
        isin=["mean", "median", "share", "months"]
    )  # months: median by reverse Kaplan-Meier (Schemper 1996)
    value: float = _null()  # mean or median in the unit of the column, share (0 to 1), or months
    sd: float = _null()  # of a mean
    lower: float = _null()  # first quartile, or lower end of the interval of the median follow-up
    upper: float = _null()  # third quartile, or upper end
    n: int = pa.Field(ge=0)  # patients with a value
    count: int = _null()  # patients with the level
    missing: int = pa.Field(ge=0)  # patients without a value


class QualityFeatures(Table):
    """Quality of each feature of one omic."""

    omic: str
    feature: str
    n: int = pa.Field(ge=0)  # patients with a value
    missing: float = pa.Field(ge=0, le=1)  # share missing among the patients who have the omic
    mean: float = _null()  # on the scale of the input
    sd: float = _null()
    minimum: float = _null()
    maximum: float = _null()
    tail: float = _null()  # largest distance from the median in robust SD; null for reads and 0/1
    block: int = _null(ge=1)  # group of features missing in the very same patients, 1 = the largest; null = none
    flag: str  # "" or what is wrong with it: constant, mostly missing, duplicate, heavy tail


class QualityBars(Table):
    """Bars of the figure of each omic."""

    omic: str
    panel: str = pa.Field(isin=["values", "genes", "patients", "missing"])
    lower: float  # from where to where the bar stands on the axis
    upper: float
    height: float = pa.Field(ge=0)  # values or features, share mutated; of patients, share of the highest bar
    x: str  # what the axis beneath tells, with its unit
    y: str  # what the height tells
    note: str  # what has no bar, or ""


class QualitySummary(Table):
    """Quality of each omic in one line a metric."""

    omic: str
    metric: str  # e.g. patients, features, missing values, constant features
    value: float = _null()
    note: str  # what it means, or ""


class QualityIdentity(Table):
    """Patients who may not be who they are said to be. Names patients: it stays with the data."""

    check: str = pa.Field(isin=["duplicate", "concordance", "sex"])
    scope: str  # omic, or the two omics compared, as "cna + rna"
    patient_id: str
    partner: str = _null()  # the other patient: the duplicate, or whose values fit better; null = nobody stands out
    score: (
        float  # duplicate: correlation; concordance: fit to the own profile, SDs above that to others'; sex: see note
    )
    note: str  # what was found, in words


class QualityIdentitySummary(Table):
    """What each check of identity could judge, and how many patients it flagged."""

    check: str = pa.Field(isin=["duplicate", "concordance", "sex"])
    scope: str
    n: int = pa.Field(ge=0)  # patients judged
    features: int = pa.Field(ge=0)  # features used
    flagged: int = pa.Field(ge=0)  # patients
    found: float = _null(ge=0, le=1)  # concordance: share of planted swaps that was found
    false_alarms: float = _null(ge=0, le=1)  # concordance: share of right patients expected to be flagged
    note: str  # why it could not be judged, or ""


class QualityBatch(Table):
    """Association of each batch variable with outcome, treatments, known labels and other batches."""

    batch: str  # clinical column, or "omic: column" of its table of samples
    role: str = pa.Field(isin=["outcome", "treatment", "known label", "batch"])  # of `variable`
    variable: str
    measure: str  # Cramer's V, eta squared or r squared, each corrected for bias
    value: float = _null()  # of the measure; null = not estimable, `note` says why
    strength: float = _null(ge=0, le=1)  # Cramer's V, or the root of the others: what the limit is compared with
    limit: float = pa.Field(ge=0, le=1)
    p_value: float = _null(ge=0, le=1)
    n: int = pa.Field(ge=0)  # patients with both
    beyond: bool  # strength above the limit
    note: str


class QualityMissingness(Table):
    """Whether what is missing depends on who the patients are."""

    subject: str = pa.Field(isin=["omic", "feature block", "clinical column", "outcome"])
    name: str  # omic or column; those that the very same patients lack are joined by " + "
    block: str  # of a feature block: its features, shortened; else ""
    finding: str = pa.Field(
        isin=["test", "all missing", "missing together"]
    )  # `all`: every patient of a level lacks it
    role: str  # of `variable`: batch, outcome, treatment, known label, covariate; "" of `missing together`
    variable: str
    level: str  # of `all missing`; else ""
    test: str  # chi-squared, Fisher, Mann-Whitney, or ""
    measure: str  # Cramer's V corrected for bias, or AUC: probability that a patient who lacks it has the larger value
    effect: float = _null(ge=0, le=1)
    p_value: float = _null(ge=0, le=1)
    p_holm: float = _null(ge=0, le=1)  # over all tests of the table
    n: int = pa.Field(ge=0)  # patients with a value of `variable`, of `all missing`: patients of the level
    missing: int = pa.Field(ge=0)  # of these, who lack it


class QualityTreatment(Table):
    """Each treatment as it is recorded: crude comparisons that warn, and are no effects."""

    treatment: str  # key of the config
    finding: str = pa.Field(isin=["recorded", "crude", "early", "later", "goes with"])
    variable: str  # of `goes with`: covariate or confounder; else ""
    until_months: float = _null(ge=0)  # of `early` and `later`: the time that parts them
    estimate: float = _null()  # hazard ratio, treated against untreated; `goes with`: strength, 0 to 1
    lower: float = _null()  # 95 % interval of the hazard ratio
    upper: float = _null()
    p_value: float = _null(ge=0, le=1)  # `early`: that it is no lower than later; `goes with`: of the association
    n_treated: int = pa.Field(ge=0)  # patients; `crude` to `later`: of those with an outcome and still followed
    n_untreated: int = pa.Field(ge=0)
    n_missing: int = pa.Field(ge=0)  # of `recorded`: patients without a record; else 0
    events: int = pa.Field(ge=0)  # within the time that is compared, both arms


DESIGNS = ["cross-validation", "given splits", "leave-site-out", "temporal", "locked"]
"""Ways of holding patients out; the first one that an analysis has gives its verdicts."""


class Resamples(Table):
    """Role of each patient in each resample."""

    patient_id: str
    resample: str  # full, cv-<repeat>-<fold>, site-<site>, temporal, given-<name>, locked
    role: str = pa.Field(isin=["train", "test", "out"])


class FeatureSummary(Table):
    """Features of one omic in one resample: what was kept, dropped and transformed on its training patients."""

    resample: str
    omic: str
    n_train: int = pa.Field(ge=0)  # training patients who have the omic
    n_features_in: int = pa.Field(ge=0)
    n_kept: int = pa.Field(ge=0)
    n_rank_transformed: int = pa.Field(ge=0)  # of the kept ones: normal scores of ranks, for heavy tails
    n_dropped_missing: int = pa.Field(ge=0)  # too many values missing
    n_dropped_constant: int = pa.Field(ge=0)  # no variation; 0/1 features: too few carriers or non-carriers
    n_dropped_variance: int = pa.Field(ge=0)  # beyond `max_features`, by variance
    n_clipped: int = pa.Field(ge=0)  # training values brought back to 8 SD


class ResampleSummary(Table):
    """Size of each resample, in the order in which they are made."""

    resample: str
    design: str = pa.Field(isin=["full", *DESIGNS])
    n_train: int = pa.Field(ge=0)
    n_test: int = pa.Field(ge=0)
    n_out: int = pa.Field(ge=0)  # neither
    n_locked: int = pa.Field(ge=0)  # of n_out: in the locked test set
    n_unplaced: int = pa.Field(ge=0)  # of n_out: without a date, or not in the file of splits
    events_train: int = pa.Field(ge=0)
    events_test: int = pa.Field(ge=0)


class TrainingHistory(Table):
    """Losses of the latent model."""

    member: int = pa.Field(ge=0)
    epoch: int = pa.Field(ge=0)
    train_loss: float
    validation_loss: float


class Subgroups(Table):
    """Subgroup of each patient in one resample."""

    patient_id: str
    resample: str
    role: str = pa.Field(isin=["train", "test", "out"])
    model: str  # vae, or a baseline: pca, mofa, snf
    subgroup: int = pa.Field(ge=0)  # 1..K, 0 = unassigned
    probability: float = pa.Field(ge=0, le=1)  # of the most probable subgroup


class Memberships(Table):
    """Probability of each subgroup for each patient."""

    patient_id: str
    model: str
    subgroup: int = pa.Field(ge=1)
    probability: float = pa.Field(ge=0, le=1)


class SubgroupSelection(Table):
    """Evidence for each number of subgroups."""

    resample: str
    model: str
    k: int = pa.Field(ge=1)
    stability: float = _null()  # mean adjusted Rand index between subsamples (null for k = 1)
    null_mean: float = _null()  # the same in reference cohorts without subgroups
    null_upper: float = _null()  # 95th percentile of the same
    p_value: float = _null()  # of the largest standardised excess over all k
    p_stable: float = _null()  # the same with unstable clusterings counted as no evidence; this one decides
    chosen: bool


class SubgroupStability(Table):
    """Bootstrap Jaccard index of each subgroup (Hennig 2007)."""

    resample: str
    model: str
    subgroup: int = pa.Field(ge=1)
    n: int = pa.Field(ge=0)
    jaccard: float = _null(ge=0, le=1)


class SubgroupInformation(Table):
    """What each set of omics tells of the places of patients in a latent space, on training patients."""

    resample: str
    model: str
    omics: str  # names with " + " between them
    n: int = pa.Field(ge=0)  # training patients with exactly these omics
    references: int = pa.Field(ge=0)  # training patients with more, from whom it was learned
    share: float = _null(le=1)  # share of the variance of their places; null if there are too few of them
    used: bool  # patients with these omics take part in finding subgroups


class PrognosisCurves(Table):
    """Predicted survival of held-out patients on the time grid; under competing risks, one minus the incidence."""

    patient_id: str
    resample: str
    model: str
    time_months: float = pa.Field(ge=0)
    survival: float = pa.Field(ge=0, le=1)


class PrognosisBounds(Table):
    """Lower bounds on the survival time of held-out patients."""

    patient_id: str
    resample: str
    model: str
    lower_months: float = pa.Field(ge=0)


class PrognosisCensoring(Table):
    """Probability that held-out patients are under observation, on the time grid."""

    patient_id: str
    resample: str
    time_months: float = pa.Field(ge=0)
    uncensored: float = pa.Field(ge=0, le=1)


class PrognosisPermuted(Table):
    """Predictions for held-out patients, one block of whose data belongs to another of them."""

    patient_id: str
    resample: str
    model: str
    block: str  # an omic, or `clinical`
    draw: int = pa.Field(ge=1)
    risk: float
    survival: float = pa.Field(ge=0, le=1)  # at the last horizon


class PrognosisContributions(Table):
    """What of the difference of a held-out patient's risk to the average patient's goes to each block."""

    patient_id: str
    resample: str
    block: str  # an omic, or `clinical`
    contribution: float  # in probability, at the last horizon; beyond 1 where another block takes it back


class PrognosisAttributions(Table):
    """Contributions of single features and of gene sets to the risk of held-out patients."""

    resample: str
    level: str = pa.Field(isin=["feature", "gene set"])
    block: str
    name: str
    size: int = pa.Field(ge=1)  # features
    n: int = pa.Field(ge=0)  # held-out patients who have the omic
    mean_absolute: float = pa.Field(ge=0)  # in probability
    direction: float = _null(ge=-1, le=1)  # correlation of value and contribution; null for sets, constant features
    random: float = _null(ge=0)  # mean of random sets of the same size; null for features


class PrognosisAttributionChecks(Table):
    """Whether attributions can be relied on."""

    resample: str
    block: str
    n: int = pa.Field(ge=0)
    steps: int = pa.Field(ge=0)
    error: float = pa.Field(ge=0)  # largest miss of the sum of attributions, in probability
    shuffled: float = _null(ge=-1, le=1)  # rank correlation of features with those of a model that learned nothing


class PrognosisRisks(Table):
    """Predicted risk score (log partial hazard, cause-specific) of held-out patients."""

    patient_id: str
    resample: str
    model: str
    risk: float
    spread: float = _null(ge=0)  # SD of the predicted risk at the last horizon over the members of an ensemble


class PrognosisCoefficients(Table):
    """Coefficients of the survival models (per SD for scaled inputs)."""

    resample: str
    model: str
    feature: str
    coefficient: float
    lower: float = _null()  # 95 % Wald interval, null where penalised
    upper: float = _null()
    reference: str = _null()  # what a clinical class is compared with; null for numbers, which are per SD


NOT_FITTED = "not fitted: "
"""Begins the note of a model that was wanted and could not be fitted, before the reason."""

TELLS_OUTCOME = "nearly tells who has the event"
"""In the note on a covariate that may be the outcome itself."""

EVENTS_PER_COEFFICIENT = "events per coefficient"
"""In the note of a model that has few of them for its size, after their number."""

PROGNOSIS_MODELS = (
    "kaplan_meier",
    "clinical",
    "clinical_omics",
    "clinical_latent",
    "clinical_factors",
    "clinical_forest",
    "forest",
    "deep",
    "stacked",
)
"""Models of prognosis by name, the simplest first."""

COUNTERPARTS = {
    "clinical_omics": "clinical",
    "clinical_latent": "clinical",
    "clinical_factors": "clinical",
    "forest": "clinical_forest",
}
"""Model with omics -> the same learner on clinical variables alone: their difference is what omics add."""
FLEXIBLE_REFERENCE = "clinical_forest"
"""The flexible learner without omics, which models that have no counterpart of their own are compared with, too."""

TREAT_ALL = "treat all"
"""Name of acting on everybody among the models of decision curves."""


class PrognosisModels(Table):
    """What was fitted in one resample."""

    resample: str
    model: str
    n: int = pa.Field(ge=0)  # training patients with an outcome
    events: int = pa.Field(ge=0)
    parameters: int = pa.Field(ge=0)  # coefficients that are not zero
    note: str  # e.g. penalty chosen, or why it could not be fitted
    stand_in: str = _null()  # model whose predictions it has, because it could not be fitted itself


class Propensity(Table):
    """Probability of treatment of each eligible patient."""

    patient_id: str
    resample: str
    treatment: str
    role: str = pa.Field(isin=["train", "test", "out"])
    treated: int = pa.Field(isin=[0, 1])
    propensity: float = pa.Field(ge=0, le=1)


class CounterfactualCurves(Table):
    """Survival under each arm for patients of a subgroup, learned in training patients."""

    resample: str
    treatment: str
    subgroup: int = pa.Field(ge=0)  # 0 = all eligible patients
    arm: int = pa.Field(isin=[0, 1])
    time_months: float = pa.Field(ge=0)
    survival: float = pa.Field(ge=0, le=1)
    n: int = pa.Field(ge=0)


class TreatmentScores(Table):
    """What held-out patients contribute to an effect, by models that have not seen them."""

    patient_id: str
    resample: str
    treatment: str
    contribution: float  # doubly robust, to the difference in restricted mean survival, months
    predicted: float  # the difference that Cox models of the confounders in each arm predict, months
    untreated_risk: float = pa.Field(ge=0, le=1)  # predicted risk at the last horizon without treatment
    propensity: float = pa.Field(ge=0, le=1)


class TreatmentPolicies(Table):
    """Whom of the held-out patients a rule would treat that was learned without them."""

    patient_id: str
    resample: str
    treatment: str
    rule: str = pa.Field(isin=["tree", "threshold"])
    treat: int = pa.Field(isin=[0, 1])


class TreatmentPolicyTrees(Table):
    """Rules in words, one row a node from the top: a question, or an end where something is done."""

    resample: str
    treatment: str
    rule: str = pa.Field(isin=["tree", "threshold"])
    node: int = pa.Field(ge=0)  # 0 = the first question
    parent: int = _null(ge=0)
    branch: str = pa.Field(isin=["", "no", "yes"])  # answer to the question of the parent
    kind: str = pa.Field(isin=["number", "class", "missing", "subgroup", "predicted effect", "end"])
    variable: str  # asked about; "" at an end
    level: str  # of `class` and `subgroup`: is it this one?
    threshold: float = _null()  # of `number` and `predicted effect`: is it above this one, in its own unit?
    treat: int = _null(isin=[0, 1])  # what is done at an end
    n: int = pa.Field(ge=0)  # training patients who get here


class TreatmentPredictions(Table):
    """Effect predicted for held-out patients by learners that have not seen them."""

    patient_id: str
    resample: str
    treatment: str
    learner: str  # constant, cox, interactions, forest, dr, r, or combined, the one that is used
    predicted: float  # difference in restricted mean survival, months


class LatentMap(Table):
    """Two-dimensional picture of the latent space (no identifiers)."""

    model: str
    projection: str = pa.Field(isin=["principal", "umap"])  # first two principal components, or UMAP of all dimensions
    x: float  # rounded
    y: float
    subgroup: int = pa.Field(ge=0)  # of `full`
    planted: int = _null()  # known to the simulator only
    site: str = _null()


class SubgroupAssignment(Table):
    """Pooled held-out subgroup of each patient, labels matched to `full`."""

    patient_id: str
    model: str
    subgroup: int = pa.Field(ge=0)  # held-out label
    full_subgroup: int = pa.Field(ge=0)
    probability: float = pa.Field(ge=0, le=1)


class SubgroupSummary(Claim):
    """One subgroup; the estimate is its Kaplan-Meier survival at the horizon on held-out patients."""

    model: str
    subgroup: int = pa.Field(ge=0)
    horizon_months: float
    share: float = pa.Field(ge=0, le=1)  # of all patients
    mean_probability: float = _null()
    jaccard: float = _null()


class SubgroupAgreement(Claim):
    """Agreement of held-out subgroups with known labels, planted truth, the labels of `full`, or another model."""

    model: str
    label: str  # known label column, "planted", "full", or "vae": the held-out subgroups of the deep model
    metric: str  # adjusted_rand_index or normalised_mutual_information


class SubgroupProfile(Table):
    """Clinical profile of each held-out subgroup."""

    model: str
    subgroup: int = pa.Field(ge=0)
    variable: str  # column, or column: level
    kind: str = pa.Field(isin=["mean", "share"])
    value: float = _null()
    sd: float = _null()
    n: int = pa.Field(ge=0)  # patients with a value
    count: int = _null()  # patients with the level
    effect: float = _null()  # standardised difference against all other subgroups


class SubgroupMarkers(Table):
    """Features that differ between subgroups of `full`; descriptive, they defined the groups."""

    model: str
    subgroup: int = pa.Field(ge=1)
    omic: str
    feature: str
    effect: float  # standardised mean difference against all other subgroups


class SubgroupSingleFeatures(Table):
    """How well the best single feature of each omic tells the subgroups of `full` apart; descriptive."""

    model: str
    omic: str
    feature: str
    n: int = pa.Field(ge=0)  # training patients who are assigned and have the feature
    estimate: float = pa.Field(ge=-1, le=1)  # adjusted Rand index of its intervals and the subgroups
    linked: int = pa.Field(ge=0)  # other features of the omic that are nearly the same


class SubgroupCurves(Table):
    """Kaplan-Meier curves of held-out subgroups."""

    model: str
    subgroup: int = pa.Field(ge=0)
    time_months: float = pa.Field(ge=0)
    survival: float = pa.Field(ge=0, le=1)
    lower: float = pa.Field(ge=0, le=1)
    upper: float = pa.Field(ge=0, le=1)
    at_risk: int = pa.Field(ge=0)
    events: int = pa.Field(ge=0)  # up to and including this time


class SurvivalTests(Table):
    """Log-rank tests of groups; subgroups on held-out patients, known labels as they are."""

    grouping: str  # e.g. "vae subgroups", or a known label column
    statistic: float = _null()  # chi-squared
    df: int = pa.Field(ge=0)
    p_value: float = _null()
    n: int = pa.Field(ge=0)
    events: int = pa.Field(ge=0)
    method: str
    held_out: bool


class SubgroupTests(Table):
    """Tests that held-out subgroups do not differ in survival."""

    model: str
    test: str = pa.Field(isin=["log-rank", "stratified log-rank", "likelihood ratio"])
    statistic: float = _null()  # chi-squared
    df: int = pa.Field(ge=0)
    p_value: float = _null(ge=0, le=1)
    n: int = pa.Field(ge=0)
    events: int = pa.Field(ge=0)
    method: str
    held_out: bool


class SubgroupSurvival(Claim):
    """Restricted mean survival of held-out subgroups, and what subgroups add to the clinical Cox model."""

    model: str
    quantity: str = pa.Field(
        isin=["rmst", "rmst_difference", "uno_c_clinical", "uno_c_with_subgroups", "uno_c_difference"]
    )
    subgroup: int = _null(ge=1)  # null for concordance; months for the restricted means
    versus: int = _null(ge=1)  # of a difference: the largest subgroup, subtracted
    tau_months: float = pa.Field(gt=0)


class SubgroupAssociations(Claim):
    """Association of held-out subgroups with batches and covariates: is a subgroup a batch?"""

    model: str
    variable: str  # clinical column, or "omic: column" of its table of samples
    role: str = pa.Field(isin=["batch", "covariate"])
    measure: str  # Cramer's V, or eta squared
    strength: float = _null(ge=0, le=1)  # Cramer's V, or the root of eta squared: what the limit is compared with
    limit: float = pa.Field(ge=0, le=1)
    beyond: bool  # strength above the limit


class SubgroupSites(Claim):
    """Agreement, on patients of a site, of the subgroups of a model that has not seen it with those of `full`."""

    model: str
    resample: str  # site-<site>
    k: int = pa.Field(ge=1)  # subgroups that this model found
    standard_error: float = _null(ge=0)


class SubgroupConsensus(Table):
    """How often patients are put together when subgroups are found anew, averaged over bins of patients.

    Bins lie within a subgroup of `full`; the upper triangle with its diagonal.
    """

    model: str
    row: int = pa.Field(ge=1)  # bin, from the core of the first subgroup on
    column: int = pa.Field(ge=1)
    row_subgroup: int = pa.Field(ge=1)
    column_subgroup: int = pa.Field(ge=1)
    n_row: int = pa.Field(ge=1)  # patients in the bin
    n_column: int = pa.Field(ge=1)
    share: float = _null(ge=0, le=1)  # of pairs and resamples, null where no pair was assigned together
    resamples: int = pa.Field(ge=1)


class SubgroupAlterations(Table):
    """Mutations, gains and losses that differ most between subgroups of `full`; descriptive only."""

    model: str
    subgroup: int = pa.Field(ge=1)
    omic: str
    feature: str
    alteration: str = pa.Field(isin=["mutated", "gain", "loss"])
    definition: str  # from which value on
    n: int = pa.Field(ge=0)  # patients with a value
    count: int = pa.Field(ge=0)  # of these, altered
    difference: float = _null(ge=-1, le=1)  # share less that of all other subgroups


class SubgroupGeneSets(Table):
    """Gene-set scores of the subgroups of `full`; descriptive, the genes defined the groups."""

    model: str
    subgroup: int = pa.Field(ge=1)
    omic: str
    gene_set: str
    n_genes: int = pa.Field(ge=1)  # genes of the set that are measured
    n: int = pa.Field(ge=0)  # patients with a score
    mean: float = _null()  # mean score, in SDs of a gene
    effect: float = _null()  # standardised mean difference against all other subgroups


class GeneSetCoverage(Table):
    """Which gene sets could be scored on which omic."""

    omic: str
    gene_set: str
    source: str  # as the file says
    n_genes: int = pa.Field(ge=1)
    n_shared: int = pa.Field(ge=0)  # of these, measured
    scored: bool
    note: str  # why not, or ""


class PrognosisMetrics(Claim):
    """Performance on held-out patients, and its paired difference to a model without omics."""

    design: str = pa.Field(isin=DESIGNS)
    model: str
    # uno_c and ibs, and the same with censoring weights of a Cox model: uno_c_cox, ibs_cox; harrell_c,
    metric: str  # ipa, brier, auc, calibration_slope, observed_expected
    horizon_months: float = _null()  # null where the metric has none
    versus: str = _null()  # "clinical" or "clinical_forest" where the estimate is a difference (model minus that one)


class PrognosisDecisions(Claim):
    """Net benefit of acting on predicted risks from a threshold on, and its difference to the clinical model."""

    design: str = pa.Field(isin=DESIGNS)
    model: str  # or `treat all`
    horizon_months: float = pa.Field(ge=0)
    threshold: float = pa.Field(ge=0, le=1)
    versus: str = _null()  # "clinical" where the estimate is a difference (model minus clinical)


class PrognosisCoverage(Claim):
    """Share of held-out patients who outlive their lower bound."""

    design: str = pa.Field(isin=DESIGNS)
    model: str
    nominal: float = pa.Field(ge=0, le=1)
    by: str  # "all", "risk quarter", or a clinical column
    group: str  # "" for all, "1" (lowest) to "4", or the class
    median_months: float = pa.Field(ge=0)  # median bound


class PrognosisImportance(Claim):
    """Loss of performance on held-out patients when one block is exchanged among them."""

    design: str = pa.Field(isin=DESIGNS)
    model: str
    block: str  # an omic, or `clinical`
    metric: str = pa.Field(isin=["uno_c", "brier"])  # positive = worse without the block
    horizon_months: float = _null()


class PrognosisShares(Claim):
    """Mean absolute contribution of a block to the risk of held-out patients, in probability."""

    design: str = pa.Field(isin=DESIGNS)
    block: str
    horizon_months: float = pa.Field(ge=0)


class PrognosisExplained(Table):
    """Features and gene sets that move the risk of held-out patients most."""

    level: str = pa.Field(isin=["feature", "gene set"])
    block: str
    name: str
    size: int = pa.Field(ge=1)
    resamples: int = pa.Field(ge=1)  # in which it is among the features
    mean_absolute: float = pa.Field(ge=0)  # mean over resamples, in probability
    lowest: float = pa.Field(ge=0)  # over resamples
    highest: float = pa.Field(ge=0)
    direction: float = _null(ge=-1, le=1)  # mean over resamples
    random: float = _null(ge=0)
    coefficient: float = _null()  # of the elastic net on all patients, per SD; null where it did not choose it


class PrognosisResamples(Table):
    """Performance in each resample."""

    design: str = pa.Field(isin=DESIGNS)
    resample: str
    model: str
    uno_c: float = _null()
    standard_error: float = _null(ge=0)  # of C, bootstraps of the patients of a site; null elsewhere, or not estimable
    lower: float = _null()  # percentile interval of the same
    upper: float = _null()
    n: int = pa.Field(ge=0)
    events: int = pa.Field(ge=0)


class PrognosisSites(Claim):
    """Uno's C over left-out sites: that of the average site, and where that of one more site would lie."""

    model: str
    prediction_lower: float = _null(ge=0, le=1)  # prediction interval of one more site
    prediction_upper: float = _null(ge=0, le=1)
    spread: float = _null(ge=0)  # SD between sites of the log odds of C
    i2: float = _null(ge=0, le=1)  # share of the variation of estimates that is between sites
    sites: int = pa.Field(ge=0)  # that are summarised
    of: int = pa.Field(ge=0)  # that were left out


ROBUSTNESS_CONCEPTS = (
    "input perturbation",
    "missing data",
    "label noise",
    "imbalance",
    "feature selection",
    "model specification",
    "domain shift",
    "adversarial",
)
"""Concepts of robustness (Balendran et al. 2025, npj Digit Med)."""

UNSTRESSED = "as it is"
"""Stress of predictions from unchanged data."""


class PrognosisStressed(Table):
    """Predictions of frozen models for held-out patients whose data were changed."""

    patient_id: str
    resample: str
    concept: str = pa.Field(isin=(UNSTRESSED, *ROBUSTNESS_CONCEPTS))
    stress: str  # what was changed
    part: str  # omic or covariate that was changed, "" = all
    dose: float = pa.Field(ge=0)  # SDs of training, or a share
    draw: int = pa.Field(ge=1)  # of random changes
    model: str
    risk: float  # higher = worse
    survival: float = pa.Field(ge=0, le=1)  # probability of being event-free at the last horizon


class Robustness(Claim):
    """A metric of a frozen model on held-out patients under a stress, and its difference to no stress."""

    concept: str = pa.Field(isin=ROBUSTNESS_CONCEPTS)
    stress: str
    part: str  # omic or covariate that was changed, "" = all
    dose: float = _null(ge=0)  # SDs of training, or a share; null where there is no more or less
    model: str
    # the last two against the predictions without stress (of the stacked model, for other models)
    metric: str = pa.Field(isin=["uno_c", "brier", "observed_expected", "rank_correlation", "risk_change"])
    horizon_months: float = _null()
    difference: float = _null()  # to the model without stress, on the same draws of patients
    difference_lower: float = _null()
    difference_upper: float = _null()


class PrognosisSampleSize(Table):
    """Patients that a model of `full` has, and is asked to have by Riley's criteria."""

    model: str
    horizon_months: float = pa.Field(gt=0)
    n: int = pa.Field(ge=0)  # training patients with an outcome
    events: int = pa.Field(ge=0)
    parameters: int = pa.Field(ge=0)  # candidate columns, chosen or not
    for_shrinkage: int = _null(ge=1)  # patients asked for: coefficients shrunk by at most a tenth
    for_optimism: int = _null(ge=1)  # R squared (Nagelkerke) at most 0.05 too high
    for_risk: int = _null(ge=1)  # overall risk at the horizon within 0.05
    asked: int = _null(ge=1)  # the largest of them
    met: bool = _null()
    method: str


class PrognosisInstability(Table):
    """How much predicted risks of the training patients of `full` move when models are learned in bootstrap samples."""

    model: str
    horizon_months: float = pa.Field(gt=0)
    quantity: str = pa.Field(isin=["mean", "median", "p90", "p95", "changed"])  # of patients' mean absolute change,
    # or share of patients and draws on the other side of the threshold
    threshold: float = _null(gt=0, lt=1)  # of `changed`
    value: float = pa.Field(ge=0, le=1)
    n: int = pa.Field(ge=0)
    draws: int = pa.Field(ge=0)  # in which the model was fitted
    method: str


class PrognosisBands(Table):
    """The same by group of predicted risk: mean prediction, and mean of the range of each patient's predictions."""

    model: str
    horizon_months: float = pa.Field(gt=0)
    group: int = pa.Field(ge=1)
    predicted: float = pa.Field(ge=0, le=1)
    lower: float = pa.Field(ge=0, le=1)  # mean over patients of the 2.5th percentile over draws
    upper: float = pa.Field(ge=0, le=1)  # and of the 97.5th
    error: float = pa.Field(ge=0, le=1)  # mean absolute change
    n: int = pa.Field(ge=0)


class PrognosisOptimism(Table):
    """Performance in the training patients of `full`, and how much of it is optimism."""

    model: str
    metric: str = pa.Field(isin=["uno_c", "calibration_slope"])
    horizon_months: float = _null()  # of the slope
    apparent: float = _null()  # in the patients it was learned from
    optimism: float = _null()
    corrected: float = _null()  # apparent less optimism
    n: int = pa.Field(ge=0)
    events: int = pa.Field(ge=0)
    draws: int = pa.Field(ge=0)
    method: str


class ProportionalHazards(Table):
    """Tests that coefficients of the Cox models of `full` do not move with time."""

    model: str
    feature: str = _null()  # column; null = all together
    statistic: float = _null()  # chi-squared
    df: int = pa.Field(ge=0)
    p_value: float = _null(ge=0, le=1)
    p_holm: float = _null(ge=0, le=1)  # of all together, over the models
    n: int = pa.Field(ge=0)
    events: int = pa.Field(ge=0)
    method: str


class PrognosisContrasts(Claim):
    """Difference in restricted mean survival by columns whose hazard ratio moves with time; descriptive."""

    model: str
    feature: str
    sides: str  # who is compared
    tau_months: float = pa.Field(gt=0)


class PrognosisSpread(Table):
    """Spread of predicted risks of held-out patients over the members of an ensemble; no interval."""

    design: str = pa.Field(isin=DESIGNS)
    model: str
    horizon_months: float = pa.Field(gt=0)
    members: int = pa.Field(ge=2)
    mean: float = pa.Field(ge=0)  # over patients, of the SD over members
    p90: float = pa.Field(ge=0)  # 90th percentile over patients
    n: int = pa.Field(ge=0)


class Calibration(Table):
    """Predicted against observed risk in groups of predicted risk, held-out patients."""

    model: str
    horizon_months: float
    group: int = pa.Field(ge=1)
    predicted: float = pa.Field(ge=0, le=1)  # mean predicted risk
    observed: float = pa.Field(ge=0, le=1)  # one minus Kaplan-Meier, or Aalen-Johansen
    lower: float = pa.Field(ge=0, le=1)
    upper: float = pa.Field(ge=0, le=1)
    n: int = pa.Field(ge=0)


class CalibrationCurves(Table):
    """Smooth calibration curves of held-out patients, without the ends of the predicted risk, where few are."""

    design: str = pa.Field(isin=DESIGNS)
    model: str
    horizon_months: float = pa.Field(ge=0)
    predicted: float = pa.Field(ge=0, le=1)
    observed: float = pa.Field(ge=0, le=1)  # risk that comes true, by the curve
    lower: float = _null(ge=0, le=1)  # pointwise interval
    upper: float = _null(ge=0, le=1)


class CalibrationSummary(Claim):
    """How far predicted risks are from those that come true, held-out patients."""

    design: str = pa.Field(isin=DESIGNS)
    model: str
    metric: str = pa.Field(isin=["intercept", "ici", "e50", "e90", "d_calibration"])
    horizon_months: float = pa.Field(ge=0)  # tau for d_calibration
    chance: float = _null(ge=0)  # of ici: mean of what sampling alone gives to perfect predictions
    chance_upper: float = _null(ge=0)  # its upper end at the level of the intervals, one-sided
    df: int = _null(ge=1)  # of d_calibration, whose estimate is a chi-squared statistic
    p_value: float = _null(ge=0, le=1)


class RiskDistribution(Table):
    """Histogram of the predicted risk of held-out patients by what is known of them at the horizon; no empty bins."""

    design: str = pa.Field(isin=DESIGNS)
    model: str
    horizon_months: float = pa.Field(ge=0)
    outcome: str = pa.Field(isin=["failed", "alive", "censored before", "failed of another cause"])
    bin_lower: float = pa.Field(ge=0, le=1)
    bin_upper: float = pa.Field(ge=0, le=1)
    n: int = pa.Field(ge=1)


class TreatmentTrial(Table):
    """The target trial beside its emulation."""

    treatment: str
    component: str  # eligibility, strategies, assignment, time zero, follow-up, outcome, contrast, analysis
    target: str
    emulation: str


class TreatmentBalance(Table):
    """Standardised mean differences of confounders before and after weighting."""

    treatment: str
    subgroup: int = pa.Field(ge=0)  # 0 = all
    covariate: str
    crude: float
    weighted: float
    kind: str = _null()  # mean, or share of a class; null where neither describes it
    of_all: float = _null()  # mean in its unit, or share, of all eligible patients who have it
    of_overlap: float = _null()  # the same with overlap weights


class TreatmentOverlap(Table):
    """Histogram of propensities by arm."""

    treatment: str
    arm: int = pa.Field(isin=[0, 1])
    bin_lower: float
    bin_upper: float
    n: int = pa.Field(ge=0)


class TreatmentCurves(Table):
    """Survival by arm, crude and weighted, all eligible patients (0) and held-out subgroups."""

    treatment: str
    subgroup: int = pa.Field(ge=0)
    weighting: str = pa.Field(isin=["none", "overlap"])
    arm: int = pa.Field(isin=[0, 1])
    time_months: float = pa.Field(ge=0)
    survival: float = pa.Field(ge=0, le=1)
    lower: float = pa.Field(ge=0, le=1)
    upper: float = pa.Field(ge=0, le=1)
    at_risk: int = pa.Field(ge=0)  # unweighted number at risk
    events: int = pa.Field(ge=0)  # unweighted, up to and including this time


class TreatmentEffects(Claim):
    """Effect of treated against untreated."""

    treatment: str
    subgroup: int = pa.Field(ge=0)  # 0 = all eligible patients
    weighting: str = pa.Field(isin=["none", "overlap"])
    estimand: str = pa.Field(isin=["survival_difference", "rmst_difference", "hazard_ratio"])
    horizon_months: float = _null()  # null for hazard_ratio
    n_treated: int = pa.Field(ge=0)
    effective_n: float = _null()  # effective sample size of the weights
    p_value: float = _null()
    p_holm: float = _null()  # over the subgroups of one treatment and estimand; for all patients, over compared arms
    truth: float = _null()  # known to the simulator only


class TreatmentAverages(Claim):
    """Average effect of treated against untreated by other estimators and in other populations, all eligible patients.

    Beside `TreatmentEffects`, which has the weighted Kaplan-Meier curves.
    """

    treatment: str
    estimator: str = pa.Field(isin=["doubly robust", "inverse probability", "clone-censor-weight"])
    population: str = pa.Field(isin=["all", "trimmed", "overlap"])  # who is averaged over, by propensity
    estimand: str = pa.Field(isin=["survival_difference", "rmst_difference"])
    horizon_months: float
    n_treated: int = pa.Field(ge=0)
    effective_n: float = _null()  # effective sample size of the weights; null where there are none
    p_value: float = _null()
    truth: float = _null()  # known to the simulator only


class TreatmentDifferences(Claim):
    """Effect in groups of held-out patients, by what the groups are made of."""

    treatment: str
    kind: str = pa.Field(isin=["baseline risk", "covariate", "predicted effect"])
    variable: str
    group: str
    position: int = pa.Field(ge=1)  # order of the groups
    estimand: str = pa.Field(isin=["rmst_difference", "hazard_ratio"])
    horizon_months: float = _null()  # null for hazard_ratio
    n_treated: int = pa.Field(ge=0)
    truth: float = _null()  # known to the simulator only


class TreatmentDifferenceTests(Table):
    """Whether an effect differs between held-out patients, one row a test."""

    treatment: str
    kind: str = pa.Field(isin=["baseline risk", "covariate", "predicted effect"])
    variable: str
    test: str = pa.Field(isin=["equal effects", "linear trend", "rank-weighted average", "calibration slope"])
    estimate: float = _null()
    lower: float = _null()
    upper: float = _null()
    statistic: float = _null()
    df: int = pa.Field(ge=0)  # 0 where the test has none
    p_value: float = _null()
    p_holm: float = _null()  # over the covariates of a treatment
    n: int = pa.Field(ge=0)
    events: int = pa.Field(ge=0)
    method: str


class TreatmentRobustness(Claim):
    """The effect in all eligible patients when one thing of the analysis is changed."""

    treatment: str
    check: str = pa.Field(
        isin=["main analysis", "trimmed", "restriction time", "omics in propensity", "negative control"]
    )
    variant: str
    estimand: str = pa.Field(isin=["survival_difference", "rmst_difference"])
    horizon_months: float
    n_treated: int = pa.Field(ge=0)
    effective_n: float = _null()  # effective sample size of the weights; null where there are none
    p_value: float = _null()


class TreatmentPolicy(Claim):
    """Months that a rule gains per patient over another way to decide, on held-out patients."""

    treatment: str
    rule: str = pa.Field(isin=["tree", "threshold"])
    against: str = pa.Field(isin=["none", "all", "practice"])  # treat nobody, everybody, or as was done
    p_value: float = _null()
    p_rule: float = pa.Field(ge=0, le=1)  # that the rule beats at most one of treating nobody and everybody
    p_holm: float = pa.Field(ge=0, le=1)  # the same, corrected over the rules of a treatment
    recommended: bool
    n_treat: int = pa.Field(ge=0)  # whom the rule treats
    share_treated: float = pa.Field(ge=0, le=1)
    truth: float = _null()  # known to the simulator only


class TreatmentProfiles(Table):
    """Survival under both arms, the average for patients like a profile of the config."""

    treatment: str
    profile: str
    arm: int = pa.Field(isin=[0, 1])
    time_months: float = pa.Field(ge=0)
    survival: float = pa.Field(ge=0, le=1)
    lower: float = pa.Field(ge=0, le=1)
    upper: float = pa.Field(ge=0, le=1)
    at_risk: int = pa.Field(ge=0)  # of all eligible patients of the arm
    events: int = pa.Field(ge=0)  # the same, up to and including this time


class TreatmentProfileEffects(Claim):
    """Effect of treated against untreated, the average for patients like a profile of the config."""

    treatment: str
    profile: str
    estimand: str = pa.Field(isin=["survival_difference", "rmst_difference"])
    horizon_months: float
    p_value: float = _null()
    propensity: float = _null(ge=0, le=1)  # mean probability of treatment of patients like this
    n_like: int = pa.Field(ge=0)  # eligible patients with the classes, and the numbers within half an SD


class TreatmentLearners(Table):
    """How far the effects that a learner predicts for held-out patients are apart."""

    treatment: str
    learner: str
    spread: float = _null(ge=0)  # standard deviation of the predictions within a fold, months
    average: float = _null()  # effect in the same patients, months
    n: int = pa.Field(ge=0)  # held-out patients with a prediction
    events: int = pa.Field(ge=0)
    method: str


class TreatmentTargeting(Table):
    """Effect among the held-out patients with the largest predicted effect, less that in all (TOC)."""

    treatment: str
    learner: str
    share: float = pa.Field(gt=0, le=1)  # of the patients, those of largest predicted effect first
    estimate: float  # months
    lower: float  # pointwise
    upper: float
    n: int = pa.Field(ge=0)
    events: int = pa.Field(ge=0)
    method: str


class TreatmentSensitivity(Table):
    """How strong an unmeasured confounder would have to be to explain an effect away."""

    treatment: str
    hazard_ratio: float  # that is asked about
    risk_ratio: float  # what it is as a risk ratio, about
    e_value: float = pa.Field(ge=1)
    e_value_limit: float = pa.Field(ge=1)  # of the end of the interval nearer to no effect; 1 = it holds no effect
    method: str


class TreatmentInteraction(Table):
    """Omnibus test that the effect is the same in all held-out subgroups."""

    treatment: str
    estimand: str
    horizon_months: float = _null()
    statistic: float = _null()
    df: int = pa.Field(ge=0)
    p_value: float = _null()
    method: str


class Truth(Table):
    """What the simulator planted for each patient."""

    patient_id: str
    subgroup: int = pa.Field(ge=1)
    propensity: float = _null()  # true probability of treatment
    time_months: float = pa.Field(ge=0)  # long: grid of times
    survival_untreated: float = pa.Field(ge=0, le=1)  # true survival (all causes) of this patient without treatment
    survival_treated: float = pa.Field(ge=0, le=1)  # and with it


class PlantedSwaps(Table):
    """Patients whose values of one omic the simulator exchanged pairwise."""

    patient_id: str
    omic: str
    partner: str  # whose values the patient was given


def order(frame: pl.DataFrame, model: type[Table]) -> pl.DataFrame:
    """Columns of `frame` in the order of the contract, cast to its types where nothing is lost."""
    schema = model.to_schema()
    casts = []
    for name, column in schema.columns.items():
        if name not in frame.columns:
            raise TableError(f"{model.__name__}: column `{name}` is missing")
        casts.append(pl.col(name).cast(column.dtype.type, strict=True))
    return frame.select(casts)


def from_rows(rows: list[dict[str, Any]], model: type[Table]) -> pl.DataFrame:
    """Table from a list of rows; an empty list gives an empty table of the right types."""
    schema = {name: column.dtype.type for name, column in model.to_schema().columns.items()}
    return pl.DataFrame(rows, schema=schema, orient="row")


class ScoredPatients(Table):
    """What a bundle says of each patient of another cohort, and what speaks against it."""

    patient_id: str
    omics: str  # omics used, joined by " + "; "" = none
    missing: float = pa.Field(ge=0, le=1)  # share of the features of the bundle that the patient lacks
    outside: float = _null(ge=0, le=1)  # share of the patient's features beyond those of training patients
    unusual: float = _null(ge=0, le=1)  # share of training patients nearer the centre of the latent space
    covariates_missing: float = pa.Field(ge=0, le=1)  # share of the covariates of the bundle that the patient lacks
    covariates_outside: float = _null(
        ge=0, le=1
    )  # share of those known beyond, or of a class unlike, training patients
    out_of_distribution: bool
    subgroup: int = pa.Field(ge=0)  # 1..K, 0 = unassigned
    probability: float = pa.Field(ge=0, le=1)  # of the most probable subgroup


class ScoredMemberships(Table):
    """Probability of each subgroup of the bundle for each patient of another cohort."""

    patient_id: str
    subgroup: int = pa.Field(ge=1)
    probability: float = pa.Field(ge=0, le=1)


class ScoredRisks(Table):
    """Risk and lower bound of each patient of another cohort, by the models of a bundle."""

    patient_id: str
    model: str
    risk: float
    lower_months: float = _null(ge=0)  # null where the model gives no bounds


class ScoredCurves(Table):
    """Survival of each patient of another cohort, by the models of a bundle."""

    patient_id: str
    model: str
    time_months: float = pa.Field(ge=0)
    survival: float = pa.Field(ge=0, le=1)


class ExternalMetrics(Claim):
    """Performance of the models of a bundle in another cohort, and the paired difference to its clinical model."""

    update: str = pa.Field(isin=["as is", "baseline", "slope and baseline", "refit"])
    model: str
    metric: str  # as in PrognosisMetrics
    horizon_months: float = _null()
    versus: str = _null()


class ExternalSubgroups(Claim):
    """Subgroups of a bundle in another cohort: are they there, and do they live as long as they did?"""

    quantity: str = pa.Field(isin=["rmst", "rmst_difference", "in_group_proportion", "sharpness", "log_rank"])
    subgroup: int = _null(ge=1)  # null for the test of all
    versus: int = _null(ge=1)  # of a difference: the largest subgroup, subtracted
    tau_months: float = _null(gt=0)
    p_value: float = _null(ge=0, le=1)


class ScoredOmics(Table):
    """How the features of another cohort meet those of a bundle."""

    omic: str
    features_asked: int = pa.Field(ge=0)
    features_found: int = pa.Field(ge=0)
    patients: int = pa.Field(ge=0)
    aligned: bool  # features were brought to their distribution in the bundle's cohort
    note: str


class SiteSummary(Claim):
    """Base of summaries over sites: the mean of sites, and where the truth of one more site would lie."""

    prediction_lower: float = _null()  # prediction interval of one more site
    prediction_upper: float = _null()
    spread: float = _null(ge=0)  # SD between sites
    i2: float = _null(ge=0, le=1)  # share of the variation of estimates that is between sites
    sites: int = pa.Field(ge=0)  # that are summarised
    of: int = pa.Field(ge=0)  # that were left out, or looked at


class SubgroupSiteSurvival(Claim):
    """Restricted mean survival of subgroups at a site, by a model that has not seen it, against the largest one."""

    model: str
    resample: str  # site-<site>
    subgroup: int = pa.Field(ge=1)
    versus: int = pa.Field(ge=1)  # the largest of the patients of all sites, subtracted
    tau_months: float = pa.Field(gt=0)
    standard_error: float = _null(ge=0)


class SubgroupSiteSummary(SiteSummary):
    """Over left-out sites: agreement of subgroups with those of `full`, and their differences in restricted means."""

    model: str
    quantity: str = pa.Field(isin=["adjusted_rand_index", "rmst_difference"])
    subgroup: int = _null(ge=1)  # null for the agreement
    versus: int = _null(ge=1)
    tau_months: float = _null(gt=0)


class TreatmentSites(Claim):
    """Effect of treated against untreated among the eligible patients of one site."""

    treatment: str
    resample: str  # site-<site>, whose held-out patients these are
    estimand: str = pa.Field(isin=["survival_difference", "rmst_difference"])
    horizon_months: float
    n_treated: int = pa.Field(ge=0)
    effective_n: float = _null()  # effective sample size of the weights; null where there are none
    standard_error: float = _null(ge=0)
    p_value: float = _null()


class TreatmentSiteSummary(SiteSummary):
    """Effect at the average site, and at one more."""

    treatment: str
    estimand: str = pa.Field(isin=["survival_difference", "rmst_difference"])
    horizon_months: float


class BundleClaims(Claim):
    """What the cohort of a bundle found and another may look for: effects, and restricted means of subgroups."""

    subgroup: int = pa.Field(ge=0)  # 0 = all eligible patients
    treatment: str = _null()  # null for the restricted mean of a subgroup
    estimand: str = pa.Field(isin=["rmst", "rmst_difference", "survival_difference"])
    horizon_months: float = pa.Field(gt=0)
    landmark_months: float = _null(gt=0)  # from which months count; null = time zero of the endpoint
    timing: str = _null(isin=["by chance", "by the landmark", "at time zero", "not known"])  # how arms are told apart
    eligible: str = _null()  # condition; null = everybody, and where no treatment is claimed
    confounders: str = _null()  # balanced columns, with commas between them; null where no treatment is claimed
    n_treated: int = _null(ge=0)
    standard_error: float = _null(ge=0)


class ScoredCounterfactuals(Table):
    """Survival under both arms, the average for patients like those of a subgroup, from a bundle's training patients.

    For patients of `ScoredPatients` with that subgroup who are not out of distribution; for others none is known.
    """

    treatment: str
    subgroup: int = pa.Field(ge=1)
    arm: int = pa.Field(isin=[0, 1])
    time_months: float = pa.Field(ge=0)
    survival: float = pa.Field(ge=0, le=1)
    n: int = pa.Field(ge=0)  # training patients of the arm
    patients: int = pa.Field(ge=1)  # of the other cohort, for whom the curve is


class ExternalEffects(Claim):
    """Treatment effect in another cohort beside what the cohort of the bundle claimed.

    Where months count from another time there, both stand side by side without a test: "another question".
    """

    treatment: str
    subgroup: int = pa.Field(ge=0)  # of the bundle; 0 = all eligible patients
    estimand: str = pa.Field(isin=["rmst_difference", "survival_difference"])
    horizon_months: float = pa.Field(gt=0)
    n_treated: int = pa.Field(ge=0)
    claimed: float
    claimed_lower: float = _null()
    claimed_upper: float = _null()
    difference: float = _null()  # here less claimed
    difference_lower: float = _null()
    difference_upper: float = _null()
    p_value: float = _null(ge=0, le=1)  # that both are the same
    p_holm: float = _null(ge=0, le=1)  # over all claims
    verdict: str = pa.Field(
        isin=[
            "replicated",
            "replicated in direction, not in size",
            "not replicated",
            "undecided",
            "nothing was claimed",
            "another question",
            "not estimable",
        ]
    )
    unknown_starts: str = pa.Field(isin=["", "there", "here", "both"])  # where immortal time cannot be excluded
    remark: str  # how both were asked otherwise, and what bias they may have; "" = the same way, as far as is known


class ExternalOrder(Claim):
    """Which of two subgroups lives longer in another cohort, for pairs of which the bundle's cohort was sure."""

    quantity: str = pa.Field(isin=["pair", "concordance"])
    subgroup: int = _null(ge=1)
    versus: int = _null(ge=1)  # subtracted
    tau_months: float = _null(gt=0)
    claimed: float = _null()  # difference in restricted means, months
    claimed_lower: float = _null()
    claimed_upper: float = _null()
    verdict: str = pa.Field(isin=["", "same order", "turned round", "undecided", "not estimable"])
    pairs: int = pa.Field(ge=0)  # pairs behind the number


class OtherCohortMetrics(ExternalMetrics):
    """Performance in each of several other cohorts."""

    cohort: str


class OtherCohortSubgroups(ExternalSubgroups):
    """Subgroups in each of several other cohorts."""

    cohort: str


class OtherCohortEffects(ExternalEffects):
    """Treatment effects in each of several other cohorts, beside those claimed."""

    cohort: str


class OtherCohortOrder(ExternalOrder):
    """Order of subgroups in each of several other cohorts."""

    cohort: str


class OtherCohortPatients(Table):
    """How many patients of other cohorts were scored."""

    cohort: str
    n: int = pa.Field(ge=0)
    out_of_distribution: int = pa.Field(ge=0)  # of them
    missing: float = _null(ge=0, le=1)  # features of the bundle that the median patient lacks
    remarks: str  # on omics that are not used, or were aligned


DRIFT_QUANTITIES = ("psi", "mmd", "distance", "missing", "share", "observed_expected", "slope")


class Drift(Table):
    """A batch of new patients against those of a bundle: one row per test, and per number beside one."""

    part: str = pa.Field(isin=["inputs", "joint", "missingness", "scores", "memberships", "outcome"])
    scope: str  # omic, `clinical`, `latent space`, `subgroups`, or the model
    name: str  # feature, column or subgroup; "" = the whole scope
    quantity: str = pa.Field(isin=DRIFT_QUANTITIES)
    estimate: float = _null()  # of the batch, or how far it is from the reference
    reference: float = _null()  # the same in the patients of the bundle; null where `estimate` is a distance
    p_value: float = _null(ge=0, le=1)  # null = not tested, `method` says why
    q_value: float = _null(ge=0, le=1)  # adjusted for all tests of the look
    flagged: bool  # q_value is at most 0.05
    n_training: int = pa.Field(ge=0)  # patients of the bundle
    n_batch: int = pa.Field(ge=0)  # patients of the batch
    method: str


@contextmanager
def in_pieces(path: str | Path, model: type[Table]) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Write a table that passes in pieces, each validated, in one step that leaves no half-written file.

    Yields
    ------
    Callable
        What takes the pieces.

    Raises
    ------
    TableError
        As `write_table`.
    """
    import pyarrow.parquet

    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    schema = from_rows([], model).to_arrow().schema
    with pyarrow.parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
        yield lambda frame: writer.write_table(
            _validated(order(frame, model), model, str(path)).to_arrow().cast(schema)
        )
    os.replace(partial, target)


def write_table(frame: pl.DataFrame, path: str | Path, model: type[Table]) -> None:
    """Validate a table and write it as parquet in one step that leaves no half-written file.

    Raises
    ------
    TableError
        If a column is missing, unknown, of another type, or out of its bounds.
    """
    frame = _validated(order(frame, model), model, str(path))
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    frame.write_parquet(partial, compression="zstd", statistics=False)
    os.replace(partial, target)


def read_table(path: str | Path, model: type[Table]) -> pl.DataFrame:
    """Read a table and check it against its contract.

    Raises
    ------
    TableError
        If the file breaks the contract.
    """
    return _validated(pl.read_parquet(path), model, str(path))


def _validated(frame: pl.DataFrame, model: type[Table], where: str) -> pl.DataFrame:
    for name in frame.columns:
        if frame[name].dtype.is_float() and frame[name].is_nan().any():
            raise TableError(
                f"{where} ({model.__name__}): column `{name}` holds NaN. Suggestion: use null for 'not estimable'"
            )
    try:
        return model.validate(frame, lazy=True)
    except (pa.errors.SchemaErrors, pa.errors.SchemaError) as error:
        cases = getattr(error, "failure_cases", None)
        if isinstance(cases, pl.DataFrame):
            columns = [c for c in ("column", "check") if c in cases.columns]
            detail = "; ".join(f"{r}" for r in cases.select(columns).unique(maintain_order=True).head(5).iter_rows())
        else:
            detail = type(error).__name__
        raise TableError(f"{where} ({model.__name__}) breaks its contract: {detail}") from None


FAIRNESS_METRICS = (
    "uno_c",
    "auc",
    "calibration_slope",
    "observed_expected",
    "net_benefit",
    "censored",
    "bound_coverage",
)
"""What is told of each group of patients."""


class Fairness(Claim):
    """What held-out predictions are worth in each group of patients."""

    design: str = pa.Field(isin=DESIGNS)
    grouping: str  # clinical column, or two with " × " between them; "" of all patients
    group: str  # class or band of the column, as "female, below 50"; "" of all patients
    model: str = _null()  # null of `censored`
    metric: str = pa.Field(isin=FAIRNESS_METRICS)  # censored: share whose follow-up ends before the horizon
    horizon_months: float = _null()
    threshold: float = _null(gt=0, lt=1)  # of net_benefit


class FairnessTests(Table):
    """Whether predictions hold in each group of patients, and equally well in all groups of a grouping."""

    design: str = pa.Field(isin=DESIGNS)
    kind: str = pa.Field(isin=["holds", "differs"])  # slope 1 and level 0 in a group, or the same in all groups
    grouping: str
    group: str = _null()  # null of `differs`
    model: str
    horizon_months: float = pa.Field(gt=0)
    statistic: float = _null()  # chi-squared; null = not estimable, `method` says why
    df: int = pa.Field(ge=0)
    p_value: float = _null(ge=0, le=1)
    p_holm: float = _null(ge=0, le=1)  # over all tests of the table
    flagged: bool  # p_holm at or below one less the level of intervals
    groups: int = pa.Field(ge=0)  # that are compared
    n: int = pa.Field(ge=0)
    events: int = pa.Field(ge=0)  # by the horizon
    method: str
    held_out: bool


class FairnessRecalibration(Claim):
    """Each group before and after an update of the model that was learned on other patients of the group."""

    design: str = pa.Field(isin=DESIGNS)
    grouping: str
    group: str
    model: str
    state: str = pa.Field(isin=["before", "after", "after less before"])
    metric: str = pa.Field(isin=["calibration_slope", "observed_expected", "net_benefit"])
    horizon_months: float = pa.Field(gt=0)
    threshold: float = _null(gt=0, lt=1)  # of net_benefit


QUESTIONS = ("patients", "subgroups", "omics", "treatment", "differs", "sites", "elsewhere")
"""Questions of the report that have a number: who is in it, subgroups, whether omics add, what a treatment does,
whether its effect differs between subgroups, whether models hold at other sites and in other cohorts."""


class Answers(Claim):
    """Answers of the report, each with the number that decides it. A question that is not answered has no estimate."""

    question: str = pa.Field(isin=QUESTIONS)
    about: str  # model, treatment or other cohort; "" where the question has one answer
    name: str  # the same in words
    tone: str  # badge of the answer
    answer: str  # as in the page to share
    measure: str  # what is estimated
    unit: str  # months, probability, or "" for a share, a concordance or an index
    null: float = _null()  # estimate that means nothing is there
    horizon_months: float = _null()  # up to when, or at which time
    p_value: float = _null(ge=0, le=1)


class SweepAnswers(Answers):
    """Answers of several analyses."""

    cohort: str  # name in the sweep
    endpoint: str
    p_holm: float = _null(ge=0, le=1)  # over all answers to the same question
