"""The page on a batch says what its table says, and no small count."""

from __future__ import annotations

import pytest

from stratiome import tables
from stratiome.report.drift import MOST, Monitoring, inputs_verdict, outcome_verdict, render

CARD = {"title": "Here", "n": 400, "intended_use": "Research use only.", "stratiome": "0.1.0"}


def _row(part, name="", quantity="psi", p=0.5, q=None, **more):
    numbers = {"estimate": 0.3, "reference": None, "p_value": p, "q_value": p if q is None else q}
    sizes = {"n_training": 400, "n_batch": 200, "method": "how it was tested"}
    base = {"part": part, "scope": "rna", "name": name, "quantity": quantity, "flagged": False}
    return base | numbers | sizes | more


def _page(*rows) -> Monitoring:
    return Monitoring("There", CARD, "ab" * 32, tables.from_rows(list(rows), tables.Drift), 10)


STILL = (_row("inputs", name="A"), _row("missingness", name="A", quantity="missing", estimate=0.1, reference=0.1))


@pytest.mark.parametrize(
    ("rows", "tone", "said"),
    [
        (STILL, "no", "No evidence of drift."),
        (
            (*STILL, _row("inputs", q=0.01, flagged=True)),
            "differs",
            "They differ in features and covariates.",
        ),
        ((_row("inputs", p=None, q=None),), "unknown", "too few patients"),
    ],
)
def test_the_answer_without_outcomes_follows_the_flags(rows, tone, said):
    found = inputs_verdict(_page(*rows))
    assert found.tone == tone
    assert said in found.answer


def test_the_answer_on_the_outcome_follows_the_flags():
    row = {"scope": "stacked", "quantity": "observed_expected", "estimate": 1.6, "reference": 1.0}
    assert outcome_verdict(_page(_row("outcome", **row))).tone == "no"
    drifted = outcome_verdict(_page(_row("outcome", flagged=True, **row)))
    assert drifted.tone == "harm"
    assert "stacked" in drifted.answer.lower()
    unripe = outcome_verdict(_page(_row("outcome", p=None, method="outcome labels are not mature: too few", **row)))
    assert unripe.tone == "unknown"
    assert "not mature" in unripe.answer


def test_no_share_of_few_patients_is_told():
    few = _row("missingness", name="A", quantity="missing", estimate=0.015, reference=0.25, q=0.01, flagged=True)
    share = {"scope": "subgroups", "quantity": "share", "p": None}
    groups = [
        _row("memberships", name=g, estimate=e, reference=r, **share)
        for g, e, r in (("1", 0.975, 0.6), ("2", 0.025, 0.4))
    ]
    page = render(_page(few, *groups))
    body = page[page.index("<body") :]
    assert not any(told in body for told in ("1.5 %", "0.015", "2 %<", "2.5 %", "98 %"))
    assert "&lt;5 %" in page
    assert "25 %" in page


def test_a_long_table_is_cut_and_says_so():
    rows = [_row("inputs", name=f"G{i}", q=0.001 * (i + 1) / 50, flagged=True) for i in range(MOST + 5)]
    page = render(_page(*rows))
    assert f"The {MOST} with the smallest q of {MOST + 5}." in page
    assert "G0<" in page
    assert f"G{MOST + 4}<" not in page
    assert "NaN" not in page
