"""Methods text from the settings of the analysis, and the references that it cites."""

from __future__ import annotations

from stratiome.report import multiplicity
from stratiome.report.disclosure import count
from stratiome.report.fitted import not_fitted, same_for_all
from stratiome.report.inputs import ReportInputs
from stratiome.report.methods_omics import transforms
from stratiome.report.words import file_name, inside, join, label, months, plural, until
from stratiome.tables import FLEXIBLE_REFERENCE, PROGNOSIS_MODELS

REFERENCES = {
    "Andersen 2003": (
        "Andersen PK, Klein JP, Rosthøj S. Generalised linear models for correlated pseudo-observations, with"
        " applications to multi-state models. Biometrika 2003;90:15–27."
    ),
    "Andersen 2013": (
        "Andersen PK. Decomposition of number of life years lost according to causes of death. Stat Med"
        " 2013;32:5278–85."
    ),
    "Anderson 1983": (
        "Anderson JR, Cain KC, Gelber RD. Analysis of survival by tumor response. J Clin Oncol 1983;1:710–9."
    ),
    "Argelaguet 2020": (
        "Argelaguet R, Arnol D, Bredikhin D, et al. MOFA+: a statistical framework for comprehensive integration of"
        " multi-modal single-cell data. Genome Biol 2020;21:111."
    ),
    "Athey 2021": "Athey S, Wager S. Policy learning with observational data. Econometrica 2021;89:133–61.",
    "Austin 2020": (
        "Austin PC, Harrell FE Jr, van Klaveren D. Graphical calibration curves and the integrated calibration index"
        " (ICI) for survival models. Stat Med 2020;39:2714–42."
    ),
    "Balendran 2025": (
        "Balendran A, Beji C, Bouvier F, et al. A scoping review of robustness concepts for machine learning in"
        " healthcare. npj Digit Med 2025;8:38."
    ),
    "Berger 1982": (
        "Berger RL. Multiparameter hypothesis testing and acceptance sampling. Technometrics 1982;24:295–300."
    ),
    "Blanche 2013": (
        "Blanche P, Dartigues JF, Jacqmin-Gadda H. Estimating and comparing time-dependent areas under receiver"
        " operating characteristic curves for censored event times with competing risks. Stat Med 2013;32:5381–97."
    ),
    "Boulesteix 2017": (
        "Boulesteix AL, De Bin R, Jiang X, Fuchs M. IPF-LASSO: integrative L1-penalized regression with penalty factors"
        " for prediction based on multi-omics data. Comput Math Methods Med 2017:7691937."
    ),
    "Breiman 2001": "Breiman L. Random forests. Mach Learn 2001;45:5–32.",
    "Chernozhukov 2018": (
        "Chernozhukov V, Chetverikov D, Demirer M, et al. Double/debiased machine learning for treatment and structural"
        " parameters. Econom J 2018;21:C1–68."
    ),
    "Cox 1972": "Cox DR. Regression models and life-tables. J R Stat Soc B 1972;34:187–220.",
    "Crowson 2016": (
        "Crowson CS, Atkinson EJ, Therneau TM. Assessing calibration of prognostic risk scores. Stat Methods Med Res"
        " 2016;25:1692–706."
    ),
    "Crump 2009": (
        "Crump RK, Hotz VJ, Imbens GW, Mitnik OA. Dealing with limited overlap in estimation of average treatment"
        " effects. Biometrika 2009;96:187–99."
    ),
    "Du 2010": (
        "Du P, Zhang X, Huang CC, et al. Comparison of Beta-value and M-value methods for quantifying methylation"
        " levels by microarray analysis. BMC Bioinformatics 2010;11:587."
    ),
    "Efron 1977": (
        "Efron B. The efficiency of Cox's likelihood function for censored data. J Am Stat Assoc 1977;72:557–65."
    ),
    "Fine 1999": (
        "Fine JP, Gray RJ. A proportional hazards model for the subdistribution of a competing risk. J Am Stat Assoc"
        " 1999;94:496–509."
    ),
    "Gensheimer 2019": (
        "Gensheimer MF, Narasimhan B. A scalable discrete-time survival model for neural networks. PeerJ 2019;7:e6257."
    ),
    "Gerds 2013": (
        "Gerds TA, Kattan MW, Schumacher M, Yu C. Estimating a time-dependent concordance index for survival prediction"
        " models with covariate dependent censoring. Stat Med 2013;32:2173–84."
    ),
    "Graf 1999": (
        "Graf E, Schmoor C, Sauerbrei W, Schumacher M. Assessment and comparison of prognostic classification schemes"
        " for survival data. Stat Med 1999;18:2529–45."
    ),
    "Grambsch 1994": (
        "Grambsch PM, Therneau TM. Proportional hazards tests and diagnostics based on weighted residuals. Biometrika"
        " 1994;81:515–26."
    ),
    "Haider 2020": (
        "Haider H, Hoehn B, Davis S, Greiner R. Effective ways to build and evaluate individual survival distributions."
        " J Mach Learn Res 2020;21(85)."
    ),
    "Harrell 1996": (
        "Harrell FE, Lee KL, Mark DB. Multivariable prognostic models: issues in developing models, evaluating"
        " assumptions and adequacy, and measuring and reducing errors. Stat Med 1996;15:361–87."
    ),
    "Hennig 2007": "Hennig C. Cluster-wise assessment of cluster stability. Comput Stat Data Anal 2007;52:258–71.",
    "Hernán 2016": (
        "Hernán MA, Robins JM. Using big data to emulate a target trial when a randomized trial is not available. Am J"
        " Epidemiol 2016;183:758–64."
    ),
    "Holm 1979": "Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65–70.",
    "Hoogland 2020": (
        "Hoogland J, van Barreveld M, Debray TPA, et al. Handling missing predictor values when validating and"
        " applying a prediction model to new patients. Stat Med 2020;39:3591–3607."
    ),
    "Hubert 1985": "Hubert L, Arabie P. Comparing partitions. J Classif 1985;2:193–218.",
    "Ishwaran 2008": (
        "Ishwaran H, Kogalur UB, Blackstone EH, Lauer MS. Random survival forests. Ann Appl Stat 2008;2:841–60."
    ),
    "Kaplan 1958": (
        "Kaplan EL, Meier P. Nonparametric estimation from incomplete observations. J Am Stat Assoc 1958;53:457–81."
    ),
    "Kennedy 2023": (
        "Kennedy EH. Towards optimal doubly robust estimation of heterogeneous causal effects. Electron J Stat"
        " 2023;17:3008–49."
    ),
    "Kent 2020": (
        "Kent DM, Paulus JK, van Klaveren D, et al. The predictive approaches to treatment effect heterogeneity (PATH)"
        " statement. Ann Intern Med 2020;172:35–45."
    ),
    "Kingma 2014": "Kingma DP, Welling M. Auto-encoding variational Bayes. ICLR 2014.",
    "Li 2018": (
        "Li F, Morgan KL, Zaslavsky AM. Balancing covariates via propensity score weighting. J Am Stat Assoc"
        " 2018;113:390–400."
    ),
    "Lipsitch 2010": (
        "Lipsitch M, Tchetgen Tchetgen E, Cohen T. Negative controls: a tool for detecting confounding and bias in"
        " observational studies. Epidemiology 2010;21:383–8."
    ),
    "Mantel 1959": (
        "Mantel N, Haenszel W. Statistical aspects of the analysis of data from retrospective studies of disease. J"
        " Natl"
        " Cancer Inst 1959;22:719–48."
    ),
    "Maringe 2020": (
        "Maringe C, Benitez Majano S, Exarchakou A, et al. Reflection on modern methods: trial emulation in the"
        " presence of immortal-time bias. Int J Epidemiol 2020;49:1719–29."
    ),
    "McInnes 2018": (
        "McInnes L, Healy J, Melville J. UMAP: uniform manifold approximation and projection for dimension reduction."
        " arXiv 2018;1802.03426."
    ),
    "Nagashima 2019": (
        "Nagashima K, Noma H, Furukawa TA. Prediction intervals for random-effects meta-analysis: a confidence"
        " distribution approach. Stat Methods Med Res 2019;28:1689–702."
    ),
    "Nie 2021": (
        "Nie X, Wager S. Quasi-oracle estimation of heterogeneous treatment effects. Biometrika 2021;108:299–319."
    ),
    "Ozenne 2020": (
        "Ozenne BMH, Scheike TH, Stærk L, Gerds TA. On the estimation of average treatment effects with right-censored"
        " time to event outcome and competing risks. Biom J 2020;62:751–63."
    ),
    "Putter 2007": (
        "Putter H, Fiocco M, Geskus RB. Tutorial in biostatistics: competing risks and multi-state models. Stat Med"
        " 2007;26:2389–430."
    ),
    "Riley 2019": (
        "Riley RD, Snell KIE, Ensor J, et al. Minimum sample size for developing a multivariable prediction model: part"
        " II, binary and time-to-event outcomes. Stat Med 2019;38:1276–96."
    ),
    "Riley 2023": (
        "Riley RD, Collins GS. Stability of clinical prediction models developed using statistical or machine learning"
        " methods. Biom J 2023;65:2200302."
    ),
    "Robins 1986": (
        "Robins J. A new approach to causal inference in mortality studies with a sustained exposure period. Math"
        " Modelling 1986;7:1393–512."
    ),
    "Robins 2000": (
        "Robins JM, Hernán MA, Brumback B. Marginal structural models and causal inference in epidemiology."
        " Epidemiology 2000;11:550–60."
    ),
    "Röver 2015": (
        "Röver C, Knapp G, Friede T. Hartung–Knapp–Sidik–Jonkman approach and its modification for random-effects"
        " meta-analysis with few studies. BMC Med Res Methodol 2015;15:99."
    ),
    "Royston 2013": (
        "Royston P, Parmar MKB. Restricted mean survival time: an alternative to the hazard ratio. BMC Med Res Methodol"
        " 2013;13:152."
    ),
    "Schemper 1996": (
        "Schemper M, Smith TL. A note on quantifying follow-up in studies of failure time. Control Clin Trials"
        " 1996;17:343–6."
    ),
    "Schoop 2011": (
        "Schoop R, Beyersmann J, Schumacher M, Binder H. Quantifying the predictive accuracy of time-to-event models in"
        " the presence of competing risks. Biom J 2011;53:88–112."
    ),
    "Simon 2011": (
        "Simon N, Friedman J, Hastie T, Tibshirani R. Regularization paths for Cox's proportional hazards model via"
        " coordinate descent. J Stat Softw 2011;39(5)."
    ),
    "Sundararajan 2017": "Sundararajan M, Taly A, Yan Q. Axiomatic attribution for deep networks. ICML 2017.",
    "Uno 2011": (
        "Uno H, Cai T, Pencina MJ, D'Agostino RB, Wei LJ. On the C-statistics for evaluating overall adequacy of risk"
        " prediction procedures with censored survival data. Stat Med 2011;30:1105–17."
    ),
    "van der Laan 2007": ("van der Laan MJ, Polley EC, Hubbard AE. Super learner. Stat Appl Genet Mol Biol 2007;6:25."),
    "VanderWeele 2017": (
        "VanderWeele TJ, Ding P. Sensitivity analysis in observational research: introducing the E-value. Ann Intern"
        " Med 2017;167:268–74."
    ),
    "Wang 2014": (
        "Wang B, Mezlini AM, Demir F, et al. Similarity network fusion for aggregating data types on a genomic scale."
        " Nat Methods 2014;11:333–7."
    ),
    "Westling 2024": (
        "Westling T, Luedtke A, Gilbert PB, Carone M. Inference for treatment-specific survival curves using machine"
        " learning. J Am Stat Assoc 2024;119:1541–53."
    ),
    "Wolbers 2014": (
        "Wolbers M, Blanche P, Koller MT, Witteman JCM, Gerds TA. Concordance for prognostic models with competing"
        " risks. Biostatistics 2014;15:526–39."
    ),
    "Wu 2018": "Wu M, Goodman N. Multimodal generative models for scalable weakly-supervised learning. NeurIPS 2018.",
    "Yadlowsky 2025": (
        "Yadlowsky S, Fleming S, Shah N, Brunskill E, Wager S. Evaluating treatment prioritization rules via"
        " rank-weighted average treatment effects. J Am Stat Assoc 2025;120:38–51."
    ),
}


