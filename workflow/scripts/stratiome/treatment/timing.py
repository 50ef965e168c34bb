"""What the target trial says of strategies and time zero, by what the config tells of starts of treatment."""

from __future__ import annotations

from stratiome.config import MOST_MIN_CELL, EndpointConfig, TreatmentConfig

IMMORTAL = (
    "treatment starts after time zero at times that are not known: patients had to live to get it (immortal time)"
)
"""Why nothing is compared where treatment is known to start later, at unknown times."""


def not_compared(treatment: TreatmentConfig) -> str:
    """Why treated and untreated are not compared at all, or ""."""
    return IMMORTAL if treatment.starts == "later" else ""


def landmark_text(treatment: TreatmentConfig) -> str:
    """The landmark with its unit, as `90 days`."""
    return f"{treatment.landmark:g} {treatment.unit or 'months'}"


def strategies(treatment: TreatmentConfig, later: int | None = None) -> tuple[str, str]:
    """Strategies of the target trial, and how the data emulate them.

    Parameters
    ----------
    treatment
        A comparison of two arms.
    later
        Treated patients who start after the landmark; small numbers are not told.
    """
    unknown = "doses, schedules and reasons to stop are not known."
    if treatment.arms:
        one, two = treatment.arms[_arm(treatment)], treatment.arms[str(treatment.reference)]
        return (
            f"{_upper(treatment.compared)} from time zero, against {treatment.control}.",
            f"Patients who meet `{one}`, against those who meet `{two}`, as recorded; {unknown}",
        )
    label = treatment.label or str(treatment.column)
    if treatment.start is None:
        return (
            f"{label} from time zero, against no {label}.",
            f"`{treatment.column}` = 1 against 0 as recorded; {unknown}",
        )
    many = "" if later is None else f" ({_number(later)})"
    return (
        f"{_upper(label)} started within {landmark_text(treatment)} of time zero, against not started by then.",
        f"`{treatment.column}` = 1 with `{treatment.start}` at or before {landmark_text(treatment)}, against all others"
        f" followed beyond that landmark; treated patients who start later{many} count as untreated; {unknown}",
    )


def time_zero(treatment: TreatmentConfig, endpoint: EndpointConfig) -> str:
    """What time zero is in the data."""
    counts = f"Where `{endpoint.time}` starts to count"
    if treatment.design == "randomised":
        return f"Randomisation, provided that `{endpoint.time}` counts from it."
    if treatment.start is not None:
        return (
            f"The landmark, {landmark_text(treatment)} after `{endpoint.time}` starts to count: then it is known who is"
            " treated. Patients with an event or no follow-up beyond it are left out, so no patient had to live to"
            " be treated (no immortal time), and what is found holds for patients who live that long. Beside it,"
            f" starting within {landmark_text(treatment)} is compared with not starting from the first day on, with"
            " copies of patients that are censored where they deviate, and weights for that."
        )
    if treatment.starts == "at time zero":
        return (
            f"{counts}; the config says that every treatment starts then (`starts: at time zero`). The data do not"
            " tell: were it not so, patients had to live to be treated (immortal time)."
        )
    if treatment.starts == "later":
        return f"{counts}, but {IMMORTAL}, so nothing is compared."
    return (
        f"{counts}. Start times of treatment are not in the data: patients had to live long enough to be treated, so an"
        " immortal-time bias in favour of treatment cannot be excluded."
    )


def since(treatment: TreatmentConfig) -> str:
    """What months are counted from, for sentences: " after the landmark", or ""."""
    return " after the landmark" if treatment.start is not None else ""


def _arm(treatment: TreatmentConfig) -> str:
    return treatment.compare or next(a for a in treatment.arms if a != treatment.reference)


def _number(later: int) -> str:
    # The most that a config may have suppressed, as the text does not know what it asks for.
    if later == 0:
        return "nobody"
    return f"fewer than {MOST_MIN_CELL}" if later < MOST_MIN_CELL else f"{later:,}"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
