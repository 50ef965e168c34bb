"""What the target trial says of an outcome without time that all patients are assessed for."""

from __future__ import annotations

from stratiome.config import EvaluationConfig, TreatmentConfig


def assessed_once(
    treatment: TreatmentConfig, response: str, evaluation: EvaluationConfig
) -> dict[str, tuple[str, str]]:
    """Target and emulation of the components on when and how, as `target_trial` has them for outcomes with time.

    Nobody had to wait for the treatment to have the outcome, as all are assessed after it: there is no immortal time.
    What remains is that the response of patients who were not assessed is missing.

    Parameters
    ----------
    treatment
        A comparison of two arms, without start times.
    response
        Column of the response.
    evaluation
        Bootstrap samples.
    """
    randomised = treatment.design == "randomised"
    contrast = f"Share of patients with a response, {treatment.compared} minus {treatment.control}"
    names = ", ".join(treatment.confounders)
    adjusted = f"an analysis adjusted for {names}" if treatment.confounders else "no adjustment"
    weighting = (
        f"Shares by arm, unweighted; beside them {adjusted} by overlap weights"
        if randomised
        else f"Shares by arm with overlap weights from unpenalised logistic regression of treatment on {names}"
    )
    population = "all eligible patients" if randomised else "patients who could have had either (overlap population)"
    return {
        "time zero": (
            "Eligibility and assignment coincide, before the treatment.",
            "Before the treatment, as far as what is recorded of patients is of then. All are assessed after it, so"
            " that"
            " nobody had to wait for it to count as treated.",
        ),
        "follow-up": (
            "All patients are assessed once, after the treatment.",
            f"`{response}` as recorded. Patients who were not assessed are left out; that they were not is taken to be"
            " unrelated to the response within each arm.",
        ),
        "outcome": (
            "Response at the assessment.",
            f"`{response}` as recorded (1 = response), without blinded review; the same for both arms.",
        ),
        "contrast": (
            f"{contrast}, by assignment (intention to treat), in all eligible patients.",
            f"{contrast}, by recorded treatment, averaged over {population}.",
        ),
        "analysis": (
            "Comparison of the arms as assigned.",
            f"{weighting}. Intervals from {evaluation.bootstraps} bootstrap samples of patients, in each of which the"
            " weights are estimated anew. Effects by subgroup on held-out labels, with one test that all are equal and"
            " Holm's correction.",
        ),
    }