RANDOM_EFFECTS = (
    "a random-effects model: restricted maximum likelihood, modified Hartung–Knapp interval (Röver 2015), and"
    " prediction interval (Nagashima 2019)"
)
"""How estimates of sites are put together."""


def write(inputs: ReportInputs) -> tuple[list[str], list[str]]:
    """Paragraphs of the methods text, and the references cited in them, in alphabetical order."""
    text = [paragraph for _, _, paragraph in paragraphs(inputs)]
    cited = [full for key, full in REFERENCES.items() if any(key in t for t in text)]
    return text, cited


def paragraphs(inputs: ReportInputs) -> list[tuple[str, str, str]]:
    """Anchor, heading and text of each paragraph."""
    found = [
        ("methods-data", "Data and outcome", _data(inputs)),
        ("methods-prepared", "Missing values and features", _prepared(inputs)),
        ("methods-splits", "Splits and intervals", _design(inputs)),
        ("methods-subgroups", "Latent model and subgroups", _latent(inputs)),
        ("methods-prognosis", "Prognostic models", _prognosis(inputs)),
        ("methods-judged", "How predictions were judged", _judged(inputs)),
    ]
    if inputs.settings.treatments:
        found.append(("methods-treatment", "Effects of treatments", _treatment(inputs)))
    if said := multiplicity.text(inputs):
        found.append(("methods-multiplicity", "Multiplicity", said))
    return [*found, ("methods-software", "Software", _software(inputs))]


