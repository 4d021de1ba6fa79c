"""Files of networks that were trained for integers."""

from __future__ import annotations

import numpy as np
import pytest

from autokit import KerasClassifier, TFLiteModel, export_tflite
from autokit._backend import keras
from autokit.compression import quantize_aware
from autokit.deploy import flatbuffer
from autokit.layers.fake_quant import PLAIN_OF, FakeQuantRange

from .conftest import images

L = keras.layers
rng = np.random.default_rng(0)


def _separable(shape, n_outputs):
    inputs = keras.Input(shape)
    x = L.Reshape((*shape, 1))(inputs)
    x = L.SeparableConv2D(6, 3, strides=2, use_bias=False, name="separable")(x)
    x = L.Flatten()(L.ReLU()(L.BatchNormalization(momentum=0.9)(x)))
    return keras.Model(inputs, L.Dense(n_outputs, activation="softmax", name="outputs")(x))


@pytest.fixture(scope="module")
def pair():
    """A classifier, and the same one trained for integers."""
    X, y = images()
    plain = KerasClassifier(_separable, epochs=15, learning_rate=0.01, random_state=0)
    plain.fit(X / 16, y)
    return plain, quantize_aware(plain, X / 16, y, epochs=2)


def _dense():
    inputs = keras.Input((10,))
    return keras.Model(inputs, L.Dense(4)(L.Dense(16, activation="relu")(inputs)))


def _conv():
    inputs = keras.Input((8, 8, 2))
    x = L.MaxPooling2D()(L.Conv2D(6, 3, padding="same", activation="relu")(inputs))
    return keras.Model(inputs, L.Dense(4)(L.Flatten()(x)))


def _branches():
    inputs = keras.Input((8, 8, 2))
    x = L.Conv2D(4, 3, padding="same", activation="relu")(L.Rescaling(0.5)(inputs))
    gate = L.Dense(4, activation="sigmoid")(L.GlobalAveragePooling2D()(x))
    x = L.Multiply()([x, L.Reshape((1, 1, 4))(gate)])
    x = L.ReLU()(L.Add()([x, L.Conv2D(4, 1, activation="gelu")(x)]))
    return keras.Model(inputs, L.Dense(4)(L.GlobalMaxPooling2D()(x)))


def _steps():
    inputs = keras.Input((12, 3))
    x = L.Conv1D(6, 3, padding="causal", activation="relu")(inputs)
    x = L.ReLU()(L.BatchNormalization()(L.SeparableConv1D(6, 3)(x)))
    return keras.Model(inputs, L.Dense(4)(L.GlobalAveragePooling1D()(x)))


def _output_step(path):
    model = flatbuffer.parse(path.read_bytes())
    graph = model.subgraphs[0]
    last = next(op for op in graph.operators if op.outputs[0] in graph.outputs)
    return graph.tensors[last.inputs[0]].quantization.scale[0]


def _depthwise():
    x = inputs = keras.Input((8, 8, 2))
    for width in (8, 12):
        x = L.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = L.ReLU(6.0)(L.BatchNormalization()(x))
        x = L.BatchNormalization()(L.Conv2D(width, 1, use_bias=False)(x))
        x = L.ReLU()(x)
    return keras.Model(inputs, L.Dense(4)(L.GlobalAveragePooling2D()(x)))


def _of_wild_weights(build):
    keras.utils.set_random_seed(0)
    model = build()
    for v in model.variables:
        name = v.path.rsplit("/", 1)[-1]
        if name in ("moving_variance", "gamma"):
            v.assign(rng.uniform(0.05, 3.0, v.shape))
        elif name in ("bias", "beta", "moving_mean"):
            v.assign(0.3 * rng.normal(size=v.shape))
    return model


def _int8(model, X, path):
    return export_tflite(
        model, path, quantization="int8", representative_data=X, tolerance=1.0, overwrite=True
    )


def _ranges(model):
    return [layer for layer in model.layers if isinstance(layer, FakeQuantRange)]


