"""Claims on the page of another cohort: forest, table, answer, order of subgroups, and no small count."""

import pytest

from stratiome.report.validation import render
from stratiome.report.validation_claims import effect_verdict, effects, order
from test_report_validation import _page


def claim(verdict, claimed=5.0, found=4.0, subgroup=0, estimand="rmst_difference", **changes):
    half = 2.0 if estimand == "rmst_difference" else 0.05
    known = found is not None
    return {
        "estimate": found,
        "lower": found - half if known else None,
        "upper": found + half if known else None,
        "n": 200,
        "events": 80,
        "method": "Kaplan-Meier by arm" if known else "not estimable: fewer than 20 patients in an arm",
        "held_out": subgroup > 0,
        "treatment": "drug",
        "subgroup": subgroup,
        "estimand": estimand,
        "horizon_months": 60.0,
        "n_treated": 90,
        "claimed": claimed,
        "claimed_lower": claimed - half,
        "claimed_upper": claimed + half,
        "difference": found - claimed if known else None,
        "difference_lower": found - claimed - half if known else None,
        "difference_upper": found - claimed + half if known else None,
        "p_value": 0.4 if known else None,
        "p_holm": 0.8 if known else None,
        "verdict": verdict,
        "unknown_starts": "",
        "remark": "",
    } | changes


def page(*rows, pairs=()):
    return _page((0.7, 0.65, 0.75), effects=rows, order=pairs)


@pytest.mark.parametrize(
    ("rows", "tone", "said"),
    [
        ([claim("replicated")], "yes", "Replicated: drug A."),
        (
            [claim("replicated"), claim("not replicated", subgroup=2)],
            "mixed",
            "Replicated: drug A; not replicated: drug A in subgroup 2.",
        ),
        ([claim("not replicated")], "no", "Not replicated: drug A."),
        ([claim("undecided")], "unknown", "Undecided: too uncertain here to tell, for drug A."),
        ([claim("nothing was claimed", 0.3)], "unknown", "No effect was claimed"),
        (
            [claim("not estimable", found=None)],
            "unknown",
            "Not estimable: drug A (fewer than 20 patients in an arm).",
        ),
        (
            [claim("replicated"), claim("not estimable", found=None, treatment="other_drug")],
            "yes",
            "Replicated: drug A. Not estimable: other drug (fewer than 20 patients in an arm).",
        ),
        (
            [claim("replicated"), claim("replicated", subgroup=1), claim("not estimable", found=None, subgroup=2)],
            "yes",
            "Replicated: drug A.",
        ),
        (
            [claim("another question"), claim("another question", subgroup=1)],
            "unknown",
            "Not compared: drug A, since patients are followed from another time on here than in Here.",
        ),
    ],
)
def test_the_answer_follows_the_verdicts(rows, tone, said):
    found = effect_verdict(page(*rows))
    assert found.tone == tone
    assert said in found.answer


def test_effects_of_another_question_are_shown_apart():
    there = claim("another question", difference=None, p_holm=None, remark="another question: from a landmark\nunknown")
    section = effects(page(there))
    assert [b.kind for b in section.blocks] == ["table", "note", "items"]  # no forest that invites a comparison
    assert [written(c) for c in section.blocks[0].rows[0]][2:6] == ["+5.0 (3.0 to 7.0)", "+4.0 (2.0 to 6.0)", "–", "–"]
    assert section.blocks[2].items == ["Drug A: another question: from a landmark.", "Drug A: unknown."]
    facts = [name for name, _ in effect_verdict(page(there)).facts]
    assert facts == ["Drug A, claimed, months", "Drug A, here, another question, months"]


def test_a_bias_that_both_may_share_is_a_caveat():
    assert "immortal time" in effect_verdict(page(claim("replicated", unknown_starts="both"))).caveat
    assert "immortal time" not in effect_verdict(page(claim("replicated", unknown_starts="here"))).caveat


def test_without_claims_there_is_no_answer_and_a_sentence():
    assert effect_verdict(page()) is None
    assert "claims no treatment effect" in effects(page()).lede


def written(cell):
    return cell if isinstance(cell, str) else f"{cell.text} ({cell.below})"


