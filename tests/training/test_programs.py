"""Which fits share a compiled program, and which models are never rebuilt."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.training import FitConfig, fit, seeded
from autokit.training.programs import architecture_key, exact_text

L = keras.layers


def relu(x):
    """Not Keras', but of the same name: nothing is learnt behind it."""
    return 0 * x


class Penalty(keras.regularizers.Regularizer):
    def __call__(self, x):
        return tf.reduce_sum(tf.square(x))

    def get_config(self):
        return {}


def model(*layers, kind=keras.Sequential, n_inputs=5):
    with seeded(0):
        return kind([keras.Input((n_inputs,)), *layers, L.Dense(3, "softmax")])


def trained(network, blobs):
    config = FitConfig(epochs=3, loss="sparse_categorical_crossentropy", learning_rate=0.1)
    return fit(network, blobs, config=config)


def test_a_function_with_the_name_of_keras_is_trained_with(blobs):
    network = model(L.Dense(4, activation=relu))
    before = network.get_weights()
    trained(network, blobs)
    np.testing.assert_array_equal(network.get_weights()[0], before[0])
    trained(model(L.Dense(4, "relu")), blobs)
    trained(network, blobs)  # not with the program of the other
    np.testing.assert_array_equal(network.get_weights()[0], before[0])


@pytest.mark.parametrize(
    "options",
    [
        {"activation": lambda x: 2 * x},
        {"activation": tf.math.sin},
        {"kernel_regularizer": Penalty()},
    ],
    ids=lambda options: next(iter(options)),
)
def test_models_that_keras_cannot_rebuild_are_trained(blobs, options):
    network = model(L.Dense(4, **options))
    assert architecture_key(network) is None
    losses = trained(network, blobs).history["loss"]
    assert losses[-1] < losses[0]


def test_a_registered_function_may_be_redefined(blobs):
    for factor in (1.0, 0.0):

        @keras.saving.register_keras_serializable("autokit_tests")
        def changing(x, factor=factor):
            return factor * x

        network = model(L.Dense(4, activation=changing))
        before = network.get_weights()[0]
        trained(network, blobs)
        assert np.array_equal(network.get_weights()[0], before) == (factor == 0)


def test_a_subclass_shares_with_none():
    class Own(keras.Sequential):
        pass

    assert architecture_key(model(kind=Own)) is None


def rescaled(place):
    scale = np.ones(3000)
    scale[place] = 2
    return L.Rescaling(scale)


@pytest.mark.parametrize(
    ("kind", "first", "second", "n_inputs"),
    [
        (lambda name: L.Activation(name, name=name), "relu", "tanh", 5),
        (lambda name: L.Dense(4, dtype=name), "mixed_float16", "mixed_bfloat16", 5),
        (rescaled, 1500, 1501, 3000),
    ],
    ids=["layer called as its activation", "dtype policy", "long array"],
)
def test_what_differs_has_another_key(kind, first, second, n_inputs):
    keys = [
        architecture_key(model(kind(which), n_inputs=n_inputs)) for which in (first, second, first)
    ]
    assert None not in keys
    assert keys[0] == keys[2] != keys[1]


def test_names_do_not_matter():
    def branches(*names):
        inputs = keras.Input((5,), name=names[0])
        left, right = (L.Dense(4, name=name)(inputs) for name in names[1:])
        return keras.Model(inputs, L.Add()([left, right]))

    assert architecture_key(branches("a", "b", "c")) == architecture_key(branches("x", "y", "z"))


def test_only_equal_values_have_one_text():
    long = np.zeros(5000)
    other = long.copy()
    other[2500] = 1
    assert exact_text({"a": [long]}) == exact_text({"a": [long.copy()]})
    texts = [long, other, long.astype("float32"), long[:, None], 1, 1.0, True, "1", np.float32(1)]
    assert len({exact_text(value) for value in texts}) == len(texts)
    assert exact_text([object()]) is None
    assert exact_text(np.array([object()])) is None
