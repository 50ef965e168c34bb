"""Patients who lack omics are no subgroup, and are assigned as far as their omics allow."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, r2_score

import report_fixtures
from report_fixtures import render
from stratiome import tables
from stratiome.config import LatentConfig, SubgroupConfig
from stratiome.features.block import Block, FeatureSet
from stratiome.latent.baselines import PcaModel
from stratiome.latent.model import LatentModel
from stratiome.report.disclosure import shares
from stratiome.subgroups.find import find_subgroups
from stratiome.subgroups.information import learn_information

SETTINGS = SubgroupConfig(k=(1, 2, 3, 4), subsamples=10, reference_draws=19, alpha=0.05)


pytestmark = pytest.mark.usefixtures("one_thread")


def make(n=400, seed=0, lacks=0.25, shift=1.5, test=0.25):
    """Three subgroups in one omic; half of them seen in the second; none in the third, which all patients have."""
    rng = np.random.default_rng(seed)
    planted = rng.integers(0, 3, n)
    centres = shift * rng.choice([-1.0, 1.0], size=(3, 20))
    rna = centres[planted] + rng.normal(size=(n, 20))
    protein = centres[planted][:, :6] * (planted == 0)[:, None] + rng.normal(size=(n, 6))
    other = rng.normal(size=(n, 5))
    blocks = []
    for name, values, share in (("rna", rna, lacks), ("protein", protein, lacks), ("other", other, 0.0)):
        scaled = (values - values.mean(0)) / values.std(0)
        scaled[rng.random(n) < share] = np.nan
        names = tuple(f"{name}{j}" for j in range(values.shape[1]))
        blocks.append(Block(name, scaled.astype(np.float32), "gaussian", names))
    roles = np.where(rng.random(n) < test, "test", "train")
    return FeatureSet(tuple(f"P{i:04d}" for i in range(n)), roles, tuple(blocks)), planted


def patterns(features):
    """Names of the omics of each patient."""
    present = np.stack([b.present for b in features.blocks], axis=1)
    return np.array([" + ".join(b.name for b, h in zip(features.blocks, row, strict=True) if h) for row in present])


def test_share_is_the_coefficient_of_determination_of_the_whole_place():
    features, _ = make()
    model = PcaModel.fit(features, 4)
    latents = model.transform(features)
    found = learn_information(model, features, latents, 0.9)
    complete = features.train & np.all([b.present for b in features.blocks], axis=0)
    for pattern in found.patterns:
        if len(pattern.omics) == 3:
            assert pattern.share is None
            assert pattern.used
            continue
        hidden = model.transform(features.only(pattern.omics))
        weights = latents[complete].var(axis=0)
        right = np.average(r2_score(latents[complete], hidden[complete], multioutput="raw_values"), weights=weights)
        assert pattern.share == pytest.approx(right)
        assert pattern.n == (features.train & (patterns(features) == " + ".join(pattern.omics))).sum()
    assert {p.omics: p.share for p in found.patterns}["other",] < 0.5
    np.testing.assert_array_equal(found.used, np.all([b.present for b in features.blocks], axis=0))


def test_where_too_few_are_informed_the_most_telling_omics_take_part():
    features, _ = make(n=160)
    model = PcaModel.fit(features, 4)
    latents = model.transform(features)
    found = learn_information(model, features, latents, 0.9)
    told = sorted(((p.share, p.n, p.used) for p in found.patterns if p.share is not None), reverse=True)
    used = [n for _, n, used in told if used]
    assert used == [n for _, n, _ in told][: len(used)]
    assert len(used) < len(told)
    taking_part = found.used[features.train].sum()
    assert taking_part >= 100 > taking_part - used[-1]
    assert learn_information(model, features, latents, 0.0).used[features.train].all()


def test_hidden_omics_are_measured_in_nobody():
    values = np.ones((3, 2), np.float32)
    features = FeatureSet(
        ("a", "b", "c"),
        np.full(3, "train"),
        (
            Block("rna", values, "gaussian", ("x", "y"), values, values[:, 0]),
            Block("cna", values, "gaussian", ("z", "w")),
        ),
    )
    seen = features.only(("cna",))
    assert not seen.blocks[0].present.any()
    assert np.isnan(seen.blocks[0].counts).all()
    assert np.isnan(seen.blocks[0].library).all()
    assert seen.blocks[1] is features.blocks[1]
    assert np.isfinite(features.blocks[0].values).all()


def test_test_patients_change_nothing_that_is_learned_of_patterns():
    features, _ = make()
    noisy = []
    for block in features.blocks:
        values = block.values.copy()
        values[~features.train] = 7
        values[(~features.train) & (np.arange(len(values)) % 3 > 0)] = np.nan
        noisy.append(Block(block.name, values, block.likelihood, block.features))
    other = FeatureSet(features.patient_ids, features.roles, tuple(noisy))
    model = PcaModel.fit(features, 4)
    one, two = (find_subgroups(model.transform(f), f, model, SETTINGS, 0) for f in (features, other))
    assert one.mixtures() == two.mixtures()
    assert len(one.seen_with) == 3
    np.testing.assert_array_equal(one.labels[features.train], two.labels[features.train])


@pytest.mark.parametrize("kind", ["pca", "vae"])
def test_patients_who_lack_what_tells_subgroups_are_no_subgroup(kind):
    right = {0.9: 0, 0.0: 0}
    for seed in range(2):
        features, planted = make(seed=seed, lacks=0.35, shift=2.0, test=0.0)
        fit = {
            "pca": lambda f: PcaModel.fit(f, 3),
            "vae": lambda f: LatentModel.fit(f, LatentConfig(dims=3, hidden=16, members=3, epochs=150), 0),
        }
        model = fit[kind](features)
        latents = model.transform(features)
        for least in right:
            settings = SETTINGS.model_copy(update={"min_information": least})
            found = find_subgroups(latents, features, model, settings, seed)
            with_rna = features.blocks[0].present
            agreement = adjusted_rand_score(planted[with_rna], found.labels[with_rna])
            right[least] += found.selection.chosen == 3 and agreement > 0.9
    assert right[0.9] == 2
    assert right[0.0] < 2  # the mutant: everybody takes part


def test_memberships_of_patients_with_few_omics_are_calibrated():
    features, planted = make(n=3000, lacks=0.4, shift=2.0)
    model = PcaModel.fit(features, 3)
    found = find_subgroups(model.transform(features), features, model, SETTINGS, 0)
    assert found.selection.chosen == 3
    with_rna = features.blocks[0].present
    which = [np.bincount(found.labels[with_rna & (planted == g)], minlength=4)[1:].argmax() for g in range(3)]
    assert sorted(which) == [0, 1, 2]
    names = patterns(features)
    for pattern in ("other", "protein + other"):
        held = (names == pattern) & ~features.train
        probability = found.probabilities[held][:, which]
        own = np.eye(3)[planted[held]]
        np.testing.assert_allclose(probability.mean(0), own.mean(0), atol=0.1)
        for low, high in ((0.0, 0.4), (0.4, 0.7), (0.7, 1.0)):
            cell = (probability >= low) & (probability < high)
            if cell.sum() > 50:
                error = 3 * np.sqrt(0.25 / cell.sum())
                assert abs(probability[cell].mean() - own[cell].mean()) < error
    nothing = names == "other"
    assert found.probabilities[nothing].max() < 0.6
    assert (found.labels[nothing] == 0).mean() > 0.9
    # The mutant takes their places at the centre as if they were known.
    assert found.mixture.probabilities(model.transform(features))[nothing].max() > 0.9


def _with(inputs, rows):
    table = tables.from_rows(rows, tables.SubgroupInformation)
    return dataclasses.replace(inputs, tables=dict(inputs.tables) | {"subgroup_information": table})


def test_report_names_omics_that_tell_too_little():
    inputs = report_fixtures.inputs("demo")
    text = render(inputs)
    part = text[text.index("Which omics are enough") :]
    assert "took no part in finding subgroups: 70." in text
    for cell in ("all that can be told", "91 %", "23 %"):
        assert cell in part
    assert "as well" not in part[: part.index("</table>") + 900]
    assert "cannot be told apart well" not in text


def test_report_tells_no_small_number_of_patients_by_omics():
    inputs = report_fixtures.inputs("demo")
    rows = inputs.tables["subgroup_information"].to_dicts()
    rows[2] |= {"n": 4}
    assert "took no part in finding subgroups: &lt;10." in render(_with(inputs, rows))
    rows.append(rows[2] | {"omics": "rna", "n": 43})
    assert "took no part in finding subgroups: ≈50." in render(_with(inputs, rows))


def test_report_says_where_omics_do_not_overlap_and_where_more_had_to_take_part():
    inputs = report_fixtures.inputs("demo")
    rows = inputs.tables["subgroup_information"].to_dicts()
    apart = [rows[0] | {"omics": name, "n": 90} for name in ("rna", "protein")]
    text = render(_with(inputs, apart))
    assert "Too few patients have more omics than protein or RNA" in text
    assert "all that can be told" not in text
    few = [rows[0] | {"n": 60}, rows[1] | {"share": 0.85, "used": True}]
    assert "those with the next most telling ones take part" in render(_with(inputs, few))


def test_a_lone_small_class_cannot_be_had_from_the_others():
    assert shares([59, 12, 3], 74, 10) == ["80 %", "≈14 %", "<14 %"]
    assert shares([40, 34, 0], 74, 10) == ["54 %", "46 %", "0 %"]
    assert shares([69, 5], 74, 10) == [">86 %", "<14 %"]
    assert shares([50, 16, 4, 4], 74, 10) == ["68 %", "22 %", "<14 %", "<14 %"]
