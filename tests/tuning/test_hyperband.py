from __future__ import annotations

import keras
import keras_tuner
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autokit import KerasClassifier
from autokit.training import watched_by
from autokit.training.watching import Checkpoint, Watch
from autokit.tuning import Float, Int, TunerSearchCV
from autokit.tuning.hyperband import Rungs, sets_epochs

X, y = load_iris(return_X_y=True)
X, y = X[::3], y[::3]
SPACE = {"learning_rate": Float(1e-3, 1e-1, log=True)}


def network(shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Dense(5, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(n_outputs, activation="softmax"),
        ]
    )


class Keeping(Watch):
    """Goes on where the training before has ended."""

    def __init__(self):
        self.checkpoint, self.epochs = None, []

    def resume(self, model, epochs):
        return self.checkpoint

    def keep(self, model, checkpoint):
        self.checkpoint = checkpoint()

    def epoch(self, model, training, epoch, logs):
        self.epochs.append(epoch)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_continued_training_is_the_one_from_scratch(optimizer):
    settings = {"optimizer": optimizer, "validation_fraction": 0.2, "random_state": 0}
    whole = KerasClassifier(network, epochs=7, **settings).fit(X, y)
    watch = Keeping()
    with watched_by(watch):
        KerasClassifier(network, epochs=3, **settings).fit(X, y)
        continued = KerasClassifier(network, epochs=7, **settings).fit(X, y)
    assert watch.epochs == [1, 2, 3, 4, 5, 6, 7]
    assert continued.history_ == whole.history_
    np.testing.assert_array_equal(continued.predict_proba(X), whole.predict_proba(X))


@pytest.mark.parametrize(
    "settings", [{"early_stopping": 2}, {"callbacks": [keras.callbacks.TerminateOnNaN()]}]
)
def test_what_cannot_be_continued_is_trained_from_scratch(settings):
    watch = Keeping()
    with watched_by(watch):
        for epochs in (2, 3):
            KerasClassifier(network, epochs=epochs, random_state=0, **settings).fit(X, y)
    assert watch.epochs == [1, 2, 1, 2, 3]


def search(tuner="hyperband", estimator=None, space=SPACE, n_trials=None, **settings):
    estimator = estimator or KerasClassifier(network, epochs=4, batch_size=16)
    return TunerSearchCV(
        estimator, space, tuner=tuner, n_trials=n_trials, cv=2, random_state=0, **settings
    ).fit(X, y)


def test_sets_the_epochs_and_trains_none_twice(monkeypatch):
    found = search()
    epochs = [trial.values["epochs"] for trial in found.trials_]
    assert set(epochs) == {2, 4}
    assert found.stopped_ == "exhausted"
    assert found.best_estimator_.epochs == found.best_params_["epochs"]
    promoted = {}
    for trial in found.trials_:
        rate = trial.values["learning_rate"]
        assert trial.epochs == 2 * (trial.values["epochs"] - promoted.get(rate, 0))
        promoted[rate] = trial.values["epochs"]
    assert max(map(epochs.count, epochs)) < len(epochs)

    monkeypatch.setattr(Rungs, "get", lambda *_: None)
    scratch = search()
    assert [t.scores for t in scratch.trials_] == [t.scores for t in found.trials_]
    assert sum(t.epochs for t in scratch.trials_) > sum(t.epochs for t in found.trials_)


def test_in_a_pipeline_and_with_an_oracle_of_the_user():
    oracle = keras_tuner.oracles.HyperbandOracle(max_epochs=3, factor=3, seed=1)
    assert sets_epochs(oracle)
    pipeline = make_pipeline(StandardScaler(), KerasClassifier(network, epochs=20))
    space = {"kerasclassifier__batch_size": Int(8, 32)}
    found = search(oracle, pipeline, space, 4)
    column = found.cv_results_["param_kerasclassifier__epochs"]
    assert set(column) <= {1, 3}


def test_resumed_and_uninterrupted_are_one_table(tmp_path):
    whole = search(n_trials=7)
    search(n_trials=3, storage=tmp_path / "search.db")
    resumed = search(n_trials=7, storage=tmp_path / "search.db")
    assert [(t.values, t.scores) for t in resumed.trials_] == [
        (t.values, t.scores) for t in whole.trials_
    ]


def test_epochs_may_not_be_searched_as_well():
    with pytest.raises(ValueError, match=r"sets 'epochs' itself.*leave it out"):
        search(space={"epochs": Int(1, 4)})


def test_rungs_are_bounded():
    rungs = Rungs(capacity_bytes=2500)
    for i in range(4):
        rungs.put({"a": i, "epochs": 1}, 0, Checkpoint(1, [np.zeros(250, "float32")], [], {}, {}))
    assert [rungs.get({"a": i, "epochs": 9}, 0) is None for i in range(4)] == [True, True] + [
        False,
        False,
    ]
    assert rungs.get({"a": 3}, 1) is None


def test_threads_wait_for_the_trials_that_a_promotion_depends_on():
    found = search(n_jobs=2)
    alone = search()
    epochs = [trial.values["epochs"] for trial in alone.trials_]
    assert sorted(t.values["epochs"] for t in found.trials_) == sorted(epochs)
    assert len({str(t.values) for t in found.trials_}) == len(found.trials_)
