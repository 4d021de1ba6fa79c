"""Meta-training: epochs, classes held out, patience, and losses that end."""

from __future__ import annotations

import logging
from unittest import mock

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.meta import FewShotLearner, training
from autokit.meta.methods.metric import Metric
from autokit.meta.tracing import scores_of
from autokit.meta.training import Judge, derived
from autokit.testing.meta import blobs, tiny_encoder
from autokit.training import TrainingDiverged

X, Y = blobs(range(20), 8, 1)
SETTINGS = {"encoder": tiny_encoder, "n_way": 3, "k_shot": 2, "n_query": 3, "random_state": 0}


def learner(method="prototypical", **settings):
    return FewShotLearner(method, **SETTINGS | settings)


@pytest.mark.parametrize(
    ("n_episodes", "meta_batch_size", "expected"), [(100, 1, [100]), (220, 2, [200, 220])]
)
def test_an_epoch_is_a_hundred_outer_steps(n_episodes, meta_batch_size, expected):
    fitted = learner(n_episodes=n_episodes, meta_batch_size=meta_batch_size).fit(X, Y)
    assert fitted.history_["episodes"] == expected
    assert fitted.n_episodes_ == n_episodes
    assert all(len(values) == len(expected) for values in fitted.history_.values())


def scripted(values):
    """Validation that says what it is told to, and notes the weights that it is asked about."""
    seen, values = [], iter(values)

    def scores(self, x, targets, places, extras, scale=1.0):
        weights = [v.numpy().copy() for v in self.network.variables]
        seen.append(weights + [np.array(e) for e in extras])
        return np.full(len(places), next(values))

    return mock.patch.object(Judge, "scores", scores), seen


def test_the_best_epoch_is_restored_and_patience_ends():
    patched, seen = scripted([0.1, 0.5, 0.3, 0.5, 0.9])
    with patched:
        settings = {"n_episodes": 1000, "meta_batch_size": 1, "early_stopping": 2}
        fitted = learner("meta_sgd", **settings).fit(X, Y)
    np.testing.assert_allclose(fitted.history_["val_accuracy"], [0.1, 0.5, 0.3, 0.5])
    assert fitted.n_episodes_ == 400
    learnt = fitted._learnt
    found = [v.numpy() for v in learnt.network.variables] + learnt.extras
    for a, b in zip(found, seen[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(found[0], seen[3][0])


def test_without_patience_the_last_epoch_is_kept():
    patched, seen = scripted([0.9, 0.1])
    with patched:
        fitted = learner(n_episodes=200, validation_fraction=0.2).fit(X, Y)
    np.testing.assert_allclose(fitted.history_["val_accuracy"], [0.9, 0.1])
    found = fitted._learnt.network.variables[0].numpy()
    np.testing.assert_array_equal(found, seen[1][0])


@pytest.mark.parametrize("method", ["prototypical", "maml"])
def test_held_out_classes_are_never_practised_on_and_judged_by_what_is_learnt(method):
    drawn, pool = [], training.Pool.draw

    def draw(self, rng, layout, n):
        places = pool(self, rng, layout, n)
        drawn.append((n, layout, set(Y[places % len(Y)].ravel())))
        return places

    with mock.patch.object(training.Pool, "draw", draw):
        fitted = learner(method, n_episodes=20, validation_fraction=0.25).fit(X, Y)
    judged = {n: classes for n, _, classes in drawn}
    assert judged.keys() == {training.VALIDATION_TASKS, 20}
    held, practised = judged[training.VALIDATION_TASKS], judged[20]
    assert len(held) == 5
    assert not held & practised
    # all are known in the end
    assert fitted.classes_.tolist() == list(range(20))
    mask = np.isin(Y, list(held))
    scores = fitted.evaluate(X[mask], Y[mask] + 100, n_episodes=400)
    assert abs(fitted.history_["val_accuracy"][-1] - scores.mean) < 0.1


def test_fewer_held_out_classes_than_a_task_has_make_smaller_tasks():
    settings = {"n_way": 5, "n_episodes": 8, "meta_batch_size": 4, "validation_fraction": 0.1}
    fitted = learner("meta_sgd", **settings).fit(X, Y)
    held = np.random.default_rng(derived(fitted._seed(), 13)).permutation(20)[:2]
    mask = np.isin(Y, held)
    scores = fitted.evaluate(X[mask], Y[mask] + 100, n_way=2, n_episodes=400)
    assert abs(fitted.history_["val_accuracy"][0] - scores.mean) < 0.05


@pytest.mark.parametrize("method", ["prototypical", "maml", "finetune"])
def test_a_loss_that_ends_says_so(method):
    with pytest.raises(TrainingDiverged, match="learning_rate|loss"):
        learner(method, n_episodes=200, outer_learning_rate=1e30).fit(100 * X, Y)


def test_an_error_beyond_float32_is_a_number():
    outputs = np.float32([[[1e30]], [[1.0]]])
    found = scores_of(outputs, np.zeros_like(outputs), is_regression=True)
    np.testing.assert_allclose(found, [-1e60, -1.0])


def test_seeds_of_purposes_differ():
    seeds = {derived(seed, *path) for seed in (0, 1) for path in ((0, 0), (0, 1), (1,), (10,))}
    assert len(seeds) == 8
    assert derived(3, 1) == derived(3, 1)


def test_progress_is_logged_and_shown(caplog, capsys):
    with caplog.at_level(logging.INFO, "autokit.meta"):
        learner(n_episodes=20).fit(X, Y)
    assert "20 of 20 episodes: loss" in caplog.text
    assert capsys.readouterr().out == ""
    learner(n_episodes=20, verbose=1).fit(X, Y)
    assert "20/20" in capsys.readouterr().out


class Nearest(Metric):
    """A method of one's own: the nearest support row's class, by a soft minimum."""

    def compare(self, view, extras, support, y, query):
        distances = tf.reduce_sum(tf.square(query[:, None] - support[None]), axis=2)
        return tf.math.log(
            tf.matmul(tf.nn.softmax(-distances), tf.one_hot(y, view.layout.n_way)) + 1e-7
        )

    def layers(self, embedding, learnt, support, n_outputs):
        votes = keras.layers.Dense(len(support.x), "softmax")(embedding)
        bias = -np.square(support.x).sum(axis=1)
        logits = keras.layers.Dense(n_outputs, use_bias=False)(votes)
        return logits, [2.0 * support.x.T, bias, 50.0 * np.eye(n_outputs)[support.y]]


def test_a_method_of_ones_own_needs_two_functions():
    fitted = learner(Nearest(), n_episodes=100, outer_learning_rate=0.02).fit(X, Y)
    new_x, new_y = blobs(range(100, 106), 8, 2)
    assert fitted.evaluate(new_x, new_y, n_episodes=50).mean > 0.6
    new = fitted.adapt(new_x[::2], new_y[::2])
    assert new.score(new_x[1::2], new_y[1::2]) > 0.6
