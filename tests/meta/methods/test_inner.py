"""What the methods that adapt weights share: whose statistics, and outputs of any number."""

from __future__ import annotations

import numpy as np
import pytest

from autokit import ExportError, export_tflite
from autokit._backend import keras, tf
from autokit.meta import MAML, FewShotLearner, MetaSGD
from autokit.meta.methods.inner import STEP_ROWS, with_units
from autokit.meta.protocols import Layout, Networks, Task, View
from autokit.testing.meta import blobs, noisy_encoder, tiny_encoder
from autokit.training import TensorBatch

LAYOUT = Layout(2, 3, 4)


def normalised():
    """A network in float64 with batch normalisation, and a task."""
    rng = np.random.default_rng(0)
    inputs = keras.Input((3,), dtype="float64")
    x = keras.layers.Dense(4, dtype="float64")(inputs)
    x = keras.layers.BatchNormalization(dtype="float64")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, dtype="float64")(x))
    params = [rng.normal(size=v.shape) for v in model.trainable_variables]
    buffers = [v.value for v in model.non_trainable_variables]
    support, query = rng.normal(size=(6, 3)), 1.0 + rng.normal(size=(8, 3))
    task = Task(support, LAYOUT.codes(3), query, LAYOUT.codes(4))
    return model, params, buffers, task


def view_of(model, transductive):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")
    numbers = {"inner_learning_rate": tf.constant(0.3, tf.float64)}
    return View(Networks(model), loss, LAYOUT, numbers, transductive)


@pytest.mark.parametrize("transductive", [False, True])
@pytest.mark.parametrize("n_steps", [1, 2])
def test_statistics_are_differentiated_too(tasks, close, transductive, n_steps):
    model, params, buffers, task = normalised()
    method, view = MAML(inner_steps=n_steps), view_of(model, transductive)

    @tf.function
    def loss(params):
        places = method.inner_places(LAYOUT, n_steps)
        own, kept = method.learn(view, params, buffers, task.support, places, True, False)
        outputs, _ = method.asked(view, own, kept, task.support_x, task.query_x, True)
        return view.loss(task.query_y, outputs)

    def value(params):
        return float(loss([tf.constant(p) for p in params]))

    together = Task(*(tf.constant(part)[None] for part in task))
    _, found = method.meta_gradient(view, [tf.constant(p) for p in params], buffers, together)
    # what shifts all rows alike has no slope, and a difference of 1e-16 in the loss
    close(found, tasks.differences(value, params), rtol=1e-5, atol=1e-7)


def answers(transductive, asked):
    model, params, buffers, task = normalised()
    task = Task(*map(tf.constant, task))._replace(query_x=tf.constant(asked))
    method, view = MAML(adaptation_steps=2), view_of(model, transductive)
    return method.answers(view, [tf.constant(p) for p in params], buffers, task).numpy()


def test_an_answer_depends_on_other_queries_only_if_transductive():
    asked = normalised()[3].query_x
    others = np.concatenate([asked[:1], asked[1:] + 2.0])
    np.testing.assert_array_equal(answers(False, asked)[0], answers(False, others)[0])
    assert np.abs(answers(True, asked)[0] - answers(True, others)[0]).max() > 1e-2


@pytest.fixture(scope="module", params=["maml", "prototypical"])
def learners(request):
    """Two learners of a normalised network: not transductive, and transductive."""
    X, y = blobs(range(6), 8, 0)
    settings = {"encoder": noisy_encoder, "n_way": 2, "n_episodes": 8, "random_state": 0}
    return [
        FewShotLearner(request.param, transductive=transductive, **settings).fit(X, y)
        for transductive in (False, True)
    ]


def test_a_transductive_learner_answers_rows_together_and_has_no_file(tmp_path, learners):
    X, y = blobs(range(10, 12), 8, 1)
    moved = np.concatenate([X[:1], X[1:] + 1.0])
    for transductive, learner in zip((False, True), learners, strict=True):
        new = learner.adapt(X[::2], y[::2])
        scores = new.evaluate(X, y, n_episodes=5)
        assert scores.transductive is transductive
        assert ("transductive" in str(scores)) is transductive
        first = [new.predict_proba(rows)[0] for rows in (X, moved)]
        assert np.allclose(*first, atol=1e-6) is not transductive
    with pytest.raises((ExportError, ValueError), match="Set transductive=False and fit again"):
        export_tflite(learners[1], tmp_path / "model.tflite")


def test_adapted_statistics_are_those_of_the_support_set(learners):
    if learners[0].method_.embeds:
        return
    rows, labels = blobs(range(10, 12), 8, 1)
    model = learners[0].adapt(rows, labels).model_
    dense, norm = (next(x for x in model._flatten_layers() if isinstance(x, kind)) for kind in
                   (keras.layers.Dense, keras.layers.BatchNormalization))  # fmt: skip
    hidden = dense(rows).numpy()
    np.testing.assert_allclose(norm.moving_mean.numpy(), hidden.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.numpy(), hidden.var(axis=0), rtol=1e-4)


@pytest.mark.parametrize("method", [MAML(), MetaSGD()])
def test_units_of_another_number_begin_at_the_mean(method):
    model = method.network(tiny_encoder((8,)), 3)
    first = method.extras(model, 0)
    rng = np.random.default_rng(0)
    extras = [e + rng.normal(size=e.shape) for e in first]
    weights = model.get_weights()
    for n in (3, 5):
        network, own = with_units(model, extras, n)
        for before, after in ((weights, network.get_weights()), (extras, own)):
            for a, b in zip(before[:-2], after[:-2], strict=True):
                np.testing.assert_array_equal(a, b)
            for a, b in zip(before[-2:], after[-2:], strict=True):
                expected = a if n == 3 else np.repeat(a.mean(axis=-1, keepdims=True), n, axis=-1)
                np.testing.assert_allclose(b, expected, rtol=1e-6)


def test_large_support_sets_are_learnt_in_batches_and_all_of_them():
    n_rows = STEP_ROWS + 100
    X, y = blobs(range(2), n_rows // 2, 0)
    places = []

    class Noted(MAML):
        def learn(self, view, params, buffers, support, steps, training, first_order=True):
            places.append(np.asarray(steps))
            return params, buffers

    network = MAML().network(tiny_encoder((8,)), 2)
    view = View(Networks(network), None, LAYOUT, {}, False)
    params = [v.value for v in network.trainable_variables]
    for n_steps, expected in ((1, 2), (5, 5)):
        support = TensorBatch(tf.constant(X), tf.constant(y))
        Noted(adaptation_steps=n_steps).adapted_values(view, params, [], support)
        assert places[-1].shape == (expected, STEP_ROWS)
        assert set(places[-1].ravel()) == set(range(n_rows))


def test_many_steps_are_a_loop_that_ends_where_few_do():
    X, y = blobs(range(4), 6, 0)
    learner = FewShotLearner(
        MAML(adaptation_steps=9, inner_learning_rate=0.1), encoder=tiny_encoder, n_way=2,
        n_episodes=8, random_state=0,
    ).fit(X, y)  # fmt: skip
    rows, labels = blobs([7, 8], 3, 1)
    found = learner.adapt(rows, labels).model_.get_weights()
    model, _ = with_units(learner._learnt.network, [], 2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for _ in range(9):
        with tf.GradientTape() as tape:
            value = loss(labels - 7, model(rows))
        for v, g in zip(model.trainable_variables,
                        tape.gradient(value, [v.value for v in model.trainable_variables]),
                        strict=True):  # fmt: skip
            v.assign_sub(0.1 * g)
    for a, b in zip(found, model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
