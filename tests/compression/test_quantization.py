"""Training for integers: what is trained, and what is kept."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from autokit import KerasClassifier, export_tflite, load, save
from autokit._backend import keras
from autokit.compression import QuantizeAware, quantize_aware
from autokit.deploy import flatbuffer
from autokit.layers.fake_quant import PLAIN_OF, FakeQuantRange
from autokit.training import Held

L = keras.layers
rng = np.random.default_rng(0)


def _images(n=240):
    """Noise of 8 x 8 pixels, brighter in one of three rows of pixels."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, 3, n)
    X = draw.integers(0, 8, (n, 8, 8)).astype("float32")
    X[np.arange(n), 2 * y + 1] += 8
    return X / 16, y


def _separable(shape, n_outputs):
    inputs = keras.Input(shape)
    x = L.Reshape((*shape, 1))(inputs)
    x = L.SeparableConv2D(6, 3, strides=2, use_bias=False, name="separable")(x)
    x = L.Flatten()(L.ReLU()(L.BatchNormalization(momentum=0.9)(x)))
    return keras.Model(inputs, L.Dense(n_outputs, activation="softmax", name="outputs")(x))


@pytest.fixture(scope="module")
def classifier():
    return KerasClassifier(_separable, epochs=15, learning_rate=0.01, random_state=0).fit(
        *_images()
    )


@pytest.fixture(scope="module")
def quantized(classifier):
    return quantize_aware(classifier, *_images(), epochs=2)


def _ranges(model):
    return [layer for layer in model.layers if isinstance(layer, FakeQuantRange)]


def _dense():
    inputs = keras.Input((10,))
    return keras.Model(inputs, L.Dense(4)(L.Dense(16, activation="relu")(inputs)))


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


def test_an_estimator_stays_what_it_was_and_the_new_one_is_rounded(classifier, quantized):
    X, y = _images()
    assert type(quantized) is KerasClassifier
    assert quantized.model_ is not classifier.model_
    assert not _ranges(classifier.model_)
    kinds = {type(layer).__name__ for layer in quantized.model_.layers}
    assert not kinds & {"BatchNormalization", "SeparableConv2D", "Conv2D", "Dense"}
    assert quantized.score(X, y) > 0.95
    report = quantized.compression_report_
    assert report.method == "QuantizeAware"
    assert report.details["bits"] == 8
    assert report.details["float"] == []
    assert report.details["quantized"] == [
        "separable_depthwise",
        "separable_pointwise",
        "outputs",
    ]
    np.testing.assert_allclose(quantized.predict_proba(X).sum(axis=1), 1, atol=1e-5)


def test_ranges_are_those_of_the_rows_and_then_learned():
    X = rng.uniform(0.0, 2.0, size=(200, 10)).astype("float32")
    model = _of_wild_weights(_dense)
    first = _ranges(quantize_aware(model, X, model(X), epochs=0))
    assert len(first) == 3
    assert float(first[0].low) == 0.0
    assert float(first[0].high) == pytest.approx(2.0, abs=0.05)
    assert float(first[1].low) == 0.0  # behind relu
    learned = _ranges(quantize_aware(model, X, model(X), epochs=2))
    assert float(learned[1].high) != float(first[1].high)


def test_depthwise_weights_keep_eight_bits():
    model = _depthwise()
    X = rng.normal(size=(40, 8, 8, 2)).astype("float32")
    quantized = quantize_aware(model, X, model(X), bits=4, epochs=0)
    bits = {type(x).__name__: x.bits for x in quantized.layers if type(x) in PLAIN_OF}
    assert bits == {"FakeQuantDepthwiseConv2D": 8, "FakeQuantConv2D": 4, "FakeQuantDense": 4}


