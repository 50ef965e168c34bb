"""Fitted survival models as plain arrays: what they need of a patient, and the curve that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stratiome.prognosis.deep import Network
from stratiome.prognosis.incidence import OtherCauses
from stratiome.prognosis.stack import restricted_mean_risk
from stratiome.survival.cox import CoxModel
from stratiome.survival.forest import Forest

if TYPE_CHECKING:
    from stratiome.prognosis.models import Inputs

Tensors = dict[str, np.ndarray]
Known = Mapping[str, np.ndarray]
NOTHING: Known = {}
SOURCES = ("clinical", "latents", "factors", "omic", "missing", "any missing")
"""Where columns come from: clinical columns, latents, MOFA+ factors, features of an omic, and flags of lacking one."""


class PredictorError(ValueError):
    """A stored model that does not hold together."""


@dataclass(frozen=True)
class Part:
    """Columns of a model from one source, as standardised in training.

    Attributes
    ----------
    source
        One of `SOURCES`.
    omic
        Name of the omic, of sources `omic` and `missing`; else "".
    columns
        Shape `(n_columns,)`, which columns of the source.
    names
        Names of the columns.
    centre, scale
        Shape `(n_columns,)`; a missing value counts as the centre.
    low, high
        Shape `(n_columns,)`, range of the standardised columns in training, to which others are held; empty where they
        are not.
    """

    source: str
    omic: str
    columns: np.ndarray
    names: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def apply(self, inputs: Inputs) -> np.ndarray:
        """The columns of any patients, shape `(n_patients, n_columns)`, finite."""
        x = (raw(inputs, self.source, self.omic, self.columns) - self.centre) / self.scale
        x[~np.isfinite(x)] = 0.0
        return np.clip(x, self.low, self.high) if self.low.size else x


def raw(inputs: Inputs, source: str, omic: str = "", columns: np.ndarray | None = None) -> np.ndarray:
    """What a source says of every patient before standardisation, shape `(n_patients, n_columns)`, float64.

    Parameters
    ----------
    inputs
        Patients.
    source, omic
        As in `Part`.
    columns
        Which columns; default all.

    Raises
    ------
    PredictorError
        If the patients come without this source.
    """
    if source == "missing":
        return (~np.isfinite(_omic(inputs, omic)).any(axis=1)).astype(np.float64)[:, None]
    if source == "any missing":
        return (inputs.n_omics < max(len(inputs.omics), 1)).astype(np.float64)[:, None]
    values = _omic(inputs, omic) if source == "omic" else getattr(inputs, source)
    if values is None:
        raise PredictorError(f"the model needs {source}, and there are none. Suggestion: use the same latent models")
    return np.array(values if columns is None else values[:, columns], dtype=np.float64)


def _omic(inputs: Inputs, name: str) -> np.ndarray:
    found = next((o.values for o in inputs.omics if o.name == name), None)
    if found is None:
        raise PredictorError(
            f"the model needs the omic {name}. Suggestion: give it, with all values missing if need be"
        )
    return found


def columns_of(parts: Sequence[Part], inputs: Inputs) -> np.ndarray:
    """All parts side by side, shape `(n_patients, n_columns)`."""
    made = [part.apply(inputs) for part in parts]
    return np.column_stack(made) if made else np.zeros((len(inputs.train), 0))


class Predictor(Protocol):
    """A fitted model."""

    def predict(self, inputs: Inputs, grid: np.ndarray, known: Known = NOTHING) -> tuple[np.ndarray, np.ndarray]:
        """Score of each patient, shape `(n_patients,)`, higher = worse, and curves, shape `(n_patients, n_times)`.

        `known` holds curves of the same patients that others have predicted already, by model.
        """

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Arrays and description to store."""


@dataclass(frozen=True)
class CurvePredictor:
    """The same curve for everybody, of shape `(n_times,)`."""

    curve: np.ndarray

    def predict(self, inputs: Inputs, grid: np.ndarray, known: Known = NOTHING) -> tuple[np.ndarray, np.ndarray]:
        """No score, and the curve."""
        n = len(inputs.train)
        return np.zeros(n), np.repeat(self.curve[None], n, axis=0)

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """As `Predictor`."""
        return {"curve": self.curve}, {"kind": "curve"}


@dataclass(frozen=True)
class Expected:
    """What an omic adds to the score on average, given the columns of all others: for patients who lack it.

    Attributes
    ----------
    omic
        Name of the omic.
    weights
        Shape `(n_columns,)`, of the columns of the model; 0 for those of the omic itself.
    constant
        Its mean where all columns are 0.
    """

    omic: str
    weights: np.ndarray
    constant: float


def expected_score(expected: Sequence[Expected], x: np.ndarray, inputs: Inputs) -> np.ndarray:
    """Sum of what the omics that each patient lacks would add on average, shape `(n_patients, 1)`.

    Parameters
    ----------
    expected
        Omics for which it is known.
    x
        Shape `(n_patients, n_columns)`, columns of the model.
    inputs
        The same patients.
    """
    parts = [raw(inputs, "missing", e.omic)[:, 0] * (e.constant + x @ e.weights) for e in expected]
    return np.sum(parts, axis=0).reshape(-1, 1) if parts else np.zeros((len(x), 0))


