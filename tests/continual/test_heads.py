"""Units of classes and of numbers, and the loss over them."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.continual.heads import ClassHeads, NumberHeads
from autokit.training import TensorBatch, seeded


def linear(n_inputs, n_units):
    with seeded(0):
        return keras.Sequential([keras.Input((n_inputs,)), keras.layers.Dense(n_units)])


def evaluated(heads, model, y, x, groups):
    objective = heads.objective(model, heads.loss(), tf.constant(groups))
    params = [v.value for v in model.trainable_variables]
    return objective(params, [], TensorBatch(tf.constant(x), tf.constant(y)))


def test_classes_are_sorted_within_each_head():
    heads, _ = ClassHeads().grown(0, np.array(["d", "b"]))
    heads, places = heads.grown(0, np.array(["c", "a"]))
    assert heads.classes[0].tolist() == ["a", "b", "c", "d"]
    assert places.tolist() == [1, 3]
    heads, places = heads.grown(1, np.array(["b"]))
    assert places.tolist() == [0, 1, 2, 3]
    assert heads.groups.tolist() == [0, 0, 0, 0, 1]
    assert heads.encode(1, np.array(["b"])).tolist() == [4]
    heads, places = heads.grown(0, np.array(["aa"]))
    assert places.tolist() == [0, 2, 3, 4, 5]
    assert heads.moved(np.array([1, 4]), places).tolist() == [2, 5]


def test_the_loss_of_a_class_is_over_its_own_head():
    heads = ClassHeads((np.array([0, 1]), np.array([0, 1, 2])))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    y = np.array([0, 1, 3, 4], np.int32)
    groups = np.append(heads.groups, [-1, -1]).astype("int32")
    model = linear(3, 7)
    step = evaluated(heads, model, y, x, groups)
    logits = model(x).numpy()
    losses = []
    for row, unit in zip(logits, y, strict=True):
        inside = row[groups == groups[unit]]
        losses.append(np.log(np.exp(inside).sum()) - row[unit])
    assert float(step.loss) == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_loss_of_numbers_is_on_their_own_head():
    heads = NumberHeads(2, 3)
    assert heads.groups.tolist() == [0, 0, 1, 1, 2, 2]
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    targets = np.random.default_rng(1).normal(size=(4, 2))
    y = heads.encode(1, targets)
    model = linear(3, 8)
    step = evaluated(heads, model, y, x, np.append(heads.groups, [-1, -1]).astype("int32"))
    outputs = model(x).numpy()[:, 2:4]
    assert float(step.loss) == pytest.approx(np.mean((outputs - targets) ** 2), rel=1e-5)
    grown, places = heads.grown(3)
    assert grown.n_units == 8
    assert places.tolist() == list(range(6))