def test_zeros_of_a_pruned_network_stay_zeros_in_the_file_too(tmp_path, classifier):
    X, y = _images()
    sparse = pickle.loads(pickle.dumps(classifier))
    pruned = [
        i
        for i, v in enumerate(sparse.model_.variables)
        if v.path.endswith(("outputs/kernel", "pointwise_kernel"))
    ]
    for i in pruned:
        value = sparse.model_.variables[i].numpy()
        value[np.abs(value) < np.median(np.abs(value))] = 0
        sparse.model_.variables[i].assign(value)
    sparse.held_ = Held(zeros=tuple(pruned))
    quantized = quantize_aware(sparse, X, y, epochs=1)
    assert len(quantized.held_.zeros) == len(pruned) == 2
    for _ in range(2):
        for i in quantized.held_.zeros:
            assert np.mean(quantized.model_.variables[i].numpy() == 0) == pytest.approx(0.5)
        quantized.partial_fit(X, y)
    report = _int8(quantized, X, tmp_path / "model.tflite")
    model = flatbuffer.parse(report.path.read_bytes())
    head = next(t for t in model.subgraphs[0].tensors if list(t.shape) == [3, 54])
    stored = np.asarray(model.buffers[head.buffer].data, np.uint8).view(np.int8)
    assert np.mean(stored == 0) >= 0.5


def test_it_is_saved_pickled_and_trained_further(tmp_path, quantized):
    X, y = _images()
    expected = quantized.predict_proba(X)
    copy = pickle.loads(pickle.dumps(quantized))
    np.testing.assert_array_equal(copy.predict_proba(X), expected)
    save(quantized, tmp_path / "model.autokit")
    np.testing.assert_array_equal(load(tmp_path / "model.autokit").predict_proba(X), expected)
    before = [float(layer.high) for layer in _ranges(copy.model_)]
    copy.partial_fit(X, y)
    assert copy.score(X, y) > 0.95
    assert before != [float(layer.high) for layer in _ranges(copy.model_)]
    (tmp_path / "rows.npy").write_bytes(b"")
    np.save(tmp_path / "rows.npy", X[:5])
    code = (
        "import autokit, numpy as np; "
        f"m = autokit.load(r'{tmp_path / 'model.autokit'}'); "
        f"print(m.predict(np.load(r'{tmp_path / 'rows.npy'}')).tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(quantized.predict(X[:5]).tolist())


def test_as_the_last_step_of_fit_in_a_pipeline_and_twice():
    X, y = _images(120)
    method = QuantizeAware(epochs=1, bits=4)
    model = KerasClassifier(_separable, epochs=1, compression=method, random_state=0)
    pipeline = make_pipeline(clone(model)).fit(X, y)
    fitted = pipeline[-1]
    assert _ranges(fitted.model_)
    again = quantize_aware(fitted, X, y, epochs=0)
    assert len(_ranges(again.model_)) == len(_ranges(fitted.model_))
    assert {x.bits for x in again.model_.layers if type(x) in PLAIN_OF} == {8}
    assert len(again.compression_report_.path) == 1


def test_bad_input():
    X, y = _images(60)
    with pytest.raises(NotFittedError, match="not fitted"):
        quantize_aware(KerasClassifier(), X, y)
    fitted = KerasClassifier(_separable, epochs=1).fit(X, y)
    for bits in (2, 16, 8.5, "8", None):
        with pytest.raises(ValueError, match="'bits'"):
            quantize_aware(fitted, X, y, bits=bits)
    inputs = keras.Input((8, 8))
    bare = keras.Model(inputs, L.GlobalAveragePooling1D()(inputs))
    with pytest.raises(ValueError, match="no layer .* can be quantised"):
        quantize_aware(bare, X, np.zeros((60, 8)))


class _Twice(L.Layer):
    """A layer of the user's own, which nobody has registered."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return self.factor * x


class _Scaled(L.Layer):
    def call(self, x):
        return 2.0 * x


def test_a_custom_layer_stays_float_or_is_refused_by_name():
    X = rng.normal(size=(60, 4)).astype("float32")
    for own, error in ((_Scaled(), None), (_Twice(2.0), "_Twice")):
        inputs = keras.Input((4,))
        model = keras.Model(inputs, L.Dense(2)(own(L.Dense(3, activation="relu")(inputs))))
        if error is None:
            with keras.saving.custom_object_scope({"_Scaled": _Scaled}):
                report = quantize_aware(model, X, model(X), epochs=1).compression_report_
            assert report.details["float"] == [own.name]
        else:
            with pytest.raises((ValueError, TypeError, NotImplementedError), match=error):
                quantize_aware(model, X, model(X), epochs=1)
