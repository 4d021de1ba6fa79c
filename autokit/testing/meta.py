"""The contract of every method of few-shot learning, as tests to reuse.

The package's own are tested by name, with the parameters in `SHORT`. Any other inherits the
suite::

    class TestMyMethod(MetaLearnerContract):
        def make_method(self):
            return MyMethod()
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from sklearn.base import clone

from autokit._backend import keras
from autokit.meta import FewShotLearner, FewShotRegressor, MetaLearner
from autokit.meta.methods import make
from autokit.meta.progress import MetaProgress
from autokit.testing.continual import counted_traces
from autokit.training import clear_programs

# Name of a method -> parameters with which it takes a moment and still learns; most need none.
SHORT: dict[str, dict[str, Any]] = {
    # one step from where all units are alike leaves classes of fewer rows behind
    "anil": {"adaptation_steps": 5},
    "fomaml": {"adaptation_steps": 5},
    "maml": {"adaptation_steps": 5},
    "meta_sgd": {"adaptation_steps": 5},
    "reptile": {"inner_steps": 3, "inner_learning_rate": 0.03, "adaptation_steps": 20},
}

N_FEATURES, N_TELLING = 8, 3
_LEARNT: dict[str, Any] = {}  # of one method at a time: learners keep their compiled functions


def short(name: str) -> MetaLearner:
    """A method with its short settings."""
    return make(name).set_params(**SHORT.get(name, {}))


def tiny_encoder(input_shape) -> keras.Model:
    """One hidden layer."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(8),
        ]
    )


def noisy_encoder(input_shape) -> keras.Model:
    """With batch normalisation and dropout: their states are part of what is learnt."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(6),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.1, seed=0),
        ]
    )


def blobs(labels, n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes that 3 hidden directions tell apart; 5 others are noise, and larger.

    Parameters
    ----------
    labels : sequence of int
        One for each class.
    n_rows : int
        Of each class.
    seed : int
        Of the classes; the directions are always the same.

    Returns
    -------
    X : float32 of shape (n_classes * n_rows, 8)
    y : int of shape (n_classes * n_rows,)
    """
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(N_FEATURES, N_FEATURES)))[0]
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(labels)), n_rows)
    centres = rng.normal(size=(len(labels), N_TELLING))
    telling = centres[codes] + 0.1 * rng.normal(size=(len(codes), N_TELLING))
    noise = 1.5 * rng.normal(size=(len(codes), N_FEATURES - N_TELLING))
    return (np.hstack([telling, noise]) @ basis).astype(np.float32), np.asarray(labels)[codes]


# three epochs, the last one short
LONG = {"encoder": noisy_encoder, "n_episodes": 250, "meta_batch_size": 1}