def _data(inputs: ReportInputs) -> str:
    s = inputs.settings
    source = (
        "simulated with known truth"
        if inputs.simulated
        else f"the public example {s.data.example}"
        if s.data.example
        else "read from files"
    )
    names = [label(o) for o in inputs.quality]
    omics = f" Omics were {join(names)}." if len(names) > 1 else f" The only omic was {names[0]}." if names else ""
    horizons = join([months(h) for h in s.endpoint.horizons_months])
    other = (
        f" Deaths of another cause (patients with {s.endpoint.competing}; n = {_competing(inputs)}) were competing"
        " events in prognosis and in effects of treatments, and were censored everywhere else, so that curves of"
        " subgroups and hazard ratios are cause-specific and not absolute risks."
        if s.endpoint.competing
        else ""
    )
    outcome = s.words.say(
        f"The outcome was the time from time zero to {s.event or 'death of any cause'} (column {s.endpoint.event}; time"
        f" in column {s.endpoint.time}), in months, evaluated at {horizons} months.",
        f"The outcome was a response (column {s.endpoint.response}), assessed once and without time; the event that"
        " risks"
        f" are of is {s.words.failure}. Patients who were not assessed were left out of models and tests.",
    )
    dates = "" if s.endpoint.index_date or inputs.simulated else " Calendar dates of inclusion were not given."
    return f"Data were {source}.{dates} {outcome}{other}{_followed(inputs)}{omics}"


