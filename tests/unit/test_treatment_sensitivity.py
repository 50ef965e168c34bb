"""E-values: the published example, symmetry, and what cannot be."""

import numpy as np
import pytest

from stratiome.treatment.sensitivity import _of, e_value, risk_ratio


def test_the_published_example():
    """Risk ratio 3.9 (1.8 to 8.7): 7.26 and 3.0 (VanderWeele & Ding 2017)."""
    assert _of(3.9) == pytest.approx(7.26, abs=0.005)
    assert _of(1.8) == pytest.approx(3.0, abs=0.005)
    assert _of(1 / 3.9) == pytest.approx(_of(3.9), abs=1e-12)


def test_harm_and_benefit_of_the_same_size_need_the_same_confounder():
    harm, benefit = e_value(2.0, 1.5, 2.6), e_value(1 / 2.0, 1 / 2.6, 1 / 1.5)
    assert harm.estimate == pytest.approx(benefit.estimate, abs=1e-12)
    assert harm.limit == pytest.approx(benefit.limit, abs=1e-12)
    assert harm.estimate > harm.limit > 1.0


def test_an_interval_that_holds_no_effect_needs_nothing():
    found = e_value(0.9, 0.7, 1.1)
    assert found.limit == 1.0
    assert found.estimate > 1.0
    assert e_value(1.0, 0.8, 1.2).estimate == 1.0


def test_the_risk_ratio_is_nearer_to_one_than_the_hazard_ratio():
    for ratio in (0.4, 0.8, 1.5, 3.0):
        assert abs(np.log(risk_ratio(ratio))) < abs(np.log(ratio))
        assert risk_ratio(ratio) * risk_ratio(1 / ratio) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="positive"):
        e_value(0.0, -1.0, 1.0)
