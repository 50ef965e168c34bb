"""Counts of a page to share are rounded wherever they stand, and what is hidden cannot be computed from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import report_fixtures as fixtures
from conftest import as_read
from stratiome.report.check import compare, value_of, written
from stratiome.report.disclosure import (
    Rounded,
    about,
    count,
    counts,
    exact,
    nearest,
    part,
    rounded,
    share,
    shareable,
    shares,
)
from stratiome.report.disclosure_recovery import hidden_counts
from stratiome.report.page import render
from stratiome.report.traced import Ledger, bare, cells

LEAST = 10
whole = st.integers(0, 5000)


def _row(**values: object) -> dict[str, object]:
    return shareable(cells(values, "t", 0, Ledger()), LEAST)


@given(whole, whole)
def test_sums_and_differences_are_rounded_once(a: int, b: int) -> None:
    row, known = _row(n=a, missing=b), {"n": a, "missing": b}
    made = (row["n"] + row["missing"], row["n"] - row["missing"], sum(row.values()))
    for found, true in zip(made, (a + b, a - b, a + b), strict=True):
        assert found == nearest(true, LEAST)
        assert exact(found) == true
        assert value_of(found.expression, lambda table, place, column: known[column]) == found


@given(st.integers(1, 5000))
def test_nothing_but_a_multiple_is_printed(n: int) -> None:
    printed = bare(count(_row(n=n)["n"], LEAST))
    assert printed == ("<10" if n < LEAST else f"{nearest(n, LEAST):,}")
    assert abs(nearest(n, LEAST) - n) <= LEAST / 2
    with rounded():
        assert count(n, LEAST) == part(n, n + 3, LEAST) == printed
        assert about(n, LEAST) == printed or n < LEAST


@given(st.integers(10, 500), st.integers(0, 500))
def test_events_do_not_tell_of_nobody_or_everybody(n: int, events: int) -> None:
    events = min(n, events)
    row = _row(n=n, events=events)
    size, failed = (bare(count(row[name], LEAST)).replace(",", "") for name in ("n", "events"))
    assert failed != "0"
    if failed.isdigit():
        assert int(size) - int(failed) >= LEAST
        assert n - events >= LEAST
    elif failed.startswith(">"):
        assert events > int(failed[1:]) - LEAST // 2
    assert exact(row["events"]) == events


def test_words_effective_sizes_and_truth_values_of_a_row() -> None:
    row = _row(method="truncated (3 patients), 1,234 events, 7 genes", effective_n=151.2, flagged=True, k=3, n_genes=42)
    assert row["method"] == "truncated (<10 patients), 1,230 events, 7 genes"
    assert (bare(f"{row['effective_n']:,.0f}"), row["flagged"], row["k"], row["n_genes"]) == ("150", True, 3, 42)
    assert shareable({"n": 64}, 1) == {"n": 64}


def test_percentages_are_of_rounded_counts_and_never_of_none_or_all() -> None:
    with rounded():
        assert [share(n, 152, LEAST) for n in (0, 4, 64, 147, 152)] == ["<7 %", "<7 %", "40 %", ">93 %", ">93 %"]
        assert share(6, 13, LEAST) == share(13, 13, LEAST) == "–"
        assert shares([45, 58, 42, 2], 147, LEAST) == ["27 %", "40 %", "27 %", "<7 %"]
        assert counts([45, 58, 42, 2], LEAST) == ["40", "60", "40", "<10"]
    assert share(0, 64, LEAST) == "0 %"


def test_a_bound_counts_in_a_sum() -> None:
    one, other = _row(n=48, events=45), _row(n=50, events=20)
    assert (count(one["events"], LEAST), f"{one['events']:,}") == (">40", ">40")
    both = one["events"] + other["events"]
    assert isinstance(both, Rounded)
    assert exact(both) == 65


# --- what can be computed --------------------------------------------------------------------------------------------


def test_percentages_of_exact_counts_tell_a_hidden_class() -> None:
    assert hidden_counts([(45, 45, 31), (58, 58, 39), (42, 42, 29)], 1, LEAST) == {2}
    assert len(hidden_counts([(45, 45, None), (58, 58, None), (42, 42, None)], 1, LEAST)) == 9


@given(st.lists(st.integers(10, 300), min_size=2, max_size=5), st.integers(1, 9))
def test_the_true_count_is_among_the_possible(classes: list[int], few: int) -> None:
    n = sum(classes) + few
    told = [(c, c, int(100 * c / n + 0.5)) for c in classes]
    assert few in hidden_counts(told, 1, LEAST)


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", fixtures.CASES)
def test_every_number_of_the_page_to_share_agrees_with_its_table(case: str) -> None:
    inputs = replace(fixtures.inputs(case), public=True)
    page = render(inputs)
    prose = written({"x": page}, {})["prose"]["x"]
    assert compare(page, prose, lambda t, row, column: inputs.tables[t].get_column(column)[row])[2] == []


def test_the_page_to_share_says_that_counts_are_rounded() -> None:
    page = as_read(render(replace(fixtures.inputs("demo"), public=True)))
    assert "version to share: all counts are rounded to multiples of 10" in page
    assert "n = 600" in page
    assert "≈ marks" not in page