def _prepared(inputs: ReportInputs) -> str:
    return (
        "A missing omic or value was masked and"
        " never imputed into a likelihood. Missing clinical values were replaced by the training median beside an"
        " indicator of missingness (numbers) or counted as the reference beside one (classes); levels of fewer than"
        " five training patients join the reference. Transforms were fitted on training patients and applied to all."
        f"{transforms(inputs)}{_features(inputs)}"
    )


def _competing(inputs: ReportInputs) -> str:
    row = inputs.row("outcome_counts", status="competing")
    return count(row["n"] if row else None, inputs.settings.min_cell)


def _followed(inputs: ReportInputs) -> str:
    row = inputs.row("baseline", kind="months")
    known = row is not None and row["value"] is not None
    return " Median follow-up was estimated by the reverse Kaplan–Meier method (Schemper 1996)." if known else ""


def _features(inputs: ReportInputs) -> str:
    f = inputs.settings.features
    if f is None:
        return ""
    site = (
        " Site differences in location were removed from continuous omics."
        if f.adjust_site and inputs.settings.site
        else ""
    )
    return (
        f" At most {f.max_features:,} features per omic were kept by variance, with at most {100 * f.max_missing:g} %"
        f" missing.{site}"
    )


def _design(inputs: ReportInputs) -> str:
    r = inputs.settings.resamples
    repeats = f", repeated {r.repeats} times" if r.repeats > 1 else ", once"
    said = [f"Patients were split by {r.folds}-fold cross-validation{repeats}."] if r.folds else []
    if r.file:
        said.append(f"Splits were taken as given in {file_name(r.file)}.")
    if r.temporal is not None:
        column, limit = label(r.temporal.column), until(r.temporal.train_until)
        said.append(f"One split trained on patients with {column} up to {limit} and held out the later ones.")
    if r.test_fraction:
        said.append(
            f"A stratified random test set of {100 * r.test_fraction:g} % of the patients was set aside before any"
            " other split; it was used by no other split and not by the final models, and judged once."
        )
    left = (
        f" In addition each site with at least {r.min_site} patients with an outcome was held out in turn."
        if r.leave_site_out and inputs.settings.site
        else ""
    )
    return (
        f"{' '.join(said)}{left} All that is learned (transforms,"
        f" latent model, subgroups, {inputs.settings.words.say('survival models', 'models of the response')}) was"
        " learned on the training patients of each split. Intervals are"
        f" percentile intervals of {inputs.settings.evaluation.bootstraps} bootstrap samples of patients at level"
        f" {inputs.settings.level}, unless a table states another method."
    )


