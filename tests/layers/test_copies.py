"""Copies compute what the original does, or are refused."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from autokit import KerasClassifier
from autokit._backend import keras, tf
from autokit.layers import copied
from autokit.layers.copies import foreign_parts

L = keras.layers
X = np.random.default_rng(0).normal(size=(6, 5, 4)).astype("float32")


def relu(x):
    """Not Keras', but of the same name."""
    return 3 * x


@keras.saving.register_keras_serializable("autokit_tests")
def halved(x):
    return x / 2


@functools.wraps(keras.activations.relu)
def wrapped(x):
    return 5 * x


@keras.saving.register_keras_serializable("autokit_tests")
class Twos(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return 2 * tf.ones(shape)

    def get_config(self):
        return {}


@keras.saving.register_keras_serializable("autokit_tests")
class Doubling(L.Layer):
    def __init__(self, factor=2, **options):
        super().__init__(**options)
        self.factor = factor
        self.double = lambda x: factor * x

    def call(self, x):
        return self.double(x)

    def get_config(self):
        return super().get_config() | {"factor": self.factor}


def model(*layers):
    return keras.Sequential([keras.Input((5, 4)), *layers, L.Dense(2)])


def branches():
    inputs = keras.Input((5, 4))
    inner = keras.Sequential([L.Dense(3, activation=relu)])
    hidden = keras.ops.map(halved, inner(inputs))
    return keras.Model(inputs, L.MultiHeadAttention(1, 2, bias_initializer=Twos())(hidden, hidden))


FOREIGN = {
    "name of Keras'": lambda: model(L.Dense(3, activation=relu)),
    "beside Keras'": lambda: model(L.Dense(3, activation=relu), L.Dense(3, "relu")),
    "registered": lambda: model(L.Dense(3, activation=halved)),
    "wrapped": lambda: model(L.Dense(3, activation=wrapped)),
    "of TensorFlow": lambda: model(L.Dense(3, activation=tf.nn.elu)),
    "of keras.ops": lambda: model(L.Dense(3, activation=keras.ops.gelu)),
    "initializer": lambda: model(L.Dense(3, kernel_initializer=Twos())),
    "cell": lambda: model(L.RNN([L.SimpleRNNCell(3), L.GRUCell(3, recurrent_activation=relu)])),
    "inner layer": lambda: model(L.TimeDistributed(L.Dense(3, activation=relu))),
    "layer": lambda: model(Doubling()),
    "call": lambda: model(L.Lambda(halved)),
    "branches": branches,
}


@pytest.mark.parametrize("build", FOREIGN.values(), ids=FOREIGN)
def test_the_users_own_is_kept(build):
    original = build()
    assert foreign_parts(original)
    np.testing.assert_allclose(copied(original)(X), original(X), rtol=1e-6)


def test_what_is_kerass_is_not_foreign():
    dense = L.Dense(3, "gelu", kernel_regularizer="l2", kernel_constraint="max_norm")
    layers = [L.Bidirectional(L.LSTM(3, return_sequences=True)), L.TimeDistributed(dense)]
    plain = model(*layers, L.BatchNormalization(), L.Dropout(0.1), L.LeakyReLU())
    plain.compile("adam", loss=lambda y, p: p)  # no part of the architecture
    assert foreign_parts(plain) == []
    assert foreign_parts(keras.Sequential([plain, L.Flatten()])) == []


def test_a_function_redefined_under_its_registered_name_is_kept():
    def build(factor):
        @keras.saving.register_keras_serializable("autokit_tests")
        def redefined(x):
            return factor * x

        return model(L.Dense(3, activation=redefined))

    for original in [build(1.0), build(7.0)]:
        np.testing.assert_allclose(copied(original)(X), original(X), rtol=1e-6)


@pytest.mark.parametrize("kind", ["lambda", "partial", "sin"])
def test_what_no_name_leads_to_is_an_error_that_names_the_cure(kind):
    functions = {"lambda": lambda x: x, "partial": functools.partial(relu), "sin": tf.math.sin}
    given = model(L.Dense(3, activation=functions[kind]), L.Flatten())
    message = f"'model' cannot be copied.*{kind}.*Pass a function of \\(input_shape, n_outputs\\)"
    with pytest.raises(ValueError, match=message):
        KerasClassifier(given, epochs=1).fit(X, np.arange(6) % 2)