def test_claims_stand_beside_what_is_found():
    shares = claim("undecided", 0.1, 0.03, estimand="survival_difference")
    section = effects(page(claim("replicated"), shares))
    assert [b.kind for b in section.blocks] == ["figure", "table"]
    first, second = ([written(c) for c in row] for row in section.blocks[1].rows)
    assert first[2:5] == ["+5.0 (3.0 to 7.0)", "+4.0 (2.0 to 6.0)", "−1.0 (−3.0 to 1.0)"]
    assert second[2:4] == ["+10.0 (5.0 to 15.0)", "+3.0 (−2.0 to 8.0)"]
    assert first[7] == "replicated"
    html = render(page(claim("replicated"), shares))
    assert "Are its treatment effects here?" in html
    assert "NaN" not in html


def test_small_counts_are_not_told():
    rows = effects(page(claim("not estimable", found=None, n=8, n_treated=3))).blocks[-1].rows
    assert rows[0][6] == "<10 / <10"


def pair(verdict, found=-8.0, **changes):
    known = found is not None
    ends = {"estimate": found, "lower": found - 3 if known else None, "upper": found + 3 if known else None}
    method = "how" if known else "not estimable: fewer than 20 patients in one of both"
    keys = {"quantity": "pair", "subgroup": 2, "versus": 1, "tau_months": 60.0, "verdict": verdict, "pairs": 1}
    claimed = {"claimed": -10.0, "claimed_lower": -13.0, "claimed_upper": -7.0}
    return ends | {"n": 100, "events": 50, "method": method, "held_out": True} | keys | claimed | changes


def concordance(estimate, pairs, method="how"):
    nothing = ("subgroup", "versus", "tau_months", "claimed", "claimed_lower", "claimed_upper", "lower", "upper")
    return pair("", estimate) | dict.fromkeys(nothing) | {
        "quantity": "concordance", "estimate": estimate, "pairs": pairs, "method": method,
    }  # fmt: skip


def test_an_effect_that_was_not_claimed_but_is_seen_here_is_told_as_uncorrected():
    seen = claim("nothing was claimed", 0.3, 4.0, subgroup=3)
    text = effect_verdict(page(claim("nothing was claimed", 0.3, 0.5), seen)).answer
    assert "no proof that there is none" in text
    assert "On its own, not corrected, the interval here excludes no effect for drug A in subgroup 3." in text
    assert "On its own" not in effect_verdict(page(claim("nothing was claimed", 0.3, 0.5))).answer


@pytest.mark.parametrize(("left", "treated", "blurred"), [(4, 3, True), (0, 0, False), (40, 20, False), (40, 3, True)])
def test_few_who_are_in_no_subgroup_do_not_come_out_by_subtraction(left, treated, blurred):
    parts = [claim("replicated", subgroup=g, n=80, n_treated=45) for g in (1, 2)]
    whole = claim("replicated", n=160 + left, n_treated=90 + treated)
    rows = next(b for b in effects(page(whole, *parts)).blocks if getattr(b, "kind", "") == "table").rows
    sizes = [row[6] for row in rows]
    assert sizes[0] == f"{160 + left} / {90 + treated}"
    assert sizes[1:] == ["≈80 / ≈40" if blurred else "80 / 45"] * 2


def test_the_order_of_subgroups_is_told_pair_by_pair():
    told, table = order(page(pairs=[pair("same order"), concordance(1.0, 1)]))
    assert "Of 1 pair that can be compared here: 1 surely in the same order, 0 surely turned round" in told.text
    assert [str(c) for c in table.rows[0]] == [
        "Subgroup 2 less subgroup 1", "−10.0 (−13.0 to −7.0)", "−8.0 (−11.0 to −5.0)", "≈100", "same order",
    ]  # fmt: skip
    few = [pair("not estimable", None), concordance(None, 0, "not estimable: no pair could be compared here")]
    told, table = order(page(pairs=few))
    assert "The order could not be looked at: no pair could be compared here." in told.text
    assert table.rows[0][4] == "not estimable: fewer than 20 patients in one of both"
    (text,) = order(page(pairs=[concordance(None, 0, "not estimable: no two subgroups differed clearly")]))
    assert text.text == "Order of subgroups: no two subgroups differed clearly."
    assert order(page()) == []