def _latent(inputs: ReportInputs) -> str:
    m = inputs.settings.latent
    members = f"{m.members} members from different seeds" if m.members > 1 else "a single member"
    return (
        f"A multimodal variational autoencoder (Kingma 2014) with a product-of-experts posterior (Wu 2018),"
        f" {plural(m.dims, 'latent dimension')} and {members} was trained without outcomes, with modality"
        f" dropout {m.modality_dropout:g}, for as many epochs as an inner validation of"
        f" {100 * m.validation_fraction:g} % of the training patients found best, and then on all of them;"
        f" {_baselines(inputs)} ran beside it. {_subgroups(inputs)} Maps are by UMAP (McInnes 2018) of the latent"
        " space."
    )


def _subgroups(inputs: ReportInputs) -> str:
    g = inputs.settings.subgroups
    ks = [k for k in g.k if k > 1]
    if not ks:
        return "No subgroups were looked for (`subgroups.k`)."
    tried = f"{ks[0]} to {ks[-1]}" if len(ks) > 1 else str(ks[0])
    return (
        f"Gaussian mixtures with {tried} components were compared by the mean adjusted Rand index (Hubert 1985) between"
        f" {g.subsamples} subsamples, against {plural(g.reference_draws, 'reference cohort')} without subgroups but"
        f" with the same covariance; one test over all numbers of subgroups at level {g.alpha:g} decided whether there"
        f" are any, and a stability below {g.min_stability:g} counted as none. Patients whose omics tell less than"
        f" {100 * g.min_information:g} % of the variance of places took no part in this, and were assigned by"
        " memberships learned from other patients with the same omics hidden. Patients whose largest membership"
        f" probability was below {g.min_probability:g} stayed unassigned. Subgroups were described by bootstrap Jaccard"
        f" indices (Hennig 2007) and, in held-out patients only, by {_described(inputs)}, the"
        f" likelihood ratio of adding them to the clinical Cox model, and the difference in {_concordance(inputs)} of"
        " Cox"
        " models with and without them, fitted on the training patients of each fold. Their association with batches"
        " and covariates is Cramer's V or eta squared, corrected for bias, with intervals of the non-central"
        f" chi-squared or F distribution.{_subgroups_at_sites(inputs)}{_gene_sets(inputs)}"
    )


def _subgroups_at_sites(inputs: ReportInputs) -> str:
    if not any(r["estimate"] is not None for r in inputs.rows("subgroup_site_summary")):
        return ""
    mean = inputs.settings.words.say("restricted mean survival", "response")
    return (
        " At sites that a model had not seen, agreement with the subgroups of the whole cohort and differences in"
        f" {mean} between its subgroups were summarised by {RANDOM_EFFECTS}."
    )


def _described(inputs: ReportInputs) -> str:
    by = "site" if inputs.settings.site else "fold"
    return inputs.settings.words.say(
        f"Kaplan–Meier curves (Kaplan 1958), log-rank tests stratified by {by}, restricted mean survival",
        f"the share with a response and Mantel–Haenszel chi-squared tests (Mantel 1959), stratified by {by}",
    )


def _concordance(inputs: ReportInputs) -> str:
    return inputs.settings.words.say("Uno's C (Uno 2011)", "the area under the ROC curve")


def _gene_sets(inputs: ReportInputs) -> str:
    settings = inputs.settings.subgroups
    if settings.gene_sets is None:
        return ""
    return (
        f" Gene sets of {file_name(settings.gene_sets)} were scored by the mean of the standardised values of their"
        f" measured genes, at least {settings.min_genes}."
    )


def _baselines(inputs: ReportInputs) -> str:
    said = {
        "pca": "principal components of the concatenated omics",
        "mofa": "multi-omics factor analysis (MOFA+; Argelaguet 2020)",
        "snf": "similarity network fusion (Wang 2014)",
    }
    return join([said[name] for name in inputs.settings.latent.baselines])


def _prognosis(inputs: ReportInputs) -> str:
    s = inputs.settings
    ratio = (
        f" (share of the lasso {s.prognosis.l1_ratio:g}, penalties by {s.prognosis.inner_folds}-fold inner"
        " cross-validation)"
        if s.prognosis
        else ""
    )
    left_out = "".join(f" {said}" for said in not_fitted(inputs, PROGNOSIS_MODELS[1:], "cross-validation"))
    return (
        "The yardstick was a Cox model (Cox 1972) on"
        f" {join([label(c) for c in s.covariates]) or 'no clinical covariate'}.{_one_time(inputs)}"
        f"{_beside(inputs, ratio)}{left_out}"
    )