class MetaLearnerContract:
    """What every method must keep. Set `make_method`.

    Attributes
    ----------
    least : float
        Accuracy on 3 classes never seen, from 2 rows of each.
    order_matters : bool
        Whether a method that embeds rows once may heed the order of its support rows.
    """

    least = 0.6
    order_matters = False

    def make_method(self) -> MetaLearner:
        """A new instance of the method."""
        raise NotImplementedError

    def test_is_cloned_and_searched_like_an_estimator(self):
        method = self.make_method()
        parameters = method.get_params()
        assert clone(method).get_params().keys() == parameters.keys()
        assert clone(method).set_params(**parameters).key() == method.key()
        for name, value in parameters.items():
            searched = {f"method__{name}": value}
            learner = FewShotLearner(clone(method)).set_params(**searched)
            assert learner.get_params().items() >= searched.items()

    def test_learns_what_tells_unseen_classes_apart(self):
        X, y = self._unseen()
        untrained = self._fitted(n_episodes=1, outer_learning_rate=1e-9)
        learnt, untrained = (m.evaluate(X, y, n_episodes=200) for m in (self._learner(), untrained))
        assert learnt.mean >= self.least
        assert learnt.interval[0] > untrained.interval[1]

    def test_one_seed_gives_one_result(self):
        first, again = self._learner(), self._fitted()
        other = self._fitted(n_episodes=1, random_state=1)
        _assert_same(_values(first), _values(again))
        X, _ = self._unseen()
        np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))
        assert not np.array_equal(_values(first)[0], _values(other)[0])
        assert not np.array_equal(first.predict_proba(X), other.predict_proba(X))

    def test_adapts_to_any_number_of_classes_and_rows(self):
        learner = self._learner()
        values, classes = _values(learner), learner.classes_
        X, y = self._unseen()
        for labels in ([101, 105], [100, 101, 103, 106]):
            support, asked = _split(y, labels, [1 + i % 3 for i in range(len(labels))])
            new = learner.adapt(X[support], y[support])
            assert new.classes_.tolist() == labels
            proba = new.predict_proba(X[asked])
            assert proba.shape == (len(asked), len(labels))
            np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-5)
            alone = [new.predict_proba(X[i : i + 1])[0] for i in asked[:5]]
            np.testing.assert_allclose(alone, proba[:5], atol=1e-5)
            assert new.score(X[asked], y[asked]) > 1.2 / len(labels)
        _assert_same(_values(learner), values)
        assert learner.classes_ is classes

    def test_adds_classes_and_rows(self):
        X, y = self._unseen()
        support, asked = _split(y, [100, 101, 102, 103], [5] * 4)
        first = support[np.isin(y[support], [100, 102])][:8]
        more = np.setdiff1d(support, first)
        both = self._learner().adapt(X[support], y[support])
        added = self._learner().adapt(X[first], y[first])
        added.fit_classes(X[more[:7]], y[more[:7]]).fit_classes(X[more[7:]], y[more[7:]])
        np.testing.assert_array_equal(added.classes_, both.classes_)
        if self.make_method().embeds and not self.order_matters:
            for a, b in zip(added.model_.variables, both.model_.variables, strict=True):
                if a.shape == b.shape and "attention" not in a.path:
                    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)
            answers = [m.predict_proba(X[asked]) for m in (added, both)]
            np.testing.assert_allclose(*answers, atol=1e-4)
        assert added.score(X[asked], y[asked]) > 0.4
        found = set(added.predict(X[asked]).tolist())
        assert found & {100, 102}
        assert found & {101, 103}

    def test_order_of_rows_does_not_matter(self):
        if not self.make_method().embeds or self.order_matters:
            return
        X, y = self._unseen()
        support, asked = _split(y, [100, 104], [3, 1])
        answers = [
            self._learner().adapt(X[rows], y[rows]).predict_proba(X[asked])
            for rows in (support, support[::-1], np.random.default_rng(0).permutation(support))
        ]
        for other in answers[1:]:
            np.testing.assert_allclose(other, answers[0], atol=1e-5)

    def test_model_is_a_plain_keras_model(self):
        X, y = self._unseen()
        support, asked = _split(y, [100, 104], [2, 2])
        learner = self._learner().adapt(X[support], y[support])
        model = type(learner.model_).from_config(learner.model_.get_config())
        model.set_weights(learner.model_.get_weights())
        outputs = model(learner.encoder_.encode(X[asked]), training=False).numpy()
        if not self.make_method().gives_probabilities:
            outputs = keras.activations.softmax(outputs).numpy()
        np.testing.assert_allclose(outputs, learner.predict_proba(X[asked]), atol=1e-6)

    def test_traces_once(self):
        method, (learner, traces) = self.make_method(), self._long()
        assert len(learner.history_["loss"]) == 3
        assert len(traces) == 1
        X, y = self._unseen()
        with _counted_calls(type(method), "answers") as calls:
            for n_episodes, rows in ((3, slice(None)), (5, slice(None, -20)), (4, slice(20, None))):
                learner.evaluate(X[rows], y[rows], n_episodes=n_episodes)
        assert len(calls) == 1
        if not method.embeds:
            with _counted_calls(type(method), "learn") as calls:
                for n_rows in (2, 3, 5):
                    support, _ = _split(y, [100, 101], [n_rows, n_rows])
                    learner.adapt(X[support], y[support])
            assert len(calls) == 1

    def test_answers_tasks_of_another_size_than_it_was_trained_on(self):
        X, y = self._unseen()
        for n_way, k_shot, n_query in ((2, 1, 3), (6, 4, 2)):
            scores = self._learner().evaluate(
                X, y, n_way=n_way, k_shot=k_shot, n_query=n_query, n_episodes=100
            )
            assert (scores.n_way, scores.k_shot, scores.n_query) == (n_way, k_shot, n_query)
            assert scores.interval[0] > 1.2 / n_way

    def test_goes_on_from_a_storage_as_if_never_killed(self):
        whole, _ = self._long()
        with tempfile.TemporaryDirectory() as folder:
            settings = LONG | {"storage": Path(folder) / "training"}
            with _killed_in_epoch(2):
                try:
                    self._fitted(**settings)
                except KeyboardInterrupt:
                    pass
            resumed = self._fitted(**settings)
        _assert_same(_values(resumed), _values(whole))
        assert resumed.history_ == whole.history_
        X, _ = self._unseen()
        np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))

    def test_serves_regression_or_says_so(self):
        X, y = blobs([0], 30, 0)
        targets = np.stack([X.sum(axis=1), X[:, 0]], axis=1)
        settings = {"k_shot": 3, "n_query": 2, "n_episodes": 4, "meta_batch_size": 2}
        learner = FewShotRegressor(
            self.make_method(), encoder=tiny_encoder, random_state=0, **settings
        )
        if not self.make_method().regresses:
            try:
                learner.fit(X, targets)
            except ValueError as error:
                assert "compares classes" in str(error)
            else:
                raise AssertionError("a method that compares classes took numbers")
            return
        learner.fit(X, targets, task_ids=np.arange(30) % 3)
        answer = learner.adapt(X[:4], targets[:4]).predict(X)
        assert answer.shape == targets.shape
        assert np.isfinite(answer).all()

    def _learner(self) -> FewShotLearner:
        """A learner that has practised; fitted once, and only to be looked at."""
        return self._kept("learner", self._fitted)

    def _long(self) -> tuple[FewShotLearner, list[str]]:
        """One of three epochs, and what was traced meanwhile."""

        def fitted():
            clear_programs()
            with counted_traces() as traces:
                return self._fitted(**LONG), traces

        return self._kept("long", fitted)

    def _kept(self, name, make):
        method = type(self), type(self.make_method())
        if _LEARNT.get("method") != method:
            _LEARNT.clear()
            _LEARNT["method"] = method
        if name not in _LEARNT:
            _LEARNT[name] = make()
        return _LEARNT[name]

    def _fitted(self, **parameters) -> FewShotLearner:
        method = self.make_method()
        settings = {
            "encoder": tiny_encoder,
            "n_way": 3,
            "k_shot": 2,
            "n_query": 3,
            "n_episodes": 600,
            "meta_batch_size": 4,
            "outer_learning_rate": 0.02 if method.optimizer == "adam" else None,
            "random_state": 0,
        }
        return FewShotLearner(method, **(settings | parameters)).fit(*blobs(range(24), 8, 1))

    def _unseen(self) -> tuple[np.ndarray, np.ndarray]:
        return blobs(range(100, 110), 20, 2)


