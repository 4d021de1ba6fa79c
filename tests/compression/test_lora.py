"""Low-rank adaptation leaves predictions alone until it learns, and merges exactly."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from autokit import KerasClassifier, load, save
from autokit._backend import keras
from autokit.compression import add_lora, merge_lora


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def classifier(iris):
    return KerasClassifier(epochs=3, random_state=0).fit(*iris)


@pytest.fixture(scope="module")
def attention():
    inputs = keras.Input((5, 6))
    x = keras.layers.Conv1D(8, 3, padding="same", activation="relu")(inputs)
    x = keras.layers.MultiHeadAttention(2, 4)(x, x)
    x = keras.layers.Bidirectional(keras.layers.LSTM(3))(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


def test_enabling_changes_nothing_and_trains_the_factors_alone(iris, classifier):
    adapted = add_lora(classifier, rank=2)
    np.testing.assert_array_equal(adapted.predict_proba(iris[0]), classifier.predict_proba(iris[0]))
    assert not any(getattr(layer, "lora_enabled", False) for layer in classifier.model_.layers)
    kernels = [layer._kernel.numpy() for layer in adapted.model_.layers if layer.weights]
    adapted.partial_fit(*iris)
    after = [layer._kernel.numpy() for layer in adapted.model_.layers if layer.weights]
    for kernel, trained in zip(kernels, after, strict=True):
        np.testing.assert_array_equal(kernel, trained)
    change = adapted.predict_proba(iris[0]) - classifier.predict_proba(iris[0])
    assert np.abs(change).max() > 1e-3


def test_merged_equals_unmerged_and_trains_on(iris, classifier):
    adapted = add_lora(classifier, rank=2, alpha=8.0).partial_fit(*iris)
    merged = merge_lora(adapted)
    np.testing.assert_allclose(
        merged.predict_proba(iris[0]), adapted.predict_proba(iris[0]), atol=1e-6
    )
    assert merged.model_.count_params() == classifier.model_.count_params()
    assert len(merged.model_.trainable_variables) == len(classifier.model_.trainable_variables)
    merged.partial_fit(*iris)


def test_attention_convolution_and_recurrence(attention):
    rows = np.random.default_rng(0).normal(size=(10, 5, 6)).astype("float32")
    adapted = add_lora(attention, rank=2)
    factors = [v for v in adapted.trainable_variables if "lora" in v.path]
    assert len(factors) == 2 * (1 + 4 + 1)  # convolution, q k v and output, head
    np.testing.assert_array_equal(adapted(rows), attention(rows))
    for v in factors:
        v.assign(np.random.default_rng(1).normal(size=v.shape))
    merged = merge_lora(adapted)
    assert np.abs(adapted(rows) - attention(rows)).max() > 1e-2
    np.testing.assert_allclose(merged(rows), adapted(rows), atol=1e-5)


def test_an_adapted_estimator_is_saved(tmp_path, iris, classifier):
    adapted = add_lora(classifier, rank=2).partial_fit(*iris)
    again = load(save(adapted, tmp_path / "lora.autokit"))
    np.testing.assert_array_equal(again.predict_proba(iris[0]), adapted.predict_proba(iris[0]))
    np.testing.assert_array_equal(
        merge_lora(again).predict(iris[0]), merge_lora(adapted).predict(iris[0])
    )


def test_layers_by_name_and_by_function(classifier):
    adapted = add_lora(classifier, 1, ["outputs"], freeze_others=False)
    assert [x.name for x in adapted.model_.layers if getattr(x, "lora_enabled", 0)] == ["outputs"]
    assert len(adapted.model_.trainable_variables) > 3
    wide = add_lora(classifier, 1, lambda layer: layer.units > 64)
    assert [x.units for x in wide.model_.layers if getattr(x, "lora_enabled", 0)] == [128]


def test_bad_input(iris, classifier):
    with pytest.raises(ValueError, match="rank must be an int of at least 1, got 0"):
        add_lora(classifier, 0)
    with pytest.raises(ValueError, match="layers names 'nobody'.*outputs"):
        add_lora(classifier, 1, ["nobody"])
    with pytest.raises(ValueError, match="layers chooses no layer"):
        add_lora(classifier, 1, lambda layer: False)
    with pytest.raises(ValueError, match="has LoRA enabled already; call merge_lora"):
        add_lora(add_lora(classifier, 1), 1)
    with pytest.raises(ValueError, match="no layer of the model has LoRA enabled; call add_lora"):
        merge_lora(classifier)
    with pytest.raises(NotFittedError, match="call fit before add_lora"):
        add_lora(KerasClassifier(), 1)