def _judged(inputs: ReportInputs) -> str:
    s = inputs.settings
    end = _beside_their_own(inputs) + _trust(inputs) + _explained(inputs)
    if not s.words.timed:
        return f"{_judged_without_time()}{end}"
    return (
        f"Discrimination was measured by Uno's C (Uno 2011) truncated at {months(s.endpoint.tau_months)} months and by"
        " time-dependent AUC, overall error by the integrated Brier score with censoring weights (Graf 1999),"
        " calibration by slope, intercept (Crowson 2016), observed/expected ratio, risk groups, and smooth curves of"
        f" pseudo-values (Andersen 2003) with the integrated calibration index (Austin 2020){_d_calibrated(inputs)}."
        " Differences to the clinical model were taken on the same patients and bootstrap samples."
        f"{_rivals(inputs)} Concordance and integrated Brier score were"
        f" computed again with censoring weights of a Cox model on clinical variables (Gerds 2013).{end}"
    )


def _beside_their_own(inputs: ReportInputs) -> str:
    """What the models with omics were compared with, where there are others than Cox models."""
    if not any(r["versus"] == FLEXIBLE_REFERENCE for r in inputs.rows("prognosis_metrics")):
        return ""
    return (
        " What omics add was told beside the same learner on clinical variables alone: Cox models beside the clinical"
        " Cox model, the forest beside the clinical forest. Models that have no such counterpart stand beside the"
        " clinical forest, too."
    )


def _one_time(inputs: ReportInputs) -> str:
    """What a Cox model is where all events come at one time."""
    return inputs.settings.words.say(
        "",
        " With one time at which all events come, as here, it is a regression of the event with a complementary log-log"
        " link, fitted by Efron's approximation (Efron 1977) to the partial likelihood of all Cox models without a"
        " penalty, and by Breslow's to that of those with one.",
    )


def _judged_without_time() -> str:
    return (
        "Discrimination was measured by the area under the ROC curve within folds, overall error by the Brier score"
        " and its gain over one risk for all, calibration by slope and intercept of a binomial regression with"
        " complementary log-log link (Crowson 2016), observed/expected ratio, risk groups, and smooth curves of the"
        " event with the integrated calibration index (Austin 2020). Differences to the clinical model were taken on"
        " the same patients and bootstrap samples. What needs a time (bounds on it, ratios of rates and whether they"
        " stay"
        " the same, weights for patients who leave early) was left out."
    )


def _d_calibrated(inputs: ReportInputs) -> str:
    """That D-calibration was tested, if it could be."""
    rows = inputs.rows("calibration_measures", metric="d_calibration")
    return ", and by a test of D-calibration (Haider 2020)" if any(r["p_value"] is not None for r in rows) else ""


def _trust(inputs: ReportInputs) -> str:
    """How it was asked how far the models can be trusted, as far as it was."""
    said = ""
    if inputs.rows("sample_size"):
        said += " Sample size was compared with the criteria of Riley (Riley 2019), every candidate column counted."
    if inputs.rows("instability"):
        draws = max(r["draws"] for r in inputs.rows("instability"))
        said += (
            f" Cox models of few columns were learned anew in up to {draws:,} bootstrap samples for the instability of"
            " predictions (Riley 2023) and the optimism of performance in training (Harrell 1996)."
        )
    if inputs.rows("proportional"):
        said += (
            " Proportional hazards were tested by a score test (Grambsch 1994) with Holm's correction over models (Holm"
            " 1979)."
        )
    if any(r["estimate"] is not None for r in inputs.rows("site_summary")):
        said += (
            f" {inputs.settings.words.metrics['uno_c'][0]} of left-out sites was summarised on the log odds by"
            f" {RANDOM_EFFECTS}."
        )
    if any(r["estimate"] is not None for r in inputs.rows("robustness")):
        said += (
            " Models were put under stress after the eight concepts of robustness (Balendran 2025), kept as they were"
            " learned, with paired differences on the same draws of held-out patients."
        )
    return said + _in_groups(inputs)


def _in_groups(inputs: ReportInputs) -> str:
    """How predictions were judged in groups of patients, if any were named."""
    if not inputs.rows("fairness_tests"):
        return ""
    settings = inputs.settings
    columns = join([label(c) for c in settings.audit.groups])
    crossed = ", and by pairs of these," if settings.audit.intersections and len(settings.audit.groups) > 1 else ""
    if settings.endpoint.competing is not None:
        how = "robust score tests of Poisson regressions on the hazard of the subdistribution (Fine 1999)"
    elif settings.words.timed:
        how = (
            "likelihood ratios of a Poisson regression on the predicted cumulative hazard (Crowson 2016) and of a Cox"
            " model stratified by fold (Cox 1972)"
        )
    else:
        how = "likelihood ratios of binomial regressions"
    return (
        f" Held-out predictions were judged by {columns}{crossed} wherever a group had 20 events. Whether slope and"
        " level of the predictions are right in a group, and whether they are the same in all groups of a grouping, was"
        f" tested by {how}, all tests corrected together (Holm 1979)."
    )


