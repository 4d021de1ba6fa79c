"""A fitted learner in a file or a pickle learns new classes as the one that was stored."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from autokit import FewShotLearner, FewShotRegressor, load, save
from autokit._backend import keras
from autokit.meta import Matching
from autokit.testing.meta import blobs

METHODS = {
    "prototypical": ("prototypical", {}),
    "cosine": ("prototypical", {"distance": "cosine"}),
    "matching": ("matching", {}),
    "full context": (Matching(full_context=True, n_reads=2), {}),
    "maml": ("maml", {"adaptation_steps": 3}),
    "meta_sgd": ("meta_sgd", {}),
}


def encoder(input_shape):
    """With names that a head's layers must not have, and states beside its weights."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Dense(16, activation="relu", name="attention"),
            layers.BatchNormalization(),
            layers.Dropout(0.1, seed=0),
            layers.Dense(8, name="outputs"),
            layers.UnitNormalization(name="unit_normalization"),
        ]
    )


@pytest.fixture(scope="module", params=METHODS)
def learner(request):
    method, options = METHODS[request.param]
    learner = FewShotLearner(
        method, encoder=encoder, n_way=3, n_episodes=8, random_state=0, **options
    )
    return learner.fit(*blobs(range(5), 8, 0))


@pytest.fixture(params=["save", "pickle"])
def stored(request, tmp_path):
    def by_file(estimator):
        return load(save(estimator, tmp_path / "learner.autokit"))

    return by_file if request.param == "save" else lambda e: pickle.loads(pickle.dumps(e))


def test_a_stored_learner_goes_on_as_the_original(learner, stored):
    X, _ = blobs(range(5), 8, 0)
    few, other = blobs(list("abc"), 3, 1), blobs(list("cd"), 2, 2)
    before, again = learner.predict_proba(X), stored(learner)
    np.testing.assert_array_equal(again.predict_proba(X), before)
    assert (again.n_episodes_, again.history_) == (learner.n_episodes_, learner.history_)
    scores = [one.evaluate(*few, n_query=1, n_episodes=5).scores for one in (again, learner)]
    np.testing.assert_array_equal(*scores)
    adapted = learner.adapt(*few)
    np.testing.assert_array_equal(again.adapt(*few).predict_proba(X), adapted.predict_proba(X))
    again = stored(adapted).fit_classes(*other)
    assert again.classes_.tolist() == ["a", "b", "c", "d"]
    expected = adapted.fit_classes(*other).predict_proba(X)
    np.testing.assert_array_equal(again.predict_proba(X), expected)
    np.testing.assert_array_equal(learner.predict_proba(X), before)


def test_a_regressor(stored):
    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(60, 8)), np.repeat(np.arange(6), 10)
    y = np.sin(X[:, 0] + groups)
    learner = FewShotRegressor(
        encoder=encoder, k_shot=3, n_query=3, n_episodes=8, random_state=0
    ).fit(X, y, task_ids=groups)  # fmt: skip
    again = stored(learner)
    few = X[:4], y[:4]
    np.testing.assert_array_equal(again.predict(X), learner.predict(X))
    np.testing.assert_array_equal(again.adapt(*few).predict(X), learner.adapt(*few).predict(X))


_LATER = """
import sys
import numpy as np
from autokit import load
from autokit.testing.meta import blobs
learner = load(sys.argv[1]).adapt(*blobs(list("abc"), 3, 1))
np.save(sys.argv[2], learner.predict_proba(blobs(range(5), 8, 0)[0]))
"""


def test_another_process_learns_the_same(tmp_path):
    learner = FewShotLearner(
        "prototypical", encoder=encoder, n_way=3, n_episodes=8, distance="cosine", random_state=0
    ).fit(*blobs(range(5), 8, 0))  # fmt: skip
    path, answers = save(learner, tmp_path / "learner.autokit"), tmp_path / "answers.npy"
    subprocess.run([sys.executable, "-c", _LATER, path, answers], check=True, timeout=300)
    expected = learner.adapt(*blobs(list("abc"), 3, 1)).predict_proba(blobs(range(5), 8, 0)[0])
    np.testing.assert_allclose(np.load(answers), expected, atol=1e-6)
