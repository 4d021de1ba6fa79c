"""iCaRL: its loss, its exemplars and its nearest mean, against NumPy."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from autokit import export_tflite
from autokit._backend import keras
from autokit.continual import ContinualModel, ICaRL
from autokit.continual.memory import herding, unit_rows
from autokit.continual.network import features_of
from autokit.continual.protocols import PerUnit
from autokit.continual.strategies.icarl import nearest_mean
from autokit.deploy import TFLiteModel
from autokit.training import Batch, ModelState

UNITS = 8


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("old", [[], [0, 1, 2], [3, 4]])
def test_loss_is_the_papers(open_step, old):
    step = open_step()
    distils = np.isin(np.arange(UNITS), old)
    former = [p + 0.5 for p in step.params]
    state = {"distils": distils, "params": former, "buffers": ()}
    loss, gradients = step.result(ICaRL(), state)
    q, own = sigmoid(step.logits(step.x)), np.eye(UNITS)[step.y]
    target = np.where(distils, sigmoid(step.logits(step.x, former)), own)
    each = -(target * np.log(q) + (1 - target) * np.log(1 - q))
    inside = step.groups[None, :] == step.groups[step.y][:, None]
    assert loss == pytest.approx(np.mean(np.sum(each * inside, axis=1)), rel=1e-5)
    slope = np.sum((q - target) * inside, axis=0) / len(q)
    np.testing.assert_allclose(gradients[1], slope, atol=1e-5)


def network(input_shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(n_outputs),
        ]
    )


def rows(labels, n_each=30):
    y = np.repeat(labels, n_each)
    centers = np.random.default_rng(5).normal(size=(10, 4)) * 3
    X = centers[y] + np.random.default_rng(len(labels)).normal(size=(len(y), 4))
    return X.astype(np.float32), y


def learner(**options):
    settings = {"memory_size": 24, "epochs": 5, "validation_fraction": 0.0, "random_state": 0}
    return ContinualModel(network, strategy="icarl", **settings | options)


@pytest.fixture(scope="module")
def learnt():
    """A model that learnt classes 4 and 7, then 1, 5 and 9."""
    model = learner()
    for labels in ([4, 7], [1, 5, 9]):
        model.partial_fit(*rows(labels))
    return model


def features(model, x):
    return unit_rows(features_of(model._learnt.network)(x).numpy())


def test_predictions_are_those_of_the_nearest_mean_of_exemplars(learnt):
    memory, X = learnt._learnt.memory, rows([1, 4, 5, 7, 9])[0]
    own = features(learnt, memory.x)
    mean = unit_rows(np.stack([own[memory.y == u].mean(axis=0) for u in range(5)]))
    apart = features(learnt, learnt.encoder_.encode(X))[:, None] - mean[None]
    distances = np.square(apart).sum(axis=2)
    np.testing.assert_array_equal(learnt.predict(X), learnt.classes_[distances.argmin(axis=1)])
    # the outputs are 1 - distance, so that probabilities are a softmax over distances
    proba = np.exp(-distances) / np.exp(-distances).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(learnt.predict_proba(X), proba, atol=1e-6)
    assert learnt.score(*rows([1, 4, 5, 7, 9])) > 0.8


def test_exemplars_are_herded():
    model, (X, y) = learner(memory_size=10), rows([4, 7])
    model.partial_fit(X, y)
    memory, x = model._learnt.memory, model.encoder_.encode(X)
    for unit, label in enumerate([4, 7]):
        own = x[y == label]
        best = herding(features(model, own), 5)[:5]
        np.testing.assert_array_equal(memory.x[memory.y == unit], own[np.sort(best)])


def test_the_file_gives_the_same_answers(learnt, tmp_path):
    X = rows([1, 4, 5, 7, 9])[0]
    export_tflite(learnt, tmp_path / "model.tflite")
    answers = TFLiteModel(tmp_path / "model.tflite").predict_proba(X)
    np.testing.assert_allclose(answers, learnt.predict_proba(X), atol=1e-5)


def test_a_class_without_rows_is_never_the_answer():
    model, (X, y) = learner(), rows([4, 7])
    model.partial_fit(X, y, classes=[1, 4, 6, 7])
    assert set(model.predict(np.vstack([X, -X]))) <= {4, 7}
    model.partial_fit(*rows([1, 6]))
    assert set(model.predict(rows([1, 6])[0])) >= {1, 6}


def test_an_old_class_that_comes_again_learns_from_its_rows():
    mean = np.zeros((4, UNITS), np.float32)
    mean[:, 3:] = np.nan
    kernel = np.ones((4, UNITS), np.float32)
    again = SimpleNamespace(
        state={"mean": PerUnit(mean)},
        groups=np.array([0] * 6 + [-1] * 2),
        batch=Batch(np.zeros((3, 4), np.float32), np.array([1, 5, 5], np.int32)),
        before=ModelState([kernel], []),
    )
    state = ICaRL().before(again)
    assert state["distils"].tolist() == [True, False, True] + [False] * 5
    assert state["params"][0] is kernel


def test_the_nearest_mean_leaves_the_network_as_it_is():
    before = network((4,), 3)
    weights = [w.copy() for w in before.get_weights()]
    mean = unit_rows(np.random.default_rng(0).normal(size=(3, 8))).T
    mean[:, 1] = np.nan
    x = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    outputs = nearest_mean(before, mean)(x).numpy()
    f = unit_rows(features_of(before)(x).numpy())
    for unit in (0, 2):
        expected = 1 - np.square(f - mean[:, unit]).sum(axis=1)
        # a row of zeros has no direction
        has_length = f.any(axis=1)
        np.testing.assert_allclose(outputs[has_length, unit], expected[has_length], atol=1e-5)
    assert (outputs.argmin(axis=1) == 1).all()
    for a, b in zip(before.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)
