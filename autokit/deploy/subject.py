"""What is exported: an estimator or a plain Keras model, seen in one way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit import __version__
from autokit._backend import keras, tf
from autokit.deploy.convert import Part, Specs, Tensors, trace
from autokit.deploy.network import split
from autokit.deploy.plain_inputs import identifier
from autokit.deploy.proof import ExportError
from autokit.layers.integer import has_all_ranges, has_fake_quant, without_fake_quant

ENCODED, PREPARED, MASK = "encoded", "prepared", "mask"
NETWORK, OUTPUT, EMBEDDING = "network", "output", "embedding"
_SYNTHETIC_ROWS = 64
_PASSIVE = {"Placeholder", "Identity", "NoOp", "Const"}


@dataclass(frozen=True)
class Subject:
    """An estimator or a plain Keras model.

    Attributes
    ----------
    model : keras.Model
        The network: of an estimator, from encoded rows.
    estimator : estimator or None
        Whose model it is.
    specs : dict of str to (shape without batch, dtype)
        Raw inputs of the file.
    output_names : tuple of str
        Outputs of the file.
    """

    model: keras.Model
    estimator: Any
    specs: Specs
    output_names: tuple[str, ...]

    @property
    def is_classifier(self) -> bool:
        """Whether it is a classifier; of a plain model nobody knows."""
        return self.estimator is not None and hasattr(self.estimator, "classes_")

    def tensors(self, X: Any) -> dict[str, np.ndarray]:
        """Turn rows in the user's format into raw inputs."""
        if self.estimator is not None:
            return self.estimator.encoder_.raw_tensors(X)
        if isinstance(X, dict):
            given = {identifier(str(name)): value for name, value in X.items()}
        elif len(self.specs) == 1:
            given = dict.fromkeys(self.specs, X)
        else:
            given = dict(zip(self.specs, X, strict=False))
        if given.keys() != self.specs.keys():
            raise ValueError(f"give the inputs {', '.join(self.specs)} as a dict or a list")
        arrays = {}
        for name, (shape, dtype) in self.specs.items():
            arrays[name] = np.asarray(given[name]).astype(object if dtype == "string" else dtype)
            got = arrays[name].shape[1:]
            if len(got) != len(shape) or any(
                w not in (None, g) for w, g in zip(shape, got, strict=True)
            ):
                raise ValueError(f"the input {name!r} takes rows of shape {shape}, got {got}")
        return arrays

    def synthetic(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw plausible raw inputs: normal about the encoder's means, known categories."""
        encoder = getattr(self.estimator, "encoder_", None)
        categories = getattr(encoder, "categories_", ())
        mean, scale = getattr(encoder, "mean_", 0.0), getattr(encoder, "scale_", 1.0)
        drawn = {}
        for name, (shape, dtype) in self.specs.items():
            size = (_SYNTHETIC_ROWS, *(1 if n is None else n for n in shape))
            if dtype == "string":
                columns = [rng.choice(["", *names], _SYNTHETIC_ROWS) for names in categories]
                drawn[name] = np.stack(columns, axis=1).astype(object)
            elif np.issubdtype(dtype, np.integer):
                # An embedding has at least two rows to look up.
                drawn[name] = rng.integers(0, 2, size).astype(dtype)
            else:
                drawn[name] = (mean + scale * rng.standard_normal(size)).astype(dtype)
        return drawn

    def expected(self, X: Any) -> dict[str, np.ndarray]:
        """Answer as Keras does, for rows in the user's format."""
        if self.estimator is None:
            return self.expected_of(self.tensors(X))
        answer = self.estimator.predict_proba if self.is_classifier else self.estimator.predict
        outputs = np.asarray(answer(X))
        return {OUTPUT: outputs.reshape(len(outputs), -1)}

    def expected_of(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer as Keras does, for raw inputs."""
        outputs = self.whole(self.model).call({k: tf.constant(v) for k, v in tensors.items()})
        return {name: np.asarray(value) for name, value in outputs.items()}

    def whole(self, network: keras.Model) -> Part:
        """Return the graph from raw inputs to outputs in one part."""
        parts = self.parts(network)

        def call(tensors: Tensors) -> Tensors:
            for part in parts:
                tensors = part.call(tensors)
            return tensors

        return Part(call, self.specs, [v for part in parts for v in part.variables])

    def parts(self, network: keras.Model, *, keeps_lookups: bool = False) -> list[Part]:
        """Return the graph as encoder, network and output mapping, or the network alone.

        Parameters
        ----------
        network : keras.Model
            The model, prepared for conversion.
        keeps_lookups : bool, default=False
            Whether an Embedding that the network starts with stays in float.

        Returns
        -------
        list of Part
            The outputs of each are the inputs of the next, by name.
        """
        if self.estimator is None:
            names = self.output_names
            return _network_parts(
                network, self.specs, lambda x: dict(zip(names, x, strict=True)), keeps_lookups
            )
        encoder, finish = self.estimator.encoder_, self.estimator.output_graph
        width = tuple(network.output_shape[1:])
        last = Part(lambda t: {OUTPUT: finish(t[NETWORK])}, {NETWORK: (width, "float32")}, [])
        is_passive = _is_passive(last)

        def named(outputs: list[tf.Tensor]) -> Tensors:
            return {OUTPUT: finish(outputs[0])} if is_passive else {NETWORK: outputs[0]}

        first = Part(lambda t: {ENCODED: encoder.graph(t)}, self.specs, [])
        encoded = {ENCODED: (tuple(encoder.encoded_shape_), "float32")}
        middle = _network_parts(network, encoded, named, keeps_lookups)
        return [first, *middle, *([] if is_passive else [last])]

    def description(self, quantization: str | None) -> dict[str, Any]:
        """Return what the file will say about itself."""
        described = {"autokit": __version__, "task": "model", "quantization": quantization}
        if self.estimator is None:
            return described
        described["name"] = type(self.estimator).__name__
        described["rows"] = _brief(self.estimator.encoder_.describe())
        if not self.is_classifier:
            target = self.estimator.target_.describe()
            described.update(task="regression", target_ndim=target["ndim"])
            described["target"] = {k: _rounded(target[k]) for k in ("mean", "scale")}
            return described
        classes = np.asarray(self.estimator.classes_)
        return {
            **described,
            "task": "classification",
            "classes": classes.tolist(),
            "classes_dtype": "object" if classes.dtype == object else classes.dtype.str,
        }


def subject_of(estimator_or_model: Any, *, rounds: bool = True) -> Subject:
    """Recognise what is to be exported.

    Parameters
    ----------
    estimator_or_model : estimator or keras.Model
        A fitted estimator of this package, or a built model.
    rounds : bool, default=True
        Whether a model that was trained for integers goes on rounding its activations. Only a
        file of integers does, and only if all of them were trained: any other file is compared
        with the model without that.

    Returns
    -------
    Subject
        One view of either.

    Raises
    ------
    ExportError
        If it is neither, or a model without fixed inputs.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    """
    if isinstance(estimator_or_model, keras.Model):
        return _subject_of_model(_rounding(estimator_or_model, rounds))
    # of a search, what it has found
    estimator = getattr(estimator_or_model, "best_estimator_", estimator_or_model)
    if not hasattr(estimator, "output_graph"):
        raise ExportError(
            "estimator_or_model must be a fitted estimator of autokit or a keras.Model, got a "
            f"{type(estimator).__name__}; of a Pipeline, export its last step."
        )
    if not hasattr(estimator, "model_"):
        from sklearn.exceptions import NotFittedError

        raise NotFittedError(
            f"estimator_or_model: this {type(estimator).__name__} is not fitted yet; call fit "
            "before export_tflite."
        )
    model = _rounding(estimator.model_, rounds)
    if model is not estimator.model_:
        estimator = copy.copy(estimator)
        estimator.model_ = model
    return Subject(estimator.model_, estimator, estimator.encoder_.raw_specs(), (OUTPUT,))


def _rounding(model: keras.Model, rounds: bool) -> keras.Model:
    if not has_fake_quant(model) or (rounds and has_all_ranges(model)):
        return model
    return without_fake_quant(model)


def _subject_of_model(model: keras.Model) -> Subject:
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise ExportError(
            f"estimator_or_model: the {type(model).__name__} has no fixed inputs; wrap it as "
            "keras.Model(x, model(x)) with x = keras.Input(shape)."
        )
    # A list in, a list out (or one tensor), whatever the model's own nesting of them.
    flat = keras.Model(inputs, model.outputs if len(model.outputs) > 1 else model.outputs[0])
    names = ["rows"] if len(inputs) == 1 else _distinct([tensor.name for tensor in inputs])
    specs = {
        name: (tuple(tensor.shape[1:]), tensor.dtype)
        for name, tensor in zip(names, inputs, strict=True)
    }
    outputs = (OUTPUT,) if len(model.outputs) == 1 else tuple(_distinct(model.output_names))
    return Subject(flat, None, specs, outputs)


def _network_parts(
    network: keras.Model,
    specs: Specs,
    named: Callable[[list[tf.Tensor]], Tensors],
    keeps_lookups: bool,
) -> list[Part]:
    """Return the network as one part, or as two if it starts with layers that stay in float."""
    cut = split(network, keeps_lookups=keeps_lookups)
    if cut is None:
        return [_network_part(network, specs, named, is_network=True)]
    names = [PREPARED, *(f"{MASK}_{i}" for i in range(1, len(cut.front.outputs)))]
    between = {
        name: (tuple(tensor.shape[1:]), tensor.dtype)
        for name, tensor in zip(names, cut.front.outputs, strict=True)
    }
    return [
        _network_part(cut.front, specs, lambda x: dict(zip(between, x, strict=True))),
        _network_part(cut.rest, between, named, is_network=True),
    ]


def _network_part(network, specs, named, is_network=False) -> Part:
    def run(tensors: Tensors) -> Tensors:
        inputs = [tensors[name] for name in specs]
        outputs = network(inputs if len(inputs) > 1 else inputs[0], training=False)
        outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        # Masks go from part to part as tensors; those that Keras attaches would go unseen.
        return named([tf.identity(output) for output in outputs])

    return Part(run, specs, _read_by(network), is_network)


def _read_by(network: keras.Model) -> list[Any]:
    tables = (getattr(layer, "lookup_table", None) for layer in network._flatten_layers())
    return [*(v.value for v in network.variables), *(t for t in tables if t is not None)]


def _is_passive(part: Part) -> bool:
    return {op.type for op in trace(part).graph.get_operations()} <= _PASSIVE


def _brief(rows: dict[str, Any]) -> dict[str, Any]:
    """Keep what a row is, and how the graph normalises it."""
    inside = "inside the file: (value - mean) / scale" if rows["standardize"] else "none"
    brief = {"kind": rows["kind"], "normalization": inside}
    if "columns" not in rows:
        return {**brief, **{k: _rounded(rows[k]) for k in ("shape", "mean", "scale")}}
    columns = [{k: _rounded(v) for k, v in column.items()} for column in rows["columns"]]
    return {**brief, "columns": columns}


def _rounded(value: Any) -> Any:
    """Numbers to the precision of float32."""
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _distinct(names: Sequence[str]) -> list[str]:
    names = [identifier(name) for name in names]
    return names if len(set(names)) == len(names) else [f"{n}_{i}" for i, n in enumerate(names)]
