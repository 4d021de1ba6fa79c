"""Looking on at a training from outside."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autokit import KerasClassifier
from autokit.training import Watch, current_watch, watched_by

X, y = load_iris(return_X_y=True)


class Noting(Watch):
    def __init__(self, ends_at=None):
        self.losses, self.ends_at, self.weights = [], ends_at, None

    def epoch(self, model, training, epoch, logs):
        assert model is not training.model
        self.losses.append(logs["loss"])
        self.weights = [w.copy() for w in training.model.get_weights()]
        if epoch == self.ends_at:
            raise KeyboardInterrupt


def test_every_epoch_is_seen_however_deep_the_estimator_is():
    final = KerasClassifier(epochs=3, random_state=0)
    with watched_by(Noting()) as watch:
        pipeline = make_pipeline(StandardScaler(), final).fit(X, y)
    assert watch.losses == pipeline[-1].history_["loss"]
    for seen, kept in zip(watch.weights, pipeline[-1].model_.get_weights(), strict=True):
        np.testing.assert_array_equal(seen, kept)
    assert current_watch() is None


def test_watching_changes_nothing():
    plain = KerasClassifier(epochs=3, random_state=0).fit(X, y)
    with watched_by(Noting()):
        seen = KerasClassifier(epochs=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(plain.predict_proba(X), seen.predict_proba(X))


def test_what_a_watch_raises_ends_the_training_and_the_next_one_is_whole():
    with watched_by(Noting(ends_at=2)) as watch, pytest.raises(KeyboardInterrupt):
        KerasClassifier(epochs=5, random_state=0).fit(X, y)
    assert len(watch.losses) == 2
    again = KerasClassifier(epochs=5, random_state=0).fit(X, y)
    assert len(again.history_["loss"]) == 5
    assert again.history_["loss"][:2] == watch.losses


def test_a_deadline_ends_with_the_weights_so_far():
    watch = Watch()
    watch.deadline = time.monotonic() + 1.0
    began = time.monotonic()
    with watched_by(watch):
        estimator = KerasClassifier(epochs=100_000, random_state=0).fit(X, y)
    assert time.monotonic() - began < 1.0 + 3.0
    assert 1 <= len(estimator.history_["loss"]) < 100_000


def test_a_watch_looks_on_at_its_own_thread_only():
    found = []
    with watched_by(Watch()):
        thread = threading.Thread(target=lambda: found.append(current_watch()))
        thread.start()
        thread.join()
    assert found == [None]
