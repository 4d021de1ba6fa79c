"""The contract of every strategy of continual learning, as tests to reuse.

The package's own are tested by name, with the parameters in `SHORT`. Any other inherits the
suite::

    class TestMyStrategy(StrategyContract):
        def make_strategy(self):
            return MyStrategy()
"""

from __future__ import annotations

import copy
import pickle
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from sklearn.base import clone

from autokit import load, save
from autokit._backend import keras, tf
from autokit.continual import ContinualModel, ContinualRegressor, Strategy
from autokit.continual.strategies import make
from autokit.training import TrainingDiverged, clear_programs
from autokit.training.program import Program

# Name of a strategy -> parameters with which it takes a moment and still learns; most need none.
SHORT: dict[str, dict[str, Any]] = {
    "ewc": {"strength": 1.0},
    # a class that comes again is otherwise held to what the network made of it in between
    "lwf": {"temperature": 0.25},
    "si": {"strength": 1.0},
}

SCENARIOS = ("task", "domain", "class")
# What arrives in the class scenario: unsorted, between labels that are known, and one again
STREAM = ((7, 5), (1, 9), (3, 7))
_LEARNT: dict[tuple, list] = {}


def short(name: str) -> Strategy:
    """A strategy with its short settings."""
    return make(name).set_params(**SHORT.get(name, {}))


