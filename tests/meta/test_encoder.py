"""The parameter `encoder`: models, functions, subclasses, and what they keep."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.meta import FewShotLearner
from autokit.meta.encoder import build_encoder
from autokit.testing.meta import blobs, tiny_encoder

X, Y = blobs(range(5), 6, 0)
SETTINGS = {"n_way": 2, "n_query": 2, "n_episodes": 4, "random_state": 0}


def built(encoder, shape=(8,), kind="table", seed=0):
    return build_encoder(encoder, kind, shape, False, seed)


def test_a_model_is_copied_with_its_weights_and_stays_as_it_is():
    model = tiny_encoder((8,))
    before = model.get_weights()
    network = built(model)
    np.testing.assert_array_equal(network.predict(X, verbose=0), model.predict(X, verbose=0))
    assert not {id(v) for v in network.variables} & {id(v) for v in model.variables}
    FewShotLearner(encoder=model, **SETTINGS).fit(X, Y)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_functions_weights_are_the_seeds():
    first, again, other = (built(tiny_encoder, seed=seed).get_weights()[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 2)])
def test_features_of_several_axes_are_made_flat(shape):
    network = built(
        lambda s: keras.Sequential([keras.Input(s), keras.layers.Dense(2)]), shape, "array"
    )
    assert network.output_shape == (None, int(np.prod(shape[:-1])) * 2)


def test_a_model_without_an_input_is_built():
    network = built(keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(3)]))
    assert network.output_shape == (None, 3)
    assert network.input_shape == (None, 8)


@keras.saving.register_keras_serializable("tests")
class Subclass(keras.Model):
    def __init__(self, units=4, **options):
        super().__init__(**options)
        self.units, self.dense = units, keras.layers.Dense(units, activation="relu")

    def call(self, inputs):
        return self.dense(inputs)

    def get_config(self):
        return {"units": self.units}


@pytest.mark.parametrize(
    ("method", "encoder"),
    [("prototypical", lambda shape: Subclass(3)), ("maml", Subclass(3))],
)
def test_a_subclass_that_describes_itself_learns(method, encoder):
    learner = FewShotLearner(method, encoder=encoder, **SETTINGS).fit(X, Y)
    new = learner.adapt(X[:12], Y[:12])
    assert new.predict_proba(X).shape == (30, 2)
    assert np.isfinite(learner.history_["loss"]).all()


@pytest.mark.parametrize("method", ["prototypical", "maml"])
def test_what_an_encoder_was_adapted_to_is_kept(method):
    scaled = keras.layers.Normalization()
    scaled.adapt(100.0 + 50.0 * X)
    encoder = keras.Sequential(
        [keras.Input((8,)), scaled, keras.layers.Dense(6), keras.layers.BatchNormalization()]
    )
    learner = FewShotLearner(method, encoder=encoder, **SETTINGS).fit(100.0 + 50.0 * X, Y)
    for model in (learner.model_, learner.adapt(100.0 + 50.0 * X[:12], Y[:12]).model_):
        found = next(
            x for x in model._flatten_layers() if isinstance(x, keras.layers.Normalization)
        )
        np.testing.assert_array_equal(found.mean, scaled.mean)
        # inputs of 100 would otherwise be what the first layer sees
        assert np.abs(model(100.0 + 50.0 * X).numpy()).max() < 50


def test_frozen_layers_stay_frozen():
    model = tiny_encoder((8,))
    model.layers[0].trainable = False
    learner = FewShotLearner(encoder=model, **SETTINGS | {"n_episodes": 50}).fit(X, Y)
    kernel, _, other, _ = learner._learnt.network.get_weights()
    np.testing.assert_array_equal(kernel, model.get_weights()[0])
    assert not np.array_equal(other, model.get_weights()[2])