def _split(y, labels, counts) -> tuple[np.ndarray, np.ndarray]:
    """The first rows of some classes, and their others."""
    places = [np.flatnonzero(y == label) for label in labels]
    support = [rows[:n] for rows, n in zip(places, counts, strict=True)]
    asked = [rows[n:] for rows, n in zip(places, counts, strict=True)]
    return np.concatenate(support), np.concatenate(asked)


def _values(learner) -> list[np.ndarray]:
    """All that a learner has learnt, as arrays."""
    learnt = learner._learnt
    variables = [*learnt.network.variables, *learner.model_.variables]
    return [v.value.numpy() for v in variables] + list(learnt.extras)


def _assert_same(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@contextmanager
def _counted_calls(kind: type, name: str) -> Iterator[list[str]]:
    """Calls of a method that is called when it is traced, and never else."""
    calls: list[str] = []
    own = getattr(kind, name)

    def counted(self, *parts, **options):
        calls.append(name)
        return own(self, *parts, **options)

    with mock.patch.object(kind, name, counted):
        yield calls


@contextmanager
def _killed_in_epoch(number: int) -> Iterator[None]:
    """A training ends in this epoch, after it was learnt and before it is stored."""
    epochs = []

    def epoch(self, n_episodes, logs):
        epochs.append(n_episodes)
        if len(epochs) == number:
            raise KeyboardInterrupt

    with mock.patch.object(MetaProgress, "epoch", epoch):
        yield