@dataclass(frozen=True)
class CoxPredictor:
    """A proportional hazards model on parts, with one more column of coefficient 1 where omics have an expected score.

    Without it a patient who lacks an omic is taken for the average patient in it, though other omics may tell more.
    """

    parts: tuple[Part, ...]
    model: CoxModel
    expected: tuple[Expected, ...] = ()

    def predict(self, inputs: Inputs, grid: np.ndarray, known: Known = NOTHING) -> tuple[np.ndarray, np.ndarray]:
        """Log partial hazard, and curves."""
        x = columns_of(self.parts, inputs)
        x = np.column_stack([x, expected_score(self.expected, x, inputs)])
        return self.model.risk(x), self.model.survival(x, grid)

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """As `Predictor`."""
        tensors, described = _parts_state(self.parts)
        tensors |= {f"expected{j}.weights": e.weights for j, e in enumerate(self.expected)}
        own = [{"omic": e.omic, "constant": e.constant} for e in self.expected]
        return tensors | self.model.arrays(), {"kind": "cox", "parts": described} | ({"expected": own} if own else {})


@dataclass(frozen=True)
class ForestPredictor:
    """A random survival forest on parts."""

    parts: tuple[Part, ...]
    forest: Forest

    def predict(self, inputs: Inputs, grid: np.ndarray, known: Known = NOTHING) -> tuple[np.ndarray, np.ndarray]:
        """Minus the restricted mean over the grid, and curves."""
        survival = self.forest.survival(columns_of(self.parts, inputs))
        return restricted_mean_risk(survival, grid, grid[-1]), survival

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """As `Predictor`."""
        tensors, described = _parts_state(self.parts)
        own = {f.name: getattr(self.forest, f.name) for f in fields(Forest)}
        return tensors | own, {"kind": "forest", "parts": described}


@dataclass(frozen=True)
class DeepPredictor:
    """A deep discrete-time hazard model on parts."""

    parts: tuple[Part, ...]
    network: Network

    def predict(self, inputs: Inputs, grid: np.ndarray, known: Known = NOTHING) -> tuple[np.ndarray, np.ndarray]:
        """Minus the restricted mean over the grid, and curves."""
        survival = self.network.survival(columns_of(self.parts, inputs), grid)
        return restricted_mean_risk(survival, grid, grid[-1]), survival

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """As `Predictor`."""
        tensors, described = _parts_state(self.parts)
        own = {f"weight.{k}": v for k, v in self.network.weights.items()} | {"edges": self.network.edges}
        return tensors | own, {"kind": "deep", "parts": described}