def _explained(inputs: ReportInputs) -> str:
    """How it was asked what the models use, as far as it was."""
    said = ""
    if inputs.rows("importance"):
        said += (
            " What an omic adds to a fitted model given the others is the loss of performance when its values are"
            " exchanged among held-out patients who have it (Breiman 2001)."
        )
    if inputs.rows("shares"):
        said += (
            " Risks of the model on latents were attributed to features by integrated gradients (Sundararajan 2017)"
            " against the average training patient with the same omics."
        )
    return said


def _rivals(inputs: ReportInputs) -> str:
    """How deaths of other causes entered prognosis."""
    if inputs.settings.endpoint.competing is None:
        return ""
    alike = same_for_all(inputs)
    but = f"; {alike}" if alike else ""
    return (
        " The absolute risk of each model combined its cause-specific survival with one cause-specific Cox model of"
        f" deaths of other causes on clinical variables (Putter 2007){but}. Patients who died of another cause were"
        " known not to have the event: in AUC, as controls (Blanche 2013), in concordance, as comparable with every"
        " event (Wolbers 2014), and in the Brier score (Schoop 2011). Observed risk was estimated after Aalen and"
        " Johansen, and the calibration slope by Fine–Gray regression (Fine 1999). Risk scores of Cox models are"
        " cause-specific."
    )


def _beside(inputs: ReportInputs, ratio: str) -> str:
    """The models beside the clinical one that were asked for."""
    s = inputs.settings.prognosis
    asked = {r["model"] for r in inputs.rows("models")}
    said = {
        "clinical_omics": (
            "an elastic-net Cox model on clinical variables, not penalised, and omics, each with its own"
            f" penalty{ratio} (Simon 2011, Boulesteix 2017), used only where omics beat the clinical model by a"
            " standard error in training; an omic that a patient lacks counts for what it is expected to add given all"
            " else (Hoogland 2020)"
        ),
        "clinical_latent": "a Cox model on clinical variables and latents",
        "clinical_factors": "a Cox model on clinical variables and MOFA+ factors",
        "clinical_forest": "a random survival forest on clinical variables",
        "forest": "a random survival forest on clinical variables and latents (Ishwaran 2008)",
        "deep": inputs.settings.words.say("a discrete-time hazard network", "a network")
        + " on clinical variables and latents (Gensheimer 2019)",
    }
    named = [text for model, text in said.items() if model in asked]
    text = f" Beside it stood {join(named)}." if named else ""
    if "stacked" in asked and s:
        text += (
            " The stacked model is the convex combination of all of them with the least"
            f" {inputs.settings.words.error} in"
            f" training patients left out in {s.inner_folds} inner folds (van der Laan 2007)."
        )
    return text


def _treatment(inputs: ReportInputs) -> str:
    parts = []
    for key, t in inputs.settings.treatments.items():
        name = inside(t.label or label(key))
        if t.design == "randomised":
            parts.append(f"{name} (randomised) was compared as assigned")
        else:
            said = f"{name} (observational) was adjusted for {join([label(c) for c in t.confounders])}"
            if t.start is not None:
                said += (
                    f", from a landmark {t.landmark:g} {t.unit or 'months'} after time zero on, treated being who had"
                    " started by then (Anderson 1983), and, from time zero on, by copies of patients in both"
                    " strategies, censored where they deviate and weighted for it (Maringe 2020)"
                )
            parts.append(said)
    return (
        f"Treatment effects were estimated by emulating a target trial (Hernán 2016): {'; '.join(parts)}. Overlap"
        " weights (Li 2018) came from unpenalised logistic regression, refitted in each subgroup and in each bootstrap"
        f" sample; missing confounders were taken as missing clinical values are. {_contrast(inputs)}"
        f"{_averages(inputs)} One omnibus test asked whether the effect differs between"
        " subgroups; p-values of single subgroups are adjusted after Holm (Holm 1979)."
    )


def _contrast(inputs: ReportInputs) -> str:
    return inputs.settings.words.say(
        "Effects are differences in survival at the horizons and in restricted mean survival time (Royston"
        f" 2013) between weighted Kaplan–Meier curves{_competing_curves(inputs)}.",
        "Effects are differences in the weighted share of patients with a response.",
    )


def _competing_curves(inputs: ReportInputs) -> str:
    if inputs.settings.endpoint.competing is None:
        return ""
    return (
        ", taking one minus the Aalen–Johansen cumulative incidence as survival, since other causes compete, with"
        " cause-specific models in the doubly robust estimator (Ozenne 2020)"
    )


