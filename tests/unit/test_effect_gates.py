"""Gates of treatment effects with few replicates; full size in `tests/benchmarks/treatment_gates.py`."""

import numpy as np

import effect_gates as gates


def test_one_right_model_is_enough_and_two_wrong_ones_are_not():
    found = [gates.four_cells(s, folds=2) for s in range(25)]
    off = {cell: np.array([f[cell]["error of survival"] for f in found]) for cell in gates.CELLS}
    for cell in list(gates.CELLS)[:3]:
        assert abs(off[cell].mean()) < 3.5 * off[cell].std(ddof=1) / 5
    assert off["both wrong"].mean() < -0.1
    assert np.mean([f["both right"]["survival covered"] for f in found]) >= 0.84