@dataclass(frozen=True)
class AbsolutePredictor:
    """A model of the event alone in a world with other causes: curves are one minus the cumulative incidence.

    Attributes
    ----------
    inner
        The model of the event alone.
    others
        What is known of other causes.
    marginal
        Whether everybody has the Aalen-Johansen curve.
    """

    inner: Predictor
    others: OtherCauses
    marginal: bool

    def predict(self, inputs: Inputs, grid: np.ndarray, known: Known = NOTHING) -> tuple[np.ndarray, np.ndarray]:
        """Score of the model of the event alone, and curves in this world."""
        risk, survival = self.inner.predict(inputs, grid)
        return risk, self.absolute(survival, inputs.clinical, grid)

    def absolute(self, survival: np.ndarray, clinical: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """Curves of patients with these curves of the event alone and these clinical columns."""
        if self.marginal:
            return self.others.marginal(len(survival), grid)
        return self.others.free_of_event(survival, clinical, grid)

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """As `Predictor`."""
        tensors, described = self.inner.state()
        own, causes = self.others.state()
        stored = {f"inner.{k}": v for k, v in tensors.items()} | {f"others.{k}": v for k, v in own.items()}
        return stored, {"kind": "absolute", "inner": described, "others": causes, "marginal": self.marginal}


@dataclass(frozen=True)
class StackPredictor:
    """Weighted mean of the curves of other models.

    Attributes
    ----------
    weights
        Shape `(n_models,)`, adding to one.
    models
        Names and models, in the order of the weights.
    tau
        Months up to which the score is taken.
    """

    weights: np.ndarray
    models: tuple[tuple[str, Predictor], ...]
    tau: float

    def predict(self, inputs: Inputs, grid: np.ndarray, known: Known = NOTHING) -> tuple[np.ndarray, np.ndarray]:
        """Minus the restricted mean to tau, and curves; models whose curves are known do not predict again."""
        curves = [known[n] if n in known else m.predict(inputs, grid)[1] for n, m in self.models]
        survival = mixed(self.weights, np.stack(curves))
        return self.score(survival, grid), survival

    def score(self, survival: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """Score of curves of this model, shape `(n_patients,)`."""
        return restricted_mean_risk(survival, grid, self.tau)

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """As `Predictor`; the models are stored apart, by their names."""
        return {"weights": self.weights}, {"kind": "stack", "models": [n for n, _ in self.models], "tau": self.tau}


def mixed(weights: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Weighted mean of curves that start at 1, without rounding errors: it starts at 1 and does not rise."""
    made = np.clip(np.tensordot(weights, curves, axes=1), 0.0, 1.0)
    made[:, 0] = 1.0
    return np.minimum.accumulate(made, axis=1)


def _parts_state(parts: Sequence[Part]) -> tuple[Tensors, list[dict[str, Any]]]:
    tensors: Tensors = {}
    described = []
    for j, part in enumerate(parts):
        arrays = ("columns", "centre", "scale", "low", "high")
        tensors |= {f"part{j}.{name}": getattr(part, name) for name in arrays}
        described.append({"source": part.source, "omic": part.omic, "names": list(part.names)})
    return tensors, described


def from_state(tensors: Tensors, description: dict[str, Any], others: dict[str, Predictor]) -> Predictor:
    """The model of a state.

    Parameters
    ----------
    tensors, description
        As `Predictor.state` gave them.
    others
        Models by name, of which a stack consists.

    Raises
    ------
    PredictorError
        If something is missing or shapes do not fit together.
    """
    try:
        return _made(tensors, description, others)
    except (KeyError, TypeError, IndexError) as error:
        raise PredictorError(
            f"a stored model lacks {error}. Suggestion: take the bundle again from its source"
        ) from None


def _made(tensors: Tensors, description: dict[str, Any], others: dict[str, Predictor]) -> Predictor:
    kind = description["kind"]
    if kind == "curve":
        return CurvePredictor(tensors["curve"])
    if kind == "absolute":
        inner = _made(_below(tensors, "inner"), description["inner"], others)
        causes = OtherCauses.from_state(_below(tensors, "others"), description["others"])
        return AbsolutePredictor(inner, causes, bool(description["marginal"]))
    if kind == "stack":
        models = tuple((str(name), others[name]) for name in description["models"])
        _same(len(models), len(tensors["weights"]), "weights of a stack")
        return StackPredictor(tensors["weights"], models, float(description["tau"]))
    parts = tuple(_part(tensors, j, one) for j, one in enumerate(description["parts"]))
    width = sum(len(p.names) for p in parts)
    if kind == "cox":
        model = CoxModel.of_arrays(tensors)
        expected = tuple(
            Expected(str(e["omic"]), tensors[f"expected{j}.weights"], float(e["constant"]))
            for j, e in enumerate(description.get("expected", []))
        )
        for one in expected:
            _same(width, len(one.weights), "weights of an expected score")
        _same(width + bool(expected), len(model.coefficients), "coefficients")
        _same(width + bool(expected), len(model.centre), "means")
        _same(len(model.times), len(model.cumulative_hazard), "steps of the baseline")
        return CoxPredictor(parts, model, expected)
    if kind == "forest":
        return ForestPredictor(parts, _forest({f.name: tensors[f.name] for f in fields(Forest)}, width))
    if kind == "deep":
        weights = _below(tensors, "weight")
        _same(width, weights["linear"].shape[1], "weights of the network")
        _same(weights["base"].shape[2] + 1, len(tensors["edges"]), "intervals of the network")
        return DeepPredictor(parts, Network(weights, tensors["edges"]))
    raise PredictorError(f"a stored model is of kind `{kind}`, which is not known. Suggestion: a newer Stratiome")


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}


def _part(tensors: Tensors, j: int, described: dict[str, Any]) -> Part:
    own = {k: tensors[f"part{j}.{k}"] for k in ("columns", "centre", "scale", "low", "high")}
    names = tuple(str(n) for n in described["names"])
    source = str(described["source"])
    if source not in SOURCES:
        raise PredictorError(f"a stored model needs `{source}`, which is not known. Suggestion: a newer Stratiome")
    for name, values in own.items():
        if name not in ("low", "high") or values.size:
            _same(len(names), len(values), f"{name} of a part")
    return Part(source, str(described["omic"]), names=names, **own)


def _forest(own: Tensors, width: int) -> Forest:
    """A forest in which every way ends in a leaf: children come after their parents."""
    nodes = np.arange(len(own["feature"]))
    inner = own["leaf"] < 0
    for name in ("threshold", "left", "right", "leaf"):
        _same(len(nodes), len(own[name]), "nodes of a forest")
    sound = (
        (own["left"][inner] > nodes[inner]).all()
        and (own["right"][inner] > nodes[inner]).all()
        and (np.maximum(own["left"], own["right"])[inner] < len(nodes)).all()
        and ((own["feature"][inner] >= 0) & (own["feature"][inner] < width)).all()
        and (own["leaf"] < len(own["curves"])).all()
        and ((own["roots"] >= 0) & (own["roots"] < len(nodes))).all()
        and len(own["roots"]) > 0
    )
    if not sound:
        raise PredictorError("a stored forest has ways that end nowhere. Suggestion: take the bundle from its source")
    return Forest(**own)


def _same(expected: int, found: int, what: str) -> None:
    if expected != found:
        raise PredictorError(f"a stored model has {found} {what}, not {expected}. Suggestion: take the bundle anew")