def _competing_effects(inputs: ReportInputs) -> str:
    if inputs.settings.endpoint.competing is None or not inputs.rows("treatment_learners"):
        return ""
    return (
        " These models were fitted to the event and to other causes apart and combined into the cumulative incidence"
        " (Putter 2007): what is predicted is the mean time gained free of the event (Andersen 2013)."
    )


def _averages(inputs: ReportInputs) -> str:
    """The other estimators of the average effect, as far as they gave one."""
    rows = [r for r in inputs.rows("treatment_averages") if r["estimate"] is not None]
    named = {
        "doubly robust": (
            "a cross-fitted doubly robust estimator (Chernozhukov 2018, Westling 2024) with Cox models of"
            f" {inputs.settings.words.say('survival and of censoring', 'the event')} in each arm"
        ),
        "inverse probability": (
            "stabilised inverse probability weights (Robins 2000) among patients with a propensity of 0.05 to 0.95"
            " (Crump 2009)"
        ),
    }
    said = [text for name, text in named.items() if any(r["estimator"] == name for r in rows)]
    text = f" The average effect was estimated again by {join(said)}." if said else ""
    if inputs.rows("treatment_differences"):
        text += (
            " Differences between patients were looked for in held-out patients, in doubly robust contributions to the"
            " effect: by predicted risk without treatment (Kent 2020), by clinical variables with Holm's correction,"
            " and by the predicted effect, with a rank-weighted average effect (Yadlowsky 2025). Effects were predicted"
            " by Cox models and random survival forests of each arm, a Cox model with interactions, a doubly robust"
            " learner with a lasso (Kennedy 2023) and a causal forest on residuals (Nie 2021), on"
            f" {inputs.settings.words.say('a censoring-unbiased outcome', 'the response')}, and combined by"
            " non-negative least squares on training patients left out, shrunk to the average"
            f" effect.{_competing_effects(inputs)}"
        )
    if inputs.rows("treatment_policy"):
        text += (
            " Rules whom to treat were learned in training patients, from cross-fitted doubly robust contributions: a"
            " tree of two questions (Athey 2021) and a threshold of the predicted effect. Their gain was estimated in"
            " held-out patients; a rule is recommended if it gains over treating everybody and over treating nobody, by"
            " an intersection–union test (Berger 1982) with Holm's correction."
        )
    if inputs.rows("treatment_profiles"):
        text += (
            f" {inputs.settings.words.say('Curves', 'Responses')} for patients like a given profile are averages over"
            " the"
            " eligible patients of Cox models of each arm (Robins 1986), with bootstrap bands; they are not shown"
            " where the propensity is outside 0.05 to 0.95."
        )
    checks = {r["check"] for r in inputs.rows("treatment_robustness")}
    if checks:
        changed = [
            said
            for check, said in (
                ("trimmed", "keeping patients by propensity"),
                ("restriction time", "averaging over a shorter time"),
                ("omics in propensity", "adding the latent dimensions of the omics to the propensity"),
            )
            if check in checks
        ]
        text += f" The average effect was worked out again with one thing changed at a time: {join(changed)}."
        if "negative control" in checks:
            text += (
                " Outcomes that a treatment cannot change (negative controls, Lipsitch 2010) were compared in the same"
                " way, other causes censored."
            )
    if any(r["estimate"] is not None for r in inputs.rows("treatment_site_summary")):
        text += f" The effect was estimated at each site on its own and summarised by {RANDOM_EFFECTS}."
    if inputs.rows("treatment_averages"):
        also = inputs.settings.words.say("the hazard ratio, survival at the last horizon and ", "")
        known = "negative control" in checks
        control = ", and was not read as an effect where a negative control differed" if known else ""
        text += (
            f" An effect was called robust where {also}the average by every other estimator excluded no effect on the"
            f" same side, too{control}."
        )
    if inputs.rows("treatment_sensitivity"):
        text += " E-values say how strong an unmeasured confounder would have to be (VanderWeele 2017)."
    return text


def _software(inputs: ReportInputs) -> str:
    inputs.note("manifest")
    versions = inputs.manifest.get("created_with") or {}
    named = [
        f"{p} {versions[p]}"
        for p in ("stratiome", "torch", "mofapy2", "scikit-learn", "lifelines", "scikit-survival", "statsmodels")
        if p in versions
    ]
    return (
        f"Computed with {join(named) or 'Stratiome'}, seed {inputs.settings.seed}. Config hash"
        f" {inputs.manifest.get('config_hash', 'not recorded')}."
    )
