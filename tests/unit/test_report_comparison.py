"""The table of latent models and the sentence on whether the deep one is worth it."""

import report_fixtures as fixtures
from stratiome.report import comparison
from test_report import changed


def compared(k: dict[str, int], planted: dict[str, float], as_vae: dict[str, float]) -> str:
    """The sentence on the models where they chose and agreed as given; intervals are 0.02 wide on either side."""
    found = fixtures.inputs("demo")
    chosen = [r | {"chosen": r["k"] == k[r["model"]]} for r in found.rows("subgroup_selection")]
    values = {"planted": planted, "vae": as_vae}
    rows = [
        r | {"estimate": v, "lower": v - 0.02, "upper": v + 0.02}
        for r in found.rows("subgroup_agreement")
        if (v := values.get(r["label"], {}).get(r["model"])) is not None
    ]
    return comparison.verdict(changed(found, subgroup_selection=chosen, subgroup_agreement=rows), list(k))


def test_the_verdict_on_the_deep_model_is_plain() -> None:
    three = {"vae": 3, "pca": 3, "mofa": 3}
    same = compared(three, {"vae": 0.9, "pca": 0.9, "mofa": 0.89}, {"pca": 0.95, "mofa": 0.97})
    assert same.startswith(
        "PCA and MOFA+ find the same subgroups (ARI with those of the latent model 0.95 and 0.97): the"
    )
    assert "the deep model adds nothing here" in same
    assert same.endswith("it agrees no better with the planted subgroups than PCA and MOFA+.")
    mixed = compared(three, {"vae": 0.9, "pca": 0.5, "mofa": 0.98}, {"pca": 0.5, "mofa": 0.88})
    assert "adds nothing" not in mixed
    assert "The latent model loses: MOFA+ agrees better with the planted subgroups; the intervals do not" in mixed
    assert "The latent model agrees better with the planted subgroups than PCA; the intervals" in mixed
    differs = compared({"vae": 3, "pca": 1, "mofa": 3}, {"vae": 0.9, "mofa": 0.9}, {"mofa": 0.95})
    assert "disagree on the number of subgroups: 3 with the latent model, 1 with PCA and 3 with MOFA+." in differs
    assert "MOFA+ finds the same subgroups" in differs
    alone = compared({"vae": 1, "pca": 1, "mofa": 2}, {}, {})
    assert alone.endswith("Take the difference as a warning.")
    assert compared({"vae": 1, "pca": 1, "mofa": 1}, {}, {}) == "No model finds subgroups."


def test_the_models_stand_in_one_table() -> None:
    found = fixtures.inputs("demo")
    _, table, _ = comparison.beside_baselines(found)
    assert [r[0] for r in table.rows] == ["Latent model (VAE)", "PCA baseline", "MOFA+ baseline"]
    by_title = {title: [r[j] for r in table.rows] for j, title in enumerate(table.head)}
    assert by_title["Subgroups"] == ["3", "3", "3"]
    assert by_title["Same number when refitted"] == ["5 of 5"] * 3
    assert by_title["As the latent model (ARI)"][0] == "–"
    assert by_title["Planted (ARI)"][1].startswith("0.85")
    only = [r for r in found.rows("subgroup_selection") if r["model"] == "vae"]
    assert comparison.beside_baselines(changed(found, subgroup_selection=only)) == []
    _, null, note = comparison.beside_baselines(fixtures.inputs("null"))
    assert null.head == ["Model", "Subgroups", "Against none", "Same number when refitted"]
    assert note.text == "No model finds subgroups."