# Exact but for ties of rounding; where they meet in many layers, one step may become two.
@pytest.mark.parametrize(
    ("build", "steps"),
    [(_dense, 1), (_conv, 1), (_depthwise, 1), (_branches, 2), (_steps, 2)],
)
def test_the_int8_file_answers_as_the_rounded_network_to_a_step(tmp_path, build, steps):
    model = _of_wild_weights(build)
    X = rng.normal(size=(200, *model.input_shape[1:])).astype("float32")
    quantized = quantize_aware(model, X, model(X), epochs=1, batch_size=50)
    report = _int8(quantized, X, tmp_path / "model.tflite")
    assert "FAKE_QUANT" not in report.ops
    (got,) = TFLiteModel(report.path).run({"rows": X}).values()
    off = np.abs(got - np.asarray(quantized(X))) / _output_step(report.path)
    assert off.max() < steps + 0.01
    assert (off > 0.01).mean() < 0.25
    # and not because the rounding did nothing
    assert np.abs(np.asarray(quantized(X)) - np.asarray(model(X))).max() > 0


def test_the_file_has_the_ranges_that_were_trained(tmp_path):
    model = _of_wild_weights(_dense)
    X = rng.normal(size=(200, 10)).astype("float32")
    quantized = quantize_aware(model, X, model(X), epochs=0)
    wanted = []
    for i, layer in enumerate(_ranges(quantized)):
        layer.set_range(-1.0 - i, 2.0 + i)
        wanted.append((3 + 2 * i) / 255)
    report = _int8(quantized, X, tmp_path / "model.tflite")
    graph = flatbuffer.parse(report.path.read_bytes()).subgraphs[0]
    scales = {round(float(t.quantization.scale[0]), 6) for t in graph.tensors if t.quantization}
    assert {round(w, 6) for w in wanted} <= scales


@pytest.mark.parametrize("quantization", [None, "dynamic", "int8", "int4"])
def test_every_file_of_it_is_plain_and_no_larger(tmp_path, pair, quantization):
    X, y = images()
    X = X / 16
    sizes = []
    for estimator in pair:
        report = export_tflite(
            estimator,
            tmp_path / "model.tflite",
            quantization=quantization,
            representative_data=X,
            overwrite=True,
        )
        sizes.append(report.size_bytes)
    assert "FAKE_QUANT" not in report.ops
    assert report.agreement > 0.98
    assert sizes[1] <= 1.02 * sizes[0]
    assert np.mean(TFLiteModel(report.path).predict(X) == y) > 0.95
    if quantization is None:
        assert report.max_abs_error < 1e-5


def test_four_bits_are_the_grid_that_the_int4_file_stores(tmp_path):
    model = _of_wild_weights(_conv)
    X = rng.normal(size=(100, 8, 8, 2)).astype("float32")
    quantized = quantize_aware(model, X, model(X), bits=4, epochs=1)
    path = tmp_path / "model.tflite"
    export_tflite(quantized, path, quantization="int4", representative_data=X, tolerance=1.0)
    graph = flatbuffer.parse(path.read_bytes())
    packed = [t for t in graph.subgraphs[0].tensors if t.type == flatbuffer.schema.TensorType.INT4]
    kernels = [x.rounded_kernel().numpy() for x in quantized.layers if type(x) in PLAIN_OF]
    assert len(packed) == len(kernels) == 2
    for kernel in kernels:
        by_channel = np.moveaxis(kernel, -1, 0)
        stored = next(t for t in packed if np.prod(t.shape) == kernel.size)
        data = np.asarray(graph.buffers[stored.buffer].data, np.uint8)
        nibbles = np.stack([data & 15, data >> 4], axis=1).reshape(-1)[: kernel.size]
        whole = ((nibbles.astype(int) + 8) % 16 - 8).reshape(by_channel.shape)
        scale = stored.quantization.scale.reshape(-1, *[1] * (kernel.ndim - 1))
        np.testing.assert_allclose(whole * scale, by_channel, atol=1e-5)
        assert np.abs(whole).max() == 7


def test_layers_that_have_no_ranges_stay_float_and_are_named(tmp_path):
    inputs = keras.Input((6, 3))
    x = L.Dense(8, activation="relu")(L.LSTM(6)(inputs))
    model = keras.Model(inputs, L.Dense(2, activation="softmax")(x))
    X = rng.normal(size=(100, 6, 3)).astype("float32")
    y = (X[:, :, 0].sum(axis=1) > 0).astype(int)
    quantized = quantize_aware(model, X, y, epochs=1)
    assert quantized.compression_report_.details["float"] == [model.layers[1].name]
    report = export_tflite(
        quantized, tmp_path / "model.tflite", quantization="int8", representative_data=X
    )
    assert "FAKE_QUANT" not in report.ops
    assert report.agreement > 0.9