def tiny_network(input_shape, n_outputs: int) -> keras.Model:
    """One hidden layer, with dropout: its random state is part of what is learnt."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(8, activation="relu", name="hidden"),
            keras.layers.Dropout(0.1, seed=0, name="dropout"),
            keras.layers.Dense(n_outputs, name="outputs"),
        ]
    )


class StrategyContract:
    """What every strategy must keep. Set `make_strategy`.

    Attributes
    ----------
    rows : int
        Of each class.
    least : float
        Accuracy on the rows of the last experience.
    """

    rows = 30
    least = 0.8

    def make_strategy(self) -> Strategy:
        """A new instance of the strategy."""
        raise NotImplementedError

    def test_is_cloned_and_searched_like_an_estimator(self):
        strategy = self.make_strategy()
        parameters = strategy.get_params()
        assert clone(strategy).get_params().keys() == parameters.keys()
        assert clone(strategy).set_params(**parameters).key() == strategy.key()
        for name, value in parameters.items():
            searched = {f"strategy__{name}": value}
            model = ContinualModel(strategy=clone(strategy)).set_params(**searched)
            assert model.get_params().items() >= searched.items()

    def test_serves_every_scenario(self):
        for scenario in SCENARIOS:
            model = self._stages(scenario)[-1]
            assert model.scenario_ == scenario
            for X, y, _, task in self._stream(scenario):
                proba = model.predict_proba(X, task)
                assert proba.shape == (len(X), len(model.classes_))
                np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-5)
                known = y if scenario == "task" else model.classes_
                assert set(model.predict(X, task)) <= set(known)

    def test_learns_new_classes_and_sorts_their_columns(self):
        seen: set = set()
        for model, (X, y, _, task) in self._staged("class"):
            seen |= set(y.tolist())
            assert model.classes_.tolist() == sorted(seen)
            guess = model.classes_[model.predict_proba(X, task).argmax(axis=1)]
            np.testing.assert_array_equal(guess, model.predict(X, task))
            assert np.mean(guess == y) >= self.least

    def test_one_seed_gives_one_result(self):
        again = self._model("class")
        for X, y, name, _ in self._stream("class"):
            _partial_fit(again, X, y, name)
        _assert_same(_values(self._stages("class")[-1]), _values(again))
        X, y, name, _ = self._stream("class")[0]
        other = _partial_fit(self._model("class", random_state=1), X, y, name)
        first = self._stages("class")[0]
        weights = [m.model_.trainable_variables[0].numpy() for m in (first, other)]
        assert not np.array_equal(*weights)

    def test_goes_on_after_a_pause_as_without_one(self):
        _, before, after = self._stages("class")
        X, y, name, task = self._stream("class")[-1]
        for copied in (_pickled, _saved):
            paused = copied(before)
            _assert_same(_values(before), _values(paused))
            _partial_fit(paused, X, y, name)
            _assert_same(_values(after), _values(paused))
            answers = [m.predict_proba(X, task) for m in (after, paused)]
            np.testing.assert_array_equal(*answers)

    def test_a_failed_experience_leaves_everything_as_it_was(self):
        first, second, _ = self._stages("class")
        model = copy.copy(first).set_params(learning_rate=1e30)
        (X, _, _, task), (X2, y2, name2, _) = self._stream("class")[:2]
        values, answers = _values(model), model.predict_proba(X, task)
        try:
            _partial_fit(model, X2, y2, name2)
        except TrainingDiverged:
            pass
        else:
            raise AssertionError("a learning rate of 1e30 went unnoticed")
        _assert_same(_values(model), values)
        np.testing.assert_array_equal(model.predict_proba(X, task), answers)
        model.set_params(learning_rate=first.learning_rate)
        _assert_same(_values(_partial_fit(model, X2, y2, name2)), _values(second))

    def test_state_keeps_its_structure(self):
        former = None
        for model in self._stages("class"):
            learnt = model._learnt
            shapes = [tuple(v.shape) for v in learnt.network.trainable_variables]
            for values in _lists(learnt.state):
                assert [np.shape(v) for v in values] == shapes
            assert former is None or _skeleton(learnt.state) == _skeleton(former)
            former = learnt.state

    def test_traces_once_while_the_head_stays_within_its_padding(self):
        strategy = self.make_strategy()
        if type(strategy).grow is not Strategy.grow or not strategy.pads_head:
            return
        clear_programs()
        with counted_traces() as traces:
            counts, model = [], self._model("class")
            for X, y, name, _ in self._stream("class"):
                _partial_fit(model, X, y, name)
                counts.append(len(traces))
        assert counts == counts[:1] * len(counts)

    def test_the_part_of_a_task_answers_alike(self):
        model = self._stages("task")[-1]
        for X, y, _, task in self._stream("task"):
            part = model.for_task(task)
            known = np.isin(model.classes_, part.classes_)
            np.testing.assert_array_equal(part.classes_, np.unique(y))
            np.testing.assert_allclose(
                part.predict_proba(X), model.predict_proba(X, task)[:, known], atol=1e-6
            )

    def test_serves_regression_or_says_so(self):
        for n_outputs, scenario in ((2, "task"), (1, "domain")):
            model = self._model(scenario, ContinualRegressor)
            stream = self._stream(scenario)[:2]
            if self.make_strategy().classifies_only:
                X, _, name, _ = stream[0]
                try:
                    _partial_fit(model, X, _numbers(X, n_outputs), name)
                except ValueError as error:
                    assert "regression" in str(error)
                else:
                    raise AssertionError("a strategy for classes took numbers")
                continue
            for X, _, name, _ in stream:
                _partial_fit(model, X, _numbers(X, n_outputs), name)
            for X, _, _, task in stream:
                answer = model.predict(X, task)
                assert answer.shape == _numbers(X, n_outputs).shape
                assert np.isfinite(answer).all()

    def _model(self, scenario, kind=ContinualModel, **parameters):
        settings = {"epochs": 10, "batch_size": 8, "learning_rate": 0.02, "random_state": 0}
        return kind(
            tiny_network,
            self.make_strategy(),
            scenario=scenario,
            memory_size=24,
            **(settings | parameters),
        )

    def _stages(self, scenario) -> list:
        """A model after each experience of a stream; learnt once, and only to be looked at."""
        key = (type(self), type(self.make_strategy()), scenario)
        if key not in _LEARNT:
            model, _LEARNT[key] = self._model(scenario), []
            for X, y, name, _ in self._stream(scenario):
                _LEARNT[key].append(copy.copy(_partial_fit(model, X, y, name)))
        return _LEARNT[key]

    def _staged(self, scenario):
        return zip(self._stages(scenario), self._stream(scenario), strict=True)

    def _stream(self, scenario) -> list:
        """Rows, labels, the task at learning and the task at predict, experience by experience."""
        strategy, rng = self.make_strategy(), np.random.default_rng(0)
        centres = 4.0 * rng.normal(size=(10, 4))
        stream = []
        for number, labels in enumerate(STREAM):
            y = np.tile(labels, self.rows)
            X = (centres[y] + rng.normal(size=(len(y), 4))).astype(np.float32)
            name = f"task {number}" if scenario == "task" or strategy.needs_task else None
            asked = name
            if name is None and strategy.task_heads:
                asked = number
            targets = (y == labels[0]).astype(int) if scenario == "domain" else y
            stream.append((X, targets, name, asked))
        return stream


def _partial_fit(model, X, y, task):
    with warnings.catch_warnings():
        # which strategies are near chance in which scenario is no part of the contract
        warnings.simplefilter("ignore")
        return model.partial_fit(X, y, task=task)


def _numbers(X, n_outputs):
    y = np.stack([X.sum(axis=1), X[:, 0] - X[:, 1]], axis=1)
    return y[:, 0] if n_outputs == 1 else y


def _pickled(model):
    return pickle.loads(pickle.dumps(model))


def _saved(model):
    with tempfile.TemporaryDirectory() as folder:
        copy = load(save(model, Path(folder) / "model.autokit"))
    # a file holds no functions; the network is in it
    return copy.set_params(model=model.model)


def _values(model) -> list[np.ndarray]:
    """All that a model has learnt, as arrays."""
    learnt = model._learnt
    arrays = [v.value.numpy() for v in learnt.network.variables]
    arrays += [v.value.numpy() for v in model.model_.variables]
    arrays += tf.nest.flatten(learnt.state) + list(learnt.optimizer_state)
    memory = [getattr(learnt.memory, f.name) for f in fields(learnt.memory)]
    arrays += [part for part in memory if part is not None]
    arrays += [model.score_matrix_, np.array(model.forward_transfer_)]
    arrays += [model.classes_, np.array(model.tasks_), learnt.heads.groups]
    arrays += [np.array(values) for values in model.history_.values()]
    return [np.asarray(a) for a in arrays]


def _assert_same(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def _skeleton(state) -> Any:
    """The nest of a state, with its dtypes for leaves."""
    return tf.nest.map_structure(lambda part: str(np.asarray(part).dtype), state)


def _lists(state) -> list[list]:
    if isinstance(state, dict):
        return [found for value in state.values() for found in _lists(value)]
    return [state] if isinstance(state, list) else []


@contextmanager
def counted_traces() -> Iterator[list[str]]:
    """The compiled functions that are traced meanwhile."""
    traces: list[str] = []
    function = Program._function

    def counted(self, name, trace, *arguments, **options):
        def noted(*parts):
            traces.append(name)
            return trace(*parts)

        return function(self, name, noted, *arguments, **options)

    with mock.patch.object(Program, "_function", counted):
        yield traces
