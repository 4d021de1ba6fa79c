from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.continual import ContinualModel, PackNet
from autokit.continual.strategies.packnet import _largest
from autokit.testing.continual import tiny_network


def _normalized(input_shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(12, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Activation("relu"),
            keras.layers.Dropout(0.1, seed=0),
            keras.layers.Dense(6, activation="relu"),
            keras.layers.Dense(n_outputs),
        ]
    )


def _model(strategy="packnet", network=tiny_network, **parameters):
    settings = {"epochs": 5, "learning_rate": 0.02, "random_state": 0}
    return ContinualModel(network, strategy, **(settings | parameters))


def _rows(*labels, seed=0):
    y = np.tile(labels, 30)
    X = 3.0 * np.eye(4)[y % 4] + np.random.default_rng(seed).normal(size=(len(y), 4))
    return X.astype(np.float32), y


def _answers(model, X):
    return {task: model.for_task(task).model_(X).numpy() for task in dict.fromkeys(model.tasks_)}


@pytest.mark.parametrize(
    "optimizer",
    [keras.optimizers.AdamW(0.02, weight_decay=0.1), keras.optimizers.SGD(0.1, momentum=0.9)],
)
@pytest.mark.parametrize("network", [tiny_network, _normalized])
def test_nothing_is_forgotten_bit_for_bit(network, optimizer):
    model, former = _model(network=network, optimizer=optimizer, learning_rate=None), {}
    X, _ = _rows(0, 1, 2, 3, seed=5)
    # the first task comes again at last: it may change, and changes no other
    for task, labels in (("a", (0, 1)), ("b", (3, 2)), ("c", (1, 2)), ("a", (0, 1))):
        rows, y = _rows(*labels)
        model.partial_fit(rows, y, task=task)
        answers = _answers(model, X)
        for known in former:
            if known != task:
                np.testing.assert_array_equal(answers[known], former[known])
        assert model.score(rows, y, task=task) > 0.7
        former = answers


def test_each_experience_takes_its_share_of_what_is_free():
    model = _model(PackNet(keep=0.5, retrain_epochs=1))
    former = None
    for number in range(1, 4):
        model.partial_fit(*_rows(0, 1, seed=number), task=number)
        kernel, bias, *_ = model._learnt.state["owner"]
        weights, biases = (v.value.numpy() for v in model._learnt.network.trainable_variables[:2])
        counts = np.bincount(kernel.ravel(), minlength=number + 1)
        assert counts.tolist() == [32 >> number, *(32 >> n for n in range(1, number + 1))]
        assert (weights[kernel == 0] == 0).all()
        assert (weights[kernel == number] != 0).all()
        assert (bias == 1).all()
        if former is not None:
            old = kernel < number
            np.testing.assert_array_equal(
                weights[old & (kernel > 0)], former[0][old & (kernel > 0)]
            )
            np.testing.assert_array_equal(biases, former[1])
        former = weights, biases


def test_a_task_answers_without_the_weights_of_later_ones():
    model = _model()
    for task in range(3):
        model.partial_fit(*_rows(0, 1, seed=task), task=task)
    whole = model._learnt.network.get_layer("hidden").kernel.value.numpy()
    owner = model._learnt.state["owner"][0]
    for task in range(3):
        kernel = model.for_task(task).model_.get_layer("hidden").kernel.value.numpy()
        np.testing.assert_array_equal(kernel, np.where(owner <= task + 1, whole, 0.0))


def test_the_largest_weights_are_kept_and_they_alone_learn_again():
    X, y = _rows(0, 1)
    pruned, retrained = (_model(PackNet(retrain_epochs=n)) for n in (0, 3))
    pruned.partial_fit(X, y, task=0)
    retrained.partial_fit(X, y, task=0)
    states = [m._learnt.state["owner"][0] for m in (pruned, retrained)]
    np.testing.assert_array_equal(*states)
    kernels = [m.model_.get_layer("hidden").kernel.value.numpy() for m in (pruned, retrained)]
    kept = states[0] == 1
    assert all((kernel[~kept] == 0).all() for kernel in kernels)
    assert (kernels[0][kept] != kernels[1][kept]).all()
    assert len(retrained.history_["loss"]) == len(pruned.history_["loss"]) + 3


def test_the_share_is_of_the_free_ones_and_rounded_up():
    value = np.array([[5.0, -4.0, 3.0], [-2.0, 1.0, 0.5]])
    free = np.array([[False, True, True], [True, True, True]])
    kept = _largest(value, free, 0.5)
    np.testing.assert_array_equal(kept, [[False, True, True], [True, False, False]])
    assert _largest(value, np.zeros_like(free), 0.5).sum() == 0


def test_says_when_no_free_weights_are_left():
    model = _model(PackNet(keep=1.0, retrain_epochs=0))
    X, y = _rows(0, 1)
    model.partial_fit(X, y, task="a")
    before = _answers(model, X)
    with pytest.raises(ValueError, match="no free weights left: 1 experiences have taken all 32"):
        model.partial_fit(X, y, task="b")
    assert model.tasks_ == ["a"]
    np.testing.assert_array_equal(_answers(model, X)["a"], before["a"])


def test_a_network_without_hidden_layers_has_a_layer_a_task():
    def linear(input_shape, n_outputs):
        return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(n_outputs)])

    model = _model(network=linear, epochs=20)
    for task, labels in enumerate([(0, 1), (2, 3)]):
        model.partial_fit(*_rows(*labels), task=task)
    assert model.average_accuracy_ > 0.8


def test_needs_the_task():
    X, y = _rows(0, 1)
    with pytest.raises(ValueError, match="PackNet needs the task"):
        _model().partial_fit(X, y)
    model = _model(scenario="class").partial_fit(X, y, task="a")
    model.partial_fit(*_rows(2, 3), task="b")
    with pytest.raises(ValueError, match="task is None"):
        model.predict(X)
    with pytest.raises(ValueError, match="'keep' parameter of PackNet"):
        _model(PackNet(keep=0.0)).partial_fit(X, y, task="a")
